"""`asgi_handler`: an ASGI app as a handler of trio_h2's server."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import trio

import trio_h2

from .asgi_types import App
from .disconnecting import AppRun, tells_nothing
from .http_exchange import HttpExchange
from .scopes import http_scope

__all__ = ["asgi_handler"]

logger = logging.getLogger("trio_h2")


def asgi_handler(
    app: App,
    *,
    root_path: str = "",
    server_header: str | None = "trio_h2",
    state: Mapping[str, Any] | None = None,
    disconnect_grace: float = 1.0,
) -> trio_h2.Handler:
    """An ASGI 3.0 app as a handler for `serve_h2` and its siblings; there is no lifespan around it.

    Args:
        app: called as `await app(scope, receive, send)` for every request, in the request's task.
        root_path: the path that the app is mounted at: `scope["root_path"]`, and the beginning of `scope["path"]`.
        server_header: the value of Server where the app sends none; None for no such field.
        state: what every `scope["state"]` is a shallow copy of; by default nothing.
        disconnect_grace: seconds that an app whose client has gone has from `http.disconnect` to its cancellation;
            math.inf to let it end by itself.

    Raises:
        ValueError, TypeError: an argument has the wrong type, or makes no sense.
    """
    return Adapter(app, root_path, server_header, {} if state is None else state, disconnect_grace).handle


class Adapter:
    """An app, and what all of its requests have in common."""

    def __init__(
        self, app: App, root_path: str, server_header: str | None, state: Mapping[str, Any], grace: float
    ) -> None:
        if not callable(app):
            raise TypeError(f"app must be an ASGI app, not {type(app).__name__}")
        if not isinstance(root_path, str):
            raise TypeError(f"root_path must be str, not {type(root_path).__name__}")
        if root_path and not root_path.startswith("/"):
            raise ValueError(f"root_path must begin with a slash: {root_path!r}")
        if server_header is not None and not isinstance(server_header, str):
            raise TypeError(f"server_header must be str or None, not {type(server_header).__name__}")
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be a mapping, not {type(state).__name__}")
        if isinstance(grace, bool) or not isinstance(grace, int | float):
            raise TypeError(f"disconnect_grace must be a number of seconds, not {type(grace).__name__}")
        if math.isnan(grace) or grace < 0:
            raise ValueError(f"disconnect_grace must not be negative: {grace}")
        self._app = app
        self._root_path = root_path.rstrip("/")
        self._server = None if server_header is None else server_header.encode("ascii")
        self._state = state
        self._grace = grace

    async def handle(self, stream: trio_h2.ServerStream) -> None:
        """Answer a request."""
        if stream.request.method == "CONNECT":
            await stream.respond(501)  # RFC 9110 section 15.6.2: no app can be asked for a tunnel
        else:
            await self._answer(stream)

    async def _answer(self, stream: trio_h2.ServerStream, *, promised: bool = False) -> None:
        raised: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                exchange = HttpExchange(
                    stream,
                    self._server,
                    lambda pushed: nursery.start_soon(self._keep_promise, pushed),
                    promised=promised,
                )
                scope = http_scope(stream, self._root_path, self._state, promised=promised)
                run = AppRun(stream, exchange, self._grace)
                raised = await run.run(
                    nursery, partial(self._app, scope, exchange.receive, exchange.send), promised=promised
                )
        finally:
            try:
                if raised is not None and not (exchange.gone and tells_nothing(raised)):
                    raise raised
            finally:
                del raised  # its traceback has this frame
        await trio.lowlevel.checkpoint_if_cancelled()
        if not exchange.complete and not exchange.gone:
            raise RuntimeError(f"the app returned, and {exchange.missing!r} was next")

    async def _keep_promise(self, stream: trio_h2.ServerStream) -> None:
        """Answer a request that the app has promised; what goes wrong ends this response alone."""
        try:
            await self._answer(stream, promised=True)
        except Exception as error:
            logger.error("the app raised for a pushed %s", stream.request.method, exc_info=error)
            await stream.reset(trio_h2.ErrorCodes.INTERNAL_ERROR)
        finally:
            with trio.CancelScope(shield=True):
                await stream.aclose()
