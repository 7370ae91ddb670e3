"""Events of HTTP/2, and what they hold, each in one line."""

from __future__ import annotations

import trio_h2

from .saying import printable

__all__ = ["describe", "shown_octets", "shown_section"]

SHOWN_OCTETS = 32
"""Octets are shown as they are up to this many, and beyond it how many they are."""


def describe(event: trio_h2.Event) -> str:
    """An event by its name and what it holds."""
    parts = [type(event).__name__]
    for name in getattr(event, "__match_args__", ()):
        value = getattr(event, name)
        # The stream is named before the event, and what came with it is an event of its own.
        if name != "stream_id" and value is not None and not isinstance(value, trio_h2.Event):
            parts.append(f"{name}={_value(value)}")
    return " ".join(parts)


def shown_section(headers: trio_h2.Headers) -> str:
    """A field section."""
    return "[" + ", ".join(f"{printable(name)}: {printable(content)}" for name, content in headers) + "]"


def shown_octets(data: bytes) -> str:
    """Octets, or how many they are."""
    return repr(data) if len(data) <= SHOWN_OCTETS else f"<{len(data)} bytes>"


def _value(value: object) -> str:
    if isinstance(value, trio_h2.Headers):
        return shown_section(value)
    if isinstance(value, bytes):
        return shown_octets(value)
    if isinstance(value, dict):
        return "[" + ", ".join(f"{_word(code)}: {changed.new_value}" for code, changed in value.items()) + "]"
    return _word(value)


def _word(value: object) -> str:
    """An error code or a setting by its name, when RFC 9113 gives it one."""
    return str(getattr(value, "name", value))
