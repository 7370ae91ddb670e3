"""CONNECT tunnels (RFC 9113 section 8.5, RFC 8441): trio's own stream tests, and what people run inside tunnels."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import (
    CONNECT,
    OK,
    Pair,
    client_and_server,
    echo,
    hello,
    of,
    pattern,
    raw_client,
    raw_server,
    read_all,
)
from trio_h2 import Config, ErrorCodes

TunnelMaker = Callable[[], Awaitable[tuple[trio_h2.ClientStream, trio_h2.ServerStream]]]

SMALL_WINDOWS = Config(initial_window_size=1024)


@asynccontextmanager
async def tunnels(
    *, config: Config | None = None, protocol: str | None = None
) -> AsyncIterator[tuple[TunnelMaker, TunnelMaker, Pair]]:
    """A maker of tunnels over one connection, one of clogged tunnels, and the connection's both sides."""
    accepted_in, accepted_out = trio.open_memory_channel[trio_h2.ServerStream](0)
    over = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await accepted_in.send(stream)
        # The test has the stream now; this task has to outlive its use of it.
        await over.wait()

    async with client_and_server(handler, config=config, server_config=config) as pair:
        async with contextlib.AsyncExitStack() as opened:

            async def make() -> tuple[trio_h2.ClientStream, trio_h2.ServerStream]:
                target = "/" if protocol else "example.org:1"
                client = await opened.enter_async_context(pair.client.stream("CONNECT", target, protocol=protocol))
                return client, await accepted_out.receive()

            async def make_clogged() -> tuple[trio_h2.ClientStream, trio_h2.ServerStream]:
                client, server = await make()
                for stream in (client, server):
                    await stream.send_all(bytes(1024))
                    with trio.move_on_after(1) as scope:
                        await stream.wait_send_all_might_not_block()
                    assert scope.cancelled_caught
                return client, server

            yield make, make_clogged, pair
            over.set()
        # Whatever was done to them, none is left when the linger timeout has passed.
        await trio.sleep(60)
        await trio.testing.wait_all_tasks_blocked()
        assert pair.client.statistics().streams == ()
        assert pair.server.statistics().streams == ()


def flipped(maker: TunnelMaker) -> Callable[[], Awaitable[tuple[trio_h2.ServerStream, trio_h2.ClientStream]]]:
    async def make() -> tuple[trio_h2.ServerStream, trio_h2.ClientStream]:
        client, server = await maker()
        return server, client

    return make


@pytest.mark.parametrize("protocol", [None, "websocket"])
@pytest.mark.parametrize("server_first", [False, True])
async def test_check_half_closeable_stream(server_first: bool, protocol: str | None, autojump_clock: MockClock) -> None:
    async with tunnels(protocol=protocol) as (make, _, _):
        await trio.testing.check_half_closeable_stream(flipped(make) if server_first else make, None)


@pytest.mark.parametrize("protocol", [None, "websocket"])
@pytest.mark.parametrize("server_first", [False, True])
async def test_check_half_closeable_stream_with_a_clogged_maker(
    server_first: bool, protocol: str | None, autojump_clock: MockClock
) -> None:
    async with tunnels(config=SMALL_WINDOWS, protocol=protocol) as (make, make_clogged, _):
        if server_first:
            await trio.testing.check_half_closeable_stream(flipped(make), flipped(make_clogged))
        else:
            await trio.testing.check_half_closeable_stream(make, make_clogged)


async def test_rfc9113_8_5_each_half_of_a_tunnel_ends_on_its_own(autojump_clock: MockClock) -> None:
    async with tunnels() as (make, _, _):
        client, server = await make()
        await client.send_all(b"ping")
        await client.send_eof()
        assert await read_all(server) == b"ping"
        await server.send_all(pattern(100_000))
        await server.send_eof()
        assert await read_all(client) == pattern(100_000)


async def test_rfc9113_8_5_a_tunnels_sender_goes_on_after_the_peers_end(autojump_clock: MockClock) -> None:
    async with tunnels(config=SMALL_WINDOWS) as (make, _, _):
        client, server = await make()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, pattern(50_000))
            await trio.testing.wait_all_tasks_blocked()
            await server.send_eof()
            assert await client.receive_some() == b""
            received = b""
            while len(received) < 50_000:
                received += await server.receive_some()
            assert received == pattern(50_000)


async def test_a_connect_that_is_refused_is_an_ordinary_response(autojump_clock: MockClock) -> None:
    async def refuse(stream: trio_h2.ServerStream) -> None:
        await stream.respond(403, [("x-reason", "no")], b"no tunnels here")

    async with client_and_server(refuse) as pair, pair.client.stream("CONNECT", "example.org:1") as stream:
        head = await stream.response()
        assert (head.status, head.headers["x-reason"]) == (403, "no")
        assert await read_all(stream) == b"no tunnels here"


async def test_aclose_of_a_tunnel_is_end_stream_and_late_data_is_reset(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        async with connection.stream("CONNECT", "example.org:1") as stream:
            await peer.send(peer.headers(1, OK))
            await stream.response()
            await stream.send_all(b"last words")
        frames = await peer.sync()
        ends = [frame for frame in of(frames, DataFrame) if "END_STREAM" in frame.flags]
        assert len(ends) == 1
        assert of(frames, RstStreamFrame) == []
        await peer.send(peer.data(1, b"too late"))
        assert await peer.expect_rst(1) == ErrorCodes.CANCEL
        await trio.testing.wait_all_tasks_blocked()
        assert connection.statistics().streams == ()


async def test_a_closed_tunnel_that_the_peer_ends_is_not_reset(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        async with connection.stream("CONNECT", "example.org:1") as stream:
            await peer.send(peer.headers(1, OK))
            await stream.response()
        await peer.send(peer.data(1, end_stream=True))
        frames = await peer.sync()
        await trio.sleep(60)
        assert of(frames + await peer.sync(), RstStreamFrame) == []
        assert connection.statistics().streams == ()


async def test_a_linger_timeout_ends_a_tunnel_that_the_peer_keeps(autojump_clock: MockClock) -> None:
    async with raw_server(config=Config(linger_timeout=7)) as (connection, peer):
        async with connection.stream("CONNECT", "example.org:1") as stream:
            await peer.send(peer.headers(1, OK))
            await stream.response()
        start = trio.current_time()
        assert await peer.expect_rst(1) == ErrorCodes.CANCEL
        assert trio.current_time() - start == pytest.approx(7)


async def test_a_cancelled_aclose_of_a_tunnel_is_reset(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), connection.stream("CONNECT", "example.org:1") as stream:
        await peer.send(peer.headers(1, OK))
        await stream.response()
        await trio.aclose_forcefully(stream)
        assert await peer.expect_rst(1) == ErrorCodes.CANCEL


async def test_a_tunnel_whose_block_raises_is_reset(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        with pytest.raises(ZeroDivisionError):
            async with connection.stream("CONNECT", "example.org:1") as stream:
                await peer.send(peer.headers(1, OK))
                await stream.response()
                raise ZeroDivisionError
        assert await peer.expect_rst(1) == ErrorCodes.CANCEL
        assert of(peer.log, DataFrame) == []


async def test_a_server_that_closes_a_tunnel_before_its_response_resets_it(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.aclose()

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, CONNECT))
        assert await peer.expect_rst(1) == ErrorCodes.CANCEL
    assert caplog.records == []


async def test_a_server_that_returns_from_a_tunnel_ends_it_gently(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await stream.send_all(b"bye")

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, CONNECT))
        await peer.expect(DataFrame, matches=lambda frame: "END_STREAM" in frame.flags)
        assert of(await peer.sync(), RstStreamFrame) == []
        await peer.send(peer.data(1, end_stream=True))
        await trio.sleep(60)
        assert of(await peer.sync(), RstStreamFrame) == []


async def test_rfc8441_4_extended_connect_waits_for_the_servers_settings(autojump_clock: MockClock) -> None:
    async with raw_server(handshake=False) as (connection, peer), trio.open_nursery() as nursery:
        opened = trio.Event()

        async def websocket() -> None:
            async with connection.stream("CONNECT", "/chat", protocol="websocket") as stream:
                opened.set()
                assert (await stream.response()).status == 200
                assert await stream.receive_some() == b"welcome"

        nursery.start_soon(websocket)
        await trio.testing.wait_all_tasks_blocked()
        assert not opened.is_set()
        await peer.handshake({8: 1})
        request = await peer.expect(HeadersFrame)
        assert dict(request.fields)[b":protocol"] == b"websocket"
        assert dict(request.fields)[b":path"] == b"/chat"
        assert "END_STREAM" not in request.flags
        await peer.send(peer.headers(1, OK), peer.data(1, b"welcome"))


async def test_rfc8441_3_a_server_without_extended_connect_gets_no_such_request(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        with pytest.raises(trio_h2.ProtocolError, match="8441") as caught:
            async with connection.stream("CONNECT", "/chat", protocol="websocket"):
                pass
        assert not caught.value.safe_to_retry
        assert of(await peer.sync(), HeadersFrame) == []


@pytest.mark.parametrize("protocol", [None, "websocket"])
async def test_tls_runs_in_a_tunnel(
    protocol: str | None,
    client_ssl_context: ssl.SSLContext,
    server_ssl_context: ssl.SSLContext,
    autojump_clock: MockClock,
) -> None:
    async with tunnels(config=SMALL_WINDOWS, protocol=protocol) as (make, _, _):
        client, server = await make()
        inner_client = trio.SSLStream(client, client_ssl_context, server_hostname="localhost")
        inner_server = trio.SSLStream(server, server_ssl_context, server_side=True)

        async def serve() -> None:
            received = await read_all(inner_server)
            await inner_server.aclose()
            assert received == pattern(200_000)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await inner_client.send_all(pattern(200_000))
            await inner_client.aclose()


@pytest.mark.parametrize("server_first", [False, True])
async def test_tls_in_a_tunnel_passes_trios_checks(
    server_first: bool,
    client_ssl_context: ssl.SSLContext,
    server_ssl_context: ssl.SSLContext,
    autojump_clock: MockClock,
) -> None:
    async with tunnels() as (make, _, _):

        async def make_tls() -> tuple[trio.abc.Stream, trio.abc.Stream]:
            client, server = await make()
            one = trio.SSLStream(client, client_ssl_context, server_hostname="localhost")
            other = trio.SSLStream(server, server_ssl_context, server_side=True)
            return (other, one) if server_first else (one, other)

        await trio.testing.check_two_way_stream(make_tls, None)


@pytest.mark.parametrize("protocol", [None, "websocket"])
async def test_a_connection_in_a_tunnel_of_another(protocol: str | None, autojump_clock: MockClock) -> None:
    async def outer(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await trio_h2.serve_h2_connection(echo, stream)

    async with client_and_server(outer) as pair:
        target = "/" if protocol else "example.org:1"
        async with pair.client.stream("CONNECT", target, protocol=protocol) as tunnel:
            await tunnel.response()
            async with trio_h2.connect_over(tunnel, authority="inner.example") as inner:
                bodies: dict[int, bytes] = {}

                async def request(number: int) -> None:
                    response = await inner.request("POST", "/", body=pattern(300_000, number))
                    bodies[number] = response.body

                async with trio.open_nursery() as nursery:
                    for number in range(10):
                        nursery.start_soon(request, number)
                assert bodies == {number: pattern(300_000, number) for number in range(10)}
                assert await inner.ping() >= 0
        await trio.sleep(60)
        await trio.testing.wait_all_tasks_blocked()
        assert pair.client.statistics().streams == ()
        assert pair.server.statistics().streams == ()


async def test_three_connections_one_in_the_other(autojump_clock: MockClock) -> None:
    def nest(inside: Callable[[trio_h2.ServerStream], Awaitable[object]]) -> Callable[..., Awaitable[None]]:
        async def handler(stream: trio_h2.ServerStream) -> None:
            if stream.request.method != "CONNECT":
                await inside(stream)
                return
            await stream.send_response(200)
            await trio_h2.serve_h2_connection(inside, stream)

        return handler

    async with (
        client_and_server(nest(nest(hello))) as pair,
        pair.client.stream("CONNECT", "a:1") as first,
        trio_h2.connect_over(first, authority="b") as second,
        second.stream("CONNECT", "b:1") as third,
        trio_h2.connect_over(third, authority="c") as innermost,
    ):
        assert (await innermost.request("GET", "/")).body == b"hello"


async def test_leaving_a_connection_in_a_tunnel_ends_the_tunnel_gently(autojump_clock: MockClock) -> None:
    log: list[str] = []

    async def proxy(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await read_all(stream)
        log.append("end")
        await trio.sleep(0.5)
        log.append("finished")

    async with client_and_server(proxy) as pair:
        async with pair.client.stream("CONNECT", "example.org:1") as tunnel:
            await tunnel.response()
            async with trio_h2.connect_over(tunnel, authority="inner.example"):
                pass
        await trio.sleep(2)
    assert log == ["end", "finished"]


async def test_a_tunnel_that_is_reset_breaks_the_connection_in_it(autojump_clock: MockClock) -> None:
    async def outer(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await stream.receive_some()
        await stream.reset(ErrorCodes.CONNECT_ERROR)

    async with client_and_server(outer) as pair:
        async with pair.client.stream("CONNECT", "example.org:1") as tunnel:
            await tunnel.response()
            async with trio_h2.connect_over(tunnel, authority="inner.example") as inner:
                with pytest.raises(trio_h2.ConnectionTerminatedError) as caught:
                    await inner.request("GET", "/")
                assert isinstance(caught.value, trio.BrokenResourceError)
                await inner.wait_closed()
        assert pair.client.accepting
