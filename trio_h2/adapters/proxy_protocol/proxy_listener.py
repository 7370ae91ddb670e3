"""`with_proxy_protocol`: a listener whose connections from proxies begin with a header."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import trio

from ..trusted_addresses import TrustedAddresses
from .proxied_stream import ProxiedStream

__all__ = ["ProxyListener", "with_proxy_protocol"]


def with_proxy_protocol(listener: trio.abc.Listener[Any], trusted: str | Iterable[str]) -> trio.abc.Listener[Any]:
    """A listener in place of another: a connection from a trusted proxy has to begin with a PROXY protocol header.

    One that does not is closed, and logged as a WARNING. What the header says are then the connection's addresses, for
    handlers, logs and traces; `proxy_header(connection.transport)` has all of it. Connections from anybody else are
    served as without this, so that a header from them is a wrong preface. trio_h2's servers read the header beside
    accepting, within `Config.handshake_timeout`, and count it among `max_handshakes`.

    Args:
        listener: of TCP or unix sockets; or a trio.SSLListener over one: the header comes before TLS, and this goes in
            between. It is not changed.
        trusted: the proxies: IP addresses and networks, as an iterable or separated by commas, `"unix"` for every peer
            without an address, as over a unix socket, `"*"` for every peer.

    Raises:
        ValueError, TypeError: an argument has the wrong type, or makes no sense.
    """
    return listener_behind(listener, TrustedAddresses(trusted, "trusted"))


def listener_behind(listener: trio.abc.Listener[Any], trusted: TrustedAddresses) -> trio.abc.Listener[Any]:
    """A listener in place of another, beneath its TLS if it has any."""
    if not isinstance(listener, trio.SSLListener):
        return ProxyListener(listener, trusted)
    behind: trio.SSLListener[Any] = copy.copy(listener)
    behind.transport_listener = ProxyListener(listener.transport_listener, trusted)
    return behind


class ProxyListener(trio.abc.Listener[trio.abc.Stream]):
    """Accepts at once; headers are read later, by whom the connections are for.

    Attributes:
        transport_listener: what it accepts from.
    """

    def __init__(self, listener: trio.abc.Listener[trio.abc.HalfCloseableStream], trusted: TrustedAddresses) -> None:
        if not isinstance(listener, trio.abc.Listener):
            raise TypeError(f"listener must be a trio.abc.Listener, not {type(listener).__name__}")
        self.transport_listener = listener
        self._trusted = trusted

    async def accept(self) -> trio.abc.Stream:
        """The next connection; a proxy's begins with its header."""
        transport = await self.transport_listener.accept()
        socket = transport.socket if isinstance(transport, trio.SocketStream) else None
        peer, local = _address(socket, "getpeername"), _address(socket, "getsockname")
        if not self._trusted.has_peer(_host(peer, local)):
            return transport
        return ProxiedStream(transport, peer_address=peer, local_address=local)

    async def aclose(self) -> None:
        """Close what it accepts from."""
        await self.transport_listener.aclose()


def _host(peer: Any, local: Any) -> str | None:
    """The peer's IP address, None without one. A TCP socket that was reset has forgotten it: that is no unix socket."""
    if isinstance(peer, tuple):
        return str(peer[0])
    return "" if isinstance(local, tuple) else None


def _address(socket: trio.socket.SocketType | None, method: str) -> Any:
    try:
        return None if socket is None else getattr(socket, method)()
    except OSError:
        return None
