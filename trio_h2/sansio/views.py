"""What programs look at inside hyper-h2's connection: its state, its streams, and its decoder's limit."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping

from ..protocol.connection_machine import ConnectionMachine
from ..protocol.frame_reader import FrameReader
from ..protocol.message_half import Phase
from ..protocol.stream_machine import StreamMachine, StreamState

__all__ = ["ConnectionState", "DecoderView", "H2Stream", "StateView", "StreamsView"]


class ConnectionState(enum.Enum):
    """How far the connection is, for `H2Connection.state_machine.state`."""

    IDLE = 0
    CLIENT_OPEN = 1
    SERVER_OPEN = 2
    CLOSED = 3


class StateView:
    """`H2Connection.state_machine`, of which programs read `state`."""

    def __init__(self, machine: ConnectionMachine) -> None:
        self._machine = machine

    @property
    def state(self) -> ConnectionState:
        """CLOSED when GOAWAY was sent, for whatever reason, or received; IDLE while no stream was used."""
        machine = self._machine
        if machine.goaway_last_stream_id is not None or machine.remote_goaway is not None:
            return ConnectionState.CLOSED
        if not machine.table.highest_inbound and not machine.table.highest_outbound:
            return ConnectionState.IDLE
        return ConnectionState.CLIENT_OPEN if machine.client else ConnectionState.SERVER_OPEN


class DecoderView:
    """`H2Connection.decoder`, of which programs set `max_header_list_size`."""

    def __init__(self, reader: FrameReader) -> None:
        self._reader = reader

    @property
    def max_header_list_size(self) -> int:
        """Octets of a field section as SETTINGS_MAX_HEADER_LIST_SIZE counts them (RFC 9113 section 6.5.2)."""
        return self._reader.max_header_list_size

    @max_header_list_size.setter
    def max_header_list_size(self, size: int) -> None:
        self._reader.set_max_header_list_size(size)


class H2Stream:
    """One stream of `H2Connection.streams`, to look at."""

    def __init__(self, stream: StreamMachine) -> None:
        self._stream = stream

    @property
    def stream_id(self) -> int:
        """Its stream ID."""
        return self._stream.stream_id

    @property
    def state_machine(self) -> H2Stream:
        """Itself: hyper-h2 keeps a stream's state in an object of its own."""
        return self

    @property
    def state(self) -> StreamState:
        """Its state by RFC 9113 section 5.1."""
        return self._stream.state

    @property
    def open(self) -> bool:
        """Whether it counts as concurrent (5.1.2)."""
        return self._stream.open

    @property
    def closed(self) -> bool:
        """Whether it is over in both directions."""
        return self._stream.closed

    @property
    def headers_sent(self) -> bool:
        """Whether we have sent a header section that is not an interim one."""
        return self._stream.sending.phase is not Phase.HEAD

    @property
    def headers_received(self) -> bool:
        """Whether the peer has."""
        return self._stream.receiving.phase is not Phase.HEAD

    @property
    def outbound_flow_control_window(self) -> int:
        """Octets of DATA that its own window lets us send."""
        return self._stream.outbound.available

    @property
    def inbound_flow_control_window(self) -> int:
        """Octets of DATA that its own window lets the peer send."""
        return self._stream.inbound.offered


class StreamsView(Mapping[int, H2Stream]):
    """`H2Connection.streams`: those that are not closed, and those that closed only just."""

    def __init__(self, live: Mapping[int, StreamMachine], closed: Mapping[int, StreamMachine]) -> None:
        self._live = live
        self._closed = closed

    def __getitem__(self, stream_id: int) -> H2Stream:
        stream = self._live.get(stream_id)
        return H2Stream(self._closed[stream_id] if stream is None else stream)

    def __iter__(self) -> Iterator[int]:
        return iter([*self._live, *self._closed])

    def __len__(self) -> int:
        return len(self._live) + len(self._closed)
