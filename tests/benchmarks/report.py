"""The figures as text: tables for the terminal and for Markdown, and what they were taken on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from itertools import pairwise

from tests.benchmarks.model import BEFORE, Load, Results, Target

PACKAGES = (
    "trio-h2",
    "trio",
    "hyperframe",
    "hpack",
    "h2",
    "starlette",
    "hypercorn",
    "granian",
    "h2corn",
    "uvloop",
    "httpcore",
    "httpcore2",
    "httpx2",
    "niquests",
    "grpclib",
    "grpcio",
)

Row = tuple[str, ...]


def number(figure: float) -> str:
    """Three digits, or all those before the point."""
    for digits, limit in ((3, 1), (2, 10), (1, 100)):
        if abs(figure) < limit:
            return f"{figure:.{digits}f}"
    return f"{figure:,.0f}"


def between(spread: tuple[float, float]) -> str:
    return f"{number(spread[0])} to {number(spread[1])}"


def rows(results: Results) -> list[Row]:
    """The head and then a row for each load and side."""
    workload = results.workload
    head = ["load", "side", "median", "spread", f"x {workload.baseline}", "spread"]
    if workload.series is not None:
        head.append("x first step")
    return [
        tuple(head),
        *(row(results, load, side) for load in results.loads() for side in results.sides(load.name)),
    ]


def row(results: Results, load: Load, side: str) -> Row:
    name = load.name
    cells = [name, side, f"{number(results.median(name, side))} {load.unit}", between(results.spread(name, side))]
    if results.has(name, results.workload.baseline):
        cells += [number(results.ratio(name, side)), between(results.ratio_spread(name, side))]
    else:
        cells += ["-", "-"]
    if results.workload.series is not None:
        is_step = load.seconds is not None and results.has(results.workload.series, side)
        cells.append(number(results.growth(name, side)) if is_step else "-")
    return tuple(cells)


# Targets ------------------------------------------------------------------------------------------


def target_rows(all_results: Sequence[Results], *, named: bool = True) -> list[Row]:
    """A row for each target of which everything was measured, below the head; [] if there is none.

    `named` has the workload's name in front. What was before is in it if that was measured anywhere.
    """
    reached = [
        (results, target, spread_of(target, results), spread_of(target, results.before()))
        for results in all_results
        for target in results.workload.targets
    ]
    reached = [row for row in reached if row[2] is not None]
    if not reached:
        return []
    with_before = any(older is not None for *_, older in reached)
    head = ["workload", "target", *(["before", "spread"] if with_before else []), "wanted", "reached", "spread"]
    rows = [tuple([*head, "short by"][not named :])]
    for results, target, now, older in reached:
        assert now is not None
        cells = [results.workload.name, target.says, *(figure_cells(older) if with_before else [])]
        cells += [wanted(target), *figure_cells(now), short_by(target, now[0])]
        rows.append(tuple(cells[not named :]))
    return rows


def spread_of(target: Target, results: Results) -> tuple[float, float, float] | None:
    """The target's figure, and the least and the most that it is in a round; None if something was not measured."""
    figures = []
    for each in (results, *results.rounds()):
        with suppress(KeyError):  # not every side has to be there to the last round
            figures.append(target.figure(each))
    return (figures[0], min(figures[1:]), max(figures[1:])) if figures else None


def figure_cells(figure: tuple[float, float, float] | None) -> list[str]:
    return ["-", "-"] if figure is None else [number(figure[0]), between(figure[1:])]


def wanted(target: Target) -> str:
    return f"at {'least' if target.at_least is not None else 'most'} {target.bound:g}"


def short_by(target: Target, figure: float) -> str:
    """Nothing if it is reached; else how far it is from there, as a part of the target."""
    return "-" if target.reached(figure) else f"{abs(1 - figure / target.bound):.0%}"


# Before and after ---------------------------------------------------------------------------------


def before_rows(all_results: Sequence[Results]) -> list[Row]:
    """A row for each load and side that was measured before and after, below the head; [] if there is none."""
    rows = [("workload", "load", "side", "before", "spread", "after", "spread", "x before", "spread")]
    for results in all_results:
        for load in results.loads():
            for side in results.sides(load.name):
                older = side + BEFORE
                if results.has(load.name, older):
                    rows.append((results.workload.name, load.name, side, *before_cells(results, load, side, older)))
    return rows if len(rows) > 1 else []


def before_cells(results: Results, load: Load, side: str, older: str) -> Row:
    medians = [
        cell
        for each in (older, side)
        for cell in (f"{number(results.median(load.name, each))} {load.unit}", between(results.spread(load.name, each)))
    ]
    return (
        *medians,
        number(results.ratio(load.name, side, older)),
        between(results.ratio_spread(load.name, side, older)),
    )


# Whole workloads ----------------------------------------------------------------------------------


def missing(results: Results) -> list[str]:
    return [f"{side} is missing: {why}" for side, why in results.missing.items()]


def rounds(results: Results) -> str:
    counts = {len(figures) for figures in results.figures.values()}
    least, most = min(counts, default=0), max(counts, default=0)
    return f"{most} round{'' if most == 1 else 's'}" if least == most else f"{least} to {most} rounds"


def table(results: Results) -> str:
    """What the command prints for a workload."""
    workload = results.workload
    lines = [f"{workload.name}: {workload.about} ({rounds(results)})", *aligned(rows(results))]
    if targets := target_rows([results], named=False):
        lines += ["", *aligned(targets, texts=1)]
    lines += [f"  {sentence}" for sentence in missing(results)]
    return "\n".join(lines)


def summary(all_results: Sequence[Results]) -> str:
    """What the command prints at the end: all the targets, and what was before."""
    tables = [(target_rows(all_results), 2), (before_rows(all_results), 3)]
    return "\n\n".join("\n".join(aligned(rows, texts=texts)) for rows, texts in tables if rows)


def aligned(table: Sequence[Row], texts: int = 2) -> list[str]:
    """In columns, so many of text and then numbers; a load that stands in the row above is not said again."""
    shown = [*table[:1]]
    for before, cells in pairwise(table):
        shown.append(("", *cells[1:]) if cells[0] == before[0] else cells)
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if column < texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in shown
    ]


def markdown(results: Results) -> str:
    """The same for a page: a section with a table, the targets, and what is missing."""
    workload = results.workload
    parts = [
        f"### {workload.name}",
        f"{workload.about[0].upper()}{workload.about[1:]}. Taken on {results.taken}, {rounds(results)}.",
        markdown_table(rows(results)),
        markdown_table(target_rows([results], named=False), texts=1),
        "\n".join(f"- {sentence}" for sentence in missing(results)),
    ]
    return "\n\n".join(filter(None, parts))


def markdown_table(rows: Sequence[Row], texts: int = 2) -> str:
    """A table for a page: so many columns of text, then numbers. Nothing for no rows."""
    if not rows:
        return ""
    head, *body = rows
    under = tuple("---" if column < texts else "---:" for column in range(len(head)))
    return "\n".join(map(_line, (head, under, *body)))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def machine() -> str:
    """A sentence on what the figures are taken on."""
    versions = {package: _version(package) for package in PACKAGES}
    packages = ", ".join(f"{package} {version}" for package, version in versions.items() if version)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python} on {platform.system()}, {os.cpu_count()} cores; {packages}."


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
