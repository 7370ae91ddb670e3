"""`Tracer`, which tells a `Trace` of one connection.

A connection without a trace has no Tracer, and looks for one where there would be something to tell. A Tracer knows
what it has told, so that streams are opened and closed, and waits begin and end, once each and within the life of their
connection, or stream, whatever becomes of that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol, TypeVar, cast

from .events import ChangedSetting
from .exceptions import H2Error
from .headers import Headers, HeadersLike
from .trace import Trace, WaitReason, own_tracer, switch_of

__all__ = ["STREAM_ID", "FrameTold", "SentOctets", "Tracer", "tracer_of"]

logger = logging.getLogger("trio_h2")

FrameTold = tuple[float, bool, bytes | bytearray]
"""When, by the Tracer's clock; whether it is sent; and the nine octets of its header (RFC 9113 section 4.1)."""

STREAM_ID = 0x7FFF_FFFF
"""The bit before a stream ID is nobody's."""

T = TypeVar("T")

MAX_PINGS = 100
"""Unanswered PINGs whose times are kept: a peer that answers none may not make us keep more."""

_NAMES = [name for name in vars(Trace) if not name.startswith("_")]


def tracer_of(trace: Trace, clock: Callable[[], float], *, client: bool) -> Tracer:
    """Who tells a trace of one connection; the arguments are those of `Tracer`."""
    own: Tracer | None = own_tracer(trace, clock, client=client)
    return Tracer(trace, clock, client=client) if own is None else own


def _overridden(trace: Trace) -> dict[str, Callable[..., None]]:
    """The methods that are not the base class's own, by name."""
    methods = {name: getattr(trace, name) for name in _NAMES}
    return {
        name: method
        for name, method in methods.items()
        if getattr(method, "__func__", None) is not getattr(Trace, name)
    }


class SentOctets(Protocol):
    """What is sent on a stream: of DATA so many octets, without padding, until now."""

    seen: int


class Tracer:
    """Tells a Trace of one connection. Owner of every field: this object.

    Nothing here waits, or raises. After the connection's end it tells nothing, and holds nothing.

    Args:
        trace: whom to tell.
        clock: the time in seconds.
        client: Whether this side is the client.

    Attributes:
        now: when frames are cut is asked of this; here nobody needs to know.
    """

    __slots__ = (
        "_client",
        "_clock",
        "_connection",
        "_last_number",
        "_methods",
        "_pings",
        "_queued",
        "_readers",
        "_requests",
        "_senders",
        "_streams",
        "_switch",
        "_trace",
        "now",
        "wants_handlers",
        "wants_responses",
    )

    def __init__(self, trace: Trace, clock: Callable[[], float], *, client: bool) -> None:
        self._trace = trace
        self._switch = switch_of(trace)
        self._methods = _overridden(trace)
        self._clock = clock
        self.now: Callable[[], float] = float
        self._client = client
        self._connection: Any = None
        # What was told to have begun, and not to have ended: streams, and what their senders and readers wait for.
        self._streams: dict[int, Any] = {}
        self._senders: dict[int, WaitReason] = {}
        self._readers: dict[int, WaitReason] = {}
        # A client's requests without a stream: by what numbers they go, of all and of those that wait for a slot.
        self._requests: dict[object, int] = {}
        self._queued: dict[object, int] = {}
        self._last_number = 0
        self._pings: dict[bytes, float] = {}
        # Whether it is worth while to tell of these; most traces do not want to know.
        self.wants_handlers = "handler_began" in self._methods
        self.wants_responses = "response_began" in self._methods

    def _tell(self, name: str, *arguments: object, read: Callable[[Any], T] | None = None) -> T | None:
        """Call a method; `read` makes of its answer what is returned, None if there is none."""
        method = self._methods.get(name)
        if method is None or self._switch.off:
            return None
        try:
            answer = method(self._connection, *arguments)
            return None if read is None else read(answer)
        except BaseException as error:  # as trio does it: in the middle of a step nothing may get out
            self._raised(name, error)
            return None

    def _raised(self, name: str, error: BaseException) -> None:
        self._switch.turn_off()
        logger.error("%s.%s raised: that trace is switched off", type(self._trace).__name__, name, exc_info=error)

    # The connection

    def connection_made(self, connection: object) -> None:
        """The user's handle on the connection is made."""
        self._connection = connection
        self._tell("connection_made")

    def connection_ended(self, error: H2Error | None) -> None:
        """The transport is closed; what is still open ends with it."""
        for stream_id in list(self._streams):
            self.stream_closed(stream_id, error)
        for waiter in list(self._queued):
            self.unqueued(waiter)
        for waiter in list(self._requests):
            self.request_settled(waiter, None, error)
        self._tell("connection_ended", error)
        self._methods.clear()
        self._pings.clear()
        self._connection = None

    # Requests without a stream

    def request_made(self, waiter: object, headers: Headers, read: Callable[[HeadersLike | None], T]) -> T | None:
        """A request is about to be made; what `read` makes of the fields that are to be sent with it."""
        if self._methods.keys().isdisjoint(("request_made", "request_settled")):
            return None
        self._last_number -= 1
        self._requests[waiter] = self._last_number
        return self._tell("request_made", self._last_number, headers, read=read)

    def request_settled(self, waiter: object, stream_id: int | None, error: H2Error | None) -> None:
        """It has a stream, or never will; only the first time counts."""
        number = self._requests.pop(waiter, None)
        if number is not None:
            self._tell("request_settled", number, stream_id, error)

    # Streams

    def stream_opened(self, stream_id: int, headers: Headers, sending: SentOctets) -> None:
        """A request begins. What is sent on its stream may be looked up from now on."""
        self._streams[stream_id] = None
        self._tell("stream_opened", stream_id, headers)

    def handler_began(self, stream_id: int) -> None:
        """Its handler is about to be called, unless it is over already."""
        if stream_id in self._streams:
            self._tell("handler_began", stream_id)

    def response_began(self, stream_id: int, status: int, headers: Headers) -> None:
        """A response's header section was sent, or came."""
        if stream_id in self._streams:
            self._tell("response_began", stream_id, status, headers)

    def stream_closed(self, stream_id: int, error: H2Error | None) -> None:
        """A stream is over; only the first time counts."""
        if stream_id in self._streams:
            if stream_id in self._senders:
                self.sender_waits(stream_id, None)
            if stream_id in self._readers:
                self.reader_goes_on(stream_id)
            del self._streams[stream_id]
            self._tell("stream_closed", stream_id, error)

    # Waits

    def queued(self, waiter: object) -> None:
        """A client's stream waits for a slot, and has no ID yet."""
        number = self._requests.get(waiter)
        if number is None:
            self._last_number = number = self._last_number - 1
        self._queued[waiter] = number
        self._tell("wait_began", number, "slot")

    def unqueued(self, waiter: object) -> None:
        """It waits no more, if it did."""
        number = self._queued.pop(waiter, None)
        if number is not None:
            self._tell("wait_ended", number, "slot")

    def sender_waits(self, stream_id: int, reason: str | None) -> None:
        """What the stream's sender waits for now, which may be what it waited for before; None for nothing."""
        self._waits(self._senders, stream_id, cast("WaitReason | None", reason))

    def reader_waits(self, stream_id: int, *, at_head: bool) -> None:
        """The stream's reader waits; `at_head` before the response's headers came, if it is a response."""
        self._waits(self._readers, stream_id, "headers" if at_head and self._client else "body")

    def reader_goes_on(self, stream_id: int) -> None:
        """The stream's reader waits no more, if it did."""
        self._waits(self._readers, stream_id, None)

    def _waits(self, waits: dict[int, WaitReason], stream_id: int, reason: WaitReason | None) -> None:
        before = waits.get(stream_id)
        if reason == before:
            return
        if stream_id not in self._streams:
            waits.pop(stream_id, None)
            return
        if before is not None:
            del waits[stream_id]
            self._tell("wait_ended", stream_id, before)
        if reason is not None:
            waits[stream_id] = reason
            self._tell("wait_began", stream_id, reason)

    # Frames, credit and time

    def read_began(self) -> float:
        """Octets came, and frames of them follow; what the time is."""
        return 0.0

    def taken(self) -> None:
        """What was cut until now is being written."""

    @property
    def on_frame_received(self) -> Callable[[FrameTold], None] | None:
        """What to call with each frame that came; None if nobody wants to know."""
        return self._teller("frame_received")

    @property
    def on_data_received(self) -> Callable[[int, int], None] | None:
        """What to call with stream ID and length of each frame of DATA, too; None if nobody wants to know."""
        return None

    @property
    def on_frame_sent(self) -> Callable[[FrameTold], None] | None:
        """What to call with each frame that is cut; None if nobody cares."""
        return self._teller("frame_sent")

    def _teller(self, name: str) -> Callable[[FrameTold], None] | None:
        """As `_tell`, but that each frame finds the method at hand: there are more of them than of all else."""
        method = self._methods.get(name)
        if method is None:
            return None
        switch = self._switch

        def tell(frame: FrameTold) -> None:
            if self._connection is None or switch.off:
                return
            header = frame[2]
            type_, flags = header[3], header[4]
            stream_id, length = int.from_bytes(header[5:]) & STREAM_ID, int.from_bytes(header[:3])
            try:
                method(self._connection, type_, flags, stream_id, length)
            except BaseException as error:
                self._raised(name, error)

        return tell

    def credit_given(self, stream_id: int, octets: int) -> None:
        """A WINDOW_UPDATE was cut."""
        self._tell("credit_given", stream_id, octets)

    def credit_received(self, stream_id: int, octets: int) -> None:
        """A WINDOW_UPDATE came, and was good."""
        self._tell("credit_received", stream_id, octets)

    def data_taken(self, stream_id: int, octets: int) -> None:
        """Octets of DATA are no longer unread."""
        self._tell("data_taken", stream_id, octets)

    def settings_in_force(self, initiator: str, changes: Iterable[ChangedSetting]) -> None:
        """A side's SETTINGS took effect."""
        self._tell("settings_in_force", initiator, {int(change.setting): change.new_value for change in changes})

    def goaway(self, name: Literal["goaway_received", "goaway_sent"], last_stream_id: int, error_code: int) -> None:
        """A GOAWAY came, or was cut."""
        self._tell(name, last_stream_id, error_code)

    def window_grown(self, stream_id: int, target: int) -> None:
        """A receive window has a larger target."""
        self._tell("window_grown", stream_id, target)

    def ping_sent(self, payload: bytes) -> None:
        """A PING was cut."""
        self._pings[payload] = self._clock()
        if len(self._pings) > MAX_PINGS:
            del self._pings[next(iter(self._pings))]

    def ping_answered(self, payload: bytes) -> None:
        """An acknowledgement came, perhaps of a PING."""
        sent_at = self._pings.pop(payload, None)
        if sent_at is not None:
            self._tell("round_trip", self._clock() - sent_at)
