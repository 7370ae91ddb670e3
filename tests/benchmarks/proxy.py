"""A link with a delay and a rate: `python -m tests.benchmarks.proxy PORT TARGET_PORT ROUND_TRIP_MS MBIT_PER_S`.

It stands between a client and a server on loopback, and is also the meter: on SIGTERM it writes one line of JSON
with the bytes that it delivered in every second of its first connection's life, by direction.
"""

from __future__ import annotations

import collections
import json
import math
import signal
import socket
import sys
from dataclasses import dataclass, field

import trio

HOST = "127.0.0.1"

PIECE = 16 * 1024
"""What is read at once: a millisecond's worth."""

BURST = 0.01
"""Seconds for which this process may be kept from its work without the link losing any of its rate."""

SOCKET_BUFFER = 128 * 1024
"""The kernel's buffers on either side are part of the link's queue: small, as a router's would be."""


UNDER_WAY = 2000
"""Pieces on the link at once; at full rate it holds a few dozen large ones. More means that nobody takes them."""


class TokenBucket:
    """When may what be sent, at so many bytes a second on the long run and so many in one burst?"""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst_time = burst / rate
        self._paid_until = -math.inf

    def take(self, now: float, size: int) -> float:
        """The time at which `size` bytes that arrived now have passed the bucket."""
        self._paid_until = max(self._paid_until, now - self._burst_time) + size / self._rate
        return max(now, self._paid_until)


@dataclass
class Meter:
    """Bytes by second since the start."""

    start: float
    seconds: dict[int, int] = field(default_factory=lambda: collections.defaultdict(int))

    def count(self, now: float, size: int) -> None:
        self.seconds[int(now - self.start)] += size

    def report(self) -> list[int]:
        """One number a second, from the first on."""
        return [self.seconds.get(second, 0) for second in range(max(self.seconds, default=-1) + 1)]


@dataclass(frozen=True)
class Link:
    delay: float
    """One way, in seconds."""
    rate: float
    """Bytes a second, each way."""

    async def carry(self, source: trio.SocketStream, sink: trio.SocketStream, meter: Meter) -> None:
        """Carry what `source` sends to `sink`, until it ends."""
        send, receive = trio.open_memory_channel[tuple[float, bytes]](UNDER_WAY)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliver, receive, sink, meter)
            bucket = TokenBucket(self.rate, self.rate * BURST)
            async with send:
                while True:
                    data = await source.receive_some(PIECE)
                    passed = bucket.take(trio.current_time(), len(data))
                    await send.send((passed + self.delay, data))
                    if not data:
                        break
                    await trio.sleep_until(passed)

    async def _deliver(
        self, receive: trio.MemoryReceiveChannel[tuple[float, bytes]], sink: trio.SocketStream, meter: Meter
    ) -> None:
        async for when, data in receive:
            await trio.sleep_until(when)
            if data:
                await sink.send_all(data)
                meter.count(trio.current_time(), len(data))
            else:
                await sink.send_eof()


class Proxy:
    def __init__(self, target: int, link: Link) -> None:
        self._target = target
        self._link = link
        self._meters: tuple[Meter, Meter] | None = None

    async def handle(self, client: trio.SocketStream) -> None:
        try:
            # Whoever only looks whether somebody listens leaves without a byte.
            if await client.socket.recv(1, socket.MSG_PEEK):
                await self._carry_both_ways(client)
        except* (OSError, trio.BrokenResourceError):
            pass  # either end may leave in the midst of it

    async def _carry_both_ways(self, client: trio.SocketStream) -> None:
        now = trio.current_time()
        meters = Meter(now), Meter(now)
        if self._meters is None:
            self._meters = meters
        async with await trio.open_tcp_stream(HOST, self._target) as server, trio.open_nursery() as nursery:
            limit_buffers(server.socket)
            nursery.start_soon(self._link.carry, client, server, meters[0])
            nursery.start_soon(self._link.carry, server, client, meters[1])

    async def serve(self, port: int) -> None:
        """Serve until SIGTERM; then report."""
        listeners = await trio.open_tcp_listeners(port, host=HOST)
        for listener in listeners:
            limit_buffers(listener.socket)
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self.handle, listeners)
                async for _ in signals:
                    break
                nursery.cancel_scope.cancel()
        to_server, to_client = ([], []) if self._meters is None else (meter.report() for meter in self._meters)
        print(json.dumps({"to_server": to_server, "to_client": to_client}), flush=True)


def limit_buffers(sock: trio.socket.SocketType) -> None:
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)


def main(port: str, target: str, round_trip: str, megabits: str) -> None:
    link = Link(delay=float(round_trip) / 2000, rate=float(megabits) * 1e6 / 8)
    trio.run(Proxy(int(target), link).serve, int(port))


if __name__ == "__main__":
    main(*sys.argv[1:])
