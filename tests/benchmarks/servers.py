"""The servers that are Python: `python -m tests.benchmarks.servers NAME APP PORT [CERTIFICATE KEY]`."""

from __future__ import annotations

import asyncio
import os
import resource
import ssl
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from tests.benchmarks.asgi_apps import APPS, BODY, BULK, HEADERS

if TYPE_CHECKING:
    import trio_h2

HOST = "127.0.0.1"

TLSPaths = tuple[str, str] | None

MANY = 20_000
"""Streams that a client may have open at once, and connections, for the workloads that open very many."""

HELD_HEADERS = MANY * 1024
"""Octets of the header fields of all these streams."""


# trio_h2 ------------------------------------------------------------------------------------------


async def native_hello(stream: trio_h2.ServerStream) -> None:
    await stream.respond(200, HEADERS, BODY)


async def native_bulk(stream: trio_h2.ServerStream) -> None:
    await stream.respond(200, HEADERS, BULK)


async def native_upload(stream: trio_h2.ServerStream) -> None:
    size = 0
    async for chunk in stream:
        size += len(chunk)
    await stream.respond(200 if size == len(BULK) else 400, HEADERS, BODY)


async def native_idle(stream: trio_h2.ServerStream) -> None:
    """Answers a GET; what else comes stays open until the client ends it."""
    if stream.request.method != "GET":
        async for _ in stream:
            pass
    await stream.respond(200, HEADERS, BODY)


NATIVE = {"hello": native_hello, "bulk": native_bulk, "upload": native_upload, "idle": native_idle}


def server_context(tls: tuple[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*tls)
    return context


def run_trio_h2(app: str, port: int, tls: TLSPaths, recorded: bool = False) -> None:
    # Imported here, so that one side never carries what only another one needs.
    import trio_h2

    context = None if tls is None else server_context(tls)
    limits: dict[str, Any] = {}
    if app == "idle":
        limits["config"] = trio_h2.Config(max_concurrent_streams=MANY, max_held_headers=HELD_HEADERS)
        limits["max_connections"] = MANY

    async def serve() -> None:
        trace = trio_h2.Timeline() if recorded else None
        await trio_h2.serve_h2(NATIVE[app], port, host=HOST, ssl_context=context, trace=trace, **limits)

    trio.run(serve)


def run_trio_h2_asgi(app: str, port: int, tls: TLSPaths, workers: int | None = None) -> None:
    from trio_h2.cli import main

    assert tls is None
    options = ["--factory", "--no-access-log", "--log-level=error", f"--host={HOST}", f"--port={port}"]
    if workers is not None:
        options.append(f"--workers={workers}")
    sys.argv = ["trio-h2", "serve", f"tests.benchmarks.asgi_apps:{app}", *options]
    sys.exit(main())


# hypercorn ----------------------------------------------------------------------------------------


def hypercorn_config(app: str, port: int, tls: TLSPaths) -> Any:
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"{HOST}:{port}"]
    config.accesslog = None
    # The same few header fields as the others, and no limit that would end a connection under load.
    config.include_date_header = False
    config.include_server_header = False
    config.keep_alive_max_requests = 1_000_000_000
    config.keep_alive_timeout = 3600
    if app == "idle":
        config.h2_max_concurrent_streams = MANY
    if tls is not None:
        config.certfile, config.keyfile = tls
    return config


def run_hypercorn_trio(app: str, port: int, tls: TLSPaths) -> None:
    from hypercorn.trio import serve

    trio.run(serve, APPS[app](), hypercorn_config(app, port, tls))


def run_hypercorn_asyncio(app: str, port: int, tls: TLSPaths) -> None:
    from hypercorn.asyncio import serve

    asyncio.run(serve(APPS[app](), hypercorn_config(app, port, tls)))


def run_hypercorn_uvloop(app: str, port: int, tls: TLSPaths) -> None:
    import uvloop
    from hypercorn.asyncio import serve

    uvloop.run(serve(APPS[app](), hypercorn_config(app, port, tls)))


# granian, h2corn and Node's http2 -----------------------------------------------------------------


def run_program(*argv: str) -> None:
    """Become this program, for one of the apps: so its process is the one that was started."""
    os.execv(sys.executable, [sys.executable, "-m", *argv])


def run_granian(app: str, port: int, tls: TLSPaths) -> None:
    assert tls is None
    options = ("--interface=asgi", "--factory", "--loop=uvloop", "--workers=1", "--no-access-log", "--log-level=error")
    run_program("granian", *options, f"--host={HOST}", f"--port={port}", f"tests.benchmarks.asgi_apps:{app}")


def run_h2corn(app: str, port: int, tls: TLSPaths) -> None:
    assert tls is None
    options = ("--factory", "--loop=uvloop", "--workers=1", "--no-access-log", "--no-date-header")
    run_program("h2corn", *options, f"--bind={HOST}:{port}", f"tests.benchmarks.asgi_apps:{app}")


def run_node(app: str, port: int, tls: TLSPaths) -> None:
    assert app == "hello"
    assert tls is None
    os.execvp("node", ["node", str(Path(__file__).with_name("node_server.js")), HOST, str(port)])


# No HTTP at all -----------------------------------------------------------------------------------


def run_raw_trio(app: str, port: int, tls: TLSPaths) -> None:
    """Sends the same bulk as the others for every byte it is sent; over TLS for every head of a request."""
    assert app == "bulk"
    if tls is None:
        trio.run(partial(trio.serve_tcp, answer_bytes, port, host=HOST))
    else:
        context = server_context(tls)
        context.set_alpn_protocols(["http/1.1"])
        trio.run(partial(trio.serve_ssl_over_tcp, answer_heads, port, context, host=HOST))


async def answer_bytes(stream: trio.SocketStream) -> None:
    async for asked in stream:
        for _ in asked:
            await stream.send_all(BULK)


async def answer_heads(stream: trio.SSLStream[trio.SocketStream]) -> None:
    """No more of HTTP/1.1 than makes a load in C take the bulk, whose end of TLS costs it little."""
    answer = f"HTTP/1.1 200 OK\r\ncontent-length: {len(BULK)}\r\n\r\n".encode()
    end, rest = b"\r\n\r\n", b""
    with suppress(trio.BrokenResourceError):  # h2load leaves without a word of TLS
        while asked := await stream.receive_some():
            *heads, rest = (rest + asked).split(end)
            for _ in heads:
                await stream.send_all(answer)
                await stream.send_all(BULK)


SERVERS = {
    "trio_h2": run_trio_h2,
    "trio_h2, recorded": partial(run_trio_h2, recorded=True),
    "trio_h2 asgi": run_trio_h2_asgi,
    "trio_h2 asgi, 2 workers": partial(run_trio_h2_asgi, workers=2),
    "hypercorn-trio": run_hypercorn_trio,
    "hypercorn-asyncio": run_hypercorn_asyncio,
    "hypercorn-uvloop": run_hypercorn_uvloop,
    "granian": run_granian,
    "h2corn": run_h2corn,
    "node": run_node,
    "raw trio": run_raw_trio,
}


def allow_many_files() -> None:
    """As many connections as the system lets this process have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(name: str, app: str, port: str, *tls: str) -> None:
    allow_many_files()
    SERVERS[name](app, int(port), (tls[0], tls[1]) if tls else None)


if __name__ == "__main__":
    main(*sys.argv[1:])
