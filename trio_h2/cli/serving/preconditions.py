"""Conditions of a request for a file whose last modification is all that is known of its versions."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from http import HTTPStatus

import trio_h2

__all__ = ["answer_to_conditions"]


def answer_to_conditions(headers: trio_h2.Headers, modified: str) -> HTTPStatus | None:
    """The status that takes the place of 200, or None: what the request asks on is so (RFC 9110 section 13.2.2).

    Args:
        headers: of a GET or HEAD for a file that is there. It has no ETag, so that of its tags only `*` is one.
        modified: its Last-Modified.
    """
    tags, other_tags = headers.get("if-match"), headers.get("if-none-match")
    at = _seconds(modified)
    if tags is not None:
        if tags.strip() != "*":
            return HTTPStatus.PRECONDITION_FAILED
    elif _is_later(at, headers.get("if-unmodified-since")):
        return HTTPStatus.PRECONDITION_FAILED
    if other_tags is not None:
        return HTTPStatus.NOT_MODIFIED if other_tags.strip() == "*" else None
    known = headers.get("if-modified-since")
    return None if _seconds(known) is None or _is_later(at, known) else HTTPStatus.NOT_MODIFIED


def _is_later(at: float | None, date: str | None) -> bool:
    """Whether a moment is later than a date; not if that is none, which asks for nothing."""
    limit = _seconds(date)
    return at is not None and limit is not None and at > limit


def _seconds(date: str | None) -> float | None:
    """The moment that an HTTP date names, or None."""
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
