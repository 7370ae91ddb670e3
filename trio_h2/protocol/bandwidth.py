"""How large receive windows should be: as large as what one round trip can carry (RFC 9113 section 6.9.1).

A window smaller than the bandwidth-delay product holds the peer back. So, while much is being received, a PING
(6.7) measures: what arrives until its answer is what one round trip carries under the present windows. If that
is a good part of them, and windows are what holds the peer back, they are doubled. They are if more comes a second
than when they last grew; and if the round trip is as short as ever, because a link that is full makes it longer.

A `BandwidthEstimator` is one connection's measure and reads no clock; a `GrowthBudget` is what the windows of its
streams may grow by in all.
"""

from __future__ import annotations

import math

from .stream_machine import StreamMachine

__all__ = ["MEASURING_PING", "BandwidthEstimator", "GrowthBudget"]

MEASURING_PING = b"measurin"
"""The payload of the PINGs that measure."""

AT_ONCE = 1.0
"""Seconds in which half a window has to come before a PING is worth it: small messages do not fill windows."""

GAIN = 9 / 8
"""How much more a second than before the last growth there has to be, for the next one."""

NO_QUEUE = 9 / 8
"""How much longer than the shortest a round trip may be on a link where nothing queues. Credit goes back in halves of a
window, so by how they fall twice the window may bring no more at first: then it is this that tells a link's limit."""

FULL = 31 / 16
"""How many times what a round trip carries a window holds at least, when it is large enough: a bit less than the 2 that
growing gives it, because a link that is full is measured with some error."""

SHORTEST_PAUSE = 0.001
LONGEST_PAUSE = 10.0
"""Seconds from one measurement that led to nothing to the next; doubled each time."""


class BandwidthEstimator:
    """Measures by PINGs, ever more rarely when that leads to nothing, and not at all when there is room no more.

    Attributes:
        window: octets that receive windows should have by what was measured so far.
        due: octets received in all at which `look` has to be called; infinite while there is nothing to do.
    """

    __slots__ = (
        "_best",
        "_limit",
        "_looked_at",
        "_not_before",
        "_pause",
        "_shortest",
        "_since",
        "_started",
        "due",
        "window",
    )

    def __init__(self, window: int, limit: int) -> None:
        self.window = window
        self._limit = limit
        self._best = 0.0
        self._shortest = math.inf
        self._looked_at = -math.inf
        self._not_before = -math.inf
        self._pause = 0.0
        # When the PING under way was sent, and what had been received by then.
        self._started: tuple[float, int] | None = None
        # The same of the PING from which on the rate is taken: the one before, because DATA comes in bursts of half
        # a window, and one round trip may hold one more or less of them. Windows grew or nothing came: none yet.
        self._since: tuple[float, int] | None = None
        self.due = self._next(0)

    @property
    def measuring(self) -> bool:
        """Whether a PING of ours is unanswered."""
        return self._started is not None

    def _next(self, received: int) -> float:
        return received + max(1, self.window // 2) if self.window < self._limit else math.inf

    def look(self, received: int, now: float) -> bool:
        """Half a window has come since the last look: should a PING be sent now? If so, it is counted as sent."""
        recent = now - self._looked_at <= AT_ONCE
        self._looked_at = now
        self.due = self._next(received)
        if not recent:
            self._since = None
        if not recent or now < self._not_before:
            return False
        self.due = math.inf
        self._started = now, received
        self._since = self._since or self._started
        return True

    def answered(self, received: int, now: float) -> bool:
        """The PING's answer came, when so much had been received in all; whether `window` grew by it."""
        assert self._started is not None
        assert self._since is not None
        round_trip = now - self._started[0]
        elapsed = now - self._since[0]
        rate = (received - self._since[1]) / elapsed if elapsed > 0 else 0.0
        carried = int(rate * round_trip)
        self._shortest = min(self._shortest, round_trip)
        gains = self.window <= 2 * carried and rate >= self._best * GAIN
        has_room = self.window <= FULL * carried and round_trip <= self._shortest * NO_QUEUE
        grows = gains or has_room
        if grows:
            self._best = max(self._best, rate)
            self.window = min(self._limit, 2 * max(self.window, carried))
            self._pause = 0.0
        else:
            self._pause = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, round_trip, 2 * self._pause))
        self._since = None if grows else self._started
        self._started = None
        self._looked_at = now
        self._not_before = now + self._pause
        self.due = self._next(received)
        return grows


class GrowthBudget:
    """The octets by which the windows of all streams together may grow.

    A stream's come back when it is closed and all of it was taken: until then they may be full of unread octets.
    """

    __slots__ = ("_given", "_octets")

    def __init__(self, octets: int) -> None:
        self._octets = octets
        self._given: dict[StreamMachine, int] = {}

    def take(self, stream: StreamMachine, wanted: int) -> int:
        """Give the stream as much of `wanted` as is left."""
        # Here and not when a stream closes: few streams grow, and every one closes.
        self._given = {
            stream: given for stream, given in self._given.items() if not stream.closed or stream.inbound.held
        }
        count = max(0, min(wanted, self._octets - sum(self._given.values())))
        if count:
            self._given[stream] = self._given.get(stream, 0) + count
        return count
