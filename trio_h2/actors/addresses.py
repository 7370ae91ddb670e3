"""The addresses of a transport's socket, whatever lies over it."""

from __future__ import annotations

from typing import Any

import trio

from .under_tls import UnderTLS

__all__ = ["socket_address"]


def socket_address(transport: trio.abc.Stream, method: str) -> Any:
    """What the transport's socket says to `getpeername` or `getsockname`; None if it has no socket or says nothing."""
    while isinstance(transport, trio.SSLStream | UnderTLS):
        transport = transport.transport_stream
    if not isinstance(transport, trio.SocketStream):
        return None
    try:
        return getattr(transport.socket, method)()
    except OSError:
        return None
