"""Receiving over a link with a long round trip, with default settings."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.benchmarks.bench import ROOT, Bench, client_side, pinned, server_side
from tests.benchmarks.clients import LARGE
from tests.benchmarks.model import Load, RefusedError, Running, Side, Target, Workload
from tests.peers import free_port, run_server

ROUND_TRIP = 50
"""Milliseconds."""

MEGABITS = 100
"""A second, each way."""

MILLISECONDS = 3_300
"""How long a body is moved: the third second's share is the figure."""

TIMED_OUT = 28
"""curl's exit code when its time is over, which is how it shall end here."""


@asynccontextmanager
async def link_to(bench: Bench, port: int, report: dict[str, Any]) -> AsyncIterator[str]:
    """The URL of a link to that port; what it carried is in `report` after the block."""
    own = free_port()
    log = bench.directory / f"link-{own}"
    argv = pinned(bench.load_core, bench.load_program("proxy", own, port, ROUND_TRIP, MEGABITS))
    async with run_server("link", argv, port=own, scheme="http", log=log, cwd=ROOT) as peer:
        yield peer.url
    report.update(json.loads(log.read_text()))


def third_second(carried: list[int]) -> float:
    """The share of the link that was used in the third second of a connection."""
    if len(carried) < 4:
        raise RefusedError(f"the transfer ended too early: {carried}")
    return carried[2] * 8 / (MEGABITS * 1e6)


async def download(bench: Bench, running: Running, amount: int) -> float:
    """nghttpd sends through the link to a client on the side's core."""
    bench.zeros(LARGE)
    report: dict[str, Any] = {}
    async with link_to(bench, running.port, report) as url:
        if running.side == "curl":
            size = await curl(bench, bench.side_core, url, f"/{LARGE}")
        else:
            port = url.rpartition(":")[2]
            size = (await bench.run_ours(bench.side_core, "clients", running.side, "link", port, amount))["bytes"]
    check_size(size, report["to_client"])
    return third_second(report["to_client"])


async def upload(bench: Bench, running: Running, amount: int) -> float:
    """curl sends through the link to a server on the side's core."""
    report: dict[str, Any] = {}
    async with link_to(bench, running.port, report) as url:
        await curl(bench, bench.load_core, url, "/hello.txt", "--upload-file", str(bench.zeros(LARGE)))
    return third_second(report["to_server"])


async def curl(bench: Bench, core: int, url: str, path: str, *options: str) -> int:
    """Run curl for the time of a measurement; the bytes that it received."""
    argv = ["curl", "--silent", "--http2-prior-knowledge", "--max-time", str(MILLISECONDS / 1000)]
    argv += ["--output", "/dev/null", "--write-out", "%{http_code} %{size_download}", *options, url + path]
    completed = await bench.run(core, *argv, codes=(TIMED_OUT,))
    status, size = completed.text.split()
    # An upload whose time is over before its body has not been answered.
    if status != ("000" if options else "200"):
        raise RefusedError(f"curl got status {status}")
    return int(size)


def check_size(size: int, carried: list[int]) -> None:
    """The client has to have seen what the link carried, less frame heads and what was in its buffers."""
    if not 0.9 * sum(carried) <= size <= sum(carried):
        raise RefusedError(f"the client saw {size} bytes, the link carried {carried}")


@asynccontextmanager
async def start_nghttpd(bench: Bench) -> AsyncIterator[Running]:
    async with bench.serve_nghttpd(bench.side_core) as running:
        yield running


def fills(load: str) -> Target:
    return Target(f"{load}: share of the link", lambda results: results.median(load, "trio_h2"), at_least=0.9)


WORKLOADS = (
    Workload(
        name="link_client",
        about=f"clients that receive from nghttpd over {ROUND_TRIP} ms round trip and {MEGABITS} Mbit/s",
        sides=tuple(client_side(name) for name in ("trio_h2", "httpcore", "httpcore2", "curl")),
        loads=(Load("third second", "of the link", download, MILLISECONDS),),
        baseline="httpcore",
        targets=(fills("third second"),),
    ),
    Workload(
        name="link_server",
        about=f"servers that receive from curl over {ROUND_TRIP} ms round trip and {MEGABITS} Mbit/s",
        sides=(
            server_side("trio_h2", "upload"),
            server_side("hypercorn-trio", "upload"),
            Side("nghttpd", start_nghttpd),
        ),
        loads=(Load("third second", "of the link", upload, MILLISECONDS),),
        baseline="hypercorn-trio",
        targets=(fills("third second"),),
    ),
)
