"""Which verdict for which frame: what every received frame does to a connection, and what it may not do.

`Receiver` has one method for each frame type. It changes the state of its `ConnectionMachine`, appends events for
the user, queues the answers the RFC wants at once (acknowledgements), and returns None or a verdict. A frame on a
stream that is not in the table is judged in one place, `_late`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import events as ev
from ..codes import ErrorCodes, SettingCodes, error_code_from_int
from ..exceptions import (
    FlowControlError,
    StreamIDTooLowError,
    UnsupportedFrameError,
    shown,
)
from . import frames
from .field_rules import Malformed
from .field_section import FieldSection
from .limits import MAX_EARLY_PRIORITIES, MAX_PRIORITY_OCTETS, Excess, InterimLimits, field_section_size
from .priority import Priority, priority_untrusted
from .settings import ChangedSetting
from .stream_machine import CloseReason, Input, Phase, StreamMachine, StreamState
from .verdicts import IGNORE, ConnectionFailure, Ignore, StreamFailure, Verdict

if TYPE_CHECKING:
    from .connection_machine import ConnectionMachine

__all__ = ["Receiver"]

Events = list[ev.Event]

# RFC 9110 section 9.2: what may be pushed has to be safe and cacheable (RFC 9113 section 8.4).
_PUSHABLE_METHODS = (b"GET", b"HEAD")


def _malformed(stream_id: int, reason: str) -> StreamFailure:
    return StreamFailure(stream_id, ErrorCodes.PROTOCOL_ERROR, reason)


def _protocol_error(reason: str) -> ConnectionFailure:
    return ConnectionFailure(ErrorCodes.PROTOCOL_ERROR, reason)


class Receiver:
    """The receiving half of a ConnectionMachine.

    Attributes:
        data_frames: DATA frames with content that were received so far.
    """

    def __init__(self, machine: ConnectionMachine) -> None:
        self._machine = machine
        self._table = machine.table
        self.data_frames = 0
        config = machine.config
        self._interim_limits = InterimLimits(config.max_interim_responses, config.max_interim_octets)
        # Priorities for requests that have not arrived (RFC 9218 section 7.1), in bounded number; and a heap of their
        # IDs, in which those that have arrived, or never will, come first.
        self._early_priorities: dict[int, Priority] = {}
        self._early_ids: list[int] = []
        self._methods: dict[type, Callable[[Any, Events], Verdict | None]] = {
            frames.DataFrame: self._data,
            frames.HeadersFrame: self._headers,
            frames.PriorityFrame: self._priority,
            frames.RstStreamFrame: self._rst_stream,
            frames.SettingsFrame: self._settings,
            frames.PushPromiseFrame: self._push_promise,
            frames.PingFrame: self._ping,
            frames.GoAwayFrame: self._goaway,
            frames.WindowUpdateFrame: self._window_update,
            frames.AltSvcFrame: self._altsvc,
            frames.OriginFrame: self._origin,
            frames.PriorityUpdateFrame: self._priority_update,
            frames.UnknownFrame: self._unknown,
            Ignore: lambda verdict, events: verdict,
            StreamFailure: lambda verdict, events: verdict,
            ConnectionFailure: lambda verdict, events: verdict,
        }

    def receive(self, frame: frames.Frame | Verdict, events: Events) -> Verdict | None:
        """Do what `frame` says; append what the user should know; the verdict if it should not have come."""
        return self._methods[type(frame)](frame, events)

    def _late(self, stream_id: int, input_: Input) -> Verdict:
        """Judge HEADERS or DATA on a stream that is not in the table (RFC 9113 section 5.1)."""
        if self._machine.ignores(stream_id):
            if self._table.is_idle(stream_id):
                self._machine.expect_unseen_data()
            self._table.use(max(stream_id, self._table.highest_inbound))
            return IGNORE
        if self._table.is_idle(stream_id):
            return _protocol_error(f"{input_.name} on idle stream {stream_id}")
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

    def _data(self, frame: frames.DataFrame, events: Events) -> Verdict | None:
        length = frame.flow_controlled_length
        machine = self._machine
        if not machine.inbound.receive(length):
            reason = f"{length} octets of DATA are more than the connection's window"
            return ConnectionFailure(ErrorCodes.FLOW_CONTROL_ERROR, reason, FlowControlError)
        stream = self._table.get(frame.stream_id)
        if stream is None:
            machine.release_connection(length)
            return self._late_data(frame)
        verdict = self._accept_data(stream, frame)
        if verdict is not None:
            machine.release_connection(length)
            return verdict
        if length > len(frame.data) and machine.rules.return_padding:
            machine.acknowledge(stream, length - len(frame.data))
        event = ev.DataReceived(frame.stream_id, frame.data, length)
        events.append(event)
        if frame.data:
            self.data_frames += 1
        if not frame.end_stream:
            return None if frame.data else machine.count_control_frame()
        failure = self._end(stream)
        if failure is None:
            event.stream_ended = ev.StreamEnded(frame.stream_id)
            events.append(event.stream_ended)
        return failure

    def _late_data(self, frame: frames.DataFrame) -> Verdict | None:
        """DATA on a stream that is closed, or never was: nobody gets it."""
        verdict = self._late(frame.stream_id, Input.RECV_DATA)
        if verdict is not IGNORE:
            return verdict
        if not self._machine.late_data.receive(frame.flow_controlled_length):
            reason = "DATA beyond what was left of the windows of streams that were reset"
            return ConnectionFailure(ErrorCodes.FLOW_CONTROL_ERROR, reason, FlowControlError)
        return None if frame.data else IGNORE

    def _accept_data(self, stream: StreamMachine, frame: frames.DataFrame) -> Verdict | None:
        verdict = stream.receive(Input.RECV_DATA)
        if verdict is not None:
            return verdict
        half = stream.receiving
        if half.phase is Phase.HEAD:
            return _malformed(stream.stream_id, "DATA before the header section")
        if half.too_long(len(frame.data)):
            return _malformed(stream.stream_id, f"a body longer than its content-length of {half.expected}")
        # An empty frame needs no window (6.9.1), not even one that our SETTINGS made negative.
        length = frame.flow_controlled_length
        if length and not stream.inbound.receive(length):
            return StreamFailure(stream.stream_id, ErrorCodes.FLOW_CONTROL_ERROR, "DATA beyond the stream's window")
        half.seen += len(frame.data)
        return None

    def _end(self, stream: StreamMachine) -> Verdict | None:
        """END_STREAM (8.1.1): the body has to have the length it promised."""
        if stream.receiving.too_short:
            expected = stream.receiving.expected
            return _malformed(
                stream.stream_id,
                f"a body of {stream.receiving.seen} octets, its content-length is {expected}",
            )
        stream.receive(Input.RECV_END_STREAM)
        stream.receiving.phase = Phase.DONE
        if stream.closed:
            self._table.close(stream, CloseReason.ENDED)
        return None

    # HEADERS (6.2)

    def _headers(self, frame: frames.HeadersFrame, events: Events) -> Verdict | None:
        stream = self._table.get(frame.stream_id)
        if stream is None:
            if (
                self._machine.client
                or self._table.is_own(frame.stream_id)
                or not self._table.is_idle(frame.stream_id)
                or self._machine.ignores(frame.stream_id)
            ):
                return self._late(frame.stream_id, Input.RECV_HEADERS)
            return self._request(frame, events)
        verdict = stream.receive(Input.RECV_HEADERS) or self._self_dependent(frame)
        if verdict is not None:
            return verdict
        oversized = frame.section.oversized
        if oversized is not None:
            return oversized.on_stream(stream.stream_id)
        if stream.receiving.phase is Phase.HEAD:
            return self._response(stream, frame, events)
        return self._trailers(stream, frame, events)

    def _self_dependent(self, frame: frames.HeadersFrame) -> StreamFailure | None:
        if frame.priority is None:
            return None
        return self._judge_dependency(frame.stream_id, frame.priority)

    def _judge_dependency(self, stream_id: int, priority: frames.PriorityFields) -> StreamFailure | None:
        """RFC 7540 section 5.3.1; a peer that switched these signals off cannot get them wrong (RFC 9218, 2.1)."""
        if priority.depends_on != stream_id or self._machine.remote_settings.get(SettingCodes.NO_RFC7540_PRIORITIES):
            return None
        return _malformed(stream_id, "a stream that depends on itself (RFC 7540 section 5.3.1)")

    def _request(self, frame: frames.HeadersFrame, events: Events) -> Verdict | None:
        """A request opens a stream (8.3.1)."""
        machine = self._machine
        stream_id = frame.stream_id
        self._table.use(stream_id)
        limit = machine.local_settings.announced(SettingCodes.MAX_CONCURRENT_STREAMS)
        if limit is not None and self._table.open_inbound >= limit:
            return self._refused(stream_id, f"more than {limit} concurrent streams", self._table.open_inbound)
        stream = machine.new_stream(stream_id)
        stream.receive(Input.RECV_HEADERS)
        self._table.add(stream)
        self._table.count(stream)
        failure = self._self_dependent(frame)
        if failure is not None:
            return failure
        if frame.section.oversized is not None:
            return self._answer_431(stream, frame.end_stream, frame.section.oversized)
        connect_protocol = machine.local_settings.enable_connect_protocol
        head = frame.section.request(extended_connect=bool(connect_protocol))
        if isinstance(head, Malformed):
            return _malformed(stream_id, head.reason)
        excess = machine.held_headers.hold(stream_id, frame.section.size)
        if excess is not None:
            if machine.held_headers.never_fits(frame.section.size):
                return self._answer_431(stream, frame.end_stream, excess)
            return excess.on_stream(stream_id, ErrorCodes.REFUSED_STREAM, fault=False)
        stream.request_method = head.method
        stream.authority = head.authority or b""
        stream.tunnel = head.is_tunnel
        self._set_priority(stream, frame.section)
        stream.receiving.begin(None if head.is_tunnel else head.content_length)
        event = ev.RequestReceived(stream_id, frame.section.headers)
        return self._finish_headers(stream, frame, event, events)

    def _refused(self, stream_id: int, reason: str, opened: int) -> StreamFailure:
        """One stream too many; the peer's fault if it has that many by the limit that it has acknowledged."""
        fault = opened >= self._machine.local_settings.max_concurrent_streams
        return StreamFailure(stream_id, ErrorCodes.REFUSED_STREAM, reason, fault=fault)

    def _answer_431(self, stream: StreamMachine, end_stream: bool, excess: Excess) -> Verdict | None:
        """A request too large is answered, not broken off: 431, and no reading on (RFC 6585 section 5)."""
        machine = self._machine
        machine.complain(stream.stream_id, excess.reason)
        machine.count_limit(excess.limit)
        machine.outbox.headers(stream.stream_id, [(b":status", b"431")], end_stream=True)
        if not end_stream:
            machine.expect_unseen_data()
            machine.outbox.rst_stream(stream.stream_id, ErrorCodes.NO_ERROR)
        machine.count_reply()
        self._table.close(stream, CloseReason.ENDED if end_stream else CloseReason.RESET_LOCALLY)
        return machine.count_stream_error()

    def _set_priority(self, stream: StreamMachine, section: FieldSection) -> None:
        """RFC 9218: a PRIORITY_UPDATE that came first wins over the header field (section 7)."""
        early = self._early_priorities.pop(stream.stream_id, None)
        if early is not None:
            stream.priority = early
        elif (value := section.priority) is not None:
            stream.priority = priority_untrusted(value)

    def _response(self, stream: StreamMachine, frame: frames.HeadersFrame, events: Events) -> Verdict | None:
        """A response, interim or final (8.3.2)."""
        if not stream.counted and not self._may_open_push(stream):
            opened = self._table.open_inbound - 1
            return self._refused(stream.stream_id, "more pushes than we allow at once", opened)
        head = frame.section.response(to_connect=stream.tunnel)
        if isinstance(head, Malformed):
            return _malformed(stream.stream_id, head.reason)
        section = frame.section
        interim = head.is_informational
        if interim:
            if frame.end_stream:
                return _malformed(stream.stream_id, f"a {head.status} response that ends the stream")
            half = stream.receiving
            half.interim += 1
            half.interim_octets += field_section_size(section.fields)
            excess = self._interim_limits.exceeded(half.interim, half.interim_octets)
            if excess is not None:
                return excess.on_stream(stream.stream_id)
        excess = self._machine.held_headers.hold(stream.stream_id, section.size)
        if excess is not None:
            return excess.on_stream(stream.stream_id, fault=False)
        if interim:
            event = ev.InformationalResponseReceived(stream.stream_id, section.headers)
            self._note_priority(event, frame, events)
            return None
        self._machine.begin_response(stream, stream.receiving, head)
        return self._finish_headers(stream, frame, ev.ResponseReceived(stream.stream_id, section.headers), events)

    def _may_open_push(self, stream: StreamMachine) -> bool:
        """A promised stream counts from its first HEADERS on (5.1.2). A limit lowered later is no reason to end it."""
        self._table.count(stream)
        limit = self._machine.local_settings.announced(SettingCodes.MAX_CONCURRENT_STREAMS)
        return limit is None or self._table.open_inbound <= limit

    def _trailers(self, stream: StreamMachine, frame: frames.HeadersFrame, events: Events) -> Verdict | None:
        """A second header section: trailers, and the end (8.1)."""
        if stream.tunnel:
            return _malformed(stream.stream_id, "HEADERS on a tunnel (8.5)")
        if not frame.end_stream:
            return _malformed(stream.stream_id, "a second header section that does not end the stream")
        malformed = frame.section.trailers()
        if malformed is not None:
            return _malformed(stream.stream_id, malformed.reason)
        excess = self._machine.held_headers.hold(stream.stream_id, frame.section.size)
        if excess is not None:
            return excess.on_stream(stream.stream_id, fault=False)
        event = ev.TrailersReceived(stream.stream_id, frame.section.headers)
        return self._finish_headers(stream, frame, event, events)

    def _finish_headers(
        self,
        stream: StreamMachine,
        frame: frames.HeadersFrame,
        event: ev.RequestReceived | ev.ResponseReceived | ev.TrailersReceived,
        events: Events,
    ) -> Verdict | None:
        if not frame.end_stream:
            self._note_priority(event, frame, events)
            return None
        failure = self._end(stream)
        if failure is not None:
            # What came of a response can be read, as the octets of a last DATA frame can; a request is whole or none.
            if isinstance(event, ev.RequestReceived):
                self._machine.held_headers.release(stream.stream_id)
            else:
                self._note_priority(event, frame, events)
            return failure
        event.stream_ended = ev.StreamEnded(stream.stream_id)
        self._note_priority(event, frame, events)
        events.append(event.stream_ended)
        return None

    @staticmethod
    def _note_priority(
        event: ev.RequestReceived | ev.ResponseReceived | ev.TrailersReceived | ev.InformationalResponseReceived,
        frame: frames.HeadersFrame,
        events: Events,
    ) -> None:
        events.append(event)
        if frame.priority is not None:
            event.priority_updated = _priority_event(frame.stream_id, frame.priority)
            events.append(event.priority_updated)

    # PUSH_PROMISE (6.6)

    def _push_promise(self, frame: frames.PushPromiseFrame, events: Events) -> Verdict | None:
        machine = self._machine
        if not machine.client:
            return ConnectionFailure(
                ErrorCodes.PROTOCOL_ERROR, "a client sent PUSH_PROMISE (8.4)", UnsupportedFrameError
            )
        if not machine.local_settings.enable_push:
            return _protocol_error("PUSH_PROMISE, and push is switched off (8.4)")
        if not self._table.is_own(frame.stream_id):
            return _protocol_error(f"PUSH_PROMISE on stream {frame.stream_id}, which is not ours")
        parent = self._table.get(frame.stream_id)
        refusal = None if parent is None else self._refuse_promise(parent)
        if isinstance(refusal, ConnectionFailure):
            return refusal
        how = self._table.how_closed(frame.stream_id)
        if parent is None and how not in (CloseReason.RESET_LOCALLY, CloseReason.ABANDONED):
            return _protocol_error(f"PUSH_PROMISE on stream {frame.stream_id}, which is not open")
        promised = frame.promised_stream_id
        if self._table.is_own(promised) or promised == 0 or not self._table.is_idle(promised):
            return _protocol_error(f"stream ID {promised} cannot be promised (5.1.1)")
        self._table.use(promised)
        if machine.ignores(promised):
            machine.expect_unseen_data()
            return IGNORE
        if parent is None:  # nobody's fault: our reset may still be on its way
            machine.refuse(promised, ErrorCodes.CANCEL, "promised on a stream that we had reset")
            return machine.count_control_frame()
        if refusal is not None:
            machine.refuse(promised, ErrorCodes.REFUSED_STREAM, refusal.reason)
            return refusal
        stream = machine.new_stream(promised)
        stream.receive(Input.RECV_PROMISED)
        self._table.add(stream)
        return self._promised(stream, parent, frame, events)

    @staticmethod
    def _refuse_promise(parent: StreamMachine) -> StreamFailure | ConnectionFailure | None:
        """May this stream of ours carry a promise?

        On a half that has ended 6.6 asks for a connection error and 5.1 for a stream error; we keep the connection.
        """
        if parent.state is StreamState.HALF_CLOSED_REMOTE:
            return StreamFailure(parent.stream_id, ErrorCodes.STREAM_CLOSED, "PUSH_PROMISE after END_STREAM")
        if parent.tunnel and parent.receiving.phase is Phase.BODY:
            return _malformed(parent.stream_id, "PUSH_PROMISE on a tunnel (8.5)")
        if parent.receive(Input.RECV_PUSH_PROMISE) is not None:
            return _protocol_error(f"PUSH_PROMISE on stream {parent.stream_id} in state {parent.state.name}")
        return None

    def _promised(
        self, stream: StreamMachine, parent: StreamMachine, frame: frames.PushPromiseFrame, events: Events
    ) -> Verdict | None:
        """The promised request has to be safe, without a body, and from this authority (8.4, 8.4.1)."""
        oversized = frame.section.oversized
        if oversized is not None:
            return oversized.on_stream(stream.stream_id)
        head = frame.section.request(extended_connect=False)
        if isinstance(head, Malformed):
            return _malformed(stream.stream_id, head.reason)
        if head.method not in _PUSHABLE_METHODS or head.content_length:
            return _malformed(stream.stream_id, "a promised request that is not safe and without content")
        # What HTTP/1.1's upgrade made has no authority that we know of.
        if parent.authority and head.authority != parent.authority:
            return _malformed(stream.stream_id, f"a promise for another authority, {shown(head.authority or b'')}")
        excess = self._machine.held_headers.hold(stream.stream_id, frame.section.size)
        if excess is not None:
            return excess.on_stream(stream.stream_id, ErrorCodes.REFUSED_STREAM, fault=False)
        stream.request_method = head.method
        stream.authority = head.authority or b""
        stream.sending.phase = Phase.DONE
        headers = frame.section.headers
        events.append(ev.PushedStreamReceived(stream.stream_id, parent.stream_id, headers))
        return None

    # RST_STREAM (6.4)

    def _rst_stream(self, frame: frames.RstStreamFrame, events: Events) -> Verdict | None:
        stream = self._table.get(frame.stream_id)
        if stream is None:
            if self._table.is_idle(frame.stream_id) and not self._machine.ignores(frame.stream_id):
                return _protocol_error(f"RST_STREAM on idle stream {frame.stream_id}")
            return IGNORE
        stream.receive(Input.RECV_RST_STREAM)
        completed = self._table.close(stream, CloseReason.RESET_BY_PEER)
        events.append(ev.StreamReset(frame.stream_id, error_code_from_int(frame.error_code)))
        if completed or self._is_harmless(stream, frame.error_code):
            return None
        return self._machine.count_reset()

    def _is_harmless(self, stream: StreamMachine, error_code: int) -> bool:
        """Is it what we opened that the peer does without: a client a push of ours, a busy server a request?"""
        if not self._table.is_own(stream.stream_id):
            return False
        return not self._machine.client or error_code == ErrorCodes.REFUSED_STREAM

    # SETTINGS (6.5)

    def _settings(self, frame: frames.SettingsFrame, events: Events) -> Verdict | None:
        if frame.ack:
            return self._settings_acknowledged(events)
        changes = self.apply_settings(frame.pairs)
        if isinstance(changes, ConnectionFailure):
            return changes
        self._machine.outbox.settings_ack()
        self._machine.count_reply()
        events.append(ev.RemoteSettingsChanged(_by_code(changes)))
        return self._machine.count_control_frame()

    def apply_settings(self, pairs: Sequence[tuple[int, int]]) -> list[ChangedSetting] | ConnectionFailure:
        """Put the peer's settings in force, in order."""
        changes = self._machine.remote_settings.apply_untrusted(pairs)
        if isinstance(changes, ConnectionFailure):
            return changes
        for change in changes:
            failure = self._apply_remote(change)
            if failure is not None:
                return failure
        return changes

    def _apply_remote(self, change: ChangedSetting) -> ConnectionFailure | None:
        machine = self._machine
        if change.setting == SettingCodes.HEADER_TABLE_SIZE:
            machine.outbox.set_header_table_size(change.new_value)
        elif change.setting == SettingCodes.MAX_FRAME_SIZE:
            machine.outbox.max_frame_size = change.new_value
        elif change.setting == SettingCodes.INITIAL_WINDOW_SIZE:
            delta = change.new_value - (change.original_value or 0)
            if not machine.change_initial_window(delta):
                reason = "SETTINGS_INITIAL_WINDOW_SIZE takes the window of a stream past 2**31-1"
                return ConnectionFailure(ErrorCodes.FLOW_CONTROL_ERROR, reason, FlowControlError)
        return None

    def _settings_acknowledged(self, events: Events) -> Verdict | None:
        machine = self._machine
        changes = machine.local_settings.acknowledge_oldest()
        if changes is None:
            return _protocol_error("a SETTINGS acknowledgement, and nothing to acknowledge")
        for change in changes:
            if change.setting == SettingCodes.HEADER_TABLE_SIZE:
                machine.reader.set_header_table_size(change.new_value)
            elif change.setting == SettingCodes.MAX_FRAME_SIZE:
                machine.reader.max_frame_size = change.new_value
            elif change.setting == SettingCodes.MAX_HEADER_LIST_SIZE:
                machine.reader.set_max_header_list_size(change.new_value)
            elif change.setting == SettingCodes.INITIAL_WINDOW_SIZE:
                # By the difference (6.9.2): a window that grew by hand keeps what it grew by.
                delta = change.new_value - (change.original_value or 0)
                for stream in self._table if delta else ():
                    machine.resize_inbound(stream, stream.inbound.target + delta)
        events.append(ev.SettingsAcknowledged(_by_code(changes)))
        return None

    # PING (6.7), GOAWAY (6.8)

    def _ping(self, frame: frames.PingFrame, events: Events) -> Verdict | None:
        machine = self._machine
        if frame.ack:
            events.append(ev.PingAckReceived(frame.payload))
            if machine.pings_unanswered:
                machine.pings_unanswered -= 1
                return None
            return machine.count_control_frame()
        machine.outbox.ping(frame.payload, ack=True)
        machine.count_reply()
        events.append(ev.PingReceived(frame.payload))
        return machine.count_control_frame()

    def _goaway(self, frame: frames.GoAwayFrame, events: Events) -> Verdict | None:
        self._machine.remote_goaway = frame
        code = error_code_from_int(frame.error_code)
        events.append(ev.ConnectionTerminated(code, frame.last_stream_id, frame.additional_data or None))
        return self._machine.count_control_frame()

    # WINDOW_UPDATE (6.9)

    def _window_update(self, frame: frames.WindowUpdateFrame, events: Events) -> Verdict | None:
        machine = self._machine
        stream_id = frame.stream_id
        if stream_id == 0:
            if frame.increment == 0:
                return _protocol_error("a WINDOW_UPDATE of 0 on the connection")
            if not machine.outbound.increase(frame.increment):
                reason = "the connection's window passes 2**31-1"
                return ConnectionFailure(ErrorCodes.FLOW_CONTROL_ERROR, reason, FlowControlError)
            events.append(ev.WindowUpdated(0, frame.increment))
            return machine.count_control_frame()
        stream = self._table.get(stream_id)
        if stream is None:
            if self._table.is_idle(stream_id) and not machine.ignores(stream_id):
                return _protocol_error(f"WINDOW_UPDATE on idle stream {stream_id}")
            return IGNORE
        verdict = stream.receive(Input.RECV_WINDOW_UPDATE)
        if verdict is not None:
            return verdict
        if frame.increment == 0:
            return _malformed(stream_id, "a WINDOW_UPDATE of 0")
        if not stream.outbound.increase(frame.increment):
            return StreamFailure(stream_id, ErrorCodes.FLOW_CONTROL_ERROR, "the stream's window passes 2**31-1")
        events.append(ev.WindowUpdated(stream_id, frame.increment))
        return machine.count_control_frame()

    # PRIORITY (6.3) and what other RFCs add

    def _priority(self, frame: frames.PriorityFrame, events: Events) -> Verdict | None:
        failure = self._judge_dependency(frame.stream_id, frame.priority)
        if failure is not None:
            return failure
        events.append(_priority_event(frame.stream_id, frame.priority))
        return self._machine.count_control_frame()

    def _priority_update(self, frame: frames.PriorityUpdateFrame, events: Events) -> Verdict | None:
        """RFC 9218 section 7.1."""
        stream_id = frame.prioritized_stream_id
        if self._machine.client:
            return ConnectionFailure(ErrorCodes.PROTOCOL_ERROR, "a server sent PRIORITY_UPDATE", UnsupportedFrameError)
        if stream_id == 0 or (self._table.is_own(stream_id) and self._table.is_idle(stream_id)):
            return _protocol_error(f"PRIORITY_UPDATE for stream {stream_id}")
        if len(frame.field_value) > MAX_PRIORITY_OCTETS:
            return IGNORE
        stream = self._table.get(stream_id)
        if stream is not None:
            stream.priority = priority_untrusted(frame.field_value)
        elif self._table.is_idle(stream_id):
            failure = self._keep_early_priority(stream_id, priority_untrusted(frame.field_value))
            if failure is not None:
                return failure
        events.append(ev.PriorityUpdated(stream_id, field_value=frame.field_value))
        return self._machine.count_control_frame()

    def _keep_early_priority(self, stream_id: int, priority: Priority) -> ConnectionFailure | None:
        """A request that is still to come: as many of these as it could open streams, and no more."""
        early, ids = self._early_priorities, self._early_ids
        if stream_id not in early:
            heapq.heappush(ids, stream_id)
        early[stream_id] = priority
        limit = self._machine.local_settings.announced(SettingCodes.MAX_CONCURRENT_STREAMS)
        most = (MAX_EARLY_PRIORITIES if limit is None else limit) - self._table.open_inbound
        # Those of streams that have opened, or were passed over or refused, stay behind until there are too many.
        while len(ids) > most and not self._table.is_idle(ids[0]):
            early.pop(heapq.heappop(ids), None)
        if len(ids) > most:
            return _protocol_error("PRIORITY_UPDATE for more streams than may be open (RFC 9218 section 7.1)")
        return None

    def _altsvc(self, frame: frames.AltSvcFrame, events: Events) -> Verdict | None:
        """RFC 7838 section 4: for clients alone, and on a stream it is about that request's origin."""
        origin = frame.origin
        if frame.stream_id:
            stream = self._table.get(frame.stream_id)
            origin = b"" if stream is None else stream.authority
        if not origin:
            return IGNORE
        events.append(ev.AlternativeServiceAvailable(origin, frame.field_value))
        return self._machine.count_control_frame()

    def _origin(self, frame: frames.OriginFrame, events: Events) -> Verdict | None:
        """RFC 8336 section 2.1: for clients alone."""
        events.append(ev.OriginReceived(frame.origins, flags=frame.flags))
        return self._machine.count_control_frame()

    def _unknown(self, frame: frames.UnknownFrame, events: Events) -> Verdict | None:
        events.append(ev.UnknownFrameReceived(frame.type, frame.flags, frame.stream_id, frame.payload))
        return self._machine.count_control_frame()


def _priority_event(stream_id: int, fields: frames.PriorityFields) -> ev.PriorityUpdated:
    return ev.PriorityUpdated(stream_id, fields.weight, fields.depends_on, fields.exclusive)


def _by_code(changes: list[ChangedSetting]) -> dict[SettingCodes | int, ChangedSetting]:
    return {change.setting: change for change in changes}
