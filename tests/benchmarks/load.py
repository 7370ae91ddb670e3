"""The load that is Python, with requests made beforehand: `python -m tests.benchmarks.load COMMAND ...`.

    requests PORT KIND COUNT CONNECTIONS STREAMS
    growth PORT PID COUNT IDLE_STREAMS IDLE_CONNECTIONS

Each writes one line of JSON.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.asgi_apps import BODY
from tests.benchmarks.model import RefusedError
from tests.benchmarks.servers import HOST, allow_many_files
from tests.benchmarks.wire import END_HEADERS, END_STREAM, HEADERS, PING, Answers, Encoder, frame, opening, requests

ACTIVE = 10
"""Requests at once of the fixed load beside which streams or connections are idle."""

WARM_UP = 200
"""Requests made before anything is measured beside idle streams or connections."""

SETTLE = 0.2
"""Seconds that a server has for what it still does after it has answered."""

_READ = 256 * 1024


class Connection:
    """One connection to the server, on a blocking socket: what is sent here never fills the socket's buffer."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answers = Answers()
        self.socket.sendall(opening())
        while self.answers.settings is None:
            self.receive()

    def receive(self) -> None:
        """Take what came, and reply to what wants a reply."""
        data = self.socket.recv(_READ)
        if not data:
            raise RefusedError("the server closed the connection")
        self.answers.receive(data)
        if self.answers.replies:
            self.socket.sendall(self.answers.replies)
            self.answers.replies.clear()

    def check_allows(self, streams: int) -> None:
        assert self.answers.settings is not None
        if self.answers.settings.get(0x3, streams) < streams:
            raise RefusedError(f"the server takes fewer than {streams} streams at once")
        if self.answers.settings.get(0x1, 4096) < 4096:
            raise RefusedError("the server wants a smaller HPACK table than the requests are encoded for")

    def wait_answered(self, answers: int, pings: int = 0) -> None:
        while self.answers.ended < answers or self.answers.pings < pings:
            self.receive()


class Requester:
    """Keeps so many of the prepared requests under way on a connection, until all are answered."""

    def __init__(self, connection: Connection, prepared: list[bytes], at_once: int) -> None:
        self.connection = connection
        self._prepared = prepared
        self._at_once = at_once
        self._sent = 0
        self._before = connection.answers.ended
        self._octets_before = connection.answers.octets

    @property
    def answered(self) -> int:
        return self.connection.answers.ended - self._before

    @property
    def done(self) -> bool:
        return self.answered >= len(self._prepared)

    def send(self) -> None:
        """As many as may be under way now."""
        until = min(self.answered + self._at_once, len(self._prepared))
        if until > self._sent:
            self.connection.socket.sendall(b"".join(self._prepared[self._sent : until]))
            self._sent = until

    def check(self) -> None:
        octets = self.connection.answers.octets - self._octets_before
        if self.answered != len(self._prepared) or octets != len(BODY) * len(self._prepared):
            raise RefusedError(f"{self.answered} answers of {len(self._prepared)}, {octets} bytes")


def drive(requesters: Sequence[Requester]) -> float:
    """Run them all to their end, and return how many seconds it took."""
    with selectors.DefaultSelector() as selector:
        for requester in requesters:
            selector.register(requester.connection.socket, selectors.EVENT_READ, requester)
        waiting = len(requesters)
        started = time.perf_counter()
        for requester in requesters:
            requester.send()
        while waiting:
            for key, _ in selector.select(60) or _too_slow():
                requester = key.data
                requester.connection.receive()
                requester.send()
                if requester.done:
                    selector.unregister(requester.connection.socket)
                    waiting -= 1
        seconds = time.perf_counter() - started
    for requester in requesters:
        requester.check()
    return seconds


def _too_slow() -> list[tuple[selectors.SelectorKey, int]]:
    raise RefusedError("no answer for a minute")


def shares(count: int, parts: int) -> list[int]:
    """`count` cut into so many parts, as equal as can be."""
    return [count // parts + (part < count % parts) for part in range(parts)]


def make_requests(port: int, kind: str, count: int, connections: int, streams: int) -> dict[str, object]:
    requesters = []
    first = 0
    for share in shares(count, connections):
        connection = Connection(port)
        connection.check_allows(streams)
        prepared = list(requests(kind, share, f"{HOST}:{port}", first))
        requesters.append(Requester(connection, prepared, streams))
        first += share
    return {"requests": count, "seconds": drive(requesters)}


# Growth -------------------------------------------------------------------------------------------


def resident(pid: int) -> int:
    """The bytes of memory that a process has resident."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


class GrowingConnection:
    """A connection that opens idle streams and makes requests, in any order."""

    def __init__(self, port: int) -> None:
        self.connection = Connection(port)
        self._encoder = Encoder(f"{HOST}:{port}")
        self._streams = 0

    def _frames(self, count: int, method: str, flags: int) -> list[bytes]:
        first = self._streams
        self._streams += count
        return [
            frame(HEADERS, flags, 2 * number + 1, self._encoder.hello(method)) for number in range(first, first + count)
        ]

    def active(self, count: int) -> float:
        """Make so many requests, and return how many seconds they took."""
        return drive([Requester(self.connection, self._frames(count, "GET", END_HEADERS | END_STREAM), ACTIVE)])

    def open_idle(self, count: int) -> None:
        """Requests whose body never comes."""
        frames = self._frames(count, "POST", END_HEADERS)
        # In parts, so that nothing limits how many streams may begin at one blow.
        for at in range(0, count, 100):
            self.connection.socket.sendall(b"".join(frames[at : at + 100]) + frame(PING, 0, 0, bytes(8)))
            self.connection.wait_answered(0, pings=self.connection.answers.pings + 1)


def open_idle_connections(port: int, count: int) -> list[Connection]:
    """Connections that have made one request each."""
    idle = []
    for _ in range(count):
        connection = Connection(port)
        Requester(connection, list(requests("hello", 1, f"{HOST}:{port}")), 1).send()
        connection.wait_answered(1)
        idle.append(connection)
    return idle


def grow(port: int, pid: int, count: int, idle_streams: int, idle_connections: int) -> dict[str, object]:
    """The fixed load on one connection beside idle streams on it, or beside idle connections.

    The server's memory is taken before and after the idle ones are there, each time after some of the load.
    """
    growing = GrowingConnection(port)
    growing.connection.check_allows(idle_streams + ACTIVE)
    growing.active(WARM_UP)
    before = resident(pid)
    growing.open_idle(idle_streams)
    idle = open_idle_connections(port, idle_connections)
    growing.active(WARM_UP)
    time.sleep(SETTLE)
    after = resident(pid)
    seconds = growing.active(count)
    for connection in [growing.connection, *idle]:
        connection.socket.close()
    return {"requests": count, "seconds": seconds, "resident_before": before, "resident_after": after}


def main(command: str, *arguments: str) -> None:
    allow_many_files()
    port, *rest = arguments
    if command == "requests":
        kind, *numbers = rest
        report = make_requests(int(port), kind, *map(int, numbers))
    else:
        report = grow(int(port), *map(int, rest))
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
