"""`TimeLimits`: how long requests of a pool may wait, without a cancel scope and its deadline for each.

A scope costs a small request a tenth of its time, and hardly any is ever needed. So one task of the pool's sleeps until
the first limit may be over. Limits of the same length are over in the order in which they began, so those that are
taken back, as nearly all are, cost nothing more than their places.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio

__all__ = ["TimeLimit", "TimeLimits"]


class TimeLimit:
    """Of one wait. It begins when its owner says so, in `TimeLimits`.

    Args:
        seconds: how long the wait may last.
        end_wait: called when that is over: it must neither wait nor raise.

    Attributes:
        ends_at: when it is over, on trio's clock; None before it has begun.
        expired: whether it is over.
        taken_back: whether there is nothing to limit any more.
    """

    __slots__ = ("end_wait", "ends_at", "expired", "seconds", "taken_back")

    def __init__(self, seconds: float, end_wait: Callable[[], None]) -> None:
        self.seconds = seconds
        self.end_wait = end_wait
        self.ends_at: float | None = None
        self.expired = False
        self.taken_back = False

    def begin_at(self, now: float) -> float:
        """It begins; when it is over."""
        self.ends_at = ends_at = now + self.seconds
        return ends_at

    def take_back(self) -> None:
        """There is nothing to limit any more."""
        self.taken_back = True

    def expire(self) -> None:
        """The time is over."""
        self.expired = True
        self.end_wait()


class TimeLimits:
    """Those of a pool. Owner of every field: this object.

    Args:
        start: starts a task, which the pool cancels in the end.
    """

    def __init__(self, start: Callable[[Callable[[], Awaitable[None]]], None]) -> None:
        self._start = start
        self._begun: dict[float, dict[TimeLimit, None]] = {}  # by their length, each in the order of their deadlines
        self._sleep: trio.CancelScope | None = None

    def begin(self, limit: TimeLimit) -> None:
        """It begins now, unless it was taken back before."""
        if limit.taken_back:
            return
        deadline = limit.begin_at(trio.current_time())
        self._begun.setdefault(limit.seconds, {})[limit] = None
        if self._sleep is None:
            self._sleep = trio.CancelScope(deadline=deadline)
            self._start(self._watch)
        elif deadline < self._sleep.deadline:
            self._sleep.deadline = deadline

    def take_back(self, limit: TimeLimit) -> None:
        """The wait is over before its limit, or never began."""
        limit.take_back()
        if limit.ends_at is not None and not limit.expired:
            del self._begun[limit.seconds][limit]

    async def _watch(self) -> None:
        """The task: sleep until a limit is over, as long as there are any."""
        while self._sleep is not None:
            with self._sleep:
                await trio.sleep_forever()
            self._expire(trio.current_time())
            first = min((next(iter(limits)).ends_at or 0.0 for limits in self._begun.values()), default=math.inf)
            self._sleep = trio.CancelScope(deadline=first) if self._begun else None

    def _expire(self, now: float) -> None:
        for seconds, limits in list(self._begun.items()):
            while limits:
                limit = next(iter(limits))
                if limit.ends_at is not None and limit.ends_at > now:
                    break
                del limits[limit]
                limit.expire()
            if not limits:
                del self._begun[seconds]
