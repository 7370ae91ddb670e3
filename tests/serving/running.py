"""Running `trio-h2 serve` in tests: in a task of the test, and as a program."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from trio_h2.cli import commands
from trio_h2.cli.serving import access_log
from trio_h2.cli.serving.binding import bound
from trio_h2.cli.serving.plain_command import serve_until_signal
from trio_h2.cli.serving.serve_options import ServeOptions
from trio_h2.cli.serving.serving_process import prepare

__all__ = ["LIMIT", "TRIO_H2", "Program", "Running", "invoke_serve", "lines_said", "serve_program", "serving"]

TRIO_H2 = (sys.executable, "-m", "trio_h2")
LIMIT = 60.0
ROOT = Path(__file__).parents[2]


def invoke_serve(*arguments: str | Path, env: Mapping[str, str] | None = None) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(commands.cli, ["serve", *map(str, arguments)], env=env)


def lines_said(monkeypatch: pytest.MonkeyPatch) -> trio.MemoryReceiveChannel[str]:
    """What `serve` prints on standard output from now on, line by line."""
    lines, received = trio.open_memory_channel[str](1000)
    monkeypatch.setattr(access_log, "say", lines.send_nowait)
    return received


class Running:
    """`serve`, in a task of the test. Owner of every field: this object."""

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.banner = ""
        self.ended = trio.Event()

    @property
    def url(self) -> str:
        """Where it is, without the slash at the end."""
        return self.banner.partition(" at ")[2].split()[0].strip(",").removesuffix("/")

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def run(self, options: ServeOptions) -> None:
        prepared = prepare(options)
        with bound(options) as sockets:
            self.exit_code = await serve_until_signal(prepared, sockets)
        self.ended.set()

    async def see_banner(self, lines: trio.MemoryReceiveChannel[str]) -> None:
        self.banner = f"{await lines.receive()}\n{await lines.receive()}"


@asynccontextmanager
async def serving(lines: trio.MemoryReceiveChannel[str], target: str | Path, **options: Any) -> AsyncIterator[Running]:
    """Serve an app or a directory, on a free port unless the options say where."""
    if not {"port", "unix", "fd"} & set(options):
        options["port"] = 0
    running = Running()
    told = ServeOptions(target=str(target), is_directory=":" not in str(target), **options)
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.run, told)
            await running.see_banner(lines)
            yield running
            nursery.cancel_scope.cancel()


class Program:
    """`trio-h2 serve` as a program of its own."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.process = process
        self._output, self._errors = process.stdout, process.stderr
        self._lines: list[str] = []
        self._rest = b""

    async def line(self) -> str:
        """The next line of its standard output, "" at its end."""
        while not self._lines:
            data = await self._output.receive_some()
            if not data:
                return ""
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._lines += [line.decode() for line in lines]
        return self._lines.pop(0)

    async def errors(self) -> str:
        """All of its standard error, when it has ended."""
        return b"".join([chunk async for chunk in self._errors]).decode()

    async def aclose(self) -> None:
        self.process.kill()
        with trio.CancelScope(shield=True):
            await self.process.wait()
            await self._output.aclose()
            await self._errors.aclose()


@asynccontextmanager
async def serve_program(
    *arguments: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    through: Sequence[str] = (),
    **options: Any,
) -> AsyncIterator[Program]:
    """Start it, with the modules of `cwd`; `through` is a command that runs what comes behind it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    process = await trio.lowlevel.open_process(
        [*through, *TRIO_H2, "serve", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=environment,
        **options,
    )
    program = Program(process)
    try:
        with trio.fail_after(LIMIT):
            yield program
    finally:
        await program.aclose()
