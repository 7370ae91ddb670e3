"""The files of a directory over HTTP/2: a handler for trio_h2's server."""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path

import trio

import trio_h2

from ..shared.saying import complain, reason
from .access_log import Access, AccessLog
from .files import Moved, OpenedFile, content_type, find
from .preconditions import answer_to_conditions

__all__ = ["handle"]

CHUNK_SIZE = 64 * 1024
"""How much of a file is in memory at a time, for each request."""

TEXT = ("content-type", "text/plain; charset=utf-8")


async def handle(root: Path, log: AccessLog, stream: trio_h2.ServerStream) -> None:
    """Answer one request with a file from below `root`, a resolved directory, and log it."""
    exchange = _Exchange(stream)
    try:
        await exchange.answer(root)
    finally:
        log.write(exchange.access)


class _Exchange:
    """A request, and what became of it."""

    def __init__(self, stream: trio_h2.ServerStream) -> None:
        self._stream = stream
        self._request = stream.request
        # Asked for now: of a connection that is gone nobody can tell whose it was.
        address = stream.connection.peer_address
        self.access = Access(
            client=address[0] if isinstance(address, tuple) else "-",
            method=self._request.method,
            target=self._request.path or self._request.authority or "",
            http_version="2",
        )

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
        self.access.answered(status.value)
        await self._stream.respond(status.value, [TEXT, ("date", formatdate(usegmt=True)), *headers], body)
        self.access.sent(0 if self._request.method == "HEAD" else len(body))
        self.access.completed()

    async def _say_of(self, found: OpenedFile, status: HTTPStatus) -> None:
        """Answer without the file, by what was asked of its versions."""
        fields = [("last-modified", found.modified)]
        if status is not HTTPStatus.NOT_MODIFIED:
            await self._say(status, fields)
            return
        self.access.answered(status.value)
        await self._stream.respond(status.value, [("date", formatdate(usegmt=True)), *fields])
        self.access.completed()

    async def _send_file(self, found: OpenedFile) -> None:
        status = answer_to_conditions(self._request.headers, found.modified)
        if status is not None:
            await trio.to_thread.run_sync(found.stream.close)
            await self._say_of(found, status)
            return
        headers = [
            ("content-type", content_type(found.name)),
            ("content-length", str(found.size)),
            ("last-modified", found.modified),
            ("date", formatdate(usegmt=True)),
        ]
        size = 0 if self._request.method == "HEAD" else found.size
        async with trio.wrap_file(found.stream) as file:
            self.access.answered(200)
            await self._stream.send_response(200, headers, end_stream=not size)
            # A chunk is read when the one before it was taken, so a big file or a slow reader costs one chunk.
            while self.access.octets < size:
                chunk = await file.read(min(CHUNK_SIZE, size - self.access.octets))
                if not chunk:
                    # The file has shrunk. To return with less than the content-length sent resets the stream.
                    return
                await self._stream.send_all(chunk)
                self.access.sent(len(chunk))
            # Clients that have counted to the content-length may be gone by now.
            self.access.completed()
            await self._stream.send_eof()
