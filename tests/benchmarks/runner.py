"""Runs a workload: the sides in turn, round after round."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

import trio

from tests.benchmarks.bench import Bench
from tests.benchmarks.model import FAILED, Load, RefusedError, Results, Running, Side, Workload
from tests.benchmarks.report import machine
from tests.benchmarks.runtimes import AbsentError, check_present

T = TypeVar("T")


async def run_workload(
    bench: Bench,
    workload: Workload,
    *,
    sides: Sequence[Side] | None = None,
    rounds: int = 5,
    haste: float = 1.0,
    requests: int | None = None,
) -> Results:
    """All figures of a workload.

    `haste` divides the length of each measurement; `requests` fixes how many requests make one, whatever it takes.
    A side that is absent, does not start or fails a load is left out from then on, and named as missing.
    """
    results = Results(workload, taken=datetime.now(UTC).date().isoformat(), machine=machine())
    for number in range(rounds):
        for side in in_turn(workload.sides if sides is None else sides, number):
            if side.name in results.missing:
                continue
            print(f"{workload.name}: round {number + 1} of {rounds}, {side.name}", file=sys.stderr, flush=True)
            try:
                check_present(side.needs)
                with bench.running_on(side.runtime):
                    results.note(bench.runtimes.says(side.runtime, side.name))
                    await measure_side(bench, side, results, number, haste, requests)
            except AbsentError as error:
                results.missing[side.name] = str(error)
            except (AssertionError, RefusedError, trio.TooSlowError) as error:
                results.missing[side.name] = f"{FAILED} in round {number + 1}: {first_line(error)}"
                notes = getattr(error, "__notes__", ())
                print(f"{workload.name}: {side.name}: {error}", *notes, sep="\n", file=sys.stderr, flush=True)
    return results


async def measure_side(
    bench: Bench, side: Side, results: Results, number: int, haste: float, requests: int | None
) -> None:
    """A side's part of a round. An AssertionError says that it did not start, or did not run to the end."""
    async with side.start(bench) as running:
        for load in in_order(results.workload.loads, number):
            if load.name in side.cannot:
                continue
            try:
                figure = await measure(bench, side, load, running, haste=haste, requests=requests)
            except RefusedError as error:
                raise RefusedError(f"under {load.name}: {error}") from None
            results.add(load.name, side.name, figure)


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def in_turn(things: Sequence[T], number: int) -> list[T]:
    """The same things, each time with another one first."""
    first = number % len(things)
    return [*things[first:], *things[:first]]


def in_order(loads: Sequence[Load], number: int) -> list[Load]:
    """The loads of a round: every second round backwards, so that no load is always the last.

    Those that are measured once come first: what they measure wants a fresh side.
    """
    once = [load for load in loads if load.seconds is None]
    timed = [load for load in loads if load.seconds is not None]
    return [*once, *(timed if number % 2 == 0 else reversed(timed))]


async def measure(
    bench: Bench, side: Side, load: Load, running: Running, *, haste: float = 1.0, requests: int | None = None
) -> float:
    run = side.measure or load.measure
    if requests is not None:
        return await run(bench, running, requests)
    figure = await run(bench, running, load.amount)
    if load.seconds is None:
        return figure
    return await run(bench, running, next_amount(figure, load, haste))


def next_amount(figure: float, load: Load, haste: float) -> int:
    """How many requests fill the load's seconds at the rate that the first run had."""
    assert load.seconds is not None
    return max(load.amount, round(figure * load.seconds / haste))
