"""Every message that crosses a task boundary, except the events that `trio_h2.events` already has.

reader -> stream   events, `Chunk`s and `Latest`s, through the stream's inbox
sender -> writer   `PendingSend`, through the writer's turn queues
"""

from __future__ import annotations

import trio

from .. import events as ev
from ..exceptions import H2Error
from ..protocol.stream_machine import StreamMachine

__all__ = ["Chunk", "Latest", "PendingSend"]


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


class PendingSend:
    """A caller's bytes that are not cut yet, or a probe that waits until some could be. Owner: Writer.

    Attributes:
        data: what to send; a probe has none.
        offset: octets that are cut already.
        end_stream: does END_STREAM go with the last octet?
        queued_at: the urgency of the turn queue it stands in, or None while its window keeps it out.
        error: what ended the wait early, or None.
        stalled_since: when it last got credit for its stream's window, while that keeps it out; else None.
        window: what that window was then.
    """

    __slots__ = (
        "_done",
        "data",
        "end_stream",
        "error",
        "finished",
        "mutable",
        "offset",
        "probe",
        "queued_at",
        "stalled_since",
        "stream",
        "window",
    )

    def __init__(
        self,
        stream: StreamMachine,
        data: bytes | bytearray | memoryview,
        *,
        end_stream: bool,
        probe: bool = False,
    ) -> None:
        self.stream = stream
        self.data = memoryview(data).cast("B")
        # Cut pieces wait in the outbox, where a buffer that can change under us must not be.
        self.mutable = not isinstance(data, bytes)
        self.offset = 0
        self.end_stream = end_stream
        self.probe = probe
        self.queued_at: int | None = None
        self.stalled_since: float | None = None
        self.window = 0
        self.error: H2Error | None = None
        self.finished = False
        self._done: trio.Event | None = None

    def finish(self, error: H2Error | None = None) -> None:
        """All is cut, or nothing more will be."""
        self.finished = True
        self.error = error
        if self._done is not None:
            self._done.set()

    async def wait(self) -> None:
        """Wait for `finish`."""
        self._done = trio.Event()
        await self._done.wait()
