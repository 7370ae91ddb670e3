"""Starlette in this process, over memory streams: what is logged, what is left, and where its routes are.

`frameworks/` serves the same app from a process of its own, to clients of all kinds.
"""

from __future__ import annotations

import hashlib
import json
import logging

import pytest
import trio
from trio.testing import MockClock

import trio_h2
from tests.adapters.helpers import app_and_client
from tests.engine.helpers import check_quiet, pattern

from .frameworks.journal import JOURNAL, PIECE
from .frameworks.pages import FILE
from .frameworks.starlette_app import app

PLAIN, WITHIN = "", "/within"
BOTH = pytest.mark.parametrize("below", [PLAIN, WITHIN], ids=["plain", "middleware"])
"""The app's routes, and the same ones below a middleware that has tasks and streams of its own."""


async def test_what_is_mounted_below_the_servers_root_path_finds_its_routes() -> None:
    async with app_and_client(app, root_path="/root") as pair:
        response = await pair.client.request("GET", f"{WITHIN}/json?a=b")
    assert json.loads(response.body) == {"path": "/root/within/json", "query": {"a": "b"}}


@BOTH
async def test_bodies_stream_both_ways(below: str, autojump_clock: MockClock) -> None:
    data = pattern(3_000_000)
    async with app_and_client(app) as pair:
        response = await pair.client.request("POST", f"{below}/upload", body=data)
        assert response.body.decode() == hashlib.sha256(data).hexdigest()
        response = await pair.client.request("GET", f"{below}/download?size={50 * len(PIECE)}")
        assert response.body == PIECE * 50
        await check_quiet(pair)


@BOTH
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Starlette leaves its iterators open
@pytest.mark.parametrize("path", ["/events", "/upload", "/polls"])
async def test_a_client_that_leaves_is_no_error(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, below: str, path: str
) -> None:
    JOURNAL.clear()
    async with app_and_client(app) as pair:
        async with pair.client.stream("POST" if path == "/upload" else "GET", f"{below}{path}?as=it") as stream:
            await trio.sleep(3.5)
            await stream.reset()
        await check_quiet(pair)
        await trio.sleep(2)
        assert pair.server.statistics().streams == ()
    # Below BaseHTTPMiddleware `is_disconnected` never says so; there the app is cancelled.
    assert JOURNAL["it"] == (["its client has left"] if (below, path) == (PLAIN, "/polls") else [])
    assert caplog.records == []


@BOTH
async def test_of_exceptions_one_line_is_logged_and_none_of_those_with_a_status(
    below: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with app_and_client(app) as pair:
        for path, status in (("/teapot", 418), ("/nowhere", 404), ("/upload", 405)):
            assert (await pair.client.request("GET", below + path)).status == status
        assert caplog.records == []
        assert (await pair.client.request("GET", f"{below}/error")).status == 500
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_an_exception_after_the_response_began(caplog: pytest.LogCaptureFixture) -> None:
    async with app_and_client(app) as pair:
        with pytest.raises(trio_h2.StreamResetError):
            await pair.client.request("GET", "/late")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_several_ranges_of_a_file() -> None:
    octets = FILE.read_bytes()
    async with app_and_client(app) as pair:
        response = await pair.client.request("GET", "/file", headers=[("range", "bytes=0-1,5-9")])
    assert response.status == 206
    assert response.headers["content-type"].startswith("multipart/byteranges")
    for part in (octets[0:2], octets[5:10]):
        assert part in response.body
