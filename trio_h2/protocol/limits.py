"""Every decision about abuse: what a peer may cost before it is told to calm down (RFC 9113 section 10.5).

Nothing here reads a clock of its own or touches a stream; the machines ask, and act on the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..exceptions import DenialOfServiceError, ErrorCodes
from .verdicts import ConnectionFailure

__all__ = [
    "FIELD_OVERHEAD",
    "MAX_CONTENT_LENGTH_OCTETS",
    "MAX_EARLY_PRIORITIES",
    "MAX_ORIGINS",
    "MAX_PRIORITY_OCTETS",
    "MAX_SETTINGS",
    "MAX_TABLE_SIZE_UPDATES",
    "HeaderLimits",
    "InterimLimits",
    "field_section_size",
    "too_many_given_up",
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

MAX_SETTINGS = 32
"""Settings in one SETTINGS frame: four times as many as there are. Each is an object for the application."""

MAX_ORIGINS = 100
"""Origins in one ORIGIN frame: as many as large certificates have names. Above it the frame is ignored, as RFC 8336
section 2.1 lets a client do."""

MAX_EARLY_PRIORITIES = 100
"""PRIORITY_UPDATEs for streams to come, while we have announced no stream limit that bounds them."""

GIVEN_UP_PER_SECOND = 20
"""How often in a second a client may give up all the streams it is allowed, before a handler was free for them.

Memory is bounded without it: only open streams wait, and those are never more than the stream limit. What is left of
rapid resets (CVE-2023-44487) is the work for each stream that comes and goes, so the bound is a rate. A client whose
streams are all cancelled after 50 ms, and never served because every handler is still cleaning up, keeps to it; a
flood has no such pause and passes it at once.
"""


def field_section_size(fields: Sequence[tuple[bytes, bytes]]) -> int:
    """The size of a field section as SETTINGS_MAX_HEADER_LIST_SIZE counts it, in octets."""
    return sum([len(name) + len(value) for name, value in fields]) + FIELD_OVERHEAD * len(fields)


def too_many_given_up(count: int, stream_limit: int) -> ConnectionFailure | None:
    """Judge how many streams ended within a second before a handler was free for them."""
    if count <= GIVEN_UP_PER_SECOND * stream_limit:
        return None
    return _calm(f"{count} streams were given up in a second before their handlers started")


def too_many_settings(count: int) -> ConnectionFailure | None:
    """Judge how many settings one frame has (RFC 9113 section 6.5)."""
    if count <= MAX_SETTINGS:
        return None
    return _calm(f"{count} settings in one frame, the limit is {MAX_SETTINGS}")


@attrs.frozen
class HeaderLimits:
    """What one field section may cost, compressed and decompressed.

    hpack's own limit stays off, because it stops in the middle of a block and leaves the table wrong. A
    compressed block over its limit cannot be skipped either (4.3), so that ends the connection; a block below it
    is decoded wholly, and its list is judged after.
    """

    max_block_size: int
    max_continuations: int
    max_list_size: int
    max_fields: int

    def block(self, size: int, continuations: int) -> ConnectionFailure | None:
        """Judge a compressed field block while its fragments arrive."""
        if size > self.max_block_size:
            return _calm(f"a field block of {size} octets, the limit is {self.max_block_size}")
        if continuations > self.max_continuations:
            return _calm(f"{continuations} CONTINUATION frames in one field block")
        return None

    def oversized(self, fields: Sequence[tuple[bytes, bytes]]) -> str | None:
        """Judge a decoded field section: the reason it is too large, or None."""
        if len(fields) > self.max_fields:
            return f"{len(fields)} fields, the limit is {self.max_fields}"
        size = field_section_size(fields)
        if size > self.max_list_size:
            return f"a field section of {size} octets, the limit is {self.max_list_size}"
        return None


@attrs.frozen
class InterimLimits:
    """What the 1xx responses before a final one may cost: each is kept for the user."""

    max_responses: int
    max_octets: int

    def exceeded(self, responses: int, octets: int) -> str | None:
        """Judge how many came, and how large they are together: the reason it is too much, or None."""
        if responses > self.max_responses:
            return f"{responses} interim responses, Config.max_interim_responses is {self.max_responses}"
        if octets > self.max_octets:
            return f"{octets} octets of interim responses, Config.max_interim_octets is {self.max_octets}"
        return None


def _calm(reason: str) -> ConnectionFailure:
    return ConnectionFailure(ErrorCodes.ENHANCE_YOUR_CALM, reason, DenialOfServiceError)
