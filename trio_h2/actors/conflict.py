"""ConflictDetector: two tasks must not do the same thing to a stream at once. Trio's own, of this name, is private."""

from __future__ import annotations

import trio

__all__ = ["ConflictDetector"]


class ConflictDetector:
    """Whoever waits in the middle of something stands in a `with` block of this; whoever comes calls `check`.

    Attributes:
        busy: Whether a task stands in the block.
    """

    __slots__ = ("_message", "busy")

    def __init__(self, message: str) -> None:
        self._message = message
        self.busy = False

    def check(self) -> None:
        """Raise trio.BusyResourceError if a task stands in the block."""
        if self.busy:
            raise trio.BusyResourceError(self._message)

    def __enter__(self) -> None:
        self.busy = True

    def __exit__(self, *_: object) -> None:
        self.busy = False
