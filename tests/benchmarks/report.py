"""The figures as text: tables for the terminal and for Markdown, and what they were taken on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from itertools import pairwise

from tests.benchmarks.model import Load, Results, Target

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


def verdicts(results: Results) -> list[str]:
    """A sentence for each target of which everything was measured."""
    sentences = []
    for target in results.workload.targets:
        try:
            figure = target.figure(results)
        except KeyError:
            continue
        sentences.append(verdict(target, figure))
    return sentences


def verdict(target: Target, figure: float) -> str:
    bound = target.at_least if target.at_least is not None else target.at_most
    assert bound is not None
    wanted = f"at least {bound:g}" if target.at_least is not None else f"at most {bound:g}"
    outcome = "reached" if target.reached(figure) else f"missed by {abs(1 - figure / bound):.0%}"
    return f"{target.says}: {number(figure)}, {wanted}: {outcome}"


def rounds(results: Results) -> str:
    counts = {len(figures) for figures in results.figures.values()}
    least, most = min(counts), max(counts)
    return f"{most} round{'s' if most > 1 else ''}" if least == most else f"{least} to {most} rounds"


def table(results: Results) -> str:
    """What the command prints for a workload."""
    workload = results.workload
    lines = [f"{workload.name}: {workload.about} ({rounds(results)})", *aligned(rows(results))]
    lines += [f"  {verdict}" for verdict in verdicts(results)]
    return "\n".join(lines)


def aligned(table: Sequence[Row]) -> list[str]:
    """In columns; a load that stands in the row above is not said again."""
    shown = [*table[:1]]
    for before, cells in pairwise(table):
        shown.append(("", *cells[1:]) if cells[0] == before[0] else cells)
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in shown
    ]


def markdown(results: Results) -> str:
    """The same for a page: a section with a table and the verdicts."""
    workload = results.workload
    head, *body = rows(results)
    lines = [
        f"### {workload.name}",
        "",
        f"{workload.about[0].upper()}{workload.about[1:]}. Taken on {results.taken}, {rounds(results)}.",
        "",
        _line(head),
        _line(["---", "---", *("---:" for _ in head[2:])]),
        *map(_line, body),
        "",
        *(f"- {verdict}" for verdict in verdicts(results)),
    ]
    return "\n".join(lines).rstrip()


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
