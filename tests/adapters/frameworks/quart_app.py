"""The suite's app, by Quart-Trio."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import trio
from quart import ResponseReturnValue, abort, after_this_request, jsonify, make_response, request, send_file, websocket
from quart_trio import QuartTrio
from starlette.middleware.gzip import GZipMiddleware

from .journal import gate, note, pieces
from .pages import FILE, page

quart = QuartTrio(__name__, static_folder=None)
quart.config["MAX_CONTENT_LENGTH"] = None
quart.config["BODY_TIMEOUT"] = None
quart.config["RESPONSE_TIMEOUT"] = None

numbers: list[int] = []


@quart.before_serving
async def begin() -> None:
    note("lifespan", "startup")
    numbers.extend([1, 2])


@quart.after_serving
async def end() -> None:
    note("lifespan", "shutdown")


@quart.get("/")
async def index() -> str:
    return page("Quart-Trio")


@quart.get("/json")
async def read_json() -> ResponseReturnValue:
    return {"path": request.root_path + request.path, "query": request.args.to_dict()}


@quart.post("/json")
async def add() -> ResponseReturnValue:
    return {"sum": sum(await request.get_json())}


@quart.post("/form")
async def form() -> ResponseReturnValue:
    fields, files = await request.form, await request.files
    file = hashlib.sha256(files["file"].read()).hexdigest() if "file" in files else fields["file"]
    return {"name": fields["name"], "file": file}


@quart.post("/upload")
async def upload() -> str:
    digest = hashlib.sha256()
    async for chunk in request.body:
        digest.update(chunk)
    return digest.hexdigest()


@quart.get("/download")
async def download() -> ResponseReturnValue:
    size = int(request.args["size"])

    async def chunks() -> AsyncIterator[bytes]:
        for piece in pieces(size):
            yield piece

    return chunks(), 200, {"content-type": "application/octet-stream"}


@quart.get("/stream")
async def stream() -> ResponseReturnValue:
    name = request.args["as"]

    async def chunks() -> AsyncIterator[bytes]:
        yield b"first"
        await gate(name).wait()
        yield b"second"

    return chunks(), 200


@quart.get("/events")
async def events() -> ResponseReturnValue:
    async def chunks() -> AsyncIterator[bytes]:
        number = 0
        while True:
            yield f"data: {number}\n\n".encode()
            number += 1
            await trio.sleep(0.02)

    return chunks(), 200, {"content-type": "text/event-stream"}


@quart.get("/waits")
async def waits() -> str:
    await trio.sleep_forever()
    return ""


@quart.get("/background")
async def background() -> ResponseReturnValue:
    name = request.args["as"]

    async def work() -> None:
        await gate(name).wait()
        note(name, "worked")

    quart.add_background_task(work)
    return "accepted", 202


@quart.get("/teapot")
async def teapot() -> ResponseReturnValue:
    abort(418, "a teapot")


@quart.get("/error")
async def error() -> ResponseReturnValue:
    raise ValueError("before")


@quart.get("/late")
async def late() -> ResponseReturnValue:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"part"
        raise ValueError("after")

    return chunks(), 200


@quart.get("/file")
async def file() -> ResponseReturnValue:
    return await send_file(FILE, mimetype="text/plain", conditional=True)


@quart.get("/state")
async def state() -> ResponseReturnValue:
    return jsonify(numbers)


@quart.get("/threaded")
def threaded() -> str:
    return "from a thread"


@quart.get("/resource")
async def uses_resource() -> str:
    name = request.args["as"]
    note(name, "opened")

    @after_this_request
    async def close(response: Any) -> Any:
        note(name, "closed")
        return response

    return "a resource"


@quart.get("/cookies")
async def cookies() -> ResponseReturnValue:
    response = await make_response(dict(request.cookies))
    response.set_cookie("one", "1")
    response.set_cookie("two", "2", httponly=True)
    return response


@quart.get("/large")
async def large() -> ResponseReturnValue:
    return "", 200, {"x-large": request.headers["x-large"]}


@quart.get("/text")
async def text() -> ResponseReturnValue:
    return "compress me " * 1000, 200, {"content-type": "text/plain"}


@quart.websocket("/echo")
async def echo() -> None:
    await websocket.accept({"x-echo": "yes"}, "two" if "two" in websocket.requested_subprotocols else None)
    while True:
        message = await websocket.receive()
        if message == "close":
            await websocket.close(4000, "bye")
            return
        if message == "raise":
            raise ValueError("in a WebSocket")
        await websocket.send(message)


@quart.websocket("/deny")
async def deny() -> Any:
    return {"denied": True}, 401


@quart.websocket("/refuse")
async def refuse() -> None:
    await websocket.close(1000, "")


app = GZipMiddleware(quart)  # type: ignore[arg-type]
"""Quart compresses nothing itself, and takes Starlette's middleware, as any ASGI app does."""
