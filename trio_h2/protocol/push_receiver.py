"""PUSH_PROMISE: what a server promises to push (RFC 9113 sections 6.6 and 8.4)."""

from __future__ import annotations

from .. import events as ev
from ..codes import ErrorCodes
from ..exceptions import UnsupportedFrameError
from ..wording import shown
from .connection_state import ConnectionState
from .field_rules import Malformed
from .frames import PushPromiseFrame
from .message_half import Phase
from .stream_machine import CloseReason, Input, StreamMachine, StreamState
from .verdicts import IGNORE, ConnectionFailure, StreamFailure, Verdict, malformed, protocol_error

__all__ = ["PushReceiver"]

# RFC 9110 section 9.2: what may be pushed has to be safe and cacheable (RFC 9113 section 8.4).
_PUSHABLE_METHODS = (b"GET", b"HEAD")


class PushReceiver:
    """Promises that are received."""

    def __init__(self, state: ConnectionState) -> None:
        self._state = state
        self._table = state.table
        self._budgets = state.budgets

    def push_promise(self, frame: PushPromiseFrame, events: list[ev.Event]) -> Verdict | None:
        """PUSH_PROMISE (6.6)."""
        state = self._state
        if not state.client:
            return ConnectionFailure(
                ErrorCodes.PROTOCOL_ERROR, "a client sent PUSH_PROMISE (8.4)", UnsupportedFrameError
            )
        if not state.local_settings.enable_push:
            return protocol_error("PUSH_PROMISE, and push is switched off (8.4)")
        if not self._table.is_own(frame.stream_id):
            return protocol_error(f"PUSH_PROMISE on stream {frame.stream_id}, which is not ours")
        parent = self._table.get(frame.stream_id)
        refusal = None if parent is None else self._refuse_promise(parent)
        if isinstance(refusal, ConnectionFailure):
            return refusal
        how = self._table.how_closed(frame.stream_id)
        if parent is None and how not in (CloseReason.RESET_LOCALLY, CloseReason.ABANDONED):
            return protocol_error(f"PUSH_PROMISE on stream {frame.stream_id}, which is not open")
        promised = frame.promised_stream_id
        if self._table.is_own(promised) or promised == 0 or not self._table.is_idle(promised):
            return protocol_error(f"stream ID {promised} cannot be promised (5.1.1)")
        self._table.use(promised)
        if state.ignores(promised):
            state.expect_unseen_data()
            return IGNORE
        if parent is None:  # nobody's fault: our reset may still be on its way
            state.refuse(promised, ErrorCodes.CANCEL, "promised on a stream that we had reset")
            return self._budgets.count_control_frame()
        if refusal is not None:
            state.refuse(promised, ErrorCodes.REFUSED_STREAM, refusal.reason)
            return refusal
        stream = state.new_stream(promised)
        stream.receive(Input.RECV_PROMISED)
        self._table.add(stream)
        return self._promised(stream, parent, frame, events)

    @staticmethod
    def _refuse_promise(parent: StreamMachine) -> StreamFailure | ConnectionFailure | None:
        """What speaks against a promise on this stream of ours.

        On a half that has ended 6.6 asks for a connection error and 5.1 for a stream error; we keep the connection.
        """
        if parent.state is StreamState.HALF_CLOSED_REMOTE:
            return StreamFailure(parent.stream_id, ErrorCodes.STREAM_CLOSED, "PUSH_PROMISE after END_STREAM")
        if parent.tunnel and parent.receiving.phase is Phase.BODY:
            return malformed(parent.stream_id, "PUSH_PROMISE on a tunnel (8.5)")
        if parent.receive(Input.RECV_PUSH_PROMISE) is not None:
            return protocol_error(f"PUSH_PROMISE on stream {parent.stream_id} in state {parent.state.name}")
        return None

    def _promised(
        self, stream: StreamMachine, parent: StreamMachine, frame: PushPromiseFrame, events: list[ev.Event]
    ) -> Verdict | None:
        """The promised request has to be safe, without a body, and from this authority (8.4, 8.4.1)."""
        oversized = frame.section.oversized
        if oversized is not None:
            return oversized.on_stream(stream.stream_id)
        head = frame.section.request(extended_connect=False)
        if isinstance(head, Malformed):
            return malformed(stream.stream_id, head.reason)
        if head.method not in _PUSHABLE_METHODS or head.content_length:
            return malformed(stream.stream_id, "the promised request is not safe, or has content (8.4)")
        # What HTTP/1.1's upgrade made has no authority that we know of.
        if parent.authority and head.authority != parent.authority:
            return malformed(stream.stream_id, f"a promise for another authority, {shown(head.authority or b'')}")
        excess = self._budgets.held_headers.hold(stream.stream_id, frame.section.size)
        if excess is not None:
            return excess.on_stream(stream.stream_id, ErrorCodes.REFUSED_STREAM, fault=False)
        stream.promise_request(head, stream.sending)
        headers = frame.section.headers
        events.append(ev.PushedStreamReceived(stream.stream_id, parent.stream_id, headers))
        return None
