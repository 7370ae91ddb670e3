"""WebSockets over HTTP/2 (RFC 8441), with wsproto: `python websocket_echo.py PORT CERTIFICATE KEY` echoes messages.

In a browser, go to https://localhost:PORT/, and enter in its console: `socket = new WebSocket("wss://localhost:PORT/")`,
`socket.onmessage = event => console.log(event.data)`, `socket.send("hello")`.
"""

from __future__ import annotations

import signal
import ssl
import sys
from functools import partial

import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason

import trio_h2


def answer(event: Event) -> Event | None:
    """What to send for what came: of a message the part that is there, so that none has to fit into memory."""
    if isinstance(event, TextMessage | BytesMessage):
        return event
    if isinstance(event, Ping | CloseConnection):
        return event.response()
    return None


class WebSocket:
    """One WebSocket, on a stream whose request asked for it."""

    def __init__(self, stream: trio_h2.ServerStream) -> None:
        self._stream = stream
        self._protocol = Connection(ConnectionType.SERVER)
        self._sending = trio.Lock()

    async def send(self, event: Event) -> None:
        """Send part of a message, or a control frame; once a side has closed, nothing but the answer to that."""
        async with self._sending:
            state = self._protocol.state
            answers_close = isinstance(event, CloseConnection) and state is ConnectionState.REMOTE_CLOSING
            if state is ConnectionState.OPEN or answers_close:
                await self._stream.send_all(self._protocol.send(event))

    async def echo(self) -> None:
        """Answer until the client closes, or has answered our close."""
        async for octets in self._stream:
            self._protocol.receive_data(octets)
            for event in self._protocol.events():
                answered = answer(event)
                if answered is not None:
                    await self.send(answered)
            if self._protocol.state is ConnectionState.CLOSED:
                return

    async def close_when(self, closing: trio.Event) -> None:
        """Say that the server is going away, when it is."""
        await closing.wait()
        await self.send(CloseConnection(code=CloseReason.GOING_AWAY))


async def main(port: int, certificate: str, key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.protocol != "websocket":
            await stream.respond(404)
        elif stream.request.headers.get("sec-websocket-version") != "13":
            await stream.respond(400, [("sec-websocket-version", "13")])
        else:
            await stream.send_response(200)
            websocket = WebSocket(stream)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(websocket.close_when, server.closing)
                await websocket.echo()
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            serve = partial(trio_h2.serve_h2, handler, port, ssl_context=context)
            server: trio_h2.H2Server = await nursery.start(serve)
            print(f"https://localhost:{server.port}", flush=True)
            await anext(signals)
        await server.shutdown()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2], sys.argv[3])
