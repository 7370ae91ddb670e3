"""`asgi_handler`: an ASGI app as a handler of trio_h2's server."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import trio

import trio_h2

from .asgi_types import App
from .connection_facts import ConnectionFacts, facts_of
from .disconnecting import scope_of_app, tells_nothing
from .forwarded import TrustedProxies
from .http1_connection import Http1Connection
from .http_exchange import HttpExchange
from .mending import mended_fields
from .request_stream import Carrier, RequestStream
from .scopes import http_scope, websocket_scope
from .websocket_exchange import WebSocketExchange

__all__ = ["Adapter", "asgi_handler"]

logger = logging.getLogger("trio_h2")


def asgi_handler(
    app: App,
    *,
    root_path: str = "",
    server_header: str | None = "trio_h2",
    state: Mapping[str, Any] | None = None,
    disconnect_grace: float = 1.0,
    max_message_size: int = 16 * 1024 * 1024,
    forwarded_allow_ips: str | Iterable[str] = (),
) -> trio_h2.Handler:
    """An ASGI 3.0 app as a handler for `serve_h2` and its siblings; there is no lifespan around it.

    Args:
        app: called as `await app(scope, receive, send)` for every request, in the request's task.
        root_path: the path that the app is mounted at: `scope["root_path"]`, and the beginning of `scope["path"]`.
        server_header: the value of Server where the app sends none; None for no such field.
        state: what every `scope["state"]` is a shallow copy of; by default nothing.
        disconnect_grace: seconds that an app whose client has gone has from `http.disconnect` to its cancellation;
            math.inf to let it end by itself.
        max_message_size: octets of a WebSocket's message, or characters; a larger one closes it with 1009.
        forwarded_allow_ips: the proxies whose X-Forwarded-For, -Proto and -Host, or Forwarded (RFC 7239), are believed:
            IP addresses and networks, as an iterable or separated by commas, `"unix"` for every peer without an
            address, `"*"` for every peer. By default none.

    Raises:
        ValueError, TypeError: an argument has the wrong type, or makes no sense.
    """
    adapter = Adapter(
        app,
        root_path,
        server_header,
        {} if state is None else state,
        disconnect_grace,
        max_message_size,
        TrustedProxies(forwarded_allow_ips),
    )
    return adapter.handle


class Adapter:
    """An app, and what all of its requests have in common. Owner of every field: this object."""

    def __init__(
        self,
        app: App,
        root_path: str,
        server_header: str | None,
        state: Mapping[str, Any],
        grace: float,
        max_message_size: int,
        proxies: TrustedProxies,
    ) -> None:
        if not callable(app):
            raise TypeError(f"app must be an ASGI app, not {type(app).__name__}")
        if not isinstance(root_path, str):
            raise TypeError(f"root_path must be str, not {type(root_path).__name__}")
        if root_path and not root_path.startswith("/"):
            raise ValueError(f"root_path must begin with a slash: {root_path!r}")
        if server_header is not None and not isinstance(server_header, str):
            raise TypeError(f"server_header must be str or None, not {type(server_header).__name__}")
        if server_header is not None and not (server_header.isascii() and server_header.isprintable()):
            raise ValueError(f"server_header must be printable ASCII: {server_header!r}")
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be a mapping, not {type(state).__name__}")
        if isinstance(grace, bool) or not isinstance(grace, int | float):
            raise TypeError(f"disconnect_grace must be a number of seconds, not {type(grace).__name__}")
        if math.isnan(grace) or grace < 0:
            raise ValueError(f"disconnect_grace must not be negative: {grace}")
        if isinstance(max_message_size, bool) or not isinstance(max_message_size, int):
            raise TypeError(f"max_message_size must be an int, not {type(max_message_size).__name__}")
        if max_message_size < 1:
            raise ValueError(f"max_message_size must be at least 1, not {max_message_size}")
        self._app = app
        self._root_path = root_path.rstrip("/")
        self._server = None if server_header is None else server_header.encode("ascii")
        self._state = state
        self._grace = grace
        self._max_message_size = max_message_size
        self._proxies = proxies
        self._closing = trio.Event()
        self._known: WeakKeyDictionary[Carrier, ConnectionFacts] = WeakKeyDictionary()

    def end_with(self, closing: trio.Event) -> None:
        """WebSockets are closed when this is set: the server's shutdown begins."""
        self._closing = closing

    async def handle_http1(self, stream: trio_h2.ReplayedStream) -> None:
        """Answer the requests of a connection of HTTP/1.x."""
        await Http1Connection(stream, self.handle, self._closing).run()

    async def handle(self, stream: RequestStream) -> None:
        """Answer a request."""
        request = stream.request
        if request.method != "CONNECT":
            if stream.can_push:
                await self._answer_and_push(stream)
            else:  # in this task alone
                exchange = HttpExchange(stream, self._server)
                stream.on_disconnect(exchange.client_gone, grace=self._grace)
                await self._call(stream, exchange)
        elif request.protocol != "websocket":
            # RFC 9110 section 15.6.2: no app can be asked for a tunnel.
            await stream.respond(501, mended_fields(501, [], self._server))
        elif request.headers.get_all("sec-websocket-version") != ["13"]:
            fields = [(b"sec-websocket-version", b"13")]  # RFC 6455 section 4.4
            await stream.respond(400, mended_fields(400, fields, self._server))
        else:
            await self._open(stream)

    async def _answer_and_push(self, stream: RequestStream) -> None:
        raised: BaseException | None = None  # what leaves the block would be put into a group
        try:
            async with trio.open_nursery() as nursery:

                def start_push(pushed: trio_h2.ServerStream) -> None:
                    nursery.start_soon(self._keep_promise, pushed)

                exchange = HttpExchange(stream, self._server, start_push)
                stream.on_disconnect(exchange.client_gone, grace=self._grace)
                try:
                    await self._call(stream, exchange)
                except BaseException as error:
                    raised = error
        finally:
            try:
                if raised is not None:
                    raise raised
            finally:
                del raised  # its traceback has this frame

    async def _keep_promise(self, stream: trio_h2.ServerStream) -> None:
        """Answer a request that the app has promised; what goes wrong ends this response alone."""
        exchange = HttpExchange(stream, self._server, promised=True)
        try:
            with scope_of_app(stream, exchange, self._grace):
                await self._call(stream, exchange)
        except Exception as error:
            logger.error("the app raised for a pushed %s", stream.request.method, exc_info=error)
            await stream.reset(trio_h2.ErrorCodes.INTERNAL_ERROR)
        finally:
            with trio.CancelScope(shield=True):
                await stream.aclose()

    async def _call(self, stream: RequestStream, exchange: HttpExchange) -> None:
        """Call the app for a request, unless its client has gone already. Raises what the app does."""
        if exchange.gone:
            return
        scope = http_scope(stream, self._facts(stream.connection), self._root_path, self._state, exchange.promised)
        self._proxies.correct(scope)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except trio.Cancelled:
            raise
        except BaseException as error:
            if not (exchange.gone and tells_nothing(error)):
                raise
        if not (exchange.complete or exchange.gone):
            await trio.lowlevel.checkpoint_if_cancelled()
            raise RuntimeError(f"the app returned, and {exchange.missing!r} was next")

    def _facts(self, connection: Carrier) -> ConnectionFacts:
        facts = self._known.get(connection)
        if facts is None:
            facts = self._known[connection] = facts_of(connection)
        return facts

    async def _open(self, stream: RequestStream) -> None:
        """Answer a request for a WebSocket."""
        raised: BaseException | None = None
        exchange = WebSocketExchange(stream, self._server, self._max_message_size)
        app = scope_of_app(stream, exchange, self._grace)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(exchange.read)
                nursery.start_soon(exchange.tend, self._closing)
                nursery.start_soon(self._end_in_time, exchange, app)
                if not exchange.gone:
                    scope = websocket_scope(stream, self._facts(stream.connection), self._root_path, self._state)
                    self._proxies.correct(scope)
                    try:
                        with app:
                            await self._app(scope, exchange.receive, exchange.send)
                    except BaseException as error:
                        raised = error
                await exchange.finish(raised)
                nursery.cancel_scope.cancel()
        finally:
            try:
                if raised is not None and not (exchange.gone and tells_nothing(raised)):
                    if not (exchange.accepted and isinstance(raised, Exception)):
                        raise raised
                    # Raised, it would reset the stream, and the client might not see why it was closed.
                    path = (stream.request.path or "").partition("?")[0]
                    logger.error("the app raised for the WebSocket %r", path, exc_info=raised)
            finally:
                del raised  # its traceback has this frame
        await trio.lowlevel.checkpoint_if_cancelled()
        if not (exchange.accepted or exchange.complete or exchange.gone):
            raise RuntimeError("the app returned, and had not answered the request for a WebSocket")

    async def _end_in_time(self, exchange: WebSocketExchange, app: trio.CancelScope) -> None:
        """The client may also say that it goes."""
        await exchange.ended.wait()
        if not exchange.complete:
            app.deadline = min(app.deadline, trio.current_time() + self._grace)
