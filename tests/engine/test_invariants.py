"""The invariants of docs/architecture.md, each with tests that name it. Each is a bug that others shipped."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from functools import partial

import hpack
import pytest
import trio
import trio.testing
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import (
    CONNECT,
    GET,
    OK,
    POST,
    RawPeer,
    at_rest,
    body_of,
    check_quiet,
    client_and_server,
    echo,
    hello,
    of,
    pattern,
    raw_client,
    raw_server,
    read_all,
    slices_of_one_frame,
    slow_pair,
)
from trio_h2 import Config, ErrorCodes, StreamResetError


async def never_reads(stream: trio_h2.ServerStream) -> None:
    if stream.request.path == "/unread":
        await trio.sleep_forever()
    await echo(stream)


# 1. The reader waits for nobody


async def test_invariant_01_a_stream_nobody_reads_stalls_no_other(autojump_clock: MockClock) -> None:
    async with client_and_server(never_reads) as pair, trio.open_nursery() as nursery:
        streams = []
        for _ in range(20):
            opening = pair.client.stream("POST", "/unread")
            streams.append(await opening.__aenter__())
            nursery.start_soon(streams[-1].send_all, bytes(10**6))
        await trio.testing.wait_all_tasks_blocked()
        response = await pair.client.request("POST", "/", body=pattern(3_000_000))
        assert response.body == pattern(3_000_000)
        assert await pair.client.ping() >= 0
        nursery.cancel_scope.cancel()


async def test_invariant_01_ping_settings_and_resets_pass_an_unread_stream(autojump_clock: MockClock) -> None:
    cancelled: list[int | None] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(stream.stream_id)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST), *(peer.data(1, bytes(16_384)) for _ in range(16)))
        await peer.sync()
        await peer.send(peer.settings({4: 10}))
        await peer.expect(SettingsFrame, matches=lambda frame: "ACK" in frame.flags)
        await peer.send(peer.rst(1))
        await peer.sync()
        assert cancelled == [1]


async def test_invariant_01_the_wait_for_our_replies_is_bounded(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()
    config = Config(max_queued_replies=10, write_timeout=20)
    async with raw_client(hello, config=config, transports=(peer_end, slow)) as peer:
        slow.stop()
        start = trio.current_time()
        await peer.send(peer.ping() * 100)
        await trio.sleep(15)
        slow.allow(2_000)
        await peer.sync()  # it reads again, so it may live
        slow.stop()
        await peer.send(peer.ping() * 100)
        await trio.sleep(0.1)
        await peer.send(peer.ping() * 100)
        await peer.to_end()
        assert 35 <= trio.current_time() - start <= 50


async def test_invariant_01_window_updates_coalesce(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()
    config = Config(initial_window_size=1_000, connection_window_size=65_535)
    async with raw_server(config=config, transports=(slow, peer_end)) as (connection, peer):
        async with connection.stream("GET", "/") as stream:
            await peer.expect(HeadersFrame)
            slow.stop()
            # Something is being written, so all credit has to wait.
            await peer.send(peer.ping(), peer.headers(1, OK))
            await stream.response()
            for _ in range(10):
                await peer.send(peer.data(1, bytes(100)))
                await stream.receive_some()
            await trio.testing.wait_all_tasks_blocked()
            slow.allow(10**6)
            frames = await peer.sync()
            assert sum(frame.window_increment for frame in of(frames, WindowUpdateFrame, 1)) <= 1_000
            assert len(of(frames, WindowUpdateFrame, 1)) == 1


# 2. One writer, never interrupted half-way


async def test_invariant_02_cancelling_never_interrupts_a_write(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()
    async with raw_server(settings={4: 2**20}, transports=(slow, peer_end)) as (connection, peer):
        async with connection.stream("POST", "/") as neighbour:
            await peer.send(peer.window_update(0, 2**24))
            await peer.sync()
            slow.stop()
            for step in range(30):
                with trio.CancelScope() as scope:
                    async with connection.stream("POST", "/victim") as stream, trio.open_nursery() as nursery:
                        nursery.start_soon(stream.send_all, bytes(20_000))
                        await trio.testing.wait_all_tasks_blocked()
                        slow.allow(step * 37 % 101)  # the write stands in the middle of some frame
                        await trio.testing.wait_all_tasks_blocked()
                        scope.cancel()
            slow.allow(10**9)
            await peer.sync()
            await neighbour.send_all(b"whole")
            await peer.sync()
            assert body_of(peer.log, neighbour.stream_id or 0) == b"whole"


# 3. INITIAL_WINDOW_SIZE


async def test_invariant_03_a_new_initial_window_reaches_every_stream_before_its_acknowledgement(
    autojump_clock: MockClock,
) -> None:
    async with raw_server(settings={4: 100}) as (connection, peer), trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(lambda: connection.request("POST", "/", body=bytes(300)))
        await peer.sync()
        assert [len(body_of(peer.log, stream_id)) for stream_id in (1, 3, 5, 7, 9)] == [100] * 5
        await peer.send(peer.settings({4: 250}))
        frames = await peer.sync()
        assert "ACK" in frames[0].flags
        assert [len(body_of(frames, stream_id)) for stream_id in (1, 3, 5, 7, 9)] == [150] * 5
        nursery.cancel_scope.cancel()


async def test_invariant_03_a_window_below_zero_means_wait(autojump_clock: MockClock) -> None:
    async with raw_server(settings={4: 100}) as (connection, peer), connection.stream("POST", "/") as stream:
        await stream.send_all(bytes(90))
        await peer.sync()
        await peer.send(peer.settings({4: 10}))
        await peer.sync()
        assert connection.statistics().streams[0].outbound_window == -80
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, b"x" * 5)
            await peer.send(peer.window_update(1, 80))
            assert of(await peer.sync(), DataFrame) == []
            await peer.send(peer.window_update(1, 3))
            assert body_of(await peer.sync(), 1) == b"xxx"
            await peer.send(peer.settings({4: 12}))
            assert body_of(await peer.sync(), 1) == b"xx"


# 4. Reading is acknowledging


async def test_invariant_04_stream_credit_returns_when_the_application_takes_bytes(autojump_clock: MockClock) -> None:
    config = Config(initial_window_size=1_000)
    async with raw_server(config=config) as (connection, peer), connection.stream("GET", "/") as stream:
        await peer.expect(HeadersFrame)
        await peer.send(peer.headers(1, OK), peer.data(1, bytes(1_000)))
        assert of(await peer.sync(), WindowUpdateFrame, 1) == []
        await stream.receive_some()
        assert (await peer.expect(WindowUpdateFrame, stream_id=1)).window_increment == 1_000


async def test_invariant_04_connection_credit_returns_on_receipt_under_the_cap_and_on_taking_above_it(
    autojump_clock: MockClock,
) -> None:
    config = Config(initial_window_size=10**6, connection_window_size=65_535, max_unread=100_000)
    async with raw_server(config=config) as (connection, peer), connection.stream("GET", "/") as stream:
        await peer.expect(HeadersFrame)
        await peer.send(peer.headers(1, OK))
        credit = 65_535
        received = 0
        while credit >= 5_000:
            await peer.send(peer.data(1, bytes(5_000)))
            received += 5_000
            credit += sum(frame.window_increment for frame in of(await peer.sync(), WindowUpdateFrame, 0)) - 5_000
        assert 100_000 <= received <= 100_000 + 65_535
        window = connection.statistics().inbound_window
        assert window.held == received - 100_000
        assert window.available + window.held + window.unannounced == window.target
        await stream.receive_some()
        assert of(await peer.sync(), WindowUpdateFrame, 0)
        assert at_rest(connection.statistics().inbound_window) or connection.statistics().unread


async def test_invariant_04_credit_balances_after_resets(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await stream.receive_some()
        await stream.send_all(bytes(40_000))
        if stream.request.path == "/raise":
            raise ValueError
        await stream.reset()

    config = Config(initial_window_size=30_000, connection_window_size=65_535, max_unread=40_000)
    async with client_and_server(handler, config=config, server_config=config) as pair:
        for number in range(60):
            with trio.move_on_after(0.01):
                async with pair.client.stream("POST", "/raise" if number % 3 else "/") as stream:
                    try:
                        await stream.send_all(bytes(20_000))
                        if number % 2:
                            await stream.receive_some(100)
                            await trio.sleep(1)
                    except StreamResetError:
                        pass
        await check_quiet(pair)


async def test_invariant_04_what_came_before_a_reset_is_unread_until_it_is_taken_or_left(
    autojump_clock: MockClock,
) -> None:
    """Its credit is held back above the cap as any other, so streams that are reset hold no more than others."""
    config = Config(initial_window_size=30_000, connection_window_size=65_535, max_unread=20_000)
    async with raw_server(config=config) as (connection, peer):
        async with connection.stream("GET", "/") as one, connection.stream("GET", "/"):
            for stream_id in (1, 3):
                await peer.expect(HeadersFrame)
                await peer.send(peer.headers(stream_id, OK), peer.data(stream_id, bytes(15_000)), peer.rst(stream_id))
            await peer.sync()
            statistics = connection.statistics()
            assert (statistics.unread, statistics.inbound_window.held) == (30_000, 10_000)
            assert await one.receive_some(12_000) == bytes(12_000)
            statistics = connection.statistics()
            assert (statistics.unread, statistics.inbound_window.held) == (18_000, 0)
        assert connection.statistics().unread == 0
        assert at_rest(connection.statistics().inbound_window)


async def test_invariant_04_a_reset_gives_back_the_credit_of_requests_that_have_not_started(
    autojump_clock: MockClock,
) -> None:
    """What waits for its permit has no handler that could read it, and a handler that has returned reads no more."""
    scopes: list[trio.CancelScope] = []
    servers: list[trio_h2.Connection] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        servers.append(stream.connection)
        with trio.CancelScope(shield=True) as scope:
            scopes.append(scope)
            await trio.sleep_forever()

    async with raw_client(handler, config=Config(max_concurrent_streams=1)) as peer:
        await peer.send(peer.headers(1, POST), peer.data(1, bytes(1_000)), peer.rst(1))
        await peer.sync()
        assert servers[0].statistics().unread == 1_000
        await peer.send(peer.headers(3, POST), peer.data(3, bytes(500)))
        await peer.sync()
        assert servers[0].statistics().unread == 1_500
        await peer.send(peer.rst(3))
        await peer.sync()
        assert servers[0].statistics().unread == 1_000
        scopes[0].cancel()
        await peer.sync()
        assert servers[0].statistics().unread == 0
        assert at_rest(servers[0].statistics().inbound_window)
        assert len(scopes) == 1


async def test_invariant_04_padding_and_ignored_data_are_refunded(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        async with connection.stream("GET", "/"):
            await peer.expect(HeadersFrame)
            await peer.send(peer.headers(1, OK), peer.data(1, bytes(1_000), padding=200))
            await peer.sync()
        await peer.send(peer.data(1, bytes(5_000), padding=100))
        await peer.sync()
        assert connection.statistics().unread == 0
        assert at_rest(connection.statistics().inbound_window)


# 5. What a sender waits for


async def test_invariant_05_a_sender_wakes_on_credit_reset_goaway_early_end_and_close(
    autojump_clock: MockClock,
) -> None:
    async with raw_server(settings={4: 0, 3: 10}) as (connection, peer):
        woken: dict[int | None, str] = {}
        opened = [connection.stream("POST", "/") for _ in range(5)]
        streams = [await opening.__aenter__() for opening in opened]
        async with trio.open_nursery() as nursery:

            async def send(stream: trio_h2.ClientStream) -> None:
                try:
                    await stream.send_all(b"x")
                    woken[stream.stream_id] = "sent"
                except trio.ClosedResourceError:
                    woken[stream.stream_id] = "closed"
                except trio.BrokenResourceError as error:
                    woken[stream.stream_id] = type(error).__name__

            for stream in streams:
                nursery.start_soon(send, stream)
            await peer.sync()
            assert woken == {}
            await peer.send(peer.window_update(1, 1), peer.rst(3), peer.headers(5, OK, end_stream=True), peer.goaway(7))
            await peer.sync()
            await streams[3].aclose()
        assert woken == {
            1: "sent",
            3: "StreamResetError",
            5: "StreamResetError",
            9: "ConnectionTerminatedError",
            7: "closed",
        }
        await streams[0].aclose()


async def test_invariant_05_a_tunnels_sender_goes_on_after_the_peers_end(autojump_clock: MockClock) -> None:
    async with raw_server(settings={4: 0}) as (connection, peer):
        async with connection.stream("CONNECT", "a:1") as tunnel, trio.open_nursery() as nursery:
            nursery.start_soon(tunnel.send_all, b"x")
            await peer.sync()
            await peer.send(peer.headers(1, OK), peer.data(1, end_stream=True))
            assert await tunnel.receive_some() == b""
            await peer.send(peer.window_update(1, 1))
            assert (await peer.expect(DataFrame)).data == b"x"


async def test_invariant_05_only_request_waits_for_100(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        async with connection.stream("POST", "/", headers=[("expect", "100-continue")]) as stream:
            await stream.send_all(b"at once")
            assert (await peer.expect(DataFrame)).data == b"at once"


# 6. What is cut is sent, in order


async def test_invariant_06_headers_that_open_streams_leave_in_the_order_of_their_ids(
    autojump_clock: MockClock,
) -> None:
    async with raw_server(settings={3: 1000}) as (connection, peer), trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(connection.request, "GET", f"/{number}")
        await peer.sync()
        heads = of(peer.log, HeadersFrame)
        assert [frame.stream_id for frame in heads] == list(range(1, 400, 2))
        # RawPeer has one HPACK decoder, so every block was decodable where it stood.
        assert sorted(int(dict(frame.fields)[b":path"][1:]) for frame in heads) == list(range(200))
        nursery.cancel_scope.cancel()


async def test_invariant_06_a_streams_frames_leave_in_the_order_they_were_sent(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_informational(103)
        await stream.send_response(200)
        for number in range(50):
            await stream.send_all(b"%03d" % number)
        await stream.send_trailers([("x-t", "1")])

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        frames = await peer.sync()
        kinds = [type(frame).__name__ for frame in frames if frame.stream_id == 1]
        assert kinds == ["HeadersFrame"] * 2 + ["DataFrame"] * 50 + ["HeadersFrame"]
        assert body_of(frames, 1) == b"".join(b"%03d" % number for number in range(50))


async def test_invariant_06_reset_drops_what_is_uncut_and_follows_its_headers(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()
    config = Config(write_buffer_size=1_000)
    async with raw_server(config=config, settings={4: 2**20}, transports=(slow, peer_end)) as (connection, peer):
        await peer.sync()
        slow.stop()
        async with connection.stream("POST", "/") as stream, trio.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await stream.send_all(bytes(500_000))

            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            await stream.reset()
        slow.allow(10**9)
        await peer.sync()
        frames = [frame for frame in peer.log if frame.stream_id == 1]
        assert type(frames[0]) is HeadersFrame
        assert type(frames[-1]) is RstStreamFrame
        assert len(body_of(frames, 1)) < 100_000


async def test_invariant_06_control_frames_precede_what_is_uncut(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, (), bytes(10**6))

    async with raw_client(handler, settings={4: 2**20}, transports=(peer_end, slow)) as peer:
        await peer.send(peer.window_update(0, 2**20))
        await peer.sync()
        slow.stop()
        await peer.send(peer.headers(1, GET, end_stream=True))
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(peer.ping(b"in front"))
        await trio.testing.wait_all_tasks_blocked()
        slow.allow(10**9)
        await peer.expect(PingFrame)
        # One write under way and one outbox, of 256 KiB each, were before it, and no more.
        assert len(body_of(peer.log, 1)) <= 2 * 300_000


# 7. At most one RST_STREAM


async def test_invariant_07_leaving_early_is_one_reset_ahead_of_the_next_headers(autojump_clock: MockClock) -> None:
    async with raw_server(settings={3: 1}) as (connection, peer), trio.open_nursery() as nursery:
        async with connection.stream("POST", "/") as stream:
            await stream.send_all(b"x")
            nursery.start_soon(connection.request, "GET", "/next")
            await trio.testing.wait_all_tasks_blocked()
            await stream.reset()
            await stream.aclose()
        await peer.expect(HeadersFrame, stream_id=3)
        resets = of(peer.log, RstStreamFrame)
        assert [(frame.stream_id, frame.error_code) for frame in resets] == [(1, ErrorCodes.CANCEL)]
        await peer.send(peer.headers(3, OK, end_stream=True))


async def test_invariant_07_a_peers_reset_cancels_the_handler_or_raises_in_the_client(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            log.append("cancelled")
            raise

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST))
        await peer.sync()
        await peer.send(peer.rst(1))
        assert of(await peer.sync(), RstStreamFrame) == []
    assert log == ["cancelled"]
    async with raw_server() as (connection, peer), connection.stream("GET", "/") as stream:
        await peer.expect(HeadersFrame)
        await peer.send(peer.rst(1))
        with pytest.raises(StreamResetError):
            await stream.response()


# 8. A stream error stays a stream error


@pytest.mark.parametrize("what", ["bad headers", "excess stream", "handler raises"])
async def test_invariant_08_a_stream_error_stays_a_stream_error(
    what: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.path == "/raise":
            raise ValueError
        await echo(stream)

    async with raw_client(handler, config=Config(max_concurrent_streams=2)) as peer:
        await peer.send(peer.headers(1, POST))
        if what == "bad headers":
            await peer.send(peer.headers(3, (*GET, ("Bad", "x")), end_stream=True))
            assert await peer.expect_rst(3) == ErrorCodes.PROTOCOL_ERROR
        elif what == "excess stream":
            await peer.send(peer.headers(3, POST), peer.headers(5, POST))
            assert await peer.expect_rst(5) == ErrorCodes.REFUSED_STREAM
        else:
            await peer.send(peer.headers(3, (*GET[:3], (":path", "/raise")), end_stream=True))
            await peer.expect(HeadersFrame, stream_id=3)
        await peer.send(peer.data(1, b"fine", end_stream=True))
        await peer.sync()
        assert body_of(peer.log, 1) == b"fine"
        assert of(peer.log, GoAwayFrame) == []


async def test_invariant_08_a_connection_error_says_why(autojump_clock: MockClock) -> None:
    async with raw_client(echo) as peer:
        await peer.send(peer.frame(0x6, 0, 1, b"12345678"))
        goaway = await peer.expect(GoAwayFrame)
        assert goaway.error_code == ErrorCodes.PROTOCOL_ERROR
        assert goaway.additional_data
        await peer.to_end()


async def test_invariant_08_goaway_is_bounded_in_time(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()
    async with raw_client(echo, config=Config(close_timeout=3), transports=(peer_end, slow)) as peer:
        slow.stop()
        start = trio.current_time()
        await peer.send(peer.frame(0x6, 0, 1, b"12345678"))
        await peer.to_end()
        assert trio.current_time() - start <= 4.1


# 9. GOAWAY


async def test_invariant_09_streams_at_or_below_the_last_stream_id_finish(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:
        outcomes: list[object] = []

        async def request() -> None:
            try:
                outcomes.append((await connection.request("GET", "/")).body)
            except trio_h2.ConnectionTerminatedError as error:
                outcomes.append(error.safe_to_retry)

        for _ in range(3):
            nursery.start_soon(request)
            await peer.expect(HeadersFrame)
        await peer.send(peer.goaway(3))
        await peer.sync()
        assert outcomes == [True]
        for stream_id in (1, 3):
            await peer.send(peer.headers(stream_id, OK), peer.data(stream_id, b"done", end_stream=True))
        await connection.wait_closed()
        await trio.testing.wait_all_tasks_blocked()
        assert outcomes == [True, b"done", b"done"]


# 10. Nothing is left


@pytest.mark.parametrize("how", ["normal", "raise", "cancel", "peer gone", "goaway", "error", "reset"])
async def test_invariant_10_when_a_connection_ends_no_task_is_left(how: str, autojump_clock: MockClock) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    client_end, peer_end = trio.testing.memory_stream_pair()
    peer = RawPeer(peer_end, client=False)
    with trio.CancelScope() as scope:
        try:
            async with trio_h2.connect_over(client_end, authority="example.org") as connection:
                await peer.handshake()
                streams = [await connection.stream("POST", "/").__aenter__() for _ in range(3)]
                tunnel = await connection.stream("CONNECT", "a:1").__aenter__()
                await peer.sync()
                assert trio.lowlevel.current_statistics().tasks_living > before
                if how == "raise":
                    raise ZeroDivisionError
                if how == "cancel":
                    scope.cancel()
                elif how == "peer gone":
                    await peer_end.aclose()
                elif how == "goaway":
                    await peer.send(peer.goaway(0))
                elif how == "error":
                    await peer.send(peer.frame(0x6, 0, 1, b"12345678"))
                elif how == "reset":
                    await peer.send(*(peer.rst(stream_id) for stream_id in (1, 3, 5, 7)))
                await trio.sleep(1)
        except ZeroDivisionError:
            pass
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert connection.statistics().streams == ()
    for stream in (*streams, tunnel):
        with pytest.raises(trio_h2.H2Error):
            await stream.send_all(b"x")


async def test_invariant_10_closed_streams_leave_a_bounded_tombstone(autojump_clock: MockClock) -> None:
    config = Config(max_closed_streams=10)
    async with client_and_server(hello, config=config, server_config=config) as pair:
        for _ in range(200):
            await pair.client.request("GET", "/")
            with trio.CancelScope() as scope:
                async with pair.client.stream("GET", "/"):
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
        await check_quiet(pair)
        for connection in (pair.client, pair.server):
            table = connection._actor.machine.table
            assert len(table._ended) <= 10
            assert len(table._reset) <= 10
            assert len(table) == table.open_inbound == table.open_outbound == 0


# 11. Permits


async def test_invariant_11_a_permit_is_held_until_the_handler_has_exited(autojump_clock: MockClock) -> None:
    running = 0
    most = 0

    async def handler(stream: trio_h2.ServerStream) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
        finally:
            running -= 1

    async with raw_client(handler, config=Config(max_concurrent_streams=4)) as peer:
        for stream_id in range(1, 31, 2):
            await peer.send(peer.headers(stream_id, GET, end_stream=True))
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(peer.rst(stream_id))
        await peer.sync()
        assert most == 4


async def test_invariant_11_the_count_of_streams_is_the_protocols(autojump_clock: MockClock) -> None:
    release = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200)
        await release.wait()

    async with raw_client(handler, config=Config(max_concurrent_streams=2)) as peer:
        # The streams have ended, their handlers have not: four more may be opened, and wait, and are answered later.
        await peer.send(*(peer.headers(stream_id, GET, end_stream=True) for stream_id in (1, 3)))
        await peer.sync()
        await peer.send(*(peer.headers(stream_id, GET, end_stream=True) for stream_id in (5, 7)))
        await peer.sync()
        assert of(peer.log, RstStreamFrame) == []
        assert sorted(frame.stream_id for frame in of(peer.log, HeadersFrame)) == [1, 3]
        release.set()
        await peer.sync()
        assert sorted(frame.stream_id for frame in of(peer.log, HeadersFrame)) == [1, 3, 5, 7]


# 12. HPACK limits


async def test_invariant_12_a_compressed_block_over_its_limit_is_calmed(autojump_clock: MockClock) -> None:
    async with raw_client(hello, config=Config(max_header_block_size=5_000)) as peer:
        await peer.send(peer.headers(1, (*GET, ("x", "~" * 10_000)), end_stream=True))
        assert (await peer.expect(GoAwayFrame)).error_code == ErrorCodes.ENHANCE_YOUR_CALM


async def test_invariant_12_too_many_continuations_are_calmed(autojump_clock: MockClock) -> None:
    async with raw_client(hello, config=Config(max_continuations=3)) as peer:
        block = peer.encoder.encode([*GET, ("x", "y" * 50)])
        await peer.send(peer.frame(0x1, 0x1, 1, block[:5]))
        await peer.send(*(peer.frame(0x9, 0, 1, block[i : i + 1]) for i in range(5, 15)))
        assert (await peer.expect(GoAwayFrame)).error_code == ErrorCodes.ENHANCE_YOUR_CALM


async def test_invariant_12_below_it_the_table_stays_right(autojump_clock: MockClock) -> None:
    async with raw_client(hello, config=Config(max_header_list_size=2_000, header_table_size=4_096)) as peer:
        peer.encoder = hpack.Encoder()
        for stream_id in range(1, 41, 2):
            big = [("x-" + str(stream_id), "v" * 500) for _ in range(1 if stream_id % 4 == 1 else 10)]
            await peer.send(peer.headers(stream_id, (*GET, *big, ("x-last", str(stream_id))), end_stream=True))
            head = await peer.expect(HeadersFrame, stream_id=stream_id)
            assert head.fields[0][1] == (b"200" if stream_id % 4 == 1 else b"431")


# 13. Documented errors alone


async def test_invariant_13_what_a_peer_sends_raises_documented_errors_alone(autojump_clock: MockClock) -> None:
    endings = [
        lambda p: p.rst(1, 2**32 - 1),
        lambda p: p.goaway(0, 2**32 - 1, b"\xff\xfe"),
        lambda p: p.headers(1, [(":status", "abc")]),
        lambda p: p.headers(1, [(":status", "200"), ("\u00ff", "x")]),
        lambda p: p.frame(0x1, 0x4, 1, b"\x80"),
        lambda p: p.frame(0x1, 0x4, 1, b"\x3f\xe1\xff\xff\xff\xff\x7f"),
        lambda p: p.frame(0x7, 0, 0, bytes(8) + b"\xff" * 100),
        lambda p: p.frame(0x0, 0x8, 1, b""),
        lambda p: p.frame(0x5, 0x4, 1, b"\x00"),
        lambda p: p.frame(0xA, 0, 0, b"\x00"),
        lambda p: p.frame(0xC, 0, 0, b"\x00\x09x"),
        lambda p: p.frame(0x10, 0, 0, b"\x00"),
        lambda p: b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20,
        lambda p: bytes(100),
    ]
    for make in endings:
        async with raw_server() as (connection, peer), trio.open_nursery() as nursery:

            async def request(connection: trio_h2.ClientConnection = connection) -> None:
                with pytest.raises(trio_h2.H2Error) as caught:
                    await connection.request("GET", "/")
                assert type(caught.value).__name__ in trio_h2.__all__
                assert isinstance(caught.value, trio.BrokenResourceError | trio.ClosedResourceError)

            nursery.start_soon(request)
            await peer.expect(HeadersFrame)
            await peer.send(make(peer))
            await trio.testing.wait_all_tasks_blocked()
            await peer.transport.aclose()


async def test_invariant_13_a_tunnel_gives_trios_errors(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        with pytest.raises(trio.BrokenResourceError):
            await read_all(stream)
        raise AssertionError("the handler is cancelled before this")

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, CONNECT))
        await peer.expect(HeadersFrame)
        await peer.send(peer.rst(1))
        await peer.sync()


# 14. What ends early does not look complete


async def test_invariant_14_a_body_that_was_cut_off_ends_in_a_reset(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        with trio.move_on_after(1):
            await stream.send_all(bytes(100))

    async with raw_client(handler, settings={0x4: 10}) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        assert await peer.expect_rst(1) == ErrorCodes.INTERNAL_ERROR
        assert body_of(peer.log, 1) == bytes(10)
        assert not any("END_STREAM" in frame.flags for frame in peer.log)


# 15. What came is readable


@pytest.mark.parametrize("end", ["reset", "end of the connection"])
async def test_invariant_15_what_came_before_the_end_is_readable(end: str, autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), connection.stream("GET", "/") as stream:
        await peer.expect(HeadersFrame)
        await peer.send(peer.headers(1, OK), peer.data(1, b"body"), peer.rst(1) if end == "reset" else b"")
        if end != "reset":
            await peer.transport.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert (await stream.response()).status == 200
        assert await stream.receive_some() == b"body"
        with pytest.raises(trio_h2.H2Error):
            await stream.receive_some()


# 16. Errors of the user's code


async def test_invariant_16_what_a_handler_raises_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        raise KeyError("mine")

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        assert (await peer.expect(HeadersFrame)).fields[0] == (b":status", b"500")
    (record,) = caplog.records
    assert "GET /" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


async def test_invariant_16_what_a_body_raises_is_raised(autojump_clock: MockClock) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"some"
        raise KeyError("mine")

    async with raw_server() as (connection, _):
        with pytest.raises(KeyError, match="mine"):
            await connection.request("POST", "/", body=body())


# 17. Nobody holds the loop


async def test_invariant_17_a_flood_lets_others_be_served(autojump_clock: MockClock) -> None:
    slices_of_one_frame()
    started = 0

    async def handler(stream: trio_h2.ServerStream) -> None:
        nonlocal started
        started += 1
        await stream.respond(200)

    async with raw_client(handler) as flood, raw_client(hello) as other:
        await flood.send(*(flood.headers(stream_id, GET, end_stream=True) for stream_id in range(1, 2_001, 2)))
        await other.send(other.headers(1, GET, end_stream=True))
        await other.expect(HeadersFrame, stream_id=1)
        assert started < 100


# 18. Secrets


async def test_invariant_18_a_secret_stays_out_of_tables_and_logs(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="trio_h2")
    secrets = [("authorization", "sesame"), ("cookie", "sesame"), trio_h2.NeverIndexed("x-token", "sesame")]
    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:
        for stream_id in (1, 3):
            nursery.start_soon(partial(connection.request, "GET", "/?sesame", headers=secrets))
            await peer.expect(HeadersFrame, stream_id=stream_id)
            assert not any(b"sesame" in value for _, value in peer.decoder.header_table.dynamic_entries)
            await peer.send(peer.headers(stream_id, OK, end_stream=True))
    assert "sesame" not in caplog.text
