"""`OriginStatistics`: what a pool has to one origin."""

from __future__ import annotations

import attrs

__all__ = ["OriginStatistics"]


@attrs.frozen
class OriginStatistics:
    """One origin of a pool, at this moment. Those with no connection, and nobody who waits for one, are forgotten.

    Attributes:
        connections: how many there are that take requests.
        leaving: how many take no more, and finish their streams.
        opening: Whether one is being opened.
        streams: how many there are on all of them, open or about to be.
        waiting: how many requests wait for a connection, or for room on one.
        opened: how many connections were opened so far.
        failures: how often opening one has failed so far.
    """

    connections: int
    leaving: int
    opening: bool
    streams: int
    waiting: int
    opened: int
    failures: int
