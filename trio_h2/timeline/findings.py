"""The longest waits of a recording, in words."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from .rows import Connection, Recording, Stream, Wait

__all__ = ["Finding", "findings"]

HELD_UP = ("unread", "stream window", "connection window", "transport", "slot")
"""What somebody should look into; beside them a stream waits for what the peer has to say."""

MOST = 6
OF_ONE_REASON = 2
LEAST = 0.0005
"""Seconds: what is shorter would be 0.000 s in words."""


@attrs.frozen
class Finding:
    """A sentence, and where to look.

    Attributes:
        text: the sentence.
        connection: the number of the connection that it is about.
        stream: the ID of the stream.
        began: when the longest wait of it began, in seconds.
        ended: when that was over.
        reason: for what it waited.
    """

    text: str
    connection: int
    stream: int
    began: float
    ended: float
    reason: str


def findings(recording: Recording) -> list[Finding]:
    """What waited longest: first what was held up, then what waited for its peer's words; each by length."""
    streams = {(row.connection, row.stream): row for row in recording.streams}
    connections = {row.number: row for row in recording.connections}
    totals = [row for row in recording.totals if row.seconds >= LEAST and (row.connection, row.stream) in streams]
    held_up = _longest([row for row in totals if row.reason in HELD_UP], MOST)
    others = _longest([row for row in totals if row.reason not in HELD_UP], MOST - min(len(held_up), MOST - 1))
    several = len(connections) > 1
    return [
        Finding(
            _sentence(row, streams[row.connection, row.stream], connections[row.connection], several),
            row.connection,
            row.stream,
            row.began,
            row.ended,
            row.reason,
        )
        for row in [*held_up, *others]
    ]


def _longest(totals: Iterable[Wait], most: int) -> list[Wait]:
    """The longest, but not many of one reason on one connection: a hundred streams may wait for the same."""
    found: list[Wait] = []
    for row in sorted(totals, key=lambda row: -row.seconds):
        alike = [each for each in found if (each.connection, each.reason) == (row.connection, row.reason)]
        if len(alike) < OF_ONE_REASON:
            found.append(row)
        if len(found) == most:
            break
    return found


def _sentence(row: Wait, stream: Stream, connection: Connection, several: bool) -> str:
    name = f"stream {stream.stream}" if stream.stream > 0 else "a request"
    asked = " ".join(filter(None, (stream.method, stream.path or stream.authority)))
    where = f" (connection {row.connection}, the {connection.side}'s)" if several else ""
    who = " ".join(filter(None, (name, asked))) + where
    if row.reason == "unread":
        nothing = ""
        if stream.idle_from is not None and stream.idle_to is not None:
            little = "" if 2 * (stream.idle_to - stream.idle_from) > row.seconds else "little at a time, and "
            nothing = f": its reader took {little}nothing {_between(stream.idle_from, stream.idle_to)}"
        return f"{who} had data that nobody had read for {_seconds(row.seconds)}{nothing}"
    what, why = WORDS[row.reason]
    often = "" if row.times == 1 else f", in {row.times:,} parts; the longest"
    return f"{who} waited {_seconds(row.seconds)} for {what}{often}: {why} {_between(row.began, row.ended)}"


WORDS = {
    "stream window": ("its stream window", "its reader gave no credit"),
    "connection window": ("the connection window", "the peer gave no credit to the connection"),
    "transport": ("the transport", "the network or the peer took no more"),
    "slot": ("a slot", "the peer allowed no more streams at once"),
    "headers": ("the peer's headers", "nothing came"),
    "body": ("the peer's data", "nothing came"),
}


def _between(began: float, ended: float) -> str:
    digits = 1 if ended - began >= 1 else 3
    return f"between {began:.{digits}f} s and {ended:.{digits}f} s"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 1 else f"{value:.3f} s"
