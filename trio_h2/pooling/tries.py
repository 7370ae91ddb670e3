"""`Tries`: whether a request that failed is made again, and how long it waits before."""

from __future__ import annotations

import random

import trio

from ..exceptions import H2Error

__all__ = ["Tries", "back_off"]

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0
"""Seconds before the second try of what failed once, and before any."""


def back_off(failures: int) -> float:
    """Seconds to wait after so many failures, one or more: three times as long each time, and of that a random part.

    Who failed together does not come back together.
    """
    return min(LONGEST_PAUSE, FIRST_PAUSE * 3.0 ** min(failures - 1, 10)) * random.uniform(0.5, 1)


class Tries:
    """The tries of one request. Owner of every field: this object.

    Attributes:
        failed: how many there were, each of which failed.
    """

    __slots__ = ("_retries", "failed")

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self.failed = 0

    def again(self, error: H2Error, *, repeatable: bool = True) -> bool:
        """One more has failed, by this error. Whether there may be another; the error learns how many there were.

        Args:
            error: the one to raise if there may not.
            repeatable: Whether what was sent can be sent again.
        """
        self.failed += 1
        error.add_attempts(self.failed)
        return error.safe_to_retry and repeatable and self.failed <= self._retries

    async def pause(self, error: H2Error) -> None:
        """Wait before the next try, where nothing else does: who needs a new connection waits for that."""
        if error.scope == "stream" and self.failed > 1:
            await trio.sleep(back_off(self.failed - 1))
