"""A connection that has ended is freed by reference counts alone: nothing in it holds a circle.

The garbage collector is off in these tests. What is looked at is whether the user's handle, the actor and the
protocol's machine are gone as soon as the block is left and nobody holds them any more.
"""

from __future__ import annotations

import gc
import logging
import ssl
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import trio_h2
from tests.engine.helpers import client_and_server, read_all

Handler = Callable[[trio_h2.ServerStream], Awaitable[object]]

Connected = Callable[[Handler], AbstractAsyncContextManager[trio_h2.ClientConnection]]
"""A client's connection to a server with this handler; when it is left, so is the server's side."""


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@asynccontextmanager
async def in_memory(handler: Handler) -> AsyncIterator[trio_h2.ClientConnection]:
    async with client_and_server(handler) as pair:
        yield pair.client


@asynccontextmanager
async def over_tcp(
    handler: Handler, server_context: ssl.SSLContext | None = None, client_context: ssl.SSLContext | None = None
) -> AsyncIterator[trio_h2.ClientConnection]:
    scheme = "http" if client_context is None else "https"
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(trio_h2.serve_h2, handler, 0, host="127.0.0.1", ssl_context=server_context)
        )
        url = f"{scheme}://127.0.0.1:{server.port}"
        async with trio_h2.connect(url, ssl_context=client_context) as connection:
            yield connection
        await server.shutdown(1)


@pytest.fixture(params=["memory", "tcp", "tls"])
def connected(
    request: pytest.FixtureRequest, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> Connected:
    """Each kind of transport in turn."""
    over_tls = partial(over_tcp, server_context=server_ssl_context, client_context=client_ssl_context)
    kinds: dict[str, Connected] = {"memory": in_memory, "tcp": over_tcp, "tls": over_tls}
    return kinds[request.param]


class Watched:
    """Weak references to what has to be freed."""

    def __init__(self) -> None:
        self._references: dict[str, weakref.ref[Any]] = {}

    def connection(self, connection: trio_h2.Connection) -> None:
        kind = type(connection).__name__
        self._references[kind] = weakref.ref(connection)
        self._references[f"{kind}'s actor"] = weakref.ref(connection._actor)
        self._references[f"{kind}'s machine"] = weakref.ref(connection._actor.machine)

    def stream(self, stream: trio_h2.ClientStream | trio_h2.ServerStream) -> None:
        self._references[type(stream).__name__] = weakref.ref(stream)

    async def check(self, *kinds: str) -> None:
        """These were watched, and nothing that was is alive."""
        assert set(kinds) <= self._references.keys()
        await trio.testing.wait_all_tasks_blocked()  # trio's loop holds what the last task gave it
        assert [name for name, reference in self._references.items() if reference() is not None] == []


async def exchange(connected: Connected, watched: Watched) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        watched.connection(stream.connection)
        watched.stream(stream)
        await stream.respond(200, body=await read_all(stream))

    async with connected(handler) as connection:
        watched.connection(connection)
        assert (await connection.request("POST", "/", body=b"hello")).body == b"hello"
        async with connection.stream("GET", "/") as stream:
            watched.stream(stream)
            await stream.response()
            assert await read_all(stream) == b""
        await connection.ping()


async def test_a_connection_that_ended_cleanly_is_freed(connected: Connected) -> None:
    watched = Watched()
    await exchange(connected, watched)
    await watched.check("ClientConnection", "ServerConnection", "ClientStream", "ServerStream")


class Quiet(trio_h2.Trace):
    """Looks at everything, and keeps nothing."""

    def connection_ended(self, connection: trio_h2.Connection, error: trio_h2.H2Error | None) -> None:
        pass

    def wait_ended(self, connection: trio_h2.Connection, stream_id: int, reason: str) -> None:
        pass

    def frame_sent(self, connection: trio_h2.Connection, type: int, flags: int, stream_id: int, length: int) -> None:
        pass


@asynccontextmanager
async def traced(handler: Handler) -> AsyncIterator[trio_h2.ClientConnection]:
    async with client_and_server(handler, trace=Quiet(), server_trace=Quiet()) as pair:
        yield pair.client


async def test_a_connection_with_a_trace_is_freed() -> None:
    watched = Watched()
    await exchange(traced, watched)
    await watched.check("ClientConnection", "ServerConnection", "ClientStream", "ServerStream")


@pytest.mark.parametrize("how", ["returns", "raises", "is cancelled"])
async def test_a_connection_of_http1_is_freed(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("trio_h2"), "disabled", True)  # pytest keeps what is logged
    references: list[weakref.ref[Any]] = []

    async def http1(stream: trio_h2.ReplayedStream) -> None:
        references.extend(map(weakref.ref, (stream, stream.transport_stream)))
        if how == "raises":
            raise ValueError
        if how == "is cancelled":
            await trio.sleep_forever()

    async def handler(stream: trio_h2.ServerStream) -> None:
        raise AssertionError

    async with trio.open_nursery() as nursery:
        serve = partial(trio_h2.serve_h2, handler, 0, host="127.0.0.1", http1=http1)
        server = await nursery.start(serve)
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as client:
            await client.send_all(b"GET / HTTP/1.1\r\n\r\n")
            if how == "is cancelled":
                while not references:
                    await trio.testing.wait_all_tasks_blocked()
                await server.shutdown(0)
            assert await client.receive_some() == b""
        await server.shutdown(1)
    await trio.testing.wait_all_tasks_blocked()
    assert len(references) == 2
    assert [reference() for reference in references] == [None, None]


async def lose(connected: Connected, watched: Watched) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        watched.connection(stream.connection)
        await trio.aclose_forcefully(stream.connection._actor.transport)
        await trio.sleep_forever()

    async with connected(handler) as connection:
        watched.connection(connection)
        with pytest.raises(trio_h2.ConnectionTerminatedError):
            await connection.request("GET", "/")
        with pytest.raises(trio_h2.ConnectionTerminatedError):
            await connection.request("GET", "/")


async def test_a_connection_that_was_lost_is_freed(connected: Connected) -> None:
    watched = Watched()
    await lose(connected, watched)
    await watched.check("ClientConnection", "ServerConnection")


async def lose_while_sending(connected: Connected, watched: Watched) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        watched.connection(stream.connection)
        await stream.receive_some()
        await trio.aclose_forcefully(stream.connection._actor.transport)
        await trio.sleep_forever()

    async with connected(handler) as connection:
        watched.connection(connection)
        with pytest.raises(trio_h2.ConnectionTerminatedError):
            async with connection.stream("POST", "/") as stream:
                watched.stream(stream)
                while True:
                    await stream.send_all(b"x" * 100_000)


async def test_a_connection_that_was_lost_as_it_sent_is_freed(connected: Connected) -> None:
    watched = Watched()
    await lose_while_sending(connected, watched)
    await watched.check("ClientConnection", "ServerConnection", "ClientStream")


async def raise_on_both_sides(connected: Connected, watched: Watched) -> None:
    class OddError(Exception):
        pass

    async def handler(stream: trio_h2.ServerStream) -> None:
        watched.connection(stream.connection)
        watched.stream(stream)
        await read_all(stream)
        raise OddError

    async def body() -> AsyncIterator[bytes]:
        yield b"hello"
        raise OddError

    async with connected(handler) as connection:
        watched.connection(connection)
        assert (await connection.request("GET", "/")).status == 500
        with pytest.raises(OddError):
            await connection.request("POST", "/", body=body())


async def test_what_a_handler_or_a_body_raised_keeps_no_connection(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("trio_h2"), "disabled", True)  # pytest keeps what is logged
    watched = Watched()
    await raise_on_both_sides(connected, watched)
    await watched.check("ClientConnection", "ServerConnection", "ServerStream")


async def test_the_streams_that_have_ended_are_freed_while_the_connection_goes_on(connected: Connected) -> None:
    watched = Watched()

    async def handler(stream: trio_h2.ServerStream) -> None:
        watched.stream(stream)
        await stream.respond(200, body=b"hello")

    async def use(connection: trio_h2.ClientConnection) -> None:
        async with connection.stream("GET", "/") as stream:
            watched.stream(stream)
            await stream.response()
            assert await read_all(stream) == b"hello"

    async with connected(handler) as connection:
        await use(connection)
        await watched.check("ClientStream", "ServerStream")
