"""`Timeline`: a Trace that records what connections do in bounded memory."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, TypeVar

import trio

from ..connection import Connection, ServerConnection
from ..exceptions import H2Error
from ..headers import Headers
from ..trace import Trace, WaitReason
from ..tracer import Tracer
from .connection_recorder import ConnectionRecorder
from .kept import Kept
from .rows import Recording
from .saving import save
from .snapshot import snapshot
from .told_recorder import ToldRecorder

__all__ = ["Timeline"]

R = TypeVar("R", bound=ConnectionRecorder)


class Timeline(Trace):
    """A Trace that records the life of connections, and writes it as a page: `timeline.save("out.html")`.

    It may be given to any number of connections and servers, and saved at any time. What is in it is bounded: the
    newest of each kind are kept, and the page says how many are not. With the defaults that is 20 MB at most. How long
    each stream waited for what is kept with the stream, and stays true.

    Of requests the method, the authority and the path without its query are kept, and no other field.

    Args:
        max_streams: streams that are over, 10,000 by default; those that are open are kept beside them.
        max_frames: frames, and as many notes of credit, 100,000 by default.
        max_waits: how many waits one by one, 100,000 by default.
        max_connections: connections that have ended, 1,000 by default.

    In all methods:
        connection, number, stream_id, headers, error, type, flags, length, reason, octets, seconds: as for `Trace`.
        initiator, values, last_stream_id, error_code: as for `Trace`.

    Raises:
        TypeError: a bound is no whole number.
        ValueError: a bound is less than 1.
    """

    def __init__(
        self,
        *,
        max_streams: int = 10_000,
        max_frames: int = 100_000,
        max_waits: int = 100_000,
        max_connections: int = 1_000,
    ) -> None:
        _check_bounds(max_streams=max_streams, max_frames=max_frames, max_waits=max_waits)
        _check_bounds(max_connections=max_connections)
        self._live: dict[int, ConnectionRecorder] = {}
        self._recorders: dict[Connection, ToldRecorder] = {}
        self._kept = Kept(max_streams, max_frames, max_waits)
        self._over: deque[ConnectionRecorder] = deque(maxlen=max_connections)
        self._made = 0
        self._clock: trio.abc.Clock | None = None
        self._origin = 0.0
        self._began = (0.0, 0.0)

    def __repr__(self) -> str:
        return f"<Timeline of {self._made} connections>"

    def _tracer_for_connection(self, clock: Callable[[], float], *, client: bool) -> Tracer | None:
        """What records a connection by itself, where nobody has overridden a method that has to be called."""
        return self._new_recorder(ConnectionRecorder, client) if type(self) is Timeline else None

    def _new_recorder(self, kind: type[R], client: bool) -> R:
        clock = trio.lowlevel.current_clock()
        if self._clock is None:
            self._began = time.time(), time.monotonic()
            self._origin = clock.current_time()
        elif clock is not self._clock:  # another run of trio: its clock begins elsewhere
            self._origin = clock.current_time() - (time.monotonic() - self._began[1])
        self._clock = clock
        self._made += 1
        now, ahead = _ticks(clock)
        recorder = kind(self, self._kept, self._made, now, self._origin - ahead, self._ended, client=client)
        self._live[self._made] = recorder
        return recorder

    def _ended(self, recorder: ConnectionRecorder) -> None:
        del self._live[recorder.number]
        self._over.append(recorder)

    # As a Trace, for subclasses, and for whoever passes on what another Trace is told

    def connection_made(self, connection: Connection) -> None:
        """See `Trace`."""
        client = not isinstance(connection, ServerConnection)
        recorder = self._recorders[connection] = self._new_recorder(ToldRecorder, client)
        recorder.connection_made(connection)

    def connection_ended(self, connection: Connection, error: H2Error | None) -> None:
        """See `Trace`."""
        self._recorders.pop(connection).connection_ended(error)

    def request_made(self, connection: Connection, number: int, headers: Headers) -> None:
        """See `Trace`."""
        self._recorders[connection].note_request(number, headers)

    def request_settled(
        self, connection: Connection, number: int, stream_id: int | None, error: H2Error | None
    ) -> None:
        """See `Trace`."""
        self._recorders[connection].settle_request(number, stream_id, error)

    def stream_opened(self, connection: Connection, stream_id: int, headers: Headers) -> None:
        """See `Trace`."""
        self._recorders[connection].told_opened(stream_id, headers)

    def stream_closed(self, connection: Connection, stream_id: int, error: H2Error | None) -> None:
        """See `Trace`."""
        self._recorders[connection].told_closed(stream_id, error)

    def wait_began(self, connection: Connection, stream_id: int, reason: WaitReason) -> None:
        """See `Trace`."""
        self._recorders[connection].wait_began(stream_id, reason)

    def wait_ended(self, connection: Connection, stream_id: int, reason: WaitReason) -> None:
        """See `Trace`."""
        self._recorders[connection].wait_ended(stream_id, reason)

    def frame_received(self, connection: Connection, type: int, flags: int, stream_id: int, length: int) -> None:
        """See `Trace`."""
        self._recorders[connection].told_received(type, flags, stream_id, length)

    def frame_sent(self, connection: Connection, type: int, flags: int, stream_id: int, length: int) -> None:
        """See `Trace`."""
        self._recorders[connection].told_sent(type, flags, stream_id, length)

    def credit_given(self, connection: Connection, stream_id: int, octets: int) -> None:
        """See `Trace`."""
        self._recorders[connection].credit_given(stream_id, octets)

    def credit_received(self, connection: Connection, stream_id: int, octets: int) -> None:
        """See `Trace`."""
        self._recorders[connection].credit_received(stream_id, octets)

    def data_taken(self, connection: Connection, stream_id: int, octets: int) -> None:
        """See `Trace`."""
        self._recorders[connection].data_taken(stream_id, octets)

    def settings_in_force(
        self, connection: Connection, initiator: Literal["local", "remote"], values: dict[int, int]
    ) -> None:
        """See `Trace`."""
        self._recorders[connection].note_settings(initiator, values)

    def goaway_received(self, connection: Connection, last_stream_id: int, error_code: int) -> None:
        """See `Trace`."""
        self._recorders[connection].goaway_received(last_stream_id, error_code)

    def goaway_sent(self, connection: Connection, last_stream_id: int, error_code: int) -> None:
        """See `Trace`."""
        self._recorders[connection].goaway_sent(last_stream_id, error_code)

    def round_trip(self, connection: Connection, seconds: float) -> None:
        """See `Trace`."""
        self._recorders[connection].round_trip(seconds)

    # What comes of it

    def recording(self) -> Recording:
        """What is recorded until now, as rows of plain values."""
        live = list(self._live.values())
        began = datetime.fromtimestamp(self._began[0] or time.time(), UTC).isoformat(timespec="seconds")
        connections = sorted([*self._over, *live], key=lambda each: each.number)
        return snapshot(self._kept, connections, self._made - len(connections), began)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what is recorded until now: a page that needs no network, or, if `path` ends in `.jsonl`, JSON lines.

        It takes up to some seconds, so a program that goes on has a thread do it:
        `await trio.to_thread.run_sync(timeline.save, "out.html")`. The file is there whole, or as it was before.

        Args:
            path: the file, which is replaced if there is one.

        Raises:
            OSError: it cannot be written.
        """
        save(self.recording(), path)


def _ticks(clock: trio.abc.Clock) -> tuple[Callable[[], float], float]:
    """What to ask for the time, and what the clock is ahead of that.

    trio's own is `time.perf_counter` and an offset, and to ask for it takes twice the time.
    """
    offset = getattr(clock, "offset", None)
    if type(clock).__name__ == "SystemClock" and isinstance(offset, float):
        return time.perf_counter, offset
    return clock.current_time, 0.0


def _check_bounds(**bounds: int) -> None:
    for name, value in bounds.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be a whole number, not {type(value).__name__}")
        if value < 1:
            raise ValueError(f"{name} must be 1 or more, not {value}")
