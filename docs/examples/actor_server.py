"""The server of asyncio_server.py on actors: `python actor_server.py PORT`."""

from __future__ import annotations

import json
import sys

import trio

import trio_h2


async def handler(stream: trio_h2.ServerStream) -> None:
    body = b"".join([chunk async for chunk in stream])
    if stream.request.method != "POST":
        body = json.dumps({"path": stream.request.path, "method": stream.request.method}).encode()
    await stream.respond(200, [("content-length", str(len(body))), ("server", "trio-h2")], body)


if __name__ == "__main__":
    trio.run(lambda: trio_h2.serve_h2(handler, int(sys.argv[1]), host="127.0.0.1"))
