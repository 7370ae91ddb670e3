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
from hpack.hpack import encode_integer
from hpack.table import HeaderTable

from ..headers import SECRET_FIELDS
from .block_decoder import BlockDecoder
from .field_rules import Fields
from .field_section import FIELD_SIZE, LITERAL_SIZE, FieldSection, InboundRules
from .huffman import HuffmanEncoder
from .limits import HeaderLimits

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


class FieldDecoder:
    """Field blocks to field sections, in wire order.

    Attributes:
        candidate: the last block, its section and what remembering it would take, until `settle` is called; None if it
            cannot be remembered.
    """

    def __init__(self, limits: HeaderLimits, rules: InboundRules) -> None:
        self._limits = limits
        self._rules = rules
        self._decoder = BlockDecoder(limits.max_decoded_fields)
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
        fields, telling, size = decoder.decode(block)
        oversized = self._limits.oversized(len(fields), size)
        section = FieldSection(fields, oversized, self._rules, size, telling)
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
