"""HEADERS and DATA: the messages on streams (RFC 9113 section 8.1).

A frame on a stream that is not in the table is judged in one place, `_late`.
"""

from __future__ import annotations

from .. import events as ev
from ..codes import ErrorCodes
from ..exceptions import FlowControlError, StreamIDTooLowError
from .connection_state import ConnectionState
from .data_run import DataRun
from .field_rules import Malformed
from .field_section import FieldSection
from .frames import DataFrame, HeadersFrame
from .limits import Excess, InterimLimits, field_section_size
from .message_half import Phase
from .priority_receiver import PriorityReceiver, priority_event
from .request_rules import RequestHead
from .response_rules import ResponseHead
from .stream_machine import CloseReason, Input, StreamMachine
from .verdicts import IGNORE, ConnectionFailure, StreamFailure, Verdict, malformed, protocol_error

__all__ = ["OTHER", "MessageReceiver"]

METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"))
"""What requests are counted by: the methods of RFC 9110 section 9, and RFC 5789's."""

OTHER = b"_OTHER"

_ENDED = CloseReason.ENDED  # what every stream asks for is not looked up in its class


class MessageReceiver:
    """Requests, responses, bodies and trailers that are received.

    Args:
        state: the connection's.
        priorities: what is known of the priorities of requests that are still to come.

    Attributes:
        requests: how many came, by method; `OTHER` has those of other methods, and those that were too large to read.
        too_large: how many of them were answered with 431.
    """

    def __init__(self, state: ConnectionState, priorities: PriorityReceiver) -> None:
        self._state = state
        self._table = state.table
        self._credit = state.credit
        self._budgets = state.budgets
        self._priorities = priorities
        config = state.config
        self.requests: dict[bytes, int] = {}
        self.too_large = 0
        self._interim_limits = InterimLimits(config.max_interim_responses, config.max_interim_octets)

    def _late(self, stream_id: int, input_: Input) -> Verdict:
        """Judge HEADERS or DATA on a stream that is not in the table (RFC 9113 section 5.1)."""
        if self._state.ignores(stream_id):
            if self._table.is_idle(stream_id):
                self._state.expect_unseen_data()
            self._table.use(max(stream_id, self._table.highest_inbound))
            return IGNORE
        if self._table.is_idle(stream_id):
            return protocol_error(f"{input_.name} on idle stream {stream_id}")
        how = self._table.how_closed(stream_id)
        forgotten = how is None and self._table.is_own(stream_id)
        if forgotten or how is CloseReason.RESET_LOCALLY or how is CloseReason.ABANDONED:
            return IGNORE
        if input_ is Input.RECV_HEADERS and how is CloseReason.ENDED:
            return ConnectionFailure(ErrorCodes.STREAM_CLOSED, f"HEADERS on stream {stream_id}, which has ended")
        if input_ is Input.RECV_HEADERS and how is None:
            highest = self._table.highest_inbound
            reason = f"stream ID {stream_id} is not above {highest}, the highest one used (5.1.1)"
            return ConnectionFailure(ErrorCodes.PROTOCOL_ERROR, reason, StreamIDTooLowError, (stream_id, highest))
        return StreamFailure(stream_id, ErrorCodes.STREAM_CLOSED, f"{input_.name} on a closed stream")

    # DATA (6.1)

    def data(self, frame: DataFrame, events: list[ev.Event]) -> Verdict | None:
        """DATA (6.1)."""
        length = frame.flow_controlled_length
        if not self._credit.inbound.receive(length):
            reason = f"{length} octets of DATA are more than the connection's window"
            return ConnectionFailure(ErrorCodes.FLOW_CONTROL_ERROR, reason, FlowControlError)
        stream = self._table.get(frame.stream_id)
        if stream is None:
            self._credit.inbound.release(length)
            return self._late_data(frame)
        ended = failure = None
        if not frame.end_stream and 0 < length == len(frame.data) and stream.receive_more_data(length):
            pass  # most DATA
        elif frame.end_stream and length == len(frame.data) and stream.receive_last_data(length):
            if stream.closed:
                self._table.close(stream, _ENDED)
            ended = ev.StreamEnded(frame.stream_id)
        else:
            failure = self._accept_data(stream, frame)
            if failure is not None:
                self._credit.inbound.release(length)
                return failure
            if length > len(frame.data) and self._state.rules.return_padding:
                self._credit.acknowledge(stream, length - len(frame.data))
            if frame.end_stream:
                failure = self._end(stream)
                ended = ev.StreamEnded(frame.stream_id) if failure is None else None
            elif not frame.data:
                failure = self._budgets.count_control_frame()
        events.append(ev.DataReceived(frame.stream_id, frame.data, length, ended))
        if ended is not None:
            events.append(ended)
        if frame.data:
            self._budgets.count_data_received()
        return failure

    def data_run(self, run: DataRun, events: list[ev.Event]) -> tuple[bool, Verdict | None]:
        """The fast path of a body: take DATA frames that follow each other as one, if no rule is about one of them.

        Whether that is so, and if it is, what `data` says of all of them.
        """
        stream = self._table.get(run.stream_id)
        if stream is None or stream.receiving.phase is not Phase.BODY or not stream.receiving.has_room(run.size):
            return False, None
        if run.size > stream.inbound.available or run.size > self._credit.inbound.available:
            return False, None
        self._budgets.count_data_received(run.with_content - 1)
        return True, self.data(run.joined(), events)

    def _late_data(self, frame: DataFrame) -> Verdict | None:
        """DATA on a stream that is closed, or never was: nobody gets it."""
        verdict = self._late(frame.stream_id, Input.RECV_DATA)
        if verdict is not IGNORE:
            return verdict
        if not self._budgets.late_data.receive(frame.flow_controlled_length):
            reason = "DATA beyond what was left of the windows of streams that were reset"
            return ConnectionFailure(ErrorCodes.FLOW_CONTROL_ERROR, reason, FlowControlError)
        return None if frame.data else IGNORE

    def _accept_data(self, stream: StreamMachine, frame: DataFrame) -> Verdict | None:
        verdict = stream.receive(Input.RECV_DATA)
        if verdict is not None:
            return verdict
        half = stream.receiving
        if half.phase is Phase.HEAD:
            return malformed(stream.stream_id, "DATA before the header section")
        if not half.receive(len(frame.data)):
            return malformed(stream.stream_id, f"a body longer than its content-length of {half.expected}")
        # An empty frame needs no window (6.9.1), not even one that our SETTINGS made negative.
        length = frame.flow_controlled_length
        if length and not stream.inbound.receive(length):
            return StreamFailure(stream.stream_id, ErrorCodes.FLOW_CONTROL_ERROR, "DATA beyond the stream's window")
        return None

    def _end(self, stream: StreamMachine) -> Verdict | None:
        """END_STREAM (8.1.1): the body has to have the length it promised."""
        if stream.receiving.too_short:
            expected = stream.receiving.expected
            return malformed(
                stream.stream_id,
                f"a body of {stream.receiving.seen} octets, its content-length is {expected}",
            )
        if stream.receive_end():
            self._table.close(stream, _ENDED)
        return None

    # HEADERS (6.2)

    def headers(self, frame: HeadersFrame, events: list[ev.Event]) -> Verdict | None:
        """HEADERS (6.2)."""
        stream = self._table.get(frame.stream_id)
        if stream is None:
            state = self._state
            new = not state.client and self._table.is_new(frame.stream_id)
            if not new or (state.goaway_last_stream_id is not None and state.ignores(frame.stream_id)):
                return self._late(frame.stream_id, Input.RECV_HEADERS)
            return self._request(frame, events)
        if not frame.end_stream and frame.priority is None and self._plain_response(stream, frame.section, events):
            return None
        verdict = stream.receive(Input.RECV_HEADERS)
        if verdict is None and frame.priority is not None:
            verdict = self._priorities.judge(frame.stream_id, frame.priority)
        if verdict is not None:
            return verdict
        oversized = frame.section.oversized
        if oversized is not None:
            return oversized.on_stream(stream.stream_id)
        if stream.receiving.phase is Phase.HEAD:
            return self._response(stream, frame, events)
        return self._trailers(stream, frame, events)

    def _request(self, frame: HeadersFrame, events: list[ev.Event]) -> Verdict | None:
        """A request opens a stream (8.3.1)."""
        state = self._state
        stream_id = frame.stream_id
        self._table.use(stream_id)
        limit = state.local_settings.stream_limit
        if limit is not None and self._table.open_inbound >= limit:
            return self._refused(stream_id, f"more than {limit} concurrent streams", self._table.open_inbound)
        stream = state.new_stream(stream_id)
        if frame.end_stream and frame.priority is None and self._whole_request(stream, frame.section, events):
            return None
        stream.receive(Input.RECV_HEADERS)
        self._table.add(stream)
        if frame.priority is not None:
            failure = self._priorities.judge(stream_id, frame.priority)
            if failure is not None:
                return failure
        if frame.section.oversized is not None:
            return self._answer_431(stream, frame.end_stream, frame.section.oversized)
        head = frame.section.request(extended_connect=state.local_settings.extended_connect)
        if isinstance(head, Malformed):
            return malformed(stream_id, head.reason)
        excess = self._budgets.held_headers.hold(stream_id, frame.section.size)
        if excess is not None:
            if self._budgets.held_headers.never_fits(frame.section.size):
                return self._answer_431(stream, frame.end_stream, excess)
            return excess.on_stream(stream_id, ErrorCodes.REFUSED_STREAM, fault=False)
        stream.begin_request(head, stream.receiving)
        self._priorities.begin(stream, frame.section.priority)
        verdict = self._finish_headers(stream, frame, ev.RequestReceived, events)
        if verdict is None:
            self._count_request(head.method)
        return verdict

    def _whole_request(self, stream: StreamMachine, section: FieldSection, events: list[ev.Event]) -> bool:
        """The fast path of most requests: the header section is all of it, and all is well. If not, nothing is done.

        The rest of `_request` looks at every case by itself, and comes to the same events and the same state.
        """
        if section.oversized is not None:
            return False
        head = section.request(extended_connect=self._state.local_settings.extended_connect)
        if type(head) is not RequestHead or head.content_length:
            return False
        stream_id = stream.stream_id
        if self._budgets.held_headers.hold(stream_id, section.size) is not None:
            return False
        stream.receive_whole_request(head)
        self._table.add_request(stream)
        self._priorities.begin(stream, section.priority)
        ended = ev.StreamEnded(stream_id)
        events.append(ev.RequestReceived(stream_id, section.headers, ended))
        events.append(ended)
        self._count_request(head.method)
        return True

    def _count_request(self, method: bytes) -> None:
        if method not in METHODS:
            method = OTHER
        self.requests[method] = self.requests.get(method, 0) + 1

    def _refused(self, stream_id: int, reason: str, opened: int) -> StreamFailure:
        """One stream too many; the peer's fault if it has that many by the limit that it has acknowledged."""
        fault = opened >= self._state.local_settings.concurrent_streams
        return StreamFailure(stream_id, ErrorCodes.REFUSED_STREAM, reason, fault=fault)

    def _answer_431(self, stream: StreamMachine, end_stream: bool, excess: Excess) -> Verdict | None:
        """A request too large is answered, not broken off: 431, and no reading on (RFC 6585 section 5)."""
        state = self._state
        state.complain(stream.stream_id, excess.reason)
        self._budgets.count_limit(excess.limit)
        self._count_request(OTHER)
        self.too_large += 1
        state.outbox.headers(stream.stream_id, [(b":status", b"431")], end_stream=True)
        if not end_stream:
            state.expect_unseen_data()
            state.outbox.rst_stream(stream.stream_id, ErrorCodes.NO_ERROR)
        state.count_reply()
        self._table.close(stream, CloseReason.ENDED if end_stream else CloseReason.RESET_LOCALLY)
        return self._budgets.count_stream_error()

    def _plain_response(self, stream: StreamMachine, section: FieldSection, events: list[ev.Event]) -> bool:
        """The fast path of most responses: a final header section that its body follows. If not, nothing is done.

        The rest of `headers` looks at every case by itself, and comes to the same events and the same state.
        """
        if section.oversized is not None or not stream.only_waits:
            return False
        head = section.response(to_connect=False)
        if type(head) is not ResponseHead or head.status < 200:
            return False
        if self._budgets.held_headers.hold(stream.stream_id, section.size) is not None:
            return False
        stream.begin_response(head, stream.receiving)  # no step: the state stays as it is
        events.append(ev.ResponseReceived(stream.stream_id, section.headers))
        return True

    def _response(self, stream: StreamMachine, frame: HeadersFrame, events: list[ev.Event]) -> Verdict | None:
        """A response, interim or final (8.3.2)."""
        if not stream.counted and not self._may_open_push(stream):
            opened = self._table.open_inbound - 1
            return self._refused(stream.stream_id, "more pushes than we allow at once", opened)
        head = frame.section.response(to_connect=stream.tunnel)
        if isinstance(head, Malformed):
            return malformed(stream.stream_id, head.reason)
        section = frame.section
        interim = head.is_informational
        if interim:
            if frame.end_stream:
                return malformed(stream.stream_id, f"a {head.status} response that ends the stream")
            half = stream.receiving
            half.count_interim(field_section_size(section.fields))
            excess = self._interim_limits.exceeded(half.interim, half.interim_octets)
            if excess is not None:
                return excess.on_stream(stream.stream_id)
        excess = self._budgets.held_headers.hold(stream.stream_id, section.size)
        if excess is not None:
            return excess.on_stream(stream.stream_id, fault=False)
        if interim:
            priority = None if frame.priority is None else priority_event(frame.stream_id, frame.priority)
            events.append(ev.InformationalResponseReceived(stream.stream_id, section.headers, priority))
            if priority is not None:
                events.append(priority)
            return None
        stream.begin_response(head, stream.receiving)
        return self._finish_headers(stream, frame, ev.ResponseReceived, events)

    def _may_open_push(self, stream: StreamMachine) -> bool:
        """A promised stream counts from its first HEADERS on (5.1.2). A limit lowered later is no reason to end it."""
        self._table.count(stream)
        limit = self._state.local_settings.stream_limit
        return limit is None or self._table.open_inbound <= limit

    def _trailers(self, stream: StreamMachine, frame: HeadersFrame, events: list[ev.Event]) -> Verdict | None:
        """A second header section: trailers, and the end (8.1)."""
        if stream.tunnel:
            return malformed(stream.stream_id, "HEADERS on a tunnel (8.5)")
        if not frame.end_stream:
            return malformed(stream.stream_id, "a second header section that does not end the stream")
        problem = frame.section.trailers()
        if problem is not None:
            return malformed(stream.stream_id, problem.reason)
        excess = self._budgets.held_headers.hold(stream.stream_id, frame.section.size)
        if excess is not None:
            return excess.on_stream(stream.stream_id, fault=False)
        return self._finish_headers(stream, frame, ev.TrailersReceived, events)

    def _finish_headers(
        self,
        stream: StreamMachine,
        frame: HeadersFrame,
        kind: type[ev.RequestReceived | ev.ResponseReceived | ev.TrailersReceived],
        events: list[ev.Event],
    ) -> Verdict | None:
        """The section is good. It is an event of this kind, if what it ends is good, too."""
        ended = failure = None
        if frame.end_stream:
            failure = self._end(stream)
            if failure is None:
                ended = ev.StreamEnded(stream.stream_id)
            elif kind is ev.RequestReceived:
                # A request is whole or none; what came of a response can be read, as a last DATA frame's octets can.
                self._budgets.held_headers.release(stream.stream_id)
                return failure
        priority = None if frame.priority is None else priority_event(frame.stream_id, frame.priority)
        events.append(kind(stream.stream_id, frame.section.headers, ended, priority))
        if priority is not None:
            events.append(priority)
        if ended is not None:
            events.append(ended)
        return failure
