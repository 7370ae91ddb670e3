"""`Ring` and `ColumnRing`: the newest of very many rows of numbers, packed.

A tuple for each frame in a deque would cost twice the time, for memory that was written long ago has to be found again
when the oldest is let go; and the garbage collector would look at all of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

__all__ = ["ColumnRing", "Ring"]


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
        self._place = 0
        self._turns = 0

    def claim(self) -> int:
        """The place of the next row, which is taken now."""
        place = self._place
        self._place = place + self._step
        if self._place == self._end:
            self._place = 0
            self._turns += 1
        return place

    @property
    def added(self) -> int:
        """How many rows were ever added."""
        return self._turns * self._size + self._place // self._step

    def __len__(self) -> int:
        """How many rows there are."""
        return min(self.added, self._size)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """The rows, oldest first, as they are now."""
        place, turns = self._place, self._turns
        newest = bytes(self.buffer[:place])
        return self._packing.iter_unpack(bytes(self.buffer[place:]) + newest if turns else newest)


class ColumnRing:
    """As a Ring, but its rows come many at a time, and are kept by column. Owner of every field: this object.

    One of a hundred rows costs a fifth of one that is packed by itself.

    Args:
        kinds: of the columns: numbers as `struct` has them, as many octets in each row, or None for objects.
        size: how many rows.

    Attributes:
        added: how many rows were ever added.
    """

    def __init__(self, kinds: Iterable[str | int | None], size: int) -> None:
        self._size = size
        self._columns = [_column(kind, size) for kind in kinds]
        self.added = 0

    def extend(self, columns: Sequence[Sequence[Any]]) -> None:
        """Add rows, of which these are the columns."""
        while columns[0]:
            place = self.added % self._size
            room = self._size - place
            for kept, column in zip(self._columns, columns, strict=True):
                kept.put(place, column[:room])
            self.added += min(room, len(columns[0]))
            columns = [column[room:] for column in columns]

    def columns(self) -> list[Iterable[Any]]:
        """The columns as they are now, the oldest row first."""
        place = self.added % self._size
        if self.added < self._size:
            return [kept.part(0, place) for kept in self._columns]
        return [chain(kept.part(place, self._size), kept.part(0, place)) for kept in self._columns]


class _Objects:
    """A column of objects. Owner of the field: this object."""

    def __init__(self, size: int) -> None:
        self._objects: list[Any] = [None] * size

    def put(self, place: int, values: Sequence[Any]) -> None:
        self._objects[place : place + len(values)] = values

    def part(self, start: int, end: int) -> Iterable[Any]:
        return self._objects[start:end]


class _Numbers:
    """A column of numbers. `struct` packs them in half of what `array` takes. Owner of every field: this object."""

    def __init__(self, kind: str, size: int) -> None:
        self._kind = kind
        self._step = struct.calcsize(kind)
        self._buffer = bytearray(size * self._step)

    def put(self, place: int, values: Sequence[float]) -> None:
        struct.pack_into(f"{len(values)}{self._kind}", self._buffer, place * self._step, *values)

    def part(self, start: int, end: int) -> Iterable[float]:
        octets = self._buffer[start * self._step : end * self._step]
        return struct.unpack(f"{end - start}{self._kind}", octets)


class _Octets:
    """A column of octets, as many in each row. Owner of every field: this object."""

    def __init__(self, step: int, size: int) -> None:
        self._step = step
        self._buffer = bytearray(size * step)

    def put(self, place: int, values: Sequence[bytes]) -> None:
        self._buffer[place * self._step : (place + len(values)) * self._step] = b"".join(values)

    def part(self, start: int, end: int) -> Iterable[bytes]:
        octets = bytes(self._buffer[start * self._step : end * self._step])
        return (octets[place : place + self._step] for place in range(0, len(octets), self._step))


def _column(kind: str | int | None, size: int) -> _Objects | _Numbers | _Octets:
    if kind is None:
        return _Objects(size)
    return _Octets(kind, size) if isinstance(kind, int) else _Numbers(kind, size)
