"""Server push (RFC 9113 sections 6.6 and 8.4), from both sides."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trio_h2 import events as ev
from trio_h2.config import Config
from trio_h2.exceptions import (
    ErrorCodes,
    InvalidBodyLengthError,
    NoAvailableStreamIDError,
    ProtocolError,
    StreamClosedError,
    StreamIDTooLowError,
    TooManyStreamsError,
    UnsupportedFrameError,
)
from trio_h2.headers import Headers
from trio_h2.protocol.stream_machine import StreamMachine, StreamState

from . import helpers as h

STYLE = [*h.GET[:3], (b":path", b"/style.css")]


def client(**config: object) -> h.RawPeer:
    """A client that takes pushes, with stream 1 open."""
    peer = h.RawPeer(client=True, config=Config(enable_push=True, **config))  # type: ignore[arg-type]
    h.open_request(peer.machine)
    peer.frames()
    return peer


def pair(**config: object) -> tuple[h.Pair, StreamMachine]:
    """A client that takes pushes, and stream 1 as the server sees it."""
    both = h.Pair(client=Config(enable_push=True, **config))  # type: ignore[arg-type]
    _, parent = both.request()
    return both, parent


# The whole exchange


def test_rfc9113_8_4_a_push_from_promise_to_end() -> None:
    both, parent = pair()
    promised = h.promise(both.server, parent, STYLE)
    assert (promised.stream_id, promised.state) == (2, StreamState.RESERVED_LOCAL)
    h.respond(both.server, parent, end=True)
    at_client, _ = both.pump()
    assert at_client[0] == ev.PushedStreamReceived(2, 1, Headers(STYLE))
    assert h.live(both.client, 2).state is StreamState.RESERVED_REMOTE
    assert (both.client.table.open_inbound, both.server.table.open_outbound) == (0, 0)

    h.respond(both.server, promised, h.status(103))
    h.respond(both.server, promised, h.status(200, h.length(4)))
    assert both.server.table.open_outbound == 1
    at_client, _ = both.pump()
    assert [type(event) for event in at_client] == [ev.InformationalResponseReceived, ev.ResponseReceived]
    assert h.live(both.client, 2).state is StreamState.HALF_CLOSED_LOCAL
    assert both.client.table.open_inbound == 1

    both.server.send_data(promised, b"body", end_stream=True)
    at_client, _ = both.pump()
    assert at_client == [ev.DataReceived(2, b"body", 4, ev.StreamEnded(2)), ev.StreamEnded(2)]
    assert (len(both.client.table), len(both.server.table)) == (0, 0)
    assert (both.client.table.open_inbound, both.server.table.open_outbound) == (0, 0)


def test_rfc9113_8_4_2_a_push_of_a_head_request_has_no_content() -> None:
    both, parent = pair()
    promised = h.promise(both.server, parent, [h.HEAD[0], *STYLE[1:]])
    h.respond(both.server, promised, h.status(200, h.length(1000)), end=True)
    at_client, _ = both.pump()
    assert isinstance(at_client[-1], ev.StreamEnded)


def test_rfc9113_8_4_2_the_content_length_of_a_push_is_checked() -> None:
    both, parent = pair()
    promised = h.promise(both.server, parent, STYLE)
    with pytest.raises(InvalidBodyLengthError):
        h.respond(both.server, promised, h.status(200, h.length(1)), end=True)
    assert promised.state is StreamState.RESERVED_LOCAL


def test_rfc9113_6_6_promised_streams_may_be_used_in_any_order() -> None:
    both, parent = pair()
    first, second = h.promise(both.server, parent, STYLE), h.promise(both.server, parent, STYLE)
    h.respond(both.server, second, end=True)
    h.respond(both.server, first, end=True)
    at_client, _ = both.pump()
    assert [event.stream_id for event in h.of_type(at_client, ev.ResponseReceived)] == [4, 2]  # type: ignore[attr-defined]


@pytest.mark.parametrize("code", [ErrorCodes.CANCEL, ErrorCodes.REFUSED_STREAM])
def test_rfc9113_8_4_2_the_client_may_refuse_a_push(code: ErrorCodes) -> None:
    both, parent = pair()
    promised = h.promise(both.server, parent, STYLE)
    both.pump()
    assert both.client.reset_stream(h.live(both.client, 2), code)
    _, at_server = both.pump()
    assert at_server == [ev.StreamReset(2, code)]
    assert promised.closed
    with pytest.raises(StreamClosedError):
        h.respond(both.server, promised)


def test_rfc9113_8_4_2_the_server_may_take_a_promise_back() -> None:
    both, parent = pair()
    promised = h.promise(both.server, parent, STYLE)
    assert both.server.reset_stream(promised, ErrorCodes.CANCEL)
    at_client, _ = both.pump()
    assert at_client[1:] == [ev.StreamReset(2, ErrorCodes.CANCEL)]


def test_rfc9113_5_1_a_reserved_stream_takes_window_updates_at_the_server() -> None:
    both, parent = pair()
    promised = h.promise(both.server, parent, STYLE)
    both.pump()
    before = promised.outbound.available
    both.client.grow_window(h.live(both.client, 2), 7)
    both.pump()
    assert promised.outbound.available == before + 7
    assert promised.state is StreamState.RESERVED_LOCAL


# The client: what may be promised, and where


def test_rfc9113_8_4_a_server_takes_no_promise() -> None:
    peer = h.RawPeer(client=False)
    peer.receive(peer.headers(1, h.POST), peer.push_promise(1, 2))
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR, UnsupportedFrameError)


def test_rfc9113_6_6_a_promise_after_push_was_switched_off_is_a_connection_error() -> None:
    peer = h.RawPeer(client=True)
    h.open_request(peer.machine)
    peer.frames()
    peer.receive(peer.push_promise(1, 2))
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


def test_rfc9113_6_6_a_promise_before_that_was_acknowledged_is_legal() -> None:
    peer = h.RawPeer(client=True, greet=False)
    h.open_request(peer.machine)
    events = peer.receive(h.settings(), peer.push_promise(1, 2))
    assert events[-1] == ev.PushedStreamReceived(2, 1, Headers(h.GET))


@pytest.mark.parametrize("promised", [0, 1, 3, 2**31 - 1])
def test_rfc9113_6_6_a_promised_stream_id_has_to_be_the_servers(promised: int) -> None:
    peer = client()
    peer.receive(peer.push_promise(1, promised))
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


@pytest.mark.parametrize("promised", [2, 4, 6])
def test_rfc9113_6_6_a_promised_stream_id_has_to_be_idle(promised: int) -> None:
    peer = client()
    peer.receive(peer.push_promise(1, 2), peer.push_promise(1, 6), h.rst_stream(2))
    assert peer.machine.failure is None
    peer.receive(peer.push_promise(1, promised))
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


@pytest.mark.parametrize("parent", ["idle", "ended", "reset by the peer", "reserved"])
def test_rfc9113_6_6_a_promise_needs_an_open_stream(parent: str) -> None:
    peer = client()
    stream_id = 1
    if parent == "idle":
        stream_id = 3
    elif parent == "ended":
        peer.receive(peer.headers(1, h.OK, end=True))
    elif parent == "reset by the peer":
        peer.receive(h.rst_stream(1))
    else:
        peer.receive(peer.push_promise(1, 2))
        stream_id = 2
    peer.frames()
    assert peer.receive(peer.push_promise(stream_id, 8)) == []
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


def test_rfc9113_5_1_a_promise_after_end_stream_resets_both_streams() -> None:
    """5.1 makes it a stream error of type STREAM_CLOSED. 6.6 would have the connection bear it."""
    peer = h.RawPeer(client=True, config=Config(enable_push=True))
    h.open_request(peer.machine, h.POST, end=False)
    h.open_request(peer.machine)
    peer.frames()
    peer.receive(peer.headers(1, h.OK, end=True))
    assert not h.of_type(peer.receive(peer.push_promise(1, 2)), ev.PushedStreamReceived)
    assert sorted(peer.resets()) == [(1, ErrorCodes.STREAM_CLOSED), (2, ErrorCodes.REFUSED_STREAM)]
    assert peer.receive(peer.headers(2, h.OK), h.data(2, b"late")) == []
    assert peer.receive(peer.headers(3, h.OK))
    peer.assert_alive()


def test_rfc9113_6_6_a_promise_on_a_pushed_stream_is_a_connection_error() -> None:
    """PUSH_PROMISE frames are only for streams that their receiver opened."""
    peer = client()
    peer.receive(peer.push_promise(1, 2), peer.headers(2, h.OK))
    assert h.live(peer.machine, 2).state is StreamState.HALF_CLOSED_LOCAL
    peer.receive(peer.push_promise(2, 4))
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


def test_rfc9113_8_5_a_promise_on_a_tunnel_is_an_error() -> None:
    """No frame but DATA and those of stream management may be sent on a connected stream."""
    peer = h.RawPeer(client=True, config=Config(enable_push=True))
    h.open_request(peer.machine, h.CONNECT, end=False)
    peer.receive(peer.headers(1, h.OK))
    peer.frames()
    fields = [*h.GET[:2], (b":authority", b"example.org:443"), h.GET[3]]
    assert not h.of_type(peer.receive(peer.push_promise(1, 2, fields)), ev.PushedStreamReceived)
    assert peer.machine.failure is not None or (1, ErrorCodes.PROTOCOL_ERROR) in peer.resets()


def test_rfc9113_8_5_a_server_promises_nothing_on_a_tunnel() -> None:
    both = h.Pair(client=Config(enable_push=True))
    _, parent = both.request(h.CONNECT, end=False)
    early = h.promise(both.server, parent, STYLE)
    assert early.stream_id == 2  # it is no tunnel before it is accepted
    h.respond(both.server, parent, h.OK)
    before = h.state_of(both.server)
    with pytest.raises(ProtocolError, match=r"8\.5") as caught:
        h.promise(both.server, parent, STYLE)
    assert (caught.value.scope, caught.value.initiator) == ("stream", "local")
    assert h.state_of(both.server) == before


def test_rfc9113_6_6_a_promise_on_a_stream_that_we_reset_is_reserved_and_refused() -> None:
    peer = client()
    peer.machine.reset_stream(h.live(peer.machine, 1), ErrorCodes.CANCEL)
    peer.frames()
    secret = (b"x-in-the-table", b"of everybody")
    assert not h.of_type(peer.receive(peer.push_promise(1, 2, [*h.GET, secret])), ev.PushedStreamReceived)
    peer.assert_stream_error(2, ErrorCodes.CANCEL)
    assert peer.receive(peer.headers(2, [*h.OK, secret]), h.data(2, b"late")) == []
    peer.assert_alive()


def test_rfc9113_6_8_a_promise_on_an_abandoned_stream_is_refused() -> None:
    peer = client()
    peer.machine.abandon_streams(0)
    peer.receive(peer.push_promise(1, 2))
    peer.assert_stream_error(2, ErrorCodes.CANCEL)


def test_rfc9113_6_8_promises_above_our_goaway_are_ignored() -> None:
    peer = client()
    peer.machine.goaway()
    peer.frames()
    assert peer.receive(peer.push_promise(1, 2), peer.headers(2, h.OK), h.data(2, b"x", end=True)) == []
    assert peer.frames() == []
    assert h.balanced(peer.machine)
    peer.assert_alive()


@pytest.mark.parametrize(
    "fields",
    [
        h.POST,
        h.CONNECT,
        [(b":method", b"OPTIONS"), *h.GET[1:]],
        [(b":method", b"X-UNKNOWN"), *h.GET[1:]],
        [*h.GET, h.length(1)],
        h.GET[:-1],
        h.OK,
        [*h.GET, (b"Upper", b"x")],
        h.WEBSOCKET,
        [*h.GET[:2], (b":authority", b"example.com"), h.GET[3]],
    ],
)
def test_rfc9113_8_4_a_promise_that_cannot_be_is_a_stream_error_of_the_promised_stream(fields: h.Fields) -> None:
    peer = client()
    (event,) = peer.receive(peer.push_promise(1, 2, fields))
    assert isinstance(event, ev.StreamReset)
    assert (event.stream_id, event.remote_reset) == (2, False)
    peer.assert_stream_error(2, ErrorCodes.PROTOCOL_ERROR)
    assert h.live(peer.machine, 1)


def test_a_promise_for_another_authority_is_named_in_few_characters() -> None:
    peer = client()
    (event,) = peer.receive(peer.push_promise(1, 2, [*h.GET[:2], (b":authority", b"a" * 10_000), h.GET[3]]))
    assert isinstance(event, ev.StreamReset)
    assert len(event.reason) < 300


@pytest.mark.parametrize("fields", [h.HEAD, [*h.GET, h.length(0)]])
def test_rfc9113_8_4_what_else_may_be_promised(fields: h.Fields) -> None:
    peer = client()
    assert isinstance(peer.receive(peer.push_promise(1, 2, fields))[0], ev.PushedStreamReceived)


@pytest.mark.parametrize("frame", [h.data(2, b"x"), h.window_update(2, 1)])
def test_rfc9113_5_1_a_reserved_stream_takes_nothing_but_headers_and_resets(frame: bytes) -> None:
    peer = client()
    peer.receive(peer.push_promise(1, 2), frame)
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


@pytest.mark.parametrize("frame", [h.data(2, b"x"), h.raw(h.HEADERS, h.END_HEADERS, 2, b"\x82")])
def test_rfc9113_5_1_a_promised_stream_takes_no_request_at_the_server(frame: bytes) -> None:
    peer = h.RawPeer(client=False)
    peer.receive(peer.headers(1, h.GET))
    h.promise(peer.machine, h.live(peer.machine, 1))
    peer.frames()
    peer.receive(frame)
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


@pytest.mark.parametrize("frame", [h.data(2, b"x"), h.raw(h.HEADERS, h.END_HEADERS, 2, b"\x82")])
def test_rfc9113_5_1_a_pushed_stream_is_half_closed_at_the_server(frame: bytes) -> None:
    peer = h.RawPeer(client=False)
    peer.receive(peer.headers(1, h.GET))
    h.respond(peer.machine, h.promise(peer.machine, h.live(peer.machine, 1)))
    peer.frames()
    peer.receive(frame)
    peer.assert_stream_error(2, ErrorCodes.STREAM_CLOSED)


def test_rfc9113_5_1_2_pushes_above_the_limit_are_refused_when_they_open() -> None:
    peer = client(max_concurrent_streams=1)
    promises = [peer.push_promise(1, stream_id) for stream_id in (2, 4, 6)]
    assert len(peer.receive(*promises)) == 3
    peer.receive(peer.headers(4, h.OK))
    assert peer.resets() == []
    peer.receive(peer.headers(2, h.OK))
    peer.assert_stream_error(2, ErrorCodes.REFUSED_STREAM)
    peer.receive(h.data(4, end=True), peer.headers(6, h.OK))
    assert peer.resets() == []


def test_rfc9113_5_1_2_a_limit_lowered_below_what_is_open_ends_nothing() -> None:
    peer = client()
    peer.receive(peer.push_promise(1, 2), peer.push_promise(1, 4), peer.headers(2, h.status(103)))
    peer.machine.update_settings({h.MAX_CONCURRENT_STREAMS: 0})
    peer.frames()
    peer.receive(peer.headers(1, h.OK), peer.headers(2, h.OK))
    assert peer.resets() == []
    peer.receive(peer.headers(4, h.OK))
    peer.assert_stream_error(4, ErrorCodes.REFUSED_STREAM)


# The server: what it may promise, and when


def refuses(machine: object, call: Callable[[], object], error: type[Exception]) -> Exception:
    before = h.state_of(machine)  # type: ignore[arg-type]
    with pytest.raises(error) as caught:
        call()
    assert h.state_of(machine) == before  # type: ignore[arg-type]
    return caught.value


def test_rfc9113_8_4_a_client_cannot_push() -> None:
    peer = client()
    stream = h.live(peer.machine, 1)
    error = refuses(peer.machine, lambda: h.promise(peer.machine, stream), ProtocolError)
    assert error.initiator == "local"  # type: ignore[attr-defined]


def test_rfc9113_6_6_no_promise_to_a_client_that_switched_push_off() -> None:
    both = h.Pair()
    _, parent = both.request()
    refuses(both.server, lambda: h.promise(both.server, parent), ProtocolError)


def test_rfc9113_6_6_no_promise_on_a_stream_that_has_ended() -> None:
    both, parent = pair()
    h.respond(both.server, parent, end=True)
    both.pump()
    refuses(both.server, lambda: h.promise(both.server, parent), StreamClosedError)


def test_rfc9113_6_6_no_promise_on_a_stream_that_we_ended_first() -> None:
    both = h.Pair(client=Config(enable_push=True))
    _, parent = both.request(h.POST, end=False)
    h.respond(both.server, parent, end=True)
    both.pump()
    assert parent.state is StreamState.HALF_CLOSED_LOCAL
    refuses(both.server, lambda: h.promise(both.server, parent), StreamClosedError)


def test_rfc9113_6_6_no_promise_on_a_promised_stream() -> None:
    both, parent = pair()
    promised = h.promise(both.server, parent)
    both.pump()
    refuses(both.server, lambda: h.promise(both.server, promised), ProtocolError)
    h.respond(both.server, promised)
    both.pump()
    refuses(both.server, lambda: h.promise(both.server, promised), ProtocolError)


def test_rfc9113_6_8_no_promise_after_the_clients_goaway() -> None:
    both, parent = pair()
    both.client.goaway()
    both.pump()
    refuses(both.server, lambda: h.promise(both.server, parent), ProtocolError)


def test_rfc9113_5_1_1_promised_stream_ids_may_be_chosen_and_run_out() -> None:
    both, parent = pair()
    request = h.promise(both.server, parent).stream_id, parent
    assert request[0] == 2
    head = h.check_request(h.GET, extended_connect=False)
    for wrong, error in ((3, ProtocolError), (0, ProtocolError), (2**31, ProtocolError), (2, StreamIDTooLowError)):
        refuses(
            both.server,
            lambda wrong=wrong: both.server.promise(parent, h.GET, head, stream_id=wrong),  # type: ignore[misc]
            error,
        )
    last = both.server.promise(parent, h.GET, head, stream_id=2**31 - 2)  # type: ignore[arg-type]
    assert last.stream_id == 2**31 - 2
    refuses(both.server, lambda: h.promise(both.server, parent), NoAvailableStreamIDError)


def test_rfc9113_5_1_2_no_pushed_response_above_the_clients_limit() -> None:
    both, parent = pair(max_concurrent_streams=1)
    first, second = h.promise(both.server, parent), h.promise(both.server, parent)
    h.respond(both.server, first)
    error = refuses(both.server, lambda: h.respond(both.server, second), TooManyStreamsError)
    assert error.initiator == "local"  # type: ignore[attr-defined]
    both.server.end_stream(first)
    h.respond(both.server, second, end=True)
    both.pump()
    assert both.client.failure is None


def test_rfc9113_5_1_a_reserved_stream_sends_headers_first() -> None:
    both, parent = pair()
    promised = h.promise(both.server, parent)
    for call in (
        lambda: both.server.send_data(promised, b"x"),
        lambda: both.server.end_stream(promised),
        lambda: both.server.send_trailers(promised, h.TRAILERS),
    ):
        refuses(both.server, call, ProtocolError)


def test_rfc9113_5_1_the_client_sends_nothing_on_a_pushed_stream() -> None:
    both, parent = pair()
    promised = h.promise(both.server, parent)
    both.pump()
    stream = h.live(both.client, 2)
    calls: list[Callable[[], object]] = [
        lambda: both.client.send_data(stream, b"x"),
        lambda: both.client.end_stream(stream),
        lambda: both.client.send_trailers(stream, h.TRAILERS),
        lambda: h.respond(both.client, stream),
    ]
    for call in calls:
        refuses(both.client, call, ProtocolError)
    h.respond(both.server, promised)
    both.pump()
    for call in calls:
        refuses(both.client, call, StreamClosedError)
