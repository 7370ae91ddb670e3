"""Every decision about abuse: what a peer may cost before it is told to calm down (RFC 9113 section 10.5).

Nothing here reads a clock or touches a stream: these classes count and judge, and the machines act on the answer. A
limit that a user may want to move is a field of `Config`, and an `Excess` names it. What no honest peer comes near ends
the connection with ENHANCE_YOUR_CALM; what one may meet by bad luck is a stream's failure, or is not counted at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain

import attrs

from ..codes import ErrorCodes
from ..exceptions import DenialOfServiceError
from .verdicts import ConnectionFailure, StreamFailure

__all__ = [
    "FIELD_OVERHEAD",
    "MAX_CONTENT_LENGTH_OCTETS",
    "MAX_DECODED_FIELDS",
    "MAX_EARLY_PRIORITIES",
    "MAX_ORIGINS",
    "MAX_PRIORITY_OCTETS",
    "MAX_SETTINGS",
    "MAX_TABLE_SIZE_UPDATES",
    "SMALL_WINDOW",
    "ControlFrames",
    "Excess",
    "HeaderLimits",
    "HeldHeaders",
    "InterimLimits",
    "NotHeld",
    "Resets",
    "StreamErrors",
    "field_section_size",
    "held_size",
    "too_many_fields",
    "too_many_settings",
]

FIELD_OVERHEAD = 32
"""What SETTINGS_MAX_HEADER_LIST_SIZE counts for each field beside its octets (RFC 9113 section 6.5.2)."""

# What is judged before it is split, joined or parsed. A field costs its sender one octet once it is in HPACK's table:
# what we do with it has to be next to nothing, or bounded.

MAX_CONTENT_LENGTH_OCTETS = 256
"""Octets of all content-length values of a section. Above it the section is malformed; the longest has 19."""

MAX_PRIORITY_OCTETS = 256
"""Octets of all priority fields of a request, or of a PRIORITY_UPDATE's value. Above it they are ignored, as RFC 9218
section 4 lets a receiver do; clients send about ten."""

MAX_TABLE_SIZE_UPDATES = 2
"""Changes of HPACK's table at the start of a field block: the smallest size and the last (RFC 7541 section 4.2)."""

MAX_DECODED_FIELDS = 2048
"""Fields of a block that are decoded, although they are more than are accepted, so that their sender hears 431. A field
can be one octet, and a block 80 KiB of them. Above it the connection ends."""

MAX_SETTINGS = 32
"""Settings in one SETTINGS frame: four times as many as there are. Each is an object for the application."""

MAX_ORIGINS = 100
"""Origins in one ORIGIN frame: as many as large certificates have names. Above it the frame is ignored, as RFC 8336
section 2.1 lets a client do."""

MAX_EARLY_PRIORITIES = 100
"""PRIORITY_UPDATEs for streams to come, while we have announced no stream limit that bounds them."""

# What a crumb takes less when it is joined to the one before.
_JOINED = FIELD_OVERHEAD + len(b"cookie") - len(b"; ")

REFILL_SECONDS = 60
"""How long an idle connection takes to have all of `Config.max_control_frames` again."""

PER_STREAM = 10
"""Control frames that a stream may bring with it: priorities, a window of its own, a PING, a late RST_STREAM."""

PER_DATA_SENT = 3
"""Control frames that a DATA frame of ours may be answered with: credit on the stream and on the connection, a PING."""

OCTETS_SENT = 256
"""Octets of ours for which one more control frame may come: some readers give credit twice for every 512 they read."""

SMALL_WINDOW = 8
"""Octets that a peer with a small window takes at least: half of the 15 that are nghttpd's smallest."""


@attrs.frozen
class Excess:
    """A limit that was passed.

    Attributes:
        limit: the field of Config.
        reason: in words, with its name and its value.
    """

    limit: str
    reason: str

    @classmethod
    def over(cls, limit: str, allowed: object, what: str) -> Excess:
        """`what` is more than this field of Config allows."""
        return cls(limit, f"over Config.{limit} ({allowed}): {what}")

    def on_connection(self) -> ConnectionFailure:
        """It ends the connection."""
        return ConnectionFailure(ErrorCodes.ENHANCE_YOUR_CALM, self.reason, DenialOfServiceError, limit=self.limit)

    def on_stream(
        self, stream_id: int, error_code: ErrorCodes = ErrorCodes.ENHANCE_YOUR_CALM, *, fault: bool = True
    ) -> StreamFailure:
        """It ends one stream."""
        return StreamFailure(stream_id, error_code, self.reason, self.limit, fault)


def field_section_size(fields: Sequence[tuple[bytes, bytes]]) -> int:
    """The size of a field section as SETTINGS_MAX_HEADER_LIST_SIZE counts it, in octets."""
    return sum(map(len, chain.from_iterable(fields))) + FIELD_OVERHEAD * len(fields)


def held_size(fields: Sequence[tuple[bytes, bytes]], size: int) -> int:
    """What a field section of that size takes when its cookie crumbs are joined (RFC 9113 section 8.2.3).

    It is known before they are: a crumb of the dynamic table's costs the peer one octet, and us all of it once joined.
    """
    crumbs = [name for name, _ in fields].count(b"cookie")
    return size - _JOINED * (crumbs - 1) if crumbs > 1 else size


def too_many_settings(count: int) -> ConnectionFailure | None:
    """Judge how many settings one frame has (RFC 9113 section 6.5)."""
    if count <= MAX_SETTINGS:
        return None
    reason = f"{count} settings in one frame, the limit is {MAX_SETTINGS}"
    return ConnectionFailure(ErrorCodes.ENHANCE_YOUR_CALM, reason, DenialOfServiceError)


def too_many_fields(reason: str) -> ConnectionFailure:
    """The failure for a field block of more than `HeaderLimits.max_decoded_fields`."""
    return ConnectionFailure(ErrorCodes.ENHANCE_YOUR_CALM, reason, DenialOfServiceError)


@attrs.frozen
class HeaderLimits:
    """What one field section may cost, compressed and decompressed, and what may be remembered of those there were.

    hpack's own limit stays off, because it stops in the middle of a block and leaves the table wrong. A
    compressed block over its limit cannot be skipped either (4.3), so that ends the connection; a block below it
    is decoded wholly, and its list is judged after.
    """

    max_block_size: int
    max_continuations: int
    max_list_size: int
    max_fields: int
    max_remembered: int = 16 * 1024

    @property
    def max_decoded_fields(self) -> int:
        """How many fields of a block are decoded at all: as many as may be accepted, or more."""
        return max(MAX_DECODED_FIELDS, min(self.max_fields, self.max_list_size // FIELD_OVERHEAD))

    def block(self, size: int, continuations: int) -> ConnectionFailure | None:
        """Judge a compressed field block while its fragments arrive."""
        if size > self.max_block_size:
            what = f"a field block of {size} octets"
            return Excess.over("max_header_block_size", self.max_block_size, what).on_connection()
        if continuations > self.max_continuations:
            what = f"{continuations} CONTINUATION frames in one field block"
            return Excess.over("max_continuations", self.max_continuations, what).on_connection()
        return None

    def oversized(self, count: int, size: int) -> Excess | None:
        """Judge a decoded section of `count` fields and `size` octets."""
        if count > self.max_fields:
            return Excess.over("max_header_fields", self.max_fields, f"{count} fields")
        if size > self.max_list_size:
            return Excess.over("max_header_list_size", self.max_list_size, f"a field section of {size} octets")
        return None


@attrs.frozen
class InterimLimits:
    """What the 1xx responses before a final one may cost: each is kept for the user."""

    max_responses: int
    max_octets: int

    def exceeded(self, responses: int, octets: int) -> Excess | None:
        """Judge how many came, and how large they are together."""
        if responses > self.max_responses:
            return Excess.over("max_interim_responses", self.max_responses, f"{responses} interim responses")
        if octets > self.max_octets:
            return Excess.over("max_interim_octets", self.max_octets, f"{octets} octets of interim responses")
        return None


class StreamErrors:
    """Stream errors that the peer causes, each paid back by a request that is completed after it."""

    __slots__ = ("_completed", "_count", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._completed = 0

    def count(self, completed: int) -> Excess | None:
        """One more; `completed` is how many requests were completed so far."""
        self._count = max(0, self._count - (completed - self._completed)) + 1
        self._completed = completed
        if self._count <= self._limit:
            return None
        what = f"{self._count} stream errors more than requests completed"
        return Excess.over("max_stream_errors", self._limit, what)


class Resets:
    """Streams that were reset before their response was complete, less those completed, over a window of time.

    Those that the peer reset (Rapid Reset, CVE-2023-44487) and those that its frames made us reset (MadeYouReset,
    CVE-2025-8671) in one count: either way a request has cost us its start, and the peer next to nothing.
    """

    __slots__ = ("_completed", "_count", "_limit", "_since", "_window")

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window
        self._since = -math.inf
        self._count = 0
        self._completed = 0

    def count(self, completed: int, now: float) -> Excess | None:
        """One more; `completed` is how many requests were completed so far."""
        if now - self._since >= self._window:
            self._since = now
            self._count = 0
            self._completed = completed
        self._count += 1
        excess = self._count - (completed - self._completed)
        if excess <= self._limit:
            return None
        what = f"in {self._window:g} seconds {excess} more streams were reset than completed"
        return Excess.over("max_resets", self._limit, what)


class ControlFrames:
    """Frames that ask for work and bring none, against the real work that was done beside them.

    A frame only adds to `spent`. When that is past the limit, `judge` takes off what was earned since it last did, by
    work and by time; so nothing is counted for the frames that do work, and the budget is at most doubled.

    Attributes:
        spent: what has come; more than `limit` has to be judged.
        limit: `Config.max_control_frames`.
    """

    __slots__ = ("_since", "_work", "limit", "spent")

    def __init__(self, limit: int, now: float) -> None:
        self.limit = limit
        self.spent: float = 0
        self._since = now
        self._work = 0

    @staticmethod
    def work(*, streams: int, data_received: int, data_sent: int, octets_sent: int) -> int:
        """How many control frames go with so much: streams opened, DATA frames with content, octets written."""
        return PER_STREAM * streams + data_received + PER_DATA_SENT * data_sent + octets_sent // OCTETS_SENT

    def spend(self) -> bool:
        """One more came; whether that is still within the limit."""
        self.spent += 1
        return self.spent <= self.limit

    def judge(self, work: int, now: float) -> Excess | None:
        """Take off what was earned; `work` is all that was done so far."""
        earned = work - self._work + (now - self._since) * self.limit / REFILL_SECONDS
        self.spent = max(0, self.spent - earned)
        self._work, self._since = work, now
        if self.spent <= self.limit:
            return None
        what = f"{int(self.spent)} frames that bring nothing, beyond what goes with the work that was done"
        return Excess.over("max_control_frames", self.limit, what)


class HeldHeaders:
    """Octets of header sections that are held for the user, over all streams of a connection.

    Attributes:
        octets: how many.
    """

    __slots__ = ("_limit", "_streams", "octets")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._streams: dict[int, int] = {}
        self.octets = 0

    def hold(self, stream_id: int, size: int) -> Excess | None:
        """Count a section of this stream; or say why not, and count nothing."""
        octets = self.octets + size
        if octets > self._limit:
            what = f"{octets} octets of header sections held at once"
            return Excess.over("max_held_headers", self._limit, what)
        self.octets = octets
        self._streams[stream_id] = self._streams.get(stream_id, 0) + size
        return None

    def never_fits(self, size: int) -> bool:
        """Whether this one section is more than all may be together."""
        return size > self._limit

    def release(self, stream_id: int) -> None:
        """Nothing of this stream is held any more."""
        self.octets -= self._streams.pop(stream_id, 0)


class NotHeld(HeldHeaders):
    """For an engine that hands header sections out and keeps none."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(0)

    def hold(self, stream_id: int, size: int) -> Excess | None:
        """Nothing is counted."""
        return None
