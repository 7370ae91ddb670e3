"""Huffman-coded strings of HPACK (RFC 7541 section 5.2 and appendix B), on the hpack package's tables.

Encoding joins the codes as text, which Python does faster than it shifts them one by one. To decode, hpack steps
through its automaton by half octets; whole octets are half as many steps. What an octet does in a state is worked out
from the half steps when it is first met, and remembered: text meets few of the 65,792 pairs there are.
"""

from __future__ import annotations

import hpack.huffman
from hpack import HPACKDecodingError
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE

__all__ = ["HuffmanEncoder", "decode_huffman"]

MAX_REMEMBERED = 16_384

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


_Step = tuple[int, bytes, int]


class _Steps(dict[int, _Step]):
    """By state * 256 + octet: the next state * 256, the octets that are complete, and whether the string may end."""

    def __missing__(self, key: int) -> _Step:
        state, flags = key >> 8, 0
        out = b""
        for half in (key >> 4 & 15, key & 15):
            state, flags, symbol = HUFFMAN_TABLE[state * 16 + half]
            if flags & HUFFMAN_FAIL:
                raise HPACKDecodingError("no Huffman code of RFC 7541")
            if flags & HUFFMAN_EMIT_SYMBOL:
                out += bytes([symbol])
        step = state << 8, out, flags & HUFFMAN_COMPLETE
        if len(self) < MAX_REMEMBERED:
            self[key] = step
        return step


_steps = _Steps()


def decode_huffman(text: bytes) -> bytes:
    """The octets that `text` stands for. Raises hpack.HPACKDecodingError for a code or a padding that is none."""
    state, may_end = 0, 1
    out = []
    steps = _steps
    for octet in text:
        state, complete, may_end = steps[state | octet]
        out.append(complete)
    if not may_end:
        raise HPACKDecodingError("padding that is no end of a Huffman-coded string (RFC 7541 section 5.2)")
    return b"".join(out)
