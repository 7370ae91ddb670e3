"""The handler contract, permits, limits and what a server is told wrongly."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import attrs
import pytest
import trio
import trio.testing
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import (
    CONNECT,
    FOREVER,
    GET,
    POST,
    Handler,
    RawPeer,
    body_of,
    check_quiet,
    client_and_server,
    echo,
    hello,
    of,
    pattern,
    raw_client,
    raw_server,
    read_all,
    whole_reads,
)
from tests.frames import priority_update
from trio_h2 import Config, ErrorCodes, StreamResetError

HEAD = ((":method", "HEAD"), *GET[1:])


async def answer(handler: Handler, *frames: str, request: tuple[tuple[str, str], ...] = POST) -> list[object]:
    """What the server sends on stream 1 for a request with no END_STREAM: (kind, detail) by frame."""
    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, request))
        await peer.sync()
        return described(peer)


def described(peer: RawPeer, stream_id: int = 1) -> list[object]:
    kinds: list[object] = []
    for frame in peer.log:
        if frame.stream_id != stream_id:
            continue
        end = " end" if "END_STREAM" in frame.flags else ""
        if isinstance(frame, HeadersFrame):
            kinds.append(frame.fields[0][1].decode() + end)
        elif isinstance(frame, DataFrame):
            kinds.append(f"{len(frame.data)}{end}")
        elif isinstance(frame, RstStreamFrame):
            kinds.append(ErrorCodes(frame.error_code).name)
    return kinds


# Handler endings


@pytest.mark.parametrize("complete", [False, True])
async def test_returned_with_no_response_begun_is_500(complete: bool, autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_informational(103)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST, end_stream=complete))
        await peer.sync()
        assert described(peer) == ["103", "500 end"] + ([] if complete else ["NO_ERROR"])


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("length", [None, 5])
async def test_returned_with_the_content_length_met_is_end_stream(
    complete: bool, length: int | None, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200, [] if length is None else [("content-length", str(length))])
        await stream.send_all(b"12345")

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST, end_stream=complete))
        await peer.sync()
        assert described(peer) == ["200", "5", "0 end"] + ([] if complete else ["NO_ERROR"])


async def test_returned_with_the_content_length_not_met_is_reset(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200, [("content-length", "6")])
        await stream.send_all(b"12345")

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        assert described(peer) == ["200", "5", "INTERNAL_ERROR"]


async def test_late_data_after_no_error_is_refunded(autojump_clock: MockClock) -> None:
    async with raw_client(hello) as peer:
        frames = []
        for stream_id in range(1, 27, 2):
            await peer.send(peer.headers(stream_id, POST))
            assert await peer.expect_rst(stream_id) == ErrorCodes.NO_ERROR
            for _ in range(16):  # which is the window that it had
                await peer.send(peer.data(stream_id, bytes(16_384)))
            frames += await peer.sync()
        credit = sum(frame.window_increment for frame in frames if frame.type == 0x8 and frame.stream_id == 0)
        assert credit >= 200 * 16_384 - 1024 * 1024
        assert of(frames, RstStreamFrame) == of(frames, GoAwayFrame) == []


@pytest.mark.parametrize("complete", [False, True])
async def test_raised_before_anything_was_sent_is_500(
    complete: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        raise ZeroDivisionError("in the handler")

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST, end_stream=complete))
        await peer.sync()
        assert described(peer) == ["500 end"] + ([] if complete else ["NO_ERROR"])
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[0] is ZeroDivisionError


async def test_raised_after_the_response_began_is_reset(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await stream.send_all(b"12345")
        raise ZeroDivisionError("in the handler")

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        assert described(peer) == ["200", "5", "INTERNAL_ERROR"]
    assert len(caplog.records) == 1


async def test_raised_after_the_response_was_complete_changes_nothing(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, (), b"12345")
        raise ZeroDivisionError("in the handler")

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        assert described(peer) == ["200", "5 end"]
    assert len(caplog.records) == 1


async def test_a_handler_that_raises_leaves_its_neighbours_alone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.path == "/bad":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                raise ZeroDivisionError
        await echo(stream)

    async with client_and_server(handler) as pair:
        async with pair.client.stream("POST", "/") as neighbour:
            with caplog.at_level(logging.CRITICAL):
                assert (await pair.client.request("GET", "/bad")).status == 500
            await neighbour.send_all(b"still here")
            await neighbour.send_eof()
            assert await read_all(neighbour) == b"still here"
        await check_quiet(pair)


class OddError(BaseException):
    pass


@pytest.mark.parametrize("error", [OddError, KeyboardInterrupt, SystemExit])
async def test_other_base_exceptions_propagate(error: type[BaseException], autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        raise error

    client_end, server_end = trio.testing.memory_stream_pair()
    peer = RawPeer(client_end, client=True)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio_h2.serve_h2_connection, handler, server_end)
            await peer.handshake()
            await peer.send(peer.headers(1, GET, end_stream=True))
            await peer.to_end()
    found: BaseException = caught.value
    while isinstance(found, BaseExceptionGroup):
        (found,) = found.exceptions
    assert type(found) is error


async def test_a_handler_that_closed_its_stream_is_done(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await stream.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        assert described(peer) == ["200", "CANCEL"]
    assert caplog.records == []


async def test_a_handler_may_reset_with_a_code_of_its_own(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.reset(ErrorCodes.HTTP_1_1_REQUIRED)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        assert described(peer) == ["HTTP_1_1_REQUIRED"]


async def test_a_handler_whose_client_is_gone_logs_nothing(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await stream.send_all(b"x")

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.expect(HeadersFrame)
        await peer.send(peer.rst(1))
        await peer.sync()
        assert described(peer) == ["200"]
    assert caplog.records == []


class Shielded(Exception):
    pass


async def raise_alone() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise Shielded


async def raise_in_a_group() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raise_alone)
        nursery.start_soon(trio.sleep_forever)


async def raise_beside_an_error_of_the_stream() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise ExceptionGroup("both", [trio_h2.StreamResetError("gone"), ExceptionGroup("inner", [Shielded()])])


async def raise_and_let_the_stream_cover_it() -> None:
    try:
        await raise_alone()
    finally:
        raise trio_h2.StreamResetError("gone")


FAILURES = [raise_alone, raise_in_a_group, raise_beside_an_error_of_the_stream, raise_and_let_the_stream_cover_it]


@pytest.mark.parametrize("how", ["reset", "stream error", "goaway", "lost", "cancelled"])
@pytest.mark.parametrize("fail", FAILURES)
async def test_what_a_handler_raises_as_its_stream_fails_is_logged(
    fail: Callable[[], Awaitable[None]], how: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of the user's own code is never lost, whatever else there is beside it."""

    async def handler(stream: trio_h2.ServerStream) -> None:
        await fail()

    peer_end, server_end = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def serve() -> None:
            with scope:
                await trio_h2.serve_h2_connection(handler, server_end)

        nursery.start_soon(serve)
        peer = RawPeer(peer_end, client=True)
        await peer.handshake()
        await peer.send(peer.headers(1, (*POST[:3], (":path", "/a/b?token=secret"))))
        await peer.sync()
        if how == "reset":
            await peer.send(peer.rst(1))
            await peer.sync()
        elif how == "stream error":
            await peer.send(peer.window_update(1, 2**31 - 1))
            await peer.sync()
        elif how == "goaway":
            await peer.send(peer.rst(99))
        elif how == "cancelled":
            scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        await peer_end.aclose()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "POST /a/b " in record.getMessage()
    assert "Shielded" in caplog.text
    assert "secret" not in record.getMessage()


@pytest.mark.parametrize("how", ["reset", "lost"])
async def test_an_error_that_was_being_answered_as_the_stream_failed_is_logged(
    how: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            raise Shielded
        except Shielded:
            await stream.respond(500, body=bytes(10_000_000))  # waits for the client's window

    async with client_and_server(handler) as pair:
        async with pair.client.stream("GET", "/a/b") as stream:
            await stream.response()
            await trio.testing.wait_all_tasks_blocked()
            if how == "reset":
                await stream.reset()
            else:
                await pair.client.aclose()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "Shielded" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        trio.ClosedResourceError(),
        trio.BrokenResourceError(),
        trio_h2.ProtocolError("x"),
        ExceptionGroup("", [trio_h2.StreamResetError("x"), ExceptionGroup("", [trio.BrokenResourceError()])]),
    ],
)
async def test_a_handler_whose_error_is_that_its_stream_failed_logs_nothing(
    error: Exception, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise error

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST))
        await peer.sync()
        await peer.send(peer.rst(1))
        await peer.sync()
    assert caplog.records == []


@pytest.mark.parametrize("begin", ["nothing", "interim", "short", "tunnel"])
async def test_a_handler_that_does_not_finish_is_told_in_one_line(
    begin: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        if begin == "interim":
            await stream.send_informational(103)
        elif begin == "short":
            await stream.send_response(200, [("content-length", "6")])
            await stream.send_all(b"12345")

    request = (*GET[:3], (":path", "/x\xff?token=secret")) if begin != "tunnel" else CONNECT
    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, request, end_stream=begin != "tunnel"))
        await peer.sync()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    line = record.getMessage()
    assert ("CONNECT example.org:80 for" if begin == "tunnel" else "GET /x") in line
    assert line.isascii()
    assert "secret" not in line
    assert ("5 octets sent of its content-length of 6" if begin == "short" else "without responding") in line
    assert "a peer without an address" in line


async def test_a_line_about_a_handler_names_its_peer(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        pass

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(trio_h2.serve_h2, handler, 0, host="127.0.0.1"))
        async with trio_h2.connect(f"http://127.0.0.1:{server.port}") as connection:
            assert (await connection.request("GET", "/a?b")).status == 500
            host, port = connection.local_address
        await server.shutdown(1)
    assert f"GET /a for {host}:{port} returned" in caplog.text


async def test_a_background_sender_is_cut_off_when_the_handler_returns(autojump_clock: MockClock) -> None:
    caught: list[BaseException] = []
    async with trio.open_nursery() as background:

        async def send(stream: trio_h2.ServerStream) -> None:
            with pytest.raises(trio.ClosedResourceError) as error:
                await stream.send_all(bytes(10**6))
            caught.append(error.value)

        async def handler(stream: trio_h2.ServerStream) -> None:
            await stream.send_response(200)
            background.start_soon(send, stream)
            await trio.testing.wait_all_tasks_blocked()

        async with raw_client(handler) as peer:
            await peer.send(peer.headers(1, GET, end_stream=True))
            await peer.sync()
            await peer.sync()
            assert described(peer)[-1] == "INTERNAL_ERROR"
            await peer.send(peer.window_update(1, 10**6), peer.window_update(0, 10**6))
            await peer.sync()
            assert described(peer)[-1] == "INTERNAL_ERROR"
    assert len(caught) == 1


# A body that ends early never looks complete (invariant 14)


async def cut_off(stream: trio_h2.ServerStream, data: bytes, seconds: float = 0.1) -> None:
    """Begin to send, and give up."""
    with trio.move_on_after(seconds) as scope:
        await stream.send_all(data)
    assert scope.cancelled_caught


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("complete", [False, True])
async def test_returned_after_a_send_all_that_was_cut_off_is_reset(
    complete: bool, status: int, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(status)
        await cut_off(stream, bytes(1_000_000))

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST, end_stream=complete))
        assert await peer.expect_rst(1) == ErrorCodes.INTERNAL_ERROR
        await peer.sync()
        assert described(peer)[-1] == "INTERNAL_ERROR"
        assert len(body_of(peer.log, 1)) == 65_535


async def test_a_client_never_takes_a_body_that_was_cut_off_for_a_whole_one(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await cut_off(stream, bytes(1_000_000))

    async with client_and_server(handler) as pair:
        async with pair.client.stream("GET", "/") as stream:
            await trio.sleep(1)
            with pytest.raises(StreamResetError) as caught:
                await read_all(stream)
    assert caught.value.error_code == ErrorCodes.INTERNAL_ERROR


@pytest.mark.parametrize("seconds", [0, 1])
@pytest.mark.parametrize("trailers", [False, True])
async def test_returned_after_a_send_of_which_nothing_was_cut_is_reset_too(
    trailers: bool, seconds: float, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await stream.send_all(b"1")
        if trailers:
            with trio.CancelScope() as scope:
                scope.cancel()
                await stream.send_trailers([("a", "b")])
        else:
            await cut_off(stream, b"23", seconds)

    async with raw_client(handler, settings={4: 1}) as peer:
        await peer.send(peer.headers(1, POST))
        assert await peer.expect_rst(1) == ErrorCodes.INTERNAL_ERROR
        assert described(peer) == ["200", "1", "INTERNAL_ERROR"]


@pytest.mark.parametrize("again", [False, True])
async def test_a_call_of_which_nothing_was_cut_may_be_made_again_or_the_half_be_ended(
    again: bool, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await cut_off(stream, b"12")
        await trio.sleep(10)
        if again:
            await stream.send_all(b"12")
        else:
            await stream.send_eof()

    async with raw_client(handler, settings={4: 0}) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await trio.sleep(5)
        await peer.send(peer.window_update(1, 100))
        await trio.sleep(10)
        await peer.sync()
        assert described(peer) == (["200", "2", "0 end"] if again else ["200", "0 end"])


async def test_a_call_that_was_refused_does_not_cut_a_body_short(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200, [("content-length", "2")])
        await stream.send_all(b"12")
        with pytest.raises(trio_h2.InvalidBodyLengthError):
            await stream.send_all(b"3")

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        assert described(peer) == ["200", "2", "0 end"]


async def test_a_response_that_was_cut_off_is_reset(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        with trio.move_on_after(1):
            await stream.respond(200, [], bytearray(1_000_000))

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        assert await peer.expect_rst(1) == ErrorCodes.INTERNAL_ERROR


async def test_a_pushed_response_that_was_cut_off_is_reset(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        pushed = await stream.push("/x")
        await pushed.send_response(200)
        await cut_off(pushed, bytes(1_000_000))
        with pytest.raises(trio.BrokenResourceError):
            await pushed.send_eof()
        await pushed.aclose()
        await stream.respond(204)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        assert await peer.expect_rst(2) == ErrorCodes.INTERNAL_ERROR


@pytest.mark.parametrize("how", ["cut off", "another task sends"])
async def test_a_tunnel_whose_sending_was_cut_off_does_not_end_in_order(how: str, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as background:

        async def send(stream: trio_h2.ServerStream) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.send_all(bytes(1_000_000))

        async def handler(stream: trio_h2.ServerStream) -> None:
            await stream.send_response(200)
            if how == "cut off":
                await cut_off(stream, bytes(1_000_000))
            else:
                background.start_soon(send, stream)
                await trio.testing.wait_all_tasks_blocked()

        async with raw_client(handler) as peer:
            await peer.send(peer.headers(1, CONNECT))
            assert await peer.expect_rst(1) == ErrorCodes.INTERNAL_ERROR
            assert not any("END_STREAM" in frame.flags for frame in of(peer.log, DataFrame))


# Responses


@pytest.mark.parametrize("length", ["7", None])
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("HEAD", 404), ("GET", 304), ("HEAD", 304)])
async def test_rfc9110_6_4_1_what_a_streaming_handler_sends_of_a_body_that_is_left_out_is_dropped(
    method: str, status: int, length: str | None, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(status, [] if length is None else [("content-length", length)])
        await stream.wait_send_all_might_not_block()
        await stream.send_all(b"some")
        await stream.send_all(bytearray(b"dropped"))
        await stream.send_eof()
        with pytest.raises(trio_h2.StreamClosedError):
            await stream.send_all(b"x")

    async with raw_client(handler, settings={4: 0}) as peer:
        await peer.send(peer.headers(1, ((":method", method), *GET[1:]), end_stream=True))
        await peer.sync()
        assert described(peer) == [str(status), "0 end"]
        fields = dict(of(peer.log, HeadersFrame)[0].fields)
        assert fields.get(b"content-length") == (None if length is None else length.encode())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_rfc9110_15_3_5_a_body_for_204_is_an_error_before_anything_is_sent(
    method: str, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        with pytest.raises(ValueError, match="204"):
            await stream.respond(204, [], b"body")
        await stream.send_informational(103)
        with pytest.raises(trio_h2.ProtocolError, match="before its header section"):
            await stream.send_all(b"a body of the 103")
        await stream.send_response(204)
        with pytest.raises(trio_h2.InvalidBodyLengthError):
            await stream.send_all(b"body")
        await stream.send_all(b"")

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, ((":method", method), *GET[1:]), end_stream=True))
        await peer.sync()
        assert [kind for kind in described(peer) if kind != "0"] == ["103", "204", "0 end"]


async def test_respond_adds_a_content_length_where_there_may_be_one(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        status = int((stream.request.path or "/")[1:])
        await stream.respond(status, (), b"12345")

    async with client_and_server(handler) as pair:
        response = await pair.client.request("GET", "/200")
        assert (response.headers["content-length"], response.body) == ("5", b"12345")
        response = await pair.client.request("HEAD", "/200")
        assert (response.headers["content-length"], response.body) == ("5", b"")
        response = await pair.client.request("GET", "/304")
        assert ("content-length" in response.headers, response.body) == (False, b"")


async def test_rfc9110_8_6_a_head_response_may_state_any_content_length(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200, [("content-length", "1000")])

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, HEAD, end_stream=True))
        await peer.sync()
        assert described(peer) == ["200", "0 end"]


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda s: s.send_response(99), ValueError, "status"),
        (lambda s: s.send_response(101), ValueError, "status"),
        (lambda s: s.send_response(199), ValueError, "status"),
        (lambda s: s.send_response(600), ValueError, "status"),
        (lambda s: s.send_response("200"), TypeError, "status"),
        (lambda s: s.send_response(True), TypeError, "status"),
        (lambda s: s.send_response(200, [("a b", "c")]), ValueError, "headers"),
        (lambda s: s.send_response(200, [("a", "c\n")]), ValueError, "headers"),
        (lambda s: s.send_response(200, [("connection", "close")]), ValueError, "headers"),
        (lambda s: s.send_response(200, [(":status", "200")]), ValueError, "headers"),
        (lambda s: s.send_response(200, [("a", 1)]), TypeError, "headers"),
        (lambda s: s.send_response(200, 5), TypeError, "headers"),
        (lambda s: s.send_informational(200), ValueError, "status"),
        (lambda s: s.send_informational(101), ValueError, "status"),
        (lambda s: s.respond(200, (), "text"), TypeError, "body"),
        (lambda s: s.respond(200, [("content-length", "3")], b"12"), ValueError, "content-length"),
        (lambda s: s.send_trailers([(":status", "200")]), ValueError, "trailers"),
        (lambda s: s.send_trailers([("x", "a\r\nb")]), ValueError, "trailers"),
        (lambda s: s.send_all("text"), TypeError, "data"),
    ],
)
async def test_a_bad_argument_is_named_and_nothing_is_sent(
    call: object, error: type[Exception], name: str, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        with pytest.raises(error, match=name):
            await call(stream)  # type: ignore[operator]
        await stream.respond(204)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        assert described(peer) == ["204 end"]


@pytest.mark.parametrize(
    ("calls", "error"),
    [
        ([lambda s: s.send_all(b"x")], trio_h2.ProtocolError),
        ([lambda s: s.send_eof()], trio_h2.ProtocolError),
        ([lambda s: s.send_trailers([])], trio_h2.ProtocolError),
        ([lambda s: s.send_response(200), lambda s: s.send_response(200)], trio_h2.ProtocolError),
        ([lambda s: s.send_response(200), lambda s: s.respond(200)], trio_h2.ProtocolError),
        ([lambda s: s.send_response(200, [("content-length", "1")], end_stream=True)], trio_h2.InvalidBodyLengthError),
        (
            [lambda s: s.send_response(200, [("content-length", "1")]), lambda s: s.send_all(b"12")],
            trio_h2.InvalidBodyLengthError,
        ),
        (
            [lambda s: s.send_response(200, [("content-length", "1")]), lambda s: s.send_eof()],
            trio_h2.InvalidBodyLengthError,
        ),
        (
            [lambda s: s.send_response(200, [("content-length", "1")]), lambda s: s.send_trailers([])],
            trio_h2.InvalidBodyLengthError,
        ),
    ],
)
async def test_a_call_out_of_turn_raises_and_nothing_is_sent(
    calls: list[object], error: type[Exception], autojump_clock: MockClock
) -> None:
    sent: list[int] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        for call in calls[:-1]:
            await call(stream)  # type: ignore[operator]
        await trio.sleep(1)
        sent.append(stream.connection.statistics().bytes_sent)
        with pytest.raises(error):
            await calls[-1](stream)  # type: ignore[operator]
        await trio.sleep(1)
        sent.append(stream.connection.statistics().bytes_sent)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await trio.sleep(10)
        await peer.sync()
    assert sent[0] == sent[1]


# Requests


async def test_a_request_as_the_handler_sees_it(autojump_clock: MockClock) -> None:
    requests: list[trio_h2.Request] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        requests.append(stream.request)
        assert stream.connection.peer_address is None
        assert stream.connection.tls is None
        await stream.respond(204)

    async with raw_client(handler) as peer:
        await peer.send(
            peer.headers(
                1, (*GET, ("cookie", "a=1"), ("x", "1"), ("cookie", "b=2"), ("priority", "u=1, i")), end_stream=True
            ),
            peer.headers(
                3, ((":method", "OPTIONS"), (":scheme", "https"), (":path", "*"), ("host", "h")), end_stream=True
            ),
        )
        await peer.sync()
    first, second = sorted(requests, key=lambda request: request.method)
    assert (first.method, first.scheme, first.authority, first.path, first.protocol) == (
        *("GET", "http", "example.org", "/"),
        None,
    )
    assert (first.headers["cookie"], first.headers["x"]) == ("a=1; b=2", "1")
    assert first.priority == trio_h2.Priority(1, True)
    assert (second.method, second.authority, second.path) == ("OPTIONS", "h", "*")


@pytest.mark.parametrize("path", ["/", pytest.param("/" + "p" * 300, id="long")])
async def test_a_request_that_comes_again_is_as_the_first(path: str, autojump_clock: MockClock) -> None:
    """Also with a priority of its own, which a frame before it said (RFC 9218 section 7.1)."""
    requests: dict[int, trio_h2.Request] = {}

    async def handler(stream: trio_h2.ServerStream) -> None:
        requests[stream.stream_id] = stream.request
        await stream.respond(204)

    fields = (*GET[:3], (":path", path), ("x", "1"))
    async with raw_client(handler) as peer:
        for stream_id in (1, 3, 5, 7, 9):  # one after the other, for handlers begin in any order
            if stream_id == 7:
                await peer.send(priority_update(7, b"u=1"))
            await peer.send(peer.headers(stream_id, fields, end_stream=True))
            await peer.sync()
    assert [requests[stream_id].priority.urgency for stream_id in (1, 3, 5, 7, 9)] == [3, 3, 3, 1, 3]
    assert len({attrs.evolve(request, priority=trio_h2.Priority()) for request in requests.values()}) == 1
    assert (requests[9].path, requests[9].headers["x"]) == (path, "1")
    assert (requests[5] is requests[3]) == (path == "/")


async def test_rfc6585_5_a_header_list_too_large_is_431(autojump_clock: MockClock) -> None:
    async with raw_client(hello, config=Config(max_header_list_size=1_000, max_header_fields=20)) as peer:
        await peer.send(peer.headers(1, (*GET, ("x", "y" * 2_000)), end_stream=True))
        await peer.send(peer.headers(3, (*GET, *((f"x-{number}", "y") for number in range(20))), end_stream=True))
        await peer.send(peer.headers(5, GET, end_stream=True))
        await peer.sync()
        assert [described(peer, stream_id)[0] for stream_id in (1, 3, 5)] == ["431 end", "431 end", "200"]


# Limits


async def test_an_excess_stream_is_refused_alone(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await read_all(stream)
        await stream.respond(200)

    async with raw_client(handler, config=Config(max_concurrent_streams=2)) as peer:
        await peer.send(*(peer.headers(stream_id, POST) for stream_id in (1, 3, 5)))
        assert await peer.expect_rst(5) == ErrorCodes.REFUSED_STREAM
        await peer.send(peer.data(1, end_stream=True), peer.data(3, end_stream=True))
        await peer.sync()
        assert (described(peer, 1), described(peer, 3)) == (["200 end"], ["200 end"])


async def stubborn(stream: trio_h2.ServerStream) -> None:
    """A handler that takes ten seconds to notice that its client is gone."""
    with trio.CancelScope(shield=True):
        await trio.sleep(10)
    await stream.respond(200)


async def test_an_admitted_stream_without_a_permit_waits_unstarted(autojump_clock: MockClock) -> None:
    started: list[int | None] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        started.append(stream.stream_id)
        await stubborn(stream)

    async with raw_client(handler, config=Config(max_concurrent_streams=2)) as peer:
        for stream_id in (1, 3):
            await peer.send(peer.headers(stream_id, GET, end_stream=True))
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(peer.rst(stream_id))
        await peer.send(peer.headers(5, POST), peer.data(5, b"body"), peer.headers(7, GET, end_stream=True))
        await peer.sync()
        assert started == [1, 3]
        await peer.expect(HeadersFrame)
        await peer.expect(HeadersFrame)
        assert sorted(started) == [1, 3, 5, 7]


@pytest.mark.parametrize("end_stream", [False, True])
@pytest.mark.parametrize("code", [ErrorCodes.CANCEL, ErrorCodes.NO_ERROR])
async def test_what_a_stream_that_never_started_had_received_is_refunded(
    code: ErrorCodes, end_stream: bool, autojump_clock: MockClock
) -> None:
    connections: list[trio_h2.Connection] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        connections.append(stream.connection)
        await stubborn(stream)

    async with raw_client(handler, config=Config(max_concurrent_streams=1)) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(peer.rst(1))
        await peer.sync()
        await peer.send(peer.headers(3, POST), peer.data(3, bytes(1_000), end_stream=end_stream))
        await peer.sync()
        assert connections[0].statistics().unread == 1_000
        await peer.send(peer.rst(3, code))
        await peer.sync()
        statistics = connections[0].statistics()
        assert statistics.unread == 0
        assert statistics.streams == () or {stream.stream_id for stream in statistics.streams} == {1}
    assert len(connections) == 1


async def test_rapid_resets_that_outrun_the_handlers_are_calmed(autojump_clock: MockClock) -> None:
    running = 0

    async def handler(stream: trio_h2.ServerStream) -> None:
        nonlocal running
        running += 1
        assert running <= 2
        try:
            await stubborn(stream)
        finally:
            running -= 1

    async with raw_client(handler, config=Config(max_concurrent_streams=2, max_resets=40)) as peer:
        for stream_id in range(1, 81, 2):
            await peer.send(peer.headers(stream_id, GET, end_stream=True))
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(peer.rst(stream_id))
        await peer.sync()
        await peer.send(peer.headers(81, GET, end_stream=True) + peer.rst(81))
        await peer.to_end()
        assert of(peer.log, GoAwayFrame)[0].error_code == ErrorCodes.ENHANCE_YOUR_CALM


async def test_a_flood_of_resets_is_calmed_with_the_default_limit(autojump_clock: MockClock) -> None:
    started = 0

    async def handler(stream: trio_h2.ServerStream) -> None:
        nonlocal started
        started += 1
        await stubborn(stream)

    async with raw_client(handler) as peer:
        for first in range(1, 10_200, 200):
            ids = range(first, first + 200, 2)
            await peer.send(*(peer.headers(i, GET, end_stream=True) + peer.rst(i) for i in ids))
            await trio.testing.wait_all_tasks_blocked()
        await peer.to_end()
        assert of(peer.log, GoAwayFrame)[0].error_code == ErrorCodes.ENHANCE_YOUR_CALM
        assert started <= 100


async def test_slow_clean_up_ends_no_connection_of_a_client_that_keeps_to_its_limit(
    autojump_clock: MockClock,
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            await trio.sleep(1)
            await stream.respond(200)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)

    answered = cancelled = 0
    async with client_and_server(handler) as pair:

        async def impatient() -> None:
            nonlocal cancelled
            while True:
                with trio.move_on_after(0.05):
                    await pair.client.request("GET", "/")
                cancelled += 1

        async def innocent() -> None:
            nonlocal answered
            while True:
                assert (await pair.client.request("GET", "/")).status == 200
                answered += 1

        with trio.move_on_after(4):
            async with trio.open_nursery() as nursery:
                for _ in range(54):
                    nursery.start_soon(impatient)
                for _ in range(6):
                    nursery.start_soon(innocent)
        assert pair.client.accepting
        assert (await pair.client.request("GET", "/")).status == 200
    assert cancelled > 4_000
    assert answered > 4


async def test_a_pushed_stream_that_is_reset_is_no_stream_given_up(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        for _ in range(100):
            await stream.push("/x")
        await trio.sleep(1)
        await stream.respond(200)

    async with raw_client(handler, config=Config(max_concurrent_streams=1)) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(*(peer.rst(stream_id) for stream_id in range(2, 202, 2)))
        assert (await peer.expect(HeadersFrame)).fields[0] == (b":status", b"200")


async def test_a_client_that_cancels_a_lot_is_not_punished(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(1)
        await stream.respond(200)

    async with raw_client(handler, config=Config(max_concurrent_streams=5)) as peer:
        for stream_id in range(1, 2_001, 2):
            await peer.send(peer.headers(stream_id, GET, end_stream=True))
            if stream_id % 6 == 1:
                await trio.testing.wait_all_tasks_blocked()
            await peer.send(peer.rst(stream_id))
        await peer.send(peer.headers(2_001, GET, end_stream=True))
        await peer.expect(HeadersFrame, stream_id=2_001)


async def test_resets_in_one_batch_start_no_handler(autojump_clock: MockClock) -> None:
    """As many as four times the stream limit may be reset before any handler could even start."""
    started = 0
    whole_reads()

    async def handler(stream: trio_h2.ServerStream) -> None:
        nonlocal started
        started += 1
        await stream.respond(200)

    async with raw_client(handler) as peer:
        frames = []
        for stream_id in range(1, 801, 2):
            frames += [peer.headers(stream_id, GET, end_stream=True), peer.rst(stream_id)]
        await peer.send(*frames)
        await peer.send(peer.headers(2_001, GET, end_stream=True))
        await peer.expect(HeadersFrame, stream_id=2_001)
    assert started <= 101


# Serving


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("handler", trio.testing.memory_stream_pair()[0]), "handler"),
        ((hello, "transport"), "transport"),
        ((hello, None), "transport"),
    ],
)
async def test_serve_h2_connection_names_a_bad_argument(arguments: tuple[object, object], name: str) -> None:
    with pytest.raises(TypeError, match=name):
        await trio_h2.serve_h2_connection(*arguments)  # type: ignore[arg-type]


async def test_serve_h2_connection_names_a_bad_config() -> None:
    with pytest.raises(TypeError, match="config"):
        await trio_h2.serve_h2_connection(hello, trio.testing.memory_stream_pair()[0], config={})  # type: ignore[arg-type]


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context()


def without_certificate() -> ssl.SSLContext:
    return ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)


def without_certificate_before_tls_1_3() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.mark.parametrize("make", [client_context, without_certificate, without_certificate_before_tls_1_3])
async def test_an_ssl_context_that_cannot_serve_is_refused_in_the_call(
    make: Callable[[], ssl.SSLContext], autojump_clock: MockClock
) -> None:
    with trio.fail_after(FOREVER), pytest.raises(ValueError, match="ssl_context cannot serve"):
        await trio_h2.serve_h2(hello, 0, host="127.0.0.1", ssl_context=make())


@pytest.mark.parametrize("how", ["sni", "psk", "asks for certificates", "old", "plain"])
async def test_an_ssl_context_that_may_serve_somebody_is_taken(how: str, server_ssl_context: ssl.SSLContext) -> None:
    context = server_ssl_context
    if how == "sni":
        context = without_certificate()
        context.sni_callback = lambda *_: None
    elif how == "psk":
        context = without_certificate_before_tls_1_3()
        context.set_ciphers("PSK")
    elif how == "asks for certificates":
        context.verify_mode = ssl.CERT_REQUIRED
    elif how == "old":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with trio.open_nursery() as nursery:
        serve = partial(trio_h2.serve_h2, hello, 0, host="127.0.0.1", ssl_context=context)
        server = await nursery.start(serve)
        await server.shutdown(0)


class TransportListener(trio.abc.Listener[trio.abc.Stream]):
    """Gives the transports of a list, and then waits."""

    def __init__(self, *transports: trio.abc.Stream) -> None:
        self.transports = list(transports)

    async def accept(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if not self.transports:
            await trio.sleep_forever()
        return self.transports.pop(0)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Failing(trio.abc.HalfCloseableStream):
    """A transport of which the named methods raise, whatever else it does."""

    def __init__(self, inner: trio.StapledStream[Any, Any], error: Exception, *names: str) -> None:
        self._inner = inner
        self._error = error
        self.names = set(names)

    async def _call(self, name: str, *arguments: Any) -> Any:
        if name in self.names:
            await trio.lowlevel.checkpoint()
            if name == "aclose":
                await self._inner.aclose()
            raise self._error
        return await getattr(self._inner, name)(*arguments)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._call("send_all", data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return cast("bytes", await self._call("receive_some", max_bytes))

    async def send_eof(self) -> None:
        await self._call("send_eof")

    async def aclose(self) -> None:
        await self._call("aclose")


@pytest.mark.parametrize("tls", [None, "fails to begin", "fails"])
@pytest.mark.parametrize("method", ["send_all", "receive_some", "send_eof", "aclose"])
async def test_nothing_that_one_connection_does_ends_the_server(
    method: str, tls: str | None, server_ssl_context: ssl.SSLContext, autojump_clock: MockClock
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    bad_end, bad = trio.testing.memory_stream_pair()
    plain = TransportListener(Failing(bad, OSError("by the test"), method, "aclose"), theirs)
    broken_listener: trio.abc.Listener[trio.abc.Stream] = plain
    if tls is not None:
        context = client_context() if tls == "fails to begin" else server_ssl_context
        broken_listener = trio.SSLListener(TransportListener(plain.transports.pop(0)), context, https_compatible=True)
    listeners = [broken_listener, plain]
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_h2.serve_h2_listeners, hello, listeners)
        await bad_end.aclose()
        await trio.testing.wait_all_tasks_blocked()
        async with trio_h2.connect_over(ours, authority="example.org") as connection:
            assert (await connection.request("GET", "/")).body == b"hello"
        await server.shutdown(1)


@pytest.mark.parametrize("method", ["send_all", "receive_some", "send_eof", "aclose"])
@pytest.mark.parametrize("error", [OSError("by the test"), ValueError("by the test")])
async def test_what_a_servers_transport_raises_ends_its_connection(
    method: str, error: Exception, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing leaves `serve_h2_connection`, and it is no bug."""
    connections: list[trio_h2.Connection] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        connections.append(stream.connection)
        await stream.respond(200)
        transport.names.add(method)

    peer_end, server_end = trio.testing.memory_stream_pair()
    transport = Failing(server_end, error)
    async with raw_client(handler, transports=(peer_end, transport)) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(peer.ping())
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1)
    await connections[0].wait_closed()
    assert caplog.records == []
    if method in ("send_all", "receive_some"):
        with pytest.raises(trio_h2.ConnectionTerminatedError, match="by the test") as caught:
            await connections[0].ping()
        assert caught.value.__cause__ is error


@pytest.mark.parametrize("method", ["receive_some", "send_all", "aclose"])
async def test_a_transport_that_fails_at_once_is_a_servers_connection_alone(
    method: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Also before the client's first octets, and as an HTTP/1.x client is answered."""
    for sent in (b"", b"GET / HTTP/1.1\r\n\r\n"):
        peer_end, server_end = trio.testing.memory_stream_pair()
        transport = Failing(server_end, OSError("by the test"), method)
        await peer_end.send_all(sent) if sent else await peer_end.send_eof()
        await trio_h2.serve_h2_connection(hello, transport)
    assert caplog.records == []


@pytest.mark.parametrize("method", ["receive_some", "send_all", "aclose"])
@pytest.mark.parametrize("error", [OSError("by the test"), ValueError("by the test")])
async def test_what_a_clients_transport_raises_ends_its_connection(
    method: str, error: Exception, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing leaves `connect_over`, and it is no bug."""
    client_end, peer_end = trio.testing.memory_stream_pair()
    transport = Failing(client_end, error)
    async with trio_h2.connect_over(transport, authority="example.org") as connection:
        peer = RawPeer(peer_end, client=False)
        await peer.handshake()
        transport.names.add(method)
        await peer.send(peer.ping())
        await trio.testing.wait_all_tasks_blocked()
        if method == "receive_some":
            await connection.wait_closed()
        if method != "aclose":
            with pytest.raises(trio_h2.ConnectionTerminatedError, match="by the test") as caught:
                await connection.request("GET", "/")
            assert caught.value.__cause__ is error
            assert isinstance(caught.value, trio.BrokenResourceError)
    assert caplog.records == []


# What peers do wrong


WRONG = {
    "a malformed request": (lambda p: p.headers(1, GET[:3], end_stream=True), "stream 1 of .*:path"),
    "a refused stream": (
        lambda p: p.headers(1, POST) + p.headers(3, POST),
        "stream 3 of .*more than 1 concurrent streams",
    ),
    "a header section too large": (lambda p: p.headers(1, (*GET, ("x-a", "y" * 5_000))), "stream 1 of "),
    "a connection error": (
        lambda p: p.ping()[:9].replace(b"\x08", b"\x07", 1) + bytes(7),
        "connection with .* ended: a frame of type 0x6",
    ),
    "data on a closed stream": (
        lambda p: p.headers(1, GET, end_stream=True) + p.data(1, b"x"),
        "stream 1 of .*RECV_DATA",
    ),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_a_client_does_wrong_is_logged_for_debugging(
    name: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    send, line = WRONG[name]
    config = Config(max_concurrent_streams=1, max_header_list_size=4_096)
    with caplog.at_level(logging.DEBUG, "trio_h2"):
        async with raw_client(echo, config=config) as peer:
            await peer.send(send(peer))
            await trio.testing.wait_all_tasks_blocked()
    assert re.search(line, caplog.text), caplog.text
    assert "a peer without an address" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


@pytest.mark.parametrize("sent", [b"GET /?secret HTTP/1.1\r\n\r\n", b"\x1b[31mnot a preface at all, really"])
async def test_a_client_that_speaks_no_http2_is_logged_for_debugging(
    sent: bytes, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "trio_h2"):
        async with raw_client(echo, handshake=False) as peer:
            await peer.send(sent)
            await trio.testing.wait_all_tasks_blocked()
    assert re.search("HTTP/1" if sent.startswith(b"GET") else "preface", caplog.text)
    assert "\x1b" not in caplog.text
    assert "secret" not in caplog.text


async def test_a_tls_handshake_that_fails_is_logged_for_debugging_with_the_clients_address(
    server_ssl_context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "trio_h2"):
        async with trio.open_nursery() as nursery:
            serve = partial(trio_h2.serve_h2, hello, 0, host="127.0.0.1", ssl_context=server_ssl_context)
            server = await nursery.start(serve)
            with pytest.raises(trio_h2.HandshakeError):
                async with trio_h2.connect(f"https://localhost:{server.port}"):
                    pass
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            address = stream.socket.getsockname()
            await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
            while await stream.receive_some():
                pass
            await stream.aclose()
            await server.shutdown(1)
    assert f"the handshake with {address[0]}:{address[1]} failed: " in caplog.text
    assert "TLS with localhost failed: " in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


async def test_what_a_server_does_wrong_is_logged_for_debugging(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "trio_h2"):
        async with raw_server() as (connection, peer):
            async with connection.stream("GET", "/") as stream:
                await peer.send(peer.headers(1, [("server", "secret")], end_stream=True))
                with pytest.raises(trio_h2.StreamResetError):
                    await stream.response()
            await peer.send(peer.rst(99))
            await connection.wait_closed()
    assert re.search("stream 1 of a peer without an address failed: .*:status", caplog.text)
    assert "the connection with a peer without an address ended: " in caplog.text
    assert "secret" not in caplog.text


async def test_serve_h2_names_a_bad_ssl_context() -> None:
    with pytest.raises(TypeError, match="ssl_context"):
        await trio_h2.serve_h2(hello, 0, ssl_context="x")  # type: ignore[arg-type]


async def test_a_cancelled_tls_handshake_closes_the_transport(
    server_ssl_context: ssl.SSLContext, autojump_clock: MockClock
) -> None:
    client_end, server_end = trio.testing.memory_stream_pair()
    transport = trio.SSLStream(server_end, server_ssl_context, server_side=True)
    with trio.move_on_after(1):
        await trio_h2.serve_h2_connection(hello, transport)
    with trio.fail_after(1):
        assert await client_end.receive_some() == b""


@pytest.mark.parametrize("tls", [False, True])
async def test_serve_h2_on_loopback(
    tls: bool, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    seen: list[trio_h2.Connection] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        seen.append(stream.connection)
        await echo(stream)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:

            async def serve(task_status: trio.TaskStatus[trio_h2.H2Server]) -> None:
                context = server_ssl_context if tls else None
                await trio_h2.serve_h2(handler, 0, host="127.0.0.1", ssl_context=context, task_status=task_status)

            server = await nursery.start(serve)
            url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}"
            async with trio_h2.connect(url, ssl_context=client_ssl_context if tls else None) as connection:
                response = await connection.request("POST", "/", body=pattern(500_000))
                assert response.body == pattern(500_000)
                assert connection.peer_address == ("127.0.0.1", server.port)
                assert seen[0].peer_address == connection.local_address
                if tls:
                    assert connection.tls is not None
                    assert connection.tls.alpn_protocol == "h2"
                    assert connection.tls.peer_certificate is not None
                else:
                    assert connection.tls is None
            await server.shutdown(5)


async def test_a_connection_knows_its_tls_from_the_handshake_on_and_when_it_is_closed(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    connections: list[trio_h2.Connection] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        connections.append(stream.connection)
        await stream.respond(200)

    async with trio.open_nursery() as nursery:
        serving = partial(trio_h2.serve_h2, handler, 0, host="127.0.0.1", ssl_context=server_ssl_context)
        server: trio_h2.H2Server = await nursery.start(serving)
        stream = trio.SSLStream(
            await trio.open_tcp_stream("127.0.0.1", server.port or 0),
            client_ssl_context,
            server_hostname="localhost",
            https_compatible=True,
        )
        async with trio_h2.connect_over(stream, authority="localhost", scheme="https") as connection:
            assert connection.tls is None
            await connection.request("GET", "/")
            assert connection.tls is not None
        await server.shutdown(5)
    for each in (connection, *connections):
        assert each.tls is not None
        assert each.tls.version == "TLSv1.3"


async def test_a_server_and_its_connections_in_a_repr(nursery: trio.Nursery) -> None:
    seen: list[str] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        seen.append(repr(stream.connection))
        await stream.respond(200)

    server = await nursery.start(partial(trio_h2.serve_h2, handler, 0, host="127.0.0.1"))
    async with trio_h2.connect(f"http://127.0.0.1:{server.port}") as connection:
        assert repr(connection) == f"<ClientConnection with ('127.0.0.1', {server.port}): 0 streams>"
        await connection.request("GET", "/")
        assert repr(server) == f"<H2Server port={server.port}: 1 connection>"
    await server.shutdown(5)
    assert repr(server) == f"<H2Server port={server.port}: closed>"
    assert repr(connection).endswith(": closed>")
    assert seen[0].startswith("<ServerConnection with ('127.0.0.1', ")
    assert seen[0].endswith("): 1 stream>")


async def test_every_address_family_gets_the_same_free_port() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_h2.serve_h2, hello, 0)
        ports = {listener.socket.getsockname()[1] for listener in server.listeners}
        assert ports == {server.port}
        await server.shutdown(1)


async def test_a_handler_nursery_holds_the_connections(autojump_clock: MockClock) -> None:
    one, other = trio.testing.memory_stream_pair()

    class Once(trio.abc.Listener[trio.abc.Stream]):
        used = False

        async def accept(self) -> trio.abc.Stream:
            if self.used:
                await trio.sleep_forever()
            self.used = True
            return other

        async def aclose(self) -> None:
            pass

    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as nursery:
            peer = RawPeer(one, client=True)

            async def serve() -> None:
                await trio_h2.serve_h2_listeners(hello, [Once()], handler_nursery=connections)

            nursery.start_soon(serve)
            await peer.handshake()
            nursery.cancel_scope.cancel()
        # The server is gone, and its connection lives on in the nursery that was given.
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.expect(DataFrame)
        assert body_of(peer.log, 1) == b"hello"
        connections.cancel_scope.cancel()


# Whole responses: `bytes` that fit go in one step, before the call's checkpoint; anything else step by step


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize("body", [b"hello", b"", bytes(100_000)])
async def test_respond_is_the_same_in_one_step_and_in_many(method: str, body: bytes, autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        given = body if stream.request.path == "/bytes" else bytearray(body)
        await stream.respond(200, [("x-field", "1")], given)
        with pytest.raises(trio_h2.ProtocolError):
            await stream.send_trailers([("x-late", "1")])

    async with client_and_server(handler) as pair:
        one = await pair.client.request(method, "/bytes")
        other = await pair.client.request(method, "/bytearray")
        assert one == other
        assert one.body == (b"" if method == "HEAD" else body)
        await check_quiet(pair)


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize("body", [b"hello", b"", bytes(100_000)])
async def test_respond_with_trailers_is_the_same_in_one_step_and_in_many(
    method: str, body: bytes, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        given = body if stream.request.path == "/bytes" else bytearray(body)
        with trio.testing.assert_checkpoints():
            await stream.respond(200, [("x-field", "1")], given, trailers=[("x-sum", "2")])

    async with client_and_server(handler) as pair:
        one = await pair.client.request(method, "/bytes")
        other = await pair.client.request(method, "/bytearray")
        assert one == other
        assert one.body == (b"" if method == "HEAD" else body)
        assert one.trailers == (None if method == "HEAD" else trio_h2.Headers([("x-sum", "2")]))
        await check_quiet(pair)


async def test_respond_says_what_is_wrong_with_trailers_and_sends_nothing(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        with pytest.raises(ValueError, match="trailers"):
            await stream.respond(200, [], b"never", trailers=[(":status", "200")])
        await stream.respond(204, trailers=[("x-sum", "2")])

    async with client_and_server(handler) as pair:
        response = await pair.client.request("GET", "/")
        assert (response.status, response.trailers) == (204, None)


async def test_respond_that_is_cancelled_before_its_trailers_does_not_look_complete(autojump_clock: MockClock) -> None:
    """Invariant 14."""

    async def handler(stream: trio_h2.ServerStream) -> None:
        with trio.move_on_after(1):
            await stream.respond(200, [], bytes(100_000), trailers=[("x-sum", "2")])

    config = trio_h2.Config(initial_window_size=1_000, max_window_size=0)
    async with client_and_server(handler, config=config, server_config=Config()) as pair:
        async with pair.client.stream("GET", "/") as stream:
            await trio.sleep(2)
            with pytest.raises(trio_h2.StreamResetError):
                await stream.read()


async def test_a_response_that_was_cancelled_before_is_not_sent(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.respond(200, [], b"never")
        assert scope.cancelled_caught
        await stream.respond(404, [], b"instead")

    async with client_and_server(handler) as pair:
        response = await pair.client.request("GET", "/")
        assert (response.status, response.body) == (404, b"instead")


@pytest.mark.parametrize("body", [b"hello", bytearray(b"hello"), b""])
async def test_respond_is_a_checkpoint(body: bytes, autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        with trio.testing.assert_checkpoints():
            await stream.respond(200, [], body)

    async with client_and_server(handler) as pair:
        assert (await pair.client.request("GET", "/")).body == body


async def test_two_tasks_that_respond_at_once(autojump_clock: MockClock) -> None:
    failures: list[Exception] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        async def respond() -> None:
            try:
                await stream.respond(200, [], b"hello")
            except (trio.BusyResourceError, trio.ClosedResourceError, trio_h2.ProtocolError) as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(respond)
            nursery.start_soon(respond)

    async with client_and_server(handler) as pair:
        assert (await pair.client.request("GET", "/")).body == b"hello"
    assert len(failures) == 1
