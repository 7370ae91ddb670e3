"""The load of WebSockets: `python -m tests.benchmarks.echoes PORT CARRIER COUNT WEBSOCKETS`.

CARRIER is `http1`, with a connection for each WebSocket, or `http2`, with all of them on one (RFC 8441). On each a
message of 100 octets is sent when the one before is back. Writes one line of JSON.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time

import hpack

from tests.benchmarks.load import Connection, shares
from tests.benchmarks.model import RefusedError
from tests.benchmarks.servers import HOST
from tests.benchmarks.wire import DATA, END_HEADERS, HEADERS, Answers, frame

SIZE = 100
"""Octets of a message."""

_KEY = b"\x17\x2a\x91\x5c"
_PAYLOAD = bytes(octet ^ _KEY[at % 4] for at, octet in enumerate(b"x" * SIZE))

MESSAGE = bytes((0x82, 0x80 | SIZE)) + _KEY + _PAYLOAD
"""A binary message in one frame (RFC 6455 section 5.2)."""

ECHO = bytes((0x82, SIZE)) + b"x" * SIZE
"""What a server sends back: it masks nothing."""

ENABLE_CONNECT_PROTOCOL = 0x8

_UPGRADE = (
    f"GET / HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()


class Http1WebSocket:
    """A WebSocket on a connection of its own, and the messages that it still has to send."""

    def __init__(self, port: int, messages: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left = messages
        self._came = b""
        self.socket.sendall(_UPGRADE)
        while b"\r\n\r\n" not in self._came:
            self._came += self._read()
        head, _, self._came = self._came.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise RefusedError(f"the server does not open a WebSocket: {head!r}")

    def send(self) -> None:
        self.socket.sendall(MESSAGE)

    def receive(self) -> None:
        """Take what came; where that is the echo, send the next message."""
        self._came += self._read()
        if len(self._came) < len(ECHO):
            return
        if self._came != ECHO:
            raise RefusedError(f"not the message that was sent came back: {self._came!r}")
        self._came = b""
        self.left -= 1
        if self.left:
            self.send()

    def _read(self) -> bytes:
        data = self.socket.recv(64 * 1024)
        if not data:
            raise RefusedError("the server closed the connection")
        return data


def drive_http1(port: int, count: int, websockets: int) -> float:
    """Send all messages, and return how many seconds it took."""
    opened = [Http1WebSocket(port, share) for share in shares(count, websockets)]
    with selectors.DefaultSelector() as selector:
        for each in opened:
            selector.register(each.socket, selectors.EVENT_READ, each)
        waiting = len(opened)
        started = time.perf_counter()
        for each in opened:
            each.send()
        while waiting:
            ready = selector.select(60)
            if not ready:
                raise RefusedError("no message for a minute")
            for key, _ in ready:
                key.data.receive()
                if not key.data.left:
                    selector.unregister(key.fileobj)
                    waiting -= 1
        return time.perf_counter() - started


class Echoes(Answers):
    """Knows on which streams an echo is whole."""

    def __init__(self) -> None:
        super().__init__()
        self.whole: list[int] = []
        """The streams, as often as an echo came on them: the taker empties it."""
        self._came: dict[int, int] = {}

    def on_data(self, stream_id: int, length: int) -> None:
        super().on_data(stream_id, length)
        came = self._came.get(stream_id, 0) + length
        if came > len(ECHO):
            raise RefusedError(f"more than was sent came back on stream {stream_id}")
        self._came[stream_id] = came % len(ECHO)
        if came == len(ECHO):
            self.whole.append(stream_id)


def drive_http2(port: int, count: int, websockets: int) -> float:
    """As `drive_http1`, on one connection."""
    connection = Connection(port)
    connection.check_allows(websockets)
    assert connection.answers.settings is not None
    if not connection.answers.settings.get(ENABLE_CONNECT_PROTOCOL):
        raise RefusedError("the server takes no WebSockets (RFC 8441 section 3)")
    echoes = connection.answers = Echoes()
    left = {2 * number + 1: share for number, share in enumerate(shares(count, websockets))}
    connection.socket.sendall(b"".join(openings(list(left))))
    while echoes.begun < websockets:
        connection.receive()
    messages = {stream_id: frame(DATA, 0, stream_id, MESSAGE) for stream_id in left}
    started = time.perf_counter()
    connection.socket.sendall(b"".join(messages.values()))
    while left:
        connection.receive()
        again = []
        for stream_id in echoes.whole:
            left[stream_id] -= 1
            if left[stream_id]:
                again.append(messages[stream_id])
            else:
                del left[stream_id]
        echoes.whole.clear()
        connection.socket.sendall(b"".join(again))
    return time.perf_counter() - started


def openings(stream_ids: list[int]) -> list[bytes]:
    """The handshakes of that many WebSockets (RFC 8441 section 4)."""
    encoder = hpack.Encoder()
    fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/")]
    fields += [(":authority", HOST), ("sec-websocket-version", "13")]
    return [frame(HEADERS, END_HEADERS, stream_id, encoder.encode(fields)) for stream_id in stream_ids]


CARRIERS = {"http1": drive_http1, "http2": drive_http2}


def main(port: str, carrier: str, count: str, websockets: str) -> None:
    seconds = CARRIERS[carrier](int(port), int(count), int(websockets))
    print(json.dumps({"requests": int(count), "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
