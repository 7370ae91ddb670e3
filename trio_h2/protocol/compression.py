"""HPACK (RFC 7541) on the hpack package, remembering what cannot have changed.

While the dynamic table stands still the same octets decode to the same fields, and the same fields encode to the
same octets, unless they are to change the table. Most requests and responses of a connection are such repeats, and
hpack takes longer for one than everything else that happens to it; so both directions remember the blocks that left
the table as it was (of indexed fields, and of literals that are not to be indexed), until one comes that changes it.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, cast

import attrs
import hpack
from hpack.hpack import decode_integer, encode_integer
from hpack.table import HeaderTable

from ..headers import SECRET_FIELDS
from .field_rules import Fields
from .field_section import FIELD_SIZE, LITERAL_SIZE, FieldSection, InboundRules
from .huffman import HuffmanEncoder, decode_huffman
from .limits import (
    MAX_DECODED_FIELDS,
    MAX_TABLE_SIZE_UPDATES,
    HeaderLimits,
    field_section_size,
)

__all__ = ["FieldDecoder", "FieldEncoder"]

# What CPython takes to remember a block beside its fields: the objects around one, the Request that is made of it among
# them, and its octets. Indexed fields are the table's. A literal's octets are in the block too, and 8/5 of them when
# decoded.
_BLOCK_SIZE = 1200
_OCTET_SIZE = 3

MAX_REMEMBERED_SENT = 32 * 1024
"""Octets that a connection takes to remember the header lists it encoded: our own user's, so this is no knob."""

MAX_TABLE_SIZE = 4096
"""Octets of our encoder's table: hpack searches it field by field, so a larger one costs more than it saves."""


_STRETCH = 512
"""Octets of a block between two looks at how many fields it has."""

# Indices begin at 1 (RFC 7541 section 2.3.3).
_STATIC_TABLE = ((b"", b""), *HeaderTable.STATIC_TABLE)


class _Decoder(hpack.Decoder):
    """hpack's decoder with a loop of its own over the block (RFC 7541 section 6), several times as fast.

    hpack slices the block, logs, and makes two objects and a dozen calls for each field. Here an indexed field is one
    look-up of an object that the table already holds. The tables themselves stay hpack's.

    Attributes:
        changes: how often a block changed the table.
        literals: how many literals there were that did not.
        max_fields: how many fields of one block are decoded, or up to 512 more.
    """

    changes = 0
    literals = 0
    max_fields = MAX_DECODED_FIELDS

    def limit_fields(self, count: int) -> None:
        """Decode so many fields of one block."""
        self.max_fields = count

    def allow_table_size(self, size: int) -> None:
        """The peer may make the table as large as this."""
        self.max_allowed_table_size = size

    def decode_block(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """The fields of one whole block, raw.

        Raises hpack.HPACKError where `decode` does; hpack.OversizedHeaderListError where there are too many fields.
        """
        fields: list[tuple[bytes, bytes]] = []
        position, end, updates = 0, len(block), 0
        entry = self._entry
        try:
            while position < end:
                # Looked at every so often, fields are counted without a call for each.
                if len(fields) > self.max_fields:
                    raise hpack.OversizedHeaderListError(f"a field block of more than {self.max_fields} fields")
                stop = end if end - position <= _STRETCH else position + _STRETCH
                while position < stop:
                    first = block[position]
                    if 0x80 < first < 0xFF:
                        fields.append(entry(first & 0x7F))
                        position += 1
                    elif first & 0x80:
                        index, position = _integer(block, position, 0x7F)
                        fields.append(entry(index))
                    elif first & 0xE0 == 0x20:
                        if fields:
                            raise hpack.HPACKDecodingError("a table size update after a field (RFC 7541 section 4.2)")
                        updates += 1
                        if updates > MAX_TABLE_SIZE_UPDATES:
                            raise hpack.HPACKDecodingError("more than two table size updates (RFC 7541 section 4.2)")
                        position = self._resize(block, position)
                    else:
                        field, position = self._literal(block, position, first)
                        fields.append(field)
        except IndexError:
            raise hpack.HPACKDecodingError("the field block is cut off") from None
        if self.header_table.maxsize > self.max_allowed_table_size:
            raise hpack.InvalidTableSizeError("the peer has not shrunk its table as SETTINGS told it")
        return fields

    def _entry(self, index: int) -> tuple[bytes, bytes]:
        """Section 2.3.3."""
        offset = index - len(_STATIC_TABLE)
        if offset < 0:
            if index:
                return _STATIC_TABLE[index]
        elif offset < len(self.header_table.dynamic_entries):
            return self.header_table.dynamic_entries[offset]
        raise hpack.InvalidTableIndexError("neither table has an entry of this index")

    def _literal(self, block: bytes, position: int, first: int) -> tuple[tuple[bytes, bytes], int]:
        """Section 6.2."""
        index, position = _integer(block, position, 0x3F if first & 0x40 else 0x0F)
        if index:
            name = self._entry(index)[0]
        else:
            name, position = _string(block, position)
        value, position = _string(block, position)
        if first & 0x40:
            self.changes += 1
            self.header_table.add(name, value)
            return (name, value), position
        self.literals += 1
        if first & 0x10:
            return hpack.NeverIndexedHeaderTuple(name, value), position
        return (name, value), position

    def _resize(self, block: bytes, position: int) -> int:
        """Section 6.3."""
        size, position = _integer(block, position, 0x1F)
        if size > self.max_allowed_table_size:
            raise hpack.InvalidTableSizeError(f"a table of {size} octets is more than we allow")
        self.changes += 1
        self.header_table_size = size
        return position


def _integer(block: bytes, position: int, most: int) -> tuple[int, int]:
    """An integer whose prefix has room for `most`, and what comes after it (RFC 7541 section 5.1)."""
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
    huffman = block[position] & 0x80
    length, position = _integer(block, position, 0x7F)
    end = position + length
    if end > len(block):
        raise hpack.HPACKDecodingError("a string literal is cut off")
    text = block[position:end]
    return (decode_huffman(text) if huffman else text), end


class FieldDecoder:
    """Field blocks to field sections, in wire order.

    Attributes:
        candidate: the last block, its section and what remembering it would take, until `settle` is called; None if it
            cannot be remembered.
    """

    def __init__(self, limits: HeaderLimits, rules: InboundRules) -> None:
        self._limits = limits
        self._rules = rules
        self._decoder = _Decoder()
        self._decoder.limit_fields(limits.max_decoded_fields)
        self._remembered: dict[bytes, FieldSection] = {}
        self._remembered_size = 0
        self.candidate: tuple[bytes, FieldSection, int] | None = None

    def _forget(self) -> None:
        self._remembered.clear()
        self._remembered_size = 0
        self.candidate = None

    def set_max_table_size(self, size: int) -> None:
        """Our SETTINGS_HEADER_TABLE_SIZE was acknowledged (RFC 7541 section 4.2)."""
        self._decoder.allow_table_size(size)
        self._forget()

    @property
    def max_list_size(self) -> int:
        """The largest field section that is taken."""
        return self._limits.max_list_size

    def set_max_list_size(self, size: int) -> None:
        """Our SETTINGS_MAX_HEADER_LIST_SIZE was acknowledged (RFC 9113 section 6.5.2)."""
        if size != self._limits.max_list_size:
            self._limits = attrs.evolve(self._limits, max_list_size=size)
            self._decoder.limit_fields(self._limits.max_decoded_fields)
            self._forget()

    def set_rules(self, rules: InboundRules) -> None:
        """From here on, sections are held to these rules."""
        self._rules = rules
        self._forget()

    def known(self, block: bytes) -> FieldSection | None:
        """What `decode` gives, if it remembers it."""
        return self._remembered.get(block)

    def decode(self, block: bytes) -> FieldSection:
        """Decode one whole block. Raises hpack.HPACKError if that cannot be done.

        Call `settle` when the section has had its effect.
        """
        section = self._remembered.get(block)
        if section is not None:
            return section
        decoder = self._decoder
        changes, literals = decoder.changes, decoder.literals
        fields = decoder.decode_block(block)
        # Where there are too many fields they are not looked at, each by each.
        size = field_section_size(fields) if len(fields) <= self._limits.max_fields else 0
        oversized = self._limits.oversized(len(fields), size)
        section = FieldSection(fields, oversized, self._rules, size)
        if decoder.changes != changes:
            self._forget()
            return section
        octets = _BLOCK_SIZE + _OCTET_SIZE * len(block) + FIELD_SIZE * len(fields)
        self.candidate = block, section, octets + LITERAL_SIZE * (decoder.literals - literals)
        return section

    def settle(self) -> None:
        """Remember the last block, if it proved to be well-formed and there is room for all that it holds.

        The newest takes the place of all that are older, so that this takes the same time however many there are.
        """
        if self.candidate is None:
            return
        block, section, size = self.candidate
        self.candidate = None
        if section.joined_size is None:
            return
        size += section.joined_size
        limit = self._limits.max_remembered
        if size > limit:
            return
        if self._remembered_size + size > limit:
            self._forget()
        self._remembered[block] = section
        self._remembered_size += size


# Fields whose values seldom come twice on a connection. Put into the table they would push out what does, and every
# block that follows would have to be encoded afresh.
_VOLATILE = frozenset(
    (
        b":path",
        b"age",
        b"content-length",
        b"content-range",
        b"etag",
        b"if-modified-since",
        b"if-none-match",
        b"last-modified",
        b"location",
        b"range",
        b"set-cookie",
        b"traceparent",
    )
)

# RFC 7541 section 7.1.3: what could be guessed octet by octet, if it were in the table. A long cookie could not.
# Set-Cookie is volatile, and so stays out of it anyway.
_SECRET = SECRET_FIELDS - {b"set-cookie"}
_LONG_COOKIE = 20


class _Encoder(hpack.Encoder):
    """hpack's encoder, but for what goes into the table, and for Huffman codes.

    A secret is never indexed, whoever sends it and whether or not it was marked; and a never-indexed field stays a
    literal also when the table holds its like (RFC 7541 section 6.2.3). Volatile ones are literals without indexing
    (6.2.2).

    Attributes:
        changes: how often a field was put into the table.
    """

    changes = 0

    def __init__(self) -> None:
        super().__init__()
        self.huffman_coder = HuffmanEncoder()

    def resize(self, size: int) -> None:
        """The table has this size from the next block on, which says so."""
        self.header_table_size = size

    def add(self, to_add: tuple[bytes, bytes], sensitive: bool, huffman: bool = False) -> bytes:
        name, value = to_add
        index, values = HeaderTable.STATIC_TABLE_MAPPING.get(name, (0, {}))
        if sensitive or (name in _SECRET and (name != b"cookie" or len(value) < _LONG_COOKIE)):
            return self._literal(0x10, index, name, value)
        if name in _VOLATILE and value not in values:
            return self._literal(0, index, name, value)
        encoded = super().add(to_add, sensitive, huffman)
        if encoded[0] & 0xC0 == 0x40:
            self.changes += 1
        return encoded

    def _literal(self, kind: int, index: int, name: bytes, value: bytes) -> bytes:
        """A literal that stays out of the table; its name by its index in the static table, if that has it."""
        encoded = encode_integer(index, 4)
        encoded[0] |= kind
        for text in (value,) if index else (name, value):
            coded = self.huffman_coder.encode(text)
            length = encode_integer(len(coded), 7)
            length[0] |= 0x80
            encoded += length + coded
        return bytes(encoded)


class FieldEncoder:
    """Fields to field blocks; what is encoded has to be sent, in this order."""

    def __init__(self) -> None:
        self._encoder = _Encoder()
        self._remembered: dict[Fields, bytes] = {}
        self._remembered_size = 0
        self._last: tuple[Fields, bytes] | None = None  # the last that was found there
        self._smallest: int | None = None
        self._table_size = self._encoder.header_table_size

    def set_table_size(self, size: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE; the next block says so (RFC 7541 section 4.2)."""
        size = min(size, MAX_TABLE_SIZE)
        self._smallest = size if self._smallest is None else min(size, self._smallest)
        self._table_size = size

    def _resize(self) -> None:
        """Of all changes since the last block, the smallest size and the last are signalled."""
        for size in (self._smallest, self._table_size):
            # hpack forgets an update that it has not sent yet if the same size is set again.
            if size is not None and size != self._encoder.header_table_size:
                self._encoder.resize(size)
                self._forget()
        self._smallest = None

    def _forget(self) -> None:
        self._remembered.clear()
        self._remembered_size = 0
        self._last = None

    def encode(self, fields: Fields) -> bytes:
        """Encode one field section."""
        if self._smallest is not None:
            self._resize()
        if self._last is not None and fields is self._last[0]:  # as of most repeats, which need not be compared
            return self._last[1]
        key = _key(fields)
        if key is not None:
            block = self._remembered.get(key)
            if block is not None:
                self._last = key, block
                return block
        changes = self._encoder.changes
        resized = self._encoder.header_table.resized  # then this block says so, and no other
        block = self._encoder.encode(cast("Any", fields))
        if resized or self._encoder.changes != changes:
            self._forget()
        elif key is not None:
            # As if nobody else held the fields: a list and a block, and a tuple and two strings for each.
            size = 200 + len(block) + LITERAL_SIZE * len(key) + sum(map(len, chain.from_iterable(key)))
            if size <= MAX_REMEMBERED_SENT:
                if self._remembered_size + size > MAX_REMEMBERED_SENT:
                    self._forget()
                self._remembered[key] = block
                self._remembered_size += size
        return block


def _key(fields: Fields) -> tuple[tuple[bytes, bytes], ...] | None:
    """What to remember fields by; None if one of them is special: a never-indexed field equals a plain one."""
    if type(fields) is not tuple or set(map(type, fields)) != {tuple}:
        return None
    return fields
