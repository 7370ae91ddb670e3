"""How connections come in: what accepting does with errors, with the gone, at its limits, and while a server ends."""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from hyperframe.frame import GoAwayFrame, HeadersFrame, PingFrame, SettingsFrame
from trio.testing import MockClock

import trio_h2
import trio_h2.server as server_module
from tests.engine.helpers import (
    GET,
    PREFACE,
    MemoryListener,
    RawPeer,
    SlowTransport,
    hello,
    of,
    serving,
    slow_pair,
)
from trio_h2.actors import stopping


async def connected(listener: MemoryListener) -> RawPeer:
    """A client whose handshake is done."""
    peer = RawPeer(listener.connect(), client=True)
    await peer.handshake()
    return peer


async def request(peer: RawPeer, stream_id: int) -> None:
    await peer.send(peer.headers(stream_id, GET, end_stream=True))
    await peer.expect(HeadersFrame, lambda frame: frame.stream_id == stream_id)


async def ended_after(peer: RawPeer) -> float:
    start = trio.current_time()
    await peer.to_end()
    return trio.current_time() - start


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


# Errors of accept


class FailingListener(MemoryListener):
    """A listener that raises the errors of a list before each connection it gives.

    Attributes:
        calls: when it was asked for a connection.
    """

    def __init__(self, *numbers: int) -> None:
        super().__init__()
        self.errors = list(numbers)
        self.calls: list[float] = []

    async def accept(self) -> trio.abc.Stream:
        self.calls.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.errors:
            raise OSError(self.errors.pop(0), "by the test")
        return await super().accept()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
async def test_a_shortage_is_waited_out_and_logged_twice(
    number: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_h2")
    listener = FailingListener(*[number] * 8)
    async with serving(hello, listener) as (server, _, _nursery):
        await request(await connected(listener), 1)
        assert lines(caplog, logging.ERROR) == [
            f"accepting connections fails: {errno.errorcode[number]} ({os.strerror(number)})"
        ]
        pauses = [later - sooner for sooner, later in zip(listener.calls[:8], listener.calls[1:], strict=False)]
        assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1, 1, 1, 1])
        await trio.sleep(1)
        await connected(listener)
        await server.shutdown(1)
    assert lines(caplog, logging.INFO) == ["accepting connections works again"]


async def test_a_shortage_that_comes_and_goes_is_one(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_h2")
    listener = FailingListener(errno.EMFILE)
    async with serving(hello, listener) as (server, _, _nursery):
        for _ in range(20):
            await connected(listener)
            listener.errors.append(errno.EMFILE)
            await connected(listener)
        assert len(lines(caplog, logging.ERROR)) == 1
        await trio.sleep(2)
        listener.errors.clear()
        await connected(listener)
        await connected(listener)
        assert len(lines(caplog, logging.ERROR)) == len(lines(caplog, logging.INFO)) == 1
        await server.shutdown(1)


async def test_a_connection_that_is_aborted_is_nobodys_error(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    listener = FailingListener(errno.ECONNABORTED, errno.EPROTO, errno.ECONNABORTED)
    start = trio.current_time()
    async with serving(hello, listener) as (server, _, _nursery):
        await connected(listener)
        assert trio.current_time() == start
        await server.shutdown(1)
    assert caplog.records == []


async def test_any_other_error_of_a_listener_leaves(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="by the test"), flatten_subgroups=True):
        await trio_h2.serve_h2_listeners(hello, [FailingListener(errno.EINVAL)])


# Connections that have ended before they are accepted


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def reset_behind_data(client: socket.socket) -> None:
    client.sendall(PREFACE)
    reset(client)


@pytest.mark.parametrize("leave", [reset, reset_behind_data, socket.socket.close])
@pytest.mark.parametrize("tls", [False, True])
async def test_a_connection_that_has_ended_in_the_backlog_is_not_served(
    leave: Callable[[socket.socket], None],
    tls: bool,
    server_ssl_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served: list[trio.abc.Stream] = []

    class Served(server_module.Served):
        def __init__(self, handler: Any, transport: trio.abc.Stream, *arguments: Any, **named: Any) -> None:
            served.append(transport)
            super().__init__(handler, transport, *arguments, **named)

    monkeypatch.setattr(server_module, "Served", Served)
    context = server_ssl_context if tls else None
    async with trio.open_nursery() as nursery:
        server: trio_h2.H2Server = await nursery.start(
            partial(trio_h2.serve_h2, hello, 0, host="127.0.0.1", ssl_context=context)
        )
        # These calls block, so the server has accepted none of them yet.
        for _ in range(20):
            leave(socket.create_connection(("127.0.0.1", server.port)))
        with socket.create_connection(("127.0.0.1", server.port)) as last:
            own_address = last.getsockname()
            while not served:  # noqa: ASYNC110
                await trio.sleep(0.001)
            assert [each.socket.getpeername() for each in map(transport_of, served)] == [own_address]
            await server.shutdown(0.1)


async def test_a_client_that_is_silent_at_first_is_served_whatever_the_default_timeout_of_sockets() -> None:
    socket.setdefaulttimeout(0.001)
    try:
        async with trio.open_nursery() as nursery:
            server: trio_h2.H2Server = await nursery.start(partial(trio_h2.serve_h2, hello, 0, host="127.0.0.1"))
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            assert await stream.receive_some()  # our SETTINGS, before it has said anything
            await stream.aclose()
            await server.shutdown(1)
    finally:
        socket.setdefaulttimeout(None)


def transport_of(stream: trio.abc.Stream) -> trio.SocketStream:
    inner = getattr(stream, "transport_stream", stream)
    assert isinstance(inner, trio.SocketStream)
    return inner


async def test_a_client_that_has_sent_all_and_ended_its_half_is_served() -> None:
    async with trio.open_nursery() as nursery:
        server: trio_h2.H2Server = await nursery.start(partial(trio_h2.serve_h2, hello, 0, host="127.0.0.1"))
        client = socket.create_connection(("127.0.0.1", server.port))
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(client))
        peer = RawPeer(stream, client=True)
        client.send(PREFACE + peer.settings())
        client.shutdown(socket.SHUT_WR)
        assert of(await peer.to_end(), SettingsFrame)
        await stream.aclose()
        await server.shutdown(1)


# max_connections


async def test_at_max_connections_the_one_idle_longest_makes_room(autojump_clock: MockClock) -> None:
    async with serving(hello, max_connections=3) as (server, listener, _):
        peers = [await connected(listener) for _ in range(3)]
        await request(peers[0], 1)  # now it is idle for the shortest time
        fourth = await connected(listener)
        goaway = of(await peers[1].to_end(), GoAwayFrame)
        assert [(frame.error_code, frame.last_stream_id) for frame in goaway] == [(0, 0)]
        for peer in (peers[0], peers[2], fourth):
            await request(peer, 3)
            assert of(peer.log, GoAwayFrame) == []
        await server.shutdown(1)


async def test_nobody_has_to_leave_while_nobody_waits(autojump_clock: MockClock) -> None:
    async with serving(hello, max_connections=2) as (server, listener, _):
        peers = [await connected(listener) for _ in range(2)]
        await trio.sleep(100)
        for peer in peers:
            await request(peer, 1)
        await server.shutdown(1)


async def test_at_max_connections_accepting_waits_while_none_is_idle(autojump_clock: MockClock) -> None:
    release = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await release.wait()

    async with serving(handler, max_connections=2) as (server, listener, _):
        peers = [await connected(listener) for _ in range(2)]
        for peer in peers:
            await request(peer, 1)
        third = RawPeer(listener.connect(), client=True)
        await third.send(PREFACE, third.settings())
        await trio.sleep(100)
        assert repr(server).endswith(": 3 connections>")
        with trio.move_on_after(1) as waited:
            await third.expect(SettingsFrame)
        assert waited.cancelled_caught
        release.set()
        await third.expect(SettingsFrame)
        await server.shutdown(1)


async def test_who_has_come_in_has_a_second_for_its_first_request_whoever_waits(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await trio.sleep_forever()

    async with serving(handler, max_connections=2) as (server, listener, _):
        busy = await connected(listener)
        await request(busy, 1)
        one = await connected(listener)
        start = trio.current_time()
        other = RawPeer(listener.connect(), client=True)
        await other.send(PREFACE, other.settings())
        await trio.sleep(0.9)
        await request(one, 1)
        await trio.sleep(100)
        assert of(one.log, GoAwayFrame) == []
        await one.transport.aclose()
        await other.expect(SettingsFrame)
        third = await connected(listener)
        assert trio.current_time() - start == pytest.approx(100.9 + 1)
        assert of(await other.to_end(), GoAwayFrame)
        await request(third, 1)
        await server.shutdown(1)


async def test_one_that_leaves_slowly_holds_nobody_up_and_is_closed_after_a_second(autojump_clock: MockClock) -> None:
    listener = MemoryListener()

    def connect_slow() -> tuple[SlowTransport, RawPeer]:
        slow, peer_end = slow_pair()
        listener._in.send_nowait(slow)
        return slow, RawPeer(peer_end, client=True)

    async with serving(hello, listener, max_connections=2) as (server, _, _nursery):
        stuck: list[RawPeer] = []
        for _ in range(2):
            slow, peer = connect_slow()
            await peer.handshake()
            await request(peer, 1)
            slow.stop()
            stuck.append(peer)
        start = trio.current_time()
        first = await connected(listener)
        assert trio.current_time() == start
        assert await ended_after(stuck[0]) == pytest.approx(1)
        await request(first, 1)
        assert of(first.log, GoAwayFrame) == []
        await server.shutdown(1)


async def test_those_that_fall_idle_together_get_their_responses_however_many_wait(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(5)
        await stream.respond(200)

    async with serving(handler, max_connections=2) as (server, listener, nursery):
        peers = [await connected(listener) for _ in range(2)]
        for peer in peers:
            await peer.send(peer.headers(1, GET, end_stream=True))
        for _ in range(2):
            nursery.start_soon(RawPeer(listener.connect(), client=True).handshake)
        for peer in peers:
            assert of(await peer.to_end(), HeadersFrame)
        await server.shutdown(1)


async def test_so_many_that_leave_slowly_are_bounded_too(autojump_clock: MockClock) -> None:
    listener = MemoryListener()
    async with serving(hello, listener, max_connections=20) as (server, _, _nursery):
        for _ in range(50):
            slow, peer_end = slow_pair()
            listener._in.send_nowait(slow)
            await RawPeer(peer_end, client=True).handshake()
            slow.stop()
        await trio.testing.wait_all_tasks_blocked()
        assert repr(server).endswith(": 22 connections>")
        await server.shutdown(1)


# max_handshakes


async def test_a_slow_handshake_makes_room_after_a_second(autojump_clock: MockClock) -> None:
    async with serving(hello, max_handshakes=2) as (server, listener, _):
        start = trio.current_time()
        silent = RawPeer(listener.connect(), client=True)
        half = RawPeer(listener.connect(), client=True)
        await half.send(PREFACE[:10])
        good = await connected(listener)
        assert trio.current_time() - start == pytest.approx(1)
        await request(good, 1)
        assert of(await silent.to_end(), GoAwayFrame) == []
        assert trio.current_time() - start == pytest.approx(1)
        with trio.move_on_after(5) as waited:
            await half.expect(GoAwayFrame)  # nobody waits for its place
        assert waited.cancelled_caught
        await half.send(PREFACE[10:], half.settings())
        await request(half, 1)
        await server.shutdown(1)


async def test_slow_handshakes_make_room_where_connections_are_what_is_scarce(autojump_clock: MockClock) -> None:
    async with serving(hello, max_connections=1) as (server, listener, _):
        silent = RawPeer(listener.connect(), client=True)
        start = trio.current_time()
        await connected(listener)
        assert trio.current_time() - start == pytest.approx(1)
        await silent.to_end()
        await server.shutdown(1)


async def test_a_handshake_that_ends_lets_the_next_one_in_at_once(autojump_clock: MockClock) -> None:
    async with serving(hello, max_handshakes=1) as (server, listener, _):
        start = trio.current_time()
        for _ in range(20):
            await connected(listener)
        assert trio.current_time() == start
        await server.shutdown(1)


@pytest.mark.parametrize("name", ["max_connections", "max_handshakes"])
@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1, ValueError), ("5", TypeError), (True, TypeError)])
async def test_a_bad_limit_is_named(name: str, value: object, error: type[Exception]) -> None:
    arguments: Any = {name: value}
    with pytest.raises(error, match=name):
        await trio_h2.serve_h2(hello, 0, **arguments)
    with pytest.raises(error, match=name):
        await trio_h2.serve_h2_listeners(hello, [], **arguments)


# While the server ends


class LateListener(MemoryListener):
    """Its accept gives a connection just as it is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.given = False

    async def accept(self) -> trio.abc.Stream:
        try:
            return await super().accept()
        except trio.Cancelled:
            if self.given:
                raise
            self.given = True
            with trio.CancelScope(shield=True):
                return await super().accept()


async def test_a_connection_accepted_as_accepting_stops_is_shut_down_too(autojump_clock: MockClock) -> None:
    listener = LateListener()
    async with serving(hello, listener) as (server, _, nursery):
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(server.shutdown, 10)
        await trio.testing.wait_all_tasks_blocked()
        peer = RawPeer(listener.connect(), client=True)
        await peer.send(PREFACE, peer.settings())
        frames = await peer.to_end()
        assert listener.given
        assert len(of(frames, GoAwayFrame)) == 2


async def test_a_connection_accepted_as_the_server_is_cancelled_is_closed(autojump_clock: MockClock) -> None:
    listener = LateListener()
    async with serving(hello, listener) as (_, _, nursery):
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
            assert await RawPeer(listener.connect(), client=True).to_end() == []


@pytest.mark.parametrize("how", ["shut down", "cancelled"])
async def test_who_waits_at_the_door_as_the_server_ends_is_not_forgotten(how: str, autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await trio.sleep_forever()

    async with serving(handler, max_connections=1) as (server, listener, nursery):
        busy = await connected(listener)
        await request(busy, 1)
        waiting = RawPeer(listener.connect(), client=True)
        await trio.testing.wait_all_tasks_blocked()
        if how == "shut down":
            nursery.start_soon(server.shutdown, 1)
            await waiting.to_end()
        else:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                assert await waiting.to_end() == []


@asynccontextmanager
async def backlog_that_never_empties(
    monkeypatch: pytest.MonkeyPatch, listener: MemoryListener
) -> AsyncIterator[tuple[trio_h2.H2Server, trio.Nursery, list[float]]]:
    looks: list[float] = []

    def has_backlog(_listeners: object) -> bool:
        looks.append(trio.current_time())
        return True

    monkeypatch.setattr(stopping, "has_backlog", has_backlog)
    async with serving(hello, listener) as (server, _, nursery):
        yield server, nursery, looks


async def test_a_shutdown_while_accepting_fails_does_not_spin_and_tells_clients_at_once(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    listener = FailingListener()
    async with backlog_that_never_empties(monkeypatch, listener) as (server, nursery, looks):
        peer = await connected(listener)
        listener.errors = [errno.EMFILE] * 1_000
        listener.connect()
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        nursery.start_soon(server.shutdown, 2)
        await peer.expect(GoAwayFrame)
        assert trio.current_time() == start
        await peer.send(peer.ping((await peer.expect(PingFrame)).opaque_data, ack=True))
        await peer.expect(GoAwayFrame)
        assert trio.current_time() == start
        await peer.to_end()
        await server.shutdown(2)
        assert len(looks) <= 60
        assert len(listener.calls) < 10


@pytest.mark.parametrize(("grace", "lasts"), [(10, 0.5), (0.2, 0.1), (0, 0)])
async def test_a_shutdown_takes_from_the_backlog_for_a_bounded_time(
    grace: float, lasts: float, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    listener = FailingListener()
    async with backlog_that_never_empties(monkeypatch, listener) as (server, _, looks):
        start = trio.current_time()
        await server.shutdown(grace)
        assert all(look - start <= lasts for look in looks)
        assert trio.current_time() - start == pytest.approx(lasts)


async def test_a_shutdown_takes_so_many_from_the_backlog_and_no_more(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(stopping, "DRAIN_NUMBER", 10)
    listener = FailingListener()
    async with backlog_that_never_empties(monkeypatch, listener) as (server, nursery, _looks):
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(server.shutdown, 5)
        await trio.testing.wait_all_tasks_blocked()
        before = len(listener.calls)
        peers = [RawPeer(listener.connect(), client=True) for _ in range(30)]
        await trio.testing.wait_all_tasks_blocked()
        assert len(listener.calls) - before <= 10
        for peer in peers[:10]:
            await peer.send(PREFACE, peer.settings())
            assert of(await peer.to_end(), GoAwayFrame)


async def test_what_comes_from_the_backlog_during_a_shutdown_gets_its_goaway(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    listener = FailingListener()
    async with backlog_that_never_empties(monkeypatch, listener) as (server, nursery, _looks):
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(server.shutdown, 5)
        await trio.testing.wait_all_tasks_blocked()
        peer = RawPeer(listener.connect(), client=True)
        await peer.send(PREFACE, peer.settings())
        assert len(of(await peer.to_end(), GoAwayFrame)) == 2
