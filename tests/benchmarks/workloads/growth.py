"""What open streams and connections cost a server while they are idle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.benchmarks.bench import Bench, server_side
from tests.benchmarks.loads import rate
from tests.benchmarks.model import Load, Running, Side, Target, Workload, and_before, flat

OURS, THEIRS = server_side("trio_h2", "idle"), server_side("hypercorn-trio", "idle")

HYPERCORN_STREAMS = 900
"""About as many as hypercorn can have: above 1,000 on a connection its process ends, by an error of the `priority`
package."""

SECONDS = 1.0
WARM_UP = 500


async def grow(bench: Bench, running: Running, count: int, streams: int, connections: int) -> Any:
    return await bench.run_load("load", "growth", running.port, running.pid, count, streams, connections)


def beside(streams: int, connections: int) -> Load:
    """The fixed load beside so many idle streams and connections."""

    async def measure(bench: Bench, running: Running, amount: int) -> float:
        return rate(await grow(bench, running, amount, streams, connections), requests=amount)

    number, kind = (streams, "stream") if streams else (connections, "connection")
    name = f"{number:,} idle {kind}{'s' if number > 1 else ''}"
    return Load(name, "requests/s", measure, WARM_UP, SECONDS)


def memory_of_stream(count: int) -> Load:
    """The memory of one idle stream, when there are so many. It comes first: the server is fresh."""

    async def measure(bench: Bench, running: Running, amount: int) -> float:
        streams = count if running.side == "trio_h2" else HYPERCORN_STREAMS
        return memory(await grow(bench, running, amount, streams, 0), streams)

    return Load(f"memory of an idle stream, of {count:,}", "KiB", measure, WARM_UP)


def memory_of_connection(count: int) -> Load:
    """The memory of one idle connection, likewise."""

    async def measure(bench: Bench, running: Running, amount: int) -> float:
        return memory(await grow(bench, running, amount, 0, count), count)

    return Load(f"memory of an idle connection, of {count:,}", "KiB", measure, WARM_UP)


def memory(report: Any, count: int) -> float:
    return (report["resident_after"] - report["resident_before"]) / count / 1024


def at_most(load: Load, kibibytes: float) -> Target:
    return Target(f"{load.name}: KiB", lambda results: results.median(load.name, "trio_h2"), at_most=kibibytes)


STREAM_STEPS = tuple(beside(number, 0) for number in (1, 10, 100, 1_000, 10_000))
CONNECTION_STEPS = tuple(beside(0, number) for number in (1, 10, 100, 1_000, 2_000))
STREAM_MEMORY, CONNECTION_MEMORY = memory_of_stream(10_000), memory_of_connection(2_000)


def last_over_first(steps: tuple[Load, ...]) -> Target:
    first, last = steps[0].name, steps[-1].name
    return Target(
        f"requests/s beside {last}, over {first}", lambda results: results.growth(last, "trio_h2"), at_least=0.95
    )


def workload(
    name: str, about: str, sides: tuple[Side, ...], loads: tuple[Load, ...], targets: tuple[Target, ...]
) -> Workload:
    """The first of the loads is of memory, the others are the steps."""
    return Workload(
        name=name,
        about=about,
        sides=sides,
        loads=loads,
        baseline="hypercorn-trio",
        targets=targets,
        series=loads[1].name,
    )


WORKLOADS = (
    workload(
        "growth_streams",
        f"small GETs, ten at once, on a connection with idle streams; hypercorn bears about {HYPERCORN_STREAMS}",
        (*and_before(OURS), replace(THEIRS, cannot=tuple(load.name for load in STREAM_STEPS[3:]))),
        (STREAM_MEMORY, *STREAM_STEPS),
        (last_over_first(STREAM_STEPS), at_most(STREAM_MEMORY, 12)),
    ),
    workload(
        "growth_connections",
        "small GETs, ten at once, on a connection beside idle ones",
        (OURS, THEIRS),
        (CONNECTION_MEMORY, *CONNECTION_STEPS),
        (
            flat("trio_h2", tuple(load.name for load in CONNECTION_STEPS), within=0.15),
            at_most(CONNECTION_MEMORY, 48),
        ),
    ),
)
