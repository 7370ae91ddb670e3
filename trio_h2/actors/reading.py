"""Reading from a transport."""

from __future__ import annotations

import trio

from .errors import TransportFailed
from .large_blocks import keep_large_blocks
from .plain_sockets import plain_socket, read_socket

__all__ = ["READ_SIZE", "next_size", "read"]

READ_SIZE = 120 * 1024
"""Octets asked of the transport at once. A socket allocates them all before it reads, and from 128 KiB on the C library
maps fresh pages for that each time, which takes longer than reading what little there mostly is."""

BULK_SIZE = 256 * 1024
"""Octets asked of it after a read that had all of those: there are more, and fewer reads bring them."""


async def read(transport: trio.abc.ReceiveStream, size: int = READ_SIZE) -> bytes | bytearray:
    """What the transport has, at most `size` octets, or b"" at its end. Raises TransportFailed."""
    socket = plain_socket(transport)
    try:
        if socket is not None:
            return await read_socket(socket, size)
        return await transport.receive_some(size)
    except Exception as error:
        raise TransportFailed(error) from error


def next_size(count: int) -> int:
    """How many octets to ask for after a read of so many."""
    if count < READ_SIZE:
        return READ_SIZE
    keep_large_blocks()
    return BULK_SIZE
