"""`NetworkStream`: what the extension `network_stream` of a response says of its connection."""

from __future__ import annotations

from typing import Any

import trio

import trio_h2

__all__ = ["NetworkStream"]


class NetworkStream:
    """The connection that a response came on. Others share it, so it can be asked and not read or written."""

    def __init__(self, connection: trio_h2.ClientConnection) -> None:
        self._connection = connection

    def get_extra_info(self, info: str) -> Any:
        """What httpx's own network streams know by the same names; None for any other.

        Args:
            info: `"client_addr"`, `"server_addr"`, `"socket"` or `"ssl_object"`; or `"connection"`, which is the
                `trio_h2.ClientConnection`.
        """
        connection = self._connection
        match info:
            case "connection":
                return connection
            case "client_addr":
                return connection.local_address
            case "server_addr":
                return connection.peer_address
            case "ssl_object":
                return _ssl_object(connection.transport)
            case "socket":
                return getattr(_below_tls(connection.transport), "socket", None)
        return None


def _ssl_object(transport: trio.abc.Stream) -> Any:
    # trio passes the methods of its SSLObject on, each bound to it.
    return transport.version.__self__ if isinstance(transport, trio.SSLStream) else None


def _below_tls(transport: trio.abc.AsyncResource) -> trio.abc.AsyncResource:
    while (below := getattr(transport, "transport_stream", None)) is not None:
        transport = below
    return transport
