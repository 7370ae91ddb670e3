"""The addresses of a transport, and its socket, whatever lies over it.

A transport that lies over another has that as its `transport_stream`, as trio.SSLStream does. One that knows better
than the socket whose connection it is says so by attributes of its own, `peer_address` and `local_address`.
"""

from __future__ import annotations

from typing import Any

import trio

__all__ = ["local_address", "peer_address", "socket_stream"]


def peer_address(transport: trio.abc.AsyncResource) -> Any:
    """The address of the transport's peer, as `socket.getpeername` has it; None if there is none."""
    return _address(transport, "peer_address", "getpeername")


def local_address(transport: trio.abc.AsyncResource) -> Any:
    """The transport's own address, as `socket.getsockname` has it; None if there is none."""
    return _address(transport, "local_address", "getsockname")


def socket_stream(transport: trio.abc.AsyncResource) -> trio.SocketStream | None:
    """The stream of the socket at the bottom of it, or None."""
    below: Any = transport
    while below is not None and not isinstance(below, trio.SocketStream):
        below = getattr(below, "transport_stream", None)
    return below


def _address(transport: trio.abc.AsyncResource, attribute: str, method: str) -> Any:
    below: Any = transport
    while not isinstance(below, trio.SocketStream):
        if below is None or hasattr(below, attribute):
            return getattr(below, attribute, None)
        below = getattr(below, "transport_stream", None)
    try:
        return getattr(below.socket, method)()
    except OSError:
        return None
