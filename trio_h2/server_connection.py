"""One connection of a server: `Served`, its life from the transport to the end."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from functools import partial

import trio

from . import events as ev
from .actors.addresses import socket_address
from .actors.connection_actor import ConnectionActor
from .actors.live_streams import handler_scope
from .actors.logs import close_at_once, escaped, logger, peer_name
from .actors.phases import ConnectionPhase
from .actors.room import MERCY, Room
from .actors.stream_actor import StreamActor
from .config import Config
from .connection import ServerConnection
from .requests import split_request
from .server_statistics import Totals
from .streams import ServerStream
from .trace import Trace

__all__ = ["Handler", "Served", "checked_handler"]

Handler = Callable[[ServerStream], Awaitable[object]]


def checked_handler(handler: Handler) -> Handler:
    """What a caller gave as `handler`. Raises TypeError."""
    if not callable(handler):
        raise TypeError(f"handler must be an async function of one stream, not {type(handler).__name__}")
    return handler


class Served:
    """One connection being served."""

    def __init__(
        self,
        handler: Handler,
        transport: trio.abc.Stream,
        config: Config,
        trace: Trace | None = None,
        room: Room | None = None,
        totals: Totals | None = None,
        on_handler_error: Callable[[str, BaseException], None] | None = None,
    ) -> None:
        self._handler: Handler | None = handler
        self._on_handler_error = on_handler_error
        self._transport = transport
        self._config = config
        self._trace = trace
        self._room = room
        self._totals = Totals() if totals is None else totals
        self._scope = trio.CancelScope()
        self._connection: ServerConnection | None = None
        self.actor: ConnectionActor | None = None
        self._past_handshake = trio.Event()
        self._closed = False

    async def run(self) -> None:
        speaks_h2 = None
        try:
            with self._scope:
                speaks_h2 = await self._handshake()
                if speaks_h2 is not None:
                    await self._be_connection(speaks_h2)
        finally:
            if speaks_h2 is None:
                self._totals.handshake_failed()
            self._past_handshake.set()

    async def _be_connection(self, speaks_h2: bool) -> None:
        room = self._room
        try:
            async with trio.open_nursery() as nursery:
                self.actor = ConnectionActor(
                    self._transport,
                    self._config,
                    nursery,
                    client=False,
                    handler=self._handle,
                    on_handler_error=self._on_handler_error,
                    on_idle=None if room is None else partial(room.idle, self),
                    on_busy=None if room is None else partial(room.busy, self),
                    trace=self._trace,
                )
                self._connection = ServerConnection(self.actor)
                self.actor.begin(self._connection)
                self._past_handshake.set()
                await self.actor.run(speaks_h2=speaks_h2)
        finally:
            if self.actor is not None:
                self._closed = self.actor.life.closed.is_set()
                self._count(self.actor)
            # What the connection was given leads here, and where the user's handler leads we don't know: no circles.
            self.actor = self._connection = self._handler = self._on_handler_error = None

    def _count(self, actor: ConnectionActor) -> None:
        """The connection has ended."""
        self._totals.ended(actor)
        if actor.life.spoke_http1:
            self._totals.http1()
        elif not actor.machine.remote_settings.received:
            self._totals.handshake_failed()

    async def _handshake(self) -> bool | None:
        """Whether the client speaks HTTP/2 for sure; None if TLS failed, which is the client's affair."""
        if not isinstance(self._transport, trio.SSLStream):
            return False
        peer = socket_address(self._transport, "getpeername") if logger.isEnabledFor(logging.DEBUG) else None
        try:
            with trio.fail_after(self._config.handshake_timeout):
                await self._transport.do_handshake()
        except Exception as error:
            reason = escaped(repr(error.__cause__ or error))
            logger.debug("the TLS handshake with %s failed: %s", peer_name(peer), reason)
            await close_at_once(self._transport)
            return None
        except BaseException:
            await close_at_once(self._transport)
            raise
        return bool(self._transport.selected_alpn_protocol() == "h2")

    @trio.lowlevel.disable_ki_protection
    async def _handle(self, actor: StreamActor, request: ev.RequestReceived) -> None:
        """Call the handler. It is the user's code: unlike the engine's tasks it may be interrupted."""
        assert self._connection is not None
        assert self._handler is not None
        split = split_request(request.headers, actor.priority)
        handler_scope.set(actor.scope)
        await self._handler(ServerStream(actor, self._connection, split))

    async def shutdown(self, deadline: float) -> None:
        """End this connection gracefully by `deadline`.

        A TLS handshake may end first, within the time a round trip gets: the client may have sent its request already.
        """
        if not self._past_handshake.is_set():
            with trio.move_on_at(min(deadline, trio.current_time() + self._config.goaway_delay)):
                await self._past_handshake.wait()
        if self.actor is None:
            self._scope.cancel()
        else:
            await self.actor.shutdown(deadline)

    def asking(self) -> AbstractContextManager[None] | None:
        """Where a handler of it, whose code runs now, has to wait for all other streams; None if none of its does."""
        return None if self.actor is None else self.actor.streams.asking()

    @property
    def asked(self) -> bool:
        """Whether there are handlers that have waited so, or do."""
        return self.actor is not None and self.actor.streams.asked

    async def others_ended(self) -> None:
        """Wait until there are no streams but theirs."""
        await self._past_handshake.wait()
        if self.actor is not None:
            await self.actor.life.drained.wait()

    def leave(self) -> None:
        """Its place is wanted, and it is idle."""
        assert self.actor is not None
        self.actor.ending.idle("the connection was idle, and its place was wanted")
        self._scope.deadline = trio.current_time() + MERCY

    def drop(self) -> None:
        """Its place is wanted at once."""
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s had to go: its place was wanted", ", ".join(self.left()))
        self._scope.cancel()

    def force(self) -> None:
        """Its time is over."""
        self._scope.cancel("the server was shut down, and its grace is over")

    async def close(self) -> None:
        """Close the transport, if that is still to be done."""
        if not self._closed:
            await close_at_once(self._transport)

    @property
    def connection(self) -> ServerConnection | None:
        """What its users see of it; None while it is not known to be HTTP/2, or if it is not open any more."""
        if self.actor is None or self.actor.life.phase in (
            ConnectionPhase.LOOKING,
            ConnectionPhase.ANSWERING_HTTP1,
            ConnectionPhase.CLOSED,
        ):
            return None
        return self._connection

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return 0 if self.actor is None else len(self.actor.streams)

    def left(self) -> list[str]:
        """What of it is still there: the handlers that run, or else the connection."""
        if self.actor is None:
            return ["a connection"]
        return self.actor.streams.handlers or [f"the connection with {self.actor.context.peer}"]
