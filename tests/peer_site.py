"""What the peer programs are pointed at: a handler with a path for everything that a peer may want to do."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import random
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

import trio_h2
from tests import peers

FULL = os.environ.get("TRIO_H2_FULL") == "1"
"""Whether the loads have their full size, and take minutes, or one that fits into every run of the tests."""

MIB = 2**20

TEXT = ("content-type", "text/plain")
OCTETS = ("content-type", "application/octet-stream")

_BLOCK = random.Random(9113).randbytes(65_521)


def sized(full: int, small: int) -> int:
    """How much of something: `full` with TRIO_H2_FULL=1 in the environment, else `small`."""
    return full if FULL else small


# Bodies -------------------------------------------------------------------------------------------


def blocks(size: int) -> Iterator[bytes]:
    """A body of `size` octets in blocks, no two of which are the same, so that none can go astray unseen."""
    number = 0
    while size > 0:
        block = (number.to_bytes(8, "big") + _BLOCK)[:size]
        size -= len(block)
        number += 1
        yield block


async def async_blocks(size: int) -> AsyncIterator[bytes]:
    """The same, as an asynchronous iterator."""
    for block in blocks(size):
        yield block


def digest(size: int) -> str:
    """The SHA-256 of the body of `size` octets."""
    sha256 = hashlib.sha256()
    for block in blocks(size):
        sha256.update(block)
    return sha256.hexdigest()


def write_body(path: Path, size: int) -> Path:
    """Put the body of `size` octets into a file."""
    with path.open("wb") as file:
        file.writelines(blocks(size))
    return path


def file_digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def stream_digest(stream: trio_h2.ClientStream | trio_h2.ServerStream) -> str:
    """The SHA-256 of what is left to receive on a stream."""
    sha256 = hashlib.sha256()
    async for chunk in stream:
        sha256.update(chunk)
    return sha256.hexdigest()


# The site -----------------------------------------------------------------------------------------


async def site(stream: trio_h2.ServerStream) -> None:
    """The handler.

    /hello says hello, /bytes/SIZE sends a body of that size, /digest answers with the SHA-256 of the request's body,
    /whole with that of a body that it reads in one, /echo sends that body back as it comes, and its trailers, /empty is
    a 204, /trailers has trailers, /early does not wait for the request's body, and anything else is a 404.
    """
    assert stream.request.path is not None
    match stream.request.path.strip("/").split("/"):
        case ["hello"]:
            await stream.respond(200, [TEXT], b"hello\n")
        case ["bytes", size]:
            await _send_body(stream, int(size))
        case ["digest"]:
            value = await stream_digest(stream)
            await stream.respond(200, [TEXT], value.encode())
        case ["whole"]:
            body = await stream.read()
            await stream.respond(200, [TEXT], hashlib.sha256(body).hexdigest().encode())
        case ["echo"]:
            await _echo(stream)
        case ["empty"]:
            await stream.respond(204)
        case ["trailers"]:
            await stream.send_response(200, [TEXT, ("trailer", "x-checksum")])
            await stream.send_all(b"with trailers\n")
            await stream.send_trailers([("x-checksum", "abc123")])
        case ["early"]:
            await stream.respond(200, [TEXT], b"too early\n")
        case _:
            await stream.respond(404, [TEXT], b"there is no such thing\n")


async def _send_body(stream: trio_h2.ServerStream, size: int) -> None:
    to_head = stream.request.method == "HEAD"
    await stream.send_response(200, [OCTETS, ("content-length", str(size))], end_stream=to_head)
    if not to_head:
        for block in blocks(size):
            await stream.send_all(block)


async def _echo(stream: trio_h2.ServerStream) -> None:
    await stream.send_response(200, [OCTETS])
    async for chunk in stream:
        await stream.send_all(chunk)
    if stream.trailers is not None:
        await stream.send_trailers(stream.trailers)


# Serving it ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Site:
    """A trio_h2 server that a client peer is pointed at."""

    server: trio_h2.H2Server
    scheme: str
    ca: Path

    @property
    def url(self) -> str:
        return f"{self.scheme}://{peers.HOST}:{self.server.port}"


async def start_server(
    nursery: trio.Nursery,
    handler: trio_h2.Handler = site,
    *,
    host: str | None = peers.HOST,
    ssl_context: ssl.SSLContext | None = None,
    config: trio_h2.Config | None = None,
    trace: trio_h2.Trace | None = None,
) -> trio_h2.H2Server:
    """Serve on a free port until the nursery is cancelled, or the server shut down."""
    serve = functools.partial(trio_h2.serve_h2, handler, 0, host=host, ssl_context=ssl_context)
    server: trio_h2.H2Server = await nursery.start(functools.partial(serve, config=config, trace=trace))
    return server


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What trio_h2 has logged in this test as a warning or worse."""
    return [
        f"{record.levelname} {record.getMessage()}"
        for record in caplog.get_records("call")
        if record.name.split(".")[0] == "trio_h2" and record.levelno >= logging.WARNING
    ]
