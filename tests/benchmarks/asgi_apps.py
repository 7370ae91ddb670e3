"""The ASGI apps that the servers are measured with. Each is made by a function: granian and h2corn load it by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

HEADERS = [("content-type", "text/plain")]
BODY = b"hello"
BULK = bytes(2**20)

DOCUMENT = {"message": "hello", "numbers": [1, 2, 3], "nested": {"true": True, "none": None}}
"""What the app `web` answers `/json` with."""

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
App = Callable[[Any, Receive, Send], Awaitable[None]]


async def answer(send: Send, status: int, body: bytes) -> None:
    headers = [(name.encode(), value.encode()) for name, value in HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def whole_body(receive: Receive) -> int:
    """The size of a request's body, once all of it is there."""
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return size
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            return size


def with_lifespan(app: App) -> App:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})

    return application


def hello() -> App:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await answer(send, 200, BODY)

    return with_lifespan(app)


def bulk() -> App:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await answer(send, 200, BULK)

    return with_lifespan(app)


def upload() -> App:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await answer(send, 200 if await whole_body(receive) == len(BULK) else 400, BODY)

    return with_lifespan(app)


def idle() -> App:
    """Answers a GET; what else comes stays open until the client ends it."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await whole_body(receive)
        await answer(send, 200, BODY)

    return with_lifespan(app)


def web() -> App:
    """Starlette's: `/` is a short text, `/json` a small document."""
    # Imported here, so that no server carries it without need.
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    async def text(request: Request) -> Response:
        return PlainTextResponse(BODY)

    async def document(request: Request) -> Response:
        return JSONResponse(DOCUMENT)

    return Starlette(routes=[Route("/", text), Route("/json", document)])


def echo() -> App:
    """WebSockets whose messages come back."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        assert scope["type"] == "websocket"
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": message["bytes"]})

    return with_lifespan(app)


APPS = {each.__name__: each for each in (hello, bulk, upload, idle, web, echo)}
