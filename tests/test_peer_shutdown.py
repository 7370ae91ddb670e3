"""`H2Server.shutdown` under load: it ends within its grace, and a client that honours GOAWAY loses no request."""

from __future__ import annotations

import functools
import logging
import ssl
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass

import pytest
import trio

import trio_h2
from tests import peers
from tests.peer_site import TEXT, logged, site, sized, start_server

GRACE = 5.0

SLACK = 1.0
"""Seconds a busy machine may add to what a shutdown takes; the grace itself is far more than the work needs."""


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.WARNING, "trio_h2"):
        yield
    assert logged(caplog) == []


@dataclass(frozen=True)
class Scheme:
    """How a server is spoken to.

    Attributes:
        name: `"http"` or `"https"`.
        server, client: the contexts of both sides; None for http.
    """

    name: str
    server: ssl.SSLContext | None = None
    client: ssl.SSLContext | None = None

    async def start(self, nursery: trio.Nursery, handler: trio_h2.Handler = site) -> trio_h2.H2Server:
        return await start_server(nursery, handler, ssl_context=self.server)

    def url(self, server: trio_h2.H2Server, host: str = peers.HOST) -> str:
        return f"{self.name}://{host}:{server.port}"

    def connect(self, url: str) -> AbstractAsyncContextManager[trio_h2.ClientConnection]:
        return trio_h2.connect(url, ssl_context=self.client)


@pytest.fixture(params=["http", "https"], ids=["h2c", "tls"])
def scheme(
    request: pytest.FixtureRequest, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> Scheme:
    return Scheme("http") if request.param == "http" else Scheme("https", server_ssl_context, client_ssl_context)


async def _timed_shutdown(server: trio_h2.H2Server, grace: float) -> float:
    start = trio.current_time()
    await server.shutdown(grace=grace)
    return trio.current_time() - start


class Count:
    """Counts, and tells when there are enough."""

    def __init__(self, enough: int) -> None:
        self.value = 0
        self.reached = trio.Event()
        self._enough = enough

    def add(self) -> None:
        self.value += 1
        if self.value == self._enough:
            self.reached.set()


# Under h2load -------------------------------------------------------------------------------------


async def test_shutdown_under_h2load(nursery: trio.Nursery, scheme: Scheme) -> None:
    begun = Count(2_000)
    ended = Count(0)

    async def handler(stream: trio_h2.ServerStream) -> None:
        begun.add()
        await stream.respond(200, [TEXT], b"hello\n")
        ended.add()

    server = await scheme.start(nursery, handler)
    program = peers.require_program("h2load", package="nghttp2-client")
    url = scheme.url(server) + "/"
    with trio.fail_after(30):
        # h2load knows nothing of GOAWAY's last stream ID, so what becomes of its last requests does not matter.
        async with peers.running_program(program, "-c10", "-m100", "-n100000000", url):
            await begun.reached.wait()
            took = await _timed_shutdown(server, GRACE)
    assert took < GRACE
    assert begun.value == ended.value


# A client that honours GOAWAY ---------------------------------------------------------------------


class Pool:
    """One connection at a time to one address: a new one when the last takes no more requests."""

    def __init__(self, nursery: trio.Nursery, scheme: Scheme, url: str) -> None:
        self._nursery = nursery
        self._scheme = scheme
        self._url = url
        self._lock = trio.Lock()
        self._current: trio_h2.ClientConnection | None = None
        self.opened = 0
        self.retried = 0

    async def _hold(self, *, task_status: trio.TaskStatus[trio_h2.ClientConnection]) -> None:
        """Be the task that a connection lives in, until it ends."""
        async with self._scheme.connect(self._url) as connection:
            task_status.started(connection)
            await connection.wait_closed()

    async def _connection(self) -> trio_h2.ClientConnection:
        async with self._lock:
            if self._current is None or not self._current.accepting:
                self._current = await self._nursery.start(self._hold)
                self.opened += 1
            return self._current

    async def request(self, method: str, path: str, body: bytes | None) -> trio_h2.Response:
        """Make a request, again on a new connection if it is certain that the server did not see it."""
        while True:
            connection = await self._connection()
            try:
                return await connection.request(method, path, body=body)
            except trio_h2.H2Error as error:
                if not error.safe_to_retry:
                    raise
                self.retried += 1


async def take_over(
    nursery: trio.Nursery, server: trio_h2.H2Server, handler: trio_h2.Handler, scheme: Scheme
) -> trio_h2.H2Server:
    """A second server on the sockets of one that will be shut down: no connection falls between the two."""
    listeners: list[trio.abc.Listener[trio.abc.Stream]] = []
    for old in server.listeners:
        listener = trio.SocketListener(getattr(old, "transport_listener", old).socket.dup())
        if scheme.server is None:
            listeners.append(listener)
        else:
            listeners.append(trio.SSLListener(listener, scheme.server, https_compatible=True))
    successor: trio_h2.H2Server = await nursery.start(trio_h2.serve_h2_listeners, handler, listeners)
    return successor


async def test_no_request_is_lost_when_a_server_takes_over(nursery: trio.Nursery, scheme: Scheme) -> None:
    """A rolling restart: servers on one port shut down one after another while many clients are at it."""
    restarts, clients, tasks = sized(20, 5), 5, 20
    served: dict[str, int] = {}
    answered: set[str] = set()
    stop = trio.Event()
    generations = [Count(500) for _ in range(restarts + 1)]

    async def handle(generation: int, stream: trio_h2.ServerStream) -> None:
        path = stream.request.path
        assert path is not None
        body = b"".join([chunk async for chunk in stream])
        served[path] = served.get(path, 0) + 1
        generations[generation].add()
        await stream.respond(200, [TEXT], path.encode() + body)

    async def ask(pool: Pool, name: str) -> None:
        number = 0
        while not stop.is_set():
            path = f"/{name}/{number}"
            method, body = ("POST", b"x" * 30_000) if number % 3 == 0 else ("GET", None)
            response = await pool.request(method, path, body)
            assert (response.status, response.body) == (200, path.encode() + (body or b""))
            answered.add(path)
            number += 1

    server = await scheme.start(nursery, functools.partial(handle, 0))
    url = scheme.url(server, host="localhost")
    with trio.fail_after(120):
        async with trio.open_nursery() as holders:
            pools = [Pool(holders, scheme, url) for _ in range(clients)]
            async with trio.open_nursery() as load:
                for client, pool in enumerate(pools):
                    for task in range(tasks):
                        load.start_soon(ask, pool, f"{client}/{task}")
                for generation in range(restarts):
                    await generations[generation].reached.wait()
                    successor = await take_over(nursery, server, functools.partial(handle, generation + 1), scheme)
                    assert await _timed_shutdown(server, GRACE) < GRACE
                    server = successor
                await generations[restarts].reached.wait()
                stop.set()
            await server.shutdown()  # which ends the last connections
    assert set(served) == answered
    # None was handled twice: "safe to retry" was said only of requests that no handler saw.
    assert set(served.values()) == {1}
    for pool in pools:
        # While two servers listen a connection may reach the one that is about to go.
        assert pool.opened >= restarts + 1


async def test_no_request_is_lost_by_clients_that_have_just_connected(nursery: trio.Nursery, scheme: Scheme) -> None:
    """Every request has a connection of its own, so that a shutdown meets connections at every stage of opening."""
    restarts, tasks = sized(40, 8), 30
    served: dict[str, int] = {}
    answered: set[str] = set()
    stop = trio.Event()
    generations = [Count(30) for _ in range(restarts + 1)]

    async def handle(generation: int, stream: trio_h2.ServerStream) -> None:
        path = stream.request.path
        assert path is not None
        served[path] = served.get(path, 0) + 1
        generations[generation].add()
        await stream.respond(200, [TEXT], path.encode())

    async def ask(path: str) -> None:
        while True:
            try:
                async with scheme.connect(url) as connection:
                    response = await connection.request("GET", path)
            except trio_h2.H2Error as error:
                if not error.safe_to_retry:
                    raise
            else:
                assert (response.status, response.body) == (200, path.encode())
                answered.add(path)
                return

    async def ask_on(task: int) -> None:
        number = 0
        while not stop.is_set():
            await ask(f"/{task}/{number}")
            number += 1

    server = await scheme.start(nursery, functools.partial(handle, 0))
    url = scheme.url(server)
    with trio.fail_after(120):
        async with trio.open_nursery() as load:
            for task in range(tasks):
                load.start_soon(ask_on, task)
            for generation in range(restarts):
                await generations[generation].reached.wait()
                successor = await take_over(nursery, server, functools.partial(handle, generation + 1), scheme)
                assert await _timed_shutdown(server, GRACE) < GRACE
                server = successor
            await generations[restarts].reached.wait()
            stop.set()
    assert set(served) == answered
    assert set(served.values()) == {1}


# Grace --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grace", [0, 0.3, 1])
async def test_a_handler_that_never_ends_is_cancelled_within_the_grace(
    nursery: trio.Nursery, scheme: Scheme, grace: float
) -> None:
    started = trio.Event()
    cancelled = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200, [TEXT])
        started.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    server = await scheme.start(nursery, handler)
    with trio.fail_after(30):
        async with (
            scheme.connect(scheme.url(server)) as connection,
            connection.stream("GET", "/") as stream,
        ):
            await started.wait()
            took = await _timed_shutdown(server, grace)
            assert cancelled.is_set()
            with pytest.raises(trio_h2.H2Error) as caught:
                async for _ in stream:
                    pass
            assert not caught.value.safe_to_retry
    assert took < grace + SLACK


@pytest.mark.parametrize("grace", [0, 0.3])
async def test_a_peer_that_does_not_read_cannot_delay_a_shutdown(
    nursery: trio.Nursery, scheme: Scheme, grace: float
) -> None:
    """What the server writes fills the socket's buffers, and stays there."""
    writing = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        writing.set()
        while True:
            await stream.send_all(bytes(100_000))

    server = await scheme.start(nursery, handler)
    program = peers.require_program("curl", package="curl")
    url = scheme.url(server) + "/"
    with trio.fail_after(30):
        async with peers.running_program(
            *(program, "--silent", "--insecure", "--limit-rate", "1k", "--output", "/dev/null"),
            *(("--http2" if scheme.server else "--http2-prior-knowledge"), url),
        ):
            await writing.wait()
            took = await _timed_shutdown(server, grace)
    assert took < grace + SLACK


async def test_open_streams_finish_within_the_grace(nursery: trio.Nursery, scheme: Scheme) -> None:
    """What was asked before the shutdown is answered; the connection takes nothing new and ends."""
    started = trio.Event()
    proceed = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200, [TEXT])
        started.set()
        await proceed.wait()
        await stream.send_all(b"the end\n")

    server = await scheme.start(nursery, handler)
    with trio.fail_after(30):
        async with scheme.connect(scheme.url(server)) as connection, trio.open_nursery() as inner:
            told = trio.Event()
            inner.start_soon(_listen, connection, told)
            async with connection.stream("GET", "/") as stream:
                await started.wait()
                inner.start_soon(functools.partial(server.shutdown, grace=10))
                await told.wait()
                assert not connection.accepting
                with pytest.raises(trio_h2.ConnectionTerminatedError) as caught:
                    await connection.request("GET", "/too-late")
                assert caught.value.safe_to_retry
                proceed.set()
                assert b"".join([chunk async for chunk in stream]) == b"the end\n"
            await connection.wait_closed()
        # serve_h2 itself has returned: nothing listens any more.
        with pytest.raises(OSError, match=r"."):
            await trio.open_tcp_stream(peers.HOST, server.port)


async def _listen(connection: trio_h2.ClientConnection, told: trio.Event) -> None:
    async for event in connection.events():
        if isinstance(event, trio_h2.ConnectionTerminated):
            told.set()


async def test_shutdown_with_nothing_connected(nursery: trio.Nursery) -> None:
    server = await start_server(nursery)
    assert await _timed_shutdown(server, 10) < SLACK


async def test_shutdown_with_idle_connections(nursery: trio.Nursery, scheme: Scheme) -> None:
    """Nothing to wait for but a round trip."""
    server = await scheme.start(nursery)
    with trio.fail_after(30):
        async with AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(scheme.connect(scheme.url(server))) for _ in range(20)]
            for connection in connections:
                await connection.ping()
            assert await _timed_shutdown(server, 10) < 1 + SLACK
            for connection in connections:
                await connection.wait_closed()


async def test_shutdown_amid_tls_handshakes(nursery: trio.Nursery, server_ssl_context: ssl.SSLContext) -> None:
    """A client that has just connected and said nothing is waited for no longer than half the grace."""
    server = await start_server(nursery, ssl_context=server_ssl_context)
    async with await trio.open_tcp_stream(peers.HOST, server.port) as silent:
        with trio.fail_after(30):
            assert await _timed_shutdown(server, 5) < 2.5 + SLACK
            assert await silent.receive_some() == b""
