"""The gRPC layer of `docs/examples/`: with grpcio both ways, and with peers that break its rules."""

from __future__ import annotations

import gzip
import math
import queue
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent import futures
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

import trio_h2
from tests import peers
from tests.engine.pool_network import Network
from tests.peer_site import MIB, sized, start_server
from tests.test_examples import example
from tests.test_examples_inside import load
from trio_h2.testing import in_memory

layer: ModuleType = load("grpc_layer")
Code = layer.Code

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
HEAD = [("content-type", "application/grpc")]


def method(name: str) -> Any:
    return layer.Method(f"/test.Echo/{name}", bytes, bytes, bytes, bytes)


UNARY, COUNT, MANY, ECHO = map(method, ("Unary", "Count", "Many", "Echo"))


def message(octets: bytes, flags: int = 0) -> bytes:
    return bytes([flags]) + len(octets).to_bytes(4, "big") + octets


# What the service does, once for the layer and once for grpcio --------------------------------------------------------


class Handlers:
    """The four kinds of methods, and what tests ask of them in the request.

    Attributes:
        sleeping: is set when the one that sleeps does.
        cancelled: is set when that is cancelled.
        seconds: until the deadline, as that one saw it.
    """

    def __init__(self) -> None:
        self.sleeping = trio.Event()
        self.cancelled = trio.Event()
        self.seconds = math.nan

    def service(self, **options: Any) -> Any:
        service = layer.Service(**options)
        for each, handler in ((UNARY, self.unary), (COUNT, self.count), (MANY, self.many), (ECHO, self.echo)):
            service.add(each, handler)
        return service

    async def unary(self, call: Any) -> bytes:
        request: bytes = await call.only()
        match request:
            case b"metadata":
                call.trailers += [pair for pair in call.metadata() if pair[0].startswith("x-")]
                await call.begin([("x-begin", "began"), ("x-begin-bin", b"\x00\xff")])
            case b"not found":
                call.trailers.append(("x-hint", "elsewhere"))
                raise layer.RpcError(Code.NOT_FOUND, "nö: 100% gone\n", [("x-more-bin", b"\x00\x01")])
            case b"long":
                raise layer.RpcError(Code.ABORTED, "x" * 100_000)
            case b"raise":
                raise ValueError("a secret")
            case b"sleep":
                self.seconds = call.deadline - trio.current_time()
                self.sleeping.set()
                try:
                    await trio.sleep_forever()
                finally:
                    self.cancelled.set()
        return request

    async def count(self, call: Any) -> bytes:
        return b"%d" % sum([1 async for _ in call])

    async def many(self, call: Any) -> None:
        count, size = map(int, (await call.only()).split())
        for number in range(count):
            await call.send(number.to_bytes(4, "big") + bytes(size), more=True)

    async def echo(self, call: Any) -> None:
        async for each in call:
            if each == b"raise":
                raise ValueError("a secret")
            await call.send(each, more=True)


@asynccontextmanager
async def served(**options: Any) -> AsyncIterator[tuple[Handlers, int]]:
    """The layer's service on a port."""
    handlers = Handlers()
    async with trio.open_nursery() as nursery:
        server = await start_server(nursery, handlers.service(**options).handle)
        yield handlers, server.port or 0
        await server.shutdown(1)


@asynccontextmanager
async def called(handlers: Handlers | None = None, *, options: dict[str, Any] | None = None, **client: Any) -> Any:
    """The layer's client and service, in memory."""
    service = (handlers or Handlers()).service(**(options or {}))
    async with in_memory(service.handle) as connection:
        yield layer.Client(connection, **client)


async def failed(awaited: Any) -> Any:
    """How a call failed."""
    with pytest.raises(layer.RpcError) as caught:
        await awaited
    return caught.value


# grpcio's client ------------------------------------------------------------------------------------------------------


@contextmanager
def channel_to(port: int, *options: tuple[str, Any], **arguments: Any) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"{peers.HOST}:{port}", options=options, **arguments) as channel:
        yield channel


async def with_grpcio(port: int, use: Callable[[grpc.Channel], None], *options: Any, **arguments: Any) -> None:
    def run() -> None:
        with channel_to(port, *options, **arguments) as channel:
            use(channel)

    with trio.fail_after(sized(300, 60)):
        await trio.to_thread.run_sync(run)


async def test_grpcio_makes_calls_of_all_four_kinds() -> None:
    def use(channel: grpc.Channel) -> None:
        unary = channel.unary_unary(UNARY.path)
        assert unary(b"hello", timeout=30) == b"hello"
        assert unary(b"") == b""
        large = bytes(range(256)) * (4 * MIB // 256)
        assert unary(large) == large
        assert channel.stream_unary(COUNT.path)(iter([b"a", b"", b"b" * MIB])) == b"3"
        assert channel.stream_unary(COUNT.path)(iter([])) == b"0"
        assert [each[:4] for each in channel.unary_stream(MANY.path)(b"3 100000")] == [
            b"\0\0\0\0",
            b"\0\0\0\1",
            b"\0\0\0\2",
        ]
        assert list(channel.unary_stream(MANY.path)(b"0 0")) == []
        sent = [b"%d" % number for number in range(10_000)]
        assert list(channel.stream_stream(ECHO.path)(iter(sent))) == sent

    async with served() as (_, port):
        await with_grpcio(port, use)


async def test_grpcio_gets_every_reply_when_it_is_sent() -> None:
    def use(channel: grpc.Channel) -> None:
        replies: queue.Queue[bytes] = queue.Queue()

        def requests() -> Iterator[bytes]:
            for number in range(20):
                yield b"%d" % number
                assert replies.get(timeout=30) == b"%d" % number

        for reply in channel.stream_stream(ECHO.path)(requests()):
            replies.put(reply)

    async with served() as (_, port):
        await with_grpcio(port, use)


async def test_grpcio_hears_of_errors_and_metadata() -> None:
    def use(channel: grpc.Channel) -> None:
        unary = channel.unary_unary(UNARY.path)
        with pytest.raises(grpc.RpcError) as caught:
            unary(b"not found")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == "nö: 100% gone\n"
        assert set(caught.value.trailing_metadata()) == {("x-hint", "elsewhere"), ("x-more-bin", b"\x00\x01")}
        with pytest.raises(grpc.RpcError) as caught:
            unary(b"long")
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.ABORTED, "x" * 4096)
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/test.Echo/Nothing")(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        with pytest.raises(grpc.RpcError) as caught:
            unary(bytes(4 * MIB + 1))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        sent = [("x-text", "one"), ("x-text", "two"), ("x-octets-bin", b"\x00\xff\x80"), ("x-octets-bin", b"")]
        reply, call = unary.with_call(b"metadata", metadata=sent)
        assert reply == b"metadata"
        assert set(call.initial_metadata()) >= {("x-begin", "began"), ("x-begin-bin", b"\x00\xff")}
        assert list(call.trailing_metadata()) == sent

    async with served() as (_, port):
        await with_grpcio(port, use)


async def test_what_a_handler_raises_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    def use(channel: grpc.Channel) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(UNARY.path)(b"raise")
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNKNOWN, "the handler failed")
        replies = channel.stream_stream(ECHO.path)(iter([b"first", b"raise", b"never"]))
        assert next(replies) == b"first"  # what was sent before it comes
        with pytest.raises(grpc.RpcError) as caught:
            next(replies)
        assert caught.value.code() is grpc.StatusCode.UNKNOWN

    async with served() as (_, port):
        await with_grpcio(port, use)
    assert caplog.text.count("ValueError: a secret") == 2
    assert f"the handler of POST {UNARY.path}" in caplog.text


async def test_grpcio_cancels_and_its_deadline_ends_the_handler() -> None:
    def deadline(channel: grpc.Channel) -> None:
        channel.unary_unary(UNARY.path)(b"hello")  # connects, which may take a busy machine longer than the deadline
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(UNARY.path)(b"sleep", timeout=2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    def cancel(channel: grpc.Channel) -> None:
        call = channel.unary_unary(UNARY.path).future(b"sleep")
        trio.from_thread.run(handlers.sleeping.wait)
        call.cancel()
        trio.from_thread.run(handlers.cancelled.wait)

    async with served() as (handlers, port):
        await with_grpcio(port, deadline)
        with trio.fail_after(10):
            await handlers.cancelled.wait()
        assert 0 < handlers.seconds < 2.1  # grpcio rounds up
        handlers.sleeping, handlers.cancelled = trio.Event(), trio.Event()
        await with_grpcio(port, cancel)


@pytest.mark.parametrize("compress", [False, True])
async def test_grpcio_compresses_and_is_answered_compressed(compress: bool) -> None:
    def use(channel: grpc.Channel) -> None:
        zeros = bytes(3 * MIB)
        assert channel.unary_unary(UNARY.path)(zeros) == zeros
        assert list(channel.stream_stream(ECHO.path)(iter([zeros, b"x", zeros]))) == [zeros, b"x", zeros]

    async with served(compress=compress) as (_, port):
        await with_grpcio(port, use, compression=grpc.Compression.Gzip)


async def test_grpcio_under_load_with_cancelled_calls() -> None:
    count = sized(20_000, 600)

    def use(channel: grpc.Channel) -> None:
        unary = channel.unary_unary(UNARY.path)
        calls = []
        for number in range(count):
            calls.append((number, unary.future(b"sleep" if number % 3 == 0 else b"%d" % number)))
            if len(calls) == 60:
                for sent, call in calls:
                    if sent % 3 == 0:
                        call.cancel()
                    else:
                        assert call.result(timeout=60) == b"%d" % sent
                calls.clear()

    async with served() as (_, port):
        await with_grpcio(port, use)


# grpcio's server ------------------------------------------------------------------------------------------------------


class GrpcioHandlers:
    """What `Handlers` does, as grpcio has it."""

    def unary(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        match request:
            case b"metadata":
                context.send_initial_metadata([("x-begin", "began"), ("x-begin-bin", b"\x00\xff")])
                context.set_trailing_metadata(
                    [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-")]
                )
            case b"not found":
                context.set_trailing_metadata([("x-hint", "elsewhere"), ("x-more-bin", b"\x00\x01")])
                context.abort(grpc.StatusCode.NOT_FOUND, "nö: 100% gone\n")
            case b"sleep":
                ended = futures.Future[None]()
                context.add_callback(lambda: ended.set_result(None))
                ended.result(timeout=30)
        return request

    def count(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        return b"%d" % sum(1 for _ in requests)

    def many(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        count, size = map(int, request.split())
        return (number.to_bytes(4, "big") + bytes(size) for number in range(count))

    def echo(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for request in requests:
            if request == b"early":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
            yield request


@asynccontextmanager
async def called_on_grpcio(**client: Any) -> AsyncIterator[Any]:
    """The layer's client, with grpcio's server."""
    handlers = GrpcioHandlers()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=20))
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "test.Echo",
                {
                    "Unary": grpc.unary_unary_rpc_method_handler(handlers.unary),
                    "Count": grpc.stream_unary_rpc_method_handler(handlers.count),
                    "Many": grpc.unary_stream_rpc_method_handler(handlers.many),
                    "Echo": grpc.stream_stream_rpc_method_handler(handlers.echo),
                },
            ),
        )
    )
    port = server.add_insecure_port(f"{peers.HOST}:0")
    server.start()
    try:
        with trio.fail_after(sized(300, 60)):
            async with trio_h2.connect(f"http://{peers.HOST}:{port}") as connection:
                yield layer.Client(connection, **client)
    finally:
        await trio.to_thread.run_sync(server.stop(0).wait)


async def send(call: Any, messages: Sequence[bytes]) -> None:
    for each in messages:
        await call.send(each, more=True)
    await call.end()


@pytest.mark.parametrize("compress", [False, True])
async def test_grpcio_answers_calls_of_all_four_kinds(compress: bool) -> None:
    async with called_on_grpcio(compress=compress) as client:
        assert await client.unary(UNARY, b"hello", timeout=30) == b"hello"
        assert await client.unary(UNARY, b"") == b""
        large = bytes(range(256)) * (4 * MIB // 256)
        assert await client.unary(UNARY, large) == large
        async with client.call(COUNT) as call:
            await send(call, [b"a", b"", b"b" * MIB])
            assert await call.only() == b"3"
        async with client.call(MANY) as call:
            await send(call, [b"3 100000"])
            assert [each[3] async for each in call] == [0, 1, 2]
        sent = [b"%d" % number for number in range(10_000)]
        async with client.call(ECHO) as call, trio.open_nursery() as nursery:
            nursery.start_soon(send, call, sent)
            assert [each async for each in call] == sent
        async with client.call(ECHO) as call:  # one there, one back
            for number in range(20):
                await call.send(b"%d" % number)
                assert await anext(call) == b"%d" % number
            await call.end()
            assert [each async for each in call] == []


async def test_the_errors_and_metadata_of_grpcio() -> None:
    async with called_on_grpcio() as client:
        error = await failed(client.unary(UNARY, b"not found"))
        assert (error.code, error.message) == (Code.NOT_FOUND, "nö: 100% gone\n")
        assert sorted(error.metadata) == [("x-hint", "elsewhere"), ("x-more-bin", b"\x00\x01")]
        assert (await failed(client.unary(method("Nothing"), b""))).code is Code.UNIMPLEMENTED
        assert (await failed(client.unary(UNARY, bytes(4 * MIB + 1)))).code is Code.RESOURCE_EXHAUSTED
        sent = [("x-octets-bin", b"\x00\xff\x80"), ("x-octets-bin", b"y"), ("x-text", "one"), ("x-text", "two")]
        async with client.call(UNARY, metadata=sent) as call:
            await send(call, [b"metadata"])
            assert set(await call.metadata()) >= {("x-begin", "began"), ("x-begin-bin", b"\x00\xff")}
            assert await call.only() == b"metadata"
            assert sorted(call.trailers) == sent


async def test_deadlines_and_cancelled_calls_on_grpcio() -> None:
    async with called_on_grpcio() as client:
        assert (await failed(client.unary(UNARY, b"sleep", timeout=0.2))).code is Code.DEADLINE_EXCEEDED
        with trio.move_on_after(0.1) as scope:  # the ambient deadline is told to the service, too
            await client.unary(UNARY, b"sleep")
        assert scope.cancelled_caught
        assert await client.unary(UNARY, b"still here") == b"still here"
        count = sized(10_000, 300)

        async def caller(share: Iterator[int]) -> None:
            for number in share:
                if number % 3 == 0:
                    with trio.CancelScope() as scope:
                        async with client.call(ECHO) as call:
                            await call.send(b"x")
                            if number % 2:
                                await anext(call)
                            scope.cancel()
                            await trio.sleep_forever()
                else:
                    assert await client.unary(UNARY, b"%d" % number) == b"%d" % number

        share = iter(range(count))
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(caller, share)


async def test_a_call_that_grpcio_ends_early_raises_its_status_where_it_sends() -> None:
    async with called_on_grpcio() as client:
        with pytest.raises(layer.RpcError) as caught:
            async with client.call(ECHO) as call:
                await call.send(b"early")
                while True:
                    await call.send(b"x" * 10_000)
        assert (caught.value.code, caught.value.message) == (Code.UNAUTHENTICATED, "who are you?")


# The words it is said in ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5H", 18_000), ("7M", 420), ("99999999S", 99_999_999), ("250m", 0.25), ("3u", 3e-6), ("0n", 0), ("8n", 8e-9)],
)
def test_every_unit_of_a_timeout_is_understood(text: str, seconds: float) -> None:
    assert layer.seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "S", "-1S", "123456789S", "1.5S", "1s", "1S ", "\u0661S", "1_0S"])
def test_what_is_no_timeout_is_said(text: str) -> None:
    with pytest.raises(layer.RpcError, match="grpc-timeout"):
        layer.seconds_of(text)


@pytest.mark.parametrize("seconds", [0, 1e-12, 1e-9, 0.001, 0.5, 5, 3600, 1e8, 1e10, 1e11, 1e30, math.inf])
def test_a_timeout_has_at_most_eight_digits_and_is_not_cut_short(seconds: float) -> None:
    text = layer.timeout_text(seconds)
    assert len(text) <= 9
    assert layer.seconds_of(text) == pytest.approx(min(seconds, 99_999_999 * 3600), rel=1e-6, abs=1e-9)
    assert layer.seconds_of(text) >= min(seconds, 99_999_999 * 3600) * 0.999_999_999


def test_binary_metadata_may_be_padded_or_not_and_joined() -> None:
    for value in ("AP8", "AP8=", " AP8= ", "AP8,AP8=", "AP8 ,\tAP8="):
        metadata = layer.metadata_of(trio_h2.Headers([("x-bin", value)]))
        assert set(metadata) == {("x-bin", b"\x00\xff")}, value
    assert layer.sendable([("X-Bin", b"\x00\xff"), ("a", " b ")]) == [("X-Bin", b"AP8"), ("a", "b")]


@pytest.mark.parametrize("value", ["A", "A!P8", "A P8", "AA=A", "-_8"])
def test_binary_metadata_that_are_no_base64_are_never_guessed(value: str) -> None:
    with pytest.raises(layer.RpcError, match="x-bin is no base64"):
        layer.metadata_of(trio_h2.Headers([("x-bin", value)]))


def test_ok_is_no_error() -> None:
    with pytest.raises(ValueError, match="OK is no error"):
        layer.RpcError(Code.OK)


@pytest.mark.parametrize(
    "pair", [("grpc-status", "0"), ("te", "x"), ("x-bin", "text"), ("x", b"octets"), ("Grpc-Timeout", "")]
)
def test_metadata_that_cannot_be_sent_are_refused_by_name(pair: tuple[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"metadata: '{pair[0]}'"):
        layer.sendable([pair])


# A client that breaks rules -------------------------------------------------------------------------------------------


async def asked(
    body: bytes,
    *,
    path: str = UNARY.path,
    headers: Sequence[tuple[str, str]] = (),
    options: dict[str, Any] | None = None,
) -> trio_h2.Response:
    """What the service answers to a body."""
    async with in_memory(Handlers().service(**(options or {})).handle) as connection:
        return await connection.request("POST", path, headers=[*HEAD, *headers], body=body)


def status_of(response: trio_h2.Response) -> Any:
    assert response.status == 200
    assert response.headers["content-type"] == "application/grpc"
    return Code(int((response.trailers or response.headers)["grpc-status"]))


HELLO = gzip.compress(b"hello", mtime=0)  # without a time, for it is in the names of tests
BOMB = gzip.compress(bytes(64 * MIB), mtime=0)


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (message(b"hello"), [], "OK"),
        (message(HELLO, 1), [("grpc-encoding", "gzip")], "OK"),
        (message(b"hello"), [("grpc-encoding", "gzip")], "OK"),
        (message(b"hello"), [("grpc-encoding", "snappy")], "UNIMPLEMENTED"),
        (message(b"hello", 1), [], "INTERNAL"),
        (message(b"hello", 1), [("grpc-encoding", "identity")], "INTERNAL"),
        (message(b"hello", 1), [("grpc-encoding", "gzip")], "INTERNAL"),
        (message(HELLO[:-1], 1), [("grpc-encoding", "gzip")], "INTERNAL"),
        (message(HELLO + b"x", 1), [("grpc-encoding", "gzip")], "INTERNAL"),
        (message(zlib.compress(b"hello"), 1), [("grpc-encoding", "gzip")], "INTERNAL"),
        (message(BOMB, 1), [("grpc-encoding", "gzip")], "RESOURCE_EXHAUSTED"),
        (message(b"hello", 2), [("grpc-encoding", "gzip")], "INTERNAL"),
        (message(b"hello", 128), [], "INTERNAL"),
        (b"\0\xff\xff\xff\xffhello", [], "RESOURCE_EXHAUSTED"),
        (message(bytes(4 * MIB + 1)), [], "RESOURCE_EXHAUSTED"),
        (message(b"hello")[:-1], [], "INTERNAL"),
        (message(b"hello")[:4], [], "INTERNAL"),
        (message(b"hello") + b"\0", [], "INTERNAL"),
        (b"", [], "UNIMPLEMENTED"),
        (message(b"hello") * 2, [], "UNIMPLEMENTED"),
        (message(b"hello"), [("grpc-timeout", "soon")], "INTERNAL"),
        (message(b"metadata"), [("x-bin", "A")], "INTERNAL"),
    ],
)
async def test_each_fault_of_a_request_is_a_status(
    autojump_clock: MockClock, body: bytes, headers: list[tuple[str, str]], code: str
) -> None:
    response = await asked(body, headers=headers)
    assert status_of(response) is Code[code], response
    if code == "UNIMPLEMENTED":
        assert response.headers["grpc-accept-encoding"] == "identity,gzip"


@pytest.mark.parametrize(("path", "count"), [(COUNT.path, 100), (ECHO.path, 100), (MANY.path, 1)])
async def test_messages_come_in_whatever_pieces(autojump_clock: MockClock, path: str, count: int) -> None:
    octets = message(b"1 3") * count
    async with (
        in_memory(Handlers().service().handle) as connection,
        connection.stream("POST", path, headers=HEAD) as stream,
    ):
        for at in range(len(octets)):
            await stream.send_all(octets[at : at + 1])
        await stream.send_eof()
        body = await stream.read()
        assert stream.trailers is not None
        assert stream.trailers["grpc-status"] == "0"
    expected = {COUNT.path: message(b"100"), ECHO.path: octets, MANY.path: message(bytes(7))}
    assert body == expected[path]


async def test_half_a_message_in_a_stream_comes_after_whole_ones(autojump_clock: MockClock) -> None:
    response = await asked(message(b"one") + message(b"two")[:-1], path=ECHO.path)
    assert (response.body, status_of(response)) == (message(b"one"), Code.INTERNAL)


async def test_a_status_with_a_long_message_does_not_end_the_connection(autojump_clock: MockClock) -> None:
    """It would be a field section that is larger than any peer takes."""

    async def handler(call: Any) -> bytes:
        if await call.only():
            raise layer.RpcError(Code.ABORTED, "\u20ac" * 200_000)
        return b"here"

    service = layer.Service()
    service.add(UNARY, handler)
    async with in_memory(service.handle) as connection:
        client = layer.Client(connection)
        error = await failed(client.unary(UNARY, b"x"))
        assert error.code is Code.ABORTED
        assert error.message.startswith("\u20ac" * (4096 // 9))
        assert await client.unary(UNARY, b"") == b"here"


@pytest.mark.parametrize(
    ("verb", "content_type"),
    [("GET", "application/grpc"), ("POST", "text/plain"), ("POST", "application/grpc-web"), ("POST", "")],
)
async def test_what_is_no_grpc_is_answered_as_http(autojump_clock: MockClock, verb: str, content_type: str) -> None:
    async with in_memory(Handlers().service().handle) as connection:
        headers = [("content-type", content_type)] if content_type else []
        assert (await connection.request(verb, UNARY.path, headers=headers)).status == 415


async def test_a_deadline_of_nothing_is_over_at_once(autojump_clock: MockClock) -> None:
    response = await asked(message(b"sleep"), headers=[("grpc-timeout", "0n")])
    assert status_of(response) is Code.DEADLINE_EXCEEDED
    async with called() as client:
        assert (await failed(client.unary(UNARY, b"hello", timeout=0))).code is Code.DEADLINE_EXCEEDED
        assert (await failed(client.unary(UNARY, b"hello", timeout=-1))).code is Code.DEADLINE_EXCEEDED


async def test_a_deadline_within_a_message_resets_the_stream(autojump_clock: MockClock) -> None:
    async with (
        in_memory(Handlers().service().handle) as connection,
        connection.stream("POST", MANY.path, headers=[*HEAD, ("grpc-timeout", "3S")]) as stream,
    ):
        await stream.send_all(message(b"1 3000000"))  # more than fits into the window, and nobody reads
        await stream.send_eof()
        await trio.sleep(4)
        with pytest.raises(trio_h2.StreamResetError) as caught:
            await stream.read()
        assert caught.value.error_code == trio_h2.ErrorCodes.CANCEL


async def test_a_deadline_before_the_first_octet_of_a_reply_resets_the_stream(autojump_clock: MockClock) -> None:
    """Its header section has promised a length, so no status can end it."""

    async def large(call: Any) -> bytes:
        return bytes(MIB)

    service = layer.Service()
    service.add(UNARY, large)
    config = trio_h2.Config(connection_window_size=65_535, initial_window_size=65_535, max_window_size=0, max_unread=0)
    async with in_memory(service.handle, config=config) as connection:
        async with connection.stream("POST", UNARY.path, headers=HEAD) as full:
            await full.response()
            await trio.sleep(1)  # the connection's window is full of what nobody reads
            headers = [*HEAD, ("grpc-timeout", "1S")]
            async with connection.stream("POST", UNARY.path, headers=headers) as stream:
                assert (await stream.response()).status == 200
                with pytest.raises(trio_h2.StreamResetError) as caught:
                    await stream.read()
                assert caught.value.error_code == trio_h2.ErrorCodes.CANCEL


async def test_an_error_out_of_a_nursery_of_the_handler_is_its_status(autojump_clock: MockClock) -> None:
    async def handler(call: Any) -> bytes:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse)
            await trio.sleep_forever()
        raise AssertionError

    async def refuse() -> None:
        raise layer.RpcError(Code.ABORTED, "not now")

    service = layer.Service()
    service.add(UNARY, handler)
    async with in_memory(service.handle) as connection:
        error = await failed(layer.Client(connection).unary(UNARY, b""))
        assert (error.code, error.message) == (Code.ABORTED, "not now")


async def test_a_handler_is_cancelled_when_its_client_leaves(autojump_clock: MockClock) -> None:
    handlers = Handlers()
    async with called(handlers) as client:
        with trio.move_on_after(1):
            await client.unary(UNARY, b"sleep")
        await handlers.cancelled.wait()
        assert handlers.seconds <= 1  # it knew of the ambient deadline


async def test_replies_go_out_at_once_or_with_those_that_follow(autojump_clock: MockClock) -> None:
    async def handler(call: Any) -> None:
        await call.send(b"one", more=True)
        await call.send(b"two")
        await trio.sleep(10)
        await call.send(b"three", more=True)
        await anext(call)  # whoever waits for the client has nothing left to send
        await call.send(b"four", more=True)

    service = layer.Service()
    service.add(MANY, handler)
    async with in_memory(service.handle) as connection, layer.Client(connection).call(MANY) as call:
        start = trio.current_time()
        assert [await anext(call), await anext(call)] == [b"one", b"two"]
        assert trio.current_time() == start
        assert await anext(call) == b"three"
        assert trio.current_time() == start + 10
        await call.send(b"go on")
        assert [each async for each in call] == [b"four"]


# A service that breaks rules ------------------------------------------------------------------------------------------


def answering(
    *body: bytes,
    status: int = 200,
    headers: Sequence[tuple[str, str]] = (*HEAD,),
    trailers: Sequence[tuple[str, str]] | None = (("grpc-status", "0"),),
    reset: int | None = None,
) -> trio_h2.Handler:
    """A handler that answers so, whatever it was asked."""

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(status, list(headers), end_stream=not body and trailers is None and reset is None)
        for octets in body:
            await stream.send_all(octets)
        if reset is not None:
            await stream.reset(reset)
        elif trailers is not None:
            await stream.send_trailers(trailers)

    return handler


GZIPPED = (*HEAD, ("grpc-encoding", "gzip"))


@pytest.mark.parametrize(
    ("handler", "code", "says"),
    [
        (answering(message(b"x"), trailers=None), "UNKNOWN", "no grpc-status"),
        (answering(trailers=[("grpc-status", "five")]), "UNKNOWN", ""),
        (answering(trailers=[("grpc-status", "99")]), "UNKNOWN", ""),
        (
            answering(trailers=[("grpc-status", "-1"), ("grpc-message", "a%ZZ%e2%82%acb%ff%")]),
            "UNKNOWN",
            "a%ZZ\u20acb\ufffd%",
        ),
        (
            answering(trailers=None, headers=[*HEAD, ("grpc-status", "5"), ("grpc-message", "a%20b")]),
            "NOT_FOUND",
            "a b",
        ),
        (answering(message(b"x"), trailers=[("grpc-status", "5")]), "NOT_FOUND", ""),
        (answering(message(b"x")[:-1], trailers=[("grpc-status", "5")]), "NOT_FOUND", ""),
        (answering(message(b"x")[:-1]), "INTERNAL", "within a message"),
        (answering(), "UNIMPLEMENTED", "none"),
        (answering(message(b"x") * 2), "UNIMPLEMENTED", "another"),
        (answering(message(b"x", 3)), "INTERNAL", "flags 3"),
        (answering(message(b"x", 1)), "INTERNAL", "flags 1"),
        (answering(message(b"x", 1), headers=GZIPPED), "INTERNAL", "decoded"),
        (answering(message(BOMB, 1), headers=GZIPPED), "RESOURCE_EXHAUSTED", "uncompressed"),
        (answering(b"\0\xff\xff\xff\xff"), "RESOURCE_EXHAUSTED", "4294967295"),
        (answering(message(bytes(4 * MIB + 1))), "RESOURCE_EXHAUSTED", "octets"),
        (answering(trailers=[("grpc-status", "0"), ("x-bin", "A")]), "INTERNAL", "x-bin"),
        (answering(b"<html>", headers=[("content-type", "text/html")], trailers=None), "UNKNOWN", "text/html"),
        *(
            (answering(status=status, headers=(), trailers=None), code, f"HTTP status {status}")
            for status, code in (
                (400, "INTERNAL"),
                (401, "UNAUTHENTICATED"),
                (403, "PERMISSION_DENIED"),
                (404, "UNIMPLEMENTED"),
                (418, "UNKNOWN"),
                (429, "UNAVAILABLE"),
                (431, "INTERNAL"),
                (500, "UNKNOWN"),
                (502, "UNAVAILABLE"),
                (503, "UNAVAILABLE"),
                (504, "UNAVAILABLE"),
            )
        ),
        (answering(status=503, headers=[("grpc-status", "5")], trailers=None), "NOT_FOUND", ""),
        *(
            (answering(message(b"x")[:3], reset=number), code, "reset by the peer")
            for number, code in (
                (0, "INTERNAL"),
                (1, "INTERNAL"),
                (2, "INTERNAL"),
                (7, "UNAVAILABLE"),
                (8, "CANCELLED"),
                (11, "RESOURCE_EXHAUSTED"),
                (12, "PERMISSION_DENIED"),
                (99, "INTERNAL"),
            )
        ),
    ],
)
async def test_each_fault_of_an_answer_is_a_status(
    autojump_clock: MockClock, handler: trio_h2.Handler, code: str, says: str
) -> None:
    async with in_memory(handler) as connection:
        client = layer.Client(connection)
        error = await failed(client.unary(UNARY, b"x"))
        assert error.code is Code[code], error
        assert says in error.message

        async def streamed() -> None:
            async with client.call(UNARY) as call:
                await send(call, [b"x"])
                await call.only()

        error = await failed(streamed())
        assert error.code is Code[code], error
        assert says in error.message


async def test_a_connection_that_ends_is_unavailable(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await theirs.aclose()

    ours, theirs = memory_stream_pair()
    nursery.start_soon(trio_h2.serve_h2_connection, handler, theirs)
    async with trio_h2.connect_over(ours, authority="example.org") as connection:
        error = await failed(layer.Client(connection).unary(UNARY, b"x"))
        assert error.code is Code.UNAVAILABLE
        assert isinstance(error.__cause__, trio_h2.ConnectionTerminatedError)


async def test_a_reset_after_the_deadline_is_the_deadline(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        assert stream.request.headers["grpc-timeout"] == "5000000u"
        await trio.sleep(5)
        await stream.reset(trio_h2.ErrorCodes.CANCEL)

    async with in_memory(handler) as connection:
        client = layer.Client(connection)
        assert (await failed(client.unary(UNARY, b"x", timeout=5))).code is Code.DEADLINE_EXCEEDED
        with pytest.raises(layer.RpcError, match="DEADLINE_EXCEEDED"):
            async with client.call(UNARY, timeout=5) as call:
                await call.send(b"x")
                await trio.sleep_forever()


async def test_an_early_answer_is_not_lost_where_the_request_goes_on(autojump_clock: MockClock) -> None:
    async with in_memory(answering(message(b"enough"))) as connection:
        async with layer.Client(connection).call(COUNT) as call:
            with pytest.raises(trio.BrokenResourceError):
                while True:
                    await call.send(bytes(100_000))
            assert await call.only() == b"enough"


async def test_what_a_block_raises_comes_out_of_it_as_it_is(autojump_clock: MockClock) -> None:
    async with called() as client:
        with pytest.raises(KeyError, match="mine"):
            async with client.call(ECHO) as call:
                await call.send(b"x")
                raise KeyError("mine")


async def test_a_message_that_is_too_large_is_not_sent(autojump_clock: MockClock) -> None:
    async with called(max_message=10, options={"max_message": 20}) as client:
        assert (await failed(client.unary(UNARY, bytes(11)))).code is Code.RESOURCE_EXHAUSTED
        assert await client.unary(UNARY, bytes(10)) == bytes(10)
        error = await failed(client.unary(MANY, b"1 30"))  # the service's own limit
        assert (error.code, "to send" in error.message) == (Code.RESOURCE_EXHAUSTED, True)


async def test_what_a_serializer_raises(nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
    texts = layer.Method(UNARY.path, str.encode, bytes.decode, str.encode, bytes.decode)

    async def handler(call: Any) -> str:
        return "\udc80" if await call.only() == "bad" else "good"

    service = layer.Service()
    service.add(texts, handler)
    server = await start_server(nursery, service.handle)
    async with trio_h2.connect(f"http://{peers.HOST}:{server.port}") as connection:
        client = layer.Client(connection)
        assert await client.unary(texts, "fine") == "good"
        assert (await failed(client.unary(UNARY, b"\xff"))).code is Code.INTERNAL  # the service cannot decode it
        assert (await failed(client.unary(texts, "bad"))).code is Code.UNKNOWN  # nor encode this
    await server.shutdown()
    assert "UnicodeEncodeError" in caplog.text


async def test_a_client_over_a_pool_outlives_its_connection() -> None:
    config = trio_h2.Config(close_timeout=0.01)  # for its own call would be waited for
    async with served() as (_, port), trio_h2.open_pool(config=config) as pool:
        for end in ("", "/"):
            client = layer.Client(pool, f"http://{peers.HOST}:{port}{end}")
            assert await client.unary(UNARY, b"hello", timeout=30) == b"hello"
            async with client.call(ECHO, timeout=30) as call:
                await call.send(b"x")
                assert await anext(call) == b"x"
                await call.stream.connection.aclose()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_service_that_says_nothing_is_unavailable(
    autojump_clock: MockClock, nursery: trio.Nursery, scheme: str
) -> None:
    network = Network(nursery)

    async def nothing(transport: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    network.serve = nothing
    async with network.pool(retries=0) as pool:
        client = layer.Client(pool, f"{scheme}://example.org")
        error = await failed(client.unary(UNARY, b"x"))
        assert error.code is Code.UNAVAILABLE
        error = await failed(client.unary(UNARY, b"x", timeout=3))
        assert error.code is Code.DEADLINE_EXCEEDED


async def test_what_waits_is_not_lost_with_a_send_that_is_cancelled(autojump_clock: MockClock) -> None:
    got: list[bytes] = []

    async def handler(call: Any) -> bytes:
        await trio.sleep(5)
        got.extend([each async for each in call])
        return b""

    service = layer.Service()
    service.add(COUNT, handler)
    config = trio_h2.Config(initial_window_size=1_000, max_window_size=0)
    async with (
        in_memory(service.handle, server_config=config) as connection,
        layer.Client(connection).call(COUNT) as call,
    ):
        await connection.settings_received()
        await call.send(bytes(995))  # all of the window
        await call.send(b"waits", more=True)
        with trio.move_on_after(1) as scope:
            await call.send(b"and does not wait")
        assert scope.cancelled_caught
        await call.send(b"last")
        await call.end()
        await call.only()
    assert got == [bytes(995), b"waits", b"and does not wait", b"last"]


# Cancelled at each await ----------------------------------------------------------------------------------------------


async def test_calls_that_are_cancelled_anywhere_leave_the_connection_whole(autojump_clock: MockClock) -> None:
    async def unary(client: Any) -> None:
        await client.unary(UNARY, b"x", timeout=60)

    async def echo(client: Any) -> None:
        async with client.call(ECHO) as call:
            await call.send(b"x")
            await anext(call)
            await call.end()
            async for _ in call:
                pass

    async def cancelled_at(step: int, run: Any, client: Any) -> bool:
        """Cancel it in so many turns of the loop; whether it had ended before."""
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel, scope, step)
                await run(client)
                return True
        return False

    async def cancel(scope: trio.CancelScope, step: int) -> None:
        for _ in range(step):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    async with called() as client:
        for run in (unary, echo):
            for step in range(60):
                await cancelled_at(step, run, client)
                assert await client.unary(UNARY, b"whole") == b"whole"


# The programs ---------------------------------------------------------------------------------------------------------


async def test_the_client_talks_to_the_service(tmp_path: Path) -> None:
    async def says(url: str, name: str, *texts: str, code: int = 0) -> str:
        argv = [sys.executable, "-W", "error", str(EXAMPLES / "grpc_client.py"), url, f"/demo.Words/{name}", *texts]
        done = await trio.run_process(argv, capture_stdout=True, stderr=subprocess.STDOUT, check=False)
        assert done.returncode == code, done.stdout
        return done.stdout.decode()

    async with example(tmp_path, "grpc_service.py") as peer:
        assert await says(peer.url, "Upper", "gr\u00fcn") == "GR\u00dcN\n"
        assert await says(peer.url, "Count", "one two", "three") == "3\n"
        assert await says(peer.url, "Split", "one two") == "one\ntwo\n"
        assert await says(peer.url, "Echo", "one", "two") == "one\ntwo\n"
        assert "INVALID_ARGUMENT: there is no text" in await says(peer.url, "Upper", "", code=1)
        assert "UNIMPLEMENTED" in await says(peer.url, "Lower", "x", code=1)


def test_the_layer_hides_nothing_from_type_checkers() -> None:
    text = (EXAMPLES / "grpc_layer.py").read_text()
    assert "cast" not in text
    assert "ignore" not in text
