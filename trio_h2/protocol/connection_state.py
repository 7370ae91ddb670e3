"""What receiving and sending share: the state of one connection, and the changes of it that both of them make.

`Receiver` and `Sender` work on a ConnectionState and know nothing of each other. Its parts have owners of their own:
the settings, the stream table, the windows, the outbox, the budgets. Its own are GOAWAY, the rules for what is
received, and the count of what the peer makes us queue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..codes import ErrorCodes, SettingCodes
from ..config import Config
from ..events import ChangedSetting
from ..exceptions import FlowControlError
from ..tracer import Tracer
from .budgets import Budgets
from .credit import Credit
from .field_section import InboundRules
from .frame_writer import FrameWriter
from .frames import GoAwayFrame
from .settings import LocalSettings, RemoteSettings
from .stream_machine import CloseReason, StreamMachine
from .stream_table import StreamTable
from .verdicts import ConnectionFailure
from .windows import ConnectionOutboundWindow, InboundWindow, InitialWindow, OutboundWindow

__all__ = ["ConnectionState"]


class ConnectionState:
    """The state of one connection.

    Attributes:
        rules: what is received is held to these.
        complain: called with the stream ID and the reason for every request or frame of the peer's that is refused.
        tracer: tells a user's Trace, if there is one.
        outbound: the connection's window for what we send.
        initial_outbound: what our streams' windows for it count from.
        credit: the windows for what the peer sends.
        outbox: what is cut and waits to be taken.
        replies: frames the peer made us queue (acknowledgements, resets) since the outbox was last taken.
        pings_unanswered: PINGs of ours whose acknowledgement is still to come.
        budgets: what the peer has cost.
        failure: the connection error that ended it, or None. Once set, nothing more is received.
        remote_goaway: the last GOAWAY received, or None.
        goaway_last_stream_id: the last stream ID of the last GOAWAY sent, or None before the first.
    """

    def __init__(
        self,
        config: Config,
        *,
        client: bool,
        rules: InboundRules,
        clock: Callable[[], float],
        complain: Callable[[int, str], None],
        tracer: Tracer | None = None,
    ) -> None:
        self.config = config
        self.client = client
        self.rules = rules
        self.complain = complain
        self.tracer = tracer
        # Settings and streams
        self.local_settings = LocalSettings(client)
        self.remote_settings = RemoteSettings(peer_is_server=client)
        self.table = StreamTable(client=client, max_tombstones=config.max_closed_streams)
        # Output
        self.outbox = FrameWriter(tracer)
        self.replies = 0
        self.pings_unanswered = 0
        # Windows
        self.outbound = ConnectionOutboundWindow()
        self.initial_outbound = InitialWindow()
        self.credit = Credit(config, self.outbox, tracer)
        # What the peer may cost
        self.budgets = Budgets(config, self.table, self.outbox, clock, hold_headers=rules.hold_headers)
        # The end
        self.failure: ConnectionFailure | None = None
        self.remote_goaway: GoAwayFrame | None = None
        self.goaway_last_stream_id: int | None = None

    def set_rules(self, rules: InboundRules) -> None:
        """Hold what is received from now on to these rules."""
        self.rules = rules

    # Streams

    def new_stream(self, stream_id: int) -> StreamMachine:
        """A stream with the windows that both sides' settings give it; not in the table yet."""
        return StreamMachine(
            stream_id,
            InboundWindow(self.local_settings.stream_window),
            OutboundWindow(self.initial_outbound),
        )

    def refuse(self, stream_id: int, error_code: int, reason: str) -> None:
        """Queue RST_STREAM for a stream of the peer's that is not in the table, and never will be."""
        self.complain(stream_id, reason)
        self.expect_unseen_data()
        self.outbox.rst_stream(stream_id, error_code)
        self.count_reply()
        self.table.bury(stream_id, CloseReason.RESET_LOCALLY)

    def expect_late_data(self, stream: StreamMachine) -> None:
        """We reset a stream: what is left of its window may be on its way."""
        # A larger window that the peer has not acknowledged may have reached it before the reset does (6.9.2).
        settings = self.local_settings
        pending = settings.largest(SettingCodes.INITIAL_WINDOW_SIZE) - settings.initial_window_size
        self.budgets.late_data.expect(stream.inbound.available + pending)

    def expect_unseen_data(self) -> None:
        """A stream of the peer's will not be looked at: its first window of DATA may be on its way."""
        self.budgets.late_data.expect(self.local_settings.largest(SettingCodes.INITIAL_WINDOW_SIZE))

    # The peer's settings

    def apply_settings(self, pairs: Sequence[tuple[int, int]]) -> list[ChangedSetting] | ConnectionFailure:
        """Put the peer's settings in force, in order."""
        changes = self.remote_settings.apply_untrusted(pairs)
        if isinstance(changes, ConnectionFailure):
            return changes
        for change in changes:
            failure = self._apply_setting(change)
            if failure is not None:
                return failure
        if self.tracer is not None:
            self.tracer.settings_in_force("remote", changes)
        return changes

    def _apply_setting(self, change: ChangedSetting) -> ConnectionFailure | None:
        if change.setting == SettingCodes.HEADER_TABLE_SIZE:
            self.outbox.set_header_table_size(change.new_value)
        elif change.setting == SettingCodes.MAX_FRAME_SIZE:
            self.outbox.set_max_frame_size(change.new_value)
        elif change.setting == SettingCodes.INITIAL_WINDOW_SIZE:
            delta = change.new_value - (change.original_value or 0)
            self.budgets.count_resized(len(self.table))
            if not self.initial_outbound.change(delta, (stream.outbound for stream in self.table.live.values())):
                reason = "SETTINGS_INITIAL_WINDOW_SIZE takes the window of a stream past 2**31-1"
                return ConnectionFailure(ErrorCodes.FLOW_CONTROL_ERROR, reason, FlowControlError)
        return None

    def settings_acknowledged(self, changes: Sequence[ChangedSetting]) -> None:
        """Settings of ours are in force."""
        if self.tracer is not None:
            self.tracer.settings_in_force("local", changes)

    def credit_received(self, stream_id: int, increment: int) -> None:
        """A window for what we send has opened, a stream's or the connection's (0)."""
        if self.tracer is not None:
            self.tracer.credit_received(stream_id, increment)

    # What the peer makes us queue, and what it answers

    def count_reply(self) -> None:
        """A frame was queued that the peer made us queue."""
        self.replies += 1

    def take(self, amount: int | None = None) -> bytes:
        """What is cut, with the WINDOW_UPDATEs that are due, joined once; at most `amount` octets of it."""
        self.credit.announce()
        self.replies = 0
        return self.outbox.take(amount)

    def ping(self, payload: bytes) -> None:
        """Queue a PING of 8 octets (6.7)."""
        self.pings_unanswered += 1
        self.outbox.ping(payload, ack=False)
        if self.tracer is not None:
            self.tracer.ping_sent(payload)

    def ping_answered(self, payload: bytes) -> bool:
        """The peer acknowledged a PING; whether one of ours was waiting for it."""
        if self.tracer is not None:
            self.tracer.ping_answered(payload)
        if not self.pings_unanswered:
            return False
        self.pings_unanswered -= 1
        return True

    # GOAWAY (6.8), and the end (5.4.1)

    def goaway(self, error_code: int, *, last_stream_id: int | None = None, additional_data: bytes = b"") -> None:
        """Queue a GOAWAY. Its last stream ID, by default the highest received, never grows again."""
        if last_stream_id is None:
            last_stream_id = self.table.highest_inbound
        if self.goaway_last_stream_id is not None:
            last_stream_id = min(last_stream_id, self.goaway_last_stream_id)
        self.goaway_last_stream_id = last_stream_id
        self.outbox.goaway(last_stream_id, error_code, additional_data)
        if self.tracer is not None:
            self.tracer.goaway("goaway_sent", last_stream_id, error_code)

    def goaway_received(self, frame: GoAwayFrame) -> None:
        """The peer sent a GOAWAY."""
        self.remote_goaway = frame
        if self.tracer is not None:
            self.tracer.goaway("goaway_received", frame.last_stream_id, frame.error_code)

    def ignores(self, stream_id: int) -> bool:
        """Whether this is one of the peer's streams above the last stream ID of our GOAWAY."""
        return (
            self.goaway_last_stream_id is not None
            and stream_id > self.goaway_last_stream_id
            and not self.table.is_own(stream_id)
        )

    def fail(self, failure: ConnectionFailure) -> None:
        """End the connection with a GOAWAY that says why. The first cause sticks."""
        if self.failure is None:
            self.failure = failure
            if failure.limit is not None:
                self.budgets.count_limit(failure.limit)
            debug_data = failure.reason.encode() if self.rules.explain_goaway else b""
            self.goaway(failure.error_code, additional_data=debug_data)
