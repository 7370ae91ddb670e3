"""The figures as one picture, an SVG file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.model import OURS, Results
from tests.benchmarks.report import number

COLOURS = ("#9aa5b1", "#b8926a", "#7f9c7a", "#a98bb0", "#c2b280", "#8fb3c4")
OUR_COLOURS = ("#c8372d", "#e58a7f", "#a3453d", "#efb9b2")
"""Ours, and ours again: over TLS, before, on another Python."""

COLUMNS = 2


def draw(all_results: Sequence[Results], path: Path) -> None:
    """One panel for each workload: bars, or lines where the loads are steps of a growth."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.size": 9})
    from matplotlib import pyplot

    all_results = [results for results in all_results if results.figures]
    if not all_results:
        return
    heights = [1.2 + 0.22 * _bars(results) for results in all_results]
    lines = -(-len(heights) // COLUMNS)
    tallest = [max(heights[line * COLUMNS : (line + 1) * COLUMNS]) for line in range(lines)]
    figure, axes = pyplot.subplots(
        lines,
        COLUMNS,
        figsize=(6.5 * COLUMNS, sum(tallest)),
        gridspec_kw={"height_ratios": tallest},
        squeeze=False,
        layout="constrained",
    )
    panels = list(axes.flat)
    for axis, results in zip(panels, all_results, strict=False):
        (_bars_panel if results.workload.series is None else _growth_panel)(axis, results)
    for axis in panels[len(all_results) :]:
        axis.set_axis_off()
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def _bars(results: Results) -> int:
    if results.workload.series is not None:
        return 8
    return sum(len(results.sides(load.name)) + 1 for load in results.loads())


def _colours(results: Results) -> dict[str, str]:
    theirs, own = iter(COLOURS * 2), iter(OUR_COLOURS * 2)
    return {side.name: next(own if side.name.startswith(OURS) else theirs) for side in results.workload.sides}


def _frame(axis: Any, results: Results, unit: str) -> None:
    axis.set_title(results.workload.name, loc="left", fontweight="bold")
    axis.set_xlabel(unit)
    axis.spines[["top", "right"]].set_visible(False)


def _bars_panel(axis: Any, results: Results) -> None:
    """A bar for each median, from nought, with a whisker from the least to the most."""
    colours = _colours(results)
    at, ticks, labels = 0.0, [], []
    for load in results.loads():
        axis.text(0, at, f" {load.name}", va="center", fontsize=8, color="#444444")
        at += 1
        for side in results.sides(load.name):
            median, (least, most) = results.median(load.name, side), results.spread(load.name, side)
            axis.barh(at, median, height=0.8, color=colours[side])
            axis.plot([least, most], [at, at], color="#222222", linewidth=1)
            axis.text(most, at, _label(results, load.name, side), va="center", fontsize=8)
            ticks.append(at)
            labels.append(side)
            at += 1
    axis.set_yticks(ticks, labels)
    axis.set_ylim(at - 0.4, -0.6)
    axis.margins(x=0.2)
    axis.set_xlim(left=0)
    _frame(axis, results, ", ".join(dict.fromkeys(load.unit for load in results.loads())))


def _label(results: Results, load: str, side: str) -> str:
    baseline = results.workload.baseline
    if side == baseline or not results.has(load, baseline):
        return ""
    return f"  x {number(results.ratio(load, side))}"


def _growth_panel(axis: Any, results: Results) -> None:
    """For each side its rate at every step, as a part of the rate at the first."""
    colours = _colours(results)
    steps = [load for load in results.workload.loads if load.seconds is not None]
    assert results.workload.series is not None
    for side in results.sides(results.workload.series):
        measured = [(place, load.name) for place, load in enumerate(steps) if results.has(load.name, side)]
        places = [place for place, _ in measured]
        first = results.median(results.workload.series, side)
        spreads = [results.spread(load, side) for _, load in measured]
        growth = [results.growth(load, side) for _, load in measured]
        axis.plot(places, growth, marker="o", color=colours[side], label=side)
        axis.fill_between(
            places,
            [least / first for least, _ in spreads],
            [most / first for _, most in spreads],
            color=colours[side],
            alpha=0.15,
            linewidth=0,
        )
    axis.set_xticks(range(len(steps)), [load.name.partition(" ")[0] for load in steps])
    axis.set_ylim(bottom=0)
    axis.set_ylabel("requests/s, over the first step")
    if axis.lines:
        axis.legend(frameon=False, loc="lower left")
    _frame(axis, results, steps[0].name.partition(" ")[2] + "s")
