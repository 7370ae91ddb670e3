"""`PooledStream`: the block of a stream of a pool, and how often its request is made until it is entered."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import TracebackType

import trio

from ..actors.errors import too_slow
from ..actors.pump import Pump
from ..client_connection import ClientStream, EnteredOnce
from ..exceptions import H2Error, RequestTimeoutError
from ..exchange import Outgoing
from ..timeouts import Timeouts
from .origins import Origins, Where
from .time_limits import TimeLimit
from .tries import Tries

__all__ = ["PooledStream"]


class PooledStream(EnteredOnce[ClientStream]):
    """What `Pool.stream` returns: entering it makes the request."""

    _written = "pool.stream(...)"

    def __init__(self, origins: Origins, where: Where, outgoing: Outgoing, timeouts: Timeouts) -> None:
        self._origins = origins
        self._where = where
        self._outgoing = outgoing
        self._timeouts = timeouts
        self._stream: ClientStream | None = None
        self._pump: Pump | None = None

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> ClientStream:
        self._enter_once()
        if self._waits_for_head:  # which is the checkpoint
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
        tries = Tries(self._origins.retries)
        while True:
            connections = self._origins.to(self._where)
            connection = await connections.acquire(tries, self._timeouts)
            self._pump = pump = self._outgoing.pump(self._timeouts.write)
            opened = False
            try:
                stream, end = await connection.open(self._outgoing, pump)
                opened = True
                await self._begin(stream, pump, end)
                self._stream = stream
                return stream
            except H2Error as error:
                repeatable = not opened or self._outgoing.repeatable(pump)
                if not tries.again(error, repeatable=repeatable):
                    raise
                failure = error
            finally:
                connections.serve()
            await tries.pause(failure)

    @property
    def _waits_for_head(self) -> bool:
        """Whether nothing of the request is left to the user: it is entered when the response's headers have come."""
        return self._outgoing.body is not None or self._outgoing.end_stream

    async def _begin(self, stream: ClientStream, pump: Pump | None, end: Callable[[], None]) -> None:
        """Wait for the response's headers, if nothing of the request is left to the user."""
        if not self._waits_for_head:
            return
        try:
            await self._head(stream, pump, end)
        except BaseException as error:
            await stream.__aexit__(type(error), error, None)
            if pump is not None:
                await pump.left()
                pump.raise_error()
            raise

    async def _head(self, stream: ClientStream, pump: Pump | None, end: Callable[[], None]) -> None:
        timeout = self._timeouts.read
        if timeout == math.inf:
            await stream.response()
            return
        limit = TimeLimit(timeout, end)
        limits = self._origins.limits
        if pump is None:
            limits.begin(limit)
        else:
            pump.when_done(partial(limits.begin, limit))
        try:
            await stream.response()
        except H2Error:
            if not limit.expired:
                raise
            reason = f"no response came within {timeout} seconds"
            raise too_slow(RequestTimeoutError(reason, phase="read", stream_id=stream.stream_id)) from None
        finally:
            limits.take_back(limit)

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._stream is not None
        try:
            await self._stream.__aexit__(kind, error, traceback)
        finally:
            if self._pump is not None:
                await self._pump.left()
                self._pump.raise_error()
