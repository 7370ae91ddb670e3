# websocket_client.py: a client of a WebSocket on the stream API, with wsproto, and an ASGI app that it talks to.
from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Ping, TextMessage

import trio_h2
from trio_h2.adapters.asgi import asgi_handler
from trio_h2.testing import in_memory

Message = MutableMapping[str, Any]


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    if scope["type"] != "websocket" or scope["path"] != "/shout":
        raise NotImplementedError(scope["path"])
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"].upper()})
    print("the app hears", message["type"], message["code"])


class WebSocket:
    """A client's, for one task: texts each way."""

    def __init__(self, stream: trio_h2.ClientStream) -> None:
        self._stream = stream
        self._protocol = Connection(ConnectionType.CLIENT)
        self._part = ""
        self._come: list[str] = []

    async def send(self, text: str) -> None:
        await self._stream.send_all(self._protocol.send(TextMessage(text)))

    async def receive(self) -> str | None:
        """The next message; None when the other side has closed."""
        while not self._come and self._protocol.state is not ConnectionState.CLOSED:
            octets = await self._stream.receive_some()
            self._protocol.receive_data(octets or None)  # None: without a Close it is the end, too
            for event in self._protocol.events():
                if isinstance(event, TextMessage):
                    self._part += event.data
                    if event.message_finished:
                        self._come.append(self._part)
                        self._part = ""
                elif isinstance(event, Ping) or (
                    isinstance(event, CloseConnection) and self._protocol.state is ConnectionState.REMOTE_CLOSING
                ):
                    await self._stream.send_all(self._protocol.send(event.response()))
        return self._come.pop(0) if self._come else None

    async def close(self) -> None:
        """Say goodbye, and wait for the answer."""
        await self._stream.send_all(self._protocol.send(CloseConnection(1000)))
        while await self.receive() is not None:
            pass


async def main() -> None:
    fields = [("sec-websocket-version", "13"), ("origin", "http://example.org")]
    async with (
        in_memory(asgi_handler(app)) as connection,
        connection.stream("CONNECT", "/shout", protocol="websocket", headers=fields) as stream,
    ):
        print((await stream.response()).status)
        websocket = WebSocket(stream)
        for text in ("hello", "is anybody there?"):
            await websocket.send(text)
            print(await websocket.receive())
        await websocket.close()


trio.run(main)
