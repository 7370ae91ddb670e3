"""What the soak's processes share: how they talk to the supervisor, and what the bodies hold."""

from __future__ import annotations

import json
import mmap
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import trio

HOST = "127.0.0.1"

BLOCK_SIZE = 1 << 20
BLOCK = random.Random(1).randbytes(BLOCK_SIZE)
"""What bodies are cut from: both ends have it."""

MAX_ATTEMPTS = 1 << 28
"""Attempts that one run may make; the file that notes them is sparse."""


def say(kind: str, **details: object) -> None:
    """Tell the supervisor something, with the time: the clock is the same in all processes of a machine."""
    sys.stdout.write(json.dumps({"kind": kind, "at": time.monotonic(), **details}) + "\n")
    sys.stdout.flush()


def way(client_port: int, proxy_port: int) -> str:
    """What a connection through the proxy is known by: a client's port may lead to both ports of the proxy at once."""
    return f"{client_port}-{proxy_port}"


async def commands() -> AsyncIterator[list[str]]:
    """What the supervisor says, a line of words at a time; ends with the supervisor."""
    buffer = b""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stream:
        async for data in stream:
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                yield line.decode().split()


def piece(number: int, offset: int, size: int) -> bytes:
    """Octets `offset` to `offset + size` of the body of this number, or less: what lies in one piece."""
    start = (number * 7919 + offset) % BLOCK_SIZE
    return BLOCK[start : start + size]


def pieces(number: int, size: int, most: int) -> Iterator[bytes]:
    """The body of this number, in pieces of at most so many octets."""
    offset = 0
    while offset < size:
        data = piece(number, offset, min(most, size - offset))
        offset += len(data)
        yield data


class Started:
    """Which attempts of requests reached a handler: one octet each, in a file that all processes have mapped."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), MAX_ATTEMPTS)

    @staticmethod
    def create(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(MAX_ATTEMPTS)

    def note(self, attempt: int) -> None:
        self._map[attempt] = 1

    def __contains__(self, attempt: int) -> bool:
        return self._map[attempt] == 1
