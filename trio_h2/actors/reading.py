"""Reading from a transport."""

from __future__ import annotations

import trio

from .errors import TransportFailed
from .plain_sockets import plain_socket, read_socket

__all__ = ["READ_SIZE", "read"]

READ_SIZE = 120 * 1024
"""Octets asked of the transport at once. A socket allocates them all before it reads, and from 128 KiB on the C library
maps fresh pages for that each time, which takes longer than reading."""


async def read(transport: trio.abc.ReceiveStream) -> bytes | bytearray:
    """What the transport has, or b"" at its end. Raises TransportFailed."""
    socket = plain_socket(transport)
    try:
        if socket is not None:
            return await read_socket(socket, READ_SIZE)
        return await transport.receive_some(READ_SIZE)
    except Exception as error:
        raise TransportFailed(error) from error
