"""The server of `/metrics`, on a port of its own."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import trio

from ..shared.missing_extra import missing_package
from .binding import listen_on_port
from .serve_error import ServeError
from .serve_options import ServeOptions

if TYPE_CHECKING:
    from .metrics import Snapshot

__all__ = ["metrics_sockets", "serve_metrics"]

logger = logging.getLogger("trio_h2.serving")

EXTRA = {"prometheus_client": "metrics", "h11": "asgi", "wsproto": "asgi"}

MAX_CONNECTIONS = 100

PATIENCE = 1.0
"""Seconds after which workers that have not answered are left out."""


@contextmanager
def metrics_sockets(options: ServeOptions) -> Iterator[Sequence[socket.socket]]:
    """The sockets of `--metrics-port`; none without that.

    Raises:
        ServeError: it can't listen there, or what it needs is not installed.
    """
    if options.metrics_port is None:
        yield ()
        return
    try:
        import trio_h2.adapters.asgi  # noqa: F401

        from . import metrics  # noqa: F401
    except ModuleNotFoundError as error:
        raise ServeError(f"--metrics-port: {missing_package(error, EXTRA)}") from None
    with ExitStack() as closing:
        yield [closing.enter_context(each) for each in listen_on_port(options.metrics_host, options.metrics_port)]


async def serve_metrics(sockets: Sequence[socket.socket], look: Callable[[], Awaitable[Snapshot]]) -> None:
    """Answer `GET /metrics` over HTTP/1.1 and HTTP/2 on sockets that listen, until cancelled; 404 elsewhere.

    Args:
        sockets: without any, it returns at once.
        look: says what there is to show. It may take `PATIENCE` and little more.
    """
    if not sockets:
        return
    from trio_h2.adapters.asgi import serve_asgi_listeners

    from .metrics import page

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        if scope["path"] != "/metrics":
            await _answer(send, 404, "text/plain; charset=utf-8", b"Metrics are at /metrics.\n")
        elif scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405, "text/plain; charset=utf-8", b"GET or HEAD.\n", (b"allow", b"GET, HEAD"))
        else:
            accept = ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"accept")
            content_type, body = page(await look(), accept)
            await _answer(send, 200, content_type, body)

    for each in sockets:
        host, port = socket.getnameinfo(each.getsockname(), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
        logger.info("metrics at http://%s:%s/metrics", f"[{host}]" if ":" in host else host, port)
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(each)) for each in sockets]
    await serve_asgi_listeners(app, listeners, max_connections=MAX_CONNECTIONS)


async def _answer(send: Any, status: int, content_type: str, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    fields = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
