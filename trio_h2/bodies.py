"""`Body`: what `request()` takes to send."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Protocol, TypeGuard

__all__ = ["AsyncFile", "Body", "Chunks", "Octets", "chunks_of", "makes_body", "reads_pieces"]

PIECE_SIZE = 64 * 1024
"""How much of a body that is a file is read at a time, in octets."""


class AsyncFile(Protocol):
    """A file opened for bytes, as `trio.open_file` gives it, or anything that reads like one."""

    async def read(self, size: int, /) -> bytes:
        """At most so many octets, and none at the end."""
        raise NotImplementedError


Octets = bytes | bytearray | memoryview
"""What is bytes-like."""

Chunks = AsyncIterable[Octets] | AsyncFile
"""What gives a body chunk by chunk, once."""

Body = Octets | Chunks | Callable[[], Chunks | Iterable[Octets]]
"""What `request(body=)` takes: octets, an async iterable of chunks of them, a file opened for bytes, or a callable.

A callable makes the chunks, anew whenever it is called: an async generator function, say. So the body can be sent
again, as one that is octets can.
"""


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


def makes_body(body: object) -> TypeGuard[Callable[[], Chunks | Iterable[Octets]]]:
    """Whether this is a callable that makes a body, and not one itself."""
    return callable(body) and not isinstance(body, AsyncIterable) and not reads_pieces(body)


def chunks_of(body: object) -> AsyncIterator[Octets]:
    """The chunks of a body that is not octets. Raises TypeError, and what the caller's own code does."""
    made = body() if makes_body(body) else body
    if reads_pieces(made):
        return _pieces(made)
    if isinstance(made, AsyncIterable):
        return aiter(made)
    if isinstance(made, Iterable) and not isinstance(made, bytes | bytearray | memoryview | str):
        return _each(made)
    if inspect.iscoroutine(made):
        made.close()
    raise TypeError(f"body() must give an iterable of bytes-like chunks, async or not, not {type(made).__name__}")


async def _each(chunks: Iterable[Octets]) -> AsyncIterator[Octets]:
    for chunk in chunks:
        yield chunk


async def _pieces(file: AsyncFile) -> AsyncIterator[bytes]:
    """The octets of a file, in pieces."""
    while piece := await file.read(PIECE_SIZE):
        if isinstance(piece, str):
            raise TypeError("body must be a file of bytes, not of text: open it in binary mode")
        yield piece
