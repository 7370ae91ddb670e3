"""What happens in an app's process, for tests outside of it to read; and gates that they open."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import trio

JOURNAL: dict[str, list[str]] = defaultdict(list)
"""What was noted, by the name that a request gives itself: `?as=name`."""

PIECE = bytes(range(256)) * 256
"""64 KiB: what downloads are made of."""

_gates: dict[str, trio.Event] = defaultdict(trio.Event)


def note(name: str, what: str) -> None:
    if name:
        JOURNAL[name].append(what)


def gate(name: str) -> trio.Event:
    """An event that `/raw/open?as=name` sets."""
    return _gates[name]


def pieces(size: int) -> list[bytes]:
    """A body of `size` octets, a whole number of pieces."""
    return [PIECE] * (size // len(PIECE))


def digest_of(size: int) -> str:
    """The SHA-256 of such a body."""
    digest = hashlib.sha256()
    for piece in pieces(size):
        digest.update(piece)
    return digest.hexdigest()
