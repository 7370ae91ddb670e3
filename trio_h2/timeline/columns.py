"""A recording as columns of numbers: what the page's program reads. Ten thousand streams are some megabytes so.

Times are whole microseconds. Columns of times, which rise, have differences; texts and kinds of frames, of which there
are few, are numbers in a list. A stream is its place in the list of streams, the connection itself is -1 and below.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

from ..protocol import frames
from .rows import REASONS, Credit, Frame, Recording, Stream, Wait

__all__ = ["as_columns"]

WHAT = ("given", "received", "taken")
"""What a note of credit is of, as a number."""

FRAME_NAMES = {
    getattr(frames, name): name
    for name in ("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY")
} | {getattr(frames, name): name for name in ("WINDOW_UPDATE", "CONTINUATION", "ALTSVC", "ORIGIN", "PRIORITY_UPDATE")}


class _Numbers:
    """Numbers for things that come again, in the order in which they came first."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    def of(self, thing: Hashable) -> int:
        return self._numbers.setdefault(thing, len(self._numbers))

    def things(self) -> list[Any]:
        return list(self._numbers)


def as_columns(recording: Recording) -> dict[str, Any]:
    """What the page has as JSON."""
    streams = sorted(recording.streams, key=lambda row: (row.connection, row.opened, abs(row.stream)))
    connections = sorted(recording.connections)
    places = {(row.connection, row.stream): place for place, row in enumerate(streams)}
    for place, connection in enumerate(connections):
        places[connection.number, 0] = -1 - place
    return {
        "began": recording.began,
        "seconds": recording.seconds,
        "reasons": REASONS,
        "connections": [connection._asdict() for connection in connections],
        "streams": _streams(streams, {row.number: place for place, row in enumerate(connections)}),
        "totals": _waits(recording.totals, places)
        | {
            "times": [row.times for row in _known(recording.totals, places)],
            "seconds": [_micro(row.seconds) for row in _known(recording.totals, places)],
        },
        "waits": _waits(recording.waits, places),
        "frames": _frames(recording.frames, places),
        "credits": _credits(recording.credits, places),
        "marks": [
            [places[row.connection, 0], _micro(row.at), row.what, row.value, row.code]
            for row in sorted(recording.marks, key=lambda row: row.at)
        ],
    }


def _micro(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _rising(times: Iterable[float]) -> list[int]:
    """The differences of times that rise."""
    before = 0
    differences = []
    for time in map(_micro, times):
        differences.append(time - before)
        before = time
    return differences


def _known(rows: Iterable[Wait], places: dict[tuple[int, int], int]) -> list[Wait]:
    return sorted((row for row in rows if (row.connection, row.stream) in places), key=lambda row: row.began)


def _streams(rows: list[Stream], connections: dict[int, int]) -> dict[str, Any]:
    texts = _Numbers()
    return {
        "connection": [connections[row.connection] for row in rows],
        "id": [row.stream for row in rows],
        "method": [texts.of(row.method) for row in rows],
        "authority": [texts.of(row.authority) for row in rows],
        "path": [texts.of(row.path) for row in rows],
        "error": [texts.of(row.error) for row in rows],
        "texts": texts.things(),
        "opened": [_micro(row.opened) for row in rows],
        "closed": [None if row.closed is None else _micro(row.closed) for row in rows],
        "sent": [row.data_sent for row in rows],
        "received": [row.data_received for row in rows],
        "taken": [row.data_taken for row in rows],
        "given": [row.credit_given for row in rows],
        "credited": [row.credit_received for row in rows],
        "idleFrom": [None if row.idle_from is None else _micro(row.idle_from) for row in rows],
        "idleTo": [None if row.idle_to is None else _micro(row.idle_to) for row in rows],
    }


def _waits(rows: Iterable[Wait], places: dict[tuple[int, int], int]) -> dict[str, Any]:
    known = _known(rows, places)
    return {
        "stream": [places[row.connection, row.stream] for row in known],
        "reason": [REASONS.index(row.reason) for row in known],
        "began": _rising(row.began for row in known),
        "lasted": [_micro(row.ended) - _micro(row.began) for row in known],
    }


def _frames(rows: Iterable[Frame], places: dict[tuple[int, int], int]) -> dict[str, Any]:
    known = sorted(rows, key=lambda row: row.at)
    kinds = _Numbers()
    return {
        # Frames on streams that are not there, or not kept, are the connection's.
        "stream": [places.get((row.connection, row.stream), places[row.connection, 0]) for row in known],
        "kind": [kinds.of((row.sent, row.type, row.flags)) for row in known],
        "at": _rising(row.at for row in known),
        "length": [row.length for row in known],
        "kinds": [
            [sent, type_, FRAME_NAMES.get(type_, f"frame of type {type_:#x}"), flags]
            for sent, type_, flags in kinds.things()
        ],
    }


def _credits(rows: Iterable[Credit], places: dict[tuple[int, int], int]) -> dict[str, Any]:
    known = sorted((row for row in rows if (row.connection, row.stream) in places), key=lambda row: row.at)
    return {
        "stream": [places[row.connection, row.stream] for row in known],
        "what": [WHAT.index(row.what) for row in known],
        "at": _rising(row.at for row in known),
        "octets": [row.octets for row in known],
    }
