"""`trace=`: what a user's Trace is told, on both sides, and that it costs a connection nothing to be looked at."""

from __future__ import annotations

import dataclasses
import logging
import sys
import types
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import trio_h2
from tests import frames
from tests.engine.helpers import (
    GET,
    OK,
    POST,
    RawPeer,
    client_and_server,
    hello,
    link_pair,
    raw_client,
    raw_server,
    read_all,
    serving,
    slow_pair,
)
from tests.engine.recording import Recording
from trio_h2 import Config, ErrorCodes, SettingCodes, tracer
from trio_h2.testing import in_memory
from trio_h2.tracer import MAX_PINGS

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4

METHODS = [name for name in vars(trio_h2.Trace) if not name.startswith("_")]


def closed(trace: Recording) -> list[tuple[int, int | None, str | None]]:
    """How each stream was closed: its ID, the error's code and initiator."""
    return [
        (stream_id, None if error is None else error.error_code, None if error is None else error.initiator)
        for stream_id, error in trace.arguments("stream_closed")
    ]


def ended(trace: Recording) -> str | None:
    """Why the one connection ended."""
    [(error,)] = trace.arguments("connection_ended")
    return None if error is None else f"{type(error).__name__}: {error}"


# The life of a request


async def test_a_request_as_both_sides_see_it(autojump_clock: trio.testing.MockClock) -> None:
    client, server = Recording(), Recording()

    async def handler(stream: trio_h2.ServerStream) -> None:
        assert server.connections == [stream.connection]
        await trio.sleep(2)
        await stream.respond(200, body=b"hello")

    start = trio.current_time()
    async with client_and_server(handler, trace=client, server_trace=server) as pair:
        assert client.connections == [pair.client]
        await pair.client.ping()
        client.told.clear()
        server.told.clear()
        assert (await pair.client.request("GET", "/here")).body == b"hello"
    names = ("stream_opened", "stream_closed", "wait_began", "wait_ended", "connection_ended")
    opened = client.arguments("stream_opened")
    assert opened == [(1, opened[0][1])]
    assert opened[0][1][":path"] == "/here"
    assert client.of(*names) == [
        ("stream_opened", *opened[0]),
        ("wait_began", 1, "headers"),
        ("wait_ended", 1, "headers"),
        ("stream_closed", 1, None),
        ("connection_ended", None),
    ]
    assert client.waits(1) == [("headers", start, start + 2)]
    [(stream_id, headers)] = server.arguments("stream_opened")
    assert (stream_id, headers[":path"], headers[":method"]) == (1, "/here", "GET")
    assert server.of(*names)[1:] == [("stream_closed", 1, None), ("connection_ended", None)]
    sent = [each for each in server.arguments("frame_sent") if each[2] == 1]
    assert [each[:2] for each in sent] == [(HEADERS, END_HEADERS), (DATA, END_STREAM)]
    assert sent[1] == (DATA, END_STREAM, 1, 5)
    assert [each for each in client.arguments("frame_received") if each[2] == 1] == sent
    for trace in (client, server):
        trace.check()


async def test_the_connection_is_made_before_its_first_frame_and_ends_after_its_last() -> None:
    client, server = Recording(), Recording()
    async with client_and_server(hello, trace=client, server_trace=server) as pair:
        await pair.client.request("GET", "/")
    for trace in (client, server):
        trace.check()
        assert trace.told[0].what == "connection_made"
        assert trace.told[1].what in ("frame_sent", "frame_received")
        assert trace.told[-1].what == "connection_ended"


async def test_frames_are_told_before_what_they_bring() -> None:
    server = Recording()
    async with client_and_server(hello, server_trace=server) as pair:
        await pair.client.request("GET", "/")
    names = [told.what for told in server.told if told.arguments and told.arguments[0] in (HEADERS, 1)]
    assert names[0] == "frame_received"
    assert "stream_opened" in names


async def test_pushed_streams_are_opened_by_their_promise_on_both_sides() -> None:
    client, server = Recording(), Recording()

    async def handler(stream: trio_h2.ServerStream) -> None:
        pushed = await stream.push("/pushed")
        await pushed.respond(200, body=b"pushed")
        await stream.respond(200)

    config = Config(enable_push=True)
    async with client_and_server(handler, config=config, trace=client, server_trace=server) as pair:
        async with pair.client.stream("GET", "/") as stream:
            async for pushed in pair.client.pushes():
                async with pushed:
                    assert await read_all(pushed) == b"pushed"
                break
            await stream.response()
    for trace in (client, server):
        trace.check()
        assert [(number, headers[":path"]) for number, headers in trace.arguments("stream_opened")] == [
            (1, "/"),
            (2, "/pushed"),
        ]
        assert sorted(closed(trace)) == [(1, None, None), (2, None, None)]


# How streams and connections end


async def reset_by_us(stream: trio_h2.ClientStream, peer: RawPeer) -> None:
    await stream.reset(ErrorCodes.HTTP_1_1_REQUIRED)


async def left_early(stream: trio_h2.ClientStream, peer: RawPeer) -> None:
    pass


async def reset_by_peer(stream: trio_h2.ClientStream, peer: RawPeer) -> None:
    await peer.send(peer.rst(1, ErrorCodes.ENHANCE_YOUR_CALM))
    with pytest.raises(trio_h2.StreamResetError):
        await stream.response()


async def malformed(stream: trio_h2.ClientStream, peer: RawPeer) -> None:
    await peer.send(peer.headers(1, [(":status", "none")]))
    with pytest.raises(trio_h2.StreamResetError):
        await stream.response()


async def abandoned(stream: trio_h2.ClientStream, peer: RawPeer) -> None:
    await peer.send(peer.goaway(0))
    with pytest.raises(trio_h2.ConnectionTerminatedError):
        await stream.response()


async def lost(stream: trio_h2.ClientStream, peer: RawPeer) -> None:
    await trio.aclose_forcefully(peer.transport)
    with pytest.raises(trio_h2.ConnectionTerminatedError):
        await stream.response()


@pytest.mark.parametrize(
    ("end", "error_code", "initiator"),
    [
        (reset_by_us, ErrorCodes.HTTP_1_1_REQUIRED, "local"),
        (left_early, ErrorCodes.CANCEL, "local"),
        (reset_by_peer, ErrorCodes.ENHANCE_YOUR_CALM, "remote"),
        (malformed, ErrorCodes.PROTOCOL_ERROR, "library"),
        (abandoned, ErrorCodes.NO_ERROR, "remote"),
        (lost, ErrorCodes.NO_ERROR, "remote"),
    ],
)
async def test_a_stream_is_closed_with_why_it_was_cut_short(
    end: Callable[[trio_h2.ClientStream, RawPeer], Awaitable[None]],
    error_code: ErrorCodes,
    initiator: str,
    autojump_clock: trio.testing.MockClock,
) -> None:
    trace = Recording()
    async with raw_server(trace=trace) as (connection, peer):
        async with connection.stream("POST", "/") as stream:
            await end(stream, peer)
        await trio.testing.wait_all_tasks_blocked()
        assert closed(trace) == [(1, error_code, initiator)]
    trace.check()
    assert len(trace.arguments("stream_closed")) == 1


async def test_a_response_that_was_complete_before_the_connection_was_lost_is_no_error() -> None:
    trace = Recording()
    async with raw_server(trace=trace) as (connection, peer):
        async with connection.stream("GET", "/") as stream:
            await peer.send(peer.headers(1, OK), peer.data(1, b"all of it", end_stream=True))
            await stream.response()
            await trio.aclose_forcefully(peer.transport)
            await trio.testing.wait_all_tasks_blocked()
            assert closed(trace) == [(1, None, None)]
            assert ended(trace) is None
            assert await read_all(stream) == b"all of it"
    trace.check()


async def lost_by(peer: RawPeer) -> None:
    await trio.aclose_forcefully(peer.transport)


async def reset_by(peer: RawPeer) -> None:
    await peer.send(peer.rst(1, ErrorCodes.CANCEL))


async def left_by_us(peer: RawPeer) -> None:
    pass


@pytest.mark.parametrize("end", [lost_by, reset_by, left_by_us])
async def test_rfc9113_8_1_after_a_complete_response_nothing_is_cut_short(
    end: Callable[[RawPeer], Awaitable[None]],
) -> None:
    trace = Recording()
    async with raw_server(trace=trace) as (connection, peer):
        async with connection.stream("POST", "/") as stream:
            await peer.send(peer.headers(1, OK), peer.data(1, b"enough", end_stream=True))
            assert await read_all(stream) == b"enough"
            await end(peer)
            await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        assert closed(trace) == [(1, None, None)]
    trace.check()


async def test_of_a_tunnel_the_other_half_is_no_whole() -> None:
    trace = Recording()
    async with raw_server(trace=trace) as (connection, peer):
        async with connection.stream("CONNECT", "example.org:25") as tunnel:
            await peer.send(peer.headers(1, OK), peer.data(1, b"bye", end_stream=True))
            assert await read_all(tunnel) == b"bye"
            await tunnel.reset()
        assert closed(trace) == [(1, ErrorCodes.CANCEL, "local")]
    trace.check()


async def test_a_request_that_waits_for_its_permit_is_closed_too(autojump_clock: trio.testing.MockClock) -> None:
    trace = Recording()

    async def handler(stream: trio_h2.ServerStream) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)

    async with raw_client(handler, config=Config(max_concurrent_streams=1), trace=trace) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True), peer.rst(1, ErrorCodes.CANCEL))
        await peer.send(peer.headers(3, GET, end_stream=True))
        await peer.sync()
        assert [stream_id for stream_id, _ in trace.arguments("stream_opened")] == [1, 3]
        await peer.send(peer.rst(3, ErrorCodes.CANCEL))
        await peer.sync()
        assert closed(trace) == [(1, ErrorCodes.CANCEL, "remote"), (3, ErrorCodes.CANCEL, "remote")]
    trace.check()


async def closed_by_client(pair: Any) -> None:
    await pair.client.aclose()


async def shut_down(pair: Any) -> None:
    await pair.server._actor.shutdown(trio.current_time() + 1)


@pytest.mark.parametrize("end", [closed_by_client, shut_down])
async def test_a_clean_end_has_no_error(end: Callable[[Any], Awaitable[None]]) -> None:
    client, server = Recording(), Recording()
    async with client_and_server(hello, trace=client, server_trace=server) as pair:
        await pair.client.request("GET", "/")
        await end(pair)
    for trace in (client, server):
        trace.check()
        assert ended(trace) is None


async def test_a_client_that_goes_without_goaway_and_with_no_stream_open_ends_cleanly() -> None:
    trace = Recording()
    async with raw_client(hello, trace=trace) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        await peer.transport.aclose()
    trace.check()
    assert ended(trace) is None


async def test_a_client_that_goes_with_a_stream_open_does_not() -> None:
    trace = Recording()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep_forever()

    async with raw_client(handler, trace=trace) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        await peer.transport.aclose()
    trace.check()
    assert ended(trace) == "ConnectionTerminatedError: the peer closed the transport"
    assert closed(trace) == [(1, ErrorCodes.NO_ERROR, "remote")]


async def test_a_broken_rule_is_the_connections_error() -> None:
    trace = Recording()
    async with raw_client(hello, trace=trace) as peer:
        await peer.send(frames.raw(DATA, 0, 0, b"on stream 0"))
        await peer.to_end()
    trace.check()
    assert ended(trace) == "ProtocolError: a frame of type 0x0 on stream 0"


@pytest.mark.parametrize(
    ("error_code", "error"),
    [(0, None), (11, "ConnectionTerminatedError: the peer sent GOAWAY: ENHANCE_YOUR_CALM")],
)
async def test_rfc9113_6_8_goaway_is_a_clean_end_if_it_says_no_error(error_code: int, error: str | None) -> None:
    trace = Recording()
    async with raw_server(trace=trace) as (connection, peer):
        await peer.send(peer.goaway(0, error_code))
        await connection.wait_closed()
    trace.check()
    assert ended(trace) == error


async def test_an_http1_client_is_a_connection_that_ended_by_that() -> None:
    trace = Recording()
    async with raw_client(hello, trace=trace, handshake=False) as peer:
        await peer.transport.send_all(b"GET / HTTP/1.1\r\nhost: example.org\r\n\r\n")
        while await peer.transport.receive_some(1000):
            pass
    trace.check()
    assert ended(trace) == "ConnectionTerminatedError: the client speaks HTTP/1.x"
    assert trace.arguments("frame_sent") == []


async def test_frames_that_are_cut_after_the_end_are_not_told(autojump_clock: trio.testing.MockClock) -> None:
    """A handler that cleans up for long resets its stream when nobody writes any more."""
    trace = Recording()

    async def handler(stream: trio_h2.ServerStream) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(100)

    async with raw_client(handler, trace=trace) as peer:
        await peer.send(peer.headers(1, POST))
        await peer.sync()
        await peer.transport.aclose()
        await trio.sleep(200)
    trace.check()
    assert trace.told[-1].what == "connection_ended"


# Frames


async def test_frames_of_unknown_types_and_on_streams_that_are_not_there_are_told() -> None:
    trace = Recording()
    async with raw_client(hello, trace=trace) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        trace.told.clear()
        await peer.send(frames.raw(0xBEEF & 0xFF, 0x2A, 7, b"what is this"), peer.rst(1, ErrorCodes.CANCEL))
        await peer.sync()
        received = trace.arguments("frame_received")
    assert received == [(0xEF, 0x2A, 7, 12), (RST_STREAM, 0, 1, 4), (PING, 0, 0, 8)]
    trace.check()


async def test_a_frame_whose_header_breaks_a_rule_is_told_once_and_is_the_last() -> None:
    trace = Recording()
    async with raw_client(hello, trace=trace) as peer:
        await peer.send(bytes([0xFF, 0xFF, 0xFF, DATA, 0, 0, 0, 0, 1]))
        await peer.send(peer.ping(b"too late"))
        await peer.to_end()
    assert trace.arguments("frame_received")[-1] == (DATA, 0, 1, 0xFFFFFF)
    assert ended(trace) == "FrameTooLargeError: a frame of 16777215 octets, SETTINGS_MAX_FRAME_SIZE is 16384"


async def test_a_frame_that_comes_in_pieces_is_told_once() -> None:
    trace = Recording()
    async with raw_client(hello, trace=trace) as peer:
        await peer.sync()
        trace.told.clear()
        for octet in peer.ping(b"a b c d "):
            await peer.send(bytes([octet]))
            await trio.testing.wait_all_tasks_blocked()
        assert trace.arguments("frame_received") == [(PING, 0, 0, 8)]
        assert trace.arguments("frame_sent") == [(PING, ACK, 0, 8)]


async def test_continuations_are_frames() -> None:
    client, server = Recording(), Recording()
    long = "".join(chr(33 + number % 90) for number in range(40_000))
    async with client_and_server(hello, trace=client, server_trace=server) as pair:
        await pair.client.request("GET", "/", headers=[("x-long", long)])
    sent = [each for each in client.arguments("frame_sent") if each[0] in (HEADERS, CONTINUATION)]
    assert [each[:2] for each in sent] == [(HEADERS, END_STREAM), (CONTINUATION, 0), (CONTINUATION, END_HEADERS)]
    assert [each for each in server.arguments("frame_received") if each[0] in (HEADERS, CONTINUATION)] == sent


# Waits


async def test_a_sender_waits_for_its_streams_window(autojump_clock: trio.testing.MockClock) -> None:
    trace = Recording()
    async with raw_server(trace=trace, settings={SettingCodes.INITIAL_WINDOW_SIZE: 10}) as (connection, peer):
        async with trio.open_nursery() as nursery, connection.stream("POST", "/") as stream:
            start = trio.current_time()
            nursery.start_soon(stream.send_all, b"x" * 30)
            for _ in range(2):
                await trio.sleep(3)
                await peer.send(peer.window_update(1, 10))
            await trio.sleep(1)
    # With credit it waits for its turn at the transport, here for no time.
    assert trace.waits(1) == [
        ("stream window", start, start + 3),
        ("transport", start + 3, start + 3),
        ("stream window", start + 3, start + 6),
        ("transport", start + 6, start + 6),
    ]
    trace.check()


async def test_a_sender_waits_for_the_connections_window_and_then_for_its_streams(
    autojump_clock: trio.testing.MockClock,
) -> None:
    trace = Recording()
    window = 65_535
    async with raw_server(trace=trace, settings={SettingCodes.INITIAL_WINDOW_SIZE: window + 10}) as (connection, peer):
        async with trio.open_nursery() as nursery, connection.stream("POST", "/") as stream:
            start = trio.current_time()
            nursery.start_soon(stream.send_all, b"x" * (window + 20))
            await trio.sleep(1)
            await peer.send(peer.window_update(0, 1_000))
            await trio.sleep(2)
            await peer.send(peer.window_update(1, 1_000))
            await trio.sleep(1)
    waits = [wait for wait in trace.waits(1) if wait[1] != wait[2]]
    assert waits == [("connection window", start, start + 1), ("stream window", start + 1, start + 3)]
    trace.check()


async def test_what_a_wait_is_for_changes_by_what_others_do(autojump_clock: trio.testing.MockClock) -> None:
    """Credit comes while the transport takes nothing: from then on it is that which holds the sender up."""
    trace = Recording()
    slow, peer_end = slow_pair()
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 10}
    async with raw_server(trace=trace, settings=settings, transports=(slow, peer_end)) as (connection, peer):
        async with trio.open_nursery() as nursery, connection.stream("POST", "/") as stream:
            await trio.testing.wait_all_tasks_blocked()
            slow.stop()
            start = trio.current_time()
            nursery.start_soon(stream.send_all, b"x" * 20)
            await trio.sleep(1)
            await peer.send(peer.window_update(1, 10))
            await trio.sleep(1)
            slow.allow(float("inf"))
            await trio.sleep(1)
    assert trace.waits(1) == [("stream window", start, start + 1), ("transport", start + 1, start + 2)]
    trace.check()


async def test_calls_wait_for_the_transport_while_the_outbox_is_full(autojump_clock: trio.testing.MockClock) -> None:
    trace = Recording()
    slow, peer_end = slow_pair()
    config = Config(write_buffer_size=1_000)
    async with raw_server(trace=trace, config=config, transports=(slow, peer_end)) as (connection, _):
        async with trio.open_nursery() as nursery, connection.stream("POST", "/") as stream:
            await trio.testing.wait_all_tasks_blocked()
            slow.stop()
            await stream.send_all(b"x" * 900)
            await trio.testing.wait_all_tasks_blocked()
            await stream.send_all(b"x" * 1_000)
            start = trio.current_time()
            nursery.start_soon(stream.send_eof)
            await trio.sleep(2)
            slow.allow(float("inf"))
            await trio.sleep(1)
            assert trace.waits(1) == [("transport", start, start + 2)]
    trace.check()


async def test_a_reader_waits_for_headers_and_then_for_the_body(autojump_clock: trio.testing.MockClock) -> None:
    client, server = Recording(), Recording()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await read_all(stream)
        await trio.sleep(3)
        await stream.send_informational(103)
        await trio.sleep(1)
        await stream.send_response(200)
        await trio.sleep(2)
        await stream.send_all(b"body")

    start = trio.current_time()
    async with client_and_server(handler, trace=client, server_trace=server) as pair:
        async with pair.client.stream("POST", "/") as stream:
            await trio.sleep(1)
            await stream.send_eof()
            await stream.response()
            await read_all(stream)
    # One more wait, of no time, is for END_STREAM, where the handler's end comes after the reader's turn.
    assert client.waits(1)[:3] == [
        ("headers", start + 1, start + 4),
        ("headers", start + 4, start + 5),
        ("body", start + 5, start + 7),
    ]
    assert server.waits(1) == [("body", start, start + 1)]
    client.check()
    server.check()


EVENTS = ["ResponseReceived", "DataReceived", "StreamEnded"]


async def test_waits_of_events_are_waits_for_headers_and_body_too(autojump_clock: trio.testing.MockClock) -> None:
    trace = Recording()
    async with raw_server(trace=trace) as (connection, peer):
        async with trio.open_nursery() as nursery, connection.stream("GET", "/") as stream:
            start = trio.current_time()

            async def look() -> None:
                assert [type(event).__name__ async for event in stream.events()] == EVENTS

            nursery.start_soon(look)
            await trio.sleep(1)
            await peer.send(peer.headers(1, OK))
            await trio.sleep(1)
            await peer.send(peer.data(1, b"all", end_stream=True))
            await trio.sleep(1)
    assert trace.waits(1) == [("headers", start, start + 1), ("body", start + 1, start + 2)]
    trace.check()


async def test_rfc9113_5_1_2_who_waits_for_a_slot_goes_by_a_number_of_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    trace = Recording()
    async with raw_server(trace=trace, settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as (connection, peer):
        await peer.sync()

        async def get(path: str) -> None:
            await connection.request("GET", path)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(get, "/first")
            await trio.testing.wait_all_tasks_blocked()
            start = trio.current_time()
            with trio.move_on_after(2):
                await get("/given-up")
            nursery.start_soon(get, "/second")
            await trio.sleep(1)
            for stream_id in (1, 3):
                await peer.send(peer.headers(stream_id, OK, end_stream=True))
                await trio.testing.wait_all_tasks_blocked()
    assert trace.waits(-2) == [("slot", start, start + 2)]
    assert trace.waits(-3) == [("slot", start + 2, start + 3)]
    assert trace.arguments("request_settled") == [(-1, 1, None), (-2, None, None), (-3, 3, None)]
    names = [(told.what, told.arguments[0]) for told in trace.told[1:]]
    after = names.index(("wait_ended", -3)) + 1
    assert names[after : after + 2] == [("request_settled", -3), ("stream_opened", 3)]
    assert [headers[":path"] for _, headers in trace.arguments("stream_opened")] == ["/first", "/second"]
    trace.check()


async def test_rfc9113_5_1_2_a_pushed_response_waits_for_a_slot(autojump_clock: trio.testing.MockClock) -> None:
    trace = Recording()

    async def handler(stream: trio_h2.ServerStream) -> None:
        pushed = [await stream.push(f"/{number}") for number in range(2)]
        await stream.send_response(200)
        for each in pushed:
            await each.send_response(200)
        for each in pushed:
            await each.send_eof()
        await trio.sleep_forever()

    settings = {SettingCodes.ENABLE_PUSH: 1, SettingCodes.MAX_CONCURRENT_STREAMS: 1}
    async with raw_client(handler, settings=settings, trace=trace) as peer:
        start = trio.current_time()
        await peer.send(peer.headers(1, GET, end_stream=True))
        await trio.sleep(2)
        await peer.send(peer.rst(2, ErrorCodes.CANCEL))
        await trio.sleep(1)
        assert trace.waits(4) == [("slot", start, start + 2)]
    trace.check()


async def wait_in_send(stream: trio_h2.ClientStream) -> None:
    await stream.send_all(b"x" * 100)


async def wait_in_probe(stream: trio_h2.ClientStream) -> None:
    await stream.send_all(b"x" * 10)
    await stream.wait_send_all_might_not_block()


async def wait_in_response(stream: trio_h2.ClientStream) -> None:
    await stream.response()


async def by_cancelling(peer: RawPeer, scope: trio.CancelScope) -> None:
    scope.cancel()


async def by_a_reset(peer: RawPeer, scope: trio.CancelScope) -> None:
    await peer.send(peer.rst(1, ErrorCodes.CANCEL))


async def by_the_connections_end(peer: RawPeer, scope: trio.CancelScope) -> None:
    await trio.aclose_forcefully(peer.transport)


@pytest.mark.parametrize("wait", [wait_in_send, wait_in_probe, wait_in_response])
@pytest.mark.parametrize("end", [by_cancelling, by_a_reset, by_the_connections_end])
async def test_a_wait_that_does_not_get_what_it_is_for_ends_too(
    wait: Callable[[trio_h2.ClientStream], Awaitable[None]],
    end: Callable[[RawPeer, trio.CancelScope], Awaitable[None]],
    autojump_clock: trio.testing.MockClock,
) -> None:
    trace = Recording()
    async with raw_server(trace=trace, settings={SettingCodes.INITIAL_WINDOW_SIZE: 10}) as (connection, peer):
        async with trio.open_nursery() as nursery, connection.stream("POST", "/") as stream:
            scope = trio.CancelScope()

            async def waiting() -> None:
                with scope:
                    try:
                        await wait(stream)
                    except (trio_h2.StreamResetError, trio_h2.ConnectionTerminatedError):
                        pass

            start = trio.current_time()
            nursery.start_soon(waiting)
            await trio.sleep(2)
            await end(peer, scope)
            await trio.testing.wait_all_tasks_blocked()
            reason = "headers" if wait is wait_in_response else "stream window"
            assert trace.waits(1) == [(reason, start, start + 2)]
    trace.check()


# Credit, windows and round trips


async def test_credit_that_is_given_is_told_in_octets() -> None:
    trace = Recording()
    config = Config(initial_window_size=1_000, connection_window_size=70_000)
    async with raw_server(trace=trace, config=config) as (connection, peer):
        assert trace.arguments("credit_given") == [(0, 70_000 - 65_535)]
        assert trace.arguments("window_grown") == [(0, 70_000)]
        async with connection.stream("GET", "/") as stream:
            await peer.send(peer.headers(1, OK), peer.data(1, b"x" * 900))
            assert await stream.receive_some() == b"x" * 900
            await trio.testing.wait_all_tasks_blocked()
        assert trace.arguments("credit_given")[1:] == [(1, 900)]
        sent = [frame for frame in trace.arguments("frame_sent") if frame[0] == WINDOW_UPDATE]
        assert sent == [(WINDOW_UPDATE, 0, 0, 4), (WINDOW_UPDATE, 0, 1, 4)]
    trace.check()


async def test_windows_that_grow_are_told_with_their_targets_and_the_round_trips_that_measure(
    autojump_clock: trio.testing.MockClock,
) -> None:
    trace = Recording()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        for _ in range(200):
            await stream.send_all(bytes(50_000))

    transports = link_pair(round_trip=0.1, rate=20e6)
    async with client_and_server(handler, transports=transports, trace=trace) as pair:
        async with pair.client.stream("GET", "/") as stream:
            async for _ in stream:
                if pair.client.statistics().streams:
                    statistics = pair.client.statistics()
        targets = dict(trace.arguments("window_grown"))
        assert targets[0] == statistics.inbound_window.target
        assert targets[1] == statistics.streams[0].inbound_window.target > Config().initial_window_size
        grown = [target for stream_id, target in trace.arguments("window_grown") if stream_id == 1]
        assert grown == sorted(set(grown))
        round_trips = [seconds for (seconds,) in trace.arguments("round_trip")]
        assert round_trips
        assert all(0.1 <= seconds < 0.5 for seconds in round_trips)
    trace.check()


async def test_round_trips_of_the_users_pings_and_of_keepalive(autojump_clock: trio.testing.MockClock) -> None:
    trace = Recording()
    transports = link_pair(round_trip=0.5, rate=1e9)
    config = Config(keepalive_interval=10)
    async with client_and_server(hello, transports=transports, config=config, trace=trace) as pair:
        measured = await pair.client.ping()
        assert trace.arguments("round_trip") == [(measured,)]
        await trio.sleep(11)
        assert [seconds for (seconds,) in trace.arguments("round_trip")] == pytest.approx([0.5, 0.5], abs=0.01)
    trace.check()


async def test_pings_that_are_never_answered_are_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    trace = Recording()
    async with raw_server(trace=trace) as (connection, peer):
        for _ in range(3 * MAX_PINGS):
            with trio.move_on_after(1):
                await connection.ping()
        tracer = connection._actor.context.tracer
        assert tracer is not None
        assert len(tracer._pings) == MAX_PINGS
        number = 3 * MAX_PINGS
        await peer.send(peer.ping(number.to_bytes(8, "big"), ack=True), peer.ping((1).to_bytes(8, "big"), ack=True))
        await trio.testing.wait_all_tasks_blocked()
        assert trace.arguments("round_trip") == [(1.0,)]


async def test_credit_that_comes_is_told_and_no_other(autojump_clock: trio.testing.MockClock) -> None:
    trace = Recording()
    async with raw_server(trace=trace) as (connection, peer):
        async with connection.stream("GET", "/"):
            updates = [(0, 1000), (1, 2000), (7, 10), (1, 2**31 - 1)]
            await peer.send(*(peer.window_update(stream_id, octets) for stream_id, octets in updates[:2]))
            await peer.sync()
            assert trace.arguments("credit_received") == updates[:2]
            await peer.send(peer.window_update(1, 2**31 - 1))  # past the largest window: an error, and no credit
            await peer.sync()
        assert trace.arguments("credit_received") == updates[:2]
        assert [stream_id for stream_id, _, _ in closed(trace)] == [1]
    trace.check()


async def test_what_a_reader_takes_is_told_with_padding_and_what_it_leaves(
    autojump_clock: trio.testing.MockClock,
) -> None:
    trace = Recording()
    async with raw_server(trace=trace) as (connection, peer):
        async with connection.stream("GET", "/") as stream:
            await peer.send(peer.headers(1, OK), peer.data(1, b"x" * 100, padding=7))
            assert await stream.receive_some(30) == b"x" * 30
            await trio.testing.wait_all_tasks_blocked()
            received = [length for type_, _, _, length in trace.arguments("frame_received") if type_ == DATA]
            assert received == [108]
            assert trace.arguments("data_taken") == [(1, 8), (1, 30)]
            assert await stream.receive_some() == b"x" * 70
        assert trace.arguments("data_taken") == [(1, 8), (1, 30), (1, 70)]
    trace.check()


async def test_settings_are_told_when_they_are_in_force(autojump_clock: trio.testing.MockClock) -> None:
    trace = Recording()
    async with raw_server(trace=trace, settings={SettingCodes.INITIAL_WINDOW_SIZE: 1000}) as (_, peer):
        await peer.sync()
        told = trace.arguments("settings_in_force")
        assert sorted(initiator for initiator, _ in told) == ["local", "remote"]
        values = dict(told)
        assert values["remote"] == {SettingCodes.INITIAL_WINDOW_SIZE: 1000}
        assert values["local"][SettingCodes.INITIAL_WINDOW_SIZE] == Config().initial_window_size
        await peer.send(peer.settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**31}))
        await trio.testing.wait_all_tasks_blocked()
        assert trace.arguments("settings_in_force") == told
    trace.check()


async def test_goaways_are_told_with_their_last_stream_and_code(autojump_clock: trio.testing.MockClock) -> None:
    client, server = Recording(), Recording()
    async with raw_server(trace=client) as (connection, peer):
        async with connection.stream("GET", "/"):
            await peer.send(peer.goaway(1, ErrorCodes.ENHANCE_YOUR_CALM))
            await peer.sync()
            assert client.arguments("goaway_received") == [(1, ErrorCodes.ENHANCE_YOUR_CALM)]
    async with raw_client(hello, trace=server) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True), peer.window_update(0, 0))
        await peer.to_end()
        assert server.arguments("goaway_sent") == [(1, ErrorCodes.PROTOCOL_ERROR)]
    for trace in (client, server):
        trace.check()


# A trace's own mistakes


def raising(names: list[str], error: type[BaseException]) -> tuple[trio_h2.Trace, list[str]]:
    """A trace of which these methods raise, and the calls that it got."""
    calls: list[str] = []

    def method(name: str, self: trio_h2.Trace, *arguments: object) -> None:
        calls.append(name)
        raise error(name)

    def make(name: str) -> Callable[..., None]:
        return lambda self, *arguments: method(name, self, *arguments)

    return type("Broken", (trio_h2.Trace,), {name: make(name) for name in names})(), calls


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("name", METHODS)
async def test_a_trace_that_raises_is_logged_once_switched_off_and_nothing_else(
    name: str,
    error: type[BaseException],
    caplog: pytest.LogCaptureFixture,
    autojump_clock: trio.testing.MockClock,
) -> None:
    trace, calls = raising([name], error)

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, body=await read_all(stream))

    with caplog.at_level(logging.ERROR, logger="trio_h2"):
        for _ in range(2):
            transports = link_pair(round_trip=0.1, rate=20e6)
            async with client_and_server(handler, transports=transports, trace=trace, server_trace=trace) as pair:
                body = bytes(3_000_000)
                assert (await pair.client.request("POST", "/", body=body)).body == body
                await pair.client.ping()
    assert calls == [name]
    [record] = caplog.records
    assert record.getMessage() == f"Broken.{name} raised: that trace is switched off"
    assert record.exc_info is not None
    assert record.exc_info[0] is error


async def test_a_frozen_trace_is_switched_off_too(caplog: pytest.LogCaptureFixture) -> None:
    @dataclasses.dataclass(frozen=True)
    class Frozen(trio_h2.Trace):
        calls: list[int] = dataclasses.field(default_factory=list)

        def stream_opened(self, connection: object, stream_id: int, headers: trio_h2.Headers) -> None:
            self.calls.append(stream_id)
            raise ValueError

    trace = Frozen()
    async with client_and_server(hello, trace=trace) as pair:
        await pair.client.request("GET", "/")
        await pair.client.request("GET", "/")
    assert trace.calls == [1]
    assert len(caplog.records) == 1


async def test_methods_that_are_not_overridden_are_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    class Opened(trio_h2.Trace):
        def __init__(self) -> None:
            self.opened: list[int] = []

        def stream_opened(self, connection: object, stream_id: int, headers: trio_h2.Headers) -> None:
            self.opened.append(stream_id)

    called: list[str] = []
    for name in METHODS:
        monkeypatch.setattr(trio_h2.Trace, name, lambda self, *arguments, name=name: called.append(name))
    trace = Opened()
    async with client_and_server(hello, trace=trace, server_trace=trace) as pair:
        await pair.client.request("GET", "/")
        await pair.client.ping()
    assert trace.opened == [1, 1]
    assert called == []


async def test_without_a_trace_a_request_calls_nothing_of_it() -> None:
    calls: list[str] = []
    files = {trio_h2.trace.__file__, tracer.__file__}

    def note(frame: types.FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename in files:
            calls.append(frame.f_code.co_name)

    for trace, expected in ((None, False), (Recording(), True)):
        calls.clear()
        async with in_memory(hello, trace=trace) as connection:
            await connection.request("GET", "/")
            sys.setprofile(note)
            try:
                await connection.request("GET", "/")
            finally:
                sys.setprofile(None)
        assert bool(calls) is expected


# Where it is given


@pytest.mark.parametrize("trace", [trio_h2.Trace, logging.getLogger(), "trace"])
async def test_what_is_no_trace_is_a_type_error_in_the_call(trace: Any) -> None:
    kind = type(trace).__name__
    stream, _ = trio.testing.memory_stream_pair()
    message = f"^trace must be a Trace, not {kind}$"
    with pytest.raises(TypeError, match=message):
        trio_h2.connect("http://localhost", trace=trace)
    with pytest.raises(TypeError, match=message):
        trio_h2.connect_over(stream, authority="localhost", trace=trace)
    with pytest.raises(TypeError, match=message):
        await trio_h2.serve_h2_connection(hello, stream, trace=trace)
    with pytest.raises(TypeError, match=message):
        await trio_h2.serve_h2_listeners(hello, [], trace=trace)
    with pytest.raises(TypeError, match=message):
        await trio_h2.serve_h2(hello, 0, trace=trace)


async def test_in_memory_it_is_the_clients() -> None:
    trace = Recording()
    async with in_memory(hello, trace=trace) as connection:
        await connection.request("GET", "/")
        assert trace.connections == [connection]
    trace.check()


async def test_one_trace_serves_all_connections_of_a_server() -> None:
    trace = Recording()
    async with serving(hello, trace=trace) as (server, listener, _):
        for _ in range(3):
            async with trio_h2.connect_over(listener.connect(), authority="example.org") as connection:
                await connection.request("GET", "/")
        await server.shutdown()
    trace.check(connections=3)
    assert trace.arguments("connection_ended") == [(None,)] * 3


async def test_over_a_socket_on_both_sides() -> None:
    client, server = Recording(), Recording()
    async with trio.open_nursery() as nursery:
        served = await nursery.start(partial(trio_h2.serve_h2, hello, 0, host="127.0.0.1", trace=server))
        async with trio_h2.connect(f"http://127.0.0.1:{served.port}", trace=client) as connection:
            await connection.request("GET", "/")
        await served.shutdown()
    for trace in (client, server):
        trace.check()
        assert closed(trace) == [(1, None, None)]
        assert ended(trace) is None
