"""Bodies of 1 MiB to and from a server."""

from __future__ import annotations

from dataclasses import replace

from tests.benchmarks.bench import MIB, Bench, server_side
from tests.benchmarks.loads import h2load, rate
from tests.benchmarks.model import OURS, Running, Side, Workload, and_before, times
from tests.benchmarks.workloads.requests import NAMES

CONNECTIONS, STREAMS = 4, 8
DOWNLOAD = h2load(CONNECTIONS, STREAMS, amount=64, body=MIB, unit="MiB/s")
UPLOAD = h2load(CONNECTIONS, STREAMS, amount=64, body=5, upload=MIB, unit="MiB/s")


async def take_raw(bench: Bench, running: Running, amount: int) -> float:
    report = await bench.run_load("raw", running.port, amount, CONNECTIONS, STREAMS)
    return rate(report, requests=amount)


RAW = replace(server_side("raw trio", "bulk"), measure=take_raw)


def sides(app: str) -> tuple[Side, ...]:
    return (*and_before(server_side(OURS, app)), *(server_side(name, app) for name in NAMES[1:]))


WORKLOADS = (
    Workload(
        name="download",
        about="GETs answered with 1 MiB, by h2load; raw trio is SocketStream.send_all of the same bytes, no HTTP",
        sides=(*sides("bulk"), RAW),
        loads=(DOWNLOAD,),
        baseline="hypercorn-trio",
        targets=(times(DOWNLOAD.name, "hypercorn-trio", 6), times(DOWNLOAD.name, "raw trio", 0.75)),
    ),
    Workload(
        name="upload",
        about="POSTs of 1 MiB, by h2load",
        sides=sides("upload"),
        loads=(UPLOAD,),
        baseline="hypercorn-trio",
        targets=(times(UPLOAD.name, "hypercorn-trio", 3),),
    ),
)
