"""Starlette over trio_h2: what its users do, with our own client and with curl."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from trio.testing import MockClock

import trio_h2
from tests.adapters.helpers import app_and_client
from tests.engine.helpers import check_quiet, pattern
from tests.peers import require_program
from trio_h2.adapters.asgi import serve_asgi

LOG: list[str] = []


@pytest.fixture(autouse=True)
def log() -> None:
    LOG.clear()


async def add(request: Request) -> Response:
    numbers = await request.json()
    return JSONResponse({"sum": sum(numbers), "path": request.url.path, "query": dict(request.query_params)})


async def form(request: Request) -> Response:
    async with request.form() as fields:
        upload = fields["file"]
        octets = upload if isinstance(upload, str) else (await upload.read()).decode()
        return JSONResponse({"name": fields["name"], "file": octets})


async def upload(request: Request) -> Response:
    digest = hashlib.sha256()
    async for chunk in request.stream():
        digest.update(chunk)
    return PlainTextResponse(digest.hexdigest())


async def download(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for seed in range(50):
            yield pattern(100_000, seed)

    return StreamingResponse(chunks())


async def events(request: Request) -> Response:
    async def every_second() -> AsyncIterator[str]:
        for number in range(1000):
            yield f"data: {number}\n\n"
            await trio.sleep(1)

    LOG.append("events begin")
    return StreamingResponse(every_second(), media_type="text/event-stream")


async def disconnected(request: Request) -> Response:
    """Wait for the client to leave, as `request.is_disconnected` lets an app do."""
    while not await request.is_disconnected():  # noqa: ASYNC110 - it has no other way
        await trio.sleep(0.1)
    LOG.append("it left")
    return PlainTextResponse("nobody reads this")


async def background(request: Request) -> Response:
    async def work() -> None:
        await trio.sleep(2)
        LOG.append("worked")

    return PlainTextResponse("accepted", 202, background=BackgroundTask(work))


async def wrong(request: Request) -> Response:
    raise HTTPException(418, "a teapot")


async def broken(request: Request) -> Response:
    raise ValueError("broken")


async def breaks_late(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"part"
        raise ValueError("late")

    return StreamingResponse(chunks())


async def this_file(request: Request) -> Response:
    return FileResponse(__file__, media_type="text/x-python")


async def state(request: Request) -> Response:
    return JSONResponse(request.state.numbers)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    LOG.append("startup")
    yield {"numbers": [1, 2]}
    LOG.append("shutdown")


ROUTES = [
    Route("/add", add, methods=["POST"]),
    Route("/form", form, methods=["POST"]),
    Route("/upload", upload, methods=["POST"]),
    Route("/download", download),
    Route("/events", events),
    Route("/disconnected", disconnected),
    Route("/background", background),
    Route("/wrong", wrong),
    Route("/broken", broken),
    Route("/late", breaks_late),
    Route("/file", this_file),
    Route("/state", state),
]
APP = Starlette(routes=[*ROUTES, Mount("/below", routes=ROUTES)], lifespan=lifespan)


async def passes_on(request: Request, call_next: Any) -> Response:
    response: Response = await call_next(request)
    return response


WRAPPED = Starlette(
    routes=ROUTES, middleware=[Middleware(BaseHTTPMiddleware, dispatch=passes_on), Middleware(GZipMiddleware)]
)
BOTH = pytest.mark.parametrize("app", [APP, WRAPPED], ids=["plain", "middleware"])


@BOTH
async def test_json_both_ways(app: Any) -> None:
    async with app_and_client(app, root_path="/root") as pair:
        response = await pair.client.request("POST", "/add?a=b", body=b"[1, 2, 3]")
    assert json.loads(response.body) == {"sum": 6, "path": "/root/add", "query": {"a": "b"}}


async def test_what_is_mounted_below_finds_its_routes() -> None:
    async with app_and_client(APP, root_path="/root") as pair:
        response = await pair.client.request("POST", "/below/add", body=b"[1]")
    assert json.loads(response.body)["path"] == "/root/below/add"


@BOTH
async def test_forms(app: Any) -> None:
    multipart = (
        b'--b\r\ncontent-disposition: form-data; name="name"\r\n\r\none\r\n'
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\ncontent\r\n--b--\r\n'
    )
    async with app_and_client(app) as pair:
        for kind, octets in (
            ("application/x-www-form-urlencoded", b"name=one&file=content"),
            ("multipart/form-data; boundary=b", multipart),
        ):
            response = await pair.client.request("POST", "/form", headers=[("content-type", kind)], body=octets)
            assert json.loads(response.body) == {"name": "one", "file": "content"}


@BOTH
async def test_bodies_stream_both_ways(app: Any, autojump_clock: MockClock) -> None:
    data = pattern(3_000_000)
    async with app_and_client(app) as pair:
        response = await pair.client.request("POST", "/upload", body=data)
        assert response.body.decode() == hashlib.sha256(data).hexdigest()
        response = await pair.client.request("GET", "/download")
        assert response.body == b"".join(pattern(100_000, seed) for seed in range(50))
        await check_quiet(pair)


@BOTH
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Starlette leaves its iterators open
@pytest.mark.parametrize("path", ["/events", "/upload", "/disconnected"])
async def test_a_client_that_leaves_is_no_error(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, app: Any, path: str
) -> None:
    async with app_and_client(app) as pair:
        async with pair.client.stream("GET" if path != "/upload" else "POST", path) as stream:
            await trio.sleep(3.5)
            await stream.reset()
        await check_quiet(pair)
        await trio.sleep(2)
        assert pair.server.statistics().streams == ()
    # Below BaseHTTPMiddleware `is_disconnected` never says so; there the app is cancelled.
    left = ["it left"] if app is APP else []
    expected = {"/events": ["events begin"], "/upload": [], "/disconnected": left}[path]
    assert expected == LOG
    assert caplog.records == []


async def test_a_background_task_outlives_its_client(autojump_clock: MockClock) -> None:
    async with app_and_client(APP) as pair:
        assert (await pair.client.request("GET", "/background")).status == 202
        assert LOG == []
    assert LOG == ["worked"]


@BOTH
async def test_exceptions(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with app_and_client(app) as pair:
        assert (await pair.client.request("GET", "/wrong")).status == 418
        assert (await pair.client.request("GET", "/nowhere")).status == 404
        assert (await pair.client.request("GET", "/add")).status == 405
        assert caplog.records == []
        assert (await pair.client.request("GET", "/broken")).status == 500
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_an_exception_after_the_response_began(caplog: pytest.LogCaptureFixture) -> None:
    async with app_and_client(APP) as pair:
        with pytest.raises(trio_h2.StreamResetError):
            await pair.client.request("GET", "/late")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_files_and_ranges() -> None:
    octets = await trio.Path(__file__).read_bytes()
    async with app_and_client(APP) as pair:
        assert (await pair.client.request("GET", "/file")).body == octets
        head = await pair.client.request("HEAD", "/file")
        assert (head.body, head.headers["content-length"]) == (b"", str(len(octets)))
        part = await pair.client.request("GET", "/file", headers=[("range", "bytes=5-9")])
        assert (part.status, part.body) == (206, octets[5:10])
        parts = await pair.client.request("GET", "/file", headers=[("range", "bytes=0-1,5-9")])
        assert parts.headers["content-type"].startswith("multipart/byteranges")


async def test_curl_is_served_within_the_lifespan(tmp_path: Path) -> None:
    program = require_program("curl", package="curl")

    async def curl(*arguments: str) -> bytes:
        command = [program, "-sS", "--http2-prior-knowledge", *arguments]
        return (await trio.run_process(command, capture_stdout=True)).stdout

    (tmp_path / "up").write_bytes(pattern(5_000_000))
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve_asgi, APP, 0, host="127.0.0.1"))
            url = f"http://127.0.0.1:{server.port}"
            assert json.loads(await curl(f"{url}/state")) == [1, 2]
            digest = hashlib.sha256(pattern(5_000_000)).hexdigest()
            assert (await curl("--data-binary", f"@{tmp_path}/up", f"{url}/upload")).decode() == digest
            assert len(await curl(f"{url}/download")) == 5_000_000
            assert await curl("-F", "name=one", "-F", "file=content", f"{url}/form")
            assert b"HTTP/2 200" in await curl("-I", f"{url}/file")
            assert await curl(f"{url}/background") == b"accepted"
            await server.shutdown()
    assert LOG == ["startup", "worked", "shutdown"]
