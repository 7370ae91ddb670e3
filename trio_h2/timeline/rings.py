"""`Ring`: the newest of very many rows of numbers, packed.

A tuple for each frame in a deque would cost twice the time, for memory that was written long ago has to be found again
when the oldest is let go; and the garbage collector would look at all of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..protocol.frames import DATA
from .records import StreamRecord

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
        buffer: of the rows.
    """

    def __init__(self, layout: str, size: int) -> None:
        self._packing = struct.Struct("<" + layout)
        self._step = self._packing.size
        self._size = size
        self.pack_into = self._packing.pack_into
        self._end = size * self._step
        self.buffer = bytearray(self._end)
        self._next = [0, 0]
        """The place of the next row, and how often all places were taken."""

    def claim(self) -> int:
        """The place of the next row, which is taken now."""
        following = self._next
        place = following[0]
        following[0] = place + self._step
        if following[0] == self._end:
            self._turn()
        return place

    def _turn(self) -> None:
        self._next[:] = 0, self._next[1] + 1

    @property
    def added(self) -> int:
        """How many rows were ever added."""
        place, turns = self._next
        return turns * self._size + place // self._step

    def __len__(self) -> int:
        """How many rows there are."""
        return min(self.added, self._size)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """The rows, oldest first, as they are now."""
        place, turns = self._next
        newest = bytes(self.buffer[:place])
        return self._packing.iter_unpack(bytes(self.buffer[place:]) + newest if turns else newest)


class FrameRing(Ring):
    """A ring of frames: twice the connection's number, and 1 if it was sent; time, type, flags, stream ID, length."""

    def __init__(self, size: int) -> None:
        super().__init__("IdBBII", size)

    def adder(
        self,
        number: int,
        now: Callable[[], float],
        sent: bool,
        senders: Mapping[int, StreamRecord],
        on_data: Callable[[int, int], None],
    ) -> OnFrame:
        """What adds the frames that one connection sends, or receives.

        There are more of them than of all else, so this does what `claim` does, and is a function and what it closes
        over, which is quicker than a method and its object's fields.

        Args:
            number: the connection's.
            now: the time.
            sent: which of them.
            senders: by their IDs the streams that are told themselves of DATA.
            on_data: called with stream ID and length of other DATA.
        """
        pack_into, buffer, turn, step = self.pack_into, self.buffer, self._turn, self._step
        following, last = self._next, len(buffer) - step
        owner = 2 * number + sent

        def add(type_: int, flags: int, stream_id: int, length: int) -> None:
            place = following[0]
            following[0] = place + step
            if place == last:
                turn()
            pack_into(buffer, place, owner, now(), type_, flags, stream_id, length)
            if type_ == DATA:
                sender = senders.get(stream_id)
                if sender is not None:
                    sender.sent(length)
                else:
                    on_data(stream_id, length)

        return add
