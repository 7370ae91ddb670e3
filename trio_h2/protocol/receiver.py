"""Which verdict for which frame: what every received frame does to a connection, and what it may not do.

One part of the receiver knows each frame type: it changes the state, appends events for the user, queues the answers
that the RFC wants at once (acknowledgements), and returns None or a verdict. What follows from a verdict is here: a
stream error becomes RST_STREAM and a `StreamReset` event, a connection error becomes GOAWAY and the state's `failure`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import events as ev
from . import frames
from .connection_state import ConnectionState
from .control_receiver import ControlReceiver
from .data_run import DataRun
from .extension_receiver import ExtensionReceiver
from .frame_reader import FrameReader
from .message_receiver import MessageReceiver
from .priority_receiver import PriorityReceiver
from .push_receiver import PushReceiver
from .stream_machine import CloseReason, StreamMachine
from .verdicts import ConnectionFailure, Ignore, StreamFailure, Verdict

__all__ = ["Receiver"]


class Receiver:
    """The receiving half of a connection.

    Attributes:
        messages: the part that knows HEADERS and DATA; it counts requests.
        control: the part that knows RST_STREAM and its like; it counts resets.
    """

    def __init__(self, state: ConnectionState, reader: FrameReader) -> None:
        self._state = state
        self._priorities = priorities = PriorityReceiver(state)
        self.messages = messages = MessageReceiver(state, priorities)
        self.control = control = ControlReceiver(state, reader)
        extensions = ExtensionReceiver(state)
        # By type, methods of the parts; none of this object, which would hold itself.
        self._methods: dict[type, Callable[[Any, list[ev.Event]], Verdict | None]] = {
            frames.DataFrame: messages.data,
            frames.HeadersFrame: messages.headers,
            frames.PriorityFrame: priorities.priority,
            frames.RstStreamFrame: control.rst_stream,
            frames.SettingsFrame: control.settings,
            frames.PushPromiseFrame: PushReceiver(state).push_promise,
            frames.PingFrame: control.ping,
            frames.GoAwayFrame: control.goaway,
            frames.WindowUpdateFrame: control.window_update,
            frames.AltSvcFrame: extensions.altsvc,
            frames.OriginFrame: extensions.origin,
            frames.PriorityUpdateFrame: priorities.priority_update,
            frames.UnknownFrame: extensions.unknown,
            Ignore: _pass_on,
            StreamFailure: _pass_on,
            ConnectionFailure: _pass_on,
        }

    def receive(self, frame: frames.Frame | DataRun | Verdict) -> list[ev.Event]:
        """Do what `frame` says, or what follows from the verdict in its place; the events it makes."""
        events: list[ev.Event] = []
        if type(frame) is DataRun:
            whole, verdict = self.messages.data_run(frame, events)
            if not whole:
                return self._one_by_one(frame)
        else:
            verdict = self._methods[type(frame)](frame, events)
        if verdict is not None:
            self._execute(verdict, events)
        return events

    def _one_by_one(self, run: DataRun) -> list[ev.Event]:
        """Each frame of a run has its own effect, until one ends the connection."""
        events: list[ev.Event] = []
        for frame in run.frames():
            events += self.receive(frame)
            if self._state.failure is not None:
                break
        return events

    def _execute(self, verdict: Verdict, events: list[ev.Event]) -> None:
        failure: ConnectionFailure | None
        if isinstance(verdict, Ignore):
            failure = self._state.budgets.count_control_frame()
        elif isinstance(verdict, ConnectionFailure):
            failure = verdict
        else:
            table = self._state.table
            stream = table.get(verdict.stream_id)
            if stream is None and table.is_idle(verdict.stream_id):
                # RST_STREAM must not be sent on an idle stream (6.4), so there the connection has to bear it.
                failure = ConnectionFailure(verdict.error_code, verdict.reason)
            else:
                failure = self._fail_stream(verdict, stream, events)
        if failure is not None:
            self._state.fail(failure)

    def _fail_stream(
        self, failure: StreamFailure, stream: StreamMachine | None, events: list[ev.Event]
    ) -> ConnectionFailure | None:
        state = self._state
        if stream is None:
            state.refuse(failure.stream_id, failure.error_code, failure.reason)
        else:
            state.complain(failure.stream_id, failure.reason)
            state.expect_late_data(stream)
            state.outbox.rst_stream(failure.stream_id, failure.error_code)
            state.count_reply()
            state.table.close(stream, CloseReason.RESET_LOCALLY)
            events.append(ev.StreamReset(failure.stream_id, failure.error_code, False, failure.reason))
        if failure.limit is not None:
            state.budgets.count_limit(failure.limit)
        return (state.budgets.count_stream_error() if failure.fault else None) or state.budgets.count_reset()


def _pass_on(verdict: Verdict, events: list[ev.Event]) -> Verdict:
    """The reader's own verdict stands in the place of a frame."""
    return verdict
