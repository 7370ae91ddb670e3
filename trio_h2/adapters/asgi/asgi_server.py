"""`serve_asgi` and `serve_asgi_listeners`: servers for an ASGI app, with its lifespan around them."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from functools import partial
from typing import Any

import trio

import trio_h2

from .asgi_types import App
from .handler import asgi_handler
from .lifespan import within_lifespan

__all__ = ["serve_asgi", "serve_asgi_listeners"]


async def serve_asgi_listeners(
    app: App,
    listeners: Sequence[trio.abc.Listener[Any]],
    *,
    root_path: str = "",
    server_header: str | None = "trio_h2",
    disconnect_grace: float = 1.0,
    config: trio_h2.Config | None = None,
    max_connections: int = 1_000,
    max_handshakes: int = 200,
    task_status: trio.TaskStatus[trio_h2.H2Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI app on listeners until `H2Server.shutdown`: as `trio_h2.serve_h2_listeners`, within its lifespan.

    The app's startup runs first, and its shutdown after the last request. Cancelled, connections are closed at once,
    and the app has 5 seconds for its shutdown.

    Args:
        app, root_path, server_header, disconnect_grace: as for `asgi_handler`.
        listeners, config, max_connections, max_handshakes, task_status: as for `trio_h2.serve_h2_listeners`.

    Raises:
        LifespanError: the app said that its startup or shutdown failed; after a failed startup nothing was served.
        TypeError, ValueError: an argument has the wrong type, or makes no sense.
    """
    make = partial(
        asgi_handler, app, root_path=root_path, server_header=server_header, disconnect_grace=disconnect_grace
    )
    make()  # what is wrong with the arguments is raised before anything begins

    async def serve(state: dict[str, Any]) -> None:
        await trio_h2.serve_h2_listeners(
            make(state=state),
            listeners,
            config=config,
            max_connections=max_connections,
            max_handshakes=max_handshakes,
            task_status=task_status,
        )

    await within_lifespan(app, serve)


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
    config: trio_h2.Config | None = None,
    max_connections: int = 1_000,
    max_handshakes: int = 200,
    task_status: trio.TaskStatus[trio_h2.H2Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI app on a TCP port until `H2Server.shutdown`: `server = await nursery.start(serve_asgi, app, 0)`.

    As `serve_asgi_listeners`; the port is bound after the app's startup.

    Args:
        app, root_path, server_header, disconnect_grace: as for `asgi_handler`.
        port, host, ssl_context, backlog, config, max_connections, max_handshakes, task_status: as for
            `trio_h2.serve_h2`.

    Raises:
        LifespanError: the app said that its startup or shutdown failed; after a failed startup nothing was served.
        OSError: the port could not be bound.
        TypeError, ValueError: an argument has the wrong type, or makes no sense.
    """
    make = partial(
        asgi_handler, app, root_path=root_path, server_header=server_header, disconnect_grace=disconnect_grace
    )
    make()  # what is wrong with the arguments is raised before anything begins

    async def serve(state: dict[str, Any]) -> None:
        await trio_h2.serve_h2(
            make(state=state),
            port,
            host=host,
            ssl_context=ssl_context,
            backlog=backlog,
            config=config,
            max_connections=max_connections,
            max_handshakes=max_handshakes,
            task_status=task_status,
        )

    await within_lifespan(app, serve)
