"""The client: `connect`, `connect_over` and `ClientConnection`."""

from __future__ import annotations

import inspect
import math
import ssl
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Protocol, TypeGuard

import trio

from .actors.connection_actor import ConnectionActor
from .actors.errors import broken, refused_by_tls, why
from .actors.inbox import Inbox
from .actors.logs import close_at_once, escaped, logger
from .actors.pump import Body, Pump
from .actors.stream_actor import StreamActor
from .actors.under_tls import UnderTLS
from .config import Config
from .connection import Connection, Incoming, checked_config
from .exceptions import H2Error, HandshakeError, InternalError, ProtocolError
from .headers import HeadersLike
from .origin import origin_of
from .protocol.priority import Priority
from .protocol.request_rules import RequestHead
from .requests import (
    Fields,
    Response,
    fields_from,
    method_text,
    repeated_request_fields,
    request_fields,
    split_response,
    trailer_fields,
)
from .streams import ClientStream, PushedStream

__all__ = ["ClientConnection", "connect", "connect_over"]

MAX_BODY = 2**30
"""What `request()` holds in memory by default, in octets."""

PIECE_SIZE = 64 * 1024
"""How much of a body that is a file is read at a time, in octets."""

_WITHOUT_BODY = ("GET", "HEAD", "DELETE", "OPTIONS")


class AsyncFile(Protocol):
    """A file opened for bytes, as `trio.open_file` gives it, or anything that reads like one."""

    async def read(self, size: int, /) -> bytes:
        """At most so many octets, and none at the end."""
        raise NotImplementedError


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
            headers: fields, as pairs or a mapping; no pseudo-header fields.
            end_stream: True if there is no body. By default so for GET, HEAD, DELETE and OPTIONS.
            authority: in place of the connection's.
            protocol: extended CONNECT's `:protocol` (RFC 8441), with method CONNECT; waits for the peer's SETTINGS.
            priority: sent as the priority field (RFC 9218).

        Raises, in the call: ValueError or TypeError naming the argument. Entering it raises:
            ConnectionTerminatedError: the connection takes no more streams; safe to retry if a new one may do better.
            NoAvailableStreamIDError: this connection has used all its stream IDs.
            ProtocolError: `protocol`, and the peer does not know RFC 8441; not safe to retry.
        """
        method = method_text(method)
        if protocol is not None and method != "CONNECT":
            raise ValueError(f"protocol: only a CONNECT request has one (RFC 8441), not {method}")
        fields, head = self._request(method, target, headers, authority, protocol, priority)
        if end_stream is None:
            end_stream = method in _WITHOUT_BODY
        elif end_stream and head.is_tunnel:
            raise ValueError("end_stream: a CONNECT tunnel starts open both ways")
        if end_stream and head.content_length:
            raise ValueError(f"headers: content-length is {head.content_length}, and end_stream says no body follows")
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
        body: Body | AsyncFile | None = None,
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
            trailers: a trailer section to send after the body.
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
        if max_body is not None and (isinstance(max_body, bool) or not isinstance(max_body, int)):
            raise TypeError(f"max_body must be an int or None, not {type(max_body).__name__}")
        if max_body is not None and max_body < 0:
            raise ValueError(f"max_body must not be negative: {max_body}")
        if body is not None:
            if isinstance(body, bytes | bytearray | memoryview):
                headers = _with_length(headers, memoryview(body).nbytes)
            elif _reads_pieces(body):
                body = _pieces(body)
            elif not isinstance(body, AsyncIterable):
                raise TypeError(f"body must be bytes-like or an async iterable, not {type(body).__name__}")
        trailing = None if trailers is None else trailer_fields(trailers)
        fields, head = self._request(method, target, headers, authority, None, priority)
        if body is None and head.content_length:
            raise ValueError(f"headers: content-length is {head.content_length}, and there is no body")
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

    async def aclose(self) -> None:
        """Send GOAWAY, let open streams finish for at most `Config.close_timeout`, and close the transport."""
        await self._actor.aclose(drain=True)


class _Opening(AbstractAsyncContextManager[ClientStream]):
    """What `ClientConnection.stream` returns: entering it opens the stream."""

    def __init__(self, connection: ClientConnection, fields: Fields, head: RequestHead, end_stream: bool) -> None:
        self._connection = connection
        self._arguments = (fields, head, end_stream)
        self._stream: ClientStream | None = None
        self._entered = False

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> ClientStream:
        _enter_once(self)
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


def _enter_once(block: _Opening | connect_over) -> None:
    """A second entry would lose, and never end, what the first one opened."""
    if block._entered:
        raise RuntimeError("an `async with` block of this object was entered before: make another one")
    block._entered = True


def _with_length(headers: HeadersLike, length: int) -> HeadersLike:
    fields = fields_from(headers, "headers")
    given = [value for name, value in fields if name == b"content-length"]
    if not given:
        return (*fields, (b"content-length", b"%d" % length))
    if given != [b"%d" % length]:
        raise ValueError(f"headers: content-length is {given[0]!r}, the body has {length} bytes")
    return fields


def _reads_pieces(body: object) -> TypeGuard[AsyncFile]:
    """Is this an async file? Iterated over, one gives its lines, which may be of one octet each, or all of it."""
    read = getattr(body, "read", None)
    if not inspect.iscoroutinefunction(read):
        return False
    try:
        inspect.signature(read).bind(PIECE_SIZE)
    except (TypeError, ValueError):  # a `read` of another kind, that takes no size
        return False
    return True


async def _pieces(file: AsyncFile) -> AsyncIterator[bytes]:
    while piece := await file.read(PIECE_SIZE):
        if isinstance(piece, str):
            raise TypeError("body must be a file of bytes, not of text: open it in binary mode")
        yield piece


async def _read_response(actor: StreamActor, max_body: int | None) -> Response:
    body: list[bytes] = []
    try:
        await actor.inbox.receive_message(body, max_body)
    except H2Error as error:
        error.response = _received(actor.inbox, body)
        raise
    response = _received(actor.inbox, body)
    assert response is not None
    return response


def _received(inbox: Inbox, body: list[bytes]) -> Response | None:
    """The response, whole or as far as it came; None if its header section did not."""
    if inbox.head is None:
        return None
    trailers = None if inbox.trailers is None else inbox.trailers.headers
    return split_response(inbox.head.headers, body[0] if len(body) == 1 else b"".join(body), trailers)


class connect_over(AbstractAsyncContextManager[ClientConnection]):
    """An HTTP/2 connection over any connected `trio.abc.Stream`: memory streams, unix sockets, TLS, a tunnel.

    Use it as `async with connect_over(transport, authority="example.org") as connection`. Leaving the block sends
    GOAWAY, lets open streams finish for at most `Config.close_timeout`, and closes the transport; leaving it by an
    exception does not wait for streams, and being cancelled closes at once. What the block raises comes out as it
    is, never in an ExceptionGroup, and a connection that dies does not cancel the block.

    Args:
        transport: connected, and for TLS already with `h2` negotiated or known to be spoken, and with
            `ssl.OP_NO_RENEGOTIATION` in its context (RFC 9113 section 9.2.1).
        authority: the `:authority` of requests, host and port.
        scheme: their `:scheme`, `"http"` by default.
        config: by default `Config()`.

    Raises, in the call: ValueError or TypeError naming the argument. Leaving it raises:
        InternalError: a bug in trio_h2 ended the connection.
    """

    def __init__(
        self,
        transport: trio.abc.Stream,
        *,
        authority: str,
        scheme: str = "http",
        config: Config | None = None,
    ) -> None:
        if not isinstance(transport, trio.abc.Stream):
            raise TypeError(f"transport must be a trio.abc.Stream, not {type(transport).__name__}")
        self._transport = transport
        self._prepare(authority, scheme, config)

    def _prepare(self, authority: str, scheme: str, config: Config | None) -> None:
        self._entered = False
        self._config = checked_config(config)
        # The check of a request's fields is the check of what they are made of.
        request_fields("GET", "/", scheme=scheme, authority=authority, headers=())
        self._authority = authority
        self._scheme = scheme

    async def _connected(self) -> trio.abc.Stream:
        return self._transport

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> ClientConnection:
        _enter_once(self)
        transport = await self._connected()
        self._nursery_manager = trio.open_nursery()
        self._nursery = await self._nursery_manager.__aenter__()
        self._actor = ConnectionActor(transport, self._config, self._nursery, client=True)
        self._nursery.start_soon(self._actor.run)
        return ClientConnection(self._actor, self._authority, self._scheme)

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if trio.current_effective_deadline() > -math.inf:
                await self._actor.aclose(drain=error is None)
        except trio.Cancelled:
            if error is None:
                raise
        finally:
            # Only our tasks are in there, and they end when cancelled. The shield keeps a cancellation from outside
            # from being caught by this nursery, which would put it into a group.
            scope = self._nursery.cancel_scope
            scope.shield = True
            scope.cancel()
            await self._nursery_manager.__aexit__(None, None, None)
        if error is None and isinstance(self._actor.life.cause, InternalError):
            raise self._actor.life.cause


class connect(connect_over):
    """An HTTP/2 connection to a URL: `async with connect("https://example.org") as connection`.

    `https` is TLS with ALPN `h2` and verified certificate and host name; `http` is HTTP/2 with prior knowledge (RFC
    9113 section 3.3). All addresses of the host are tried, by `trio.open_tcp_stream`. There is no timeout here: use
    `trio.fail_after`. For the rest see `connect_over`.

    Args:
        url: scheme, host and perhaps port; no path, no user. A host in ASCII is taken as it is, any other goes through
            IDNA 2008 with the mappings of UTS #46. A final dot is for DNS and `:authority`, not for TLS (RFC 6066
            section 3), and an IPv6 zone, `[fe80::1%25eth0]`, for connecting alone (RFC 6874).
        ssl_context: for `https`; by default `ssl.create_default_context()`. ALPN `h2` is set on it, and that TLS does
            not renegotiate (RFC 9113 section 9.2.1).
        config: by default `Config()`.

    Raises, in the call: ValueError or TypeError naming the argument. Entering it raises:
        OSError: no address could be reached.
        HandshakeError: TLS failed, or the server does not select `h2`; also a trio.BrokenResourceError. Safe to retry
            only if the transport broke.
    """

    def __init__(self, url: str, *, ssl_context: ssl.SSLContext | None = None, config: Config | None = None) -> None:
        if not isinstance(url, str):
            raise TypeError(f"url must be a str, not {type(url).__name__}")
        self._origin = origin = origin_of(url)
        if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
            raise TypeError(f"ssl_context must be an ssl.SSLContext, not {type(ssl_context).__name__}")
        if ssl_context is not None and origin.scheme == "http":
            raise ValueError("ssl_context: an http:// url has no use for one")
        self._ssl_context = ssl_context
        self._prepare(origin.authority, origin.scheme, config)

    async def _connected(self) -> trio.abc.Stream:
        stream = await trio.open_tcp_stream(self._origin.host, self._origin.port)
        if self._scheme == "http":
            return stream
        tls: trio.abc.Stream = stream
        try:
            context = self._ssl_context or ssl.create_default_context()
            context.set_alpn_protocols(["h2"])
            context.options |= ssl.OP_NO_RENEGOTIATION
            below = UnderTLS(stream)
            tls = trio.SSLStream(below, context, server_hostname=self._origin.name, https_compatible=True)
            await tls.do_handshake()
            below.handshake_done()
            selected = tls.selected_alpn_protocol()
            if selected != "h2":
                text = f"the server selected {selected or 'no protocol'} by ALPN, not h2"
                raise broken(HandshakeError(text, safe_to_retry=False))
        except trio.BrokenResourceError as error:
            logger.debug("TLS with %s failed: %s", escaped(self._origin.host), escaped(why(error)))
            await close_at_once(tls)
            if isinstance(error, HandshakeError):
                raise
            text = f"TLS with {self._origin.host} failed: {why(error)}"
            failure = HandshakeError(text, safe_to_retry=not refused_by_tls(error))
            raise broken(failure) from (error.__cause__ or error)
        except BaseException:
            await close_at_once(tls)
            raise
        return tls
