"""Slices: how long connections may work off what they read before everybody else has a turn.

One read can hold thousands of frames, and twenty connections can have one each. So what all connections of a trio run
work off in one turn of its loop is bounded together, by a `Turn`; each has a `Slice` of it, of half a millisecond at
least.

trio says nowhere that a turn of its loop has begun, but it runs each task at most once in a turn. So when a connection
that had a slice of this turn wants another, the next one has begun.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import trio

__all__ = ["CLIENT_SLICE", "PATIENCE", "TURN", "Slice", "Turn"]

SLICE = 0.004
"""Seconds of a turn. A read full of DATA takes an eighth of it, a hundred small requests half of it."""

CLIENT_SLICE = 0.001
"""Seconds of a client's slice at most. What it reads wakes those who make the next requests, and they go out when the
slice ends: a server that has sent all its answers would stand still until then."""

LEAST = 0.0005
"""Seconds that a slice has even where others have used up the turn: enough for a read of ten requests."""

PATIENCE = 10
"""Turns for which the rest of a read waits when others have used them up. What begins a read never waits: so floods
wait for each other, and everybody else for a tenth of them."""


class Turn:
    """What may be worked off in one turn of trio's loop.

    Attributes:
        clock: seconds; a clock of its own, because trio's may be one that stands still while a task runs.
        number: goes up with each turn that is noticed.
        left: seconds that are left of it; negative if a slice took longer.
        least: seconds of the shortest slice.
    """

    __slots__ = ("_seconds", "clock", "least", "left", "number")

    def __init__(self, clock: Callable[[], float] = time.perf_counter, seconds: float = SLICE) -> None:
        self.clock = clock
        self.number = 0
        self.left = self._seconds = seconds
        self.least = min(LEAST, seconds)

    def renew(self) -> None:
        """Another turn has begun."""
        self.number += 1
        self.left = self._seconds

    def spend(self, seconds: float) -> None:
        """A slice took so long."""
        self.left -= seconds


TURN: trio.lowlevel.RunVar[Turn] = trio.lowlevel.RunVar("trio_h2_turn")
"""The turn that all connections of this trio run share."""


class Slice:
    """One connection's part of a turn. Owner of every field: this object.

    Args:
        most: how many seconds of the turn it may take; by default all of them.

    Attributes:
        clock: the turn's.
        until: when it is over, by that clock.
    """

    __slots__ = ("_began", "_most", "_number", "_turn", "clock", "until")

    def __init__(self, most: float = math.inf) -> None:
        try:
            self._turn = TURN.get()
        except LookupError:
            self._turn = Turn()
            TURN.set(self._turn)
        self.clock = self._turn.clock
        self._most = most
        self._number = -1
        self._began = self.until = 0.0

    def begin(self) -> bool:
        """Work begins: a second time only after a checkpoint. Whether there is anything left of the turn."""
        turn = self._turn
        first = self._number == turn.number
        if first:
            turn.renew()
        self._number = turn.number
        self._began = self.clock()
        left = turn.left
        length = left if left < self._most else self._most
        self.until = self._began + (length if length > turn.least else turn.least)
        return first or left > 0

    def end(self) -> None:
        """Work ends, or pauses."""
        self._turn.spend(self.clock() - self._began)
