"""Which verdict for which frame (RFC 9113 sections 5, 6 and 8): what a peer may do, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trio_h2 import events as ev
from trio_h2.config import Config
from trio_h2.exceptions import ErrorCodes, StreamIDTooLowError
from trio_h2.headers import Headers
from trio_h2.protocol.connection_machine import ConnectionMachine
from trio_h2.protocol.field_section import InboundRules

from . import helpers as h

Code = ErrorCodes


def server(**config: object) -> h.RawPeer:
    return h.RawPeer(client=False, config=Config(**config))  # type: ignore[arg-type]


def client(fields: h.Fields = h.GET, *, end: bool = True, **config: object) -> h.RawPeer:
    """A client with stream 1 open."""
    peer = h.RawPeer(client=True, config=Config(**config))  # type: ignore[arg-type]
    h.open_request(peer.machine, fields, end=end)
    peer.frames()
    return peer


# 8.1: messages, as events


def test_rfc9113_8_1_a_request_with_a_body_and_trailers() -> None:
    peer = server()
    fields = [*h.POST, h.length(3)]
    events = peer.receive(peer.headers(1, fields), h.data(1, b"abc"), peer.headers(1, h.TRAILERS, end=True))
    end = ev.StreamEnded(1)
    assert events == [
        ev.RequestReceived(1, Headers(fields)),
        ev.DataReceived(1, b"abc", 3),
        ev.TrailersReceived(1, Headers(h.TRAILERS), stream_ended=end),
        end,
    ]
    assert not peer.frames()


def test_rfc9113_8_1_a_request_without_a_body() -> None:
    peer = server()
    end = ev.StreamEnded(1)
    assert peer.receive(peer.headers(1, h.GET, end=True)) == [ev.RequestReceived(1, Headers(h.GET), end), end]


@pytest.mark.parametrize("last", [b"", b"abc"])
def test_rfc9113_8_1_a_response_that_ends_with_data(last: bytes) -> None:
    peer = client()
    end = ev.StreamEnded(1)
    assert peer.receive(peer.headers(1, h.OK), h.data(1, last, end=True)) == [
        ev.ResponseReceived(1, Headers(h.OK)),
        ev.DataReceived(1, last, len(last), end),
        end,
    ]
    assert len(peer.machine.table) == 0


def test_rfc9113_8_1_interim_responses_come_before_the_final_one() -> None:
    peer = client()
    hints = h.status(103, (b"link", b"</style.css>"))
    events = peer.receive(peer.headers(1, h.status(100)), peer.headers(1, hints), peer.headers(1, h.OK, end=True))
    end = ev.StreamEnded(1)
    assert events == [
        ev.InformationalResponseReceived(1, Headers(h.status(100))),
        ev.InformationalResponseReceived(1, Headers(hints)),
        ev.ResponseReceived(1, Headers(h.OK), stream_ended=end),
        end,
    ]


def test_rfc9113_8_1_an_interim_response_cannot_end_the_stream() -> None:
    peer = client()
    assert peer.receive(peer.headers(1, h.status(103), end=True))[-1:] == [
        ev.StreamReset(1, Code.PROTOCOL_ERROR, False, "a 103 response that ends the stream")
    ]
    peer.assert_stream_error(1, Code.PROTOCOL_ERROR)


def test_rfc9113_8_6_there_is_no_101() -> None:
    peer = client()
    peer.receive(peer.headers(1, h.status(101)))
    peer.assert_stream_error(1, Code.PROTOCOL_ERROR)


def test_rfc9113_8_1_no_interim_response_after_the_final_one() -> None:
    peer = client()
    peer.receive(peer.headers(1, h.OK), peer.headers(1, h.status(103)))
    peer.assert_stream_error(1, Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("interim", [False, True])
def test_rfc9113_8_1_data_before_the_final_response_is_malformed(interim: bool) -> None:
    peer = client()
    if interim:
        peer.receive(peer.headers(1, h.status(103)))
    peer.receive(h.data(1, b"abc"))
    peer.assert_stream_error(1, Code.PROTOCOL_ERROR)
    assert h.balanced(peer.machine)
    assert peer.machine.inbound.unread == 0


@pytest.mark.parametrize("is_client", [False, True])
def test_rfc9113_8_1_a_second_header_section_has_to_end_the_stream(is_client: bool) -> None:
    peer = client() if is_client else server()
    peer.receive(peer.headers(1, h.OK if is_client else h.POST), peer.headers(1, h.TRAILERS))
    peer.assert_stream_error(1, Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("fields", [h.OK, h.GET, [(b"Upper", b"x")], [(b"connection", b"close")]])
@pytest.mark.parametrize("is_client", [False, True])
def test_rfc9113_8_1_malformed_trailers_are_a_stream_error(fields: h.Fields, is_client: bool) -> None:
    peer = client() if is_client else server()
    peer.receive(peer.headers(1, h.OK if is_client else h.POST), peer.headers(1, fields, end=True))
    peer.assert_stream_error(1, Code.PROTOCOL_ERROR)


def test_rfc9113_8_1_1_a_malformed_request_is_a_stream_error_and_the_others_go_on() -> None:
    peer = server()
    events = peer.receive(
        peer.headers(1, h.POST), peer.headers(3, h.OK), h.data(1, b"abc"), peer.headers(5, h.GET, end=True)
    )
    assert [(type(event), event.stream_id) for event in events] == [  # type: ignore[attr-defined]
        (ev.RequestReceived, 1),
        (ev.StreamReset, 3),
        (ev.DataReceived, 1),
        (ev.RequestReceived, 5),
        (ev.StreamEnded, 5),
    ]
    peer.assert_stream_error(3, Code.PROTOCOL_ERROR)
    assert [stream.stream_id for stream in peer.machine.table] == [1, 5]


def test_rfc9113_8_1_1_a_malformed_response_is_a_stream_error() -> None:
    peer = client()
    h.open_request(peer.machine)
    events = peer.receive(peer.headers(1, h.GET), peer.headers(3, h.OK, end=True))
    assert isinstance(events[0], ev.StreamReset)
    assert events[0].remote_reset is False
    assert isinstance(events[1], ev.ResponseReceived)


def test_rfc9113_8_2_3_cookie_crumbs_are_joined() -> None:
    peer = server()
    (event,) = peer.receive(peer.headers(1, [*h.GET, (b"cookie", b"a=b"), (b"cookie", b"c=d")]))
    assert event == ev.RequestReceived(1, Headers([*h.GET, (b"cookie", b"a=b; c=d")]))


def test_rfc9113_8_2_checks_can_be_switched_off() -> None:
    machine = ConnectionMachine(Config(), client=False, rules=InboundRules(validate=False, join_cookies=False))
    peer = h.RawPeer(client=False, greet=False)
    peer.machine = machine
    crumbs = [(b"cookie", b"a=b"), (b"cookie", b"c=d")]
    events = peer.receive(
        h.PREFACE,
        h.settings(),
        peer.headers(1, [*h.GET[1:], (b"Upper", b" x "), *crumbs]),
        peer.headers(1, h.OK, end=True),
    )
    assert machine.failure is None
    assert list(events[1].headers)[-3:] == [(b"Upper", b" x "), *crumbs]  # type: ignore[attr-defined]
    assert isinstance(events[2], ev.TrailersReceived)


def test_rfc9113_8_2_checks_of_responses_can_be_switched_off() -> None:
    machine = ConnectionMachine(Config(), client=True, rules=InboundRules(validate=False))
    peer = h.RawPeer(client=True, greet=False)
    peer.machine = machine
    h.open_request(machine)
    events = peer.receive(h.settings(), peer.headers(1, [(b"Upper", b" x ")], end=True))
    assert isinstance(events[1], ev.ResponseReceived)


# 8.1.1: content-length, on every way a body can end


def data_es(peer: h.RawPeer, body: bytes) -> list[bytes]:
    return [h.data(1, body, end=True)]


def data_then_empty(peer: h.RawPeer, body: bytes) -> list[bytes]:
    return [h.data(1, body, pad=7), h.data(1, end=True)]


def trailers(peer: h.RawPeer, body: bytes) -> list[bytes]:
    return [h.data(1, body), peer.headers(1, h.TRAILERS, end=True)]


def octets(peer: h.RawPeer, body: bytes) -> list[bytes]:
    return [*(h.data(1, body[i : i + 1]) for i in range(len(body))), h.data(1, end=True, pad=3)]


Ending = Callable[[h.RawPeer, bytes], list[bytes]]
ENDINGS = pytest.mark.parametrize("ending", [data_es, data_then_empty, trailers, octets])


@ENDINGS
@pytest.mark.parametrize("is_client", [False, True])
@pytest.mark.parametrize("length", [None, 0, 3])
def test_rfc9113_8_1_1_a_body_of_the_promised_length(ending: Ending, is_client: bool, length: int | None) -> None:
    peer = client() if is_client else server()
    start = h.OK if is_client else h.POST
    fields = start if length is None else [*start, h.length(length)]
    body = b"abc" if length is None else b"abc"[:length]
    events = peer.receive(peer.headers(1, fields), *ending(peer, body))
    assert isinstance(events[-1], ev.StreamEnded)
    assert b"".join(e.data for e in events if isinstance(e, ev.DataReceived)) == body
    peer.assert_alive()


@ENDINGS
@pytest.mark.parametrize("is_client", [False, True])
@pytest.mark.parametrize(("length", "body"), [(0, b"a"), (3, b"abcd"), (3, b"ab"), (3, b""), (10**18, b"abc")])
def test_rfc9113_8_1_1_a_body_of_another_length_is_malformed(
    ending: Ending, is_client: bool, length: int, body: bytes
) -> None:
    peer = client() if is_client else server()
    start = h.OK if is_client else h.POST
    events = peer.receive(peer.headers(1, [*start, h.length(length)]), *ending(peer, body))
    assert not h.of_type(events, ev.StreamEnded)
    assert all(getattr(event, "stream_ended", None) is None for event in events)
    assert isinstance(events[-1], ev.StreamReset)
    assert sum(len(e.data) for e in events if isinstance(e, ev.DataReceived)) <= length
    peer.assert_stream_error(1, Code.PROTOCOL_ERROR)
    assert h.balanced(peer.machine)


@pytest.mark.parametrize("is_client", [False, True])
def test_rfc9113_8_1_1_headers_that_end_the_stream_have_no_content(is_client: bool) -> None:
    start = h.OK if is_client else h.POST
    peer = client() if is_client else server()
    assert isinstance(peer.receive(peer.headers(1, [*start, h.length(0)], end=True))[-1], ev.StreamEnded)
    peer = client() if is_client else server()
    events = peer.receive(peer.headers(1, [*start, h.length(1)], end=True))
    assert [type(event) for event in events] == [*([ev.ResponseReceived] if is_client else []), ev.StreamReset]
    assert all(getattr(event, "stream_ended", None) is None for event in events)
    peer.assert_stream_error(1, Code.PROTOCOL_ERROR)


BODILESS = pytest.mark.parametrize(("request_", "code"), [(h.HEAD, 200), (h.HEAD, 404), (h.GET, 204), (h.GET, 304)])


@BODILESS
@pytest.mark.parametrize("how", ["headers", "data", "trailers"])
def test_rfc9113_8_1_1_a_response_without_content_may_have_any_content_length(
    request_: h.Fields, code: int, how: str
) -> None:
    peer = client(request_)
    fields = h.status(code, h.length(1000))
    if how == "headers":
        events = peer.receive(peer.headers(1, fields, end=True))
    elif how == "data":
        events = peer.receive(peer.headers(1, fields), h.data(1, end=True))
    else:
        events = peer.receive(peer.headers(1, fields), peer.headers(1, h.TRAILERS, end=True))
    assert isinstance(events[-1], ev.StreamEnded)
    peer.assert_alive()


@BODILESS
def test_rfc9113_8_1_1_a_response_without_content_has_no_data(request_: h.Fields, code: int) -> None:
    peer = client(request_)
    peer.receive(peer.headers(1, h.status(code)), h.data(1, b"x"))
    peer.assert_stream_error(1, Code.PROTOCOL_ERROR)


def test_rfc9113_8_1_1_interim_responses_have_no_content_length() -> None:
    peer = client()
    peer.receive(peer.headers(1, h.status(103, h.length(1000))), peer.headers(1, h.OK), h.data(1, b"x", end=True))
    peer.assert_alive()


# 8.5: CONNECT


def tunnel(code: int = 200) -> h.RawPeer:
    peer = client(h.CONNECT, end=False)
    peer.receive(peer.headers(1, h.status(code, h.length(2))))
    peer.frames()
    return peer


@pytest.mark.parametrize("code", [200, 204, 299])
def test_rfc9113_8_5_a_tunnel_counts_no_content_length(code: int) -> None:
    peer = tunnel(code)
    assert peer.receive(h.data(1, b"as much as you like")) == [ev.DataReceived(1, b"as much as you like", 19)]
    assert isinstance(peer.receive(h.data(1, end=True))[-1], ev.StreamEnded)
    assert h.live(peer.machine, 1).can_send


@pytest.mark.parametrize("code", [300, 407, 502])
def test_rfc9113_8_5_a_refused_tunnel_is_an_ordinary_response(code: int) -> None:
    peer = tunnel(code)
    assert not h.live(peer.machine, 1).tunnel
    events = peer.receive(h.data(1, b"no"), peer.headers(1, h.TRAILERS, end=True))
    assert isinstance(events[1], ev.TrailersReceived)
    peer = tunnel(code)
    peer.receive(h.data(1, b"too long"))
    peer.assert_stream_error(1, Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("end", [False, True])
def test_rfc9113_8_5_headers_on_a_tunnel_are_a_stream_error(end: bool) -> None:
    peer = tunnel()
    peer.receive(peer.headers(1, h.TRAILERS, end=end))
    peer.assert_stream_error(1, Code.PROTOCOL_ERROR)


def test_rfc9113_8_5_headers_on_a_tunnel_are_a_stream_error_at_the_server_too() -> None:
    peer = server()
    peer.receive(peer.headers(1, [*h.CONNECT, h.length(1)]), h.data(1, b"abc"))
    assert peer.machine.failure is None
    peer.receive(peer.headers(1, h.TRAILERS, end=True))
    peer.assert_stream_error(1, Code.PROTOCOL_ERROR)


def test_rfc9113_8_5_interim_responses_come_before_a_tunnel() -> None:
    peer = client(h.CONNECT, end=False)
    peer.receive(peer.headers(1, h.status(103)), peer.headers(1, h.OK), h.data(1, b"x"))
    peer.assert_alive()


# 5.1: idle streams

IDLE_FRAMES = [
    h.data(5, b"x"),
    h.rst_stream(5),
    h.window_update(5, 1),
    h.data(6),
    h.rst_stream(6),
    h.window_update(6, 1),
]


@pytest.mark.parametrize("frame", IDLE_FRAMES)
@pytest.mark.parametrize("is_client", [False, True])
def test_rfc9113_5_1_a_frame_on_an_idle_stream_is_a_connection_error(frame: bytes, is_client: bool) -> None:
    peer = client() if is_client else server()
    assert peer.receive(frame) == []
    peer.assert_connection_error(Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("stream_id", [2, 3])
def test_rfc9113_5_1_a_server_opens_no_stream_with_headers(stream_id: int) -> None:
    peer = client()
    peer.receive(peer.headers(stream_id, h.OK))
    peer.assert_connection_error(Code.PROTOCOL_ERROR)


def test_rfc9113_5_1_1_a_client_opens_no_even_stream() -> None:
    peer = server()
    peer.receive(peer.headers(2, h.GET))
    peer.assert_connection_error(Code.PROTOCOL_ERROR)


# 5.1, closed: late frames, by why the stream is closed


def ended(peer: h.RawPeer) -> None:
    peer.receive(peer.headers(1, h.GET, end=True))
    h.respond(peer.machine, h.live(peer.machine, 1), end=True)


def reset_by_peer(peer: h.RawPeer) -> None:
    peer.receive(peer.headers(1, h.POST), h.rst_stream(1))


def reset_by_us(peer: h.RawPeer) -> None:
    peer.receive(peer.headers(1, h.POST))
    peer.machine.reset_stream(h.live(peer.machine, 1), Code.CANCEL)


def malformed(peer: h.RawPeer) -> None:
    peer.receive(peer.headers(1, h.OK))


def skipped(peer: h.RawPeer) -> None:
    peer.receive(peer.headers(3, h.GET, end=True))


def forgotten(peer: h.RawPeer) -> None:
    ended(peer)
    for stream_id in (3, 5, 7):
        peer.receive(peer.headers(stream_id, h.GET, end=True))
        h.respond(peer.machine, h.live(peer.machine, stream_id), end=True)


Closing = Callable[[h.RawPeer], None]


def late(close: Closing) -> h.RawPeer:
    peer = server(max_closed_streams=2)
    close(peer)
    peer.frames()
    return peer


@pytest.mark.parametrize("close", [ended, reset_by_peer, skipped, forgotten])
def test_rfc9113_6_1_late_data_is_a_stream_error(close: Closing) -> None:
    peer = late(close)
    assert peer.receive(h.data(1, b"x")) == []
    peer.assert_stream_error(1, Code.STREAM_CLOSED)


@pytest.mark.parametrize("close", [reset_by_us, malformed])
def test_rfc9113_5_1_data_after_our_reset_is_discarded(close: Closing) -> None:
    peer = late(close)
    assert peer.receive(h.data(1, b"x"), h.data(1, b"x", end=True)) == []
    assert peer.frames() == []
    peer.assert_alive()


def test_rfc9113_5_4_2_late_data_is_answered_with_one_reset_alone() -> None:
    peer = late(reset_by_peer)
    peer.receive(h.data(1, b"x"), h.data(1, b"x"), h.data(1, b"x"))
    assert peer.resets() == [(1, Code.STREAM_CLOSED)]


def test_rfc9113_5_1_late_headers_on_an_ended_stream_are_a_connection_error() -> None:
    peer = late(ended)
    peer.receive(peer.headers(1, h.GET, end=True))
    peer.assert_connection_error(Code.STREAM_CLOSED)


def test_rfc9113_5_1_late_headers_after_the_peers_reset_are_a_stream_error() -> None:
    peer = late(reset_by_peer)
    peer.receive(peer.headers(1, h.TRAILERS, end=True))
    peer.assert_stream_error(1, Code.STREAM_CLOSED)


@pytest.mark.parametrize("close", [reset_by_us, malformed])
def test_rfc9113_5_1_headers_after_our_reset_are_discarded(close: Closing) -> None:
    peer = late(close)
    assert peer.receive(peer.headers(1, h.TRAILERS, end=True)) == []
    assert peer.frames() == []
    peer.assert_alive()


@pytest.mark.parametrize("close", [skipped, forgotten])
def test_rfc9113_5_1_1_headers_on_a_lower_stream_id_are_a_connection_error(close: Closing) -> None:
    peer = late(close)
    highest = peer.machine.table.highest_inbound
    peer.receive(peer.headers(1, h.GET, end=True))
    assert peer.machine.failure is not None
    error = peer.machine.failure.error()
    assert isinstance(error, StreamIDTooLowError)
    assert (error.stream_id, error.max_stream_id, error.scope) == (1, highest, "connection")
    peer.assert_connection_error(Code.PROTOCOL_ERROR, StreamIDTooLowError)


@pytest.mark.parametrize("close", [ended, reset_by_peer, reset_by_us, malformed, skipped, forgotten])
@pytest.mark.parametrize("frame", [h.window_update(1, 1), h.window_update(1, 0), h.rst_stream(1), h.priority(1, 3)])
def test_rfc9113_5_1_late_control_frames_are_ignored(close: Closing, frame: bytes) -> None:
    peer = late(close)
    assert not h.of_type(peer.receive(frame), ev.WindowUpdated, ev.StreamReset)
    assert peer.frames() == []
    peer.assert_alive()


def test_rfc9113_5_1_a_late_response_is_discarded_after_our_reset() -> None:
    peer = client()
    peer.machine.reset_stream(h.live(peer.machine, 1), Code.CANCEL)
    peer.frames()
    assert peer.receive(peer.headers(1, h.OK), h.data(1, b"x"), peer.headers(1, h.TRAILERS, end=True)) == []
    assert peer.frames() == []
    peer.assert_alive()


def test_rfc9113_5_1_a_late_response_to_a_forgotten_request_is_no_connection_error() -> None:
    """Our own IDs are never passed over: what is not idle was opened and closed, though we forgot how."""
    peer = client(max_closed_streams=2)
    for _ in range(4):
        h.open_request(peer.machine)
    for stream in peer.machine.table:
        peer.machine.reset_stream(stream, Code.CANCEL)
    assert peer.receive(peer.headers(1, h.OK), h.data(1, b"x", end=True)) == []
    peer.assert_alive()


def test_rfc9113_5_1_half_closed_remote_refuses_headers_and_data() -> None:
    for late_frame in ("headers", "data"):
        peer = server()
        peer.receive(peer.headers(1, h.GET, end=True))
        peer.receive(h.data(1, b"x") if late_frame == "data" else peer.headers(1, h.TRAILERS, end=True))
        peer.assert_stream_error(1, Code.STREAM_CLOSED)


def test_rfc9113_5_1_half_closed_remote_takes_window_updates_and_resets() -> None:
    peer = server()
    peer.receive(peer.headers(1, h.GET, end=True))
    assert peer.receive(h.window_update(1, 1)) == [ev.WindowUpdated(1, 1)]
    assert peer.receive(h.rst_stream(1)) == [ev.StreamReset(1, Code.CANCEL)]
    peer.assert_alive()


def test_rfc9113_5_1_half_closed_local_takes_any_frame() -> None:
    peer = client(end=True)
    events = peer.receive(h.window_update(1, 1), peer.headers(1, h.OK), h.data(1, b"x"), h.rst_stream(1))
    assert [type(event) for event in events] == [
        ev.WindowUpdated,
        ev.ResponseReceived,
        ev.DataReceived,
        ev.StreamReset,
    ]


# 6.4, 5.4.2: RST_STREAM


@pytest.mark.parametrize("code", [*ErrorCodes, 0xE, 2**32 - 1])
def test_rfc9113_6_4_the_peers_reset_closes_the_stream(code: int) -> None:
    peer = server()
    peer.receive(peer.headers(1, h.POST))
    assert peer.receive(h.rst_stream(1, code)) == [ev.StreamReset(1, code)]
    assert peer.machine.table.get(1) is None
    assert peer.machine.table.open_inbound == 0


def test_rfc9113_5_4_2_a_reset_is_never_answered_with_a_reset() -> None:
    peer = server()
    peer.receive(peer.headers(1, h.POST), h.rst_stream(1), h.rst_stream(1))
    assert peer.frames() == []
    peer.receive(peer.headers(3, h.OK), h.rst_stream(3))
    assert peer.resets() == [(3, Code.PROTOCOL_ERROR)]


# 5.1.1, 5.1.2: stream IDs and their number


def test_rfc9113_5_1_1_stream_ids_may_be_skipped() -> None:
    peer = server()
    peer.receive(peer.headers(3, h.GET), peer.headers(9, h.GET), peer.headers(2**31 - 1, h.GET))
    assert [stream.stream_id for stream in peer.machine.table] == [3, 9, 2**31 - 1]
    assert peer.machine.table.highest_inbound == 2**31 - 1


def test_rfc9113_5_1_2_streams_above_the_limit_are_refused() -> None:
    peer = server(max_concurrent_streams=2)
    events = peer.receive(*(peer.headers(stream_id, h.POST) for stream_id in (1, 3, 5)))
    assert len(events) == 2
    peer.assert_stream_error(5, Code.REFUSED_STREAM)
    assert peer.receive(h.rst_stream(1), peer.headers(7, h.POST))[1:] == [ev.RequestReceived(7, Headers(h.POST))]


def test_rfc9113_5_1_2_half_closed_streams_count() -> None:
    peer = server(max_concurrent_streams=1)
    peer.receive(peer.headers(1, h.GET, end=True), peer.headers(3, h.GET, end=True))
    assert peer.resets() == [(3, Code.REFUSED_STREAM)]
    h.respond(peer.machine, h.live(peer.machine, 1), end=True)
    assert peer.receive(peer.headers(5, h.GET))


def test_rfc9113_5_1_2_trailers_of_an_open_stream_are_not_one_more() -> None:
    peer = server(max_concurrent_streams=1)
    peer.receive(peer.headers(1, h.POST), peer.headers(1, h.TRAILERS, end=True))
    peer.assert_alive()


def test_rfc9113_6_5_2_a_limit_of_zero_refuses_everything() -> None:
    peer = server(max_concurrent_streams=0)
    peer.receive(peer.headers(1, h.GET))
    peer.assert_stream_error(1, Code.REFUSED_STREAM)


def test_rfc9113_5_1_2_the_limit_can_be_changed() -> None:
    peer = server(max_concurrent_streams=0)
    peer.machine.update_settings({h.MAX_CONCURRENT_STREAMS: 1})
    peer.receive(h.settings_ack())
    assert len(peer.receive(peer.headers(1, h.GET), peer.headers(3, h.GET))) == 1


# 6.7: PING


def test_rfc9113_6_7_a_ping_is_answered_with_its_payload() -> None:
    peer = server()
    assert peer.receive(h.ping(b"\0\1\2\3\4\5\6\7")) == [ev.PingReceived(b"\0\1\2\3\4\5\6\7")]
    assert peer.machine.replies == 1
    (answer,) = peer.frames()
    assert (answer.type, answer.opaque_data, sorted(answer.flags)) == (h.PING, b"\0\1\2\3\4\5\6\7", ["ACK"])


def test_rfc9113_6_7_an_answer_is_not_answered() -> None:
    peer = server()
    assert peer.receive(h.ping(ack=True)) == [ev.PingAckReceived(b"12345678")]
    assert peer.frames() == []


# 6.8: GOAWAY received


@pytest.mark.parametrize(("code", "debug"), [(0, b""), (11, b"calm"), (0xFFFF, b"\xff")])
def test_rfc9113_6_8_the_peers_goaway(code: int, debug: bytes) -> None:
    peer = client()
    assert peer.receive(h.goaway(2**31 | 1, code, debug)) == [ev.ConnectionTerminated(code, 1, debug or None)]
    goaway = peer.machine.remote_goaway
    assert goaway is not None
    assert goaway.last_stream_id == 1
    assert h.live(peer.machine, 1)
    peer.assert_alive()


def test_rfc9113_6_8_the_last_goaway_counts() -> None:
    peer = client()
    peer.receive(h.goaway(2**31 - 1), h.goaway(1), h.goaway(0, 2))
    goaway = peer.machine.remote_goaway
    assert goaway is not None
    assert (goaway.last_stream_id, goaway.error_code) == (0, 2)


def test_rfc9113_6_8_streams_up_to_the_last_one_finish() -> None:
    peer = client()
    h.open_request(peer.machine)
    peer.receive(h.goaway(1))
    abandoned = h.live(peer.machine, 3)
    assert peer.machine.abandon_streams(1) == [3]
    assert abandoned.closed
    assert isinstance(peer.receive(peer.headers(1, h.OK, end=True))[-1], ev.StreamEnded)


def test_rfc9113_6_8_frames_on_abandoned_streams_are_discarded() -> None:
    peer = client()
    peer.machine.abandon_streams(0)
    assert peer.receive(peer.headers(1, h.OK), h.data(1, b"x"), h.window_update(1, 1), h.rst_stream(1)) == []
    peer.assert_alive()


def test_rfc9113_6_8_only_our_own_streams_are_abandoned() -> None:
    peer = server()
    peer.receive(peer.headers(1, h.POST))
    assert peer.machine.abandon_streams(0) == []
    assert h.live(peer.machine, 1)


def test_rfc9113_6_8_a_goaway_that_says_nothing_new_costs_the_same_however_many_streams_there_are() -> None:
    costs = []
    for streams in (2, 500):
        peer = h.RawPeer(client=False, config=Config(max_concurrent_streams=1_000))
        peer.receive(*(peer.headers(1 + 2 * n, h.GET) for n in range(streams)))
        pushed = [h.promise(peer.machine, h.live(peer.machine, 1)) for _ in range(streams)]
        for last in (2**31 - 1, 2**31 - 2, 2):
            peer.receive(h.goaway(last))
            abandoned = peer.machine.abandon_streams(last)
            assert abandoned == [stream.stream_id for stream in pushed[1:] if last == 2]
            with h.counted_calls() as count:
                peer.receive(h.goaway(last))
                assert peer.machine.abandon_streams(last) == []
            costs += count
    assert costs[:3] == costs[3:]


# 6.8: GOAWAY sent


def test_rfc9113_6_8_streams_above_our_last_one_are_ignored() -> None:
    peer = server()
    peer.receive(peer.headers(1, h.POST))
    peer.machine.goaway()
    peer.frames()
    assert peer.machine.state.ignores(3)
    assert not peer.machine.state.ignores(1)
    assert not peer.machine.state.ignores(2)
    before = peer.machine.inbound.available
    secret = (b"x-in-the-table", b"of everybody")
    ignored = [
        peer.headers(3, [*h.POST, secret]),
        h.data(3, b"abc", pad=1),
        peer.headers(3, h.TRAILERS, end=True),
        h.rst_stream(3),
        h.window_update(5, 1),
        h.rst_stream(5),
        h.data(7, b"abc"),
        peer.headers(9, h.OK),
    ]
    assert peer.receive(*ignored) == []
    assert peer.frames() == []
    assert peer.machine.inbound.available == before - 8
    assert h.balanced(peer.machine)
    assert peer.machine.inbound.unread == 0
    # What stream 3 put into the dynamic table is there.
    assert peer.receive(peer.headers(1, [secret], end=True))[0] == ev.TrailersReceived(
        1, Headers([secret]), stream_ended=ev.StreamEnded(1)
    )


def test_rfc9113_6_8_a_connection_error_names_the_ignored_streams_no_more() -> None:
    peer = server()
    peer.receive(peer.headers(1, h.POST))
    peer.machine.goaway()
    peer.receive(peer.headers(3, h.POST), h.window_update(0, 0))
    assert [f.last_stream_id for f in peer.frames()] == [1, 1]


# 5.4.1: connection errors


def test_rfc9113_5_4_1_events_before_a_failure_are_returned_and_nothing_after_it() -> None:
    peer = server()
    events = peer.receive(peer.headers(1, h.GET), h.ping(), h.data(99), h.ping(), peer.headers(3, h.GET))
    assert [type(event) for event in events] == [ev.RequestReceived, ev.PingReceived]
    answer, goaway = peer.frames()
    assert "ACK" in answer.flags
    assert (goaway.last_stream_id, goaway.error_code) == (1, Code.PROTOCOL_ERROR)
    assert goaway.additional_data
    assert peer.receive(h.ping()) == []


def test_rfc9113_5_4_1_the_first_cause_sticks() -> None:
    peer = server()
    peer.receive(h.data(1))
    failure = peer.machine.failure
    assert failure is not None
    peer.receive(h.window_update(0, 0))
    peer.machine.fail(failure.__class__(Code.INTERNAL_ERROR, "another"))
    assert peer.machine.failure is failure
    assert len(peer.frames()) == 1


def test_rfc9113_5_4_1_a_clients_goaway_names_the_servers_last_stream() -> None:
    peer = client()
    peer.receive(h.window_update(0, 0))
    (goaway,) = peer.frames()
    assert (goaway.last_stream_id, goaway.error_code) == (0, Code.PROTOCOL_ERROR)
