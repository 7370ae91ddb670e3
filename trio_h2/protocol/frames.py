"""The frames of HTTP/2 (RFC 9113 section 6, and those that RFC 7838, 8336 and 9218 add), as values and as numbers.

A frame that was received is one of the classes here; `FrameReader` makes them. `FrameWriter` makes none: what is sent
is octets at once. The numbers of types and flags, and the layouts that both pack and unpack, are here too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import attrs

from .field_section import FieldSection

__all__ = [
    "ACK",
    "ALTSVC",
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "FRAME_HEADER",
    "FRAME_HEADER_SIZE",
    "GOAWAY",
    "HEADERS",
    "ORIGIN",
    "PADDED",
    "PING",
    "PREFACE",
    "PRIORITY",
    "PRIORITY_FLAG",
    "PRIORITY_UPDATE",
    "PUSH_PROMISE",
    "RST_STREAM",
    "SETTING",
    "SETTINGS",
    "STREAM_MASK",
    "UINT32",
    "WINDOW_UPDATE",
    "AltSvcFrame",
    "DataFrame",
    "FieldBlock",
    "Frame",
    "GoAwayFrame",
    "HeadersFrame",
    "OriginFrame",
    "PingFrame",
    "PriorityFields",
    "PriorityFrame",
    "PriorityUpdateFrame",
    "PushPromiseFrame",
    "RstStreamFrame",
    "SettingsFrame",
    "UnknownFrame",
    "WindowUpdateFrame",
]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (3.4)."""

FRAME_HEADER_SIZE = 9

FRAME_HEADER = struct.Struct(">HBBBL")
SETTING = struct.Struct(">HL")
UINT32 = struct.Struct(">L")

STREAM_MASK = 0x7FFF_FFFF
"""What of 32 bits is a stream ID, or an increment: the first one is reserved (4.1, 6.9)."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ALTSVC = 0x0A
ORIGIN = 0x0C
PRIORITY_UPDATE = 0x10

END_STREAM = 0x01
ACK = 0x01
END_HEADERS = 0x04
PADDED = 0x08
PRIORITY_FLAG = 0x20


@attrs.define
class PriorityFields:
    """RFC 7540's priority fields, as HEADERS and PRIORITY carry them (RFC 9113 section 5.3.2)."""

    depends_on: int
    weight: int
    exclusive: bool


@attrs.define
class DataFrame:
    """DATA: `flow_controlled_length` counts padding too (6.1)."""

    stream_id: int
    data: bytes
    flow_controlled_length: int
    end_stream: bool


@attrs.define
class HeadersFrame:
    """HEADERS with its CONTINUATIONs, decoded."""

    stream_id: int
    section: FieldSection
    end_stream: bool
    priority: PriorityFields | None = None


@attrs.define
class PushPromiseFrame:
    """PUSH_PROMISE with its CONTINUATIONs, decoded."""

    stream_id: int
    promised_stream_id: int
    section: FieldSection


@attrs.define
class FieldBlock:
    """HEADERS or PUSH_PROMISE whose END_HEADERS has not come yet, with the fragments that have (6.10)."""

    stream_id: int
    build: Callable[[FieldSection], HeadersFrame | PushPromiseFrame]
    fragments: list[bytes] = attrs.Factory(list)
    size: int = 0
    continuations: int = 0

    def add(self, fragment: bytes, *, continuation: bool) -> None:
        """One more fragment came, with the first frame or with a CONTINUATION."""
        self.fragments.append(fragment)
        self.size += len(fragment)
        self.continuations += continuation


@attrs.define
class PriorityFrame:
    """PRIORITY (6.3)."""

    stream_id: int
    priority: PriorityFields


@attrs.define
class RstStreamFrame:
    """RST_STREAM (6.4)."""

    stream_id: int
    error_code: int


@attrs.define
class SettingsFrame:
    """SETTINGS (6.5): the pairs in the order they stand, repetitions too."""

    ack: bool
    pairs: list[tuple[int, int]]


@attrs.define
class PingFrame:
    """PING (6.7)."""

    ack: bool
    payload: bytes


@attrs.define
class GoAwayFrame:
    """GOAWAY (6.8)."""

    last_stream_id: int
    error_code: int
    additional_data: bytes


@attrs.define
class WindowUpdateFrame:
    """WINDOW_UPDATE (6.9); the increment may be a forbidden 0."""

    stream_id: int
    increment: int


@attrs.define
class AltSvcFrame:
    """ALTSVC (RFC 7838 section 4)."""

    stream_id: int
    origin: bytes
    field_value: bytes


@attrs.define
class OriginFrame:
    """ORIGIN (RFC 8336 section 2.1)."""

    origins: tuple[bytes, ...]
    flags: int = 0


@attrs.define
class PriorityUpdateFrame:
    """PRIORITY_UPDATE (RFC 9218 section 7.1)."""

    prioritized_stream_id: int
    field_value: bytes


@attrs.define
class UnknownFrame:
    """A frame of a type nothing here defines (5.5)."""

    type: int
    flags: int
    stream_id: int
    payload: bytes


Frame = (
    DataFrame
    | HeadersFrame
    | PushPromiseFrame
    | PriorityFrame
    | RstStreamFrame
    | SettingsFrame
    | PingFrame
    | GoAwayFrame
    | WindowUpdateFrame
    | AltSvcFrame
    | OriginFrame
    | PriorityUpdateFrame
    | UnknownFrame
)
