"""The servers that are Python: `python -m tests.benchmarks.servers NAME PORT`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import trio

HOST = "127.0.0.1"
HEADERS = [("content-type", "text/plain")]
BODY = b"hello"


def trio_h2_hello(port: int) -> None:
    # Imported here, so that one side never carries what only another one needs.
    import trio_h2

    async def hello(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, HEADERS, BODY)

    async def serve() -> None:
        await trio_h2.serve_h2(hello, port, host=HOST)

    trio.run(serve)


async def asgi_hello(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(name.encode(), value.encode()) for name, value in HEADERS],
        }
    )
    await send({"type": "http.response.body", "body": BODY})


def hypercorn_config(port: int) -> Any:
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"{HOST}:{port}"]
    config.accesslog = None
    # The same few header fields as the others, and no limit that would end a connection under load.
    config.include_date_header = False
    config.include_server_header = False
    config.keep_alive_max_requests = 1_000_000_000
    return config


def hypercorn_trio(port: int) -> None:
    from hypercorn.trio import serve

    trio.run(serve, asgi_hello, hypercorn_config(port))


def hypercorn_asyncio(port: int) -> None:
    from hypercorn.asyncio import serve

    asyncio.run(serve(asgi_hello, hypercorn_config(port)))


SERVERS = {
    "trio_h2": trio_h2_hello,
    "hypercorn-trio": hypercorn_trio,
    "hypercorn-asyncio": hypercorn_asyncio,
}

if __name__ == "__main__":
    SERVERS[sys.argv[1]](int(sys.argv[2]))
