"""`ConnectionRecorder`: what a `Timeline` does while one connection lives.

Whatever is told is one row in a ring that drops its oldest, and a sum in the record of its stream: of what fell out
the totals stay. Everything else is done when the recording is looked at. A small request is told of five times, and
may cost a tenth of what it costs anyway: so a frame is one more in a list, what no stream but a few needs to have kept
has no record, and what is noted is put into the rings many at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from ..actors.logs import escaped, peer_name
from ..codes import SettingCodes, error_code_from_int, error_name
from ..connection import Connection, ServerConnection
from ..exceptions import H2Error, StreamResetError
from ..headers import Headers
from ..trace import Trace
from ..tracer import FrameTold, SentOctets, Tracer
from .kept import CREDITS, MANY, ClosedStream, Kept
from .records import Octets, StreamRecord
from .rows import REASONS

__all__ = ["ConnectionRecorder"]

REASON_NUMBERS = {reason: number for number, reason in enumerate(REASONS)}
CREDIT_NUMBERS = {what: number for number, what in enumerate(CREDITS)}

Simple = tuple[float, Headers, SentOctets]
"""A stream of which no more is told than that it opened, and its frames: when that was, and what it asks for."""

T = TypeVar("T")

SHORT_UNREAD = 0.001
"""Seconds for which data may lie unread without a row of its own: a reader that reads at once makes very many."""

BY = {"local": "this side", "remote": "the peer", "library": "trio_h2"}


class ConnectionRecorder(Tracer):
    """Records one connection. Owner of every field: this object.

    As a Tracer it is told of what happens; what Tracers do not know is told as a Trace is, but for the connection.

    Args:
        trace: the Timeline.
        kept: where it goes.
        number: the connection's, from 1.
        now: the time in seconds, on the clock of the run that the connection is of.
        origin: what that clock said when the recording began.
        on_ended: told of the connection's end.
        client: Whether this side is the client.

    Attributes:
        side: which one this is, `"client"` or `"server"`.
        live: the streams that are open, by ID; most servers' are simple.
        data_received: octets of DATA that came.
        given, credited: octets of WINDOW_UPDATEs for the connection, sent and received.
    """

    # More fields than a class without them finds quickly.
    __slots__ = (
        "_closed",
        "_data_sent",
        "_frames",
        "_headers",
        "_kept",
        "_note_closed",
        "_note_frame",
        "_on_ended",
        "_read_at",
        "_slot_wait",
        "_slot_waits",
        "_slots_wanted",
        "credited",
        "data_received",
        "ended",
        "error",
        "given",
        "live",
        "made",
        "number",
        "origin",
        "peer",
        "side",
        "tls",
    )

    def __init__(
        self,
        trace: Trace,
        kept: Kept,
        number: int,
        now: Callable[[], float],
        origin: float,
        on_ended: Callable[[ConnectionRecorder], None],
        *,
        client: bool,
    ) -> None:
        super().__init__(trace, now, client=client)
        self._methods = {
            "connection_ended": self._end,
            "request_made": self.note_request,
            "request_settled": self.settle_request,
            "wait_began": self.wait_began,
            "wait_ended": self.wait_ended,
            "settings_in_force": self.note_settings,
            "goaway_received": self.goaway_received,
            "goaway_sent": self.goaway_sent,
            "round_trip": self.round_trip,
        }
        self.number = number
        self.now = now
        self.origin = origin
        self.side = self.peer = self.tls = self.error = ""
        self.made = now()
        self.ended: float | None = None
        self.live: dict[int, Simple | StreamRecord] = {}
        self._streams = self.live
        self.data_received = 0
        self._data_sent = 0  # on streams that are over
        self.given = self.credited = 0
        self._kept = kept
        self._on_ended = on_ended
        # Of requests without a stream, by number: their fields, since when they wait for a slot, and that they did.
        self._headers: dict[int, Headers] = {}
        self._slots_wanted: dict[int, float] = {}
        self._slot_waits: dict[int, tuple[float, float]] = {}
        self._slot_wait: tuple[float, float] | None = None  # of the stream that opens next
        self._read_at = self.made
        # What is noted, and how
        self._frames: list[Any] = []
        self._note_frame: Callable[[FrameTold], None] = self._frames.extend
        self._closed: list[Any] = []
        self._note_closed: Callable[[ClosedStream], None] = self._closed.extend

    def _tell(self, name: str, *arguments: object, read: Callable[[Any], T] | None = None) -> T | None:
        method = self._methods.get(name)
        if method is None:
            return None
        answer = method(*arguments)
        return None if read is None else read(answer)

    # The connection

    def connection_made(self, connection: object) -> None:
        """See `Trace`."""
        assert isinstance(connection, Connection)
        super().connection_made(connection)
        self.side = "server" if isinstance(connection, ServerConnection) else "client"
        self.peer = peer_name(connection.peer_address)
        self.tls = "" if connection.tls is None else str(connection.tls.version)

    def _end(self, error: H2Error | None) -> None:
        self.ended = self.now()
        self.error = _words(error)
        self.settle()
        self._on_ended(self)

    def settle(self) -> None:
        """Put what is noted where it is kept."""
        with self._kept.lock:
            self._data_sent += self._kept.settle(self.number, self._frames, self._closed)

    # Streams and waits

    def note_request(self, number: int, headers: Headers) -> None:
        """A request is about to be made."""
        self._headers[number] = headers

    def settle_request(self, number: int, stream_id: int | None, error: H2Error | None) -> None:
        """It has a stream, or never will."""
        headers = self._headers.pop(number)
        wait = self._slot_waits.pop(number, None)
        if stream_id is not None:
            self._slot_wait = wait  # the stream opens next
        elif wait is not None or error is not None:
            now = self.now()
            began, ended = wait or (now, now)
            stream = self._record_of(number, (began, headers, Octets()))
            if wait is not None:
                stream.waited("slot", began, ended)
                self._waited(number, "slot", began, ended)
            self._close(stream, now, "never sent" if error is None else f"never sent: {_words(error)}")

    def stream_opened(self, stream_id: int, headers: Headers, sending: SentOctets) -> None:
        """See `Trace`; and what is sent is looked up."""
        time = self.now  # called as a method it would be looked for in the class first
        self.live[stream_id] = time(), headers, sending
        if self._slot_wait is not None:
            began, ended = self._slot_wait
            self._slot_wait = None
            self.live[stream_id] = stream = self._record_of(stream_id, (began, headers, sending))
            stream.waited("slot", began, ended)
            self._waited(stream_id, "slot", began, ended)

    def _record_of(self, stream_id: int, stream: Simple | StreamRecord) -> StreamRecord:
        if isinstance(stream, StreamRecord):
            return stream
        opened, headers, sending = stream
        return StreamRecord(stream_id, opened, self._kept.streams.fields_of(headers), sending)

    def _record(self, stream_id: int) -> StreamRecord | None:
        """That of an open stream, of which there is something to keep."""
        stream = self.live.get(stream_id)
        if type(stream) is not tuple:
            return cast("StreamRecord | None", stream)
        self.live[stream_id] = record = self._record_of(stream_id, stream)
        return record

    def stream_closed(self, stream_id: int, error: H2Error | None) -> None:
        """See `Trace`."""
        stream = self.live.pop(stream_id, None)
        if type(stream) is tuple and error is None:
            opened, headers, sending = stream
            note, time = self._note_closed, self.now
            note((stream_id, opened, time(), sending.seen, headers, None))
        elif stream is not None:
            record, now = self._record_of(stream_id, stream), self.now()
            for reason, began in record.begun():
                if reason != "unread" or now - began >= SHORT_UNREAD:
                    self._waited(stream_id, reason, began, now)
            self._close(record, now, None if error is None else _words(error))

    def _close(self, stream: StreamRecord, now: float, error: str | None) -> None:
        stream.close(now, error)
        self._note_closed((stream.stream_id, stream.opened, now, stream.data_sent, stream.fields, stream))
        if len(self._closed) >= MANY:
            self.settle()

    def wait_began(self, stream_id: int, reason: str) -> None:
        """See `Trace`."""
        if stream_id < 0:
            self._slots_wanted[stream_id] = self.now()
        else:
            stream = self._record(stream_id)
            if stream is not None:
                stream.waits(reason, self.now())

    def wait_ended(self, stream_id: int, reason: str) -> None:
        """See `Trace`."""
        now = self.now()
        if stream_id < 0:
            self._slot_waits[stream_id] = self._slots_wanted.pop(stream_id), now
        else:
            stream = self._record(stream_id)
            began = None if stream is None else stream.goes_on(reason, now)
            if began is not None:
                self._waited(stream_id, reason, began, now)

    def _waited(self, stream_id: int, reason: str, began: float, ended: float) -> None:
        ring = self._kept.waits
        ring.pack_into(ring.buffer, ring.claim(), self.number, stream_id, REASON_NUMBERS[reason], began, ended)

    # Frames and credit

    def read_began(self) -> float:
        """Frames that come in one read have come at one time."""
        self.taken()
        at = self._read_at = self.now()
        return at

    def taken(self) -> None:
        """What is noted is bounded by what is read or written at once: no stream is over without a frame."""
        if len(self._frames) >= MANY:
            self.settle()

    @property
    def on_frame_received(self) -> Callable[[FrameTold], None]:
        """What to call with each frame that came."""
        return self._note_frame

    @property
    def on_frame_sent(self) -> Callable[[FrameTold], None]:
        """What to call with each frame that is cut."""
        return self._note_frame

    @property
    def on_data_received(self) -> Callable[[int, int], None]:
        """What to call with stream ID and length of each frame of DATA that came, too."""
        return self.receive_data

    def receive_data(self, stream_id: int, length: int) -> None:
        """DATA came, in the read that began last."""
        self.data_received += length
        stream = self._record(stream_id)
        if stream is not None:
            stream.received(length, self._read_at)

    def open_records(self) -> list[StreamRecord]:
        """Records of the streams that are open now."""
        return [self._record_of(stream_id, stream) for stream_id, stream in list(self.live.items())]

    @property
    def data_sent(self) -> int:
        """Octets of DATA that were sent."""
        with self._kept.lock:
            self.settle()
            return self._data_sent + sum(stream.data_sent for stream in self.open_records())

    def credit_given(self, stream_id: int, octets: int) -> None:
        """See `Trace`."""
        if stream_id == 0:
            self.given += octets
        elif (stream := self._record(stream_id)) is not None:
            stream.gave_credit(octets)
        self._note_credit(stream_id, "given", octets)

    def credit_received(self, stream_id: int, octets: int) -> None:
        """See `Trace`."""
        if stream_id == 0:
            self.credited += octets
        elif (stream := self._record(stream_id)) is not None:
            stream.got_credit(octets)
        self._note_credit(stream_id, "received", octets)

    def data_taken(self, stream_id: int, octets: int) -> None:
        """See `Trace`."""
        stream = self._record(stream_id)
        if stream is not None:
            now = self.now()
            unread_since = stream.taken(octets, now)
            if unread_since is not None and now - unread_since >= SHORT_UNREAD:
                self._waited(stream_id, "unread", unread_since, now)
            self._note_credit(stream_id, "taken", octets)

    def _note_credit(self, stream_id: int, what: str, octets: int) -> None:
        ring = self._kept.credits
        ring.pack_into(ring.buffer, ring.claim(), self.number, stream_id, self.now(), CREDIT_NUMBERS[what], octets)

    # Moments

    def note_settings(self, initiator: str, values: dict[int, int]) -> None:
        """As `Trace.settings_in_force`."""
        size = values.get(SettingCodes.INITIAL_WINDOW_SIZE)
        if size is not None:
            self._mark(f"initial window {'sent' if initiator == 'local' else 'received'}", size)

    def goaway_received(self, last_stream_id: int, error_code: int) -> None:
        """See `Trace`."""
        self._mark("goaway received", last_stream_id, _code(error_code))

    def goaway_sent(self, last_stream_id: int, error_code: int) -> None:
        """See `Trace`."""
        self._mark("goaway sent", last_stream_id, _code(error_code))

    def round_trip(self, seconds: float) -> None:
        """See `Trace`."""
        self._mark("round trip", seconds)

    def _mark(self, what: str, value: float, code: str = "") -> None:
        self._kept.mark(self.number, self.now(), what, value, code)


def _words(error: H2Error | None) -> str:
    if error is None:
        return ""
    if isinstance(error, StreamResetError):
        return f"reset by {BY.get(error.initiator, error.initiator)}: {_code(error.error_code)}"
    return escaped(error)


def _code(error_code: int) -> str:
    return error_name(error_code_from_int(error_code))
