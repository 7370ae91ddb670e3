"""What the budgets of a connection do to its actors: how it ends, what is logged and counted, what is given back."""

from __future__ import annotations

import logging
import math

import attrs
import pytest
import trio
import trio.testing
from hyperframe.frame import GoAwayFrame, RstStreamFrame
from trio.testing import MockClock

import trio_h2
from trio_h2 import Config, ErrorCodes

from .helpers import GET, OK, POST, Pair, client_and_server, hello, of, raw_client, raw_server


def held(connection: trio_h2.Connection) -> int:
    """Octets of header sections that the connection counts as held for its user."""
    return connection._actor.machine.held_headers.octets


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged above DEBUG."""
    return [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]


# How a connection ends


async def test_a_budget_that_trips_is_one_line_and_one_goaway(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_h2")
    connections: list[trio_h2.Connection] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        connections.append(stream.connection)
        await trio.sleep_forever()

    async with raw_client(handler, config=Config(max_control_frames=100)) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        await peer.send(*[peer.ping()] * 200)
        goaways = of(await peer.to_end(), GoAwayFrame)
    assert [frame.error_code for frame in goaways] == [ErrorCodes.ENHANCE_YOUR_CALM]
    (line,) = lines(caplog)
    assert "a peer without an address went over Config.max_control_frames (100): " in line
    statistics = connections[0].statistics()
    assert statistics.limits_hit == {"max_control_frames": 1}
    hash(statistics)
    statistics.limits_hit["max_control_frames"] = 2  # type: ignore[index]
    assert connections[0].statistics().limits_hit == {"max_control_frames": 1}


async def test_a_ping_a_second_is_fine_for_ever(autojump_clock: MockClock) -> None:
    async with raw_client(hello, config=Config(max_control_frames=100, idle_timeout=math.inf)) as peer:
        for _ in range(500):
            await peer.send(peer.ping())
            await trio.sleep(1)
        await peer.sync()


async def test_a_server_that_ignores_the_windows_of_a_stream_that_was_reset_loses_its_client(
    autojump_clock: MockClock,
) -> None:
    async with raw_server() as (client, peer):
        async with client.stream("GET", "/"):
            await peer.sync()
            await peer.send(peer.headers(1, OK))
        await peer.expect_rst(1)
        for _ in range(16):
            await peer.send(peer.data(1, bytes(16_384)))
        await peer.sync()
        assert client.accepting
        await peer.send(peer.data(1, b"x"))
        goaways = of(await peer.to_end(), GoAwayFrame)
        assert [frame.error_code for frame in goaways] == [ErrorCodes.FLOW_CONTROL_ERROR]


async def test_a_client_calms_its_server(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trio_h2")
    async with raw_server(config=Config(max_stream_errors=2)) as (client, peer):
        for stream_id in (1, 3, 5):
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def ask() -> None:
                    with pytest.raises(trio_h2.H2Error):
                        await client.request("GET", "/")

                await trio.testing.wait_all_tasks_blocked()
                await peer.send(peer.headers(stream_id, [("x", "y")]))
        with pytest.raises(trio_h2.DenialOfServiceError, match=r"Config\.max_stream_errors \(2\)"):
            await client.request("GET", "/")
        assert client.statistics().limits_hit == {"max_stream_errors": 1}
    assert len(lines(caplog)) == 1


async def test_limits_of_a_stream_are_counted_and_not_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_h2")
    async with client_and_server(hello, server_config=Config(max_header_list_size=300)) as pair:
        assert (await pair.client.request("GET", "/")).status == 200
        for _ in range(3):
            assert (await pair.client.request("GET", "/", headers=[("x", "y" * 300)])).status == 431
        assert pair.server.statistics().limits_hit == {"max_header_list_size": 3}
        assert pair.client.statistics().limits_hit == {}
    assert lines(caplog) == []


async def test_events_that_are_dropped_are_counted_by_the_limit_that_dropped_them(autojump_clock: MockClock) -> None:
    for limit, value in (("max_queued_events", 3), ("max_event_octets", 500)):
        async with raw_server(config=Config(**{limit: value})) as (client, peer):  # type: ignore[arg-type]
            await peer.send(*[peer.ping()] * 10)
            await peer.sync()
            assert client.statistics().limits_hit == {limit: client.statistics().dropped_events}


# Header sections that are held are given back


async def check_nothing_held(pair: Pair) -> None:
    await trio.testing.wait_all_tasks_blocked()
    assert held(pair.client) == held(pair.server) == 0


async def test_headers_are_held_until_the_user_is_done_with_the_stream(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        assert held(stream.connection) > 0
        await stream.send_informational(103, headers=[("link", "</x>")])
        await stream.send_response(200, [("x", "y")])
        await stream.send_trailers([("sum", "1")])

    async with client_and_server(handler) as pair:
        async with pair.client.stream("GET", "/") as stream:
            await stream.response()
            assert held(pair.client) > 0
        await check_nothing_held(pair)
        response = await pair.client.request("POST", "/", body=b"x", trailers=[("sum", "1")])
        assert response.status == 200
        await check_nothing_held(pair)


async def test_headers_of_streams_that_are_cancelled_or_wait_for_a_permit_are_given_back(
    autojump_clock: MockClock,
) -> None:
    connections: list[trio_h2.Connection] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        connections.append(stream.connection)
        with trio.CancelScope(shield=True):
            await trio.sleep(1)

    async with raw_client(handler, config=Config(max_concurrent_streams=1)) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        one = held(connections[0])
        await peer.send(peer.rst(1), peer.headers(3, GET, end_stream=True))
        await peer.sync()
        assert held(connections[0]) == 2 * one
        await peer.send(peer.rst(3))
        await peer.sync()
        assert held(connections[0]) == one > 0
        await trio.sleep(2)
        assert held(connections[0]) == 0


async def test_headers_are_given_back_when_the_connection_ends(autojump_clock: MockClock) -> None:
    connections: list[trio_h2.Connection] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        connections.append(stream.connection)
        await trio.sleep_forever()

    async with raw_client(handler, config=Config(max_concurrent_streams=1)) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True), peer.rst(1), peer.headers(3, GET, end_stream=True))
        await peer.send(peer.headers(5, POST))
        await peer.sync()
        assert held(connections[0]) > 0
        await peer.send(peer.window_update(0, 0))
        await peer.to_end()
    await connections[0].wait_closed()
    assert held(connections[0]) == 0


@pytest.mark.parametrize("take", [True, False])
async def test_promises_are_held_until_they_are_taken_and_left_or_refused(
    take: bool, autojump_clock: MockClock
) -> None:
    async with raw_server(config=Config(enable_push=True, max_queued_events=2)) as (client, peer):
        async with client.stream("GET", "/"):
            await peer.sync()
            before = client.statistics().limits_hit["max_queued_events"]
            await peer.send(*(peer.headers(1, GET, promised=promised) for promised in (2, 4, 6)))
            frames = await peer.sync()
            assert [f.stream_id for f in of(frames, RstStreamFrame)] == [6]
            assert client.statistics().limits_hit["max_queued_events"] > before
            assert held(client) > 0
            await peer.send(*(peer.headers(promised, OK, end_stream=True) for promised in (2, 4)))
            await peer.sync()
            if take:
                for _ in range(2):
                    async with await anext(client.pushes()) as pushed:
                        await pushed.response()
                await peer.sync()
                assert held(client) == 0
    assert held(client) == 0


async def test_a_client_refuses_nothing_when_its_pushes_are_off(autojump_clock: MockClock) -> None:
    """Those that were promised before its SETTINGS came into force are refused, and hold nothing."""
    async with raw_server(handshake=False) as (client, peer):
        await peer.send(peer.settings())
        async with client.stream("GET", "/"):
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(peer.headers(1, GET, promised=2))
            await trio.testing.wait_all_tasks_blocked()
            assert held(client) == 0


async def test_requests_beyond_what_may_be_held_are_refused_until_handlers_are_done(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(1)
        await stream.respond(200)

    config = Config(max_held_headers=1_000, max_stream_errors=0)
    async with client_and_server(handler, server_config=config) as pair:
        results: list[object] = []

        async def ask() -> None:
            try:
                results.append((await pair.client.request("GET", "/", headers=[("x", "y" * 200)])).status)
            except trio_h2.StreamResetError as error:
                assert error.safe_to_retry
                results.append(error.error_code)

        for _ in range(2):
            results.clear()
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(ask)
            assert sorted(results, key=int) == [ErrorCodes.REFUSED_STREAM] * 2 + [200] * 2  # type: ignore[call-overload]
        await check_nothing_held(pair)


async def test_statistics_can_be_evolved_and_compared(autojump_clock: MockClock) -> None:
    async with client_and_server(hello) as pair:
        statistics = pair.client.statistics()
        assert attrs.evolve(statistics) == statistics
