"""How connections end: leaving `connect_over`, GOAWAY either way, `shutdown`, timeouts, what it does to others."""

from __future__ import annotations

import contextlib
import logging
import math
import selectors
import socket
from functools import partial

import pytest
import trio
import trio.testing
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import (
    GET,
    OK,
    POST,
    PREFACE,
    MemoryListener,
    RawPeer,
    client_and_server,
    echo,
    hello,
    of,
    pattern,
    raw_client,
    raw_server,
    read_all,
    serving,
    slow_pair,
)
from trio_h2 import Config, ConnectionTerminatedError, ErrorCodes
from trio_h2.actors import listening, stopping


class Caught:
    """Runs requests in tasks of their own and keeps what they raise or return."""

    def __init__(self, connection: trio_h2.ClientConnection) -> None:
        self.connection = connection
        self.errors: list[trio_h2.H2Error] = []
        self.responses: list[trio_h2.Response] = []

    async def request(self, method: str = "GET", target: str = "/", body: bytes | None = None) -> None:
        try:
            self.responses.append(await self.connection.request(method, target, body=body))
        except trio_h2.H2Error as error:
            self.errors.append(error)


# What becomes of handlers


@pytest.mark.parametrize("over", [True, False])
async def test_a_handler_is_cancelled_for_its_connection_unless_its_stream_was_over(
    autojump_clock: MockClock, over: bool
) -> None:
    """What it does after the response concerns no client any more."""
    finished: list[bool] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200) if over else await stream.send_response(200)
        try:
            await trio.sleep(30)
        except trio.Cancelled:
            finished.append(False)
            raise
        finished.append(True)

    async with client_and_server(handler) as pair:
        async with pair.client.stream("GET", "/") as stream:
            await stream.response()
        await pair.client.aclose()
    assert finished == [over]


async def test_a_handler_whose_stream_is_over_is_cancelled_with_its_server(autojump_clock: MockClock) -> None:
    ended: list[float] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200)
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with serving(handler) as (server, listener, _):
        async with trio_h2.connect_over(listener.connect(), authority="example.org") as connection:
            await connection.request("GET", "/")
        start = trio.current_time()
        await server.shutdown(5)
    assert ended == [pytest.approx(start + 5, abs=0.2)]


# Leaving connect_over


async def test_a_normal_exit_sends_goaway_and_closes(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        await connection.aclose()
        frames = await peer.to_end()
        assert [(frame.error_code, frame.last_stream_id) for frame in of(frames, GoAwayFrame)] == [(0, 0)]
        assert not connection.accepting
        await connection.wait_closed()
        await connection.aclose()


async def test_a_normal_exit_lets_open_streams_finish(autojump_clock: MockClock) -> None:
    client_end, peer_end = trio.testing.memory_stream_pair()
    peer = RawPeer(peer_end, client=False)
    async with trio.open_nursery() as nursery:
        async with trio_h2.connect_over(client_end, authority="example.org") as connection:
            await peer.handshake()
            caught = Caught(connection)
            nursery.start_soon(caught.request)
            await peer.expect(HeadersFrame)

            async def answer_late() -> None:
                await peer.expect(GoAwayFrame)
                await trio.sleep(3)
                await peer.send(peer.headers(1, OK), peer.data(1, b"late", end_stream=True))

            nursery.start_soon(answer_late)
    assert caught.responses[0].body == b"late"


async def test_a_normal_exit_waits_for_a_bounded_time(autojump_clock: MockClock) -> None:
    client_end, peer_end = trio.testing.memory_stream_pair()
    peer = RawPeer(peer_end, client=False)
    async with trio.open_nursery() as nursery:
        async with trio_h2.connect_over(client_end, authority="a", config=Config(close_timeout=4)) as connection:
            await peer.handshake()
            caught = Caught(connection)
            nursery.start_soon(caught.request)
            await peer.expect(HeadersFrame)
            start = trio.current_time()
    assert 4 <= trio.current_time() - start <= 8.1
    assert isinstance(caught.errors[0], trio.ClosedResourceError)
    assert not caught.errors[0].safe_to_retry


async def test_a_normal_exit_from_a_peer_that_does_not_read_is_bounded(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()
    peer = RawPeer(peer_end, client=False)
    async with trio_h2.connect_over(slow, authority="example.org", config=Config(close_timeout=4)):
        await peer.handshake()
        slow.stop()
        start = trio.current_time()
    assert trio.current_time() - start <= 8.1


async def test_requests_that_wait_for_a_slot_are_not_sent_while_closing(autojump_clock: MockClock) -> None:
    async with raw_server(settings={3: 1}) as (connection, peer), trio.open_nursery() as nursery:
        caught = Caught(connection)
        nursery.start_soon(caught.request)
        await peer.expect(HeadersFrame)
        nursery.start_soon(caught.request)
        nursery.start_soon(caught.request)
        await peer.sync()
        await connection.aclose()
        assert of(await peer.to_end(), HeadersFrame) == []
    assert sorted(error.safe_to_retry for error in caught.errors) == [False, True, True]


class OddError(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3), OddError()])
async def test_what_the_body_raises_leaves_unwrapped(error: BaseException, autojump_clock: MockClock) -> None:
    client_end, peer_end = trio.testing.memory_stream_pair()
    before = trio.lowlevel.current_statistics().tasks_living
    with pytest.raises(type(error)) as caught:
        async with trio_h2.connect_over(client_end, authority="example.org"):
            raise error
    assert caught.value is error
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert len(of(await RawPeer(peer_end, client=False).to_end(), GoAwayFrame)) == 1


async def test_a_body_that_raises_does_not_wait_for_streams(autojump_clock: MockClock) -> None:
    client_end, peer_end = trio.testing.memory_stream_pair()
    peer = RawPeer(peer_end, client=False)
    async with trio.open_nursery() as nursery:
        with pytest.raises(ZeroDivisionError):
            async with trio_h2.connect_over(client_end, authority="example.org") as connection:
                await peer.handshake()
                caught = Caught(connection)
                nursery.start_soon(caught.request)
                await peer.expect(HeadersFrame)
                start = trio.current_time()
                raise ZeroDivisionError
        assert trio.current_time() == start
        assert len(caught.errors) == 1


async def test_a_bare_cancelled_leaves_unwrapped(autojump_clock: MockClock) -> None:
    client_end, _ = trio.testing.memory_stream_pair()
    with trio.CancelScope() as scope:
        try:
            async with trio_h2.connect_over(client_end, authority="example.org"):
                scope.cancel()
                await trio.sleep_forever()
        except BaseException as error:
            assert type(error) is trio.Cancelled
            raise
    assert scope.cancelled_caught


async def test_cancelled_in_the_exit_leaves_a_bare_cancelled(autojump_clock: MockClock) -> None:
    client_end, peer_end = trio.testing.memory_stream_pair()
    peer = RawPeer(peer_end, client=False)
    with trio.move_on_after(1) as scope:
        try:
            async with trio_h2.connect_over(client_end, authority="example.org") as connection:
                await peer.handshake()
                stream = connection.stream("GET", "/")
                await stream.__aenter__()
        except BaseException as error:
            assert type(error) is trio.Cancelled
            raise
    assert scope.cancelled_caught


async def test_a_body_that_raises_while_cancelled_leaves_its_error(autojump_clock: MockClock) -> None:
    client_end, _ = trio.testing.memory_stream_pair()
    with trio.CancelScope() as scope, pytest.raises(ZeroDivisionError):
        async with trio_h2.connect_over(client_end, authority="example.org"):
            scope.cancel()
            raise ZeroDivisionError


async def test_a_dead_connection_does_not_cancel_the_body(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        await peer.transport.aclose()
        await connection.wait_closed()
        await trio.sleep(10)
        assert not connection.accepting
        for _ in range(2):
            with pytest.raises(ConnectionTerminatedError) as caught:
                await connection.request("GET", "/")
            assert isinstance(caught.value, trio.BrokenResourceError)
            assert caught.value.safe_to_retry
        with pytest.raises(ConnectionTerminatedError):
            await connection.ping()
        assert connection.statistics().streams == ()


async def test_a_bug_leaves_as_one_internal_error(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client_end, peer_end = trio.testing.memory_stream_pair()
    peer = RawPeer(peer_end, client=False)
    before = trio.lowlevel.current_statistics().tasks_living
    with pytest.raises(trio_h2.InternalError) as outer:
        async with trio_h2.connect_over(client_end, authority="example.org") as connection:
            await peer.handshake()

            def broken(*_: object) -> None:
                raise ZeroDivisionError("a bug")

            monkeypatch.setattr(connection._actor, "receive", broken)
            async with trio.open_nursery() as nursery:
                caught = Caught(connection)
                nursery.start_soon(caught.request)
                await peer.expect(HeadersFrame)
                await peer.send(peer.ping())
            assert isinstance(caught.errors[0], trio_h2.InternalError)
            assert isinstance(caught.errors[0], trio.BrokenResourceError)
            await connection.wait_closed()
            with pytest.raises(trio_h2.InternalError) as later:
                await connection.request("GET", "/")
            assert not later.value.safe_to_retry
    assert isinstance(outer.value.__cause__, ZeroDivisionError)
    assert of(await peer.to_end(), GoAwayFrame)[0].error_code == ErrorCodes.INTERNAL_ERROR
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert len(caplog.records) == 1


async def test_a_bug_on_the_server_ends_its_connection_alone(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        def broken(*_: object) -> None:
            raise ZeroDivisionError("a bug")

        if stream.request.path == "/bug":
            monkeypatch.setattr(stream.connection._actor, "receive", broken)
        await stream.respond(200)

    async with client_and_server(handler) as pair:
        await pair.client.request("GET", "/bug")
        with pytest.raises(ConnectionTerminatedError) as caught:
            await pair.client.request("GET", "/")
        assert caught.value.error_code == ErrorCodes.INTERNAL_ERROR
    assert len(caplog.records) == 1


async def test_wait_closed_and_aclose_return_after_a_cancelled_connection(autojump_clock: MockClock) -> None:
    client_end, _ = trio.testing.memory_stream_pair()
    with trio.fail_after(10):
        with trio.CancelScope() as scope:
            async with trio_h2.connect_over(client_end, authority="example.org") as connection:
                scope.cancel()
        await connection.wait_closed()
        await connection.aclose()
    with pytest.raises(ConnectionTerminatedError):
        await connection.request("GET", "/")


# GOAWAY from the server


async def test_rfc9113_6_8_streams_up_to_the_last_stream_id_finish_and_the_rest_may_be_retried(
    autojump_clock: MockClock,
) -> None:
    async with raw_server(settings={3: 3}) as (connection, peer), trio.open_nursery() as nursery:
        caught = Caught(connection)
        for _ in range(5):
            nursery.start_soon(caught.request)
        for _ in range(3):
            await peer.expect(HeadersFrame)
        await peer.send(peer.goaway(3, additional_data=b"bye"))
        await peer.sync()
        assert not connection.accepting
        assert len(caught.errors) == 3
        assert all(error.safe_to_retry for error in caught.errors)
        assert all(isinstance(error, trio.BrokenResourceError) for error in caught.errors)
        assert {error.last_stream_id for error in caught.errors} == {3}
        assert {error.additional_data for error in caught.errors} == {b"bye"}
        await caught.request()
        assert caught.errors[-1].safe_to_retry
        await peer.send(peer.headers(1, OK, end_stream=True), peer.headers(3, OK), peer.data(3, b"x", end_stream=True))
        await connection.wait_closed()
        assert sorted(response.body for response in caught.responses) == [b"", b"x"]
        frames = await peer.to_end()
        assert of(frames, RstStreamFrame) == []


async def test_a_request_that_the_server_may_have_processed_is_not_safe_to_retry(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:
        caught = Caught(connection)
        nursery.start_soon(caught.request, "POST", "/", b"x")
        await peer.expect(HeadersFrame)
        await peer.send(peer.goaway(1))
        await peer.sync()
        await connection.aclose()
    assert not caught.errors[0].safe_to_retry


async def test_what_goaway_said_reaches_the_streams_it_ends(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:
        caught = Caught(connection)
        nursery.start_soon(caught.request, "POST", "/", b"x")
        await peer.expect(HeadersFrame)
        await peer.send(peer.goaway(1, ErrorCodes.ENHANCE_YOUR_CALM, b"calm"))
        await peer.transport.aclose()
        await connection.wait_closed()
    assert caught.errors[0].error_code == ErrorCodes.ENHANCE_YOUR_CALM
    assert "calm" in str(caught.errors[0])
    assert not caught.errors[0].safe_to_retry


async def test_rfc9113_6_8_a_second_goaway_may_lower_the_last_stream_id(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:
        caught = Caught(connection)
        for _ in range(3):
            nursery.start_soon(caught.request)
            await peer.expect(HeadersFrame)
        await peer.send(peer.goaway(2**31 - 1))
        await peer.sync()
        assert caught.errors == []
        await peer.send(peer.goaway(1))
        await peer.sync()
        assert [error.safe_to_retry for error in caught.errors] == [True, True]
        await peer.send(peer.headers(1, OK, end_stream=True))
    assert len(caught.responses) == 1


async def test_a_sender_that_goaway_abandons_wakes(autojump_clock: MockClock) -> None:
    async with raw_server(settings={4: 0}) as (connection, peer), trio.open_nursery() as nursery:
        caught = Caught(connection)
        nursery.start_soon(caught.request, "POST", "/", b"x")
        await peer.expect(HeadersFrame)
        await peer.send(peer.goaway(0))
    assert caught.errors[0].safe_to_retry


async def test_responses_that_came_before_the_transport_broke_are_read(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()
    async with raw_server(transports=(slow, peer_end)) as (connection, peer), trio.open_nursery() as nursery:
        caught = Caught(connection)
        nursery.start_soon(caught.request, "POST", "/", bytes(60_000))
        await peer.expect(HeadersFrame)
        await peer.sync()
        slow.break_writes()
        # To be answered, which fails; then what the peer had sent meanwhile.
        await peer.send(peer.ping())
        await peer.send(peer.headers(1, [(":status", "413")]), peer.data(1, b"too large", end_stream=True))
        await peer.transport.aclose()
    assert [response.body for response in caught.responses] == [b"too large"]


async def test_a_connection_whose_writes_fail_ends_even_if_the_peer_stays(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()
    async with raw_server(transports=(slow, peer_end)) as (connection, peer), trio.open_nursery() as nursery:
        caught = Caught(connection)
        nursery.start_soon(caught.request)
        await peer.expect(HeadersFrame)
        slow.break_writes()
        await peer.send(peer.ping())
        with trio.fail_after(30):
            await connection.wait_closed()
    assert isinstance(caught.errors[0], trio.BrokenResourceError)
    assert not caught.errors[0].safe_to_retry


# GOAWAY from the client


async def test_a_server_serves_on_after_a_clients_goaway(autojump_clock: MockClock) -> None:
    async with raw_client(echo) as peer:
        await peer.send(peer.headers(1, POST))
        await peer.expect(HeadersFrame)
        await peer.send(peer.goaway(0))
        await peer.send(peer.data(1, b"still here", end_stream=True))
        frame = await peer.expect(DataFrame)
        assert frame.data == b"still here"


async def test_a_request_behind_a_clients_goaway_leaves_no_handler_behind(autojump_clock: MockClock) -> None:
    async with raw_client(echo) as peer:
        await peer.send(peer.goaway(0), peer.headers(1, POST))
        await peer.send(peer.data(1, b"x"))
    # raw_client has waited for serve_h2_connection to return.


# The server's shutdown


async def test_rfc9113_6_8_shutdown_is_in_two_phases(autojump_clock: MockClock) -> None:
    release = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await release.wait()
        await stream.respond(200, (), b"done")

    async with serving(handler) as (server, listener, nursery):
        peer = RawPeer(listener.connect(), client=True)
        await peer.handshake()
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        nursery.start_soon(server.shutdown, 20)
        first = await peer.expect(GoAwayFrame)
        assert (first.last_stream_id, first.error_code) == (2**31 - 1, 0)
        # Still served: the client cannot know of the first GOAWAY yet.
        await peer.send(peer.headers(3, GET, end_stream=True))
        ping = await peer.expect(PingFrame)
        await peer.send(peer.ping(ping.opaque_data, ack=True))
        second = await peer.expect(GoAwayFrame)
        assert (second.last_stream_id, second.error_code) == (3, 0)
        # Ignored: above the second GOAWAY's last stream ID.
        await peer.send(peer.headers(5, POST), peer.data(5, b"ignored", end_stream=True))
        await peer.sync()
        release.set()
        frames = await peer.to_end()
        assert sorted({frame.stream_id for frame in of(frames, DataFrame)}) == [1, 3]
        assert of(peer.log, HeadersFrame, 5) == of(peer.log, RstStreamFrame, 5) == []


@pytest.mark.parametrize("grace", [0, 0.5, 3, 10])
@pytest.mark.parametrize("stubborn", [False, True])
async def test_shutdown_never_takes_longer_than_its_grace(
    grace: float, stubborn: bool, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        with trio.CancelScope(shield=stubborn):
            await trio.sleep(30)

    async with serving(handler) as (server, listener, nursery):
        peer = RawPeer(listener.connect(), client=True)
        await peer.handshake()
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        listener.connect()  # one that never says anything
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        await server.shutdown(grace)
        assert trio.current_time() - start <= grace + (0.401 if stubborn else 0.001)
        await peer.to_end()
        nursery.cancel_scope.cancel()


async def test_a_loop_that_is_held_up_past_the_grace_still_has_handlers_end(mock_clock: MockClock) -> None:
    running: list[int] = []

    async def nested(depth: int) -> None:
        """Every nursery around a task takes it one turn of the loop more to end."""
        running.append(depth)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(nested, depth - 1) if depth else nursery.start_soon(trio.sleep_forever)
        finally:
            running.remove(depth)

    async def shut_down() -> None:
        await server.shutdown(1)
        left.extend(running)
        done.set()

    left: list[int] = []
    done = trio.Event()
    async with serving(lambda _: nested(5)) as (server, listener, nursery):
        peer = RawPeer(listener.connect(), client=True)
        await peer.handshake()
        await peer.send(peer.headers(1, GET, end_stream=True))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(shut_down)
        await trio.testing.wait_all_tasks_blocked()
        assert len(running) == 6
        mock_clock.jump(10)
        await done.wait()
    assert left == []


async def test_shutdown_of_a_peer_that_does_not_read_keeps_its_grace(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()

    class OneListener(MemoryListener):
        def connect(self) -> trio.abc.Stream:
            self._in.send_nowait(slow)
            return peer_end

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, (), bytes(10**7))

    async with serving(handler, OneListener()) as (server, listener, _):
        peer = RawPeer(listener.connect(), client=True)
        await peer.handshake({4: 2**24})
        await peer.send(peer.window_update(0, 2**24))
        slow.stop()
        await peer.send(peer.headers(1, GET, end_stream=True))
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        await server.shutdown(4)
        assert trio.current_time() - start <= 4.001


async def test_a_handler_that_cannot_be_cancelled_is_named_and_not_waited_for(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    release = trio.Event()
    ends = ("/one?secret=1", "/two", "/over")

    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.path == "/over":
            await trio.sleep_forever()
        with trio.CancelScope(shield=True):
            await release.wait()

    async with serving(handler) as (server, listener, _nursery):
        peer = RawPeer(listener.connect(), client=True)
        await peer.handshake()
        for stream_id, path in zip((1, 3, 5), ends, strict=True):
            fields = ((name, path if name == ":path" else value) for name, value in GET)
            await peer.send(peer.headers(stream_id, fields, end_stream=True))
        await peer.sync()
        await server.shutdown(4)
        lines = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert len(lines) == 1
        text = lines[0].getMessage()
        assert "the handler of GET /one for a peer without an address" in text
        assert "GET /two" in text
        assert "secret" not in text
        assert "/over" not in text
        release.set()


async def test_so_many_handlers_that_cannot_be_cancelled_are_counted(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    release = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        with trio.CancelScope(shield=True):
            await release.wait()

    async with serving(handler) as (server, listener, _nursery):
        peer = RawPeer(listener.connect(), client=True)
        await peer.handshake()
        for stream_id in range(1, 100, 2):
            await peer.send(peer.headers(stream_id, GET, end_stream=True))
        await peer.sync()
        await server.shutdown(1)
        assert caplog.records[-1].getMessage().endswith(" and 40 more")
        assert caplog.records[-1].getMessage().count("the handler of") == 10
        release.set()


async def test_shutdown_waits_for_handlers_that_clean_up(autojump_clock: MockClock) -> None:
    """They have until 0.4 s after the grace, and nothing of the server is left when it returns."""
    ended: list[float] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.3)
                ended.append(trio.current_time())

    async with serving(handler) as (server, listener, nursery):
        for _ in range(5):
            peer = RawPeer(listener.connect(), client=True)
            await peer.handshake()
            await peer.send(peer.headers(1, GET, end_stream=True))
            await peer.sync()
        start = trio.current_time()
        await server.shutdown(2)
        assert len(ended) == 5
        assert trio.current_time() - start <= 2.31
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks


async def test_of_many_connections_not_all_end_at_the_deadline(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What each takes adds up: they are cut off one after the other, and who has streams last."""
    monkeypatch.setattr(stopping, "COST", 0.1)
    config = Config(goaway_delay=100)
    ends: dict[str, list[float]] = {"idle": [], "busy": []}

    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep_forever()

    async def wait_for_end(peer: RawPeer, kind: str) -> None:
        await peer.to_end()
        ends[kind].append(trio.current_time() - start)

    async with serving(handler, config=config) as (server, listener, nursery):
        peers = []
        for number in range(10):
            peer = RawPeer(listener.connect(), client=True)
            await peer.handshake()
            if number == 0:
                await peer.send(peer.headers(1, GET, end_stream=True))
                await peer.sync()
            peers.append(peer)
        start = trio.current_time()
        for number, peer in enumerate(peers):
            nursery.start_soon(wait_for_end, peer, "idle" if number else "busy")
        await server.shutdown(4)
        await trio.testing.wait_all_tasks_blocked()
    assert len({round(each, 3) for each in ends["idle"]}) == len(ends["idle"]) == 9
    assert max(ends["idle"]) < ends["busy"][0] <= 4.01


async def test_nothing_that_comes_after_the_deadline_is_worked_off(autojump_clock: MockClock) -> None:
    """A request that waits unread behind a flood starts no handler."""
    started: list[str] = []
    release = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        started.append(str(stream.request.path))
        with trio.CancelScope(shield=True):
            await release.wait()

    async with serving(handler) as (server, listener, _nursery):
        peer = RawPeer(listener.connect(), client=True)
        await peer.handshake()
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        await server.shutdown(1)
        with contextlib.suppress(trio.BrokenResourceError):
            await peer.send(peer.headers(3, GET, end_stream=True))
        await trio.testing.wait_all_tasks_blocked()
        assert len(started) == 1
        release.set()


async def test_shutdown_with_all_the_time_there_is(autojump_clock: MockClock) -> None:
    async with serving(hello) as (server, listener, nursery):
        await trio.testing.wait_all_tasks_blocked()
        async with trio_h2.connect_over(listener.connect(), authority="example.org") as connection:
            await connection.request("GET", "/")
            nursery.start_soon(server.shutdown, math.inf)
            await server.shutdown(math.inf)


async def test_shutdown_of_an_idle_server_is_quick(autojump_clock: MockClock) -> None:
    async with serving(hello) as (server, listener, _nursery):
        async with trio_h2.connect_over(listener.connect(), authority="example.org") as connection:
            await connection.request("GET", "/")
            start = trio.current_time()
            await server.shutdown(60)
            assert trio.current_time() - start < 2
            assert not connection.accepting


async def test_a_client_that_honours_goaway_loses_no_request(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(0.01)
        await stream.respond(200, (), pattern(20_000))

    async with serving(handler) as (server, listener, _nursery):
        async with trio_h2.connect_over(listener.connect(), authority="example.org") as connection:
            served = 0
            refused = 0

            async def worker() -> None:
                nonlocal served, refused
                while True:
                    try:
                        response = await connection.request("GET", "/")
                    except ConnectionTerminatedError as error:
                        assert error.safe_to_retry
                        refused += 1
                        return
                    assert response.body == pattern(20_000)
                    served += 1

            async with trio.open_nursery() as workers:
                for _ in range(50):
                    workers.start_soon(worker)
                await trio.sleep(0.1)
                await server.shutdown(10)
            assert served > 100
            assert refused == 50


async def test_shutdown_from_a_handler(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200)
        await server.shutdown(5)

    async with serving(handler) as (server, listener, _nursery):
        async with trio_h2.connect_over(listener.connect(), authority="example.org") as connection:
            start = trio.current_time()
            assert (await connection.request("GET", "/")).status == 200
            await connection.wait_closed()
            assert trio.current_time() - start < 10


@pytest.mark.parametrize("selector", [listening.Selector, selectors.SelectSelector])
async def test_shutdown_serves_what_is_in_the_backlog(
    selector: type[selectors.BaseSelector], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On any system: not every one has `select.poll`."""
    monkeypatch.delattr("select.poll")
    monkeypatch.setattr(listening, "Selector", selector)
    async with trio.open_nursery() as nursery:
        server: trio_h2.H2Server = await nursery.start(partial(trio_h2.serve_h2, hello, 0, host="127.0.0.1"))
        # These calls block, so the server has accepted none of them yet.
        connected = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(10)]
        nursery.start_soon(server.shutdown)
        for each in connected:
            nursery.start_soon(get_over, trio.SocketStream(trio.socket.from_stdlib_socket(each)))


async def test_shutdown_serves_what_is_in_the_backlog_though_the_loop_is_held_up(mock_clock: MockClock) -> None:
    """By a handler that blocks, say, or by the garbage collector: nothing is accepted in that time."""
    mock_clock.rate = 1

    async def blocks(stream: trio_h2.ServerStream) -> None:
        mock_clock.jump(2)
        await stream.respond(200)

    config = Config(goaway_delay=1_000)  # what clients ask for after that is not answered
    serve = partial(trio_h2.serve_h2, blocks, 0, host="127.0.0.1", config=config)

    async with trio.open_nursery() as nursery:
        server: trio_h2.H2Server = await nursery.start(serve)
        connected = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(10)]
        nursery.start_soon(server.shutdown, 10_000)
        for each in connected:
            nursery.start_soon(get_over, trio.SocketStream(trio.socket.from_stdlib_socket(each)))


async def test_a_server_that_was_shut_down_still_knows_its_port() -> None:
    async with trio.open_nursery() as nursery:
        server: trio_h2.H2Server = await nursery.start(partial(trio_h2.serve_h2, hello, 0, host="127.0.0.1"))
        port = server.port
        await server.shutdown()
    assert server.port == port


async def get_over(transport: trio.abc.Stream) -> None:
    async with trio_h2.connect_over(transport, authority="example.org") as connection:
        assert (await connection.request("GET", "/")).status == 200


@pytest.mark.parametrize(
    ("grace", "error"), [(-1, ValueError), (math.nan, ValueError), ("x", TypeError), (True, TypeError)]
)
async def test_shutdown_names_a_bad_grace(grace: object, error: type[Exception], autojump_clock: MockClock) -> None:
    async with serving(hello) as (server, listener, _nursery):
        with pytest.raises(error, match="grace"):
            await server.shutdown(grace)  # type: ignore[arg-type]
        async with trio_h2.connect_over(listener.connect(), authority="example.org") as connection:
            assert (await connection.request("GET", "/")).status == 200
        await server.shutdown(1)


# Peers that go away


async def test_a_client_that_leaves_while_a_handler_runs_is_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await trio.sleep_forever()

    for _ in range(30):
        one, other = trio.socket.socketpair()
        async with raw_client(handler, transports=(trio.SocketStream(one), trio.SocketStream(other))) as peer:
            await peer.send(peer.headers(1, GET, end_stream=True))
            await peer.expect(HeadersFrame)
    assert caplog.records == []


async def test_a_truncated_body_never_looks_complete(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), connection.stream("GET", "/") as stream:
        await peer.expect(HeadersFrame)
        await peer.send(peer.headers(1, OK), peer.data(1, b"half"))
        await peer.transport.aclose()
        assert await stream.receive_some() == b"half"
        for _ in range(2):
            with pytest.raises(ConnectionTerminatedError) as caught:
                await stream.receive_some()
            assert isinstance(caught.value, trio.BrokenResourceError)


async def test_a_complete_body_stays_readable_when_the_connection_is_gone(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), connection.stream("GET", "/") as stream:
        await peer.expect(HeadersFrame)
        await peer.send(peer.headers(1, OK), peer.data(1, b"whole", end_stream=True))
        await peer.transport.aclose()
        await connection.wait_closed()
        assert (await stream.response()).status == 200
        assert await read_all(stream) == b"whole"


async def test_a_body_cut_off_on_the_server_never_looks_complete(autojump_clock: MockClock) -> None:
    seen: list[object] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            seen.append(await read_all(stream))
        except BaseException as error:
            seen.append(error)
            raise

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST), peer.data(1, b"half"))
        await peer.sync()
    assert len(seen) == 1
    assert isinstance(seen[0], trio.Cancelled | trio_h2.H2Error)


# Timeouts


async def test_keepalive_pings_a_silent_peer_and_gives_up_on_a_dead_one(autojump_clock: MockClock) -> None:
    config = Config(keepalive_interval=10, keepalive_timeout=5)
    async with raw_server(config=config) as (connection, peer):
        start = trio.current_time()
        ping = await peer.expect(PingFrame)
        assert trio.current_time() - start == pytest.approx(10)
        await peer.send(peer.ping(ping.opaque_data, ack=True))
        await peer.expect(PingFrame)
        assert trio.current_time() - start == pytest.approx(20)
        await peer.to_end()
        assert trio.current_time() - start == pytest.approx(25)
        with pytest.raises(ConnectionTerminatedError, match="keepalive"):
            await connection.request("GET", "/")


async def test_any_frame_answers_a_keepalive(autojump_clock: MockClock) -> None:
    config = Config(keepalive_interval=10, keepalive_timeout=5)
    async with raw_server(config=config) as (connection, peer):
        for _ in range(10):
            await trio.sleep(9)
            await peer.send(peer.settings())
        assert connection.accepting
        assert of(peer.log, PingFrame) == []


async def test_what_arrived_while_the_loop_was_held_up_counts_before_a_deadline_does(mock_clock: MockClock) -> None:
    config = Config(keepalive_interval=10, keepalive_timeout=5)
    for _ in range(20):  # the reader and the deadlines wake in the same turn of the loop, in either order
        async with raw_server(config=config) as (connection, peer):
            mock_clock.jump(10)
            ping = await peer.expect(PingFrame)
            await peer.send(peer.ping(ping.opaque_data, ack=True))
            mock_clock.jump(6)
            await peer.sync()
            assert connection.accepting


async def test_keepalive_on_the_server(autojump_clock: MockClock) -> None:
    async with raw_client(hello, config=Config(keepalive_interval=10, keepalive_timeout=5)) as peer:
        start = trio.current_time()
        await peer.expect(PingFrame)
        await peer.to_end()
        assert trio.current_time() - start <= 16.1


@pytest.mark.parametrize("timeout", [3.0, 12.0])
async def test_rfc9113_6_5_3_settings_that_are_not_acknowledged(timeout: float, autojump_clock: MockClock) -> None:
    async with raw_server(config=Config(settings_timeout=timeout), handshake=False) as (connection, peer):
        await peer.send(peer.settings())
        frame = await peer.expect(GoAwayFrame)
        assert frame.error_code == ErrorCodes.SETTINGS_TIMEOUT
        assert trio.current_time() == pytest.approx(timeout, abs=0.2)
        await connection.wait_closed()


async def test_a_peer_that_sends_no_settings(autojump_clock: MockClock) -> None:
    async with raw_server(config=Config(handshake_timeout=3), handshake=False) as (connection, peer):
        await peer.to_end()
        assert trio.current_time() == pytest.approx(3)
        with pytest.raises(ConnectionTerminatedError, match="SETTINGS"):
            await connection.request("GET", "/")


async def test_a_client_that_says_nothing_at_all(autojump_clock: MockClock) -> None:
    async with raw_client(hello, config=Config(handshake_timeout=3), handshake=False) as peer:
        peer._preface_seen = True
        await peer.to_end()
        assert trio.current_time() <= 4.2


async def test_an_idle_server_connection_ends_gracefully(autojump_clock: MockClock) -> None:
    async with raw_client(hello, config=Config(idle_timeout=10)) as peer:
        await trio.sleep(8)
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        start = trio.current_time()
        frame = await peer.expect(GoAwayFrame)
        assert (frame.error_code, frame.last_stream_id) == (0, 1)
        assert trio.current_time() - start == pytest.approx(10)


async def test_a_busy_connection_is_not_idle(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(60)
        await stream.respond(200)

    async with raw_client(handler, config=Config(idle_timeout=10)) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.expect(HeadersFrame)


async def test_a_peer_that_does_not_read_its_replies_is_given_up(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()
    config = Config(write_timeout=10, max_queued_replies=50)
    async with raw_client(hello, config=config, transports=(peer_end, slow)) as peer:
        slow.stop()
        start = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            for _ in range(1_000):
                await peer.send(peer.ping() * 10)
                await trio.sleep(0.1)
        assert trio.current_time() - start < 30


async def test_aclose_while_the_transport_is_stuck(autojump_clock: MockClock) -> None:
    slow, peer_end = slow_pair()
    async with raw_server(transports=(slow, peer_end)) as (connection, _peer), trio.open_nursery() as nursery:
        slow.stop()
        caught = Caught(connection)
        nursery.start_soon(caught.request, "POST", "/", bytes(10**6))
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        await connection.aclose()
        assert trio.current_time() - start <= 10.1
    assert len(caught.errors) == 1


async def test_a_cancelled_aclose_still_closes(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, _), connection.stream("POST", "/") as stream:
        with trio.CancelScope() as scope:
            scope.cancel()
            await connection.aclose()
        with trio.fail_after(1):
            await connection.wait_closed()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")


async def test_a_second_shutdown_does_not_cut_the_first_short(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(8)
        await stream.respond(200)

    async with (
        serving(handler) as (server, listener, nursery),
        trio_h2.connect_over(listener.connect(), authority="example.org") as connection,
    ):
        async with trio.open_nursery() as requests:
            caught = Caught(connection)
            requests.start_soon(caught.request)
            await trio.sleep(1)
            nursery.start_soon(server.shutdown, 30)
            await trio.sleep(0.001)
            nursery.start_soon(server.shutdown, 20)
        assert [response.status for response in caught.responses] == [200]


@pytest.mark.parametrize("graces", [(30, 20), (20, 30), (20, 0.8)], ids=str)
async def test_rfc9113_6_8_a_second_shutdown_leaves_the_first_its_two_phases(
    graces: tuple[float, float], autojump_clock: MockClock
) -> None:
    """The second GOAWAY comes after the answer to the PING, and the sooner of both deadlines counts."""
    release = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await release.wait()
        await stream.respond(200)

    async with serving(handler) as (server, listener, nursery):
        peer = RawPeer(listener.connect(), client=True)
        await peer.handshake()
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        for grace in graces:
            nursery.start_soon(server.shutdown, grace)
            await trio.sleep(0.1)
        first = await peer.expect(GoAwayFrame)
        ping = await peer.expect(PingFrame)
        assert not [frame for frame in await peer.sync() if isinstance(frame, GoAwayFrame)]
        await peer.send(peer.headers(3, GET, end_stream=True), peer.ping(ping.opaque_data, ack=True))
        second = await peer.expect(GoAwayFrame)
        assert (first.last_stream_id, second.last_stream_id) == (2**31 - 1, 3)
        release.set()
        assert {frame.stream_id for frame in of(await peer.to_end(), HeadersFrame)} == {1, 3}


@pytest.mark.parametrize("graces", [(30, 4), (4, 30), (4, 4), (30, 0)], ids=str)
@pytest.mark.parametrize("stubborn", [False, True])
@pytest.mark.parametrize("pause", [0, 0.5, 1.5])
async def test_of_two_shutdowns_the_sooner_deadline_counts(
    graces: tuple[float, float], stubborn: bool, pause: float, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        with trio.CancelScope(shield=stubborn):
            await trio.sleep(40)

    async with serving(handler) as (server, listener, nursery):
        peer = RawPeer(listener.connect(), client=True)
        await peer.handshake()
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        start = trio.current_time()
        async with trio.open_nursery() as shutdowns:
            shutdowns.start_soon(server.shutdown, graces[0])
            await trio.sleep(pause)
            shutdowns.start_soon(server.shutdown, graces[1])
        sooner = min(graces[0], pause + graces[1])
        assert sooner - 0.5 <= trio.current_time() - start <= sooner + (0.401 if stubborn else 0.001)
        await peer.to_end()
        nursery.cancel_scope.cancel()


# HTTP/1


async def test_an_http1_request_that_comes_in_pieces_gets_its_505(autojump_clock: MockClock) -> None:
    async with raw_client(hello, handshake=False) as peer:
        for piece in (b"G", b"ET / HTTP/1.1\r\n", b"Host: example.org\r\n\r\n"):
            await peer.send(piece)
            await trio.sleep(0.01)
        answer = b""
        while chunk := await peer.transport.receive_some():
            answer += chunk
        assert answer.startswith(b"HTTP/1.1 505 ")


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_an_http1_client_gets_a_505_that_says_what_to_do(method: str, autojump_clock: MockClock) -> None:
    async with raw_client(hello, handshake=False) as peer:
        await peer.send(f"{method} / HTTP/1.1\r\nHost: example.org\r\n\r\n".encode())
        answer = b""
        while chunk := await peer.transport.receive_some():
            answer += chunk
        assert answer.startswith(b"HTTP/1.1 505 ")
        assert b"prior knowledge" in answer


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\n",
        b"PRINT / HTTP/1.1\r\n\r\n",
        b"M-SEARCH /stra\xc3\x9fe HTTP/1.1\r\n\r\n",
        b"get /" + b"x" * 8_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
@pytest.mark.parametrize("pause", [None, 0.0, 0.01, 1.0])
async def test_an_http1_request_line_gets_a_505_whole_or_in_pieces(
    line: bytes, pause: float | None, autojump_clock: MockClock
) -> None:
    size = len(line) if pause is None else max(5, len(line) // 20)
    async with raw_client(hello, handshake=False) as peer:
        for start in range(0, len(line), size):
            await peer.send(line[start : start + size])
            await trio.sleep(pause or 0)
        assert (await read_all(peer.transport)).startswith(b"HTTP/1.1 505 ")


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(30),
        b"GET /\r\n",
        b"GET / \r\n",
        b"GET\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET / HTTP/1.10\r\n\r\n",
        b"GET / http/1.1\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1 \r\n\r\n",
        b"GET / HTTP/1.1\rX",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        b"G(T / HTTP/1.1\r\n\r\n",
        b" GET / HTTP/1.1\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\n\r\n",
        b"HELO mail.example.org\r\n",
        b"EHLO mail.example.org\r\nMAIL FROM: GET / HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"INFO server\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"SOME TEXT",
        b"GET / HTTP/1.1",
        b"GET /" + b"x" * 9_000,
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ],
)
async def test_rfc9113_3_4_anything_else_is_a_wrong_preface(octets: bytes, autojump_clock: MockClock) -> None:
    async with raw_client(hello, config=Config(handshake_timeout=20), handshake=False) as peer:
        start = trio.current_time()
        await peer.send(octets)
        frames = await peer.to_end()
        assert of(frames, GoAwayFrame)[0].error_code == ErrorCodes.PROTOCOL_ERROR
        assert trio.current_time() - start < 22


async def test_a_client_that_says_nothing_gets_our_settings_soon(autojump_clock: MockClock) -> None:
    async with raw_client(hello, handshake=False) as peer:
        start = trio.current_time()
        await peer.expect(SettingsFrame)
        assert trio.current_time() - start < 1


async def test_a_shutdown_while_a_request_line_comes_in_pieces(autojump_clock: MockClock) -> None:
    async with serving(hello) as (server, listener, nursery):
        peer = RawPeer(listener.connect(), client=True)
        await peer.send(b"GET / HT")
        await trio.sleep(1)
        nursery.start_soon(server.shutdown, 5)
        await peer.expect(SettingsFrame)
        await peer.send(b"TP/1.1\r\n\r\n")
        assert of(await peer.to_end(), GoAwayFrame)


async def test_a_preface_that_comes_in_pieces(autojump_clock: MockClock) -> None:
    async with raw_client(hello, handshake=False) as peer:
        for octet in PREFACE + peer.settings():
            await peer.send(bytes([octet]))
            await trio.sleep(0.5)
        await peer.expect(SettingsFrame)
        await peer.send(peer.headers(1, GET, end_stream=True))
        assert (await peer.expect(HeadersFrame)).fields[0] == (b":status", b"200")


async def test_nothing_is_logged_about_a_port_scanner(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "trio_h2"):
        async with raw_client(hello, handshake=False):
            pass
    assert caplog.records == []
