"""Starts the sides and the loads on their cores, and takes the figures."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.model import Load, RefusedError, Results, Side, Workload
from tests.peers import free_port, run_program, run_server

ROOT = Path(__file__).parent.parent.parent

LOAD_LIMIT = 300.0
"""Seconds that one load may take."""


def choose_cores() -> tuple[int, int]:
    """The cores for the side and for the load."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("the benchmarks need two cores: one for the server, one for the load")
    return cores[0], cores[1]


def require_programs(*names: str) -> None:
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise SystemExit(
            f"the benchmarks need {', '.join(missing)} (Debian packages nghttp2-client, util-linux)"
        )


async def run_workload(workload: Workload, sides: tuple[Side, ...], rounds: int) -> Results:
    side_core, load_core = choose_cores()
    results = Results(workload)
    for number in range(rounds):
        first = number % len(sides)
        for side in sides[first:] + sides[:first]:
            print(f"{workload.name}: round {number + 1} of {rounds}, {side.name}", file=sys.stderr)
            await _run_side(workload, side, side_core, load_core, results)
    return results


async def _run_side(workload: Workload, side: Side, side_core: int, load_core: int, results: Results) -> None:
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        argv = _pinned(side_core, side.command(port))
        log = Path(directory, "log")
        async with run_server(side.name, argv, port=port, scheme="http", log=log, cwd=ROOT):
            for load in workload.loads:
                try:
                    await _run_load(load, load.warm_up, port, load_core)
                    figure = await _run_load(load, load.requests, port, load_core)
                except RefusedError as error:
                    raise RefusedError(f"{side.name} under {load.name}: {error}") from None
                results.add(load, side, figure)


async def _run_load(load: Load, requests: int, port: int, core: int) -> float:
    completed = await run_program(
        *_pinned(core, load.command(port, requests)), seconds=LOAD_LIMIT, check=False
    )
    if completed.returncode != 0:
        raise RefusedError(f"exit code {completed.returncode}:\n{completed.errors}{completed.text}")
    return load.figure(completed.text)


def _pinned(core: int, argv: list[str]) -> list[str]:
    return ["taskset", "--cpu-list", str(core), *argv]
