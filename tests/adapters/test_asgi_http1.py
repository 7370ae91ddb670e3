"""ASGI apps over HTTP/1.1, on the port of HTTP/2."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import h11
import pytest
import trio
from trio.testing import MockClock
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

import trio_h2
from tests.adapters.helpers import START, body, sends
from tests.adapters.test_asgi_http import echo
from tests.adapters.websockets import App
from tests.engine.helpers import FOREVER, MemoryListener, pattern
from tests.peers import TLSFiles, require_program
from trio_h2.adapters.asgi import ClientDisconnected, serve_asgi, serve_asgi_listeners


class Client:
    """A client of HTTP/1.1: octets out, and h11's events in."""

    def __init__(self, transport: trio.abc.Stream) -> None:
        self.transport = transport
        self._protocol = h11.Connection(h11.CLIENT)

    async def send(self, octets: bytes) -> None:
        await self.transport.send_all(octets)

    async def response(self, method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes]:
        """The next final response, whose interim ones are left out."""
        if self._protocol.our_state is not h11.IDLE:
            self._protocol.start_next_cycle()
        self._protocol.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        self._protocol.send(h11.EndOfMessage())
        head, octets = None, b""
        while True:
            event = self._protocol.next_event()
            if event is h11.NEED_DATA:
                self._protocol.receive_data(await self.transport.receive_some())
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                octets += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                return head.status_code, dict(head.headers), octets

    async def ended(self) -> bool:
        """Whether nothing comes but the end."""
        return await self.transport.receive_some() == b""


@asynccontextmanager
async def serving(app: Any, **arguments: Any) -> AsyncIterator[tuple[trio_h2.H2Server, MemoryListener]]:
    """An app without a lifespan, and where to connect to it."""

    async def without_lifespan(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] != "lifespan"
        await app(scope, receive, send)

    listener = MemoryListener()
    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            serve = partial(serve_asgi_listeners, without_lifespan, [listener], **arguments)
            server = await nursery.start(serve)
            yield server, listener
            await server.shutdown(0)


@asynccontextmanager
async def connected(app: Any, **arguments: Any) -> AsyncIterator[Client]:
    async with serving(app, **arguments) as (_, listener):
        client = Client(listener.connect())
        yield client
        await trio.aclose_forcefully(client.transport)


GET = b"GET /a%20b?c=d HTTP/1.1\r\nhost: example.org\r\nx-one: 1\r\n\r\n"
HELLO = sends(START, body(b"hello"))


async def test_the_scope_says_what_was_asked_for(autojump_clock: MockClock) -> None:
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await HELLO(scope, receive, send)

    async with connected(app, root_path="/root") as client:
        for request in (GET, GET.replace(b"GET /", b"GET http://example.org/"), GET.replace(b"1.1", b"1.0")):
            await client.send(request)
            assert (await client.response())[0] == 200
    for scope in scopes:
        assert (scope["type"], scope["method"], scope["scheme"]) == ("http", "GET", "http")
        assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/root/a b", b"/root/a%20b", b"c=d")
        assert scope["headers"] == [(b"host", b"example.org"), (b"x-one", b"1")]
        assert set(scope["extensions"]) == {
            "http.response.trailers",
            "http.response.early_hint",
            "http.response.pathsend",
        }
    assert [scope["http_version"] for scope in scopes] == ["1.1", "1.1", "1.0"]


@pytest.mark.parametrize(
    ("target", "host", "path", "query"),
    [
        (b"/a?to=http://evil.example/admin", b"x", "/a", b"to=http://evil.example/admin"),
        (b"/a://b/c", b"x", "/a://b/c", b""),
        (b"//b/c", b"x", "//b/c", b""),
        (b"HTTP://b:80/c?d=/e", b"b:80", "/c", b"d=/e"),
        (b"http://b?c=/d", b"b", "/", b"c=/d"),
        (b"http://b", b"b", "/", b""),
    ],
)
async def test_rfc9112_3_2_the_target_names_path_and_host(
    autojump_clock: MockClock, target: bytes, host: bytes, path: str, query: bytes
) -> None:
    """Section 3.2.2: the host of the absolute form is the one, whatever Host says."""
    scopes = await scopes_of(b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % target)
    assert [(scope["path"], scope["query_string"]) for scope in scopes] == [(path, query)]
    assert scopes[0]["headers"] == [(b"host", host)]


async def test_rfc9112_3_2_4_the_asterisk_is_for_options(autojump_clock: MockClock) -> None:
    (scope,) = await scopes_of(b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (scope["method"], scope["path"]) == ("OPTIONS", "*")


async def test_rfc9110_2_5_a_newer_version_is_answered_as_1_1(autojump_clock: MockClock) -> None:
    (scope,) = await scopes_of(b"GET / HTTP/1.9\r\nhost: x\r\n\r\n")
    assert scope["http_version"] == "1.1"
    async with connected(HELLO) as client:
        await client.send(GET)
        await client.response()
        await client.send(GET.replace(b"1.1", b"2.0"))
        assert (await client.response())[0] == 505


async def scopes_of(request: bytes) -> list[Any]:
    """The scopes that an app gets for a request that it answers."""
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await HELLO(scope, receive, send)

    async with connected(app) as client:
        await client.send(request)
        assert (await client.response())[0] == 200
    return scopes


async def test_requests_follow_one_another_also_pipelined(autojump_clock: MockClock) -> None:
    async with connected(echo) as client:
        post = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n"
        await client.send(post + b"one" + post + b"two" + post + b"thr")
        for expected in (b"one", b"two", b"thr"):
            status, headers, octets = await client.response("POST")
            assert (status, octets) == (200, expected)
            assert headers[b"transfer-encoding"] == b"chunked"


async def test_a_chunked_body_streams_both_ways(autojump_clock: MockClock) -> None:
    data = pattern(1_000_000)
    async with connected(echo) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_chunked, client, data)
            status, _, octets = await client.response("POST")
        assert (status, octets) == (200, data)


async def send_chunked(client: Client, data: bytes) -> None:
    await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    for start in range(0, len(data), 10_000):
        await client.send(b"%x\r\n%b\r\n" % (10_000, data[start : start + 10_000]))
    await client.send(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("app", "method", "length"),
    [
        (HELLO, "GET", b"5"),
        (HELLO, "HEAD", b"5"),
        (sends(START, body(b"he", more=True), body(b"llo")), "HEAD", None),
        (sends(START | {"status": 204}, body(b"dropped")), "GET", None),
        (sends(START | {"status": 304, "headers": [(b"content-length", b"5")]}, body(b"hello")), "GET", b"5"),
    ],
)
async def test_the_length_of_a_response_is_right(
    autojump_clock: MockClock, app: Any, method: str, length: bytes | None
) -> None:
    async with connected(app) as client:
        for _ in range(2):
            await client.send(GET.replace(b"GET", method.encode()))
            status, headers, octets = await client.response(method)
            assert headers.get(b"content-length") == length
            assert octets == (b"hello" if status == 200 and method == "GET" else b"")
            assert headers[b"server"] == b"trio_h2"
            assert b"date" in headers


async def test_rfc9110_10_1_1_a_body_that_the_app_does_not_receive_is_not_asked_for(
    autojump_clock: MockClock,
) -> None:
    async with connected(HELLO) as client:
        await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
        assert (await client.transport.receive_some()).startswith(b"HTTP/1.1 200 OK")


async def test_rfc9110_10_1_1_the_100_comes_before_the_body(autojump_clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        await sends(START, body(message["body"]))(scope, receive, send)

    async with connected(app) as client:
        await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
        assert await client.transport.receive_some() == b"HTTP/1.1 100 \r\n\r\n"
        await client.send(b"one")
        assert (await client.response())[2] == b"one"


async def test_an_app_may_answer_while_its_other_task_has_the_body_asked_for(autojump_clock: MockClock) -> None:
    """Quart-Trio has a task that receives, whatever the handler does; the 100 was on its way when the answer came."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def answer() -> None:
            await HELLO(scope, receive, send)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(answer)

    for _ in range(10):  # trio starts tasks in any order
        async with connected(app) as client:
            await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
            status, _, octets = await client.response()
            assert (status, octets) == (200, b"hello")


async def test_trailers_and_early_hints(autojump_clock: MockClock) -> None:
    app = sends(
        {"type": "http.response.early_hint", "links": [b"</a.css>"]},
        START | {"trailers": True},
        body(b"hello"),
        {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]},
        {"type": "http.response.push", "path": "/"},
    )
    async with connected(app) as client:
        await client.send(GET.replace(b"x-one: 1", b"te: trailers"))
        octets = b""
        while not octets.endswith(b"0\r\nx-sum: 1\r\n\r\n"):
            octets += await client.transport.receive_some()
        assert octets.startswith(b"HTTP/1.1 103 \r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("version", "start"),
    [
        (b"1.0", {}),
        (b"1.1", {"headers": [(b"content-length", b"5")]}),
        (b"1.1", {"status": 304}),
    ],
)
async def test_rfc9112_7_1_without_chunks_there_are_no_trailers(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, version: bytes, start: Any
) -> None:
    trailers = {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]}
    async with connected(sends(START | {"trailers": True} | start, body(b"hello"), trailers)) as client:
        await client.send(GET.replace(b"x-one: 1", b"te: trailers").replace(b"1.1", version))
        status, _, octets = await client.response()
        assert octets == (b"hello" if status == 200 else b"")
    assert caplog.records == []


async def test_every_request_has_a_context_of_its_own(autojump_clock: MockClock) -> None:
    user = ContextVar("user", default="nobody")
    found: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append(user.get())
        user.set("somebody")
        await HELLO(scope, receive, send)

    async with connected(app) as client:
        for _ in range(2):
            await client.send(GET)
            await client.response()
    assert found == ["nobody", "nobody"]


async def test_a_connection_that_waits_for_its_next_request_has_to_go_when_its_place_is_wanted(
    autojump_clock: MockClock,
) -> None:
    async with serving(HELLO, max_connections=10) as (server, listener):
        clients = [Client(listener.connect()) for _ in range(30)]
        for client in clients:
            await client.send(GET)
            assert (await client.response())[2] == b"hello"
        assert trio.current_time() < 60
        assert server.statistics().connections_evicted == 20
        assert await clients[0].ended()
        for client in clients:
            await trio.aclose_forcefully(client.transport)


# What goes wrong


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nhost: x\r\nlong: " + b"x" * 100_000, 431),
        (b"CONNECT example.org:80 HTTP/1.1\r\nhost: x\r\n\r\n", 501),
        (b"GET a HTTP/1.1\r\nhost: x\r\n\r\n", 400),  # RFC 9112 section 3.2: none of the four forms
        (b"GET * HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"GET /a#b HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"GET ftp://x/ HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"GET http://a@x/ HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a@x/y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x y\r\n\r\n", 400),
    ],
)
async def test_what_is_no_request_is_refused_and_the_connection_closed(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, request_: bytes, status: int
) -> None:
    """RFC 9112 section 6.3 has both lengths be a sign of smuggling."""
    async with connected(HELLO) as client:
        await client.send(request_)
        refused, headers, _ = await client.response()
        assert refused == status
        assert b"date" in headers  # RFC 9110 section 6.6.1
        assert await client.ended()
    assert caplog.records == []


async def test_rfc9110_9_3_6_what_follows_a_refused_connect_is_no_request(autojump_clock: MockClock) -> None:
    async with connected(HELLO) as client:
        await client.send(b"CONNECT example.org:80 HTTP/1.1\r\nhost: x\r\n\r\n" + GET)
        status, headers, _ = await client.response()
        assert (status, headers[b"connection"]) == (501, b"close")
        assert await client.ended()


async def test_an_error_before_the_response_is_a_500(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("wrong")

    async with connected(app) as client:
        await client.send(GET)
        assert (await client.response())[0] == 500
        assert await client.ended()
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "the app raised for GET '/a%20b'")


@pytest.mark.parametrize("end", [ValueError("late"), body(more=True)])
async def test_a_response_that_is_cut_never_looks_complete(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, end: Any
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(body(b"part", more=True))
        if isinstance(end, Exception):
            raise end

    async with connected(app) as client:
        await client.send(GET)
        with pytest.raises(h11.RemoteProtocolError):
            await client.response()
    assert len(caplog.records) == 1


async def test_a_body_of_the_wrong_length_is_the_apps_error(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    start = START | {"headers": [(b"content-length", b"3")]}
    async with connected(sends(start, body(b"too long"))) as client:
        await client.send(GET)
        assert (await client.response())[0] == 500
    for last in (b"x", b"too long"):
        async with connected(sends(start, body(b"x", more=True), body(last))) as client:
            await client.send(GET)
            with pytest.raises(h11.RemoteProtocolError):
                await client.response()
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 3


async def test_a_send_that_was_cancelled_ends_the_connection(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Part of a chunk may be on its way: nothing could follow that."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        with trio.CancelScope() as scope_of_the_send:
            scope_of_the_send.cancel()
            await send(body(b"part", more=True))
        await send(body(b"rest"))

    async with connected(app) as client:
        await client.send(GET)
        with pytest.raises(h11.RemoteProtocolError):
            await client.response()
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RuntimeError)


@pytest.mark.parametrize("method", [b"POST", b"GET"])
async def test_a_request_whose_body_is_not_received_is_the_last(autojump_clock: MockClock, method: bytes) -> None:
    async with connected(HELLO) as client:
        await client.send(method + b" / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\npart")
        _, headers, octets = await client.response()
        assert (headers[b"connection"], octets) == (b"close", b"hello")
        assert await client.ended()


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n",
    ],
)
async def test_after_a_body_that_is_there_and_not_received_comes_the_next_request(
    autojump_clock: MockClock, request_: bytes
) -> None:
    async with connected(HELLO) as client:
        await client.send(request_ + GET)
        for _ in range(2):
            _, headers, octets = await client.response("POST")
            assert b"connection" not in headers
            assert octets == b"hello"


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
    ],
)
async def test_rfc9110_10_1_1_what_may_be_no_body_is_not_passed_over(
    autojump_clock: MockClock, request_: bytes
) -> None:
    async with connected(HELLO) as client:
        await client.send(request_ + GET)
        _, headers, octets = await client.response("POST")
        assert (headers[b"connection"], octets) == (b"close", b"hello")
        assert await client.ended()


@pytest.mark.parametrize("malformed", [b"x\r\n", b"5\r\nhelloX\r\n", b"1" * 100])
async def test_rfc9112_7_1_a_malformed_chunk_that_an_app_meets_is_a_400(
    autojump_clock: MockClock, malformed: bytes
) -> None:
    received: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            received.append("body")
        received.append(message["type"])

    async with connected(app) as client:
        await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await trio.testing.wait_all_tasks_blocked()
        await client.send(malformed + GET)
        status, headers, _ = await client.response("POST")
        assert (status, headers[b"connection"]) == (400, b"close")
        assert await client.ended()
    assert received[-1] == "http.disconnect"


async def test_rfc9112_9_6_who_goes_on_with_an_upload_that_was_answered_is_read_for_a_while(
    autojump_clock: MockClock,
) -> None:
    async with serving(sends(START, body(b"no"))) as (_, listener):
        transport, other = map(trio.SocketStream, trio.socket.socketpair())
        listener.take(other)
        client = Client(transport)
        await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
        for _ in range(8):
            await trio.sleep(0.5)
            await client.send(bytes(1000))
        assert (await client.response("POST"))[0] == 200
        begun = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await trio.sleep(0.5)
                await client.send(bytes(1000))
        assert 5 < trio.current_time() - begun < 7
        await trio.aclose_forcefully(transport)


@pytest.mark.parametrize(
    ("octets", "seconds"), [(b"", 30), (b"GET / HTTP/1.1\r\n", 30), (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", 60)]
)
async def test_a_slow_head_and_an_idle_connection_are_closed(
    autojump_clock: MockClock, octets: bytes, seconds: float
) -> None:
    """The first is trio_h2's own `handshake_timeout`."""
    async with connected(HELLO) as client:
        start = trio.current_time()
        await client.send(octets or b"G")
        if seconds == 60:
            await client.response()
        assert await client.ended()
        assert trio.current_time() - start == pytest.approx(seconds, abs=1.5)


async def test_a_slow_body_is_a_client_that_has_gone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    messages: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        messages.append(await receive())
        messages.append(await receive())
        with pytest.raises(ClientDisconnected):
            await send(START)

    async with connected(app) as client:
        await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\npart")
        start = trio.current_time()
        assert await client.ended()
        assert trio.current_time() - start == pytest.approx(60, abs=1.5)
    assert [message["type"] for message in messages] == ["http.request", "http.disconnect"]
    assert caplog.records == []


@pytest.mark.parametrize("listens", [True, False])
async def test_a_client_that_leaves_is_told_then_the_app_is_cancelled(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, listens: bool
) -> None:
    ended: list[tuple[str, float]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            if not listens:
                await trio.sleep_forever()
            while (await receive())["type"] != "http.disconnect":
                pass
            ended.append(("told", trio.current_time()))
        except trio.Cancelled:
            ended.append(("cancelled", trio.current_time()))
            raise

    async with connected(app) as client:
        await client.send(GET)
        await trio.sleep(1)
        start = trio.current_time()
        await client.transport.aclose()
        await trio.sleep(5)
    assert ended == [("told", start) if listens else ("cancelled", start + 1)]
    assert caplog.records == []


async def test_background_work_goes_on_when_the_client_is_gone(autojump_clock: MockClock) -> None:
    done: list[float] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await HELLO(scope, receive, send)
        await trio.sleep(10)
        done.append(trio.current_time())

    async with connected(app) as client:
        await client.send(GET)
        assert (await client.response())[2] == b"hello"
        await client.transport.aclose()
        await trio.sleep(20)
    assert len(done) == 1


async def test_a_shutdown_ends_idle_connections_and_lets_requests_finish(autojump_clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep(3)
        await HELLO(scope, receive, send)

    async with serving(app) as (server, listener):
        idle, busy = Client(listener.connect()), Client(listener.connect())
        await idle.send(GET)
        await idle.response()
        await busy.send(GET)
        async with trio.open_nursery() as nursery:
            await trio.sleep(1)
            nursery.start_soon(server.shutdown)
            start = trio.current_time()
            assert await idle.ended()
            assert trio.current_time() - start < 0.1
            await idle.transport.aclose()
            status, headers, octets = await busy.response()
            assert (status, octets, headers[b"connection"]) == (200, b"hello", b"close")
            assert await busy.ended()
            await busy.transport.aclose()


async def test_a_shutdown_cancels_apps_at_the_end_of_its_grace(autojump_clock: MockClock) -> None:
    cancelled: list[float] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())

    async with serving(app, disconnect_grace=1000) as (server, listener):
        client = Client(listener.connect())
        await client.send(GET)
        await trio.sleep(1)
        start = trio.current_time()
        await server.shutdown(5)
    assert cancelled == [pytest.approx(start + 5, abs=0.6)]


async def test_without_http1_its_clients_get_505(autojump_clock: MockClock) -> None:
    async with connected(HELLO, http1=False) as client:
        await client.send(GET)
        assert (await client.response())[0] == 505


# WebSockets


async def upgrade(client: Client, *messages: str) -> list[Any]:
    """What comes on a WebSocket for these messages, which are sent with the handshake."""
    protocol = WSConnection(ConnectionType.CLIENT)
    octets = protocol.send(Request(host="example.org", target="/a?b", subprotocols=["chat"]))
    await client.send(octets)
    events: list[Any] = []
    while not events or not isinstance(events[-1], CloseConnection):
        octets = await client.transport.receive_some()
        protocol.receive_data(octets or None)
        for event in protocol.events():
            events.append(event)
            if isinstance(event, AcceptConnection):
                await client.send(b"".join([protocol.send(TextMessage(message)) for message in messages]))
            elif len(events) == 1 + len(messages):
                await client.send(protocol.send(CloseConnection(4000, "bye")))
    return events


WEBSOCKET = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
WEBSOCKET += b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"


async def test_a_websocket_is_upgraded_to(autojump_clock: MockClock) -> None:
    app = App({"type": "websocket.accept", "subprotocol": "chat"})
    async with connected(app) as client:
        accepted, *texts, closed = await upgrade(client, "one", "two")
    assert (accepted.subprotocol, closed.code, closed.reason) == ("chat", 4000, "bye")
    assert [text.data for text in texts] == ["one", "two"]
    assert (app.scope["http_version"], app.scope["scheme"]) == ("1.1", "ws")
    assert (app.scope["path"], app.scope["query_string"], app.scope["subprotocols"]) == ("/a", b"b", ["chat"])
    assert app.messages[-1] == {"type": "websocket.disconnect", "code": 4000, "reason": "bye"}


async def test_a_websocket_that_is_denied_is_an_ordinary_response(autojump_clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/denied":
            await send({"type": "websocket.http.response.start", "status": 401})
            await send({"type": "websocket.http.response.body", "body": b"no"})
        else:
            await send({"type": "websocket.close"})

    head = b"GET /%b HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    head += b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    async with connected(app) as client:
        await client.send(head % b"denied")
        assert (await client.response())[::2] == (401, b"no")
        await client.send(head % b"closed")
        assert (await client.response())[0] == 403
        await client.send(head.replace(b"13", b"8") % b"version")
        status, headers, _ = await client.response()
        assert (status, headers[b"sec-websocket-version"]) == (400, b"13")


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"connection: upgrade", b"connection: keep-alive", 200),  # RFC 9110 section 7.8
        (b"1.1", b"1.0", 200),
        (b"\r\n\r\n", b"\r\ncontent-length: 5\r\n\r\nhello", 200),
        (b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 200),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"short", 400),
        # RFC 6455 section 11.3.1
        (b"\r\n\r\n", b"\r\nsec-websocket-key: AAAAIHNhbXBsZSBub25jZQ==\r\n\r\n", 400),
    ],
)
async def test_rfc6455_4_2_1_what_is_no_handshake_opens_no_websocket(
    autojump_clock: MockClock, old: bytes, new: bytes, status: int
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await HELLO(scope, receive, send)

    async with connected(app) as client:
        await client.send(WEBSOCKET.replace(old, new))
        assert (await client.response())[0] == status


@pytest.mark.parametrize(
    "last",
    [
        b"",
        b"\x88\x80" + bytes(4),  # a Close
        b"\x83\x80" + bytes(4),  # an opcode that nobody defines
    ],
)
async def test_the_app_of_a_websocket_whose_client_left_is_cancelled(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, last: bytes
) -> None:
    ended: list[float] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with connected(app) as client:
        await client.send(WEBSOCKET)
        assert (await client.transport.receive_some()).startswith(b"HTTP/1.1 101 ")
        await client.send(last)
        start = trio.current_time()
        await client.transport.aclose()
        await trio.sleep(10)
        assert ended == [pytest.approx(start + 1)]
    assert caplog.records == []


# curl


@pytest.mark.parametrize("secure", [False, True])
async def test_curl_speaks_both_on_one_port(
    server_ssl_context: ssl.SSLContext, tls_files: TLSFiles, tmp_path: Path, secure: bool
) -> None:
    program = require_program("curl", package="curl")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        octets = b""
        while (message := await receive())["more_body"]:
            octets += message["body"]
        answer = f"{scope['scheme']} {scope['http_version']} {len(octets)} {scope['client'][0]}"
        await sends(START, body(answer.encode()))(scope, receive, send)

    upload = tmp_path / "upload"
    upload.write_bytes(pattern(300_000))
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            context = server_ssl_context if secure else None
            serve = partial(serve_asgi, app, 0, host="127.0.0.1", ssl_context=context)
            server = await nursery.start(serve)
            scheme = "https" if secure else "http"
            url = f"{scheme}://127.0.0.1:{server.port}/"
            for how, version in (
                ("--http1.1", "1.1"),
                ("--http1.0", "1.0"),
                ("--http2", "2" if secure else "1.1"),
                ("--http2-prior-knowledge", "2"),
            ):
                # curl 7.88 cannot use a connection again that it made by prior knowledge.
                urls = [url] if how == "--http2-prior-knowledge" else [url, url]
                command = [program, "-sS", how, "--cacert", str(tls_files.ca), "--data-binary", f"@{upload}", *urls]
                done = await trio.run_process(command, capture_stdout=True)
                assert done.stdout.decode() == f"{scheme} {version} 300000 127.0.0.1" * len(urls)
            await server.shutdown(1)
