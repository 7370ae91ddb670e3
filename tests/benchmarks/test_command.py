"""The command, with real programs; and what a side's programs run on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.bench import open_bench
from tests.benchmarks.model import OURS, before
from tests.benchmarks.runtimes import HERE, ROOT, AbsentError, Runtime, Runtimes, check_present
from tests.benchmarks.workloads import find_workloads, growth
from tests.peers import require_program, run_program

# What a side runs on ------------------------------------------------------------------------------

THIS = f"{sys.version_info[0]}.{sys.version_info[1]}"


def older_checkout(directory: Path) -> Path:
    """With a trio_h2 that can do no more than be imported, and with tests that are not to be used."""
    for package in ("trio_h2", "tests"):
        (directory / package).mkdir(parents=True)
        (directory / package / "__init__.py").write_text("AGE = 'old'\n")
    return directory


def ran(runtimes: Runtimes, runtime: Runtime, code: str, directory: Path) -> str:
    argv = [*runtimes.command(runtime), "-c", code]
    return subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=True).stdout.strip()


def test_before_is_the_older_package_under_this_harness(tmp_path: Path) -> None:
    tree = older_checkout(tmp_path / "tree")
    runtimes = Runtimes(tmp_path, before=tree)
    code = "import trio_h2, tests; print(getattr(trio_h2, 'AGE', 'new'), getattr(tests, 'AGE', 'new'))"
    # From the older checkout itself, which must not come first for that.
    assert ran(runtimes, Runtime(before=True), code, tree) == "old new"
    assert ran(runtimes, HERE, code, tree) == "new new"


def test_other_pythons(tmp_path: Path) -> None:
    runtimes = Runtimes(tmp_path, {THIS: sys.executable, "2.7": sys.executable, "3.99": "/no/such/python"})
    code = "import sys; print(sys.version_info[0])"
    assert ran(runtimes, Runtime(python=THIS), code, tmp_path) == "3"
    assert runtimes.says(Runtime(python=THIS), "ours").startswith(f"ours is on CPython {THIS}.")
    assert runtimes.says(HERE, "ours") == ""
    for version, why in (("2.7", f" is {THIS}"), ("3.99", "No such file"), ("3.98", "--python 3.98=PATH")):
        with pytest.raises(AbsentError, match=why):
            runtimes.command(Runtime(python=version))


def test_a_python_without_trio_is_absent(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(AbsentError, match="ModuleNotFoundError: No module named"):
        Runtimes(tmp_path, {THIS: str(bare)}).command(Runtime(python=THIS))


def test_modules_and_programs_that_are_needed() -> None:
    check_present(("trio", "sh"))
    with pytest.raises(AbsentError, match="no_such_module and no_such_program not installed"):
        check_present(("trio", "no_such_module", "no_such_program"))


@pytest.mark.parametrize(
    "name",
    ["hello", "browser", "client_small", "client_bulk", "download", "upload", "pingpong", "tls_bulk", "growth_streams"],
)
def test_what_is_measured_before_and_after(name: str) -> None:
    sides = {side.name: side for side in find_workloads()[name].sides}
    assert sides[before(sides[OURS]).name].runtime == Runtime(before=True)


# The command --------------------------------------------------------------------------------------

TWO_CORES = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core for the side and one for the load")


async def command(name: str, directory: Path, *sides: str) -> tuple[str, Any]:
    """Measure some sides of a workload once, with 100 requests; what was printed, and what was kept."""
    for program, package in (("h2load", "nghttp2-client"), ("nghttpd", "nghttp2-server"), ("curl", "curl")):
        require_program(program, package=package)
    pytest.importorskip("matplotlib")
    completed = await run_program(
        sys.executable,
        *("-m", "tests.benchmarks", name, "--rounds=1", "--requests=100", f"--output={directory}"),
        *(f"--side={side}" for side in sides),
        seconds=120,
    )
    (taken,) = json.loads((directory / "latest.json").read_text())["workloads"]
    assert {row["side"] for row in taken["figures"]} == set(sides)
    assert all(len(row["figures"]) == 1 and row["figures"][0] > 0 for row in taken["figures"])
    assert (directory / "latest.svg").exists()
    return completed.text, taken


@TWO_CORES
async def test_command_measures_hello(tmp_path: Path) -> None:
    pytest.importorskip("hypercorn")
    require_program("node", package="nodejs")
    text, _ = await command("hello", tmp_path, "trio_h2", "hypercorn-trio", "node", "h2 in memory")
    assert "16 x hypercorn-trio under h2load -c1 -m100" in text


@TWO_CORES
@pytest.mark.parametrize("name", ["asgi", "asgi_ws"])
async def test_command_measures_servers_of_apps(tmp_path: Path, name: str) -> None:
    sides = ("trio_h2", "granian", "h2corn")
    for package in ("starlette", *sides[1:]):
        pytest.importorskip(package)
    _, taken = await command(name, tmp_path, *sides)
    loads = {row["load"] for row in taken["figures"] if row["side"] == "trio_h2"}
    assert loads == {each.name for each in find_workloads()[name].loads}


@TWO_CORES
async def test_command_measures_before_and_after_on_another_python(tmp_path: Path) -> None:
    """The older checkout is this one here, and the other Python as well."""
    for program, package in (("h2load", "nghttp2-client"), ("nghttpd", "nghttp2-server"), ("curl", "curl")):
        require_program(program, package=package)
    pytest.importorskip("matplotlib")
    sides = ("trio_h2", "trio_h2, before", "trio_h2 (3.13)")
    completed = await run_program(
        *(sys.executable, "-m", "tests.benchmarks", "hello", "--rounds=1", "--requests=100", f"--output={tmp_path}"),
        *(f"--before={ROOT}", f"--python=3.13={sys.executable}", *(f"--side={side}" for side in sides)),
        seconds=120,
    )
    (taken,) = json.loads((tmp_path / "latest.json").read_text())["workloads"]
    assert {row["side"] for row in taken["figures"]} >= set(sides[:2])
    assert set(taken["missing"]) == (set() if THIS == "3.13" else {sides[2]})
    assert "x before" in completed.text


@TWO_CORES
async def test_a_server_bears_what_growth_opens() -> None:
    """More idle streams and connections than it allows by default."""
    with open_bench() as bench:
        async with growth.OURS.start(bench) as running:
            report = await growth.grow(bench, running, 100, 7_000, 1_100)
    assert report["requests"] == 100


async def test_command_refuses_what_is_no_checkout(tmp_path: Path) -> None:
    for name, options, why in (
        ("hello", f"--before={tmp_path}", "is no checkout"),
        ("hello", "--python=python3", "is not VERSION=PATH"),
        ("calls", f"--before={older_checkout(tmp_path / 'tree')}", "cannot be counted"),
    ):
        completed = await run_program(sys.executable, "-m", "tests.benchmarks", name, options, check=False)
        assert completed.returncode in (1, 2)
        assert why in completed.errors
