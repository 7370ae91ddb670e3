"""Memory over time: samples of a process, and whether they are flat."""

from __future__ import annotations

import ctypes
import gc
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.soak.wire import say

MIB = 1 << 20

SHORTEST = 20
"""Samples after the warm-up below which nothing is judged."""

BARS = {"rss": 4 * MIB, "objects": 10_000, "tasks": 150}
"""Growth over all of the measured time, after the warm-up, that still is flat: octets, objects, tasks.

They are about what two samples differ by as streams come and go, at any length of a run. A minute makes ten thousand
requests and three hundred connections, half an hour thirty times that: an object that each request leaves behind, or a
task that each connection does, passes its bar within a minute; fifteen octets of each request, or an object of every
thirtieth, do in half an hour.
"""


@dataclass(frozen=True)
class Sample:
    at: float
    rss: int
    objects: int
    tasks: int


def rss() -> int:
    """Resident octets of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


_trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)
"""glibc's: other C libraries give back by themselves what is free."""


def sample() -> Sample:
    """Now, without what is garbage, and without what the allocator only keeps for the next time."""
    gc.collect()
    _trim(0)
    return Sample(time.monotonic(), rss(), len(gc.get_objects()), trio.lowlevel.current_statistics().tasks_living)


async def report_samples(interval: float) -> None:
    """Say the process's memory again and again."""
    while True:
        now = sample()
        say("sample", rss=now.rss, objects=now.objects, tasks=now.tasks)
        await trio.sleep(interval)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the least-squares line through points."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


@dataclass(frozen=True)
class Trend:
    """What a line through a process's samples says of one quantity."""

    mean: float
    per_second: float
    growth: float
    """Over all of the measured time."""
    flat: bool | None
    """None if there are too few samples to tell."""


def trends(samples: Sequence[Sample], warm: float) -> dict[str, Trend]:
    """The trends of a process from the time `warm` on."""
    measured = [sample for sample in samples if sample.at >= warm]
    if len(measured) < 2:
        return {}
    length = measured[-1].at - measured[0].at
    found = {}
    for name, bar in BARS.items():
        points = [(sample.at, float(getattr(sample, name))) for sample in measured]
        per_second = slope(points)
        flat = None if len(measured) < SHORTEST else per_second * length <= bar
        found[name] = Trend(sum(y for _, y in points) / len(points), per_second, per_second * length, flat)
    return found
