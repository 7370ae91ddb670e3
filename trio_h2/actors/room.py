"""The room of a server: how many connections it serves at once, and who makes room for those that wait at its door.

A connection is in one of these states: its handshake (TLS, then the connection preface) goes on; it is idle, with no
stream open; it is busy; or it was asked to leave, and holds no place any more while it closes. What comes to a full
room waits at the door, one connection for each listener, and the backlogs hold the rest. Nobody is asked to leave as
long as nobody waits.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Protocol

import trio

__all__ = ["MERCY", "Guest", "Room"]

MERCY = 1.0
"""Seconds that a handshake has, the first request after it, and a connection that was asked to leave, when others wait
for the place."""


HASTE = 0.1
"""Seconds after which one that was asked to leave may be dropped for the next: its last responses are written."""


class Guest(Protocol):
    """A connection as the room sees it."""

    def leave(self) -> None:
        """Say GOAWAY, and close within `MERCY`."""

    def drop(self) -> None:
        """Close at once."""


class Room:
    """Who is in, and in which state. Owner of every field: this object.

    Nothing here takes longer the more connections there are.

    Attributes:
        evicted: how many had to go so far because others wanted the place.
    """

    def __init__(self, max_connections: int, max_handshakes: int) -> None:
        self._max_connections = max_connections
        self._max_handshakes = max_handshakes
        # So many may be closing at once beside those that hold a place.
        self._max_leaving = max(1, max_connections // 10)
        self._inside: set[Guest] = set()
        self._handshaking: OrderedDict[Guest, float] = OrderedDict()  # since when; the oldest first
        self._idle: OrderedDict[Guest, None] = OrderedDict()  # the one that was idle longest first
        self._new: dict[Guest, float] = {}  # idle ones that have opened no stream yet, since when
        self._leaving: OrderedDict[Guest, float] = OrderedDict()  # since when; the oldest first
        self._door = trio.lowlevel.ParkingLot()
        self.evicted = 0
        self._waiting = False  # at the door; kept beside it, because `idle` is called often

    async def enter(self, guest: Guest) -> None:
        """Wait for a place, and make one where that can be. Cancelled, the guest is in all the same."""
        try:
            while self._full and not self._make_place():
                self._waiting = True
                with trio.move_on_at(self._next_place()):
                    await self._door.park()
        finally:
            self._waiting = bool(self._door)
            self._inside.add(guest)
            self._handshaking[guest] = trio.current_time()

    @property
    def _full(self) -> bool:
        return len(self._inside) >= self._max_connections or len(self._handshaking) >= self._max_handshakes

    def _make_place(self) -> bool:
        """Ask somebody to leave whose place is needed. Whether there is one now."""
        now = trio.current_time()
        if now >= self._next_idle():
            guest = next(iter(self._idle))
            self.evicted += 1
            self.left(guest)
            self._leaving[guest] = now
            guest.leave()
            if len(self._leaving) > self._max_leaving:
                self._leaving.popitem(last=False)[0].drop()
        elif now >= self._next_overdue():
            guest = next(iter(self._handshaking))
            self.evicted += 1
            self.left(guest)
            guest.drop()
        return not self._full

    def _next_place(self) -> float:
        """When somebody can be made to go at the latest, if nothing else happens."""
        return min(self._next_idle(), self._next_overdue())

    def _next_idle(self) -> float:
        """When the one that was idle longest may be asked to leave.

        Who has just come in has some time for a first request: else those at the door would send each other away, and
        none would be served.
        """
        if not self._idle or len(self._handshaking) >= self._max_handshakes:
            return math.inf
        time = self._new.get(next(iter(self._idle)), -math.inf) + MERCY
        if len(self._leaving) >= self._max_leaving:
            time = max(time, next(iter(self._leaving.values())) + HASTE)
        return time

    def _next_overdue(self) -> float:
        """When the oldest handshake has had its time."""
        return next(iter(self._handshaking.values()), math.inf) + MERCY

    def stay(self, guest: Guest) -> None:
        """The guest's handshake has ended. It keeps its place until it has left, or says that it is idle."""
        if self._handshaking.pop(guest, None) is not None:
            self._new[guest] = trio.current_time()
        if self._waiting:
            self._door.unpark_all()

    def idle(self, guest: Guest) -> None:
        """The guest has no stream open, or of HTTP/1.x no request: its handshake has ended, or its last stream has."""
        if guest in self._inside:
            if self._handshaking.pop(guest, None) is not None:
                self._new[guest] = trio.current_time()
            self._idle[guest] = None
            if self._waiting:
                self._door.unpark_all()

    def busy(self, guest: Guest) -> None:
        """The guest has opened its first stream, or has made a request of HTTP/1.x."""
        self._idle.pop(guest, None)
        self._new.pop(guest, None)

    def left(self, guest: Guest) -> None:
        """The guest's place is free."""
        self._inside.discard(guest)
        self._handshaking.pop(guest, None)
        self._idle.pop(guest, None)
        self._new.pop(guest, None)
        self._leaving.pop(guest, None)
        self._door.unpark_all()
