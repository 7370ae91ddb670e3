"""Writing to a transport without waiting, where it is a socket of trio's and nothing lies between.

`SocketStream.send_all` is a checkpoint, so it can only be awaited, by a task that may be cancelled in it. What the
socket's buffer has room for needs neither.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial

import trio

__all__ = ["unwaiting_write"]


def unwaiting_write(transport: trio.abc.SendStream) -> Callable[[bytes], int] | None:
    """What writes to `transport` as much as it takes at once, and returns how much; None if that cannot be done."""
    if sys.platform == "win32" or type(transport) is not trio.SocketStream:
        return None
    return partial(_write, transport.socket.fileno)


def _write(fileno: Callable[[], int], data: bytes) -> int:
    """Asks the socket for its number each time: one that was closed meanwhile has none, and its old one is another's."""
    try:
        return os.write(fileno(), data)
    except OSError:  # it takes nothing now, or never will: whoever waits for it finds out which
        return 0
