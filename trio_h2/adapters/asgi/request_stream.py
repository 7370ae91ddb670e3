"""RequestStream: a request and its response, as both versions of HTTP carry them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import trio

import trio_h2

from ..proxy_protocol import proxy_header

__all__ = ["Carrier", "RequestStream", "came_by_tls"]


class Carrier(Protocol):
    """The connection of a request, as far as an app is told of it; of HTTP/2 it is a `trio_h2.ServerConnection`."""

    @property
    def transport(self) -> trio.abc.Stream: ...

    @property
    def peer_address(self) -> Any: ...

    @property
    def local_address(self) -> Any: ...

    @property
    def tls(self) -> trio_h2.TLSInfo | None: ...


def came_by_tls(connection: Carrier) -> bool:
    """Whether the client came by TLS, be it that a trusted proxy has taken that off."""
    if connection.tls is not None:
        return True
    said = proxy_header(connection.transport)
    return said is not None and said.tls


class RequestStream(Protocol):
    """What is used of a `trio_h2.ServerStream`; HTTP/1.1 has a stream like it.

    Failures are trio_h2's: one that is also trio's says that the client has gone.
    """

    @property
    def request(self) -> trio_h2.Request: ...

    @property
    def connection(self) -> Carrier: ...

    @property
    def status(self) -> int | None: ...

    @property
    def closed(self) -> bool: ...

    @property
    def can_push(self) -> bool: ...

    def on_disconnect(self, callback: Callable[[trio_h2.H2Error], object], *, grace: float = ...) -> None: ...

    async def receive_some(self, max_bytes: int | None = None) -> bytes: ...

    async def send_informational(self, status: int, headers: Any = ()) -> None: ...

    async def send_response(self, status: int, headers: Any = (), *, end_stream: bool = False) -> None: ...

    async def respond(self, status: int, headers: Any = (), body: bytes | bytearray | memoryview = b"") -> None: ...

    async def send_all(self, data: bytes | bytearray | memoryview) -> None: ...

    async def send_eof(self) -> None: ...

    async def send_trailers(self, trailers: Any) -> None: ...

    async def aclose(self) -> None: ...
