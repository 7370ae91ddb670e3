"""HTTP/1.1 and HTTP/2 on one port: `python h11_on_the_same_port.py PORT CERTIFICATE KEY` says which of them it speaks.

Clients choose by TLS's ALPN. HTTP/1.1 is h11's, with connections that stay open for more, and end in order.
"""

from __future__ import annotations

import signal
import ssl
import sys
from functools import partial

import h11
import trio

import trio_h2


def answer(method: str, version: str) -> tuple[int, list[tuple[str, str]], bytes]:
    body = f"{method} over HTTP/{version}\n".encode()
    return 200, [("content-type", "text/plain"), ("content-length", str(len(body)))], body


async def http2(stream: trio_h2.ServerStream) -> None:
    await stream.respond(*answer(stream.request.method, "2"))


class Http1:
    def __init__(self, transport: trio.abc.Stream) -> None:
        self._transport = transport
        self._protocol = h11.Connection(h11.SERVER)
        self._waiting = trio.CancelScope()

    async def serve(self, closing: trio.Event) -> None:
        """Answer requests until the client leaves, or is too slow, or the server is closing."""
        try:
            while not closing.is_set() and (request := await self._request()) is not None:
                status, headers, body = answer(request.method.decode(), "1.1")
                if closing.is_set():
                    headers.append(("connection", "close"))
                await self._respond(status, headers, b"" if request.method == b"HEAD" else body)
                if self._protocol.our_state is not h11.DONE:
                    break
                self._protocol.start_next_cycle()
        except h11.RemoteProtocolError as error:
            if self._protocol.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await self._respond(error.error_status_hint, [("connection", "close")], b"")

    async def stop_waiting(self, closing: trio.Event) -> None:
        await closing.wait()
        if self._protocol.their_state is h11.IDLE:
            self._waiting.cancel()

    async def _request(self) -> h11.Request | None:
        """The next request, when its body, which nobody wants, has come too; None if there is none in 30 seconds."""
        request = None
        with trio.move_on_after(30) as self._waiting:
            while True:
                event = self._protocol.next_event()
                if isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                    return request
                elif event is h11.NEED_DATA:
                    if self._protocol.they_are_waiting_for_100_continue:
                        await self._send(h11.InformationalResponse(status_code=100, headers=[]))
                    self._protocol.receive_data(bytes(await self._transport.receive_some()))
        return None

    async def _respond(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        await self._send(h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage())

    async def _send(self, *events: h11.Event) -> None:
        await self._transport.send_all(b"".join([self._protocol.send(event) or b"" for event in events]))


async def main(port: int, certificate: str, key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def http1(transport: trio.abc.Stream) -> None:
        connection = Http1(transport)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.stop_waiting, server.closing)
            await connection.serve(server.closing)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            serve = partial(trio_h2.serve_h2, http2, port, ssl_context=context, http1=http1)
            server: trio_h2.H2Server = await nursery.start(serve)
            print(f"https://localhost:{server.port}", flush=True)
            await anext(signals)
        await server.shutdown()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2], sys.argv[3])
