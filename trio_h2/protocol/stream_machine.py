"""One stream's state (RFC 9113 section 5.1), from either side, and the message in each of its directions (8.1).

All state changes of a stream are here, and no role is: `TRANSITIONS` is the whole of figure 2 and the prose under it,
in one table that does not know whether it belongs to a client or a server. What was sent is `SEND_*`, what was
received is `RECV_*`. A cell is the next state, or a `Refusal` that says how bad it was. A cell that is missing is what
5.1 says of everything not expressly permitted: a connection error of type PROTOCOL_ERROR when it was received, the
caller's mistake when it was to be sent.

A stream that is closed leaves the stream table at once, so `CLOSED` has few cells here; how a late frame on a closed
stream is judged depends on why it closed, and is in the parts of `protocol/receiver.py`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from ..codes import ErrorCodes
from ..exceptions import InvalidBodyLengthError, ProtocolError, StreamClosedError
from .message_half import MessageHalf, Phase
from .priority import DEFAULT_PRIORITY, Priority
from .request_rules import RequestHead
from .response_rules import WITHOUT_CONTENT, ResponseHead
from .verdicts import ConnectionFailure, StreamFailure
from .windows import InboundWindow, OutboundWindow

__all__ = [
    "TRANSITIONS",
    "CloseReason",
    "Input",
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


# What every frame asks for, by names of their own: to look one up in its class takes CPython 3.11 longer than its use.
_OPEN = StreamState.OPEN
_HALF_CLOSED_LOCAL = StreamState.HALF_CLOSED_LOCAL
_HALF_CLOSED_REMOTE = StreamState.HALF_CLOSED_REMOTE
_CLOSED = StreamState.CLOSED
_SEND_END_STREAM = Input.SEND_END_STREAM
_RECV_END_STREAM = Input.RECV_END_STREAM
_NOT_PERMITTED = Refusal.PROTOCOL_ERROR
_HEAD, _BODY, _DONE = Phase


class StreamMachine:
    """One stream: its state, both windows, and the message in each direction.

    Attributes:
        request_method: the method of the request on this stream; it decides whether the response has a body.
        authority: the authority the request named; an ALTSVC frame on this stream, or a push, is about it.
        tunnel: Whether this is CONNECT (RFC 9113 section 8.5, RFC 8441): after a 2xx response, DATA is a byte stream.
        priority: what RFC 9218 calls this stream's priority; the writer goes by it.
        close_reason: why the stream is closed, or None while it is not.
        counted: Whether the stream table counts it as concurrent.
    """

    __slots__ = (
        "authority",
        "close_reason",
        "counted",
        "inbound",
        "outbound",
        "priority",
        "receiving",
        "request_method",
        "sending",
        "state",
        "stream_id",
        "tunnel",
    )

    def __init__(
        self, stream_id: int, inbound: InboundWindow, outbound: OutboundWindow, state: StreamState = StreamState.IDLE
    ) -> None:
        self.stream_id = stream_id
        self.inbound = inbound
        self.outbound = outbound
        self.state = state
        self.sending = MessageHalf()
        self.receiving = MessageHalf()
        self.request_method = b""
        self.authority = b""
        self.tunnel = False
        self.priority = DEFAULT_PRIORITY
        self.close_reason: CloseReason | None = None
        self.counted = False

    @property
    def closed(self) -> bool:
        """Whether no more frames may be sent or are expected."""
        return self.state is _CLOSED

    @property
    def open(self) -> bool:
        """Whether it is in one of the states that count as concurrent (RFC 9113 section 5.1.2)."""
        return self.state in _COUNTED

    @property
    def reserved(self) -> bool:
        """Whether it is a promised stream whose response has not begun."""
        return self.state in (StreamState.RESERVED_LOCAL, StreamState.RESERVED_REMOTE)

    @property
    def is_established_tunnel(self) -> bool:
        """Whether this is a tunnel on which our side may send, or has sent, DATA."""
        return self.tunnel and not self.closed and self.sending.phase is not _HEAD

    @property
    def discards_body(self) -> bool:
        """Whether what is sent of a body is left out: the response to HEAD, and 304 (RFC 9110 section 6.4.1)."""
        half = self.sending
        return half.bodiless and not half.no_content and half.phase is _BODY

    @property
    def can_send(self) -> bool:
        """Whether this side has not ended its half."""
        return self.state in _CAN_SEND

    # Its beginning

    def begin_request(self, head: RequestHead, half: MessageHalf) -> None:
        """A request opens the stream, in this half of it; its body follows."""
        self.request_method = head.method
        self.authority = head.authority or b""
        self.tunnel = head.method == b"CONNECT"
        half.begin(head.content_length)

    def receive_whole_request(self, head: RequestHead) -> None:
        """The fast path of most requests: HEADERS with END_STREAM on a stream that was idle, all steps in one.

        The caller has looked that the body may be empty, and counts the stream as concurrent.
        """
        self.state = _HALF_CLOSED_REMOTE
        self.request_method = head.method
        self.authority = head.authority or b""
        self.tunnel = head.method == b"CONNECT"
        self.counted = True
        self.receiving.be_whole(head.content_length)

    def send_whole_request(self, head: RequestHead) -> None:
        """Step for HEADERS with END_STREAM on a stream that was idle; the caller has looked that it needs no body."""
        self.state = _HALF_CLOSED_LOCAL
        self.request_method = head.method
        self.authority = head.authority or b""
        self.tunnel = head.method == b"CONNECT"
        self.sending.be_whole(head.content_length)

    def promise_request(self, head: RequestHead, half: MessageHalf) -> None:
        """The stream is promised for this request, which has no body (RFC 9113 section 8.4); `half` would have it."""
        self.begin_request(head, half)
        half.end()

    def adopt_upgraded(self, *, client: bool) -> None:
        """The stream is what HTTP/1.1's upgrade made: its request is complete (RFC 7540 section 3.2)."""
        half = self.sending if client else self.receiving
        half.begin(None)
        half.end()
        self.state = StreamState.HALF_CLOSED_LOCAL if client else StreamState.HALF_CLOSED_REMOTE

    def begin_response(self, head: ResponseHead, half: MessageHalf) -> None:
        """A final response's header section is there: what does its body look like (RFC 9110 section 6.4.1)?"""
        status = head.status
        if self.tunnel and 200 <= status < 300:
            half.begin(None, status=status)
            return
        self.tunnel = False
        bodiless = self.request_method == b"HEAD" or status in WITHOUT_CONTENT
        half.begin(head.content_length, status=status, bodiless=bodiless, no_content=status == 204)

    @property
    def only_waits(self) -> bool:
        """Whether it is as most are when a response comes: the request is whole, no tunnel, and nothing has come."""
        return self.state is _HALF_CLOSED_LOCAL and self.receiving.phase is _HEAD and self.counted and not self.tunnel

    def prioritize(self, priority: Priority) -> None:
        """The client said, or we as the client say, how urgent the response is (RFC 9218)."""
        self.priority = priority

    def count(self) -> bool:
        """Be counted as concurrent from now on, if the state says so; whether that is new."""
        if self.counted or self.state not in _COUNTED:
            return False
        self.counted = True
        return True

    # Its steps

    def receive(self, input_: Input) -> StreamFailure | ConnectionFailure | None:
        """Step for a received frame; the verdict if the state does not allow it."""
        target = TRANSITIONS[self.state].get(input_, _NOT_PERMITTED)
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
        if self.state is _CLOSED or self.state is _HALF_CLOSED_LOCAL:
            raise StreamClosedError(self.stream_id, initiator="local")
        raise ProtocolError(
            f"{input_.name} in state {self.state.name}",
            scope="stream",
            initiator="local",
            stream_id=self.stream_id,
        )

    def send_whole_response(self, head: ResponseHead, length: int) -> bool:
        """The fast path of most responses: a header section, one DATA frame and the end, all steps in one.

        The caller has looked that each is allowed. Whether the stream is closed by it.
        """
        self.sending.be_whole(head.content_length, length, head.status)
        self.outbound.consume(length)
        if self.state is _HALF_CLOSED_REMOTE:
            self.state = _CLOSED
            return True
        self.state = _HALF_CLOSED_LOCAL
        return False

    def receive_more_data(self, octets: int) -> bool:
        """The fast path of most DATA: in the middle of a body of no promised length, with room in the window.

        If it is not like that, nothing is done. The state stays as it is.
        """
        half, state = self.receiving, self.state
        if (state is not _OPEN and state is not _HALF_CLOSED_LOCAL) or half.phase is not _BODY:
            return False
        if half.expected is not None or not self.inbound.receive(octets):
            return False
        half.count(octets)
        return True

    def receive_last_data(self, octets: int) -> bool:
        """The fast path of most ends: DATA with END_STREAM and no padding, all steps in one. If not, nothing is done.

        Whether the stream is in the middle of that body, and no rule speaks against so many more octets, and the end.
        """
        half, state = self.receiving, self.state
        if (state is not _HALF_CLOSED_LOCAL and state is not _OPEN) or half.phase is not _BODY:
            return False
        if octets and octets > self.inbound.available:
            return False
        if not half.finish(octets):
            return False
        if octets:
            self.inbound.receive(octets)
        self.state = _CLOSED if state is _HALF_CLOSED_LOCAL else _HALF_CLOSED_REMOTE
        return True

    def receive_end(self) -> bool:
        """Step for END_STREAM, which the state allows where its frame was; whether the stream is closed by it."""
        self.receive(_RECV_END_STREAM)
        self.receiving.end()
        return self.state is _CLOSED

    def send_end(self) -> bool:
        """Step for END_STREAM to be sent; whether the stream is closed by it."""
        self.send(_SEND_END_STREAM)
        self.sending.end()
        return self.state is _CLOSED

    def close(self, reason: CloseReason) -> bool:
        """Be closed, for this reason; whether it counted as concurrent until now."""
        counted, self.counted = self.counted, False
        self.state = _CLOSED
        self.close_reason = reason
        return counted

    def send_body(self, count: int, *, end_stream: bool) -> None:
        """Step for DATA to be sent with so much content, which `sending.count` counts when it is.

        Raises: as `send` and `check_body`.
        """
        half = self.sending
        if half.expected is None and half.phase is _BODY and self.state is _OPEN:
            return  # as most: no length was promised, and the state stays as it is
        if self.state in _CAN_SEND:
            self.check_body(count, end_stream=end_stream)
        self.send(Input.SEND_DATA)

    def check_body(self, count: int, *, end_stream: bool) -> None:
        """Hold octets to be sent against our own content-length, before they are.

        Raises:
            ProtocolError: the header section was not sent yet.
            InvalidBodyLengthError: they would be too many, or the end would come too early.
        """
        half = self.sending
        if half.phase is _HEAD:
            raise ProtocolError(
                "a body cannot be sent before its header section: send that first",
                scope="stream",
                initiator="local",
                stream_id=self.stream_id,
            )
        expected = half.expected
        seen = half.seen + count
        if expected is not None and (seen > expected or (end_stream and seen != expected)):
            raise InvalidBodyLengthError(expected, seen, initiator="local", stream_id=self.stream_id)
