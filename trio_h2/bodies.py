"""`Body`: what `request()` takes to send."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator
from typing import Protocol, TypeGuard

__all__ = ["AsyncFile", "Body", "pieces", "reads_pieces"]

PIECE_SIZE = 64 * 1024
"""How much of a body that is a file is read at a time, in octets."""


class AsyncFile(Protocol):
    """A file opened for bytes, as `trio.open_file` gives it, or anything that reads like one."""

    async def read(self, size: int, /) -> bytes:
        """At most so many octets, and none at the end."""
        raise NotImplementedError


Body = bytes | bytearray | memoryview | AsyncIterable[bytes | bytearray | memoryview] | AsyncFile
"""What `request(body=)` takes: octets, an async iterable of chunks of them, or a file opened for bytes."""


def reads_pieces(body: object) -> TypeGuard[AsyncFile]:
    """Whether this is an async file. Iterated over, one gives its lines, of one octet each perhaps, or all of it."""
    read = getattr(body, "read", None)
    if not inspect.iscoroutinefunction(read):
        return False
    try:
        inspect.signature(read).bind(PIECE_SIZE)
    except (TypeError, ValueError):  # a `read` of another kind, that takes no size
        return False
    return True


async def pieces(file: AsyncFile) -> AsyncIterator[bytes]:
    """The octets of a file, in pieces."""
    while piece := await file.read(PIECE_SIZE):
        if isinstance(piece, str):
            raise TypeError("body must be a file of bytes, not of text: open it in binary mode")
        yield piece
