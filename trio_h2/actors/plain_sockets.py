"""Reading and writing a transport that is a socket of trio's, with nothing between, by the shortest way.

`trio.SocketStream` tries first and waits then, so most reads of a connection with little to do are a system call in
vain and an exception; and it passes through a dozen functions on its way. Writing is a checkpoint, so only a task that
may wait, and be cancelled, can do it; what the socket's buffer has room for needs neither.
"""

from __future__ import annotations

import errno
import os
import sys

import trio

__all__ = ["plain_socket", "read_socket", "write_socket"]


def plain_socket(transport: object) -> trio.socket.SocketType | None:
    """The transport's socket, if it is one and the functions here can be used for it; else None."""
    if sys.platform == "win32" or type(transport) is not trio.SocketStream:
        return None
    return transport.socket


async def read_socket(socket: trio.socket.SocketType, size: int) -> bytes:
    """As `SocketStream.receive_some`, and always a wait. Raises what that raises."""
    while True:
        number = socket.fileno()
        if number < 0:
            raise trio.ClosedResourceError("this socket was already closed")
        await trio.lowlevel.wait_readable(number)
        try:
            # Asked for once more: a socket that was closed has no number, and its old one may be another's by now.
            return os.read(socket.fileno(), size)
        except BlockingIOError:
            pass
        except OSError as error:
            raise _translated(error) from error


def write_socket(socket: trio.socket.SocketType, data: bytes) -> int:
    """Write as much as the socket takes at once; how much that is. Raises what `SocketStream.send_all` raises."""
    try:
        return os.write(socket.fileno(), data)
    except BlockingIOError:
        return 0
    except OSError as error:
        raise _translated(error) from error


def _translated(error: OSError) -> Exception:
    """What trio's stream raises for it."""
    if error.errno == errno.EBADF:
        return trio.ClosedResourceError("this socket was already closed")
    return trio.BrokenResourceError(f"socket connection broken: {error}")
