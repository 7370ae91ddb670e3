"""ConnectionMachine: one HTTP/2 connection without I/O (RFC 9113), for either role.

It owns the settings, the stream table, the stream IDs and counts, GOAWAY, both connection windows and the HPACK
state. `receive` takes bytes and gives events; what a received frame means, and what verdict it earns, is in
`receiver.py`. The other methods send: each changes the state and puts its frames into the outbox in one step. No
method waits, and `take` is the only way out.

A peer's failures are values: a stream error becomes RST_STREAM and a `StreamReset` event, a connection error
becomes GOAWAY and `failure`. The sending methods raise, because there it is the caller who is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..codes import NEEDS_ANOTHER_PROTOCOL, ErrorCodes, SettingCodes
from ..config import Config
from ..events import Event, StreamReset
from ..exceptions import (
    FlowControlError,
    InvalidBodyLengthError,
    NoAvailableStreamIDError,
    ProtocolError,
    StreamIDTooLowError,
    TooManyStreamsError,
)
from .bandwidth import MEASURING_PING, BandwidthEstimator, GrowthBudget
from .field_rules import Fields
from .field_section import STRICT, InboundRules
from .frame_reader import FrameReader
from .frame_writer import FrameWriter
from .frames import Frame, GoAwayFrame, PriorityFields
from .limits import SMALL_WINDOW, ControlFrames, Excess, HeaderLimits, HeldHeaders, NotHeld, Resets, StreamErrors
from .priority import Priority
from .receiver import Receiver
from .request_rules import RequestHead
from .response_rules import ResponseHead
from .settings import LocalSettings, RemoteSettings
from .stream_machine import CloseReason, Input, MessageHalf, Phase, StreamMachine, StreamState
from .stream_table import MAX_STREAM_ID, StreamTable
from .verdicts import ConnectionFailure, Ignore, StreamFailure, Verdict
from .windows import ConnectionInboundWindow, InboundWindow, InitialWindow, LateData, OutboundWindow

__all__ = ["ConnectionMachine"]

LATE_STREAMS = 1_000
"""Streams that may have been reset within a round trip, with a window of DATA on its way for each; windows that grew
have no more than `Config.max_unread` beyond that, together."""

_RESPONDING = (StreamState.HALF_CLOSED_REMOTE, StreamState.OPEN)
_WITHOUT_CONTENT = (204, 304)


def _keep_silent(stream_id: int, reason: str) -> None:
    pass


def _stopped() -> float:
    """The clock of a machine that is given none: what is counted over a time is counted for good."""
    return 0.0


class ConnectionMachine:
    """The protocol state of one connection.

    Attributes:
        failure: the connection error that ended it, or None. Once set, nothing more is received.
        remote_goaway: the last GOAWAY received, or None.
        goaway_last_stream_id: the last stream ID of the last GOAWAY sent, or None before the first.
        initial_outbound: what our streams' windows count from.
        bandwidth: how large receive windows should be; whoever has a clock calls `measure` when that is due.
        outbox: what is cut and waits to be taken.
        complain: called with the stream ID and the reason for every request or frame of the peer's that is refused.
        replies: frames the peer made us queue (acknowledgements, resets) since the outbox was last taken.
        pings_unanswered: PINGs of ours whose acknowledgement is still to come.
        limits_hit: how often which limit was passed, by its field of Config.
        held_headers: header sections that are held for the user, until he is done with their stream.
        late_data: DATA that may still come on streams that we have reset.
    """

    def __init__(
        self,
        config: Config,
        *,
        client: bool,
        rules: InboundRules = STRICT,
        clock: Callable[[], float] = _stopped,
        complain: Callable[[int, str], None] = _keep_silent,
    ) -> None:
        self.config = config
        self.rules = rules
        self.client = client
        self.failure: ConnectionFailure | None = None
        self.complain = complain
        self.remote_goaway: GoAwayFrame | None = None
        self.goaway_last_stream_id: int | None = None
        self._abandoned_above = MAX_STREAM_ID
        self.replies = 0
        self._data_frames = 0
        self._resized = 0  # streams whose window the peer's SETTINGS moved, each as a WINDOW_UPDATE could
        self.pings_unanswered = 0
        self.limits_hit: dict[str, int] = {}
        self.held_headers = HeldHeaders(config.max_held_headers) if rules.hold_headers else NotHeld()
        self.late_data = LateData(LATE_STREAMS * config.initial_window_size + config.max_unread)
        self._clock = clock
        self._stream_errors = StreamErrors(config.max_stream_errors)
        self._resets = Resets(config.max_resets, config.reset_window)
        self._control_frames = ControlFrames(config.max_control_frames, clock())
        self.local_settings = LocalSettings(client)
        self.remote_settings = RemoteSettings(peer_is_server=client)
        self.table = StreamTable(client=client, max_tombstones=config.max_closed_streams)
        self.outbound = OutboundWindow()
        self.initial_outbound = InitialWindow()
        self.inbound = ConnectionInboundWindow(config.max_unread)
        # Every stream that we allow can be full of unread octets, grown or not, without stalling another.
        budget = config.max_unread - config.max_concurrent_streams * config.initial_window_size
        self._budget = GrowthBudget(budget)
        present = config.connection_window_size
        if budget > 0:
            present = min(present, config.initial_window_size)
        limit = min(config.max_window_size, config.connection_window_size + config.max_unread)
        self.bandwidth = BandwidthEstimator(present, limit)
        self._grown_to = 0
        self.outbox = FrameWriter()
        limits = HeaderLimits(
            max_block_size=config.max_header_block_size,
            max_continuations=config.max_continuations,
            max_list_size=config.max_header_list_size,
            max_fields=config.max_header_fields,
            max_remembered=config.max_remembered_blocks,
        )
        self.reader = FrameReader(limits, rules, expect_preface=not client)
        self._receiver = Receiver(self)
        # Streams with enough credit for a WINDOW_UPDATE: one each, however often they are read before it leaves.
        self._creditable: dict[int, StreamMachine] = {}

    # Receiving

    def set_rules(self, rules: InboundRules) -> None:
        """Hold what is received from now on to these rules."""
        self.rules = rules
        self.reader.set_rules(rules)

    def receive(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """Take bytes from the peer; the events they hold, also those before a failure among them."""
        events: list[Event] = []
        if self.failure is None:
            for frame in self.reader.feed(bytes(data)):
                events += self.receive_frame(frame)
                if self.failure is not None:
                    break
        return events

    def receive_frame(self, frame: Frame | Verdict) -> list[Event]:
        """Let a frame that the reader gave have its effect, before the next is asked for; the events it makes."""
        events: list[Event] = []
        verdict = self._receiver.receive(frame, events)
        if verdict is not None:
            self._execute(verdict, events)
        return events

    def _execute(self, verdict: Verdict, events: list[Event]) -> None:
        failure: ConnectionFailure | None
        if isinstance(verdict, Ignore):
            failure = self.count_control_frame()
        elif isinstance(verdict, ConnectionFailure):
            failure = verdict
        else:
            stream = self.table.get(verdict.stream_id)
            if stream is None and self.table.is_idle(verdict.stream_id):
                # RST_STREAM must not be sent on an idle stream (6.4), so there the connection has to bear it.
                failure = ConnectionFailure(verdict.error_code, verdict.reason)
            else:
                failure = self._fail_stream(verdict, stream, events)
        if failure is not None:
            self.fail(failure)

    def _fail_stream(
        self, failure: StreamFailure, stream: StreamMachine | None, events: list[Event]
    ) -> ConnectionFailure | None:
        if stream is None:
            self.refuse(failure.stream_id, failure.error_code, failure.reason)
        else:
            self.complain(failure.stream_id, failure.reason)
            self._expect_late_data(stream)
            self.outbox.rst_stream(failure.stream_id, failure.error_code)
            self.count_reply()
            self.table.close(stream, CloseReason.RESET_LOCALLY)
            events.append(StreamReset(failure.stream_id, failure.error_code, False, failure.reason))
        if failure.limit is not None:
            self.count_limit(failure.limit)
        return (self.count_stream_error() if failure.fault else None) or self.count_reset()

    def refuse(self, stream_id: int, error_code: int, reason: str) -> None:
        """Queue RST_STREAM for a stream of the peer's that is not in the table, and never will be."""
        self.complain(stream_id, reason)
        self.expect_unseen_data()
        self.outbox.rst_stream(stream_id, error_code)
        self.count_reply()
        self.table.bury(stream_id, CloseReason.RESET_LOCALLY)

    def fail(self, failure: ConnectionFailure) -> None:
        """End the connection with a GOAWAY that says why (5.4.1). The first cause sticks."""
        if self.failure is None:
            self.failure = failure
            if failure.limit is not None:
                self.count_limit(failure.limit)
            debug_data = failure.reason.encode() if self.rules.explain_goaway else b""
            self.goaway(failure.error_code, additional_data=debug_data)

    def count_reply(self) -> None:
        """A frame was queued that the peer made us queue."""
        self.replies += 1

    # What the peer may cost (10.5): the connection's failure, if it is too much

    def count_limit(self, name: str) -> None:
        """A limit was passed: this field of Config."""
        self.limits_hit[name] = self.limits_hit.get(name, 0) + 1

    def count_stream_error(self) -> ConnectionFailure | None:
        """The peer broke a rule on one stream."""
        return self._judge(self._stream_errors.count(self.table.completed))

    def count_reset(self) -> ConnectionFailure | None:
        """The peer reset a stream before its response was complete, or made us do so."""
        return self._judge(self._resets.count(self.table.completed, self._clock()))

    def count_control_frame(self) -> ConnectionFailure | None:
        """The peer sent what asks for work and brings none."""
        control = self._control_frames
        control.spent += 1
        if control.spent <= control.limit:
            return None
        work = control.work(
            streams=self.table.opened,
            data_received=self._receiver.data_frames,
            data_sent=self._data_frames,
            octets_sent=self.outbox.taken + self.outbox.size,
        )
        return self._judge(control.judge(work, self._clock()))

    @staticmethod
    def _judge(excess: Excess | None) -> ConnectionFailure | None:
        return None if excess is None else excess.on_connection()

    def change_initial_window(self, delta: int) -> bool:
        """The peer's SETTINGS move the windows of all streams (6.9.2); False if that takes one past 2**31-1."""
        self._resized = len(self.table)
        return self.initial_outbound.change(delta, (stream.outbound for stream in self.table.live.values()))

    def _expect_late_data(self, stream: StreamMachine) -> None:
        """We reset a stream: what is left of its window may be on its way."""
        # A larger window that the peer has not acknowledged may have reached it before the reset does (6.9.2).
        settings = self.local_settings
        pending = settings.largest(SettingCodes.INITIAL_WINDOW_SIZE) - settings.initial_window_size
        self.late_data.expect(stream.inbound.available + pending)

    def expect_unseen_data(self) -> None:
        """A stream of the peer's will not be looked at: its first window of DATA may be on its way."""
        self.late_data.expect(self.local_settings.largest(SettingCodes.INITIAL_WINDOW_SIZE))

    # Starting, settings, connection control

    def initiate(self) -> None:
        """Queue our connection preface by the Config: SETTINGS, and the connection window's first WINDOW_UPDATE."""
        self.start(self._initial_settings())
        increment = self.config.connection_window_size - self.inbound.target
        if increment > 0:
            self.grow_window(None, increment)

    def start(self, settings: Mapping[int, int]) -> None:
        """Queue a connection preface with these settings (3.4)."""
        if self.client:
            self.outbox.preface()
        self.update_settings(settings)

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

    def update_settings(self, values: Mapping[int, int]) -> None:
        """Queue a SETTINGS frame; it is in force when acknowledged. Raises InvalidSettingsValueError."""
        self.local_settings.submit(values)
        self.outbox.settings(list(values.items()))

    def ping(self, payload: bytes) -> None:
        """Queue a PING of 8 octets (6.7)."""
        self.pings_unanswered += 1
        self.outbox.ping(payload, ack=False)

    def goaway(
        self,
        error_code: int = ErrorCodes.NO_ERROR,
        *,
        last_stream_id: int | None = None,
        additional_data: bytes = b"",
    ) -> None:
        """Queue a GOAWAY (6.8). Its last stream ID, by default the highest received, never grows again."""
        if last_stream_id is None:
            last_stream_id = self.table.highest_inbound
        if self.goaway_last_stream_id is not None:
            last_stream_id = min(last_stream_id, self.goaway_last_stream_id)
        self.goaway_last_stream_id = last_stream_id
        self.outbox.goaway(last_stream_id, error_code, additional_data)

    def announce_goaway(self) -> None:
        """Queue the first of a graceful shutdown's two GOAWAYs: every stream still counts (6.8)."""
        self.goaway(last_stream_id=MAX_STREAM_ID)

    def ignores(self, stream_id: int) -> bool:
        """Is this one of the peer's streams above the last stream ID of our GOAWAY?"""
        return (
            self.goaway_last_stream_id is not None
            and stream_id > self.goaway_last_stream_id
            and not self.table.is_own(stream_id)
        )

    def abandon_streams(self, last_stream_id: int) -> list[StreamMachine]:
        """Close our own streams above the peer's GOAWAY, without a frame, and return them (6.8).

        No stream of ours opens after a GOAWAY, so one that says nothing new costs nothing.
        """
        if last_stream_id >= self._abandoned_above:
            return []
        self._abandoned_above = last_stream_id
        abandoned = self.table.own_above(last_stream_id)
        for stream in abandoned:
            self._expect_late_data(stream)
            self.table.close(stream, CloseReason.ABANDONED)
        return abandoned

    # Opening streams

    def adopt_upgraded_stream(self, settings: Sequence[tuple[int, int]] = ()) -> None:
        """Be what HTTP/1.1's `Upgrade: h2c` made: stream 1 is its request, complete (RFC 7540 section 3.2).

        Args:
            settings: on a server, the client's from HTTP2-Settings; they are in force, and not acknowledged.

        Raises:
            ProtocolError: those settings are invalid.
        """
        changes = self._receiver.apply_settings(settings)
        if isinstance(changes, ConnectionFailure):
            raise changes.error()
        stream = self.new_stream(1)
        half = stream.sending if self.client else stream.receiving
        half.begin(None)
        half.phase = Phase.DONE
        stream.state = StreamState.HALF_CLOSED_LOCAL if self.client else StreamState.HALF_CLOSED_REMOTE
        self.table.use(1)
        self.table.add(stream)
        self.table.count(stream)

    @property
    def can_open(self) -> bool:
        """Is there room for one more stream of ours now (5.1.2)?"""
        return self.table.open_outbound < self.remote_settings.max_concurrent_streams

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
        self._check_accepting()  # first: who is told of the limit waits for it
        if not self.can_open:
            raise TooManyStreamsError("the peer's SETTINGS_MAX_CONCURRENT_STREAMS is reached", initiator="local")
        stream_id = self._take_stream_id(stream_id)
        stream = self.new_stream(stream_id)
        self._set_request(stream, head)
        stream.sending.begin(head.content_length)
        if end_stream and stream.sending.too_short:
            raise InvalidBodyLengthError(head.content_length or 0, 0, initiator="local", stream_id=stream_id)
        stream.send(Input.SEND_HEADERS)
        self.table.use(stream_id)
        self.table.add(stream)
        self.table.count(stream)
        self.outbox.headers(stream_id, fields, end_stream=end_stream, priority=priority)
        if end_stream:
            self._end_sent(stream)
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
        if self.client:
            raise ProtocolError("a client cannot push", initiator="local")
        if not self.remote_settings.enable_push:
            raise ProtocolError("the client has switched push off", initiator="local", scope="stream")
        if self.table.is_own(parent.stream_id):
            raise ProtocolError("a promise on a pushed stream (6.6)", initiator="local", scope="stream")
        if parent.tunnel and parent.sending.phase is Phase.BODY:
            raise ProtocolError("a promise on a tunnel (8.5)", initiator="local", scope="stream")
        self._check_accepting()
        stream_id = self._take_stream_id(stream_id)
        parent.send(Input.SEND_PUSH_PROMISE)
        stream = self.new_stream(stream_id)
        self._set_request(stream, head)
        stream.receiving.phase = Phase.DONE
        stream.send(Input.SEND_PROMISED)
        self.table.use(stream_id)
        self.table.add(stream)
        self.outbox.push_promise(parent.stream_id, stream_id, fields)
        return stream

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
        if self.remote_goaway is not None:
            better = self.remote_goaway.error_code not in NEEDS_ANOTHER_PROTOCOL
            raise ProtocolError("the peer sent GOAWAY", initiator="remote", safe_to_retry=better)

    def _take_stream_id(self, wanted: int | None) -> int:
        if wanted is not None:
            self._check_stream_id(wanted)
            return wanted
        return self.next_stream_id()

    def next_stream_id(self) -> int:
        """The ID our next stream gets. Raises NoAvailableStreamIDError when every one is used."""
        stream_id = self.table.next_own_id()
        if stream_id is None:
            raise NoAvailableStreamIDError("all stream IDs of this connection are used", initiator="local")
        return stream_id

    def _check_stream_id(self, stream_id: int) -> None:
        if not 0 < stream_id <= MAX_STREAM_ID or not self.table.is_own(stream_id):
            raise ProtocolError(f"{stream_id} is no stream ID of this side (5.1.1)", initiator="local")
        if not self.table.is_idle(stream_id):
            raise StreamIDTooLowError(stream_id, self.table.highest_outbound, initiator="local")

    def new_stream(self, stream_id: int) -> StreamMachine:
        """A stream with the windows that both sides' settings give it; not in the table yet."""
        return StreamMachine(
            stream_id,
            InboundWindow(self.local_settings.initial_window_size),
            OutboundWindow(self.remote_settings.initial_window_size, self.initial_outbound),
        )

    @staticmethod
    def _set_request(stream: StreamMachine, head: RequestHead) -> None:
        stream.request_method = head.method
        stream.authority = head.authority or b""
        stream.tunnel = head.is_tunnel

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
                "the response has begun already",
                scope="stream",
                initiator="local",
                stream_id=stream.stream_id,
            )
        interim = head.is_informational
        if interim and end_stream:
            raise ProtocolError("a 1xx response cannot end the stream", scope="stream", initiator="local")
        bodiless = stream.request_method == b"HEAD" or head.status in _WITHOUT_CONTENT
        length = 0 if bodiless else head.content_length
        if end_stream and length and not (stream.tunnel and head.status < 300):
            raise InvalidBodyLengthError(length, 0, initiator="local", stream_id=stream.stream_id)
        self._step_headers(stream)
        self.outbox.headers(stream.stream_id, fields, end_stream=end_stream)
        if interim:
            return
        self.begin_response(stream, stream.sending, head)
        if end_stream:
            self._end_sent(stream)

    def send_whole_response(self, stream: StreamMachine, fields: Fields, head: ResponseHead, body: bytes) -> bool:
        """Queue HEADERS and all of the body in one DATA frame, if nothing at all speaks against that; was it so?

        Most responses are like this. `send_response` and `send_data` look at every case by itself, and come to the
        same octets and the same state.
        """
        half, length = stream.sending, len(body)
        if (
            half.phase is not Phase.HEAD
            or stream.state not in _RESPONDING
            or stream.tunnel
            or head.content_length not in (None, length)
            or not 0 < length <= self.sendable(stream)
            or head.status in _WITHOUT_CONTENT
            or head.status < 200
            or stream.request_method == b"HEAD"
        ):
            return False
        half.begin(head.content_length)
        half.seen = length
        stream.outbound.consume(length)
        self.outbound.consume(length)
        self.outbox.headers(stream.stream_id, fields, end_stream=False)
        self.outbox.data(stream.stream_id, body, end_stream=True)
        self._end_sent(stream)
        return True

    def _step_headers(self, stream: StreamMachine) -> None:
        if stream.reserved and not self.can_open:
            raise TooManyStreamsError("the client's SETTINGS_MAX_CONCURRENT_STREAMS is reached", initiator="local")
        stream.send(Input.SEND_HEADERS)
        self.table.count(stream)

    @staticmethod
    def begin_response(stream: StreamMachine, half: MessageHalf, head: ResponseHead) -> None:
        """A final response's header section is there: what does its body look like (RFC 9110 section 6.4.1)?"""
        if stream.tunnel and 200 <= head.status < 300:
            half.begin(None)
            return
        stream.tunnel = False
        half.no_content = head.status == 204
        half.begin(head.content_length, bodiless=stream.request_method == b"HEAD" or head.status in _WITHOUT_CONTENT)

    def send_trailers(self, stream: StreamMachine, fields: Fields) -> None:
        """Queue a trailer section, which ends our half.

        Raises:
            ProtocolError: nothing is there to trail, or the stream is a tunnel (8.5).
            StreamClosedError: our half has ended.
            InvalidBodyLengthError: the content-length is not met.
        """
        if stream.tunnel and stream.can_send:
            raise ProtocolError("a tunnel has no trailers", scope="stream", initiator="local")
        if stream.can_send:
            stream.check_body(0, end_stream=True)
        stream.send(Input.SEND_HEADERS)
        self.outbox.headers(stream.stream_id, fields, end_stream=True)
        self._end_sent(stream)

    def sendable(self, stream: StreamMachine) -> int:
        """Octets of DATA that may be cut for this stream now, in one frame. Never negative."""
        count = min(
            stream.outbound.available,
            self.outbound.available,
            self.outbox.max_frame_size,
            self.config.max_outbound_frame_size,
        )
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
        if stream.can_send:
            stream.check_body(length, end_stream=end_stream)
        stream.send(Input.SEND_DATA)
        counted = length if pad_length is None else length + pad_length + 1
        if counted:
            room = min(stream.outbound.available, self.outbound.available)
            if counted > room:
                raise FlowControlError(
                    f"{counted} octets are more than the window", initiator="local", stream_id=stream.stream_id
                )
            # What a window of next to nothing squeezes out of us is no work that pays for more of it (CVE-2019-9511).
            if counted < room or counted >= SMALL_WINDOW:
                self._data_frames += 1
            elif self._resized:
                self._resized -= 1
                self._control_frames.spent += 1
        stream.sending.seen += length
        stream.outbound.consume(counted)
        self.outbound.consume(counted)
        self.outbox.data(stream.stream_id, data, end_stream=end_stream, pad_length=pad_length)
        if end_stream:
            self._end_sent(stream)

    def end_stream(self, stream: StreamMachine) -> None:
        """End our half with an empty DATA frame, which needs no window (6.9.1). Raises as `send_data`."""
        self.send_data(stream, b"", end_stream=True)

    def _end_sent(self, stream: StreamMachine) -> None:
        stream.send(Input.SEND_END_STREAM)
        stream.sending.phase = Phase.DONE
        if stream.closed:
            self.table.close(stream, CloseReason.ENDED)

    def reset_stream(self, stream: StreamMachine, error_code: int) -> bool:
        """Queue RST_STREAM unless the stream is closed (5.4.2); was it open?"""
        if stream.closed:
            return False
        stream.send(Input.SEND_RST_STREAM)
        self._expect_late_data(stream)
        if self.failure is None:  # the GOAWAY of a connection error has ended every stream (5.4.1)
            self.outbox.rst_stream(stream.stream_id, error_code)
            self.count_reply()
        self.table.close(stream, CloseReason.RESET_LOCALLY)
        return True

    def update_priority(self, stream: StreamMachine, priority: Priority) -> None:
        """Queue a PRIORITY_UPDATE for a request of ours (RFC 9218 section 7.1)."""
        stream.priority = priority
        self.outbox.priority_update(stream.stream_id, priority.encode())

    # Flow control

    def acknowledge(self, stream: StreamMachine, count: int) -> None:
        """The application took, or threw away, `count` octets of this stream: give the credit back."""
        self.release_connection(count)
        stream.inbound.release(count)
        self._note_credit(stream)

    def resize_inbound(self, stream: StreamMachine, target: int) -> None:
        """Our SETTINGS_INITIAL_WINDOW_SIZE was acknowledged (6.9.2); credit that was small may be large now."""
        stream.inbound.resize(target)
        self._note_credit(stream)

    def _note_credit(self, stream: StreamMachine) -> None:
        if stream.inbound.unannounced * 2 >= stream.inbound.target and self._wants_more(stream):
            self._creditable[stream.stream_id] = stream

    def release_connection(self, count: int) -> None:
        """Give connection credit back for octets that no stream holds."""
        self.inbound.release(count)

    def grow_window(self, stream: StreamMachine | None, increment: int, *, regrant: bool = False) -> None:
        """Raise a stream's window, or the connection's, beyond its target, and tell the peer at once.

        With `regrant` the octets that the peer used go first, and only the rest is beyond the target.

        Raises:
            FlowControlError: the window would pass 2**31-1 (6.9.1).
            ProtocolError: the stream is in no state to receive on.
        """
        if stream is not None:
            stream.send(Input.SEND_WINDOW_UPDATE)
        window = self.inbound if stream is None else stream.inbound
        if not (window.regrant(increment) if regrant else window.grow(increment)):
            raise FlowControlError("the window would pass 2**31-1", initiator="local")
        self.outbox.window_update(0 if stream is None else stream.stream_id, increment)

    def measure(self, now: float) -> None:
        """So much was received that `bandwidth` may want a PING to measure by."""
        if self.bandwidth.look(self.inbound.received, now):
            self.ping(MEASURING_PING)

    def measured(self, now: float) -> None:
        """The answer to that PING: the connection's window grows now, a stream's with its next WINDOW_UPDATE."""
        if self.bandwidth.answered(self.inbound.received, now):
            self._grown_to = self.bandwidth.window
            increment = self.inbound.widen(self._grown_to - self.inbound.target)
            if increment:
                self.outbox.window_update(0, increment)

    def _widen(self, stream: StreamMachine, taken: int) -> int:
        """Grow the window of a stream whose reader took `taken` octets since its last announcement; by how much?

        To its share of what a round trip carries, which is its share of what was received since. A reader that
        leaves much unread is slower than the network, and gets nothing more to leave.
        """
        window = stream.inbound
        received = self.inbound.received - window.mark
        window.mark = self.inbound.received
        if not received or window.held * 4 > window.target:
            return 0
        wanted = self._grown_to * min(taken, received) // received - window.target
        if wanted <= 0:
            return 0
        increment = self._budget.take(stream, wanted)
        window.grow(increment)
        return increment

    @staticmethod
    def _wants_more(stream: StreamMachine) -> bool:
        return not stream.closed and stream.receiving.phase is not Phase.DONE

    def _announce_credit(self) -> None:
        increment = self.inbound.announce()
        if increment:
            self.outbox.window_update(0, increment)
        if self._creditable:
            for stream in self._creditable.values():
                increment = stream.inbound.announce() if self._wants_more(stream) else 0
                if increment:
                    increment += self._widen(stream, increment)
                    self.outbox.window_update(stream.stream_id, increment)
            self._creditable.clear()

    # Output

    @property
    def has_output(self) -> bool:
        """Would `take` give anything?"""
        return bool(self.outbox.size or self._creditable or self.inbound.due)

    def take(self, amount: int | None = None) -> bytes:
        """What is cut, with the WINDOW_UPDATEs that are due, joined once; at most `amount` octets of it."""
        self._announce_credit()
        self.replies = 0
        return self.outbox.take(amount)
