"""The deadlines of a connection, looked at by one task of it (`watch.py`) that sleeps until the next.

Nothing that happens often moves that task's alarm: a deadline that moves away is found so when the task wakes, and one
that can begin, as the last stream ends say, cannot pass before it begins. So the task sleeps no longer than any
deadline could last, and work on the connection only notes when it was.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable

import trio

from ..config import Config
from .stream_actor import StreamActor
from .writer import SEND_GRACE, Writer

__all__ = ["BodyRates", "Deadlines", "Overdue"]

BODY_WINDOW = 60.0
"""Seconds over which `Config.min_body_rate` is measured."""


class Overdue(enum.Enum):
    """What a deadline that passed was for."""

    FIRST_SETTINGS = enum.auto()
    SETTINGS_ACKNOWLEDGEMENT = enum.auto()
    WRITE = enum.auto()
    KEEPALIVE_ANSWER = enum.auto()
    KEEPALIVE = enum.auto()
    IDLE = enum.auto()
    STALL = enum.auto()
    BODIES = enum.auto()


class Deadlines:
    """Owner of every field: this object.

    Attributes:
        received_at: when the peer last sent something, on trio's clock.
    """

    def __init__(self, config: Config, writer: Writer, *, client: bool) -> None:
        self._now = trio.lowlevel.current_clock().current_time
        now = self._now()
        self._config = config
        self._writer = writer
        self._write_lasts = SEND_GRACE if config.min_send_rate else math.inf
        self._idle_timeout = math.inf if client else config.idle_timeout
        self._stall_timeout = math.inf if client else config.stall_timeout
        self._bodies_looked_at = now if config.min_body_rate and not client else math.inf
        self._first_settings = math.inf
        self._acknowledgement = math.inf
        self.received_at = now
        self._pinged_at: float | None = None
        self._idle_since = now

    def start(self) -> None:
        """Our connection preface is on its way."""
        now = trio.current_time()
        self._first_settings = now + self._config.handshake_timeout
        self._acknowledgement = now + self._config.settings_timeout

    def received(self) -> None:
        """The peer sent something, so it is there."""
        self.received_at = self._now()
        self._pinged_at = None

    def settings_received(self) -> None:
        """The peer's connection preface is complete."""
        self._first_settings = math.inf

    def settings_acknowledged(self) -> None:
        """Nothing of ours waits for an acknowledgement."""
        self._acknowledgement = math.inf

    def pinged(self) -> None:
        """A keepalive PING is on its way."""
        self._pinged_at = trio.current_time()

    def bodies_looked_at(self) -> None:
        """What came of requests' bodies was looked at."""
        self._bodies_looked_at = trio.current_time()

    def quiet(self) -> None:
        """The last stream has ended."""
        self._idle_since = trio.current_time()

    def next(self, *, busy: bool) -> float:
        """Before this time no deadline passes, whatever happens; `busy` while there are streams."""
        now = trio.current_time()
        return min(now + lasts if at is None else at for at, lasts, _ in self._all(busy))

    def passed(self, *, busy: bool) -> Overdue | None:
        """Which deadline has passed, the gravest first."""
        now = trio.current_time()
        return next((overdue for at, _, overdue in self._all(busy) if at is not None and now >= at), None)

    def _all(self, busy: bool) -> list[tuple[float | None, float, Overdue]]:
        """Of every deadline, when it passes, or None if it has not begun; and how long it lasts once it begins."""
        config = self._config
        if self._pinged_at is None:
            keepalive = self.received_at + config.keepalive_interval, Overdue.KEEPALIVE
        else:
            keepalive = self._pinged_at + config.keepalive_timeout, Overdue.KEEPALIVE_ANSWER
        idle = None if busy else self._idle_since + self._idle_timeout
        stalled_since = self._writer.waiting.stalled_since
        stall = None if stalled_since is None else stalled_since + self._stall_timeout
        return [
            (self._first_settings, 0, Overdue.FIRST_SETTINGS),
            (self._acknowledgement, 0, Overdue.SETTINGS_ACKNOWLEDGEMENT),
            (self._writer.due, self._write_lasts, Overdue.WRITE),
            (keepalive[0], 0, keepalive[1]),
            (idle, self._idle_timeout, Overdue.IDLE),
            (stall, self._stall_timeout, Overdue.STALL),
            (self._bodies_looked_at + BODY_WINDOW, 0, Overdue.BODIES),
        ]


class BodyRates:
    """Which requests' bodies come too slowly. Owner of every field: this object."""

    def __init__(self, config: Config) -> None:
        self._least = config.min_body_rate * BODY_WINDOW
        self._seen: dict[StreamActor, int] = {}

    def slow(self, actors: Iterable[StreamActor]) -> list[StreamActor]:
        """Of streams that were there at the last look, too, those whose handlers wait and got too little since."""
        before = self._seen
        self._seen = {actor: received for actor in actors if (received := actor.body_received) is not None}
        return [
            actor
            for actor, seen in self._seen.items()
            if actor in before and actor.inbox.waiting and seen - before[actor] < self._least
        ]
