"""Two ways to test a ConnectionMachine: let two of them talk, or write a peer's frames by hand.

What a machine sends is always read back with hyperframe and hpack, which know nothing of the code under test. What a
scripted peer sends is packed octet by octet (`tests/frames.py`), so that it can also be wrong.
"""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import hpack
from hpack.table import HeaderTable
from hyperframe.frame import Frame, GoAwayFrame, PingFrame, RstStreamFrame

from tests.frames import *  # noqa: F403 - a test finds all it needs in this one place
from tests.frames import (
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PREFACE,
    PUSH_PROMISE,
    WITH_PRIORITY,
    padded,
    ping,
    raw,
    settings,
    settings_ack,
    uint32,
)
from trio_h2 import events as ev
from trio_h2.config import Config
from trio_h2.exceptions import H2Error, ProtocolError
from trio_h2.protocol.connection_machine import ConnectionMachine
from trio_h2.protocol.field_rules import Malformed
from trio_h2.protocol.field_section import InboundRules
from trio_h2.protocol.request_rules import check_request
from trio_h2.protocol.response_rules import check_response
from trio_h2.protocol.stream_machine import StreamMachine

Fields = Sequence[tuple[bytes, bytes]]

DEFAULT_WINDOW = 65_535
MAX_WINDOW = 2**31 - 1

GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"example.org"), (b":path", b"/")]
POST = [(b":method", b"POST"), *GET[1:]]
HEAD = [(b":method", b"HEAD"), *GET[1:]]
CONNECT = [(b":method", b"CONNECT"), (b":authority", b"example.org:443")]
WEBSOCKET = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:]]
OK = [(b":status", b"200")]
TRAILERS = [(b"x-checksum", b"1234")]


def status(code: int, *fields: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """A response's header section."""
    return [(b":status", b"%d" % code), *fields]


def length(count: int) -> tuple[bytes, bytes]:
    """A content-length field."""
    return (b"content-length", b"%d" % count)


def parse(octets: bytes) -> list[Frame]:
    """What was sent, as hyperframe reads it."""
    if octets.startswith(PREFACE):
        octets = octets[len(PREFACE) :]
    view = memoryview(octets)
    frames = []
    while view:
        frame, count = Frame.parse_frame_header(view[:9])
        assert len(view) >= 9 + count, "a frame is cut off"
        frame.parse_body(view[9 : 9 + count])
        frames.append(frame)
        view = view[9 + count :]
    return frames


# A machine and what a user does with it


def open_request(
    machine: ConnectionMachine, fields: Fields = GET, *, end: bool = True, priority: object = None
) -> StreamMachine:
    head = check_request(fields, extended_connect=True)
    assert not isinstance(head, Malformed), head.reason
    return machine.open_stream(fields, head, end_stream=end, priority=priority)  # type: ignore[arg-type]


def promise(machine: ConnectionMachine, parent: StreamMachine, fields: Fields = GET) -> StreamMachine:
    head = check_request(fields, extended_connect=False)
    assert not isinstance(head, Malformed), head.reason
    return machine.promise(parent, fields, head)


def respond(machine: ConnectionMachine, stream: StreamMachine, fields: Fields = OK, *, end: bool = False) -> None:
    head = check_response(fields, to_connect=stream.tunnel)
    assert not isinstance(head, Malformed), head.reason
    machine.send_response(stream, fields, head, end_stream=end)


def live(machine: ConnectionMachine, stream_id: int) -> StreamMachine:
    """The stream of this ID, which has to be in the table."""
    stream = machine.table.get(stream_id)
    assert stream is not None
    return stream


def balanced(machine: ConnectionMachine) -> bool:
    """Does every octet of the connection's inbound window lie in one of its three places?"""
    window = machine.inbound
    return window.available + window.held + window.unannounced == window.target


def state_of(machine: ConnectionMachine) -> object:
    """All that a refused call must leave as it was."""
    streams = [
        (s.stream_id, s.state, s.outbound.available, s.sending.phase, s.sending.seen, s.sending.expected, s.tunnel)
        for s in machine.table
    ]
    table = machine.table
    return (
        machine.outbox.size,
        machine.outbound.available,
        machine.local_settings.awaiting_acknowledgement,
        machine.goaway_last_stream_id,
        (table.highest_inbound, table.highest_outbound, table.open_inbound, table.open_outbound),
        streams,
    )


class RawPeer:
    """A machine under test, and a peer of it that is nothing but a script.

    Attributes:
        machine: the machine under test; `client` says its role.
        encoder: what the peer compresses with.
        decoder: what the peer decompresses with.
    """

    def __init__(self, *, client: bool, config: Config | None = None, greet: bool = True) -> None:
        self.machine = ConnectionMachine(config or Config(), client=client)
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.machine.initiate()
        if greet:
            self.receive(self.preface, settings(), settings_ack())
            self.frames()

    @property
    def preface(self) -> bytes:
        return b"" if self.machine.client else PREFACE

    def receive(self, *octets: bytes) -> list[ev.Event]:
        """Let the machine receive; its events."""
        return self.machine.receive(b"".join(octets))

    def block(self, fields: Fields) -> bytes:
        return self.encoder.encode(fields)

    def headers(
        self, stream_id: int, fields: Fields, *, end: bool = False, pad: int | None = None, prefix: bytes = b""
    ) -> bytes:
        """HEADERS; `prefix` is its five octets of priority."""
        flags = END_HEADERS | (END_STREAM if end else 0) | (WITH_PRIORITY if prefix else 0)
        payload = prefix + self.block(fields)
        if pad is not None:
            flags |= PADDED
            payload = padded(payload, pad)
        return raw(HEADERS, flags, stream_id, payload)

    def push_promise(self, stream_id: int, promised: int, fields: Fields = GET) -> bytes:
        return raw(PUSH_PROMISE, END_HEADERS, stream_id, uint32(promised) + self.block(fields))

    def frames(self) -> list[Frame]:
        """What the machine sent since the last call."""
        return parse(self.machine.take())

    def sent_fields(self, frame: Frame) -> list[tuple[bytes, bytes]]:
        """The fields of a HEADERS or PUSH_PROMISE frame that the machine sent whole."""
        return list(self.decoder.decode(frame.data, raw=True))  # type: ignore[attr-defined]

    def resets(self) -> list[tuple[int, int]]:
        """The RST_STREAMs among what the machine sent since the last call."""
        return [(f.stream_id, f.error_code) for f in self.frames() if isinstance(f, RstStreamFrame)]

    def assert_connection_error(self, code: int, error_class: type[H2Error] = ProtocolError) -> None:
        """The machine ended the connection, and said so with one GOAWAY."""
        failure = self.machine.failure
        assert failure is not None
        assert failure.error_code == code, failure.reason
        assert failure.error_class is error_class
        frames = self.frames()
        assert [f.error_code for f in frames if isinstance(f, GoAwayFrame)] == [code]
        assert isinstance(frames[-1], GoAwayFrame)
        assert not [f for f in frames if isinstance(f, RstStreamFrame)]
        assert self.receive(ping()) == []

    def assert_stream_error(self, stream_id: int, code: int) -> None:
        """The machine reset this stream and no other, and the connection goes on."""
        assert self.machine.failure is None
        assert self.resets() == [(stream_id, code)]
        assert self.machine.table.get(stream_id) is None
        self.assert_alive()

    def assert_alive(self) -> None:
        """The machine has nothing to complain of, and answers."""
        assert self.machine.failure is None
        self.frames()
        self.receive(ping(b"are you "))
        assert [(type(f), f.opaque_data) for f in self.frames()] == [(PingFrame, b"are you ")]


class Pair:
    """A client's machine and a server's, with a wire between them."""

    def __init__(self, *, client: Config | None = None, server: Config | None = None, greet: bool = True) -> None:
        self.client = ConnectionMachine(client or Config(), client=True)
        self.server = ConnectionMachine(server or Config(), client=False)
        self.client.initiate()
        self.server.initiate()
        if greet:
            self.pump()

    def pump(self) -> tuple[list[ev.Event], list[ev.Event]]:
        """Carry bytes both ways until it is quiet: the events of the client, and of the server."""
        at_client: list[ev.Event] = []
        at_server: list[ev.Event] = []
        while True:
            to_server, to_client = self.client.take(), self.server.take()
            if not to_server and not to_client:
                return at_client, at_server
            at_server += self.server.receive(to_server)
            at_client += self.client.receive(to_client)

    def request(self, fields: Fields = GET, *, end: bool = True) -> tuple[StreamMachine, StreamMachine]:
        """Open a stream; it as the client sees it, and as the server does."""
        stream = open_request(self.client, fields, end=end)
        self.pump()
        return stream, live(self.server, stream.stream_id)


@contextmanager
def counted_calls() -> Iterator[list[int]]:
    """The number of calls of functions, ours and built-in ones, within: costs that do not depend on the machine."""
    count = [0]

    def note(_frame: object, event: str, _argument: object) -> None:
        if event in ("call", "c_call"):
            count[0] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield count
    finally:
        sys.setprofile(before)


def held_size(holder: object, *, beside: Iterable[object] = ()) -> int:
    """What CPython takes for all that `holder` holds; `beside` and what that holds are somebody else's."""
    shared = {id(entry) for entry in HeaderTable.STATIC_TABLE}
    for entry in (*HeaderTable.STATIC_TABLE, *beside):
        shared.update((id(entry), *map(id, gc.get_referents(entry))))
    waiting, size = [holder], 0
    while waiting:
        found = waiting.pop()
        if id(found) not in shared and not isinstance(found, (type, InboundRules, bool, types.NoneType)):
            shared.add(id(found))
            size += sys.getsizeof(found)
            waiting += gc.get_referents(found)
    return size


def of_type(events: Iterable[ev.Event], *types: type[ev.Event]) -> list[ev.Event]:
    return [event for event in events if isinstance(event, types)]
