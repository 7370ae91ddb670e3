"""The sending side of a connection (RFC 9113 sections 5, 6 and 8), and what its user may not do.

A call that is refused changes nothing: no octet is queued, no stream ID taken, no state moved.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trio_h2 import events as ev
from trio_h2.codes import SettingCodes
from trio_h2.config import Config
from trio_h2.exceptions import (
    ErrorCodes,
    H2Error,
    InvalidBodyLengthError,
    InvalidSettingsValueError,
    NoAvailableStreamIDError,
    ProtocolError,
    StreamClosedError,
    StreamIDTooLowError,
    TooManyStreamsError,
)
from trio_h2.headers import Headers
from trio_h2.protocol.connection_machine import ConnectionMachine
from trio_h2.protocol.frames import PriorityFields
from trio_h2.protocol.request_rules import RequestHead, check_request
from trio_h2.protocol.stream_machine import CloseReason, StreamMachine, StreamState

from . import helpers as h


def refuses(machine: ConnectionMachine, call: Callable[[], object], error: type[H2Error]) -> H2Error:
    """`call` raises just this error, and nothing has happened."""
    before = h.state_of(machine)
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    assert h.state_of(machine) == before
    return caught.value


def serving(fields: h.Fields = h.POST, *, end: bool = False) -> tuple[h.RawPeer, StreamMachine]:
    """A server with one request."""
    peer = h.RawPeer(client=False)
    peer.receive(peer.headers(1, fields, end=end))
    peer.frames()
    return peer, h.live(peer.machine, 1)


def asking(fields: h.Fields = h.POST) -> tuple[h.RawPeer, StreamMachine]:
    """A client with one request whose body is still to come."""
    peer = h.RawPeer(client=True)
    stream = h.open_request(peer.machine, fields, end=False)
    peer.frames()
    return peer, stream


# Two machines


def test_rfc9113_8_1_a_whole_exchange() -> None:
    pair = h.Pair()
    stream = h.open_request(pair.client, [*h.POST, h.length(5)], end=False)
    pair.client.send_data(stream, b"he")
    pair.client.send_data(stream, memoryview(b"llo"), end_stream=True)
    _, at_server = pair.pump()
    end = ev.StreamEnded(1)
    assert at_server == [
        ev.RequestReceived(1, Headers([*h.POST, h.length(5)])),
        ev.DataReceived(1, b"he", 2),
        ev.DataReceived(1, b"llo", 3, end),
        end,
    ]
    answering = h.live(pair.server, 1)
    h.respond(pair.server, answering, h.status(103))
    h.respond(pair.server, answering)
    pair.server.send_data(answering, b"bye", pad_length=3)
    pair.server.send_trailers(answering, h.TRAILERS)
    at_client, _ = pair.pump()
    assert at_client == [
        ev.InformationalResponseReceived(1, Headers(h.status(103))),
        ev.ResponseReceived(1, Headers(h.OK)),
        ev.DataReceived(1, b"bye", 7),
        ev.TrailersReceived(1, Headers(h.TRAILERS), end),
        end,
    ]
    for machine, mine in ((pair.client, stream), (pair.server, answering)):
        assert len(machine.table) == 0
        assert mine.close_reason is CloseReason.ENDED
        assert machine.table.open_inbound == machine.table.open_outbound == 0


def test_rfc9113_8_1_a_response_before_the_end_of_the_request() -> None:
    pair = h.Pair()
    stream, answering = pair.request(h.POST, end=False)
    h.respond(pair.server, answering, end=True)
    assert answering.state is StreamState.HALF_CLOSED_LOCAL
    pair.pump()
    assert stream.state is StreamState.HALF_CLOSED_REMOTE
    pair.client.send_data(stream, b"more", end_stream=True)
    _, at_server = pair.pump()
    assert isinstance(at_server[-1], ev.StreamEnded)
    assert pair.server.failure is None


def test_rfc9113_8_1_reset_with_no_error_after_a_whole_response() -> None:
    pair = h.Pair()
    _, answering = pair.request(h.POST, end=False)
    h.respond(pair.server, answering, end=True)
    pair.server.reset_stream(answering, ErrorCodes.NO_ERROR)
    at_client, _ = pair.pump()
    assert [type(event) for event in at_client] == [ev.ResponseReceived, ev.StreamEnded, ev.StreamReset]


def test_rfc9113_5_1_2_many_streams_at_once() -> None:
    pair = h.Pair()
    streams = [h.open_request(pair.client) for _ in range(100)]
    assert not pair.client.can_open
    _, at_server = pair.pump()
    assert len(h.of_type(at_server, ev.RequestReceived)) == 100
    for stream in pair.server.table:
        h.respond(pair.server, stream, end=True)
    at_client, _ = pair.pump()
    assert len(h.of_type(at_client, ev.StreamEnded)) == 100
    assert all(stream.closed for stream in streams)
    assert pair.client.can_open


def test_rfc9113_6_7_ping_and_its_answer() -> None:
    pair = h.Pair()
    pair.client.ping(b"abcdefgh")
    assert pair.pump() == ([ev.PingAckReceived(b"abcdefgh")], [ev.PingReceived(b"abcdefgh")])


# Opening streams


def test_rfc9113_5_1_1_streams_are_opened_in_order() -> None:
    peer = h.RawPeer(client=True)
    assert [h.open_request(peer.machine).stream_id for _ in range(3)] == [1, 3, 5]
    assert [(f.stream_id, "END_STREAM" in f.flags) for f in peer.frames()] == [(1, True), (3, True), (5, True)]


def test_rfc9113_6_2_a_request_may_carry_priority_fields() -> None:
    peer = h.RawPeer(client=True)
    h.open_request(peer.machine, priority=PriorityFields(0, 256, True))
    (frame,) = peer.frames()
    assert (frame.depends_on, frame.stream_weight, frame.exclusive) == (0, 255, True)
    assert peer.sent_fields(frame) == h.GET


def test_rfc9113_5_1_2_no_stream_above_the_peers_limit() -> None:
    peer = h.RawPeer(client=True)
    peer.receive(h.settings((h.MAX_CONCURRENT_STREAMS, 1)))
    stream = h.open_request(peer.machine, h.POST, end=False)
    assert not peer.machine.can_open
    error = refuses(peer.machine, lambda: h.open_request(peer.machine), TooManyStreamsError)
    assert error.initiator == "local"
    peer.machine.reset_stream(stream, ErrorCodes.CANCEL)
    assert peer.machine.can_open


def test_rfc9113_5_1_2_a_lower_limit_lets_open_streams_complete() -> None:
    peer = h.RawPeer(client=True)
    for _ in range(3):
        h.open_request(peer.machine)
    peer.receive(h.settings((h.MAX_CONCURRENT_STREAMS, 1)))
    assert not peer.machine.can_open
    assert len(peer.machine.table) == 3


@pytest.mark.parametrize(
    ("code", "safe"), [(0, True), (ErrorCodes.INADEQUATE_SECURITY, False), (ErrorCodes.HTTP_1_1_REQUIRED, False)]
)
def test_rfc9113_6_8_no_stream_after_the_peers_goaway(code: int, safe: bool) -> None:
    """It is worth another connection unless that would be told the same."""
    peer, _ = asking()
    peer.receive(h.goaway(1, code))
    error = refuses(peer.machine, lambda: h.open_request(peer.machine), ProtocolError)
    assert (error.initiator, error.safe_to_retry) == ("remote", safe)


def test_rfc9113_6_8_after_the_peers_goaway_nobody_is_told_to_wait_for_its_limit() -> None:
    peer, _ = asking()
    peer.receive(h.settings((h.MAX_CONCURRENT_STREAMS, 0)), h.goaway(1))
    error = refuses(peer.machine, lambda: h.open_request(peer.machine), ProtocolError)
    assert not isinstance(error, TooManyStreamsError)
    assert error.safe_to_retry


def open_at(machine: ConnectionMachine, stream_id: int) -> StreamMachine:
    head = check_request(h.GET, extended_connect=False)
    assert isinstance(head, RequestHead)
    return machine.open_stream(h.GET, head, end_stream=True, stream_id=stream_id)


def test_rfc9113_5_1_1_a_stream_id_may_be_chosen() -> None:
    peer = h.RawPeer(client=True)
    assert open_at(peer.machine, 7).stream_id == 7
    assert h.open_request(peer.machine).stream_id == 9
    for wrong in (0, -1, 10, 2**31, 2**31 + 1):
        refuses(peer.machine, lambda wrong=wrong: open_at(peer.machine, wrong), ProtocolError)  # type: ignore[misc]
    for low in (1, 7, 9):
        error = refuses(peer.machine, lambda low=low: open_at(peer.machine, low), StreamIDTooLowError)  # type: ignore[misc]
        assert "not above 9" in str(error)


def test_rfc9113_5_1_1_stream_ids_run_out() -> None:
    peer = h.RawPeer(client=True)
    assert open_at(peer.machine, 2**31 - 1)
    error = refuses(peer.machine, lambda: h.open_request(peer.machine), NoAvailableStreamIDError)
    assert (error.initiator, error.safe_to_retry) == ("local", True)


def test_rfc9113_8_1_1_a_request_cannot_end_short_of_its_content_length() -> None:
    peer = h.RawPeer(client=True)
    error = refuses(peer.machine, lambda: h.open_request(peer.machine, [*h.POST, h.length(1)]), InvalidBodyLengthError)
    assert isinstance(error, InvalidBodyLengthError)
    assert (error.expected_length, error.actual_length, error.initiator) == (1, 0, "local")
    assert h.open_request(peer.machine, [*h.POST, h.length(0)]).stream_id == 1


@pytest.mark.parametrize("client", [False, True])
def test_rfc7540_3_2_stream_1_of_an_upgraded_connection_is_half_closed(client: bool) -> None:
    peer = h.RawPeer(client=client, greet=False)
    peer.frames()
    peer.machine.adopt_upgraded_stream(() if client else [(h.INITIAL_WINDOW_SIZE, 10)])
    stream = h.live(peer.machine, 1)
    if client:
        assert stream.state is StreamState.HALF_CLOSED_LOCAL
        events = peer.receive(h.settings(), peer.headers(1, h.OK), h.data(1, b"x", end=True))
        assert isinstance(events[-1], ev.StreamEnded)
        assert h.open_request(peer.machine).stream_id == 3
    else:
        assert stream.state is StreamState.HALF_CLOSED_REMOTE
        assert stream.outbound.available == 10
        assert peer.frames() == []
        h.respond(peer.machine, stream, end=True)
        assert [f.type for f in peer.frames()] == [h.HEADERS]
        assert peer.receive(h.PREFACE, h.settings(), peer.headers(3, h.GET))
    assert peer.machine.failure is None


def test_rfc7540_3_2_1_the_settings_of_an_upgrade_are_checked() -> None:
    peer = h.RawPeer(client=False, greet=False)
    before = h.state_of(peer.machine)
    with pytest.raises(InvalidSettingsValueError) as caught:
        peer.machine.adopt_upgraded_stream([(h.INITIAL_WINDOW_SIZE, 2**31)])
    assert caught.value.error_code == ErrorCodes.FLOW_CONTROL_ERROR
    assert h.state_of(peer.machine) == before


# Responses


def test_rfc9113_8_1_interim_responses_then_one_final_one() -> None:
    peer, stream = serving()
    for code in (100, 103, 103, 200):
        h.respond(peer.machine, stream, h.status(code))
    error = refuses(peer.machine, lambda: h.respond(peer.machine, stream), ProtocolError)
    assert (error.scope, error.initiator, error.stream_id) == ("stream", "local", 1)
    refuses(peer.machine, lambda: h.respond(peer.machine, stream, h.status(103)), ProtocolError)
    statuses = [dict(peer.sent_fields(frame))[b":status"] for frame in peer.frames()]
    assert statuses == [b"100", b"103", b"103", b"200"]


def test_rfc9113_8_1_an_interim_response_cannot_end_the_stream() -> None:
    peer, stream = serving()
    error = refuses(peer.machine, lambda: h.respond(peer.machine, stream, h.status(103), end=True), ProtocolError)
    assert (error.scope, error.initiator) == ("stream", "local")


@pytest.mark.parametrize("how", ["ended", "reset by us", "reset by the peer", "our half ended"])
def test_rfc9113_5_1_nothing_is_sent_on_a_closed_stream(how: str) -> None:
    peer, stream = serving(end=how == "ended")
    if how == "reset by us":
        assert peer.machine.reset_stream(stream, ErrorCodes.CANCEL)
    elif how == "reset by the peer":
        peer.receive(h.rst_stream(1))
    else:
        h.respond(peer.machine, stream, end=True)
    for call in (
        lambda: h.respond(peer.machine, stream),
        lambda: h.respond(peer.machine, stream, h.status(103)),
        lambda: peer.machine.send_data(stream, b"x"),
        lambda: peer.machine.send_data(stream, b"", end_stream=True),
        lambda: peer.machine.end_stream(stream),
        lambda: peer.machine.send_trailers(stream, h.TRAILERS),
    ):
        error = refuses(peer.machine, call, StreamClosedError)
        assert (error.stream_id, error.initiator) == (1, "local")
    assert peer.machine.sendable(stream) >= 0


def test_rfc9113_8_1_a_client_sends_no_second_header_section_that_is_no_trailers() -> None:
    peer, stream = asking()
    refuses(peer.machine, lambda: h.respond(peer.machine, stream), ProtocolError)


@pytest.mark.parametrize("when", ["nothing", "interim"])
def test_rfc9113_8_1_no_body_before_the_final_response(when: str) -> None:
    peer, stream = serving()
    if when == "interim":
        h.respond(peer.machine, stream, h.status(103))
    for call in (
        lambda: peer.machine.send_data(stream, b"x"),
        lambda: peer.machine.end_stream(stream),
        lambda: peer.machine.send_trailers(stream, h.TRAILERS),
    ):
        error = refuses(peer.machine, call, ProtocolError)
        assert (error.scope, error.initiator, error.stream_id) == ("stream", "local", 1)


# Content-length, going out


@pytest.mark.parametrize("is_client", [False, True])
def test_rfc9113_8_1_1_our_own_content_length_is_held(is_client: bool) -> None:
    if is_client:
        peer, stream = asking([*h.POST, h.length(5)])
    else:
        peer, stream = serving()
        h.respond(peer.machine, stream, h.status(200, h.length(5)))
    machine = peer.machine
    machine.send_data(stream, b"abc")
    for call, actual in (
        (lambda: machine.send_data(stream, b"def"), 6),
        (lambda: machine.send_data(stream, b"d", end_stream=True), 4),
        (lambda: machine.end_stream(stream), 3),
        (lambda: machine.send_trailers(stream, h.TRAILERS), 3),
    ):
        error = refuses(machine, call, InvalidBodyLengthError)
        assert isinstance(error, InvalidBodyLengthError)
        assert (error.expected_length, error.actual_length, error.stream_id) == (5, actual, 1)
    machine.send_data(stream, b"de", pad_length=200)
    machine.send_trailers(stream, h.TRAILERS)


def test_rfc9113_8_1_1_a_response_cannot_end_short_of_its_content_length() -> None:
    peer, stream = serving()
    fields = h.status(200, h.length(5))
    refuses(peer.machine, lambda: h.respond(peer.machine, stream, fields, end=True), InvalidBodyLengthError)
    h.respond(peer.machine, stream, h.status(200, h.length(0)), end=True)


@pytest.mark.parametrize(("request_", "code"), [(h.HEAD, 200), (h.HEAD, 500), (h.GET, 304)])
def test_rfc9113_8_1_1_a_response_without_content_may_name_a_length(request_: h.Fields, code: int) -> None:
    fields = h.status(code, h.length(1000))
    peer, stream = serving(request_, end=True)
    h.respond(peer.machine, stream, fields, end=True)
    assert stream.closed
    peer, stream = serving(request_, end=True)
    h.respond(peer.machine, stream, fields)
    refuses(peer.machine, lambda: peer.machine.send_data(stream, b"x"), InvalidBodyLengthError)
    peer.machine.end_stream(stream)
    assert stream.closed


def test_rfc9110_15_3_5_a_204_has_no_content() -> None:
    peer, stream = serving(h.GET, end=True)
    h.respond(peer.machine, stream, h.status(204))
    refuses(peer.machine, lambda: peer.machine.send_data(stream, b"x"), InvalidBodyLengthError)
    peer.machine.send_trailers(stream, h.TRAILERS)


# Trailers and tunnels


def test_rfc9113_8_1_trailers_end_our_half() -> None:
    peer, stream = asking()
    peer.machine.send_trailers(stream, h.TRAILERS)
    (frame,) = peer.frames()
    assert sorted(frame.flags) == ["END_HEADERS", "END_STREAM"]
    assert peer.sent_fields(frame) == h.TRAILERS
    assert stream.state is StreamState.HALF_CLOSED_LOCAL
    refuses(peer.machine, lambda: peer.machine.send_trailers(stream, h.TRAILERS), StreamClosedError)


def test_rfc9113_8_5_a_tunnel_has_no_trailers() -> None:
    peer, stream = asking(h.CONNECT)
    peer.receive(peer.headers(1, h.OK))
    error = refuses(peer.machine, lambda: peer.machine.send_trailers(stream, h.TRAILERS), ProtocolError)
    assert (error.scope, error.initiator) == ("stream", "local")
    peer.machine.send_data(stream, b"x" * 100)
    peer.machine.end_stream(stream)
    refuses(peer.machine, lambda: peer.machine.send_trailers(stream, h.TRAILERS), StreamClosedError)


def test_rfc9113_8_5_a_tunnel_in_both_directions() -> None:
    pair = h.Pair()
    stream, answering = pair.request(h.CONNECT, end=False)
    h.respond(pair.server, answering)
    pair.pump()
    assert stream.is_established_tunnel
    assert answering.is_established_tunnel
    pair.client.send_data(stream, b"there")
    pair.server.send_data(answering, b"back", end_stream=True)
    at_client, at_server = pair.pump()
    assert h.of_type(at_client, ev.StreamEnded)
    assert not h.of_type(at_server, ev.StreamEnded)
    pair.client.send_data(stream, b"and again", end_stream=True)
    pair.pump()
    assert stream.closed
    assert answering.closed


def test_rfc9113_8_5_a_refused_tunnel_has_a_body_and_trailers() -> None:
    peer, stream = serving(h.CONNECT)
    assert not stream.is_established_tunnel
    h.respond(peer.machine, stream, h.status(502, h.length(2)))
    assert not stream.is_established_tunnel
    refuses(peer.machine, lambda: peer.machine.send_data(stream, b"abc"), InvalidBodyLengthError)
    peer.machine.send_data(stream, b"no")
    peer.machine.send_trailers(stream, h.TRAILERS)


def test_rfc9113_8_5_a_tunnel_may_end_with_its_response() -> None:
    peer, stream = serving(h.CONNECT, end=True)
    h.respond(peer.machine, stream, end=True)
    assert stream.closed


# Resets


def test_rfc9113_5_4_2_one_reset_and_no_more() -> None:
    peer, stream = asking()
    assert peer.machine.reset_stream(stream, ErrorCodes.CANCEL)
    assert not peer.machine.reset_stream(stream, ErrorCodes.CANCEL)
    assert peer.resets() == [(1, ErrorCodes.CANCEL)]
    assert stream.close_reason is CloseReason.RESET_LOCALLY


@pytest.mark.parametrize("how", ["ended", "reset by the peer"])
def test_rfc9113_5_1_no_reset_of_a_closed_stream(how: str) -> None:
    peer, stream = serving(end=True)
    if how == "ended":
        h.respond(peer.machine, stream, end=True)
        peer.frames()
    else:
        peer.receive(h.rst_stream(1))
    assert not peer.machine.reset_stream(stream, ErrorCodes.CANCEL)
    assert peer.frames() == []


def test_rfc9113_5_4_2_a_reset_ends_one_stream_alone() -> None:
    pair = h.Pair()
    first, _ = pair.request(h.POST, end=False)
    second, _ = pair.request(h.POST, end=False)
    pair.client.reset_stream(first, ErrorCodes.CANCEL)
    pair.client.send_data(second, b"x", end_stream=True)
    _, at_server = pair.pump()
    assert [(type(event), event.stream_id) for event in at_server] == [  # type: ignore[attr-defined]
        (ev.StreamReset, 1),
        (ev.DataReceived, 3),
        (ev.StreamEnded, 3),
    ]


# GOAWAY


def test_rfc9113_6_8_goaway_names_the_highest_stream_of_the_peer() -> None:
    peer, _ = serving()
    peer.receive(peer.headers(7, h.GET))
    peer.machine.goaway(ErrorCodes.ENHANCE_YOUR_CALM, additional_data=b"why")
    (frame,) = peer.frames()
    assert (frame.stream_id, frame.last_stream_id, frame.error_code) == (0, 7, ErrorCodes.ENHANCE_YOUR_CALM)
    assert frame.additional_data == b"why"


def test_rfc9113_6_8_the_last_stream_id_never_grows() -> None:
    peer, _ = serving()
    peer.machine.announce_goaway()
    peer.receive(peer.headers(3, h.GET))
    assert h.live(peer.machine, 3)
    peer.machine.goaway()
    peer.receive(peer.headers(5, h.GET))
    assert peer.machine.table.get(5) is None
    peer.machine.goaway()
    peer.machine.goaway(last_stream_id=1)
    peer.machine.goaway(last_stream_id=99)
    assert [f.last_stream_id for f in peer.frames()] == [2**31 - 1, 3, 3, 1, 1]
    assert peer.machine.goaway_last_stream_id == 1


def test_rfc9113_6_8_a_graceful_shutdown_of_two_goaways_loses_no_request() -> None:
    pair = h.Pair()
    pair.server.announce_goaway()
    crossing = h.open_request(pair.client)
    at_client, at_server = pair.pump()
    assert at_client == [ev.ConnectionTerminated(ErrorCodes.NO_ERROR, 2**31 - 1)]
    assert h.of_type(at_server, ev.RequestReceived)
    assert not pair.client.can_open or pair.client.remote_goaway is not None
    pair.server.goaway()
    assert pair.pump()[0] == [ev.ConnectionTerminated(ErrorCodes.NO_ERROR, 1)]
    h.respond(pair.server, h.live(pair.server, 1), end=True)
    pair.pump()
    assert crossing.close_reason is CloseReason.ENDED


# Output


def test_rfc9113_6_9_has_output_and_take() -> None:
    peer = h.RawPeer(client=True)
    assert not peer.machine.has_output
    assert peer.machine.take() == b""
    peer.machine.ping(b"12345678")
    assert peer.machine.has_output
    assert peer.machine.take() == h.ping(b"12345678")
    assert not peer.machine.has_output


def test_what_is_cut_can_be_taken_in_parts() -> None:
    peer = h.RawPeer(client=True)
    peer.machine.ping(b"12345678")
    peer.machine.ping(b"abcdefgh")
    whole = h.ping(b"12345678") + h.ping(b"abcdefgh")
    assert peer.machine.take(5) == whole[:5]
    assert peer.machine.has_output
    assert peer.machine.outbox.size == len(whole) - 5
    assert peer.machine.take(0) == b""
    assert peer.machine.take(len(whole)) == whole[5:]
    assert not peer.machine.has_output


def test_rfc9113_6_2_header_frames_keep_the_order_of_their_calls() -> None:
    """HPACK is in wire order because encoding and queueing are one step."""
    peer = h.RawPeer(client=True)
    lists = [[*h.GET, (b"x-number", b"%d" % (number % 3))] for number in range(9)]
    for fields in lists:
        h.open_request(peer.machine, fields)
    assert [peer.sent_fields(frame) for frame in peer.frames()] == lists


def test_rfc9113_4_2_no_frame_is_longer_than_the_peer_allows() -> None:
    peer = h.RawPeer(client=True, config=Config(max_outbound_frame_size=100))
    stream = h.open_request(peer.machine, h.POST, end=False)
    assert peer.machine.sendable(stream) == 100


# The fast path of DATA that both windows have room for


def cut_one_by_one(machine: ConnectionMachine, stream: StreamMachine, data: bytes, *, end: bool) -> None:
    while data:
        count = min(len(data), machine.sendable(stream))
        piece, data = data[:count], data[count:]
        machine.send_data(stream, piece, end_stream=end and not data)


def uploading(size: int, config: Config, *, frame_size: int, length: bool) -> tuple[h.RawPeer, StreamMachine]:
    """A client that may send more than one frame, to a server that takes frames of this size."""
    peer = h.RawPeer(client=True, config=config)
    peer.receive(h.settings((SettingCodes.MAX_FRAME_SIZE, frame_size)))
    stream = h.open_request(peer.machine, [*h.POST, h.length(size)] if length else h.POST, end=False)
    peer.frames()
    return peer, stream


@pytest.mark.parametrize("length", [False, True])
@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize("own_size", [100, 65_536])
@pytest.mark.parametrize("frame_size", [16_384, 20_000])
@pytest.mark.parametrize("size", [1, 100, 150, 16_384, 16_385, 32_768, 65_531, 65_535])
def test_what_fits_is_cut_whole_as_one_by_one(
    size: int, frame_size: int, own_size: int, *, end: bool, length: bool
) -> None:
    """By `send_whole` or by `sendable` and `send_data`: the same octets, and the same state after them."""
    results = []
    for whole in (True, False):
        config = Config(max_outbound_frame_size=own_size)
        peer, stream = uploading(size, config, frame_size=frame_size, length=length)
        data = bytes(range(251)) * 262
        if whole:
            assert peer.machine.send_whole(stream, memoryview(data)[:size], end_stream=end)
        else:
            cut_one_by_one(peer.machine, stream, data[:size], end=end)
        paid = peer.machine.state.budgets._data_sent
        results.append((paid, stream.outbound.available, h.state_of(peer.machine), peer.machine.take()))
    assert results[0] == results[1]


@pytest.mark.parametrize("window", [1, 7, 8, 99, 100, 101, 250, 304])
@pytest.mark.parametrize("resized", [False, True])
def test_what_a_window_leaves_is_counted_as_one_by_one(window: int, *, resized: bool) -> None:
    """Also where it ends in the middle of a frame, and with less than pays for the peer's frames."""
    results = []
    for whole in (True, False):
        peer = h.RawPeer(client=True, config=Config(max_outbound_frame_size=100))
        machine = peer.machine
        stream = h.open_request(machine, h.POST, end=False)
        if resized:
            peer.receive(h.settings((h.INITIAL_WINDOW_SIZE, window)))
        else:
            cut_one_by_one(machine, stream, bytes(65_535 - window), end=False)
        if whole:
            assert machine.sendable_at_once(stream, 10**6) == window
            assert machine.send_whole(stream, bytes(window), end_stream=False)
        else:
            cut_one_by_one(machine, stream, bytes(window), end=False)
        budgets = machine.state.budgets
        results.append((budgets._data_sent, budgets._resized, h.state_of(machine), machine.take()))
        assert machine.sendable_at_once(stream, 10**6) == 0
    assert results[0] == results[1]


@pytest.mark.parametrize(("room", "frames"), [(1, 1), (109, 1), (110, 2), (218, 2), (219, 3)])
def test_a_frame_that_begins_within_the_room_may_end_beyond_it(room: int, frames: int) -> None:
    peer = h.RawPeer(client=True, config=Config(max_outbound_frame_size=100))
    stream = h.open_request(peer.machine, h.POST, end=False)
    assert peer.machine.sendable_at_once(stream, room) == 100 * frames


@pytest.mark.parametrize("size", [65_535, 65_536])
def test_what_does_not_fit_is_not_begun(size: int) -> None:
    peer, stream = asking()
    before = h.state_of(peer.machine)
    fits = size == 65_535
    assert peer.machine.send_whole(stream, bytes(size), end_stream=False) == fits
    assert fits or h.state_of(peer.machine) == before


def test_a_whole_frame_is_held_to_what_send_data_is_held_to() -> None:
    peer, stream = asking([*h.POST, h.length(10)])
    machine = peer.machine
    refuses(machine, lambda: machine.send_whole(stream, b"x" * 11, end_stream=False), InvalidBodyLengthError)
    refuses(machine, lambda: machine.send_whole(stream, b"x" * 9, end_stream=True), InvalidBodyLengthError)
    assert machine.send_whole(stream, b"x" * 10, end_stream=True)
    refuses(machine, lambda: machine.send_whole(stream, b"x", end_stream=False), StreamClosedError)
    peer, stream = serving()
    refuses(peer.machine, lambda: peer.machine.send_whole(stream, b"x", end_stream=False), ProtocolError)
