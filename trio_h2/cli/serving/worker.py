"""Worker: a worker process, as its parent sees it."""

from __future__ import annotations

import enum
import logging
import signal
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import trio

from .control import ControlSocket, Message, control_pair

__all__ = ["Launch", "State", "Worker"]

MARGIN = 7.0
"""Seconds beyond the grace after which a worker that has not ended is killed; an app's shutdown may take five."""

HASTE = 2.0
"""Seconds after which a worker that has not come to serve is killed."""

LAST_WORDS = 1.0
"""Seconds for what a worker has said before its end, if others hold its end of the control socket."""

logger = logging.getLogger("trio_h2.serving")


@attrs.frozen
class Launch:
    """How a worker process is started.

    Attributes:
        command: what to run; the number of the worker's control socket is added to it.
        options: what it is told, as JSON has it.
        sockets: the numbers of the listening sockets it inherits.
    """

    command: Sequence[str]
    options: Any
    sockets: Sequence[int]


class State(enum.Enum):
    """How far a worker has come."""

    STARTING = enum.auto()
    SERVING = enum.auto()
    ENDING = enum.auto()  # it was told to
    ENDED = enum.auto()


class Worker:
    """One process. Owner of every field: this object.

    Attributes:
        state: how far it has come.
        launched: set when its process was started, or could not be: what it inherits is not needed any more.
        answered: set when it serves, or has ended without.
        ended: set when its process is no more.
        served_since: when it said that it serves, on trio's clock; None before.
        failure: why it could not start, in its own words; None if it said nothing.
        exit_code: what it said that the command should end with, if it could not start.
        statistics: what it has said last of what it has counted.
        silent: Whether it owes an answer to the last question for that.
    """

    def __init__(self, number: int, launch: Launch, on_retire: Callable[[], None]) -> None:
        self.number = number
        self.state = State.STARTING
        self.launched = trio.Event()
        self.answered = trio.Event()
        self.ended = trio.Event()
        self.served_since: float | None = None
        self.failure: str | None = None
        self.exit_code = 1
        self.statistics: dict[str, Any] = {}
        self._launch = launch
        self._on_retire = on_retire
        self._process: trio.Process | None = None
        self._control: ControlSocket | None = None
        self._news = trio.lowlevel.ParkingLot()
        self.silent = False
        self._killed = False
        self._told: Message | None = None  # what it is to be told when there is a process to tell

    def __str__(self) -> str:
        pid = "not started" if self._process is None else f"pid {self._process.pid}"
        return f"worker {self.number} ({pid})"

    @property
    def pid(self) -> int | None:
        """Its process ID; None while it has none."""
        return None if self._process is None else self._process.pid

    async def run(self) -> None:
        """Start it, and stay until it has ended. Cancelled: it is killed."""
        try:
            await self._start()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen)
                assert self._process is not None
                await self._process.wait()
                nursery.cancel_scope.deadline = trio.current_time() + LAST_WORDS
        except OSError as error:
            self.failure = f"a worker process cannot be started: {error}"
        finally:
            await self._clean_up()

    async def _start(self) -> None:
        self._control, theirs = control_pair()
        with theirs:
            passed = (theirs.fileno(), *self._launch.sockets)
            command = [*self._launch.command, str(theirs.fileno())]
            try:
                self._process = await trio.lowlevel.open_process(command, pass_fds=passed)
            finally:
                self.launched.set()
        await self._control.send("start", options=self._launch.options, sockets=list(self._launch.sockets))
        if self._told is not None:
            await self._control.send(**self._told)

    async def _clean_up(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
        if self._control is not None:
            self._control.close()
        self.state = State.ENDED
        self.answered.set()
        self.ended.set()
        self._news.unpark_all()

    async def _listen(self) -> None:
        assert self._control is not None
        async for message in self._control.messages():
            self._hear(**message)

    def _hear(self, kind: str, **details: Any) -> None:
        if kind == "ready":
            self.served_since = trio.current_time()
            if self.state is State.STARTING:
                self.state = State.SERVING
            self.answered.set()
        elif kind == "failed":
            self.failure, self.exit_code = details["reason"], details["exit_code"]
        elif kind == "retire":
            self._on_retire()
        else:
            self.statistics = details["statistics"]
            self.silent = False
            self._news.unpark_all()

    async def end(self, grace: float) -> None:
        """Have it drain, for which it takes `grace` seconds at most, and end; stays until it has."""
        limit = HASTE if self.served_since is None else grace + MARGIN
        await self._end({"kind": "drain"}, limit)

    async def end_at_once(self) -> None:
        """Have it end without waiting for anything but its clean-up; stays until it has."""
        await self._end({"kind": "stop"}, HASTE if self.served_since is None else MARGIN)

    async def _end(self, message: Message, limit: float) -> None:
        if self.state is State.ENDED:
            return
        self.state = State.ENDING
        with trio.move_on_after(limit):
            if self._process is None:
                self._told = message
            else:
                assert self._control is not None
                await self._control.send(**message)
                if self.served_since is None:  # it may be in an import, and hear nothing
                    self._process.terminate()
            await self.ended.wait()
        if not self.ended.is_set() and self._process is not None:
            if not self._killed:
                self._killed = True
                logger.warning("%s did not end within %g s: it is killed", self, limit)
                self._process.kill()
            await self.ended.wait()

    async def count(self) -> None:
        """Have `statistics` brought up to date. It is asked once, however often and long it is waited for."""
        if self._control is None or self.served_since is None:
            return
        if not self.silent:
            self.silent = True
            await self._control.send("statistics")
        while self.silent and self.state is not State.ENDED:
            await self._news.park()

    @property
    def ended_badly(self) -> bool:
        """Whether its process has ended otherwise than with exit code 0."""
        return self._process is None or self._process.returncode != 0

    def ending(self) -> str:
        """How its process has ended, in words."""
        code = None if self._process is None else self._process.returncode
        if code is None:
            return "was not started"
        if code >= 0:
            return f"ended with exit code {code}"
        known = -code in set(signal.Signals)  # the real-time signals have no names
        return f"was ended by {signal.Signals(-code).name if known else f'signal {-code}'}"
