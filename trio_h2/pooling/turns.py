"""`Turn`: a request that waits for a connection."""

from __future__ import annotations

import math
from typing import Literal

import trio

from ..actors.errors import too_slow
from ..exceptions import H2Error, RequestTimeoutError
from ..timeouts import Timeouts
from .pooled_connection import PooledConnection
from .tries import Tries

__all__ = ["Turn"]

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
