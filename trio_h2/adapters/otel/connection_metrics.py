"""`ConnectionMetrics`: what `connection.statistics()` says, summed over connections, whenever an exporter asks.

Exporters ask in threads of their own, and a connection's statistics are its loop's: they are taken there, some at a
time, and the exporter waits, but not for long. A loop that may be blocked by that very exporter, which somebody shuts
down in it, is not waited for: what it said last is what it says now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from threading import Event, Lock

import trio
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from trio.lowlevel import TrioToken

import trio_h2

from .request_facts import host_and_port

__all__ = ["ConnectionMetrics"]

BATCH = 100
"""How many connections a loop looks at before it does something else."""

PATIENCE = 1.0
"""Seconds that an exporter waits for a loop."""

Series = tuple[tuple[str, str | int], ...]


class _Known:
    """A connection that has not ended: what it has said last, and whose loop it is in."""

    def __init__(self, connection: trio_h2.Connection) -> None:
        self.token = trio.lowlevel.current_trio_token()
        self.side: Series = (("trio_h2.side", "server"),)
        self.open: Series = ()
        if isinstance(connection, trio_h2.ClientConnection):
            self.side = (("trio_h2.side", "client"),)
            host, port = host_and_port(connection.authority, connection.scheme)
            at = () if port is None else (("server.port", port),)
            self.open = (("server.address", host), *at, ("network.protocol.version", "2"))
        self._connection = connection
        self.statistics = connection.statistics()

    def look(self) -> None:
        """Ask it again."""
        self.statistics = self._connection.statistics()


class ConnectionMetrics:
    """Connections as observable instruments. Owner of every field: this object; any thread may call."""

    def __init__(self, meter: Meter) -> None:
        self._lock = Lock()
        self._asking = Lock()
        self._live: dict[trio_h2.Connection, _Known] = {}
        # Of those that have ended: octets, and limits.
        self._io: Counter[Series] = Counter()
        self._limits: Counter[Series] = Counter()
        self._asked: set[str] = set()
        self._make(meter)

    def _make(self, meter: Meter) -> None:
        def observed(name: str, count: Callable[[], Counter[Series]]) -> list[Callable[..., Iterable[Observation]]]:
            return [partial(self._observe, name, count)]

        up_down, counter = meter.create_observable_up_down_counter, meter.create_observable_counter
        for name, count, unit, text in (
            ("http.client.open_connections", self._client_connections, "{connection}", "Connections of clients."),
            ("trio_h2.server.open_connections", self._server_connections, "{connection}", "Connections of servers."),
            ("trio_h2.connection.unread", self._unread, "By", "Octets of bodies that no application has read."),
            ("trio_h2.connection.write_buffered", self._buffered, "By", "Octets that the network has not taken."),
            ("trio_h2.streams", self._streams, "{stream}", "Open streams, by what they wait for."),
        ):
            up_down(name, observed(name, count), unit, text)
        for name, count, unit, text in (
            ("trio_h2.connection.io", self._octets, "By", "Octets that connections carried."),
            ("trio_h2.connection.limits_hit", self._hits, "{hit}", "Limits that peers went over."),
        ):
            counter(name, observed(name, count), unit, text)

    # What the connections tell

    def made(self, connection: trio_h2.Connection) -> None:
        """A connection begins."""
        known = _Known(connection)
        with self._lock:
            self._live[connection] = known

    def ended(self, connection: trio_h2.Connection) -> None:
        """It has ended; what it has counted stays."""
        with self._lock:
            known = self._live.pop(connection)
            known.look()
            self._io.update(_octets_of(known))
            self._limits.update(_limits_of(known))

    # What an exporter asks

    def _observe(
        self, name: str, count: Callable[[], Counter[Series]], options: CallbackOptions
    ) -> Iterable[Observation]:
        with self._asking:  # each answer serves each instrument once
            if not self._asked or name in self._asked:
                self._asked.clear()
                self._look_at_all()
            self._asked.add(name)
        with self._lock:
            found = count()
        return [Observation(value, dict(series)) for series, value in found.items()]

    def _look_at_all(self) -> None:
        with self._lock:
            live = list(self._live.values())
        for token in {known.token for known in live}:
            there = iter([known for known in live if known.token is token])
            while batch := list(islice(there, BATCH)):
                if not _in_loop(token, partial(self._look, batch)):
                    break

    def _look(self, batch: list[_Known]) -> None:
        for known in batch:
            known.look()

    # All of these with the lock held

    def _sum(self, part: Callable[[_Known], Iterator[tuple[Series, int]]]) -> Counter[Series]:
        found: Counter[Series] = Counter()
        for known in self._live.values():
            for series, value in part(known):
                found[series] += value
        return found

    def _client_connections(self) -> Counter[Series]:
        return self._sum(lambda known: _open_of(known) if known.open else iter(()))

    def _server_connections(self) -> Counter[Series]:
        return self._sum(lambda known: iter(()) if known.open else _open_of(known))

    def _unread(self) -> Counter[Series]:
        return self._sum(lambda known: iter([(known.side, known.statistics.unread)]))

    def _buffered(self) -> Counter[Series]:
        return self._sum(lambda known: iter([(known.side, known.statistics.write_buffered)]))

    def _streams(self) -> Counter[Series]:
        def waits(known: _Known) -> Iterator[tuple[Series, int]]:
            for stream in known.statistics.streams:
                yield (*known.side, ("trio_h2.waits_for", stream.waits_for or "nothing")), 1

        return self._sum(waits)

    def _octets(self) -> Counter[Series]:
        return self._io + self._sum(lambda known: iter(_octets_of(known).items()))

    def _hits(self) -> Counter[Series]:
        return self._limits + self._sum(lambda known: iter(_limits_of(known).items()))


def _open_of(known: _Known) -> Iterator[tuple[Series, int]]:
    state = "active" if known.statistics.streams else "idle"
    yield (("http.connection.state", state), *known.open), 1


def _octets_of(known: _Known) -> dict[Series, int]:
    return {
        (*known.side, ("network.io.direction", "receive")): known.statistics.bytes_received,
        (*known.side, ("network.io.direction", "transmit")): known.statistics.bytes_sent,
    }


def _limits_of(known: _Known) -> dict[Series, int]:
    hits = known.statistics.limits_hit
    return {(*known.side, ("trio_h2.limit", limit)): count for limit, count in hits.items()}


def _in_loop(token: TrioToken, look: Callable[[], None]) -> bool:
    """Call this in the loop of that token. Whether it was: not if the loop is over, or does not come to it in time."""
    try:
        here = trio.lowlevel.current_trio_token() is token
    except RuntimeError:  # a thread without a loop
        here = False
    if here:
        look()
        return True
    done = Event()

    def call() -> None:
        look()
        done.set()

    try:
        token.run_sync_soon(call)
    except trio.RunFinishedError:
        return False
    return done.wait(PATIENCE)
