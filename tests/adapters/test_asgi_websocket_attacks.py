"""What a client may do to a WebSocket, and an app to its own: nothing grows, nothing waits without an end."""

from __future__ import annotations

import gc
import logging
import random
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import trio_h2
from tests.adapters.websockets import (
    ACCEPT,
    DEFLATE,
    TRANSPORTS,
    App,
    RawWebSocket,
    ServerFrame,
    close_frame,
    deflated,
    frame,
    raw_handshake,
    raw_octets,
    raw_over_http1,
    raw_websocket,
)
from trio_h2.adapters.asgi import ClientDisconnected

OVER_BOTH = pytest.mark.parametrize("transport", TRANSPORTS)

CLOSE_1000 = ServerFrame(8, b"\x03\xe8")


async def waits(scope: Any, receive: Any, send: Any) -> None:
    """An app that accepts, and does nothing."""
    await receive()
    await send(ACCEPT)
    await trio.sleep_forever()


class Ending:
    """An app that accepts, receives to the end, and then needs time; `ended` has when it was done, or was cancelled."""

    def __init__(self, seconds: float, *, receives: bool = True, closes: bool = False) -> None:
        self.ended: list[tuple[str, float]] = []
        self._seconds = seconds
        self._receives = receives
        self._closes = closes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        if self._closes:
            await send({"type": "websocket.close"})
        while self._receives and (await receive())["type"] != "websocket.disconnect":
            pass
        try:
            await trio.sleep(self._seconds)
            self.ended.append(("done", trio.current_time()))
        except trio.Cancelled:
            self.ended.append(("cancelled", trio.current_time()))
            raise


# The end


@OVER_BOTH
async def test_rfc6455_5_5_1_the_connection_ends_with_the_handshake_whatever_the_app_does(
    autojump_clock: MockClock, transport: str
) -> None:
    app = Ending(0.5)
    async with raw_websocket(transport, app) as client:
        start = trio.current_time()
        await client.send(close_frame(1000))
        assert await client.frames() == [CLOSE_1000]
        assert trio.current_time() == start
        assert app.ended == []
        await client.leave()
        await trio.sleep(2)
    assert app.ended == [("done", pytest.approx(start + 0.5))]


@OVER_BOTH
async def test_rfc6455_5_5_1_it_ends_too_where_the_app_has_closed_first(
    autojump_clock: MockClock, transport: str
) -> None:
    """The app is not cancelled then: it has done all that it had to."""
    app = Ending(100, closes=True)
    async with raw_websocket(transport, app) as client:
        start = trio.current_time()
        assert await client.frame() == CLOSE_1000
        await client.send(close_frame(1000))
        assert await client.frame() is None
        assert trio.current_time() == start
        await client.leave()
        await trio.sleep(200)
    assert app.ended == [("done", pytest.approx(start + 100))]


@pytest.mark.parametrize("receives", [True, False])
async def test_rfc6455_5_5_1_it_ends_at_once_over_tls_too(
    autojump_clock: MockClock,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
    receives: bool,
) -> None:
    """The client waits for the end of TLS before it ends its own side."""
    async with raw_octets(Ending(0, receives=receives), ssl_context=server_ssl_context) as (server, octets):
        transport = trio.SSLStream(octets, client_ssl_context, server_hostname="localhost")
        async with raw_over_http1(server, transport) as client:
            await client.response()
            start = trio.current_time()
            await client.send(close_frame(1000))
            assert await client.frame() == CLOSE_1000
            assert await client.frame() is None
            await client.leave()
    assert trio.current_time() == start


@OVER_BOTH
@pytest.mark.parametrize("last", ["stays", "leaves", "cut"])
async def test_an_app_has_its_time_of_grace_from_the_clients_close_on(
    autojump_clock: MockClock, transport: str, last: str
) -> None:
    app = Ending(1000, receives=False)
    async with raw_websocket(transport, app) as client:
        start = trio.current_time()
        await client.send(close_frame(1000))
        assert await client.frame() == CLOSE_1000
        if last == "leaves":
            await client.leave()
        elif last == "cut":
            await client.cut()
        await trio.sleep(3)
        assert app.ended == [("cancelled", pytest.approx(start + 1))]


@OVER_BOTH
async def test_what_comes_after_a_close_is_dropped(autojump_clock: MockClock, transport: str) -> None:
    messages: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        while not messages or messages[-1]["type"] == "websocket.receive":
            messages.append(await receive())

    async with raw_websocket(transport, app) as client:
        late = frame(b"late", 1) + frame(b"late", 9) + close_frame(4000)
        await client.send(frame(b"one", 1) + close_frame(1000) + late * 1000)
        assert await client.frames() == [CLOSE_1000]
    assert [message.get("text") for message in messages] == ["one", None]


@OVER_BOTH
async def test_a_client_that_floods_after_its_close_is_left_alone(autojump_clock: MockClock, transport: str) -> None:
    async with raw_websocket(transport, Ending(1000, receives=False)) as client:
        await client.send(close_frame(1000))
        with trio.move_on_after(60) as scope, pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):
            while True:
                await client.send(frame(bytes(10_000)))
                await trio.sleep(0.1)
        assert not scope.cancelled_caught


async def test_a_pong_on_its_way_does_not_keep_the_close_back(autojump_clock: MockClock) -> None:
    """It waits for the client's window when the app ends."""
    go = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await go.wait()

    config = trio_h2.Config(initial_window_size=100, max_window_size=100)
    async with raw_websocket("h2", app, client_config=config) as client:
        await client.send(frame(b"x" * 125, 9))
        await wait_all_tasks_blocked()
        go.set()
        await wait_all_tasks_blocked()
        assert await client.frame() == ServerFrame(10, b"x" * 125)
        assert await client.frame() == CLOSE_1000


@OVER_BOTH
async def test_a_client_that_goes_before_it_is_accepted_is_noticed(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, transport: str
) -> None:
    received: list[Any] = []
    ended: list[float] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received.append(await receive())
        received.append(await receive())
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with raw_handshake(transport, app) as client:
        await wait_all_tasks_blocked()
        start = trio.current_time()
        await client.cut()
        await trio.sleep(5)
    assert received == [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1006, "reason": ""}]
    assert ended == [pytest.approx(start + 1)]
    assert caplog.records == []


@OVER_BOTH
async def test_what_is_sent_before_it_is_accepted_is_received(autojump_clock: MockClock, transport: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep(1)
        await App()(scope, receive, send)

    async with raw_handshake(transport, app) as client:
        for text in (b"one", b"two"):
            await wait_all_tasks_blocked()
            await client.send(frame(text, 1))
        assert (await client.response())[0] == 200
        assert [await client.frame(), await client.frame()] == [ServerFrame(1, b"one"), ServerFrame(1, b"two")]


# Silence

PING = ServerFrame(9, b"")


@OVER_BOTH
async def test_rfc6455_5_5_2_a_silent_client_is_pinged_and_given_up(autojump_clock: MockClock, transport: str) -> None:
    """Over HTTP/1.1 nothing else would say that it has gone, and HTTP/2's own keepalive is off by default."""
    app = Ending(0.5)
    async with raw_websocket(transport, app) as client:
        start = trio.current_time()
        assert await client.frame() == PING
        pinged = trio.current_time()
        assert start + 19.9 < pinged < start + 40.1
        await trio.sleep(19.9)
        assert app.ended == []
        await trio.sleep(0.7)
        assert app.ended == [("done", pytest.approx(pinged + 20.5))]
        assert (await client.frame(), await client.frame()) == (CLOSE_1000, None)
        assert trio.current_time() < pinged + 30


@OVER_BOTH
@pytest.mark.parametrize("octets", [frame(b"", 10), frame(b"x")[:3]], ids=["a pong", "part of a frame"])
async def test_a_client_that_answers_stays(autojump_clock: MockClock, transport: str, octets: bytes) -> None:
    app = App()
    async with raw_websocket(transport, app) as client:
        for _ in range(3):
            assert await client.frame() == PING
            await trio.sleep(19)
            await client.send(octets[:1])
            await client.send(octets[1:])
            octets = octets if octets == frame(b"", 10) else b"\0"
        await trio.sleep(1)
        assert app.messages == []


@OVER_BOTH
async def test_a_client_that_is_heard_is_not_pinged(autojump_clock: MockClock, transport: str) -> None:
    async with raw_websocket(transport, App()) as client:
        for _ in range(10):
            await trio.sleep(15)
            await client.send(frame(b"x"))
            assert await client.frame() == ServerFrame(2, b"x")


@OVER_BOTH
async def test_a_client_whom_the_app_has_stopped_is_not_given_up(autojump_clock: MockClock, transport: str) -> None:
    """Its Pong would be behind what the app has not received."""
    received = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal received
        await receive()
        await send(ACCEPT)
        await trio.sleep(100)
        while (await receive())["type"] == "websocket.receive":
            received += 1

    async with raw_websocket(transport, app) as client:
        await client.send(frame(bytes(70_000)) * 2)
        await trio.sleep(101)
        assert received == 2
        await client.send(close_frame(1000))
        assert await client.frames() == [CLOSE_1000]


# A shutdown, whatever is going on


@OVER_BOTH
async def test_a_shutdown_closes_what_is_accepted_in_its_course(autojump_clock: MockClock, transport: str) -> None:
    messages: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await trio.sleep(1)
        await send(ACCEPT)
        messages.append(await receive())

    async with raw_handshake(transport, app) as client, trio.open_nursery() as nursery:
        await wait_all_tasks_blocked()
        nursery.start_soon(client.server.shutdown, 5)
        assert (await client.response())[0] == 200
        assert await client.frame() == ServerFrame(8, b"\x03\xe9")
        await client.send(close_frame(1001))
        assert await client.frame() is None
    assert messages == [{"type": "websocket.disconnect", "code": 1001, "reason": ""}]


async def connecting(receive: Any, send: Any) -> None:
    await receive()
    await trio.sleep_forever()


async def not_receiving(receive: Any, send: Any) -> None:
    await receive()
    await send(ACCEPT)
    await trio.sleep_forever()


async def sending(receive: Any, send: Any) -> None:
    await receive()
    await send(ACCEPT)
    while True:
        await send({"type": "websocket.send", "bytes": bytes(10_000)})


async def closed(receive: Any, send: Any) -> None:
    await receive()
    await send(ACCEPT)
    await send({"type": "websocket.close"})
    await trio.sleep_forever()


async def returned(receive: Any, send: Any) -> None:
    await receive()
    await send(ACCEPT)


async def denying(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.http.response.start", "status": 401})
    while True:
        await send({"type": "websocket.http.response.body", "body": bytes(10_000), "more_body": True})


async def denied(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close"})
    await trio.sleep_forever()


@OVER_BOTH
@pytest.mark.parametrize("stage", [connecting, not_receiving, sending, closed, returned, denying, denied])
@pytest.mark.parametrize(
    "octets", [b"", frame(bytes(70_000)) * 2, close_frame(1000)], ids=["silent", "sends", "closes"]
)
async def test_a_shutdown_ends_in_its_time_at_every_stage(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, transport: str, stage: Any, octets: bytes
) -> None:
    """With a client that reads nothing, and answers no Close."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await stage(receive, send)

    async with raw_handshake(transport, app) as client:
        if octets and stage not in (connecting, denying, denied):
            await client.response()
            await client.send(octets)
        await wait_all_tasks_blocked()
        start = trio.current_time()
        await client.server.shutdown(5)
        assert trio.current_time() - start < 12
    assert caplog.records == []


# Memory, and the loop's turns


@asynccontextmanager
async def traced(most: int) -> AsyncIterator[None]:
    """What is allocated in the block, and not given up at its end, has at most so many octets."""
    tracemalloc.start()
    try:
        yield
        await wait_all_tasks_blocked()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < most
    finally:
        tracemalloc.stop()


async def send_all_that_is_taken(client: RawWebSocket, octets: bytes) -> None:
    """Until the other side stops it."""
    with trio.move_on_after(1):
        while True:
            await client.send(octets)


@OVER_BOTH
@pytest.mark.parametrize(
    ("octets", "extensions"),
    [
        (frame(b"") * 1000, []),
        (frame(b"x" * 100) * 100, []),
        (frame(deflated(bytes(100_000)), compressed=True) * 100, [DEFLATE]),
        (frame(deflated(bytes(1_000_000)), compressed=True) * 10, [DEFLATE]),
    ],
    ids=["empty", "small", "compressed", "bombs"],
)
async def test_what_an_app_does_not_receive_is_bounded(
    autojump_clock: MockClock, transport: str, octets: bytes, extensions: list[tuple[str, str]]
) -> None:
    """64 KiB of messages, or one message, beside the stream's window, or what the socket holds."""
    async with raw_websocket(transport, waits, *extensions) as client:
        async with traced(3_000_000):
            await send_all_that_is_taken(client, octets)


@OVER_BOTH
async def test_the_contexts_of_compression_are_small(autojump_clock: MockClock, transport: str) -> None:
    """A client may open many WebSockets, and needs only a message on each."""
    async with raw_websocket(transport, App(), DEFLATE) as client:
        async with traced(180_000):  # 40,000 of them the message
            await client.send(frame(deflated(bytes(40_000)), compressed=True))
            assert await client.frame() is not None


@OVER_BOTH
async def test_a_client_that_pings_and_does_not_read_is_stopped(autojump_clock: MockClock, transport: str) -> None:
    config = trio_h2.Config(initial_window_size=65_535, max_window_size=65_535)
    async with raw_websocket(transport, waits, client_config=config) as client:
        async with traced(1_000_000):
            await send_all_that_is_taken(client, frame(b"x" * 125, 9) * 100)


@pytest.mark.parametrize(
    "octets", [frame(b"", 10), frame(b"", 0, final=False), frame(b"", 9)], ids=["pongs", "fragments", "pings"]
)
async def test_a_flood_of_frames_leaves_others_their_turns(autojump_clock: MockClock, octets: bytes) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with raw_websocket("h2", waits) as client:
        await client.send(frame(b"", final=False) + octets * 2_000 + close_frame(1000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            while await client.frame() != CLOSE_1000:
                pass
            nursery.cancel_scope.cancel()
    assert turns > 25


# What an app does


@OVER_BOTH
async def test_two_tasks_may_send_at_once(autojump_clock: MockClock, transport: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        async with trio.open_nursery() as nursery:
            for name in (b"a", b"b"):
                nursery.start_soon(send_many, send, name)

    async def send_many(send: Any, name: bytes) -> None:
        for number in range(50):
            await send({"type": "websocket.send", "bytes": name * (number * 1000)})

    async with raw_websocket(transport, app) as client:
        received = [await client.frame() for _ in range(100)]
        assert await client.frame() == CLOSE_1000
    for name in (b"a", b"b"):
        own = [one.payload for one in received if one is not None and one.payload.strip(name) == b"" != one.payload]
        assert own == [name * (number * 1000) for number in range(1, 50)]


@OVER_BOTH
async def test_two_tasks_may_receive_at_once(autojump_clock: MockClock, transport: str) -> None:
    received: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(receive_all, receive)

    async def receive_all(receive: Any) -> None:
        while (message := await receive())["type"] == "websocket.receive":
            received.append(message["text"])
        received.append("the end")

    async with raw_websocket(transport, app) as client:
        await client.send(b"".join([frame(b"%d" % number, 1) for number in range(100)]))
        await wait_all_tasks_blocked()
        await client.send(close_frame(1000))
        assert await client.frames() == [CLOSE_1000]
    assert sorted(received[:-2]) == sorted(map(str, range(100)))
    assert received[-2:] == ["the end", "the end"]


@OVER_BOTH
@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_536])
async def test_rfc6455_7_4_a_code_that_an_app_may_not_send_is_named(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, transport: str, code: int
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.close", "code": code})

    async with raw_websocket(transport, app) as client:
        assert await client.frame() == ServerFrame(8, b"\x03\xf3")  # 1011
    (record,) = caplog.records
    assert record.exc_info is not None
    assert f"websocket.close: 'code' must be one that may be sent (RFC 6455 section 7.4), not {code}" in str(
        record.exc_info[1]
    )


@OVER_BOTH
@pytest.mark.parametrize("code", [1000, 1003, 1007, 1014, 3000, 4999])
async def test_rfc6455_7_4_a_code_that_an_app_may_send_is_sent(
    autojump_clock: MockClock, transport: str, code: int
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.close", "code": code, "reason": "ä" * 100})

    async with raw_websocket(transport, app) as client:
        assert await client.frame() == ServerFrame(8, code.to_bytes(2, "big") + ("ä" * 61).encode())


@OVER_BOTH
async def test_a_cancelled_send_ends_the_connection_and_nothing_looks_complete(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, transport: str
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        with trio.move_on_after(1):
            await send({"type": "websocket.send", "bytes": random.Random(1).randbytes(2_000_000)})
        await send({"type": "websocket.send", "text": "x"})

    async with raw_websocket(transport, app) as client:
        await trio.sleep(5)
        with pytest.raises((AssertionError, trio_h2.StreamResetError, trio.BrokenResourceError)):
            await client.frame()
    assert "a cancelled send has broken this WebSocket" in caplog.text


@OVER_BOTH
async def test_a_client_that_does_not_read_is_not_waited_for_without_end(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, transport: str
) -> None:
    ended: list[float] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        try:
            while True:
                await send({"type": "websocket.send", "bytes": bytes(10_000)})
        except ClientDisconnected:
            ended.append(trio.current_time())
            raise

    async with raw_websocket(transport, app) as client:
        start = trio.current_time()
        await trio.sleep(1000)
        assert ended
        assert ended[0] - start < 400
        await client.cut()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# Compression


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate; nonsense",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=010",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate2",
    ],
)
async def test_rfc7692_7_1_an_offer_with_parameters_that_are_none_is_declined(offer: str) -> None:
    async with raw_websocket("h2", App(), ("sec-websocket-extensions", offer)) as client:
        assert "sec-websocket-extensions" not in client.headers
        await client.send(frame(b"x"))
        assert await client.frame() == ServerFrame(2, b"x")
        await client.send(close_frame(1000))
        assert await client.frames() == [CLOSE_1000]
