"""What apps commonly send wrong, mended: header fields that have no place in HTTP/2, or in a response of its status."""

from __future__ import annotations

import time
from email.utils import formatdate

from .asgi_types import Fields

__all__ = ["current_date", "mended_fields"]

# RFC 9113 section 8.2.2.
OF_CONNECTIONS = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))

SEEN_TO = OF_CONNECTIONS | {b"date", b"server"}

_date = (0, b"")


def current_date() -> bytes:
    """The time as the field Date has it (RFC 9110 section 6.6.1)."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True).encode("ascii"))
    return _date[1]


def mended_fields(status: int, fields: Fields, server: bytes | None) -> Fields:
    """A response's fields without those that HTTP/2 or the status forbids, and with Date and Server.

    Args:
        status: of the response.
        fields: with lower-case names; it is the result's to change.
        server: the value of Server where there is none; None leaves it out.
    """
    if status == 204:
        return _all_mended(status, fields, server)
    for name, _ in fields:
        if name in SEEN_TO:
            return _all_mended(status, fields, server)
    fields.append((b"date", current_date()))
    if server is not None:
        fields.append((b"server", server))
    return fields


def _all_mended(status: int, fields: Fields, server: bytes | None) -> Fields:
    """As `mended_fields`, where one of the names is among those that are seen to, or the status may be."""
    names = {name for name, _ in fields}
    forbidden = names & OF_CONNECTIONS
    if status == 204 and b"content-length" in names:  # RFC 9110 section 8.6
        forbidden.add(b"content-length")
    if forbidden:
        fields = [field for field in fields if field[0] not in forbidden]
    if b"date" not in names:
        fields.append((b"date", current_date()))
    if server is not None and b"server" not in names:
        fields.append((b"server", server))
    return fields
