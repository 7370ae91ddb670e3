"""Deflate: the compression of WebSocket messages (RFC 7692), and how a server agrees on it with a client."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import Any

from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason, Opcode, RsvBits
from wsproto.handshake import server_extensions_handshake

__all__ = ["Deflate", "agree_on_deflate"]

PARAMETER = re.compile(
    "(?:server|client)_no_context_takeover|(?:server|client)_max_window_bits=(?:[89]|1[0-5])|client_max_window_bits"
)

WINDOW_BITS = 12
MEMORY_LEVEL = 5
"""Of our compressor: it holds 39 KB, where zlib's default holds 268 and makes messages hardly smaller."""


class Deflate(PerMessageDeflate):
    """permessage-deflate (RFC 7692): wsproto's, with what that leaves open.

    Owner of every field: wsproto, and this object.
    """

    def frame_inbound_header(self, proto: Any, opcode: Opcode, rsv: RsvBits, payload_length: int) -> Any:
        """A control frame within a message leaves its state as it is; wsproto's would take the rest as it comes."""
        if opcode.iscontrol() and not rsv.rsv1:
            self._inbound_is_compressible = False
            return RsvBits(True, False, False)
        return super().frame_inbound_header(proto, opcode, rsv, payload_length)

    def frame_inbound_payload_data(self, proto: Any, data: bytes) -> Any:
        """Nothing but its padding follows a last block (RFC 7692 section 7.2.3.5): zlib would keep it all."""
        inflated = super().frame_inbound_payload_data(proto, data)
        if self._decompressor is not None and len(self._decompressor.unused_data) > 1:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        return inflated

    def frame_outbound(self, proto: Any, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool) -> Any:
        """With a compressor of our own; what was agreed on is how far it may look back, and not how far it does."""
        if self._compressor is None and self._compressible_opcode(opcode):
            bits = min(self.server_max_window_bits, WINDOW_BITS)
            self._compressor = zlib.compressobj(wbits=-bits, memLevel=MEMORY_LEVEL)
        return super().frame_outbound(proto, opcode, rsv, data, fin)

    def frame_inbound_complete(self, proto: Any, fin: bool) -> Any:
        """After a last block the next message begins anew."""
        if not self._inbound_is_compressible:
            return None
        rest = super().frame_inbound_complete(proto, fin)
        if fin and self._decompressor is not None and self._decompressor.eof:
            self._decompressor = None
        return rest


def makes_sense(offer: str) -> bool:
    """Whether it is permessage-deflate, and has each parameter once, as it is defined (RFC 7692 section 7.1)."""
    name, *parameters = [part.strip() for part in offer.split(";")]
    names = [parameter.partition("=")[0] for parameter in parameters]
    known = all(map(PARAMETER.fullmatch, parameters))
    return name == PerMessageDeflate.name and known and len(set(names)) == len(names)


def agree_on_deflate(offers: Iterable[str]) -> tuple[Deflate, bytes] | None:
    """The first of the client's offers that can be taken, and the answer to it; None if there is none."""
    for offer in offers:
        if makes_sense(offer):
            deflate = Deflate()
            answer = server_extensions_handshake([offer], [deflate])
            if answer is not None:
                return deflate, answer
    return None
