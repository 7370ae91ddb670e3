"""SpareChannels: the memory channels that inboxes use, again and again.

To make one takes longer than all that a small response does with it.
"""

from __future__ import annotations

import math

import trio

from .. import events as ev
from .messages import Chunk, Latest

__all__ = ["Channel", "Item", "SpareChannels"]

Item = ev.Event | Chunk | Latest
Channel = tuple[trio.MemorySendChannel[Item], trio.MemoryReceiveChannel[Item]]

SPARE = 32
"""Channels that a connection keeps, at 1.5 KiB each."""


class SpareChannels:
    """Channels of a connection's streams that have ended, open and empty, for those that begin."""

    __slots__ = ("_spare",)

    def __init__(self) -> None:
        self._spare: list[Channel] = []

    def take(self) -> Channel:
        """A channel with nothing in it."""
        return self._spare.pop() if self._spare else trio.open_memory_channel(math.inf)

    def put(self, channel: Channel) -> None:
        """Nobody uses this one any more."""
        if len(self._spare) < SPARE:
            self._spare.append(channel)
