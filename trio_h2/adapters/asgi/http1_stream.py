"""Http1Stream: a request of HTTP/1.x and its response, with the calls of a `trio_h2.ServerStream` that apps need."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, TypeVar

import h11
import trio
from wsproto.utilities import generate_accept_token

import trio_h2

from .http1_transport import Http1Gone, Http1Transport
from .request_stream import Carrier, came_by_tls

__all__ = ["Http1Stream"]

E = TypeVar("E")

WITHOUT_CONTENT = (204, 304)

# RFC 9112 section 3.2, and RFC 3986 section 3.2: what is not a host and an optional port names nobody.
ABSOLUTE_FORM = re.compile(r"https?://([^/?#]+)(/[^?#]*)?((?:\?[^#]*)?)", re.IGNORECASE)
ORIGIN_FORM = re.compile(r"/[^#]*")
AUTHORITY = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")

KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
"""Of a WebSocket: 16 octets in Base64 (RFC 6455 section 4.1)."""


class Http1Stream:
    """Owner of every field: this object.

    Args:
        transport: what carries it; its protocol is at the end of the request's head.
        head: the request's.

    Raises:
        h11.RemoteProtocolError: the head, or what is there of the body, breaks a rule that h11 leaves open.

    Attributes:
        request: what the client asked for; a WebSocket as HTTP/2 has it, by extended CONNECT.
        gone: whether the client has gone.
        scope: what its handler runs in.
        closed: whether the response is complete. The connection sees to what is left of the request.
        can_push: False.
        status: of the final response, once its head is sent; None before. Of a WebSocket 200.
    """

    def __init__(self, transport: Http1Transport, head: h11.Request) -> None:
        self._transport = transport
        self._head = head
        self._switched = False
        self._chunked = False
        self._body_ended = trio.Event()
        self._first: bytes = b""
        self._watching = trio.CancelScope()
        self._watched = trio.Event()
        self.request = _request(head, secure=came_by_tls(transport))
        self.gone = False
        self.scope = trio.CancelScope()
        self.closed = False
        self.can_push = False
        self.status: int | None = None
        self._callback: Callable[[trio_h2.H2Error], object] | None = None
        self._grace = math.inf
        self._look()

    def _look(self) -> None:
        """A request without a body has ended; nothing has to be read to know it."""
        event = self._transport.look()
        if isinstance(event, h11.EndOfMessage):
            self._body_ended.set()
        elif isinstance(event, h11.Data):
            self._first = bytes(event.data)

    @property
    def connection(self) -> Carrier:
        """What carries it."""
        return self._transport

    @property
    def http_version(self) -> str:
        """`"1.1"` or `"1.0"`; what is newer is answered as 1.1 (RFC 9110 section 2.5)."""
        return "1.0" if self._head.http_version == b"1.0" else "1.1"

    # Receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next octets of the body, b"" at its end; of a WebSocket what comes."""
        if self._switched and not self._first:
            return await self._receive_switched()
        with self._noticing():
            if self._first:
                await trio.lowlevel.checkpoint()
                chunk, self._first = self._first, b""
                return chunk
            if self._body_ended.is_set():
                await trio.lowlevel.checkpoint()
                return b""
            event = await self._transport.next_event()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        self._body_ended.set()
        return b""

    async def _receive_switched(self) -> bytes:
        try:
            octets = await self._transport.receive_raw()
        except Http1Gone as error:
            self._client_gone(error)
            raise
        if not octets:
            self._client_gone(Http1Gone("the client has ended", initiator="remote"))
        return octets

    async def watch(self) -> None:
        """Set `gone` when the client goes after its request. The next request, if it is sent before, hides it."""
        with self._watching:
            await self._body_ended.wait()
            if not await self._transport.read_ahead():
                self._client_gone(Http1Gone("the client has gone", initiator="remote"))
        self._watched.set()

    def on_disconnect(self, callback: Callable[[trio_h2.H2Error], object], *, grace: float = math.inf) -> None:
        """As `trio_h2.ServerStream.on_disconnect`."""
        self._callback, self._grace = callback, grace

    def _client_gone(self, error: trio_h2.H2Error) -> None:
        """The handler is told, and has its time; whose response is complete has no client any more."""
        if not (self.gone or self.closed):
            self.scope.deadline = trio.current_time() + self._grace
            if self._callback is not None:
                self._callback(error)
        self.gone = True

    def drop_the_rest(self) -> None:
        """Drop what is there of a body that the app did not receive: if that is all of it, a next request may follow.

        Not where the client was to be asked for it: what is there may be something else (RFC 9110 section 10.1.1).
        """
        if "expect" not in self.request.headers:
            self._transport.drop_body()

    # Sending

    async def send_informational(self, status: int, headers: Any = ()) -> None:
        """Send an interim response; clients of HTTP/1.0 get none."""
        if self.http_version != "1.0":
            await self._send(_built(h11.InformationalResponse, list(headers), status_code=status))

    async def send_response(self, status: int, headers: Any = (), *, end_stream: bool = False) -> None:
        """Send the head of the response; that which accepts a WebSocket is 101 (RFC 6455 section 4.2.2)."""
        if self.request.protocol is not None and status == 200:
            key = self.request.headers["sec-websocket-key"].encode("latin-1")
            upgrade = [
                (b"upgrade", b"websocket"),
                (b"connection", b"upgrade"),
                (b"sec-websocket-accept", generate_accept_token(key)),
            ]
            self._watching.cancel()  # from now on it is the handler that reads
            await self._watched.wait()
            await self._send(_built(h11.InformationalResponse, [*upgrade, *headers], status_code=101))
            self._switched = True
            self._first = self._transport.protocol.trailing_data[0]
        else:
            end = [h11.EndOfMessage()] if end_stream else []
            fields = list(headers)
            self._chunked = self.http_version != "1.0" and not self._without_body(status)
            self._chunked = self._chunked and all(name != b"content-length" for name, _ in fields)
            await self._send(self._response(status, fields), *end)
            self.closed = end_stream
        self.status = status

    async def respond(self, status: int, headers: Any = (), body: bytes | bytearray | memoryview = b"") -> None:
        """Send a whole response, with its length."""
        fields = list(headers)
        without_body = self._without_body(status)
        length = next((value for name, value in fields if name == b"content-length"), None)
        if length is None and status not in WITHOUT_CONTENT:
            fields.append((b"content-length", b"%d" % len(body)))
        elif length is not None and not without_body and length != b"%d" % len(body):
            raise ValueError(f"headers: content-length is {length.decode('latin-1')}, the body has {len(body)} bytes")
        data = [] if without_body else [h11.Data(data=bytes(body))]
        self.drop_the_rest()
        if self._transport.request_is_open and not self._transport.closing_fields:
            fields.append((b"connection", b"close"))  # RFC 9110 section 10.1.1: it will not be read
        await self._send(self._response(status, fields), *data, h11.EndOfMessage())
        self.status = status
        self.closed = True

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send octets of the body; of a WebSocket, of its frames."""
        if self._switched:
            try:
                await self._transport.send_raw(bytes(data))
            except Http1Gone as error:
                self._client_gone(error)
                raise
        elif self._without_body(self.status):
            await trio.lowlevel.checkpoint()
        else:
            await self._send(h11.Data(data=bytes(data)))

    async def send_eof(self) -> None:
        """End the response; of a WebSocket this side of the connection."""
        if self._switched:
            with self._noticing():
                await self._transport.send_end()
        else:
            await self._send(h11.EndOfMessage())
            self.closed = True

    async def send_trailers(self, trailers: Any) -> None:
        """End the response, with trailers if it is chunked: else they have no place (RFC 9112 section 7.1)."""
        await self._send(_built(h11.EndOfMessage, list(trailers) if self._chunked else []))
        self.closed = True

    async def aclose(self) -> None:
        """The rest of the request is not wanted: the connection will be closed after the response."""
        await trio.lowlevel.checkpoint()

    def _without_body(self, status: int | None) -> bool:
        return self.request.method == "HEAD" or status in WITHOUT_CONTENT

    def _response(self, status: int, fields: Any) -> h11.Response:
        try:
            reason = HTTPStatus(status).phrase.encode("ascii")
        except ValueError:
            reason = b""
        fields = [*fields, *self._transport.closing_fields]
        return _built(h11.Response, fields, status_code=status, reason=reason)

    async def _send(self, *events: h11.Event) -> None:
        with self._noticing():
            await self._transport.send(*events)

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        """What fails with the client says that it has gone."""
        try:
            yield
        except trio_h2.H2Error as error:
            self._client_gone(error)
            raise


def _built(event: Callable[..., E], fields: list[tuple[bytes, bytes]], **more: Any) -> E:
    """An event with the app's fields. Raises ValueError that names the one that is malformed, and not its value."""
    try:
        return event(headers=fields, **more)
    except h11.LocalProtocolError as error:
        for field in fields:
            try:
                h11.EndOfMessage(headers=[field])
            except h11.LocalProtocolError:
                raise ValueError(f"headers: {field[0]!r}, or its value, is malformed (RFC 9110 section 5)") from None
        raise ValueError(f"headers: {error}") from error


def _request(head: h11.Request, *, secure: bool) -> trio_h2.Request:
    if not head.http_version.startswith(b"1."):
        raise h11.RemoteProtocolError("another major version", error_status_hint=505)
    headers = trio_h2.Headers([(bytes(name), bytes(value)) for name, value in head.headers])
    method = bytes(head.method).decode("ascii")
    authority, path = _target(method, bytes(head.target).decode("ascii"), headers.get("host"))
    websocket = _asks_for_websocket(head, headers)
    return trio_h2.Request(
        method="CONNECT" if websocket else method,
        scheme="https" if secure else "http",
        authority=authority,
        path=path,
        protocol="websocket" if websocket else None,
        headers=headers,
    )


def _target(method: str, target: str, host: str | None) -> tuple[str | None, str | None]:
    """Authority and path; the absolute form has both, whatever Host says (RFC 9112 section 3.2.2)."""
    path: str | None = target
    if method == "CONNECT":
        path = None
    elif match := ABSOLUTE_FORM.fullmatch(target):
        host, path = match[1], (match[2] or "/") + match[3]
    elif not ORIGIN_FORM.fullmatch(target) and not (target == "*" and method == "OPTIONS"):
        raise h11.RemoteProtocolError("the target is none")
    if host is not None and not AUTHORITY.fullmatch(host):
        raise h11.RemoteProtocolError("the host is none")
    return host, path


def _asks_for_websocket(head: h11.Request, headers: trio_h2.Headers) -> bool:
    """Whether it is a handshake (RFC 6455 section 4.2.1). A body would come before the frames: it makes it none."""
    if head.method != b"GET" or head.http_version == b"1.0":
        return False
    if "websocket" not in _listed(headers, "upgrade") or "upgrade" not in _listed(headers, "connection"):
        return False
    if "transfer-encoding" in headers or headers.get("content-length", "0").strip("0"):
        return False
    if not KEY.fullmatch(",".join(headers.get_all("sec-websocket-key"))):
        raise h11.RemoteProtocolError("sec-websocket-key is none, or there are two")
    return True


def _listed(headers: trio_h2.Headers, name: str) -> list[str]:
    return [each.strip(" \t").lower() for each in ",".join(headers.get_all(name)).split(",")]
