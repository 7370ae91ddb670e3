"""What a worker process does: it loads the app, and serves it on the sockets that it has inherited, as it is told."""

from __future__ import annotations

import io
import json
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, redirect_stderr
from functools import partial
from typing import Any

import attrs
import trio

import trio_h2

from .control import ControlSocket, Message, over_socket
from .log_output import configured_logging
from .plain_command import exit_code_of
from .request_limit import limited
from .serve_error import ServeError
from .serve_options import ServeOptions
from .serving_process import Prepared, prepare, serve_sockets
from .tally import counted

__all__ = ["command", "main"]

CODE = """\
import signal, sys
for number in signal.SIGINT, signal.SIGHUP:
    signal.signal(number, lambda *arguments: None)
from trio_h2.cli.serving.worker_process import main
sys.exit(main())
"""
"""What the interpreter of a worker runs. A terminal sends SIGINT and SIGHUP to all processes, and the parent says what
follows: a worker drops them from the start, before any import that takes time. What the app starts does not."""


def command() -> list[str]:
    """How a worker is started, but for the number of its control socket."""
    return [sys.executable, "-c", CODE]


def main() -> int:
    """Be a worker: its control socket's number is the argument. Returns the process's exit code."""
    with _inherited(int(sys.argv[1])) as control:
        start = _first_message(control)
        if start is None:
            return 1
        options = ServeOptions.from_json(start["options"])
        with ExitStack() as closing, configured_logging(options):
            sockets = [closing.enter_context(_inherited(number)) for number in start["sockets"]]
            return _be_worker(control, options, sockets)


def _be_worker(control: socket.socket, options: ServeOptions, sockets: list[socket.socket]) -> int:
    try:
        prepared = prepare(options)
    except ServeError as error:
        _say_failed(control, error)
        return error.exit_code
    try:
        return trio.run(_Working(prepared, sockets).run, control)
    except BaseExceptionGroup as group:
        return exit_code_of(group)


def _inherited(number: int) -> socket.socket:
    """A socket that what the app starts does not inherit."""
    found = socket.socket(fileno=number)
    found.set_inheritable(False)
    return found


def _first_message(control: socket.socket) -> Message | None:
    """What the parent says first, or None if it has gone."""
    with control.makefile("rb", buffering=0) as reading:  # which takes nothing of what follows
        line = reading.readline()
    message: Message | None = json.loads(line) if line.endswith(b"\n") else None
    return message


def _say_failed(control: socket.socket, error: ServeError) -> None:
    message = {"kind": "failed", "reason": _shown(error), "exit_code": error.exit_code}
    try:
        control.sendall(json.dumps(message).encode() + b"\n")
    except OSError:  # the parent has gone
        error.show()


def _shown(error: ServeError) -> str:
    """What would be on standard error: the parent says it there, once for all workers."""
    with redirect_stderr(io.StringIO()) as text:
        error.show()
    return text.getvalue()


class _Working:
    """A worker that serves. Owner of every field: this object."""

    def __init__(self, prepared: Prepared, sockets: list[socket.socket]) -> None:
        self._prepared = prepared
        self._sockets = sockets
        self._stopping = trio.Event()
        self._enough = trio.Event()
        self._server: trio_h2.H2Server | None = None

    async def run(self, inherited: socket.socket) -> int:
        """Serve until the parent says otherwise, or has gone, or SIGTERM comes. Returns the exit code."""
        control = over_socket(inherited)
        exit_code = 1
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey, control, nursery.cancel_scope)
                nursery.start_soon(self._drain_at, signals)
                nursery.start_soon(self._retire, control)
                try:
                    exit_code = await serve_sockets(
                        self._limited(),
                        self._sockets,
                        on_started=partial(self._started, control, nursery),
                        stopping=self._stopping,
                    )
                except ServeError as error:
                    await control.send("failed", reason=_shown(error), exit_code=error.exit_code)
                    exit_code = error.exit_code
                await self._say_ended(control)
                nursery.cancel_scope.cancel()
        return exit_code

    def _limited(self) -> Prepared:
        options, app = self._prepared.options, self._prepared.app
        if options.max_requests is None or app is None:
            return self._prepared
        most = options.max_requests + random.randint(0, options.max_requests_jitter)
        return attrs.evolve(self._prepared, app=limited(app, most, self._enough.set))

    def _started(self, control: ControlSocket, nursery: trio.Nursery, server: trio_h2.H2Server) -> None:
        self._server = server
        nursery.start_soon(control.send, "ready")

    async def _obey(self, control: ControlSocket, scope: trio.CancelScope) -> None:
        async for message in control.messages():
            if message["kind"] == "statistics" and self._server is not None:
                await control.send("statistics", statistics=counted(self._server))
            elif message["kind"] == "drain":
                self._stopping.set()
            elif message["kind"] == "stop":
                await self._say_ended(control)
                scope.cancel()
        self._stopping.set()  # the parent has gone

    async def _say_ended(self, control: ControlSocket) -> None:
        if self._server is not None:
            await control.send("ended", statistics=counted(self._server))

    async def _drain_at(self, signals: AsyncIterator[Any]) -> None:
        await anext(signals)
        self._stopping.set()

    async def _retire(self, control: ControlSocket) -> None:
        await self._enough.wait()
        await control.send("retire")
