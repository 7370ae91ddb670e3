"""PRIORITY and PRIORITY_UPDATE, and the priorities of requests that are still to come (RFC 9218 section 7.1)."""

from __future__ import annotations

import heapq

from .. import events as ev
from ..codes import ErrorCodes, SettingCodes
from ..exceptions import UnsupportedFrameError
from .connection_state import ConnectionState
from .frames import PriorityFields, PriorityFrame, PriorityUpdateFrame
from .limits import MAX_EARLY_PRIORITIES, MAX_PRIORITY_OCTETS
from .priority import Priority, priority_untrusted
from .stream_machine import StreamMachine
from .verdicts import IGNORE, ConnectionFailure, StreamFailure, Verdict, malformed, protocol_error

__all__ = ["PriorityReceiver", "priority_event"]


def priority_event(stream_id: int, fields: PriorityFields) -> ev.PriorityUpdated:
    """The event for an RFC 7540 signal."""
    return ev.PriorityUpdated(stream_id, fields.weight, fields.depends_on, fields.exclusive)


class PriorityReceiver:
    """Priority signals that are received, of RFC 7540's kind and of RFC 9218's."""

    def __init__(self, state: ConnectionState) -> None:
        self._state = state
        self._table = state.table
        self._budgets = state.budgets
        # Priorities for requests that have not arrived, in bounded number; and a heap of their IDs, in which those
        # that have arrived, or never will, come first.
        self._early_priorities: dict[int, Priority] = {}
        self._early_ids: list[int] = []

    def judge(self, stream_id: int, priority: PriorityFields) -> StreamFailure | None:
        """RFC 7540 section 5.3.1. Who switched these signals off cannot get them wrong (RFC 9218 section 2.1)."""
        if priority.depends_on != stream_id or self._state.remote_settings.get(SettingCodes.NO_RFC7540_PRIORITIES):
            return None
        return malformed(stream_id, "a stream that depends on itself (RFC 7540 section 5.3.1)")

    def begin(self, stream: StreamMachine, field: bytes | None) -> None:
        """A request came, with this priority field; a PRIORITY_UPDATE that came first wins (RFC 9218 section 7)."""
        early = self._early_priorities.pop(stream.stream_id, None)
        if early is not None:
            stream.prioritize(early)
        elif field is not None:
            stream.prioritize(priority_untrusted(field))

    def priority(self, frame: PriorityFrame, events: list[ev.Event]) -> Verdict | None:
        """PRIORITY (6.3)."""
        failure = self.judge(frame.stream_id, frame.priority)
        if failure is not None:
            return failure
        events.append(priority_event(frame.stream_id, frame.priority))
        return self._budgets.count_control_frame()

    def priority_update(self, frame: PriorityUpdateFrame, events: list[ev.Event]) -> Verdict | None:
        """RFC 9218 section 7.1."""
        stream_id = frame.prioritized_stream_id
        if self._state.client:
            return ConnectionFailure(ErrorCodes.PROTOCOL_ERROR, "a server sent PRIORITY_UPDATE", UnsupportedFrameError)
        if stream_id == 0 or (self._table.is_own(stream_id) and self._table.is_idle(stream_id)):
            return protocol_error(f"PRIORITY_UPDATE for stream {stream_id}")
        if len(frame.field_value) > MAX_PRIORITY_OCTETS:
            return IGNORE
        stream = self._table.get(stream_id)
        if stream is not None:
            stream.prioritize(priority_untrusted(frame.field_value))
        elif self._table.is_idle(stream_id):
            failure = self._keep_early_priority(stream_id, priority_untrusted(frame.field_value))
            if failure is not None:
                return failure
        events.append(ev.PriorityUpdated(stream_id, field_value=frame.field_value))
        return self._budgets.count_control_frame()

    def _keep_early_priority(self, stream_id: int, priority: Priority) -> ConnectionFailure | None:
        """A request that is still to come: as many of these as it could open streams, and no more."""
        early, ids = self._early_priorities, self._early_ids
        if stream_id not in early:
            heapq.heappush(ids, stream_id)
        early[stream_id] = priority
        limit = self._state.local_settings.stream_limit
        most = (MAX_EARLY_PRIORITIES if limit is None else limit) - self._table.open_inbound
        # Those of streams that have opened, or were passed over or refused, stay behind until there are too many.
        while len(ids) > most and not self._table.is_idle(ids[0]):
            early.pop(heapq.heappop(ids), None)
        if len(ids) > most:
            return protocol_error("PRIORITY_UPDATE for more streams than may be open (RFC 9218 section 7.1)")
        return None
