"""Who may start: a client's streams wait for a slot at the peer, a server's for a handler permit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Generic, Protocol, TypeVar

import trio

from ..exceptions import H2Error
from ..headers import Headers
from ..protocol.connection_machine import ConnectionMachine
from .errors import without_frames

__all__ = ["Permits", "Slots"]

LIMIT_BEFORE_SETTINGS = 100
"""How many streams a client opens before it knows the peer's limit (RFC 9113 section 6.5.2 recommends 100)."""


class Opening(Protocol):
    """A client's stream that waits to open."""

    @property
    def wants_slot(self) -> bool:
        """Whether it is still to be opened."""

    stream_id: int | None

    def open(self) -> None:
        """Take the next stream ID. Raises H2Error."""

    def fail(self, failure: H2Error) -> None:
        """It will not open, for this reason."""


S = TypeVar("S", bound=Opening)
A = TypeVar("A")


class Slots(Generic[S]):
    """A client's streams past the peer's SETTINGS_MAX_CONCURRENT_STREAMS, in order (RFC 9113 section 5.1.2).

    Owner of every field: this object.

    Attributes:
        waiting: the actors that wait; any of them may leave, at the same cost however many there are.
        promised: pushed responses of a server that wait for the client's limit, in order.
    """

    def __init__(
        self, machine: ConnectionMachine, opened: Callable[[int, S], None], on_change: Callable[[], None] | None = None
    ) -> None:
        """Make what there is of them.

        Args:
            machine: the connection's.
            opened: called with the ID and the actor of each stream that opens.
            on_change: called when there may be more room, or will be none any more.
        """
        self._machine = machine
        self._opened = opened
        self._on_change = on_change
        self.waiting: OrderedDict[S, None] = OrderedDict()
        self.promised: OrderedDict[S, trio.Event] = OrderedDict()

    def enter(self, actor: S) -> None:
        """The actor's stream opens: now, as most do, or when those before it have and there is a slot."""
        if self.waiting or self.promised or self._free <= 0:
            self.waiting[actor] = None
            self.grant()
            return
        self._open(actor)
        if self._on_change is not None:
            self._on_change()

    def grant(self) -> None:
        """Let those in front open, as far as the peer's limit allows."""
        if self.promised:
            self._grant_promised()
        while self.waiting:
            actor = next(iter(self.waiting))
            if actor.wants_slot:
                if self._free <= 0:
                    return
                self._open(actor)
            self.withdraw(actor)
        if self._on_change is not None:
            self._on_change()

    def _open(self, actor: S) -> None:
        try:
            actor.open()
        except H2Error as error:
            actor.fail(without_frames(error))
        else:
            assert actor.stream_id is not None
            self._opened(actor.stream_id, actor)

    def _grant_promised(self) -> None:
        machine = self._machine
        limit = machine.remote_settings.max_concurrent_streams
        # A limit of 0 may stay for good: all learn of it.
        room = limit - machine.table.open_outbound if limit else len(self.promised)
        for turn in islice(self.promised.values(), max(0, room)):
            turn.set()

    async def turn(self, actor: S) -> None:
        """Wait until the client's limit may have room for the actor's pushed response, or until `wake`."""
        self.promised[actor] = turn = trio.Event()
        try:
            await turn.wait()
        finally:
            self.promised.pop(actor, None)
            self._grant_promised()  # who was woken and is cancelled leaves the room to the next

    def wake(self, actor: S) -> None:
        """The actor's stream has ended: its pushed response waits no more."""
        turn = self.promised.get(actor)
        if turn is not None:
            turn.set()

    @property
    def _free(self) -> int:
        """How many slots nobody has; less than 0 where the peer has lowered its limit."""
        settings = self._machine.remote_settings
        limit = settings.concurrent_streams
        if not settings.received:
            limit = min(limit, LIMIT_BEFORE_SETTINGS)
        return limit - self._machine.table.open_outbound

    @property
    def room(self) -> int:
        """How many more streams would open at once."""
        return self._free - len(self.waiting)

    @property
    def used_up(self) -> bool:
        """Whether as many streams are open as the peer, whose word is there, allows; not if it allows none."""
        machine = self._machine
        return machine.remote_settings.received and machine.table.open_outbound > 0 and self._free <= 0

    def withdraw(self, actor: S) -> None:
        """The actor waits no more."""
        self.waiting.pop(actor, None)

    def fail(self, failure: H2Error) -> None:
        """None of those that wait will open."""
        for turn in self.promised.values():
            turn.set()
        while self.waiting:
            self.waiting.popitem(last=False)[0].fail(failure)
        if self._on_change is not None:
            self._on_change()


class Permits(Generic[A]):
    """Handler permits (invariant 11): one is held until the handler's task has exited, whatever became of its stream.

    So a client that opens and resets streams cannot have more handlers running than its stream limit. Streams wait for
    a permit in order while they are open, so never more than that limit either: what comes above it is refused with
    REFUSED_STREAM before it gets here. Owner of every field: this object.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: OrderedDict[A, Headers] = OrderedDict()

    def take(self, actor: A, request: Headers) -> bool:
        """Whether there is a permit for the actor now; else it waits for one."""
        if self._free > 0:
            self._free -= 1
            return True
        self._waiting[actor] = request
        return False

    def give_back(self) -> tuple[A, Headers] | None:
        """A handler's task has exited; who has its permit now, with the request."""
        if self._waiting:
            return self._waiting.popitem(last=False)
        self._free += 1
        return None

    def withdraw(self, actor: A) -> bool:
        """The actor's stream has ended. Whether it still waited for its permit."""
        return self._waiting.pop(actor, None) is not None

    def end(self) -> list[A]:
        """Nobody gets a permit any more; the actors that waited."""
        actors = list(self._waiting)
        self._waiting.clear()
        return actors
