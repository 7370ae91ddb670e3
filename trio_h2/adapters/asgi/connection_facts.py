"""What the scopes of all requests on a connection say of it, found out once."""

from __future__ import annotations

from typing import Any

import attrs

from .request_stream import Carrier, came_by_tls
from .tls_extension import tls_extension

__all__ = ["ConnectionFacts", "facts_of"]


@attrs.frozen
class ConnectionFacts:
    """What scopes are made of; they are the app's to change, so what can be changed is copied for each.

    Attributes:
        secure: whether the client came by TLS.
        client: its host and port, or None.
        server: this side's host and port, or the path of a unix socket and None; None if there is no address.
        tls: ASGI's extension, or None without TLS.
    """

    secure: bool
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    tls: dict[str, Any] | None


def facts_of(connection: Carrier) -> ConnectionFacts:
    """Look at a connection on which there is a request: its handshake is over."""
    return ConnectionFacts(
        secure=came_by_tls(connection),
        client=_client(connection.peer_address),
        server=_server(connection.local_address),
        tls=None if connection.tls is None else tls_extension(connection.tls),
    )


def _client(address: object) -> tuple[str, int] | None:
    return (address[0], address[1]) if isinstance(address, tuple) else None


def _server(address: object) -> tuple[str, int | None] | None:
    """Host and port, or the path of a unix socket and None."""
    if isinstance(address, tuple):
        return address[0], address[1]
    return (address, None) if isinstance(address, str) and address else None
