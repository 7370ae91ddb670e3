"""What came of a soak, and whether it held."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, astuple
from typing import Any

from tests.soak.memory import MIB, Sample, trends

SHOWN = 60
"""How many complaints of a kind are kept: one is enough, and there may be no end of them."""

LATE = 0.5
"""Seconds by which a shutdown may exceed its grace."""

WARM_SHARE, WARM_MOST = 0.25, 120.0
"""The warm-up: this share of the run, and at most so many seconds."""

JUDGED = ("server 0", "client 0", "client 1")
"""The processes whose memory counts; of the others it is shown."""


class Report:
    """Collects; `checks` says what held."""

    def __init__(self, seed: str, seconds: float, connections: int) -> None:
        self.seed = seed
        self.seconds = seconds
        self.connections = connections
        self.began = self.stopped = 0.0
        self.samples: dict[str, list[Sample]] = defaultdict(list)
        self.injected: Counter[str] = Counter()
        self.made: dict[str, Counter[str]] = {}
        self.explained: Counter[str] = Counter()
        self.unexplained: list[dict[str, Any]] = []
        self.wrong: list[str] = []
        self.noises: list[str] = []
        self.latency: dict[str, float] = {}
        self.limits_hit: Counter[str] = Counter()
        self.left: list[str] = []
        self.outlived: list[str] = []
        self.shutdowns = 0
        self.latest_shutdown = -float("inf")
        self._unexplained = 0

    def failure(self, failure: dict[str, Any], fault: str | None) -> None:
        """A request failed, by this fault or by none."""
        if fault is not None:
            self.explained[fault] += 1
            return
        self._unexplained += 1
        _keep(self.unexplained, failure)

    def broken(self, what: str) -> None:
        """Something is wrong that no fault excuses."""
        _keep(self.wrong, what)

    def outlives(self, what: str) -> None:
        """Something was still there when `shutdown()` returned, and could have ended."""
        _keep(self.outlived, what)

    def noise(self, line: str) -> None:
        """A process wrote to standard error."""
        _keep(self.noises, line)

    def ended(
        self,
        name: str,
        *,
        took: float,
        grace: float,
        alive: int,
        tasks_left: int,
        limits_hit: dict[str, int],
        made: dict[str, int] | None = None,
    ) -> None:
        """A server's shutdown has returned, or a client has closed all it had."""
        self.limits_hit.update(limits_hit)
        if tasks_left:
            _keep(self.left, f"{name}: {tasks_left} tasks")
        if alive:
            self.outlives(f"{name}: {alive} handlers that could be cancelled")
        if made is None:
            self.shutdowns += 1
            self.latest_shutdown = max(self.latest_shutdown, took - grace)

    @property
    def total(self) -> Counter[str]:
        """What all clients made."""
        return sum(self.made.values(), Counter())

    def _trends(self) -> dict[str, dict[str, Any]]:
        warm = self.began + min(WARM_MOST, WARM_SHARE * self.seconds)
        found = {}
        for name, samples in self.samples.items():
            measured = [sample for sample in samples if sample.at <= self.stopped]
            found[name] = {what: asdict(trend) for what, trend in trends(measured, warm).items()}
        return found

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        total = self.total
        memory = self._trends()
        flat = [trend["flat"] for name in JUDGED for trend in memory.get(name, {}).values()]
        ends = total["completed"] + total["failed"] + total["cancelled"]
        checks = {
            "no request lost that no fault hit": not self._unexplained,
            "every request accounted for": bool(total["requests"]) and total["requests"] == ends,
            "every answer right": not self.wrong,
            "nothing on standard error": not self.noises,
            "no task left": not self.left,
            "no limit reached": not self.limits_hit,
            "memory flat": False not in flat,
            "shutdowns in time": self.latest_shutdown <= LATE and not self.outlived,
        }
        return {
            "seed": self.seed,
            "seconds": self.seconds,
            "connections": self.connections,
            "requests": dict(total),
            "injected": dict(self.injected),
            "failures explained": dict(self.explained),
            "failures unexplained": {"count": self._unexplained, "some": self.unexplained},
            "wrong": self.wrong,
            "standard error": self.noises,
            "left": self.left,
            "outlived a shutdown": self.outlived,
            "limits_hit": dict(self.limits_hit),
            "shutdowns": {"count": self.shutdowns, "latest_after_grace": self.latest_shutdown},
            "bystander": self.latency,
            "memory": memory,
            "samples": {name: [astuple(sample) for sample in samples] for name, samples in self.samples.items()},
            "checks": checks,
            "held": all(checks.values()),
        }


def _keep(complaints: list[Any], one: Any) -> None:
    if len(complaints) < SHOWN:
        complaints.append(one)


def summary(report: dict[str, Any]) -> str:
    """A report in a screenful."""
    requests = report["requests"]
    lines = [
        f"{report['seconds']:g} s, {report['connections']} connections at a time, seed {report['seed']}",
        "requests:  " + _counts(requests),
        "injected:  " + _counts(report["injected"]),
        "failures:  " + (_counts(report["failures explained"]) or "none"),
        f"shutdowns: {report['shutdowns']['count']}, "
        f"the latest {report['shutdowns']['latest_after_grace']:+.2f} s from the end of its grace",
    ]
    if report["bystander"]:
        latency = {name: f"{1000 * seconds:.1f} ms" for name, seconds in report["bystander"].items() if name != "count"}
        lines.append(f"bystander: {report['bystander']['count']} requests on schedule, {_counts(latency)}")
    for name, trends_of in report["memory"].items():
        if trends_of:
            lines.append(f"memory:    {name}: {', '.join(_trend(what, trend) for what, trend in trends_of.items())}")
    for complaints in ("wrong", "standard error", "left", "outlived a shutdown"):
        lines += [f"{complaints}: {complaint}" for complaint in report[complaints]]
    lines += [f"unexplained: {failure}" for failure in report["failures unexplained"]["some"]]
    lines += [f"limit reached: {name}, {count} times" for name, count in report["limits_hit"].items()]
    lines += [f"{'held' if held else 'BROKEN'}: {check}" for check, held in report["checks"].items()]
    return "\n".join(lines)


def _counts(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _trend(what: str, trend: dict[str, Any]) -> str:
    unit, scale = (" MiB", MIB) if what == "rss" else ("", 1)
    mark = {True: "flat", False: "GROWS", None: "too short to tell"}[trend["flat"]]
    return f"{what} {trend['mean'] / scale:.1f}{unit} {trend['growth'] / scale:+.2f}{unit} ({mark})"
