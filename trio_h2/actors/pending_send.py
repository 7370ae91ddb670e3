"""PendingSend: what a sending call leaves with the writer when it has to wait."""

from __future__ import annotations

import trio

from ..exceptions import H2Error
from ..protocol.stream_machine import StreamMachine

__all__ = ["PendingSend"]


class PendingSend:
    """A caller's bytes that are not cut yet, or a probe that waits until some could be.

    Attributes:
        stream: whose they are.
        left: octets that are not cut yet.
        end_stream: Whether END_STREAM goes with the last octet.
        probe: Whether it is one; it has no octets.
        ended: Whether all is cut, or nothing more will be.
        error: what ended the wait early, or None.
        queued_at: the urgency of the turn queue it stands in, or None while its window keeps it out.
        since: when its caller began to wait, on trio's clock.
        stalled_since: when it last got credit for its stream's window, while that keeps it out; else None.
    """

    __slots__ = (
        "_data",
        "_done",
        "_mutable",
        "_window",
        "end_stream",
        "ended",
        "error",
        "left",
        "probe",
        "queued_at",
        "since",
        "stalled_since",
        "stream",
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
        self._data = memoryview(data).cast("B")
        # Cut pieces wait in the outbox, where a buffer that can change under us must not be.
        self._mutable = not isinstance(data, bytes)
        self.left = len(self._data)
        self.end_stream = end_stream
        self.probe = probe
        self.queued_at: int | None = None
        self.since: float | None = None
        self.stalled_since: float | None = None
        self._window = 0
        self.error: H2Error | None = None
        self.ended = False
        self._done: trio.Event | None = None

    def take(self, count: int) -> bytes | memoryview:
        """The next octets, which are cut now."""
        start = len(self._data) - self.left
        self.left -= count
        piece = self._data[start : start + count]
        return bytes(piece) if self._mutable else piece

    def queue(self, urgency: int) -> None:
        """It stands in a turn queue."""
        self.queued_at = urgency
        self.stalled_since = None

    def leave_queue(self) -> None:
        """It stands in none any more."""
        self.queued_at = None

    def stall(self, window: int) -> None:
        """Its stream's window keeps it out; that has had credit if it is larger than at the last look."""
        if self.stalled_since is None or window > self._window:
            self.stalled_since = trio.current_time()
        self._window = window

    def end(self, error: H2Error | None = None) -> None:
        """All is cut, or nothing more will be: the caller goes on."""
        self.ended = True
        self.error = error
        if self._done is not None:
            self._done.set()

    def withdraw(self) -> None:
        """The caller waits no more."""
        self.ended = True

    async def wait(self) -> None:
        """Wait for `end`."""
        self._done = trio.Event()
        self.since = trio.current_time()
        await self._done.wait()
