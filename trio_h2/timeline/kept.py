"""What a `Timeline` keeps: the newest of each kind, of all its connections."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from struct import calcsize
from typing import Any

from .records import FieldsMemory, StreamRecord
from .rings import FrameRing, Ring

__all__ = ["CREDITS", "Kept"]

CREDITS = ("given", "received", "taken")
"""What a note of credit is of, as a number."""

MAX_MARKS = 10_000

STREAM = "IiddQ"
ROW = calcsize("<" + STREAM)


class ClosedStreams:
    """Those that are over, the newest. Owner of every field: this object.

    Of most streams there is little to keep, and it is packed; of the others the record is kept as it is.

    Args:
        size: how many.

    Attributes:
        add: takes the number of a connection, the record of a stream that is over, and when that was.
    """

    def __init__(self, size: int) -> None:
        self._numbers = numbers = Ring(STREAM, size)
        self._fields = all_fields = [(b"", b"", b"")] * size
        self._records: list[StreamRecord | None] = [None] * size
        pack_into, buffer, claim, records = numbers.pack_into, numbers.buffer, numbers.claim, self._records

        # A function and what it closes over: each request comes here.
        def add(number: int, stream: StreamRecord, closed: float) -> None:
            place = claim()
            pack_into(buffer, place, number, stream.stream_id, stream.opened, closed, stream.data_sent)
            place //= ROW
            all_fields[place] = stream.fields
            records[place] = None if stream.is_simple else stream

        self.add: Callable[[int, StreamRecord, float], None] = add

    @property
    def added(self) -> int:
        """How many there ever were."""
        return self._numbers.added

    def __iter__(self) -> Iterator[tuple[int, StreamRecord]]:
        """The numbers of their connections, and the streams, the oldest first, as they are now."""
        rows = list(self._numbers)
        first = self.added % len(self._fields) if len(rows) == len(self._fields) else 0
        for place, (number, stream_id, opened, closed, data_sent) in enumerate(rows, first):
            place %= len(self._fields)
            record = self._records[place]
            if record is None:
                record = StreamRecord(stream_id, opened, self._fields[place])
                record.sent(data_sent)
                record.close(closed, None)
            yield number, record


class Kept:
    """What is recorded.

    Args:
        max_streams, max_frames, max_waits: how many at most, and of notes of credit as many as of frames.

    Attributes:
        streams: those that are closed.
        waits: number of the connection, stream ID, number of the reason, beginning and end.
        frames: as FrameRing has them.
        credits: number of the connection, stream ID, time, number of what and octets.
        marks: number of the connection, time, what, value and code.
        fields: what is known of requests' fields.
    """

    def __init__(self, max_streams: int, max_frames: int, max_waits: int) -> None:
        self.streams = ClosedStreams(max_streams)
        self.waits = Ring("IiBdd", max_waits)
        self.frames = FrameRing(max_frames)
        self.credits = Ring("IIdBI", max_frames)
        self.marks: deque[Any] = deque(maxlen=MAX_MARKS)
        self.fields = FieldsMemory()
        self._marks_added = 0

    def mark(self, *row: Any) -> None:
        """One more moment."""
        self._marks_added += 1
        self.marks.append(row)

    def added(self) -> dict[str, int]:
        """How many there ever were, by kind."""
        rings: dict[str, Ring | ClosedStreams] = {
            "streams": self.streams,
            "waits": self.waits,
            "frames": self.frames,
            "credits": self.credits,
        }
        return {name: ring.added for name, ring in rings.items()} | {"marks": self._marks_added}
