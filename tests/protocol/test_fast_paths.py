"""Every fast path of the protocol beside the slow path that it stands for: the same octets, events and state."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_h2.config import Config
from trio_h2.protocol.connection_machine import ConnectionMachine
from trio_h2.protocol.field_rules import _IN_TRAILERS, Malformed, check_trailers_untrusted, is_plain
from trio_h2.protocol.field_rules import ORDINARY as _ORDINARY
from trio_h2.protocol.field_rules import RECEIVED as _RECEIVED
from trio_h2.protocol.field_rules import SENT as _SENT
from trio_h2.protocol.frame_reader import _ON_STREAM, FrameReader
from trio_h2.protocol.frames import HeadersFrame
from trio_h2.protocol.limits import HeaderLimits
from trio_h2.protocol.message_receiver import MessageReceiver
from trio_h2.protocol.priority import Priority, parse_priority_untrusted, priority_untrusted
from trio_h2.protocol.request_rules import RequestHead, parse_request_untrusted
from trio_h2.protocol.response_rules import check_response, parse_response_untrusted
from trio_h2.protocol.stream_machine import StreamMachine

from . import helpers as h

BLOCK = b"\x82\x86\x84\x41\x01a"


def reader() -> FrameReader:
    limits = HeaderLimits(max_block_size=2**16, max_continuations=8, max_list_size=2**16, max_fields=100)
    found = FrameReader(limits, expect_preface=False)
    assert len(list(found.feed(h.settings()))) == 1
    return found


def shown(frame: object) -> object:
    """A frame or a verdict as a value; field sections are none."""
    if isinstance(frame, HeadersFrame):
        return frame.stream_id, list(frame.section.fields), frame.end_stream, frame.priority
    return frame


# Header sections

ANY_FIELD = st.one_of(
    st.sampled_from([*h.GET, *h.status(200), (b":protocol", b"websocket"), (b"te", b"trailers"), (b"te", b"gzip")]),
    st.sampled_from([(b"x", b"1"), (b"accept", b""), (b"cookie", b"a=1"), (b"priority", b"u=1"), (b"host", b"b")]),
    st.sampled_from([(b"X", b"1"), (b"x", b" 1"), (b"accept", b"\n"), (b"", b""), (b"upgrade", b"h2c"), (b":x", b"1")]),
    st.tuples(st.binary(max_size=3), st.binary(max_size=3)),
)


@given(st.lists(ANY_FIELD, max_size=6), st.booleans(), st.randoms(use_true_random=False))
def test_rfc9113_8_2_a_section_is_judged_by_what_is_not_plain_as_by_all_of_it(
    more: list[tuple[bytes, bytes]], flag: bool, random: Random
) -> None:
    for begin in (h.GET, h.status(200), ()):
        fields = [*begin, *more]
        if flag:
            random.shuffle(fields)
        telling = [field for field in fields if not is_plain(*field) or random.random() < 0.2]
        whole = parse_request_untrusted(fields, extended_connect=flag)
        assert parse_request_untrusted(fields, telling, extended_connect=flag) == whole
        answer = parse_response_untrusted(fields, to_connect=flag)
        assert parse_response_untrusted(fields, telling, to_connect=flag) == answer
        assert check_trailers_untrusted(fields, telling) == check_trailers_untrusted(fields)


@pytest.mark.parametrize("pseudo", [0, 1, 3])
def test_rfc9113_8_3_a_plain_field_before_a_pseudo_header_field_is_found(pseudo: int) -> None:
    fields = [*h.GET[:pseudo], (b"x", b"1"), *h.GET[pseudo:]]
    found = parse_request_untrusted(fields, list(h.GET), extended_connect=False)
    assert isinstance(found, Malformed)
    assert "comes after a regular field" in found.reason


@pytest.mark.parametrize(
    "name",
    [b":path", b"cookie", b"priority", b"host", b"te", b"content-length", b"upgrade", b"", b"X", b"a:b"],
)
def test_rfc9113_8_2_fields_that_are_not_plain(name: bytes) -> None:
    assert not is_plain(name, b"1")


def test_rfc7541_2_3_what_is_known_of_a_field_in_the_table_is_not_asked_again() -> None:
    """Each is taken and put into a list, and that is all."""
    found = reader()
    literals = b"".join(b"\x40\x03x-%c\x011" % number for number in range(97, 109))
    (first,) = found.feed(h.raw(h.HEADERS, h.END_HEADERS, 1, BLOCK + literals))
    assert isinstance(first, HeadersFrame)

    def calls(count: int) -> int:
        indexed = bytes(range(0xC9, 0xC9 - count, -1))
        with h.counted_calls() as calls:
            (again,) = found.feed(h.raw(h.HEADERS, h.END_HEADERS, 3, b"\x82\x86\x84\x01\x01a" + indexed))
            assert isinstance(again, HeadersFrame)
            assert type(again.section.request(extended_connect=False)) is RequestHead
        assert again.section.fields == first.section.fields[: 4 + count]
        return calls[0]

    calls(0)
    assert calls(12) - calls(2) <= 10


# Reading frames


@pytest.mark.parametrize("end", [h.END_STREAM, 0])
@pytest.mark.parametrize("block", [BLOCK, b"", b"\x80", b"\x82" * 70_000])
def test_rfc9113_6_2_whole_headers_are_read_as_those_in_fragments(block: bytes, end: int) -> None:
    def read(*frames: bytes) -> list[object]:
        found = reader()
        found.max_frame_size = 2**20
        return [shown(frame) for frame in found.feed(b"".join(frames))]

    whole = read(h.raw(h.HEADERS, h.END_HEADERS | end, 1, block))
    padded = read(h.raw(h.HEADERS, h.END_HEADERS | h.PADDED | end, 1, h.padded(block, 3)))
    in_two = read(h.raw(h.HEADERS, end, 1, block), h.raw(h.CONTINUATION, h.END_HEADERS, 1))
    assert len(whole) == 1
    assert whole == padded == in_two


@given(st.integers(0, 12), st.integers(0, 255), st.sampled_from([0, 1, 2, 2**31 - 1]), st.sampled_from([0, 16_384]))
def test_rfc9113_4_1_no_rule_is_about_the_frames_that_are_not_judged(
    type_: int, flags: int, stream_id: int, length: int
) -> None:
    found = reader()
    if found._is_ordinary(length, type_, stream_id):
        assert found._judge_header(length, type_, flags, stream_id) is None


def test_rfc9113_4_1_the_frames_that_are_not_judged_are_those_of_streams() -> None:
    found = reader()
    ordinary = {type_ for type_ in range(20) if found._is_ordinary(5, type_, 1)}
    assert ordinary == {h.DATA, h.HEADERS}
    assert ordinary < _ON_STREAM
    assert not found._is_ordinary(5, h.DATA, 0)
    assert not found._is_ordinary(found.max_frame_size + 1, h.DATA, 1)
    assert len(list(found.feed(h.raw(h.HEADERS, 0, 1, BLOCK)))) == 0
    assert not found._is_ordinary(5, h.DATA, 1)  # a field block has begun


FRAMES = [
    h.data(1, b"a" * 500),
    h.raw(h.HEADERS, h.END_HEADERS, 1, BLOCK),
    h.raw(h.HEADERS, 0, 3, BLOCK[:3]) + h.raw(h.CONTINUATION, h.END_HEADERS, 3, BLOCK[3:]),
    h.ping(),
    h.data(3),
    h.raw(0x55, 0, 1, b"unknown"),
    h.ping(b"short"),
]


@given(
    st.lists(st.sampled_from(FRAMES[:-1]), max_size=6),
    st.booleans(),
    st.lists(st.integers(1, 40), min_size=1, max_size=60),
)
def test_rfc9113_4_1_frames_that_come_in_pieces_are_those_that_come_whole(
    frames: list[bytes], broken: bool, cuts: list[int]
) -> None:
    octets = b"".join(frames) + (FRAMES[-1] if broken else b"")
    whole, in_pieces = reader(), reader()
    expected = [shown(frame) for frame in whole.feed(octets)]
    got: list[object] = []
    position = 0
    for cut in [*cuts, len(octets)]:
        got += [shown(frame) for frame in in_pieces.feed(octets[position : position + cut])]
        position += cut
        if broken and len(got) == len(expected):
            break  # nothing is read after a failure
    assert got == expected


# What is known of fields


def test_rfc9113_8_2_1_names_known_to_be_valid_are() -> None:
    for name in _ORDINARY:
        for rules in (_RECEIVED, _SENT):
            assert name.translate(rules.names) == name
        assert _IN_TRAILERS[name] in ("ordinary", "ruled", "connection-specific")


@given(st.one_of(st.sampled_from([b"u=0, i", b"u=9", b"", b"i=?0", b"u=1;x, i=?1"]), st.binary(max_size=24)))
def test_rfc9218_4_remembered_priorities_are_those_that_are_parsed(value: bytes) -> None:
    expected = Priority(*parse_priority_untrusted(value))
    assert priority_untrusted(value) == priority_untrusted(value) == expected


# Receiving a whole request


@pytest.mark.parametrize(
    ("fields", "whole"),
    [
        pytest.param(h.GET, True, id="GET"),
        pytest.param(h.HEAD, True, id="HEAD"),
        pytest.param(h.CONNECT, True, id="CONNECT"),
        pytest.param([(b":method", b"BREW"), *h.GET[1:]], True, id="a method of its own"),
        pytest.param([*h.GET, (b"priority", b"u=1, i")], True, id="with a priority"),
        pytest.param([*h.POST, h.length(0)], True, id="content-length 0"),
        pytest.param([*h.POST, h.length(5)], False, id="content-length 5"),
        pytest.param(h.GET[:-1], False, id="malformed"),
        pytest.param([*h.GET, (b"x", bytes(300))], False, id="more than can be held"),
        pytest.param([*h.GET, (b"x", bytes(700))], False, id="too large"),
    ],
)
def test_rfc9113_8_1_a_whole_request_is_what_its_parts_are(
    fields: h.Fields, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    took: list[bool] = []
    fast_path = MessageReceiver._whole_request

    def request(*, fast: bool) -> object:
        def tried(*arguments: Any) -> bool:
            took.append(fast and fast_path(*arguments))
            return took[-1]

        monkeypatch.setattr(MessageReceiver, "_whole_request", tried)
        peer = h.RawPeer(client=False, config=Config(max_header_list_size=800, max_held_headers=450))
        events = peer.receive(peer.headers(1, h.GET, end=True), peer.headers(3, fields, end=True))
        streams = [
            (s.priority, s.request_method, s.authority, s.counted, s.receiving.phase) for s in peer.machine.table
        ]
        late = peer.receive(h.data(3, b"late"))
        sent = [frame.serialize() for frame in peer.frames()]
        machine = peer.machine
        return events, streams, late, sent, h.state_of(machine), machine.requests, machine.held_headers.octets

    assert request(fast=True) == request(fast=False)
    assert took == [True, whole, False, False]


# Receiving the end of a body


@pytest.mark.parametrize("request_ends", [True, False])
@pytest.mark.parametrize(
    ("fields", "body", "took"),
    [
        pytest.param(h.status(200), b"hello", True, id="no content-length"),
        pytest.param(h.status(200, h.length(8)), b"hello", True, id="with one"),
        pytest.param(h.status(200), b"", True, id="nothing more"),
        pytest.param(h.status(200, h.length(3)), b"", True, id="nothing more, with a content-length"),
        pytest.param(h.status(200, h.length(7)), b"hello", False, id="too long"),
        pytest.param(h.status(200, h.length(9)), b"hello", False, id="too short"),
        pytest.param(h.status(304), b"hello", False, id="304"),
        pytest.param(h.status(200), bytes(100), False, id="more than the window"),
    ],
)
def test_rfc9113_6_1_data_that_ends_a_stream_is_what_its_steps_are(
    fields: h.Fields, body: bytes, took: bool, request_ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    fast_path = StreamMachine.receive_last_data

    def response(*, fast: bool) -> object:
        def tried(*arguments: Any) -> bool:
            seen.append(fast and fast_path(*arguments))
            return seen[-1]

        monkeypatch.setattr(StreamMachine, "receive_last_data", tried)
        peer = h.RawPeer(client=True, config=Config(initial_window_size=100))
        stream = h.open_request(peer.machine, h.GET if request_ends else h.POST, end=request_ends)
        first = h.data(1, b"abc") if fields[0][1] == b"200" else b""
        begun = peer.receive(peer.headers(1, fields), first)
        events = peer.receive(h.data(1, body, end=True))
        half = stream.receiving
        facts = stream.state, stream.close_reason, stream.counted, half.phase, half.seen, stream.inbound.available
        late = peer.receive(h.data(1, b"late"))
        sent = [frame.serialize() for frame in peer.frames()]
        return begun, events, facts, late, sent, h.state_of(peer.machine)

    assert response(fast=True) == response(fast=False)
    assert seen[0] == took


@pytest.mark.parametrize(
    ("fields", "frame", "took"),
    [
        pytest.param(h.OK, h.data(1, b"hello"), True, id="most"),
        pytest.param(h.OK, h.data(1, bytes(100)), True, id="all of the window"),
        pytest.param(h.OK, h.data(1, bytes(101)), False, id="more than the window"),
        pytest.param(h.status(200, h.length(5)), h.data(1, b"hello"), False, id="a content-length"),
        pytest.param(h.status(200, h.length(4)), h.data(1, b"hello"), False, id="more than content-length"),
        pytest.param(h.status(103), h.data(1, b"hello"), False, id="before the header section"),
    ],
)
@pytest.mark.parametrize("request_ends", [True, False])
def test_rfc9113_6_1_data_in_the_middle_of_a_body_is_what_its_steps_are(
    fields: h.Fields, frame: bytes, took: bool, request_ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    fast_path = StreamMachine.receive_more_data

    def response(*, fast: bool) -> object:
        def tried(*arguments: Any) -> bool:
            seen.append(fast and fast_path(*arguments))
            return seen[-1]

        monkeypatch.setattr(StreamMachine, "receive_more_data", tried)
        peer = h.RawPeer(client=True, config=Config(initial_window_size=100))
        stream = h.open_request(peer.machine, h.GET if request_ends else h.POST, end=request_ends)
        begun = peer.receive(peer.headers(1, fields))
        events = peer.receive(frame)
        half = stream.receiving
        facts = stream.state, stream.close_reason, stream.counted, half.phase, half.seen, stream.inbound.available
        after = peer.receive(h.data(1, b"the rest", end=True))
        sent = [frame.serialize() for frame in peer.frames()]
        return begun, events, facts, after, sent, h.state_of(peer.machine)

    assert response(fast=True) == response(fast=False)
    assert seen == [took, False]


@pytest.mark.parametrize("frame", [h.data(1, b""), h.data(1, b"", end=True), h.data(1, b"hello", end=True)])
def test_rfc9113_6_1_data_that_ends_or_is_empty_has_its_own_steps(
    frame: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(StreamMachine, "receive_more_data")
    peer = h.RawPeer(client=True)
    h.open_request(peer.machine, h.GET, end=True)
    peer.receive(peer.headers(1, h.OK))
    assert peer.receive(frame)


@pytest.mark.parametrize(
    ("request_fields", "end", "fields", "took"),
    [
        pytest.param(h.GET, True, h.status(200, h.length(5)), True, id="as most"),
        pytest.param(h.HEAD, True, h.status(200, h.length(5)), True, id="HEAD"),
        pytest.param(h.GET, True, h.status(204), True, id="204"),
        pytest.param(h.GET, True, h.status(304, h.length(5)), True, id="304"),
        pytest.param(h.POST, False, h.status(200), False, id="before the request has ended"),
        pytest.param(h.GET, True, h.status(103), False, id="interim"),
        pytest.param(h.GET, True, ((b"x", b"y"),), False, id="malformed"),
        pytest.param(h.GET, True, h.status(200, (b"x", b"y" * 500)), False, id="more than is held"),
        pytest.param(h.CONNECT, False, h.status(200), False, id="CONNECT"),
    ],
)
def test_rfc9113_8_1_a_response_that_its_body_follows_is_what_its_steps_are(
    request_fields: h.Fields, end: bool, fields: h.Fields, took: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    fast_path = MessageReceiver._plain_response

    def response(*, fast: bool) -> object:
        def tried(*arguments: Any) -> bool:
            seen.append(fast and fast_path(*arguments))
            return seen[-1]

        monkeypatch.setattr(MessageReceiver, "_plain_response", tried)
        peer = h.RawPeer(client=True, config=Config(max_held_headers=400))
        stream = h.open_request(peer.machine, request_fields, end=end)
        begun = peer.receive(peer.headers(1, fields))
        half = stream.receiving
        facts = stream.state, stream.tunnel, half.phase, half.status, half.expected, half.bodiless, half.no_content
        held = peer.machine.held_headers.octets
        ended = peer.receive(h.data(1, b"hello", end=True))
        sent = [frame.serialize() for frame in peer.frames()]
        return begun, facts, held, ended, sent, h.state_of(peer.machine)

    assert response(fast=True) == response(fast=False)
    assert seen[0] == took


# Sending a whole response


def answering(fields: h.Fields, *, end: bool, window: int) -> tuple[h.Pair, StreamMachine]:
    """A pair, and the server's side of a request that waits for its response."""
    pair = h.Pair()
    pair.client.update_settings({h.INITIAL_WINDOW_SIZE: window})
    pair.pump()
    return pair, pair.request(fields, end=end)[1]


def outcome(pair: h.Pair, stream: StreamMachine) -> object:
    """All that is to be seen of a response that was sent."""
    at_client, _ = pair.pump()
    return (
        at_client,
        (stream.state, stream.close_reason, stream.sending.phase, stream.sending.seen, stream.sending.expected),
        (stream.outbound.available, pair.server.outbound.available),
        h.state_of(pair.server),
    )


def slowly(machine: ConnectionMachine, stream: StreamMachine, fields: h.Fields, body: bytes) -> None:
    h.respond(machine, stream, fields)
    machine.send_data(stream, body, end_stream=True)


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("fields", [h.status(200), h.status(200, h.length(5)), h.status(404, (b"x", b"y"))])
def test_rfc9113_8_1_a_whole_response_is_what_its_parts_are(fields: h.Fields, end: bool) -> None:
    request = h.GET if end else h.POST
    fast, stream = answering(request, end=end, window=65_535)
    head = check_response(fields)
    assert not isinstance(head, Malformed)
    assert fast.server.send_whole_response(stream, fields, head, b"hello")
    slow, other = answering(request, end=end, window=65_535)
    slowly(slow.server, other, fields, b"hello")
    assert outcome(fast, stream) == outcome(slow, other)


@pytest.mark.parametrize("end", [True, False])
def test_rfc9113_8_1_a_whole_response_with_trailers_is_what_its_parts_are(end: bool) -> None:
    request = h.GET if end else h.POST
    fast, stream = answering(request, end=end, window=65_535)
    head = check_response(h.OK)
    assert not isinstance(head, Malformed)
    assert fast.server.send_whole_response(stream, h.OK, head, b"hello", h.TRAILERS)
    slow, other = answering(request, end=end, window=65_535)
    h.respond(slow.server, other, h.OK)
    slow.server.send_data(other, b"hello")
    slow.server.send_trailers(other, h.TRAILERS)
    assert outcome(fast, stream) == outcome(slow, other)


@pytest.mark.parametrize(
    ("request_fields", "fields", "body", "window"),
    [
        pytest.param(h.HEAD, h.status(200), b"hello", 100, id="HEAD"),
        pytest.param(h.GET, h.status(204), b"hello", 100, id="204"),
        pytest.param(h.GET, h.status(304), b"hello", 100, id="304"),
        pytest.param(h.GET, h.status(103), b"hello", 100, id="interim"),
        pytest.param(h.GET, h.status(200, h.length(4)), b"hello", 100, id="another content-length"),
        pytest.param(h.GET, h.status(200), b"", 100, id="nothing"),
        pytest.param(h.GET, h.status(200), b"hello", 4, id="more than the window"),
        pytest.param(h.GET, h.status(200), bytes(20_000), 65_535, id="more than a frame"),
        pytest.param(h.CONNECT, h.status(200), b"hello", 100, id="CONNECT"),
    ],
)
def test_rfc9113_8_1_what_is_not_like_most_responses_is_left_to_the_slow_path(
    request_fields: h.Fields, fields: h.Fields, body: bytes, window: int
) -> None:
    pair, stream = answering(request_fields, end=request_fields is not h.CONNECT, window=window)
    head = check_response(fields)
    assert not isinstance(head, Malformed)
    before = h.state_of(pair.server)
    assert not pair.server.send_whole_response(stream, fields, head, body)
    assert h.state_of(pair.server) == before


def test_rfc9113_5_1_a_response_that_has_begun_and_a_promised_one_are_left_to_the_slow_path() -> None:
    pair, stream = answering(h.POST, end=False, window=100)
    head = check_response(h.OK)
    assert not isinstance(head, Malformed)
    pair.client.update_settings({h.ENABLE_PUSH: 1})
    pair.pump()
    promised = h.promise(pair.server, stream)
    assert not pair.server.send_whole_response(promised, h.OK, head, b"hello")
    h.respond(pair.server, stream)
    assert not pair.server.send_whole_response(stream, h.OK, head, b"hello")
    pair.server.send_data(stream, b"", end_stream=True)
    assert not pair.server.send_whole_response(stream, h.OK, head, b"hello")
