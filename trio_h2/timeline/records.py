"""What a `Timeline` keeps of a stream while it records: totals, and what has begun."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy

from hpack import NeverIndexedHeaderTuple

from ..headers import Headers
from ..tracer import SentOctets

__all__ = ["Fields", "FieldsMemory", "Octets", "StreamRecord", "Totals"]

Fields = tuple[bytes, bytes, bytes]

MAX_VALUE = 256
"""Octets of a path or a name that are kept."""

HIDDEN = b"(hidden)"

MAX_KNOWN, MAX_REMEMBERED = 1000, 1000
"""How many header sections are remembered, and octets of each."""

PSEUDO_FIELDS = 5
"""How many a request has at most, before all others (RFC 9113 section 8.3, RFC 8441 section 4)."""


class Totals:
    """The waits of one stream for one thing: how long together, how often, and the longest."""

    __slots__ = ("began", "ended", "seconds", "times")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.times = 0
        self.began = 0.0
        self.ended = 0.0

    def add(self, began: float, ended: float) -> None:
        """One more is over."""
        seconds = ended - began
        self.seconds += seconds
        self.times += 1
        if seconds >= self.ended - self.began:
            self.began = began
            self.ended = ended


class Octets:
    """How many octets of DATA were sent, where no stream's own state says it. Owner of the field: this object."""

    __slots__ = ("seen",)

    def __init__(self, seen: int = 0) -> None:
        self.seen = seen

    def add(self, octets: int) -> None:
        """So many more."""
        self.seen += octets


class StreamRecord:
    """One stream. Owner of every field: this object.

    Attributes:
        fields: as `FieldsMemory` has them.
        error: how it was cut short, in words; None if it was not.
        closed: when, or a negative number.
        waiting: when what it waits for began, by reason; None before its first wait.
        totals: of the waits that are over, by reason; None if there are none.
        unread_since: when data came that is not taken yet; None if there is none.
    """

    # Most of it many never set.
    closed = -1.0
    error: str | None = None
    waiting: dict[str, float] | None = None
    totals: dict[str, Totals] | None = None
    data_received = data_taken = 0
    _data_sent = 0
    credit_given = credit_received = 0
    unread_since: float | None = None
    taken_at = idle_from = idle_to = 0.0

    def __init__(self, stream_id: int, opened: float, fields: Fields, sending: SentOctets) -> None:
        self.stream_id = stream_id
        self.opened = opened
        self.fields = fields
        self._sending: SentOctets | None = sending

    @property
    def data_sent(self) -> int:
        """Octets of DATA that were cut."""
        return self._data_sent if self._sending is None else self._sending.seen

    def received(self, octets: int, now: float) -> None:
        """DATA came."""
        self.data_received += octets
        if self.unread_since is None:
            self.unread_since = self.taken_at = now

    def taken(self, octets: int, now: float) -> float | None:
        """Its reader took some of it; since when something lay unread, if that is over now."""
        since = self.unread_since
        if since is None:
            return None
        self.data_taken += octets
        self._idle(now)
        self.taken_at = now
        if self.data_taken < self.data_received:
            return None
        self.unread_since = None
        self.waited("unread", since, now)
        return since

    def _idle(self, now: float) -> None:
        if now - self.taken_at > self.idle_to - self.idle_from:
            self.idle_from = self.taken_at
            self.idle_to = now

    def gave_credit(self, octets: int) -> None:
        """A WINDOW_UPDATE was cut."""
        self.credit_given += octets

    def got_credit(self, octets: int) -> None:
        """A WINDOW_UPDATE came."""
        self.credit_received += octets

    def waits(self, reason: str, now: float) -> None:
        """A wait begins."""
        if self.waiting is None:
            self.waiting = {}
        self.waiting[reason] = now

    def goes_on(self, reason: str, now: float) -> float | None:
        """A wait ends; when it began."""
        began = None if self.waiting is None else self.waiting.pop(reason, None)
        if began is not None:
            self.waited(reason, began, now)
        return began

    def waited(self, reason: str, began: float, ended: float) -> None:
        """One wait is over."""
        if self.totals is None:
            self.totals = {}
        totals = self.totals.get(reason)
        if totals is None:
            totals = self.totals[reason] = Totals()
        totals.add(began, ended)

    def until(self, now: float) -> StreamRecord:
        """A copy in which what has begun ends now, but that the stream is open."""
        seen = copy(self)
        seen.end_begun(now)
        return seen

    def end_begun(self, now: float) -> None:
        """Count what has begun, in totals that are nobody else's."""
        self.totals = {reason: copy(each) for reason, each in list((self.totals or {}).items())}
        for reason, began in self.begun():
            self.waited(reason, began, now)
        if self.unread_since is not None:
            self._idle(now)

    def begun(self) -> list[tuple[str, float]]:
        """The waits that are not over, and when they began."""
        begun = list((self.waiting or {}).items())
        return begun if self.unread_since is None else [*begun, ("unread", self.unread_since)]

    def began_at(self, began: float) -> None:
        """It waited for a slot before."""
        self.opened = began

    def close(self, now: float, error: str | None) -> None:
        """It is over, and so is what has begun."""
        self.closed = now
        self.error = error
        self._data_sent = self.data_sent
        self._sending = None
        for reason, began in self.begun():
            self.waited(reason, began, now)
        if self.unread_since is not None:
            self._idle(now)
        self.waiting = self.unread_since = None


class FieldsMemory:
    """What is kept of requests' fields: where a request comes again, a connection has the same Headers for it.

    Owner of the field: this object.
    """

    def __init__(self) -> None:
        self._known: dict[int, Fields] = {}  # by the number of the object, which cannot become another's:
        self._held: list[Headers] = []

    def of_one(self, headers: Headers) -> Fields:
        """What is kept of a header section."""
        return self._known.get(id(headers)) or self._learn(headers)

    def of_all(self, sections: Iterable[Headers | Fields]) -> list[Fields]:
        """As `of_one`, of many; what is that already stays as it is."""
        known = self._known.get
        return [known(id(section)) or self._learn(section) for section in sections]

    def _learn(self, headers: Headers | Fields) -> Fields:
        """Method, authority and path, as octets: no query, and nothing that must not be shown."""
        if isinstance(headers, tuple):
            return headers
        pairs = headers.raw
        values = dict(pairs[:PSEUDO_FIELDS])
        hidden = {pair[0] for pair in pairs[:PSEUDO_FIELDS] if isinstance(pair, NeverIndexedHeaderTuple)}
        values |= dict.fromkeys(hidden, HIDDEN)
        names = (b":method", b":authority", b":path")
        method, authority, path = (values.get(name, b"") for name in names)
        fields = method[:MAX_VALUE], authority[:MAX_VALUE], path.split(b"?", 1)[0][:MAX_VALUE]
        if sum(len(name) + len(value) for name, value in pairs) <= MAX_REMEMBERED:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
                self._held.clear()
            self._known[id(headers)] = fields
            self._held.append(headers)
        return fields
