"""Huffman-coded strings of HPACK (RFC 7541 section 5.2 and appendix B), on the hpack package's tables.

Encoding joins the codes as text, which Python does faster than it shifts them one by one. To decode, hpack steps
through its automaton by half octets; whole octets are half as many steps. What an octet does in a state is worked out
from the half steps when it is first met, and remembered: text meets few of the 65,536 steps there are.
"""

from __future__ import annotations

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


class _State(dict[int, "tuple[_State, bytes]"]):
    """A state of hpack's automaton: by octet, the next state, and the octets of text that are complete with it.

    Attributes:
        may_end: Whether a string may end here.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self.may_end = number in _FINAL

    def __missing__(self, octet: int) -> tuple[_State, bytes]:
        number, text = self._number, b""
        for half in (octet >> 4, octet & 15):
            number, flags, symbol = HUFFMAN_TABLE[number * 16 + half]
            if flags & HUFFMAN_FAIL:
                raise HPACKDecodingError("not a Huffman code of RFC 7541")
            if flags & HUFFMAN_EMIT_SYMBOL:
                text += bytes([symbol])
        step = self[octet] = _STATES[number], text
        return step


_FINAL = {number for number, flags, _ in HUFFMAN_TABLE if flags & HUFFMAN_COMPLETE}
_STATES = [_State(number) for number in range(len(HUFFMAN_TABLE) // 16)]


def decode_huffman(coded: bytes) -> bytes:
    """The text that `coded` stands for. Raises hpack.HPACKDecodingError for a code, or a padding, that is wrong."""
    state = _STATES[0]
    text = bytearray()
    for octet in coded:
        state, complete = state[octet]
        text += complete
    if not state.may_end:
        raise HPACKDecodingError("the padding of a Huffman-coded string is wrong (RFC 7541 section 5.2)")
    return bytes(text)
