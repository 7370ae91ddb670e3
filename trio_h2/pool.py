"""`open_pool`, and the `Pool` that it gives: requests to any origin, over connections that are seen to."""

from __future__ import annotations

import functools
import math
import re
import ssl
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import attrs
import trio

from .bodies import Body
from .client_connection import MAX_BODY, ClientStream, EnteredOnce, leave_nursery
from .config import Config
from .connection import checked_config, counted
from .exceptions import H2Error
from .exchange import streamed_request, whole_request
from .headers import HeadersLike, NeverIndexed
from .origin import origin_of, tls_name_of
from .pooling.origin_connections import Policy
from .pooling.origins import Origins, Where
from .pooling.pool_statistics import OriginStatistics
from .pooling.pooled_stream import PooledStream
from .pooling.proxy_url import Proxy, proxy_of
from .pooling.reaching import OpenStream, Reaching, ReachingThroughProxy
from .pooling.tries import Tries
from .protocol.priority import Priority
from .requests import Response
from .stream import check_max_body
from .timeouts import Timeouts
from .trace import Trace, checked_trace
from .wording import number, quoted

__all__ = ["Pool", "open_pool"]

_URL = re.compile(r"([^/?#]*//[^/?#]*)([^#]*)(?:#.*)?", re.DOTALL)
_FOREVER = Timeouts()


_origins: dict[str, Where] = {}
MAX_ORIGINS = 1024
"""So many URLs are remembered that are an origin and no more."""


def _new_origin(url: str) -> Where:
    origin = origin_of(url)
    if len(_origins) >= MAX_ORIGINS:
        _origins.clear()
    _origins[url] = where = (origin, origin.name)
    return where


class Pool:
    """Requests to any origin, as `async with open_pool() as pool` gives it. Any number of tasks may use it at once.

    A request goes over a connection to its origin that is there, or one that is opened for it; see `open_pool`. What
    failed is made again, up to `retries` times, where the server certainly did not process it
    (`H2Error.safe_to_retry`) and it can be sent again: where it has no body, or one of octets or that a callable makes,
    or nobody has asked its iterator yet. An error's `attempts` says how often it was tried.
    """

    def __init__(self, origins: Origins, proxies: Origins | None) -> None:
        self._origins = origins
        self._proxies = proxies

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {'closed' if self._origins.closed else counted(len(self._origins), 'origin')}>"

    @trio.lowlevel.enable_ki_protection
    async def request(
        self,
        method: str | bytes,
        url: str,
        *,
        headers: HeadersLike = (),
        body: Body | None = None,
        trailers: HeadersLike | None = None,
        target: str | None = None,
        authority: str | None = None,
        server_hostname: str | None = None,
        priority: Priority | None = None,
        max_body: int | None = MAX_BODY,
    ) -> Response:
        """Make a request and return the whole response, as `ClientConnection.request`.

        Args:
            method, headers, body, trailers, priority, max_body: as for `ClientConnection.request`. A body that is a
                callable is called for each try.
            url: where to; its path and query are the request's target, its fragment is dropped.
            target: what is asked for, `"*"` say; by default the url's path and query.
            authority: by default that of the url.
            server_hostname: for `https`: the name, or address, that TLS asks for and verifies; by default the url's
                host. Connections are shared by requests that have the same.

        Raises:
            ValueError, TypeError: an argument makes no request; nothing was sent.
            ConnectError: no connection could be opened; a ProxyError is one.
            HandshakeError: TLS failed; an ALPNError says that the origin does not speak HTTP/2 by it.
            RequestTimeoutError: `connect_timeout` is over; also a trio.TooSlowError.
            StreamResetError, ConnectionTerminatedError: the stream or the connection ended before the response did,
                and it was not safe to make the request again, or that was done often enough.
            ResponseTooLargeError, and whatever the body's iterator raises: as of `ClientConnection.request`.
        """
        where, target = _where(url, target, server_hostname)
        check_max_body(max_body)
        origin = where[0]
        outgoing = whole_request(
            method,
            target,
            origin.scheme,
            origin.authority if authority is None else authority,
            headers,
            body,
            trailers,
            priority,
        )
        tries = Tries(self._origins.retries)
        while True:
            connections = self._origins.to(where)
            connection = connections.at_once() or await connections.acquire(tries, _FOREVER)
            pump = outgoing.pump()
            try:
                return await connection.exchange(outgoing, pump, max_body)
            except BaseException as error:
                connections.serve()
                if not isinstance(error, H2Error) or not tries.again(error, repeatable=outgoing.repeatable(pump)):
                    raise
                failure = error
            await tries.pause(failure)

    def stream(
        self,
        method: str | bytes,
        url: str,
        *,
        headers: HeadersLike = (),
        end_stream: bool | None = None,
        body: Body | None = None,
        trailers: HeadersLike | None = None,
        target: str | None = None,
        authority: str | None = None,
        server_hostname: str | None = None,
        protocol: str | None = None,
        priority: Priority | None = None,
        timeouts: Timeouts | None = None,
    ) -> AbstractAsyncContextManager[ClientStream]:
        """Open a stream, as `ClientConnection.stream`: `async with pool.stream("POST", url) as stream`.

        If the pool knows all of the request, because it has no body or its body is given here, entering it waits for
        the response's headers, and makes the request again where it fails before they came. If the body is sent by
        you, it is entered when the request has begun, and made again only where nothing of it was sent.

        Args:
            method, headers, end_stream, protocol, priority: as for `ClientConnection.stream`.
            url, target, authority, server_hostname: as for `request`.
            body, trailers: as for `request`; sent while you read. By default you send what there is.
            timeouts: how long each wait of this request may last; by default as long as it takes.

        Raises, in the call: ValueError or TypeError naming the argument. Entering it raises as `request`, and:
            RequestTimeoutError: one of the `timeouts` is over.
        """
        where, target = _where(url, target, server_hostname)
        if timeouts is not None and not isinstance(timeouts, Timeouts):
            raise TypeError(f"timeouts must be Timeouts, not {type(timeouts).__name__}")
        origin = where[0]
        if body is None and trailers is None:
            outgoing = streamed_request(
                method, target, origin.scheme, authority, headers, end_stream, protocol, priority, origin.authority
            )
        else:
            if end_stream:
                raise ValueError("end_stream: there is a body, or there are trailers")
            if protocol is not None:
                raise ValueError("body: what is sent in a tunnel is sent by you")
            authority = origin.authority if authority is None else authority
            outgoing = whole_request(method, target, origin.scheme, authority, headers, body, trailers, priority)
        return PooledStream(self._origins, where, outgoing, timeouts or _FOREVER)

    @trio.lowlevel.enable_ki_protection
    async def aclose(self) -> None:
        """Take no more requests, let those that are there finish for at most `Config.close_timeout`, and close.

        Requests that wait for a connection fail. A second call waits for the first. Cancelled, it closes at once.
        """
        await self._close(drain=True)

    async def _close(self, *, drain: bool) -> None:
        await self._origins.close(drain=drain)
        if self._proxies is not None:  # after the tunnels that go through it
            await self._proxies.close(drain=drain)

    def statistics(self) -> dict[str, OriginStatistics]:
        """What there is to each origin at this moment, by its URL.

        Where requests gave a `server_hostname` there is one more for each, whose key says so.
        """
        return self._origins.statistics()


def _where(url: str, target: str | None, server_hostname: str | None) -> tuple[Where, str]:
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not {type(url).__name__}")
    path = ""
    where = _origins.get(url)
    if where is None:
        match = _URL.fullmatch(url)
        if match is None:
            raise ValueError(f"url must start with http:// or https://, not {quoted(url)}")
        origin, path = match.groups()
        where = _origins.get(origin) or _new_origin(origin)
    if target is None:
        target = path if path.startswith("/") else f"/{path}"
    if server_hostname is None:
        return where, target
    if where[0].scheme == "http":
        raise ValueError("server_hostname: an http:// url has no use for one")
    return (where[0], tls_name_of(server_hostname)), target


class open_pool(EnteredOnce[Pool]):
    """Connections for a program that runs on: `async with open_pool() as pool`, then `await pool.request("GET", url)`.

    There is one connection to an origin (scheme, host and port), opened when it is first asked for, while all who ask
    wait for it. Another is opened only where all streams that the origin allows (SETTINGS_MAX_CONCURRENT_STREAMS) are
    in use, up to `max_connections_per_origin`; beyond that requests wait, in order. A connection that got GOAWAY, has
    used up its stream IDs or has failed takes no more requests, finishes its streams, and another is opened in its
    place. `https` and `http` are as for `connect`: HTTP/2 and no other.

    Leaving the block closes the pool as `Pool.aclose` does; leaving it by an exception resets what is open. What the
    block raises comes out as it is, never in an ExceptionGroup, and no task is left.

    Args:
        ssl_context: for TLS with origins; by default as for `connect`. ALPN is set on it.
        config: of each connection; by default `Config()`. Its `keepalive_interval` finds peers that are gone unseen.
        max_connections_per_origin: how many may take requests at once. 4.
        retries: how often a request that failed is made again, at most. 2.
        idle_timeout: seconds without a stream after which a connection closes; `math.inf` for never. 60.
        connect_timeout: seconds that opening a connection may take, and then its first SETTINGS. 10.
        proxy: the URL of a proxy that is asked for a tunnel to every origin (CONNECT): `https://` in HTTP/2 or
            HTTP/1.1, as it says by ALPN; `http://` in HTTP/1.1. A user and a password in it, percent-encoded, become a
            Proxy-Authorization. HTTP/1.1 needs the extra `proxy`. None by default.
        proxy_ssl_context: for TLS with the proxy; by default as for `connect`.
        open_stream: what connects to a host and a port, of the origin or of the proxy: `await open_stream(host, port)`
            gives a `trio.abc.Stream`. By default `trio.open_tcp_stream`.
        trace: is told what the connections do; by default nobody is.

    Raises, in the call: ValueError or TypeError naming the argument; RuntimeError if the proxy needs h11, which is not
    there. Leaving it raises:
        InternalError: a bug in trio_h2 ended a connection.
    """

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        config: Config | None = None,
        max_connections_per_origin: int = 4,
        retries: int = 2,
        idle_timeout: float = 60,
        connect_timeout: float = 10,
        proxy: str | None = None,
        proxy_ssl_context: ssl.SSLContext | None = None,
        open_stream: OpenStream = trio.open_tcp_stream,
        trace: Trace | None = None,
    ) -> None:
        config = checked_config(config)
        _check_count("max_connections_per_origin", max_connections_per_origin, 1)
        _check_count("retries", retries, 0)
        _check_seconds("idle_timeout", idle_timeout)
        _check_seconds("connect_timeout", connect_timeout)
        _check_context("ssl_context", ssl_context)
        _check_context("proxy_ssl_context", proxy_ssl_context)
        if not callable(open_stream):
            raise TypeError(f"open_stream must be an async callable, not {type(open_stream).__name__}")
        self._retries = retries
        self._policy = Policy(
            attrs.evolve(config, handshake_timeout=min(config.handshake_timeout, connect_timeout)),
            max_connections_per_origin,
            idle_timeout,
            connect_timeout,
            checked_trace(trace),
        )
        self._reaching = Reaching(open_stream, ssl_context)
        self._to_proxy: Reaching | None = None
        self._proxy_pool: Pool | None = None
        if proxy is not None:
            self._through(proxy_of(proxy), Reaching(open_stream, proxy_ssl_context), ssl_context)

    def _through(self, proxy: Proxy, to_proxy: Reaching, ssl_context: ssl.SSLContext | None) -> None:
        url = f"{proxy.origin.scheme}://{proxy.origin.authority}"
        self._to_proxy = to_proxy

        async def open_tunnel(authority: str, fields: Sequence[NeverIndexed]) -> ClientStream:
            assert self._proxy_pool is not None
            # The tunnel is a transport, and ends as one does: when it is closed.
            return await self._proxy_pool.stream("CONNECT", url, target=authority, headers=fields).__aenter__()

        self._reaching = ReachingThroughProxy(ssl_context, proxy, to_proxy, open_tunnel)

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Pool:
        self._enter_once()
        self._nursery_manager = trio.open_nursery()
        self._nursery = nursery = await self._nursery_manager.__aenter__()
        proxies: Origins | None = None
        if self._to_proxy is not None:
            # No retries: who asks for a tunnel has some.
            proxies = Origins(self._policy, self._to_proxy, retries=0, nursery=nursery)
            self._proxy_pool = Pool(proxies, None)
        self._origins = Origins(self._policy, self._reaching, retries=self._retries, nursery=nursery)
        self._pool = Pool(self._origins, proxies)
        return self._pool

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        close = functools.partial(self._pool._close, drain=error is None)
        await leave_nursery(self._nursery_manager, self._nursery, error, close)
        if error is None:
            self._origins.raise_bug()


def _check_count(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {number(value)}")


def _check_seconds(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if math.isnan(value) or value <= 0:
        raise ValueError(f"{name} must be more than 0 seconds, not {number(value)}")


def _check_context(name: str, context: ssl.SSLContext | None) -> None:
    if context is not None and not isinstance(context, ssl.SSLContext):
        raise TypeError(f"{name} must be an ssl.SSLContext, not {type(context).__name__}")
