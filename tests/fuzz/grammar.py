"""Octets to frames: what a fuzzer changes is decisions, so that what comes out is nearly always a frame of its type.

A `Source` gives the octets of one input, one decision each; when they are used up it gives zeros. A `Wire` makes the
frames of one peer from them. It knows which streams there are and what is in HPACK's table, so most of what it makes
is in order and reaches deep; in a wild mood it is wrong in any way, and some frames are nothing but octets.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from hpack.hpack import encode_integer
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
SETTINGS_ACK = b"\0\0\0\x04\x01\0\0\0\0"

_HEADER = struct.Struct(">HBBBL")
_UINT32 = struct.Struct(">L")
_SETTING = struct.Struct(">HL")
_HUFFMAN = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)

Field = tuple[bytes, bytes]


class Source:
    """The octets of one input, as decisions."""

    __slots__ = ("_at", "_octets")

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    @property
    def left(self) -> bool:
        """Is there something left to decide by?"""
        return self._at < len(self._octets)

    def octet(self) -> int:
        """The next octet; 0 at the end."""
        at = self._at
        if at >= len(self._octets):
            return 0
        self._at = at + 1
        return self._octets[at]

    def take(self, count: int) -> bytes:
        """So many octets, or fewer at the end."""
        at = self._at
        self._at = at + count
        return self._octets[at : at + count]


def raw(type_: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One frame."""
    length = len(payload)
    return _HEADER.pack(length >> 8 & 0xFFFF, length & 0xFF, type_, flags, stream_id) + payload


# Field blocks


def string(text: bytes, huffman: bool) -> bytes:
    """A string literal (RFC 7541 section 5.2)."""
    if huffman:
        text = _HUFFMAN.encode(text)
    length = encode_integer(len(text), 7)
    if huffman:
        length[0] |= 0x80
    return bytes(length) + text


def literal(kind: int, name: bytes, value: bytes, *, huffman: bool = False) -> bytes:
    """A literal with a new name (RFC 7541 section 6.2)."""
    return bytes([kind]) + string(name, huffman) + string(value, huffman)


INDEXED, PLAIN, NEVER = 0x40, 0x00, 0x10


def block(*fields: Field) -> bytes:
    """Fields as literals that leave the table alone."""
    return b"".join([literal(PLAIN, name, value) for name, value in fields])


GET: tuple[Field, ...] = (
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"example.org"),
    (b":path", b"/"),
)
POST = ((b":method", b"POST"), *GET[1:])
REQUESTS: list[tuple[Field, ...]] = [
    GET,
    POST,
    ((b":method", b"HEAD"), *GET[1:]),
    (*POST, (b"content-length", b"5")),
    (*POST, (b"content-length", b"0")),
    ((b":method", b"CONNECT"), (b":authority", b"example.org:443")),
    ((b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:]),
    ((b":method", b"OPTIONS"), *GET[1:3], (b":path", b"*")),
]
RESPONSES: list[tuple[Field, ...]] = [
    ((b":status", b"200"),),
    ((b":status", b"200"), (b"content-length", b"5")),
    ((b":status", b"103"), (b"link", b"</a>")),
    ((b":status", b"100"),),
    ((b":status", b"204"),),
    ((b":status", b"304"), (b"content-length", b"9")),
    ((b":status", b"404"), (b"content-length", b"0")),
    ((b":status", b"599"),),
]
EXTRA: list[Field] = [
    (b"x-a", b"1"),
    (b"accept", b"*/*"),
    (b"cookie", b"a=1"),
    (b"cookie", b"b=" + b"2" * 30),
    (b"priority", b"u=1, i"),
    (b"priority", b"u=9, u=" + b"?" * 60),
    (b"te", b"trailers"),
    (b"user-agent", b"fuzz/1.0 (like every other)"),
]
WRONG: list[Field] = [
    (b"te", b"gzip"),
    (b"X-Upper", b"1"),
    (b"connection", b"close"),
    (b"x-space", b" 1"),
    (b"x-nul", b"a\0b"),
    (b"", b"no name"),
    (b":path", b"/again"),
    (b":status", b"101"),
    (b":colour", b"red"),
    (b"host", b"example.com"),
    (b"content-length", b"5"),
    (b"content-length", b"6, 6"),
    (b"content-length", b"0," * 600 + b"0"),
    (b"priority", b"u=1," * 600),
    (b"cookie", b"c" * 3000),
    (b"x-big", bytes(2500)),
]
_REQUEST_BLOCKS = [block(*fields) for fields in REQUESTS]
_RESPONSE_BLOCKS = [block(*fields) for fields in RESPONSES]
# Small: forty of those that go into the table fit into its 4,096 octets, so the latest forty are always there.
_EXTRA_PIECES = [
    (literal(kind, name, value, huffman=huffman), kind == INDEXED)
    for name, value in EXTRA
    for kind in (INDEXED, INDEXED, PLAIN, NEVER)
    for huffman in (False, True)
]
_WRONG_PIECES = [literal(kind, name, value) for name, value in WRONG for kind in (INDEXED, PLAIN)]
_ALWAYS_THERE = 40
_EMPTY_TABLE = b"\x20\x3f\xe1\x1f"  # to 0, and back to 4,096 (RFC 7541 section 6.3)

# Frames

DATA_SIZES = [0, 1, 3, 5, 5, 9, 100, 900, 2000, 16_384]
INCREMENTS = [1, 1, 5, 1000, 65_535, 2**20, 2**30, 2**31 - 1, 0]
ERROR_CODES = [0, 1, 2, 5, 7, 8, 8, 8, 11, 13, 99, 2**32 - 1]
SETTING_VALUES: list[tuple[int, Sequence[int]]] = [
    (1, (0, 100, 4096, 65_536)),
    (2, (0, 0, 1)),
    (3, (0, 1, 100, 2**32 - 1)),
    (4, (0, 1, 65_535, 2**20, 2**31 - 1)),
    (5, (16_384, 16_385, 2**24 - 1)),
    (6, (0, 100, 65_536)),
    (8, (1,)),
    (9, (1,)),
    (0x77, (0, 1)),
]
ODD_IDS = [0, 1, 2, 3, 4, 5, 7, 99, 2**31 - 1, 2**31 + 1]
ANY_TYPE = [*range(10), 0x0A, 0x0C, 0x10, 0x77]
FLAGS = [0, 1, 4, 5, 8, 9, 0xC, 0xD, 0x20, 0x24, 0x25, 0x2C, 0xFF]
FIELD_VALUES = [b"u=1", b"u=0, i", b"i", b"?", b"", b"u=9,i=?2", b"u=1," * 50]


class Wire:
    """What one peer sends.

    Attributes:
        client: is that peer the client?
        wild: does it often break rules, too?
        highest: the highest stream ID that requests have.
        promised: the highest stream ID that was promised.
        live: the streams that the receiver has now, as far as whoever feeds it says so.
        unacknowledged: SETTINGS of the receiver's that no acknowledgement was sent for.
        frames: how many frames were made.
    """

    def __init__(self, source: Source, *, client: bool, wild: bool) -> None:
        self.client = client
        self.wild = wild
        self.highest = 1 if not client else -1
        self.promised = 0
        self.live: Sequence[int] = ()
        self.unacknowledged = 0
        self.frames = 0
        self._source = source
        self._entries = 0
        self._answered: set[int] = set()

    def greeting(self) -> bytes:
        """What a peer in order sends first."""
        self.frames += 2
        return (PREFACE if self.client else b"") + SETTINGS + SETTINGS_ACK

    def frame(self) -> bytes:
        """The next frame; a field block may make it several."""
        self.frames += 1
        choice = self._source.octet()
        if self.wild and choice & 1:
            return _WILD_MAKERS[choice >> 1 & 7](self)
        if self.highest < 0:  # a stream first, or every frame is on an idle one
            return self._request()
        return _MAKERS[choice >> 1](self)

    def _stream_id(self) -> int:
        """Nearly always one of the latest streams."""
        choice = self._source.octet()
        if choice < 160 and self.live:
            return self.live[choice % len(self.live)]
        if choice < 200:
            return max(1, self.highest - 2 * (choice & 3))
        if choice < 250 or not self.wild:
            return max(2, self.promised) if self.promised else max(1, self.highest)
        return ODD_IDS[choice % len(ODD_IDS)]

    def block(self, base: bytes) -> bytes:
        """A field block that begins with `base`."""
        source = self._source
        choice = source.octet()
        pieces = [base]
        if choice >= 250:
            pieces.insert(0, _EMPTY_TABLE)
            self._entries = 0
        for _ in range(choice & 3):
            which = source.octet()
            if which < 96 and self._entries:
                # 61 entries are static, and the table's first is 62 (RFC 7541 section 2.3.3).
                pieces.append(bytes([0x80 | 62 + which % min(self._entries, _ALWAYS_THERE)]))
            elif self.wild and which >= 192:
                pieces.append(self._wrong_piece(which))
            else:
                piece, indexed = _EXTRA_PIECES[which % len(_EXTRA_PIECES)]
                pieces.append(piece)
                self._entries += indexed
        return b"".join(pieces)

    def _wrong_piece(self, which: int) -> bytes:
        if which >= 248:
            return self._source.take(which & 7)
        self._entries = 0  # a large one may have pushed out any
        return _WRONG_PIECES[which % len(_WRONG_PIECES)]

    def _headers(self) -> bytes:
        source = self._source
        choice = source.octet()
        flags = choice >> 7
        if self.client and choice & 0x40:
            return self._request()
        stream_id = self._stream_id()
        trailers = self.client or (stream_id in self._answered and choice & 3 != 3)
        if trailers:
            fields = self.block(b"")
            flags = 1
        else:
            which = source.octet() & 7
            if which not in (2, 3):  # those are interim, and do not end a stream
                self._answered.add(stream_id)
            elif not self.wild:
                flags = 0
            fields = self.block(_RESPONSE_BLOCKS[which])
        if choice & 0x3C:
            return raw(1, flags | 4, stream_id, fields)
        return self._decorated(flags, stream_id, fields)

    def _request(self) -> bytes:
        choice = self._source.octet()
        self.highest += 2
        fields = self.block(_REQUEST_BLOCKS[choice & 7])
        flags = choice >> 7
        if choice & 0x38:
            return raw(1, flags | 4, self.highest, fields)
        return self._decorated(flags, self.highest, fields)

    def _decorated(self, flags: int, stream_id: int, fields: bytes) -> bytes:
        """With priority fields, with padding, or in pieces."""
        choice = self._source.octet()
        if choice & 1:
            fields = _UINT32.pack(choice) + bytes([choice]) + fields
            flags |= 0x20
        cut = 6 + (choice >> 3)
        if choice & 2:
            fields = bytes([choice & 0xF]) + fields + bytes(choice & 0xF)
            flags |= 8
        if choice & 6 != 4 or cut >= len(fields):
            return raw(1, flags | 4, stream_id, fields)
        self.frames += 1
        return raw(1, flags, stream_id, fields[:cut]) + raw(9, 4, stream_id, fields[cut:])

    def _data(self) -> bytes:
        choice = self._source.octet()
        stream_id = self._stream_id()
        if not (self.client or self.wild or stream_id in self._answered):
            return self._headers()
        size = DATA_SIZES[choice % 7 if choice & 0xF else choice >> 4 & 7]
        if choice == 0x80:
            size = DATA_SIZES[-1]
        if choice & 0x30 == 0x30:
            return raw(0, 8 | choice >> 7, stream_id, bytes([choice & 7]) + bytes(size + (choice & 7)))
        return raw(0, choice >> 7, stream_id, bytes(size))

    def _window_update(self) -> bytes:
        choice = self._source.octet()
        increment = INCREMENTS[choice % (len(INCREMENTS) if self.wild else 5)]
        return raw(8, 0, 0 if choice & 0x80 else self._stream_id(), _UINT32.pack(increment))

    def _rst_stream(self) -> bytes:
        code = ERROR_CODES[self._source.octet() % len(ERROR_CODES)]
        return raw(3, 0, self._stream_id(), _UINT32.pack(code))

    def _settings(self) -> bytes:
        pairs = []
        for _ in range(self._source.octet() & 3):
            choice = self._source.octet()
            code, values = SETTING_VALUES[choice % len(SETTING_VALUES)]
            # A server says nothing of push (RFC 9113 section 6.5.2), and the last known one may not change at all.
            if not self.wild and (code == 9 or (code == 2 and not self.client)):
                continue
            pairs.append(_SETTING.pack(code, values[(choice >> 4) % len(values)]))
        return raw(4, 0, 0, b"".join(pairs))

    def _settings_ack(self) -> bytes:
        if not self.unacknowledged and not self.wild:
            return self._settings()
        self.unacknowledged -= 1
        return SETTINGS_ACK

    def _ping(self) -> bytes:
        return raw(6, self._source.octet() & 1, 0, b"12345678")

    def _goaway(self) -> bytes:
        choice = self._source.octet()
        if choice & 0x70 and not self.wild:  # seldom: no stream begins after it
            return self._ping()
        last = 2**31 - 1 if choice & 1 else max(0, self.highest)
        return raw(
            7, 0, 0, _UINT32.pack(last) + _UINT32.pack(ERROR_CODES[choice % len(ERROR_CODES)]) + b"why"[: choice & 3]
        )

    def _priority(self) -> bytes:
        choice = self._source.octet()
        return raw(2, 0, self._stream_id(), _UINT32.pack(choice & 1 and 2**31 | choice) + bytes([choice]))

    def _priority_update(self) -> bytes:
        if not self.client and not self.wild:
            return self._data()
        choice = self._source.octet()
        value = FIELD_VALUES[choice % len(FIELD_VALUES)]
        stream_id = self._stream_id() + (2 if choice & 0x80 else 0)
        return raw(0x10, 0, 0, _UINT32.pack(stream_id) + value)

    def _push_promise(self) -> bytes:
        if self.client and not self.wild:
            return self._ping()
        choice = self._source.octet()
        if not self.wild and not self.live:
            return self._data()
        self.promised += 2
        payload = _UINT32.pack(self.promised) + self.block(_REQUEST_BLOCKS[choice & 3])
        parent = next((live for live in self.live if live & 1), 1) if choice & 0x7C else self._stream_id()
        return raw(5, 4, parent, payload)

    def _altsvc(self) -> bytes:
        choice = self._source.octet()
        origin = b"https://a" if choice & 1 else b""
        stream_id = 0 if choice & 2 else self._stream_id()
        return raw(0x0A, 0, stream_id, len(origin).to_bytes(2, "big") + origin + b"clear")

    def _origin(self) -> bytes:
        return raw(0x0C, 0, 0, b"\x00\x09https://a" * (self._source.octet() & 3))

    def _unknown(self) -> bytes:
        choice = self._source.octet()
        return raw(0x77, choice, self._stream_id() if choice & 1 else 0, bytes(choice & 15))

    # Wild ones

    def _any_frame(self) -> bytes:
        source = self._source
        type_ = ANY_TYPE[source.octet() % len(ANY_TYPE)]
        flags = FLAGS[source.octet() % len(FLAGS)]
        return raw(type_, flags, self._stream_id(), source.take(source.octet() & 31))

    def _any_header(self) -> bytes:
        """A header whose length need not be that of what follows."""
        source = self._source
        return b"\0\0" + source.take(7) + source.take(source.octet() & 31)

    def _any_octets(self) -> bytes:
        return self._source.take(self._source.octet() & 31)

    def _raw_block(self) -> bytes:
        source = self._source
        flags = FLAGS[source.octet() % len(FLAGS)]
        return raw(9 if flags == 8 else 1, flags, self._stream_id(), source.take(source.octet() & 63))

    def _changed(self) -> bytes:
        """A frame in order, but for one octet."""
        octets = bytearray(_MAKERS[self._source.octet() >> 1](self))
        place = self._source.octet() % len(octets)
        octets[place] = self._source.octet()
        return bytes(octets)


Maker = Callable[[Wire], bytes]
_SHARES: list[tuple[Maker, int]] = [
    (Wire._headers, 36),
    (Wire._data, 30),
    (Wire._window_update, 14),
    (Wire._rst_stream, 8),
    (Wire._settings, 7),
    (Wire._settings_ack, 2),
    (Wire._ping, 6),
    (Wire._priority, 5),
    (Wire._priority_update, 5),
    (Wire._push_promise, 5),
    (Wire._altsvc, 3),
    (Wire._origin, 2),
    (Wire._unknown, 4),
    (Wire._goaway, 1),
]
_MAKERS: list[Maker] = [maker for maker, share in _SHARES for _ in range(share)]
_WILD_MAKERS: list[Maker] = [
    Wire._any_frame,
    Wire._any_frame,
    Wire._raw_block,
    Wire._changed,
    Wire._changed,
    Wire._changed,
    Wire._any_header,
    Wire._any_octets,
]
assert len(_MAKERS) == 128
