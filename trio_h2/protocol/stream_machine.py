"""One stream's state (RFC 9113 section 5.1), from either side, and the message in each of its directions (8.1).

`TRANSITIONS` is the whole of figure 2 and the prose under it, in one table that does not know whether it belongs to
a client or a server: what was sent is `SEND_*`, what was received is `RECV_*`. A cell is the next state, or a
`Refusal` that says how bad it was. A cell that is missing is what 5.1 says of everything not expressly permitted: a
connection error of type PROTOCOL_ERROR when it was received, the caller's mistake when it was to be sent.

A stream that is closed leaves the stream table at once, so `CLOSED` has few cells here; how a late frame on a closed
stream is judged depends on why it closed, and is in `protocol/receiver.py`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs

from ..codes import ErrorCodes
from ..exceptions import InvalidBodyLengthError, ProtocolError, StreamClosedError
from .priority import DEFAULT_PRIORITY, Priority
from .verdicts import ConnectionFailure, StreamFailure
from .windows import InboundWindow, OutboundWindow

__all__ = [
    "TRANSITIONS",
    "CloseReason",
    "Input",
    "MessageHalf",
    "Phase",
    "Refusal",
    "StreamMachine",
    "StreamState",
]


class StreamState(enum.IntEnum):
    """The states of RFC 9113 section 5.1."""

    IDLE = 0
    RESERVED_LOCAL = 1
    RESERVED_REMOTE = 2
    OPEN = 3
    HALF_CLOSED_LOCAL = 4
    HALF_CLOSED_REMOTE = 5
    CLOSED = 6


class Input(enum.IntEnum):
    """What moves a stream. END_STREAM is an input of its own, after that of the frame that bears it."""

    SEND_HEADERS = 0
    RECV_HEADERS = 1
    SEND_DATA = 2
    RECV_DATA = 3
    SEND_END_STREAM = 4
    RECV_END_STREAM = 5
    SEND_RST_STREAM = 6
    RECV_RST_STREAM = 7
    SEND_PROMISED = 8  # this stream is the promised one
    RECV_PROMISED = 9
    SEND_PUSH_PROMISE = 10  # this stream carries the promise
    RECV_PUSH_PROMISE = 11
    SEND_WINDOW_UPDATE = 12
    RECV_WINDOW_UPDATE = 13


class Refusal(enum.Enum):
    """How bad an input was."""

    STREAM_CLOSED = "a stream error of type STREAM_CLOSED"
    PROTOCOL_ERROR = "a connection error of type PROTOCOL_ERROR"


class CloseReason(enum.IntEnum):
    """Why a stream is closed; it decides what late frames mean."""

    ENDED = 0  # both sides sent END_STREAM
    RESET_LOCALLY = 1
    RESET_BY_PEER = 2
    ABANDONED = 3  # above GOAWAY's last stream ID, or the connection is gone


_S = StreamState
_I = Input

TRANSITIONS: Mapping[StreamState, Mapping[Input, StreamState | Refusal]] = {
    _S.IDLE: {
        _I.SEND_HEADERS: _S.OPEN,
        _I.RECV_HEADERS: _S.OPEN,
        _I.SEND_PROMISED: _S.RESERVED_LOCAL,
        _I.RECV_PROMISED: _S.RESERVED_REMOTE,
    },
    _S.RESERVED_LOCAL: {
        _I.SEND_HEADERS: _S.HALF_CLOSED_REMOTE,
        _I.SEND_RST_STREAM: _S.CLOSED,
        _I.RECV_RST_STREAM: _S.CLOSED,
        _I.RECV_WINDOW_UPDATE: _S.RESERVED_LOCAL,
    },
    _S.RESERVED_REMOTE: {
        _I.RECV_HEADERS: _S.HALF_CLOSED_LOCAL,
        _I.SEND_RST_STREAM: _S.CLOSED,
        _I.RECV_RST_STREAM: _S.CLOSED,
        _I.SEND_WINDOW_UPDATE: _S.RESERVED_REMOTE,
    },
    _S.OPEN: {
        _I.SEND_HEADERS: _S.OPEN,
        _I.RECV_HEADERS: _S.OPEN,
        _I.SEND_DATA: _S.OPEN,
        _I.RECV_DATA: _S.OPEN,
        _I.SEND_END_STREAM: _S.HALF_CLOSED_LOCAL,
        _I.RECV_END_STREAM: _S.HALF_CLOSED_REMOTE,
        _I.SEND_RST_STREAM: _S.CLOSED,
        _I.RECV_RST_STREAM: _S.CLOSED,
        _I.SEND_PUSH_PROMISE: _S.OPEN,
        _I.RECV_PUSH_PROMISE: _S.OPEN,
        _I.SEND_WINDOW_UPDATE: _S.OPEN,
        _I.RECV_WINDOW_UPDATE: _S.OPEN,
    },
    _S.HALF_CLOSED_LOCAL: {
        _I.RECV_HEADERS: _S.HALF_CLOSED_LOCAL,
        _I.RECV_DATA: _S.HALF_CLOSED_LOCAL,
        _I.RECV_END_STREAM: _S.CLOSED,
        _I.SEND_RST_STREAM: _S.CLOSED,
        _I.RECV_RST_STREAM: _S.CLOSED,
        _I.RECV_PUSH_PROMISE: _S.HALF_CLOSED_LOCAL,
        _I.SEND_WINDOW_UPDATE: _S.HALF_CLOSED_LOCAL,
        _I.RECV_WINDOW_UPDATE: _S.HALF_CLOSED_LOCAL,
    },
    _S.HALF_CLOSED_REMOTE: {
        _I.SEND_HEADERS: _S.HALF_CLOSED_REMOTE,
        _I.SEND_DATA: _S.HALF_CLOSED_REMOTE,
        _I.SEND_END_STREAM: _S.CLOSED,
        _I.SEND_RST_STREAM: _S.CLOSED,
        _I.RECV_RST_STREAM: _S.CLOSED,
        _I.SEND_PUSH_PROMISE: _S.HALF_CLOSED_REMOTE,
        _I.SEND_WINDOW_UPDATE: _S.HALF_CLOSED_REMOTE,
        _I.RECV_WINDOW_UPDATE: _S.HALF_CLOSED_REMOTE,
        _I.RECV_HEADERS: Refusal.STREAM_CLOSED,
        _I.RECV_DATA: Refusal.STREAM_CLOSED,
    },
    _S.CLOSED: {
        _I.RECV_RST_STREAM: _S.CLOSED,
        _I.RECV_WINDOW_UPDATE: _S.CLOSED,
    },
}


_COUNTED = frozenset((StreamState.OPEN, StreamState.HALF_CLOSED_LOCAL, StreamState.HALF_CLOSED_REMOTE))
_CAN_SEND = frozenset((StreamState.OPEN, StreamState.HALF_CLOSED_REMOTE, StreamState.RESERVED_LOCAL))


class Phase(enum.IntEnum):
    """How far the message in one direction of a stream has come (RFC 9113 section 8.1)."""

    HEAD = 0  # the header section is still to come; interim responses may come before it
    BODY = 1
    DONE = 2


class MessageHalf:
    """The message in one direction: its phase, and its body against its content-length (8.1.1).

    Attributes:
        expected: what content-length promises, or None when it promises nothing.
        seen: octets of body so far, without padding.
        interim: 1xx responses so far.
        interim_octets: the size of their header sections.
        bodiless: True when the message has no content by definition (a HEAD response, 204, 304): its
            content-length then promises nothing and no octet of DATA may come.
        no_content: True for 204, which says so; HEAD and 304 leave out a body that a GET would have got.
    """

    __slots__ = ("bodiless", "expected", "interim", "interim_octets", "no_content", "phase", "seen")

    def __init__(self, phase: Phase = Phase.HEAD) -> None:
        self.phase = phase
        self.expected: int | None = None
        self.seen = 0
        self.interim = self.interim_octets = 0
        self.bodiless = False
        self.no_content = False

    def begin(self, content_length: int | None, *, bodiless: bool = False) -> None:
        """The header section is there: the body follows."""
        self.phase = Phase.BODY
        self.bodiless = bodiless
        self.expected = 0 if bodiless else content_length

    def too_long(self, count: int) -> bool:
        """Would `count` more octets be more than content-length promises?"""
        return self.expected is not None and self.seen + count > self.expected

    @property
    def too_short(self) -> bool:
        """Would the body be shorter than promised if it ended now?"""
        return self.expected is not None and self.seen != self.expected


@attrs.define(eq=False)
class StreamMachine:
    """One stream: its state, both windows, and the message in each direction. Owner of every field: this object.

    Attributes:
        request_method: the method of the request on this stream; it decides whether the response has a body.
        authority: the authority the request named; an ALTSVC frame on this stream, or a push, is about it.
        tunnel: True for CONNECT (RFC 9113 section 8.5, RFC 8441): after a 2xx response, DATA is a byte stream.
        priority: what RFC 9218 calls this stream's priority; the writer goes by it.
        close_reason: why the stream is closed, or None while it is not.
        counted: does the stream table count it as concurrent?
    """

    stream_id: int
    inbound: InboundWindow
    outbound: OutboundWindow
    state: StreamState = StreamState.IDLE
    sending: MessageHalf = attrs.Factory(MessageHalf)
    receiving: MessageHalf = attrs.Factory(MessageHalf)
    request_method: bytes = b""
    authority: bytes = b""
    tunnel: bool = False
    priority: Priority = DEFAULT_PRIORITY
    close_reason: CloseReason | None = None
    counted: bool = False

    @property
    def closed(self) -> bool:
        """True once no more frames may be sent or are expected."""
        return self.state is StreamState.CLOSED

    @property
    def open(self) -> bool:
        """True in the states that count as concurrent (RFC 9113 section 5.1.2)."""
        return self.state in _COUNTED

    @property
    def reserved(self) -> bool:
        """True for a promised stream whose response has not begun."""
        return self.state in (StreamState.RESERVED_LOCAL, StreamState.RESERVED_REMOTE)

    @property
    def is_established_tunnel(self) -> bool:
        """True while this is a tunnel on which our side may send, or has sent, DATA."""
        return self.tunnel and not self.closed and self.sending.phase is not Phase.HEAD

    @property
    def discards_body(self) -> bool:
        """True while what is sent of a body is left out: the response to HEAD, and 304 (RFC 9110 section 6.4.1)."""
        half = self.sending
        return half.bodiless and not half.no_content and half.phase is Phase.BODY

    @property
    def can_send(self) -> bool:
        """True while this side has not ended its half."""
        return self.state in _CAN_SEND

    def receive(self, input_: Input) -> StreamFailure | ConnectionFailure | None:
        """Step for a received frame; the verdict if the state does not allow it."""
        target = TRANSITIONS[self.state].get(input_, Refusal.PROTOCOL_ERROR)
        if type(target) is StreamState:
            self.state = target
            return None
        reason = f"{input_.name} in state {self.state.name}"
        if target is Refusal.STREAM_CLOSED:
            return StreamFailure(self.stream_id, ErrorCodes.STREAM_CLOSED, reason)
        return ConnectionFailure(ErrorCodes.PROTOCOL_ERROR, reason)

    def send(self, input_: Input) -> None:
        """Step for a frame to be sent.

        Raises:
            StreamClosedError: this side of the stream has ended.
            ProtocolError: the frame has no place in this state.
        """
        target = TRANSITIONS[self.state].get(input_)
        if type(target) is StreamState:
            self.state = target
            return
        if self.state is StreamState.CLOSED or self.state is StreamState.HALF_CLOSED_LOCAL:
            raise StreamClosedError(self.stream_id, initiator="local")
        raise ProtocolError(
            f"{input_.name} in state {self.state.name}",
            scope="stream",
            initiator="local",
            stream_id=self.stream_id,
        )

    def check_body(self, count: int, *, end_stream: bool) -> None:
        """Hold octets to be sent against our own content-length, before they are.

        Raises:
            ProtocolError: the header section was not sent yet.
            InvalidBodyLengthError: they would be too many, or the end would come too early.
        """
        half = self.sending
        if half.phase is Phase.HEAD:
            raise ProtocolError(
                "a body before its header section",
                scope="stream",
                initiator="local",
                stream_id=self.stream_id,
            )
        expected = half.expected
        seen = half.seen + count
        if expected is not None and (seen > expected or (end_stream and seen != expected)):
            raise InvalidBodyLengthError(expected, seen, initiator="local", stream_id=self.stream_id)
