"""A workload, and figures of it, for the tests of the harness."""

from __future__ import annotations

from tests.benchmarks import bench
from tests.benchmarks.model import Load, Results, Running, Side, Workload


async def never(bench: bench.Bench, running: Running, amount: int) -> float:
    raise AssertionError


def workload(**changes: object) -> Workload:
    arguments: dict[str, object] = {
        "name": "example",
        "about": "an example",
        "sides": tuple(Side(name, bench.nothing) for name in ("trio_h2", "peer", "other")),
        "loads": (Load("one", "requests/s", never, 10, 1.0), Load("many", "requests/s", never, 10, 1.0)),
        "baseline": "peer",
    }
    return Workload(**{**arguments, **changes})  # type: ignore[arg-type]


def results(figures: dict[tuple[str, str], list[float]], **changes: object) -> Results:
    return Results(workload(**changes), figures, "2020-02-02", "Some Python on some machine.")


FIGURES = {
    ("one", "trio_h2"): [100.0, 120.0, 200.0],
    ("one", "peer"): [10.0, 30.0, 20.0],
    ("many", "trio_h2"): [60.0, 90.0, 90.0],
}
