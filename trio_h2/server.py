"""The server: `serve_h2`, its siblings and `H2Server`."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Any

import trio

from .actors.accepting import Shortage, next_connection, without_the_gone
from .actors.listening import check_address, check_serves, checked_listeners, open_listeners, port_of, wrapped
from .actors.logs import logger
from .actors.room import Room
from .actors.stopping import Stopping
from .config import Config
from .connection import ServerConnection, checked_config, checked_grace, counted
from .server_connection import Handler, Http1Handler, Served, checked_handler, checked_http1
from .server_statistics import ServerStatistics, Totals
from .trace import Trace, checked_trace
from .wording import number

__all__ = ["H2Server", "serve_h2", "serve_h2_connection", "serve_h2_listeners"]


class H2Server:
    """A running server, as `nursery.start(serve_h2, ...)` returns it.

    Attributes:
        listeners: the listeners it accepts from.
        closing: set when `shutdown` is called, or the server has ended without: what the handlers of endless responses
            wait for, so that they end theirs within the grace.
    """

    def __init__(
        self,
        handler: Handler,
        listeners: Sequence[trio.abc.Listener[Any]],
        config: Config,
        room: Room,
        *,
        http1: Http1Handler | None,
        sets_alpn: bool,
        trace: Trace | None,
    ) -> None:
        self.listeners = tuple(listeners)
        self._port = port_of(self.listeners)  # now, because a socket that is closed has forgotten it
        self._handler = handler
        self._config = config
        self._trace = trace
        self._room = room
        self._http1 = http1
        self._expects_alpn = not sets_alpn
        self._shortage = Shortage()
        self._totals = Totals()
        self._stopping: Stopping[Served] = Stopping(self.listeners)
        self.closing = self._stopping.begun
        self._nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        closed = self._stopping.done.is_set()
        state = "closed" if closed else counted(len(self._stopping.connections), "connection")
        return f"<{type(self).__name__} port={self._port}: {state}>"

    @property
    def port(self) -> int | None:
        """The TCP port it listens on, or did; None if it listens on something without ports."""
        return self._port

    @property
    def connections(self) -> tuple[ServerConnection, ...]:
        """The HTTP/2 connections that are open now, oldest first: not those in their TLS handshake, nor HTTP/1.x."""
        return tuple(served.connection for served in self._stopping.connections if served.connection is not None)

    def statistics(self) -> ServerStatistics:
        """What it has counted since it began, also of connections that have ended, and what is open now."""
        connections = self._stopping.connections
        actors = [served.actor for served in connections if served.actor is not None]
        return self._totals.statistics(len(connections), self._room.evicted, actors)

    async def shutdown(self, grace: float = 10) -> None:
        """Stop accepting, end every connection gracefully, and return when they are closed.

        Each client is told in two phases (RFC 9113 section 6.8) and keeps being served until the second; open streams
        may then finish. Whatever clients do it takes no longer than `grace` and half a second: what is still open at
        the end of `grace` is cancelled, where there are many connections from its half on, idle ones first. A handler
        that shields itself from that, or waits for a thread, is named in a WARNING and not waited for; `serve_h2` does
        wait for it. A second call joins the first, and the sooner end of both counts.

        Called in a handler, or in a task that it started, it returns when every other stream has ended, or `grace` is
        over; streams of handlers that also wait for that are not among them. Its own stream may then answer, until the
        end of `grace` and a fifth of a second more, and `serve_h2` returns after it. A task that has outlived its
        handler is like any other. For a handler of HTTP/1.x the same holds, but that it has no time beyond `grace`.

        Args:
            grace: seconds, 10 by default.

        Raises:
            ValueError, TypeError: `grace` is not a number of seconds.
        """
        checked_grace(grace)
        if self._nursery is not None and not self._stopping.done.is_set():
            # In tasks of the server's own: a handler that calls this is itself among what ends.
            asking = self._stopping.asking()
            self._stopping.begin(self._nursery, grace)
            if asking is None:
                await self._stopping.done.wait()
            else:
                with asking:
                    await self._stopping.others_ended()

    async def _serve(self, served: Served) -> None:
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
            self._stopping.ended()

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

    def _admit(self, transport: trio.abc.Stream) -> Served:
        """From its first step on a shutdown knows of the connection."""
        self._totals.accepted()
        served = Served(
            self._handler,
            transport,
            self._config,
            http1=self._http1,
            trace=self._trace,
            room=self._room,
            totals=self._totals,
            on_no_alpn=self._no_alpn,
        )
        self._stopping.came(served)
        return served

    def _no_alpn(self, peer: str) -> None:
        """A client has negotiated nothing. Where the TLS context is not ours to see to, that may be its fault."""
        if self._expects_alpn:
            self._expects_alpn = False
            logger.warning(
                "%s negotiated no protocol with TLS: is ALPN h2 set on the listeners' TLS context? (said once)", peer
            )


def _checked_room(max_connections: int, max_handshakes: int) -> Room:
    for name, value in (("max_connections", max_connections), ("max_handshakes", max_handshakes)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int, not {type(value).__name__}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {number(value)}")
    return Room(max_connections, max_handshakes)


def _check_nursery(nursery: trio.Nursery | None) -> None:
    if nursery is not None and not isinstance(nursery, trio.Nursery):
        raise TypeError(f"handler_nursery must be a trio.Nursery, not {type(nursery).__name__}")


async def serve_h2_connection(
    handler: Handler,
    transport: trio.abc.Stream,
    *,
    http1: Http1Handler | None = None,
    config: Config | None = None,
    trace: Trace | None = None,
) -> None:
    """Serve one connection over any connected `trio.abc.Stream`, until it ends.

    An HTTP/1.x client gets a 505 that says what to do, unless there is an `http1`. Returns when the connection is
    closed and every handler has returned; cancelled, it closes at once.

    Args:
        handler: called as `await handler(stream)` for every request, each in a task of its own. What it leaves undone
            when it returns, or raises, ends its own stream alone; other BaseExceptions propagate.
        transport: connected. If it has a method `do_handshake`, as a trio.SSLStream has, that is awaited first, within
            `Config.handshake_timeout`. One that lies over another has that as its `transport_stream`, and attributes
            `peer_address` and `local_address` if it knows better than its socket.
        http1: called as `await http1(stream)` with a `ReplayedStream`, a `trio.abc.Stream`, if the client speaks
            HTTP/1.x: if it selected ALPN `http/1.1`, or its first octets are a request line of HTTP/1.x. They are the
            first that the stream gives. Until the client's first octets nothing is sent then, and if they do not come
            within `Config.handshake_timeout` the connection is closed. The stream is closed when `http1` returns; what
            it raises is logged like what a handler raises, and other BaseExceptions propagate. Nothing of Config bounds
            it: timeouts and limits of HTTP/1.x are its own. By default clients of HTTP/1.x are answered with 505.
        config: by default `Config()`.
        trace: is told what the connection does; by default nobody is.

    Raises:
        TypeError: an argument has the wrong type.
    """
    if not isinstance(transport, trio.abc.Stream):
        raise TypeError(f"transport must be a trio.abc.Stream, not {type(transport).__name__}")
    checked_handler(handler)
    checked_http1(http1)
    config = checked_config(config)
    await Served(handler, transport, config, http1=http1, trace=checked_trace(trace)).run()


async def serve_h2_listeners(
    handler: Handler,
    listeners: Sequence[trio.abc.Listener[Any]],
    *,
    http1: Http1Handler | None = None,
    config: Config | None = None,
    trace: Trace | None = None,
    max_connections: int = 1_000,
    max_handshakes: int = 200,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[H2Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve HTTP/2 on listeners, until `H2Server.shutdown`; the conventions are those of `trio.serve_listeners`.

    Args:
        handler, config, trace: as for `serve_h2_connection`.
        listeners: TCP, TLS or unix listeners; closed at the end. Their TLS context is the caller's: it has to have ALPN
            set, `h2` (and `http/1.1` where there is an `http1`), and `ssl.OP_NO_RENEGOTIATION` (RFC 9113 section
            9.2.1). The first client that negotiates no protocol is one WARNING, because that looks like a context
            without ALPN.
        http1: as for `serve_h2_connection`. It runs where connections do, counts in `max_connections` until it returns,
            and no other connection takes its place but within `ReplayedStream.idle`. A shutdown lets it go on until
            the end of its grace, and cancels it then; `H2Server.closing` tells it of that.
        max_connections: how many are served at once, 1,000 by default: of a few dozen kilobytes each when idle, and
            as many file descriptors as most systems give a process. When one more comes, the connection that was idle
            longest gets GOAWAY and a second to close; its place is given away at once, so a tenth more may be closing.
            Who has just come in has a second for a first request. With none idle, accepting waits.
        max_handshakes: of them, how many may still be in TLS or owe their connection preface, 200 by default: a
            handshake of a third of a second lets 600 new clients in each second. When one more comes, the oldest that
            has had a second is dropped; if there is none, accepting waits.
        handler_nursery: where connections run, by default a nursery in here.
        task_status: gets the H2Server when it accepts connections; by default nobody does.

    Raises:
        TypeError, ValueError: an argument has the wrong type, or makes no sense.
    """
    room = _checked_room(max_connections, max_handshakes)
    _check_nursery(handler_nursery)
    server = H2Server(
        checked_handler(handler),
        checked_listeners(listeners),
        checked_config(config),
        room,
        http1=checked_http1(http1),
        sets_alpn=False,
        trace=checked_trace(trace),
    )
    await server._run(handler_nursery, task_status)


async def serve_h2(
    handler: Handler,
    port: int,
    *,
    host: str | bytes | None = None,
    http1: Http1Handler | None = None,
    ssl_context: ssl.SSLContext | None = None,
    wrap_listener: Callable[[trio.abc.Listener[Any]], trio.abc.Listener[Any]] | None = None,
    backlog: int | None = None,
    config: Config | None = None,
    trace: Trace | None = None,
    max_connections: int = 1_000,
    max_handshakes: int = 200,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[H2Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve HTTP/2 on a TCP port, until `H2Server.shutdown`: `server = await nursery.start(serve_h2, handler, 0)`.

    Every request is a call of the handler, in a task of its own, and how that ends is how its stream ends:

    - It returns: so does the response, with END_STREAM. It is a 500 where none was begun; and the stream is reset where
      less was sent than its content-length, or the last sending call was cancelled.
    - It raises an Exception: a 500, or a reset if the response has begun. The traceback is logged, and no other stream
      notices. Other BaseExceptions propagate.
    - Its client goes away or resets the stream, or a shutdown's grace is over: it is cancelled, and trio's Cancelled
      says why, "stream 5 was reset by the peer: CANCEL". What it has to clean up belongs into `finally`; what that
      awaits, into a shielded scope with a timeout. So a handler without an end, of server-sent events say, needs no
      look at whether its client is still there; `H2Server.closing` tells it to come to an end of its own.

    Args:
        handler, http1, config, trace, max_connections, max_handshakes, handler_nursery, task_status: as for
            `serve_h2_listeners`.
        port: 0 picks a free one, the same for every address family; see `H2Server.port`.
        host: what to bind, by default every interface.
        ssl_context: TLS; ALPN `h2` is set on it, and `http/1.1` behind it where there is an `http1`, and that it does
            not renegotiate (RFC 9113 section 9.2.1). By default None: HTTP/2 with prior knowledge (section 3.3).
        wrap_listener: called with each TCP listener for what is to take its place, beneath TLS; by default None.
        backlog: as for `trio.open_tcp_listeners`.

    Raises:
        OSError: the port could not be bound.
        ValueError: `ssl_context` cannot serve: it is a client's, or has no certificate; `port` is none; or a limit is
            below 1.
        TypeError: an argument has the wrong type.
    """
    if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
        raise TypeError(f"ssl_context must be an ssl.SSLContext, not {type(ssl_context).__name__}")
    checked_handler(handler)
    checked_http1(http1)
    checked_config(config)
    checked_trace(trace)
    room = _checked_room(max_connections, max_handshakes)
    _check_nursery(handler_nursery)
    check_address(port, host)
    if wrap_listener is not None and not callable(wrap_listener):
        raise TypeError(f"wrap_listener must be a function of a listener, or None, not {type(wrap_listener).__name__}")
    if ssl_context is not None:
        check_serves(ssl_context)
    opened = await open_listeners(port, host, backlog)
    listeners: list[trio.abc.Listener[Any]] = wrapped(opened, wrap_listener) if wrap_listener else list(opened)
    if ssl_context is not None:
        ssl_context.set_alpn_protocols(["h2"] if http1 is None else ["h2", "http/1.1"])
        ssl_context.options |= ssl.OP_NO_RENEGOTIATION
        listeners = [trio.SSLListener(listener, ssl_context, https_compatible=True) for listener in listeners]
    server = H2Server(handler, listeners, checked_config(config), room, http1=http1, sets_alpn=True, trace=trace)
    await server._run(handler_nursery, task_status)
