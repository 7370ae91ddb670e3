"""The client: `connect` and `connect_over`, which make a connection and end it."""

from __future__ import annotations

import ssl
from functools import partial
from types import TracebackType

import trio

from .actors.connection_actor import ConnectionActor
from .client_connection import ClientConnection, EnteredOnce, leave_nursery
from .config import Config
from .connection import checked_config
from .exceptions import InternalError
from .origin import origin_of, tls_name_of
from .requests import request_fields
from .tls_handshake import default_context, shake_hands
from .trace import Trace, checked_trace

__all__ = ["connect", "connect_over"]


class connect_over(EnteredOnce[ClientConnection]):
    """An HTTP/2 connection over any connected `trio.abc.Stream`: memory streams, unix sockets, TLS, a tunnel.

    Use it as `async with connect_over(transport, authority="example.org") as connection`. Leaving the block sends
    GOAWAY, lets open streams finish for at most `Config.close_timeout`, and closes the transport; leaving it by an
    exception does not wait for streams, and being cancelled closes at once. What the block raises comes out as it
    is, never in an ExceptionGroup, and a connection that dies does not cancel the block.

    Args:
        transport: connected, and for TLS already with `h2` negotiated or known to be spoken, and with
            `ssl.OP_NO_RENEGOTIATION` in its context (RFC 9113 section 9.2.1).
        authority: the `:authority` of requests, host and port.
        scheme: their `:scheme`, `"http"` by default.
        config: by default `Config()`.
        trace: is told what the connection does; by default nobody is.

    Raises, in the call: ValueError or TypeError naming the argument. Leaving it raises:
        InternalError: a bug in trio_h2 ended the connection.
    """

    def __init__(
        self,
        transport: trio.abc.Stream,
        *,
        authority: str,
        scheme: str = "http",
        config: Config | None = None,
        trace: Trace | None = None,
    ) -> None:
        self._transport = _checked_transport(transport)
        self._prepare(authority, scheme, config, trace)

    def _prepare(self, authority: str, scheme: str, config: Config | None, trace: Trace | None) -> None:
        self._config = checked_config(config)
        self._trace = checked_trace(trace)
        # The check of a request's fields is the check of what they are made of.
        request_fields("GET", "/", scheme=scheme, authority=authority, headers=())
        self._authority = authority
        self._scheme = scheme

    async def _connected(self) -> trio.abc.Stream:
        return self._transport

    def _make_actor(self, transport: trio.abc.Stream, nursery: trio.Nursery) -> ConnectionActor:
        return ConnectionActor(transport, self._config, nursery, client=True, trace=self._trace)

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> ClientConnection:
        self._enter_once()
        transport = await self._connected()
        self._nursery_manager = trio.open_nursery()
        self._nursery = await self._nursery_manager.__aenter__()
        self._actor = self._make_actor(transport, self._nursery)
        connection = ClientConnection(self._actor, self._authority, self._scheme)
        self._actor.begin(connection)
        self._nursery.start_soon(self._actor.run)
        return connection

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        close = partial(self._actor.aclose, drain=error is None)
        await leave_nursery(self._nursery_manager, self._nursery, error, close)
        if error is None and isinstance(self._actor.life.cause, InternalError):
            raise self._actor.life.cause


class connect(connect_over):
    """An HTTP/2 connection to a URL: `async with connect("https://example.org") as connection`.

    `https` is TLS with ALPN `h2` and verified certificate and host name; `http` is HTTP/2 with prior knowledge (RFC
    9113 section 3.3). All addresses of the host are tried, by `trio.open_tcp_stream`; with `transport`, nothing is
    looked up or opened. There is no timeout here: use `trio.fail_after`. For the rest see `connect_over`.

    Args:
        url: scheme, host and perhaps port; no path, no user. A host in ASCII is taken as it is, any other goes through
            IDNA 2008 with the mappings of UTS #46. A final dot is for DNS and `:authority`, not for TLS (RFC 6066
            section 3), and an IPv6 zone, `[fe80::1%25eth0]`, for connecting alone (RFC 6874).
        ssl_context: for `https`; by default one that trusts the system's authorities, or those that the environment
            names in SSL_CERT_FILE or SSL_CERT_DIR. ALPN `h2` is set on it, and that TLS does not renegotiate (RFC 9113
            section 9.2.1).
        config: by default `Config()`.
        transport: a connected `trio.abc.Stream` to take in place of a new TCP connection, which is the default: a
            CONNECT tunnel's stream, a unix socket. With `https` TLS is done over it. It is closed at the end, also
            when entering fails or is cancelled; the host and port of the URL are then for `:authority` and TLS alone.
        server_hostname: for `https`: the name, or address, that TLS asks for and verifies; by default the URL's host.
        trace: as for `connect_over`.

    Raises, in the call: ValueError or TypeError naming the argument. Entering it raises:
        OSError: no address could be reached.
        HandshakeError: TLS failed; also a trio.BrokenResourceError. Safe to retry only if the transport broke.
        ALPNError: it is a HandshakeError: TLS is up, and the server does not select `h2`.
    """

    def __init__(
        self,
        url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        config: Config | None = None,
        transport: trio.abc.Stream | None = None,
        server_hostname: str | None = None,
        trace: Trace | None = None,
    ) -> None:
        if not isinstance(url, str):
            raise TypeError(f"url must be a str, not {type(url).__name__}")
        self._origin = origin = origin_of(url)
        if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
            raise TypeError(f"ssl_context must be an ssl.SSLContext, not {type(ssl_context).__name__}")
        if ssl_context is not None and origin.scheme == "http":
            raise ValueError("ssl_context: an http:// url has no use for one")
        self._ssl_context = ssl_context
        if server_hostname is not None and origin.scheme == "http":
            raise ValueError("server_hostname: an http:// url has no use for one")
        self._tls_name = origin.name if server_hostname is None else tls_name_of(server_hostname)
        self._given = None if transport is None else _checked_transport(transport)
        self._prepare(origin.authority, origin.scheme, config, trace)

    async def _connected(self) -> trio.abc.Stream:
        stream: trio.abc.Stream
        if self._given is None:
            stream = await trio.open_tcp_stream(self._origin.host, self._origin.port)
        else:
            stream = self._given
        if self._scheme == "http":
            return stream
        context = self._ssl_context or default_context()
        return await shake_hands(stream, context, tls_name=self._tls_name, host=self._origin.host)


def _checked_transport(transport: trio.abc.Stream) -> trio.abc.Stream:
    if not isinstance(transport, trio.abc.Stream):
        raise TypeError(f"transport must be a trio.abc.Stream, not {type(transport).__name__}")
    return transport
