"""What a server counts: `ServerStatistics`, and `Totals`, which keeps it when connections have ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import attrs

from .actors.connection_actor import ConnectionActor
from .codes import OTHER_CODE, ErrorCodes

__all__ = ["ServerStatistics", "Totals"]


@attrs.frozen
class ServerStatistics:
    """What a server has counted since it began, and what is open at this moment.

    All but the two whose names end in `_open` only grow, also over connections that have ended. Names that do not
    appear in a mapping stand for 0. Of what is not HTTP/2 only connections are counted.

    Attributes:
        connections: that were accepted.
        connections_open: that are there now: in their handshake, in use, or closing.
        connections_evicted: that had to go because others wanted the place (`max_connections`, `max_handshakes`).
        connections_http1: whose client spoke HTTP/1.x.
        handshakes_failed: connections that ended before TLS and the client's connection preface were complete.
        streams: that were opened, by clients or by pushes.
        streams_open: of them, those that are not closed now.
        requests: that came, by method: those of RFC 9110, and `"PATCH"`; others, and those whose header section was too
            large to be read, are `"_OTHER"`. Malformed ones are resets.
        responses: final ones that were begun, pushed ones too, by status class: `"2xx"` to `"5xx"`.
        bytes_received: octets taken from transports, without TLS.
        bytes_sent: octets given to transports, without TLS.
        resets_received: RST_STREAM frames of clients on streams that were open, by the error code's name
            (`"CANCEL"`); codes that RFC 9113 does not define are `"_OTHER"`.
        resets_sent: RST_STREAM frames of ours, likewise: a stream that was refused is `"REFUSED_STREAM"`, one whose
            client may stop sending because the response is complete `"NO_ERROR"`. They count when they are queued, so
            those of a connection that breaks may never have left.
        limits_hit: how often clients went over which limit, by the name of its field in `Config`.
    """

    connections: int
    connections_open: int
    connections_evicted: int
    connections_http1: int
    handshakes_failed: int
    streams: int
    streams_open: int
    requests: Mapping[str, int] = attrs.field(hash=False)
    responses: Mapping[str, int] = attrs.field(hash=False)
    bytes_received: int
    bytes_sent: int
    resets_received: Mapping[str, int] = attrs.field(hash=False)
    resets_sent: Mapping[str, int] = attrs.field(hash=False)
    limits_hit: Mapping[str, int] = attrs.field(hash=False)


Counts = Counter[tuple[str, str]]
"""Counts by what is counted, and which of it."""


def _counts(actor: ConnectionActor) -> Counts:
    """What a connection has counted so far."""
    machine = actor.machine
    counts = Counts()
    counts["streams", ""] = machine.table.opened
    counts["bytes_received", ""] = actor.bytes_received
    counts["bytes_sent", ""] = actor.writer.bytes_sent
    for method, number in machine.requests.items():
        counts["requests", method.decode("ascii")] = number
    for status_class, number in machine.responses.items():
        counts["responses", f"{status_class}xx"] = number
    if machine.too_large:
        counts["responses", "4xx"] += machine.too_large
    for what, resets in (("resets_received", machine.resets_received), ("resets_sent", machine.outbox.resets)):
        for code, number in resets.items():
            counts[what, "_OTHER" if code == OTHER_CODE else ErrorCodes(code).name] = number
    for limit, number in machine.limits_hit.items():
        counts["limits_hit", limit] = number
    return counts


class Totals:
    """What a server has counted. Owner of every field: this object."""

    def __init__(self) -> None:
        self._connections = 0
        self._http1 = 0
        self._handshakes_failed = 0
        self._ended = Counts()

    def accepted(self) -> None:
        """A connection came."""
        self._connections += 1

    def handshake_failed(self) -> None:
        """A connection has ended before its handshake did."""
        self._handshakes_failed += 1

    def http1(self) -> None:
        """A client spoke HTTP/1.x."""
        self._http1 += 1

    def ended(self, actor: ConnectionActor) -> None:
        """A connection has ended: what it has counted stays."""
        self._ended.update(_counts(actor))

    def statistics(self, connections: int, evicted: int, actors: Iterable[ConnectionActor]) -> ServerStatistics:
        """All of it, with what has been counted by connections that are there: so many, with these actors."""
        counts = self._ended.copy()
        streams_open = 0
        for actor in actors:
            counts.update(_counts(actor))
            streams_open += len(actor.machine.table)

        def by_name(what: str) -> Mapping[str, int]:
            return {name: number for (of, name), number in counts.items() if of == what}

        return ServerStatistics(
            connections=self._connections,
            connections_open=connections,
            connections_evicted=evicted,
            connections_http1=self._http1,
            handshakes_failed=self._handshakes_failed,
            streams=counts["streams", ""],
            streams_open=streams_open,
            requests=by_name("requests"),
            responses=by_name("responses"),
            bytes_received=counts["bytes_received", ""],
            bytes_sent=counts["bytes_sent", ""],
            resets_received=by_name("resets_received"),
            resets_sent=by_name("resets_sent"),
            limits_hit=by_name("limits_hit"),
        )
