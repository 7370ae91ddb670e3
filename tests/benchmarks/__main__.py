"""`python -m tests.benchmarks [name...]`: see the package's docstring."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import trio

from tests.benchmarks.model import RefusedError, Side, Workload
from tests.benchmarks.report import as_json, table
from tests.benchmarks.runner import require_programs, run_workload
from tests.benchmarks.workloads import WORKLOADS


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure servers side by side on the same core; print medians, ratios and spread.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"workloads, all by default: {', '.join(WORKLOADS)}"
    )
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each side (default: 5)")
    parser.add_argument(
        "--requests", type=int, help="requests of each measurement (default: the workload's own)"
    )
    parser.add_argument("--side", action="append", help="measure this side only; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there, too")
    arguments = parser.parse_args()
    arguments.names = arguments.names or list(WORKLOADS)
    for name in arguments.names:
        if name not in WORKLOADS:
            parser.error(f"no workload {name!r}; there are: {', '.join(WORKLOADS)}")
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    return arguments


def chosen_sides(workload: Workload, names: list[str] | None) -> tuple[Side, ...]:
    sides = tuple(side for side in workload.sides if names is None or side.name in names)
    if not sides:
        raise SystemExit(
            f"{workload.name} has none of these sides; it has: {[side.name for side in workload.sides]}"
        )
    return sides


def with_requests(workload: Workload, requests: int | None) -> Workload:
    if requests is None:
        return workload
    return replace(workload, loads=tuple(replace(load, requests=requests) for load in workload.loads))


def main() -> None:
    arguments = parse_arguments()
    require_programs("taskset", "h2load")
    all_results = []
    for name in arguments.names:
        workload = with_requests(WORKLOADS[name], arguments.requests)
        sides = chosen_sides(workload, arguments.side)
        try:
            results = trio.run(run_workload, workload, sides, arguments.rounds)
        except RefusedError as error:
            notes = "\n".join(getattr(error, "__notes__", ()))
            sys.exit(f"refused: {error}\n{notes}")
        print(table(results), end="\n\n", flush=True)
        all_results.append(results)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(as_json(all_results), indent=2) + "\n")


main()
