"""`block_of`: a request of httpx's, as a pool takes it; `RequestBody`: what is sent of it chunk by chunk."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from types import ModuleType
from typing import Any, Protocol

import trio_h2

from .last_fields import LastRequestFields

__all__ = ["HttpxRequest", "RequestBody", "block_of", "origin_of"]


class HttpxRequest(Protocol):
    """What is looked at of an `httpx.Request`, or of httpx2's."""

    method: str

    @property
    def url(self) -> Any:
        """Where to."""

    @property
    def headers(self) -> Any:
        """Its fields."""

    @property
    def stream(self) -> Any:
        """Its body."""

    @property
    def extensions(self) -> Mapping[str, Any]:
        """What is asked for beside it."""


class RequestBody:
    """A body that its user makes chunk by chunk. Owner of every field: this object.

    Attributes:
        sent: Whether all of it was taken.
        raised: what the user's code raised, or None.
    """

    def __init__(self, stream: AsyncIterable[bytes]) -> None:
        self._stream = stream
        self.sent = False
        self.raised: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._stream)
        try:
            async for chunk in chunks:
                yield chunk
            self.sent = True
        except Exception as error:
            self.raised = error
            raise
        finally:
            if inspect.isasyncgen(chunks):
                await chunks.aclose()


def block_of(
    package: ModuleType, pool: trio_h2.Pool, request: HttpxRequest, last: LastRequestFields
) -> tuple[AbstractAsyncContextManager[trio_h2.ClientStream], RequestBody | None, float]:
    """The block of a request's stream, not entered yet; its body, where its user makes that; and its read timeout.

    Raises UnsupportedProtocol for a URL of another scheme, ValueError or TypeError for what makes no request.
    """
    method = request.method
    if method == "CONNECT":
        raise ValueError("CONNECT makes a tunnel: trio_h2.open_pool() gives one, by stream()")
    origin, server_hostname = origin_of(package, request)
    headers, authority = last.of(request.headers.raw)
    extensions = request.extensions
    target = _text(extensions["target"]) if "target" in extensions else request.url.raw_path.decode("ascii")
    timeout = extensions.get("timeout", {})
    timeouts = _timeouts(timeout.get("pool"), timeout.get("connect"), timeout.get("write"), timeout.get("read"))
    stream = request.stream
    sent = None if isinstance(stream, package.ByteStream) else RequestBody(stream)
    body = (b"".join(stream) or None) if sent is None else sent
    block = pool.stream(
        method,
        origin,
        headers=headers,
        end_stream=True if body is None else None,
        body=body,
        target=target,
        authority=authority,
        server_hostname=server_hostname,
        timeouts=timeouts,
    )
    return block, sent, timeouts.read


def origin_of(package: ModuleType, request: HttpxRequest) -> tuple[str, str | None]:
    """Whom a request goes to: scheme, host and port as a URL, and the name that TLS verifies if it is another.

    Raises UnsupportedProtocol for a URL of another scheme.
    """
    url = request.url
    scheme = url.scheme
    if scheme == "http":
        server_hostname = None
    elif scheme == "https":
        server_hostname = _text(request.extensions.get("sni_hostname"))
    else:
        what = f"the URL's scheme is {scheme!r}" if scheme else "the URL has no scheme"
        raise package.UnsupportedProtocol(f"{what}: it must start with http:// or https://")
    return f"{scheme}://{url.netloc.decode('ascii')}", server_hostname


def _text(given: Any) -> Any:
    """What the package's own transports take as text or as octets."""
    return given.decode("ascii") if isinstance(given, bytes) else given


@functools.lru_cache(maxsize=64)
def _timeouts(pool: float | None, connect: float | None, write: float | None, read: float | None) -> trio_h2.Timeouts:
    """The timeouts of a request, from what its extension of that name says."""
    acquire, connect, write, read = (math.inf if each is None else each for each in (pool, connect, write, read))
    return trio_h2.Timeouts(acquire=acquire, connect=connect, write=write, read=read)
