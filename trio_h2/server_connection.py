"""One connection of a server: `Served`, its life from the transport to the end."""

from __future__ import annotations

import enum
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import trio

from .actors.accepting import has_unread
from .actors.addresses import peer_address
from .actors.connection_actor import ConnectionActor
from .actors.errors import TransportFailed, why, without_cancelled
from .actors.http1 import begins_http1, first_look, may_become_http1
from .actors.live_streams import handler_scope
from .actors.logs import close_at_once, escaped, log_handler_error, logger, peer_name, tells_nothing
from .actors.phases import ConnectionPhase
from .actors.replayed import ReplayedStream
from .actors.room import MERCY, Room
from .actors.stream_actor import StreamActor
from .config import Config
from .connection import ServerConnection
from .headers import Headers
from .requests import split_request
from .server_statistics import Totals
from .server_stream import ServerStream
from .trace import Trace

__all__ = ["Handler", "Http1Handler", "Served", "checked_handler", "checked_http1"]

Handler = Callable[[ServerStream], Awaitable[object]]
"""What answers requests: an async function of one stream. What it returns is of no account."""

Http1Handler = Callable[[ReplayedStream], Awaitable[object]]
"""What serves a client of HTTP/1.x: an async function of its connection. What it returns is of no account."""


def checked_handler(handler: Handler) -> Handler:
    """What a caller gave as `handler`. Raises TypeError."""
    if not callable(handler):
        raise TypeError(f"handler must be an async function of one stream, not {type(handler).__name__}")
    return handler


def checked_http1(http1: Http1Handler | None) -> Http1Handler | None:
    """What a caller gave as `http1`. Raises TypeError."""
    if http1 is not None and not callable(http1):
        raise TypeError(f"http1 must be an async function of one stream, or None, not {type(http1).__name__}")
    return http1


YOUNG = 5.0
"""Seconds that a connection has for its handshake in spite of a shutdown: TLS takes time where all come at once."""


class Spoken(enum.Enum):
    """What a client speaks, as far as that is known before HTTP/2 begins."""

    HTTP2 = enum.auto()
    HTTP1 = enum.auto()  # and there is a handler for it
    UNKNOWN = enum.auto()  # a connection actor finds out


class Served:
    """One connection being served.

    Args:
        handler: for requests of HTTP/2.
        transport: connected.
        config: of the connection.
        http1: for clients of HTTP/1.x, which get a 505 without.
        trace: as for ConnectionActor.
        room: has a place for it.
        totals: where it is counted.
        on_no_alpn: called with the peer's name if TLS has negotiated no protocol.
        on_handler_error: as for StreamContext.
    """

    def __init__(
        self,
        handler: Handler,
        transport: trio.abc.Stream,
        config: Config,
        *,
        http1: Http1Handler | None = None,
        trace: Trace | None = None,
        room: Room | None = None,
        totals: Totals | None = None,
        on_no_alpn: Callable[[str], None] | None = None,
        on_handler_error: Callable[[str, BaseException], None] | None = None,
    ) -> None:
        self._handler: Handler | None = handler
        self._on_handler_error = on_handler_error
        self._transport = transport
        self._config = config
        self._http1 = http1
        self._http1_handler: str | None = None  # in words, while it runs
        self._seen = b""
        self._trace = trace
        self._room = room
        self._on_no_alpn = on_no_alpn
        self._totals = Totals() if totals is None else totals
        self._scope = trio.CancelScope()
        self._connection: ServerConnection | None = None
        self.actor: ConnectionActor | None = None
        self._since = 0.0  # since when it is served
        self._past_handshake = trio.Event()
        self._http1_over = trio.Event()  # no handler of HTTP/1.x runs, but one that waits for all other streams
        self._closed = False

    async def run(self) -> None:
        self._since = trio.current_time()
        spoken = None
        try:
            with self._scope:
                spoken = await self._handshake()
                if spoken is Spoken.UNKNOWN and self._http1 is not None:
                    spoken = None
                    spoken = await self._look()
                if spoken is Spoken.HTTP1:
                    await self._be_http1()
                elif spoken is not None:
                    await self._be_connection(speaks_h2=spoken is Spoken.HTTP2)
        finally:
            if spoken is None:
                self._totals.handshake_failed()
            self._past_handshake.set()
            self._http1_over.set()

    async def _be_connection(self, *, speaks_h2: bool) -> None:
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
                seen, self._seen = self._seen, b""
                await self.actor.run(speaks_h2=speaks_h2, data=seen)
        finally:
            if self.actor is not None:
                self._closed = self.actor.life.closed.is_set()
                self._count(self.actor)
            # What the connection was given leads here, and where the user's handler leads we don't know: no circles.
            self.actor = self._connection = self._handler = self._http1 = self._on_handler_error = None

    def _count(self, actor: ConnectionActor) -> None:
        """The connection has ended."""
        self._totals.ended(actor)
        if actor.life.spoke_http1:
            self._totals.http1()
        elif not actor.machine.remote_settings.received:
            self._totals.handshake_failed()

    async def _handshake(self) -> Spoken | None:
        """What the client said in TLS that it speaks; None if the handshake failed, which is the client's affair."""
        do_handshake = getattr(self._transport, "do_handshake", None)
        if do_handshake is None:
            return Spoken.UNKNOWN
        peer = peer_address(self._transport)
        try:
            with trio.fail_after(self._config.handshake_timeout):
                await do_handshake()
        except Exception as error:
            reason = escaped(repr(error.__cause__ or error))
            logger.debug("the handshake with %s failed: %s", peer_name(peer), reason)
            await close_at_once(self._transport)
            return None
        except BaseException:
            await close_at_once(self._transport)
            raise
        if not isinstance(self._transport, trio.SSLStream):
            return Spoken.UNKNOWN
        selected = self._transport.selected_alpn_protocol()
        if selected is None and self._on_no_alpn is not None:
            self._on_no_alpn(peer_name(peer))
        if selected == "h2":
            return Spoken.HTTP2
        return Spoken.HTTP1 if selected == "http/1.1" and self._http1 is not None else Spoken.UNKNOWN

    async def _look(self) -> Spoken | None:
        """What the client speaks by its first octets; None if they did not come. Nothing is sent until then.

        Clients speak first (RFC 9113 section 3.4), but some connect early and speak late.
        """
        peer = peer_name(peer_address(self._transport))  # now, while it is known
        reason = "it has not said what it speaks"
        try:
            self._seen = await first_look(self._transport, self._config)
        except TransportFailed as failed:
            reason = f"the transport broke: {why(failed.cause)}"
        except BaseException:
            await close_at_once(self._transport)
            raise
        if begins_http1(self._seen):
            return Spoken.HTTP1
        if not may_become_http1(self._seen):
            return Spoken.HTTP2  # or nothing that there is a name for, which it says then
        logger.debug("the connection with %s ended: %s", peer, escaped(reason))
        await close_at_once(self._transport)
        return None

    async def _be_http1(self) -> None:
        """Leave the connection to the user's handler of HTTP/1.x, and close it."""
        room = self._room
        stream = ReplayedStream(
            self._transport,
            self._seen,
            on_idle=None if room is None else partial(room.idle, self),
            on_busy=None if room is None else partial(room.busy, self),
        )
        self._seen = b""
        peer = peer_name(peer_address(self._transport))  # now, while it is known
        self._http1_handler = f"the HTTP/1.x handler for {peer}"
        self._totals.http1()
        if room is not None:
            room.stay(self)
        self._past_handshake.set()
        try:
            await self._handle_http1(stream)
        except BaseException as raised_here:
            # Not kept in a variable of this frame: the error's traceback has the frame, and that would be a circle.
            if not self._http1_raised(without_cancelled(raised_here), stream.broken):
                await close_at_once(stream)
                raise
        finally:
            self._http1_handler = self._handler = self._http1 = self._on_handler_error = None
        try:
            with trio.move_on_after(self._config.close_timeout):
                await stream.aclose()
        except Exception as error:
            logger.debug("closing a connection of HTTP/1.x: %s", escaped(repr(error)))

    @trio.lowlevel.disable_ki_protection
    async def _handle_http1(self, stream: ReplayedStream) -> None:
        """Call the handler. It is the user's code."""
        assert self._http1 is not None
        handler_scope.set(self._scope)
        await self._http1(stream)

    def _http1_raised(self, error: BaseException | None, broken: bool) -> bool:
        """See to what a handler of HTTP/1.x raised, None if it was cancelled. Whether it goes no further.

        Its client has left if its stream is broken; what else breaks, an upstream of the handler's say, is its error.
        """
        if not isinstance(error, Exception):
            return False
        assert self._http1_handler is not None
        of_transport = isinstance(error, trio.BrokenResourceError) or (
            isinstance(error, ExceptionGroup) and error.split(trio.BrokenResourceError)[1] is None
        )
        if broken and of_transport and tells_nothing(error):
            logger.debug("%s raised: its client has left", self._http1_handler)
        else:
            (self._on_handler_error or log_handler_error)(self._http1_handler, error)
        return True

    @trio.lowlevel.disable_ki_protection
    async def _handle(self, actor: StreamActor, request: Headers) -> None:
        """Call the handler. It is the user's code: unlike the engine's tasks it may be interrupted."""
        assert self._connection is not None
        assert self._handler is not None
        split = split_request(request, actor.priority)
        handler_scope.set(actor.scope)
        await self._handler(ServerStream(actor, self._connection, split))

    async def shutdown(self, deadline: float) -> None:
        """End this connection gracefully by `deadline`.

        A TLS handshake may end first, within the time a round trip gets: the client may have sent its request already.
        """
        if not self._past_handshake.is_set():
            await self._see_handshake_through(deadline)
        if self.actor is not None:
            await self.actor.shutdown(deadline)
        elif self._http1_handler is not None:
            self._scope.deadline = min(self._scope.deadline, deadline)
        else:
            self._scope.cancel()

    async def _see_handshake_through(self, deadline: float) -> None:
        """Wait for the end of a handshake, for so long as a round trip may take; at most half of the time that is left.

        A connection that is young gets more, and so does one whose client has sent something that nobody has read: one
        of us is slow, and a request may be under way, which its client could not safely make again.
        """
        latest = (trio.current_time() + deadline) / 2
        sooner = max(trio.current_time() + self._config.goaway_delay, self._since + YOUNG)
        with trio.move_on_at(min(sooner, latest)):
            await self._past_handshake.wait()
        if not self._past_handshake.is_set() and has_unread(self._transport):
            with trio.move_on_at(latest):
                await self._past_handshake.wait()

    def asking(self) -> AbstractContextManager[None] | None:
        """Where a handler of it, whose code runs now, has to wait for all other streams; None if none of its does."""
        if self.actor is not None:
            return self.actor.streams.asking()
        if self._http1_handler is None or handler_scope.get() is not self._scope:
            return None
        self._http1_over.set()
        return nullcontext()

    @property
    def asked(self) -> bool:
        """Whether there are handlers that have waited so, or do."""
        return self.actor is not None and self.actor.streams.asked

    async def others_ended(self) -> None:
        """Wait until there are no streams but theirs."""
        await self._past_handshake.wait()
        if self.actor is not None:
            await self.actor.life.drained.wait()
        elif self._http1_handler is not None:
            await self._http1_over.wait()

    def leave(self) -> None:
        """Its place is wanted, and it is idle."""
        if self.actor is None:  # of HTTP/1.x, which has no way to say it
            self.drop()
        else:
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
        """How many streams are open; a handler of HTTP/1.x that runs counts as one."""
        return int(self._http1_handler is not None) if self.actor is None else len(self.actor.streams)

    def left(self) -> list[str]:
        """What of it is still there: the handlers that run, or else the connection."""
        if self._http1_handler is not None:
            return [self._http1_handler]
        if self.actor is None:
            return ["a connection"]
        return self.actor.streams.handlers or [f"the connection with {self.actor.context.peer}"]
