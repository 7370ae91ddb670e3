"""How what somebody gave stands in a message: escaped, cut, and without what may be a secret."""

from __future__ import annotations

import re

__all__ = ["field_name", "number", "quoted", "shown"]

_TOKEN = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")  # RFC 9110 section 5.6.2
# Everything up to the last "@": who forgets to escape a password's "/" or "@" does not see half of it either.
_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*://)?.*@", re.DOTALL)


def shown(octets: bytes, most: int = 200) -> str:
    """What a peer sent: printable ASCII, everything else escaped, and cut at `most` characters."""
    text = octets[:most].decode("latin-1").encode("unicode_escape").decode("ascii")
    return text if len(octets) <= most and len(text) <= most else f"{text[:most]}..."


def quoted(value: str | bytes, most: int = 64) -> str:
    """An argument of the user's, in quotes, escaped and cut; of a URL, or an authority, without its user part."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if not text.startswith("/") or text.startswith("//"):
        text = _USER.sub(r"\1...@", text, count=1)
    escaped = text[:most].encode("unicode_escape").decode("ascii")
    return f"'{escaped}'" if len(text) <= most and len(escaped) <= most else f"'{escaped[:most]}...'"


def field_name(name: bytes) -> str:
    """A field name: in quotes, escaped and cut, if it is not one that stands in a text as it is."""
    return name.decode("ascii") if _TOKEN.fullmatch(name) else quoted(name)


def number(value: float) -> str:
    """A number of the user's. Python writes no int of thousands of digits, and nobody reads one."""
    return f"an int of {value.bit_length()} bits" if isinstance(value, int) and abs(value) >= 10**24 else f"{value}"
