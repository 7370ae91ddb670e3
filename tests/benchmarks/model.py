"""What a benchmark is made of, and what it measured."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tests.benchmarks.runtimes import HERE, Runtime

if TYPE_CHECKING:
    from tests.benchmarks.bench import Bench


class RefusedError(Exception):
    """A load that did not succeed wholly: its figure means nothing."""


@dataclass(frozen=True)
class Running:
    """A side that is ready to be measured."""

    side: str
    """The name by which the harness's own programs know it."""
    port: int = 0
    """Where a load finds the server: the side itself, or what a measured client talks to."""
    scheme: str = "http"
    pid: int = 0
    """Of the measured server."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


Measure = Callable[["Bench", Running, int], Awaitable[float]]
"""Puts a running side under this many requests (or whatever the load counts) and returns the figure.

It raises RefusedError when anything failed."""


@dataclass(frozen=True)
class Side:
    """A program to be measured."""

    name: str
    start: Callable[[Bench], AbstractAsyncContextManager[Running]]
    measure: Measure | None = None
    """What to do in place of the load's own `measure`, for a side that speaks no HTTP."""
    cannot: tuple[str, ...] = ()
    """The names of loads that it is not put under."""
    needs: tuple[str, ...] = ()
    """The modules and programs without which it is absent."""
    runtime: Runtime = HERE
    """What its programs run on."""


def on_python(version: str, side: Side) -> Side:
    """The same side on another Python."""
    return replace(side, name=f"{side.name} ({version})", runtime=replace(side.runtime, python=version))


OURS, BEFORE = "trio_h2", ", before"


def before(side: Side) -> Side:
    """The same side with the trio_h2 of the older checkout."""
    return replace(side, name=side.name + BEFORE, runtime=replace(side.runtime, before=True))


def and_before(*sides: Side) -> tuple[Side, ...]:
    """Each of these, and after it the same from before."""
    return tuple(each for side in sides for each in (side, before(side)))


@dataclass(frozen=True)
class Load:
    """What a side is put under."""

    name: str
    unit: str
    measure: Measure
    amount: int
    """How many requests, or whatever the load counts, the first run makes."""
    seconds: float | None = None
    """How long the second run shall take; from the first, which warms up, the runner learns how many requests that
    is, taking the figure for a number of them a second. None: the first run is the only one."""


@dataclass(frozen=True)
class Target:
    """A figure that must come out of the results, and its bound."""

    says: str
    figure: Callable[[Results], float]
    """A KeyError says that not everything was measured."""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def bound(self) -> float:
        bound = self.at_least if self.at_least is not None else self.at_most
        assert bound is not None
        return bound

    def reached(self, figure: float) -> bool:
        return (self.at_least is None or figure >= self.at_least) and (self.at_most is None or figure <= self.at_most)


@dataclass(frozen=True)
class Workload:
    name: str
    about: str
    sides: tuple[Side, ...]
    loads: tuple[Load, ...]
    baseline: str
    """The name of the side that the ratios are against."""
    targets: tuple[Target, ...] = ()
    series: str | None = None
    """The name of the load that the others are compared with, where the loads are steps of a growth."""


FAILED = "failed"


@dataclass
class Results:
    """The figures of one workload, by load and side, in the order of the rounds."""

    workload: Workload
    figures: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    taken: str = ""
    """When, as a date."""
    machine: str = ""
    """On what: sentences, each a line."""
    missing: dict[str, str] = field(default_factory=dict)
    """The sides that were not measured, or not to the end, and why."""

    def add(self, load: str, side: str, figure: float) -> None:
        self.figures.setdefault((load, side), []).append(figure)

    def note(self, sentence: str) -> None:
        """One more sentence on what the figures are taken on, once."""
        if sentence and sentence not in self.machine.splitlines():
            self.machine += f"\n{sentence}"

    def has(self, load: str, side: str) -> bool:
        return (load, side) in self.figures

    def sides(self, load: str) -> list[str]:
        """The sides measured under a load, in the workload's order."""
        return [side.name for side in self.workload.sides if self.has(load, side.name)]

    def loads(self) -> list[Load]:
        """The loads of which there is a figure."""
        return [load for load in self.workload.loads if self.sides(load.name)]

    def median(self, load: str, side: str) -> float:
        return statistics.median(self.figures[load, side])

    def spread(self, load: str, side: str) -> tuple[float, float]:
        """The least and the most."""
        figures = self.figures[load, side]
        return min(figures), max(figures)

    def ratio(self, load: str, side: str, against: str | None = None) -> float:
        """The median over another side's (by default the baseline's) median."""
        return self.median(load, side) / self.median(load, against or self.workload.baseline)

    def ratio_spread(self, load: str, side: str, against: str | None = None) -> tuple[float, float]:
        """The least and the most of the rounds' ratios: within a round, both sides met the same neighbours."""
        others = self.figures[load, against or self.workload.baseline]
        ratios = [figure / other for figure, other in zip(self.figures[load, side], others, strict=False)]
        return min(ratios), max(ratios)

    def growth(self, load: str, side: str) -> float:
        """The median over the same side's median under the series' first load."""
        assert self.workload.series is not None
        return self.median(load, side) / self.median(self.workload.series, side)

    @property
    def failed(self) -> bool:
        """Did a side that is there fail?"""
        return any(why.startswith(FAILED) for why in self.missing.values())

    def rounds(self) -> list[Results]:
        """The figures of each round by themselves; a side that was not measured in a round is missing there."""
        number = max(map(len, self.figures.values()), default=0)
        return [
            replace(self, figures={key: [all_of[one]] for key, all_of in self.figures.items() if one < len(all_of)})
            for one in range(number)
        ]

    def before(self) -> Results:
        """As if what the older checkout has reached were our figures. Without it, none of ours."""
        others = {key: figures for key, figures in self.figures.items() if not key[1].startswith(OURS)}
        older = {
            (load, side.removesuffix(BEFORE)): figures
            for (load, side), figures in self.figures.items()
            if side.endswith(BEFORE)
        }
        return replace(self, figures=others | older)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.workload.name,
            "taken": self.taken,
            "machine": self.machine,
            "missing": self.missing,
            "figures": [
                {"load": load, "side": side, "figures": figures} for (load, side), figures in self.figures.items()
            ],
        }

    @classmethod
    def from_json(cls, workload: Workload, data: dict[str, Any]) -> Results:
        figures = {(row["load"], row["side"]): row["figures"] for row in data["figures"]}
        return cls(workload, figures, data["taken"], data["machine"], data.get("missing", {}))


# Targets ------------------------------------------------------------------------------------------


def times(load: str, against: str, at_least: float, *, side: str = OURS) -> Target:
    """Our figure, or that of another of our sides, is at least so many times one of the others'."""
    says = f"{at_least:g} x {against} under {load}" if side == OURS else f"{side} {at_least:g} x {against} under {load}"
    return Target(says, lambda results: results.ratio(load, side, against), at_least=at_least)


def ahead_of(load: str, *others: str, at_least: float = 1.0) -> Target:
    """Our figure is at least so many times that of each of these sides."""

    def figure(results: Results) -> float:
        return min(results.ratio(load, OURS, other) for other in others)

    says = f"ahead of {' and '.join(others)}" if at_least == 1 else f"{at_least:g} x the best of {', '.join(others)}"
    return Target(f"{says} under {load}", figure, at_least=at_least)


def flat(side: str, loads: tuple[str, ...], within: float) -> Target:
    """The figure under every load of a series is no more than that part below the first one."""

    def figure(results: Results) -> float:
        return min(results.growth(load, side) for load in loads)

    return Target(f"the slowest step of {side}, over the first", figure, at_least=1 - within)
