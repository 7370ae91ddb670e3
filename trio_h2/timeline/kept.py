"""What a `Timeline` keeps: the newest of each kind, of all its connections.

Frames and streams that are over come often, so they are noted in lists first, and put into their rings many at a time:
that is what `settle` does. The lists have the values themselves, one after the other: of tuples there would be enough
to keep the garbage collector busy. Whoever looks may be another thread than that of the connections, so it has a lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from threading import RLock
from typing import Any

from ..headers import Headers
from ..protocol.frames import FRAME_HEADER_SIZE
from .records import Fields, FieldsMemory, Octets, StreamRecord
from .rings import ColumnRing, Ring

__all__ = ["CREDITS", "MANY", "ClosedStream", "Kept"]

CREDITS = ("given", "received", "taken")
"""What a note of credit is of, as a number."""

MANY = 200
"""Of so many values that are noted it is worth while to put them where they are kept."""

FRAME_VALUES, STREAM_VALUES = 3, 6
"""How many values a note is of, of a frame and of a stream that is over."""

MAX_MARKS = 10_000

ClosedStream = tuple[int, float, float, int, Headers | Fields, StreamRecord | None]
"""Stream ID, when it was opened and closed, octets of DATA sent, and what it asked for.

Of most streams there is no more to keep, and no record of them.
"""


class ClosedStreams:
    """Those that are over, the newest. Owner of every field: this object.

    Args:
        size: how many.
    """

    def __init__(self, size: int) -> None:
        self._ring = ColumnRing(("I", "i", "d", "d", "Q", None, None), size)
        self._fields = FieldsMemory()
        self.fields_of = self._fields.of_one

    def settle(self, number: int, noted: list[Any]) -> int:
        """Put what is noted of a connection where it is kept; octets of DATA that were sent on those streams."""
        ids, opened, closed, octets, sections, records = _taken(noted, STREAM_VALUES)
        numbers = [number] * len(ids)
        self._ring.extend([numbers, ids, opened, closed, octets, self._fields.of_all(sections), records])
        return sum(octets)

    @property
    def added(self) -> int:
        """How many there ever were."""
        return self._ring.added

    def __iter__(self) -> Iterator[tuple[int, StreamRecord]]:
        """The numbers of their connections, and the streams, the oldest first, as they are now."""
        return (_numbered(*row) for row in zip(*self._ring.columns(), strict=True))


def _taken(noted: list[Any], values: int) -> list[list[Any]]:
    """What is noted, by column; it leaves the list, to which another thread may add."""
    taken = noted[:]
    del noted[: len(taken)]
    return [taken[place::values] for place in range(values)]


def _numbered(
    number: int,
    stream_id: int,
    opened: float,
    closed: float,
    data_sent: int,
    fields: Fields,
    record: StreamRecord | None,
) -> tuple[int, StreamRecord]:
    if record is None:
        record = StreamRecord(stream_id, opened, fields, Octets(data_sent))
        record.close(closed, None)
    return number, record


class Kept:
    """What is recorded.

    Args:
        max_streams, max_frames, max_waits: how many at most, and of notes of credit as many as of frames.

    Attributes:
        lock: held by who settles, and by who looks.
        streams: those that are closed.
        waits: number of the connection, stream ID, number of the reason, beginning and end.
        frames: number of the connection; then as `FrameTold`.
        credits: number of the connection, stream ID, time, number of what and octets.
        marks: number of the connection, time, what, value and code.
    """

    def __init__(self, max_streams: int, max_frames: int, max_waits: int) -> None:
        self.lock = RLock()
        self.streams = ClosedStreams(max_streams)
        self.waits = Ring("IiBdd", max_waits)
        self.frames = ColumnRing(("I", "d", "B", FRAME_HEADER_SIZE), max_frames)
        self.credits = Ring("IIdBI", max_frames)
        self.marks: deque[Any] = deque(maxlen=MAX_MARKS)
        self._marks_added = 0

    def settle(self, number: int, frames: list[Any], closed: list[Any]) -> int:
        """Put where it is kept what is noted of a connection; octets of DATA that were sent on streams that are over.

        Args:
            number: the connection's.
            frames: one `FrameTold` after the other, their values alone. They leave the list.
            closed: in the same way one `ClosedStream` after the other.
        """
        with self.lock:
            columns = _taken(frames, FRAME_VALUES)
            self.frames.extend([[number] * len(columns[0]), *columns])
            return self.streams.settle(number, closed)

    def mark(self, *row: Any) -> None:
        """One more moment."""
        self._marks_added += 1
        self.marks.append(row)

    def added(self) -> dict[str, int]:
        """How many there ever were, by kind."""
        rings: dict[str, Ring | ColumnRing | ClosedStreams] = {
            "streams": self.streams,
            "waits": self.waits,
            "frames": self.frames,
            "credits": self.credits,
        }
        return {name: ring.added for name, ring in rings.items()} | {"marks": self._marks_added}
