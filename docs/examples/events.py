"""Server-sent events: `python events.py PORT CERTIFICATE KEY`; what is posted to `/publish`, `/events` tells everyone.

In a browser: `new EventSource("https://localhost:PORT/events").onmessage = event => console.log(event.data)`. A client
that reads slowly, or comes back after a pause, gets what it missed, as long as that is among the last thousand events.
"""

from __future__ import annotations

import signal
import ssl
import sys
from collections import deque
from functools import partial

import trio

import trio_h2

HEARTBEAT = 15.0  # seconds after which something is sent, so that nobody takes the connection for dead
ANY_SITE = ("access-control-allow-origin", "*")  # whose scripts may listen


class Log:
    """The last events by number, and an event of trio's that is set, and replaced, when there is news."""

    def __init__(self) -> None:
        self.last = 0
        self.news = trio.Event()
        self._kept: deque[tuple[int, str]] = deque(maxlen=1_000)

    def publish(self, text: str) -> None:
        self.last += 1
        self._kept.append((self.last, text))
        self.ring()

    def ring(self) -> None:
        self.news.set()
        self.news = trio.Event()

    def after(self, told: int) -> list[tuple[int, str]]:
        return [(number, text) for number, text in self._kept if number > told]


def encoded(number: int, text: str) -> bytes:
    data = "".join(f"data: {line}\n" for line in text.splitlines() or [""])
    return f"id: {number}\n{data}\n".encode()


async def tell(log: Log, closing: trio.Event, stream: trio_h2.ServerStream) -> None:
    """Send events until the client goes away, which cancels this, or the server does, which ends it in order."""
    given = stream.request.headers.get("last-event-id", "")
    told = min(int(given), log.last) if given.isdecimal() else log.last
    await stream.send_response(200, [("content-type", "text/event-stream"), ("cache-control", "no-store"), ANY_SITE])
    await stream.send_all(b"retry: 1000\n\n")
    while not closing.is_set():
        news = log.news
        for number, text in log.after(told):
            await stream.send_all(encoded(number, text))
            told = number
        with trio.move_on_after(HEARTBEAT) as silence:
            await news.wait()
        if silence.cancelled_caught:
            await stream.send_all(b": still here\n\n")


async def main(port: int, certificate: str, key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    log = Log()

    async def handler(stream: trio_h2.ServerStream) -> None:
        match stream.request.method, stream.request.path:
            case "GET", "/events":
                await tell(log, server.closing, stream)
            case "POST", "/publish":
                log.publish((await stream.read(max_body=10_000)).decode(errors="replace"))
                await stream.respond(204)
            case _:
                await stream.respond(404)

    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            serve = partial(trio_h2.serve_h2, handler, port, ssl_context=context)
            server: trio_h2.H2Server = await nursery.start(serve)
            print(f"https://localhost:{server.port}", flush=True)
            await anext(signals)
        nursery.start_soon(server.shutdown)
        await server.closing.wait()
        log.ring()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2], sys.argv[3])
