"""The suite's app, by Starlette."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from .journal import gate, note, pieces
from .pages import FILE, page


async def index(request: Request) -> Response:
    return Response(page("Starlette"), media_type="text/html")


async def read_json(request: Request) -> Response:
    return JSONResponse({"path": request.url.path, "query": dict(request.query_params)})


async def add(request: Request) -> Response:
    return JSONResponse({"sum": sum(await request.json())})


async def form(request: Request) -> Response:
    async with request.form() as fields:
        file = fields["file"]
        if isinstance(file, UploadFile):
            file = hashlib.sha256(await file.read()).hexdigest()
        return JSONResponse({"name": fields["name"], "file": file})


async def upload(request: Request) -> Response:
    digest = hashlib.sha256()
    async for chunk in request.stream():
        digest.update(chunk)
    return PlainTextResponse(digest.hexdigest())


async def download(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for piece in pieces(int(request.query_params["size"])):
            yield piece

    return StreamingResponse(chunks(), media_type="application/octet-stream")


async def stream(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"first"
        await gate(request.query_params["as"]).wait()
        yield b"second"

    return StreamingResponse(chunks())


async def events(request: Request) -> Response:
    async def chunks() -> AsyncIterator[str]:
        number = 0
        while True:
            yield f"data: {number}\n\n"
            number += 1
            await anyio.sleep(0.02)

    return StreamingResponse(chunks(), media_type="text/event-stream")


async def waits(request: Request) -> Response:
    await anyio.sleep_forever()
    return Response()


async def polls(request: Request) -> Response:
    """Ask again and again whether the client is there, which is the one way that Starlette offers."""
    while not await request.is_disconnected():  # noqa: ASYNC110
        await anyio.sleep(0.1)
    note(request.query_params["as"], "its client has left")
    return Response()


async def background(request: Request) -> Response:
    name = request.query_params["as"]

    async def work() -> None:
        await gate(name).wait()
        note(name, "worked")

    return PlainTextResponse("accepted", 202, background=BackgroundTask(work))


async def teapot(request: Request) -> Response:
    raise HTTPException(418, "a teapot")


async def error(request: Request) -> Response:
    raise ValueError("before")


async def late(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"part"
        raise ValueError("after")

    return StreamingResponse(chunks())


async def file(request: Request) -> Response:
    return FileResponse(FILE, media_type="text/plain")


async def state(request: Request) -> Response:
    return JSONResponse(request.state.numbers)


async def threaded(request: Request) -> Response:
    return PlainTextResponse(await run_in_threadpool(lambda: "from a thread"))


@asynccontextmanager
async def resource(name: str) -> AsyncIterator[str]:
    note(name, "opened")
    yield "a resource"
    note(name, "closed")


async def uses_resource(request: Request) -> Response:
    async with resource(request.query_params["as"]) as text:
        return PlainTextResponse(text)


async def cookies(request: Request) -> Response:
    response = JSONResponse(request.cookies)
    response.set_cookie("one", "1")
    response.set_cookie("two", "2", httponly=True)
    return response


async def large(request: Request) -> Response:
    return Response(headers={"x-large": request.headers["x-large"]})


async def text(request: Request) -> Response:
    return PlainTextResponse("compress me " * 1000)


async def echo(socket: WebSocket) -> None:
    name = socket.query_params.get("as", "")
    await socket.accept("two" if "two" in socket.scope["subprotocols"] else None, headers=[(b"x-echo", b"yes")])
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"], message.get("reason"))
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
        note(name, f"closed with {gone.code} {gone.reason or ''}".strip())


async def deny(socket: WebSocket) -> None:
    await socket.send_denial_response(JSONResponse({"denied": True}, 401))


async def refuse(socket: WebSocket) -> None:
    await socket.close()


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
    note("lifespan", "startup")
    yield {"numbers": [1, 2]}
    note("lifespan", "shutdown")


ROUTES = [
    Route("/", index),
    Route("/json", read_json),
    Route("/json", add, methods=["POST"]),
    Route("/form", form, methods=["POST"]),
    Route("/upload", upload, methods=["POST"]),
    Route("/download", download),
    Route("/stream", stream),
    Route("/events", events),
    Route("/waits", waits),
    Route("/polls", polls),
    Route("/background", background),
    Route("/teapot", teapot),
    Route("/error", error),
    Route("/late", late),
    Route("/file", file),
    Route("/state", state),
    Route("/threaded", threaded),
    Route("/resource", uses_resource),
    Route("/cookies", cookies),
    Route("/large", large),
    Route("/text", text),
    WebSocketRoute("/echo", echo),
    WebSocketRoute("/deny", deny),
    WebSocketRoute("/refuse", refuse),
]


async def passes_on(request: Request, call_next: Any) -> Response:
    response: Response = await call_next(request)
    return response


WITHIN = Mount("/within", routes=ROUTES, middleware=[Middleware(BaseHTTPMiddleware, dispatch=passes_on)])
"""The same routes below Starlette's middleware for functions, which has tasks and streams of its own."""

app = Starlette(routes=[*ROUTES, WITHIN], middleware=[Middleware(GZipMiddleware)], lifespan=lifespan)
