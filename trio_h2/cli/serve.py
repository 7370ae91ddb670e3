"""`trio-h2 serve`: files over HTTP/2."""

from __future__ import annotations

import signal
import ssl
from collections.abc import AsyncIterator, Sequence
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from pathlib import Path

import trio
import trustme

import trio_h2

from .files import Moved, OpenedFile, content_type, find
from .process import complain, reason, say

__all__ = ["handle", "self_signed_context", "serve", "tls_context"]

CHUNK_SIZE = 64 * 1024
"""How much of a file is in memory at a time, for each request."""

GRACE = 10.0
"""Seconds that open downloads have to finish when the server is told to stop."""

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where to find a server that listens on every interface."""

TEXT = ("content-type", "text/plain; charset=utf-8")


def tls_context(certfile: str, keyfile: str) -> ssl.SSLContext:
    """A server's context with a certificate chain and a key from PEM files. Raises OSError (ssl.SSLError is one)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certfile, keyfile)
    return context


def self_signed_context(host: str) -> ssl.SSLContext:
    """A server's context with a certificate made now, for `host` and loopback, that nobody trusts."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    names = dict.fromkeys([WILDCARDS.get(host, host), "localhost", "127.0.0.1", "::1"])
    trustme.CA().issue_cert(*names).configure_cert(context)
    return context


async def serve(directory: Path, *, host: str, port: int, ssl_context: ssl.SSLContext | None) -> int:
    """Serve the files of `directory` until SIGINT or SIGTERM, and return the exit code.

    The first signal lets open downloads finish, for a while; the second does not.
    """
    root = await trio.to_thread.run_sync(directory.resolve)
    serving = partial(trio_h2.serve_h2, partial(handle, root), port, host=host, ssl_context=ssl_context)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            try:
                server: trio_h2.H2Server = await nursery.start(serving)
            except OSError as error:
                complain(f"cannot listen on {host} port {port}: {reason(error)}")
                return 1
            _log(f"Serving {directory} at {_url(host, server.port, ssl_context)} (stop with Ctrl+C)")
            await anext(signals)
            exit_code = 1
            nursery.start_soon(_cancel_at_a_signal, signals, nursery.cancel_scope)
            await server.shutdown(GRACE)
            exit_code = 0
            nursery.cancel_scope.cancel()
        return exit_code


async def _cancel_at_a_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await anext(signals)
    complain("stopped without waiting for open downloads")
    scope.cancel()


def _url(host: str, port: int | None, ssl_context: ssl.SSLContext | None) -> str:
    host = WILDCARDS.get(host, host).replace("%", "%25")  # an IPv6 zone (RFC 6874)
    return f"{'http' if ssl_context is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port}/"


async def handle(root: Path, stream: trio_h2.ServerStream) -> None:
    """Answer one request with a file from below `root`, and print its access line."""
    exchange = _Exchange(stream)
    try:
        await exchange.answer(root)
    finally:
        _log(exchange.access_line())


def _log(line: str) -> None:
    """Print a line. The server goes on when there is no place for it, and says so once."""
    try:
        say(line)
    except OSError as error:
        complain(reason(error))


class _Exchange:
    """A request, and what became of it."""

    def __init__(self, stream: trio_h2.ServerStream) -> None:
        self._stream = stream
        self._request = stream.request
        # Asked for now: of a connection that is gone nobody can tell whose it was.
        address = stream.connection.peer_address
        self._client = address[0] if isinstance(address, tuple) else "-"
        self._started = trio.current_time()
        self._status: int | None = None
        self._sent = 0
        self._complete = False

    def access_line(self) -> str:
        """Who asked for what, the status, how much of the body was sent, in which time, and whether that was all."""
        milliseconds = (trio.current_time() - self._started) * 1000
        asked = f"{self._request.method} {self._request.path or self._request.authority}"
        outcome = "" if self._complete else " cut short"
        return f'{self._client} "{asked}" {self._status or "-"} {self._sent} bytes {milliseconds:.1f} ms{outcome}'

    async def answer(self, root: Path) -> None:
        """Find the file, and send it or say why not."""
        path = self._request.path
        if self._request.method not in ("GET", "HEAD") or path is None:
            await self._say(HTTPStatus.METHOD_NOT_ALLOWED, [("allow", "GET, HEAD")])
            return
        try:
            found = await trio.to_thread.run_sync(find, root, path)
        except PermissionError:
            await self._say(HTTPStatus.FORBIDDEN)
        except OSError as error:
            complain(f"{path}: {reason(error)}")
            await self._say(HTTPStatus.INTERNAL_SERVER_ERROR)
        else:
            await self._give(found)

    async def _give(self, found: OpenedFile | Moved | None) -> None:
        if found is None:
            await self._say(HTTPStatus.NOT_FOUND)
        elif isinstance(found, Moved):
            await self._say(HTTPStatus.MOVED_PERMANENTLY, [("location", found.location)])
        else:
            await self._send_file(found)

    async def _say(self, status: HTTPStatus, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer with a status and no more than its name."""
        body = f"{status.value} {status.phrase}\n".encode()
        self._status = status.value
        await self._stream.respond(self._status, [TEXT, ("date", formatdate(usegmt=True)), *headers], body)
        self._sent = 0 if self._request.method == "HEAD" else len(body)
        self._complete = True

    async def _send_file(self, found: OpenedFile) -> None:
        headers = [
            ("content-type", content_type(found.name)),
            ("content-length", str(found.size)),
            ("last-modified", found.modified),
            ("date", formatdate(usegmt=True)),
        ]
        size = 0 if self._request.method == "HEAD" else found.size
        async with trio.wrap_file(found.stream) as file:
            self._status = 200
            await self._stream.send_response(200, headers, end_stream=not size)
            # A chunk is read when the one before it was taken, so a big file or a slow reader costs one chunk.
            while self._sent < size:
                chunk = await file.read(min(CHUNK_SIZE, size - self._sent))
                if not chunk:
                    # The file has shrunk. To return with less than the content-length sent resets the stream.
                    return
                await self._stream.send_all(chunk)
                self._sent += len(chunk)
            # Clients that have counted to the content-length may be gone by now.
            self._complete = True
            await self._stream.send_eof()
