"""Huffman-coded strings of HPACK (RFC 7541 section 5.2 and appendix B), on the hpack package's tables.

Encoding joins the codes as text, which Python does faster than it shifts them one by one. To decode, hpack steps
through its automaton by half octets; whole octets are half as many steps. What an octet does in a state is worked out
from the half steps when it is first met, and remembered: text meets few of the 65,536 steps there are.
"""

from __future__ import annotations

from typing import cast

import hpack.huffman
from hpack import HPACKDecodingError
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE

__all__ = ["HuffmanEncoder", "decode_huffman"]

_CODES = [f"{code:0{length}b}" for code, length in zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)]


class HuffmanEncoder(hpack.huffman.HuffmanEncoder):
    """hpack's, for its encoder."""

    def __init__(self) -> None:
        super().__init__(REQUEST_CODES, REQUEST_CODES_LENGTH)

    def encode(self, bytes_to_encode: bytes | None) -> bytes:
        """The coded text, padded with ones."""
        bits = "".join([_CODES[octet] for octet in bytes_to_encode or b""])
        bits += "1" * (-len(bits) % 8)
        return int(bits or "0", 2).to_bytes(len(bits) // 8, "big")


_Step = tuple["_Row", bytes]
"""Where an octet leads, and the octets of text that are complete with it."""

_Row = list[_Step]
"""The steps from one state of hpack's automaton, by octet. One at `_END` says that a string may end there.

A plain list of tuples, because CPython takes an element of that, and both of its parts, without a call. A step that was
never taken is None, in spite of the type: whoever takes it gets a TypeError, and nobody has to ask.
"""

_END = 256
_FINAL = {number for number, flags, _ in HUFFMAN_TABLE if flags & HUFFMAN_COMPLETE}
_rows: dict[int, _Row] = {}
_numbers: dict[int, int] = {}
"""Of which state a row is, by the row's `id`."""


def _row(number: int) -> _Row:
    row = _rows.get(number)
    if row is None:
        row = _rows[number] = cast("_Row", [None] * (_END + 1))
        _numbers[id(row)] = number
        if number in _FINAL:
            row[_END] = row, b""
    return row


def _learn(coded: bytes) -> None:
    """Work out the steps of a string that were never taken. Raises HPACKDecodingError where there is none."""
    row = _FIRST
    for octet in coded:
        step: _Step | None = row[octet]
        if step is None:
            step = row[octet] = _step(_numbers[id(row)], octet)
        row = step[0]


def _step(number: int, octet: int) -> _Step:
    text = b""
    for half in (octet >> 4, octet & 15):
        number, flags, symbol = HUFFMAN_TABLE[number * 16 + half]
        if flags & HUFFMAN_FAIL:
            raise HPACKDecodingError("not a Huffman code of RFC 7541")
        if flags & HUFFMAN_EMIT_SYMBOL:
            text += bytes([symbol])
    return _row(number), text


_FIRST = _row(0)


def decode_huffman(coded: bytes) -> bytes:
    """The text that `coded` stands for. Raises hpack.HPACKDecodingError for a code, or a padding, that is wrong."""
    row = _FIRST
    parts: list[bytes] = []
    try:
        for octet in coded:
            row, complete = row[octet]
            parts.append(complete)
    except TypeError:
        _learn(coded)
        return decode_huffman(coded)
    if row[_END] is None:
        raise HPACKDecodingError("the padding of a Huffman-coded string is wrong (RFC 7541 section 5.2)")
    return b"".join(parts)
