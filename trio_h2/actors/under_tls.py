"""What lies between TLS and the socket of a connection that `connect()` makes.

A `trio.SSLStream` whose transport fails to send is broken for reading too, and what the server said before it hung up
(a 413 to a large upload, say) would be lost with it; in the clear it can be read. So after the handshake a failure to
send is kept from TLS, which stays whole, and told to the writer instead.
"""

from __future__ import annotations

import trio

from .errors import without_frames

__all__ = ["UnderTLS", "under_tls"]


class UnderTLS(trio.abc.Stream):
    """A transport whose `send_all` does not fail once the TLS handshake is done.

    Attributes:
        transport_stream: the transport itself.
        failure: what the first `send_all` that failed after it raised; nothing is sent any more then.
    """

    def __init__(self, transport_stream: trio.abc.Stream) -> None:
        self.transport_stream = transport_stream
        self._handshake_done = False
        self.failure: Exception | None = None

    def handshake_done(self) -> None:
        """TLS is up; before that, what fails to be sent fails as it always does."""
        self._handshake_done = True

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, or note why that fails."""
        if self.failure is not None:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self.transport_stream.send_all(data)
        except (trio.BrokenResourceError, OSError) as error:
            if not self._handshake_done:
                raise
            self.failure = without_frames(error)

    async def wait_send_all_might_not_block(self) -> None:
        """As the transport does."""
        await self.transport_stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As the transport does."""
        return await self.transport_stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """As the transport does."""
        await self.transport_stream.aclose()


def under_tls(transport: trio.abc.SendStream) -> UnderTLS | None:
    """The UnderTLS that a TLS transport has for its own, or None: then its sends fail by themselves."""
    below = transport.transport_stream if isinstance(transport, trio.SSLStream) else None
    return below if isinstance(below, UnderTLS) else None
