"""What `statistics()` shows of streams, connections and servers."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Mapping
from contextlib import suppress

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import (
    CONNECT,
    GET,
    OK,
    POST,
    RawPeer,
    client_and_server,
    hello,
    raw_client,
    raw_server,
    serving,
)
from tests.frames import PREFACE
from trio_h2 import Config, ErrorCodes

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


# Servers


async def test_a_server_counts_requests_and_responses(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.path != "/nothing":
            await stream.respond(int((stream.request.path or "/")[1:]), body=b"x")

    async with serving(handler) as (server, listener, _):
        assert server.statistics().requests == server.statistics().responses == {}
        async with trio_h2.connect_over(listener.connect(), authority="example.org") as client:
            for method, status in [("GET", 200), ("GET", 201), ("PATCH", 404), ("FROB", 503), ("BREW", 418)]:
                await client.request(method, f"/{status}")
            assert (await client.request("GET", "/nothing")).status == 500
            during = server.statistics()
        await trio.sleep(5)
        after = server.statistics()
        for seen in (during, after):
            assert seen.requests == {"GET": 3, "PATCH": 1, "_OTHER": 2}
            assert seen.responses == {"2xx": 2, "4xx": 2, "5xx": 2}
            assert (seen.streams, seen.streams_open) == (6, 0)
        assert (during.connections, during.connections_open) == (1, 1)
        assert (after.connections, after.connections_open) == (1, 0)
        await server.shutdown()


async def test_a_server_counts_octets_resets_and_limits_and_keeps_them(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.method == "POST":
            await trio.sleep_forever()
        await stream.respond(200)

    config = Config(max_concurrent_streams=2, max_header_list_size=200)
    async with serving(handler, config=config) as (server, listener, _):
        for number in (1, 2):
            peer = RawPeer(listener.connect(), client=True)
            await peer.handshake()
            await peer.send(peer.headers(1, POST), peer.rst(1, ErrorCodes.CANCEL))
            await peer.send(peer.headers(3, POST), peer.rst(3, 0xABCDEF))
            await peer.send(peer.headers(5, (*GET, ("x", "y" * 200)), end_stream=True))
            await peer.send(peer.headers(7, POST), peer.headers(9, POST), peer.headers(11, POST))
            assert await peer.expect_rst(11) == ErrorCodes.REFUSED_STREAM
            await peer.send(peer.headers(7, [("x", "y")]))
            assert await peer.expect_rst(7) == ErrorCodes.PROTOCOL_ERROR
            seen = server.statistics()
            assert (seen.streams_open, seen.connections_open) == (1, 1)
            await peer.transport.aclose()
            await trio.sleep(5)
            seen = server.statistics()
            assert (seen.streams, seen.streams_open) == (5 * number, 0)
            assert seen.requests == {"POST": 4 * number, "_OTHER": number}
            assert seen.responses == {"4xx": number}
            assert seen.resets_received == {"CANCEL": number, "_OTHER": number}
            assert seen.resets_sent["REFUSED_STREAM"] == seen.resets_sent["PROTOCOL_ERROR"] == number
            assert seen.limits_hit == {"max_header_list_size": number}
            sent = sum(9 + frame.body_len for frame in peer.log)
            assert seen.bytes_sent >= number * sent > 0
            assert seen.bytes_received > number * len(PREFACE)
            assert seen.handshakes_failed == 0
        await server.shutdown()


async def test_a_malformed_request_counts_as_a_reset_alone(autojump_clock: MockClock) -> None:
    async with serving(hello) as (server, listener, nursery):
        peer = RawPeer(listener.connect(), client=True)
        await peer.handshake()
        await peer.send(peer.headers(1, (*GET, ("content-length", "5")), end_stream=True))
        await peer.send(peer.headers(3, (*GET, ("Upper", "5")), end_stream=True))
        await peer.send(peer.headers(5, GET, end_stream=True))
        await peer.sync()
        statistics = server.statistics()
        assert statistics.requests == {"GET": 1}
        assert statistics.resets_sent == {"PROTOCOL_ERROR": 2}
        nursery.cancel_scope.cancel()


async def test_a_server_counts_connections_that_come_to_nothing(autojump_clock: MockClock) -> None:
    async with serving(hello, max_connections=1) as (server, listener, _):
        first = RawPeer(listener.connect(), client=True)
        await first.handshake()
        await trio.sleep(5)
        silent = listener.connect()  # in its place, and in turn it has to go
        await trio.sleep(5)
        assert server.statistics().connections_evicted == 1
        http1 = listener.connect()
        await http1.send_all(b"GET / HTTP/1.1\r\n\r\n")
        await trio.sleep(5)
        assert server.statistics().connections_evicted == 2
        assert (await http1.receive_some(12)).endswith(b"505")
        await http1.aclose()
        await trio.sleep(5)
        nobody = listener.connect()
        await nobody.send_all(b"nonsense\r\n")
        await trio.sleep(5)
        seen = server.statistics()
        assert (seen.connections, seen.connections_open, seen.connections_http1) == (4, 0, 1)
        assert seen.handshakes_failed == 2
        for transport in (first.transport, silent, nobody):
            await transport.aclose()
        await server.shutdown()
    assert server.statistics() == seen


async def test_statistics_can_be_sent_elsewhere(autojump_clock: MockClock) -> None:
    """An exporter writes them as JSON, or hands them to another process."""
    async with serving(hello) as (server, listener, _):
        async with trio_h2.connect_over(listener.connect(), authority="example.org") as client:
            await client.request("GET", "/")
            for each in (server.statistics(), client.statistics(), server.connections[0].statistics()):
                assert json.loads(json.dumps(attrs.asdict(each)))["bytes_sent"] == each.bytes_sent
                assert copy.deepcopy(each) == pickle.loads(pickle.dumps(each)) == each
        await server.shutdown()


def counters(statistics: trio_h2.ServerStatistics) -> dict[tuple[str, str], int]:
    """All that may only grow."""
    flat = {}
    for name, value in attrs.asdict(statistics, recurse=False).items():
        if not name.endswith("_open"):
            flat.update(
                {(name, key): each for key, each in value.items()}
                if isinstance(value, Mapping)
                else {(name, ""): value}
            )
    return flat


class OnlyGrowing(trio.abc.Instrument):
    """Looks at a server's statistics before every step of every task."""

    def __init__(self, server: trio_h2.H2Server) -> None:
        self._server = server
        self._last: dict[tuple[str, str], int] = {}
        self.looks = 0
        self.fallen: list[str] = []

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        before, self._last = self._last, counters(self._server.statistics())
        self.fallen += [f"{name}: {count}" for name, count in before.items() if self._last.get(name, 0) < count]
        self.looks += 1


async def test_what_a_server_counts_never_falls(autojump_clock: MockClock) -> None:
    """Also not in the step in which a connection ends, however it does."""

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await stream.send_all(bytes(10_000))
        await trio.sleep(2)

    async def http1(stream: trio.abc.Stream) -> None:
        await stream.receive_some()

    async def request(client: trio_h2.ClientConnection) -> None:
        with suppress(trio_h2.H2Error):
            await client.request("GET", "/")

    async def use(number: int) -> None:
        transport = listener.connect()
        with trio.move_on_after(number % 7):
            if number % 5 == 0:
                await transport.send_all(b"GET / HTTP/1.1\r\n\r\n")
                await transport.receive_some()
                return
            async with trio_h2.connect_over(transport, authority="example.org") as client:
                async with trio.open_nursery() as nursery:
                    for _ in range(3):
                        nursery.start_soon(request, client)
                    if number % 3 == 0:
                        await trio.sleep(1)
                        await transport.aclose()

    async with serving(handler, http1=http1, max_connections=5) as (server, listener, _):
        watching = OnlyGrowing(server)
        trio.lowlevel.add_instrument(watching)
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(use, number)
        await server.shutdown()
        looks = watching.looks
        trio.lowlevel.remove_instrument(watching)
        seen = server.statistics()
        assert watching.fallen == []
        assert looks > 1_000
        assert (seen.connections, seen.connections_open, seen.streams_open) == (30, 0, 0)
        assert 30 <= seen.requests["GET"] <= seen.streams


async def test_a_server_lists_its_connections_oldest_first(autojump_clock: MockClock) -> None:
    seen: list[trio_h2.ServerConnection] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        assert isinstance(stream.connection, trio_h2.ServerConnection)
        seen.append(stream.connection)
        await stream.respond(200)

    async with serving(handler) as (server, listener, _):
        assert server.connections == ()
        silent = listener.connect()
        await trio.testing.wait_all_tasks_blocked()
        assert server.connections == ()  # nobody knows yet whether that speaks HTTP/2
        peers = [RawPeer(listener.connect(), client=True) for _ in range(10)]
        for peer in peers:
            await peer.handshake()
            await peer.send(peer.headers(1, GET, end_stream=True))
            await peer.sync()
        assert server.connections[-10:] == tuple(seen)
        await peers[3].transport.aclose()
        await trio.sleep(5)
        assert server.connections[-9:] == (*seen[:3], *seen[4:])
        for peer in (*peers, RawPeer(silent, client=True)):
            await peer.transport.aclose()
        await trio.sleep(5)
        assert server.connections == ()
        await server.shutdown()


async def test_one_connection_of_a_server_is_shut_down_alone(autojump_clock: MockClock) -> None:
    release = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await release.wait()
        await stream.respond(200)

    async with serving(handler) as (server, listener, _):
        async with (
            trio_h2.connect_over(listener.connect(), authority="example.org") as one,
            trio_h2.connect_over(listener.connect(), authority="example.org") as other,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(one.request, "GET", "/")
            await trio.testing.wait_all_tasks_blocked()
            connection = server.connections[0]
            nursery.start_soon(connection.shutdown)
            nursery.start_soon(connection.shutdown, 20)  # joins it
            await trio.sleep(1)
            assert (one.accepting, other.accepting, server.closing.is_set()) == (False, True, False)
            release.set()
            await one.wait_closed()
            assert (await other.request("GET", "/")).status == 200
            await connection.shutdown()  # which is over
            with pytest.raises(ValueError, match="grace must be 0 or more seconds, not -1"):
                await connection.shutdown(-1)
        await server.shutdown()


async def test_a_connections_shutdown_ends_with_its_grace_though_its_caller_is_cancelled(
    autojump_clock: MockClock,
) -> None:
    cancelled = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())

    async with serving(handler) as (server, listener, nursery):
        peer = RawPeer(listener.connect(), client=True)
        await peer.handshake()
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        begun = trio.current_time()
        with trio.move_on_after(1):
            await server.connections[0].shutdown(grace=10)
        await peer.to_end()
        await peer.transport.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert begun + 9 <= cancelled[0] <= begun + 10
        assert server.connections == ()
        nursery.start_soon(server.shutdown)


async def test_a_handler_that_shuts_its_connection_down_may_answer_when_the_others_have(
    autojump_clock: MockClock,
) -> None:
    ended = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.path == "/shutdown":
            begun = trio.current_time()
            await stream.connection.shutdown(30)
            ended.append(trio.current_time() - begun)
        else:
            await trio.sleep(5)
        await stream.respond(200)

    async with serving(handler) as (server, listener, nursery):
        peer = RawPeer(listener.connect(), client=True)
        await peer.handshake()
        target = (*GET[:3], (":path", "/shutdown"))
        await peer.send(peer.headers(1, GET, end_stream=True), peer.headers(3, target, end_stream=True))
        frames = await peer.to_end()
        assert [frame.fields for frame in frames if frame.type == 1] == 2 * [
            [(b":status", b"200"), (b"content-length", b"0")]
        ]
        assert ended == [5]
        nursery.start_soon(server.shutdown)


async def test_a_handler_that_shuts_its_connection_down_does_not_outlast_the_grace(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.connection.shutdown(10)
        await trio.sleep_forever()

    async with serving(handler) as (server, listener, nursery):
        peer = RawPeer(listener.connect(), client=True)
        await peer.handshake()
        begun = trio.current_time()
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.to_end()
        assert trio.current_time() - begun <= 12
        await peer.transport.aclose()
        await trio.sleep(2)
        assert server.statistics().connections_open == 0
        nursery.start_soon(server.shutdown)


@pytest.mark.parametrize("how", ["shutdown", "cancelled"])
async def test_closing_is_set_when_a_server_ends(how: str, autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await server.closing.wait()
        await stream.send_all(b"bye")

    async with serving(handler) as (server, listener, nursery):
        async with trio_h2.connect_over(listener.connect(), authority="example.org") as client:
            async with client.stream("GET", "/") as stream:
                await stream.response()
                assert not server.closing.is_set()
                if how == "shutdown":
                    nursery.start_soon(server.shutdown)
                    assert await stream.receive_some() == b"bye"
                    assert await stream.receive_some() == b""
                else:
                    nursery.cancel_scope.cancel()
        assert server.closing.is_set()
