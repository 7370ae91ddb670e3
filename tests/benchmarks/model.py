"""What a benchmark is made of, and what it measured."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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


@dataclass
class Results:
    """The figures of one workload, by load and side, in the order of the rounds."""

    workload: Workload
    figures: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    taken: str = ""
    """When, as a date."""
    machine: str = ""
    """On what: a sentence."""

    def add(self, load: str, side: str, figure: float) -> None:
        self.figures.setdefault((load, side), []).append(figure)

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

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.workload.name,
            "taken": self.taken,
            "machine": self.machine,
            "figures": [
                {"load": load, "side": side, "figures": figures} for (load, side), figures in self.figures.items()
            ],
        }

    @classmethod
    def from_json(cls, workload: Workload, data: dict[str, Any]) -> Results:
        figures = {(row["load"], row["side"]): row["figures"] for row in data["figures"]}
        return cls(workload, figures, data["taken"], data["machine"])


# Targets ------------------------------------------------------------------------------------------

OURS = "trio_h2"


def times(load: str, against: str, at_least: float, *, side: str = OURS) -> Target:
    """Our figure, or that of another of our sides, is at least so many times one of the others'."""
    says = f"{at_least:g} x {against} under {load}" if side == OURS else f"{side} {at_least:g} x {against} under {load}"
    return Target(says, lambda results: results.ratio(load, side, against), at_least=at_least)


def ahead_of(load: str, *others: str) -> Target:
    """Our figure is above that of each of these sides."""

    def figure(results: Results) -> float:
        return min(results.ratio(load, OURS, other) for other in others)

    return Target(f"ahead of {' and '.join(others)} under {load}", figure, at_least=1.0)


def flat(side: str, loads: tuple[str, ...], within: float) -> Target:
    """The figure under every load of a series is no more than that part below the first one."""

    def figure(results: Results) -> float:
        return min(results.growth(load, side) for load in loads)

    return Target(f"the slowest step of {side}, over the first", figure, at_least=1 - within)
