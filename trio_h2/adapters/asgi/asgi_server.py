"""`serve_asgi` and `serve_asgi_listeners`: servers for an ASGI app, with its lifespan around them."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import trio

import trio_h2

from ..proxy_protocol.proxy_listener import listener_behind
from ..trusted_addresses import TrustedAddresses
from .asgi_types import App
from .forwarded import TrustedProxies
from .handler import Adapter
from .lifespan import Lifespan, within_lifespan

__all__ = ["serve_asgi", "serve_asgi_listeners"]


class Started(trio.TaskStatus[trio_h2.H2Server]):
    """Tells an adapter, and then who waits for it, that the server has started."""

    def __init__(self, adapter: Adapter, task_status: trio.TaskStatus[trio_h2.H2Server]) -> None:
        self._adapter = adapter
        self._task_status = task_status

    def started(self, value: trio_h2.H2Server | None = None) -> None:
        """The server accepts connections."""
        assert value is not None
        self._adapter.end_with(value.closing)
        self._task_status.started(value)


async def serve_asgi_listeners(
    app: App,
    listeners: Sequence[trio.abc.Listener[Any]],
    *,
    root_path: str = "",
    server_header: str | None = "trio_h2",
    disconnect_grace: float = 1.0,
    max_message_size: int = 16 * 1024 * 1024,
    forwarded_allow_ips: str | Iterable[str] = (),
    proxy_protocol: str | Iterable[str] = (),
    http1: bool = True,
    config: trio_h2.Config | None = None,
    trace: trio_h2.Trace | None = None,
    max_connections: int = 1_000,
    max_handshakes: int = 200,
    task_status: trio.TaskStatus[trio_h2.H2Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI app on listeners until `H2Server.shutdown`: as `trio_h2.serve_h2_listeners`, within its lifespan.

    The app's startup runs first, and its shutdown after the last request. Cancelled, connections are closed at once,
    and the app has 5 seconds for its shutdown.

    Args:
        app, root_path, server_header, disconnect_grace, max_message_size, forwarded_allow_ips: as for `asgi_handler`.
        proxy_protocol: the proxies that begin each connection with a header of the PROXY protocol, version 1 or 2,
            named as for `forwarded_allow_ips`; what they say is the client's address and the server's, and whether it
            came by TLS. By default none. `trio_h2.adapters.proxy_protocol.with_proxy_protocol` says more.
        http1: Whether clients of HTTP/1.0 and 1.1 are served, too; else they get 505.
        listeners, config, trace, max_connections, max_handshakes, task_status: as for `trio_h2.serve_h2_listeners`.

    Raises:
        LifespanError: the app said that its startup or shutdown failed; after a failed startup nothing was served.
        TypeError, ValueError: an argument has the wrong type, or makes no sense.
    """
    lifespan = Lifespan(app)
    behind = TrustedAddresses(proxy_protocol, "proxy_protocol")
    proxies = TrustedProxies(forwarded_allow_ips)
    adapter = Adapter(app, root_path, server_header, lifespan.state, disconnect_grace, max_message_size, proxies)

    async def serve() -> None:
        await trio_h2.serve_h2_listeners(
            adapter.handle,
            listeners if behind.nobody else [listener_behind(each, behind) for each in listeners],
            http1=adapter.handle_http1 if http1 else None,
            config=config,
            trace=trace,
            max_connections=max_connections,
            max_handshakes=max_handshakes,
            task_status=Started(adapter, task_status),
        )

    await within_lifespan(lifespan, serve)


async def serve_asgi(
    app: App,
    port: int,
    *,
    host: str | bytes | None = None,
    ssl_context: ssl.SSLContext | None = None,
    backlog: int | None = None,
    root_path: str = "",
    server_header: str | None = "trio_h2",
    disconnect_grace: float = 1.0,
    max_message_size: int = 16 * 1024 * 1024,
    forwarded_allow_ips: str | Iterable[str] = (),
    proxy_protocol: str | Iterable[str] = (),
    http1: bool = True,
    config: trio_h2.Config | None = None,
    trace: trio_h2.Trace | None = None,
    max_connections: int = 1_000,
    max_handshakes: int = 200,
    task_status: trio.TaskStatus[trio_h2.H2Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI app on a TCP port until `H2Server.shutdown`: `server = await nursery.start(serve_asgi, app, 0)`.

    As `serve_asgi_listeners`; the port is bound after the app's startup.

    Args:
        app, root_path, server_header, disconnect_grace, max_message_size, forwarded_allow_ips: as for `asgi_handler`.
        proxy_protocol, http1: as for `serve_asgi_listeners`.
        port, host, ssl_context, backlog, config, trace, max_connections, max_handshakes, task_status: as for
            `trio_h2.serve_h2`.

    Raises:
        LifespanError: the app said that its startup or shutdown failed; after a failed startup nothing was served.
        OSError: the port could not be bound.
        TypeError, ValueError: an argument has the wrong type, or makes no sense.
    """
    lifespan = Lifespan(app)
    behind = TrustedAddresses(proxy_protocol, "proxy_protocol")
    proxies = TrustedProxies(forwarded_allow_ips)
    adapter = Adapter(app, root_path, server_header, lifespan.state, disconnect_grace, max_message_size, proxies)

    async def serve() -> None:
        await trio_h2.serve_h2(
            adapter.handle,
            port,
            host=host,
            ssl_context=ssl_context,
            wrap_listener=None if behind.nobody else partial(listener_behind, trusted=behind),
            backlog=backlog,
            http1=adapter.handle_http1 if http1 else None,
            config=config,
            trace=trace,
            max_connections=max_connections,
            max_handshakes=max_handshakes,
            task_status=Started(adapter, task_status),
        )

    await within_lifespan(lifespan, serve)
