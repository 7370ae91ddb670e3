"""A file as the body of a response."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

__all__ = ["open_body"]

CHUNK = 256 * 1024
"""Octets of a file that are read at once."""


@asynccontextmanager
async def open_body(path: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """Open a file; iterate its chunks, up to the length that it has now: a file that grows meanwhile stays as it was.

    Raises:
        OSError: the file cannot be opened or read.
    """
    file = await trio.open_file(path, "rb")
    async with file:
        size = os.fstat(file.fileno()).st_size

        async def chunks() -> AsyncIterator[bytes]:
            left = size
            while left and (chunk := await file.read(min(left, CHUNK))):
                left -= len(chunk)
                yield chunk

        yield chunks()
