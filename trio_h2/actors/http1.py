"""HTTP/1.x where HTTP/2 should be: the first look that either side takes, and what a server says to it.

A client knows it by the octets that come in place of the server's first frame. A server in the clear has nothing but
the client's first octets to know by.

The server holds its SETTINGS back for it, so that a client of HTTP/1.x gets a 505 that it can read instead of binary
frames, or a handler of the user's that speaks HTTP/1.x. Only a request line that ends in HTTP/1.x is taken for that;
anything else is a wrong preface of HTTP/2.
"""

from __future__ import annotations

import math
import re

import trio

from ..config import Config
from ..protocol.frames import FRAME_HEADER_SIZE, PREFACE
from .reading import read

__all__ = [
    "HTTP1_ANSWER",
    "PREFACE_GRACE",
    "begins_http1",
    "first_answer",
    "first_look",
    "is_http1",
    "is_http1_answer",
    "may_become_http1",
]

HTTP1_TEXT = b"This server speaks HTTP/2 only: use a client with HTTP/2 prior knowledge, or https with ALPN h2.\n"
HTTP1_ANSWER = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(HTTP1_TEXT), HTTP1_TEXT)
)

MAX_REQUEST_LINE = 8 * 1024
"""Octets of an HTTP/1.x request line that are waited for (RFC 9112 section 3 recommends to take 8,000)."""

PREFACE_GRACE = 0.1
"""Seconds a cleartext server holds its SETTINGS back for a first look at what the client speaks."""

# RFC 9112 section 3: method, target, version. The line may end in a bare LF (2.2), the target may be in any encoding.
_METHOD = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(_METHOD + rb" [^\x00-\x20\x7f]+ HTTP/1\.[0-9]\r?\n")
_VERSION = rb"(?:H(?:T(?:T(?:P(?:/(?:1(?:\.(?:[0-9]\r?)?)?)?)?)?)?)?)?"
_BEGINNING = re.compile(_METHOD + rb"(?: (?:[^\x00-\x20\x7f]+(?: " + _VERSION + rb")?)?)?")


async def first_answer(transport: trio.abc.ReceiveStream) -> bytes:
    """The server's first octets, as many as a frame's header at least: enough to know HTTP/1.x by.

    Raises TransportFailed.
    """
    data = b""
    while len(data) < FRAME_HEADER_SIZE and (more := await read(transport)):
        data += more
    return data


def is_http1_answer(data: bytes) -> bool:
    """Whether this is how an HTTP/1.x response begins (RFC 9112 section 4)."""
    return data.startswith(b"HTTP/1.")


async def first_look(transport: trio.abc.ReceiveStream, config: Config, grace: float = math.inf) -> bytes:
    """The client's first octets: enough to know HTTP/1.x by, or what came until then. Raises TransportFailed.


    Args:
        transport: connected.
        config: has the time for it, `handshake_timeout`.
        grace: seconds in place of that as long as nothing has come but a preface of HTTP/2, because a client may wait
            for our SETTINGS.
    """
    data = b""
    started = trio.current_time()
    with trio.move_on_after(min(grace, config.handshake_timeout)) as scope:
        while may_become_http1(data):
            more = await read(transport)
            if not more:
                break
            data += more
            if not PREFACE.startswith(data):
                scope.deadline = started + config.handshake_timeout
    return data


def may_become_http1(data: bytes) -> bool:
    """Whether this is still too little to tell an HTTP/1.x request line from anything else."""
    return not data or (len(data) <= MAX_REQUEST_LINE and _BEGINNING.fullmatch(data) is not None)


def is_http1(data: bytes) -> bool:
    """Whether this starts with an HTTP/1.x request line."""
    return _REQUEST_LINE.match(data) is not None


def begins_http1(data: bytes) -> bool:
    """Whether a handler of HTTP/1.x should have this: also with too long a request line, which that can answer."""
    return is_http1(data) or (len(data) > MAX_REQUEST_LINE and _BEGINNING.fullmatch(data) is not None)
