"""Messages back and forth: client and server of the same library."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.benchmarks.bench import NEEDS, Bench
from tests.benchmarks.loads import SECONDS, rate
from tests.benchmarks.model import OURS, Load, Running, Side, Workload, ahead_of, and_before
from tests.peers import free_port


def side(name: str) -> Side:
    @asynccontextmanager
    async def start(bench: Bench) -> AsyncIterator[Running]:
        port = free_port()
        async with bench.serve(bench.side_core, name, bench.program("pingpong", name, port), port) as running:
            yield running

    return Side(name, start, needs=NEEDS.get(name, ()))


def load(streams: int) -> Load:
    async def measure(bench: Bench, running: Running, amount: int) -> float:
        report = await bench.run_ours(bench.load_core, "pingpong", running.side, running.port, amount, streams)
        return rate(report, requests=amount)

    return Load("1 stream" if streams == 1 else f"{streams} streams", "messages/s", measure, 500, SECONDS)


LOADS = (load(1), load(100))
PEERS = ("grpclib", "h2 on asyncio with tasks", "h2 on asyncio")

WORKLOADS = (
    Workload(
        name="pingpong",
        about="100 bytes there and back, the next ones when they are back; client and server of the same library",
        sides=(*and_before(side(OURS)), *map(side, PEERS)),
        loads=LOADS,
        baseline="grpclib",
        targets=tuple(
            ahead_of(load.name, *PEERS, at_least=bound) for load, bound in zip(LOADS, (1.4, 1.6), strict=True)
        ),
    ),
)
