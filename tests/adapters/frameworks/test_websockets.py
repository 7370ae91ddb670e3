"""WebSockets of four frameworks, over HTTP/1.1 by `websockets` and over HTTP/2 by this package's client."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Protocol

import pytest
import trio
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

import trio_h2
from tests.adapters.websockets import VERSION, WebSocketClient, websocket
from tests.peers import TLSFiles

from .drivers import client_context
from .expectations import expected
from .sites import Site

SUBPROTOCOLS = ["one", "two"]


class Socket(Protocol):
    """A client's WebSocket.

    Attributes:
        field: the value of X-Echo in the answer.
        subprotocol: what the server chose.
    """

    field: str | None
    subprotocol: str | None

    async def send(self, message: str | bytes) -> None: ...
    async def receive(self) -> str | bytes: ...
    async def close(self, code: int, reason: str) -> None: ...
    async def closed(self) -> tuple[int, str]: ...


class OverHttp1:
    def __init__(self, socket: ClientConnection) -> None:
        assert socket.response is not None
        self._socket = socket
        self.field = socket.response.headers.get("x-echo")
        self.subprotocol = socket.subprotocol

    async def send(self, message: str | bytes) -> None:
        await trio.to_thread.run_sync(self._socket.send, message)

    async def receive(self) -> str | bytes:
        return await trio.to_thread.run_sync(self._socket.recv, 20)

    async def close(self, code: int, reason: str) -> None:
        await trio.to_thread.run_sync(self._socket.close, code, reason)

    async def closed(self) -> tuple[int, str]:
        with pytest.raises(ConnectionClosed) as caught:
            await self.receive()
        assert caught.value.rcvd is not None
        return caught.value.rcvd.code, caught.value.rcvd.reason


class OverHttp2:
    def __init__(self, socket: WebSocketClient) -> None:
        self._socket = socket
        self.field = socket.response.headers.get("x-echo")
        self.subprotocol = socket.response.headers.get("sec-websocket-protocol")

    async def send(self, message: str | bytes) -> None:
        await self._socket.send(message)

    async def receive(self) -> str | bytes:
        message = await self._socket.receive()
        assert isinstance(message, str | bytes)
        return message

    async def close(self, code: int, reason: str) -> None:
        await self._socket.close(code, reason)

    async def closed(self) -> tuple[int, str]:
        code, reason = await self._socket.closed()
        return code, reason or ""


@asynccontextmanager
async def over_http1(site: Site, context: ssl.SSLContext, path: str) -> AsyncIterator[Socket]:
    offered = [Subprotocol(each) for each in SUBPROTOCOLS]
    manager = connect(site.url(path, "ws"), subprotocols=offered, max_size=None, close_timeout=5, open_timeout=10)
    socket = await trio.to_thread.run_sync(manager.__enter__)
    try:
        yield OverHttp1(socket)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(manager.__exit__, None, None, None)


@asynccontextmanager
async def over_http2(site: Site, context: ssl.SSLContext, path: str) -> AsyncIterator[Socket]:
    async with trio_h2.connect(site.url(), ssl_context=context) as connection:
        async with websocket(connection, path, ("sec-websocket-protocol", ", ".join(SUBPROTOCOLS))) as client:
            yield OverHttp2(client)


Open = Callable[[str], AbstractAsyncContextManager[Socket]]


WAYS = {"http1": over_http1, "http2": over_http2}


@pytest.fixture(params=WAYS)
def opened(request: pytest.FixtureRequest, site: Site, tls_files: TLSFiles) -> Open:
    """Opens a WebSocket, one way and the other."""
    return partial(WAYS[request.param], site, client_context(tls_files))


@pytest.fixture
def survives(request: pytest.FixtureRequest, site: Site) -> bool:
    """Whether the server outlives the closing of such a WebSocket; else there is nothing more to be seen."""
    return "http1" in request.node.callspec.id or expected(site, "a WebSocket that is closed over HTTP/2") == "served"


LARGE = 1024 * 1024


async def test_messages_come_back(opened: Open) -> None:
    messages = ["text", "\u00fc\u20ac\U0001f600", b"binary", "", "x" * LARGE, bytes(range(256)) * (LARGE // 256)]
    with trio.fail_after(30):
        async with opened("/echo") as socket:
            assert (socket.field, socket.subprotocol) == ("yes", "two")
            for message in messages:
                await socket.send(message)
                assert await socket.receive() == message


async def test_the_apps_close_has_its_code(opened: Open, survives: bool) -> None:
    if not survives:
        return
    with trio.fail_after(30):
        async with opened("/echo") as socket:
            await socket.send("close")
            assert await socket.closed() == (4000, "bye")


async def test_the_clients_close_has_its_code(opened: Open, survives: bool, site: Site, name: str) -> None:
    if not survives:
        return
    with trio.fail_after(30):
        async with opened(f"/echo?as={name}") as socket:
            await socket.send("hello")
            assert await socket.receive() == "hello"
            await socket.close(4001, "done")
            assert await site.ended(name) == "returned"
    if site.framework != "quart":  # which cancels the app, and does not say why
        assert expected(site, "the code of the client's Close") in await site.journal(name)


CODES = {"starlette": 1011, "fastapi": 1011, "litestar": 4500, "quart": 1000}
"""Litestar and Quart close a WebSocket for an error themselves."""


async def test_an_exception_closes(opened: Open, survives: bool, site: Site) -> None:
    if not survives:
        return
    with trio.fail_after(30):
        async with opened("/echo") as socket:
            await socket.send("raise")
            assert (await socket.closed())[0] == CODES[site.framework]
    await site.logged("ValueError: in a WebSocket")


async def test_a_denial_over_http1(site: Site) -> None:
    for path, status, body in (("/deny", 401, {"denied": True}), ("/refuse", 403, None)):
        with pytest.raises(InvalidStatus) as caught:
            await trio.to_thread.run_sync(connect(site.url(path, "ws"), open_timeout=10).__enter__)
        response = caught.value.response
        assert (response.status_code, json.loads(bytes(response.body or b"") or b"null")) == (status, body)


async def test_a_denial_over_http2(site: Site, tls_files: TLSFiles) -> None:
    with trio.fail_after(20):
        async with trio_h2.connect(site.url(), ssl_context=client_context(tls_files)) as connection:
            for path, status, body in (("/deny", 401, {"denied": True}), ("/refuse", 403, None)):
                async with connection.stream("CONNECT", path, protocol="websocket", headers=[VERSION]) as stream:
                    assert (await stream.response()).status == status
                    assert json.loads(await stream.read() or b"null") == body
