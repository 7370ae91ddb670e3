"""`PoolTransport`: what `H2Transport` is in both packages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from types import ModuleType, TracebackType
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import trio

import trio_h2

from .failures import failure_of
from .kept_pool import KeptPool
from .last_fields import LastRequestFields, LastResponseFields
from .network_stream import NetworkStream
from .pool_arguments import Cert, Limits, Verify, limits_arguments, proxy_arguments, tls_context
from .request_parts import HttpxRequest, block_of, origin_of
from .response_body import ResponseBody

__all__ = ["PoolTransport"]

RequestT = TypeVar("RequestT", bound=HttpxRequest)
ResponseT = TypeVar("ResponseT", bound="HttpxResponse")
RequestT_contra = TypeVar("RequestT_contra", contravariant=True)
ResponseT_co = TypeVar("ResponseT_co", covariant=True)

MAX_REMEMBERED = 10_000
"""How many origins are remembered that do not speak HTTP/2."""


class HttpxResponse(Protocol):
    """What is looked at of an `httpx.Response`, or of httpx2's."""

    extensions: dict[str, Any]

    @property
    def headers(self) -> Any:
        """Its fields."""


class Transport(Protocol[RequestT_contra, ResponseT_co]):
    """Another transport of the package."""

    async def __aenter__(self) -> object:
        """Open it."""

    async def handle_async_request(self, request: RequestT_contra, /) -> ResponseT_co:
        """Make a request."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close it."""


class PoolTransport(Generic[RequestT, ResponseT]):
    """Requests over a `trio_h2.Pool`. Owner of every field: this object.

    Args:
        verify: True, for the authorities that the package trusts by default; False to verify nobody; an
            `ssl.SSLContext`, on which ALPN is set; or the path of a file or a directory of authorities.
        cert: our own certificate, for servers that want one: the path of a file that has its key too, or a tuple of the
            paths of both, and perhaps the key's password. None by default.
        trust_env: Whether SSL_CERT_FILE and SSL_CERT_DIR say which authorities are trusted, where `verify` is True.
        limits: the package's `Limits`. `max_connections` is how many connections there may be to one origin, opened
            only where the streams that it allows are in use; `keepalive_expiry` after how many seconds without a stream
            one closes. By default 4 and 60; nothing else of the limits has a meaning here.
        proxy: the URL of a proxy of `http` or `https`, or the package's `Proxy`: a tunnel through it to every origin.
            None by default.
        retries: how often a request that failed is made again, where the server certainly did not process it. 2.
        connect_timeout: seconds that one attempt to open a connection may take, which requests of any connect timeout
            may be waiting for. 10.
        fallback: a transport that gets the requests to origins that do not speak HTTP/2 over TLS, as ALPN says;
            nothing of a request was sent before. It is opened and closed with this one. By default there is none, and
            such requests fail.
        config: of each connection; by default `trio_h2.Config()`.
        open_stream: what connects to a host and a port; see `trio_h2.open_pool`.
        trace: is told what the connections do; by default nobody is.

    Raises, in the call: ValueError, TypeError, OSError or ssl.SSLError for arguments that make no sense.
    """

    _package: ClassVar[ModuleType]
    _response_body: ClassVar[type[ResponseBody]]

    def __init__(
        self,
        verify: Verify = True,
        cert: Cert | None = None,
        *,
        trust_env: bool = True,
        limits: Limits | None = None,
        proxy: object = None,
        retries: int = 2,
        connect_timeout: float = 10,
        fallback: Transport[RequestT, ResponseT] | None = None,
        config: trio_h2.Config | None = None,
        open_stream: Callable[[str, int], Awaitable[trio.abc.Stream]] = trio.open_tcp_stream,
        trace: trio_h2.Trace | None = None,
    ) -> None:
        arguments: dict[str, Any] = {
            "ssl_context": tls_context(self._package, verify, cert, trust_env),
            "config": config,
            "retries": retries,
            "connect_timeout": connect_timeout,
            "open_stream": open_stream,
            "trace": trace,
            **limits_arguments(limits),
            **proxy_arguments(self._package, proxy),
        }
        trio_h2.open_pool(**arguments)  # never entered: it says here, and not later, what is wrong with them
        self._make_pool: Callable[[], AbstractAsyncContextManager[trio_h2.Pool]]
        self._make_pool = partial(trio_h2.open_pool, **arguments)
        self._fallback = fallback
        self._kept: KeptPool | None = None
        self._entered = 0
        self._without_http2: dict[tuple[str, str | None], None] = {}
        self._last_request = LastRequestFields()
        self._last_response = LastResponseFields(self._package)

    @property
    def pool(self) -> trio_h2.Pool | None:
        """The pool that requests go through, whose `statistics()` show what there is; None while it is not open."""
        return None if self._kept is None else self._kept.pool

    # Opening and closing

    async def __aenter__(self) -> Self:
        """Open it, or have one more block in which it is open: two clients may share it."""
        _check_trio()
        while self._kept is not None and not self._kept.closed:
            kept = self._kept
            await kept.opened()
            if not kept.closed:  # whoever opens it may have been cancelled
                self._entered += 1
                return self
        self._kept = KeptPool(self._make_pool())
        self._entered = 1
        await self._open(self._kept)
        return self

    async def _open(self, kept: KeptPool) -> None:
        try:
            await kept.open()
            if self._fallback is not None:
                await self._fallback.__aenter__()
        except BaseException:
            await kept.close()
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Close it, as `aclose` does, if this was the last block in which it was open."""
        self._entered = max(0, self._entered - 1)
        if self._entered:
            await trio.lowlevel.checkpoint()
        else:
            await self.aclose()

    async def aclose(self) -> None:
        """Close responses that are open, let requests under way end for at most `Config.close_timeout`, and close.

        It may be opened again. A second call waits for the first; cancelled, it closes at once.
        """
        self._entered = 0
        if self._kept is None:
            await trio.lowlevel.checkpoint()
            return
        async with AsyncExitStack() as stack:
            if self._fallback is not None:
                stack.push_async_callback(self._fallback.aclose)
            await self._kept.close()

    # Requests

    @trio.lowlevel.enable_ki_protection
    async def handle_async_request(self, request: RequestT) -> ResponseT:
        """Make a request; the response is there when its headers are.

        Raises RuntimeError if it is not open, or not run by trio; and the package's errors, each of which has that of
        trio_h2 as its `__cause__`.
        """
        kept = self._kept
        pool = None if kept is None else kept.pool
        if kept is None or pool is None:
            raise self._not_open()
        try:
            block, sent, read_timeout = block_of(self._package, pool, request, self._last_request)
        except (ValueError, TypeError) as error:
            raise self._package.LocalProtocolError(str(error)) from error
        if self._without_http2 and origin_of(self._package, request) in self._without_http2:
            return await self._fall_back(request)
        try:
            stream = await block.__aenter__()
        except trio_h2.H2Error as error:
            if sent is not None and error is sent.raised:
                raise
            if self._fallback is None or not isinstance(error, trio_h2.ALPNError):
                raise failure_of(self._package, error, sending=sent is not None and not sent.sent) from error
        else:
            body = self._response_body(self._package, stream, block, sent, read_timeout, kept.let_go)
            kept.hold(body)
            return self._response(stream, body)
        self._remember(origin_of(self._package, request))
        return await self._fall_back(request)

    def _not_open(self) -> RuntimeError:
        _check_trio()
        name = self._package.__name__
        return RuntimeError(
            f"H2Transport is not open: use `async with {name}.AsyncClient(transport=H2Transport()) as client:`"
        )

    @trio.lowlevel.disable_ki_protection
    async def _fall_back(self, request: RequestT) -> ResponseT:
        """The response by the fallback, whose code may be interrupted."""
        assert self._fallback is not None
        return await self._fallback.handle_async_request(request)

    def _response(self, stream: trio_h2.ClientStream, body: ResponseBody) -> ResponseT:
        head = stream.head
        assert head is not None
        make: Callable[..., ResponseT] = self._package.Response
        interim = stream.informational
        extensions = {
            "http_version": b"HTTP/2",
            "stream_id": stream.stream_id,
            "trailers": None,
            "informational": [make(each.status, headers=each.headers.raw) for each in interim] if interim else [],
            "network_stream": NetworkStream(stream.connection),
        }
        fields = self._last_response
        response = make(head.status, headers=fields.of(head.headers), stream=body, extensions=extensions)
        response.headers.encoding = fields.known_encoding
        body.tell(response.extensions)
        return response

    def _remember(self, origin: tuple[str, str | None]) -> None:
        """It does not speak HTTP/2."""
        if len(self._without_http2) >= MAX_REMEMBERED:
            del self._without_http2[next(iter(self._without_http2))]
        self._without_http2[origin] = None


def _check_trio() -> None:
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError("H2Transport runs on trio alone: start the program with trio.run(), not with asyncio")
