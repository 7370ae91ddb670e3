"""HPACK's tables, as a decoder has them (RFC 7541 sections 2.3 and 4): fields, each with what is known of it."""

from __future__ import annotations

from collections import deque

from hpack.table import HeaderTable

from .field_rules import is_plain
from .limits import FIELD_OVERHEAD

__all__ = ["STATIC_ENTRIES", "DynamicTable", "Entry", "entry_of"]

Entry = tuple[tuple[bytes, bytes], int, bool]
"""A field, its size (section 4.1), and whether it is plain: `field_rules.is_plain`. What depends on a field alone is
found out when it enters the table, once for all the field blocks that refer to it."""


def entry_of(name: bytes, value: bytes) -> Entry:
    """The entry of a field that is to be referred to."""
    return (name, value), len(name) + len(value) + FIELD_OVERHEAD, is_plain(name, value)


STATIC_ENTRIES = tuple(entry_of(name, value) for name, value in ((b"", b""), *HeaderTable.STATIC_TABLE))
"""By index, which begins at 1 (section 2.3.3)."""


class DynamicTable:
    """The fields that came last.

    Attributes:
        entries: the newest first.
        max_size: octets that they may have together.
    """

    __slots__ = ("_size", "entries", "max_size")

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.max_size = HeaderTable.DEFAULT_SIZE
        self._size = 0

    def add(self, entry: Entry) -> None:
        """Put one in front. One that is larger than the table empties it, and is not there (section 4.4)."""
        self.entries.appendleft(entry)
        self._size += entry[1]
        if self._size > self.max_size:
            self._evict()

    def resize(self, max_size: int) -> None:
        """Take as many octets as this from here on (section 4.3)."""
        self.max_size = max_size
        self._evict()

    def _evict(self) -> None:
        while self._size > self.max_size:
            self._size -= self.entries.pop()[1]
