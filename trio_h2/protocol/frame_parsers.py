"""The payloads of frames that stand for themselves (RFC 9113 section 6, RFC 7838, 8336, 9218): octets in, frames out.

DATA and the frames of a field block are the FrameReader's own: padding, and what is gathered over several frames.
"""

from __future__ import annotations

from collections.abc import Callable

import hyperframe.exceptions
import hyperframe.frame as hf

from ..codes import ErrorCodes
from ..exceptions import FrameDataMissingError
from .frames import (
    ACK,
    ALTSVC,
    GOAWAY,
    ORIGIN,
    PING,
    PRIORITY,
    PRIORITY_UPDATE,
    RST_STREAM,
    SETTING,
    SETTINGS,
    STREAM_MASK,
    UINT32,
    WINDOW_UPDATE,
    AltSvcFrame,
    Frame,
    GoAwayFrame,
    OriginFrame,
    PingFrame,
    PriorityFields,
    PriorityFrame,
    PriorityUpdateFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from .limits import MAX_ORIGINS, too_many_settings
from .verdicts import IGNORE, ConnectionFailure, StreamFailure, Verdict

__all__ = ["CLIENT_PARSERS", "SERVER_PARSERS", "Parsed", "priority_fields", "size_error"]

Parsed = Frame | Verdict | None

Parser = Callable[[int, int, bytes], Parsed]
"""Flags, stream ID and payload in; a Frame or a verdict out. The payload has the length that its type asks for."""


def size_error(reason: str) -> ConnectionFailure:
    """A frame whose length cannot be that of its type."""
    return ConnectionFailure(ErrorCodes.FRAME_SIZE_ERROR, reason, FrameDataMissingError)


def priority_fields(payload: bytes) -> PriorityFields:
    """The five octets of PRIORITY (6.3), and of HEADERS that have them (6.2)."""
    dependency = UINT32.unpack_from(payload)[0]
    return PriorityFields(dependency & STREAM_MASK, payload[4] + 1, bool(dependency >> 31))


def _priority(flags: int, stream_id: int, payload: bytes) -> Parsed:
    if len(payload) != 5:
        return StreamFailure(stream_id, ErrorCodes.FRAME_SIZE_ERROR, "a PRIORITY frame is 5 octets")
    return PriorityFrame(stream_id, priority_fields(payload))


def _rst_stream(flags: int, stream_id: int, payload: bytes) -> Parsed:
    return RstStreamFrame(stream_id, UINT32.unpack(payload)[0])


def _settings(flags: int, stream_id: int, payload: bytes) -> Parsed:
    if flags & ACK:
        return size_error("a SETTINGS acknowledgement with a payload") if payload else SettingsFrame(True, [])
    if len(payload) % 6:
        return size_error("a SETTINGS frame is a multiple of 6 octets")
    failure = too_many_settings(len(payload) // 6)
    if failure is not None:
        return failure
    return SettingsFrame(False, list(SETTING.iter_unpack(payload)))


def _ping(flags: int, stream_id: int, payload: bytes) -> Parsed:
    return PingFrame(bool(flags & ACK), payload)


def _goaway(flags: int, stream_id: int, payload: bytes) -> Parsed:
    frame = hf.GoAwayFrame(0)
    frame.parse_body(memoryview(payload))
    return GoAwayFrame(frame.last_stream_id & STREAM_MASK, frame.error_code, frame.additional_data)


def _window_update(flags: int, stream_id: int, payload: bytes) -> Parsed:
    return WindowUpdateFrame(stream_id, UINT32.unpack(payload)[0] & STREAM_MASK)


def _altsvc(flags: int, stream_id: int, payload: bytes) -> Parsed:
    frame = hf.AltSvcFrame(stream_id)
    try:
        frame.parse_body(memoryview(payload))
    except hyperframe.exceptions.HyperframeError:
        return size_error("an ALTSVC frame shorter than its origin")
    # RFC 7838 section 4: an origin on a stream, or none on stream 0, makes the frame invalid: ignore it.
    return IGNORE if bool(frame.origin) == bool(stream_id) else AltSvcFrame(stream_id, frame.origin, frame.field)


def _origin(flags: int, stream_id: int, payload: bytes) -> Parsed:
    # RFC 8336 section 2.2: not on stream 0, or with flags among the low four, it is ignored.
    if stream_id or flags & 0x0F:
        return IGNORE
    origins: list[bytes] = []
    offset = 0
    while offset < len(payload):
        end = offset + 2 + int.from_bytes(payload[offset : offset + 2], "big")
        if end > len(payload):
            return size_error("an ORIGIN frame shorter than its entries")
        if len(origins) == MAX_ORIGINS:
            return IGNORE
        origins.append(payload[offset + 2 : end])
        offset = end
    return OriginFrame(tuple(origins), flags)


def _priority_update(flags: int, stream_id: int, payload: bytes) -> Parsed:
    return PriorityUpdateFrame(UINT32.unpack_from(payload)[0] & STREAM_MASK, payload[4:])


def _ignore(flags: int, stream_id: int, payload: bytes) -> Parsed:
    return IGNORE


SERVER_PARSERS: dict[int, Parser] = {
    PRIORITY: _priority,
    RST_STREAM: _rst_stream,
    SETTINGS: _settings,
    PING: _ping,
    GOAWAY: _goaway,
    WINDOW_UPDATE: _window_update,
    ALTSVC: _ignore,  # whatever it is (RFC 7838 section 4)
    ORIGIN: _ignore,  # likewise (RFC 8336 section 2.2)
    PRIORITY_UPDATE: _priority_update,
}

CLIENT_PARSERS = {**SERVER_PARSERS, ALTSVC: _altsvc, ORIGIN: _origin}
