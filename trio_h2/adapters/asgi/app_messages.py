"""What apps send, checked: each mistake is an error that names the message and its key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .asgi_types import Fields

__all__ = [
    "checked_fields",
    "checked_flag",
    "checked_links",
    "checked_octets",
    "checked_path",
    "checked_status",
    "checked_target",
    "checked_text",
    "message_type",
]

# Named here, because to make a union takes longer than to look in it.
OCTETS = (bytes, bytearray, memoryview)
NO_PAIRS = (str, bytes, Mapping)


def message_type(message: object) -> str:
    """What kind of message an app sends. Raises TypeError or ValueError."""
    if type(message) is dict and type(kind := message.get("type")) is str:
        return kind
    return _other_type(message)


def _other_type(message: object) -> str:
    if not isinstance(message, Mapping):
        raise TypeError(f"send() takes a dict, not {type(message).__name__}")
    kind = message.get("type")
    if not isinstance(kind, str):
        what = "has no 'type'" if kind is None else f"has a 'type' that is not str but {type(kind).__name__}"
        raise (ValueError if kind is None else TypeError)(f"a message that the app sent {what}")
    return kind


def checked_status(message: Mapping[str, Any]) -> int:
    """The status of a response that begins. Raises TypeError or ValueError."""
    status = message.get("status")
    if isinstance(status, bool) or not isinstance(status, int):
        raise _wrong(message, "status", "an int", status)
    if not 200 <= status <= 599:
        raise ValueError(f"{message['type']}: 'status' must be from 200 to 599, not {status}")
    return int(status)


def checked_octets(message: Mapping[str, Any], key: str) -> bytes | bytearray | memoryview:
    """Octets, none if the key is not there. Raises TypeError."""
    octets = message.get(key, b"")
    if not isinstance(octets, OCTETS):
        raise _wrong(message, key, "bytes", octets)
    return octets


def checked_flag(message: Mapping[str, Any], key: str) -> bool:
    """Yes or no, no if the key is not there. Raises TypeError."""
    flag = message.get(key, False)
    if flag is not True and flag is not False:
        raise _wrong(message, key, "a bool", flag)
    return flag


def checked_path(message: Mapping[str, Any]) -> str:
    """The path of a file. Raises TypeError or ValueError."""
    path = checked_text(message, "path")
    if "\0" in path:
        raise ValueError(f"{message['type']}: 'path' must have no NUL in it: {path!r}")
    return path


def checked_target(message: Mapping[str, Any]) -> str:
    """The path of a request that is promised, with its query if it has one. Raises TypeError or ValueError."""
    path = checked_text(message, "path")
    if not path.startswith("/"):
        raise ValueError(f"{message['type']}: 'path' must begin with a slash: {path!r}")
    return path


def checked_text(message: Mapping[str, Any], key: str) -> str:
    """Text that has to be there. Raises TypeError."""
    text = message.get(key)
    if not isinstance(text, str):
        raise _wrong(message, key, "str", text)
    return text


def checked_fields(message: Mapping[str, Any], key: str = "headers") -> Fields:
    """Header fields: an iterable of pairs of bytes, none if the key is not there. Raises TypeError.

    Names are lowered, and whitespace around values is dropped, as it is no part of them (RFC 9110 section 5.5).
    """
    fields: Fields = []
    given = message.get(key, ())
    if type(given) is not list and (not isinstance(given, Iterable) or isinstance(given, NO_PAIRS)):
        raise _wrong(message, key, "an iterable of pairs", given)
    for index, pair in enumerate(given):
        try:
            name, value = pair
        except (TypeError, ValueError):
            raise TypeError(f"{message['type']}: {key}[{index}] must be a pair of bytes") from None
        if type(name) is not bytes or type(value) is not bytes:
            name, value = _octets(message, key, index, name), _octets(message, key, index, value)
        fields.append((name.lower(), value.strip(b" \t")))
    return fields


def checked_links(message: Mapping[str, Any]) -> Fields:
    """The fields of an early hint, none if there are no links. Raises TypeError."""
    links = message.get("links", ())
    if not isinstance(links, Iterable) or isinstance(links, NO_PAIRS):
        raise _wrong(message, "links", "an iterable of bytes", links)
    fields: Fields = []
    for index, link in enumerate(links):
        if not isinstance(link, OCTETS):
            raise TypeError(f"{message['type']}: links[{index}] must be bytes, not {type(link).__name__}")
        fields.append((b"link", bytes(link).strip(b" \t")))
    return fields


def _octets(message: Mapping[str, Any], key: str, index: int, octets: object) -> bytes:
    if not isinstance(octets, OCTETS):
        raise TypeError(f"{message['type']}: {key}[{index}] must be a pair of bytes, not of {type(octets).__name__}")
    return bytes(octets)


def _wrong(message: Mapping[str, Any], key: str, wanted: str, value: object) -> TypeError:
    kind = f"not {type(value).__name__}" if key in message else "and is missing"
    return TypeError(f"{message['type']}: {key!r} must be {wanted}, {kind}")
