"""Frames made by hand, octet by octet, so that they can also be wrong (RFC 9113 sections 4.1 and 6)."""

from __future__ import annotations

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ALTSVC, ORIGIN, PRIORITY_UPDATE = 0xA, 0xC, 0x10

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 2, 3, 4, 5
MAX_HEADER_LIST_SIZE, ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES = 6, 8, 9


def raw(type_: int, flags: int, stream_id: int, payload: bytes = b"", *, says: int | None = None) -> bytes:
    """One frame; `says` puts another length into its header than it has."""
    count = len(payload) if says is None else says
    return count.to_bytes(3, "big") + bytes([type_, flags]) + stream_id.to_bytes(4, "big") + payload


def uint32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def padded(payload: bytes, count: int) -> bytes:
    """A payload with its pad length in front and its padding behind."""
    return bytes([count]) + payload + bytes(count)


def data(stream_id: int, payload: bytes = b"", *, end: bool = False, pad: int | None = None) -> bytes:
    flags = (END_STREAM if end else 0) | (0 if pad is None else PADDED)
    return raw(DATA, flags, stream_id, payload if pad is None else padded(payload, pad))


def rst_stream(stream_id: int, code: int = 8) -> bytes:
    return raw(RST_STREAM, 0, stream_id, uint32(code))


def settings(*pairs: tuple[int, int]) -> bytes:
    return raw(SETTINGS, 0, 0, b"".join(code.to_bytes(2, "big") + uint32(value) for code, value in pairs))


def settings_ack() -> bytes:
    return raw(SETTINGS, ACK, 0)


def ping(payload: bytes = b"12345678", *, ack: bool = False) -> bytes:
    return raw(PING, ACK if ack else 0, 0, payload)


def goaway(last_stream_id: int, code: int = 0, additional_data: bytes = b"") -> bytes:
    return raw(GOAWAY, 0, 0, uint32(last_stream_id) + uint32(code) + additional_data)


def window_update(stream_id: int, increment: int) -> bytes:
    return raw(WINDOW_UPDATE, 0, stream_id, uint32(increment))


def priority(stream_id: int, depends_on: int, weight: int = 16, *, exclusive: bool = False) -> bytes:
    return raw(PRIORITY, 0, stream_id, uint32(depends_on | exclusive << 31) + bytes([weight - 1]))


def priority_update(prioritized: int, value: bytes, *, stream_id: int = 0) -> bytes:
    return raw(PRIORITY_UPDATE, 0, stream_id, uint32(prioritized) + value)


def altsvc(stream_id: int, origin: bytes, value: bytes) -> bytes:
    return raw(ALTSVC, 0, stream_id, len(origin).to_bytes(2, "big") + origin + value)


def origin(*origins: bytes, flags: int = 0, stream_id: int = 0) -> bytes:
    return raw(ORIGIN, flags, stream_id, b"".join(len(one).to_bytes(2, "big") + one for one in origins))
