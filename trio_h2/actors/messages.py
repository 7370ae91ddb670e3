"""What a stream's inbox carries, beside the events that `trio_h2.events` has."""

from __future__ import annotations

from .. import events as ev

__all__ = ["Chunk", "Latest"]


class Chunk:
    """Octets of a body in an inbox. Small DATA joins the chunk before it.

    Attributes:
        offset: octets of `data` that were taken already.
    """

    __slots__ = ("data", "offset")

    def __init__(self, data: bytes | bytearray) -> None:
        self.data = data
        self.offset = 0

    def __len__(self) -> int:
        return len(self.data) - self.offset

    def join(self, data: bytes) -> None:
        """Put small DATA behind what is here already."""
        if not isinstance(self.data, bytearray):
            self.data = bytearray(self.data)
        self.data += data

    def take(self, max_bytes: int | None) -> bytes:
        """At most `max_bytes` octets; the rest stays."""
        start = self.offset
        end = len(self.data) if max_bytes is None else min(len(self.data), start + max_bytes)
        self.offset = end
        if start == 0 and end == len(self.data):
            return bytes(self.data)
        return bytes(memoryview(self.data)[start:end])


class Latest:
    """An event of a kind that one of is enough: what comes later is joined to it.

    Attributes:
        event: what holds now.
    """

    __slots__ = ("event",)

    def __init__(self, event: ev.WindowUpdated | ev.PriorityUpdated) -> None:
        self.event = event

    def join(self, event: ev.WindowUpdated | ev.PriorityUpdated) -> None:
        """A later one of its kind: window updates add up, of priorities the last one counts."""
        if isinstance(event, ev.WindowUpdated) and isinstance(self.event, ev.WindowUpdated):
            event = ev.WindowUpdated(event.stream_id, self.event.delta + event.delta)
        self.event = event
