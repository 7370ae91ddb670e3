"""The deadlines of a connection. They have no task of their own: they bound the reader's wait."""

from __future__ import annotations

import enum
import math

import trio

from ..config import Config

__all__ = ["Deadlines", "Overdue"]


class Overdue(enum.Enum):
    """What a deadline that passed was for."""

    FIRST_SETTINGS = enum.auto()
    SETTINGS_ACKNOWLEDGEMENT = enum.auto()
    KEEPALIVE_ANSWER = enum.auto()
    KEEPALIVE = enum.auto()
    IDLE = enum.auto()


class Deadlines:
    """Owner of every field: ConnectionActor.

    Attributes:
        may_change: can the next deadline come nearer while the reader waits?
    """

    def __init__(self, config: Config, *, client: bool) -> None:
        now = trio.current_time()
        self._config = config
        self._idle_timeout = math.inf if client else config.idle_timeout
        self._first_settings = math.inf
        self._acknowledgement = math.inf
        self._received_at = now
        self._pinged_at: float | None = None
        self._idle_since: float = now
        self.may_change = self._idle_timeout != math.inf
        self._watches = self.may_change or config.keepalive_interval != math.inf

    @property
    def _opened(self) -> bool:
        """Are the SETTINGS of both sides in force? After that, by default, no deadline is left."""
        return self._first_settings == self._acknowledgement == math.inf

    def start(self) -> None:
        """Our connection preface is on its way."""
        now = trio.current_time()
        self._first_settings = now + self._config.handshake_timeout
        self._acknowledgement = now + self._config.settings_timeout

    def received(self) -> None:
        """The peer sent something, so it is there."""
        if self._watches:
            self._received_at = trio.current_time()
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

    def quiet(self) -> None:
        """The last stream has ended."""
        self._idle_since = trio.current_time()

    def next(self, *, busy: bool) -> float:
        """When the next deadline passes if nothing happens; `busy` while there are streams."""
        if self._opened and not self._watches:
            return math.inf
        return min(at for at, _ in self._all(busy))

    def passed(self, *, busy: bool) -> Overdue | None:
        """Which deadline has passed, the gravest first."""
        now = trio.current_time()
        return next((overdue for at, overdue in self._all(busy) if now >= at), None)

    def _all(self, busy: bool) -> list[tuple[float, Overdue]]:
        if self._pinged_at is None:
            keepalive = self._received_at + self._config.keepalive_interval, Overdue.KEEPALIVE
        else:
            keepalive = self._pinged_at + self._config.keepalive_timeout, Overdue.KEEPALIVE_ANSWER
        return [
            (self._first_settings, Overdue.FIRST_SETTINGS),
            (self._acknowledgement, Overdue.SETTINGS_ACKNOWLEDGEMENT),
            keepalive,
            (math.inf if busy else self._idle_since + self._idle_timeout, Overdue.IDLE),
        ]
