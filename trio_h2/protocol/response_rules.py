"""What a response's header section has to be: RFC 9113 sections 8.3.2 and 8.6. `field_rules.py` has the theory."""

from __future__ import annotations

import re
from typing import NamedTuple

from .field_rules import (
    NOT_IN_HTTP2,
    ORDINARY,
    RECEIVED,
    SENT,
    FieldRules,
    Fields,
    Kind,
    Malformed,
    content_length,
    length_unchecked,
    scan,
)

__all__ = ["WITHOUT_CONTENT", "ResponseHead", "check_response", "parse_response_untrusted", "read_response_unchecked"]


WITHOUT_CONTENT = frozenset((204, 304))
"""Statuses of responses that have no content, whatever the request was (RFC 9110 section 6.4.1)."""


class ResponseHead(NamedTuple):
    """What a valid response header section says.

    `status` is 100 to 999. RFC 9110 section 15 defines 100 to 599 and lets a client treat the rest as a 5xx.
    `content_length` is None where the field has no meaning: 1xx, 204 and a 2xx to CONNECT (RFC 9110 section 8.6).
    It counts no DATA in a response to HEAD or in a 304, which the caller has to know.
    `regular` is the index of the first field that is not a pseudo-header field.
    """

    status: int
    content_length: int | None
    regular: int

    @property
    def is_informational(self) -> bool:
        """Whether this is an interim response, which another one follows (RFC 9110 section 15.2)."""
        return self.status < 200


_IN_RESPONSE: dict[bytes, Kind] = {
    **ORDINARY,
    **NOT_IN_HTTP2,
    b":status": "pseudo",
    b"content-length": "ruled",
    # RFC 9110 section 7.6.1 counts TE as connection-specific, and RFC 9113 section 8.2.2 excepts it in requests alone.
    b"te": "connection-specific",
}

# The first digit 1 to 5 is section 15 of RFC 9110; a client accepts more (see `ResponseHead`).
_STATUS_RECEIVED = re.compile(rb"[1-9][0-9][0-9]")
_STATUS_SENT = re.compile(rb"[1-5][0-9][0-9]")


def parse_response_untrusted(
    fields: Fields, telling: Fields | None = None, *, to_connect: bool = False
) -> ResponseHead | Malformed:
    """Judge a response's header section that a peer sent, interim or final (RFC 9113 section 8.3.2).

    Args:
        fields: the decoded fields, in order.
        telling: those of them that are not plain (`field_rules.is_plain`); None if that is not known.
        to_connect: whether the request was CONNECT; content-length in a 2xx is ignored then (RFC 9110 section 9.3.6).
    """
    return _response(fields, RECEIVED, to_connect, telling)


def check_response(fields: Fields, *, to_connect: bool = False) -> ResponseHead | Malformed:
    """Judge a response's header section that our user wants to send, interim or final.

    Args:
        fields: the fields, in order, names in lower case.
        to_connect: whether the request was CONNECT; content-length in a 2xx is wrong then (RFC 9110 section 9.3.6).
    """
    return _response(fields, SENT, to_connect)


def read_response_unchecked(fields: Fields) -> ResponseHead:
    """What a response that nobody checks says, as far as it can be read; a status that cannot be read counts as 200."""
    found = dict(reversed(fields))
    status = found.get(b":status", b"")
    known = len(status) == 3 and status.isdigit()
    return ResponseHead(int(status) if known else 200, length_unchecked(found), 1 if b":status" in found else 0)


def _response(
    fields: Fields, rules: FieldRules, to_connect: bool, telling: Fields | None = None
) -> ResponseHead | Malformed:
    scanned = scan(fields, _IN_RESPONSE, rules, telling)
    if isinstance(scanned, Malformed):
        return scanned
    pseudo, ruled = scanned
    status = _status(pseudo.get(b":status", b""), rules)
    if isinstance(status, Malformed):
        return status
    if _has_no_length(status, to_connect):
        if ruled and rules.sending:
            return Malformed(f"content-length is not allowed in this {status} response (RFC 9110 section 8.6)")
        return ResponseHead(status, None, len(pseudo))
    length = content_length(ruled, rules)
    if isinstance(length, Malformed):
        return length
    return ResponseHead(status, length, len(pseudo))


def _status(status: bytes, rules: FieldRules) -> int | Malformed:
    """RFC 9113 sections 8.3.2 and 8.6, RFC 9110 section 15."""
    grammar = _STATUS_SENT if rules.sending else _STATUS_RECEIVED
    if not grammar.fullmatch(status):
        return Malformed(":status is missing or not a status code (RFC 9113 section 8.3.2, RFC 9110 section 15)")
    if status == b"101":
        return Malformed(":status is 101, which HTTP/2 does not have (RFC 9113 section 8.6)")
    return int(status)


def _has_no_length(status: int, to_connect: bool) -> bool:
    """RFC 9110 sections 8.6 and 9.3.6: the responses in which content-length must not be sent, and means nothing."""
    return status < 200 or status == 204 or (to_connect and status < 300)
