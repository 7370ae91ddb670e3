"""The suite's app, by Litestar."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
from litestar import Litestar, MediaType, Request, Response, WebSocket, get, post, route, websocket
from litestar.background_tasks import BackgroundTask
from litestar.config.compression import CompressionConfig
from litestar.datastructures import Cookie, UploadFile
from litestar.di import Provide
from litestar.exceptions import HTTPException, WebSocketDisconnect
from litestar.logging import LoggingConfig
from litestar.params import Body
from litestar.response import File, ServerSentEvent, Stream

from .journal import gate, note, pieces
from .pages import FILE, page


@get("/", media_type=MediaType.HTML)
async def index() -> str:
    return page("Litestar")


@get("/json")
async def read_json(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return {"path": request.url.path, "query": dict(request.query_params)}


@post("/json", status_code=200)
async def add(data: Annotated[list[int], Body()]) -> dict[str, int]:
    return {"sum": sum(data)}


@post("/form", status_code=200)
async def form(request: Request[Any, Any, Any]) -> dict[str, str]:
    fields = await request.form()
    file = fields["file"]
    if isinstance(file, UploadFile):
        file = hashlib.sha256(await file.read()).hexdigest()
    return {"name": fields["name"], "file": file}


@post("/upload", status_code=200, media_type=MediaType.TEXT, request_max_body_size=None)
async def upload(request: Request[Any, Any, Any]) -> str:
    digest = hashlib.sha256()
    async for chunk in request.stream():
        digest.update(chunk)
    return digest.hexdigest()


@get("/download")
async def download(request: Request[Any, Any, Any]) -> Stream:
    size = int(request.query_params["size"])

    async def chunks() -> AsyncIterator[bytes]:
        for piece in pieces(size):
            yield piece

    return Stream(chunks(), media_type="application/octet-stream")


@get("/stream")
async def stream(request: Request[Any, Any, Any]) -> Stream:
    name = request.query_params["as"]

    async def chunks() -> AsyncIterator[bytes]:
        yield b"first"
        await gate(name).wait()
        yield b"second"

    return Stream(chunks())


@get("/events")
async def events() -> ServerSentEvent:
    async def chunks() -> AsyncIterator[str]:
        number = 0
        while True:
            yield str(number)
            number += 1
            await anyio.sleep(0.02)

    return ServerSentEvent(chunks())


@get("/waits")
async def waits() -> None:
    await anyio.sleep_forever()


@get("/background", status_code=202, media_type=MediaType.TEXT)
async def background(request: Request[Any, Any, Any]) -> Response[str]:
    name = request.query_params["as"]

    async def work() -> None:
        await gate(name).wait()
        note(name, "worked")

    return Response("accepted", background=BackgroundTask(work))


@get("/teapot")
async def teapot() -> None:
    raise HTTPException("a teapot", status_code=418)


@get("/error")
async def error() -> None:
    raise ValueError("before")


@get("/late")
async def late() -> Stream:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"part"
        raise ValueError("after")

    return Stream(chunks())


@route("/file", http_method=["GET", "HEAD"])
async def file() -> File:
    return File(FILE, media_type="text/plain")


@get("/state")
async def state(request: Request[Any, Any, Any]) -> list[int]:
    numbers: list[int] = request.app.state.numbers
    return numbers


@get("/threaded", media_type=MediaType.TEXT, sync_to_thread=True)
def threaded() -> str:
    return "from a thread"


async def resource(request: Request[Any, Any, Any]) -> AsyncIterator[str]:
    name = request.query_params["as"]
    note(name, "opened")
    yield "a resource"
    note(name, "closed")


@get("/resource", media_type=MediaType.TEXT, dependencies={"resource": Provide(resource)})
async def uses_resource(resource: str) -> str:
    return resource


@get("/cookies")
async def cookies(request: Request[Any, Any, Any]) -> Response[dict[str, str]]:
    return Response(
        dict(request.cookies), cookies=[Cookie(key="one", value="1"), Cookie(key="two", value="2", httponly=True)]
    )


@get("/large", media_type=MediaType.TEXT)
async def large(request: Request[Any, Any, Any]) -> Response[str]:
    return Response("", headers={"x-large": request.headers["x-large"]})


@get("/text", media_type=MediaType.TEXT)
async def text() -> str:
    return "compress me " * 1000


@websocket("/echo")
async def echo(socket: WebSocket[Any, Any, Any]) -> None:
    name = socket.query_params.get("as", "")
    two = "two" if "two" in socket.scope["subprotocols"] else None
    await socket.accept(subprotocols=two, headers={"x-echo": "yes"})
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(detail=message.get("reason") or "", code=message["code"])
            if message.get("text") == "close":
                await socket.close(4000, "bye")
                return
            if message.get("text") == "raise":
                raise ValueError("in a WebSocket")
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect as gone:
        note(name, f"closed with {gone.code} {gone.detail}".strip())


@websocket("/deny")
async def deny(socket: WebSocket[Any, Any, Any]) -> None:
    fields = [(b"content-type", b"application/json")]
    await socket.send({"type": "websocket.http.response.start", "status": 401, "headers": fields})  # type: ignore
    await socket.send({"type": "websocket.http.response.body", "body": b'{"denied":true}'})  # type: ignore


@websocket("/refuse")
async def refuse(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.close()


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    note("lifespan", "startup")
    app.state.numbers = [1, 2]
    yield
    note("lifespan", "shutdown")


HANDLERS = [index, read_json, add, form, upload, download, stream, events, waits, background, teapot, error, late]
HANDLERS += [file, state, threaded, uses_resource, cookies, large, text, echo, deny, refuse]

app = Litestar(
    HANDLERS,
    lifespan=[lifespan],
    compression_config=CompressionConfig("gzip"),
    logging_config=LoggingConfig(log_exceptions="always"),
    openapi_config=None,
)
