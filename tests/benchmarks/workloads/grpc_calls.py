"""gRPC: calls and streams of messages; client and server of the same library."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.benchmarks.bench import NEEDS, Bench
from tests.benchmarks.loads import SECONDS, rate
from tests.benchmarks.model import Load, Running, Side, Workload, times
from tests.peers import free_port


def side(name: str) -> Side:
    @asynccontextmanager
    async def start(bench: Bench) -> AsyncIterator[Running]:
        port = free_port()
        async with bench.serve(bench.side_core, name, bench.program("grpc_calls", name, port), port) as running:
            yield running

    return Side(name, start, needs=NEEDS.get(name, ()))


def load(name: str, kind: str, unit: str, at_once: int = 1) -> Load:
    async def measure(bench: Bench, running: Running, amount: int) -> float:
        arguments = running.side, running.port, kind, amount, at_once
        report = await bench.run_ours(bench.load_core, "grpc_calls", *arguments)
        return rate(report, requests=amount)

    return Load(name, unit, measure, 500, SECONDS)


SIDES = tuple(side(name) for name in ("trio_h2", "grpclib", "grpcio"))
CALLS = tuple(load(f"{at_once} at once", "unary", "calls/s", at_once) for at_once in (1, 100))
STREAMS = tuple(load(kind, kind, "messages/s") for kind in ("replies", "requests", "both"))

WORKLOADS = (
    Workload(
        name="grpc_unary",
        about="calls over gRPC, 100 bytes there and back; client and server of the same library, ours the example's",
        sides=SIDES,
        loads=CALLS,
        baseline="grpclib",
        targets=tuple(times(load.name, "grpclib", 1.5) for load in CALLS),
    ),
    Workload(
        name="grpc_stream",
        about="messages of 100 bytes on one gRPC stream: replies, requests, or both, echoed; ours with `more`",
        sides=SIDES,
        loads=STREAMS,
        baseline="grpclib",
        targets=tuple(times(load.name, "grpclib", 1.3) for load in STREAMS),
    ),
)
