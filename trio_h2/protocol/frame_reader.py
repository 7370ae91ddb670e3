"""Bytes to frames (RFC 9113 sections 4 and 6), and field blocks decoded in wire order (RFC 7541).

`FrameReader` turns what the transport gave into `Frame` values. A frame's length is judged when its nine octets
of header are there, before a byte of its payload is kept. A field block is joined from HEADERS or PUSH_PROMISE and
its CONTINUATIONs, and decoded when it is whole: there is one decoder, and it sees every block in wire order,
also those of streams that nobody listens to any more. What breaks a rule of framing comes out as a verdict in the
place where the frame would have been; after a ConnectionFailure nothing more comes.

DATA, HEADERS, WINDOW_UPDATE and SETTINGS are unpacked with struct, here and in `frame_parsers.py`: the first three
because an object of hyperframe's costs more than the frame, SETTINGS because the order and repetition of its pairs
matters (6.5.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import hpack

from ..codes import ErrorCodes
from ..exceptions import FrameTooLargeError
from ..tracer import Tracer
from .compression import FieldDecoder
from .data_run import LEAST, DataRun
from .field_section import STRICT, FieldSection, InboundRules
from .frame_parsers import CLIENT_PARSERS, SERVER_PARSERS, Parsed, priority_fields, size_error
from .frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    FRAME_HEADER_SIZE,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_FLAG,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_MASK,
    UINT32,
    WINDOW_UPDATE,
    DataFrame,
    FieldBlock,
    Frame,
    HeadersFrame,
    PushPromiseFrame,
    UnknownFrame,
)
from .limits import HeaderLimits, too_many_fields
from .settings import MIN_FRAME_SIZE
from .verdicts import ConnectionFailure, Verdict, protocol_error

__all__ = ["FrameReader"]

_ON_STREAM = frozenset((DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, CONTINUATION))
_ON_CONNECTION = frozenset((SETTINGS, PING, GOAWAY, PRIORITY_UPDATE))
_FIXED_LENGTH = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_MIN_LENGTH = {PUSH_PROMISE: 4, GOAWAY: 8, PRIORITY_UPDATE: 4}


def _unpadded_untrusted(flags: int, payload: bytes) -> bytes | ConnectionFailure:
    if not flags & PADDED:
        return payload
    if not payload:
        return size_error("a padded frame without its pad length")
    if payload[0] >= len(payload):
        return protocol_error("padding as long as the frame or longer")
    return payload[1 : len(payload) - payload[0]]


class FrameReader:
    """Bytes in, frames and verdicts out.

    Args:
        limits: what field blocks and sections are held to.
        rules: as far as they concern this side.
        expect_preface: Whether a client's preface comes first.
        tracer: is told of each frame when it is there, before it is parsed, and of one whose header breaks a rule.
        joins_data: Whether DATA frames of one stream that follow each other come out as a DataRun, if they are large.

    Attributes:
        max_frame_size: the largest payload we accept: our SETTINGS_MAX_FRAME_SIZE in force.
    """

    def __init__(
        self,
        limits: HeaderLimits,
        rules: InboundRules = STRICT,
        *,
        expect_preface: bool,
        tracer: Tracer | None = None,
        joins_data: bool = False,
    ) -> None:
        self.max_frame_size = MIN_FRAME_SIZE
        self._limits = limits
        self._decoder = FieldDecoder(limits, rules)
        self._parsers = SERVER_PARSERS if expect_preface else CLIENT_PARSERS
        self._tracer = tracer
        self._on_frame = None if tracer is None else tracer.on_frame_received
        self._on_data = None if tracer is None else tracer.on_data_received
        self._run_from = LEAST if joins_data else math.inf
        self._preface = PREFACE if expect_preface else b""
        self._parts: list[bytes] = []
        self._have = 0
        self._need = FRAME_HEADER_SIZE
        self._block: FieldBlock | None = None
        self._first = True
        self._settings_first = rules.settings_first

    def set_max_frame_size(self, size: int) -> None:
        """Our SETTINGS_MAX_FRAME_SIZE was acknowledged (6.5.2)."""
        self.max_frame_size = size

    def set_header_table_size(self, size: int) -> None:
        """Our SETTINGS_HEADER_TABLE_SIZE was acknowledged (RFC 7541 section 4.2)."""
        self._decoder.set_max_table_size(size)

    @property
    def max_header_list_size(self) -> int:
        """The largest field section that is taken."""
        return self._decoder.max_list_size

    def set_max_header_list_size(self, size: int) -> None:
        """Our SETTINGS_MAX_HEADER_LIST_SIZE was acknowledged (6.5.2)."""
        self._decoder.set_max_list_size(size)

    def set_rules(self, rules: InboundRules) -> None:
        """The header sections that follow are held to these rules; what they say of the first frame is past."""
        self._decoder.set_rules(rules)

    def feed(self, data: bytes) -> Iterator[Frame | DataRun | Verdict]:
        """Give what the transport gave; iterate what it holds.

        A generator: a setting that one frame changes is in force when the next is parsed. Run it to its end.
        """
        at, on_frame = 0.0, self._on_frame
        if self._tracer is not None:
            at = self._tracer.read_began()
        self._parts.append(data)
        self._have += len(data)
        if self._preface:
            failure = self._match_preface()
            if failure is not None:
                yield failure
                return
        if self._preface or self._have < self._need:
            return
        if self._first and b"".join(self._parts).startswith(b"HTTP/"):
            yield protocol_error("the peer answers in HTTP/1.x: it does not speak HTTP/2 here")
            return
        run: DataRun | None = None
        for buffer, offset in self._whole_buffers(data):
            while True:
                if len(buffer) - offset < FRAME_HEADER_SIZE:
                    self._need = FRAME_HEADER_SIZE
                    break
                high, low, type_, flags, stream_id = FRAME_HEADER.unpack_from(buffer, offset)
                length = high << 8 | low
                stream_id &= STREAM_MASK
                if run is not None and not run.continues(type_, flags, stream_id, length):
                    yield run
                    run = None
                if not self._is_ordinary(length, type_, stream_id):
                    failure = self._judge_header(length, type_, flags, stream_id)
                    if failure is not None:
                        if run is not None:
                            yield run
                        if on_frame is not None:
                            on_frame((at, False, buffer[offset : offset + FRAME_HEADER_SIZE]))
                        yield failure
                        return
                end = offset + FRAME_HEADER_SIZE + length
                if len(buffer) < end:
                    self._need = FRAME_HEADER_SIZE + length
                    break
                if on_frame is not None:
                    on_frame((at, False, buffer[offset : offset + FRAME_HEADER_SIZE]))
                    if type_ == DATA and self._on_data is not None:
                        self._on_data(stream_id, length)
                payload_at, offset = offset + FRAME_HEADER_SIZE, end
                if run is None and type_ == DATA and length >= self._run_from and not flags & PADDED:
                    run = DataRun(stream_id)
                if run is not None:
                    run.add(memoryview(buffer)[payload_at:end], end_stream=bool(flags & END_STREAM))
                    continue
                payload = buffer[payload_at:end]
                parser = _PARSERS.get(type_)
                if parser is not None:
                    parsed = parser(self, flags, stream_id, payload)
                elif type_ in self._parsers:
                    parsed = self._parsers[type_](flags, stream_id, payload)
                else:
                    parsed = UnknownFrame(type_, flags, stream_id, payload)
                if parsed is not None:
                    yield parsed
                    if self._decoder.candidate is not None:
                        self._decoder.settle()
                    if type(parsed) is ConnectionFailure:
                        return
            rest = buffer[offset:] if offset else buffer
            self._parts = [rest] if rest else []
            self._have = len(rest)
        if run is not None:
            yield run

    def _whole_buffers(self, data: bytes) -> list[tuple[bytes, int]]:
        """What to parse, and from where on; `data` came last. A frame that came in pieces is put together alone.

        The rest of what came with its last piece is parsed where it is: joining it would copy it once more.
        """
        if len(self._parts) == 1:
            return [(self._parts[0], 0)]
        if self._need == FRAME_HEADER_SIZE:  # where the frame ends is not known yet
            return [(b"".join(self._parts), 0)]
        end = len(data) - (self._have - self._need)
        self._parts[-1] = data[:end]
        return [(b"".join(self._parts), 0), (data, end)]

    def _match_preface(self) -> ConnectionFailure | None:
        data = b"".join(self._parts)
        count = min(len(data), len(self._preface))
        if data[:count] != self._preface[:count]:
            return protocol_error("the client's connection preface is wrong")
        self._preface = self._preface[count:]
        self._parts = [data[count:]]
        self._have = len(data) - count
        return None

    def _is_ordinary(self, length: int, type_: int, stream_id: int) -> bool:
        """DATA or HEADERS of a stream, in the middle of a connection: no rule of `_judge_header` is about those."""
        return (
            type_ <= HEADERS
            and stream_id > 0
            and length <= self.max_frame_size
            and self._block is None
            and not self._first
        )

    def _judge_header(self, length: int, type_: int, flags: int, stream_id: int) -> ConnectionFailure | None:
        """Every rule that the nine octets of a frame's header can break; the payload is not there yet."""
        if self._first and self._settings_first and (type_ != SETTINGS or flags & ACK):
            return protocol_error("the first frame is not SETTINGS")
        if length > self.max_frame_size:
            reason = f"a frame of {length} octets, SETTINGS_MAX_FRAME_SIZE is {self.max_frame_size}"
            return ConnectionFailure(ErrorCodes.FRAME_SIZE_ERROR, reason, FrameTooLargeError)
        self._first = False
        if self._block is not None and (type_ != CONTINUATION or stream_id != self._block.stream_id):
            return protocol_error("a field block was interrupted")
        if stream_id == 0:
            if type_ in _ON_STREAM:
                return protocol_error(f"a frame of type {type_:#x} on stream 0")
        elif type_ in _ON_CONNECTION:
            return protocol_error(f"a frame of type {type_:#x} on stream {stream_id}")
        fixed = _FIXED_LENGTH.get(type_)
        if fixed is not None:
            # A PRIORITY of the wrong length is a stream error (6.3), which its parser reports.
            if length != fixed and type_ != PRIORITY:
                return size_error(f"a frame of type {type_:#x} and {length} octets")
        elif length < _MIN_LENGTH.get(type_, 0):
            return size_error(f"a frame of type {type_:#x} and {length} octets")
        return None

    # One method for each frame type: flags, stream ID and payload in, a Frame or a verdict out.

    def _data(self, flags: int, stream_id: int, payload: bytes) -> Parsed:
        end_stream = bool(flags & END_STREAM)
        if not flags & PADDED:
            return DataFrame(stream_id, payload, len(payload), end_stream)
        data = _unpadded_untrusted(flags, payload)
        if isinstance(data, ConnectionFailure):
            return data
        return DataFrame(stream_id, data, len(payload), end_stream)

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> Parsed:
        if flags & (PADDED | PRIORITY_FLAG | END_HEADERS) == END_HEADERS:
            # Most are this: a block, nothing around it, and nothing to gather it in.
            section = self._decoder.known(payload) or self._whole_block(payload)
            if isinstance(section, ConnectionFailure):
                return section
            return HeadersFrame(stream_id, section, bool(flags & END_STREAM))
        fragment = _unpadded_untrusted(flags, payload)
        if isinstance(fragment, ConnectionFailure):
            return fragment
        priority = None
        if flags & PRIORITY_FLAG:
            if len(fragment) < 5:
                return size_error("a HEADERS frame without room for its priority fields")
            priority = priority_fields(fragment)
            fragment = fragment[5:]
        end_stream = bool(flags & END_STREAM)

        def build(section: FieldSection) -> HeadersFrame:
            return HeadersFrame(stream_id, section, end_stream, priority)

        return self._fragment(FieldBlock(stream_id, build), fragment, flags)

    def _whole_block(self, block: bytes) -> FieldSection | ConnectionFailure:
        """A block that came in one frame, and is not remembered, as those are that are within limits."""
        return self._limits.block(len(block), 0) or self._decode(block)

    def _push_promise(self, flags: int, stream_id: int, payload: bytes) -> Parsed:
        fragment = _unpadded_untrusted(flags, payload)
        if isinstance(fragment, ConnectionFailure):
            return fragment
        if len(fragment) < 4:
            return size_error("a PUSH_PROMISE frame without room for the promised stream ID")
        promised = UINT32.unpack_from(fragment)[0] & STREAM_MASK

        def build(section: FieldSection) -> PushPromiseFrame:
            return PushPromiseFrame(stream_id, promised, section)

        return self._fragment(FieldBlock(stream_id, build), fragment[4:], flags)

    def _continuation(self, flags: int, stream_id: int, payload: bytes) -> Parsed:
        if self._block is None:
            return protocol_error("CONTINUATION without a field block")
        return self._fragment(self._block, payload, flags, continuation=True)

    def _fragment(self, block: FieldBlock, fragment: bytes, flags: int, *, continuation: bool = False) -> Parsed:
        block.add(fragment, continuation=continuation)
        failure = self._limits.block(block.size, block.continuations)
        if failure is not None:
            return failure
        if not flags & END_HEADERS:
            self._block = block
            return None
        self._block = None
        section = self._decode(b"".join(block.fragments))
        return section if isinstance(section, ConnectionFailure) else block.build(section)

    def _decode(self, block: bytes) -> FieldSection | ConnectionFailure:
        try:
            return self._decoder.decode(block)
        except hpack.OversizedHeaderListError as error:
            return too_many_fields(str(error))
        except hpack.HPACKError as error:
            return ConnectionFailure(ErrorCodes.COMPRESSION_ERROR, f"undecodable field block: {error}")


# By type; of the class, because bound methods would hold the reader that holds them.
_PARSERS: dict[int, Callable[[FrameReader, int, int, bytes], Parsed]] = {
    DATA: FrameReader._data,
    HEADERS: FrameReader._headers,
    PUSH_PROMISE: FrameReader._push_promise,
    CONTINUATION: FrameReader._continuation,
}
