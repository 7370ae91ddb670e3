"""`PooledConnection`: one connection of a pool, from its opening to its end."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import trio

from ..actors.connection_actor import ConnectionActor
from ..actors.pump import Pump
from ..actors.stream_actor import StreamActor
from ..client import connect_over
from ..client_connection import ClientConnection
from ..config import Config
from ..exchange import Outgoing, exchange, open_stream
from ..origin import Origin
from ..requests import Response
from ..trace import Trace
from .line import Line

__all__ = ["PooledConnection"]


class PooledConnection(connect_over):
    """A connection that requests of any task share. Owner of every field: this object.

    Args:
        transport: connected, and TLS done.
        origin: what it leads to.
        config: that of the pool.
        trace: that of the pool.
        idle_timeout: seconds without a stream after which it closes.
        line: those who wait for room.
        on_change: called, with the connection, when it may have more room and somebody waits for that, and when it
            takes no more requests.

    Attributes:
        handle: what users know it by, once it is open.
    """

    def __init__(
        self,
        transport: trio.abc.Stream,
        origin: Origin,
        *,
        config: Config,
        trace: Trace | None,
        idle_timeout: float,
        line: Line[Any],
        on_change: Callable[[PooledConnection], None],
    ) -> None:
        super().__init__(transport, authority=origin.authority, scheme=origin.scheme, config=config, trace=trace)
        self._idle_timeout = idle_timeout
        self._idle_since = trio.current_time()
        self._line = line
        self._on_change = on_change
        self._promised = 0
        self._left = False
        self._leaving = trio.Event()  # set when it has left
        self._drain = True
        self.handle: ClientConnection | None = None

    def _make_actor(self, transport: trio.abc.Stream, nursery: trio.Nursery) -> ConnectionActor:
        return ConnectionActor(
            transport,
            self._config,
            nursery,
            client=True,
            trace=self._trace,
            on_idle=self._idle,
            on_room=self._changed,
        )

    # Its life

    @trio.lowlevel.enable_ki_protection
    async def run(self, opened: Callable[[], None]) -> None:
        """Be the connection until it has ended, or is of no more use. Raises InternalError.

        Args:
            opened: called when requests may be made.
        """
        async with self as self.handle:
            opened()
            await self._used()
            if not self._drain:
                await self._actor.aclose(drain=False)

    async def _used(self) -> None:
        """Wait until it is to be closed, or has ended."""
        while not self._left:
            since = trio.current_time() if len(self._actor.streams) else self._idle_since
            with trio.move_on_at(since + self._idle_timeout):
                await self._leaving.wait()
                return
            if not len(self._actor.streams) and trio.current_time() >= self._idle_since + self._idle_timeout:
                self._leave()

    def leave(self, *, drain: bool) -> None:
        """Close it, in its own task; with `drain` what is open may finish first."""
        self._drain = self._drain and drain
        self._leave()

    def _leave(self) -> None:
        self._left = True
        self._leaving.set()

    def _idle(self) -> None:
        self._idle_since = trio.current_time()
        if not self.accepting:
            self._leave()

    def _changed(self) -> None:
        # Where streams begin and end; only seldom is it of interest to anybody.
        if self._line.count or self._left or not self._actor.ending.accepting:
            self._on_change(self)
            if self._actor.life.cause is not None:
                self._leave()

    # Who may use it

    @property
    def accepting(self) -> bool:
        """Whether it takes requests: no more after GOAWAY, its last stream ID or its end."""
        return self._actor.ending.accepting and not self._left

    @property
    def room(self) -> int:
        """How many more requests would begin at once, beside those that it is promised to."""
        actor = self._actor
        return actor.streams.slots.room - self._promised if not self._left and actor.ending.accepting else 0

    @property
    def used_up(self) -> bool:
        """Whether as many streams are open as the peer allows, so that another connection is of use."""
        return self._actor.streams.slots.used_up

    @property
    def proven(self) -> bool:
        """Whether a request was completed on it."""
        return self._actor.machine.table.completed > 0

    @property
    def abandoned(self) -> bool:
        """Whether it takes no more requests, and that was not the pool's own doing."""
        return not self._actor.ending.accepting and not self._left

    def check_usable(self) -> None:
        """Raise why it takes no more requests."""
        self._actor.ending.check_usable()

    @property
    def streams(self) -> int:
        """How many are open, or about to be."""
        return self._actor.machine.table.open_outbound + len(self._actor.streams.slots.waiting)

    def promise(self) -> None:
        """Keep room for a request that is about to begin."""
        self._promised += 1

    def take(self) -> None:
        """It begins, or never will."""
        self._promised -= 1

    # Requests

    def exchange(
        self, outgoing: Outgoing, pump: Pump | None, max_body: int | None
    ) -> Coroutine[object, object, Response]:
        """Make a request, and return the whole response; it has begun before the first wait."""
        return exchange(self._actor, outgoing, pump, max_body)

    def open(self, outgoing: Outgoing, pump: Pump | None) -> Coroutine[object, object, StreamActor]:
        """Open a stream, before the first wait if there is room."""
        return open_stream(self._actor, outgoing, pump)
