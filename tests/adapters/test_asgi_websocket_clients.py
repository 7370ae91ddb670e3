"""The package `websockets` as the client of ASGI apps: over HTTP/1.1, in the clear and over TLS."""

from __future__ import annotations

import json
import random
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.uri import parse_uri

import trio_h2
from tests.adapters.websockets import ACCEPT, App, raw_octets
from tests.engine.helpers import pattern
from tests.peers import HOST
from trio_h2.adapters.asgi import serve_asgi

IN_THE_CLEAR_AND_OVER_TLS = pytest.mark.parametrize("secure", [False, True], ids=["clear", "tls"])


class Site:
    """An app on a port, and clients of `websockets` to it, each in a thread."""

    def __init__(self, server: trio_h2.H2Server, context: ssl.SSLContext | None) -> None:
        self._server = server
        self._context = context

    async def shutdown(self) -> None:
        await self._server.shutdown(5)

    async def use(self, do: Callable[[ClientConnection], Any], path: str = "/", **arguments: Any) -> Any:
        """What `do` returns for a WebSocket that is open."""

        def in_a_thread() -> Any:
            scheme = "ws" if self._context is None else "wss"
            url = f"{scheme}://{HOST}:{self._server.port}{path}"
            with connect(url, ssl=self._context, proxy=None, max_size=None, **arguments) as client:
                return do(client)

        return await trio.to_thread.run_sync(in_a_thread, abandon_on_cancel=True)


@asynccontextmanager
async def site(app: Any, server_context: ssl.SSLContext, context: ssl.SSLContext, secure: bool) -> AsyncIterator[Site]:
    async def without_lifespan(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        await app(scope, receive, send)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            serve = partial(serve_asgi, without_lifespan, 0, host=HOST, ssl_context=server_context if secure else None)
            server = await nursery.start(serve)
            yield Site(server, context if secure else None)
            await server.shutdown(1)


@IN_THE_CLEAR_AND_OVER_TLS
@pytest.mark.parametrize("compression", ["deflate", None])
async def test_messages_go_both_ways(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext, secure: bool, compression: str | None
) -> None:
    messages = ["", "héllo", "x" * 1_048_576, b"", b"\0\xff", pattern(1_048_576), random.Random(1).randbytes(100_000)]

    def talk(client: ClientConnection) -> None:
        assert bool(client.protocol.extensions) == (compression is not None)
        for message in messages:
            client.send(message)
            assert client.recv() == message
        client.send(iter(["in ", "", "thr", "ee €"]))
        assert list(client.recv_streaming()) == ["in three €"]
        client.send([b"o", b"ne"])
        assert client.recv() == b"one"
        assert client.ping(b"there?").wait(30)
        client.pong(b"unasked")
        for number in range(1000):
            client.send(f"{number}")
        assert [client.recv() for _ in range(1000)] == [f"{number}" for number in range(1000)]

    app = App()
    async with site(app, server_ssl_context, client_ssl_context, secure) as here:
        await here.use(talk, compression=compression)
    assert (app.messages[-1]["type"], app.messages[-1]["code"]) == ("websocket.disconnect", 1000)


@IN_THE_CLEAR_AND_OVER_TLS
async def test_the_handshake_says_what_both_want(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext, secure: bool
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        accept = {"subprotocol": scope["subprotocols"][1], "headers": [(b"X-Two", b"2"), (b"set-cookie", b"a=b")]}
        await send(ACCEPT | accept)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        said = {name: scope[name] for name in ("scheme", "http_version", "path", "subprotocols")}
        await send({"type": "websocket.send", "text": json.dumps(said | headers)})

    def look(client: ClientConnection) -> dict[str, Any]:
        assert client.subprotocol == "superchat"
        assert client.response is not None
        assert (client.response.headers["X-Two"], client.response.headers["Set-Cookie"]) == ("2", "a=b")
        said: dict[str, Any] = json.loads(client.recv())
        return said

    async with site(app, server_ssl_context, client_ssl_context, secure) as here:
        said = await here.use(
            look,
            "/a/b?c",
            origin="https://example.org",
            subprotocols=["chat", "superchat"],
            additional_headers={"X-One": "1", "Authorization": "Basic eDp5"},
        )
    assert (said["scheme"], said["http_version"], said["path"]) == ("wss" if secure else "ws", "1.1", "/a/b")
    assert said["subprotocols"] == ["chat", "superchat"]
    assert (said["origin"], said["x-one"], said["authorization"]) == ("https://example.org", "1", "Basic eDp5")


@IN_THE_CLEAR_AND_OVER_TLS
async def test_a_denial_has_its_status_its_fields_and_its_body(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext, secure: bool
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/closed":
            await send({"type": "websocket.close"})
            return
        start = {"type": "websocket.http.response.start", "status": 401, "headers": [(b"www-authenticate", b"Basic")]}
        await send(start)
        await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"are you?"})

    async with site(app, server_ssl_context, client_ssl_context, secure) as here:
        with pytest.raises(InvalidStatus) as denied:
            await here.use(ClientConnection.recv)
        with pytest.raises(InvalidStatus) as closed:
            await here.use(ClientConnection.recv, "/closed")
    response = denied.value.response
    assert (response.status_code, response.body) == (401, b"who are you?")
    assert response.headers["WWW-Authenticate"] == "Basic"
    assert closed.value.response.status_code == 403


@IN_THE_CLEAR_AND_OVER_TLS
async def test_the_apps_close_reaches_the_client(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext, secure: bool
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": "first"})
        await send({"type": "websocket.close", "code": 4001, "reason": "bye €"})

    def until_closed(client: ClientConnection) -> tuple[int | None, str | None]:
        assert client.recv() == "first"
        with pytest.raises(ConnectionClosed):
            client.recv()
        return client.close_code, client.close_reason

    async with site(app, server_ssl_context, client_ssl_context, secure) as here:
        assert await here.use(until_closed) == (4001, "bye €")


@IN_THE_CLEAR_AND_OVER_TLS
async def test_rfc6455_5_5_1_the_client_that_has_closed_does_not_wait_for_the_app(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext, secure: bool
) -> None:
    """It waits for the end of the connection, here without a limit; the app goes on until that is over."""
    over = trio.Event()
    ended: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        ended.append(await receive())
        with trio.CancelScope(shield=True):
            await over.wait()

    def close(client: ClientConnection) -> None:
        client.close(4002, "enough")
        assert client.close_code == 4002

    async with site(app, server_ssl_context, client_ssl_context, secure) as here:
        await here.use(close, close_timeout=None)
        over.set()
    assert ended == [{"type": "websocket.disconnect", "code": 4002, "reason": "enough"}]


@IN_THE_CLEAR_AND_OVER_TLS
async def test_a_client_that_is_cut_off_is_1006(
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
    secure: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App()

    def cut(client: ClientConnection) -> None:
        client.send("one")
        assert client.recv() == "one"
        client.close_socket()

    async with site(app, server_ssl_context, client_ssl_context, secure) as here:
        await here.use(cut)
    assert [message["type"] for message in app.messages] == ["websocket.receive", "websocket.disconnect"]
    assert app.messages[-1]["code"] == 1006
    assert caplog.records == []


@IN_THE_CLEAR_AND_OVER_TLS
async def test_a_shutdown_closes_with_1001(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext, secure: bool
) -> None:
    app = App()
    opened = threading.Event()

    def until_closed(client: ClientConnection) -> None:
        opened.set()
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert client.close_code == 1001

    async with site(app, server_ssl_context, client_ssl_context, secure) as here:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.use, until_closed)
            await trio.to_thread.run_sync(opened.wait)
            await here.shutdown()
    assert app.messages[-1] == {"type": "websocket.disconnect", "code": 1001, "reason": ""}


async def test_its_protocol_answers_our_pings(autojump_clock: MockClock) -> None:
    """Without I/O of its own, so that minutes are short."""
    app = App()
    protocol = ClientProtocol(parse_uri("ws://example.org/"), max_size=None)
    async with raw_octets(app) as (_, transport):
        protocol.send_request(protocol.connect())
        start = trio.current_time()
        pings = 0
        while trio.current_time() < start + 300:
            for octets in protocol.data_to_send():
                await transport.send_all(octets)
            protocol.receive_data(await transport.receive_some())
            pings += sum(getattr(event, "opcode", None) == 9 for event in protocol.events_received())
        assert pings >= 7
        assert app.messages == []
