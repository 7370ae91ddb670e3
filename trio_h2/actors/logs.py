"""What is logged, on the logger `trio_h2`: an ERROR is a bug, the user's or ours, and DEBUG says what peers do wrong.

INFO has one line for each connection that ended because its peer went over a limit of `Config`, or was slower than one
allows, and one for each request that was refused because its body was larger than its handler's `read()` takes.

A line shows no header value and no query, which may be secrets, and of what a peer wrote nothing unescaped.
"""

from __future__ import annotations

import codecs
import logging
from collections.abc import Iterable
from typing import Any

import trio

from ..exceptions import H2Error, RequestTooLargeError

__all__ = [
    "close_at_once",
    "escaped",
    "log_handler_error",
    "logger",
    "peer_name",
    "request_line",
    "tells_nothing",
    "too_large",
]

MAX_LENGTH = 200

logger = logging.getLogger("trio_h2")

# Now: the first use of a codec imports it, and by then no file may be left to open.
_escape = codecs.getencoder("unicode_escape")


def escaped(text: object) -> str:
    """Text with something of the peer's in it, on one line, harmless to a terminal, and of bounded length."""
    return _escape(str(text)[:MAX_LENGTH])[0].decode("ascii")


def peer_name(address: Any) -> str:
    """A socket address in words."""
    if isinstance(address, tuple) and len(address) >= 2:
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return escaped(address) if address else "a peer without an address"


def request_line(fields: Iterable[tuple[bytes, bytes]]) -> tuple[str, str]:
    """A request's method and path, without the path's query, not escaped; of CONNECT the host and port."""
    values = dict(iter(fields))
    target = values.get(b":path") or values.get(b":authority", b"")
    return values[b":method"].decode("latin-1"), target.split(b"?", 1)[0].decode("latin-1")


def log_handler_error(handler: str, error: BaseException) -> None:
    """What a handler raised, with its traceback: an ERROR."""
    logger.error("%s raised", handler, exc_info=error)


def tells_nothing(error: BaseException) -> bool:
    """Whether a handler's error says no more than that its stream failed: not if one of the user's code is in it.

    What it covers counts too: the stream fails again in a `finally` as an error of the user's passes through.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(map(tells_nothing, error.exceptions))
    if not isinstance(error, H2Error | trio.ClosedResourceError | trio.BrokenResourceError | trio.Cancelled):
        return False
    return error.__context__ is None or error.__suppress_context__ or tells_nothing(error.__context__)


def too_large(error: BaseException) -> RequestTooLargeError | None:
    """What a handler's error says of a request's body that was too large, if it says nothing else."""
    if not isinstance(error, BaseExceptionGroup):
        return error if isinstance(error, RequestTooLargeError) else None
    found = [too_large(each) for each in error.exceptions]
    return None if None in found else found[0]


async def close_at_once(transport: trio.abc.AsyncResource) -> None:
    """Close what is of no use any more; how that fails concerns nobody."""
    try:
        await trio.aclose_forcefully(transport)
    except Exception as error:
        logger.debug("closing a transport failed: %s", escaped(repr(error)))
