"""A transport on which everything happens that a `trio.abc.Stream` allows, by seeded random numbers.

It cuts what is read anywhere, delays, takes no more than so much at once, returns without a checkpoint, gives data
although it was cancelled, and fails in the middle of a write.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import trio

CAPACITY = 40_000
"""Octets under way before a write waits."""


@dataclass(frozen=True)
class Weather:
    """How one direction of a link behaves.

    Attributes:
        seed: of its random numbers.
        most: octets that one read gives at most.
        instant: the share of calls that end without a checkpoint.
        delayed: the share of pieces that come later.
        stubborn: the share of reads that give data, if there is some soon, although they were cancelled.
        breaks_after: octets after which the link fails, in the middle of a write if it comes to that; None: never.
        ends: then there is an end to be read, and no error.
    """

    seed: int = 0
    most: int = 65_536
    instant: float = 0
    delayed: float = 0
    stubborn: float = 0
    breaks_after: int | None = None
    ends: bool = False


class Pipe:
    """One direction of a link."""

    def __init__(self, weather: Weather) -> None:
        self._weather = weather
        self._numbers = random.Random(weather.seed)
        self._buffer = bytearray()
        self._carried = 0
        self._changed = trio.lowlevel.ParkingLot()
        self.ended = False
        self.broken = False
        self.closed = False

    def _chance(self, share: float) -> bool:
        return share > 0 and self._numbers.random() < share

    def change(self, *, ended: bool = False, broken: bool = False, closed: bool = False) -> None:
        """It has ended, is broken, or is not read any more."""
        self.ended |= ended
        self.broken |= broken
        self.closed |= closed
        self._changed.unpark_all()

    async def send(self, data: memoryview) -> None:
        """Carry the octets, some at a time."""
        if not self._chance(self._weather.instant):
            await trio.lowlevel.checkpoint()
        while data:
            if self.closed or self.broken:
                raise trio.BrokenResourceError("the link is broken")
            if len(self._buffer) >= CAPACITY:
                await self._changed.park()
                continue
            data = data[self._carry(data) :]
            if self._chance(self._weather.delayed):
                await trio.sleep(self._numbers.random() / 100)

    def _carry(self, data: memoryview) -> int:
        count = min(len(data), self._numbers.randint(1, 2 * self._weather.most))
        limit = self._weather.breaks_after
        if limit is not None and self._carried + count > limit:
            count = limit - self._carried
            self.change(ended=self._weather.ends, broken=True)
        self._buffer += data[:count]
        self._carried += count
        self._changed.unpark_all()
        return count

    async def receive(self, max_bytes: int | None) -> bytes:
        """Some of what has come; b"" at the end."""
        if not (self._buffer and self._chance(self._weather.instant)):
            if self._chance(self._weather.stubborn):
                with trio.move_on_after(0.05, shield=True):
                    await self._something()
            if not (self._buffer and self._chance(self._weather.stubborn)):
                await trio.lowlevel.checkpoint()
            await self._something()
        if self.closed:
            raise trio.ClosedResourceError
        if not self._buffer:
            if self.ended:
                return b""
            raise trio.BrokenResourceError("the link is broken")
        count = min(self._numbers.randint(1, self._weather.most), max_bytes or CAPACITY)
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._changed.unpark_all()
        return data

    async def _something(self) -> None:
        while not (self._buffer or self.ended or self.broken or self.closed):
            await self._changed.park()


class HostileTransport(trio.abc.HalfCloseableStream):
    """One end of a link; it also sees to it that one task alone writes, and one alone reads.

    Attributes:
        closed: was this end closed?
        misused: did two tasks write at once, or read?
    """

    def __init__(self, out: Pipe, back: Pipe) -> None:
        self._out = out
        self._back = back
        self._busy: set[str] = set()
        self.closed = False
        self.misused = False

    def _begin(self, what: str) -> None:
        if self.closed:
            raise trio.ClosedResourceError
        if what in self._busy:
            self.misused = True
            raise trio.BusyResourceError
        self._busy.add(what)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._begin("send")
        try:
            await self._out.send(memoryview(bytes(data)))
            if self.closed:
                raise trio.ClosedResourceError
        finally:
            self._busy.discard("send")

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self._begin("receive")
        try:
            return await self._back.receive(max_bytes)
        finally:
            self._busy.discard("receive")

    async def send_eof(self) -> None:
        self._begin("send")
        try:
            await trio.lowlevel.checkpoint()
            self._out.change(ended=True)
        finally:
            self._busy.discard("send")

    async def aclose(self) -> None:
        self.closed = True
        self._out.change(ended=True)
        self._back.change(closed=True)
        await trio.lowlevel.checkpoint()


def hostile_pair(there: Weather, back: Weather) -> tuple[HostileTransport, HostileTransport]:
    """Two connected ends; `there` is how the first one's octets travel."""
    one, other = Pipe(there), Pipe(back)
    return HostileTransport(one, other), HostileTransport(other, one)


class OneConnection(trio.abc.Listener[HostileTransport]):
    """A listener that has one connection, and then waits."""

    def __init__(self, transport: HostileTransport) -> None:
        self._waiting = [transport]
        self._closed = trio.Event()

    async def accept(self) -> HostileTransport:
        await trio.lowlevel.checkpoint()
        if not self._waiting:
            await self._closed.wait()
        if self._closed.is_set():
            raise trio.ClosedResourceError
        return self._waiting.pop()

    async def aclose(self) -> None:
        self._closed.set()
        await trio.lowlevel.checkpoint()
