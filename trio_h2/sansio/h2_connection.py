"""H2Connection: the protocol core in memory, by hyper-h2's names.

It is a second composition of the pieces that the actors run (`protocol/`), for programs that bring their
own I/O. It adds three things to a ConnectionMachine and no rule: streams are named by ID, failures are raised, and
credit goes back when the program acknowledges what it was given, on the stream and on the connection alike.
`docs/migrating-from-h2.md` says where it differs from hyper-h2, and why.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import cast

import attrs

from .. import events as ev
from ..codes import SettingCodes
from ..exceptions import (
    FlowControlError,
    FrameTooLargeError,
    NoSuchStreamError,
    ProtocolError,
    StreamClosedError,
)
from ..protocol.connection_machine import ConnectionMachine
from ..protocol.frames import PriorityFields
from ..protocol.message_half import Phase
from ..protocol.settings import (
    Settings,
    decode_settings_header,
    encode_settings_header,
)
from ..protocol.stream_machine import StreamMachine
from ..protocol.stream_table import MAX_STREAM_ID
from ..protocol.windows import MAX_WINDOW
from .arguments import check_pad_length, error_code_of
from .configuration import LIMITS, NOT_GIVEN, H2Configuration, configuration_from, inbound_rules
from .event_shapes import shaped
from .outbound_headers import HeaderPairs, OutboundHeaders
from .priority_signals import DEFAULT_WEIGHT, priority_fields
from .views import DecoderView, H2Stream, StateView, StreamsView

__all__ = ["H2Connection"]


class H2Connection:
    """One connection, in memory.

    Give received bytes to `receive_data`, which returns events; after every call send what `data_to_send` gives. Calls
    raise ProtocolError and its kin when they break a rule; nothing is changed and nothing is queued then.

    Args:
        config: by default that of a client.
        client_side, header_encoding: what hyper-h2 2.0 to 2.6 took in place of a config, which wins if both are given.
            With either of them the other is what it was there: a client, and UTF-8.

    Attributes:
        config: the H2Configuration. Its flags and its encoding may be changed, or another one assigned, at any time;
            which side this is stays.
        local_settings: our settings. What is assigned to it, or in its place, before `initiate_connection` is sent by
            that; later changes go through `update_settings` and show here once acknowledged.
        state_machine: its `state` is a ConnectionState; CLOSED when no new stream can be opened.
        decoder: its `max_header_list_size` is the largest header list that we take.
    """

    DEFAULT_MAX_OUTBOUND_FRAME_SIZE = 65_535
    DEFAULT_MAX_INBOUND_FRAME_SIZE = 2**24
    HIGHEST_ALLOWED_STREAM_ID = MAX_STREAM_ID
    MAX_WINDOW_INCREMENT = MAX_WINDOW
    DEFAULT_MAX_HEADER_LIST_SIZE = 2**16
    MAX_CLOSED_STREAMS = LIMITS.max_closed_streams

    def __init__(
        self,
        config: H2Configuration | None = None,
        *,
        client_side: bool = NOT_GIVEN,
        header_encoding: str | bool | None = NOT_GIVEN,
    ) -> None:
        self.config = config or configuration_from(client_side, header_encoding)
        client = self.config.client_side
        self._machine = ConnectionMachine(LIMITS, client=client, rules=inbound_rules(self.config), clock=time.monotonic)
        # Streams that closed since bytes were last received: the events of those bytes are still being worked on.
        self._closed_lately = self._machine.table.keep_closed()
        self.local_settings = Settings(
            client,
            {
                SettingCodes.MAX_CONCURRENT_STREAMS: 100,
                SettingCodes.MAX_HEADER_LIST_SIZE: self.DEFAULT_MAX_HEADER_LIST_SIZE,
            },
        )
        self.state_machine = StateView(self._machine)
        self.decoder = DecoderView(self._machine.reader)
        self._machine.reader.set_max_header_list_size(self.DEFAULT_MAX_HEADER_LIST_SIZE)
        self._initiated = False
        self._prepared_by: tuple[tuple[bool, bool, bool], OutboundHeaders] | None = None

    # Settings

    @property
    def remote_settings(self) -> Settings:
        """The peer's settings in force."""
        return self._machine.remote_settings

    def update_settings(self, new_settings: Mapping[int, int]) -> None:
        """Send SETTINGS; they are in force when acknowledged. Raises InvalidSettingsValueError."""
        self._check_open()
        Settings(self.config.client_side, new_settings)  # raises before any is staged
        if self._initiated:
            self._machine.update_settings(new_settings)
        self.local_settings.update(new_settings)

    # Starting and ending

    def initiate_connection(self) -> None:
        """Queue our connection preface (RFC 9113 section 3.4)."""
        if self._initiated:
            raise ProtocolError("the connection was initiated already", initiator="local")
        self._machine.start(self._initial_settings())
        self._initiated = True

    def _initial_settings(self) -> dict[int, int]:
        for code, value in self.local_settings.to_send().items():
            self.local_settings.put_in_force(code, value)
        values = dict(self.local_settings)
        if not self.config.client_side and SettingCodes.ENABLE_PUSH in values:
            # A server must not say 1, and 0 is what it would mean (6.5.2).
            values[SettingCodes.ENABLE_PUSH] = 0
        return values

    def initiate_upgrade_connection(self, settings_header: str | bytes | None = None) -> bytes | None:
        """Start a connection that HTTP/1.1's `Upgrade: h2c` made: stream 1 is its request, complete.

        Returns, for clients, the value for HTTP2-Settings. Servers pass in the one they received.
        """
        settings = decode_settings_header(settings_header) if settings_header else ()
        self.initiate_connection()
        self._machine.adopt_upgraded_stream(settings)
        if not self.config.client_side:
            return None
        return encode_settings_header(self._initial_settings())

    def close_connection(
        self, error_code: int = 0, additional_data: bytes | None = None, last_stream_id: int | None = None
    ) -> None:
        """Queue GOAWAY; nothing more can be sent after it, and what still comes is received.

        Raises:
            ValueError: a code or a stream ID that has no room in the frame.
        """
        if last_stream_id is not None and not 0 <= last_stream_id <= MAX_STREAM_ID:
            raise ValueError(f"last_stream_id must be from 0 to 2**31-1, not {last_stream_id}")
        debug_data = bytes(memoryview(additional_data or b""))
        self._machine.goaway(error_code_of(error_code), last_stream_id=last_stream_id, additional_data=debug_data)

    def _check_open(self) -> None:
        if self._machine.state.goaway_last_stream_id is not None:
            raise ProtocolError("the connection is closed", initiator="local")

    # Receiving and output

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[ev.Event]:
        """Take bytes from the peer and return what they mean.

        Raises:
            ProtocolError: the peer broke a rule of the connection; `data_to_send` has the GOAWAY. What the same bytes
                said before that is in the exception's `events`.
        """
        machine = self._machine
        state = machine.state
        if state.failure is not None:
            raise ProtocolError("the connection is closed", initiator="local")
        self._closed_lately.clear()
        config, rules = self.config, state.rules
        validate, join_cookies = config.validate_inbound_headers, config.normalize_inbound_headers
        if rules.validate is not validate or rules.join_cookies is not join_cookies:
            machine.set_rules(attrs.evolve(rules, validate=validate, join_cookies=join_cookies))
        received = machine.receive(data)
        for event in received:
            if type(event) is ev.SettingsAcknowledged:
                for change in event.changed_settings.values():
                    self.local_settings.put_in_force(change.setting, change.new_value)
        events = [shaped(event, config.header_encoding) for event in received]
        if state.failure is not None:
            raise state.failure.error(events=events)
        return events

    def data_to_send(self, amount: int | None = None) -> bytes:
        """What to send now: all of it, or at most `amount` octets."""
        return self._machine.take(amount)

    def clear_outbound_data_buffer(self) -> None:
        """Throw away what is to be sent, when the connection is gone."""
        self._machine.take()

    # Sending on a stream

    @property
    def _outbound(self) -> OutboundHeaders:
        """What prepares header sections, by the flags that `config` has now."""
        config = self.config
        flags = config.validate_outbound_headers, config.normalize_outbound_headers, config.split_outbound_cookies
        if self._prepared_by is None or self._prepared_by[0] != flags:
            validate, normalize, split_cookies = flags
            outbound = OutboundHeaders(validate=validate, normalize=normalize, split_cookies=split_cookies)
            self._prepared_by = flags, outbound
        return self._prepared_by[1]

    def send_headers(
        self,
        stream_id: int,
        headers: HeaderPairs,
        end_stream: bool = False,
        priority_weight: int | None = None,
        priority_depends_on: int | None = None,
        priority_exclusive: bool | None = None,
    ) -> None:
        """Send a request, a response (interim ones before it) or trailers, whichever is next on the stream."""
        self._check_open()
        machine = self._machine
        priority = priority_fields(
            stream_id, priority_weight, priority_depends_on, priority_exclusive, client=self.config.client_side
        )
        stream = machine.table.get(stream_id)
        if stream is None and self.config.client_side and machine.table.how_closed(stream_id) is None:
            self._closed_lately.clear()
            fields, head = self._outbound.request(headers)
            machine.open_stream(fields, head, end_stream=end_stream, priority=priority, stream_id=stream_id)
            return
        stream = self._stream(stream_id)
        if stream.sending.phase is Phase.HEAD:
            fields, response = self._outbound.response(headers, to_connect=stream.tunnel)
            machine.send_response(stream, fields, response, end_stream=end_stream)
            if not self.config.validate_outbound_headers:
                stream.sending.expect_anything()  # also to HEAD, and in a 204
        elif stream.sending.phase is Phase.DONE:
            raise StreamClosedError(stream_id, initiator="local")
        elif not end_stream:
            raise ProtocolError("trailers have to end the stream", scope="stream", initiator="local")
        else:
            machine.send_trailers(stream, self._outbound.trailers(headers))

    def send_data(
        self,
        stream_id: int,
        data: bytes | bytearray | memoryview,
        end_stream: bool = False,
        pad_length: int | None = None,
    ) -> None:
        """Send one DATA frame. Raises FlowControlError or FrameTooLargeError for more than fits; nothing is split."""
        self._check_open()
        if type(data) is not bytes:
            data = bytes(memoryview(data))
        size = len(data)
        if pad_length is not None:
            check_pad_length(pad_length)
            size += pad_length + 1
        stream = self._stream(stream_id)
        machine = self._machine
        if size and size > min(stream.outbound.available, machine.outbound.available):
            raise FlowControlError(f"{size} octets are more than the window", initiator="local", stream_id=stream_id)
        if size > machine.outbox.max_frame_size:
            raise FrameTooLargeError(f"{size} octets are more than one frame may have", initiator="local")
        machine.send_data(stream, data, end_stream=end_stream, pad_length=pad_length)

    def end_stream(self, stream_id: int) -> None:
        """End our half of the stream with an empty DATA frame."""
        self._check_open()
        self._machine.end_stream(self._stream(stream_id))

    def reset_stream(self, stream_id: int, error_code: int = 0) -> None:
        """Send RST_STREAM. Raises StreamClosedError if the stream is closed, ValueError for an impossible code."""
        self._check_open()
        self._machine.reset_stream(self._stream(stream_id), error_code_of(error_code))

    def push_stream(self, stream_id: int, promised_stream_id: int, request_headers: HeaderPairs) -> None:
        """Promise a response with PUSH_PROMISE."""
        self._check_open()
        if len(self._closed_lately) >= self.MAX_CLOSED_STREAMS:
            self._closed_lately.clear()  # a server that pushes need not receive anything
        parent = self._stream(stream_id)
        fields, head = self._outbound.request(request_headers)
        self._machine.promise(parent, fields, head, stream_id=promised_stream_id)

    def _stream(self, stream_id: int) -> StreamMachine:
        stream = self._machine.table.get(stream_id)
        if stream is not None:
            return stream
        if self._machine.table.is_idle(stream_id):
            raise NoSuchStreamError(stream_id, initiator="local")
        raise StreamClosedError(stream_id, initiator="local")

    def _seen(self, stream_id: int) -> StreamMachine:
        """The stream, also if it closed only just: an event before that in the same bytes may be about it."""
        stream = self._machine.table.get(stream_id) or self._closed_lately.get(stream_id)
        return self._stream(stream_id) if stream is None else stream

    # Flow control

    def local_flow_control_window(self, stream_id: int) -> int:
        """Octets of DATA that we may send on the stream now."""
        return min(self._seen(stream_id).outbound.available, self._machine.outbound.available)

    def remote_flow_control_window(self, stream_id: int) -> int:
        """Octets of DATA that the peer may send on the stream now."""
        return min(self._seen(stream_id).inbound.offered, self._machine.inbound.offered)

    @property
    def inbound_flow_control_window(self) -> int:
        """Octets of DATA that the peer may send on the connection now."""
        return self._machine.inbound.offered

    @property
    def outbound_flow_control_window(self) -> int:
        """Octets of DATA that we may send on the connection now."""
        return self._machine.outbound.available

    def increment_flow_control_window(self, increment: int, stream_id: int | None = None) -> None:
        """Send a WINDOW_UPDATE, for octets that were received first.

        Raises:
            ValueError: the increment is not from 1 to 2**31-1.
            FlowControlError: the window would pass 2**31-1.
        """
        if not 1 <= increment <= MAX_WINDOW:
            raise ValueError(f"increment must be from 1 to {MAX_WINDOW}, not {increment}")
        self._check_open()
        stream = None if stream_id is None else self._stream(stream_id)
        self._machine.grow_window(stream, increment, regrant=True)

    def acknowledge_received_data(self, acknowledged_size: int, stream_id: int) -> None:
        """The program is done with received octets (`flow_controlled_length`): give their credit back when due."""
        if stream_id <= 0:
            raise ValueError(f"stream_id must be positive, not {stream_id}")
        if acknowledged_size < 0:
            raise ValueError(f"acknowledged_size must not be negative: {acknowledged_size}")
        machine = self._machine
        stream = machine.table.get(stream_id)
        # No more than is owed: what was regranted has gone back already.
        if stream is not None:
            machine.acknowledge(stream, min(acknowledged_size, stream.inbound.held, machine.inbound.unread))
        elif machine.table.is_idle(stream_id):
            raise NoSuchStreamError(stream_id, initiator="local")
        else:
            machine.release_connection(min(acknowledged_size, machine.inbound.unread))

    # The rest

    def ping(self, opaque_data: bytes | str) -> None:
        """Send a PING of 8 octets. Raises ValueError for anything else."""
        if not isinstance(opaque_data, bytes) or len(opaque_data) != 8:
            raise ValueError(f"opaque_data must be 8 bytes, not {opaque_data!r}")
        self._check_open()
        self._machine.ping(opaque_data)

    def prioritize(
        self,
        stream_id: int,
        weight: int | None = None,
        depends_on: int | None = None,
        exclusive: bool | None = None,
    ) -> None:
        """Send RFC 7540's PRIORITY (deprecated by RFC 9113 section 5.3.2)."""
        self._check_open()
        if not 0 < stream_id <= MAX_STREAM_ID:
            raise ProtocolError(f"a stream ID is from 1 to 2**31-1, not {stream_id} (5.1.1)", initiator="local")
        weight = DEFAULT_WEIGHT if weight is None else weight
        priority = priority_fields(stream_id, weight, depends_on, exclusive, client=self.config.client_side)
        self._machine.outbox.priority(stream_id, cast(PriorityFields, priority))

    def advertise_alternative_service(
        self, field_value: bytes, origin: bytes | None = None, stream_id: int | None = None
    ) -> None:
        """Send ALTSVC (RFC 7838 section 4), for `origin` or for the origin of the request on `stream_id`."""
        if not isinstance(field_value, bytes):
            raise ValueError("field_value must be bytes")
        if (origin is None) == (stream_id is None):
            raise ValueError("give either origin or stream_id")
        self._check_open()
        if self.config.client_side:
            raise ProtocolError("only a server advertises alternative services", initiator="local")
        if stream_id is not None and self._stream(stream_id).sending.phase is not Phase.HEAD:
            raise ProtocolError("the response on this stream has begun", scope="stream", initiator="local")
        self._machine.outbox.altsvc(stream_id or 0, origin or b"", field_value)

    def get_next_available_stream_id(self) -> int:
        """The ID for our next stream. Raises NoAvailableStreamIDError when there is none left."""
        return self._machine.next_stream_id()

    @property
    def streams(self) -> Mapping[int, H2Stream]:
        """The streams by ID, to look at: those that are not closed, and those that closed only just."""
        return StreamsView(self._machine.table.live, self._closed_lately)

    @property
    def open_outbound_streams(self) -> int:
        """Our streams that count as concurrent (5.1.2)."""
        self._closed_lately.clear()
        return self._machine.table.open_outbound

    @property
    def open_inbound_streams(self) -> int:
        """The peer's streams that count as concurrent (5.1.2)."""
        self._closed_lately.clear()
        return self._machine.table.open_inbound

    @property
    def highest_outbound_stream_id(self) -> int:
        """The highest stream ID we used, or 0."""
        return self._machine.table.highest_outbound

    @property
    def highest_inbound_stream_id(self) -> int:
        """The highest stream ID the peer used, or 0."""
        return self._machine.table.highest_inbound

    @property
    def max_outbound_frame_size(self) -> int:
        """The largest frame payload that the peer takes. What is assigned holds until the peer's next setting."""
        return self._machine.outbox.max_frame_size

    @max_outbound_frame_size.setter
    def max_outbound_frame_size(self, size: int) -> None:
        self._machine.outbox.set_max_frame_size(size)

    @property
    def max_inbound_frame_size(self) -> int:
        """The largest frame payload that we take. What is assigned holds until a setting of ours is acknowledged."""
        return self._machine.reader.max_frame_size

    @max_inbound_frame_size.setter
    def max_inbound_frame_size(self, size: int) -> None:
        self._machine.reader.set_max_frame_size(size)
