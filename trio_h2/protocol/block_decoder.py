"""Field blocks to fields (RFC 7541 section 6): one loop, several times as fast as that of the hpack package.

hpack slices the block, logs, and makes two objects and a dozen calls for each field. Here an indexed field is one
look-up of what the table already holds: the field, its size, and whether there is anything left to judge about it.
"""

from __future__ import annotations

import hpack
from hpack.hpack import decode_integer

from .dynamic_table import STATIC_ENTRIES, DynamicTable, Entry, entry_of
from .huffman import decode_huffman
from .limits import FIELD_OVERHEAD, MAX_DECODED_FIELDS, MAX_TABLE_SIZE_UPDATES

__all__ = ["BlockDecoder"]

_STRETCH = 512
"""Octets of a block between two looks at how many fields it has."""

_DYNAMIC = len(STATIC_ENTRIES)
"""The first index of the dynamic table (section 2.3.3)."""

_INDEXED = 0x80
_INDEXED_DYNAMIC = _INDEXED + _DYNAMIC
_LONG_INDEX = 0xFF


class BlockDecoder:
    """One peer's field blocks, in wire order.

    Args:
        max_fields: see below.

    Attributes:
        table: what the peer may refer to.
        max_allowed_table_size: the most that it may make of it.
        changes: how often a block changed the table.
        literals: how many literals there were that did not.
        max_fields: how many fields of one block are decoded, or up to 512 more.
    """

    def __init__(self, max_fields: int = MAX_DECODED_FIELDS) -> None:
        self.table = DynamicTable()
        self.max_allowed_table_size = self.table.max_size
        self.changes = 0
        self.literals = 0
        self.max_fields = max_fields

    def limit_fields(self, count: int) -> None:
        """Decode so many fields of one block."""
        self.max_fields = count

    def allow_table_size(self, size: int) -> None:
        """The peer may make the table as large as this."""
        self.max_allowed_table_size = size

    def decode(self, block: bytes) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]], int]:
        """The fields of one whole block; those of them that may not be plain (`field_rules.is_plain`); the size of all.

        Raises hpack.HPACKError where hpack does; hpack.OversizedHeaderListError where there are too many fields.
        """
        fields: list[tuple[bytes, bytes]] = []
        telling: list[tuple[bytes, bytes]] = []
        size, position, end, updates = 0, 0, len(block), 0
        entries = self.table.entries
        try:
            while position < end:
                # Looked at every so often, fields are counted without a call for each.
                if len(fields) > self.max_fields:
                    raise hpack.OversizedHeaderListError(f"a field block of more than {self.max_fields} fields")
                stop = end if end - position <= _STRETCH else position + _STRETCH
                while position < stop:
                    first = block[position]
                    if _INDEXED_DYNAMIC <= first < _LONG_INDEX:
                        field, octets, plain = entries[first - _INDEXED_DYNAMIC]
                        position += 1
                    elif _INDEXED < first < _INDEXED_DYNAMIC:
                        field, octets, plain = STATIC_ENTRIES[first - _INDEXED]
                        position += 1
                    elif first & 0x80:
                        index, position = _integer(block, position, 0x7F)
                        field, octets, plain = self._entry(index)
                    elif first & 0xE0 == 0x20:
                        if fields:
                            raise hpack.HPACKDecodingError("a table size update after a field (RFC 7541 section 4.2)")
                        updates += 1
                        if updates > MAX_TABLE_SIZE_UPDATES:
                            raise hpack.HPACKDecodingError("more than two table size updates (RFC 7541 section 4.2)")
                        position = self._resize(block, position)
                        continue
                    else:
                        (field, octets, plain), position = self._literal(block, position, first)
                    fields.append(field)
                    size += octets
                    if not plain:
                        telling.append(field)
        except IndexError:
            raise hpack.InvalidTableIndexError("neither table has an entry of this index") from None
        if self.table.max_size > self.max_allowed_table_size:
            raise hpack.InvalidTableSizeError("the peer has not shrunk its table as SETTINGS told it")
        return fields, telling, size

    def _entry(self, index: int) -> Entry:
        """Section 2.3.3. Raises IndexError."""
        if index >= _DYNAMIC:
            return self.table.entries[index - _DYNAMIC]
        if index == 0:
            raise IndexError
        return STATIC_ENTRIES[index]

    def _literal(self, block: bytes, position: int, first: int) -> tuple[Entry, int]:
        """Section 6.2. Raises IndexError if its name is in neither table."""
        most = 0x3F if first & 0x40 else 0x0F
        index = first & most
        if index < most:
            position += 1
        else:
            index, position = _integer(block, position, most)
        if index:
            name = self._entry(index)[0][0]
        else:
            name, position = _string(block, position)
        value, position = _string(block, position)
        if first & 0x40:
            self.changes += 1
            entry = entry_of(name, value)
            self.table.add(entry)
            return entry, position
        self.literals += 1
        field = hpack.NeverIndexedHeaderTuple(name, value) if first & 0x10 else (name, value)
        return (field, len(name) + len(value) + FIELD_OVERHEAD, False), position

    def _resize(self, block: bytes, position: int) -> int:
        """Section 6.3."""
        size, position = _integer(block, position, 0x1F)
        if size > self.max_allowed_table_size:
            raise hpack.InvalidTableSizeError(f"a table of {size} octets is more than we allow")
        self.changes += 1
        self.table.resize(size)
        return position


def _integer(block: bytes, position: int, most: int) -> tuple[int, int]:
    """An integer whose prefix, which is there, has room for `most`; and what comes after it (RFC 7541 section 5.1)."""
    value = block[position] & most
    if value < most:
        return value, position + 1
    try:
        value, length = decode_integer(memoryview(block)[position:], most.bit_length())
    except hpack.HPACKDecodingError:
        # Not in hpack's words, which say where the block lies in our memory: GOAWAY would tell the peer.
        raise hpack.HPACKDecodingError("an integer is cut off, or too long") from None
    return value, position + length


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    """A string literal, and what comes after it (RFC 7541 section 5.2)."""
    octets = len(block)
    if position >= octets:
        raise hpack.HPACKDecodingError("the field block is cut off")
    first = block[position]
    length = first & 0x7F
    if length < 0x7F:
        start = position + 1
    else:
        length, start = _integer(block, position, 0x7F)
    end = start + length
    if end > octets:
        raise hpack.HPACKDecodingError("a string literal is cut off")
    text = block[start:end]
    return (decode_huffman(text) if first & 0x80 else text), end
