"""The suite's app, by FastAPI."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
from fastapi import BackgroundTasks, Cookie, Depends, FastAPI, Form, Header, HTTPException, Request, Response, WebSocket
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.datastructures import UploadFile
from starlette.middleware.gzip import GZipMiddleware

from .journal import gate, note, pieces
from .pages import FILE, page
from .starlette_app import echo, refuse


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    note("lifespan", "startup")
    yield {"numbers": [1, 2]}
    note("lifespan", "shutdown")


app = FastAPI(lifespan=lifespan)
app.add_middleware(GZipMiddleware)


@app.get("/", response_class=HTMLResponse)
async def index() -> str:
    return page("FastAPI")


@app.get("/json")
async def read_json(request: Request) -> dict[str, Any]:
    return {"path": request.url.path, "query": dict(request.query_params)}


@app.post("/json")
async def add(numbers: list[int]) -> dict[str, int]:
    return {"sum": sum(numbers)}


@app.post("/form")
async def form(request: Request, name: Annotated[str, Form()]) -> dict[str, str]:
    file = (await request.form())["file"]
    return {"name": name, "file": file if isinstance(file, str) else await _digest(file)}


async def _digest(file: UploadFile) -> str:
    return hashlib.sha256(await file.read()).hexdigest()


@app.post("/upload", response_class=PlainTextResponse)
async def upload(request: Request) -> str:
    digest = hashlib.sha256()
    async for chunk in request.stream():
        digest.update(chunk)
    return digest.hexdigest()


@app.get("/download")
async def download(size: int) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for piece in pieces(size):
            yield piece

    return StreamingResponse(chunks(), media_type="application/octet-stream")


@app.get("/stream")
async def stream(request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"first"
        await gate(request.query_params["as"]).wait()
        yield b"second"

    return StreamingResponse(chunks())


@app.get("/events")
async def events() -> Response:
    async def chunks() -> AsyncIterator[str]:
        number = 0
        while True:
            yield f"data: {number}\n\n"
            number += 1
            await anyio.sleep(0.02)

    return StreamingResponse(chunks(), media_type="text/event-stream")


@app.get("/waits")
async def waits() -> None:
    await anyio.sleep_forever()


@app.get("/background", status_code=202, response_class=PlainTextResponse)
async def background(request: Request, tasks: BackgroundTasks) -> str:
    name = request.query_params["as"]

    async def work() -> None:
        await gate(name).wait()
        note(name, "worked")

    tasks.add_task(work)
    return "accepted"


@app.get("/teapot")
async def teapot() -> None:
    raise HTTPException(418, "a teapot")


@app.get("/error")
async def error() -> None:
    raise ValueError("before")


@app.get("/late")
async def late() -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"part"
        raise ValueError("after")

    return StreamingResponse(chunks())


@app.api_route("/file", methods=["GET", "HEAD"])
async def file() -> Response:
    return FileResponse(FILE, media_type="text/plain")


@app.get("/state")
async def state(request: Request) -> list[int]:
    numbers: list[int] = request.state.numbers
    return numbers


@app.get("/threaded", response_class=PlainTextResponse)
def threaded() -> str:
    return "from a thread"


async def resource(request: Request) -> AsyncIterator[str]:
    name = request.query_params["as"]
    note(name, "opened")
    yield "a resource"
    note(name, "closed")


def threaded_resource(name: Annotated[str, Depends(resource)]) -> Any:
    yield f"{name}, and one of a thread"


@app.get("/resource", response_class=PlainTextResponse)
async def uses_resource(resource: Annotated[str, Depends(threaded_resource)]) -> str:
    return resource


@app.get("/cookies")
async def cookies(response: Response, a: Annotated[str, Cookie()], b: Annotated[str, Cookie()]) -> dict[str, str]:
    response.set_cookie("one", "1")
    response.set_cookie("two", "2", httponly=True)
    return {"a": a, "b": b}


@app.get("/large")
async def large(x_large: Annotated[str, Header()]) -> Response:
    return Response(headers={"x-large": x_large})


@app.get("/text", response_class=PlainTextResponse)
async def text() -> str:
    return "compress me " * 1000


app.websocket("/echo")(echo)
app.websocket("/refuse")(refuse)


@app.websocket("/deny")
async def deny(socket: WebSocket) -> None:
    await socket.send_denial_response(JSONResponse({"denied": True}, 401))
