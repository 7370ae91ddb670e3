"""The frames that control streams and the connection: RST_STREAM, SETTINGS, PING, GOAWAY and WINDOW_UPDATE."""

from __future__ import annotations

from .. import events as ev
from ..codes import OTHER_CODE, ErrorCodes, SettingCodes, error_code_from_int
from ..events import ChangedSetting
from ..exceptions import FlowControlError
from .connection_state import ConnectionState
from .frame_reader import FrameReader
from .frames import GoAwayFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame
from .stream_machine import CloseReason, Input, StreamMachine
from .verdicts import IGNORE, ConnectionFailure, StreamFailure, Verdict, malformed, protocol_error

__all__ = ["ControlReceiver"]


class ControlReceiver:
    """Control frames that are received.

    Args:
        state: the connection's.
        reader: goes by our settings, once they are acknowledged.

    Attributes:
        resets: how many RST_STREAMs came on live streams, by error code, as `FrameWriter.resets` has ours.
    """

    def __init__(self, state: ConnectionState, reader: FrameReader) -> None:
        self._state = state
        self._reader = reader
        self._table = state.table
        self._budgets = state.budgets
        self.resets: dict[int, int] = {}

    # RST_STREAM (6.4)

    def rst_stream(self, frame: RstStreamFrame, events: list[ev.Event]) -> Verdict | None:
        """RST_STREAM (6.4)."""
        stream = self._table.get(frame.stream_id)
        if stream is None:
            if self._table.is_idle(frame.stream_id) and not self._state.ignores(frame.stream_id):
                return protocol_error(f"RST_STREAM on idle stream {frame.stream_id}")
            return IGNORE
        code = min(frame.error_code, OTHER_CODE)
        self.resets[code] = self.resets.get(code, 0) + 1
        stream.receive(Input.RECV_RST_STREAM)
        completed = self._table.close(stream, CloseReason.RESET_BY_PEER)
        events.append(ev.StreamReset(frame.stream_id, error_code_from_int(frame.error_code)))
        if completed or self._is_harmless(stream, frame.error_code):
            return None
        return self._budgets.count_reset()

    def _is_harmless(self, stream: StreamMachine, error_code: int) -> bool:
        """Whether the peer only does without what we opened: a client a push of ours, a busy server a request."""
        if not self._table.is_own(stream.stream_id):
            return False
        return not self._state.client or error_code == ErrorCodes.REFUSED_STREAM

    # SETTINGS (6.5)

    def settings(self, frame: SettingsFrame, events: list[ev.Event]) -> Verdict | None:
        """SETTINGS (6.5)."""
        if frame.ack:
            return self._settings_acknowledged(events)
        changes = self._state.apply_settings(frame.pairs)
        if isinstance(changes, ConnectionFailure):
            return changes
        self._state.outbox.settings_ack()
        self._state.count_reply()
        events.append(ev.RemoteSettingsChanged(_by_code(changes)))
        return self._budgets.count_control_frame()

    def _settings_acknowledged(self, events: list[ev.Event]) -> Verdict | None:
        state = self._state
        changes = state.local_settings.acknowledge_oldest()
        if changes is None:
            return protocol_error("a SETTINGS acknowledgement, and nothing to acknowledge")
        for change in changes:
            if change.setting == SettingCodes.HEADER_TABLE_SIZE:
                self._reader.set_header_table_size(change.new_value)
            elif change.setting == SettingCodes.MAX_FRAME_SIZE:
                self._reader.set_max_frame_size(change.new_value)
            elif change.setting == SettingCodes.MAX_HEADER_LIST_SIZE:
                self._reader.set_max_header_list_size(change.new_value)
            elif change.setting == SettingCodes.INITIAL_WINDOW_SIZE:
                delta = change.new_value - (change.original_value or 0)
                for stream in self._table if delta else ():
                    state.credit.resize(stream, delta)
        state.settings_acknowledged(changes)
        events.append(ev.SettingsAcknowledged(_by_code(changes)))
        return None

    # PING (6.7), GOAWAY (6.8)

    def ping(self, frame: PingFrame, events: list[ev.Event]) -> Verdict | None:
        """PING (6.7)."""
        state = self._state
        if frame.ack:
            events.append(ev.PingAckReceived(frame.payload))
            return None if state.ping_answered(frame.payload) else self._budgets.count_control_frame()
        state.outbox.ping(frame.payload, ack=True)
        state.count_reply()
        events.append(ev.PingReceived(frame.payload))
        return self._budgets.count_control_frame()

    def goaway(self, frame: GoAwayFrame, events: list[ev.Event]) -> Verdict | None:
        """GOAWAY (6.8)."""
        self._state.goaway_received(frame)
        code = error_code_from_int(frame.error_code)
        events.append(ev.ConnectionTerminated(code, frame.last_stream_id, frame.additional_data or None))
        return self._budgets.count_control_frame()

    # WINDOW_UPDATE (6.9)

    def window_update(self, frame: WindowUpdateFrame, events: list[ev.Event]) -> Verdict | None:
        """WINDOW_UPDATE (6.9)."""
        state = self._state
        stream_id = frame.stream_id
        if stream_id == 0:
            if frame.increment == 0:
                return protocol_error("a WINDOW_UPDATE of 0 on the connection")
            if not state.outbound.increase(frame.increment):
                reason = "the connection's window passes 2**31-1"
                return ConnectionFailure(ErrorCodes.FLOW_CONTROL_ERROR, reason, FlowControlError)
            state.credit_received(0, frame.increment)
            events.append(ev.WindowUpdated(0, frame.increment))
            return self._budgets.count_control_frame()
        stream = self._table.get(stream_id)
        if stream is None:
            if self._table.is_idle(stream_id) and not state.ignores(stream_id):
                return protocol_error(f"WINDOW_UPDATE on idle stream {stream_id}")
            return IGNORE
        verdict = stream.receive(Input.RECV_WINDOW_UPDATE)
        if verdict is not None:
            return verdict
        if frame.increment == 0:
            return malformed(stream_id, "a WINDOW_UPDATE of 0")
        if not stream.outbound.increase(frame.increment):
            return StreamFailure(stream_id, ErrorCodes.FLOW_CONTROL_ERROR, "the stream's window passes 2**31-1")
        state.credit_received(stream_id, frame.increment)
        events.append(ev.WindowUpdated(stream_id, frame.increment))
        return self._budgets.count_control_frame()


def _by_code(changes: list[ChangedSetting]) -> dict[SettingCodes | int, ChangedSetting]:
    return {change.setting: change for change in changes}
