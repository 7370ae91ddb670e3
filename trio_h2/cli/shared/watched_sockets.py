"""The sockets of a pool: when each was connected, and what its first octets say of the protocol that is spoken."""

from __future__ import annotations

import ssl

import trio

__all__ = ["WatchedSocket", "WatchedSockets", "socket_below"]

KEPT = 64
"""Octets that are kept of what came first: enough for a status line."""

SETTINGS = 4
ALERT, HANDSHAKE = 21, 22
"""The type of the frame that HTTP/2 begins with, and the content types that TLS may begin with (RFC 8446 B.1)."""

TLS_LIMIT = 3.0
"""Seconds to find out whether a port speaks TLS."""


class WatchedSocket(trio.abc.HalfCloseableStream):
    """A socket that keeps the first octets it received.

    Attributes:
        transport_stream: the socket.
        began, connected: when connecting began, and when it was done, on trio's clock.
        first: the octets.
        ended: whether the peer has ended the connection.
    """

    def __init__(self, stream: trio.SocketStream, began: float) -> None:
        self.transport_stream = stream
        self.began = began
        self.connected = trio.current_time()
        self.first = b""
        self.ended = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As the socket does it."""
        try:
            data = await self.transport_stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self.ended = True
            raise
        self.ended = not data
        if len(self.first) < KEPT:
            self.first += bytes(data[: KEPT - len(self.first)])
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As the socket does it."""
        await self.transport_stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the socket does it."""
        await self.transport_stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """As the socket does it."""
        await self.transport_stream.send_eof()

    async def aclose(self) -> None:
        """As the socket does it."""
        await self.transport_stream.aclose()


class WatchedSockets:
    """Opens sockets, for `open_pool(open_stream=)`, and knows the last one to each host and port."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], WatchedSocket] = {}
        self._tls: dict[tuple[str, int], str | None] = {}
        self._asking = trio.Lock()

    async def open_stream(self, host: str, port: int) -> WatchedSocket:
        """Connect. Raises OSError."""
        began = trio.current_time()
        stream = WatchedSocket(await trio.open_tcp_stream(host, port), began)
        self._last[host, port] = stream
        return stream

    def silent(self, host: str, port: int) -> bool:
        """Whether the last connection to there was given up with no octet received, and not ended by the peer."""
        socket = self._last.get((host, port))
        return socket is not None and not socket.first and not socket.ended

    async def spoken(self, scheme: str, host: str, port: int) -> str | None:
        """What is spoken at a port where HTTP/2 has failed, in words; None if it is that, or nothing is known of it.

        A port that says nothing in the clear, or not in HTTP/2, is asked in TLS, once, and sent nothing more.
        """
        socket = self._last.get((host, port))
        if socket is None:
            return None
        first = socket.first
        line = first.partition(b"\n")[0].rstrip(b"\r").decode("latin-1")
        text = line.isascii() and line.isprintable() and line
        http1 = first.startswith(b"HTTP/1.")
        if scheme == "https":
            if http1:
                return "this port speaks HTTP/1.1, in the clear"
            if text:
                return f"this port speaks no TLS: it answers {line!r}"
            return "this port speaks HTTP/2 in the clear: use http://" if first[3:4] == bytes([SETTINGS]) else None
        alert = first[:2] == bytes([ALERT, 3])
        tls = await self._asked_in_tls(host, port) if alert or http1 or not first else None
        if tls is None and (http1 or text):
            return f"the server speaks {'HTTP/1.1, not' if http1 else 'no'} HTTP/2: it answers {line!r}"
        return tls

    async def _asked_in_tls(self, host: str, port: int) -> str | None:
        async with self._asking:
            if (host, port) not in self._tls:
                self._tls[host, port] = None
                with trio.move_on_after(TLS_LIMIT):
                    self._tls[host, port] = await _tls_there(host, port)
            return self._tls[host, port]


async def _tls_there(host: str, port: int) -> str | None:
    """Whether a port speaks TLS, and HTTP/2 by it, in words; None if it does not."""
    context = ssl.create_default_context()
    context.check_hostname = False  # nothing is sent, so nobody has to be who they say
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        async with WatchedSocket(await trio.open_tcp_stream(host, port), 0) as socket:
            tls = trio.SSLStream(socket, context, server_hostname=host)
            try:
                await tls.do_handshake()
            except (OSError, trio.BrokenResourceError):
                return "this port speaks TLS: use https://" if socket.first[:2] == bytes([HANDSHAKE, 3]) else None
            if tls.selected_alpn_protocol() == "h2":
                return "this port speaks TLS: use https://"
            return "this port speaks TLS, and HTTP/1.1 by it"
    except OSError:
        return None


def socket_below(transport: object) -> WatchedSocket | None:
    """The socket at the bottom of a transport, or None."""
    below: object = transport
    while below is not None and not isinstance(below, WatchedSocket):
        below = getattr(below, "transport_stream", None)
    return below
