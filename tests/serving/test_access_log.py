"""The access log of apps: what each request's line says."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import wsproto.events

import trio_h2
from tests.adapters.helpers import body
from tests.adapters.websockets import VERSION, websocket
from tests.serving.running import LIMIT
from trio_h2.adapters.asgi import asgi_handler
from trio_h2.cli.serving.access_log import AccessLog
from trio_h2.cli.serving.logged_app import logged
from trio_h2.testing import in_memory

START = {"type": "http.response.start", "status": 201}
Lines = trio.MemoryReceiveChannel[str]


@asynccontextmanager
async def client_of(app: Any, log_format: str | None = "text") -> AsyncIterator[trio_h2.ClientConnection]:
    handler = asgi_handler(logged(app, AccessLog(log_format)), disconnect_grace=0.01)
    with trio.fail_after(LIMIT):
        async with in_memory(handler) as connection:
            yield connection


def sends(*messages: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


async def line_of(lines: Lines) -> str:
    """The next line, without the time."""
    line = await lines.receive()
    return re.sub(r" [\d.]+ ms", "", line)


async def test_a_request_is_a_line(lines: Lines) -> None:
    async with client_of(sends(START, body(b"hel", more=True), body(b"lo"))) as connection:
        await connection.request("GET", "/a%20b?x=1")
        assert await line_of(lines) == '- "GET /a%20b?x=1" 201 5 bytes'
        await connection.request("HEAD", "/")
        assert await line_of(lines) == '- "HEAD /" 201 0 bytes'


async def test_a_request_is_an_object(lines: Lines) -> None:
    async with client_of(sends(START, body(b"hello")), "json") as connection:
        await connection.request("GET", "/a?x=1")
        entry = json.loads(await lines.receive())
        assert entry.pop("time").endswith("Z")
        assert entry.pop("process") > 0
        assert entry.pop("milliseconds") >= 0
        assert entry == {
            **{"client": None, "method": "GET", "target": "/a?x=1", "http_version": "2"},
            **{"status": 201, "octets": 5, "complete": True},
        }


async def test_no_access_log(lines: Lines) -> None:
    async with client_of(sends(START, body(b"hello")), None) as connection:
        await connection.request("GET", "/")
    with pytest.raises(trio.WouldBlock):
        lines.receive_nowait()


async def test_a_file_counts_as_what_it_is(lines: Lines, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(1000))
    async with client_of(sends(START, {"type": "http.response.pathsend", "path": str(file)})) as connection:
        assert len((await connection.request("GET", "/")).body) == 1000
        assert await line_of(lines) == '- "GET /" 201 1000 bytes'


async def test_a_file_that_is_gone_when_it_was_sent_is_no_error(lines: Lines, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(1000))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def send_and_remove(message: Any) -> None:
            await send(message)
            if message["type"] == "http.response.pathsend":
                file.unlink()

        await logged(sends(START, {"type": "http.response.pathsend", "path": str(file)}), AccessLog("text"))(
            scope, receive, send_and_remove
        )

    async with client_of(app, None) as connection:
        assert len((await connection.request("GET", "/")).body) == 1000
        assert await line_of(lines) == '- "GET /" 201 0 bytes'


async def test_a_response_is_logged_before_its_background_tasks(lines: Lines) -> None:
    logged_already = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(body())
        await logged_already.wait()

    async with client_of(app) as connection:
        await connection.request("GET", "/")
        assert await line_of(lines) == '- "GET /" 201 0 bytes'
        logged_already.set()
    with pytest.raises(trio.WouldBlock):
        lines.receive_nowait()


@pytest.mark.parametrize("messages", [(), (START,)])
@pytest.mark.parametrize("raises", [True, False])
async def test_an_app_that_does_not_answer_is_answered_for(
    lines: Lines, messages: tuple[Any, ...], raises: bool
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await sends(*messages)(scope, receive, send)
        if raises:
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError):
        async with client_of(app) as connection:
            assert (await connection.request("GET", "/")).status == 500
    assert await line_of(lines) == '- "GET /" 500 0 bytes'


async def test_a_response_that_ends_early_is_cut_short(lines: Lines) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(body(b"hel", more=True))
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError):
        async with client_of(app) as connection:
            with pytest.raises(trio_h2.StreamResetError):
                await connection.request("GET", "/")
    assert await line_of(lines) == '- "GET /" 201 3 bytes cut short'


async def test_a_client_that_leaves_is_seen(lines: Lines) -> None:
    called, gone = trio.Event(), trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()
        await send(START)
        await send(body(b"hello"))

    async with client_of(app) as connection:
        async with connection.stream("GET", "/"):
            await called.wait()
        await gone.wait()
        assert await line_of(lines) == '- "GET /" - 0 bytes cut short'


async def test_an_app_that_is_cancelled_is_logged(lines: Lines) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(body(b"hel", more=True))
        await trio.sleep_forever()

    async with client_of(app) as connection:
        async with connection.stream("GET", "/") as stream:
            await stream.receive_some()
        assert await line_of(lines) == '- "GET /" 201 3 bytes cut short'


async def test_a_websocket_is_a_line_when_it_is_over(lines: Lines) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/denied":
            await send({"type": "websocket.close"})
            return
        if scope["path"] == "/teapot":
            await send({"type": "websocket.http.response.start", "status": 418, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"no"})
            return
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "ü"})
        await send({"type": "websocket.send", "bytes": b"123"})
        if scope["path"] == "/closed":
            await send({"type": "websocket.close"})

    handler = asgi_handler(logged(app, AccessLog("text")))
    for path, expected in [
        ("/closed", "200 5 bytes"),
        ("/returned", "200 5 bytes"),
        ("/denied", "403 0 bytes"),
        ("/teapot", "418 2 bytes"),
    ]:
        async with in_memory(handler) as connection:
            if expected.startswith("200"):
                async with websocket(connection, path) as client:
                    while not isinstance(await client.receive(), wsproto.events.CloseConnection):
                        pass
            else:
                headers = [VERSION]
                async with connection.stream("CONNECT", path, protocol="websocket", headers=headers) as stream:
                    await stream.read()
            assert await line_of(lines) == f'- "WEBSOCKET {path}" {expected}'
