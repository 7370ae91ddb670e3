"""Whatever a peer sends (RFC 9113 section 10.5): events, or a failure by the book, and never an exception."""

from __future__ import annotations

import hpack
import pytest
from hyperframe.frame import GoAwayFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_h2 import events as ev
from trio_h2.config import Config
from trio_h2.exceptions import ErrorCodes
from trio_h2.protocol.connection import ConnectionMachine

from . import helpers as h

CONFIG = Config(
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


def machine(*, client: bool) -> ConnectionMachine:
    """A machine in the middle of its life: greeted, a client with two requests under way."""
    made = ConnectionMachine(CONFIG, client=client)
    made.initiate()
    if client:
        h.open_request(made, h.POST, end=False)
        h.open_request(made, h.CONNECT, end=False)
    made.receive((b"" if client else h.PREFACE) + h.settings() + h.settings_ack())
    return made


def check(made: ConnectionMachine, chunks: list[bytes]) -> None:
    """Let it receive; what comes out has to be in order."""
    for chunk in chunks:
        before = made.failure
        events = made.receive(chunk)
        assert all(isinstance(event, ev.Event) for event in events)
        if before is not None:
            assert events == []
    # With CONTINUATIONs among it hyperframe has to read back all that was sent.
    frames = h.parse(made.take())
    goaways = [frame for frame in frames if isinstance(frame, GoAwayFrame)]
    assert len(goaways) == (made.failure is not None)
    if made.failure is not None:
        assert isinstance(made.failure.error_code, ErrorCodes)
        assert frames[-1] is goaways[0]
        assert goaways[0].error_code == made.failure.error_code
    else:
        assert h.balanced(made)
        for stream in made.table:
            window = stream.inbound
            assert window.available + window.held + window.unannounced == window.target
        assert made.table.open_inbound <= CONFIG.max_concurrent_streams
        assert len(made.table) >= made.table.open_inbound + made.table.open_outbound


@settings(max_examples=120, deadline=None)
@given(chunks=st.lists(st.binary(max_size=60), max_size=6), client=st.booleans())
def test_rfc9113_10_5_random_bytes(chunks: list[bytes], client: bool) -> None:
    check(machine(client=client), chunks)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=80), client=st.booleans())
def test_rfc9113_3_4_random_bytes_instead_of_a_preface(data: bytes, client: bool) -> None:
    made = ConnectionMachine(CONFIG, client=client)
    made.initiate()
    check(made, [data])


# Frames whose headers are likely, so that what is behind them is reached

STREAM_IDS = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 9, 2**31 - 1])
TYPES = st.sampled_from([*range(10), h.ALTSVC, h.ORIGIN, h.PRIORITY_UPDATE, 0x77])
BLOCKS = st.one_of(
    st.binary(max_size=20),
    st.lists(st.sampled_from([b"\x82", b"\x83", b"\x84", b"\x86", b"\x88", b"\x41\x01a", b"\x40\x01x\x01y"])).map(
        b"".join
    ),
)
RAW_FRAMES = st.builds(
    h.raw, TYPES, st.integers(0, 255), STREAM_IDS, st.one_of(st.binary(max_size=16), BLOCKS, st.just(bytes(8)))
)


@settings(max_examples=200, deadline=None)
@given(frames=st.lists(RAW_FRAMES, max_size=12), client=st.booleans())
def test_rfc9113_10_5_random_frames(frames: list[bytes], client: bool) -> None:
    check(machine(client=client), [b"".join(frames)])


def plain(fields: h.Fields) -> bytes:
    """A field block that touches no table, so that blocks can come in any order."""
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return b"\x20" + encoder.encode(fields)[1:]


FIELDS = st.sampled_from(
    [
        *(h.GET, h.POST, h.HEAD, h.CONNECT, h.WEBSOCKET, h.OK, h.TRAILERS, h.status(103)),
        [*h.POST, h.length(5)],
        h.status(200, h.length(3)),
        h.status(304, h.length(9)),
        [*h.GET, (b"x", bytes(2000))],
        [(b"Upper", b"")],
    ]
).map(plain)
IDS = st.sampled_from([1, 2, 3, 4, 5, 7, 9, 11])
VALID_FRAMES = st.one_of(
    st.builds(lambda i, b, e: h.raw(h.HEADERS, h.END_HEADERS | e, i, b), IDS, FIELDS, st.sampled_from([0, 1])),
    st.builds(
        lambda i, b, e: h.raw(h.HEADERS, e, i, b[:3]) + h.raw(h.CONTINUATION, h.END_HEADERS, i, b[3:]),
        IDS,
        FIELDS,
        st.sampled_from([0, 1]),
    ),
    st.builds(lambda i, p, b: h.raw(h.PUSH_PROMISE, h.END_HEADERS, i, h.uint32(p) + b), IDS, IDS, FIELDS),
    st.builds(
        lambda i, b, e, p: h.data(i, b, end=e, pad=p),
        IDS,
        st.sampled_from([b"", b"abc", b"hello", bytes(900)]),
        st.booleans(),
        st.sampled_from([None, 0, 9]),
    ),
    st.builds(h.rst_stream, IDS, st.integers(0, 20)),
    st.builds(h.window_update, st.one_of(st.just(0), IDS), st.sampled_from([0, 1, 5000, 2**31 - 1])),
    st.builds(h.priority, IDS, IDS),
    st.builds(h.priority_update, IDS, st.sampled_from([b"u=1", b"i", b"?"])),
    st.builds(h.goaway, IDS),
    st.builds(h.ping),
    st.builds(lambda c, v: h.settings((c, v)), st.integers(0, 10), st.sampled_from([0, 1, 100, 16_384, 2**31])),
    st.just(h.settings()),
    st.builds(h.altsvc, st.sampled_from([0, 1]), st.sampled_from([b"", b"https://a"]), st.just(b"clear")),
    st.just(h.origin(b"https://a")),
)


@settings(max_examples=200, deadline=None)
@given(frames=st.lists(VALID_FRAMES, max_size=25), client=st.booleans())
def test_rfc9113_10_5_frames_that_are_valid_in_any_order(frames: list[bytes], client: bool) -> None:
    check(machine(client=client), frames)


@settings(max_examples=200, deadline=None)
@given(
    frames=st.lists(VALID_FRAMES, min_size=1, max_size=10),
    changes=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 2**16),
    client=st.booleans(),
)
def test_rfc9113_10_5_valid_frames_with_wrong_octets(
    frames: list[bytes], changes: list[tuple[int, int]], cut: int, client: bool
) -> None:
    octets = bytearray(b"".join(frames))
    for place, octet in changes:
        octets[place % len(octets)] = octet
    place = cut % len(octets)
    check(machine(client=client), [bytes(octets[:place]), bytes(octets[place:])])


@settings(max_examples=150, deadline=None)
@given(
    frames=st.lists(VALID_FRAMES, max_size=12),
    answers=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=12),
    goaway=st.booleans(),
)
def test_rfc9113_10_5_a_server_that_answers_whatever_comes(
    frames: list[bytes], answers: list[tuple[int, int]], goaway: bool
) -> None:
    """With an application that answers, resets, reads and shuts down in between."""
    made = machine(client=False)
    for number, frame in enumerate(frames):
        check_events = made.receive(frame)
        assert all(isinstance(event, ev.Event) for event in check_events)
        what, which = answers[number % len(answers)] if answers else (0, 0)
        streams = list(made.table)
        if made.failure is not None or not streams:
            continue
        stream = streams[which % len(streams)]
        if what == 1 and stream.can_send and stream.sending.phase == 0:
            h.respond(made, stream, end=bool(which & 1))
        elif what == 2:
            made.reset_stream(stream, ErrorCodes.CANCEL)
        elif what == 3:
            made.acknowledge(stream, stream.inbound.held)
        elif what == 4 and goaway:
            made.goaway()
    h.parse(made.take())
    assert h.balanced(made)


@pytest.mark.parametrize("client", [False, True])
@pytest.mark.parametrize("type_", [*range(10), h.ALTSVC, h.ORIGIN, h.PRIORITY_UPDATE])
def test_rfc9113_4_2_every_short_payload_of_every_type(type_: int, client: bool) -> None:
    """All lengths to 20 of every frame type, with every flag alone and all at once, on every kind of stream."""
    for flags in (0, 1, 4, 8, 0x20, 0x2C, 0xFF):
        for stream_id in (0, 1, 2, 9):
            for count in range(21):
                check(machine(client=client), [h.raw(type_, flags, stream_id, bytes(count))])
