"""The attackers' bytes: frames and field blocks made by hand, so that they may break any rule."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_SIZE = 9
MAX_WINDOW = 2**31 - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ALTSVC, ORIGIN, PRIORITY_UPDATE, UNKNOWN = 0x0A, 0x0C, 0x10, 0xBE

END_STREAM = ACK = 0x01
END_HEADERS = 0x04
WITH_PRIORITY = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = range(1, 5)

_HEADER = struct.Struct(">HBBBL")


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """Any frame; `length` is what its header says, when that is not the truth."""
    size = len(payload) if length is None else length
    return _HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream_id) + payload


def frames_in(data: bytes) -> int:
    """How many frames there are in some bytes; a last one that is cut counts."""
    count = position = 0
    while position < len(data):
        high, low = struct.unpack_from(">HB", data[position : position + 3].ljust(3, b"\0"))
        position += HEADER_SIZE + (high << 8 | low)
        count += 1
    return count


def streams(count: int) -> Iterator[int]:
    """The stream IDs of so many requests."""
    return iter(range(1, 2 * count, 2))


# Frames -------------------------------------------------------------------------------------------


def data(stream_id: int, payload: bytes = b"", *, end: bool = False) -> bytes:
    return frame(DATA, END_STREAM if end else 0, stream_id, payload)


def headers(stream_id: int, block: bytes, *, end: bool = True) -> bytes:
    """HEADERS, with CONTINUATIONs where the block is larger than a frame."""
    pieces = [block[at : at + 16384] for at in range(0, len(block), 16384)] or [b""]
    flags = [END_STREAM if end else 0] + [0] * (len(pieces) - 1)
    flags[-1] |= END_HEADERS
    kinds = [HEADERS] + [CONTINUATION] * (len(pieces) - 1)
    return b"".join(frame(kind, flag, stream_id, piece) for kind, flag, piece in zip(kinds, flags, pieces, strict=True))


def dependency(stream_id: int, weight: int = 15) -> bytes:
    """RFC 7540's priority fields."""
    return struct.pack(">LB", stream_id, weight)


def priority(stream_id: int, depends_on: int) -> bytes:
    return frame(PRIORITY, 0, stream_id, dependency(depends_on))


def priority_update(stream_id: int, value: bytes) -> bytes:
    return frame(PRIORITY_UPDATE, 0, 0, struct.pack(">L", stream_id) + value)


def rst(stream_id: int, code: int = 8) -> bytes:
    return frame(RST_STREAM, 0, stream_id, struct.pack(">L", code))


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HL", *pair) for pair in pairs))


def settings_ack() -> bytes:
    return frame(SETTINGS, ACK, 0)


def ping(payload: bytes = b"attacked", flags: int = 0) -> bytes:
    return frame(PING, flags, 0, payload)


def goaway(last_stream_id: int, code: int = 0, debug: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, 0, struct.pack(">LL", last_stream_id, code) + debug)


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, struct.pack(">L", increment))


def push_promise(stream_id: int, promised: int, block: bytes) -> bytes:
    return frame(PUSH_PROMISE, END_HEADERS, stream_id, struct.pack(">L", promised) + block)


def origin(*origins: bytes) -> bytes:
    return frame(ORIGIN, 0, 0, b"".join(struct.pack(">H", len(one)) + one for one in origins))


def altsvc(name: bytes, value: bytes) -> bytes:
    return frame(ALTSVC, 0, 0, struct.pack(">H", len(name)) + name + value)


# Field blocks (RFC 7541) --------------------------------------------------------------------------


def integer(value: int, bits: int, first: int = 0) -> bytes:
    """An HPACK integer under a prefix."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    octets = [first | most]
    value -= most
    while value > 127:
        octets.append(value & 127 | 128)
        value >>= 7
    return bytes((*octets, value))


def string(text: bytes) -> bytes:
    return integer(len(text), 7) + text


def literal(name: bytes, value: bytes, *, indexed: bool = False) -> bytes:
    """A literal field with a literal name; `indexed` puts it into the table."""
    return (b"\x40" if indexed else b"\x00") + string(name) + string(value)


def reference(index: int) -> bytes:
    """An indexed field; the newest of the dynamic table is 62."""
    return integer(index, 7, 0x80)


def table_size(size: int) -> bytes:
    return integer(size, 5, 0x20)


def request(path: bytes = b"/", *more: bytes, method: bytes = b"GET") -> bytes:
    """A request's block that leaves the table as it is, and fields in HPACK's own octets after it."""
    names = (b"\x02" + string(method), b"\x86", b"\x04" + string(path), b"\x01" + string(b"a"))
    return b"".join((*names, *more))


def response(status: bytes = b"200", *more: bytes) -> bytes:
    """A response's block that leaves the table as it is."""
    return b"".join((b"\x08" + string(status), *more))


def encoded(fields: Iterable[tuple[str, str]]) -> bytes:
    """A block as an ordinary encoder makes it."""
    return hpack.Encoder().encode(list(fields))
