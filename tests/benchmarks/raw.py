"""Takes bulk from the server that speaks no HTTP: `python -m tests.benchmarks.raw PORT COUNT CONNECTIONS AT_ONCE`.

Asks by sending a byte, and keeps so many bodies asked for on each connection. One line of JSON comes out.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time

from tests.benchmarks.asgi_apps import BULK
from tests.benchmarks.load import shares
from tests.benchmarks.model import RefusedError
from tests.benchmarks.servers import HOST

_BUFFER = bytearray(1024 * 1024)


class Taker:
    """One connection, and how much of what it asks for has come."""

    def __init__(self, port: int, bodies: int, at_once: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=60)
        self._bodies = bodies
        self._at_once = at_once
        self._asked = 0
        self.octets = 0

    @property
    def done(self) -> bool:
        return self.octets >= self._bodies * len(BULK)

    def ask(self) -> None:
        until = min(self.octets // len(BULK) + self._at_once, self._bodies)
        if until > self._asked:
            self.socket.sendall(bytes(until - self._asked))
            self._asked = until

    def take(self) -> None:
        count = self.socket.recv_into(_BUFFER)
        if not count:
            raise RefusedError("the server closed the connection")
        self.octets += count
        self.ask()


def main(port: str, count: str, connections: str, at_once: str) -> None:
    takers = [Taker(int(port), share, int(at_once)) for share in shares(int(count), int(connections))]
    waiting = len(takers)
    with selectors.DefaultSelector() as selector:
        started = time.perf_counter()
        for taker in takers:
            selector.register(taker.socket, selectors.EVENT_READ, taker)
            taker.ask()
        while waiting:
            for key, _ in selector.select():
                key.data.take()
                if key.data.done:
                    selector.unregister(key.fileobj)
                    waiting -= 1
        seconds = time.perf_counter() - started
    octets = sum(taker.octets for taker in takers)
    print(json.dumps({"requests": octets / len(BULK), "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
