"""`TimeLimits`: how long requests of a pool may wait, without a cancel scope and its deadline for each.

A scope costs a small request a tenth of its time, and hardly any is ever needed. So one task of the pool's sleeps until
the first limit may be over. Limits of the same length are over in the order in which they began, so those that are
taken back, as nearly all are, cost nothing more than their places.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio

from ..actors.stream_actor import StreamActor

__all__ = ["TimeLimits"]


class TimeLimits:
    """Those of a pool: a stream that waits for too long is closed. Owner of every field: this object.

    Args:
        start: starts a task, which the pool cancels in the end.
    """

    def __init__(self, start: Callable[[Callable[[], Awaitable[None]]], None]) -> None:
        self._start = start
        self._begun: dict[float, dict[StreamActor, float]] = {}  # deadlines by their length, each in their order
        self._expired: set[StreamActor] = set()
        self._sleep: trio.CancelScope | None = None
        self._wakes_at = math.inf  # the deadline of that

    def begin(self, actor: StreamActor, seconds: float, now: float) -> None:
        """The stream may wait for so long from now on."""
        deadlines = self._begun.get(seconds)
        if deadlines is None:
            self._begun[seconds] = deadlines = {}
        deadlines[actor] = deadline = now + seconds
        if deadline < self._wakes_at:
            self._wake_at(deadline)

    def take_back(self, actor: StreamActor, seconds: float) -> None:
        """The stream's wait is over, in time or not, or never began."""
        deadlines = self._begun.get(seconds)
        if deadlines is None or deadlines.pop(actor, None) is None:
            self._expired.discard(actor)

    def expired(self, actor: StreamActor) -> bool:
        """Whether the stream, whose limit was not taken back, was closed by it."""
        return actor in self._expired

    def _wake_at(self, deadline: float) -> None:
        self._wakes_at = deadline
        if self._sleep is None:
            self._sleep = trio.CancelScope(deadline=deadline)
            self._start(self._watch)
        else:
            self._sleep.deadline = deadline

    async def _watch(self) -> None:
        """The task: sleep until a limit is over, as long as there are any."""
        while self._sleep is not None:
            with self._sleep:
                await trio.sleep_forever()
            self._expire(trio.current_time())
            self._wakes_at = min((next(iter(each.values())) for each in self._begun.values()), default=math.inf)
            self._sleep = trio.CancelScope(deadline=self._wakes_at) if self._begun else None

    def _expire(self, now: float) -> None:
        for seconds, deadlines in list(self._begun.items()):
            while deadlines:
                actor, deadline = next(iter(deadlines.items()))
                if deadline > now:
                    break
                del deadlines[actor]
                self._expired.add(actor)
                actor.close(linger=False)
            if not deadlines:
                del self._begun[seconds]
