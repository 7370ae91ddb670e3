"""`python -m tests.benchmarks [name...]`: see the package's docstring."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import trio

from tests.benchmarks import calls
from tests.benchmarks.bench import ROOT, Bench, open_bench, require_programs
from tests.benchmarks.docs import as_json, from_json, write_results, write_section
from tests.benchmarks.model import RefusedError, Results, Side, Workload
from tests.benchmarks.plot import draw
from tests.benchmarks.profile import PROFILES, profile
from tests.benchmarks.report import machine, table
from tests.benchmarks.runner import run_workload
from tests.benchmarks.workloads import find_workloads

WORKLOADS = find_workloads()
OUTPUT = ROOT / ".benchmarks"
CALLS = "calls"
ROUNDS, QUICK_ROUNDS, QUICK_HASTE = 5, 2, 4.0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure HTTP/2 stacks side by side on the same core; print medians, ratios and spread.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="name",
        help=f"workloads, all by default: {', '.join(WORKLOADS)}; or `calls` alone, which counts in place of measuring",
    )
    parser.add_argument("--rounds", type=int, help=f"measurements of each side (default: {ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="short measurements, few rounds: does everything work?")
    parser.add_argument("--requests", type=int, help="requests of each measurement, in place of a length of time")
    parser.add_argument("--side", action="append", help="measure this side only; may be repeated")
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help="where latest.json and latest.svg go (default: .benchmarks)"
    )
    parser.add_argument("--docs", action="store_true", help="rewrite the results in docs/performance.md, too")
    parser.add_argument("--load", type=Path, metavar="JSON", help="measure nothing, take the figures of that file")
    parser.add_argument(
        "--profile",
        action="store_true",
        help=f"print where the time of one side goes, in place of figures: {', '.join(PROFILES)}",
    )
    arguments = parser.parse_args()
    known = PROFILES if arguments.profile else WORKLOADS
    if arguments.names == [CALLS]:
        return arguments
    arguments.names = arguments.names or list(known)
    for name in arguments.names:
        if name not in known:
            parser.error(f"no workload {name!r}; there are: {', '.join(known)}")
    if arguments.rounds is None:
        arguments.rounds = QUICK_ROUNDS if arguments.quick else ROUNDS
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    return arguments


def chosen_sides(workload: Workload, names: list[str] | None) -> list[Side]:
    sides = [side for side in workload.sides if names is None or side.name in names]
    if not sides:
        raise SystemExit(f"{workload.name} has none of these sides; it has: {[side.name for side in workload.sides]}")
    return sides


def measured(bench: Bench, arguments: argparse.Namespace, name: str) -> Results | None:
    """The results of a workload; None, and a word why, when a load was refused."""

    async def run() -> Results:
        return await run_workload(
            bench,
            WORKLOADS[name],
            sides=chosen_sides(WORKLOADS[name], arguments.side),
            rounds=arguments.rounds,
            haste=QUICK_HASTE if arguments.quick else 1.0,
            requests=arguments.requests,
        )

    try:
        return trio.run(run)
    except RefusedError as error:
        print(f"{name}: refused: {error}", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr, flush=True)
        return None


def write_output(directory: Path, all_results: list[Results]) -> None:
    directory.mkdir(exist_ok=True)
    if directory == OUTPUT:
        (directory / ".gitignore").write_text("*\n")
    (directory / "latest.json").write_text(json.dumps(as_json(all_results), indent=1) + "\n")
    draw(all_results, directory / "latest.svg")


def print_profiles(arguments: argparse.Namespace) -> None:
    texts = []
    with open_bench() as bench:
        for name in arguments.names:
            texts.append(trio.run(profile, bench, name))
            print(texts[-1], end="\n\n", flush=True)
    if arguments.docs:
        write_section("profile", "\n\n".join(f"```\n{text}\n```" for text in texts))


def measure_all(arguments: argparse.Namespace) -> list[Results]:
    """Measure, print and keep each workload as it is done."""
    all_results: list[Results] = []
    print(machine(), end="\n\n", flush=True)
    with open_bench() as bench:
        for name in arguments.names:
            results = measured(bench, arguments, name)
            if results is not None:
                all_results.append(results)
                print(table(results), end="\n\n", flush=True)
                write_output(arguments.output, all_results)
    return all_results


def loaded(path: Path) -> list[Results]:
    all_results = from_json(json.loads(path.read_text()), WORKLOADS)
    print("\n\n".join(map(table, all_results)))
    return all_results


def main() -> None:
    arguments = parse_arguments()
    if arguments.names == [CALLS]:
        counted = calls.table()
        print(counted)
        if arguments.docs:
            write_section("calls", f"```\n{counted}\n```")
        return
    require_programs("taskset", "h2load", "nghttpd", "curl")
    if arguments.profile:
        print_profiles(arguments)
        return
    all_results = loaded(arguments.load) if arguments.load is not None else measure_all(arguments)
    if arguments.docs:
        write_results(all_results, WORKLOADS)
    if arguments.load is None and len(all_results) < len(arguments.names):
        sys.exit(1)


main()
