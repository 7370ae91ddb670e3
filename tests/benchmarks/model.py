"""What a benchmark is made of, and what it measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field


class RefusedError(Exception):
    """A load that did not succeed wholly: its figure means nothing."""


@dataclass(frozen=True)
class Side:
    """A server to be measured."""

    name: str
    command: Callable[[int], list[str]]
    """The command line that serves on the given port of loopback."""


@dataclass(frozen=True)
class Load:
    """What a side is put under, and how its figure is read."""

    name: str
    command: Callable[[int, int], list[str]]
    """The command line that makes this many requests of the given port of loopback."""
    figure: Callable[[str], float]
    """The figure in what that command wrote; more is better. It raises RefusedError when anything failed."""
    unit: str
    requests: int
    """How many requests make one measurement."""
    warm_up: int
    """How many are made before it."""


@dataclass(frozen=True)
class Workload:
    name: str
    about: str
    sides: tuple[Side, ...]
    loads: tuple[Load, ...]
    baseline: str
    """The name of the side that the ratios are against."""


@dataclass
class Results:
    """The figures of one workload, by load and side, in the order of the rounds."""

    workload: Workload
    figures: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def add(self, load: Load, side: Side, figure: float) -> None:
        self.figures.setdefault((load.name, side.name), []).append(figure)

    def median(self, load: Load, side: str) -> float:
        return statistics.median(self.figures[load.name, side])

    def spread(self, load: Load, side: str) -> tuple[float, float]:
        """The least and the most, as parts of the median."""
        figures = self.figures[load.name, side]
        middle = statistics.median(figures)
        return min(figures) / middle, max(figures) / middle

    def ratio(self, load: Load, side: str) -> float:
        """The median over the baseline's median."""
        return self.median(load, side) / self.median(load, self.workload.baseline)
