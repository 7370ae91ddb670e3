"""A WebSocket's client over HTTP/2 (RFC 8441), with wsproto's frames; a test may also send octets of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.extensions import PerMessageDeflate
from wsproto.handshake import client_extensions_handshake

import trio_h2

VERSION = ("sec-websocket-version", "13")


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
