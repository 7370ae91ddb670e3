"""Clients against nghttpd."""

from __future__ import annotations

from tests.benchmarks.bench import client_side
from tests.benchmarks.loads import SECONDS, client
from tests.benchmarks.model import OURS, Workload, and_before, times

IN_HTTPX2 = "trio_h2 in httpx2"
OTHERS = tuple(client_side(name) for name in ("httpcore", "httpcore2", "httpx2", IN_HTTPX2, "niquests"))
SIDES = (*and_before(client_side(OURS)), *OTHERS)

SMALL = tuple(
    client("small", name=f"{at_once} at once", unit="requests/s", amount=200, seconds=SECONDS, at_once=at_once)
    for at_once in (20, 100)
)
BULK = tuple(client(task, name=task, unit="MiB/s", amount=100, seconds=None) for task in ("download", "upload"))

WORKLOADS = (
    Workload(
        name="client_small",
        about="clients that make small GETs to nghttpd; niquests with threads, the others on trio",
        sides=SIDES,
        loads=SMALL,
        baseline="httpcore",
        targets=(
            times(SMALL[0].name, "httpcore", 7.5),
            times(SMALL[1].name, "httpcore", 8.5),
            times("20 at once", "httpx2", 3, side=IN_HTTPX2),
        ),
    ),
    Workload(
        name="client_bulk",
        about="clients that move one body of 100 MiB from or to nghttpd",
        sides=SIDES,
        loads=BULK,
        baseline="httpcore",
        targets=(times("download", "httpcore", 5), times("upload", "httpcore", 6)),
    ),
)
