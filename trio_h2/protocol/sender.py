"""Every frame that we send of our own accord: each method changes the state and queues its frames in one step.

No method waits. What is queued is cut: it is sent, in this order. The sending methods raise, because here it is the
caller who is wrong; a call that raises has changed nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..codes import NEEDS_ANOTHER_PROTOCOL, ErrorCodes
from ..exceptions import (
    FlowControlError,
    InvalidBodyLengthError,
    NoAvailableStreamIDError,
    ProtocolError,
    StreamIDTooLowError,
    TooManyStreamsError,
)
from ..headers import trusted_headers
from .connection_state import ConnectionState
from .field_rules import Fields
from .frames import FRAME_HEADER_SIZE, PriorityFields
from .message_half import Phase
from .priority import Priority
from .request_rules import RequestHead
from .response_rules import WITHOUT_CONTENT, ResponseHead
from .stream_machine import CloseReason, Input, StreamMachine, StreamState
from .stream_table import MAX_STREAM_ID

__all__ = ["Sender"]

_ENDED = CloseReason.ENDED  # what every stream asks for is not looked up in its class
_RESPONDING = (StreamState.HALF_CLOSED_REMOTE, StreamState.OPEN)


class Sender:
    """The sending half of a connection.

    Attributes:
        state: the connection's; the others are parts of it that live as long.
        outbound: the connection's window.
        outbox: what is cut and waits to be taken.
        acknowledge: gives credit back for octets of a stream that the application took, or threw away.
        responses: how many final responses were begun, by status class: 2 is 2xx.
        take: gives what is cut, with the WINDOW_UPDATEs that are due, joined once; at most `amount` octets of it.
    """

    def __init__(self, state: ConnectionState) -> None:
        self.state = state
        self.client = state.client
        self.local_settings = state.local_settings
        self.remote_settings = state.remote_settings
        self.table = state.table
        self.outbound = state.outbound
        self.outbox = state.outbox
        self._tracer = state.tracer
        self._budgets = state.budgets
        self._credit = state.credit
        self.acknowledge = state.credit.acknowledge
        self.take = state.take
        self.responses: dict[int, int] = {}
        self._max_frame_size = state.config.max_outbound_frame_size
        self._abandoned_above = MAX_STREAM_ID

    # The connection

    def start(self, settings: Mapping[int, int]) -> None:
        """Queue a connection preface with these settings (3.4)."""
        if self.client:
            self.outbox.preface()
        self.update_settings(settings)

    def update_settings(self, values: Mapping[int, int]) -> None:
        """Queue a SETTINGS frame; it is in force when acknowledged. Raises InvalidSettingsValueError."""
        self.local_settings.submit(values)
        self.outbox.settings(list(values.items()))

    def ping(self, payload: bytes) -> None:
        """Queue a PING of 8 octets (6.7)."""
        self.state.ping(payload)

    def goaway(
        self,
        error_code: int = ErrorCodes.NO_ERROR,
        *,
        last_stream_id: int | None = None,
        additional_data: bytes = b"",
    ) -> None:
        """Queue a GOAWAY (6.8). Its last stream ID, by default the highest received, never grows again."""
        self.state.goaway(error_code, last_stream_id=last_stream_id, additional_data=additional_data)

    def announce_goaway(self) -> None:
        """Queue the first of a graceful shutdown's two GOAWAYs: every stream still counts (6.8)."""
        self.goaway(last_stream_id=MAX_STREAM_ID)

    def abandon_streams(self, last_stream_id: int) -> list[int]:
        """Close our own streams above the peer's GOAWAY, without a frame, and return their IDs (6.8).

        No stream of ours opens after a GOAWAY, so one that says nothing new costs nothing.
        """
        if last_stream_id >= self._abandoned_above:
            return []
        self._abandoned_above = last_stream_id
        abandoned = self.table.own_above(last_stream_id)
        for stream in abandoned:
            self.state.expect_late_data(stream)
            self.table.close(stream, CloseReason.ABANDONED)
        return [stream.stream_id for stream in abandoned]

    # Opening streams

    @property
    def can_open(self) -> bool:
        """Whether there is room for one more stream of ours now (5.1.2)."""
        return self.table.open_outbound < self.remote_settings.concurrent_streams

    def open_stream(
        self,
        fields: Fields,
        head: RequestHead,
        *,
        end_stream: bool,
        priority: PriorityFields | None = None,
        stream_id: int | None = None,
    ) -> StreamMachine:
        """Take the next stream ID, or a higher one that is given, and queue the request's HEADERS, in one step.

        Raises:
            StreamIDTooLowError: the given stream ID was used or passed over.
            ProtocolError: the peer sent GOAWAY.
            TooManyStreamsError: the peer's SETTINGS_MAX_CONCURRENT_STREAMS is reached.
            NoAvailableStreamIDError: every ID of ours is used.
            InvalidBodyLengthError: the stream would end with a content-length not met.
        """
        if self.state.remote_goaway is not None:  # first: who is told of the limit waits for it
            self._check_accepting()
        if not self.can_open:
            raise TooManyStreamsError("the peer's SETTINGS_MAX_CONCURRENT_STREAMS is reached", initiator="local")
        stream_id = self.next_stream_id() if stream_id is None else self._checked_stream_id(stream_id)
        stream = self.state.new_stream(stream_id)
        if end_stream:
            if head.content_length:
                raise InvalidBodyLengthError(head.content_length, 0, initiator="local", stream_id=stream_id)
            stream.send_whole_request(head)
        else:
            stream.begin_request(head, stream.sending)
            stream.send(Input.SEND_HEADERS)
        self.table.use(stream_id)
        self.table.add(stream)
        self.outbox.headers(stream_id, fields, end_stream=end_stream, priority=priority)
        return stream

    def promise(
        self, parent: StreamMachine, fields: Fields, head: RequestHead, *, stream_id: int | None = None
    ) -> StreamMachine:
        """Queue a PUSH_PROMISE on `parent` and reserve the promised stream (8.4.1); IDs as in `open_stream`.

        Raises:
            StreamIDTooLowError: the given stream ID was used or passed over.
            ProtocolError: the client does not take pushes, or this is the client, or `parent` is a tunnel (8.5).
            StreamClosedError: `parent` has ended.
            NoAvailableStreamIDError: every ID of ours is used.
        """
        self._check_promise(parent)
        stream_id = self.next_stream_id() if stream_id is None else self._checked_stream_id(stream_id)
        parent.send(Input.SEND_PUSH_PROMISE)
        stream = self.state.new_stream(stream_id)
        stream.promise_request(head, stream.receiving)
        stream.send(Input.SEND_PROMISED)
        self.table.use(stream_id)
        self.table.add(stream)
        self.outbox.push_promise(parent.stream_id, stream_id, fields)
        return stream

    def _check_promise(self, parent: StreamMachine) -> None:
        if self.client:
            raise ProtocolError("a client cannot push", initiator="local")
        if not self.remote_settings.enable_push:
            raise ProtocolError("the client has switched push off", initiator="local", scope="stream")
        if self.table.is_own(parent.stream_id):
            raise ProtocolError("a pushed stream cannot carry a promise (6.6)", initiator="local", scope="stream")
        if parent.tunnel and parent.sending.phase is Phase.BODY:
            raise ProtocolError("a tunnel cannot carry a promise (8.5)", initiator="local", scope="stream")
        self._check_accepting()

    def can_promise(self, parent: StreamMachine) -> bool:
        """Whether `promise` would go well now, and its response may begin some time."""
        if not self.remote_settings.enable_push:  # as of most clients; it takes no error to say so
            return False
        try:
            self._check_promise(parent)
            self.check_push_limit()
            self.next_stream_id()
        except ProtocolError:
            return False
        return parent.can_send

    def check_push_limit(self) -> None:
        """Raise ProtocolError if the client allows no pushed response at all, which may be for good (6.5.2)."""
        if self.remote_settings.max_concurrent_streams == 0:
            raise ProtocolError(
                "the client's SETTINGS_MAX_CONCURRENT_STREAMS is 0: it takes no pushed responses",
                initiator="local",
                scope="stream",
            )

    def _check_accepting(self) -> None:
        """The receiver of a GOAWAY opens no more streams (6.8)."""
        if self.state.remote_goaway is not None:
            better = self.state.remote_goaway.error_code not in NEEDS_ANOTHER_PROTOCOL
            raise ProtocolError("the peer sent GOAWAY", initiator="remote", safe_to_retry=better)

    def next_stream_id(self) -> int:
        """The ID our next stream gets. Raises NoAvailableStreamIDError when every one is used."""
        stream_id = self.table.next_own_id()
        if stream_id is None:
            raise NoAvailableStreamIDError("all stream IDs of this connection are used", initiator="local")
        return stream_id

    def _checked_stream_id(self, stream_id: int) -> int:
        if not 0 < stream_id <= MAX_STREAM_ID or not self.table.is_own(stream_id):
            raise ProtocolError(f"stream ID {stream_id} is not one that this side opens (5.1.1)", initiator="local")
        if not self.table.is_idle(stream_id):
            raise StreamIDTooLowError(stream_id, self.table.highest_outbound, initiator="local")
        return stream_id

    # Sending on a stream

    def send_response(self, stream: StreamMachine, fields: Fields, head: ResponseHead, *, end_stream: bool) -> None:
        """Queue a response's HEADERS: interim (1xx) ones first, then the final one.

        Raises:
            ProtocolError: a final response was sent already, or an interim one would end the stream.
            StreamClosedError: the stream has ended.
            InvalidBodyLengthError: the stream would end with a content-length not met.
            TooManyStreamsError: a pushed response, and the client's limit is reached.
        """
        if stream.sending.phase is not Phase.HEAD and stream.can_send:
            raise ProtocolError(
                f"stream {stream.stream_id} has been answered already with {stream.sending.status}",
                scope="stream",
                initiator="local",
                stream_id=stream.stream_id,
            )
        interim = head.is_informational
        if interim and end_stream:
            raise ProtocolError("a 1xx response cannot end the stream", scope="stream", initiator="local")
        bodiless = stream.request_method == b"HEAD" or head.status in WITHOUT_CONTENT
        length = 0 if bodiless else head.content_length
        if end_stream and length and not (stream.tunnel and head.status < 300):
            raise InvalidBodyLengthError(length, 0, initiator="local", stream_id=stream.stream_id)
        if stream.reserved and not self.can_open:
            raise TooManyStreamsError("the client's SETTINGS_MAX_CONCURRENT_STREAMS is reached", initiator="local")
        stream.send(Input.SEND_HEADERS)
        self.table.count(stream)
        self.outbox.headers(stream.stream_id, fields, end_stream=end_stream)
        if self._tracer is not None and self._tracer.wants_responses:
            self._tracer.response_began(stream.stream_id, head.status, trusted_headers(fields))
        if interim:
            return
        status_class = head.status // 100
        self.responses[status_class] = self.responses.get(status_class, 0) + 1
        stream.begin_response(head, stream.sending)
        if end_stream and stream.send_end():
            self.table.close(stream, _ENDED)

    def send_whole_response(
        self, stream: StreamMachine, fields: Fields, head: ResponseHead, body: bytes, trailers: Fields | None = None
    ) -> bool:
        """Queue HEADERS, all of the body in one DATA frame, and trailers if there are any; whether nothing forbade it.

        Most responses are like this. `send_response` and `send_data` look at every case by itself, and come to the
        same octets and the same state.
        """
        length = len(body)
        if (
            stream.sending.phase is not Phase.HEAD
            or stream.state not in _RESPONDING
            or stream.tunnel
            or head.content_length not in (None, length)
            or not 0 < length <= self.sendable(stream)
            or head.status in WITHOUT_CONTENT
            or head.status < 200
            or stream.request_method == b"HEAD"
        ):
            return False
        status_class = head.status // 100
        self.responses[status_class] = self.responses.get(status_class, 0) + 1
        self.outbound.consume(length)
        if trailers is None and (self._tracer is None or not self._tracer.wants_responses):
            self.outbox.whole_message(stream.stream_id, fields, body)
        else:
            self._queue_one_by_one(stream, fields, head, body, trailers)
        if stream.send_whole_response(head, length):
            self.table.close(stream, _ENDED)
        return True

    def _queue_one_by_one(
        self, stream: StreamMachine, fields: Fields, head: ResponseHead, body: bytes, trailers: Fields | None
    ) -> None:
        """Queue the frames of a whole response one by one: a Trace hears of the response between them."""
        self.outbox.headers(stream.stream_id, fields, end_stream=False)
        if self._tracer is not None and self._tracer.wants_responses:
            self._tracer.response_began(stream.stream_id, head.status, trusted_headers(fields))
        self.outbox.data(stream.stream_id, body, end_stream=trailers is None)
        if trailers is not None:
            self.outbox.headers(stream.stream_id, trailers, end_stream=True)

    def send_trailers(self, stream: StreamMachine, fields: Fields) -> None:
        """Queue a trailer section, which ends our half.

        Raises:
            ProtocolError: nothing is there to trail, or the stream is a tunnel (8.5).
            StreamClosedError: our half has ended.
            InvalidBodyLengthError: the content-length is not met.
        """
        if stream.tunnel and stream.can_send:
            raise ProtocolError("a tunnel cannot have trailers", scope="stream", initiator="local")
        if stream.can_send:
            stream.check_body(0, end_stream=True)
        stream.send(Input.SEND_HEADERS)
        self.outbox.headers(stream.stream_id, fields, end_stream=True)
        if stream.send_end():
            self.table.close(stream, _ENDED)

    @property
    def _frame_size(self) -> int:
        """Octets of DATA in one frame, at most."""
        return min(self.outbox.max_frame_size, self._max_frame_size)

    def sendable(self, stream: StreamMachine) -> int:
        """Octets of DATA that may be cut for this stream now, in one frame. Never negative."""
        count = min(
            stream.outbound.available,
            self.outbound.available,
            self.outbox.max_frame_size,
            self._max_frame_size,
        )
        return count if count > 0 else 0

    def sendable_at_once(self, stream: StreamMachine, room: int) -> int:
        """Octets of DATA that may be cut for this stream now, in frames that begin within `room` octets."""
        size = self._frame_size
        frames = -(-room // (size + FRAME_HEADER_SIZE))
        count = min(stream.outbound.available, self.outbound.available, frames * size)
        return count if count > 0 else 0

    def send_data(
        self,
        stream: StreamMachine,
        data: bytes | memoryview,
        *,
        end_stream: bool = False,
        pad_length: int | None = None,
    ) -> None:
        """Cut one DATA frame (6.1).

        Raises:
            StreamClosedError: our half has ended.
            ProtocolError: the header section was not sent yet.
            FlowControlError: a window has no room for it.
            InvalidBodyLengthError: content-length promises less, or more when this is the end.
        """
        length = len(data)
        stream.send_body(length, end_stream=end_stream)
        counted = length if pad_length is None else length + pad_length + 1
        if counted:
            room = min(stream.outbound.available, self.outbound.available)
            if counted > room:
                raise FlowControlError(
                    f"{counted} octets are more than the window", initiator="local", stream_id=stream.stream_id
                )
            self._budgets.count_data_sent(counted, room)
        stream.sending.count(length)
        stream.outbound.consume(counted)
        self.outbound.consume(counted)
        self.outbox.data(stream.stream_id, data, end_stream=end_stream, pad_length=pad_length)
        if end_stream and stream.send_end():
            self.table.close(stream, _ENDED)

    def send_whole(self, stream: StreamMachine, data: bytes | memoryview, *, end_stream: bool) -> bool:
        """The fast path of `sendable` and `send_data` for what both windows have room for: all its frames in one step.

        `data` is not empty, and nobody changes it. If there is no room for all of it, nothing is sent.

        Raises: as `send_data`.

        Returns: whether it was cut.
        """
        length = len(data)
        room = stream.outbound.available
        if room > self.outbound.available:
            room = self.outbound.available
        if length > room:
            return False
        stream.send_body(length, end_stream=end_stream)
        if length <= self.outbox.max_frame_size and length <= self._max_frame_size:
            self._budgets.count_data_sent(length, room)
            self.outbox.data(stream.stream_id, data, end_stream=end_stream)
        else:
            size = self._frame_size
            frames = self.outbox.data_frames(stream.stream_id, data, size, end_stream=end_stream)
            before = (frames - 1) * size
            # Each but the last leaves some of the window, so only that one can be what a small window squeezed out.
            self._budgets.count_data_sent(length - before, room - before, frames)
        stream.sending.count(length)
        stream.outbound.consume(length)
        self.outbound.consume(length)
        if end_stream and stream.send_end():
            self.table.close(stream, _ENDED)
        return True

    def end_stream(self, stream: StreamMachine) -> None:
        """End our half with an empty DATA frame, which needs no window (6.9.1). Raises as `send_data`."""
        self.send_data(stream, b"", end_stream=True)

    def reset_stream(self, stream: StreamMachine, error_code: int) -> bool:
        """Queue RST_STREAM unless the stream is closed (5.4.2); whether it was open."""
        if stream.closed:
            return False
        stream.send(Input.SEND_RST_STREAM)
        self.state.expect_late_data(stream)
        if self.state.failure is None:  # the GOAWAY of a connection error has ended every stream (5.4.1)
            self.outbox.rst_stream(stream.stream_id, error_code)
            self.state.count_reply()
        self.table.close(stream, CloseReason.RESET_LOCALLY)
        return True

    def update_priority(self, stream: StreamMachine, priority: Priority) -> None:
        """Queue a PRIORITY_UPDATE for a request of ours (RFC 9218 section 7.1)."""
        stream.prioritize(priority)
        self.outbox.priority_update(stream.stream_id, priority.encode())

    # Credit

    def grow_window(self, stream: StreamMachine | None, increment: int, *, regrant: bool = False) -> None:
        """Raise a stream's window, or the connection's, and tell the peer at once: `Credit.grow`."""
        self._credit.grow(stream, increment, regrant=regrant)
