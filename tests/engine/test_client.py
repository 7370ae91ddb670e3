"""The client: requests, slots, bodies, arguments, and what a connection says of itself."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hyperframe.frame import DataFrame, HeadersFrame, PingFrame, RstStreamFrame
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import (
    FOREVER,
    OK,
    RawPeer,
    body_of,
    check_quiet,
    client_and_server,
    echo,
    hello,
    of,
    pattern,
    raw_server,
    read_all,
    whole_reads,
)
from trio_h2 import Config, ErrorCodes, StreamResetError
from trio_h2.exchange import streamed_request, whole_request
from trio_h2.requests import repeated_request_fields, request_fields

# Requests


async def test_a_request_and_its_response(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        request = stream.request
        assert (request.method, request.authority, request.scheme) == ("PUT", "other.example", "http")
        assert request.path == "/a?b=c"
        assert (request.headers["x-a"], request.headers["content-length"]) == ("1", "3")
        assert request.headers.get_all("x-b") == ["2", "3"]
        await stream.respond(201, [("x-c", "4")], await read_all(stream))

    async with client_and_server(handler) as pair:
        response = await pair.client.request(
            "PUT",
            "/a?b=c",
            headers=[("X-A", "1"), ("x-b", "2"), (b"x-b", b"3")],
            body=b"abc",
            authority="other.example",
        )
        assert (response.status, response.headers["X-C"], response.body) == (201, "4", b"abc")
        assert response.trailers is None
        await check_quiet(pair)


class Steps(trio.abc.Instrument):
    """Counts the steps of tasks, by name."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count[task.name.rpartition(".")[2]] += 1


async def test_a_small_response_is_one_wake_up(autojump_clock: MockClock) -> None:
    whole_reads()
    responses = []

    async def caller() -> None:
        responses.append(await connection.request("GET", "/"))

    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        nursery.start_soon(caller, name="caller")
        await peer.expect(HeadersFrame)
        await peer.send(
            peer.headers(1, OK),
            peer.data(1, b"a" * 5_000),
            peer.data(1, b"b" * 5_000),
            peer.headers(1, [("x-c", "d")], end_stream=True),
        )
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(steps)
    assert steps.count["caller"] == 2  # its start is a step, too
    assert steps.count["run_client"] == 2
    (response,) = responses
    assert (response.status, response.body) == (200, b"a" * 5_000 + b"b" * 5_000)
    assert response.trailers == trio_h2.Headers([("x-c", "d")])


async def test_waiting_for_a_response_is_one_wake_up(autojump_clock: MockClock) -> None:
    async def caller() -> None:
        async with connection.stream("GET", "/") as stream:
            assert (await stream.response()).status == 200

    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        nursery.start_soon(caller, name="caller")
        await peer.expect(HeadersFrame)
        await peer.send(peer.headers(1, OK, end_stream=True))
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(steps)
    assert steps.count["caller"] == 4  # its start, entering, the response, leaving


async def test_a_stream_that_is_cancelled_before_it_is_entered_sends_nothing(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        with trio.CancelScope() as scope:
            scope.cancel()
            async with connection.stream("GET", "/"):
                pytest.fail("entering was cancelled")
        assert scope.cancelled_caught
        assert of(await peer.sync(), HeadersFrame) == []


@pytest.mark.parametrize("body", [None, b"body"])
async def test_a_request_that_is_cancelled_before_it_is_made_sends_nothing(
    body: bytes | None, autojump_clock: MockClock
) -> None:
    async with raw_server() as (connection, peer):
        with trio.CancelScope() as scope:
            scope.cancel()
            await connection.request("POST", "/", body=body)
        assert scope.cancelled_caught
        assert [type(frame) for frame in await peer.sync()] == []
        assert connection.statistics().streams == ()


@pytest.mark.parametrize("call", ["request", "stream"])
async def test_a_call_that_is_cancelled_in_the_instant_of_its_slot_sends_nothing(
    call: str, autojump_clock: MockClock
) -> None:
    async with raw_server(settings={3: 1}) as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.request, "GET", "/")
        await peer.expect(HeadersFrame, stream_id=1)
        scope = trio.CancelScope()

        async def wait_for_a_slot() -> None:
            with scope:
                if call == "request":
                    await connection.request("POST", "/", body=b"body")
                else:
                    async with connection.stream("POST", "/"):
                        pytest.fail("entering was cancelled")

        nursery.start_soon(wait_for_a_slot)
        await trio.testing.wait_all_tasks_blocked()
        # In one step, as two tasks of one turn of the loop would: cancelled first, and then there is a slot.
        scope.cancel()
        await connection._actor.receive(peer.headers(1, OK, end_stream=True))
        assert [type(frame) for frame in await peer.sync()] == []
        assert scope.cancelled_caught
        assert connection.statistics().streams == ()


HEADER_LISTS = [
    (),
    [],
    [("x-a", "1"), (b"x-b", b"2")],
    (("x-a", "1"), ("x-a", "2")),
    [("authorization", "secret")],
    [trio_h2.NeverIndexed("authorization", "secret")],
    {"x-a": "1"},
    trio_h2.Headers([("x-a", "1")]),
    trio_h2.Headers([trio_h2.NeverIndexed("authorization", "secret")]),
    [("content-length", "3")],
    trio_h2.Headers([("content-length", "4")]),
    [["x-a", "1"]],
    [("x-a", bytearray(b"1"))],
    [("x-a", 1)],
    [("x-a", True)],
    [("x-a",)],
    [("connection", "close")],
    [(":path", "/")],
    "x-a: 1",
    5,
]


@pytest.mark.parametrize("headers", HEADER_LISTS, ids=repr)
@pytest.mark.parametrize("target", ["/", b"/", "*", 5, []], ids=repr)
@pytest.mark.parametrize("length", [None, 0, 3])
def test_remembered_requests_have_the_fields_of_others(length: int | None, target: object, headers: object) -> None:
    """The fast path and the slow path come to the same result, the second time too."""

    def outcome(function: Callable[..., object]) -> object:
        try:
            fields, head = function("GET", target, "http", "example.org", headers, None, None, length)
        except (TypeError, ValueError) as error:
            return type(error), str(error)
        return fields, head, [type(field) for field in fields]

    for _ in range(2):
        for other in ([("authorization", "secret")], [("x-a", "1")]):
            repeated_request_fields("GET", "/", "http", "example.org", other, None, None)
        assert outcome(repeated_request_fields) == outcome(request_fields)


@pytest.mark.parametrize("headers", HEADER_LISTS, ids=repr)
@pytest.mark.parametrize("target", ["/", b"/", "*", 5, []], ids=repr)
@pytest.mark.parametrize("end_stream", [None, True])
def test_a_remembered_request_without_a_body_is_as_another(end_stream: bool | None, target: Any, headers: Any) -> None:
    """The fast path is the second time; a request is not the same where anything is different."""

    def outcomes(authority: str = "example.org") -> list[object]:
        made: list[object] = []
        for make in (
            lambda: whole_request("GET", target, "http", authority, headers, None, None, None),
            lambda: streamed_request("GET", target, "http", None, headers, end_stream, None, None, authority),
        ):
            try:
                outgoing = make()
            except (TypeError, ValueError) as error:
                made.append((type(error), str(error)))
            else:
                made.append((outgoing.fields, outgoing.head, outgoing.end_stream, outgoing.body, outgoing.trailers))
        return made

    first = outcomes()
    other = outcomes("example.net")
    assert outcomes() == first
    assert outcomes("example.net") == other
    if isinstance(first[0][0], tuple):
        assert first != other


@pytest.mark.parametrize(("name", "remembered"), [("x-a", True), ("authorization", False), ("cookie", False)])
def test_a_request_with_a_secret_is_not_remembered(name: str, remembered: bool) -> None:
    def make() -> object:
        return streamed_request("GET", "/", "http", None, [(name, "1")], None, None, None, "example.org")

    assert (make() is make()) is remembered


@pytest.mark.parametrize(("size", "remembered"), [(3_000, True), (4_000, False)])
def test_header_lists_that_hold_much_are_not_remembered(size: int, remembered: bool) -> None:
    """The memory is every connection's, and bounded in octets by that."""
    arguments = ("GET", "/", "http", "example.org", [("x-a", "a" * size)], None, None)
    first = repeated_request_fields(*arguments)
    assert (repeated_request_fields(*arguments) is first) is remembered


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "PUT", "PATCH", "PROPFIND"])
async def test_end_stream_is_the_default_for_methods_without_a_body(method: str, autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        async with connection.stream(method, "/"):
            head = await peer.expect(HeadersFrame)
            assert ("END_STREAM" in head.flags) is (method in ("GET", "HEAD", "DELETE", "OPTIONS"))
        for end_stream in (False, True):
            async with connection.stream(method, "/", end_stream=end_stream):
                head = await peer.expect(HeadersFrame)
                assert ("END_STREAM" in head.flags) is end_stream


@pytest.mark.parametrize("body", [b"abc", bytearray(b"abc"), memoryview(b"abc"), b""])
async def test_a_body_of_octets_gets_a_content_length(body: bytes, autojump_clock: MockClock) -> None:
    async with client_and_server(echo) as pair:
        assert (await pair.client.request("POST", "/", body=body)).body == bytes(body)
    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(lambda: connection.request("POST", "/", body=body))
        head = await peer.expect(HeadersFrame)
        assert dict(head.fields)[b"content-length"] == b"%d" % len(body)
        await peer.send(peer.headers(1, OK, end_stream=True))


async def test_a_small_body_of_octets_goes_with_the_header_section(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(lambda: connection.request("POST", "/", body=b"hello"))
        await peer.expect(HeadersFrame)
        data = await peer.expect(DataFrame)
        assert (data.data, "END_STREAM" in data.flags) == (b"hello", True)
        await peer.send(peer.headers(1, OK, end_stream=True))


@pytest.mark.parametrize("window", [0, 3, 5])
async def test_a_small_body_waits_for_the_window_as_any_other(window: int, autojump_clock: MockClock) -> None:
    settings = {4: window}  # SETTINGS_INITIAL_WINDOW_SIZE
    async with raw_server(settings=settings) as (connection, peer), trio.open_nursery() as nursery:
        await connection.settings_received()
        nursery.start_soon(lambda: connection.request("POST", "/", body=b"hello"))
        await peer.expect(HeadersFrame)
        await peer.send(peer.window_update(1, 10))
        body = b""
        while True:
            data = await peer.expect(DataFrame)
            body += data.data
            if "END_STREAM" in data.flags:
                break
        assert body == b"hello"
        await peer.send(peer.headers(1, OK, end_stream=True))


async def test_a_body_that_is_an_async_iterable(autojump_clock: MockClock) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"ab"
        await trio.sleep(1)
        yield bytearray(b"")
        yield memoryview(b"cd")

    async with client_and_server(echo) as pair:
        assert (await pair.client.request("POST", "/", body=body())).body == b"abcd"


class BodyError(Exception):
    pass


class OddError(BaseException):
    pass


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "POST"])
async def test_a_method_of_bytes_is_what_the_text_is(method: str, autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        for stream_id, given in ((1, method), (3, method.encode())):
            async with connection.stream(given, "/"):
                headers = await peer.expect(HeadersFrame, stream_id=stream_id)
            assert ("END_STREAM" in headers.flags) is (method != "POST")
            assert headers.fields[0] == (b":method", method.encode())


async def test_connect_as_bytes_is_connect(autojump_clock: MockClock) -> None:
    async with raw_server(settings={8: 1}) as (connection, peer):
        with pytest.raises(ValueError, match="CONNECT makes a tunnel"):
            await connection.request(b"CONNECT", "a:1")
        with pytest.raises(ValueError, match="authority"):
            connection.stream(b"CONNECT", b"a:1", authority=b"b")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"protocol: only a CONNECT request has one \(RFC 8441\), not 'GET'"):
            connection.stream(b"GET", "/", protocol="websocket")
        async with connection.stream(b"CONNECT", "/", protocol="websocket"):
            fields = dict((await peer.expect(HeadersFrame)).fields)
        assert (fields[b":method"], fields[b":protocol"]) == (b"CONNECT", b"websocket")


class File:
    """A body that is read in pieces, and must not be read by lines."""

    def __init__(self, content: bytes | str) -> None:
        self._content = content
        self.asked: list[int] = []

    def __aiter__(self) -> Any:
        raise AssertionError("read by lines")

    async def read(self, size: int = -1) -> bytes | str:
        self.asked.append(size)
        piece, self._content = self._content[:size], self._content[size:]
        return piece


async def digest(stream: trio_h2.ServerStream) -> None:
    """A handler that says how long the body was, and what it was."""
    body = await read_all(stream)
    await stream.respond(200, [("length", str(len(body)))], body)


async def test_a_body_that_has_an_async_read_is_read_in_pieces(autojump_clock: MockClock) -> None:
    content = b"\n" * 150_000
    file = File(content)
    async with client_and_server(digest) as pair:
        response = await pair.client.request("POST", "/", body=file)  # type: ignore[arg-type]
    assert (response.headers["length"], response.body) == ("150000", content)
    assert file.asked == [64 * 1024] * 4


async def test_a_body_that_is_an_open_trio_file(tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(b"\n" * 150_000)
    async with client_and_server(digest) as pair:
        async with await trio.open_file(path, "rb") as file:
            response = await pair.client.request("POST", "/", body=file)
        assert response.headers["length"] == "150000"
        async with await trio.open_file(path) as text:
            with pytest.raises(TypeError, match="file of bytes"):
                await pair.client.request("POST", "/", body=text)  # type: ignore[arg-type]
        assert (await pair.client.request("GET", "/")).status == 200


async def test_an_iterable_whose_read_takes_no_size_is_iterated(autojump_clock: MockClock) -> None:
    class Chunks:
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"one"
            yield b"two"

        async def read(self) -> bytes:
            raise AssertionError("read whole")

    async with client_and_server(digest) as pair:
        assert (await pair.client.request("POST", "/", body=Chunks())).body == b"onetwo"


@pytest.mark.parametrize("error", [BodyError, OddError, KeyboardInterrupt, SystemExit])
async def test_what_a_bodys_iterator_raises_comes_out_of_request(
    error: type[BaseException], autojump_clock: MockClock
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        await trio.sleep(1)
        raise error("from the body")

    client_end, peer_end = trio.testing.memory_stream_pair()
    peer = RawPeer(peer_end, client=False)
    with trio.fail_after(FOREVER):
        async with trio_h2.connect_over(client_end, authority="example.org") as connection:
            await peer.handshake()
            with pytest.raises(error, match="from the body") as caught:
                await connection.request("POST", "/", body=body())
            assert type(caught.value) is error
            assert await peer.expect_rst(1) == ErrorCodes.CANCEL
            assert connection.accepting
        await peer.to_end()


class Unneeded:
    """A body whose iterator raises as it is cancelled, because the response came before the body was sent."""

    def __init__(self, error: type[BaseException], how: str) -> None:
        self.error = error
        self.how = how
        self.given = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.generate() if "generator" in self.how else self

    async def generate(self) -> AsyncIterator[bytes]:
        yield await self.__anext__()
        yield await self.__anext__()

    async def __anext__(self) -> bytes:
        if not self.given:
            self.given = True
            return b"x"
        try:
            if "group" in self.how:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.fail_when_cancelled)
                    await trio.sleep_forever()
            await self.fail_when_cancelled()
        finally:
            if "shielded" in self.how:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
        raise AssertionError

    async def fail_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise self.error("from the body")


@pytest.mark.parametrize("how", ["generator", "class", "group", "shielded"])
@pytest.mark.parametrize("error", [BodyError, OddError, KeyboardInterrupt, SystemExit, trio.ClosedResourceError])
async def test_what_a_bodys_iterator_raises_after_an_early_answer_comes_out_of_request(
    error: type[BaseException], how: str, autojump_clock: MockClock
) -> None:
    caught: list[BaseException] = []
    async with client_and_server(hello) as pair:
        try:
            await pair.client.request("POST", "/", body=Unneeded(error, how))
        except BaseException as raised:
            caught.append(raised)
        await check_quiet(pair)
        assert pair.client.accepting
    while isinstance(caught[0], BaseExceptionGroup):
        caught = list(caught[0].exceptions)
    assert [type(found) for found in caught] == [error]


@pytest.mark.parametrize("what", ["reset", "connection", "cancelled"])
@pytest.mark.parametrize("error", [BodyError, SystemExit])
async def test_what_a_bodys_iterator_raises_as_its_request_fails_comes_out_of_it(
    what: str, error: type[BaseException], autojump_clock: MockClock
) -> None:
    caught: list[BaseException] = []
    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def request() -> None:
            with scope:
                try:
                    await connection.request("POST", "/", body=Unneeded(error, "generator"))
                except BaseException as raised:
                    caught.append(raised)

        nursery.start_soon(request)
        await peer.expect(DataFrame)
        if what == "reset":
            await peer.send(peer.rst(1))
        elif what == "connection":
            await peer.transport.aclose()
        else:
            scope.cancel()
    assert [type(found) for found in caught] == [error]
    assert caught[0].__context__ is not None


async def test_a_body_that_gives_no_bytes_after_the_stream_failed_says_why_it_failed(autojump_clock: MockClock) -> None:
    class Late(AsyncIterator[object]):
        async def __anext__(self) -> object:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            return "text"

    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:

        async def request() -> None:
            with pytest.raises(trio_h2.StreamResetError):
                await connection.request("POST", "/", body=Late())  # type: ignore[arg-type]

        nursery.start_soon(request)
        await peer.expect(HeadersFrame)
        await peer.send(peer.rst(1))


async def test_a_stream_is_opened_once_by_what_stream_returns(autojump_clock: MockClock) -> None:
    """A second entry, in the block or after it, would lose what the first one opened."""
    async with client_and_server(echo) as pair:
        opening = pair.client.stream("POST", "/")
        async with opening as stream:
            with pytest.raises(RuntimeError, match="entered"):
                async with opening:
                    pass
            assert len(pair.client.statistics().streams) == 1
            await stream.send_eof()
            assert await read_all(stream) == b""
        with pytest.raises(RuntimeError, match="entered"):
            await opening.__aenter__()
        await check_quiet(pair)


async def test_a_stream_that_two_tasks_enter_at_once_is_opened_once(autojump_clock: MockClock) -> None:
    outcomes: list[str] = []
    async with client_and_server(echo) as pair:
        opening = pair.client.stream("POST", "/")

        async def enter() -> None:
            try:
                async with opening:
                    outcomes.append("opened")
            except RuntimeError:
                outcomes.append("refused")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(enter)
            nursery.start_soon(enter)
        await check_quiet(pair)
    assert sorted(outcomes) == ["opened", "refused"]


async def test_a_connection_is_made_once_by_what_connect_over_returns(autojump_clock: MockClock) -> None:
    client_end, peer_end = trio.testing.memory_stream_pair()
    before = trio.lowlevel.current_statistics().tasks_living
    connecting = trio_h2.connect_over(client_end, authority="example.org")
    async with connecting as connection:
        with pytest.raises(RuntimeError, match="entered"):
            async with connecting:
                pass
        await peer_end.aclose()
        await connection.wait_closed()
    with pytest.raises(RuntimeError, match="entered"):
        await connecting.__aenter__()
    assert trio.lowlevel.current_statistics().tasks_living == before


@pytest.mark.parametrize("chunk", ["text", None, 5, [1]])
async def test_a_body_that_gives_no_bytes(chunk: object, autojump_clock: MockClock) -> None:
    async def body() -> AsyncIterator[object]:
        yield chunk

    async with raw_server() as (connection, peer):
        with pytest.raises(TypeError, match="body"):
            await connection.request("POST", "/", body=body())  # type: ignore[arg-type]
        assert await peer.expect_rst(1) == ErrorCodes.CANCEL


@pytest.mark.parametrize(("length", "sent"), [(5, b"1234"), (5, b"123456")])
async def test_a_body_that_is_not_as_long_as_its_content_length_says(
    length: int, sent: bytes, autojump_clock: MockClock
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield sent

    async with raw_server() as (connection, peer):
        with pytest.raises(trio_h2.InvalidBodyLengthError) as caught:
            await connection.request("POST", "/", body=body(), headers=[("content-length", str(length))])
        assert (caught.value.expected_length, caught.value.actual_length) == (length, len(sent))
        assert await peer.expect_rst(1) == ErrorCodes.CANCEL


async def test_max_body(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, (), bytes(1_000))

    async with client_and_server(handler) as pair:
        assert len((await pair.client.request("GET", "/", max_body=1_000)).body) == 1_000
        assert len((await pair.client.request("GET", "/", max_body=None)).body) == 1_000
        with pytest.raises(trio_h2.ResponseTooLargeError, match="999"):
            await pair.client.request("GET", "/", max_body=999)
        await check_quiet(pair)


# Expect: 100-continue


async def test_rfc9110_10_1_1_the_body_waits_for_100(autojump_clock: MockClock) -> None:
    config = Config(continue_timeout=60)
    async with raw_server(config=config) as (connection, peer), trio.open_nursery() as nursery:

        async def request() -> None:
            response = await connection.request("POST", "/", body=b"body", headers=[("Expect", "100-Continue")])
            assert response.status == 200

        nursery.start_soon(request)
        await peer.expect(HeadersFrame)
        await trio.sleep(30)
        assert of(await peer.sync(), DataFrame) == []
        await peer.send(peer.headers(1, [(":status", "103")]))
        assert of(await peer.sync(), DataFrame) == []
        await peer.send(peer.headers(1, [(":status", "100")]))
        frame = await peer.expect(DataFrame)
        assert (frame.data, "END_STREAM" in frame.flags) == (b"body", True)
        await peer.send(peer.headers(1, OK, end_stream=True))


async def test_rfc9110_10_1_1_a_final_response_makes_the_body_moot(autojump_clock: MockClock) -> None:
    async with raw_server(config=Config(continue_timeout=60)) as (connection, peer), trio.open_nursery() as nursery:

        async def request() -> None:
            response = await connection.request("POST", "/", body=b"body", headers=[("expect", "100-continue")])
            assert (response.status, response.body) == (417, b"no")

        nursery.start_soon(request)
        await peer.expect(HeadersFrame)
        await peer.send(peer.headers(1, [(":status", "417")]), peer.data(1, b"no", end_stream=True))
        await peer.expect_rst(1)
        assert of(peer.log, DataFrame) == []


async def test_rfc9110_10_1_1_the_wait_for_100_is_bounded(autojump_clock: MockClock) -> None:
    async with raw_server(config=Config(continue_timeout=7)) as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(lambda: connection.request("POST", "/", body=b"x", headers=[("expect", "100-continue")]))
        await peer.expect(HeadersFrame)
        start = trio.current_time()
        await peer.expect(DataFrame)
        assert trio.current_time() - start == pytest.approx(7)
        await peer.send(peer.headers(1, OK, end_stream=True))


# Slots


async def test_requests_past_the_limit_wait_in_order(autojump_clock: MockClock) -> None:
    async with raw_server(settings={3: 2}) as (connection, peer), trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(connection.request, "GET", f"/{number}")
            await trio.testing.wait_all_tasks_blocked()
        await peer.sync()
        assert [stream.waits_for for stream in connection.statistics().streams] == ["peer"] * 2 + ["slot"] * 4
        assert [stream.state for stream in connection.statistics().streams[2:]] == ["WAITING"] * 4
        for stream_id in (3, 1, 5, 7, 11, 9):
            await peer.send(peer.headers(stream_id, OK, end_stream=True))
            await peer.sync()
        paths = [dict(frame.fields)[b":path"] for frame in of(peer.log, HeadersFrame)]
        assert paths == [b"/%d" % number for number in range(6)]
        assert [frame.stream_id for frame in of(peer.log, HeadersFrame)] == [1, 3, 5, 7, 9, 11]


async def test_a_hundred_streams_open_before_the_servers_settings(autojump_clock: MockClock) -> None:
    async with raw_server(handshake=False) as (connection, peer), trio.open_nursery() as nursery:
        for _ in range(130):
            nursery.start_soon(connection.request, "GET", "/")
        await trio.testing.wait_all_tasks_blocked()
        await peer.handshake({3: 120})
        await peer.sync()
        heads = of(peer.log, HeadersFrame)
        assert len(heads) == 120
        for frame in heads:
            await peer.send(peer.headers(frame.stream_id, OK, end_stream=True))
        await peer.sync()
        for frame in of(peer.log, HeadersFrame)[120:]:
            await peer.send(peer.headers(frame.stream_id, OK, end_stream=True))
        assert len(of(peer.log, HeadersFrame)) == 130


async def test_a_limit_raised_later_lets_those_that_wait_go(autojump_clock: MockClock) -> None:
    async with raw_server(settings={3: 0}) as (connection, peer), trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(connection.request, "GET", "/")
        assert of(await peer.sync(), HeadersFrame) == []
        await peer.send(peer.settings({3: 2}))
        assert len(of(await peer.sync(), HeadersFrame)) == 2
        await peer.send(peer.settings({3: 0}), peer.headers(1, OK, end_stream=True))
        assert of(await peer.sync(), HeadersFrame) == []
        await peer.send(peer.headers(3, OK, end_stream=True), peer.settings({3: 1}))
        await peer.expect(HeadersFrame, stream_id=5)
        await peer.send(peer.headers(5, OK, end_stream=True))


async def test_one_that_gives_up_waiting_is_passed_over(autojump_clock: MockClock) -> None:
    async with raw_server(settings={3: 1}) as (connection, peer), trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(4)]

        async def request(number: int) -> None:
            with scopes[number]:
                await connection.request("GET", f"/{number}")

        for number in range(4):
            nursery.start_soon(request, number)
            await trio.testing.wait_all_tasks_blocked()
        scopes[1].cancel()
        scopes[2].cancel()
        await peer.sync()
        assert [stream.state for stream in connection.statistics().streams] == ["HALF_CLOSED_LOCAL", "WAITING"]
        await peer.send(peer.headers(1, OK, end_stream=True))
        head = await peer.expect(HeadersFrame, stream_id=3)
        assert dict(head.fields)[b":path"] == b"/3"
        await peer.send(peer.headers(3, OK, end_stream=True))


async def test_a_reset_frees_its_slot_behind_itself(autojump_clock: MockClock) -> None:
    async with raw_server(settings={3: 1}) as (connection, peer), trio.open_nursery() as nursery:
        async with connection.stream("POST", "/first"):
            await peer.sync()
            nursery.start_soon(connection.request, "GET", "/second")
            await trio.testing.wait_all_tasks_blocked()
        frames = [await peer.expect(RstStreamFrame, stream_id=1), await peer.expect(HeadersFrame, stream_id=3)]
        assert peer.log.index(frames[0]) < peer.log.index(frames[1])
        await peer.send(peer.headers(3, OK, end_stream=True))


# Arguments


REQUESTS = [
    ({"method": "G T"}, ValueError, "method"),
    ({"method": ""}, ValueError, "method"),
    ({"method": 5}, TypeError, "method"),
    ({"target": ""}, ValueError, "target"),
    ({"target": "no-slash"}, ValueError, "target"),
    ({"target": "/a b"}, ValueError, "target"),
    ({"target": "/\u00e9"}, ValueError, "target"),
    ({"target": None}, TypeError, "target"),
    ({"authority": "a b"}, ValueError, "authority"),
    ({"authority": "user@host"}, ValueError, "authority"),
    ({"authority": 5}, TypeError, "authority"),
    ({"headers": [("x", "a\r\nb")]}, ValueError, "headers"),
    ({"headers": [("x", " a")]}, ValueError, "headers"),
    ({"headers": [("", "a")]}, ValueError, "headers"),
    ({"headers": [(":path", "/")]}, ValueError, "headers"),
    ({"headers": [("connection", "close")]}, ValueError, "headers"),
    ({"headers": [("te", "gzip")]}, ValueError, "headers"),
    ({"headers": [("host", "other")]}, ValueError, "Host: use authority="),
    ({"headers": [("content-length", "x")]}, ValueError, "headers"),
    ({"headers": [("x", None)]}, TypeError, "headers"),
    ({"headers": 5}, TypeError, "headers"),
    ({"headers": ["ab"]}, (TypeError, ValueError), "headers"),
    ({"priority": "u=1"}, TypeError, "priority"),
]


@pytest.mark.parametrize(("arguments", "error", "name"), REQUESTS)
@pytest.mark.parametrize("how", ["request", "stream"])
async def test_a_bad_argument_is_named_and_nothing_is_sent(
    how: str, arguments: dict[str, object], error: type[Exception], name: str, autojump_clock: MockClock
) -> None:
    async with raw_server() as (connection, peer):
        given = {"method": "GET", "target": "/", **arguments}
        with pytest.raises(error, match=name):
            if how == "request":
                await connection.request(**given)  # type: ignore[arg-type]
            else:
                connection.stream(**given)  # type: ignore[arg-type]
        assert of(await peer.sync(), HeadersFrame) == []
        assert connection.statistics().streams == ()


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ({"method": "CONNECT"}, ValueError, "method"),
        ({"body": "text"}, TypeError, "body"),
        ({"body": [b"x"]}, TypeError, "body"),
        ({"body": 5}, TypeError, "body"),
        ({"max_body": "5"}, TypeError, "max_body"),
        ({"max_body": True}, TypeError, "max_body"),
        ({"max_body": -1}, ValueError, "max_body"),
        ({"trailers": [(":x", "1")]}, ValueError, "trailers"),
        ({"trailers": [("x", "1\n")]}, ValueError, "trailers"),
        ({"trailers": 5}, TypeError, "trailers"),
        ({"body": b"abc", "headers": [("content-length", "2")]}, ValueError, "content-length"),
        ({"headers": [("content-length", "2")]}, ValueError, "content-length"),
    ],
)
async def test_a_bad_argument_of_request(
    arguments: dict[str, object], error: type[Exception], name: str, autojump_clock: MockClock
) -> None:
    async with raw_server() as (connection, peer):
        with pytest.raises(error, match=name):
            await connection.request(**{"method": "POST", "target": "/", **arguments})  # type: ignore[arg-type]
        assert of(await peer.sync(), HeadersFrame) == []


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ({"protocol": "websocket"}, ValueError, "protocol"),
        ({"method": "CONNECT", "target": "a:1", "authority": "b"}, ValueError, "authority"),
        ({"method": "CONNECT", "target": "a:1", "end_stream": True}, ValueError, "end_stream"),
        ({"method": "CONNECT", "target": "/"}, ValueError, "target"),
        ({"method": "CONNECT", "protocol": "web socket"}, ValueError, "protocol"),
        ({"end_stream": True, "headers": [("content-length", "1")]}, ValueError, "content-length"),
    ],
)
async def test_a_bad_argument_of_stream(
    arguments: dict[str, object], error: type[Exception], name: str, autojump_clock: MockClock
) -> None:
    async with raw_server(settings={8: 1}) as (connection, peer):
        with pytest.raises(error, match=name):
            connection.stream(**{"method": "GET", "target": "/", **arguments})  # type: ignore[arg-type]
        assert of(await peer.sync(), HeadersFrame) == []


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("example.org", ValueError),
        ("ftp://example.org", ValueError),
        ("https://", ValueError),
        ("https://a/b", ValueError),
        ("https://u@a", ValueError),
        ("https://a?b", ValueError),
        ("https://a:99999", ValueError),
        ("https://a:x", ValueError),
        ("https://a:0", ValueError),
        (b"https://a", TypeError),
    ],
)
def test_connect_names_a_bad_url(url: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="url"):
        trio_h2.connect(url)  # type: ignore[arg-type]


def test_connect_and_connect_over_name_bad_arguments() -> None:
    transport = trio.testing.memory_stream_pair()[0]
    with pytest.raises(ValueError, match="ssl_context"):
        trio_h2.connect("http://a", ssl_context=ssl.create_default_context())
    with pytest.raises(TypeError, match="ssl_context"):
        trio_h2.connect("https://a", ssl_context=True)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="config"):
        trio_h2.connect("https://a", config={})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="transport"):
        trio_h2.connect_over("x", authority="a")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="authority"):
        trio_h2.connect_over(transport, authority="a b")
    with pytest.raises(ValueError, match="scheme"):
        trio_h2.connect_over(transport, authority="a", scheme="h t")


# Connecting


async def test_a_refused_connection_is_an_oserror() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    with pytest.raises(OSError):  # noqa: PT011
        async with trio_h2.connect(f"http://127.0.0.1:{port}"):
            pass


@pytest.mark.parametrize("alpn", [[], ["http/1.1"]])
async def test_rfc9113_3_2_a_server_that_does_not_select_h2(
    alpn: list[str], server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    if alpn:
        server_ssl_context.set_alpn_protocols(alpn)
    listeners = await trio.open_ssl_over_tcp_listeners(0, server_ssl_context, host="127.0.0.1")

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.do_handshake()
            await stream.receive_some()
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        port = listeners[0].transport_listener.socket.getsockname()[1]
        with pytest.raises(trio_h2.HandshakeError) as caught:
            async with trio_h2.connect(f"https://localhost:{port}", ssl_context=client_ssl_context):
                pass
        assert isinstance(caught.value, trio.BrokenResourceError)
        assert not caught.value.safe_to_retry
        nursery.cancel_scope.cancel()


async def test_a_certificate_that_does_not_verify(server_ssl_context: ssl.SSLContext) -> None:
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[trio_h2.H2Server]) -> None:
            await trio_h2.serve_h2(hello, 0, host="127.0.0.1", ssl_context=server_ssl_context, task_status=task_status)

        server = await nursery.start(serve)
        with pytest.raises(trio_h2.HandshakeError, match="certificate"):
            async with trio_h2.connect(f"https://127.0.0.1:{server.port}"):
                pass
        await server.shutdown(1)


async def test_a_context_that_makes_no_client_leaves_no_socket_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[trio.SocketStream] = []
    open_tcp_stream = trio.open_tcp_stream

    async def record(host: str, port: int) -> trio.SocketStream:
        opened.append(await open_tcp_stream(host, port))
        return opened[0]

    monkeypatch.setattr(trio, "open_tcp_stream", record)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        with pytest.raises(ssl.SSLError):
            async with trio_h2.connect(
                f"https://127.0.0.1:{port}", ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            ):
                pass
    assert opened[0].socket.fileno() == -1


class Breakable(trio.abc.Stream):
    """A transport whose sends fail once `broken` is set, while what the peer sent can still be read."""

    def __init__(self, transport: trio.abc.Stream) -> None:
        self._transport = transport
        self.broken = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise trio.BrokenResourceError("connection reset")
        await self._transport.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._transport.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._transport.aclose()


@asynccontextmanager
async def breakable_server(
    scheme: str, server_context: ssl.SSLContext, client_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[trio_h2.ClientConnection, RawPeer, Breakable]]:
    """`connect()` with a server made by hand, and the client's end of the transport, in which sending can break."""
    client_end, peer_end = trio.testing.memory_stream_pair()
    transport = Breakable(client_end)

    async def open_tcp_stream(host: str, port: int) -> Breakable:
        await trio.lowlevel.checkpoint()
        return transport

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    server_context.set_alpn_protocols(["h2"])
    below: trio.abc.Stream = peer_end
    if scheme == "https":
        below = trio.SSLStream(peer_end, server_context, server_side=True, https_compatible=True)
    peer = RawPeer(below, client=False)
    context = client_context if scheme == "https" else None
    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.handshake)
            async with trio_h2.connect(f"{scheme}://localhost", ssl_context=context) as connection:
                await trio.testing.wait_all_tasks_blocked()
                yield connection, peer, transport
                await trio.aclose_forcefully(peer_end)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_early_answer_is_read_though_our_own_write_failed_first(
    scheme: str,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
) -> None:
    """With TLS as without: a failed write must not break TLS for reading. What sends learns of it all the same."""
    too_large = ((":status", "413"),)
    async with (
        breakable_server(scheme, server_ssl_context, client_ssl_context, monkeypatch) as (connection, peer, transport),
        trio.open_nursery() as nursery,
    ):

        async def request() -> None:
            response = await connection.request("POST", "/", body=bytes(10**6))
            assert (response.status, response.body) == (413, b"too much")

        async def upload() -> None:
            async with connection.stream("POST", "/") as stream:
                with pytest.raises(trio_h2.ConnectionTerminatedError, match="connection reset"):
                    await stream.send_all(bytes(10**6))
                assert (await stream.response()).status == 413
                assert await read_all(stream) == b"too much"

        nursery.start_soon(request)
        await peer.expect(HeadersFrame, stream_id=1)
        nursery.start_soon(upload)
        await peer.expect(HeadersFrame, stream_id=3)
        await trio.testing.wait_all_tasks_blocked()
        transport.broken = True
        await peer.send(peer.window_update(0, 10_000))
        await trio.testing.wait_all_tasks_blocked()
        assert not connection.accepting
        with pytest.raises(trio_h2.ConnectionTerminatedError, match="connection reset") as caught:
            await connection.request("GET", "/")
        assert caught.value.safe_to_retry
        for stream_id in (1, 3):
            await peer.send(peer.headers(stream_id, too_large), peer.data(stream_id, b"too much", end_stream=True))


async def test_a_write_that_fails_in_the_tls_handshake_ends_it(
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
) -> None:
    transport = Breakable(trio.testing.memory_stream_pair()[0])
    transport.broken = True

    async def open_tcp_stream(host: str, port: int) -> Breakable:
        await trio.lowlevel.checkpoint()
        return transport

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    with pytest.raises(trio_h2.HandshakeError):
        async with trio_h2.connect("https://localhost", ssl_context=client_ssl_context):
            pass


# What a connection says of itself


async def test_ping_measures_the_round_trip(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:
        times: list[float] = []

        async def ping() -> None:
            times.append(await connection.ping())

        nursery.start_soon(ping)
        frame = await peer.expect(PingFrame)
        await trio.sleep(3)
        await peer.send(peer.ping(frame.opaque_data, ack=True))
    assert times == [pytest.approx(3)]


async def test_concurrent_pings_do_not_mix(autojump_clock: MockClock) -> None:
    async with client_and_server(hello) as pair, trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(pair.client.ping)


async def test_statistics(autojump_clock: MockClock) -> None:
    async with client_and_server(echo) as pair, pair.client.stream("POST", "/") as stream:
        await stream.send_all(bytes(100))
        await stream.response()
        await trio.testing.wait_all_tasks_blocked()
        (seen,) = pair.client.statistics().streams
        assert (seen.stream_id, seen.state, seen.waits_for, seen.unread) == (1, "OPEN", "application", 100)
        assert seen.inbound_window == trio_h2.WindowStatistics(256 * 1024 - 100, 100, 0, 256 * 1024)
        statistics = pair.client.statistics()
        assert statistics.unread == 100
        assert statistics.bytes_sent == pair.server.statistics().bytes_received
        assert statistics.bytes_received == pair.server.statistics().bytes_sent
        (other,) = pair.server.statistics().streams
        assert (other.waits_for, other.outbound_window) == ("peer", 256 * 1024 - 100)
        await stream.receive_some()


async def test_a_connection_used_by_many_tasks(autojump_clock: MockClock) -> None:
    async with client_and_server(echo) as pair:

        async def use(number: int) -> None:
            response = await pair.client.request("POST", f"/{number}", body=pattern(3_000, number))
            assert response.body == pattern(3_000, number)

        async with trio.open_nursery() as nursery:
            for number in range(500):
                nursery.start_soon(use, number)
        await check_quiet(pair)


async def test_a_response_is_given_again(autojump_clock: MockClock) -> None:
    async with client_and_server(hello) as pair, pair.client.stream("GET", "/") as stream:
        assert await stream.response() == await stream.response()
        assert await read_all(stream) == b"hello"
        assert (await stream.response()).status == 200


async def test_a_malformed_response_is_an_error_of_its_stream_alone(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:

        async def bad() -> None:
            with pytest.raises(StreamResetError) as caught:
                await connection.request("GET", "/bad")
            assert (caught.value.error_code, caught.value.initiator) == (ErrorCodes.PROTOCOL_ERROR, "library")
            assert isinstance(caught.value, trio.BrokenResourceError)
            assert not caught.value.safe_to_retry

        async def good() -> None:
            assert (await connection.request("GET", "/good")).body == b"good"

        nursery.start_soon(bad)
        await peer.expect(HeadersFrame)
        nursery.start_soon(good)
        await peer.expect(HeadersFrame)
        await peer.send(peer.headers(1, [(":status", "200"), ("Upper", "x")]))
        assert await peer.expect_rst(1) == ErrorCodes.PROTOCOL_ERROR
        await peer.send(peer.headers(3, OK), peer.data(3, b"good", end_stream=True))
    assert body_of(peer.log, 1) == b""


@pytest.mark.parametrize(("length", "sent"), [(5, b"1234"), (5, b"123456")])
async def test_rfc9113_8_1_1_a_response_of_another_length_than_it_says(
    length: int, sent: bytes, autojump_clock: MockClock
) -> None:
    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:

        async def request() -> None:
            with pytest.raises(StreamResetError):
                await connection.request("GET", "/")

        nursery.start_soon(request)
        await peer.expect(HeadersFrame)
        await peer.send(peer.headers(1, (*OK, ("content-length", str(length)))), peer.data(1, sent, end_stream=True))
        assert await peer.expect_rst(1) == ErrorCodes.PROTOCOL_ERROR


# Knobs


@pytest.mark.parametrize(
    "least",
    [
        {"max_concurrent_streams": 1},
        {"initial_window_size": 1},
        {"connection_window_size": 65_535},
        {"max_window_size": 0},
        {"header_table_size": 0},
        {"max_unread": 0},
        {"max_continuations": 0},
        {"max_interim_responses": 0},
        {"max_interim_octets": 0},
        {"max_closed_streams": 0},
        {"max_queued_replies": 1},
        {"max_queued_events": 1},
        {"write_buffer_size": 1},
        {"max_outbound_frame_size": 1},
    ],
    ids=lambda least: next(iter(least)),
)
@pytest.mark.parametrize("client", [True, False])
async def test_with_the_least_that_a_knob_allows_bodies_still_come_through(
    least: dict[str, int], client: bool, autojump_clock: MockClock
) -> None:
    config = Config(**least)  # type: ignore[arg-type]
    bodies = []
    async with client_and_server(
        echo, config=config if client else None, server_config=None if client else config
    ) as pair:
        await pair.client.ping()  # the server's settings are known then

        async def request(body: bytes) -> None:
            bodies.append((await pair.client.request("POST", "/", body=body)).body)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(request, pattern(2_000))
    assert bodies == [pattern(2_000)] * 3
