"""The rules that hold for every header section: RFC 9113 sections 8.2 and 8.3, and trailers (8.1).

Theory of operation. A field list is read once, by `scan`, which applies the rules that hold for every
field: characters and case (8.2, 8.2.1), connection-specific fields (8.2.2), order and repetition of
pseudo-header fields (8.3). It sorts out the pseudo-header fields and the three regular fields that have
a rule for their value (content-length, host, te); functions named after what they check judge those,
those of requests in `request_rules.py` and those of responses in `response_rules.py`. What comes out is a small head
value that says what the stream needs to know, or `Malformed` with the reason: what a peer sent is never a reason to
raise (RFC 9113 section 8.1.1 makes it a stream error, and that verdict is the caller's).

The same code judges what a peer sent (`*_untrusted`) and what our own user wants to send (`check_*`).
Where the two differ, a `FieldRules` value says so: a receiver applies the minimum that RFC 9113 section 8.2.1 demands,
a sender all of RFC 9110's grammar, because what it lets through others may rightly refuse.

A server does this for every request, so the scan has no call into Python per field: a character set is
checked by translating with a table that changes each prohibited octet, and comparing.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from typing import Literal, NamedTuple

import attrs
from hpack.table import HeaderTable

from ..headers import NeverIndexed
from ..wording import shown
from .limits import MAX_CONTENT_LENGTH_OCTETS

__all__ = [
    "CONNECTION_SPECIFIC",
    "NOT_IN_HTTP2",
    "ORDINARY",
    "RECEIVED",
    "SENT",
    "TOKEN",
    "FieldRules",
    "Fields",
    "Kind",
    "Malformed",
    "Pseudo",
    "Ruled",
    "check_trailers",
    "check_trailers_untrusted",
    "content_length",
    "is_plain",
    "join_cookies",
    "length_unchecked",
    "scan",
    "te_problem",
]

Fields = Sequence[tuple[bytes, bytes]]
"""A header section: its fields in order, as octets."""


@attrs.frozen
class Malformed:
    """Why a header section is malformed (RFC 9113 section 8.1.1). The reason names fields and shows no value."""

    reason: str


def _changing(prohibited: Container[int]) -> bytes:
    """A table for `bytes.translate` that changes every prohibited octet and no other."""
    return bytes(octet ^ 1 if octet in prohibited else octet for octet in range(256))


class FieldRules(NamedTuple):
    """Where the rules for what is received and for what is sent differ."""

    sending: bool
    names: bytes
    values: bytes


_UPPER_CASE = range(0x41, 0x5B)
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110 section 5.6.2
_TOKEN_OCTETS = {octet for octet in range(256) if re.fullmatch(TOKEN, bytes([octet]))}

# RFC 9113 section 8.2.1, to the letter. The colon that begins a pseudo-header field's name never gets this far.
RECEIVED = FieldRules(
    sending=False,
    names=_changing({*range(0x21), *_UPPER_CASE, *range(0x7F, 0x100), ord(":")}),
    values=_changing(b"\0\r\n"),
)

# RFC 9110 section 5.1 (a name is a token; RFC 9113 section 8.2: in lower case) and 5.5 (no controls but HTAB).
SENT = FieldRules(
    sending=True,
    names=_changing({*range(256)} - _TOKEN_OCTETS | {*_UPPER_CASE}),
    values=_changing({*range(0x20), 0x7F} - {ord("\t")}),
)

# What a name means in a section. A name that is not in the section's table is an ordinary field's,
# or not a valid one. "ruled" fields have a rule for their value.
Kind = Literal["ordinary", "pseudo", "ruled", "connection-specific"]

# Names known to be valid, which are not looked at octet by octet: those of RFC 7541 appendix A, and what browsers send.
ORDINARY: dict[bytes, Kind] = dict.fromkeys(
    [
        *(name for name, _ in HeaderTable.STATIC_TABLE if not name.startswith(b":")),
        b"dnt",
        b"origin",
        b"pragma",
        b"priority",
        b"sec-ch-ua",
        b"sec-ch-ua-mobile",
        b"sec-ch-ua-platform",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"sec-fetch-user",
        b"sec-gpc",
        b"upgrade-insecure-requests",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-requested-with",
    ],
    "ordinary",
)

# RFC 9113 section 8.2.2: they say something about one HTTP/1.1 connection.
CONNECTION_SPECIFIC = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))

NOT_IN_HTTP2: dict[bytes, Kind] = dict.fromkeys(CONNECTION_SPECIFIC, "connection-specific")

_IN_TRAILERS: dict[bytes, Kind] = {
    **ORDINARY,
    **NOT_IN_HTTP2,
    b"content-length": "ruled",
    b"host": "ruled",
    b"te": "ruled",
}

# RFC 9110 section 8.6 sets no limit and warns of overflow; 19 digits hold 2**63 - 1, the most that others can count.
_LENGTH = re.compile(rb"[0-9]{1,19}")


def check_trailers_untrusted(fields: Fields, telling: Fields | None = None) -> Malformed | None:
    """Judge a trailer section that a peer sent (RFC 9113 section 8.1); `telling` is that of `scan`."""
    return _trailers(fields, RECEIVED, telling)


def check_trailers(fields: Fields) -> Malformed | None:
    """Judge a trailer section that our user wants to send."""
    return _trailers(fields, SENT)


def _trailers(fields: Fields, rules: FieldRules, telling: Fields | None = None) -> Malformed | None:
    """RFC 9113 section 8.1: no pseudo-header fields. RFC 9110 section 6.5.1: nothing that frames or routes the message.

    A receiver may discard such a field, and this one does not look at it; TE stays bound by RFC 9113 section 8.2.2.
    """
    scanned = scan(fields, _IN_TRAILERS, rules, telling)
    if isinstance(scanned, Malformed):
        return scanned
    _, ruled = scanned
    if ruled and rules.sending:
        return Malformed(f"{_show(next(iter(ruled)))} is not allowed in trailers (RFC 9110 section 6.5.1)")
    problem = te_problem(ruled)
    return None if problem is None else Malformed(problem)


def join_cookies(fields: Fields) -> Fields:
    """Join cookie crumbs into one field, at the place of the first (RFC 9113 section 8.2.3).

    Gives back `fields` itself if there is nothing to join. One crumb that is never to be indexed
    makes the whole field so (RFC 7541 section 7.1.3).
    """
    crumbs = [field for field in fields if field[0] == b"cookie"]
    if len(crumbs) < 2:
        return fields
    value = b"; ".join([crumb[1] for crumb in crumbs])
    secret = any(not getattr(crumb, "indexable", True) for crumb in crumbs)
    joined = [field for field in fields if field[0] != b"cookie"]
    # No field before the first crumb was taken out, so its place is still the same.
    place = next(index for index, field in enumerate(fields) if field[0] == b"cookie")
    joined.insert(place, NeverIndexed(b"cookie", value) if secret else (b"cookie", value))
    return joined


Pseudo = dict[bytes, bytes]
Ruled = dict[bytes, list[bytes]]


def is_plain(name: bytes, value: bytes) -> bool:
    """Whether all that is to be said of this field in a section that is received is that it comes after pseudo-headers.

    Then it is a regular field with no rule of its own in any section, and legal; and it is not one of several that make
    one, as cookies and priorities do.
    """
    if name in _TELLING or not name or name.translate(RECEIVED.names) != name:
        return False
    return value.translate(RECEIVED.values).strip(b" \t") == value


# A pseudo-header field is told by its colon, which no other name may have.
_TELLING = CONNECTION_SPECIFIC | {b"content-length", b"cookie", b"host", b"priority", b"te"}


def scan(
    fields: Fields, kinds: Mapping[bytes, Kind], rules: FieldRules, telling: Fields | None = None
) -> tuple[Pseudo, Ruled] | Malformed:
    """One pass over a section: its pseudo-header fields, and its fields that have a rule for their value.

    Of what is received `telling` may have those alone that are not plain, in order: the fast path of fields that the
    peer refers to again and again. It finds what a look at all of them finds, or leaves it to that.
    """
    if telling is not None and telling is not fields:
        scanned = _scan(telling, kinds, rules)
        # So many come first of all, and so before every plain one.
        if type(scanned) is tuple and telling[: len(scanned[0])] == fields[: len(scanned[0])]:
            return scanned
    return _scan(fields, kinds, rules)


def _scan(fields: Fields, kinds: Mapping[bytes, Kind], rules: FieldRules) -> tuple[Pseudo, Ruled] | Malformed:
    pseudo: Pseudo = {}
    ruled: Ruled = {}
    names, values = rules.names, rules.values
    in_regular = False
    for name, value in fields:
        if value.translate(values).strip(b" \t") != value:
            return _bad_value(name, value)
        kind = kinds.get(name)
        if kind == "pseudo":
            if in_regular or name in pseudo:
                return _bad_pseudo(name, name in pseudo)
            pseudo[name] = value
            continue
        in_regular = True
        if kind == "ordinary":
            continue
        if kind is None:
            if name.translate(names) != name or not name:
                return _bad_name(name)
        elif kind == "ruled":
            ruled.setdefault(name, []).append(value)
        else:
            return Malformed(f"{_show(name)} is connection-specific (RFC 9113 section 8.2.2)")
    return pseudo, ruled


def _bad_value(name: bytes, value: bytes) -> Malformed:
    what = "a control character" if value.strip(b" \t") == value else "white space at an end"
    return Malformed(f"the value of {_show(name)} has {what} (RFC 9113 section 8.2.1)")


def _bad_pseudo(name: bytes, repeated: bool) -> Malformed:
    if repeated:
        return Malformed(f"{_show(name)} is repeated (RFC 9113 section 8.3)")
    return Malformed(f"{_show(name)} comes after a regular field (RFC 9113 section 8.3)")


def _bad_name(name: bytes) -> Malformed:
    if not name:
        return Malformed("a field name is empty (RFC 9110 section 5.1)")
    if name.startswith(b":"):
        return Malformed(f"{_show(name)} is not a pseudo-header field of this section (RFC 9113 section 8.3)")
    if name != name.lower():
        return Malformed(f"the field name {_show(name)} is not in lower case (RFC 9113 section 8.2)")
    return Malformed(f"the field name {_show(name)} holds a prohibited octet (RFC 9113 section 8.2.1)")


def _show(name: bytes) -> str:
    """A field name for a message. A peer may have chosen it, so it is escaped, and cut."""
    return f"'{shown(name, 64)}'"


def te_problem(ruled: Ruled) -> str | None:
    """RFC 9113 section 8.2.2: TE holds "trailers" alone, which RFC 9110 section 10.1.4 compares without case."""
    if all(value.lower() == b"trailers" for value in ruled.get(b"te", ())):
        return None
    return "te holds a value other than trailers (RFC 9113 section 8.2.2)"


def content_length(ruled: Ruled, rules: FieldRules) -> int | Malformed | None:
    """RFC 9110 section 8.6: a number. A receiver takes the same one repeated, on lines or in a list, as one."""
    values = ruled.get(b"content-length")
    if values is None:
        return None
    if len(values) == 1 and _LENGTH.fullmatch(values[0]):
        return int(values[0])
    if sum(map(len, values)) > MAX_CONTENT_LENGTH_OCTETS:
        return Malformed(f"content-length has more than {MAX_CONTENT_LENGTH_OCTETS} octets")
    items = [item.strip(b" \t") for value in values for item in value.split(b",")]
    if rules.sending or not all(_LENGTH.fullmatch(item) for item in items):
        return Malformed("content-length is not one number of at most 19 digits (RFC 9110 section 8.6)")
    lengths = {int(item) for item in items}
    if len(lengths) > 1:
        return Malformed("content-length has several values that differ (RFC 9113 section 8.1.1, RFC 9110 section 8.6)")
    return lengths.pop()


def length_unchecked(found: dict[bytes, bytes]) -> int | None:
    length = found.get(b"content-length", b"")
    return int(length) if len(length) < 20 and length.isdigit() else None
