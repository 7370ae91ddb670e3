"""`Ring`: the newest of very many rows of numbers, packed.

A tuple for each frame in a deque would cost twice the time, for memory that was written long ago has to be found again
when the oldest is let go; and the garbage collector would look at all of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from ..protocol.frames import DATA

__all__ = ["FrameRing", "Ring"]

OnFrame = Callable[[int, int, int, int], None]


class Ring:
    """So many rows at most; a new one takes the place of the oldest. Owner of every field: this object.

    To add a row is `ring.pack_into(ring.buffer, ring.claim(), ...)`, with its values: in one call that took them all it
    would take twice the time.

    Args:
        layout: of a row, as `struct` has it.
        size: how many rows.

    Attributes:
        claim: gives the place of the next row, and counts it.
    """

    def __init__(self, layout: str, size: int) -> None:
        packing = struct.Struct("<" + layout)
        step = packing.size
        end = size * step
        place = turns = 0

        # A function and what it closes over, for they are quicker than a method and its object's fields.
        def claim() -> int:
            nonlocal place, turns
            claimed = place
            place = claimed + step
            if place == end:
                place = 0
                turns += 1
            return claimed

        self.claim: Callable[[], int] = claim
        self.pack_into = packing.pack_into
        self.buffer = bytearray(end)
        self._packing = packing
        self._size = size
        self._state: Callable[[], tuple[int, int]] = lambda: (turns, place)

    @property
    def added(self) -> int:
        """How many rows were ever added."""
        turns, place = self._state()
        return turns * self._size + place // self._packing.size

    def __len__(self) -> int:
        """How many rows there are."""
        return min(self.added, self._size)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """The rows, oldest first, as they are now."""
        turns, place = self._state()
        newest = bytes(self.buffer[:place])
        return self._packing.iter_unpack(bytes(self.buffer[place:]) + newest if turns else newest)


class FrameRing(Ring):
    """A ring of frames: number of the connection, stream ID, time, sent or not, type, flags and length."""

    def __init__(self, size: int) -> None:
        super().__init__("IId?BBI", size)

    def adder(self, number: int, now: Callable[[], float], sent: bool, on_data: Callable[[int, int], None]) -> OnFrame:
        """What adds the frames that one connection sends, or receives. There are more of them than of all else.

        Args:
            number: the connection's.
            now: the time.
            sent: which of them.
            on_data: called with stream ID and length of DATA.
        """
        pack_into, buffer, claim = self.pack_into, self.buffer, self.claim

        def add(type_: int, flags: int, stream_id: int, length: int) -> None:
            pack_into(buffer, claim(), number, stream_id, now(), sent, type_, flags, length)
            if type_ == DATA:
                on_data(stream_id, length)

        return add
