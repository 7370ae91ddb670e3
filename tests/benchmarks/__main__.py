"""`python -m tests.benchmarks [name...]`: see the package's docstring."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import trio

from tests.benchmarks import calls
from tests.benchmarks.bench import ROOT, Bench, open_bench, require_programs
from tests.benchmarks.docs import as_json, from_json, write_results, write_section
from tests.benchmarks.model import Results, Side, Workload
from tests.benchmarks.plot import draw
from tests.benchmarks.profile import BY_OWNER, PROFILES, owner_rows, profile
from tests.benchmarks.report import aligned, machine, markdown_table, summary, table
from tests.benchmarks.runner import run_workload
from tests.benchmarks.runtimes import Runtime, Runtimes
from tests.benchmarks.workloads import find_workloads

WORKLOADS = find_workloads()
OUTPUT = ROOT / ".benchmarks"
CALLS, PROFILE = "calls", "profile"
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
        help=f"workloads, all by default: {', '.join(WORKLOADS)}; or `{CALLS}`, which counts in place of measuring; or "
        f"`{PROFILE}`, which prints where the time goes, and which of these, all by default: {', '.join(PROFILES)}",
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
        "--python",
        action="append",
        default=[],
        metavar="VERSION=PATH",
        help="another Python, such as 3.13=/usr/bin/python3.13; the others are looked for on PATH",
    )
    parser.add_argument(
        "--before", type=Path, metavar="TREE", help="an older checkout: measure its trio_h2 beside the one here"
    )
    arguments = parser.parse_args()
    check_arguments(parser, arguments)
    return arguments


def check_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Fill in what was not given, and end with an error for what is wrong."""
    for pair in arguments.python:
        if not re.fullmatch(r"\d+\.\d+=.+", pair):
            parser.error(f"--python {pair!r} is not VERSION=PATH")
    arguments.python = dict(pair.split("=", 1) for pair in arguments.python)
    if arguments.before is not None and not (arguments.before / "trio_h2" / "__init__.py").exists():
        parser.error(f"--before {arguments.before} is no checkout: it has no trio_h2")
    arguments.what, known = None, WORKLOADS
    if arguments.names[:1] in ([CALLS], [PROFILE]):
        arguments.what, *arguments.names = arguments.names
        known = PROFILES if arguments.what == PROFILE else {}
    for name in arguments.names:
        if name not in known:
            parser.error(f"there is no {name!r} in {', '.join(known) or arguments.what}")
    arguments.names = arguments.names or list(known)
    if arguments.rounds is None:
        arguments.rounds = QUICK_ROUNDS if arguments.quick else ROUNDS
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")


def chosen_sides(workload: Workload, names: list[str] | None, with_before: bool) -> list[Side]:
    sides = [side for side in workload.sides if names is None or side.name in names]
    sides = [side for side in sides if with_before or not side.runtime.before]
    if not sides:
        raise SystemExit(f"{workload.name} has none of these sides; it has: {[side.name for side in workload.sides]}")
    return sides


def measured(bench: Bench, arguments: argparse.Namespace, name: str) -> Results:
    async def run() -> Results:
        return await run_workload(
            bench,
            WORKLOADS[name],
            sides=chosen_sides(WORKLOADS[name], arguments.side, arguments.before is not None),
            rounds=arguments.rounds,
            haste=QUICK_HASTE if arguments.quick else 1.0,
            requests=arguments.requests,
        )

    return trio.run(run)


def write_output(directory: Path, all_results: list[Results]) -> None:
    directory.mkdir(exist_ok=True)
    if directory == OUTPUT:
        (directory / ".gitignore").write_text("*\n")
    (directory / "latest.json").write_text(json.dumps(as_json(all_results), indent=1) + "\n")
    draw(all_results, directory / "latest.svg")


def print_profiles(arguments: argparse.Namespace) -> None:
    profiles = []
    with open_bench() as bench:
        for name in arguments.names:
            profiles.append(trio.run(profile, bench, name))
            print(profiles[-1].text(), end="\n\n", flush=True)
    by_owner = [each for name, each in zip(arguments.names, profiles, strict=True) if name in BY_OWNER] or profiles
    print("\n".join(aligned(owner_rows(by_owner), texts=1)))
    if arguments.docs:
        texts = [f"```\n{each.text()}\n```" for each in profiles]
        write_section("profile", "\n\n".join([markdown_table(owner_rows(by_owner), texts=1), *texts]))


def print_calls(arguments: argparse.Namespace) -> None:
    text = (
        calls.table()
        if arguments.before is None
        else f"before:\n{older_calls(arguments.before)}\n\nnow:\n{calls.table()}"
    )
    print(text)
    if arguments.docs:
        write_section(CALLS, f"```\n{text}\n```")


def older_calls(tree: Path) -> str:
    """The same table for the older checkout's trio_h2."""
    with tempfile.TemporaryDirectory() as directory:
        argv = [*Runtimes(Path(directory), before=tree).command(Runtime(before=True)), "-m", "tests.benchmarks", CALLS]
        ran = subprocess.run(argv, stdout=subprocess.PIPE, text=True)
    if ran.returncode:
        raise SystemExit(f"{tree} cannot be counted: see above")
    return ran.stdout.rstrip()


def measure_all(arguments: argparse.Namespace) -> list[Results]:
    """Measure, print and keep each workload as it is done."""
    all_results: list[Results] = []
    print(machine(), end="\n\n", flush=True)
    with open_bench(arguments.python, arguments.before) as bench:
        for name in arguments.names:
            all_results.append(measured(bench, arguments, name))
            print(table(all_results[-1]), end="\n\n", flush=True)
            write_output(arguments.output, all_results)
    return all_results


def loaded(path: Path) -> list[Results]:
    all_results = from_json(json.loads(path.read_text()), WORKLOADS)
    print("\n\n".join(map(table, all_results)), end="\n\n")
    return all_results


def main() -> None:
    arguments = parse_arguments()
    if arguments.what == CALLS:
        print_calls(arguments)
        return
    if arguments.load is None:
        require_programs("taskset", "h2load", "nghttpd", "curl")
    if arguments.what == PROFILE:
        print_profiles(arguments)
        return
    all_results = loaded(arguments.load) if arguments.load is not None else measure_all(arguments)
    print(summary(all_results))
    if arguments.docs:
        write_results(all_results, WORKLOADS)
    if arguments.load is None and any(results.failed for results in all_results):
        sys.exit(1)


main()
