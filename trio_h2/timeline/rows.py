"""What a recording is made of when it is no longer being made: rows of plain values.

Times are seconds since the recording began. What a peer said is escaped and cut by whoever makes a row of it.
"""

from __future__ import annotations

from typing import NamedTuple

import attrs

__all__ = ["REASONS", "Connection", "Credit", "Frame", "Mark", "Recording", "Stream", "Wait"]

REASONS = ("slot", "stream window", "connection window", "transport", "unread", "headers", "body")
"""What a stream may wait for: as `Trace` has it, and `"unread"`, for data that came and that nobody took."""


class Connection(NamedTuple):
    """One connection.

    Attributes:
        number: from 1, in the order in which they were made.
        side: which one recorded it, `"client"` or `"server"`.
        peer: its address, in words.
        tls: the version of TLS, empty without.
        made, ended: seconds; `ended` None if it has not.
        error: why it ended, in words; empty for a clean end.
        data_sent, data_received: octets of DATA frames, over all streams.
        credit_given, credit_received: octets of WINDOW_UPDATEs for the connection.
    """

    number: int
    side: str
    peer: str
    tls: str
    made: float
    ended: float | None
    error: str
    data_sent: int
    data_received: int
    credit_given: int
    credit_received: int


class Stream(NamedTuple):
    """One stream, or a request that never got a slot, which has a negative ID.

    Attributes:
        connection: its number.
        stream: its ID.
        method, authority, path: of its request.
        opened, closed: seconds; `closed` None if it is still open.
        error: how it was cut short, in words; empty if it was not.
        data_sent, data_received, data_taken: octets of DATA frames; `data_taken` of what its user has read of them.
        credit_given, credit_received: octets of its WINDOW_UPDATEs.
        idle_from, idle_to: the longest time in which data lay unread and nobody took any of it; None for none.
    """

    connection: int
    stream: int
    method: str
    authority: str
    path: str
    opened: float
    closed: float | None
    error: str
    data_sent: int
    data_received: int
    data_taken: int
    credit_given: int
    credit_received: int
    idle_from: float | None
    idle_to: float | None


class Wait(NamedTuple):
    """One wait of a stream, or what is known of those of one kind that are not kept one by one.

    Attributes:
        connection, stream: of what.
        reason: one of `REASONS`.
        began, ended: seconds.
        times: 1 for a wait; else this is the longest of so many,
        seconds: which took so long together.
    """

    connection: int
    stream: int
    reason: str
    began: float
    ended: float
    times: int
    seconds: float


class Frame(NamedTuple):
    """One frame; `sent` or received. What else it has is as in its header (RFC 9113 section 4.1)."""

    connection: int
    stream: int
    at: float
    sent: bool
    type: int
    flags: int
    length: int


class Credit(NamedTuple):
    """Octets that a window grew by: `"given"` to the peer, `"received"` from it; or that a reader has `"taken"`."""

    connection: int
    stream: int
    at: float
    what: str
    octets: int


class Mark(NamedTuple):
    """What happened on a connection at one moment.

    Attributes:
        what: `"round trip"`, with `value` in seconds; `"goaway sent"` or `"goaway received"`, with the last stream's
            ID; `"initial window sent"` or `"initial window received"`, with the octets that the windows of streams
            begin with from now on: those for what the peer sends, and those for what we send.
        code: of a GOAWAY, by its name; else empty.
    """

    connection: int
    at: float
    what: str
    value: float
    code: str


@attrs.frozen
class Recording:
    """All of it.

    Attributes:
        began: when, as a date and time in ISO 8601.
        seconds: how long it was.
        dropped: how many rows of a kind there were and are not kept, by the name of the kind.
        totals: a row for each stream and reason: the longest of its waits for that, and how long all of them were.
    """

    began: str
    seconds: float
    dropped: dict[str, int]
    connections: list[Connection]
    streams: list[Stream]
    totals: list[Wait]
    waits: list[Wait]
    frames: list[Frame]
    credits: list[Credit]
    marks: list[Mark]
