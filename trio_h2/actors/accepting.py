"""Accepting: what comes from a listener, but for connections that are gone already, and what to do if nothing can come.

A connection that waits in the backlog may be reset there, or closed with nothing sent. Nothing but accepting it shows
that, and then it is closed at once: it costs no task, no TLS and no place.
"""

from __future__ import annotations

import copy
import errno
import os
import socket
import ssl
from collections.abc import Sequence
from typing import Any

import trio

from .addresses import socket_stream
from .logs import logger

__all__ = ["Shortage", "has_unread", "next_connection", "without_the_gone"]

SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""Errors of accept(2) that say nothing of a connection: the system has no room for any."""

ABORTED = frozenset(
    getattr(errno, name)
    for name in (
        *("ECONNABORTED", "ECONNRESET", "EPERM", "EPROTO", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET"),
        *("EHOSTUNREACH", "EOPNOTSUPP", "ENETUNREACH", "ETIMEDOUT"),
    )
    if hasattr(errno, name)
)
"""Errors of accept(2) that concern one connection, which is gone."""

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 1.0
"""Seconds between two tries while there is a shortage; they double from the one to the other."""


class Shortage:
    """A time in which accepting fails for want of file descriptors or memory: one for all listeners of a server.

    It is logged when it begins and when it is over, which is when accepting works and has not failed for a second.
    """

    def __init__(self) -> None:
        self._last_try: float | None = None
        self._pause = FIRST_PAUSE

    async def wait(self, error: OSError) -> None:
        """Accepting failed: wait before the next try."""
        if self._last_try is None:
            code = errno.errorcode[error.errno or 0]
            logger.error("accepting connections fails: %s (%s)", code, os.strerror(error.errno or 0))
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        self._last_try = trio.current_time() + pause
        await trio.sleep(pause)

    def accepted(self) -> None:
        """Accepting worked."""
        if self._last_try is not None and trio.current_time() - self._last_try >= LONGEST_PAUSE:
            self._last_try = None
            self._pause = FIRST_PAUSE
            logger.info("accepting connections works again")


class _WithoutTheGone(trio.abc.Listener[trio.abc.Stream]):
    """A listener that gives no connection of which it is known that it has ended."""

    def __init__(self, listener: trio.abc.Listener[Any]) -> None:
        self._listener = listener

    async def accept(self) -> trio.abc.Stream:
        while True:
            transport: trio.abc.Stream = await self._listener.accept()
            below = socket_stream(transport)
            if below is None or not _is_gone(below.socket):
                return transport
            below.socket.close()

    async def aclose(self) -> None:
        await self._listener.aclose()


def without_the_gone(listeners: Sequence[trio.abc.Listener[Any]]) -> list[trio.abc.Listener[Any]]:
    """The same listeners, but connections that have ended in the backlog are closed before TLS begins on them."""
    return [_looking(listener) for listener in listeners]


def _looking(listener: trio.abc.Listener[Any]) -> trio.abc.Listener[Any]:
    if not isinstance(listener, trio.SSLListener):
        return _WithoutTheGone(listener)
    looking: trio.SSLListener[Any] = copy.copy(listener)  # the user's own stays what it is
    looking.transport_listener = _WithoutTheGone(listener.transport_listener)
    return looking


def _is_gone(accepted: trio.socket.SocketType) -> bool:
    """Whether this connection was reset, or closed with nothing sent. Takes nothing of what can be read."""
    try:
        if accepted.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):  # also behind data that can still be read
            return True
        return not _peek(accepted)
    except BlockingIOError:
        return False
    except OSError:
        return True


def has_unread(transport: trio.abc.Stream) -> bool:
    """Whether the peer has sent what nobody has read yet; nothing is taken. False where there is no socket to ask."""
    below = socket_stream(transport)
    try:
        return below is not None and bool(_peek(below.socket))
    except OSError:
        return False


def _peek(connected: trio.socket.SocketType) -> bytes:
    """The first octet that can be read now, or none at the peer's end. Raises OSError, BlockingIOError for one."""
    borrowed = socket.socket(connected.family, connected.type, connected.proto, fileno=connected.fileno())
    try:
        borrowed.setblocking(False)  # socket.setdefaulttimeout may have been called, and then it would wait
        return borrowed.recv(1, socket.MSG_PEEK)
    finally:
        borrowed.detach()


async def next_connection(listener: trio.abc.Listener[Any], shortage: Shortage) -> trio.abc.Stream:
    """The next connection there is, whatever goes wrong with others; errors of the listener itself are raised."""
    while True:
        try:
            transport: trio.abc.Stream = await listener.accept()
        except ssl.SSLError as error:
            logger.error("a connection could not be accepted: its TLS cannot begin", exc_info=error)
            await trio.lowlevel.checkpoint()
        except OSError as error:
            if error.errno in SHORTAGES:
                await shortage.wait(error)
            elif error.errno in ABORTED:
                await trio.lowlevel.checkpoint()
            else:
                raise
        else:
            shortage.accepted()
            return transport
