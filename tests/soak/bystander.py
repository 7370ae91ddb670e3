"""The bystander: `python -m tests.soak.bystander PORT`.

It opens a small request every 50 ms on one connection that no fault hits, whether the last one is answered or not, and
measures from the moment at which it was due. `stop` on stdin ends it, and it reports.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from contextlib import aclosing
from functools import partial

import trio

import trio_h2
from tests.soak.wire import HOST, commands, say

PERIOD = 0.05
STEPS = 40
"""Buckets of the histogram for each power of two: each is under 2 % wide."""


class Histogram:
    """Times in buckets of equal ratio, in memory that does not grow with their number."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.largest = 0.0

    def add(self, seconds: float) -> None:
        self._counts[math.ceil(STEPS * math.log2(max(seconds, 1e-6)))] += 1
        self.largest = max(self.largest, seconds)

    @property
    def total(self) -> int:
        return self._counts.total()

    def quantile(self, share: float) -> float:
        """An upper bound, by less than 2 %, of what so large a share of the times stay under."""
        wanted = share * self.total
        for bucket in sorted(self._counts):
            wanted -= self._counts[bucket]
            if wanted <= 0:
                return min(self.largest, 2.0 ** (bucket / STEPS))
        return self.largest


async def ask(connection: trio_h2.ClientConnection, due: float, times: Histogram) -> None:
    try:
        response = await connection.request("GET", "/small/0/10")
        if response.status != 200 or len(response.body) != 10:
            say("broken", what=f"the bystander got {response}")
    except trio_h2.H2Error as error:
        say("broken", what=f"the bystander's request failed: {error!r}")
    times.add(trio.current_time() - due)


async def keep_asking(connection: trio_h2.ClientConnection, times: Histogram) -> None:
    due = trio.current_time()
    async with trio.open_nursery() as nursery:
        while True:
            await trio.sleep_until(due)
            nursery.start_soon(ask, connection, due, times)
            due += PERIOD


async def run(port: int) -> None:
    times = Histogram()
    async with trio_h2.connect(f"http://{HOST}:{port}") as connection, trio.open_nursery() as nursery:
        nursery.start_soon(keep_asking, connection, times)
        async with aclosing(commands()) as words:
            await anext(words, None)
        nursery.cancel_scope.cancel()
    say("latency", count=times.total, p50=times.quantile(0.5), p99=times.quantile(0.99), max=times.largest)


if __name__ == "__main__":
    trio.run(partial(run, int(sys.argv[1])))
