"""`ClientConnection`: a client's requests, whole or as streams; `ClientStream` and `PushedStream`."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, TypeVar

import trio

from .actors.connection_actor import ConnectionActor
from .actors.stream_actor import StreamActor
from .bodies import Body
from .connection import Connection, Incoming, PeerSettings
from .exceptions import ProtocolError, ResponseTooLargeError
from .exchange import Outgoing, exchange, open_stream, streamed_request, whole_request
from .headers import Headers, HeadersLike
from .protocol.priority import DEFAULT_PRIORITY, Priority
from .requests import Response, split_request, split_response
from .stream import Stream, check_max_body

__all__ = ["ClientConnection", "ClientStream", "EnteredOnce", "PushedStream", "leave_nursery"]

T = TypeVar("T")

MAX_BODY = 2**30
"""What `request()` and a client's `read()` hold in memory by default, in octets."""


class EnteredOnce(AbstractAsyncContextManager[T]):
    """An `async with` block for one entry: a second would lose, and never end, what the first one opened."""

    _entered = False
    _written = ""  # how the call that made it is written, if it is not the class's

    if not TYPE_CHECKING:  # to type checkers it is as if this was not there: they say it before it runs

        def __await__(self) -> NoReturn:
            written = self._written or f"{type(self).__name__}(...)"
            raise TypeError(f"{written} is not awaited, it is an `async with`: `async with {written} as name:`")

    def _enter_once(self) -> None:
        if self._entered:
            raise RuntimeError("an `async with` block of this object was entered before: make another one")
        self._entered = True


async def leave_nursery(
    manager: AbstractAsyncContextManager[trio.Nursery],
    nursery: trio.Nursery,
    error: BaseException | None,
    close: Callable[[], Awaitable[None]],
) -> None:
    """Leave a block that has tasks of its own, so that what it raised comes out as it is.

    Args:
        manager, nursery: where its tasks are; none but ours, which end when they are cancelled.
        error: what the block raised, or None.
        close: has the tasks end; not called where the block was cancelled.
    """
    try:
        if trio.current_effective_deadline() > -math.inf:
            await close()
    except trio.Cancelled:
        if error is None:
            raise
    finally:
        # The shield keeps a cancellation from outside from being caught by this nursery, which would put it into a
        # group.
        nursery.cancel_scope.shield = True
        nursery.cancel_scope.cancel()
        await manager.__aexit__(None, None, None)


class ClientConnection(Connection):
    """A client's connection, as `async with connect(...)` gives it. Any number of tasks may use it at once.

    Attributes:
        authority: the default `:authority` of requests.
        scheme: the `:scheme` of requests.
    """

    def __init__(self, actor: ConnectionActor, authority: str, scheme: str) -> None:
        super().__init__(actor)
        self.authority = authority
        self.scheme = scheme

    def stream(
        self,
        method: str | bytes,
        target: str,
        *,
        headers: HeadersLike = (),
        end_stream: bool | None = None,
        authority: str | None = None,
        protocol: str | None = None,
        priority: Priority | None = None,
    ) -> AbstractAsyncContextManager[ClientStream]:
        """Open a stream: `async with connection.stream("POST", "/upload") as s`.

        It waits for its turn when the peer's SETTINGS_MAX_CONCURRENT_STREAMS is reached (RFC 9113 section 5.1.2),
        in order; cancelled there, nothing was sent. Leaving the block early resets the stream with CANCEL.

        Args:
            method: `"GET"` and the like; with `"CONNECT"` the stream is a tunnel (section 8.5).
            target: path and query, `"*"` for OPTIONS, `host:port` for CONNECT.
            headers: fields, as pairs or a mapping; no pseudo-header fields. By default none.
            end_stream: True if there is no body. By default so for GET, HEAD, DELETE and OPTIONS.
            authority: by default the connection's.
            protocol: extended CONNECT's `:protocol` (RFC 8441), with method CONNECT; waits for the peer's SETTINGS.
                None by default.
            priority: sent as the priority field (RFC 9218). By default none is sent, which says the same as Priority().

        Raises, in the call: ValueError or TypeError naming the argument. Entering it raises:
            ConnectionTerminatedError: the connection takes no more streams; safe to retry if a new one may do better.
            NoAvailableStreamIDError: this connection has used all its stream IDs.
            ProtocolError: `protocol`, and the peer does not know RFC 8441; not safe to retry.
        """
        outgoing = streamed_request(
            method, target, self.scheme, authority, headers, end_stream, protocol, priority, self.authority
        )
        return _Opening(self, outgoing)

    @trio.lowlevel.enable_ki_protection
    async def request(
        self,
        method: str | bytes,
        target: str,
        *,
        headers: HeadersLike = (),
        body: Body | None = None,
        trailers: HeadersLike | None = None,
        authority: str | None = None,
        priority: Priority | None = None,
        max_body: int | None = MAX_BODY,
    ) -> Response:
        """Make a request and return the whole response.

        The response is read while the body is sent, so a server that answers early is heard; the rest of the body is
        then not sent. With `Expect: 100-continue` among the headers the body waits for the server's word, for at
        most `Config.continue_timeout`.

        Args:
            method, target, headers, authority, priority: as for `stream`.
            body: bytes-like, which gets a content-length, an async iterable of bytes-like chunks, or a file opened
                for bytes by `trio.open_file`: what has an `async def read(size)` is read in pieces of 64 KiB. Or a
                callable that makes one of the latter two, or a plain iterable. By default none.
            trailers: a trailer section to send after the body. By default none.
            max_body: the largest response body to hold, in octets; None for no limit. 1 GiB.

        Raises:
            ValueError, TypeError: an argument makes no request; nothing was sent.
            StreamResetError, ConnectionTerminatedError: the stream or the connection ended before the response
                did. `.safe_to_retry` says whether the server certainly did not process it, and a new connection
                may do better. `.response` is what came of the response: status, headers, body so far; None if no
                final status came.
            ResponseTooLargeError: the response has more than `max_body` octets; it was cancelled. `.response` has
                the first `max_body` of them.
            Whatever the body's iterator, or its `read`, raises, also after the server has answered: the request was
                cancelled.
        """
        if authority is None:
            authority = self.authority
        if max_body is not MAX_BODY:
            check_max_body(max_body)
        outgoing = whole_request(method, target, self.scheme, authority, headers, body, trailers, priority)
        return await exchange(self._actor, outgoing, outgoing.pump(), max_body)

    async def _open(self, outgoing: Outgoing) -> ClientStream:
        return ClientStream(await open_stream(self._actor, outgoing), self)

    def pushes(self) -> AsyncIterator[PushedStream]:
        """The responses the server pushes (RFC 9113 section 8.4); `Config.enable_push` has to be on.

        Each is an `async with` block like a stream of one's own, and has the promised `.request`. Ends when the
        connection has ended.

        Raises:
            ProtocolError: the Config did not ask for pushes.
        """
        if not self._actor.context.config.enable_push:
            raise ProtocolError("push is off: connect with Config(enable_push=True)", initiator="local")
        return Incoming(self._next_push)

    async def _next_push(self) -> PushedStream | None:
        pushed = await self._actor.events.next_push()
        if pushed is None:
            return None
        actor, event = pushed
        return PushedStream(actor, self, event.headers)

    async def settings_received(self) -> PeerSettings:
        """Wait for the server's first SETTINGS, and return what is in force now: at once, when they are there.

        Requests need not wait for it. It is for what depends on the server's abilities: `enable_connect_protocol`,
        say, or `max_concurrent_streams`.

        Raises:
            ConnectionTerminatedError: the connection ended before they came.
        """
        await self._actor.life.settings_received.wait()
        settings = self.peer_settings
        if settings is None:
            self._actor.ending.check_usable()
        assert settings is not None
        return settings

    async def aclose(self) -> None:
        """Send GOAWAY, let open streams finish for at most `Config.close_timeout`, and close the transport."""
        await self._actor.aclose(drain=True)


class ClientStream(Stream):
    """A request and its response, as `ClientConnection.stream` gives it."""

    _connection: ClientConnection

    @property
    def connection(self) -> ClientConnection:
        """The connection it is a stream of: its requests, addresses, TLS, PING and statistics."""
        return self._connection

    async def __aenter__(self) -> ClientStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.aclose()
        else:
            self._actor.close(linger=False)

    async def response(self) -> Response:
        """Wait for the final response's status and headers. A second time gives the same.

        Raises:
            StreamResetError, ConnectionTerminatedError: the stream or the connection ended before it came;
                `.safe_to_retry` says whether the server certainly did not process the request (RFC 9113 section 8.7),
                and a new connection may do better.
            trio.BusyResourceError: another task is receiving from this stream.
        """
        event = await self._actor.inbox.receive_head()
        return split_response(event.headers)

    @property
    def head(self) -> Response | None:
        """The final response's status and headers, as `response()` gave them; None before."""
        head = self._actor.inbox.head
        return None if head is None else split_response(head.headers)

    async def read(self, *, max_body: int | None = MAX_BODY) -> bytes:
        """The rest of the body, whole: what `receive_some` has not given yet; b"" if there is no more. See `trailers`.

        It waits for the response's headers first, which `response()` gives. Reading is acknowledging, so the server
        goes on sending; the whole body is held in memory. What it raises, also Cancelled, loses nothing:
        `receive_some`, or another `read`, begins where this one did.

        Args:
            max_body: the most there may be of it, in octets; None for no limit. 1 GiB by default.

        Raises:
            ResponseTooLargeError: there is more than `max_body`; at once, if a content-length says so. The stream goes
                on; leaving its block cancels it.
            StreamResetError, ConnectionTerminatedError: the stream or the connection ended before the body did;
                `.safe_to_retry` says whether the server certainly did not process the request.
            trio.BusyResourceError: another task is receiving from this stream, or `events()` is in use.
            ValueError, TypeError: `max_body` is not None or an int of at least 0.
        """
        check_max_body(max_body)
        if self._actor.inbox.head is None:
            await self._actor.inbox.receive_head()
        return await self._read_body(max_body)

    def _too_large(self, reason: str) -> ResponseTooLargeError:
        return ResponseTooLargeError(reason, stream_id=self.stream_id)

    @property
    def informational(self) -> list[Response]:
        """The interim (1xx) responses that came before the final one, so far as it has been read."""
        interim = self._actor.inbox.interim
        return [split_response(event.headers) for event in interim] if interim else []

    @trio.lowlevel.enable_ki_protection
    async def update_priority(self, priority: Priority) -> None:
        """Tell the server that this response matters more, or less, now (RFC 9218 section 7.1).

        Raises:
            StreamResetError, ConnectionTerminatedError: the stream or the connection ended.
            TypeError: `priority` is not a Priority.
        """
        if not isinstance(priority, Priority):
            raise TypeError(f"priority must be a Priority, not {type(priority).__name__}")
        await self._actor.ready_to_send()
        self._actor.update_priority(priority)


class PushedStream(ClientStream):
    """A response the server pushed, as `ClientConnection.pushes` gives it.

    Attributes:
        request: the request that the server says it answers (RFC 9113 section 8.4.1).
    """

    def __init__(self, actor: StreamActor, connection: ClientConnection, promised: Headers) -> None:
        super().__init__(actor, connection)
        self.request = split_request(promised, DEFAULT_PRIORITY)


class _Opening(EnteredOnce[ClientStream]):
    """What `ClientConnection.stream` returns: entering it opens the stream."""

    _written = "connection.stream(...)"

    def __init__(self, connection: ClientConnection, outgoing: Outgoing) -> None:
        self._connection = connection
        self._outgoing = outgoing
        self._stream: ClientStream | None = None

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> ClientStream:
        self._enter_once()
        await trio.lowlevel.checkpoint()
        self._stream = await self._connection._open(self._outgoing)
        return self._stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._stream is not None
        await self._stream.__aexit__(kind, error, traceback)
