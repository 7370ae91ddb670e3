"""From what a `Timeline` keeps to a `Recording`: rows of plain values, with times from the recording's beginning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..actors.logs import escaped
from ..protocol.frames import FRAME_HEADER
from ..tracer import STREAM_ID
from .connection_recorder import ConnectionRecorder
from .kept import CREDITS, Kept
from .records import StreamRecord, Totals
from .rows import REASONS, Connection, Credit, Frame, Mark, Recording, Stream, Wait

__all__ = ["snapshot"]

PRECISION = 6
"""Digits of seconds: microseconds are as much as anybody wants to know."""


def snapshot(kept: Kept, connections: Sequence[ConnectionRecorder], forgotten: int, began: str) -> Recording:
    """The recording as it stands.

    Args:
        kept: what is kept.
        connections: those that are kept, by number.
        forgotten: how many connections are not kept.
        began: when, in ISO 8601.
    """
    shown = Snapshot(kept, connections)
    added = shown.added
    rows: dict[str, list[Any]] = {
        "streams": [shown.stream(*each) for each in shown.streams],
        "waits": list(shown.waits()),
        "frames": list(shown.frames()),
        "credits": list(shown.credits()),
        "marks": list(shown.marks()),
    }
    dropped = {"connections": forgotten} | {name: count - len(rows[name]) for name, count in added.items()}
    return Recording(
        began=began,
        seconds=max((shown.at(each, end) for each, end in shown.ends.items()), default=0.0),
        dropped={name: count for name, count in dropped.items() if count > 0},
        connections=[shown.connection(each) for each in connections],
        totals=[row for each in shown.streams for row in shown.totals(*each)],
        **rows,
    )


class Snapshot:
    """Everything at one moment. Owner of every field: this object.

    Attributes:
        ends: when each connection has ended, or now, on its clock.
        added: how many there ever were, by kind.
        streams: all of the connections that are kept; of those that are open what has begun ends now.
    """

    def __init__(self, kept: Kept, connections: Sequence[ConnectionRecorder]) -> None:
        self._kept = kept
        self._by_number = {each.number: each for each in connections}
        self.ends = {each: each.now() if each.ended is None else each.ended for each in connections}
        live = [(each, stream) for each in connections for stream in each.open_records()]
        with kept.lock:
            for each in connections:
                each.settle()
            self.added = kept.added()
            self._frames = kept.frames.columns()
            over_streams = iter(kept.streams)
        self.streams = [(number, stream) for number, stream in over_streams if number in self._by_number]
        # This may be another thread than that of the connections, and a stream have been closed meanwhile.
        over = {(number, stream.stream_id) for number, stream in self.streams}
        self._live = [(each, stream) for each, stream in live if (each.number, stream.stream_id) not in over]
        for connection, stream in self._live:
            self.streams.append((connection.number, stream.until(self.ends[connection])))

    def at(self, connection: ConnectionRecorder, time: float) -> float:
        """A time of a connection's clock, from the recording's beginning."""
        return round(max(time - connection.origin, 0.0), PRECISION)

    def connection(self, one: ConnectionRecorder) -> Connection:
        """The row of a connection."""
        return Connection(
            number=one.number,
            side=one.side,
            peer=one.peer,
            tls=one.tls,
            made=self.at(one, one.made),
            ended=None if one.ended is None else self.at(one, one.ended),
            error=one.error,
            data_sent=one.data_sent,
            data_received=one.data_received,
            credit_given=one.given,
            credit_received=one.credited,
        )

    def stream(self, number: int, one: StreamRecord) -> Stream:
        """The row of a stream, of the connection with this number."""
        connection = self._by_number[number]
        method, authority, path = (escaped(field.decode("latin-1")) for field in one.fields)
        is_idle = one.idle_to > one.idle_from
        return Stream(
            connection=number,
            stream=one.stream_id,
            method=method,
            authority=authority,
            path=path,
            opened=self.at(connection, one.opened),
            closed=None if one.closed < 0 else self.at(connection, one.closed),
            error=one.error or "",
            data_sent=one.data_sent,
            data_received=one.data_received,
            data_taken=one.data_taken,
            credit_given=one.credit_given,
            credit_received=one.credit_received,
            idle_from=self.at(connection, one.idle_from) if is_idle else None,
            idle_to=self.at(connection, one.idle_to) if is_idle else None,
        )

    def totals(self, number: int, one: StreamRecord) -> Iterator[Wait]:
        """A row for each thing that a stream has waited for."""
        for reason, each in (one.totals or {}).items():
            yield self._wait(number, one.stream_id, reason, each.began, each.ended, each)

    def waits(self) -> Iterator[Wait]:
        """Those that are over, and those that are not."""
        for number, stream_id, reason, began, ended in self._kept.waits:
            if number in self._by_number:
                yield self._wait(number, stream_id, REASONS[reason], began, ended)
        for connection, stream in self._live:
            for name, began in stream.begun():
                yield self._wait(connection.number, stream.stream_id, name, began, self.ends[connection])

    def _wait(
        self, number: int, stream_id: int, reason: str, began: float, ended: float, totals: Totals | None = None
    ) -> Wait:
        connection = self._by_number[number]
        times, seconds = (1, ended - began) if totals is None else (totals.times, totals.seconds)
        span = self.at(connection, began), self.at(connection, ended)
        return Wait(number, stream_id, reason, *span, times, round(seconds, PRECISION))

    def frames(self) -> Iterator[Frame]:
        """The rows of frames."""
        for number, time, sent, header in zip(*self._frames, strict=True):
            connection = self._by_number.get(number)
            if connection is not None:
                high, low, type_, flags, stream_id = FRAME_HEADER.unpack(header)
                at, length = self.at(connection, time), high << 8 | low
                yield Frame(number, stream_id & STREAM_ID, at, bool(sent), type_, flags, length)

    def credits(self) -> Iterator[Credit]:
        """The rows of credit."""
        for number, stream_id, time, what, octets in self._kept.credits:
            connection = self._by_number.get(number)
            if connection is not None:
                yield Credit(number, stream_id, self.at(connection, time), CREDITS[what], octets)

    def marks(self) -> Iterator[Mark]:
        """The rows of moments."""
        for number, time, what, value, code in list(self._kept.marks):
            connection = self._by_number.get(number)
            if connection is not None:
                yield Mark(number, self.at(connection, time), what, round(value, PRECISION), code)
