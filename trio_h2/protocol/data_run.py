"""DataRun: DATA frames of one stream that follow each other in what was read, as one.

A body comes in frames of 16 KiB, eight or more in one read. Each for itself costs a payload of its own, two objects, a
judgement, an item of the stream's inbox and, in the end, a join. As a run they cost one copy and one of all that.
"""

from __future__ import annotations

from collections.abc import Iterator

from .frames import DATA, END_STREAM, PADDED, DataFrame

__all__ = ["LEAST", "DataRun"]

LEAST = 4 * 1024
"""Octets of the frame that begins a run. Smaller ones are messages, and mostly alone."""


class DataRun:
    """DATA without padding.

    Attributes:
        stream_id: whose it is.
        size: octets of all frames.
        end_stream: Whether the last frame ends the stream.
    """

    __slots__ = ("_payloads", "end_stream", "size", "stream_id")

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self._payloads: list[memoryview] = []
        self.size = 0
        self.end_stream = False

    def continues(self, type_: int, flags: int, stream_id: int, length: int) -> bool:
        """Whether a frame goes on with it. An empty one that ends nothing does not: that is judged for itself."""
        return (
            type_ == DATA
            and stream_id == self.stream_id
            and not self.end_stream
            and not flags & PADDED
            and (length > 0 or flags & END_STREAM > 0)
        )

    def add(self, payload: memoryview, *, end_stream: bool) -> None:
        """The next frame."""
        self._payloads.append(payload)
        self.size += len(payload)
        self.end_stream = end_stream

    @property
    def with_content(self) -> int:
        """How many of its frames are not empty, as only the last can be."""
        return len(self._payloads) - (len(self._payloads[-1]) == 0)

    def joined(self) -> DataFrame:
        """All of it in one frame."""
        return DataFrame(self.stream_id, b"".join(self._payloads), self.size, self.end_stream)

    def frames(self) -> Iterator[DataFrame]:
        """Each frame for itself, as they came."""
        last = len(self._payloads) - 1
        for index, payload in enumerate(self._payloads):
            yield DataFrame(self.stream_id, bytes(payload), len(payload), self.end_stream and index == last)
