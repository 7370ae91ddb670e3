"""`ClientConnection`: a client's requests, whole or as streams; `ClientStream` and `PushedStream`."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, TypeVar

import trio

from .actors.connection_actor import ConnectionActor
from .actors.inbox import Inbox
from .actors.pump import Pump
from .actors.stream_actor import StreamActor
from .bodies import Body, pieces, reads_pieces
from .connection import Connection, Incoming, PeerSettings
from .exceptions import H2Error, ProtocolError, ResponseTooLargeError
from .headers import Headers, HeadersLike
from .protocol.field_rules import Fields
from .protocol.priority import DEFAULT_PRIORITY, Priority
from .protocol.request_rules import RequestHead
from .requests import (
    Response,
    fields_from,
    method_text,
    repeated_request_fields,
    split_request,
    split_response,
    trailer_fields,
)
from .streams import Stream, check_max_body
from .wording import quoted

__all__ = ["ClientConnection", "ClientStream", "EnteredOnce", "PushedStream"]

T = TypeVar("T")

MAX_BODY = 2**30
"""What `request()` and a client's `read()` hold in memory by default, in octets."""

_WITHOUT_BODY = ("GET", "HEAD", "DELETE", "OPTIONS")


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
        method = method_text(method)
        if protocol is not None and method != "CONNECT":
            raise ValueError(f"protocol: only a CONNECT request has one (RFC 8441), not {quoted(method)}")
        fields, head = self._request(method, target, headers, authority, protocol, priority)
        if end_stream is None:
            end_stream = method in _WITHOUT_BODY
        elif end_stream and head.is_tunnel:
            raise ValueError("end_stream: a CONNECT tunnel starts open both ways")
        if end_stream and head.content_length:
            raise ValueError("headers: content-length promises a body, and end_stream says that none follows")
        return _Opening(self, fields, head, end_stream)

    def _request(
        self,
        method: str,
        target: str,
        headers: HeadersLike,
        authority: str | None,
        protocol: str | None,
        priority: Priority | None,
    ) -> tuple[Fields, RequestHead]:
        if authority is not None and method == "CONNECT" and protocol is None:
            raise ValueError("authority: for CONNECT it is the target")
        if authority is None:
            authority = self.authority
        return repeated_request_fields(method, target, self.scheme, authority, headers, protocol, priority)

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
                for bytes by `trio.open_file`: what has an `async def read(size)` is read in pieces of 64 KiB.
                By default none.
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
        method = method_text(method)
        if method == "CONNECT":
            raise ValueError("method: CONNECT makes a tunnel, for which there is stream()")
        check_max_body(max_body)
        if body is not None:
            if isinstance(body, bytes | bytearray | memoryview):
                headers = _with_length(headers, memoryview(body).nbytes)
            elif reads_pieces(body):
                body = pieces(body)
            elif not isinstance(body, AsyncIterable):
                raise TypeError(f"body must be bytes-like or an async iterable, not {type(body).__name__}")
        trailing = None if trailers is None else trailer_fields(trailers)
        fields, head = self._request(method, target, headers, authority, None, priority)
        if body is None and head.content_length:
            raise ValueError("headers: content-length promises a body, and there is none")
        pump = None
        if body is not None or trailing is not None:
            expects = any(name == b"expect" and value.lower() == b"100-continue" for name, value in fields)
            pump = Pump(b"" if body is None else body, trailing, expect_continue=expects)
        # The stream opens before the first wait: a call that is cancelled already must not send the request.
        await trio.lowlevel.checkpoint_if_cancelled()
        actor = await self._open(fields, head, end_stream=pump is None, pump=pump)
        try:
            return await _read_response(actor, max_body)
        finally:
            actor.close(linger=False)
            if pump is not None:
                await pump.left()
                pump.raise_error()

    async def _open(
        self, fields: Fields, head: RequestHead, *, end_stream: bool, pump: Pump | None = None
    ) -> StreamActor:
        """Open a stream, at once if there is a slot: a checkpoint only if it has to wait for one."""
        connection = self._actor
        connection.ending.check_usable()
        if head.protocol is not None:
            await connection.life.settings_received.wait()
            connection.ending.check_usable()
            if not connection.machine.remote_settings.enable_connect_protocol:
                raise ProtocolError(
                    "the peer does not know extended CONNECT (RFC 8441)",
                    initiator="local",
                )
        actor = StreamActor(connection.context)
        actor.prepare(fields, head, end_stream=end_stream, pump=pump)
        connection.start_client_stream(actor)
        try:
            await actor.wait_open()
        except BaseException:
            actor.close(linger=False)
            if pump is not None:
                await pump.left()
            raise
        return actor

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
        return [split_response(event.headers) for event in self._actor.inbox.interim]

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

    def __init__(self, connection: ClientConnection, fields: Fields, head: RequestHead, end_stream: bool) -> None:
        self._connection = connection
        self._arguments = (fields, head, end_stream)
        self._stream: ClientStream | None = None

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> ClientStream:
        self._enter_once()
        fields, head, end_stream = self._arguments
        await trio.lowlevel.checkpoint()
        actor = await self._connection._open(fields, head, end_stream=end_stream)
        self._stream = ClientStream(actor, self._connection)
        return self._stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._stream is not None
        await self._stream.__aexit__(kind, error, traceback)


def _with_length(headers: HeadersLike, length: int) -> HeadersLike:
    fields = fields_from(headers, "headers")
    given = [value for name, value in fields if name == b"content-length"]
    if not given:
        return (*fields, (b"content-length", b"%d" % length))
    if given != [b"%d" % length]:
        raise ValueError(f"headers: content-length is not that of the body, which has {length} octets")
    return fields


async def _read_response(actor: StreamActor, max_body: int | None) -> Response:
    body: list[bytes | bytearray] = []
    try:
        if not await actor.inbox.receive_message(body, max_body):
            reason = f"the response has more than {max_body} octets, its max_body"
            raise ResponseTooLargeError(reason, stream_id=actor.stream_id)
    except H2Error as error:
        error.add_response(_received(actor.inbox, body))
        raise
    response = _received(actor.inbox, body)
    assert response is not None
    return response


def _received(inbox: Inbox, body: list[bytes | bytearray]) -> Response | None:
    """The response, whole or as far as it came; None if its header section did not."""
    if inbox.head is None:
        return None
    trailers = None if inbox.trailers is None else inbox.trailers.headers
    return split_response(inbox.head.headers, b"".join(body), trailers)
