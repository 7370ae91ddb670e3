"""`Turn`: a request that waits for a connection; `Line`: in which order they wait."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain
from typing import Literal

import trio

from ..actors.errors import too_slow
from ..exceptions import H2Error, RequestTimeoutError
from ..timeouts import Timeouts
from .pooled_connection import PooledConnection
from .tries import Tries

__all__ = ["Line", "Turn"]

_WAITED_FOR = {
    "acquire": "all streams that the origin allows were in use",
    "connect": "there was no connection to the origin",
}


class Turn:
    """A request that waits for a connection with room. Owner of every field: this object.

    Args:
        tries: those of the request: where no connection can be opened, each that fails is one of its own.
        timeouts: how long it waits for what.
    """

    def __init__(self, tries: Tries, timeouts: Timeouts) -> None:
        self._tries = tries
        self._timeouts = timeouts
        self._phase: Literal["acquire", "connect"] | None = None
        self._scope = trio.CancelScope()
        self._called = trio.Event()
        self._connection: PooledConnection | None = None
        self._failure: H2Error | None = None

    def waits_for(self, phase: Literal["acquire", "connect"]) -> None:
        """It is this that it waits for now; the time for it begins when that changes."""
        if phase != self._phase:
            self._phase = phase
            timeout = self._timeouts.acquire if phase == "acquire" else self._timeouts.connect
            self._scope.deadline = trio.current_time() + timeout if timeout < math.inf else math.inf

    def give(self, connection: PooledConnection) -> None:
        """It has this connection, where room is kept for it until it has taken it."""
        connection.promise()
        self._connection = connection
        self._called.set()

    def try_failed(self, failure: H2Error) -> bool:
        """No connection could be opened; the failure is its own to raise. Whether it goes on waiting."""
        if self._tries.again(failure):
            return True
        self.fail(failure)
        return False

    def fail(self, failure: H2Error) -> None:
        """It gets no connection: this is raised."""
        self._failure = failure
        self._called.set()

    def leave(self) -> None:
        """It waits no more: what was kept for it is free for others."""
        if self._connection is not None:
            self._connection.take()
            self._connection = None

    async def wait(self) -> PooledConnection:
        """Wait for the connection. Raises why there is none."""
        with self._scope:
            await self._called.wait()
        if self._failure is not None:
            raise self._failure
        connection = self._connection
        if connection is None:
            assert self._phase is not None
            timeout = self._timeouts.acquire if self._phase == "acquire" else self._timeouts.connect
            reason = f"{_WAITED_FOR[self._phase]} for {timeout} seconds"
            error = RequestTimeoutError(reason, phase=self._phase)
            error.add_attempts(self._tries.failed + 1)
            raise too_slow(error)
        self.leave()
        self._called = trio.Event()
        return connection


class Line:
    """Those who wait, in order; any of them may leave, at the same cost however many there are.

    Who has had a turn, and has to wait again, is in front of all who have had none.

    Attributes:
        count: how many they are. Every request asks, so it is no `__len__`.
    """

    def __init__(self) -> None:
        self.count = 0
        self._again: OrderedDict[Turn, None] = OrderedDict()
        self._new: OrderedDict[Turn, None] = OrderedDict()

    def __iter__(self) -> Iterator[Turn]:
        return chain(self._again, self._new)

    @property
    def new(self) -> list[Turn]:
        """Those who have had none, in order."""
        return list(self._new)

    def still_new(self, turns: list[Turn]) -> list[Turn]:
        """Those of them who wait and have had none."""
        return [turn for turn in turns if turn in self._new]

    def join(self, turn: Turn, *, again: bool) -> None:
        """It waits from now on; `again` if it has had a turn."""
        (self._again if again else self._new)[turn] = None
        self._recount()

    def leave(self, turn: Turn) -> None:
        """It waits no more, if it did."""
        self._again.pop(turn, None)
        self._new.pop(turn, None)
        self._recount()

    def next(self) -> Turn:
        """Whose turn it is; it waits no more."""
        turn, _ = (self._again or self._new).popitem(last=False)
        self._recount()
        return turn

    def _recount(self) -> None:
        self.count = len(self._again) + len(self._new)
