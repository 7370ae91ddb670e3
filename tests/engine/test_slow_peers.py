"""Peers that are slow for ever: what is ours to judge, and what is not."""

from __future__ import annotations

import logging
import math

import pytest
import trio
import trio.testing
from hyperframe.frame import HeadersFrame, RstStreamFrame
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import (
    GET,
    POST,
    body_of,
    client_and_server,
    hello,
    of,
    raw_client,
    raw_server,
    slow_pair,
)
from trio_h2 import Config, ErrorCodes

LARGE = bytes(200_000)


async def large(stream: trio_h2.ServerStream) -> None:
    await stream.respond(200, body=LARGE)


def named(caplog: pytest.LogCaptureFixture, knob: str) -> list[str]:
    """The lines that say that a peer went over this field of Config."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.INFO and f"Config.{knob}" in record.getMessage()
    ]


# What the transport takes


@pytest.mark.parametrize("reads", [0, 100])
async def test_a_peer_that_reads_less_than_min_send_rate_is_given_up(
    reads: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    slow, peer_end = slow_pair()
    settings = {0x4: 2**20}
    async with raw_client(
        large, config=Config(min_send_rate=1_000), settings=settings, transports=(peer_end, slow)
    ) as peer:
        slow.stop()
        await peer.send(*(peer.headers(stream_id, GET, end_stream=True) for stream_id in range(1, 21, 2)))
        start = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            while True:
                slow.allow(reads)
                await trio.sleep(1)
                await peer.send(peer.window_update(0, 1))
        # 60 seconds, and a second for each 1,000 octets of one write: 65,535 that the window allows.
        assert 60 + 65 < trio.current_time() - start < 60 + 70
        assert len(named(caplog, "min_send_rate")) == 1


async def test_a_slow_peer_that_reads_more_than_that_is_served(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()
    settings = {0x4: 2**20}
    async with (
        raw_client(large, config=Config(min_send_rate=1_000), settings=settings, transports=(peer_end, slow)) as peer,
        trio.open_nursery() as nursery,
    ):
        slow.stop()

        async def trickle() -> None:
            while True:
                slow.allow(1_100)
                await trio.sleep(1)

        nursery.start_soon(trickle)
        await peer.send(peer.window_update(0, 2**20), peer.headers(1, GET, end_stream=True))
        while len(body_of(peer.log, 1)) < len(LARGE):
            assert await peer.receive() is not None
        nursery.cancel_scope.cancel()


async def test_a_client_gives_up_a_server_that_takes_nothing(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()
    async with raw_server(transports=(slow, peer_end)) as (connection, peer):
        await peer.sync()
        slow.stop()
        with pytest.raises(trio_h2.ConnectionTerminatedError, match="does not read"):
            await connection.request("POST", "/", body=LARGE)
        assert 60 < trio.current_time() < 60 + 65 + 10


async def test_min_send_rate_can_be_switched_off(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()
    config = Config(min_send_rate=0, stall_timeout=math.inf)
    async with raw_client(large, config=config, transports=(peer_end, slow)) as peer:
        slow.stop()
        await peer.send(peer.headers(1, GET, end_stream=True))
        await trio.sleep(10_000)
        slow.allow(math.inf)
        assert (await peer.expect(HeadersFrame)).stream_id == 1


# What windows allow


async def test_rfc9113_5_4_2_a_response_that_gets_no_window_is_cancelled(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    errors: list[BaseException] = []
    connections: list[trio_h2.Connection] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        connections.append(stream.connection)
        try:
            await large(stream)
        except BaseException as error:
            errors.append(error)
            raise

    async with raw_client(handler, config=Config(stall_timeout=100), settings={0x4: 10}) as peer:
        start = trio.current_time()
        await peer.send(peer.headers(1, GET, end_stream=True), peer.headers(3, GET, end_stream=True))
        await trio.sleep(60)
        await peer.send(peer.window_update(3, 1))
        assert await peer.expect_rst(1) == ErrorCodes.CANCEL
        assert trio.current_time() - start == pytest.approx(100, abs=1)
        assert await peer.expect_rst(3) == ErrorCodes.CANCEL
        assert trio.current_time() - start == pytest.approx(160, abs=1)
        assert len(body_of(peer.log, 3)) == 11
        assert len(named(caplog, "stall_timeout")) == 1
        assert connections[0].statistics().limits_hit == {"stall_timeout": 2}
        await peer.send(peer.headers(5, GET))
        await peer.expect(HeadersFrame, stream_id=5)
    assert all(isinstance(error, trio_h2.StreamResetError | trio.Cancelled) for error in errors[:2])


@pytest.mark.parametrize("trick", ["priority", "negative window"])
async def test_only_credit_lets_a_response_wait_longer(trick: str, autojump_clock: MockClock) -> None:
    async with raw_client(large, config=Config(stall_timeout=100), settings={0x4: 10}) as peer:
        start = trio.current_time()
        await peer.send(peer.headers(1, GET, end_stream=True))
        for turn in range(9):
            await trio.sleep(10)
            if trick == "priority":
                await peer.send(peer.frame(0x10, 0, 0, bytes((0, 0, 0, 1)) + b"u=%d" % (turn % 8)))
            else:
                await peer.send(peer.settings({0x4: 9 - turn}))
        assert await peer.expect_rst(1) == ErrorCodes.CANCEL
        assert trio.current_time() - start == pytest.approx(100, abs=1)


async def test_a_connection_window_that_never_opens_is_no_way_around_it(autojump_clock: MockClock) -> None:
    async with raw_client(large, config=Config(stall_timeout=100), settings={0x4: 2**20}) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True), peer.headers(3, GET, end_stream=True))
        await trio.sleep(90)
        await peer.send(peer.window_update(0, 1_000))
        await trio.sleep(90)
        assert not of(peer.log, RstStreamFrame)
        await trio.sleep(20)
        await peer.send(peer.ping())
        await peer.sync()
        assert {frame.stream_id for frame in of(peer.log, RstStreamFrame)} == {1, 3}


async def test_who_starves_is_counted_from_its_own_start(autojump_clock: MockClock) -> None:
    """The connection's window was shut long before, but nobody is left who waited for it."""
    async with raw_client(large, config=Config(stall_timeout=100), settings={0x4: 2**20}) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await trio.sleep(90)
        await peer.send(peer.rst(1))
        await trio.sleep(60)
        start = trio.current_time()
        await peer.send(peer.headers(3, GET, end_stream=True))
        assert await peer.expect_rst(3) == ErrorCodes.CANCEL
        assert trio.current_time() - start >= 100


async def test_a_new_priority_is_no_credit_of_the_connection(autojump_clock: MockClock) -> None:
    async with raw_client(large, config=Config(stall_timeout=100), settings={0x4: 2**20}) as peer:
        start = trio.current_time()
        await peer.send(peer.headers(1, GET, end_stream=True))
        for turn in range(9):
            await trio.sleep(10)
            await peer.send(peer.frame(0x10, 0, 0, bytes((0, 0, 0, 1)) + b"u=%d" % (turn % 8)))
        assert await peer.expect_rst(1) == ErrorCodes.CANCEL
        assert trio.current_time() - start == pytest.approx(100, abs=1)


async def test_who_waits_its_turn_does_not_stall(autojump_clock: MockClock) -> None:
    """A response of low urgency gets nothing while others take all of the connection's window; that is not the peer."""
    low = (*GET, ("priority", "u=7"))
    async with raw_client(large, config=Config(stall_timeout=100), settings={0x4: 2**20}) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        await peer.send(peer.headers(3, low, end_stream=True))
        for _ in range(100):
            await trio.sleep(10)
            await peer.send(peer.window_update(0, 1_000))
        await peer.sync()
        assert not of(peer.log, RstStreamFrame)
        assert len(body_of(peer.log, 1)) == 65_535 + 100_000


async def test_a_client_waits_for_window_as_long_as_it_likes(autojump_clock: MockClock) -> None:
    async with raw_server(settings={0x4: 0}) as (connection, peer), trio.open_nursery() as nursery:
        nursery.start_soon(connection.request, "POST", "/")
        nursery.start_soon(_upload, connection)
        await trio.sleep(10_000)
        await peer.sync()
        assert not of(peer.log, RstStreamFrame)
        nursery.cancel_scope.cancel()


async def _upload(connection: trio_h2.ClientConnection) -> None:
    await connection.request("POST", "/", body=b"body")


# Bodies of requests


async def reading(stream: trio_h2.ServerStream) -> None:
    async for _ in stream:
        pass
    await stream.respond(200)


async def test_a_body_that_comes_slowly_is_never_reset_by_default(autojump_clock: MockClock) -> None:
    async with raw_client(reading) as peer:
        await peer.send(peer.headers(1, POST))
        for _ in range(10):
            await trio.sleep(3_600)
            await peer.send(peer.data(1, b"x"))
        await peer.send(peer.data(1, end_stream=True))
        assert (await peer.expect(HeadersFrame)).fields[0] == (b":status", b"200")


async def test_a_body_below_min_body_rate_is_reset(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with raw_client(reading, config=Config(min_body_rate=10)) as peer:
        await peer.send(peer.headers(1, POST), peer.headers(3, POST))
        for _ in range(20):
            await peer.send(peer.data(3, b"x" * 110))
            await trio.sleep(10)
        await peer.send(peer.data(3, end_stream=True))
        await peer.sync()
        assert [(frame.stream_id, frame.error_code) for frame in of(peer.log, RstStreamFrame)] == [
            (1, ErrorCodes.CANCEL)
        ]
        assert of(peer.log, HeadersFrame)[0].stream_id == 3
        assert len(named(caplog, "min_body_rate")) == 1


async def test_min_body_rate_asks_nothing_of_a_body_that_nobody_waits_for(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(1_000)
        await reading(stream)

    async with raw_client(handler, config=Config(min_body_rate=10)) as peer:
        await peer.send(peer.headers(1, POST), peer.data(1, b"body"))
        await trio.sleep(999)
        await peer.send(peer.data(1, end_stream=True))
        assert (await peer.expect(HeadersFrame)).fields[0] == (b":status", b"200")


# Idleness


async def test_a_server_ends_an_idle_connection_after_five_minutes(autojump_clock: MockClock) -> None:
    async with client_and_server(hello) as pair:
        await trio.sleep(200)
        await pair.client.request("GET", "/")
        start = trio.current_time()
        await pair.client.wait_closed()
        assert trio.current_time() - start == pytest.approx(300, abs=1)


async def test_a_stream_keeps_its_connection(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(7_200)
        await stream.respond(200)

    async with client_and_server(handler) as pair:
        assert (await pair.client.request("GET", "/")).status == 200
