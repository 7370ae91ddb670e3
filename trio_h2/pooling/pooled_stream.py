"""`PooledStream`: the block of a stream of a pool, and how often its request is made until it is entered."""

from __future__ import annotations

import math
from types import TracebackType

import trio

from ..actors.errors import too_slow
from ..actors.pump import Pump
from ..actors.stream_actor import StreamActor
from ..client_connection import ClientStream, EnteredOnce
from ..exceptions import H2Error, RequestTimeoutError
from ..exchange import Outgoing
from ..timeouts import Timeouts
from .origins import Origins, Where
from .tries import Tries

__all__ = ["PooledStream"]


class PooledStream(EnteredOnce[ClientStream]):
    """What `Pool.stream` returns: entering it makes the request."""

    _written = "pool.stream(...)"
    _actor: StreamActor | None = None
    _stream: ClientStream | None = None
    _pump: Pump | None = None

    def __init__(self, origins: Origins, where: Where, outgoing: Outgoing, timeouts: Timeouts) -> None:
        self._origins = origins
        self._where = where
        self._outgoing = outgoing
        self._timeouts = timeouts

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> ClientStream:
        self._enter_once()
        outgoing, timeouts = self._outgoing, self._timeouts
        # Whether nothing of the request is left to the user: then its response's headers are waited for.
        whole = outgoing.body is not None or outgoing.end_stream
        if whole:  # that wait is the checkpoint
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
        tries = Tries(self._origins.retries)
        while True:
            connections = self._origins.to(self._where)
            connection = connections.at_once() or await connections.acquire(tries, timeouts)
            self._pump = pump = None if outgoing.body is None else outgoing.pump(timeouts.write)
            self._actor = None
            try:
                self._actor = actor = await connection.open(outgoing, pump)
                if whole:
                    await self._head(actor, pump)
                assert connection.handle is not None
                self._stream = stream = ClientStream(actor, connection.handle)
                return stream
            except BaseException as error:
                connections.serve()
                opened = self._actor is not None
                if opened:
                    await self.__aexit__(type(error), error, None)
                repeatable = not opened or outgoing.repeatable(pump)
                if not isinstance(error, H2Error) or not tries.again(error, repeatable=repeatable):
                    raise
                failure = error
            await tries.pause(failure)

    async def _head(self, actor: StreamActor, pump: Pump | None) -> None:
        """Wait for the response's headers."""
        timeout = self._timeouts.read
        if timeout == math.inf:
            await actor.inbox.receive_head()
            return
        limits = self._origins.limits
        if pump is None:
            limits.begin(actor, timeout, actor.since)
        else:
            pump.when_done(lambda: limits.begin(actor, timeout, trio.current_time()))
        try:
            await actor.inbox.receive_head()
        except H2Error:
            if not limits.expired(actor):
                raise
            reason = f"no response came within {timeout} seconds"
            raise too_slow(RequestTimeoutError(reason, phase="read", stream_id=actor.stream_id)) from None
        finally:
            if pump is not None:
                pump.when_done(None)
            limits.take_back(actor, timeout)

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._actor is not None
        try:
            if error is None:
                assert self._stream is not None
                await self._stream.aclose()
            else:
                self._actor.close(linger=False)
        finally:
            if self._pump is not None:
                await self._pump.left()
                self._pump.raise_error()
