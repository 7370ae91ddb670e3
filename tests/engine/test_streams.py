"""What streams promise on either side: sending, receiving, closing, events, trailers, priorities, push."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import coroutine
from typing import Any, get_type_hints

import pytest
import trio
import trio.testing
from hyperframe.frame import DataFrame, HeadersFrame, PushPromiseFrame, RstStreamFrame, WindowUpdateFrame
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import (
    CONNECT,
    GET,
    OK,
    POST,
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
    slow_pair,
    whole_reads,
)
from trio_h2 import Config, ErrorCodes, Priority, StreamResetError

PUSH = Config(enable_push=True)


# Sending


async def test_a_sender_waits_for_the_streams_window_alone(autojump_clock: MockClock) -> None:
    async with raw_server(settings={4: 10}) as (connection, peer):
        async with connection.stream("POST", "/") as one, connection.stream("POST", "/") as other:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.send_all, b"1" * 20)
                nursery.start_soon(other.send_all, b"2" * 5)
                await peer.sync()
                assert (body_of(peer.log, 1), body_of(peer.log, 3)) == (b"1" * 10, b"2" * 5)
                assert [stream.waits_for for stream in connection.statistics().streams] == ["stream window", None]
                await peer.send(peer.window_update(1, 7))
                await peer.sync()
                assert body_of(peer.log, 1) == b"1" * 17
                await peer.send(peer.window_update(1, 7))


async def test_a_sender_waits_for_the_connections_window(autojump_clock: MockClock) -> None:
    async with raw_server(settings={4: 2**20}) as (connection, peer):
        async with connection.stream("POST", "/") as stream, trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, bytes(70_000))
            await peer.sync()
            assert len(body_of(peer.log, 1)) == 65_535
            assert connection.statistics().streams[0].waits_for == "connection window"
            await peer.send(peer.window_update(0, 10_000))


async def test_a_mutable_buffer_is_copied_when_it_is_cut(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()
    async with raw_server(settings={4: 1_000}, transports=(slow, peer_end)) as (connection, peer):
        async with connection.stream("POST", "/") as stream:
            await peer.sync()
            slow.stop()
            buffer = bytearray(b"a" * 1_000)
            await stream.send_all(buffer)
            buffer[:] = b"b" * 1_000
            await stream.send_all(memoryview(b""))
            slow.allow(10**6)
            await peer.sync()
            assert body_of(peer.log, 1) == b"a" * 1_000


@pytest.mark.parametrize("kind", [bytes, bytearray], ids=["cut at once", "cut after a checkpoint"])
async def test_data_is_cut_alike_on_either_path(kind: type[bytes | bytearray], autojump_clock: MockClock) -> None:
    async with raw_server(settings={4: 20_000}) as (connection, peer):
        fields = [("content-length", "20")]
        async with connection.stream("POST", "/") as one, connection.stream("POST", "/", headers=fields) as other:
            for size in (10, 0, 9_000, 1):
                await one.send_all(kind(b"1" * size))
            with trio.CancelScope() as scope:
                scope.cancel()
                await one.send_all(kind(b"2"))
            await other.send_all(kind(b"3" * 15))
            with pytest.raises(trio_h2.InvalidBodyLengthError):
                await other.send_all(kind(b"4" * 6))
            await other.send_all(kind(b"5" * 5))
            await other.send_eof()
            with pytest.raises(trio_h2.StreamClosedError):
                await other.send_all(kind(b"6"))
            await peer.sync()
            assert scope.cancelled_caught
            frames = [(frame.stream_id, bytes(frame.data)) for frame in of(peer.log, DataFrame)]
            assert frames == [
                (1, b"1" * 10),
                (1, b"1" * 9_000),
                (1, b"1"),
                (3, b"3" * 15),
                (3, b"5" * 5),
                (3, b""),
            ]
            assert connection.statistics().streams[0].outbound_window == 20_000 - 9_011
            await peer.send(peer.rst(1))
            await peer.sync()
            with pytest.raises(StreamResetError):
                await one.send_all(kind(b"7"))


Body = bytes | bytearray
Answer = Callable[[trio_h2.ServerStream, Callable[[bytes], Body]], Awaitable[object]]


def respond(body: bytes, status: int = 200, headers: list[tuple[str, str]] | None = None) -> Answer:
    return lambda stream, kind: stream.respond(status, headers or [], kind(body))


async def respond_twice(stream: trio_h2.ServerStream, kind: Callable[[bytes], Body]) -> None:
    await stream.respond(200, [], kind(b"one"))
    await stream.respond(200, [], kind(b"two"))


async def respond_after_others(stream: trio_h2.ServerStream, kind: Callable[[bytes], Body]) -> None:
    await stream.send_informational(103)
    pushed = await stream.push("/pushed")
    await pushed.respond(200, [], kind(b"pushed"))
    await stream.respond(200, [], kind(b"body"))


async def respond_after_the_head(stream: trio_h2.ServerStream, kind: Callable[[bytes], Body]) -> None:
    await stream.send_response(200)
    await stream.respond(200, [], kind(b"body"))


async def respond_after_a_reset(stream: trio_h2.ServerStream, kind: Callable[[bytes], Body]) -> None:
    await stream.reset(7)
    await stream.respond(200, [], kind(b"body"))


async def respond_under_a_cancelled_scope(stream: trio_h2.ServerStream, kind: Callable[[bytes], Body]) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.respond(200, [], kind(b"body"))
    assert scope.cancelled_caught


ANSWERS = {
    "a body": respond(b"body"),
    "no body": respond(b""),
    "several frames": respond(pattern(40_000)),
    "more than the window": respond(pattern(70_000)),
    "204": respond(b"body", 204),
    "304": respond(b"body", 304),
    "404": respond(b"body", 404),
    "its length": respond(b"body", 200, [("content-length", "4")]),
    "another length": respond(b"body", 200, [("content-length", "5")]),
    "twice": respond_twice,
    "after others": respond_after_others,
    "after the head": respond_after_the_head,
    "after a reset": respond_after_a_reset,
    "cancelled": respond_under_a_cancelled_scope,
}


@pytest.mark.parametrize("request_fields", [GET, POST, CONNECT, ((":method", "HEAD"), *GET[1:])], ids=lambda f: f[0][1])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_a_whole_response_is_sent_alike_on_either_path(
    answer: Answer, request_fields: tuple[tuple[str, str], ...], autojump_clock: MockClock
) -> None:
    """Bytes are cut before the call's checkpoint, if they can be, and a bytearray after it."""

    async def outcome(kind: Callable[[bytes], Body]) -> tuple[object, ...]:
        errors = []

        async def handler(stream: trio_h2.ServerStream) -> None:
            try:
                await answer(stream, kind)
            except (trio_h2.H2Error, ValueError) as error:
                errors.append((type(error), str(error)))
            errors.append(stream.connection.statistics().outbound_window)

        async with raw_client(handler) as peer:
            ended = request_fields[0][1] in ("GET", "HEAD")
            await peer.send(peer.headers(1, request_fields, end_stream=ended))
            await peer.sync()
            await peer.send(peer.window_update(1, 10_000), peer.window_update(0, 10_000))
            await peer.sync()
            frames = [
                (type(f), f.stream_id, sorted(f.flags), getattr(f, "fields", None), getattr(f, "error_code", None))
                for f in peer.log
            ]
            return errors, frames, body_of(peer.log, 1), body_of(peer.log, 2)

    assert await outcome(bytes) == await outcome(bytearray)


@coroutine
def watched(call: Coroutine[Any, Any, object], look: Callable[[], None]) -> Generator[Any, Any, None]:
    """Await a call, and look around whenever it yields."""
    reply = None
    while True:
        try:
            trap = call.send(reply)
        except StopIteration:
            return
        look()
        reply = yield trap


@pytest.mark.parametrize("kind", [bytes, bytearray])
async def test_a_stream_is_busy_while_a_whole_response_is_sent(
    kind: Callable[[bytes], Body], autojump_clock: MockClock
) -> None:
    refused = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        def look() -> None:
            for call in (stream.send_all(b"x"), stream.send_eof(), stream.send_trailers([]), stream.respond(200)):
                with pytest.raises(trio.BusyResourceError):
                    call.send(None)
                refused.append(call)

        await watched(stream.respond(200, [], kind(b"body")), look)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST))
        await peer.sync()
        assert body_of(peer.log, 1) == b"body"
    assert len(refused) == 4


@pytest.mark.parametrize("data", ["text", None, 7, [1, 2]])
async def test_send_all_takes_bytes_alone(data: object, autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), connection.stream("POST", "/") as stream:
        with pytest.raises(TypeError, match="data"):
            await stream.send_all(data)  # type: ignore[arg-type]
        assert of(await peer.sync(), DataFrame) == []


async def test_a_sender_in_the_transports_queue_wakes_on_reset(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()
    config = Config(write_buffer_size=1_000)
    async with raw_server(config=config, settings={4: 2**20}, transports=(slow, peer_end)) as (connection, peer):
        async with connection.stream("POST", "/") as one, connection.stream("POST", "/") as other:
            await peer.sync()
            slow.stop()
            await one.send_all(bytes(5_000))
            await trio.testing.wait_all_tasks_blocked()
            await one.send_all(bytes(5_000))  # the outbox is full now, and nobody queues for a turn
            woken = []

            async def send(how: Callable[[], object]) -> None:
                with pytest.raises(StreamResetError) as caught:
                    await how()  # type: ignore[misc]
                woken.append(caught.value)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, lambda: other.send_all(b"x"))
                await trio.testing.wait_all_tasks_blocked()
                assert woken == []
                await peer.send(peer.rst(3, ErrorCodes.REFUSED_STREAM))
                await trio.testing.wait_all_tasks_blocked()
                assert len(woken) == 1
            assert isinstance(woken[0], trio.BrokenResourceError)
            slow.allow(10**9)


@pytest.mark.parametrize("call", ["send_all", "send_eof", "send_trailers", "wait_send_all_might_not_block"])
async def test_a_sender_in_the_transports_queue_wakes_on_close(call: str, autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()
    config = Config(write_buffer_size=1_000)
    async with raw_server(config=config, settings={4: 2**20}, transports=(slow, peer_end)) as (connection, peer):
        async with connection.stream("POST", "/") as one, connection.stream("POST", "/") as other:
            await peer.sync()
            slow.stop()
            await one.send_all(bytes(5_000))
            await trio.testing.wait_all_tasks_blocked()
            await one.send_all(bytes(5_000))
            woken = False

            async def send() -> None:
                nonlocal woken
                arguments = {"send_all": (b"x",), "send_trailers": ([("x-a", "1")],)}.get(call, ())
                with pytest.raises(trio.ClosedResourceError):
                    await getattr(other, call)(*arguments)
                woken = True

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                await trio.testing.wait_all_tasks_blocked()
                await other.aclose()
                await trio.testing.wait_all_tasks_blocked()
                assert woken
            slow.allow(10**9)


async def test_two_tasks_cannot_send_at_once(autojump_clock: MockClock) -> None:
    async with raw_server(settings={4: 0}) as (connection, _), connection.stream("POST", "/") as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, b"x")
            await trio.testing.wait_all_tasks_blocked()
            for call in (
                stream.send_all(b"y"),
                stream.send_eof(),
                stream.send_trailers([("x-a", "1")]),
                stream.wait_send_all_might_not_block(),
            ):
                with pytest.raises(trio.BusyResourceError):
                    await call
            nursery.cancel_scope.cancel()


async def test_two_tasks_cannot_receive_at_once(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, _), connection.stream("GET", "/") as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.receive_some)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await stream.receive_some()
            with pytest.raises(trio.BusyResourceError):
                await stream.response()
            nursery.cancel_scope.cancel()


async def test_sending_and_receiving_at_once_is_fine(autojump_clock: MockClock) -> None:
    async with client_and_server(echo) as pair, pair.client.stream("POST", "/") as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, pattern(2_000_000))
            received = b""
            while len(received) < 2_000_000:
                received += await stream.receive_some()
        assert received == pattern(2_000_000)


async def test_calls_after_ones_own_end_are_closed(autojump_clock: MockClock) -> None:
    async with client_and_server(echo) as pair, pair.client.stream("POST", "/") as stream:
        await stream.send_eof()
        await stream.send_eof()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")
        with pytest.raises(trio_h2.StreamClosedError):
            await stream.send_trailers([("x-a", "1")])
        assert await read_all(stream) == b""


async def test_calls_after_aclose_are_closed(autojump_clock: MockClock) -> None:
    async with client_and_server(echo) as pair, pair.client.stream("POST", "/") as stream:
        await stream.aclose()
        for call in (
            lambda: stream.send_all(b"x"),
            stream.send_eof,
            lambda: stream.send_trailers([]),
            stream.wait_send_all_might_not_block,
            stream.receive_some,
            stream.response,
            lambda: stream.update_priority(Priority(1)),
        ):
            with pytest.raises(trio.ClosedResourceError):
                await call()
        await stream.aclose()


async def test_calls_after_the_peers_reset_are_broken(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), connection.stream("POST", "/") as stream:
        await peer.sync()
        await peer.send(peer.rst(1, 0x55))
        await peer.sync()
        for call in (lambda: stream.send_all(b"x"), stream.send_eof, stream.receive_some, stream.response):
            with pytest.raises(StreamResetError) as caught:
                await call()
            assert isinstance(caught.value, trio.BrokenResourceError)
            assert (caught.value.error_code, caught.value.initiator, caught.value.scope) == (0x55, "remote", "stream")
            assert caught.value.stream_id == 1


@pytest.mark.parametrize("code", [ErrorCodes.REFUSED_STREAM, ErrorCodes.INTERNAL_ERROR])
async def test_rfc9113_8_7_a_refused_stream_is_safe_to_retry(code: ErrorCodes, autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:

        async def request() -> None:
            with pytest.raises(StreamResetError) as caught:
                await connection.request("POST", "/", body=b"x")
            assert caught.value.safe_to_retry is (code == ErrorCodes.REFUSED_STREAM)

        nursery.start_soon(request)
        await peer.expect(HeadersFrame)
        await peer.send(peer.rst(1, code))


@pytest.mark.parametrize(
    ("code", "error"), [("x", TypeError), (None, TypeError), (-1, ValueError), (2**32, ValueError)]
)
async def test_reset_names_a_bad_error_code(code: object, error: type[Exception], autojump_clock: MockClock) -> None:
    async with client_and_server(echo) as pair, pair.client.stream("POST", "/") as stream:
        with pytest.raises(error, match="error_code"):
            await stream.reset(code)  # type: ignore[arg-type]
        await stream.send_all(b"still open")
        await stream.send_eof()
        assert await read_all(stream) == b"still open"


async def test_reset_sends_its_code_once(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        async with connection.stream("POST", "/") as stream:
            await stream.send_all(b"x")
            await stream.reset(ErrorCodes.HTTP_1_1_REQUIRED)
            with pytest.raises(trio.ClosedResourceError):
                await stream.send_all(b"x")
        await peer.sync()
        assert [frame.error_code for frame in of(peer.log, RstStreamFrame)] == [ErrorCodes.HTTP_1_1_REQUIRED]


# Receiving


@pytest.mark.parametrize(
    ("max_bytes", "error"), [(0, ValueError), (-1, ValueError), ("1", TypeError), (True, TypeError)]
)
async def test_receive_some_names_a_bad_max_bytes(
    max_bytes: object, error: type[Exception], autojump_clock: MockClock
) -> None:
    async with raw_server() as (connection, _), connection.stream("GET", "/") as stream:
        with pytest.raises(error, match="max_bytes"):
            await stream.receive_some(max_bytes)  # type: ignore[arg-type]


async def test_receive_some_gives_at_most_max_bytes_and_credit_for_those_alone(autojump_clock: MockClock) -> None:
    config = Config(initial_window_size=1_000)
    async with raw_server(config=config) as (connection, peer), connection.stream("GET", "/") as stream:
        await peer.expect(HeadersFrame)
        await peer.send(peer.headers(1, OK), peer.data(1, pattern(1_000)))
        assert await stream.receive_some(100) == pattern(1_000)[:100]
        window = connection.statistics().streams[0].inbound_window
        assert window is not None
        assert (window.available, window.held, window.unannounced) == (0, 900, 100)
        assert await stream.receive_some(899) == pattern(1_000)[100:999]
        update = await peer.expect(WindowUpdateFrame, stream_id=1)
        assert update.window_increment == 999


@pytest.mark.parametrize("max_bytes", [None, 1_000_000, 7_000, 5_000, 1_999])
async def test_receive_some_gives_what_several_frames_brought(max_bytes: int | None, autojump_clock: MockClock) -> None:
    frames = [pattern(5_000, seed) for seed in range(4)]
    async with raw_server(config=Config(initial_window_size=40_000)) as (connection, peer):
        async with connection.stream("GET", "/") as stream:
            await peer.sync()
            await peer.send(peer.headers(1, OK), *(peer.data(1, frame) for frame in frames))
            await peer.send(peer.headers(1, [("x", "y")], end_stream=True))
            await peer.sync()
            chunks = []
            while chunk := await stream.receive_some(max_bytes):
                chunks.append(chunk)
                assert connection.statistics().unread == 20_000 - sum(map(len, chunks))
            assert b"".join(chunks) == b"".join(frames)
            size = min(max_bytes or 20_000, 20_000)
            assert [len(chunk) for chunk in chunks[:-1]] == [size] * ((20_000 - 1) // size)
            assert stream.trailers is not None


async def test_a_receive_some_that_is_cancelled_takes_nothing(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), connection.stream("GET", "/") as stream:
        await peer.sync()
        for data in (b"", b"data"):
            with trio.CancelScope() as scope:
                scope.cancel()
                await stream.receive_some()
            assert scope.cancelled_caught
            if not data:
                await peer.send(peer.headers(1, OK), peer.data(1, b"data"))
                await peer.sync()
        assert await stream.receive_some() == b"data"


async def test_padding_is_credit_at_once(autojump_clock: MockClock) -> None:
    config = Config(initial_window_size=1_000)
    async with raw_server(config=config) as (connection, peer), connection.stream("GET", "/") as stream:
        await peer.expect(HeadersFrame)
        for _ in range(10):
            await peer.send(peer.data(1, b"", padding=250) if peer.log[-1] is None else b"")
        await peer.send(peer.headers(1, OK))
        for _ in range(10):
            await peer.send(peer.data(1, b"x", padding=250))
            await peer.sync()
        await peer.send(peer.data(1, end_stream=True))
        assert await read_all(stream) == b"x" * 10


async def test_data_before_a_reset_with_no_error_is_still_readable(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), connection.stream("POST", "/") as stream:
        await peer.expect(HeadersFrame)
        await peer.send(peer.headers(1, OK), peer.data(1, b"so far"), peer.rst(1, 0))
        await peer.sync()
        assert (await stream.response()).status == 200
        assert await stream.receive_some() == b"so far"
        with pytest.raises(StreamResetError):
            await stream.receive_some()


async def test_an_early_response_ends_the_upload(autojump_clock: MockClock) -> None:
    async with raw_server(settings={4: 10}) as (connection, peer), connection.stream("POST", "/") as stream:
        async with trio.open_nursery() as nursery:

            async def upload() -> None:
                with pytest.raises(StreamResetError, match="response") as caught:
                    await stream.send_all(bytes(100))
                assert isinstance(caught.value, trio.BrokenResourceError)
                with pytest.raises(StreamResetError):
                    await stream.send_all(bytes(100))

            nursery.start_soon(upload)
            await peer.expect(DataFrame)
            await peer.send(peer.headers(1, [(":status", "413")]), peer.data(1, b"no", end_stream=True))
        assert (await stream.response()).status == 413
        assert await read_all(stream) == b"no"


async def test_request_returns_a_whole_early_response(autojump_clock: MockClock) -> None:
    async with client_and_server(hello) as pair:
        response = await pair.client.request("POST", "/", body=bytes(10**6))
        assert (response.status, response.body) == (200, b"hello")
        await pair.client.request("GET", "/")
        await check_quiet(pair)


async def test_trailers_both_ways(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        assert stream.trailers is None
        body = await read_all(stream)
        assert stream.trailers is not None
        await stream.send_response(200)
        await stream.send_all(body)
        await stream.send_trailers({"x-echo": stream.trailers["x-sum"]})

    async with client_and_server(handler) as pair:
        response = await pair.client.request("POST", "/", body=b"abc", trailers=[("x-sum", "6")])
        assert response.trailers is not None
        assert (response.body, response.trailers["x-echo"]) == (b"abc", "6")
        response = await pair.client.request("POST", "/", trailers={"x-sum": "0"})
        assert response.body == b""


async def test_interim_responses_are_kept_in_order(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        for number in range(3):
            await stream.send_informational(103, [("link", f"</{number}>")])
        await stream.respond(200)
        with pytest.raises(trio_h2.ProtocolError):
            await stream.send_informational(103)

    async with client_and_server(handler) as pair, pair.client.stream("GET", "/") as stream:
        assert (await stream.response()).status == 200
        assert [(head.status, head.headers["link"]) for head in stream.informational] == [
            (103, f"</{number}>") for number in range(3)
        ]


# Events


async def test_a_streams_events(autojump_clock: MockClock) -> None:
    whole_reads()
    async with raw_server() as (connection, peer), connection.stream("POST", "/") as stream:
        await peer.expect(HeadersFrame)
        events = []

        async def consume() -> None:
            events.extend([event async for event in stream.events()])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(peer.window_update(1, 5), peer.window_update(1, 6))
            await peer.send(peer.headers(1, [(":status", "103")]), peer.headers(1, OK))
            await peer.send(peer.data(1, b"a" * 5_000), peer.headers(1, [("x-t", "1")], end_stream=True))
        assert [type(event) for event in events] == [
            trio_h2.WindowUpdated,
            trio_h2.InformationalResponseReceived,
            trio_h2.ResponseReceived,
            trio_h2.DataReceived,
            trio_h2.TrailersReceived,
            trio_h2.StreamEnded,
        ]
        assert events[0].delta == 11
        with pytest.raises(trio.BusyResourceError):
            await stream.receive_some()


async def test_a_reset_is_the_last_event(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), connection.stream("POST", "/") as stream:
        await peer.expect(HeadersFrame)
        await peer.send(peer.headers(1, OK), peer.rst(1, ErrorCodes.INTERNAL_ERROR))
        events = [event async for event in stream.events()]
        assert events[-1] == trio_h2.StreamReset(1, ErrorCodes.INTERNAL_ERROR, remote_reset=True)


async def test_events_of_a_lost_connection_raise(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), connection.stream("POST", "/") as stream:
        await peer.expect(HeadersFrame)
        await peer.send(peer.headers(1, OK))
        await peer.transport.aclose()
        with pytest.raises(trio_h2.ConnectionTerminatedError):
            async for event in stream.events():
                assert isinstance(event, trio_h2.ResponseReceived)


async def test_events_and_reading_cannot_be_mixed(autojump_clock: MockClock) -> None:
    async with client_and_server(echo) as pair, pair.client.stream("POST", "/") as stream:
        await stream.response()
        with pytest.raises(trio.BusyResourceError):
            async for _ in stream.events():
                pass


async def test_leaving_events_early_is_quiet(autojump_clock: MockClock) -> None:
    async with client_and_server(echo) as pair, pair.client.stream("POST", "/") as stream:
        await stream.send_all(b"x")
        async for event in stream.events():
            assert isinstance(event, trio_h2.ResponseReceived)
            break
        async for event in stream.events():
            assert isinstance(event, trio_h2.DataReceived)
            break
        async for event in pair.client.events():
            assert isinstance(event, trio_h2.Event)
            break


async def test_unread_window_updates_do_not_pile_up(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), connection.stream("POST", "/") as stream:
        await peer.expect(HeadersFrame)
        events = aiter(stream.events())
        await peer.send(peer.headers(1, OK))
        assert isinstance(await anext(events), trio_h2.ResponseReceived)
        await peer.send(*(peer.window_update(1, 1) for _ in range(10_000)))
        await peer.sync()
        await peer.send(peer.data(1, b"", end_stream=True))
        assert (await anext(events)).delta == 10_000
        assert isinstance(await anext(events), trio_h2.StreamEnded)


async def test_connection_events_are_bounded_and_drops_are_counted(autojump_clock: MockClock) -> None:
    async with raw_server(config=Config(max_queued_events=5)) as (connection, peer):
        await peer.send(*(peer.frame(0xBE, 0, 0, bytes([number])) for number in range(20)))
        await peer.sync()
        assert connection.statistics().dropped_events >= 14
        kept = []
        with trio.move_on_after(1):
            async for event in connection.events():
                kept.append(event)
        assert len(kept) == 5
        await peer.send(peer.frame(0xBE, 0x7, 0, b"new"))
        assert await anext(aiter(connection.events())) == trio_h2.UnknownFrameReceived(0xBE, 0x7, 0, b"new")


async def test_connection_events_end_with_the_connection(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        await peer.send(peer.goaway(0, 0, b"bye"))
        events = [event async for event in connection.events()]
        assert trio_h2.ConnectionTerminated(ErrorCodes.NO_ERROR, 0, b"bye") in events


# Expect: 100-continue


@pytest.mark.parametrize("consumer", ["receive_some", "events", "after a cancelled read"])
async def test_rfc9110_10_1_1_a_server_sends_100_on_the_first_read(consumer: str, autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(5)
        if consumer == "after a cancelled read":
            with trio.CancelScope() as scope:
                scope.cancel()
                await stream.receive_some()
        if consumer == "events":
            async for _ in stream.events():
                pass
        else:
            await read_all(stream)
        await stream.respond(200)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, (*POST, ("expect", "100-continue"), ("content-length", "4"))))
        assert of(await peer.sync(), HeadersFrame) == []
        interim = await peer.expect(HeadersFrame)
        assert interim.fields == [(b":status", b"100")]
        assert trio.current_time() >= 5
        await peer.send(peer.data(1, b"body", end_stream=True))
        assert (await peer.expect(HeadersFrame)).fields[0] == (b":status", b"200")
        assert of(peer.log, HeadersFrame)[:-1] == [interim]


async def test_a_server_sends_no_100_when_the_body_is_there_or_the_answer_given(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.path == "/answered":
            await stream.send_response(200)
        assert await read_all(stream) == b"body"
        if stream.request.path == "/answered":
            await stream.send_eof()
        else:
            await stream.respond(200)

    expecting = (*POST[:3], (":path", "/answered"), ("expect", "100-continue"))
    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, (*POST, ("expect", "100-continue"))), peer.data(1, b"body", end_stream=True))
        await peer.send(peer.headers(3, expecting))
        await peer.expect(HeadersFrame, stream_id=3)
        await peer.send(peer.data(3, b"body", end_stream=True))
        await peer.sync()
        assert [frame.fields[0][1] for frame in of(peer.log, HeadersFrame)] == [b"200", b"200"]


# Priorities (RFC 9218)


async def test_rfc9218_10_data_goes_by_urgency_and_takes_turns_within_it(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()
    settings = {4: 2**24}
    start = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await start.wait()
        await stream.send_all(bytes(100_000))
        await stream.send_eof()

    config = Config(write_buffer_size=20_000)
    async with raw_client(handler, config=config, settings=settings, transports=(peer_end, slow)) as peer:
        await peer.send(peer.window_update(0, 2**24))
        for stream_id, urgency in ((1, 5), (3, 5), (5, 1), (7, 1), (9, 7), (11, 0)):
            await peer.send(peer.headers(stream_id, (*GET, ("priority", f"u={urgency}")), end_stream=True))
        await peer.sync()
        slow.stop()
        start.set()
        await trio.testing.wait_all_tasks_blocked()
        slow.allow(10**9)
        for stream_id in (11, 5, 7, 1, 3, 9):
            if not any("END_STREAM" in frame.flags for frame in of(peer.log, DataFrame, stream_id)):
                await peer.expect(DataFrame, matches=lambda f: "END_STREAM" in f.flags, stream_id=stream_id)
        order = [frame.stream_id for frame in of(peer.log, DataFrame)]
        last = {stream_id: len(order) - order[::-1].index(stream_id) for stream_id in set(order)}
        assert last[11] < min(last[5], last[7])
        assert max(last[5], last[7]) < min(last[1], last[3])
        assert max(last[1], last[3]) < last[9]
        # Within one urgency they take turns: never three frames of one while the other waits.
        for one, other in ((5, 7), (1, 3)):
            turns = [stream_id for stream_id in order if stream_id in (one, other)]
            shared = turns[: min(len(turns) - turns[::-1].index(s) for s in (one, other)) - 1]
            assert not any(len(set(shared[i : i + 3])) == 1 for i in range(2, len(shared) - 3)), turns


async def test_rfc9218_7_1_a_priority_update_moves_a_response(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await stream.send_all(bytes(200_000))
        await stream.send_eof()

    config = Config(write_buffer_size=20_000)
    async with raw_client(handler, config=config, settings={4: 2**24}, transports=(peer_end, slow)) as peer:
        await peer.send(peer.window_update(0, 2**24))
        await peer.sync()
        slow.stop()
        await peer.send(peer.headers(1, GET, end_stream=True), peer.headers(3, GET, end_stream=True))
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(peer.frame(0x10, 0, 0, (3).to_bytes(4, "big") + b"u=0"))
        await trio.testing.wait_all_tasks_blocked()
        slow.allow(10**9)
        await peer.expect(DataFrame, matches=lambda f: "END_STREAM" in f.flags, stream_id=3)
        assert len(body_of(peer.log, 1)) < 100_000


async def test_frequent_credit_does_not_cost_a_stream_its_turn(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await stream.send_all(bytes(10**6))

    config = Config(write_buffer_size=20_000)
    async with raw_client(handler, config=config, settings={4: 2**24}, transports=(peer_end, slow)) as peer:
        await peer.send(peer.window_update(0, 2**24))
        await peer.sync()
        slow.stop()
        await peer.send(*(peer.headers(stream_id, GET, end_stream=True) for stream_id in (1, 3, 5, 7)))
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(60):
            await peer.send(peer.window_update(1, 1))
            await trio.testing.wait_all_tasks_blocked()
            slow.allow(16_393)
            await trio.testing.wait_all_tasks_blocked()
        slow.allow(10**9)
        while len(of(peer.log, DataFrame)) < 60:
            await peer.expect(DataFrame)
        counts = {stream_id: len(of(peer.log[: len(peer.log)], DataFrame, stream_id)) for stream_id in (1, 3, 5, 7)}
        assert min(counts.values()) >= 10, counts


async def test_update_priority_is_sent(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        async with connection.stream("GET", "/", priority=Priority(2, True)) as stream:
            request = await peer.expect(HeadersFrame)
            assert dict(request.fields)[b"priority"] == b"u=2, i"
            await stream.update_priority(Priority(6))
            frames = await peer.sync()
            updates = [bytes(frame.body) for frame in frames if frame.type == 0x10]
            assert updates == [(1).to_bytes(4, "big") + b"u=6"]
            with pytest.raises(TypeError, match="priority"):
                await stream.update_priority("u=1")  # type: ignore[arg-type]


# Push (RFC 9113 section 8.4)


async def test_rfc9113_8_4_a_pushed_response(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        pushed = await stream.push("/style.css", headers=[("x-pushed", "1")])
        await stream.respond(200, (), b"page")
        await pushed.respond(200, (), b"style")

    async with client_and_server(handler, config=PUSH) as pair:
        assert (await pair.client.request("GET", "/")).body == b"page"
        async for push in pair.client.pushes():
            async with push:
                assert (push.request.method, push.request.path) == ("GET", "/style.css")
                assert push.request.headers["x-pushed"] == "1"
                assert (await push.response()).status == 200
                assert await read_all(push) == b"style"
            break
        await check_quiet(pair)


async def test_a_push_that_comes_all_at_once_is_not_lost(autojump_clock: MockClock) -> None:
    async with raw_server(config=PUSH) as (connection, peer), connection.stream("GET", "/") as stream:
        await peer.expect(HeadersFrame)
        await peer.send(
            peer.headers(1, GET, promised=2),
            peer.headers(2, OK),
            peer.data(2, b"pushed", end_stream=True),
            peer.headers(1, OK, end_stream=True),
        )
        assert await read_all(stream) == b""
        with trio.fail_after(5):
            async with await anext(aiter(connection.pushes())) as push:
                assert await read_all(push) == b"pushed"


async def test_pushes_are_off_unless_asked_for(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        with pytest.raises(trio_h2.ProtocolError, match="push"):
            await stream.push("/x")
        await stream.respond(204)

    async with client_and_server(handler) as pair:
        assert (await pair.client.request("GET", "/")).status == 204
        with pytest.raises(trio_h2.ProtocolError, match="enable_push"):
            async for _ in pair.client.pushes():
                pass


async def test_a_push_nobody_takes_does_not_delay_the_close(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        pushed = await stream.push("/x")
        await stream.respond(200)
        await pushed.respond(200, (), b"pushed")

    async with client_and_server(handler, config=PUSH) as pair:
        await pair.client.request("GET", "/")
        await trio.sleep(1)
        start = trio.current_time()
        await pair.client.aclose()
        assert trio.current_time() - start < 2


async def test_pushed_responses_wait_for_the_clients_limit(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        pushed = [await stream.push(f"/{number}") for number in range(3)]
        await stream.respond(200)
        async with trio.open_nursery() as nursery:
            for number, push in enumerate(pushed):
                nursery.start_soon(push.respond, 200, (), pattern(400_000, number))

    config = Config(enable_push=True, max_concurrent_streams=1)
    async with client_and_server(handler, config=config) as pair:
        await pair.client.request("GET", "/")
        taken = {}

        async def read(push: trio_h2.PushedStream) -> None:
            async with push:
                taken[push.request.path] = await read_all(push)

        # Which one gets the slot first is the handler's affair.
        async with trio.open_nursery() as nursery:
            pushes = aiter(pair.client.pushes())
            for _ in range(3):
                nursery.start_soon(read, await anext(pushes))
        assert taken == {f"/{number}": pattern(400_000, number) for number in range(3)}


@pytest.mark.parametrize("how", ["refused by the client", "reset here", "closed here"])
async def test_a_handler_that_waits_to_push_wakes_when_the_pushed_stream_ends(
    how: str, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await (await stream.push("/first")).send_response(200)
        pushed = await stream.push("/x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, pushed)
            await trio.testing.wait_all_tasks_blocked()
            if how == "reset here":
                await pushed.reset()
            elif how == "closed here":
                await pushed.aclose()
        await stream.respond(200)

    async def wait(pushed: trio_h2.ServerStream) -> None:
        expected = StreamResetError if how == "refused by the client" else trio.ClosedResourceError
        with pytest.raises(expected):
            await pushed.send_response(200)

    async with raw_client(handler, settings={3: 1}) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        promise = await peer.expect(PushPromiseFrame, promised_stream_id=4)
        if how == "refused by the client":
            await peer.sync()
            await peer.send(peer.rst(promise.promised_stream_id, ErrorCodes.REFUSED_STREAM))
        with trio.fail_after(60):
            assert (await peer.expect(HeadersFrame, stream_id=1)).fields[0] == (b":status", b"200")


async def test_two_senders_on_a_pushed_stream_that_waits(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        first = await stream.push("/first")
        await first.send_response(200)
        pushed = await stream.push("/x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pushed.respond, 200, [], b"pushed")
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await pushed.send_response(200)
            await first.send_eof()
        await stream.respond(204)

    async with raw_client(handler, settings={3: 1}) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.expect(HeadersFrame, stream_id=1)
        assert body_of(peer.log, 4) == b"pushed"


async def test_a_pushed_response_that_is_cancelled_as_its_turn_comes_leaves_it_to_the_next(
    autojump_clock: MockClock,
) -> None:
    scope = trio.CancelScope()

    async def cancelled(pushed: trio_h2.ServerStream) -> None:
        with scope:
            await pushed.send_response(200)

    async def handler(stream: trio_h2.ServerStream) -> None:
        first, second, third = [await stream.push(f"/{number}") for number in range(3)]
        await first.send_response(200)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancelled, second)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(third.send_response, 200)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            await first.reset()
        await stream.respond(204)

    async with raw_client(handler, settings={3: 1}) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        with trio.fail_after(60):
            await peer.expect(HeadersFrame, stream_id=1)
        assert [frame.stream_id for frame in of(peer.log, HeadersFrame)] == [2, 6, 1]


async def test_rfc9113_6_5_2_a_client_that_allows_no_streams_gets_no_promises(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        with pytest.raises(trio_h2.ProtocolError, match="MAX_CONCURRENT_STREAMS is 0"):
            await stream.push("/x")
        await stream.respond(200)

    async with raw_client(handler, settings={3: 0}) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.expect(HeadersFrame, stream_id=1)
        assert of(peer.log, PushPromiseFrame) == []


async def test_rfc9113_6_5_2_a_pushed_response_does_not_wait_for_a_limit_that_became_0(
    autojump_clock: MockClock,
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        first, second = await stream.push("/first"), await stream.push("/second")
        await first.send_response(200)
        with pytest.raises(trio_h2.ProtocolError, match="MAX_CONCURRENT_STREAMS is 0"):
            await second.respond(200)
        await stream.respond(200)

    async with raw_client(handler, settings={3: 1}) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.expect(HeadersFrame, stream_id=2)
        await peer.sync()
        await peer.send(peer.settings({3: 0}))
        with trio.fail_after(60):
            await peer.expect(HeadersFrame, stream_id=1)


async def test_a_push_can_be_taken_back(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        pushed = await stream.push("/x")
        await pushed.aclose()
        await stream.respond(200)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        assert await peer.expect_rst(2) == ErrorCodes.CANCEL


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"method": "POST"}, "method"), ({"headers": [("x", "a\nb")]}, "headers"), ({"authority": "a b"}, "authority")],
)
async def test_push_names_a_bad_argument(arguments: dict[str, object], name: str, autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        with pytest.raises(ValueError, match=name):
            await stream.push("/x", **arguments)  # type: ignore[arg-type]
        await stream.respond(204)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        assert (await peer.expect(HeadersFrame)).fields[0] == (b":status", b"204")
        assert of(peer.log, PushPromiseFrame) == []


async def test_a_method_of_bytes_can_be_pushed(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        for method in (b"GET", b"HEAD"):
            pushed = await stream.push("/x", method=method)
            assert pushed.request.method == method.decode()
            await pushed.respond(200, [], b"body")
        with pytest.raises(ValueError, match="method"):
            await stream.push("/x", method=b"POST")
        await stream.respond(204)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        frames = await peer.sync()
        assert [frame.fields[0] for frame in of(frames, PushPromiseFrame)] == [
            (b":method", b"GET"),
            (b":method", b"HEAD"),
        ]
        assert (body_of(frames, 2), body_of(frames, 4)) == (b"body", b"")


# Closing


async def test_aclose_before_the_end_is_reset_with_cancel(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        async with connection.stream("POST", "/") as stream:
            await stream.send_all(b"x")
            await stream.aclose()
            assert await peer.expect_rst(1) == ErrorCodes.CANCEL
            await stream.aclose()
        assert of(await peer.sync(), RstStreamFrame) == []


async def test_a_stream_in_a_repr(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        assert "1" in repr(stream)
        assert type(stream.connection) is trio_h2.ServerConnection
        await stream.respond(200)

    async with client_and_server(handler) as pair, pair.client.stream("GET", "/") as stream:
        assert "1" in repr(stream)
        assert stream.stream_id == 1
        assert stream.connection is pair.client
        await read_all(stream)


@pytest.mark.parametrize(
    ("stream", "connection"),
    [
        (trio_h2.ServerStream, trio_h2.ServerConnection),
        (trio_h2.ClientStream, trio_h2.ClientConnection),
        (trio_h2.PushedStream, trio_h2.ClientConnection),
    ],
)
async def test_a_streams_connection_is_typed_as_its_sides_own(
    stream: type[trio_h2.ServerStream | trio_h2.ClientStream], connection: type[trio_h2.Connection]
) -> None:
    assert get_type_hints(stream.connection.fget)["return"] is connection


async def test_iterating_over_a_stream_is_typed_bytes() -> None:
    for stream in (trio_h2.ServerStream, trio_h2.ClientStream):
        assert get_type_hints(stream.__anext__)["return"] is bytes


async def test_a_tunnel_has_no_trailers(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        with pytest.raises(trio_h2.ProtocolError, match="tunnel"):
            await stream.send_trailers([("x-a", "1")])

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, CONNECT))
        await peer.expect(DataFrame, matches=lambda frame: "END_STREAM" in frame.flags)


async def test_every_sending_call_after_the_end_says_so_in_the_same_words(autojump_clock: MockClock) -> None:
    errors: list[Exception] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200)
        calls: list[Callable[[], Awaitable[None]]] = [
            lambda: stream.respond(200),
            lambda: stream.respond(200, body=b"x"),
            lambda: stream.send_response(200),
            lambda: stream.send_informational(103),
            lambda: stream.send_all(b"x"),
            lambda: stream.send_trailers([]),
        ]
        for call in calls:
            try:
                await call()
            except Exception as error:
                errors.append(error)

    async with client_and_server(handler) as pair:
        await pair.client.request("GET", "/")
    answered, ended = "stream 1 has been answered already with 200", "this side of the stream has ended"
    assert list(map(str, errors)) == [answered] * 4 + [ended] * 2
    for error in errors:
        assert isinstance(error, trio_h2.StreamClosedError)
        assert isinstance(error, trio.ClosedResourceError)
        assert error.stream_id == 1


# What came before the end of a stream


UNAVAILABLE = ((":status", "503"), ("content-length", "100"))

# What may come after a 103, a 503 and "so far", how the stream ends by it, and the code in the error.
ENDS_EARLY: dict[str, tuple[Callable[[RawPeer], bytes], int]] = {
    **{code.name: (lambda peer, code=code: peer.rst(1, code), code) for code in ErrorCodes},
    "an unknown code": (lambda peer: peer.rst(1, 0x55), 0x55),
    "content-length not met": (lambda peer: peer.data(1, end_stream=True), ErrorCodes.PROTOCOL_ERROR),
    "content-length exceeded": (lambda peer: peer.data(1, bytes(95)), ErrorCodes.PROTOCOL_ERROR),
    "bad trailers": (
        lambda peer: peer.headers(1, [(":status", "200")], end_stream=True),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "trailers that end nothing": (lambda peer: peer.headers(1, [("x-t", "1")]), ErrorCodes.PROTOCOL_ERROR),
    "a WINDOW_UPDATE of 0": (lambda peer: peer.frame(8, 0, 1, bytes(4)), ErrorCodes.PROTOCOL_ERROR),
}


@pytest.fixture(params=ENDS_EARLY)
def ends_early(request: pytest.FixtureRequest) -> tuple[Callable[[RawPeer], bytes], int]:
    return ENDS_EARLY[request.param]


async def send_so_far(peer: RawPeer, *behind: bytes) -> None:
    """The beginning of a response on stream 1, and what comes behind it, in one segment."""
    await peer.expect(HeadersFrame)
    await peer.send(
        peer.headers(1, [(":status", "103")]), peer.headers(1, UNAVAILABLE), peer.data(1, b"so far"), *behind
    )
    await peer.sync()


async def test_what_came_before_a_reset_is_readable(
    ends_early: tuple[Callable[[RawPeer], bytes], int], autojump_clock: MockClock
) -> None:
    """Interim responses, response and body, in order; then the reset is raised, by every call."""
    last, code = ends_early
    async with raw_server() as (connection, peer), connection.stream("POST", "/") as stream:
        await send_so_far(peer, last(peer))
        with pytest.raises(StreamResetError):
            await stream.send_all(b"x")
        assert (await stream.response()).status == 503
        assert [head.status for head in stream.informational] == [103]
        assert (await stream.receive_some(3), await stream.receive_some(), stream.trailers) == (b"so ", b"far", None)
        for _ in range(2):
            with pytest.raises(StreamResetError) as caught:
                await stream.receive_some()
            assert caught.value.error_code == code
        assert (await stream.response()).status == 503


async def test_iterating_gives_what_came_before_a_reset(
    ends_early: tuple[Callable[[RawPeer], bytes], int], autojump_clock: MockClock
) -> None:
    last, _ = ends_early
    async with raw_server() as (connection, peer), connection.stream("POST", "/") as stream:
        await send_so_far(peer, last(peer))
        chunks = []
        with pytest.raises(StreamResetError):
            async for chunk in stream:
                chunks.append(chunk)
        assert chunks == [b"so far"]
        assert (await stream.response()).status == 503


async def test_events_give_what_came_before_a_reset(
    ends_early: tuple[Callable[[RawPeer], bytes], int], autojump_clock: MockClock
) -> None:
    last, code = ends_early
    async with raw_server() as (connection, peer), connection.stream("POST", "/") as stream:
        await send_so_far(peer, last(peer))
        interim, head, data, reset = [event async for event in stream.events()]
        assert isinstance(interim, trio_h2.InformationalResponseReceived)
        assert isinstance(head, trio_h2.ResponseReceived)
        assert isinstance(data, trio_h2.DataReceived)
        assert isinstance(reset, trio_h2.StreamReset)
        assert (head.headers[b":status"], data.data, reset.error_code) == ("503", b"so far", code)


async def test_the_error_of_a_request_has_the_response_so_far(
    ends_early: tuple[Callable[[RawPeer], bytes], int], autojump_clock: MockClock
) -> None:
    last, code = ends_early
    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:

        async def request() -> None:
            with pytest.raises(StreamResetError) as caught:
                await connection.request("POST", "/", body=bytes(10**6))
            response = caught.value.response
            assert isinstance(response, trio_h2.Response)
            assert (response.status, response.body, response.trailers) == (503, b"so far", None)
            assert response.headers["content-length"] == "100"
            assert caught.value.error_code == code

        nursery.start_soon(request)
        await send_so_far(peer, last(peer))


async def test_the_error_of_a_request_has_what_it_took_before_the_reset_came(autojump_clock: MockClock) -> None:
    """The body so far is all of it, however many wake-ups it came in; before the final response it is None."""
    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:
        responses: list[trio_h2.Response | None] = []

        async def request() -> None:
            with pytest.raises(StreamResetError) as caught:
                await connection.request("GET", "/")
            responses.append(caught.value.response)

        nursery.start_soon(request)
        await send_so_far(peer)
        await peer.send(peer.data(1, b", and"))
        await peer.sync()
        await peer.send(peer.data(1, b" further"), peer.rst(1, ErrorCodes.INTERNAL_ERROR))
        await peer.sync()
        nursery.start_soon(request)
        await peer.expect(HeadersFrame, stream_id=3)
        await peer.send(peer.headers(3, [(":status", "103")]), peer.rst(3, ErrorCodes.INTERNAL_ERROR))
        await peer.sync()
    cut, none = responses
    assert cut is not None
    assert (cut.status, cut.body) == (503, b"so far, and further")
    assert none is None


async def test_the_error_of_a_request_has_the_response_so_far_when_the_connection_ends(
    autojump_clock: MockClock,
) -> None:
    """By the end of the transport, by a rule that the peer breaks, and by a GOAWAY that leaves the stream out."""

    async def request(connection: trio_h2.ClientConnection, kind: type[trio_h2.H2Error]) -> None:
        with pytest.raises(kind) as caught:
            await connection.request("GET", "/")
        assert (caught.value.response.status, caught.value.response.body) == (503, b"so far")

    ends: list[tuple[Callable[[RawPeer], bytes], type[trio_h2.H2Error]]] = [
        (lambda peer: b"", trio_h2.ConnectionTerminatedError),
        (lambda peer: peer.data(99, b"x"), trio_h2.ProtocolError),
        (lambda peer: peer.goaway(0), trio_h2.ConnectionTerminatedError),
    ]
    for last, kind in ends:
        async with raw_server() as (connection, peer), trio.open_nursery() as nursery:
            nursery.start_soon(request, connection, kind)
            await peer.expect(HeadersFrame)
            await peer.send(peer.headers(1, UNAVAILABLE), peer.data(1, b"so far"), last(peer))
            await trio.testing.wait_all_tasks_blocked()
            await peer.transport.aclose()


async def test_the_error_of_a_response_too_large_has_as_much_as_was_wanted(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, (), pattern(5_000))

    async with client_and_server(handler) as pair:
        with pytest.raises(trio_h2.ResponseTooLargeError) as caught:
            await pair.client.request("GET", "/", max_body=3_000)
        assert (caught.value.response.status, caught.value.response.body) == (200, pattern(5_000)[:3_000])
        await check_quiet(pair)


async def test_a_reset_behind_interim_responses_leaves_them_readable(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), connection.stream("GET", "/") as stream:
        await peer.expect(HeadersFrame)
        await peer.send(peer.headers(1, [(":status", "103"), ("link", "</a>")]), peer.rst(1, ErrorCodes.CANCEL))
        await peer.sync()
        with pytest.raises(StreamResetError):
            await stream.response()
        assert [head.headers["link"] for head in stream.informational] == ["</a>"]


async def test_rfc9113_8_1_1_what_ends_a_response_too_early_is_readable_itself(autojump_clock: MockClock) -> None:
    """Where END_STREAM breaks the promise of content-length, the section or the octets that it came with are kept."""
    async with raw_server() as (connection, peer):
        async with connection.stream("GET", "/") as stream:
            await peer.expect(HeadersFrame)
            await peer.send(peer.headers(1, UNAVAILABLE, end_stream=True))
            assert await peer.expect_rst(1) == ErrorCodes.PROTOCOL_ERROR
            assert (await stream.response()).status == 503
            with pytest.raises(StreamResetError):
                await stream.receive_some()
        async with connection.stream("GET", "/") as stream:
            await peer.expect(HeadersFrame)
            await peer.send(peer.headers(3, UNAVAILABLE), peer.data(3, b"so far", end_stream=True))
            assert await peer.expect_rst(3) == ErrorCodes.PROTOCOL_ERROR
            assert await stream.receive_some() == b"so far"
            with pytest.raises(StreamResetError):
                await stream.receive_some()
        async with connection.stream("GET", "/") as stream:
            await peer.expect(HeadersFrame)
            await peer.send(peer.headers(5, UNAVAILABLE), peer.headers(5, [("x-why", "moved")], end_stream=True))
            assert await peer.expect_rst(5) == ErrorCodes.PROTOCOL_ERROR
            with pytest.raises(StreamResetError):
                await stream.receive_some()
            assert stream.trailers is not None
            assert stream.trailers["x-why"] == "moved"


async def test_a_pushed_response_that_is_reset_is_readable_so_far(autojump_clock: MockClock) -> None:
    async with raw_server(config=PUSH) as (connection, peer), connection.stream("GET", "/"):
        await peer.expect(HeadersFrame)
        await peer.send(
            peer.headers(1, GET, promised=2), peer.headers(2, UNAVAILABLE), peer.data(2, b"so far"), peer.rst(2, 2)
        )
        async for pushed in connection.pushes():
            async with pushed:
                assert (await pushed.response()).status == 503
                assert await pushed.receive_some() == b"so far"
                with pytest.raises(StreamResetError):
                    await pushed.receive_some()
            break


@pytest.mark.parametrize("by_events", [False, True])
async def test_a_cancelled_handler_can_read_what_came_before_the_reset(
    by_events: bool, autojump_clock: MockClock
) -> None:
    """In its clean-up, behind a shield: that is where an upload that was cut is kept, or thrown away."""
    got: list[object] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            await stream.send_response(200)
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                if by_events:
                    got.extend([type(event) async for event in stream.events()])
                else:
                    got.append(await stream.receive_some())
                    with pytest.raises(StreamResetError) as caught:
                        await stream.receive_some()
                    got.append(caught.value.error_code)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, (*POST, ("content-length", "10"))))
        await peer.expect(HeadersFrame)
        await peer.send(peer.data(1, b"so far"), peer.rst(1, ErrorCodes.CANCEL))
        await peer.sync()
    expected = [trio_h2.DataReceived, trio_h2.StreamReset] if by_events else [b"so far", ErrorCodes.CANCEL]
    assert got == expected
