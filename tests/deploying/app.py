"""The app behind the proxies of docs/deploying.md: it tells its clients what it is told of them."""

from __future__ import annotations

import json
import os
from typing import Any

import trio


async def app(scope: Any, receive: Any, send: Any) -> None:
    """`/slow` takes half a second, a gRPC call and a WebSocket get back what they send, all else is told who it is."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
    elif scope["type"] == "websocket":
        await _echo(scope, receive, send)
    else:
        body = await _body(receive)
        if scope["path"] == "/slow":
            await trio.sleep(0.5)
        grpc = (b"content-type", b"application/grpc") in scope["headers"]
        told = (b"x-told", json.dumps(_told(scope)).encode())
        kind = b"application/grpc" if grpc else b"application/json"
        start = {"type": "http.response.start", "status": 200, "headers": [told, (b"content-type", kind)]}
        await send(start | {"trailers": grpc})
        await send({"type": "http.response.body", "body": body or json.dumps(_told(scope)).encode()})
        if grpc:
            await send({"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]})


def _told(scope: Any) -> dict[str, Any]:
    names = ("client", "scheme", "http_version")
    host = dict(scope["headers"]).get(b"host", b"").decode()
    return {"process": os.getpid(), "host": host, **{name: scope[name] for name in names}}


async def _live(receive: Any, send: Any) -> None:
    for kind in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{kind}.complete"})


async def _body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps(_told(scope))})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
