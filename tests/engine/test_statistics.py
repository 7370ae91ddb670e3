"""What `statistics()` shows of streams, connections and servers."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import CONNECT, GET, OK, client_and_server, hello, raw_client, raw_server
from trio_h2 import Config

# Streams


async def test_streams_that_wait_for_a_slot_can_be_told_apart(autojump_clock: MockClock) -> None:
    async with raw_server(settings={3: 1}) as (connection, peer), trio.open_nursery() as nursery:
        begun = trio.current_time()
        for number in range(3):
            nursery.start_soon(connection.request, "GET", f"/{number}?secret")
            await trio.sleep(1)
        seen = [
            (stream.stream_id, stream.method, stream.path, stream.since - begun, stream.waits_for, stream.waits_since)
            for stream in connection.statistics().streams
        ]
        assert seen == [
            (1, "GET", "/0", 0, "peer", begun),
            (None, "GET", "/1", 1, "slot", begun + 1),
            (None, "GET", "/2", 2, "slot", begun + 2),
        ]
        for stream_id in (1, 3, 5):
            await peer.send(peer.headers(stream_id, OK, end_stream=True))
            await trio.testing.wait_all_tasks_blocked()


async def test_a_servers_stream_says_since_when_it_is_there_and_waits(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        connections.append(stream.connection)
        await trio.sleep(10)
        await stream.receive_some(1)
        await trio.sleep(10)
        await stream.receive_some()
        await stream.receive_some()

    def waiting() -> tuple[str | None, float | None]:
        (stream,) = connections[0].statistics().streams
        assert (stream.method, stream.path, stream.since) == ("CONNECT", "example.org:80", begun)
        return stream.waits_for, None if stream.waits_since is None else stream.waits_since - begun

    connections: list[trio_h2.Connection] = []
    async with raw_client(handler) as peer:
        await trio.sleep(5)
        begun = trio.current_time()
        await peer.send(peer.headers(1, CONNECT))
        await trio.sleep(5)
        assert waiting() == (None, None)
        await trio.sleep(10)
        assert waiting() == ("peer", 10)
        await peer.send(peer.data(1, b"ab"))
        await trio.sleep(1)
        assert waiting() == ("application", 15)
        await trio.sleep(14)
        assert waiting() == ("peer", 25)


async def test_a_sending_call_waits_since_it_began_to(autojump_clock: MockClock) -> None:
    async with raw_server(settings={4: 10}) as (connection, peer), trio.open_nursery() as nursery:
        async with connection.stream("POST", "/") as stream:
            await trio.sleep(1)
            nursery.start_soon(stream.send_all, bytes(20))
            begun = trio.current_time()
            await trio.sleep(2)
            (seen,) = connection.statistics().streams
            assert (seen.waits_for, seen.waits_since) == ("stream window", begun)
            await peer.send(peer.window_update(1, 10))
            await trio.testing.wait_all_tasks_blocked()
            (seen,) = connection.statistics().streams
            assert (seen.waits_for, seen.waits_since) == (None, None)


@pytest.mark.parametrize("side", ["client", "server"])
async def test_pushed_streams_are_named_by_what_was_promised(side: str, autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        pushed = await stream.push("/style.css")
        connections.append(stream.connection)
        await trio.sleep(5)
        await pushed.respond(200, body=b"x")
        await stream.respond(200)

    connections: list[trio_h2.Connection] = []
    async with client_and_server(handler, config=Config(enable_push=True)) as pair:
        connections.append(pair.client)
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.client.request, "GET", "/")
            await trio.sleep(1)
            _, pushed = connections[side == "server"].statistics().streams
            assert (pushed.stream_id, pushed.method, pushed.path, pushed.since) == (2, "GET", "/style.css", begun)


async def test_a_stream_that_is_closed_is_not_listed_though_it_is_in_use(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        connections.append(stream.connection)
        await stream.respond(200)
        await trio.sleep(10)

    connections: list[trio_h2.Connection] = []
    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        assert connections[0].statistics().streams == ()
        assert "0 streams" in repr(connections[0])
    async with client_and_server(hello) as pair, pair.client.stream("GET", "/") as stream:
        await stream.response()
        await trio.testing.wait_all_tasks_blocked()
        assert pair.client.statistics().streams == ()
        assert pair.client.statistics().unread == len(await stream.receive_some())
