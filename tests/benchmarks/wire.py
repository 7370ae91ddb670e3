"""HTTP/2 requests as bytes made beforehand, and the little of HTTP/2 that it takes to count the answers.

A load in Python is fast enough for the servers measured here only if it does next to nothing while the clock runs:
so requests are encoded before, and of what comes back no more is looked at than tells that it is right.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

import hpack
from hpack.hpack import encode_integer

from tests.benchmarks.model import RefusedError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_WINDOW = 2**31 - 1

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 5, 6, 7, 8
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20

_HEAD = struct.Struct(">HBBBL")
"""A frame's nine bytes: length (two parts), type, flags, stream ID."""

STATUS_200 = 0x88
"""The first byte of a field block that begins with `:status: 200` (RFC 7541, appendix A)."""


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return _HEAD.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream_id) + payload


def opening() -> bytes:
    """What a client sends first: it will never keep a server from sending."""
    settings = struct.pack(">HL", 0x2, 0) + struct.pack(">HL", 0x4, MAX_WINDOW)
    window = struct.pack(">L", MAX_WINDOW - 65_535)
    return PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, window)


# Requests -----------------------------------------------------------------------------------------

BROWSER = (
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("accept-language", "en-GB,en;q=0.7,de;q=0.3"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("referer", "https://www.example.org/articles/index.html"),
    ("upgrade-insecure-requests", "1"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-user", "?1"),
    ("priority", "u=0, i"),
)
"""With the cookie, twelve."""


class Encoder:
    """Encodes one connection's requests, in the order in which they will be sent."""

    def __init__(self, authority: str) -> None:
        self._hpack = hpack.Encoder()
        self._authority = authority

    def hello(self, method: str = "GET") -> bytes:
        """A field block without anything that varies."""
        fields = [(":method", method), (":scheme", "http"), (":path", "/"), (":authority", self._authority)]
        return self._hpack.encode(fields)

    def browser(self, number: int) -> bytes:
        """A field block of a browser: the path is not put into HPACK's table and the cookie is, as browsers do."""
        path = f"/articles/{2000 + number % 25}/{number * 7919 % 100_003}/page.html?from={number % 11}"
        session = hashlib.sha256(b"%d" % (number % 997)).hexdigest()[:32]
        start = self._hpack.encode([(":method", "GET"), (":scheme", "http"), (":authority", self._authority)])
        rest = self._hpack.encode([*BROWSER, ("cookie", f"session={session}; theme=dark; consent=1")])
        return start + self._unindexed_path(path) + rest

    def _unindexed_path(self, path: str) -> bytes:
        """A literal without indexing, its name the static table's fourth (RFC 7541, section 6.2.2)."""
        text = self._hpack.huffman_coder.encode(path.encode())
        length = encode_integer(len(text), 7)
        length[0] |= 0x80
        return b"\x04" + bytes(length) + text


def requests(kind: str, count: int, authority: str, first: int = 0) -> Iterator[bytes]:
    """The HEADERS frames of a connection's GETs, streams 1, 3, 5 and so on."""
    encoder = Encoder(authority)
    assert kind in ("hello", "browser")
    for number in range(count):
        block = encoder.browser(first + number) if kind == "browser" else encoder.hello()
        yield frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, block)


# Answers ------------------------------------------------------------------------------------------


class Answers:
    """Reads what a server sends: counts the answers and their bytes, and knows what to reply.

    RefusedError for an answer that is not a 200, for a stream that was reset, and for a GOAWAY.
    """

    def __init__(self) -> None:
        self.ended = 0
        """Answers that are whole."""
        self.octets = 0
        """Bytes of all their bodies."""
        self.settings: dict[int, int] | None = None
        self.pings = 0
        """PINGs of ours that were acknowledged."""
        self.replies = bytearray()
        """What has to be sent in reply to what came: the taker empties it."""
        self._begun: set[int] = set()
        self._rest = b""

    @property
    def begun(self) -> int:
        """Answers that have begun, and are not whole."""
        return len(self._begun)

    def on_data(self, stream_id: int, length: int) -> None:
        """A frame of a body."""
        self.octets += length

    def receive(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        unpack = _HEAD.unpack_from
        while end - at >= 9:
            high, low, kind, flags, stream_id = unpack(data, at)
            length = high << 8 | low
            after = at + 9 + length
            if after > end:
                break
            if kind == DATA:
                if flags & PADDED:
                    raise RefusedError("padding, which would be counted as body")
                self.on_data(stream_id, length)
            elif kind == HEADERS:
                self._headers(data[at + 9 : after], flags, stream_id)
            else:
                self._other(kind, flags, stream_id, data[at + 9 : after])
            if flags & END_STREAM and kind <= HEADERS:
                self.ended += 1
                self._begun.discard(stream_id)
            at = after
        self._rest = data[at:]

    def _headers(self, block: bytes, flags: int, stream_id: int) -> None:
        if flags & (PADDED | PRIORITY) or not flags & END_HEADERS:
            raise RefusedError(f"HEADERS with flags {flags:#x}, which this load does not take apart")
        if stream_id in self._begun:
            return  # trailers
        self._begun.add(stream_id)
        at = 0
        while at < len(block) and block[at] & 0xE0 == 0x20:  # table size updates (RFC 7541, section 6.3)
            at += 1 if block[at] & 0x1F < 0x1F else 1 + _continued(block, at + 1)
        if at >= len(block) or block[at] != STATUS_200:
            raise RefusedError(f"the answer on stream {stream_id} does not begin with :status 200: {block!r}")

    def _other(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            self.settings = dict(struct.iter_unpack(">HL", payload))
            self.replies += frame(SETTINGS, ACK, 0)
        elif kind == PING and flags & ACK:
            self.pings += 1
        elif kind == PING:
            self.replies += frame(PING, ACK, 0, payload)
        elif kind in (RST_STREAM, GOAWAY, PUSH_PROMISE):
            raise RefusedError(f"the server sent frame type {kind} on stream {stream_id}: {payload!r}")


def _continued(block: bytes, at: int) -> int:
    """How many bytes an HPACK integer takes beyond its prefix (RFC 7541, section 5.1)."""
    length = 1
    while block[at] & 0x80:
        at += 1
        length += 1
    return length
