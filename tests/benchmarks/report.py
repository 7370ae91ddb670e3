"""The table of a workload's figures, and the same as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from tests.benchmarks.model import Load, Results

PACKAGES = ("trio-h2", "trio", "hyperframe", "hpack", "hypercorn", "h2")


def table(results: Results) -> str:
    """Medians, ratios against the baseline and spread, one load under the other."""
    workload = results.workload
    lines = [f"{workload.name}: {workload.about}"]
    for load in workload.loads:
        lines += ["", *_load_table(results, load)]
    return "\n".join(lines)


def _load_table(results: Results, load: Load) -> list[str]:
    rows = [("", f"median {load.unit}", f"x {results.workload.baseline}", "least ... most of the median")]
    for side in _sides(results, load):
        least, most = results.spread(load, side)
        rows.append(
            (
                side,
                f"{results.median(load, side):,.0f}",
                _ratio(results, load, side),
                f"{least:.2f} ... {most:.2f}",
            )
        )
    rounds = len(results.figures[load.name, rows[1][0]])
    return [f"{load.name} -n{load.requests}, {rounds} rounds", *_aligned(rows)]


def _ratio(results: Results, load: Load, side: str) -> str:
    return f"{results.ratio(load, side):.2f}" if _has_baseline(results, load) else "-"


def _has_baseline(results: Results, load: Load) -> bool:
    return (load.name, results.workload.baseline) in results.figures


def _sides(results: Results, load: Load) -> list[str]:
    """The sides measured, in the workload's order."""
    return [side.name for side in results.workload.sides if (load.name, side.name) in results.figures]


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]


def as_json(all_results: Sequence[Results]) -> dict[str, Any]:
    """Every single figure, the medians and ratios, and what they were taken on."""
    return {
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "packages": _versions(),
        },
        "workloads": [
            {
                "name": results.workload.name,
                "about": results.workload.about,
                "baseline": results.workload.baseline,
                "loads": [_load_json(results, load) for load in results.workload.loads],
            }
            for results in all_results
        ],
    }


def _load_json(results: Results, load: Load) -> dict[str, Any]:
    return {
        "name": load.name,
        "unit": load.unit,
        "requests": load.requests,
        "sides": {
            side: {
                "figures": results.figures[load.name, side],
                "median": results.median(load, side),
                "ratio": results.ratio(load, side) if _has_baseline(results, load) else None,
            }
            for side in _sides(results, load)
        },
    }


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
