"""What one peer has cost so far, held against what it may (RFC 9113 section 10.5): `limits.py` has the decisions."""

from __future__ import annotations

from collections.abc import Callable

from ..config import Config
from .frame_writer import FrameWriter
from .limits import SMALL_WINDOW, ControlFrames, Excess, HeldHeaders, NotHeld, Resets, StreamErrors
from .stream_table import StreamTable
from .verdicts import ConnectionFailure
from .windows import LateData

__all__ = ["Budgets"]

LATE_STREAMS = 1_000
"""Streams that may have been reset within a round trip, with a window of DATA on its way for each; windows that grew
have no more than `Config.max_unread` beyond that, together."""


class Budgets:
    """The budgets of one connection: each count says the connection's failure, if it is too much.

    Attributes:
        limits_hit: how often which limit was passed, by its field of Config.
        held_headers: header sections that are held for the user, until he is done with their stream.
        late_data: DATA that may still come on streams that we have reset.
    """

    def __init__(
        self,
        config: Config,
        table: StreamTable,
        outbox: FrameWriter,
        clock: Callable[[], float],
        *,
        hold_headers: bool,
    ) -> None:
        self.limits_hit: dict[str, int] = {}
        self.held_headers = HeldHeaders(config.max_held_headers) if hold_headers else NotHeld()
        self.late_data = LateData(LATE_STREAMS * config.initial_window_size + config.max_unread)
        self._table = table
        self._outbox = outbox
        self._clock = clock
        self._stream_errors = StreamErrors(config.max_stream_errors)
        self._resets = Resets(config.max_resets, config.reset_window)
        self._control_frames = ControlFrames(config.max_control_frames, clock())
        self._data_received = 0
        self._data_sent = 0
        self._resized = 0  # streams whose window the peer's SETTINGS moved, each as a WINDOW_UPDATE could

    def count_limit(self, name: str) -> None:
        """A limit was passed: this field of Config."""
        self.limits_hit[name] = self.limits_hit.get(name, 0) + 1

    def count_stream_error(self) -> ConnectionFailure | None:
        """The peer broke a rule on one stream."""
        return _judged(self._stream_errors.count(self._table.completed))

    def count_reset(self) -> ConnectionFailure | None:
        """The peer reset a stream before its response was complete, or made us do so."""
        return _judged(self._resets.count(self._table.completed, self._clock()))

    def count_control_frame(self) -> ConnectionFailure | None:
        """The peer sent what asks for work and brings none."""
        control = self._control_frames
        if control.spend():
            return None
        work = control.work(
            streams=self._table.opened,
            data_received=self._data_received,
            data_sent=self._data_sent,
            octets_sent=self._outbox.taken + self._outbox.size,
        )
        return _judged(control.judge(work, self._clock()))

    def count_data_received(self, frames: int = 1) -> None:
        """DATA with content came: work that pays for control frames."""
        self._data_received += frames

    def count_data_sent(self, octets: int, room: int, frames: int = 1) -> None:
        """DATA was cut, of so many octets where the windows had room for so many: it pays as well.

        Of several frames the last is meant: what was before it pays in any case.
        """
        # What a window of next to nothing squeezes out of us is no work that pays for more of it (CVE-2019-9511).
        if octets < room or octets >= SMALL_WINDOW:
            self._data_sent += frames
            return
        self._data_sent += frames - 1
        if self._resized:
            self._resized -= 1
            self._control_frames.spend()

    def count_resized(self, streams: int) -> None:
        """The peer's SETTINGS moved the windows of so many streams."""
        self._resized = streams


def _judged(excess: Excess | None) -> ConnectionFailure | None:
    return None if excess is None else excess.on_connection()
