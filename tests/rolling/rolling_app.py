"""The app of the rolling run. `/KIND/NUMBER/SIZE` is answered with the number, again and again, in about SIZE octets.

`small` at once, `slow` in half a second, and `echo` with what was sent; the numbers of those go into the file that
ROLLING_NOTES names, if it names one.
"""

from __future__ import annotations

import os
from typing import Any

import trio

WHO = os.environ.get("ROLLING_NAME", str(os.getpid())).encode()
NOTES = os.open(os.environ.get("ROLLING_NOTES", os.devnull), os.O_WRONLY | os.O_APPEND)
HEADERS = [(b"x-worker", WHO), (b"content-type", b"text/plain")]


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    if scope["path"] == "/health":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})
        return
    _, kind, number, size = scope["path"].split("/")
    body = number.encode() * (int(size) // len(number))
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    if kind == "echo":
        os.write(NOTES, number.encode() + b"\n")
        await _echo(receive, send)
        return
    if kind == "slow":
        await send({"type": "http.response.body", "body": body[:10], "more_body": True})
        await trio.sleep(0.5)
        body = body[10:]
    await send({"type": "http.response.body", "body": body})


async def _live(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _echo(receive: Any, send: Any) -> None:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})
