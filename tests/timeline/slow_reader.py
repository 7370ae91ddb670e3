"""A program whose waits are known: twenty downloads on one connection, and one reader that stops for a while.

The clock is a MockClock, and the link has a delay and a rate: so the same happens each time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import trio
import trio.testing

import trio_h2
from tests.engine.helpers import client_and_server, link_pair

__all__ = ["GOES_ON", "SLOW", "STOPS", "STREAMS", "Seen", "mocked", "recorded", "run_slow_reader"]

T = TypeVar("T")

STREAMS = 20
SLOW = "/big"
STOPS, GOES_ON = 1.0, 5.2
"""Seconds: between these the reader of `SLOW` takes nothing."""

LOOK = 0.01
"""Seconds from one look to the next."""

BIG, SMALL = 4_000_000, 300_000
LINK = {"round_trip": 0.04, "rate": 3e6}


@dataclass(frozen=True)
class Seen:
    """What the program itself saw, on both sides, in seconds from its beginning.

    Attributes:
        slow_id: the stream of `SLOW`.
        stopped, went_on: when its reader took the last octets before it stopped, and the first after.
        window_closed, window_opened: the longest time in which the server's `statistics()`, looked at all the time,
            said that its sender waits for its stream window.
    """

    slow_id: int
    stopped: float
    went_on: float
    window_closed: float
    window_opened: float


async def run_slow_reader(client: trio_h2.Timeline, server: trio_h2.Timeline) -> Seen:
    """Run it, recorded on both sides. Run it with a MockClock."""
    closed: list[tuple[float, float]] = []
    reads: list[float] = []
    slow_ids: list[int] = []

    def now() -> float:
        return trio.current_time() - start

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200, [("content-type", "application/octet-stream")])
        for _ in range((BIG if stream.request.path == SLOW else SMALL) // 50_000):
            await stream.send_all(bytes(50_000))
        if stream.request.path == "/small/7":
            await stream.reset(trio_h2.ErrorCodes.INTERNAL_ERROR)

    async def download(connection: trio_h2.ClientConnection, path: str) -> None:
        async with connection.stream("GET", path, headers=[("authorization", "Bearer sesame")]) as stream:
            if path == SLOW:
                slow_ids.append(stream.stream_id)
            try:
                while await stream.receive_some(20_000):
                    if path == SLOW:
                        reads.append(now())
                        if STOPS <= now() < GOES_ON:
                            await trio.sleep(GOES_ON - now())
            except trio_h2.StreamResetError:
                assert path == "/small/7"

    async def look(connection: trio_h2.Connection) -> None:
        while True:
            found = [each.waits_for for each in connection.statistics().streams if each.stream_id in slow_ids]
            if "stream window" in found:
                began = closed.pop()[0] if closed and now() - closed[-1][1] < 1.5 * LOOK else now()
                closed.append((began, now()))
            await trio.sleep(LOOK)

    transports = link_pair(**LINK)
    start = trio.current_time()
    async with client_and_server(handler, transports=transports, trace=client, server_trace=server) as pair:
        async with trio.open_nursery() as looking:
            async with trio.open_nursery() as downloads:
                downloads.start_soon(download, pair.client, SLOW)
                await trio.sleep(0.05)
                looking.start_soon(look, pair.server)
                for number in range(STREAMS - 1):
                    await trio.sleep(0.05)
                    downloads.start_soon(download, pair.client, f"/small/{number}")
            await pair.client.ping()
            looking.cancel_scope.cancel()
    longest_read = max(pairwise(reads), key=lambda pair: pair[1] - pair[0])
    longest_closed = max(closed, key=lambda pair: pair[1] - pair[0])
    return Seen(slow_ids[0], *longest_read, *longest_closed)


def mocked(run: Callable[..., Awaitable[T]], *arguments: object) -> T:
    """What comes of a program that runs by itself, on a clock that jumps."""
    return trio.run(run, *arguments, clock=trio.testing.MockClock(autojump_threshold=0))


def recorded() -> tuple[trio_h2.Timeline, trio_h2.Timeline, Seen]:
    """A run: the client's recording, the server's, and what the program saw."""
    client, server = trio_h2.Timeline(), trio_h2.Timeline()
    return client, server, mocked(run_slow_reader, client, server)
