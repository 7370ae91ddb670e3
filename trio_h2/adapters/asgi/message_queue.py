"""MessageQueue: the messages of a WebSocket that its app has not received."""

from __future__ import annotations

from collections import deque

import trio

from .asgi_types import Message

__all__ = ["MessageQueue"]

OWN = 256
"""Octets that a message counts beside its own: an empty one takes room, too."""


class MessageQueue:
    """Who fills it waits for `room` before it reads on; that is what bounds it. Owner of every field: this object."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._messages: deque[tuple[Message, int]] = deque()
        self._last: Message | None = None
        self._octets = 0
        self._changed = trio.lowlevel.ParkingLot()

    def put(self, message: Message, octets: int) -> None:
        """Add a message, unless the last has been added."""
        if self._last is None:
            self._messages.append((message, octets + OWN))
            self._octets += octets + OWN
            self._changed.unpark_all()

    def end(self, message: Message) -> None:
        """Add the last message, which is given again and again. The first one counts."""
        if self._last is None:
            self._last = message
            self._changed.unpark_all()

    def clear(self) -> None:
        """Drop what is there, but for the last message."""
        self._messages.clear()
        self._octets = 0
        self._changed.unpark_all()

    async def room(self) -> None:
        """Wait until there is less than the most that it should hold. A checkpoint only if it waits."""
        while self._octets >= self._most:
            await self._changed.park()

    async def get(self) -> Message:
        """Wait for the next message."""
        if self._messages or self._last is not None:  # else the wait is the checkpoint
            await trio.lowlevel.checkpoint()
        while not self._messages:
            if self._last is not None:
                return self._last
            await self._changed.park()
        message, octets = self._messages.popleft()
        self._octets -= octets
        self._changed.unpark_all()
        return message
