"""The server: `serve_h2`, its siblings and `H2Server`."""

from __future__ import annotations

import errno
import logging
import math
import selectors
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from . import events as ev
from .actors.connection import ConnectionActor
from .actors.logs import close_at_once, escaped, logger, peer_name
from .actors.stream import StreamActor
from .config import Config
from .connection import Connection, checked_config, socket_address
from .streams import ServerStream, split_request

__all__ = ["H2Server", "Handler", "ServerConnection", "serve_h2", "serve_h2_connection", "serve_h2_listeners"]

Handler = Callable[[ServerStream], Awaitable[object]]

# Of those that take no file descriptor of their own: Windows has no poll, and elsewhere select stops at 1,024.
Selector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)


class ServerConnection(Connection):
    """A server's side of a connection, as `ServerStream.connection` gives it."""


class _Served:
    """One connection being served."""

    def __init__(self, handler: Handler, transport: trio.abc.Stream, config: Config) -> None:
        self._handler = handler
        self._transport = transport
        self._config = config
        self._scope = trio.CancelScope()
        self._connection: ServerConnection | None = None
        self.actor: ConnectionActor | None = None
        self._past_handshake = trio.Event()

    async def run(self) -> None:
        with self._scope:
            speaks_h2 = await self._handshake()
            if speaks_h2 is None:
                self._past_handshake.set()
                return
            async with trio.open_nursery() as nursery:
                self.actor = ConnectionActor(self._transport, self._config, nursery, client=False, handler=self._handle)
                self._connection = ServerConnection(self.actor)
                self._past_handshake.set()
                await self.actor.run(speaks_h2=speaks_h2)

    async def _handshake(self) -> bool | None:
        """Does the client speak HTTP/2 for sure? None if TLS failed, which is the client's affair."""
        if not isinstance(self._transport, trio.SSLStream):
            return False
        peer = socket_address(self._transport, "getpeername") if logger.isEnabledFor(logging.DEBUG) else None
        try:
            with trio.fail_after(self._config.handshake_timeout):
                await self._transport.do_handshake()
        except Exception as error:
            reason = escaped(repr(error.__cause__ or error))
            logger.debug("the TLS handshake with %s failed: %s", peer_name(peer), reason)
            await close_at_once(self._transport)
            return None
        except BaseException:
            await close_at_once(self._transport)
            raise
        return bool(self._transport.selected_alpn_protocol() == "h2")

    @trio.lowlevel.disable_ki_protection
    async def _handle(self, actor: StreamActor, request: ev.RequestReceived) -> None:
        """Call the handler. It is the user's code: unlike the engine's tasks it may be interrupted."""
        assert self._connection is not None
        split = split_request(request.headers, actor.machine.priority)
        await self._handler(ServerStream(actor, self._connection, split))

    async def shutdown(self, deadline: float) -> None:
        """End this connection gracefully by `deadline`.

        A TLS handshake may end first, within the time a round trip gets: the client may have sent its request already.
        """
        with trio.move_on_at(min(deadline, trio.current_time() + self._config.goaway_delay)):
            await self._past_handshake.wait()
        if self.actor is None:
            self._scope.cancel()
        else:
            await self.actor.shutdown(deadline)


class _Accepted(trio.abc.AsyncResource):
    """A connection as `trio.serve_listeners` handles it; what its transport raises when it is closed stays here."""

    def __init__(self, transport: trio.abc.Stream) -> None:
        self.transport = transport

    async def aclose(self) -> None:
        await close_at_once(self.transport)


class _Accepting(trio.abc.Listener[_Accepted]):
    """A listener that goes on when TLS cannot even begin on a connection."""

    def __init__(self, listener: trio.abc.Listener[Any]) -> None:
        self._listener = listener

    async def accept(self) -> _Accepted:
        while True:
            try:
                return _Accepted(await self._listener.accept())
            except ssl.SSLError as error:
                logger.error("a connection could not be accepted: its TLS cannot begin", exc_info=error)
                await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await self._listener.aclose()


class H2Server:
    """A running server, as `nursery.start(serve_h2, ...)` returns it.

    Attributes:
        listeners: the listeners it accepts from.
    """

    def __init__(self, handler: Handler, listeners: Sequence[trio.abc.Listener[Any]], config: Config) -> None:
        self.listeners = tuple(listeners)
        self._port = _port(self.listeners)  # now, because a socket that is closed has forgotten it
        self._handler = handler
        self._config = config
        self._accepting = trio.CancelScope()
        self._served: set[_Served] = set()
        self._nursery: trio.Nursery | None = None
        self._closed = trio.Event()

    def __repr__(self) -> str:
        state = "closed" if self._closed.is_set() else f"{len(self._served)} connections"
        return f"<{type(self).__name__} port={self._port}: {state}>"

    @property
    def port(self) -> int | None:
        """The TCP port it listens on, or did; None if it listens on something without ports."""
        return self._port

    async def shutdown(self, grace: float = 10) -> None:
        """Stop accepting, end every connection gracefully, and return when they are closed.

        Each client is told in two phases (RFC 9113 section 6.8) and keeps being served until the second; open streams
        may then finish. Never takes longer than `grace`: what is still open then is cancelled. A second call joins the
        first, and the sooner end of both counts.

        Args:
            grace: seconds, 10 by default.

        Raises:
            ValueError, TypeError: `grace` is not a number of seconds.
        """
        if isinstance(grace, bool) or not isinstance(grace, int | float):
            raise TypeError(f"grace must be a number of seconds, not {type(grace).__name__}")
        if math.isnan(grace) or grace < 0:
            raise ValueError(f"grace must not be negative: {grace}")
        if self._nursery is not None and not self._closed.is_set():
            # In a task of the server's own: a handler that calls this is itself among what ends.
            self._nursery.start_soon(self._end_connections, trio.current_time() + grace)
            await self._closed.wait()

    async def _end_connections(self, deadline: float) -> None:
        with trio.move_on_at(deadline):
            # What is in the backlog has connected: closing the listener on it would reset it.
            while self._has_backlog():
                await trio.lowlevel.checkpoint()
        self._accepting.cancel()
        await trio.lowlevel.cancel_shielded_checkpoint()
        ending: set[_Served] = set()
        async with trio.open_nursery() as nursery:
            while new := self._served - ending:
                ending |= new
                for served in new:
                    nursery.start_soon(served.shutdown, deadline)
                await trio.lowlevel.checkpoint()
        self._closed.set()

    def _has_backlog(self) -> bool:
        """Does a connection wait to be accepted?"""
        if self._accepting.cancel_called:
            return False
        sockets = [inner.socket for inner in map(_inner, self.listeners) if isinstance(inner, trio.SocketListener)]
        with Selector() as selector:
            for listening in sockets:
                selector.register(listening, selectors.EVENT_READ)
            return bool(sockets and selector.select(0))

    async def _serve(self, accepted: _Accepted) -> None:
        served = _Served(self._handler, accepted.transport, self._config)
        self._served.add(served)
        try:
            await served.run()
        except Exception as error:  # of no handler: what they raise ends their own streams
            logger.error("an error ended a connection", exc_info=error)
        finally:
            self._served.discard(served)

    async def _run(self, handler_nursery: trio.Nursery | None, task_status: trio.TaskStatus[H2Server]) -> None:
        try:
            async with trio.open_nursery() as self._nursery:
                await self._nursery.start(self._accept, handler_nursery or self._nursery)
                task_status.started(self)
                await self._closed.wait()
        finally:
            self._closed.set()

    async def _accept(self, handler_nursery: trio.Nursery, task_status: trio.TaskStatus[Any]) -> None:
        with self._accepting:
            listeners = [_Accepting(listener) for listener in self.listeners]
            await trio.serve_listeners(self._serve, listeners, handler_nursery=handler_nursery, task_status=task_status)


def _port(listeners: Sequence[trio.abc.Listener[Any]]) -> int | None:
    for listener in map(_inner, listeners):
        if isinstance(listener, trio.SocketListener):
            address = listener.socket.getsockname()
            if isinstance(address, tuple):
                return int(address[1])
    return None


def _inner(listener: trio.abc.Listener[Any]) -> trio.abc.Listener[Any]:
    return getattr(listener, "transport_listener", listener)


async def serve_h2_connection(handler: Handler, transport: trio.abc.Stream, *, config: Config | None = None) -> None:
    """Serve one connection over any connected `trio.abc.Stream`, until it ends.

    A `trio.SSLStream` does its handshake here. An HTTP/1.x client gets a 505 that says what to do. Returns when the
    connection is closed and every handler has returned; cancelled, it closes at once.

    Args:
        handler: called as `await handler(stream)` for every request, each in a task of its own. What it leaves undone
            when it returns, or raises, ends its own stream alone; other BaseExceptions propagate.
        transport: connected.
        config: by default `Config()`.

    Raises:
        TypeError: an argument has the wrong type.
    """
    if not isinstance(transport, trio.abc.Stream):
        raise TypeError(f"transport must be a trio.abc.Stream, not {type(transport).__name__}")
    await _Served(_callable(handler), transport, checked_config(config)).run()


async def serve_h2_listeners(
    handler: Handler,
    listeners: Sequence[trio.abc.Listener[Any]],
    *,
    config: Config | None = None,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[H2Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve HTTP/2 on listeners, until `H2Server.shutdown`; the conventions are those of `trio.serve_listeners`.

    Args:
        handler, config: as for `serve_h2_connection`.
        listeners: TCP, TLS or unix listeners; closed at the end. For TLS the context has to have ALPN `h2` and
            `ssl.OP_NO_RENEGOTIATION` (RFC 9113 section 9.2.1) set.
        handler_nursery: where connections run, by default a nursery in here.
        task_status: gets the H2Server when it accepts connections.
    """
    server = H2Server(_callable(handler), listeners, checked_config(config))
    await server._run(handler_nursery, task_status)


async def serve_h2(
    handler: Handler,
    port: int,
    *,
    host: str | bytes | None = None,
    ssl_context: ssl.SSLContext | None = None,
    backlog: int | None = None,
    config: Config | None = None,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[H2Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve HTTP/2 on a TCP port, until `H2Server.shutdown`: `server = await nursery.start(serve_h2, handler, 0)`.

    Args:
        handler, config, handler_nursery, task_status: as for `serve_h2_listeners`.
        port: 0 picks a free one, the same for every address family; see `H2Server.port`.
        host: what to bind, by default every interface.
        ssl_context: TLS; ALPN `h2` is set on it, and that it does not renegotiate (RFC 9113 section 9.2.1). Without
            one, HTTP/2 with prior knowledge (section 3.3).
        backlog: as for `trio.open_tcp_listeners`.

    Raises:
        OSError: the port could not be bound.
        ValueError: `ssl_context` cannot serve: it is a client's, or has no certificate.
        TypeError: an argument has the wrong type.
    """
    if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
        raise TypeError(f"ssl_context must be an ssl.SSLContext, not {type(ssl_context).__name__}")
    _callable(handler)
    checked_config(config)
    if ssl_context is not None:
        _check_serves(ssl_context)
    listeners: list[trio.abc.Listener[Any]] = list(await _open_listeners(port, host, backlog))
    if ssl_context is not None:
        ssl_context.set_alpn_protocols(["h2"])
        ssl_context.options |= ssl.OP_NO_RENEGOTIATION
        listeners = [trio.SSLListener(listener, ssl_context, https_compatible=True) for listener in listeners]
    await serve_h2_listeners(
        handler, listeners, config=config, handler_nursery=handler_nursery, task_status=task_status
    )


async def _open_listeners(port: int, host: str | bytes | None, backlog: int | None) -> list[trio.SocketListener]:
    """As `trio.open_tcp_listeners`, but port 0 is one and the same free port for every address family."""
    attempts = 20
    while True:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=backlog)
        ports = {listener.socket.getsockname()[1] for listener in listeners}
        if port != 0 or len(ports) == 1:
            return listeners
        chosen = listeners[0].socket.getsockname()[1]
        for listener in listeners:
            await listener.aclose()
        try:
            return await trio.open_tcp_listeners(chosen, host=host, backlog=backlog)
        except OSError as error:
            attempts -= 1
            if error.errno != errno.EADDRINUSE or not attempts:
                raise


def _check_serves(context: ssl.SSLContext) -> None:
    """Raise ValueError if a TLS context can certainly not serve anybody: a client's, say, or one with no certificate.

    That shows in a handshake with oneself. Where certificates or keys depend on the client nothing is tried.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        server = context.wrap_bio(to_server, to_client, server_side=True)
    except Exception as error:
        raise ValueError(f"ssl_context cannot serve: {error}") from error
    if context.sni_callback is not None or any("PSK" in cipher["name"] for cipher in context.get_ciphers()):
        return
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    trusting.set_ciphers("ALL")
    client = trusting.wrap_bio(to_client, to_server)
    for side in (client, server) * 4:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            if side is server and error.reason == "NO_SHARED_CIPHER":
                reason = "no certificate that fits its ciphers (call its load_cert_chain)"
                raise ValueError(f"ssl_context cannot serve: it has {reason}") from error
            return


def _callable(handler: Handler) -> Handler:
    if not callable(handler):
        raise TypeError(f"handler must be an async function of one stream, not {type(handler).__name__}")
    return handler
