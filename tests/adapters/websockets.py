"""What the tests of WebSockets share: an app, frames by hand, and clients.

`websocket` is a client over HTTP/2 (RFC 8441) with wsproto's frames. `raw_websocket` is one over either version of HTTP
that knows no rule: a test sends what it wants, and sees each frame that comes back.
"""

from __future__ import annotations

import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from typing import Any, NamedTuple

import h11
import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.extensions import PerMessageDeflate
from wsproto.handshake import client_extensions_handshake

import trio_h2
from tests.engine.helpers import FOREVER, MemoryListener
from trio_h2.adapters.asgi import serve_asgi_listeners

ACCEPT = {"type": "websocket.accept"}
DEFLATE = ("sec-websocket-extensions", "permessage-deflate")
VERSION = ("sec-websocket-version", "13")

TRANSPORTS = ("h2", "http1")
"""What a WebSocket may come over."""


class App:
    """An app that accepts and echoes, and notes what it receives in `messages` and its scope."""

    def __init__(self, accept: Any = ACCEPT) -> None:
        self.accept = accept
        self.messages: list[Any] = []
        self.scope: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        assert await receive() == {"type": "websocket.connect"}
        await send(self.accept)
        while (message := await receive())["type"] == "websocket.receive":
            self.messages.append(message)
            await send({"type": "websocket.send", "bytes": message["bytes"], "text": message["text"]})
        self.messages.append(message)


def frame(
    payload: bytes,
    opcode: int = 2,
    *,
    final: bool = True,
    compressed: bool = False,
    reserved: int = 0,
    mask: bytes = bytes(4),
) -> bytes:
    """A client's frame (RFC 6455 section 5.2), masked with zeros by default.

    Args:
        payload, opcode, final: what it has, and whether it is the last one of its message.
        compressed: whether the first reserved bit is set.
        reserved: all three of these bits, as a number.
        mask: what its octets are combined with.
    """
    head = bytes([(0x80 if final else 0) | (0x40 if compressed else 0) | reserved << 4 | opcode])
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    else:
        length = b"\xfe" + size.to_bytes(2, "big") if size < 2**16 else b"\xff" + size.to_bytes(8, "big")
    if any(mask):
        payload = bytes(octet ^ key for octet, key in zip(payload, cycle(mask), strict=False))
    return head + length + mask + payload


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """A client's Close (RFC 6455 section 5.5.1)."""
    return frame(code.to_bytes(2, "big") + reason, 8)


def deflated(octets: bytes, mode: int = zlib.Z_SYNC_FLUSH) -> bytes:
    """A message as it is sent compressed; with Z_FINISH in a last block, and its padding (RFC 7692 section 7.2.3.5)."""
    compressor = zlib.compressobj(wbits=-15)
    flushed = compressor.compress(octets) + compressor.flush(mode)
    return flushed + b"\0" if mode == zlib.Z_FINISH else flushed[:-4]


class WebSocketClient:
    """Attributes:
    stream: the one that carries it.
    response: the answer to its handshake.
    deflate: whether messages are compressed.
    """

    def __init__(self, stream: trio_h2.ClientStream, response: trio_h2.Response) -> None:
        deflate = PerMessageDeflate()
        client_extensions_handshake(response.headers.get_all("sec-websocket-extensions"), [deflate])
        self.stream = stream
        self.response = response
        self.deflate = deflate.enabled()
        self._protocol = Connection(ConnectionType.CLIENT, [deflate] if self.deflate else [])
        self._events: list[Event] = []
        self._parts: list[Any] = []

    async def send(self, event: Event | str | bytes) -> None:
        if isinstance(event, str):
            event = TextMessage(event)
        elif isinstance(event, bytes):
            event = BytesMessage(event)
        await self.stream.send_all(self._protocol.send(event))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self.send(CloseConnection(code, reason))

    async def receive(self) -> str | bytes | Event:
        """The next message, Pong or Close; a Close is answered. Raises AssertionError at the end of the stream."""
        while True:
            while self._events:
                event = self._events.pop(0)
                if isinstance(event, TextMessage | BytesMessage):
                    self._parts.append(event.data)
                    if event.message_finished:
                        parts, self._parts = self._parts, []
                        return "".join(parts) if isinstance(event, TextMessage) else b"".join(parts)
                    continue
                if isinstance(event, CloseConnection) and self._protocol.state is ConnectionState.REMOTE_CLOSING:
                    await self.send(event.response())
                if isinstance(event, Ping):
                    await self.send(event.response())
                    continue
                assert isinstance(event, Pong | CloseConnection)
                return event
            octets = await self.stream.receive_some()
            assert octets, "the stream has ended"
            self._protocol.receive_data(octets)
            self._events += self._protocol.events()

    async def closed(self) -> tuple[int, str | None]:
        """The code and the reason of the Close that comes next, and after which the stream ends."""
        event = await self.receive()
        assert isinstance(event, CloseConnection), event
        if self._protocol.state is ConnectionState.CLOSED:
            assert await self.stream.receive_some() == b""
        return event.code, event.reason


@asynccontextmanager
async def websocket(
    client: trio_h2.ClientConnection, target: str = "/", *headers: tuple[str, str]
) -> AsyncIterator[WebSocketClient]:
    """Open a WebSocket that the server accepts."""
    async with client.stream("CONNECT", target, protocol="websocket", headers=[VERSION, *headers]) as stream:
        response = await stream.response()
        assert response.status == 200
        yield WebSocketClient(stream, response)


class ServerFrame(NamedTuple):
    """A frame that a server has sent."""

    opcode: int
    payload: bytes
    final: bool = True
    compressed: bool = False


@dataclass
class RawWebSocket:
    """Attributes:
    server: the app's.
    response: gives status and fields of the answer to its handshake; 101 is 200.
    headers: these fields, of `raw_websocket`.
    send: sends octets.
    leave: ends the client's side.
    cut: ends the connection, of HTTP/2 the stream.
    """

    server: trio_h2.H2Server
    response: Callable[[], Awaitable[tuple[int, trio_h2.Headers]]]
    send: Callable[[bytes], Awaitable[None]]
    leave: Callable[[], Awaitable[None]]
    cut: Callable[[], Awaitable[None]]
    _receive: Callable[[], Awaitable[bytes]]
    headers: trio_h2.Headers = field(default_factory=trio_h2.Headers)
    _octets: bytes = b""

    def put_back(self, octets: bytes) -> None:
        """These come next."""
        self._octets = octets

    async def receive_some(self) -> bytes:
        """What comes, b"" at the end."""
        octets, self._octets = self._octets, b""
        return octets or await self._receive()

    async def frame(self) -> ServerFrame | None:
        """The next frame, None at the end, which comes between two of them."""
        if not self._octets:
            self._octets = await self._receive()
            if not self._octets:
                return None
        flags, length = await self._take(2)
        assert not flags & 0x30, "a reserved bit"
        assert not length & 0x80, "a mask"
        if length > 125:
            length = int.from_bytes(await self._take(2 if length == 126 else 8), "big")
        return ServerFrame(flags & 0xF, await self._take(length), bool(flags & 0x80), bool(flags & 0x40))

    async def _take(self, size: int) -> bytes:
        parts = [self._octets]
        missing = size - len(self._octets)
        while missing > 0:
            parts.append(await self._receive())
            assert parts[-1], "the end, within a frame"
            missing -= len(parts[-1])
        octets = b"".join(parts)
        self._octets = octets[size:]
        return octets[:size]

    async def frames(self) -> list[ServerFrame]:
        """All that come until the end."""
        frames = []
        while (one := await self.frame()) is not None:
            frames.append(one)
        return frames


@asynccontextmanager
async def raw_websocket(
    transport: str, app: Any, *headers: tuple[str, str], **arguments: Any
) -> AsyncIterator[RawWebSocket]:
    """Open a WebSocket that the app accepts; as `raw_handshake`."""
    async with raw_handshake(transport, app, *headers, **arguments) as client:
        status, client.headers = await client.response()
        assert status == 200
        yield client


@asynccontextmanager
async def raw_handshake(
    transport: str,
    app: Any,
    *headers: tuple[str, str],
    client_config: trio_h2.Config | None = None,
    **arguments: Any,
) -> AsyncIterator[RawWebSocket]:
    """Ask an app for a WebSocket, over one of TRANSPORTS. The `arguments` are the server's."""
    if transport == "h2":
        async with _served(app, **arguments) as (server, listener):
            connecting = trio_h2.connect_over(listener.connect(), authority="example.org", config=client_config)
            async with connecting as connection, _raw_over_h2(server, connection, headers) as client:
                yield client
    else:
        async with raw_octets(app, **arguments) as (server, octets), raw_over_http1(server, octets, *headers) as client:
            yield client


@asynccontextmanager
async def raw_octets(
    app: Any, *, ssl_context: ssl.SSLContext | None = None, **arguments: Any
) -> AsyncIterator[tuple[trio_h2.H2Server, trio.SocketStream]]:
    """The client's side of a connection to an app over HTTP/1.1. Who does not read stops the other."""
    async with _served(app, **arguments) as (server, listener):
        transport, other = map(trio.SocketStream, trio.socket.socketpair())
        listener.take(other if ssl_context is None else trio.SSLStream(other, ssl_context, server_side=True))
        yield server, transport
        await trio.aclose_forcefully(transport)


@asynccontextmanager
async def _served(app: Any, **arguments: Any) -> AsyncIterator[tuple[trio_h2.H2Server, MemoryListener]]:
    """A server that has ended, by itself, when the block is left."""

    async def without_lifespan(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await app(scope, receive, send)

    listener = MemoryListener()
    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve_asgi_listeners, without_lifespan, [listener], **arguments))
            yield server, listener
            await server.shutdown(10)


@asynccontextmanager
async def _raw_over_h2(
    server: trio_h2.H2Server, connection: trio_h2.ClientConnection, headers: tuple[tuple[str, str], ...]
) -> AsyncIterator[RawWebSocket]:
    async with connection.stream("CONNECT", "/", protocol="websocket", headers=[VERSION, *headers]) as stream:

        async def response() -> tuple[int, trio_h2.Headers]:
            answer = await stream.response()
            return answer.status, answer.headers

        client = RawWebSocket(server, response, stream.send_all, stream.send_eof, stream.reset, stream.receive_some)
        yield client


@asynccontextmanager
async def raw_over_http1(
    server: trio_h2.H2Server, transport: trio.abc.Stream, *headers: tuple[str, str]
) -> AsyncIterator[RawWebSocket]:
    """Ask for a WebSocket on a connection of HTTP/1.1."""
    upgrade = [("host", "example.org"), ("upgrade", "websocket"), ("connection", "upgrade"), VERSION]
    upgrade += [("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), *headers]
    protocol = h11.Connection(h11.CLIENT)
    octets = protocol.send(h11.Request(method="GET", target="/", headers=upgrade))
    await transport.send_all(octets + protocol.send(h11.EndOfMessage()))

    async def response() -> tuple[int, trio_h2.Headers]:
        while (answer := protocol.next_event()) is h11.NEED_DATA:
            protocol.receive_data(await transport.receive_some())
        assert isinstance(answer, h11.InformationalResponse | h11.Response)
        client.put_back(protocol.trailing_data[0])
        status = 200 if answer.status_code == 101 else answer.status_code
        return status, trio_h2.Headers(list(answer.headers))

    leave = getattr(transport, "send_eof", transport.aclose)
    cut = partial(trio.aclose_forcefully, transport)
    client = RawWebSocket(server, response, transport.send_all, leave, cut, partial(_receive, transport))
    yield client


async def _receive(transport: trio.abc.ReceiveStream) -> bytes:
    return bytes(await transport.receive_some())
