"""What the programs of a side run on: which Python, and which checkout's trio_h2.

A program of the harness is always this checkout's, so that an older trio_h2 is used in the same way and measured by the
same rules as the one here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

PROBE = (
    "import platform, attrs, hpack, hyperframe, trio; print(platform.python_version(), 'with trio', trio.__version__)"
)


class AbsentError(Exception):
    """What a side needs is not there."""


@dataclass(frozen=True)
class Runtime:
    python: str = ""
    """A version such as `3.13`; empty for the Python that runs the harness."""
    before: bool = False
    """Is it the older checkout's trio_h2?"""


HERE = Runtime()
"""This Python, and this checkout."""


class Runtimes:
    """Those that there are on this machine.

    `pythons` has paths by version; other versions are looked for on PATH. `before` is the older checkout.
    """

    def __init__(self, directory: Path, pythons: Mapping[str, str] | None = None, before: Path | None = None) -> None:
        self._directory = directory
        self._pythons = pythons or {}
        self._before = before

    def command(self, runtime: Runtime) -> list[str]:
        """What a command line with `-m MODULE` begins with. AbsentError when that runtime is not there."""
        python, _ = self.python(runtime.python) if runtime.python else (sys.executable, "")
        paths = [*([str(self._older())] if runtime.before else []), str(ROOT)]
        if os.environ.get("PYTHONPATH"):
            paths.append(os.environ["PYTHONPATH"])
        # -P: the directory it is started in shall not come before these.
        return ["env", f"PYTHONPATH={os.pathsep.join(paths)}", python, "-P"]

    def python(self, version: str) -> tuple[str, str]:
        """The path of that Python, and its full version. AbsentError if it, or what trio_h2 needs, is not there."""
        python = self._pythons.get(version) or shutil.which(f"python{version}")
        if python is None:
            raise AbsentError(f"there is no python{version} on PATH; --python {version}=PATH names one")
        return python, probed(python, version)

    def says(self, runtime: Runtime, side: str) -> str:
        """A sentence on a side that runs on another Python; else nothing."""
        return f"{side} is on CPython {self.python(runtime.python)[1]}." if runtime.python else ""

    def _older(self) -> Path:
        """A directory that has the older checkout's trio_h2, and nothing else of it."""
        if self._before is None:
            raise AbsentError("--before TREE names the older checkout")
        directory = self._directory / "before"
        if not directory.exists():
            directory.mkdir()
            (directory / "trio_h2").symlink_to(self._before.resolve() / "trio_h2")
        return directory


@cache
def probed(python: str, version: str) -> str:
    try:
        ran = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, check=True, timeout=60)
    except subprocess.CalledProcessError as error:
        raise AbsentError(f"{python}: {reason(error.stderr)}") from None
    except OSError as error:
        raise AbsentError(f"{python}: {error.strerror}") from None
    found = ran.stdout.strip()
    if not found.startswith(f"{version}."):
        raise AbsentError(f"{python} is {found}")
    return found


def reason(errors: str) -> str:
    """The line that says most: the error below a traceback, or the first."""
    lines = [line for line in errors.splitlines() if line.strip()] or ["it failed"]
    return next((line for line in lines if re.match(r"\w+Error: ", line)), lines[0])


def check_present(names: tuple[str, ...]) -> None:
    """Are these modules or programs there? AbsentError names those that are not."""
    missing = [name for name in names if find_spec(name) is None and shutil.which(name) is None]
    if missing:
        raise AbsentError(f"{' and '.join(missing)} not installed")
