"""The protocol alone: a client's and a server's machine in memory, with no I/O."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.benchmarks.bench import Bench
from tests.benchmarks.loads import SECONDS
from tests.benchmarks.model import Load, Running, Side, Workload, times


def side(name: str) -> Side:
    @asynccontextmanager
    async def start(bench: Bench) -> AsyncIterator[Running]:
        yield Running(name)

    return Side(name, start)


def load(half: str) -> Load:
    """The time that one of the two machines takes for a small request and its response."""

    async def measure(bench: Bench, running: Running, amount: int) -> float:
        package = "h2" if running.side == "h2" else "trio_h2"
        report = await bench.run_ours(bench.side_core, "inmemory", package, amount)
        return float(report["requests"] / report[half])

    return Load(f"the {half}'s machine", "requests/s", measure, 500, SECONDS)


SERVER, CLIENT = load("server"), load("client")

WORKLOADS = (
    Workload(
        name="inmemory",
        about="small GETs answered with five bytes, between two machines of the same package in memory",
        sides=(side("trio_h2"), side("h2")),
        loads=(SERVER, CLIENT),
        baseline="h2",
        targets=(times(SERVER.name, "h2", 3.0),),
    ),
)
