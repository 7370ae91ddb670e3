"""Transports that lie over others: their handshakes, their addresses, and the listeners that they come from."""

from __future__ import annotations

import functools
import logging
import socket
import ssl
from typing import Any

import pytest
import trio
import trio.testing

import trio_h2
from tests import peers

from .helpers import hello, read_all


class Wrapped(trio.abc.Stream):
    """A transport over another, of a connection that is another's.

    Attributes:
        shaken: set when its handshake was begun; it ends with the first octet, which has to be an `A`.
    """

    peer_address = "the client"
    local_address = ("192.0.2.1", 80)

    def __init__(self, transport_stream: trio.abc.Stream) -> None:
        self.transport_stream = transport_stream
        self.shaken = False

    async def do_handshake(self) -> None:
        if not self.shaken:
            self.shaken = True
            if await self.transport_stream.receive_some(1) != b"A":
                raise OSError("no A")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.do_handshake()
        await self.transport_stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.transport_stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        await self.do_handshake()
        return await self.transport_stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.transport_stream.aclose()


class Wrapping(trio.abc.Listener[trio.abc.Stream]):
    """Attributes:
    transport_listener: what it accepts from.
    """

    def __init__(self, listener: trio.abc.Listener[Any]) -> None:
        self.transport_listener = listener

    async def accept(self) -> trio.abc.Stream:
        return Wrapped(await self.transport_listener.accept())

    async def aclose(self) -> None:
        await self.transport_listener.aclose()


async def test_a_handshake_of_its_own_comes_first(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(trio_h2.serve_h2_connection, hello, Wrapped(theirs))
    with trio.move_on_after(5) as nothing_is_sent:
        await ours.receive_some()
    assert nothing_is_sent.cancelled_caught
    await ours.send_all(b"A")
    async with trio_h2.connect_over(ours, authority="example.org") as connection:
        assert (await connection.request("GET", "/")).status == 200


@pytest.mark.parametrize("octets", [b"B", b""])
async def test_one_that_fails_ends_the_connection(
    octets: bytes, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    with caplog.at_level(logging.DEBUG, "trio_h2"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio_h2.serve_h2_connection, hello, Wrapped(theirs))
            await ours.send_all(octets)
            if not octets:
                await trio.sleep(trio_h2.Config().handshake_timeout + 1)
            assert await read_all(ours) == b""
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("the handshake with the client failed: ")


async def test_it_may_know_better_whose_connection_it_is(nursery: trio.Nursery) -> None:
    seen: list[Any] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        of = stream.connection
        seen.append((of.peer_address, of.local_address, of.transport))
        await stream.respond(200)

    async def http1(stream: trio_h2.ReplayedStream) -> None:
        seen.append((stream.peer_address, stream.local_address, stream.transport_stream))

    for octets in (b"", b"GET / HTTP/1.1\r\n\r\n"):
        ours, theirs = trio.testing.memory_stream_pair()
        wrapped = Wrapped(theirs)
        serve = functools.partial(trio_h2.serve_h2_connection, handler, wrapped, http1=http1)
        nursery.start_soon(serve)
        await ours.send_all(b"A" + octets)
        if octets:
            assert await read_all(ours) == b""
        else:
            async with trio_h2.connect_over(ours, authority="example.org") as connection:
                await connection.request("GET", "/")
        assert seen.pop() == ("the client", ("192.0.2.1", 80), wrapped)


@pytest.mark.parametrize("tls", [False, True])
async def test_listeners_of_a_port_may_be_wrapped_beneath_tls(
    tls: bool, nursery: trio.Nursery, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    seen: list[Any] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        seen.append((stream.connection.peer_address, stream.connection.tls is not None))
        await stream.respond(200)

    context = server_ssl_context if tls else None
    serve = functools.partial(
        trio_h2.serve_h2, handler, 0, host="127.0.0.1", wrap_listener=Wrapping, ssl_context=context
    )
    server = await nursery.start(serve)
    transport: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    await transport.send_all(b"A")
    if tls:
        client_ssl_context.set_alpn_protocols(["h2"])
        transport = trio.SSLStream(transport, client_ssl_context, server_hostname="localhost", https_compatible=True)
        await transport.do_handshake()
    async with trio_h2.connect_over(transport, authority="example.org") as connection:
        assert (await connection.request("GET", "/")).status == 200
    assert seen == [("the client", tls)]
    await server.shutdown()


async def test_connections_that_have_ended_in_the_backlog_are_found_beneath(nursery: trio.Nursery) -> None:
    serve = functools.partial(trio_h2.serve_h2, hello, 0, host="127.0.0.1", wrap_listener=Wrapping)
    server = await nursery.start(serve)
    for _ in range(20):  # these calls block, so the server has accepted none of them yet
        socket.create_connection(("127.0.0.1", server.port)).close()
    transport = await trio.open_tcp_stream("127.0.0.1", server.port)
    await transport.send_all(b"A")
    async with trio_h2.connect_over(transport, authority="example.org") as connection:
        assert (await connection.request("GET", "/")).status == 200
    assert server.statistics().connections == 1
    await server.shutdown()


def fails(listener: object) -> trio.abc.Listener[Any]:
    raise ValueError("no")


@pytest.mark.parametrize(
    ("wrap", "error", "text"),
    [
        (fails, ValueError, "no"),
        (lambda listener: 5, TypeError, "wrap_listener must return a trio.abc.Listener, not int"),
    ],
)
async def test_a_wrapper_that_fails_leaves_no_socket_open(wrap: Any, error: type[Exception], text: str) -> None:
    port = peers.free_port()
    for _ in range(2):  # the second time the port is free again
        with pytest.raises(error) as caught:
            await trio_h2.serve_h2(hello, port, host="127.0.0.1", wrap_listener=wrap)
        assert str(caught.value) == text
