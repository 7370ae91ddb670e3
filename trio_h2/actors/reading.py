"""Reading from a transport."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from .errors import TransportFailed
from .large_blocks import keep_large_blocks
from .plain_sockets import plain_socket, read_socket

__all__ = ["READ_SIZE", "next_size", "read", "way_to_read"]

READ_SIZE = 120 * 1024
"""Octets asked of the transport at once. A socket allocates them all before it reads, and from 128 KiB on the C library
maps fresh pages for that each time, which takes longer than reading what little there mostly is."""

BULK_SIZE = 256 * 1024
"""Octets asked of it after a read that had all of those: there are more, and fewer reads bring them."""


def way_to_read(transport: trio.abc.ReceiveStream) -> Callable[[int], Awaitable[bytes | bytearray]]:
    """What gives the transport's octets, at most so many, or b"" at its end. It raises what the transport raises."""
    socket = plain_socket(transport)
    return transport.receive_some if socket is None else partial(read_socket, socket)


async def read(transport: trio.abc.ReceiveStream) -> bytes | bytearray:
    """What the transport has, or b"" at its end. Raises TransportFailed."""
    try:
        return await way_to_read(transport)(READ_SIZE)
    except Exception as error:
        raise TransportFailed(error) from error


def next_size(count: int) -> int:
    """How many octets to ask for after a read of so many."""
    if count < READ_SIZE:
        return READ_SIZE
    keep_large_blocks()
    return BULK_SIZE
