"""Receive windows that grow to what a round trip carries (RFC 9113 section 6.9.1), over a long link on a MockClock."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hyperframe.frame import Frame, PingFrame
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import (
    GET,
    OK,
    POST,
    Pair,
    check_quiet,
    client_and_server,
    echo,
    hello,
    link_pair,
    of,
    pattern,
    raw_client,
    raw_server,
    read_all,
)
from trio_h2 import Config
from trio_h2.protocol.bandwidth import MEASURING_PING

KIB = 1024
MIB = 1024 * KIB

ROUND_TRIP = 0.05
RATE = 12.5e6


async def pour(stream: trio_h2.ServerStream) -> None:
    """A handler that sends without end."""
    await stream.send_response(200)
    while True:
        await stream.send_all(bytes(64 * KIB))


class Sink:
    """Reads bodies, and counts."""

    def __init__(self) -> None:
        self.count = 0

    async def read(self, stream: trio.abc.ReceiveStream) -> None:
        async for chunk in stream:
            self.count += len(chunk)

    async def handle(self, stream: trio_h2.ServerStream) -> None:
        await self.read(stream)

    async def share_of_the_third_second(self) -> float:
        await trio.sleep(2)
        before = self.count
        await trio.sleep(1)
        return (self.count - before) / RATE


def stream_target(connection: trio_h2.Connection, index: int = 0) -> int:
    window = connection.statistics().streams[index].inbound_window
    assert window is not None
    assert window.available + window.held + window.unannounced == window.target
    return window.target


async def test_rfc9113_6_9_1_a_client_that_downloads_fills_a_long_link(autojump_clock: MockClock) -> None:
    sink = Sink()
    async with client_and_server(pour, transports=link_pair(ROUND_TRIP, RATE)) as pair:
        async with pair.client.stream("GET", "/") as stream, trio.open_nursery() as nursery:
            nursery.start_soon(sink.read, stream)
            assert await sink.share_of_the_third_second() >= 0.9
            # What the link carries, a few times, and not the most that is allowed.
            assert 2 * RATE * ROUND_TRIP <= stream_target(pair.client) <= 8 * RATE * ROUND_TRIP
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("initial", [1_000, 16 * KIB])
async def test_rfc9113_6_9_1_windows_that_begin_small_grow_too(initial: int, autojump_clock: MockClock) -> None:
    sink = Sink()
    config = Config(initial_window_size=initial)
    async with client_and_server(pour, config=config, transports=link_pair(ROUND_TRIP, RATE)) as pair:
        async with pair.client.stream("GET", "/") as stream, trio.open_nursery() as nursery:
            nursery.start_soon(sink.read, stream)
            await trio.sleep(1)  # 1,000 octets are eight doublings away from the default
            assert await sink.share_of_the_third_second() >= 0.9
            nursery.cancel_scope.cancel()


async def test_rfc9113_6_9_1_a_server_that_takes_an_upload_fills_a_long_link(autojump_clock: MockClock) -> None:
    sink = Sink()
    async with client_and_server(sink.handle, transports=link_pair(ROUND_TRIP, RATE)) as pair:
        async with pair.client.stream("POST", "/") as stream, trio.open_nursery() as nursery:

            async def send() -> None:
                while True:
                    await stream.send_all(bytes(64 * KIB))

            nursery.start_soon(send)
            assert await sink.share_of_the_third_second() >= 0.9
            nursery.cancel_scope.cancel()


async def test_rfc9113_6_9_1_several_downloads_fill_a_long_link_together(autojump_clock: MockClock) -> None:
    sink = Sink()
    async with client_and_server(pour, transports=link_pair(4 * ROUND_TRIP, RATE)) as pair:
        async with trio.open_nursery() as nursery:

            async def download() -> None:
                async with pair.client.stream("GET", "/") as stream:
                    await sink.read(stream)

            for _ in range(4):
                nursery.start_soon(download)
            await trio.sleep(2)
            assert await sink.share_of_the_third_second() >= 0.9
            nursery.cancel_scope.cancel()


async def test_rfc9113_6_9_1_without_the_knob_windows_stay(autojump_clock: MockClock) -> None:
    sink = Sink()
    config = Config(max_window_size=0)
    async with client_and_server(pour, config=config, transports=link_pair(ROUND_TRIP, RATE)) as pair:
        async with pair.client.stream("GET", "/") as stream, trio.open_nursery() as nursery:
            nursery.start_soon(sink.read, stream)
            assert await sink.share_of_the_third_second() < 0.5
            assert stream_target(pair.client) == 256 * KIB
            assert pair.client.statistics().inbound_window.target == MIB
            nursery.cancel_scope.cancel()


async def test_rfc9113_6_9_1_a_slow_reader_gets_no_larger_window(autojump_clock: MockClock) -> None:
    sink = Sink()
    async with client_and_server(pour, transports=link_pair(ROUND_TRIP, RATE)) as pair:
        async with (
            pair.client.stream("GET", "/") as fast,
            pair.client.stream("GET", "/") as slow,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(sink.read, fast)
            for _ in range(300):
                await slow.receive_some(16 * KIB)
                await trio.sleep(0.02)
            assert stream_target(pair.client, 0) > MIB
            assert stream_target(pair.client, 1) == 256 * KIB
            nursery.cancel_scope.cancel()


async def grow(pair: Pair) -> None:
    """Download until the windows have grown; then leave in the midst of it."""
    async with pair.client.stream("GET", "/pour") as stream:
        while stream_target(pair.client, -1) <= MIB:
            await stream.receive_some()


async def test_rfc9113_6_9_credit_balances_when_grown_streams_are_cancelled_and_reset(
    autojump_clock: MockClock,
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.path == "/echo":
            await echo(stream)
        elif stream.request.path == "/pour":
            await pour(stream)
        else:
            await stream.send_response(200)
            for _ in range(40):
                await stream.send_all(bytes(64 * KIB))
            await stream.reset()

    async with client_and_server(handler, transports=link_pair(ROUND_TRIP, RATE)) as pair:
        await grow(pair)
        with trio.move_on_after(1):
            async with pair.client.stream("GET", "/pour") as stream:
                await read_all(stream)
        with pytest.raises(trio_h2.StreamResetError):
            await pair.client.request("GET", "/reset")
        async with pair.client.stream("GET", "/pour") as unread:
            await unread.response()
            await trio.sleep(1)
        response = await pair.client.request("POST", "/echo", body=pattern(3_000_000))
        assert response.body == pattern(3_000_000)
        assert pair.client.statistics().inbound_window.target > MIB
        await check_quiet(pair)


# The PINGs that measure (6.7)


async def test_rfc9113_6_7_measuring_pings_stay_out_of_the_users_way(autojump_clock: MockClock) -> None:
    seen: list[bytes] = []

    async with client_and_server(pour, transports=link_pair(ROUND_TRIP, RATE)) as pair:

        async def watch() -> None:
            async for event in pair.client.events():
                if isinstance(event, trio_h2.PingAckReceived):
                    seen.append(event.ping_data)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            nursery.start_soon(grow, pair)
            await trio.sleep(0.1)
            for _ in range(20):
                assert await pair.client.ping() >= ROUND_TRIP
            nursery.cancel_scope.cancel()
        assert pair.client.statistics().inbound_window.target > MIB
        assert len(seen) == 20
        assert MEASURING_PING not in seen


def pings(frames: list[Frame]) -> list[PingFrame]:
    return [frame for frame in of(frames, PingFrame) if frame.opaque_data == MEASURING_PING]


async def test_rfc9113_6_7_a_ping_that_nobody_answers_is_the_only_one(autojump_clock: MockClock) -> None:
    async with raw_client(Sink().handle) as peer:
        await peer.send(peer.headers(1, POST))
        for _ in range(200):
            await peer.send(*(peer.data(1, bytes(16_384)) for _ in range(8)))
            await peer.sync()
        assert len(pings(peer.log)) == 1


async def test_rfc9113_6_7_small_messages_and_small_responses_cause_no_ping(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), connection.stream("POST", "/") as stream:
        await peer.send(peer.headers(1, OK))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Sink().read, stream)
            for _ in range(200):
                await peer.send(*(peer.data(1, bytes(100)) for _ in range(50)))
                await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        assert connection.statistics().bytes_received > MIB
        assert pings(await peer.sync()) == []


async def test_rfc9113_6_7_requests_without_bodies_cause_no_ping(autojump_clock: MockClock) -> None:
    async with raw_client(hello) as peer:
        for stream_id in range(1, 4001, 2):
            await peer.send(peer.headers(stream_id, GET, end_stream=True))
        await peer.sync()
        assert pings(peer.log) == []
