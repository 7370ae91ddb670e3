"""RequestStream: a request and its response, as both versions of HTTP carry them."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, Protocol

import trio_h2

__all__ = ["Carrier", "Fields", "RequestStream"]

Fields = Iterable[tuple[bytes, bytes]]


class Carrier(Protocol):
    """The connection of a request, as far as an app is told of it; of HTTP/2 it is a `trio_h2.ServerConnection`."""

    @property
    def peer_address(self) -> Any: ...

    @property
    def local_address(self) -> Any: ...

    @property
    def tls(self) -> trio_h2.TLSInfo | None: ...


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

    async def receive_some(self, max_bytes: int | None = None) -> bytes: ...

    async def send_informational(self, status: int, headers: Any = ()) -> None: ...

    async def send_response(self, status: int, headers: Any = (), *, end_stream: bool = False) -> None: ...

    async def respond(self, status: int, headers: Any = (), body: bytes | bytearray | memoryview = b"") -> None: ...

    async def send_all(self, data: bytes | bytearray | memoryview) -> None: ...

    async def send_eof(self) -> None: ...

    async def send_trailers(self, trailers: Any) -> None: ...

    async def aclose(self) -> None: ...

    def wait_send_all_might_not_block(self) -> Coroutine[Any, Any, None]: ...
