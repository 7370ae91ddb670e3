"""The workloads there are. A new one is one more entry of WORKLOADS."""

from __future__ import annotations

import sys

from tests.benchmarks.model import Load, RefusedError, Side, Workload
from tests.benchmarks.servers import HOST
from tests.peers import parse_h2load


def python_side(name: str) -> Side:
    """A side that `servers.py` holds under the same name."""
    return Side(name, lambda port: [sys.executable, "-m", "tests.benchmarks.servers", name, str(port)])


def h2load(connections: int, streams: int, *, requests: int, warm_up: int = 500, path: str = "/") -> Load:
    """This many connections of this many concurrent streams each."""
    options = [f"-c{connections}", f"-m{streams}"]
    return Load(
        name="h2load " + " ".join(options),
        command=lambda port, count: ["h2load", *options, f"-n{count}", f"http://{HOST}:{port}{path}"],
        figure=requests_per_second,
        unit="requests/s",
        requests=requests,
        warm_up=warm_up,
    )


def requests_per_second(output: str) -> float:
    try:
        report = parse_h2load(output)
    except ValueError as error:
        raise RefusedError(str(error)) from None
    if not report.all_succeeded:
        raise RefusedError(f"not every request succeeded:\n{output}")
    return report.requests_per_second


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            name="hello",
            about="small GETs answered with five bytes, in the clear",
            sides=(python_side("trio_h2"), python_side("hypercorn-trio"), python_side("hypercorn-asyncio")),
            loads=(h2load(1, 100, requests=10_000), h2load(10, 10, requests=10_000)),
            baseline="hypercorn-trio",
        ),
    )
}
