"""Frames to bytes (RFC 9113 section 6), and header lists encoded in wire order (RFC 7541).

`FrameWriter` collects what is to be written. What is in it is cut: it will be sent, in this order. Header lists
are encoded when they are put there, so wire order is HPACK order.

DATA, HEADERS, WINDOW_UPDATE, SETTINGS and what hyperframe does not know are packed here with struct: an object of
hyperframe's costs more than the frame. The rest is hyperframe's.
"""

from __future__ import annotations

from collections.abc import Sequence

import hyperframe.frame as hf

from ..codes import OTHER_CODE
from ..tracer import Tracer
from .compression import FieldEncoder
from .field_rules import Fields
from .frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    FRAME_HEADER_SIZE,
    HEADERS,
    ORIGIN,
    PADDED,
    PREFACE,
    PRIORITY_FLAG,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    SETTING,
    SETTINGS,
    UINT32,
    WINDOW_UPDATE,
    PriorityFields,
)
from .settings import MIN_FRAME_SIZE

__all__ = ["FrameWriter"]


class FrameWriter:
    """Frames in, bytes out. What is in here is cut: it leaves in this order.

    Args:
        tracer: is told of every frame, and what credit it gives.

    Attributes:
        max_frame_size: the largest payload the peer accepts.
        size: octets waiting to be taken.
        taken: octets that were taken so far.
        resets: how many RST_STREAMs were put here, by error code; `OTHER_CODE` has those that RFC 9113 does not define.
    """

    def __init__(self, tracer: Tracer | None = None) -> None:
        self.max_frame_size = MIN_FRAME_SIZE
        self.size = 0
        self.taken = 0
        self.resets: dict[int, int] = {}
        self._encoder = FieldEncoder()
        self._pieces: list[bytes | memoryview] = []
        self._tracer = tracer
        self._on_frame = None if tracer is None else tracer.on_frame_sent
        self._now = float if tracer is None else tracer.now

    def take(self, amount: int | None = None) -> bytes:
        """Everything that waits, joined once; or its first `amount` octets."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        if amount is not None and amount < len(data):
            self._pieces.append(data[amount:])
            data = data[:amount]
        self.size -= len(data)
        self.taken += len(data)
        if self._tracer is not None:
            self._tracer.taken()
        return data

    def set_max_frame_size(self, size: int) -> None:
        """The peer's SETTINGS_MAX_FRAME_SIZE (6.5.2)."""
        self.max_frame_size = size

    def set_header_table_size(self, size: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE (RFC 7541 section 4.2)."""
        self._encoder.set_table_size(size)

    def _frame(self, type_: int, flags: int, stream_id: int, payload: bytes | memoryview) -> None:
        length = len(payload)
        header = FRAME_HEADER.pack(length >> 8, length & 0xFF, type_, flags, stream_id)
        self._pieces.append(header)
        if length:
            self._pieces.append(payload)
        self.size += FRAME_HEADER_SIZE + length
        on_frame = self._on_frame
        if on_frame is not None:
            now = self._now
            on_frame((now(), True, header))

    def _hyperframe(self, frame: hf.Frame) -> None:
        data = frame.serialize()
        self._pieces.append(data)
        self.size += len(data)
        on_frame = self._on_frame
        if on_frame is not None:
            on_frame((self._now(), True, data[:FRAME_HEADER_SIZE]))

    def preface(self) -> None:
        """The client's 24 octets (RFC 9113 section 3.4)."""
        self._pieces.append(PREFACE)
        self.size += len(PREFACE)

    def headers(
        self, stream_id: int, fields: Fields, *, end_stream: bool, priority: PriorityFields | None = None
    ) -> None:
        """HEADERS, and CONTINUATIONs when the block needs them (6.2, 6.10)."""
        flags = END_STREAM if end_stream else 0
        if priority is None:
            self._encoded_block(HEADERS, flags, stream_id, self._encoder.encode(fields))
            return
        start = UINT32.pack(priority.depends_on | priority.exclusive << 31) + bytes([priority.weight - 1])
        self._field_block(HEADERS, flags | PRIORITY_FLAG, stream_id, start, fields)

    def push_promise(self, stream_id: int, promised_stream_id: int, fields: Fields) -> None:
        """PUSH_PROMISE, and CONTINUATIONs when the block needs them (6.6)."""
        self._field_block(PUSH_PROMISE, 0, stream_id, UINT32.pack(promised_stream_id), fields)

    def _field_block(self, type_: int, flags: int, stream_id: int, start: bytes, fields: Fields) -> None:
        self._encoded_block(type_, flags, stream_id, start + self._encoder.encode(fields))

    def _encoded_block(self, type_: int, flags: int, stream_id: int, block: bytes) -> None:
        limit = self.max_frame_size
        if len(block) <= limit:
            self._frame(type_, flags | END_HEADERS, stream_id, block)
            return
        self._frame(type_, flags, stream_id, block[:limit])
        for offset in range(limit, len(block), limit):
            last = offset + limit >= len(block)
            self._frame(CONTINUATION, END_HEADERS if last else 0, stream_id, block[offset : offset + limit])

    def data(
        self, stream_id: int, data: bytes | memoryview, *, end_stream: bool, pad_length: int | None = None
    ) -> None:
        """DATA (6.1); the caller has counted it against both windows and kept to the maximum frame size."""
        flags = END_STREAM if end_stream else 0
        if pad_length is not None:
            flags |= PADDED
            data = b"".join((bytes([pad_length]), data, bytes(pad_length)))
        self._frame(DATA, flags, stream_id, data)

    def data_frames(self, stream_id: int, data: bytes | memoryview, size: int, *, end_stream: bool) -> int:
        """The fast path of large bodies: what `data` put here for each `size` octets, in one step; how many frames."""
        view = memoryview(data)
        length = len(view)
        full = FRAME_HEADER.pack(size >> 8, size & 0xFF, DATA, 0, stream_id)
        last = (length - 1) // size * size
        rest = length - last
        pieces = self._pieces
        for start in range(0, last, size):
            pieces.append(full)
            pieces.append(view[start : start + size])
        end = FRAME_HEADER.pack(rest >> 8, rest & 0xFF, DATA, END_STREAM if end_stream else 0, stream_id)
        pieces.append(end)
        pieces.append(view[last:])
        frames = last // size + 1
        self.size += frames * FRAME_HEADER_SIZE + length
        on_frame = self._on_frame
        if on_frame is not None:
            now = self._now
            for _ in range(frames - 1):
                on_frame((now(), True, full))
            on_frame((now(), True, end))
        return frames

    def whole_message(self, stream_id: int, fields: Fields, body: bytes) -> None:
        """The fast path of most responses: what `headers` and then `data`, with END_STREAM, put here, in one step."""
        block, length = self._encoder.encode(fields), len(body)
        size = len(block)
        if size > self.max_frame_size:
            self._encoded_block(HEADERS, 0, stream_id, block)
            self.data(stream_id, body, end_stream=True)
            return
        pack = FRAME_HEADER.pack
        headers = pack(size >> 8, size & 0xFF, HEADERS, END_HEADERS, stream_id)
        data = pack(length >> 8, length & 0xFF, DATA, END_STREAM, stream_id)
        self._pieces += (headers, block, data, body)
        self.size += 2 * FRAME_HEADER_SIZE + size + length
        on_frame = self._on_frame
        if on_frame is not None:
            now = self._now
            at = now()
            on_frame((at, True, headers))
            on_frame((at, True, data))

    def priority(self, stream_id: int, priority: PriorityFields) -> None:
        """PRIORITY (6.3)."""
        self._hyperframe(
            hf.PriorityFrame(
                stream_id,
                depends_on=priority.depends_on,
                stream_weight=priority.weight - 1,
                exclusive=priority.exclusive,
            )
        )

    def rst_stream(self, stream_id: int, error_code: int) -> None:
        """RST_STREAM (6.4)."""
        code = min(error_code, OTHER_CODE)
        self.resets[code] = self.resets.get(code, 0) + 1
        self._hyperframe(hf.RstStreamFrame(stream_id, error_code))

    def settings(self, values: Sequence[tuple[int, int]]) -> None:
        """SETTINGS (6.5)."""
        self._frame(SETTINGS, 0, 0, b"".join(SETTING.pack(code, value) for code, value in values))

    def settings_ack(self) -> None:
        """SETTINGS with ACK (6.5.3)."""
        self._frame(SETTINGS, ACK, 0, b"")

    def ping(self, payload: bytes, *, ack: bool) -> None:
        """PING (6.7)."""
        self._hyperframe(hf.PingFrame(0, payload, flags=("ACK",) if ack else ()))

    def goaway(self, last_stream_id: int, error_code: int, additional_data: bytes = b"") -> None:
        """GOAWAY (6.8)."""
        self._hyperframe(hf.GoAwayFrame(0, last_stream_id, error_code, additional_data))

    def window_update(self, stream_id: int, increment: int) -> None:
        """WINDOW_UPDATE (6.9)."""
        self._frame(WINDOW_UPDATE, 0, stream_id, UINT32.pack(increment))
        if self._tracer is not None:
            self._tracer.credit_given(stream_id, increment)

    def altsvc(self, stream_id: int, origin: bytes, field_value: bytes) -> None:
        """ALTSVC (RFC 7838 section 4)."""
        self._hyperframe(hf.AltSvcFrame(stream_id, origin, field_value))

    def origin(self, origins: Sequence[bytes]) -> None:
        """ORIGIN (RFC 8336 section 2.1)."""
        self._frame(ORIGIN, 0, 0, b"".join(len(origin).to_bytes(2, "big") + origin for origin in origins))

    def priority_update(self, prioritized_stream_id: int, field_value: bytes) -> None:
        """PRIORITY_UPDATE (RFC 9218 section 7.1)."""
        self._frame(PRIORITY_UPDATE, 0, 0, UINT32.pack(prioritized_stream_id) + field_value)
