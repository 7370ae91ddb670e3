"""ReplayedStream: a transport from which something was read to see what it speaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from .addresses import local_address, peer_address
from .tls_info import tls_info

__all__ = ["ReplayedStream"]


class ReplayedStream(trio.abc.Stream):
    """A connection whose client speaks HTTP/1.x, as an `http1` handler gets it: nothing of what came is missing.

    It is the transport in all but that. What the transport has beyond `trio.abc.Stream`, as a socket's `send_eof` and
    TLS's `selected_alpn_protocol`, is to be had from `transport_stream`.

    Attributes:
        transport_stream: the transport, from which the first octets were taken: read from this object.
        peer_address, local_address, tls: as those of a `ServerConnection`.
        broken: Whether a call on this object raised trio.BrokenResourceError: the client has left.
    """

    def __init__(
        self,
        transport_stream: trio.abc.Stream,
        seen: bytes,
        *,
        on_idle: Callable[[], None] | None = None,
        on_busy: Callable[[], None] | None = None,
    ) -> None:
        self.transport_stream = transport_stream
        self._on_idle = on_idle
        self._on_busy = on_busy
        self.broken = False
        # Now, because a transport that is closed has forgotten them.
        self.peer_address = peer_address(transport_stream)
        self.local_address = local_address(transport_stream)
        self.tls = tls_info(transport_stream)
        self._seen = seen

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Within this the client waits for nothing: the server may cancel the handler, and close the connection.

        It does where a connection more than `max_connections` comes, and this one was idle longest; not in the first
        second after the client has begun to speak.
        """
        if self._on_idle is not None:
            self._on_idle()
        try:
            yield
        finally:
            if self._on_busy is not None:
                self._on_busy()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """At most `max_bytes` octets (by default what is there), or b"" at the end. Raises as the transport's does."""
        if max_bytes is not None and max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes}")
        if self._seen:
            await trio.lowlevel.checkpoint()
            data, self._seen = self._seen[:max_bytes], b"" if max_bytes is None else self._seen[max_bytes:]
            if data:
                return data
        try:
            return await self.transport_stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self.broken = True
            raise

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`. Raises as the transport's does."""
        try:
            await self.transport_stream.send_all(data)
        except trio.BrokenResourceError:
            self.broken = True
            raise

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until `send_all` could send something at once. Raises as the transport's does."""
        try:
            await self.transport_stream.wait_send_all_might_not_block()
        except trio.BrokenResourceError:
            self.broken = True
            raise

    async def aclose(self) -> None:
        """Close the transport. The server does so, too, when the handler has returned."""
        self._seen = b""
        await self.transport_stream.aclose()
