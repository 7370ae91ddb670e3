"""ProxiedStream: a transport whose peer is a proxy, that says first whose connection it is."""

from __future__ import annotations

import logging
from typing import Any

import trio

from .proxy_header import MAX_LENGTH, ProxyHeader, ProxyHeaderError, parse

__all__ = ["ProxiedStream", "proxy_header"]

logger = logging.getLogger("trio_h2")


class ProxiedStream(trio.abc.HalfCloseableStream):
    """A transport that begins with a header. Owner of every field: this object.

    trio_h2 awaits `do_handshake` before anything else, bounds it in time, and counts it among the handshakes that may
    go on at once; with TLS over this it is a part of TLS's. It asks for `peer_address` and `local_address`, too.

    Args:
        transport_stream: the transport itself.
        peer_address, local_address: its own.

    Attributes:
        transport_stream: the transport itself.
        peer_address, local_address: those of the client and of what it connected to, as soon as they are known.
        header: what the proxy has said; None until it has.
    """

    def __init__(
        self, transport_stream: trio.abc.HalfCloseableStream, *, peer_address: Any, local_address: Any
    ) -> None:
        self.transport_stream = transport_stream
        self.peer_address = peer_address
        self.local_address = local_address
        self.header: ProxyHeader | None = None
        self._received = b""

    async def do_handshake(self) -> None:
        """Read the header, unless that is done.

        Raises:
            trio.BrokenResourceError: there is none, which is logged where it is not because the proxy went.
        """
        if self.header is not None:
            return
        try:
            while (found := parse(self._received)) is None:
                data = await self.transport_stream.receive_some(MAX_LENGTH - len(self._received))
                if not data:
                    raise trio.BrokenResourceError("the proxy went before its header was whole")
                self._received += data
        except ProxyHeaderError as error:
            logger.warning("the proxy %s sent no header of the PROXY protocol: %s", self.peer_address, error)
            raise trio.BrokenResourceError(f"no header of the PROXY protocol: {error}") from error
        self.header, length = found
        self._received = self._received[length:]
        if self.header.source is not None:
            self.peer_address, self.local_address = self.header.source, self.header.destination

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What follows the header."""
        await self.do_handshake()
        if not self._received:
            return await self.transport_stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        data, self._received = self._received[:max_bytes], b"" if max_bytes is None else self._received[max_bytes:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As the transport does, when the header is there."""
        await self.do_handshake()
        await self.transport_stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the transport does."""
        await self.transport_stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """As the transport does."""
        await self.transport_stream.send_eof()

    async def aclose(self) -> None:
        """As the transport does."""
        await self.transport_stream.aclose()


def proxy_header(transport: trio.abc.AsyncResource) -> ProxyHeader | None:
    """What a proxy has said of a connection: of its `transport`, or of an `http1` handler's stream.

    None where the peer is no proxy that was named.
    """
    below: Any = transport
    while below is not None and not isinstance(below, ProxiedStream):
        below = getattr(below, "transport_stream", None)
    return None if below is None else below.header
