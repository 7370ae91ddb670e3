"""The frames that other RFCs define, and those that nobody does (RFC 9113 section 5.5)."""

from __future__ import annotations

from .. import events as ev
from .connection_state import ConnectionState
from .frames import AltSvcFrame, OriginFrame, UnknownFrame
from .verdicts import IGNORE, Verdict

__all__ = ["ExtensionReceiver"]


class ExtensionReceiver:
    """Extension frames that are received; RFC 9218's PRIORITY_UPDATE is `PriorityReceiver`'s."""

    def __init__(self, state: ConnectionState) -> None:
        self._table = state.table
        self._budgets = state.budgets

    def altsvc(self, frame: AltSvcFrame, events: list[ev.Event]) -> Verdict | None:
        """RFC 7838 section 4: for clients alone, and on a stream it is about that request's origin."""
        origin = frame.origin
        if frame.stream_id:
            stream = self._table.get(frame.stream_id)
            origin = b"" if stream is None else stream.authority
        if not origin:
            return IGNORE
        events.append(ev.AlternativeServiceAvailable(origin, frame.field_value))
        return self._budgets.count_control_frame()

    def origin(self, frame: OriginFrame, events: list[ev.Event]) -> Verdict | None:
        """RFC 8336 section 2.1: for clients alone."""
        events.append(ev.OriginReceived(frame.origins, flags=frame.flags))
        return self._budgets.count_control_frame()

    def unknown(self, frame: UnknownFrame, events: list[ev.Event]) -> Verdict | None:
        """A frame of a type that nothing here defines."""
        events.append(ev.UnknownFrameReceived(frame.type, frame.flags, frame.stream_id, frame.payload))
        return self._budgets.count_control_frame()
