"""`Reaching`: how a pool makes a transport to an origin: over TCP or what is in its place, by a proxy, with TLS."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence

import trio

from ..actors.logs import close_at_once
from ..client_connection import ClientStream
from ..exceptions import ALPNError
from ..headers import NeverIndexed
from ..origin import Origin
from ..tls_handshake import default_context, shake_hands
from .proxy_url import Proxy
from .tunnels import accepted, http1_tunnel, need_h11

__all__ = ["OpenStream", "OpenTunnel", "Reaching"]

OpenStream = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""What connects to a host and a port."""

OpenTunnel = Callable[[str, Sequence[NeverIndexed]], Awaitable[ClientStream]]
"""What asks an HTTP/2 proxy for a tunnel to an authority, with these header fields."""


class Reaching:
    """Owner of every field: this object.

    Args:
        open_stream: connects to a host and a port.
        ssl_context: for TLS with origins; None for the default, which is made when it is needed.
    """

    def __init__(self, open_stream: OpenStream, ssl_context: ssl.SSLContext | None) -> None:
        self._open_stream = open_stream
        self._context = ssl_context

    async def transport(self, origin: Origin, tls_name: str, protocols: Sequence[str] = ("h2",)) -> trio.abc.Stream:
        """A transport to an origin, on which one of the protocols is spoken. Raises OSError, H2Error."""
        stream = await self._connected(origin)
        if origin.scheme == "http":
            return stream
        if self._context is None:
            self._context = default_context()
        return await shake_hands(stream, self._context, tls_name=tls_name, host=origin.host, protocols=protocols)

    async def _connected(self, origin: Origin) -> trio.abc.Stream:
        return await self._open_stream(origin.host, origin.port)


class ReachingThroughProxy(Reaching):
    """Through tunnels of a proxy.

    Which HTTP a proxy of `https` speaks, it says by ALPN; what it said is remembered, and one that says something else
    later is asked again. A proxy of `http` is one of HTTP/1.1.

    Args:
        ssl_context: for TLS with origins, inside of the tunnels.
        proxy: whom to ask.
        to_proxy: how it is reached.
        open_tunnel: asks it for a tunnel, in HTTP/2.
    """

    def __init__(
        self, ssl_context: ssl.SSLContext | None, proxy: Proxy, to_proxy: Reaching, open_tunnel: OpenTunnel
    ) -> None:
        super().__init__(to_proxy._open_stream, ssl_context)
        self._proxy = proxy
        self._to_proxy = to_proxy
        self._open_tunnel = open_tunnel
        self._http1 = proxy.origin.scheme == "http"
        if self._http1:
            need_h11()

    async def _connected(self, origin: Origin) -> trio.abc.Stream:
        host = f"[{origin.name}]" if ":" in origin.name else origin.name
        authority = f"{host}:{origin.port}"
        try:
            return await self._tunnel(authority)
        except ALPNError:
            self._http1 = not self._http1
            return await self._tunnel(authority)

    async def _tunnel(self, authority: str) -> trio.abc.Stream:
        proxy = self._proxy
        if not self._http1:
            fields = () if proxy.authorization is None else (proxy.authorization,)
            return await accepted(await self._open_tunnel(authority, fields))
        need_h11()
        transport = await self._to_proxy.transport(proxy.origin, proxy.origin.name, ("http/1.1", "h2"))
        if isinstance(transport, trio.SSLStream) and transport.selected_alpn_protocol() == "h2":
            await close_at_once(transport)
            raise ALPNError("the proxy selected h2 by ALPN", selected="h2")
        return await http1_tunnel(transport, authority, proxy.authorization)
