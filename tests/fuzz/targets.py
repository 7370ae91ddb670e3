"""What is fuzzed: each target takes the octets of one input and raises if something is wrong.

It returns how many frames, field blocks or field sections it has put in.
"""

from __future__ import annotations

import base64
import contextlib
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
import hpack

from trio_h2 import Config, H2Error
from trio_h2 import events as ev
from trio_h2.exceptions import ErrorCodes, ProtocolError
from trio_h2.protocol.compression import FieldDecoder, FieldEncoder
from trio_h2.protocol.connection_machine import ConnectionMachine
from trio_h2.protocol.field_rules import Fields as FieldList
from trio_h2.protocol.field_rules import Malformed, check_trailers, check_trailers_untrusted, is_plain, join_cookies
from trio_h2.protocol.field_section import STRICT, FieldSection
from trio_h2.protocol.frame_reader import FrameReader
from trio_h2.protocol.frames import HeadersFrame, PushPromiseFrame
from trio_h2.protocol.limits import HeaderLimits
from trio_h2.protocol.message_half import Phase
from trio_h2.protocol.priority import priority_untrusted
from trio_h2.protocol.request_rules import check_request, parse_request_untrusted, read_request_unchecked
from trio_h2.protocol.response_rules import check_response, parse_response_untrusted, read_response_unchecked
from trio_h2.protocol.stream_machine import StreamMachine
from trio_h2.protocol.verdicts import ConnectionFailure
from trio_h2.sansio import H2Configuration, H2Connection, SettingCodes

from .grammar import EXTRA, INDEXED, NEVER, PLAIN, PREFACE, REQUESTS, RESPONSES, WRONG, Source, Wire, literal, string

# The frame reader

LIMITS = HeaderLimits(max_block_size=3000, max_continuations=3, max_list_size=2000, max_fields=12)


def read(octets: bytes) -> int:
    """The frame reader gives the same frames however the octets are cut, and no exception."""
    source = Source(octets)
    choice = source.octet()
    client, wild, greeted = bool(choice & 1), bool(choice & 2), choice & 0xC != 0
    wire = Wire(source, client=client, wild=wild)
    pieces = [wire.greeting()] if greeted else []
    while source.left:
        pieces.append(wire.frame())
    sent = b"".join(pieces)
    whole = _parsed([sent], expect_preface=client)
    assert _parsed(_cut(sent, choice), expect_preface=client) == whole
    assert all(type(frame) is not ConnectionFailure for frame in whole[:-1]), "something came after a failure"
    return wire.frames


def _cut(sent: bytes, choice: int) -> Iterable[bytes]:
    """In pieces whose sizes vary, so that cuts lie everywhere in a frame."""
    start, size = 0, choice % 23 + 1
    while start < len(sent):
        yield sent[start : start + size]
        start += size
        size = (size * 7 + 3) % (23 if choice & 0x40 else 400) + 1


def _parsed(pieces: Iterable[bytes], *, expect_preface: bool) -> list[object]:
    reader = FrameReader(LIMITS, expect_preface=expect_preface)
    frames: list[object] = []
    for piece in pieces:
        for frame in reader.feed(piece):
            frames.append(_comparable(frame))
        if frames and type(frames[-1]) is ConnectionFailure:
            break
    return frames


def _comparable(frame: object) -> object:
    """Field sections are equal when their fields are."""
    if isinstance(frame, HeadersFrame):
        section = frame.section
        return frame.stream_id, frame.end_stream, frame.priority, section.fields, section.oversized
    if isinstance(frame, PushPromiseFrame):
        return frame.stream_id, frame.promised_stream_id, frame.section.fields, frame.section.oversized
    return frame


# The engine: the in-memory one by hyper-h2's names, and the machine that the actors run

TIGHT = Config(
    enable_push=True,
    max_concurrent_streams=4,
    max_closed_streams=3,
    initial_window_size=2000,
    max_header_list_size=2000,
    max_header_fields=12,
    max_header_block_size=3000,
    max_continuations=3,
    max_unread=1000,
)

ROOMY = Config(enable_push=True)

MAX_REPLY = 256
"""Octets that a frame may make an engine send beyond twice its own: a 431, or a GOAWAY that says why."""


def engine(octets: bytes) -> int:
    """An engine of either role under a program: documented exceptions alone, and windows that add up."""
    source = Source(octets)
    choice = source.octet()
    client, wild = bool(choice & 1), choice & 6 == 0
    wire = Wire(source, client=not client, wild=wild)
    program = InMemory(source, client) if choice & 8 else OnMachine(source, client)
    program.start(wire.highest)
    first = source.octet()
    if program.receive(wire.greeting() if first else PREFACE[: first & 31]) is None:
        return wire.frames
    while source.left:
        what = source.octet()
        if what & 3 == 0:
            program.call(what >> 2)
            wire.highest = max(wire.highest, program.highest)
            wire.unacknowledged = program.machine.local_settings.awaiting_acknowledgement
            continue
        wire.live = [live for live in program.machine.table.live if live & 1 or client]
        pieces = [wire.frame() for _ in range(what >> 6 or 1)]
        if program.receive(b"".join(pieces)) is None:
            break
        program.check()
    program.check()
    return wire.frames


class Program:
    """What both compositions are tried by.

    Attributes:
        highest: the highest stream ID of a request that is sent.
    """

    machine: ConnectionMachine

    def __init__(self, source: Source, client: bool) -> None:
        self.source = source
        self.client = client
        self.highest = -1

    def start(self, first: int) -> None:
        raise NotImplementedError

    def receive(self, octets: bytes) -> list[ev.Event] | None:
        """The events; None if the connection is over."""
        raise NotImplementedError

    def call(self, what: int) -> None:
        raise NotImplementedError

    def sent(self, octets: bytes, received: int | None = None) -> None:
        """Look at what it sends: whole frames, and not much more than it has received."""
        if octets.startswith(PREFACE):
            octets = octets[len(PREFACE) :]
        at = 0
        while at < len(octets):
            high, low, type_, _, stream_id = _FRAME.unpack_from(octets, at)
            assert type_ in _SENT_TYPES
            assert stream_id < 2**31
            assert (type_ in _ON_CONNECTION) == (stream_id == 0) or type_ in _ON_EITHER
            at += 9 + (high << 8 | low)
        assert at == len(octets), "a frame is cut off"
        assert received is None or len(octets) <= 2 * received + MAX_REPLY

    def check(self) -> None:
        """Every octet of every window is in one place, and every count is what it counts."""
        machine = self.machine
        if machine.failure is not None:
            assert isinstance(machine.failure.error_code, ErrorCodes)
            return
        window = machine.inbound
        assert window.available + window.held + window.unannounced == window.target
        counted = own = 0
        for stream in machine.table.live.values():
            inbound = stream.inbound
            assert inbound.available + inbound.held + inbound.unannounced == inbound.target
            counted += stream.counted
            own += stream.counted and machine.table.is_own(stream.stream_id)
        table = machine.table
        assert (table.open_outbound, table.open_inbound) == (own, counted - own)
        assert machine.outbox.size < 2**20


_FRAME = struct.Struct(">HBBBL")
_SENT_TYPES = frozenset((*range(10), 0x0A, 0x10))
_ON_CONNECTION = frozenset((4, 6, 7, 0x10))
_ON_EITHER = frozenset((8, 0x0A))


class InMemory(Program):
    """A program over `H2Connection`, whose calls may also be wrong: then they raise, and nothing else happens."""

    def __init__(self, source: Source, client: bool) -> None:
        super().__init__(source, client)
        flags = source.octet()
        self.connection = H2Connection(
            H2Configuration(
                client_side=client,
                header_encoding="utf-8" if flags & 1 else None,
                validate_outbound_headers=flags & 6 != 6,
                normalize_outbound_headers=flags & 0x18 != 0x18,
                validate_inbound_headers=flags & 0x60 != 0x60,
                normalize_inbound_headers=bool(flags & 0x80),
            )
        )
        self.machine = self.connection._machine

    def start(self, first: int) -> None:
        if self.source.octet() < 250:
            self.connection.initiate_connection()
        else:
            self._upgrade()
        if self.client and not self.machine.table.highest_outbound:
            self.connection.send_headers(first, REQUESTS[1])
            self.highest = first
        self.sent(self.connection.data_to_send())

    def _upgrade(self) -> None:
        """HTTP/1.1's Upgrade; a server's with any octets as HTTP2-Settings."""
        header = base64.urlsafe_b64encode(self.source.take(6 * (self.source.octet() & 3)))
        if self.source.octet() & 1:
            header = header[:-2] + self.source.take(3)
        try:
            self.connection.initiate_upgrade_connection(None if self.client else header)
        except ProtocolError:
            # Refused, before or after it has begun: a program may go on without the request.
            with contextlib.suppress(ProtocolError):
                self.connection.initiate_connection()

    def receive(self, octets: bytes) -> list[ev.Event] | None:
        try:
            events = self.connection.receive_data(octets)
        except ProtocolError as error:
            assert all(isinstance(event, ev.Event) for event in error.events)
            assert self.machine.failure is not None
            self.sent(self.connection.data_to_send(), len(octets))
            self._check_over()
            return None
        assert self.machine.failure is None
        for event in events:
            assert isinstance(event, ev.Event)
            repr(event)
        self.sent(self.connection.data_to_send(), len(octets))
        return events

    def _check_over(self) -> None:
        for call in (lambda: self.connection.receive_data(b""), lambda: self.connection.ping(b"12345678")):
            try:
                call()
            except ProtocolError:
                continue
            raise AssertionError("a call went through after a connection error")

    def call(self, what: int) -> None:
        source = self.source
        stream_id = self._some_stream()
        assert self.machine.outbox.size == 0
        try:
            self._call(what, stream_id, source.octet())
        except H2Error:
            assert self.machine.outbox.size == 0, "a refused call has sent something"
        self.sent(self.connection.data_to_send())

    def _some_stream(self) -> int:
        live = list(self.machine.table.live)
        choice = self.source.octet()
        return live[choice % len(live)] if live and choice < 250 else choice or 1

    def _call(self, what: int, stream_id: int, choice: int) -> None:
        connection = self.connection
        if what < 12:
            self._send_headers(stream_id, choice)
        elif what < 24:
            window = connection.local_flow_control_window(stream_id)
            count = min(max(0, window), 5 if choice & 1 else 3000) + (choice >= 250)
            connection.send_data(stream_id, bytes(count), choice & 2 == 2, choice if choice & 0x1C == 0x1C else None)
        elif what < 34:
            connection.acknowledge_received_data(choice * 20, stream_id)
        elif what < 38:
            connection.increment_flow_control_window((choice + 1) << (choice & 15), stream_id if choice & 1 else None)
        elif what < 42:
            connection.reset_stream(stream_id, choice)
        elif what < 46:
            connection.end_stream(stream_id)
        elif what < 50:
            code = SettingCodes(choice % 6 + 1)
            connection.update_settings({code: (0, 1, 16_384, 70_000, 2**31 - 1)[choice % 5]})
        elif what < 52:
            connection.push_stream(stream_id, connection.get_next_available_stream_id(), REQUESTS[choice & 3])
        elif what < 54:
            connection.ping(b"abcdefgh")
        elif what < 56:
            connection.prioritize(stream_id, choice + 1, choice & 7, bool(choice & 1))
        elif what < 58:
            connection.advertise_alternative_service(b"clear", stream_id=stream_id)
        elif what < 62:
            connection.remote_flow_control_window(stream_id)
            repr(connection.streams)
        elif choice < 8:
            connection.close_connection(choice)

    def _send_headers(self, stream_id: int, choice: int) -> None:
        fields: Sequence[tuple[bytes, bytes]]
        if not self.client:
            fields = EXTRA[:2] if choice & 0x30 == 0x30 else RESPONSES[choice & 7]
            self.connection.send_headers(stream_id, fields, choice & 8 == 8)
            return
        if choice & 0x30:
            stream_id = self.connection.get_next_available_stream_id()
            self.connection.send_headers(stream_id, REQUESTS[choice & 7], choice & 8 == 8)
            self.highest = stream_id
            return
        self.connection.send_headers(stream_id, EXTRA[:2], True)


class OnMachine(Program):
    """What the actors do with a ConnectionMachine, under a tight Config: their calls are in order."""

    def __init__(self, source: Source, client: bool) -> None:
        super().__init__(source, client)
        config = TIGHT if source.octet() & 3 else ROOMY
        self.machine = ConnectionMachine(config, client=client)
        self._unread = 0

    def start(self, first: int) -> None:
        self.machine.initiate()
        if self.client:
            self._open(1)
        self.sent(self.machine.take())

    def receive(self, octets: bytes) -> list[ev.Event] | None:
        machine = self.machine
        events = machine.receive(octets)
        assert all(isinstance(event, ev.Event) for event in events)
        for event in events:
            if type(event) is ev.ConnectionTerminated:
                machine.abandon_streams(event.last_stream_id)
            elif type(event) is ev.DataReceived:
                self._unread += len(event.data)
            repr(event)
        self.sent(machine.take(), len(octets))
        if machine.failure is None:
            return events
        assert machine.receive(b"\0") == []
        assert machine.take() == b""
        return None

    def check(self) -> None:
        super().check()
        machine = self.machine
        if machine.failure is None:
            # What nobody was told of, padding and DATA that was refused, is credit again.
            assert machine.inbound.unread == self._unread
            assert machine.table.open_inbound <= machine.config.max_concurrent_streams
            # Promised streams are not counted before their response, and are no more than the client's own.
            assert len(machine.table) <= machine.table.open_inbound + machine.table.open_outbound + 2**10

    def _open(self, which: int) -> None:
        machine = self.machine
        fields = REQUESTS[which & 7]
        head = check_request(fields, extended_connect=machine.remote_settings.enable_connect_protocol)
        if isinstance(head, Malformed) or not machine.can_open or machine.remote_goaway is not None:
            return
        stream = machine.open_stream(fields, head, end_stream=which & 8 == 8 and not head.content_length)
        self.highest = stream.stream_id

    def call(self, what: int) -> None:
        machine = self.machine
        choice = self.source.octet()
        streams = list(machine.table.live.values())
        if self.client and (what < 16 or not streams):
            self._open(choice)
        elif streams:
            self._call(what, streams[choice % len(streams)], choice)
        self.sent(machine.take())

    def _call(self, what: int, stream: StreamMachine, choice: int) -> None:
        machine = self.machine
        if what < 20:
            self._respond(stream, choice)
        elif what < 34:
            if stream.can_send and stream.sending.phase is Phase.BODY:
                self._send_data(stream, choice)
        elif what < 50:
            count = min(stream.inbound.held, choice * 20)
            self._unread -= count
            machine.acknowledge(stream, count)
        elif what < 58:
            machine.reset_stream(stream, ErrorCodes(choice % 14))
        elif what < 60:
            if not self.client and machine.remote_settings.enable_push and machine.remote_goaway is None:
                self._promise(stream)
        elif what < 62:
            machine.measure(choice)
        elif choice < 8:
            machine.announce_goaway() if choice & 1 else machine.goaway()

    def _respond(self, stream: StreamMachine, choice: int) -> None:
        if self.client or stream.sending.phase is not Phase.HEAD or not stream.can_send:
            return
        fields = RESPONSES[choice & 7]
        head = check_response(fields, to_connect=stream.tunnel)
        if isinstance(head, Malformed) or (stream.reserved and not self.machine.can_open):
            return
        if choice & 8 and self.machine.send_whole_response(stream, fields, head, bytes(head.content_length or 5)):
            return
        end = choice & 0x10 == 0x10 and not head.is_informational and head.content_length in (None, 0)
        self.machine.send_response(stream, fields, head, end_stream=end)

    def _send_data(self, stream: StreamMachine, choice: int) -> None:
        count = min(self.machine.sendable(stream), choice * 5)
        try:
            self.machine.send_data(stream, bytes(count), end_stream=choice & 3 == 3)
        except ProtocolError as error:
            assert error.initiator == "local"  # more or less than its content-length

    def _promise(self, stream: StreamMachine) -> None:
        head = check_request(REQUESTS[0], extended_connect=False)
        assert not isinstance(head, Malformed)
        try:
            self.machine.promise(stream, REQUESTS[0], head)
        except H2Error as error:
            assert error.initiator == "local"


# The field validator

NAMES = [name for name, _ in (*EXTRA, *WRONG)] + [
    *(b":method", b":scheme", b":authority", b":path", b":protocol", b":status", b"content-length", b"host", b"te"),
    *(b"transfer-encoding", b"x\x80", b"x y", b"x:y", b"set-cookie", b"x-forwarded-for"),
]
VALUES = [value for _, value in (*EXTRA, *WRONG)] + [
    *(b"GET", b"CONNECT", b"http", b"ftp", b"*", b"/%20?a#b", b"/a b", b"", b"200", b"099", b"1000", b"101", b"0"),
    *(b"5, 5", b"+5", b"9" * 19, b"9" * 20, b"5,6", b" ", b"a\r\nb", b"\xff\xfe", b"websocket", b"a/1", b"[::1]:80"),
    *(b"example.org:0", b"example.org:99999", b"user@example.org", b"EXAMPLE.org:443", b"Trailers", b"a\tb", b"\x7f"),
]


def validate(octets: bytes) -> int:
    """The validator never raises; and what it lets us send, it takes when received, to mean the same."""
    source = Source(octets)
    sections = 0
    encoder = FieldEncoder()
    decoder = FieldDecoder(WIDE, STRICT)
    while source.left:
        fields = _section(source)
        sections += 1
        valid = _judge(fields)
        section = FieldSection(fields, None)
        assert len(section.headers) <= len(fields)
        priority = section.priority
        assert priority is None or 0 <= priority_untrusted(priority).urgency <= 7
        join_cookies(fields)
        repr(read_request_unchecked(fields))
        repr(read_response_unchecked(fields))
        if valid:
            assert decoder.decode(encoder.encode(tuple(fields))).fields == fields
        _check_telling(fields)
    return sections


def _check_telling(fields: list[tuple[bytes, bytes]]) -> None:
    """A section is judged by the fields that are not plain as it is judged by all of them."""
    telling = [field for field in fields if not is_plain(*field)]
    for flag in (False, True):
        whole = parse_request_untrusted(fields, extended_connect=flag)
        assert parse_request_untrusted(fields, telling, extended_connect=flag) == whole
        whole_response = parse_response_untrusted(fields, to_connect=flag)
        assert parse_response_untrusted(fields, telling, to_connect=flag) == whole_response
    assert check_trailers_untrusted(fields, telling) == check_trailers_untrusted(fields)


WIDE = HeaderLimits(max_block_size=2**20, max_continuations=0, max_list_size=2**20, max_fields=2**20)


def _section(source: Source) -> list[tuple[bytes, bytes]]:
    choice = source.octet()
    fields: list[tuple[bytes, bytes]] = []
    if choice & 3 == 1:
        fields += REQUESTS[choice >> 5]
    elif choice & 3 == 2:
        fields += RESPONSES[choice >> 5]
    for _ in range(choice >> 2 & 3):
        which = source.octet()
        if which < 96:
            fields.append(EXTRA[which & 7])
        elif which < 200:
            fields.append((NAMES[which % len(NAMES)], VALUES[source.octet() % len(VALUES)]))
        elif which < 240 and fields:
            place = source.octet() % len(fields)
            fields[place] = (fields[place][0], VALUES[source.octet() % len(VALUES)])
        else:
            fields.append((source.take(which & 7), source.take(which >> 3 & 7)))
    return fields


def _judge(fields: FieldList) -> bool:
    """Is it a request, a response or a trailer section that may be sent?"""
    valid = False
    for flag in (False, True):
        request = check_request(fields, extended_connect=flag)
        response = check_response(fields, to_connect=flag)
        for sent, received in (
            (request, parse_request_untrusted(fields, extended_connect=flag)),
            (response, parse_response_untrusted(fields, to_connect=flag)),
        ):
            if isinstance(sent, Malformed):
                assert sent.reason.isprintable()
            else:
                valid = True
                assert received == sent
            if isinstance(received, Malformed):
                assert received.reason.isprintable()
    if check_trailers(fields) is None:
        valid = True
        assert check_trailers_untrusted(fields) is None
    return valid


# HPACK's decoder

TABLE_SIZES = [0, 1, 60, 100, 4096, 65_536]
INTEGERS = [b"\x3f\x80\x80\x80\x00", b"\xff\x80\x00", b"\x7f\x00", b"\x0f\x00", b"\xff\xff\xff\xff\xff\xff\xff\x00"]


def decompress(octets: bytes) -> int:
    """Our loop over field blocks gives the fields that hpack's gives, or both fail; with equal tables after it."""
    source = Source(octets)
    ours = FieldDecoder(WIDE, STRICT)
    theirs = hpack.Decoder(max_header_list_size=2**62)
    blocks = 0
    size = TABLE_SIZES[source.octet() % len(TABLE_SIZES)] if source.octet() & 1 else 4096
    ours.set_max_table_size(size)
    theirs.max_allowed_table_size = size
    block = b"" if size >= 4096 else _update(size)
    while source.left:
        if source.octet() >= 32 or not blocks:  # else the same again, which may be remembered
            block = (block if not blocks else b"") + _block(source)
        blocks += 1
        if not _same(ours, theirs, block):
            break
    return blocks


def _same(ours: FieldDecoder, theirs: hpack.Decoder, block: bytes) -> bool:
    """Compare; can it go on?"""
    expected = failure = None
    try:
        expected = list(theirs.decode(block, raw=True))
    except hpack.HPACKError as error:
        failure = error
    try:
        section = ours.decode(block)
        fields = section.fields
        assert len(section.headers) <= len(fields)  # whoever asks for them found it well-formed: it may be remembered
        ours.settle()
    except hpack.HPACKError as error:
        # RFC 7541 section 4.2 allows two, hpack any number.
        assert failure is not None or "more than two table size updates" in str(error), f"only ours fails: {error!r}"
        return False
    assert failure is None, f"only hpack fails: {failure!r}"
    assert fields == expected
    assert [_never_indexed(field) for field in fields] == [_never_indexed(field) for field in expected or ()]
    table, other = ours._decoder.table, theirs.header_table
    assert [field for field, _, _ in table.entries] == list(other.dynamic_entries)
    assert table.max_size == other.maxsize
    return True


def _never_indexed(field: Any) -> bool:
    return isinstance(field, hpack.NeverIndexedHeaderTuple)


def _update(size: int) -> bytes:
    return bytes([0x20 | size]) if size < 31 else b"\x3f" + _varint(size - 31)


def _varint(value: int) -> bytes:
    octets = bytearray()
    while value >= 128:
        octets.append(value & 127 | 128)
        value >>= 7
    return bytes([*octets, value])


def _block(source: Source) -> bytes:
    """A few representations; most of them are well-formed, and the rest is anything."""
    pieces = []
    choice = source.octet()
    if choice >= 240:
        pieces.append(_update(TABLE_SIZES[choice % len(TABLE_SIZES)]))
    for _ in range(choice & 7):
        which = source.octet()
        if which < 80:
            # Of the static table, or the first of the other (RFC 7541 section 2.3.3); that one may be empty.
            pieces.append(bytes([0x81 + source.octet() % 61]) if which else b"\xbe")
        elif which < 232:
            pieces.append(_PIECES[which % len(_PIECES)])
        elif which < 240:
            kind = (INDEXED, PLAIN, NEVER)[which % 3]
            pieces.append(bytes([kind | source.octet() % 14 + 1]) + string(source.take(which & 7), False))
        elif which < 246:
            # A string that says it is Huffman-coded, and is any octets.
            text = source.take(which & 7)
            pieces.append(bytes([0x40 | which & 0x1F | 1, 0x80 | len(text)]) + text)
        elif which < 252:
            pieces.append(INTEGERS[which % len(INTEGERS)])
        else:
            pieces.append(source.take(which & 15))
    return b"".join(pieces)


_PIECES = [
    literal(kind, name, value, huffman=huffman)
    for name, value in (*EXTRA, (b"x-nul", b"a\0b"), (b"", b""), (b"x", b"c" * 150))
    for kind in (INDEXED, INDEXED, PLAIN, NEVER)
    for huffman in (False, True)
]


@attrs.frozen
class Target:
    """One function, and what it counts."""

    run: Callable[[bytes], int]
    counts: str


TARGETS = {
    "reader": Target(read, "frames"),
    "engine": Target(engine, "frames"),
    "fields": Target(validate, "field sections"),
    "hpack": Target(decompress, "field blocks"),
}
