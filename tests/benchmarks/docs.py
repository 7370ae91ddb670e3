"""Puts what was measured into `docs/performance.md`, between its marks, with the plot and the figures beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.bench import ROOT
from tests.benchmarks.model import Results, Workload
from tests.benchmarks.plot import draw
from tests.benchmarks.report import before_rows, markdown, markdown_table, target_rows

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- {}: begin -->", "<!-- {}: end -->"


def as_json(all_results: Sequence[Results]) -> dict[str, Any]:
    """Every single figure, and what they were taken on."""
    return {"workloads": [results.as_json() for results in all_results]}


def from_json(data: dict[str, Any], workloads: dict[str, Workload]) -> list[Results]:
    """The results of workloads that there still are, in the workloads' order."""
    by_name = {item["name"]: item for item in data["workloads"]}
    return [Results.from_json(workload, by_name[name]) for name, workload in workloads.items() if name in by_name]


def merged(old: Sequence[Results], new: Sequence[Results], workloads: dict[str, Workload]) -> list[Results]:
    """The new results, and the old ones of what was not measured anew, in the workloads' order."""
    by_name = {results.workload.name: results for results in [*old, *new]}
    return [by_name[name] for name in workloads if name in by_name]


def replaced(page: str, section: str, text: str) -> str:
    """The page with another text between the marks of a section."""
    begin, end = BEGIN.format(section), END.format(section)
    before, found, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"the page has no section between {begin} and {end}")
    return f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}"


def write_results(new: Sequence[Results], workloads: dict[str, Workload], page: Path = PAGE) -> None:
    """Rewrite the results in the page, the plot and the figures; keep those of workloads that are not among these."""
    figures, picture = page.with_suffix(".json"), page.with_suffix(".svg")
    old = from_json(json.loads(figures.read_text()), workloads) if figures.exists() else []
    all_results = merged(old, new, workloads)
    figures.write_text(json.dumps(as_json(all_results), indent=1) + "\n")
    draw(all_results, picture)
    before = before_rows(all_results)
    targets = [
        markdown_table(target_rows(all_results)),
        *(["What we do ourselves, before and after:", markdown_table(before, texts=3)] if before else []),
    ]
    write_section("targets", "\n\n".join(targets), page)
    machines = dict.fromkeys(line for results in all_results for line in results.machine.splitlines())
    sections = [
        "\n\n".join(machines),
        f"![The figures of the tables below, as bars and lines]({picture.name})",
        *map(markdown, all_results),
    ]
    write_section("results", "\n\n".join(sections), page)


def write_section(section: str, text: str, page: Path = PAGE) -> None:
    page.write_text(replaced(page.read_text(), section, text))
