"""ASGI's websocket scope over HTTP/2 (RFC 8441)."""

from __future__ import annotations

import logging
import random
import tracemalloc
import zlib
from functools import partial
from typing import Any

import pytest
import trio
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from trio.testing import MockClock
from wsproto.events import BytesMessage, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason

import trio_h2
from tests.adapters.helpers import app_and_client
from tests.adapters.websockets import ACCEPT, DEFLATE, VERSION, App, deflated, frame, websocket
from tests.engine.helpers import MemoryListener, check_quiet, pattern
from trio_h2.adapters.asgi import ClientDisconnected, asgi_handler, serve_asgi_listeners


def disconnect(code: int, reason: str = "") -> dict[str, Any]:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


def after_accepting(*steps: Any) -> Any:
    """An app that accepts, and then sends these messages, or raises them."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        for step in steps:
            if isinstance(step, Exception):
                raise step
            await send(step)

    return app


# The handshake


async def test_the_scope_says_what_was_asked_for() -> None:
    app = App()
    async with app_and_client(app, root_path="/root", state={"a": 1}) as pair:
        headers = [("sec-websocket-protocol", "chat, superchat"), ("sec-websocket-protocol", "third")]
        async with websocket(pair.client, "/%C3%A4?b=c", *headers) as client:
            await client.close()
            await client.closed()
    scope = app.scope
    assert scope["type"] == "websocket"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert (scope["http_version"], scope["scheme"]) == ("2", "ws")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/root/ä", b"/root/%C3%A4", b"b=c")
    assert scope["subprotocols"] == ["chat", "superchat", "third"]
    assert scope["headers"][:2] == [(b"host", b"example.org"), (b"sec-websocket-version", b"13")]
    assert scope["state"] == {"a": 1}
    assert set(scope["extensions"]) == {"websocket.http.response", "trio_h2"}
    assert "method" not in scope


async def test_the_app_chooses_a_subprotocol_and_headers() -> None:
    app = App(ACCEPT | {"subprotocol": "chat", "headers": [(b"X-One", b"1"), (b"connection", b"upgrade")]})
    async with app_and_client(app) as pair:
        async with websocket(pair.client, "/", ("sec-websocket-protocol", "chat")) as client:
            headers = client.response.headers
            assert headers["sec-websocket-protocol"] == "chat"
            assert headers["x-one"] == "1"
            assert headers["server"] == "trio_h2"
            assert "connection" not in headers
            await client.close()
            await client.closed()


async def test_rfc6455_4_1_a_subprotocol_that_was_not_offered_is_not_sent() -> None:
    """The client would have to fail the WebSocket."""
    async with app_and_client(App(ACCEPT | {"subprotocol": "chat"})) as pair:
        async with websocket(pair.client, "/", ("sec-websocket-protocol", "superchat")) as client:
            assert "sec-websocket-protocol" not in client.response.headers
            await client.close()
            await client.closed()


@pytest.mark.parametrize(
    "headers", [[], [("sec-websocket-version", "8")], [("sec-websocket-version", "13"), ("sec-websocket-version", "8")]]
)
async def test_rfc6455_4_4_another_version_is_told_which_one_there_is(headers: list[tuple[str, str]]) -> None:
    async with app_and_client(App()) as pair:
        async with pair.client.stream("CONNECT", "/", protocol="websocket", headers=headers) as stream:
            response = await stream.response()
    assert (response.status, response.headers["sec-websocket-version"]) == (400, "13")
    assert "date" in response.headers  # RFC 9110 section 6.6.1


async def refused(app: Any) -> tuple[trio_h2.Response, bytes]:
    """The answer to a request for a WebSocket, and its body."""
    async with app_and_client(app) as pair:
        async with pair.client.stream("CONNECT", "/", protocol="websocket", headers=[VERSION]) as stream:
            return await stream.response(), b"".join([chunk async for chunk in stream])
    raise AssertionError


async def test_close_before_accept_is_a_403() -> None:
    disconnects: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4000})
        disconnects.append(await receive())

    response, _ = await refused(app)
    assert response.status == 403
    assert disconnects == [disconnect(4000)]


async def test_a_denial_is_a_response_of_the_apps() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        start = {"type": "websocket.http.response.start", "status": 401, "headers": [(b"X-Why", b"because")]}
        await send(start)
        await send({"type": "websocket.http.response.body", "body": b"go ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"away"})
        assert (await receive())["type"] == "websocket.disconnect"

    response, body = await refused(app)
    assert (response.status, response.headers["x-why"], body) == (401, "because", b"go away")


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        ([], "the app returned, and had not answered the request for a WebSocket"),
        (
            [{"type": "websocket.http.response.start", "status": 401}],
            "the app returned, and had not answered the request for a WebSocket",
        ),
        (
            [{"type": "websocket.send", "text": "x"}],
            "the app sent 'websocket.send' to a WebSocket before it was accepted",
        ),
        (
            [{"type": "websocket.http.response.start", "status": 200}],
            "websocket.http.response.start: 'status' 200 would accept the WebSocket (RFC 8441 section 5)",
        ),
        (
            [ACCEPT | {"subprotocol": b"chat"}],
            "websocket.accept: 'subprotocol' must be str, not bytes",
        ),
        (
            [ACCEPT | {"headers": 1}],
            "websocket.accept: 'headers' must be an iterable of pairs, not int",
        ),
    ],
)
async def test_what_an_app_does_wrong_before_it_accepts_is_a_500(
    caplog: pytest.LogCaptureFixture, messages: list[Any], error: str
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for message in messages:
            await send(message)

    response, _ = await refused(app)
    assert response.status == 500
    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == error


# Messages


@pytest.mark.parametrize("extensions", [[], [DEFLATE]])
async def test_messages_go_both_ways(autojump_clock: MockClock, extensions: list[tuple[str, str]]) -> None:
    app = App()
    async with app_and_client(app) as pair:
        async with websocket(pair.client, "/", *extensions) as client:
            assert client.deflate == bool(extensions)
            for message in ("", "héllo", "x" * 1_000_000, b"", b"\0\xff", pattern(1_000_000)):
                await client.send(message)
                assert await client.receive() == message
            await client.close(1000, "bye")
            assert await client.closed() == (1000, "bye")
        await check_quiet(pair)
    assert app.messages[1] == {"type": "websocket.receive", "text": "héllo", "bytes": None}
    assert app.messages[4] == {"type": "websocket.receive", "text": None, "bytes": b"\0\xff"}
    assert app.messages[-1] == disconnect(1000, "bye")


async def test_a_fragmented_message_is_one() -> None:
    app = App()
    async with app_and_client(app) as pair:
        async with websocket(pair.client) as client:
            for finished, part in ((False, "a"), (False, "ä"), (True, "b")):
                await client.send(TextMessage(part, message_finished=finished))
                if not finished:
                    await client.send(Ping(b"between"))
                    assert await client.receive() == Pong(b"between")
            assert await client.receive() == "aäb"
            await client.close()
            await client.closed()


async def test_a_ping_is_answered_also_while_the_app_is_busy(autojump_clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await trio.sleep(1000)

    async with app_and_client(app) as pair:
        async with websocket(pair.client) as client:
            with trio.fail_after(1):
                await client.send(Ping(b"one"))
                assert await client.receive() == Pong(b"one")


@pytest.mark.parametrize("size", [1000, 100_000])
async def test_an_app_that_does_not_receive_stops_its_client(autojump_clock: MockClock, size: int) -> None:
    """What it holds meanwhile is bounded: 64 KiB of messages, one message, and the stream's window."""
    go = trio.Event()
    received: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await go.wait()
        while (message := await receive())["type"] == "websocket.receive":
            received.append(len(message["bytes"]))

    sent = 0
    async with app_and_client(app) as pair:
        async with websocket(pair.client) as client:
            with trio.move_on_after(10) as scope:
                while True:
                    await client.stream.send_all(frame(bytes(size)))
                    sent += 1
            assert scope.cancelled_caught
            assert sent * size < 1_000_000
            go.set()
            await trio.sleep(1)
            assert len(received) >= sent


@pytest.mark.parametrize("payload", [b"", b"x"])
async def test_tiny_messages_are_bounded_too(autojump_clock: MockClock, payload: bytes) -> None:
    async with app_and_client(after_accepting_waits) as pair:
        async with websocket(pair.client) as client:
            with trio.move_on_after(10) as scope:
                await client.stream.send_all(frame(payload) * 150_000)
            assert scope.cancelled_caught


async def after_accepting_waits(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send(ACCEPT)
    await trio.sleep_forever()


@pytest.mark.parametrize("opcode", [1, 2])
async def test_a_message_of_tiny_fragments_takes_what_is_in_them(autojump_clock: MockClock, opcode: int) -> None:
    app = App()
    async with app_and_client(app) as pair:
        async with websocket(pair.client) as client:
            await client.stream.send_all(frame(b"", opcode, final=False))
            tracemalloc.start()
            try:
                await client.stream.send_all(frame(b"ab", 0, final=False) * 10_000 + frame(b"one", 9))
                assert await client.receive() == Pong(b"one")
                assert tracemalloc.get_traced_memory()[0] < 400_000
            finally:
                tracemalloc.stop()
            await client.stream.send_all(frame(b"\r\n", 0))
            message = await client.receive()
            whole = b"ab" * 10_000 + b"\r\n"
            assert message == (whole.decode() if opcode == 1 else whole)
            await client.close()
            await client.closed()


async def test_sending_waits_for_the_clients_window(autojump_clock: MockClock) -> None:
    sent: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        for number in range(100):
            await send({"type": "websocket.send", "bytes": bytes(10_000)})
            sent.append(number)

    async with app_and_client(app, config=trio_h2.Config(initial_window_size=65_535, max_window_size=65_535)) as pair:
        async with websocket(pair.client) as client:
            await trio.sleep(10)
            assert len(sent) < 10
            for _ in range(100):
                assert await client.receive() == bytes(10_000)
            assert await client.closed() == (1000, "")


async def after(octets: bytes, *extensions: tuple[str, str], **arguments: Any) -> tuple[tuple[int, str | None], Any]:
    """The server's Close for what a client sends, and the app's last message."""
    app = App()
    async with app_and_client(app, **arguments) as pair:
        async with websocket(pair.client, "/", *extensions) as client:
            await client.stream.send_all(octets)
            closed = await client.closed()
            with trio.fail_after(10):
                assert await client.stream.receive_some() == b""
    return closed, app.messages[-1]


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (frame(b"x", 3), 1002),  # RFC 6455 section 5.2: an opcode that nobody defines
        (bytes([0xC2, 0x81]) + bytes(4) + b"x", 1002),  # section 5.2: a reserved bit
        (b"\x82\x01x", 1002),  # section 5.1: not masked
        (frame(b"x", 0), 1002),  # section 5.4: a continuation of nothing
        (frame(b"x", 1, final=False) + frame(b"x", 1), 1002),  # section 5.4: a message within a message
        (frame(b"x", 9, final=False), 1002),  # section 5.5: a fragmented control frame
        (frame(bytes(126), 9), 1002),  # section 5.5: a large one
        (frame(b"\x03", 8), 1002),  # section 5.5.1: half a code
        (frame(b"\x03\xec", 8), 1002),  # section 7.4.1: a code that is never sent
        (frame(b"\x03\xe8\xff", 8), 1007),  # section 8.1: a reason that is no UTF-8
        (frame(b"\xff", 1), 1007),  # section 8.1
        (frame(b"\xc3", 1), 1007),  # half a character at the end
        (frame(b"a\xc3", 1, final=False) + frame(b"b", 0), 1007),  # across two frames
    ],
)
async def test_rfc6455_7_1_7_what_a_client_does_wrong_is_closed_with_its_code(
    autojump_clock: MockClock, octets: bytes, code: int
) -> None:
    closed, last = await after(octets)
    assert closed[0] == code
    assert (last["type"], last["code"]) == ("websocket.disconnect", code)


@pytest.mark.parametrize("kind", [1, 2])
async def test_rfc6455_7_4_1_a_message_that_is_too_large_is_closed_with_1009(
    autojump_clock: MockClock, kind: int
) -> None:
    closed, last = await after(frame(b"x" * 10_001, kind), max_message_size=10_000)
    assert closed[0] == 1009
    assert last == disconnect(1009, "more than 10000 octets")


async def test_a_compressed_message_is_bounded_by_what_it_becomes(autojump_clock: MockClock) -> None:
    compressor = zlib.compressobj(wbits=-15)
    bomb = compressor.compress(bytes(50_000_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)[:-4]
    assert len(bomb) < 100_000
    closed, _ = await after(frame(bomb, compressed=True), DEFLATE)
    assert closed[0] == 1009


@pytest.mark.parametrize("size", [9_999, 10_000])
async def test_a_message_as_large_as_may_be_is_received(size: int) -> None:
    async with app_and_client(App(), max_message_size=10_000) as pair:
        async with websocket(pair.client) as client:
            await client.send(bytes(size))
            assert await client.receive() == bytes(size)
            await client.close()
            await client.closed()


@pytest.mark.parametrize("size", [0, True, "1"])
def test_a_wrong_size_is_named(size: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="max_message_size"):
        asgi_handler(App(), max_message_size=size)


# Closing


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "away"), (4999, "mine")])
async def test_the_apps_close_has_its_code(autojump_clock: MockClock, code: int, reason: str) -> None:
    close = {"type": "websocket.close", "code": code, "reason": reason}
    disconnects: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await after_accepting(close)(scope, receive, send)
        disconnects.append(await receive())
        with pytest.raises(RuntimeError, match="after it was closed"):
            await send({"type": "websocket.send", "text": "late"})

    async with app_and_client(app) as pair:
        async with websocket(pair.client) as client:
            assert await client.closed() == (code, reason)
        await check_quiet(pair)
    assert disconnects == [disconnect(code, reason)]


@pytest.mark.parametrize(("sent", "received"), [(1000, 1000), (4000, 4000), (CloseReason.NO_STATUS_RCVD, 1005)])
async def test_the_clients_close_has_its_code(autojump_clock: MockClock, sent: int, received: int) -> None:
    app = App()
    async with app_and_client(app) as pair:
        async with websocket(pair.client) as client:
            await client.close(sent)
            assert (await client.closed())[0] == received
        await check_quiet(pair)
    assert app.messages == [disconnect(received)]


async def test_an_app_that_returns_closes_with_1000(autojump_clock: MockClock) -> None:
    async with app_and_client(after_accepting()) as pair:
        async with websocket(pair.client) as client:
            assert await client.closed() == (1000, "")
        await check_quiet(pair)


async def test_an_app_that_raises_closes_with_1011(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with app_and_client(after_accepting(ValueError("wrong"))) as pair:
        async with websocket(pair.client, "/path?secret") as client:
            assert (await client.closed())[0] == 1011
        await check_quiet(pair)
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "the app raised for the WebSocket '/path'")
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "wrong"


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"type": "websocket.send"}, "websocket.send: exactly one of 'text' and 'bytes' must be there"),
        (
            {"type": "websocket.send", "text": "a", "bytes": b"a"},
            "websocket.send: exactly one of 'text' and 'bytes' must be there",
        ),
        ({"type": "websocket.send", "text": b"a"}, "websocket.send: 'text' must be str, not bytes"),
        ({"type": "websocket.send", "bytes": "a"}, "websocket.send: 'bytes' must be bytes, not str"),
        ({"type": "websocket.close", "code": "1000"}, "websocket.close: 'code' must be an int, not str"),
        (
            {"type": "websocket.close", "code": 1006},
            "websocket.close: 'code' must be one that may be sent (RFC 6455 section 7.4), not 1006",
        ),
        ({"type": "websocket.close", "reason": b"x"}, "websocket.close: 'reason' must be str, not bytes"),
        (ACCEPT, "the app sent 'websocket.accept' to a WebSocket while it was open"),
        ({"type": "http.response.start"}, "the app sent 'http.response.start' to a WebSocket while it was open"),
    ],
)
async def test_what_an_app_sends_wrong_is_named(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, message: Any, error: str
) -> None:
    async with app_and_client(after_accepting(message)) as pair:
        async with websocket(pair.client) as client:
            assert (await client.closed())[0] == 1011
    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == error


@pytest.mark.parametrize("how", ["reset", "end", "connection"])
async def test_a_client_that_goes_without_a_close_is_1006(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    app = App()
    async with app_and_client(app) as pair:
        async with websocket(pair.client) as client:
            await client.send("one")
            assert await client.receive() == "one"
            if how == "reset":
                await client.stream.reset()
            elif how == "end":
                await client.stream.send_eof()
            else:
                await pair.client.aclose()
            await trio.sleep(20)
    assert app.messages[-1] == disconnect(1006)
    assert caplog.records == []


async def test_sending_to_a_client_that_closed_is_an_oserror(autojump_clock: MockClock) -> None:
    """A Close of the app's has nothing to add, and is no error."""
    ended = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        assert await receive() == await receive() == disconnect(1000)
        with pytest.raises(ClientDisconnected):
            await send({"type": "websocket.send", "text": "late"})
        await send({"type": "websocket.close"})
        ended.set()

    async with app_and_client(app) as pair:
        async with websocket(pair.client) as client:
            await client.close()
            await client.closed()
    assert ended.is_set()


async def test_an_app_that_does_not_notice_is_cancelled(autojump_clock: MockClock) -> None:
    ended: list[float] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with app_and_client(app) as pair:
        async with websocket(pair.client) as client:
            await client.stream.reset()
            start = trio.current_time()
        await trio.sleep(10)
    assert ended == [pytest.approx(start + 1)]


async def test_a_text_that_is_none_breaks_nothing(autojump_clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        with pytest.raises(UnicodeEncodeError):
            await send({"type": "websocket.send", "text": "\ud800"})
        with pytest.raises(UnicodeEncodeError):
            await send({"type": "websocket.close", "reason": "\ud800"})
        await send({"type": "websocket.send", "text": "next"})

    async with app_and_client(app) as pair:
        async with websocket(pair.client, "/", DEFLATE) as client:
            assert await client.receive() == "next"
            assert await client.closed() == (1000, "")


async def test_a_client_that_does_not_answer_our_close_is_not_waited_for_long(autojump_clock: MockClock) -> None:
    async with app_and_client(after_accepting()) as pair:
        async with websocket(pair.client) as client:
            start = trio.current_time()
            assert await client.stream.receive_some() == b"\x88\x02\x03\xe8"
            assert await client.stream.receive_some() == b""
            assert trio.current_time() - start == pytest.approx(5)


async def test_a_send_that_was_cancelled_breaks_the_websocket(autojump_clock: MockClock) -> None:
    """The compressor is a message ahead of the client's: what came next would be garbage to it."""
    errors: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        with trio.move_on_after(1):
            await send({"type": "websocket.send", "bytes": random.Random(1).randbytes(1_000_000)})
        with pytest.raises((RuntimeError, trio_h2.H2Error)) as caught:
            await send({"type": "websocket.send", "text": "x"})
        errors.append(str(caught.value))

    async with app_and_client(app) as pair:
        async with websocket(pair.client, "/", DEFLATE) as client:
            await trio.sleep(5)
            with pytest.raises(trio_h2.StreamResetError):
                while await client.stream.receive_some():
                    pass
    assert errors == ["a cancelled send has broken this WebSocket"]


async def test_a_shutdown_closes_with_1001(autojump_clock: MockClock) -> None:
    app = App()
    listener = MemoryListener()

    async def only_websockets(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await app(scope, receive, send)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_asgi_listeners, only_websockets, [listener]))
        async with trio_h2.connect_over(listener.connect(), authority="example.org") as connection:
            async with websocket(connection) as client:
                await client.send("one")
                assert await client.receive() == "one"
                start = trio.current_time()
                nursery.start_soon(server.shutdown)
                assert await client.closed() == (1001, "")
            await server.shutdown()
            assert trio.current_time() - start < 2
    assert app.messages[-1] == disconnect(1001)


@pytest.mark.parametrize(
    ("offer", "agreed"),
    [
        ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
        ("x-nonsense, permessage-deflate; server_no_context_takeover", "permessage-deflate"),
        ("x-nonsense", None),
    ],
)
async def test_rfc7692_compression_is_agreed_on_where_the_client_offers_it(offer: str, agreed: str | None) -> None:
    async with app_and_client(App()) as pair:
        async with websocket(pair.client, "/", ("sec-websocket-extensions", offer)) as client:
            answer = client.response.headers.get("sec-websocket-extensions")
            assert answer == agreed or (agreed is not None and answer is not None and answer.startswith(agreed))
            for _ in range(3):
                await client.send("hello" * 100)
                assert await client.receive() == "hello" * 100
            await client.close()
            await client.closed()


@pytest.mark.parametrize("offer", ["server_max_window_bits=x", "server_max_window_bits=99", "client_max_window_bits="])
async def test_rfc7692_5_1_an_offer_that_makes_no_sense_is_declined(offer: str) -> None:
    async with app_and_client(App()) as pair:
        for other in ("", ", permessage-deflate"):
            offers = ("sec-websocket-extensions", f"permessage-deflate; {offer}{other}")
            async with websocket(pair.client, "/", offers) as client:
                assert client.deflate == bool(other)
                await client.send("hello")
                assert await client.receive() == "hello"
                await client.close()
                await client.closed()


async def test_rfc7692_6_1_control_frames_come_within_a_compressed_message() -> None:
    octets = deflated(b"hello" * 100)
    async with app_and_client(App()) as pair:
        async with websocket(pair.client, "/", DEFLATE) as client:
            for _ in range(2):
                first, rest = frame(octets[:5], compressed=True, final=False), frame(octets[5:], 0)
                await client.stream.send_all(frame(b"a", 9) + first + frame(b"b", 9) + rest)
                assert await client.receive() == Pong(b"a")
                assert await client.receive() == Pong(b"b")
                assert await client.receive() == b"hello" * 100
            await client.close()
            await client.closed()


async def test_rfc7692_7_2_3_5_a_message_may_end_with_a_last_block() -> None:
    async with app_and_client(App()) as pair:
        async with websocket(pair.client, "/", DEFLATE) as client:
            for mode in (zlib.Z_FINISH, zlib.Z_FINISH, zlib.Z_SYNC_FLUSH):
                await client.stream.send_all(frame(deflated(b"hello", mode), compressed=True))
                assert await client.receive() == b"hello"
            await client.close()
            await client.closed()


async def test_what_follows_a_last_block_is_closed_with_1007(autojump_clock: MockClock) -> None:
    octets = frame(deflated(b"hello", zlib.Z_FINISH), compressed=True, final=False) + frame(bytes(100), 0, final=False)
    closed, _ = await after(octets, DEFLATE)
    assert closed[0] == 1007


# Starlette


async def echo(socket: WebSocket) -> None:
    await socket.accept("chat")
    async for text in socket.iter_text():
        await socket.send_text(text)


async def forgets(socket: WebSocket) -> None:
    """What its client closes comes out of it as WebSocketDisconnect."""
    await socket.accept()
    while True:
        await socket.receive_bytes()


async def denies(socket: WebSocket) -> None:
    await socket.receive()
    await socket.send_denial_response(JSONResponse({"no": 1}, 418))


STARLETTE = Starlette(
    routes=[WebSocketRoute("/", echo), WebSocketRoute("/forgets", forgets), WebSocketRoute("/denies", denies)]
)


async def test_starlette(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with app_and_client(STARLETTE) as pair:
        async with websocket(pair.client, "/", DEFLATE) as client:
            await client.send("hello")
            assert await client.receive() == "hello"
            await client.close()
            await client.closed()
        async with websocket(pair.client, "/forgets") as client:
            await client.send(BytesMessage(b"x"))
            await client.close()
            await client.closed()
        for path, status in (("/denies", 418), ("/nowhere", 403)):
            async with pair.client.stream("CONNECT", path, protocol="websocket", headers=[VERSION]) as stream:
                assert (await stream.response()).status == status
        await check_quiet(pair)
    assert caplog.records == []
