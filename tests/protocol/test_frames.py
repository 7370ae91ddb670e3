"""Bytes to frames and back (RFC 9113 sections 3.4, 4 and 6), and HPACK in wire order (RFC 7541)."""

from __future__ import annotations

import itertools

import hpack
import pytest
from hyperframe.frame import AltSvcFrame, ContinuationFrame, GoAwayFrame, HeadersFrame, PushPromiseFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_h2 import events as ev
from trio_h2.config import Config
from trio_h2.exceptions import DenialOfServiceError, ErrorCodes, FrameDataMissingError, FrameTooLargeError
from trio_h2.headers import Headers, NeverIndexed
from trio_h2.protocol.compression import FieldDecoder, FieldEncoder
from trio_h2.protocol.connection_machine import ConnectionMachine
from trio_h2.protocol.field_rules import Malformed
from trio_h2.protocol.field_section import STRICT, FieldSection
from trio_h2.protocol.frame_reader import FrameReader
from trio_h2.protocol.frame_writer import FrameWriter
from trio_h2.protocol.frames import PriorityFields, SettingsFrame
from trio_h2.protocol.huffman import HuffmanEncoder
from trio_h2.protocol.limits import HeaderLimits
from trio_h2.protocol.priority import DEFAULT_PRIORITY
from trio_h2.protocol.verdicts import ConnectionFailure
from trio_h2.requests import split_request

from . import helpers as h

SIZE_ERROR = (ErrorCodes.FRAME_SIZE_ERROR, FrameDataMissingError)


def server(**config: object) -> h.RawPeer:
    return h.RawPeer(client=False, config=Config(**config))  # type: ignore[arg-type]


# 3.4: the connection preface


def test_rfc9113_3_4_a_client_starts_with_24_octets_and_settings() -> None:
    machine = ConnectionMachine(Config(), client=True)
    machine.initiate()
    octets = machine.take()
    assert octets.startswith(h.PREFACE)
    assert h.parse(octets)[0].type == h.SETTINGS


def test_rfc9113_3_4_a_server_starts_with_settings() -> None:
    peer = h.RawPeer(client=False, greet=False)
    first = peer.frames()[0]
    assert first.type == h.SETTINGS
    assert "ACK" not in first.flags


def test_rfc9113_3_4_the_preface_may_come_octet_by_octet() -> None:
    peer = h.RawPeer(client=False, greet=False)
    octets = h.PREFACE + h.settings((h.MAX_FRAME_SIZE, 20_000))
    for octet in octets[:-1]:
        assert peer.receive(bytes([octet])) == []
    (event,) = peer.receive(octets[-1:])
    assert isinstance(event, ev.RemoteSettingsChanged)


def test_rfc9113_3_4_the_settings_of_the_preface_may_be_empty() -> None:
    peer = h.RawPeer(client=False, greet=False)
    assert peer.receive(h.PREFACE, h.settings()) == [ev.RemoteSettingsChanged({})]


@pytest.mark.parametrize("place", range(24))
def test_rfc9113_3_4_a_wrong_octet_of_the_preface_is_seen_when_it_comes(place: int) -> None:
    peer = h.RawPeer(client=False, greet=False)
    wrong = h.PREFACE[:place] + bytes([h.PREFACE[place] ^ 1])
    assert peer.receive(wrong[:-1]) == []
    assert peer.machine.failure is None
    assert peer.receive(wrong[-1:]) == []
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


def test_rfc9113_3_4_an_http_1_request_is_a_wrong_preface() -> None:
    peer = h.RawPeer(client=False, greet=False)
    peer.receive(b"GET / HTTP/1.1\r\n")
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


def test_rfc9113_3_4_an_http_1_answer_is_a_wrong_preface() -> None:
    """Read as a frame it is too long, but what it is not is HTTP/2."""
    peer = h.RawPeer(client=True, greet=False)
    peer.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


@pytest.mark.parametrize("client", [False, True])
@pytest.mark.parametrize("first", [h.ping(), h.settings_ack(), h.window_update(0, 1), h.raw(0x77, 0, 0)])
def test_rfc9113_3_4_the_first_frame_has_to_be_settings(client: bool, first: bytes) -> None:
    peer = h.RawPeer(client=client, greet=False)
    assert peer.receive(peer.preface, first) == []
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1",
        h.PREFACE + h.settings() + h.data(0) + h.ping(),
        h.PREFACE + h.settings() + h.raw(h.HEADERS, h.END_HEADERS, 1, b"\x80") + h.ping(),
    ],
)
def test_rfc9113_5_4_1_no_frame_is_read_after_a_failure(octets: bytes) -> None:
    limits = HeaderLimits(max_block_size=1000, max_continuations=1, max_list_size=1000, max_fields=10)
    *frames, failure = FrameReader(limits, expect_preface=True).feed(octets)
    assert isinstance(failure, ConnectionFailure)
    assert all(isinstance(frame, SettingsFrame) for frame in frames)


# 4.1: the frame header


def test_rfc9113_4_1_the_reserved_bit_is_ignored() -> None:
    peer = server()
    octets = peer.headers(2**31 | 1, h.GET, end=True) + h.raw(h.PING, 0, 2**31, b"12345678")
    events = peer.receive(octets)
    assert [type(event) for event in events] == [ev.RequestReceived, ev.StreamEnded, ev.PingReceived]
    assert events[0].stream_id == 1  # type: ignore[attr-defined]


def test_rfc9113_4_1_unused_flags_are_ignored() -> None:
    peer = server()
    peer.receive(h.raw(h.HEADERS, 0xFF & ~(h.PADDED | h.WITH_PRIORITY | h.END_STREAM), 1, peer.block(h.POST)))
    peer.receive(h.raw(h.DATA, 0xFF & ~(h.PADDED | h.END_STREAM), 1, b"x"))
    peer.receive(h.raw(h.WINDOW_UPDATE, 0xFF, 1, h.uint32(1)), h.raw(h.PRIORITY, 0xFF, 1, bytes(5)))
    peer.receive(h.raw(h.PING, 0xFE, 0, bytes(8)), h.raw(h.SETTINGS, 0xFE, 0), h.raw(h.GOAWAY, 0xFF, 0, bytes(8)))
    peer.receive(h.raw(h.RST_STREAM, 0xFF, 1, bytes(4)))
    peer.assert_alive()
    assert len(peer.machine.table) == 0


@pytest.mark.parametrize(
    "type_", [h.DATA, h.HEADERS, h.PRIORITY, h.RST_STREAM, h.PUSH_PROMISE, h.CONTINUATION], ids=hex
)
def test_rfc9113_6_frames_of_streams_are_not_for_stream_0(type_: int) -> None:
    peer = server()
    peer.receive(h.raw(type_, h.END_HEADERS, 0, says=5))
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


@pytest.mark.parametrize("type_", [h.SETTINGS, h.PING, h.GOAWAY, h.PRIORITY_UPDATE], ids=hex)
def test_rfc9113_6_frames_of_the_connection_are_for_stream_0_alone(type_: int) -> None:
    peer = server()
    peer.receive(h.raw(type_, 0, 1, says=8))
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


# 4.2: frame size. Only the nine octets of the header are there: the payload is never waited for.


@pytest.mark.parametrize("type_", [*range(10), h.ALTSVC, h.ORIGIN, h.PRIORITY_UPDATE, 0x77], ids=hex)
def test_rfc9113_4_2_a_frame_too_large_is_refused_by_its_header(type_: int) -> None:
    peer = server()
    assert peer.receive(h.raw(type_, 0, 1, says=16_385)) == []
    peer.assert_connection_error(ErrorCodes.FRAME_SIZE_ERROR, FrameTooLargeError)


def test_rfc9113_4_2_a_frame_of_the_largest_size_is_fine() -> None:
    peer = server()
    peer.receive(peer.headers(1, h.POST))
    (event,) = peer.receive(h.data(1, bytes(16_384)))
    assert isinstance(event, ev.DataReceived)


def test_rfc9113_4_2_a_larger_frame_size_holds_when_it_is_acknowledged() -> None:
    peer = h.RawPeer(client=False, config=Config(max_frame_size=20_000), greet=False)
    peer.receive(peer.preface, h.settings(), peer.headers(1, h.POST), h.settings_ack())
    (event,) = peer.receive(h.data(1, bytes(20_000)))
    assert isinstance(event, ev.DataReceived)
    peer.receive(h.raw(h.DATA, 0, 1, says=20_001))
    peer.assert_connection_error(ErrorCodes.FRAME_SIZE_ERROR, FrameTooLargeError)


def test_rfc9113_4_2_a_larger_frame_size_does_not_hold_before_that() -> None:
    peer = h.RawPeer(client=False, config=Config(max_frame_size=20_000), greet=False)
    peer.receive(peer.preface, h.settings(), h.raw(h.DATA, 0, 1, says=20_000))
    peer.assert_connection_error(ErrorCodes.FRAME_SIZE_ERROR, FrameTooLargeError)


@pytest.mark.parametrize(
    ("type_", "stream_id", "length"),
    [
        (h.RST_STREAM, 1, 3),
        (h.RST_STREAM, 1, 5),
        (h.PING, 0, 7),
        (h.PING, 0, 9),
        (h.WINDOW_UPDATE, 0, 3),
        (h.WINDOW_UPDATE, 1, 5),
        (h.GOAWAY, 0, 7),
        (h.PUSH_PROMISE, 1, 3),
        (h.PRIORITY_UPDATE, 0, 3),
    ],
)
def test_rfc9113_4_2_a_length_wrong_for_the_type_is_refused_by_the_header(
    type_: int, stream_id: int, length: int
) -> None:
    peer = h.RawPeer(client=True)
    assert peer.receive(h.raw(type_, 0, stream_id, says=length)) == []
    peer.assert_connection_error(*SIZE_ERROR)


@pytest.mark.parametrize("count", [1, 5, 7])
def test_rfc9113_6_5_settings_are_a_multiple_of_six_octets(count: int) -> None:
    peer = server()
    peer.receive(h.raw(h.SETTINGS, 0, 0, bytes(count)))
    peer.assert_connection_error(*SIZE_ERROR)


def test_rfc9113_6_5_an_acknowledgement_has_no_payload() -> None:
    peer = server()
    peer.receive(h.raw(h.SETTINGS, h.ACK, 0, bytes(6)))
    peer.assert_connection_error(*SIZE_ERROR)


@pytest.mark.parametrize("count", [0, 4, 6])
def test_rfc9113_6_3_a_priority_of_the_wrong_length_is_a_stream_error(count: int) -> None:
    peer = server()
    peer.receive(peer.headers(1, h.POST))
    peer.frames()
    peer.receive(h.raw(h.PRIORITY, 0, 1, bytes(count)))
    peer.assert_stream_error(1, ErrorCodes.FRAME_SIZE_ERROR)


def test_rfc9113_6_4_there_is_no_stream_error_on_an_idle_stream() -> None:
    """RST_STREAM must not be sent there, so that the connection has to bear it."""
    peer = server()
    peer.receive(h.raw(h.PRIORITY, 0, 1, bytes(4)))
    peer.assert_connection_error(ErrorCodes.FRAME_SIZE_ERROR)


# 6.1, 6.2, 6.6: padding


@pytest.mark.parametrize(("payload", "pad"), [(b"", 0), (b"", 255), (b"x", 0), (b"x", 1), (b"xyz", 255)])
def test_rfc9113_6_1_padding_of_data_is_taken_off(payload: bytes, pad: int) -> None:
    peer = server()
    peer.receive(peer.headers(1, h.POST))
    assert peer.receive(h.data(1, payload, pad=pad)) == [ev.DataReceived(1, payload, len(payload) + pad + 1)]


@pytest.mark.parametrize("pad", [0, 1, 255])
def test_rfc9113_6_2_padding_of_headers_is_taken_off(pad: int) -> None:
    peer = server()
    (event,) = peer.receive(peer.headers(1, h.POST, pad=pad))
    assert event == ev.RequestReceived(1, Headers(h.POST))


@pytest.mark.parametrize("pad", [0, 1, 255])
def test_rfc9113_6_6_padding_of_push_promise_is_taken_off(pad: int) -> None:
    peer = h.RawPeer(client=True, config=Config(enable_push=True))
    h.open_request(peer.machine)
    payload = h.padded(h.uint32(2) + peer.block(h.GET), pad)
    (event,) = peer.receive(h.raw(h.PUSH_PROMISE, h.END_HEADERS | h.PADDED, 1, payload))
    assert event == ev.PushedStreamReceived(2, 1, Headers(h.GET))


@pytest.mark.parametrize("type_", [h.DATA, h.HEADERS, h.PUSH_PROMISE], ids=hex)
@pytest.mark.parametrize("payload", [b"\x05....", b"\x06....", b"\xff...."])
def test_rfc9113_6_1_padding_as_long_as_the_payload_is_a_connection_error(type_: int, payload: bytes) -> None:
    peer = h.RawPeer(client=True, config=Config(enable_push=True))
    h.open_request(peer.machine, h.POST, end=False)
    assert peer.receive(h.raw(type_, h.PADDED | h.END_HEADERS, 1, payload)) == []
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


@pytest.mark.parametrize("type_", [h.DATA, h.HEADERS], ids=hex)
def test_rfc9113_4_2_a_padded_frame_without_a_pad_length_is_a_size_error(type_: int) -> None:
    peer = server()
    peer.receive(h.raw(type_, h.PADDED | h.END_HEADERS, 1))
    peer.assert_connection_error(*SIZE_ERROR)


def test_rfc9113_4_2_padding_may_not_take_the_place_of_the_promised_stream() -> None:
    peer = h.RawPeer(client=True, config=Config(enable_push=True))
    h.open_request(peer.machine)
    peer.receive(h.raw(h.PUSH_PROMISE, h.PADDED | h.END_HEADERS, 1, h.padded(bytes(3), 1)))
    peer.assert_connection_error(*SIZE_ERROR)


# 6.2, 6.3: priority fields


def test_rfc9113_6_2_priority_fields_stand_before_the_field_block() -> None:
    peer = server()
    prefix = h.uint32(1 << 31 | 7) + b"\xff"
    events = peer.receive(peer.headers(3, h.GET, prefix=prefix, pad=9))
    signal = ev.PriorityUpdated(3, weight=256, depends_on=7, exclusive=True)
    assert events == [ev.RequestReceived(3, Headers(h.GET), priority_updated=signal), signal]


@pytest.mark.parametrize("fragment", [b"", b"\0\0\0\0"])
@pytest.mark.parametrize("pad", [None, 3])
def test_rfc9113_4_2_headers_without_room_for_their_priority_fields(fragment: bytes, pad: int | None) -> None:
    peer = server()
    flags = h.WITH_PRIORITY | h.END_HEADERS | (0 if pad is None else h.PADDED)
    peer.receive(h.raw(h.HEADERS, flags, 1, fragment if pad is None else h.padded(fragment, pad)))
    peer.assert_connection_error(*SIZE_ERROR)


@pytest.mark.parametrize(("weight", "exclusive"), [(1, False), (16, True), (256, True)])
def test_rfc9113_6_3_a_priority_frame(weight: int, exclusive: bool) -> None:
    peer = server()
    (event,) = peer.receive(h.priority(5, 3, weight, exclusive=exclusive))
    assert event == ev.PriorityUpdated(5, weight=weight, depends_on=3, exclusive=exclusive)


# 4.3, 6.10: field blocks


@pytest.mark.parametrize("parts", [2, 3, 10])
def test_rfc9113_6_10_a_field_block_is_joined_from_continuations(parts: int) -> None:
    peer = server()
    block = peer.block(h.GET)
    size = -(-len(block) // parts)
    pieces = [block[start : start + size] for start in range(0, len(block), size)]
    assert peer.receive(h.raw(h.HEADERS, h.END_STREAM, 1, pieces[0])) == []
    for piece in pieces[1:]:
        assert peer.receive(h.raw(h.CONTINUATION, 0, 1, piece)) == []
    events = peer.receive(h.raw(h.CONTINUATION, h.END_HEADERS, 1))
    assert [type(event) for event in events] == [ev.RequestReceived, ev.StreamEnded]
    assert events[0].headers == Headers(h.GET)  # type: ignore[attr-defined]
    peer.assert_alive()


def test_rfc9113_6_10_continuations_have_neither_padding_nor_priority_fields() -> None:
    peer = server()
    block = peer.block(h.GET)
    peer.receive(h.raw(h.HEADERS, 0, 1, block[:2]))
    (event,) = peer.receive(h.raw(h.CONTINUATION, 0xFF, 1, block[2:]))
    assert event == ev.RequestReceived(1, Headers(h.GET))


def test_rfc9113_6_6_a_promise_is_joined_from_continuations() -> None:
    peer = h.RawPeer(client=True, config=Config(enable_push=True))
    h.open_request(peer.machine)
    block = peer.block(h.GET)
    assert peer.receive(h.raw(h.PUSH_PROMISE, 0, 1, h.uint32(2**31 | 2))) == []
    (event,) = peer.receive(h.raw(h.CONTINUATION, h.END_HEADERS, 1, block))
    assert event == ev.PushedStreamReceived(2, 1, Headers(h.GET))


@pytest.mark.parametrize(
    "between",
    [
        h.data(1, b"x"),
        h.raw(h.HEADERS, h.END_HEADERS, 1),
        h.priority(1, 0),
        h.rst_stream(1),
        h.settings(),
        h.settings_ack(),
        h.ping(),
        h.goaway(0),
        h.window_update(0, 1),
        h.window_update(1, 1),
        h.raw(h.CONTINUATION, h.END_HEADERS, 3),
        h.altsvc(1, b"", b"clear"),
        h.origin(b"https://example.org"),
        h.priority_update(1, b"u=1"),
        h.raw(0x77, 0, 1),
        h.raw(0x77, 0, 0),
    ],
)
@pytest.mark.parametrize("continuations", [0, 1])
def test_rfc9113_6_10_nothing_may_interrupt_a_field_block(between: bytes, continuations: int) -> None:
    peer = server()
    peer.receive(h.raw(h.HEADERS, 0, 1, b"\x82"), h.raw(h.CONTINUATION, 0, 1, b"\x87") * continuations)
    assert peer.receive(between[:9]) == []
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


@pytest.mark.parametrize("when", ["first", "after a block", "after data"])
def test_rfc9113_6_10_a_continuation_needs_a_field_block(when: str) -> None:
    peer = server()
    if when != "first":
        peer.receive(peer.headers(1, h.POST))
    if when == "after data":
        peer.receive(h.data(1, b"x"))
    peer.receive(h.raw(h.CONTINUATION, h.END_HEADERS, 1, b"\x82"))
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


def test_rfc9113_10_5_1_field_blocks_are_limited_in_continuations() -> None:
    peer = server(max_continuations=3)
    peer.receive(h.raw(h.HEADERS, 0, 1), h.raw(h.CONTINUATION, 0, 1) * 3)
    assert peer.machine.failure is None
    peer.receive(h.raw(h.CONTINUATION, 0, 1))
    peer.assert_connection_error(ErrorCodes.ENHANCE_YOUR_CALM, DenialOfServiceError)


def test_rfc9113_10_5_1_field_blocks_are_limited_in_octets() -> None:
    """A block that is not decoded breaks HPACK (4.3), so this cannot be a stream error."""
    peer = server(max_header_block_size=1000)
    peer.receive(h.raw(h.HEADERS, 0, 1, bytes(600)))
    assert peer.machine.failure is None
    peer.receive(h.raw(h.CONTINUATION, 0, 1, bytes(401)))
    peer.assert_connection_error(ErrorCodes.ENHANCE_YOUR_CALM, DenialOfServiceError)


def test_rfc9113_10_5_1_a_field_block_of_just_the_limit_is_decoded() -> None:
    probe = h.RawPeer(client=False)
    size = len(probe.block(h.GET))
    peer = server(max_header_block_size=size, max_continuations=0)
    (event,) = peer.receive(peer.headers(1, h.GET))
    assert isinstance(event, ev.RequestReceived)


def test_rfc9113_10_5_1_one_frame_can_be_too_much_already() -> None:
    peer = server(max_header_block_size=10)
    peer.receive(h.raw(h.HEADERS, h.END_HEADERS, 1, bytes(11)))
    peer.assert_connection_error(ErrorCodes.ENHANCE_YOUR_CALM, DenialOfServiceError)


# HPACK


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0 (RFC 7541 6.1)
        b"\xbf",  # an index past both tables (2.3.3)
        b"\x40\x05abc",  # a name cut off
        b"\x40\x01a\x05abc",  # a value cut off
        b"\x40\x01a",  # no value
        b"\xff",  # an integer cut off (5.1)
        b"\xff" * 4000 + b"\x01",  # an integer beyond all limits
        b"\x40" + b"\x7f" + b"\xff" * 4000 + b"\x01",  # a string length beyond all limits
        b"\x3f" + b"\xff" * 4000 + b"\x01",  # a table size beyond all limits
        b"\x40\x81\xff\x01a",  # Huffman padding longer than 7 bits or EOS (5.2)
        b"\x3f\xe2\x1f",  # a table size above SETTINGS_HEADER_TABLE_SIZE (6.3)
        b"\x82\x20",  # a table size update after a field (4.2)
    ],
)
@pytest.mark.parametrize("type_", [h.HEADERS, h.PUSH_PROMISE], ids=hex)
def test_rfc9113_4_3_a_block_that_cannot_be_decoded_is_compression_error(block: bytes, type_: int) -> None:
    peer = h.RawPeer(client=True, config=Config(enable_push=True))
    h.open_request(peer.machine)
    prefix = h.uint32(2) if type_ == h.PUSH_PROMISE else b""
    assert peer.receive(h.raw(type_, h.END_HEADERS, 1, prefix + block)) == []
    peer.assert_connection_error(ErrorCodes.COMPRESSION_ERROR)


@pytest.mark.parametrize("where", ["closed stream", "refused stream", "above GOAWAY", "malformed"])
def test_rfc9113_4_3_every_block_is_decoded_also_where_nobody_listens(where: str) -> None:
    """What such a block puts into the dynamic table is there for the next."""
    peer = server(max_concurrent_streams=1)
    machine = peer.machine
    secret = (b"x-in-the-table", b"of everybody")
    if where == "closed stream":
        peer.receive(peer.headers(1, h.POST))
        machine.reset_stream(h.live(machine, 1), ErrorCodes.CANCEL)
        peer.receive(peer.headers(1, [secret], end=True))
    elif where == "refused stream":
        peer.receive(peer.headers(1, h.POST), peer.headers(3, [*h.POST, secret]), h.rst_stream(1))
    elif where == "above GOAWAY":
        machine.goaway(last_stream_id=2**31 - 5)
        peer.receive(peer.headers(2**31 - 3, [*h.GET, secret]))
        machine.state.goaway_last_stream_id = None
    else:
        peer.receive(peer.headers(1, [*h.GET, (b"Upper", b"x"), secret]))
    late = [*h.GET, secret]
    (event,) = peer.receive(peer.headers(2**31 - 1, late))
    assert event == ev.RequestReceived(2**31 - 1, Headers(late))


def test_rfc7541_4_2_a_smaller_table_of_ours_holds_from_the_acknowledgement() -> None:
    peer = h.RawPeer(client=False, config=Config(header_table_size=100), greet=False)
    peer.receive(peer.preface, h.settings())
    assert len(peer.receive(peer.headers(1, h.GET))) == 1
    peer.receive(h.settings_ack())
    peer.encoder.header_table_size = 100
    assert len(peer.receive(peer.headers(3, h.GET))) == 1
    peer.assert_alive()


def test_rfc9113_4_3_1_no_size_update_after_a_smaller_table_is_compression_error() -> None:
    peer = server(header_table_size=100)
    assert peer.receive(peer.headers(1, h.GET)) == []
    peer.assert_connection_error(ErrorCodes.COMPRESSION_ERROR)


def test_rfc9113_4_3_1_a_size_update_above_the_smaller_table_is_compression_error() -> None:
    peer = server(header_table_size=100)
    peer.encoder.header_table_size = 101
    assert peer.receive(peer.headers(1, h.GET)) == []
    peer.assert_connection_error(ErrorCodes.COMPRESSION_ERROR)


def test_rfc9113_4_3_1_a_repeated_block_is_judged_anew_when_the_table_shrinks() -> None:
    """Blocks of indexed fields alone may be remembered, but not beyond a change of the table."""
    peer = h.RawPeer(client=False, config=Config(header_table_size=100), greet=False)
    peer.receive(peer.preface, h.settings())
    block = b"\x82\x87\x84\x41\x01a"
    repeated = b"\x82\x87\x84\xbe"
    peer.receive(h.raw(h.HEADERS, 5, 1, block), h.raw(h.HEADERS, 5, 3, repeated), h.raw(h.HEADERS, 5, 5, repeated))
    assert peer.machine.failure is None
    peer.receive(h.settings_ack(), h.raw(h.HEADERS, 5, 7, repeated))
    peer.assert_connection_error(ErrorCodes.COMPRESSION_ERROR)


def test_rfc7541_4_2_a_larger_table_of_ours_holds_from_the_acknowledgement() -> None:
    peer = h.RawPeer(client=False, config=Config(header_table_size=8192), greet=False)
    peer.receive(peer.preface, h.settings(), h.settings_ack())
    peer.encoder.header_table_size = 8192
    (event,) = peer.receive(peer.headers(1, h.GET))
    assert isinstance(event, ev.RequestReceived)


def test_rfc7541_4_2_a_larger_table_of_ours_does_not_hold_before_that() -> None:
    peer = h.RawPeer(client=False, config=Config(header_table_size=8192), greet=False)
    peer.encoder.header_table_size = 8192
    peer.receive(peer.preface, h.settings(), peer.headers(1, h.GET))
    peer.assert_connection_error(ErrorCodes.COMPRESSION_ERROR)


def size_updates(block: bytes) -> list[int]:
    """The dynamic table size updates that a field block starts with (RFC 7541 6.3)."""
    updates = []
    while block and block[0] & 0xE0 == 0x20:
        value, used = block[0] & 0x1F, 1
        if value == 0x1F:
            shift = 0
            while True:
                octet = block[used]
                value += (octet & 0x7F) << shift
                shift, used = shift + 7, used + 1
                if not octet & 0x80:
                    break
        updates.append(value)
        block = block[used:]
    return updates


@pytest.mark.parametrize(
    ("sizes", "updates"),
    [
        ([], []),
        ([4096], []),
        ([100], [100]),
        ([0], [0]),
        ([0, 4096], [0, 4096]),
        ([100, 50, 80], [50, 80]),
        ([100, 100], [100]),
        ([65_536], []),
        ([2**32 - 1], []),
    ],
)
@pytest.mark.parametrize("frames", ["one frame", "a frame each"])
def test_rfc7541_4_2_the_smallest_and_the_last_table_size_are_signalled(
    sizes: list[int], updates: list[int], frames: str
) -> None:
    peer = h.RawPeer(client=True)
    pairs = [(h.HEADER_TABLE_SIZE, size) for size in sizes]
    if frames == "one frame":
        peer.receive(h.settings(*pairs))
    else:
        for pair in pairs:
            peer.receive(h.settings(pair))
    peer.frames()
    h.open_request(peer.machine)
    (frame,) = peer.frames()
    assert size_updates(frame.data) == updates
    assert peer.sent_fields(frame) == h.GET


def test_rfc7541_4_2_changes_of_the_table_size_do_not_pile_up() -> None:
    """A peer that changes it again and again gets at most two updates."""
    peer = h.RawPeer(client=True)
    for _ in range(20):
        peer.receive(h.settings((h.HEADER_TABLE_SIZE, 0), (h.HEADER_TABLE_SIZE, 4096)))
    peer.frames()
    h.open_request(peer.machine)
    (frame,) = peer.frames()
    assert size_updates(frame.data) == [0, 4096]


def test_rfc7541_4_3_a_table_shrunk_to_nothing_and_restored_is_empty() -> None:
    peer = h.RawPeer(client=True)
    fields = [*h.GET, (b"x-custom", b"value")]
    h.open_request(peer.machine, fields)
    peer.sent_fields(peer.frames()[0])
    peer.receive(h.settings((h.HEADER_TABLE_SIZE, 0), (h.HEADER_TABLE_SIZE, 4096)))
    peer.frames()
    for _ in range(3):
        h.open_request(peer.machine, tuple(fields))
        (frame,) = peer.frames()
        assert peer.sent_fields(frame) == fields


SECRET = NeverIndexed("authorization", "Basic c2VjcmV0")


def test_rfc7541_6_2_3_a_never_indexed_field_is_sent_never_indexed() -> None:
    peer = h.RawPeer(client=True)
    for _ in range(2):
        h.open_request(peer.machine, [*h.GET, SECRET])
        (frame,) = peer.frames()
        fields = peer.decoder.decode(frame.data, raw=True)
        assert [getattr(field, "indexable", True) for field in fields] == [True, True, True, True, False]
        assert b"\x1f\x08" in frame.data  # 6.2.3, with the name's index in the static table: 23


def test_rfc7541_6_2_3_a_never_indexed_field_stays_so_when_the_table_holds_its_like() -> None:
    peer = h.RawPeer(client=True)
    secret = NeverIndexed("x-key", "c2VjcmV0")
    h.open_request(peer.machine, [*h.GET, (secret[0], secret[1])])
    peer.sent_fields(peer.frames()[0])
    h.open_request(peer.machine, [*h.GET, secret])
    (frame,) = peer.frames()
    *_, field = peer.decoder.decode(frame.data, raw=True)
    assert field == secret
    assert not field.indexable


def test_rfc7541_6_2_3_a_never_indexed_field_stays_so_on_the_way_in() -> None:
    peer = server()
    (event,) = peer.receive(peer.headers(1, [*h.GET, SECRET]))
    assert isinstance(event, ev.RequestReceived)
    *_, field = event.headers
    assert field == SECRET
    assert field.indexable is False
    assert SECRET[1].decode() not in repr(Headers(event.headers))


def test_rfc7541_2_2_more_different_blocks_than_anybody_remembers() -> None:
    """Orders of indexed fields, several hundred of them, twice, in both directions."""
    pair = h.Pair()
    names = [b"accept", b"range", b"etag", b"age", b"link"]
    orders = [tuple((name, b"") for name in order) for order in itertools.permutations(names)]
    for _ in range(2):
        for order in orders:
            stream = h.open_request(pair.client, (*h.GET[:2], (b":authority", b"x"), h.GET[3], *order))
            _, events = pair.pump()
            (request,) = h.of_type(events, ev.RequestReceived)
            assert list(request.headers)[4:] == list(order)  # type: ignore[attr-defined]
            pair.client.reset_stream(stream, ErrorCodes.CANCEL)


def field_decoder() -> FieldDecoder:
    limits = HeaderLimits(max_block_size=2**16, max_continuations=8, max_list_size=2**16, max_fields=100)
    return FieldDecoder(limits, STRICT)


def seen(decoder: FieldDecoder, block: bytes) -> FieldSection:
    """Decode a block whose section is found well-formed: its headers are asked for."""
    section = decoder.decode(block)
    assert section.headers is not None
    decoder.settle()
    return section


@pytest.mark.parametrize("literal", [b"\x0f\x0d\x015", b"\x1f\x0d\x015", b"\x00\x01a\x015"])
def test_rfc7541_6_2_2_a_block_with_literals_that_are_not_indexed_is_decoded_once(literal: bytes) -> None:
    decoder = field_decoder()
    first = seen(decoder, b"\x88" + literal)
    assert seen(decoder, b"\x88" + literal) is first
    assert seen(decoder, b"\x88\x40\x01b\x016").fields[1] == (b"b", b"6")
    again = seen(decoder, b"\x88" + literal)
    assert again is not first
    assert again.fields == first.fields


def test_rfc7541_2_3_2_a_field_that_is_added_again_moves_the_others() -> None:
    """Also when the one in front is its equal, and the table as long as before."""
    decoder = field_decoder()
    decoder.decode(b"\x3f\x25")  # a table of 68 octets: two of these fields
    decoder.decode(b"\x40\x01b\x012")
    decoder.decode(b"\x40\x01a\x011")
    assert decoder.decode(b"\xbf").fields == [(b"b", b"2")]
    decoder.decode(b"\x40\x01a\x011")
    assert decoder.decode(b"\xbf").fields == [(b"a", b"1")]


LARGE = b"v" * 4_000
HUFFMAN = HuffmanEncoder().encode(b"0" * 1_480)
COOKIE = b"\x40\x06cookie\x7f\xa1\x1e" + LARGE


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"\x88\x00\x01a\x03%03d", id="a small literal"),
        pytest.param(b"\x88\x00\x01a\x7f\xec\x06%03d" + bytes(1_000), id="a large literal"),
        pytest.param(b"\x88\x00\x01a\x03%03d\x0f\x04\xff\x9e\x06" + HUFFMAN, id="Huffman codes of five bits"),
        pytest.param(b"\x88\x00\x01a\x03%03d" + b"\x01\x00" * 90, id="many literals"),
        pytest.param(b"\x10\x01a\x03%03d" + b"\x10\x01b\x01c" * 80, id="many never-indexed literals"),
        pytest.param(b"\x82\x87\x84\x01\x01a\x00\x01a\x03%03d", id="a request"),
        pytest.param(b"\x82\x87\x04\x7f\x55/" + bytes(range(97, 123)) * 8 + b"%03d\x01\x01a", id="a request's path"),
        pytest.param(b"\x82\x87\x84\x01\x01a\x00\x01a\x03%03d\x0f\x0d\x0812345678", id="a request with content-length"),
        pytest.param(b"\x00\x01a\x03%03d" + b"\x90" * 99, id="references"),
        pytest.param(b"\x00\x01a\x03%03d" + b"\xbe" * 2, id="joined cookies"),
        pytest.param(b"\x00\x01a\x03%03d" + b"\x84" * 90 + b"\xbe\xbe", id="joined cookies beside many fields"),
        pytest.param(b"\x00\x06cookie\x03%03d" + b"\x00\x06cookie\x01a" * 20, id="small joined cookies"),
        pytest.param(b"\x00\x08priority\x03%03d" + b"\x00\x08priority\x01i" * 20, id="joined priorities"),
    ],
)
def test_rfc9113_10_5_what_is_remembered_of_received_blocks_is_bounded(block: bytes) -> None:
    """With all that it holds, as CPython says it: 16 KiB a connection, and the newest are remembered."""
    decoder = field_decoder()
    decoder.decode(COOKIE)
    most = 0
    for number in range(200):
        numbered = block % number
        section = seen(decoder, numbered)
        for judged in (section.request(extended_connect=True), section.response(to_connect=False), section.priority):
            assert judged is None or isinstance(judged, (tuple, Malformed, bytes))
        if not isinstance(section.request(extended_connect=True), Malformed):
            split_request(section.headers, DEFAULT_PRIORITY)
        assert (seen(decoder, numbered) is section) == (decoder._remembered.get(numbered) is section)
        held = h.held_size(decoder._remembered, beside=decoder._decoder.table.entries)
        most = max(most, held)
        assert held <= 16 * 1024
    assert most > 5 * 1024


def test_rfc9113_10_5_a_block_that_holds_more_than_may_be_remembered_is_not() -> None:
    decoder = field_decoder()
    decoder.decode(COOKIE)
    small = seen(decoder, b"\x88")
    five = b"\xbe" * 5  # 20 KiB when it is joined
    assert seen(decoder, five) is not seen(decoder, five)
    large = b"\x88\x00\x01a\x7f\xa1\x2e" + bytes(6_048)
    assert seen(decoder, large) is not seen(decoder, large)
    assert seen(decoder, b"\x88") is small


@pytest.mark.parametrize("octets", [0, 600])
def test_how_much_is_remembered_is_a_knob(octets: int) -> None:
    limits = HeaderLimits(
        max_block_size=2**16, max_continuations=8, max_list_size=2**16, max_fields=100, max_remembered=octets
    )
    decoder = FieldDecoder(limits, STRICT)
    assert seen(decoder, b"\x88") is not seen(decoder, b"\x88")
    assert not decoder._remembered


def test_rfc9113_10_5_many_blocks_are_remembered_at_a_constant_cost_for_each() -> None:
    decoder = FieldDecoder(
        HeaderLimits(
            max_block_size=2**16, max_continuations=8, max_list_size=2**16, max_fields=100, max_remembered=2**30
        ),
        STRICT,
    )
    with h.counted_calls() as calls:
        for number in range(1_000):
            seen(decoder, b"\x88\x00\x01a\x03%03d" % number)
    assert len(decoder._remembered) == 1_000
    assert calls[0] < 100 * 1_000


@pytest.mark.parametrize("what", ["malformed", "too large", "late"])
def test_rfc9113_10_5_only_well_formed_blocks_are_remembered(what: str) -> None:
    """An attacker's 64 blocks are not worth the memory of a connection."""
    peer = server(max_header_list_size=2_000)
    remembered = peer.machine.reader._decoder._remembered
    peer.receive(peer.headers(1, h.GET), h.rst_stream(1))
    for number in range(64):
        fields = [*h.GET, (b"x", b"%d" % number)]
        if what == "malformed":
            fields.append((b"te", b"gzip"))
        elif what == "too large":
            fields += [(b"accept", b"")] * 60
        block = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields])
        stream_id = 1 if what == "late" else 2 * number + 3
        peer.receive(h.raw(h.HEADERS, h.END_HEADERS | h.END_STREAM, stream_id, block))
        peer.frames()
    assert peer.machine.failure is None
    assert not remembered
    for _ in range(2):
        stream_id = peer.machine.table.highest_inbound + 2
        peer.receive(h.raw(h.HEADERS, h.END_HEADERS | h.END_STREAM, stream_id, b"\x82\x87\x84\x11\x01a"))
    assert b"\x82\x87\x84\x11\x01a" in remembered


@pytest.mark.parametrize("size", [1, 30, 3_000])
def test_what_is_remembered_of_header_lists_that_are_sent_is_bounded(size: int) -> None:
    encoder = FieldEncoder()
    for number in range(300):
        encoder.encode(((b":status", b"200"), (b"server", b"x"), (b"etag", b"%03d" % number * size)))
        assert h.held_size(encoder._remembered) <= 32 * 1024
    assert encoder._remembered


BLOCK_PARTS = st.sampled_from(
    [
        *(b"\x82", b"\x88", b"\xbe", b"\xbf", b"\xc0"),  # indexed: static, dynamic
        *(b"\x40\x01a\x011", b"\x40\x01b\x012", b"\x40\x01c\x28" + b"c" * 40, b"\x7e\x013"),  # to be indexed
        *(b"\x00\x01a\x011", b"\x0f\x2f\x014", b"\x10\x01a\x011", b"\x0f\x0d\x015"),  # not to be indexed
        *(b"\x20", b"\x3f\x05", b"\x3f\x25", b"\x3f\xe1\x1f"),  # the table's size
    ]
)


def _sizes(parts: list[bytes]) -> int:
    return sum(part[0] & 0xE0 == 0x20 for part in parts)


BLOCKS = st.lists(BLOCK_PARTS, min_size=1, max_size=4).filter(lambda parts: _sizes(parts) <= 2).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(BLOCKS, min_size=1, max_size=4), st.data())
def test_rfc7541_2_2_what_is_remembered_is_what_a_decoder_without_memory_says(
    blocks: list[bytes], data: st.DataObject
) -> None:
    remembering, forgetful = field_decoder(), hpack.Decoder()
    for block in data.draw(st.lists(st.sampled_from(blocks), min_size=2, max_size=20)):
        try:
            expected = forgetful.decode(block, raw=True)
        except hpack.HPACKError:
            with pytest.raises(hpack.HPACKError):
                remembering.decode(block)
            return
        assert list(seen(remembering, block).fields) == list(expected)


FIELD_NAMES = st.sampled_from([b"a", b"accept", b"x-custom", b"cookie", b"cache-control"])
FIELD_LISTS = st.lists(st.tuples(FIELD_NAMES, st.sampled_from([b"", b"1", b"gzip", b"v" * 60])), max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.one_of(FIELD_LISTS.map(tuple), FIELD_LISTS, st.sampled_from([0, 50, 200, 4096])), min_size=1, max_size=30
    )
)
def test_rfc7541_2_2_what_is_encoded_decodes_to_the_same_fields(steps: list[object]) -> None:
    """Whatever is remembered of earlier blocks: another decoder that follows the wire understands each of them."""
    writer, decoder = FrameWriter(), hpack.Decoder()
    for step in steps:
        if isinstance(step, int):
            writer.set_header_table_size(step)
            continue
        writer.headers(1, step, end_stream=True)  # type: ignore[arg-type]
        (frame,) = h.parse(writer.take())
        assert list(decoder.decode(frame.data, raw=True)) == list(step)  # type: ignore[call-overload]


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.one_of(FIELD_LISTS, st.sampled_from([0, 50, 200, 4096])), min_size=1, max_size=30))
def test_rfc7541_2_2_what_another_encoder_encodes_decodes_to_the_same_fields(steps: list[object]) -> None:
    peer = server(max_concurrent_streams=1000)
    stream_id = 1
    updates = 0
    for step in steps:
        if isinstance(step, int):
            # hpack's encoder signals every size there was, and a block begins with two at most (section 4.2).
            if step != peer.encoder.header_table_size and updates < 2:
                peer.encoder.header_table_size = step
                updates += 1
            continue
        updates = 0
        fields = [*h.GET, *(field for field in step if field[0] != b"cookie")]  # type: ignore[attr-defined]
        (event,) = peer.receive(peer.headers(stream_id, fields))
        assert event == ev.RequestReceived(stream_id, Headers(fields))
        stream_id += 2


# What is written, frame by frame, as hyperframe reads it


def test_rfc9113_6_what_is_written() -> None:
    writer = FrameWriter()
    writer.data(1, b"abc", end_stream=True)
    writer.data(3, memoryview(b"abc"), end_stream=False, pad_length=2)
    writer.headers(5, h.GET, end_stream=True)
    writer.headers(7, h.GET, end_stream=False, priority=PriorityFields(3, 256, True))
    writer.priority(9, PriorityFields(1, 1, False))
    writer.rst_stream(11, 2**32 - 1)
    writer.settings([(4, 1), (4, 2), (0xFFFF, 2**32 - 1)])
    writer.settings_ack()
    writer.push_promise(1, 2, h.GET)
    writer.ping(b"12345678", ack=False)
    writer.ping(b"87654321", ack=True)
    writer.goaway(2**31 - 1, 11, b"debug")
    writer.window_update(13, 2**31 - 1)
    writer.altsvc(0, b"origin", b"value")
    writer.origin([b"https://a", b""])
    writer.priority_update(15, b"u=1")
    frames = h.parse(writer.take())
    assert [(f.type, f.stream_id, sorted(f.flags)) for f in frames] == [
        (h.DATA, 1, ["END_STREAM"]),
        (h.DATA, 3, ["PADDED"]),
        (h.HEADERS, 5, ["END_HEADERS", "END_STREAM"]),
        (h.HEADERS, 7, ["END_HEADERS", "PRIORITY"]),
        (h.PRIORITY, 9, []),
        (h.RST_STREAM, 11, []),
        (h.SETTINGS, 0, []),
        (h.SETTINGS, 0, ["ACK"]),
        (h.PUSH_PROMISE, 1, ["END_HEADERS"]),
        (h.PING, 0, []),
        (h.PING, 0, ["ACK"]),
        (h.GOAWAY, 0, []),
        (h.WINDOW_UPDATE, 13, []),
        (h.ALTSVC, 0, []),
        (h.ORIGIN, 0, []),
        (h.PRIORITY_UPDATE, 0, []),
    ]
    assert frames[0].data == frames[1].data == b"abc"
    assert (frames[1].pad_length, frames[1].flow_controlled_length) == (2, 6)
    decoder = hpack.Decoder()
    for frame in (frames[2], frames[3], frames[8]):
        assert isinstance(frame, HeadersFrame | PushPromiseFrame)
        assert decoder.decode(frame.data, raw=True) == h.GET
    assert (frames[3].depends_on, frames[3].stream_weight, frames[3].exclusive) == (3, 255, True)
    assert (frames[4].depends_on, frames[4].stream_weight, frames[4].exclusive) == (1, 0, False)
    assert frames[5].error_code == 2**32 - 1
    assert frames[6].settings == {4: 2, 0xFFFF: 2**32 - 1}
    assert frames[8].promised_stream_id == 2
    assert (frames[9].opaque_data, frames[10].opaque_data) == (b"12345678", b"87654321")
    assert isinstance(frames[11], GoAwayFrame)
    assert (frames[11].last_stream_id, frames[11].error_code, frames[11].additional_data) == (2**31 - 1, 11, b"debug")
    assert frames[12].window_increment == 2**31 - 1
    assert isinstance(frames[13], AltSvcFrame)
    assert (frames[13].origin, frames[13].field) == (b"origin", b"value")
    assert frames[14].body == b"\0\x09https://a\0\0"
    assert frames[15].body == h.uint32(15) + b"u=1"


def test_rfc9113_6_5_3_settings_keep_their_order_and_repetitions() -> None:
    writer = FrameWriter()
    writer.settings([(1, 0), (1, 4096)])
    assert writer.take() == h.settings((1, 0), (1, 4096))


def test_rfc9113_4_1_the_size_of_what_waits() -> None:
    writer = FrameWriter()
    assert writer.size == 0
    writer.preface()
    writer.data(1, b"x" * 100, end_stream=False, pad_length=3)
    writer.ping(bytes(8), ack=False)
    writer.settings_ack()
    writer.headers(1, h.GET, end_stream=True)
    size = writer.size
    assert len(writer.take()) == size
    assert writer.size == 0
    assert writer.take() == b""


@pytest.mark.parametrize(("room", "continuations"), [(0, 0), (-1, 1)])
def test_rfc9113_6_10_a_block_is_continued_when_it_has_to_be(room: int, continuations: int) -> None:
    fields = [(b"x-filler", b"\x7f" * 5000)]
    block = hpack.Encoder().encode(fields)
    writer = FrameWriter()
    writer.max_frame_size = len(block) + room
    writer.headers(1, fields, end_stream=True)
    first, *rest = h.parse(writer.take())
    assert isinstance(first, HeadersFrame)
    assert "END_STREAM" in first.flags
    assert ("END_HEADERS" in first.flags) is not bool(continuations)
    assert len(rest) == continuations
    assert first.data + b"".join(f.data for f in rest) == block


def test_rfc9113_6_10_only_the_last_continuation_ends_the_block() -> None:
    writer = FrameWriter()
    fields = [(b"x-filler", b"\x7f" * 20_000)]
    writer.push_promise(1, 2, fields)
    first, *rest = h.parse(writer.take())
    assert isinstance(first, PushPromiseFrame)
    assert "END_HEADERS" not in first.flags
    assert all(isinstance(f, ContinuationFrame) and f.stream_id == 1 and len(f.data) <= 16_384 for f in rest)
    assert ["END_HEADERS" in f.flags for f in rest] == [False] * (len(rest) - 1) + [True]
    assert hpack.Decoder(2**20).decode(first.data + b"".join(f.data for f in rest), raw=True) == fields


def test_rfc9113_6_10_what_is_cut_in_continuations_is_joined_again() -> None:
    pair = h.Pair(server=Config(max_header_list_size=200_000))
    fields = [*h.GET, (b"x-filler", b"~" * 20_000)]
    h.open_request(pair.client, fields, priority=PriorityFields(0, 7, False))
    _, events = pair.pump()
    assert events[0] == ev.RequestReceived(
        1, Headers(fields), ev.StreamEnded(1), ev.PriorityUpdated(1, weight=7, depends_on=0, exclusive=False)
    )


# Any split of the bytes gives the same events and the same answers


def script() -> bytes:
    encoder = hpack.Encoder()
    first, second = encoder.encode(h.POST), encoder.encode([*h.GET, (b"x-long", b"y" * 300)])
    return b"".join(
        [
            h.PREFACE,
            h.settings((h.INITIAL_WINDOW_SIZE, 100_000), (0x99, 1)),
            h.settings_ack(),
            h.raw(h.HEADERS, h.END_HEADERS, 1, first),
            h.data(1, b"x" * 300, pad=20),
            h.raw(h.HEADERS, h.END_STREAM, 3, second[:10]),
            h.raw(h.CONTINUATION, 0, 3, second[10:200]),
            h.raw(h.CONTINUATION, h.END_HEADERS, 3, second[200:]),
            h.raw(0x77, 3, 5, b"unknown"),
            h.ping(),
            h.data(99),
            h.ping(b"too late"),
        ]
    )


def replay(chunks: list[bytes]) -> tuple[list[ev.Event], bytes]:
    machine = ConnectionMachine(Config(), client=False)
    machine.initiate()
    events: list[ev.Event] = []
    for chunk in chunks:
        events += machine.receive(chunk)
    assert machine.failure is not None
    return events, machine.take()


@settings(max_examples=150, deadline=None)
@given(cuts=st.lists(st.integers(0, len(script())), max_size=12))
def test_rfc9113_4_1_any_split_of_the_bytes_gives_the_same_events(cuts: list[int]) -> None:
    octets = script()
    places = [0, *sorted(cuts), len(octets)]
    chunks = [octets[start:end] for start, end in itertools.pairwise(places)]
    assert replay(chunks) == replay([octets])


def test_rfc9113_4_1_octet_by_octet_gives_the_same_events() -> None:
    octets = script()
    assert replay([bytes([octet]) for octet in octets]) == replay([octets])


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_buffer_can_be_received(kind: type) -> None:
    assert replay([kind(script())]) == replay([script()])
