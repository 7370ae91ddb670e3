"""The server: `serve_h2`, its siblings and `H2Server`."""

from __future__ import annotations

import logging
import math
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import trio

from . import events as ev
from .actors.accepting import Shortage, next_connection, without_the_gone
from .actors.addresses import socket_address
from .actors.connection_actor import ConnectionActor
from .actors.listening import check_serves, open_listeners, port_of
from .actors.logs import close_at_once, escaped, logger, peer_name
from .actors.room import MERCY, Room
from .actors.stopping import Stopping
from .actors.stream_actor import StreamActor
from .config import Config
from .connection import Connection, checked_config, counted
from .requests import split_request
from .streams import ServerStream

__all__ = ["H2Server", "Handler", "ServerConnection", "serve_h2", "serve_h2_connection", "serve_h2_listeners"]

Handler = Callable[[ServerStream], Awaitable[object]]


class ServerConnection(Connection):
    """A server's side of a connection, as `ServerStream.connection` gives it."""


class _Served:
    """One connection being served."""

    def __init__(self, handler: Handler, transport: trio.abc.Stream, config: Config, room: Room | None = None) -> None:
        self._handler: Handler | None = handler
        self._transport = transport
        self._config = config
        self._room = room
        self._scope = trio.CancelScope()
        self._connection: ServerConnection | None = None
        self.actor: ConnectionActor | None = None
        self._past_handshake = trio.Event()
        self._closed = False

    async def run(self) -> None:
        with self._scope:
            speaks_h2 = await self._handshake()
            if speaks_h2 is None:
                self._past_handshake.set()
            else:
                await self._be_connection(speaks_h2)

    async def _be_connection(self, speaks_h2: bool) -> None:
        room = self._room
        try:
            async with trio.open_nursery() as nursery:
                self.actor = ConnectionActor(
                    self._transport,
                    self._config,
                    nursery,
                    client=False,
                    handler=self._handle,
                    on_idle=None if room is None else partial(room.idle, self),
                    on_busy=None if room is None else partial(room.busy, self),
                )
                self._connection = ServerConnection(self.actor)
                self._past_handshake.set()
                await self.actor.run(speaks_h2=speaks_h2)
        finally:
            self._closed = self.actor is not None and self.actor.life.closed.is_set()
            # What the connection was given leads here, and where the user's handler leads we don't know: no circles.
            self.actor = self._connection = self._handler = None

    async def _handshake(self) -> bool | None:
        """Whether the client speaks HTTP/2 for sure; None if TLS failed, which is the client's affair."""
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
        assert self._handler is not None
        split = split_request(request.headers, actor.priority)
        await self._handler(ServerStream(actor, self._connection, split))

    async def shutdown(self, deadline: float) -> None:
        """End this connection gracefully by `deadline`.

        A TLS handshake may end first, within the time a round trip gets: the client may have sent its request already.
        """
        if not self._past_handshake.is_set():
            with trio.move_on_at(min(deadline, trio.current_time() + self._config.goaway_delay)):
                await self._past_handshake.wait()
        if self.actor is None:
            self._scope.cancel()
        else:
            await self.actor.shutdown(deadline)

    def leave(self) -> None:
        """Its place is wanted, and it is idle."""
        assert self.actor is not None
        self.actor.ending.idle("the connection was idle, and its place was wanted")
        self._scope.deadline = trio.current_time() + MERCY

    def drop(self) -> None:
        """Its place is wanted at once."""
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s had to go: its place was wanted", ", ".join(self.left()))
        self._scope.cancel()

    def force(self) -> None:
        """Its time is over."""
        self._scope.cancel()

    async def close(self) -> None:
        """Close the transport, if that is still to be done."""
        if not self._closed:
            await close_at_once(self._transport)

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return 0 if self.actor is None else len(self.actor.streams)

    def left(self) -> list[str]:
        """What of it is still there: the handlers that run, or else the connection."""
        if self.actor is None:
            return ["a connection"]
        return self.actor.streams.handlers or [f"the connection with {self.actor.context.peer}"]


class H2Server:
    """A running server, as `nursery.start(serve_h2, ...)` returns it.

    Attributes:
        listeners: the listeners it accepts from.
    """

    def __init__(
        self, handler: Handler, listeners: Sequence[trio.abc.Listener[Any]], config: Config, room: Room
    ) -> None:
        self.listeners = tuple(listeners)
        self._port = port_of(self.listeners)  # now, because a socket that is closed has forgotten it
        self._handler = handler
        self._config = config
        self._room = room
        self._shortage = Shortage()
        self._stopping = Stopping(self.listeners)
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        closed = self._stopping.done.is_set()
        state = "closed" if closed else counted(len(self._stopping.connections), "connection")
        return f"<{type(self).__name__} port={self._port}: {state}>"

    @property
    def port(self) -> int | None:
        """The TCP port it listens on, or did; None if it listens on something without ports."""
        return self._port

    async def shutdown(self, grace: float = 10) -> None:
        """Stop accepting, end every connection gracefully, and return when they are closed.

        Each client is told in two phases (RFC 9113 section 6.8) and keeps being served until the second; open streams
        may then finish. Whatever clients do it takes no longer than `grace` and half a second: what is still open at
        the end of `grace` is cancelled, where there are many connections from its half on, idle ones first. A handler
        that shields itself from that, or waits for a thread, is named in a WARNING and not waited for; `serve_h2` does
        wait for it. A second call joins the first, and the sooner end of both counts.

        Args:
            grace: seconds, 10 by default.

        Raises:
            ValueError, TypeError: `grace` is not a number of seconds.
        """
        if isinstance(grace, bool) or not isinstance(grace, int | float):
            raise TypeError(f"grace must be a number of seconds, not {type(grace).__name__}")
        if math.isnan(grace) or grace < 0:
            raise ValueError(f"grace must not be negative: {grace}")
        if self._nursery is not None and not self._stopping.done.is_set():
            # In tasks of the server's own: a handler that calls this is itself among what ends.
            self._stopping.begin(self._nursery, grace)
            await self._stopping.done.wait()

    async def _serve(self, served: _Served) -> None:
        try:
            await served.run()
        except Exception as error:  # of no handler: what they raise ends their own streams
            logger.error("an error ended a connection", exc_info=error)
        finally:
            try:
                await served.close()
            finally:
                self._room.left(served)
                self._stopping.went(served)

    async def _run(self, handler_nursery: trio.Nursery | None, task_status: trio.TaskStatus[H2Server]) -> None:
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._accept, handler_nursery or self._nursery)
                task_status.started(self)
                await self._stopping.done.wait()
        finally:
            self._stopping.done.set()

    async def _accept(self, handler_nursery: trio.Nursery) -> None:
        try:
            with self._stopping.accepting:
                async with trio.open_nursery() as nursery:
                    for listener in without_the_gone(self.listeners):
                        nursery.start_soon(self._accept_from, listener, handler_nursery)
        finally:
            self._stopping.accepting_ended.set()

    async def _accept_from(self, listener: trio.abc.Listener[Any], handler_nursery: trio.Nursery) -> None:
        async with listener:
            while True:
                try:
                    transport = await next_connection(listener, self._shortage)
                except trio.ClosedResourceError:
                    if not self._stopping.accepting.cancel_called:
                        raise
                    return
                served = self._admit(transport)
                try:
                    await self._room.enter(served)
                finally:  # also if there was no time to wait: it is there, so it is served, or shut down
                    handler_nursery.start_soon(self._serve, served)

    def _admit(self, transport: trio.abc.Stream) -> _Served:
        """From its first step on a shutdown knows of the connection."""
        served = _Served(self._handler, transport, self._config, self._room)
        self._stopping.came(served)
        return served


def _checked_room(max_connections: int, max_handshakes: int) -> Room:
    for name, value in (("max_connections", max_connections), ("max_handshakes", max_handshakes)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int, not {type(value).__name__}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    return Room(max_connections, max_handshakes)


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
    max_connections: int = 1_000,
    max_handshakes: int = 200,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[H2Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve HTTP/2 on listeners, until `H2Server.shutdown`; the conventions are those of `trio.serve_listeners`.

    Args:
        handler, config: as for `serve_h2_connection`.
        listeners: TCP, TLS or unix listeners; closed at the end. For TLS the context has to have ALPN `h2` and
            `ssl.OP_NO_RENEGOTIATION` (RFC 9113 section 9.2.1) set.
        max_connections: how many are served at once, 1,000 by default: of a few dozen kilobytes each when idle, and
            as many file descriptors as most systems give a process. When one more comes, the connection that was idle
            longest gets GOAWAY and a second to close; its place is given away at once, so a tenth more may be closing.
            Who has just come in has a second for a first request. With none idle, accepting waits.
        max_handshakes: of them, how many may still be in TLS or owe their connection preface, 200 by default: a
            handshake of a third of a second lets 600 new clients in each second. When one more comes, the oldest that
            has had a second is dropped; if there is none, accepting waits.
        handler_nursery: where connections run, by default a nursery in here.
        task_status: gets the H2Server when it accepts connections.

    Raises:
        TypeError, ValueError: an argument has the wrong type, or makes no sense.
    """
    room = _checked_room(max_connections, max_handshakes)
    server = H2Server(_callable(handler), listeners, checked_config(config), room)
    await server._run(handler_nursery, task_status)


async def serve_h2(
    handler: Handler,
    port: int,
    *,
    host: str | bytes | None = None,
    ssl_context: ssl.SSLContext | None = None,
    backlog: int | None = None,
    config: Config | None = None,
    max_connections: int = 1_000,
    max_handshakes: int = 200,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[H2Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve HTTP/2 on a TCP port, until `H2Server.shutdown`: `server = await nursery.start(serve_h2, handler, 0)`.

    Args:
        handler, config, max_connections, max_handshakes, handler_nursery, task_status: as for `serve_h2_listeners`.
        port: 0 picks a free one, the same for every address family; see `H2Server.port`.
        host: what to bind, by default every interface.
        ssl_context: TLS; ALPN `h2` is set on it, and that it does not renegotiate (RFC 9113 section 9.2.1). Without
            one, HTTP/2 with prior knowledge (section 3.3).
        backlog: as for `trio.open_tcp_listeners`.

    Raises:
        OSError: the port could not be bound.
        ValueError: `ssl_context` cannot serve: it is a client's, or has no certificate; or a limit is below 1.
        TypeError: an argument has the wrong type.
    """
    if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
        raise TypeError(f"ssl_context must be an ssl.SSLContext, not {type(ssl_context).__name__}")
    _callable(handler)
    checked_config(config)
    _checked_room(max_connections, max_handshakes)
    if ssl_context is not None:
        check_serves(ssl_context)
    listeners: list[trio.abc.Listener[Any]] = list(await open_listeners(port, host, backlog))
    if ssl_context is not None:
        ssl_context.set_alpn_protocols(["h2"])
        ssl_context.options |= ssl.OP_NO_RENEGOTIATION
        listeners = [trio.SSLListener(listener, ssl_context, https_compatible=True) for listener in listeners]
    await serve_h2_listeners(
        handler,
        listeners,
        config=config,
        max_connections=max_connections,
        max_handshakes=max_handshakes,
        handler_nursery=handler_nursery,
        task_status=task_status,
    )


def _callable(handler: Handler) -> Handler:
    if not callable(handler):
        raise TypeError(f"handler must be an async function of one stream, not {type(handler).__name__}")
    return handler
