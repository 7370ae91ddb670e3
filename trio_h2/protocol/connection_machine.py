"""ConnectionMachine: one HTTP/2 connection without I/O (RFC 9113), for either role.

It is three things composed. `ConnectionState` is what there is: settings, the stream table, windows, the outbox,
GOAWAY, budgets. `Sender` has every method that sends, and a machine is one. `Receiver` is what received frames do, and
`FrameReader` where they come from. Neither of the two knows the other, or the machine: both work on the state.

`receive` takes bytes and gives events; `take` is the only way out; no method waits. A peer's failures are values: a
stream error becomes RST_STREAM and a `StreamReset` event, a connection error becomes GOAWAY and `failure`. The sending
methods raise, because there it is the caller who is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..codes import SettingCodes
from ..config import Config
from ..events import Event
from ..tracer import Tracer
from .bandwidth import MEASURING_PING
from .connection_state import ConnectionState
from .field_section import STRICT, InboundRules
from .frame_reader import FrameReader
from .frames import GoAwayFrame
from .limits import HeaderLimits
from .receiver import Receiver
from .sender import Sender
from .verdicts import ConnectionFailure

__all__ = ["ConnectionMachine"]


def _keep_silent(stream_id: int, reason: str) -> None:
    pass


def _stopped() -> float:
    """The clock of a machine that is given none: what is counted over a time is counted for good."""
    return 0.0


class ConnectionMachine(Sender):
    """The protocol of one connection.

    Args:
        config: its limits, and the settings it announces.
        client: Whether this is the client's side.
        rules: what is received is held to these.
        clock: what budgets that are counted over a time go by.
        complain: called with the stream ID and the reason for every request or frame of the peer's that is refused.
        tracer: tells a user's Trace of frames, credit and round trips.
        joins_data: Whether DATA frames of one stream that follow each other are one event, if they are large.

    Attributes:
        state: what the sending and the receiving half share. What lives as long as the connection is here, too.
        reader: turns octets into frames.
        receive_frame: lets a frame that the reader gave have its effect, before the next is asked for; the events it
            makes.
        inbound: the connection's window for what the peer sends.
        bandwidth: how large receive windows should be; whoever has a clock calls `measure` when that is due.
        held_headers: header sections that are held for the user, until he is done with their stream.
        late_data: DATA that may still come on streams that we have reset.
        limits_hit: how often which limit was passed, by its field of Config.
        requests: how many requests came, by method.
        resets_received: how many streams the peer has reset, by error code.
    """

    def __init__(
        self,
        config: Config,
        *,
        client: bool,
        rules: InboundRules = STRICT,
        clock: Callable[[], float] = _stopped,
        complain: Callable[[int, str], None] = _keep_silent,
        tracer: Tracer | None = None,
        joins_data: bool = False,
    ) -> None:
        state = ConnectionState(config, client=client, rules=rules, clock=clock, complain=complain, tracer=tracer)
        super().__init__(state)
        self.config = config
        self.complain = complain
        self.inbound = state.credit.inbound
        self.bandwidth = state.credit.bandwidth
        self.held_headers = state.budgets.held_headers
        self.late_data = state.budgets.late_data
        self.limits_hit = state.budgets.limits_hit
        limits = HeaderLimits(
            max_block_size=config.max_header_block_size,
            max_continuations=config.max_continuations,
            max_list_size=config.max_header_list_size,
            max_fields=config.max_header_fields,
            max_remembered=config.max_remembered_blocks,
        )
        self.reader = FrameReader(limits, rules, expect_preface=not client, tracer=tracer, joins_data=joins_data)
        self._receiver = Receiver(state, self.reader)
        self.receive_frame = self._receiver.receive
        self.requests = self._receiver.messages.requests
        self.resets_received = self._receiver.control.resets

    # What changes in the state

    @property
    def rules(self) -> InboundRules:
        """What is received is held to these."""
        return self.state.rules

    @property
    def failure(self) -> ConnectionFailure | None:
        """The connection error that ended it, or None. Once set, nothing more is received."""
        return self.state.failure

    @property
    def remote_goaway(self) -> GoAwayFrame | None:
        """The last GOAWAY received, or None."""
        return self.state.remote_goaway

    @property
    def goaway_last_stream_id(self) -> int | None:
        """The last stream ID of the last GOAWAY sent, or None before the first."""
        return self.state.goaway_last_stream_id

    @property
    def too_large(self) -> int:
        """How many requests were answered with 431 in the place of the user; `responses` does not have them."""
        return self._receiver.messages.too_large

    @property
    def replies(self) -> int:
        """Frames the peer made us queue (acknowledgements, resets) since the outbox was last taken."""
        return self.state.replies

    # Starting

    def initiate(self) -> None:
        """Queue our connection preface by the Config: SETTINGS, and the connection window's first WINDOW_UPDATE."""
        self.start(self._initial_settings())
        increment = self.config.connection_window_size - self.inbound.target
        if increment > 0:
            self.grow_window(None, increment)

    def _initial_settings(self) -> dict[int, int]:
        config = self.config
        wanted = {
            SettingCodes.HEADER_TABLE_SIZE: config.header_table_size,
            SettingCodes.INITIAL_WINDOW_SIZE: config.initial_window_size,
            SettingCodes.MAX_FRAME_SIZE: config.max_frame_size,
        }
        values: dict[int, int] = {
            code: value for code, value in wanted.items() if value != self.local_settings.get(code)
        }
        values[SettingCodes.MAX_CONCURRENT_STREAMS] = config.max_concurrent_streams
        values[SettingCodes.MAX_HEADER_LIST_SIZE] = config.max_header_list_size
        if self.client:
            values[SettingCodes.ENABLE_PUSH] = int(config.enable_push)
        else:
            values[SettingCodes.NO_RFC7540_PRIORITIES] = 1
            if config.enable_connect_protocol:
                values[SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
        return values

    def adopt_upgraded_stream(self, settings: Sequence[tuple[int, int]] = ()) -> None:
        """Be what HTTP/1.1's `Upgrade: h2c` made: stream 1 is its request, complete (RFC 7540 section 3.2).

        Args:
            settings: on a server, the client's from HTTP2-Settings; they are in force, and not acknowledged.

        Raises:
            ProtocolError: those settings are invalid.
        """
        changes = self.state.apply_settings(settings)
        if isinstance(changes, ConnectionFailure):
            raise changes.error()
        stream = self.state.new_stream(1)
        stream.adopt_upgraded(client=self.client)
        self.table.use(1)
        self.table.add(stream)

    # Receiving

    def set_rules(self, rules: InboundRules) -> None:
        """Hold what is received from now on to these rules."""
        self.state.set_rules(rules)
        self.reader.set_rules(rules)

    def receive(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """Take bytes from the peer; the events they hold, also those before a failure among them."""
        events: list[Event] = []
        if self.state.failure is None:
            for frame in self.reader.feed(bytes(data)):
                events += self.receive_frame(frame)
                if self.state.failure is not None:
                    break
        return events

    def fail(self, failure: ConnectionFailure) -> None:
        """End the connection with a GOAWAY that says why (5.4.1). The first cause sticks."""
        self.state.fail(failure)

    def count_limit(self, name: str) -> None:
        """A limit was passed: this field of Config."""
        self._budgets.count_limit(name)

    def count_reply(self) -> None:
        """A frame was queued that the peer made us queue."""
        self.state.count_reply()

    def release_connection(self, count: int) -> None:
        """Give connection credit back for octets that no stream holds."""
        self.inbound.release(count)

    # Measuring, by whoever has a clock

    def measure(self, now: float) -> None:
        """So much was received that `bandwidth` may want a PING to measure by."""
        if self._credit.look(now):
            self.ping(MEASURING_PING)

    def measured(self, now: float) -> None:
        """The answer to that PING came: windows grow."""
        self._credit.measured(now)

    # Output

    @property
    def has_output(self) -> bool:
        """Whether `take` would give anything."""
        return bool(self.outbox.size or self._credit.creditable) or self.inbound.due
