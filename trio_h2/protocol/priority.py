"""The priority signal of RFC 9218: two parameters in a structured-fields dictionary (RFC 8941 section 3.2).

The whole dictionary grammar is matched, so that a parameter hidden in a string or in another member's
parameters is not taken for ours, but only the members "u" and "i" are looked at.
"""

from __future__ import annotations

import functools
import re

import attrs

from ..wording import number
from .limits import MAX_PRIORITY_OCTETS

__all__ = ["DEFAULT_PRIORITY", "Priority", "parse_priority_untrusted", "priority_untrusted"]

DEFAULT_URGENCY = 3

# RFC 8941 sections 3.1 to 3.3. Every alternative begins with a different octet, or is tried longest first, so a match
# never backtracks over more than one number.
_KEY = rb"[a-z*][a-z0-9_\-.*]*+"
_NUMBER = rb"-?[0-9]{1,12}\.[0-9]{1,3}|-?[0-9]{1,15}"
_STRING = rb'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*+"'
_OTHER = rb"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*+|:[A-Za-z0-9+/=]*+:|\?[01]"
_BARE_ITEM = b"(?:" + _NUMBER + b"|" + _STRING + b"|" + _OTHER + b")"
_PARAMETERS = b"(?:; *+" + _KEY + b"(?:=" + _BARE_ITEM + b")?)*+"
_ITEM = _BARE_ITEM + _PARAMETERS
_INNER_LIST = rb"\( *+(?:" + _ITEM + rb"(?: ++|(?=\))))*+\)" + _PARAMETERS

_REST = b"(?:=(?:" + _BARE_ITEM + _PARAMETERS + b"|" + _INNER_LIST + b")|" + _PARAMETERS + b")"
_COMMA = rb"[ \t]*+,[ \t]*+"
_KEY_ENDS = rb"(?![a-z0-9_\-.*])"

# The whole dictionary in one match: a group that is repeated keeps what it matched last, so "u" and "i" are the last
# members of their keys (RFC 8941 section 4.2.2). A member can be matched in one way only, which keeps this linear.
_DICTIONARY = re.compile(
    b"(?:(?:(?P<u>u" + _KEY_ENDS + _REST + b")|(?P<i>i" + _KEY_ENDS + _REST + b")"
    b"|(?![ui]" + _KEY_ENDS + b")" + _KEY + _REST + rb")(?:\Z|" + _COMMA + rb"(?!\Z)))*"
)
_VALUE = re.compile(b"[ui]=(?P<bare>" + _BARE_ITEM + b")" + _PARAMETERS)

_MAX_REMEMBERED_VALUE = 16


def _check_urgency(_: object, attribute: attrs.Attribute[int], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"urgency must be an int, not {type(value).__name__}")
    if not 0 <= value <= 7:
        raise ValueError(f"urgency must be from 0 to 7, not {number(value)}")


def _check_incremental(_: object, attribute: attrs.Attribute[bool], value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"incremental must be a bool, not {type(value).__name__}")


@attrs.frozen
class Priority:
    """How urgent a response is, and whether it is useful in part (RFC 9218 section 4).

    Args:
        urgency: 0 (most urgent) to 7 (least), 3 by default (RFC 9218 section 4.1).
        incremental: whether the response is of use as its parts arrive, so that it may share the bandwidth
            with others of its urgency; False by default (RFC 9218 section 4.2).

    Raises:
        ValueError: if `urgency` is out of range.
        TypeError: if an argument has a wrong type.
    """

    urgency: int = attrs.field(default=DEFAULT_URGENCY, validator=_check_urgency)
    incremental: bool = attrs.field(default=False, validator=_check_incremental)

    def encode(self) -> bytes:
        """The value of a priority field, or of a PRIORITY_UPDATE frame, that says this.

        The urgency is always there: in a response, leaving a parameter out would say that the server
        does not want to change what the client asked for (RFC 9218 section 8).
        """
        return b"u=%d, i" % self.urgency if self.incremental else b"u=%d" % self.urgency


DEFAULT_PRIORITY = Priority()
"""What holds where nobody said anything: urgency 3, not incremental (RFC 9218 section 4)."""


def parse_priority_untrusted(value: bytes) -> tuple[int, bool]:
    """Urgency and incremental as a priority field, or a PRIORITY_UPDATE frame, says them (RFC 9218 section 4).

    What is unknown, out of range or of a wrong type is ignored, and a value that is no dictionary is
    ignored as a whole (RFC 8941 section 4.2); defaults, 3 and False, stand in. Several priority fields
    are one, joined with commas.
    """
    members = _last_members(value)
    if members is None:
        return DEFAULT_URGENCY, False
    return _urgency(members.get(b"u")), members.get(b"i") == b"?1"


def priority_untrusted(value: bytes) -> Priority:
    """The same as a Priority; a value that is too long to be looked at is ignored."""
    if len(value) <= _MAX_REMEMBERED_VALUE:
        return _remembered_priority(value)
    if len(value) > MAX_PRIORITY_OCTETS:
        return DEFAULT_PRIORITY
    return Priority(*parse_priority_untrusted(value))


@functools.lru_cache(maxsize=64)
def _remembered_priority(value: bytes) -> Priority:
    """Browsers send a handful of values, with every request."""
    return Priority(*parse_priority_untrusted(value))


def _last_members(value: bytes) -> dict[bytes, bytes] | None:
    """The last value of "u" and of "i" without its parameters, or None if `value` is no dictionary.

    RFC 8941 section 4.2.2: a later member replaces an earlier one of its key, also where its value is useless; a
    member without a value is true. An inner list comes as b"", which is no value of ours.
    """
    dictionary = _DICTIONARY.fullmatch(value.strip(b" "))
    if dictionary is None:
        return None
    return {member[:1]: _bare_value(member) for member in dictionary.group("u", "i") if member is not None}


def _bare_value(member: bytes) -> bytes:
    if member[1:2] != b"=":
        return b"?1"
    found = _VALUE.fullmatch(member)
    return b"" if found is None else found["bare"]


def _urgency(value: bytes | None) -> int:
    """An integer from 0 to 7; a number with a point is a decimal, which is another type (RFC 8941 section 3.3)."""
    if value is None or not re.fullmatch(rb"-?[0-9]+", value):
        return DEFAULT_URGENCY
    urgency = int(value)
    return urgency if 0 <= urgency <= 7 else DEFAULT_URGENCY
