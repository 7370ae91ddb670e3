"""`trio-h2 serve` as a process of its own, in a directory of its own, with the app of `served_app.py`."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

import trio_h2
from tests.serving.processes import until

__all__ = ["Serving", "serving"]

APP = Path(__file__).with_name("served_app.py")

PATIENCE = 120.0
"""Seconds for one test: each takes a few, and more on a machine that is busy."""


class Serving:
    """The command, while it runs.

    Attributes:
        directory: where it runs, with `served_app.py`.
        log: what it has written to standard output and standard error.
        process: the parent, or the only process.
    """

    def __init__(self, directory: Path, process: trio.Process) -> None:
        self.directory = directory
        self.process = process
        self.log = ""

    async def read(self) -> None:
        """Collect what it writes, until nobody holds its output any more."""
        assert self.process.stdout is not None
        async for data in self.process.stdout:
            self.log += data.decode()

    async def says(self, pattern: str, count: int = 1) -> re.Match[str]:
        """Wait until the log matches so often. Returns the last match."""
        await until(lambda: len(re.findall(pattern, self.log)) >= count or self.process.poll() is not None)
        found = list(re.finditer(pattern, self.log))
        assert len(found) >= count, f"nothing of {pattern!r} in:\n{self.log}"
        return found[-1]

    @property
    def url(self) -> str:
        """Where it serves, as the banner says."""
        found = re.search(r"Serving \S+ at (\S+)/", self.log)
        assert found is not None, self.log
        return found[1]

    @property
    def workers(self) -> list[int]:
        """The process IDs of workers that have said that they serve and not that they have ended."""
        pids = re.findall(r"worker \d+ \(pid (\d+)\) serves", self.log)
        gone = re.findall(r"worker \d+ \(pid (\d+)\) has ended", self.log)
        return [int(pid) for pid in pids if pid not in gone]

    async def has(self, number: int) -> list[int]:
        """Wait until there are so many workers. Returns their process IDs."""
        await until(lambda: len(self.workers) == number or self.process.poll() is not None)
        assert len(self.workers) == number, self.log
        return self.workers

    async def get(self, path: str = "/") -> tuple[int, str]:
        """Who answers a request on a new connection, and with which version of the code."""
        async with trio_h2.connect(self.url) as connection:
            response = await connection.request("GET", path)
        assert response.status == 200, self.log
        pid, version = response.body.decode().split()
        return int(pid), version

    def change(self, old: str, new: str) -> None:
        """Change the app's code."""
        app = self.directory / "served_app.py"
        app.write_text(app.read_text().replace(old, new))

    def open_gate(self) -> None:
        """Let `/wait` answer."""
        (self.directory / "gate").touch()

    async def is_waiting(self) -> None:
        """Wait until somebody waits in `/wait`."""
        await until((self.directory / "waiting").exists)

    def send(self, number: int) -> None:
        """Send a signal to the process that was started."""
        self.process.send_signal(number)

    def send_all(self, number: int) -> None:
        """Send a signal to all of its processes, as a terminal does."""
        os.killpg(self.process.pid, number)

    async def ends(self) -> int:
        """Wait for the end of the process that was started. Returns its exit code."""
        return await self.process.wait()


@asynccontextmanager
async def serving(
    directory: Path,
    *options: str,
    ready: bool = True,
    target: str = "served_app:app",
    fds: tuple[int, ...] = (),
    patience: float = PATIENCE,
    **env: str,
) -> AsyncIterator[Serving]:
    """Run `trio-h2 serve TARGET`; at the end nothing of it is left.

    Args:
        directory: where it runs.
        options: its command line.
        ready: Whether to wait until it serves.
        target: what it serves.
        fds: file descriptors that it inherits.
        patience: seconds after which it has hung.
        env: more of its environment.
    """
    shutil.copy(APP, directory)
    command = [sys.executable, "-m", "trio_h2", "serve", target, *options]
    details: dict[str, Any] = {"cwd": directory, "pass_fds": fds, "start_new_session": True}
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
        **details,
    )
    run = Serving(directory, process)
    try:
        with trio.fail_after(patience):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run.read)
                if ready:
                    await run.says("Serving .*\n.*pid")
                yield run
                if process.poll() is None:
                    run.send(signal.SIGTERM)
                # `read` ends when the last process has, whoever it is.
    except BaseException as error:
        error.add_note(f"--- trio-h2 serve wrote:\n{run.log}")
        raise
    finally:
        with trio.CancelScope(shield=True):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            await process.wait()
