"""`stream.read()`: the rest of a body, in bounded memory, and nothing lost when it raises."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import (
    CONNECT,
    OK,
    POST,
    RawPeer,
    body_of,
    check_quiet,
    client_and_server,
    of,
    pattern,
    raw_client,
    raw_server,
    read_all,
)
from trio_h2 import Config, ErrorCodes, RequestTooLargeError, ResponseTooLargeError

MIB = 2**20
EXPECT = (*POST, ("expect", "100-continue"))


def with_length(length: int, fields: tuple[tuple[str, str], ...] = POST) -> tuple[tuple[str, str], ...]:
    return (*fields, ("content-length", str(length)))


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    """A body without a content-length."""
    for piece in pieces:
        yield piece


def statuses(peer: RawPeer, stream_id: int = 1) -> list[bytes]:
    return [dict(frame.fields)[b":status"] for frame in of(peer.log, HeadersFrame, stream_id)]


async def raise_requests_error(stream: trio_h2.ServerStream) -> None:
    """A handler that lets the error out."""
    await stream.read(max_body=4)


# The whole of it


@pytest.mark.parametrize("size", [0, 1, 100_000, MIB])
async def test_either_side_reads_the_whole_body(size: int, autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        body = await stream.read()
        assert type(body) is bytes
        assert stream.trailers == trio_h2.Headers([("a", "1")])
        assert await stream.read() == b""
        assert await stream.receive_some() == b""
        await stream.send_response(200)
        await stream.send_all(body)
        await stream.send_trailers([("b", "2")])

    async with client_and_server(handler) as pair:
        async with pair.client.stream("POST", "/") as stream, trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                await stream.send_all(pattern(size))
                await stream.send_trailers([("a", "1")])

            assert await stream.read() == pattern(size)
            assert (await stream.response()).status == 200
            assert stream.trailers == trio_h2.Headers([("b", "2")])
            assert await stream.read() == b""
        await check_quiet(pair)


async def test_it_reads_the_rest(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        first = await stream.receive_some(1_000)
        rest = await stream.read(max_body=99_000)
        await stream.respond(200, [], first + rest)

    async with client_and_server(handler) as pair:
        async with pair.client.stream("POST", "/") as stream:
            await stream.send_all(pattern(100_000))
            await stream.send_eof()
            first = await stream.receive_some(7)
            assert len(first) == 7
            assert first + await stream.read(max_body=99_993) == pattern(100_000)
        await check_quiet(pair)


async def test_bodies_that_are_none(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        assert await stream.read(max_body=0) == b""
        if stream.can_push:
            pushed = await stream.push("/pushed")
            assert await pushed.read() == b""
            await pushed.respond(200, [], b"pushed")
        await stream.respond(304 if stream.request.path == "/304" else 200, [("content-length", "4")], b"body")

    async with client_and_server(handler, config=Config(enable_push=True)) as pair:
        for method, path in (("HEAD", "/"), ("GET", "/304")):
            async with pair.client.stream(method, path) as stream:
                assert await stream.read(max_body=0) == b"", "its content-length is that of a GET"
            async for pushed in pair.client.pushes():
                async with pushed:
                    assert await pushed.read() == b"pushed"
                break
        await check_quiet(pair)


async def test_rfc9113_8_5_a_tunnel_is_read_to_its_end(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await stream.send_all(await stream.read())

    async with client_and_server(handler) as pair:
        async with pair.client.stream("CONNECT", "example.org:80") as stream:
            await stream.response()
            await stream.send_all(pattern(300_000))
            await stream.send_eof()
            assert await stream.read() == pattern(300_000)
        await check_quiet(pair)


async def test_a_body_that_is_there_is_read_with_a_checkpoint(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        with trio.testing.assert_checkpoints():
            assert await stream.read() == b"body"
        with trio.testing.assert_checkpoints():
            assert await stream.read() == b""
        await stream.respond(200, [], b"body")

    async with client_and_server(handler) as pair, pair.client.stream("POST", "/") as stream:
        await stream.send_all(b"body")
        await stream.send_eof()
        await stream.response()
        await trio.testing.wait_all_tasks_blocked()
        with trio.testing.assert_checkpoints():
            assert await stream.read() == b"body"


async def test_a_stream_that_is_a_body_is_iterated_over(autojump_clock: MockClock) -> None:
    """`read` takes no size: what tells files from iterables must not take a stream for a file."""

    async def origin(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, [], await stream.read())

    async with client_and_server(origin) as behind:

        async def proxy(stream: trio_h2.ServerStream) -> None:
            response = await behind.client.request("POST", "/", body=stream)
            await stream.respond(response.status, [], response.body)

        async with client_and_server(proxy) as pair:
            response = await pair.client.request("POST", "/", body=pattern(200_000))
            assert response.body == pattern(200_000)


# Too much


def test_the_defaults() -> None:
    for stream, default in ((trio_h2.ServerStream, MIB), (trio_h2.ClientStream, 1024 * MIB)):
        assert inspect.signature(stream.read).parameters["max_body"].default == default


@pytest.mark.parametrize("max_body", [True, 1.0, "1", b"", object()])
async def test_a_max_body_of_a_wrong_type(max_body: Any, autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, _), connection.stream("GET", "/") as stream:
        with pytest.raises(TypeError, match=f"max_body must be an int or None, not {type(max_body).__name__}"):
            await stream.read(max_body=max_body)


async def test_a_negative_max_body(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        with pytest.raises(ValueError, match="max_body must not be negative: -1"):
            await stream.read(max_body=-1)
        await stream.respond(200)

    async with client_and_server(handler) as pair:
        assert (await pair.client.request("GET", "/")).status == 200


@pytest.mark.parametrize("announced", [True, False], ids=["by content-length", "found out"])
@pytest.mark.parametrize("size", [MIB, MIB + 1])
async def test_a_servers_default_is_a_mebibyte(size: int, announced: bool, autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, [("x-size", str(len(await stream.read())))])

    async with client_and_server(handler) as pair:
        body = pattern(size) if announced else chunks(pattern(size))
        response = await pair.client.request("POST", "/", body=body)
        assert (response.status, response.headers.get("x-size")) == ((200, str(MIB)) if size == MIB else (413, None))
        await check_quiet(pair)


async def test_none_is_no_limit(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        body = await stream.read(max_body=None)
        await stream.respond(200, [], body)

    async with client_and_server(handler) as pair:
        async with pair.client.stream("POST", "/", headers=[("content-length", str(3 * MIB))]) as stream:
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def send() -> None:
                    await stream.send_all(pattern(3 * MIB))
                    await stream.send_eof()

                assert await stream.read(max_body=None) == pattern(3 * MIB)


async def test_rfc9110_10_1_1_a_content_length_too_large_raises_before_the_body_is_asked_for(
    autojump_clock: MockClock,
) -> None:
    errors = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            with trio.testing.assert_checkpoints():
                await stream.read(max_body=4)
        except RequestTooLargeError as error:
            errors.append(error)
            raise

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, with_length(5, EXPECT)))
        await peer.sync()
        assert statuses(peer) == [b"413"]
        assert [frame.error_code for frame in of(peer.log, RstStreamFrame, 1)] == [ErrorCodes.NO_ERROR]
        await peer.send(peer.headers(3, with_length(4, EXPECT)))
        await peer.sync()
        assert statuses(peer, 3) == [b"100"]
    assert [str(error) for error in errors] == ["the body has 5 octets to come by its content-length, max_body is 4"]
    assert errors[0].stream_id == 1


async def test_what_was_taken_does_not_count(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        assert await stream.receive_some(3) == b"abc"
        with pytest.raises(RequestTooLargeError, match="has 7 octets to come"):
            await stream.read(max_body=6)
        assert await stream.read(max_body=7) == b"defghij"
        await stream.respond(200)

    async with client_and_server(handler) as pair:
        assert (await pair.client.request("POST", "/", body=b"abcdefghij")).status == 200


@pytest.mark.parametrize("announced", [True, False], ids=["by content-length", "found out"])
@pytest.mark.parametrize("max_body", [0, 1, 5_000, 99_999])
async def test_a_request_too_large_can_be_read_on_and_answered(
    max_body: int, announced: bool, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        with pytest.raises(RequestTooLargeError):
            await stream.read(max_body=max_body)
        with pytest.raises(RequestTooLargeError):
            await stream.read(max_body=max_body)
        first = await stream.receive_some(3)
        await stream.respond(200, [], first + await stream.read())

    async with client_and_server(handler) as pair:
        whole = pattern(100_000)
        body = whole if announced else chunks(whole[:10], whole[10:70_000], whole[70_000:])
        assert (await pair.client.request("POST", "/", body=body)).body == whole
        await check_quiet(pair)


@pytest.mark.parametrize("announced", [True, False], ids=["by content-length", "found out"])
async def test_a_request_too_large_can_be_refused_in_the_handlers_words(
    announced: bool, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            await stream.read()
        except RequestTooLargeError:
            await stream.respond(422, [], b"too much")

    async with client_and_server(handler) as pair:
        body = pattern(5 * MIB) if announced else chunks(pattern(5 * MIB))
        response = await pair.client.request("POST", "/", body=body)
        assert (response.status, response.body) == (422, b"too much")
        await check_quiet(pair)


async def test_what_is_not_taken_of_a_body_too_large_is_no_credit(autojump_clock: MockClock) -> None:
    """Of an unbounded body `max_body` octets are taken and no more: the client is not told to send the rest."""
    unread = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RequestTooLargeError, match="has more than 60 octets, its max_body"):
            await stream.read(max_body=60)
        unread.append(stream.connection.statistics().unread)
        assert len(await stream.receive_some(30)) == 30
        unread.append(stream.connection.statistics().unread)
        assert len(await stream.receive_some(40)) == 40
        unread.append(stream.connection.statistics().unread)
        await stream.respond(200)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST), peer.data(1, bytes(100)))
        await peer.sync()
    assert unread == [40, 40, 30]


# Unhandled


async def in_a_nursery(stream: trio_h2.ServerStream) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raise_requests_error, stream)
        nursery.start_soon(trio.sleep_forever)


@pytest.mark.parametrize("handler", [raise_requests_error, in_a_nursery])
async def test_rfc9110_15_5_14_unhandled_it_is_413_and_no_traceback(
    handler: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    streams = []

    async def handle(stream: trio_h2.ServerStream) -> None:
        streams.append(stream)
        await handler(stream)

    async with raw_client(handle) as peer:
        with caplog.at_level(logging.INFO, logger="trio_h2"):
            await peer.send(peer.headers(1, POST), peer.data(1, b"12345"))
            await peer.sync()
        assert statuses(peer) == [b"413"]
        assert [frame.error_code for frame in of(peer.log, RstStreamFrame, 1)] == [ErrorCodes.NO_ERROR]
        assert streams[0].status == 413
    assert [(record.levelname, record.getMessage(), record.exc_info) for record in caplog.records] == [
        (
            "INFO",
            "the handler of POST / for a peer without an address does not take its body: "
            "the body has more than 4 octets, its max_body",
            None,
        )
    ]


async def test_unhandled_with_a_response_begun_the_stream_is_reset(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await stream.read(max_body=4)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST), peer.data(1, b"12345", end_stream=True))
        assert await peer.expect_rst(1) == ErrorCodes.INTERNAL_ERROR
        assert statuses(peer) == [b"200"]
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_another_error_beside_it_is_not_lost(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async def beside(stream: trio_h2.ServerStream) -> None:
        try:
            await stream.read(max_body=4)
        except RequestTooLargeError as error:
            raise ExceptionGroup("both", [error, ValueError("the handler's own")]) from None

    async def before(stream: trio_h2.ServerStream) -> None:
        try:
            raise ValueError("the handler's own")
        except ValueError:
            await stream.read(max_body=4)

    for handler, status in ((beside, b"500"), (before, b"413")):
        caplog.clear()
        async with raw_client(handler) as peer:
            await peer.send(peer.headers(1, with_length(5)))
            await peer.sync()
            assert statuses(peer) == [status]
        assert [record.levelname for record in caplog.records if record.levelno > logging.INFO] == ["ERROR"]
        assert "the handler's own" in caplog.text


# A client's


@pytest.mark.parametrize("announced", [True, False], ids=["by content-length", "found out"])
async def test_a_response_too_large(announced: bool, autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        async with connection.stream("GET", "/") as stream:
            await peer.send(peer.headers(1, with_length(9, OK) if announced else OK))
            await peer.send(peer.data(1, b"12345"))
            with pytest.raises(ResponseTooLargeError) as caught:
                await stream.read(max_body=4)
            assert caught.value.stream_id == 1
            if announced:
                assert str(caught.value) == "the body has 9 octets to come by its content-length, max_body is 4"
            else:
                assert str(caught.value) == "the body has more than 4 octets, its max_body"
            assert (await stream.response()).status == 200
            await peer.send(peer.data(1, b"6789", end_stream=True))
            assert await stream.read(max_body=9) == b"123456789"
        async with connection.stream("GET", "/") as stream:
            await peer.send(peer.headers(3, OK), peer.data(3, b"12345"))
            with pytest.raises(ResponseTooLargeError):
                await stream.read(max_body=4)
        assert await peer.expect_rst(3) == ErrorCodes.CANCEL
        assert connection.statistics().unread == 0


# Nothing is lost


async def test_a_cancelled_read_loses_nothing(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        async with connection.stream("GET", "/") as stream:
            await peer.send(peer.headers(1, OK))
            for data in (b"abc", b"defgh", b"ijk"):
                await peer.send(peer.data(1, data))
                with trio.move_on_after(1) as scope:
                    await stream.read()
                assert scope.cancelled_caught
                assert connection.statistics().unread == 0, "it is credit, and in memory"
            assert await stream.receive_some(2) == b"ab"
            assert await stream.receive_some(7) == b"cdefghi"
            with trio.move_on_after(1) as scope:
                await stream.read()
            await peer.send(peer.data(1, b"lmn"))
            await trio.testing.wait_all_tasks_blocked()
            assert await stream.receive_some() == b"jklmn"
            await peer.send(peer.data(1, b"opq", end_stream=True))
            assert await stream.read() == b"opq"
        await peer.sync()
        window = connection.statistics().inbound_window
        assert (window.held, window.available + window.unannounced) == (0, window.target)


async def test_a_read_that_is_cancelled_before_it_begins_takes_nothing(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.read()
        assert scope.cancelled_caught
        await stream.respond(200, [], await stream.read())

    async with client_and_server(handler) as pair:
        assert (await pair.client.request("POST", "/", body=b"body")).body == b"body"


@pytest.mark.parametrize("ending", ["reset", "lost"])
async def test_what_came_before_the_end_stays_readable(ending: str, autojump_clock: MockClock) -> None:
    kind = trio_h2.StreamResetError if ending == "reset" else trio_h2.ConnectionTerminatedError
    async with raw_server() as (connection, peer), connection.stream("GET", "/") as stream:
        await peer.send(peer.headers(1, OK), peer.data(1, b"so far"))
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def read() -> None:
                with pytest.raises(kind):
                    await stream.read()

            await trio.testing.wait_all_tasks_blocked()
            if ending == "reset":
                await peer.send(peer.data(1, b", so good"), peer.rst(1))
            else:
                await peer.send(peer.data(1, b", so good"))
                await peer.transport.aclose()
        with pytest.raises(kind):
            await stream.read()
        assert await stream.receive_some() == b"so far, so good"
        with pytest.raises(kind):
            await stream.receive_some()


async def test_a_reset_before_the_response(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), connection.stream("GET", "/") as stream:
        await peer.expect(HeadersFrame)
        await peer.send(peer.rst(1, ErrorCodes.REFUSED_STREAM))
        with pytest.raises(trio_h2.StreamResetError) as caught:
            await stream.read()
        assert caught.value.safe_to_retry


@pytest.mark.parametrize("left", ["held", "given back"])
async def test_a_stream_that_is_closed_gives_nothing_more_and_its_credit_balances(
    left: str, autojump_clock: MockClock
) -> None:
    async with raw_server() as (connection, peer):
        async with connection.stream("GET", "/") as stream:
            await peer.send(peer.headers(1, OK), peer.data(1, bytes(1_000)))
            await stream.response()
            await trio.testing.wait_all_tasks_blocked()
            if left == "given back":
                with pytest.raises(ResponseTooLargeError):
                    await stream.read(max_body=600)
                assert len(await stream.receive_some(100)) == 100
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def read() -> None:
                    with pytest.raises(trio.ClosedResourceError):
                        await stream.read()

                await trio.testing.wait_all_tasks_blocked()
                await stream.aclose()
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_some()
            with pytest.raises(trio.ClosedResourceError):
                await stream.read()
        await peer.sync()
        window = connection.statistics().inbound_window
        assert (window.held, window.available + window.unannounced) == (0, window.target)


async def test_a_closed_stream_is_closed_whatever_its_content_length(autojump_clock: MockClock) -> None:
    raised = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.aclose()
        with pytest.raises(trio.ClosedResourceError) as caught:
            await stream.read(max_body=1)
        raised.append(caught.value)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, with_length(5)))
        await peer.sync()
    assert len(raised) == 1


# Beside others


async def test_two_readers_are_one_too_many(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        async with connection.stream("GET", "/") as stream, trio.open_nursery() as nursery:
            await peer.send(peer.headers(1, OK))
            got = []

            @nursery.start_soon
            async def read() -> None:
                got.append(await stream.read())

            await trio.testing.wait_all_tasks_blocked()
            for call in (stream.read, stream.receive_some):
                with pytest.raises(trio.BusyResourceError):
                    await call()
            await peer.send(peer.data(1, b"body", end_stream=True))
        assert got == [b"body"]
        async with connection.stream("GET", "/") as stream:
            await peer.send(peer.headers(3, OK, end_stream=True))
            async for _ in stream.events():
                break
            with pytest.raises(trio.BusyResourceError):
                await stream.read()


async def test_a_read_asks_for_the_body_once(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, [], await stream.read())

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, EXPECT))
        await peer.sync()
        assert statuses(peer) == [b"100"]
        await peer.send(peer.data(1, b"body", end_stream=True))
        await peer.expect(DataFrame, matches=lambda frame: "END_STREAM" in frame.flags)
        assert statuses(peer) == [b"100", b"200"]
        assert body_of(peer.log, 1) == b"body"


async def test_a_connect_that_is_not_answered_is_no_tunnel_yet(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        assert await stream.read() == b"early"
        await stream.respond(403)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, CONNECT), peer.data(1, b"early", end_stream=True))
        await peer.sync()
        assert statuses(peer) == [b"403"]


async def test_reading_in_between_leaves_the_order(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        assert stream.request.method == "GET"
        await stream.respond(200, [], pattern(700_000))

    async with client_and_server(handler) as pair:
        async with pair.client.stream("GET", "/") as stream:
            whole = b""
            for max_body in (0, 1, 10_000, 300_000):
                with pytest.raises(ResponseTooLargeError):
                    await stream.read(max_body=max_body)
                whole += await stream.receive_some(max_body + 1)
            whole += await read_all(stream)
            assert whole == pattern(700_000)
        await check_quiet(pair)
