"""The socket between the parent and a worker: a message is a line of JSON, an object with its `"kind"`.

To a worker: `start` (its options, and the numbers of the sockets it has inherited), `drain`, `stop` (at once),
`statistics`. From it: `ready`, `failed` (why it cannot start), `statistics` (its counters), `retire`
(it has served as many requests as it was to), `ended` (its last counters).
"""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import trio

__all__ = ["ControlSocket", "Message", "control_pair", "over_socket"]

Message = dict[str, Any]

READ_SIZE = 64 * 1024


class ControlSocket:
    """One end of it. Messages are sent whole, also when several tasks send at once."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._sending = trio.Lock()

    async def send(self, kind: str, **details: object) -> None:
        """Send a message. Does nothing when the other side has gone: the end of `messages` says so."""
        line = json.dumps({"kind": kind, **details}).encode() + b"\n"
        try:
            async with self._sending:
                await self._stream.send_all(line)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def messages(self) -> AsyncIterator[Message]:
        """What the other side says, until it has gone; a line that was cut short by that is dropped."""
        buffer = b""
        while data := await self._read():
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                yield json.loads(line)

    async def _read(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(READ_SIZE))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    def close(self) -> None:
        """Close this end."""
        self._stream.socket.close()


def control_pair() -> tuple[ControlSocket, socket.socket]:
    """The parent's end, and the one that a worker inherits."""
    ours, theirs = socket.socketpair()
    return over_socket(ours), theirs


def over_socket(end: socket.socket) -> ControlSocket:
    """What is said over one end."""
    return ControlSocket(trio.SocketStream(trio.socket.from_stdlib_socket(end)))
