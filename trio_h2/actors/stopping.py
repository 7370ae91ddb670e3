"""Stopping: how a server ends within its grace, whatever its clients and handlers do.

All connections are told at once, and what waits in the backlogs is accepted beside it for a short time. Each connection
ends itself by a deadline of its own; they are spread over the end of the grace, because ending many takes time. After
the grace what is left is closed by force, and soon after that nothing is waited for any more. The streams of handlers
that called for the shutdown have a moment longer: they may answer when all others have ended.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar

import trio

from .listening import has_backlog, stop_listening
from .logs import logger
from .shutdown import ANSWER

__all__ = ["Ending", "Stopping"]

FORCE = 0.05
"""Seconds after a shutdown's deadline at which what is still there is closed by force."""

GIVE_UP = 0.15
"""Seconds after that at which a shutdown waits no more: a handler shields itself, or sits in a thread."""

COST = 0.002
"""Seconds that ending a connection, or ten streams, may take of the grace, at most half of it in all: one after the
other they begin to be cut off so long before the deadline, those with the fewest streams first."""

NAMED = 10
"""Handlers that are named when a shutdown goes on without them."""

CHUNK = 100
"""Connections that a shutdown looks at in one step."""

DRAIN_NUMBER = 1_000
"""Connections that a shutdown takes from the backlog."""

DRAIN_LOOKS = 50
"""How often a shutdown looks whether there still is a backlog: a number, for a loop that is held up accepts nothing."""

DRAIN_PAUSE = 0.01
"""Seconds between two looks."""


class Ending(Protocol):
    """A connection as a shutdown sees it."""

    @property
    def streams(self) -> int:
        """How many streams are open."""

    async def shutdown(self, deadline: float) -> None:
        """End gracefully by then."""

    def force(self) -> None:
        """Its time is over."""

    def left(self) -> list[str]:
        """What of it is still there, in words."""

    def asking(self) -> AbstractContextManager[None] | None:
        """Where a handler of it, whose code runs now, has to wait for all other streams; None if none of its does."""

    @property
    def asked(self) -> bool:
        """Whether there are handlers that have waited so, or do."""

    async def others_ended(self) -> None:
        """Wait until there are no streams but theirs."""


E = TypeVar("E", bound=Ending)


class Stopping(Generic[E]):
    """A server's connections, and its end. Owner of every field: this object.

    Attributes:
        connections: those that are there, in the order in which they were accepted, from that step on.
        begun: set when the shutdown begins, or the server has ended without one.
        accepting: cancelled when no more are taken.
        accepting_ended: set by the server when that has come about.
        done: set when the shutdown is over, or the server has ended without one.
    """

    def __init__(self, listeners: Sequence[trio.abc.Listener[Any]]) -> None:
        self._listeners = listeners
        self.connections: dict[E, None] = {}
        self.begun = trio.Event()
        self.accepting = trio.CancelScope()
        self.accepting_ended = trio.Event()
        self.done = trio.Event()
        self._gone = trio.lowlevel.ParkingLot()
        self._nursery: trio.Nursery | None = None
        self._deadline = math.inf
        self._forced = trio.CancelScope()
        self._drained = 0

    def begin(self, nursery: trio.Nursery, grace: float) -> None:
        """End all within `grace`, in tasks of this nursery; or sooner than was asked for before."""
        first, self._nursery = self._nursery is None, nursery
        self.begun.set()
        self._deadline = min(self._deadline, trio.current_time() + grace)
        self._forced.deadline = self._deadline + FORCE
        nursery.start_soon(self._tell_all, nursery)
        if first:
            nursery.start_soon(self._end)

    def came(self, connection: E) -> None:
        """A connection was accepted; if all are ending it does, too."""
        self.connections[connection] = None
        if self._nursery is not None:
            self._nursery.start_soon(connection.shutdown, self._deadline)
            self._drained += 1
            if self._drained >= DRAIN_NUMBER:
                self.accepting.cancel()

    def went(self, connection: E) -> None:
        """Nothing of the connection is left."""
        self.connections.pop(connection, None)
        self._gone.unpark_all()

    def asking(self) -> AbstractContextManager[None] | None:
        """If the code that runs is a handler's of one of these connections: where that waits for `others_ended`."""
        return next((asking for each in self.connections if (asking := each.asking()) is not None), None)

    async def others_ended(self) -> None:
        """Wait until no stream is left but those of handlers that wait in here, or the time for that is over."""
        with trio.move_on_at(self._forced.deadline):
            await self.accepting_ended.wait()
            for each in list(self.connections):
                await each.others_ended()

    async def _tell_all(self, nursery: trio.Nursery) -> None:
        """Have every connection end by the deadline, but not all in one step, nor all at the deadline."""
        everyone = sorted([(each.streams, id(each), each) for each in self.connections])
        left = sum([COST * (1 + streams / 10) for streams, _, _ in everyone])
        scale = min(1, max(0, self._deadline - trio.current_time()) / 2 / left) if left else 0
        for number, (streams, _, each) in enumerate(everyone, 1):
            left = max(0, left - COST * (1 + streams / 10))
            nursery.start_soon(each.shutdown, self._deadline - left * scale)
            if number % CHUNK == 0:
                await trio.lowlevel.checkpoint()

    async def _end(self) -> None:
        with self._forced:
            await self._drain()
            self._stop_accepting()
            await self.accepting_ended.wait()
            await self._all_gone()
        # From now on, not from the deadline: something may have held up the loop past both.
        await self._force([each for each in self.connections if not each.asked])
        with trio.move_on_after(ANSWER):
            await self._all_gone()
        await self._force(list(self.connections))
        with trio.move_on_after(GIVE_UP):
            await self._all_gone()
        if self.connections:
            left = [name for each in self.connections for name in each.left()]
            more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
            logger.warning("a shutdown went on without %s%s", ", ".join(left[:NAMED]), more)
        self.ended()

    def ended(self) -> None:
        """The shutdown is over, or the server has ended without one."""
        self.begun.set()
        self.done.set()

    async def _drain(self) -> None:
        """What is in the backlog has connected, and closing the listener on it would reset it: take some more time."""
        with trio.move_on_at((trio.current_time() + self._deadline) / 2):
            for _ in range(DRAIN_LOOKS):
                if self.accepting.cancel_called or not has_backlog(self._listeners):
                    break
                await trio.sleep(DRAIN_PAUSE)

    def _stop_accepting(self) -> None:
        self.accepting.cancel()
        stop_listening(self._listeners)

    async def _all_gone(self) -> None:
        while self.connections:
            await self._gone.park()

    async def _force(self, connections: Sequence[Ending]) -> None:
        """The deadline has passed: close what is left."""
        self._stop_accepting()
        for number, each in enumerate(connections, 1):
            each.force()
            if number % CHUNK == 0:
                await trio.lowlevel.checkpoint()
