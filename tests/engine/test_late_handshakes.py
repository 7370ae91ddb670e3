"""A shutdown while clients are in their handshakes: what they have sent by the end of it may be a request."""

from __future__ import annotations

import socket
import ssl
from functools import partial

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import MemoryListener, hello

GRACE = 20


class Slow(trio.abc.Stream):
    """A transport whose server does not come to read before some time."""

    def __init__(self, transport_stream: trio.SocketStream, until: float) -> None:
        self.transport_stream = transport_stream
        self._until = until

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        await trio.sleep_until(self._until)
        return await self.transport_stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.transport_stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.transport_stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.transport_stream.aclose()


async def http1(stream: trio_h2.ReplayedStream) -> None:
    """There are clients of HTTP/1.x, too: so the server looks what it has before it."""


async def served(transport: trio.abc.Stream, nursery: trio.Nursery) -> trio_h2.H2Server:
    listener = MemoryListener()
    listener.take(transport)
    server: trio_h2.H2Server = await nursery.start(partial(trio_h2.serve_h2_listeners, hello, [listener], http1=http1))
    return server


async def test_rfc9113_6_8_a_handshake_of_a_young_connection_ends_before_it_is_shut_down(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext, autojump_clock: MockClock
) -> None:
    """The client's request comes with the end of the handshake, and is not lost: it is answered, or safe to retry."""
    client_end, server_end = trio.testing.memory_stream_pair()
    for context in (server_ssl_context, client_ssl_context):
        context.set_alpn_protocols(["h2"])
    async with trio.open_nursery() as nursery:
        server = await served(trio.SSLStream(server_end, server_ssl_context, server_side=True), nursery)
        nursery.start_soon(server.shutdown, GRACE)
        await trio.sleep(3)
        tls = trio.SSLStream(client_end, client_ssl_context, server_hostname="localhost")
        async with trio_h2.connect_over(tls, authority="localhost") as connection:
            assert (await connection.request("GET", "/")).status == 200


async def test_rfc9113_6_8_what_a_client_has_sent_is_read_before_its_connection_is_shut_down(
    autojump_clock: MockClock,
) -> None:
    """The server is the slow one here, and the connection is old."""
    ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in socket.socketpair())
    async with trio.open_nursery() as nursery:
        server = await served(Slow(theirs, until=trio.current_time() + 12), nursery)

        async def request() -> None:
            async with trio_h2.connect_over(ours, authority="localhost") as connection:
                assert (await connection.request("GET", "/")).status == 200

        nursery.start_soon(request)
        await trio.sleep(10)
        await server.shutdown(GRACE)


@pytest.mark.parametrize(("age", "most"), [(0, 5), (10, 1)])
async def test_a_client_that_has_said_nothing_holds_no_shutdown_up_for_long(
    age: float, most: float, autojump_clock: MockClock
) -> None:
    client_end, server_end = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        server = await served(server_end, nursery)
        await trio.sleep(age)
        start = trio.current_time()
        await server.shutdown(GRACE)
        assert trio.current_time() - start <= most + 0.1
    assert await client_end.receive_some() == b""
