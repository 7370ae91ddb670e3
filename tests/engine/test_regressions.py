"""Cases that went wrong once: each test is named for what must hold."""

from __future__ import annotations

import gc
import logging
import os
import signal
import struct
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest
import trio
import trio.testing
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PushPromiseFrame, RstStreamFrame, SettingsFrame
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import (
    FOREVER,
    GET,
    OK,
    POST,
    PREFACE,
    MemoryListener,
    RawPeer,
    body_of,
    client_and_server,
    echo,
    hello,
    of,
    raw_client,
    raw_server,
    read_all,
    slow_pair,
    whole_reads,
)
from tests.protocol.helpers import counted_calls, held_size
from trio_h2 import Config, ErrorCodes, client
from trio_h2.actors.connection_actor import ConnectionActor
from trio_h2.actors.event_queue import event_size
from trio_h2.actors.stream_actor import StreamActor
from trio_h2.codes import setting_code_from_int
from trio_h2.protocol.connection_machine import ConnectionMachine
from trio_h2.protocol.settings import ChangedSetting

EXPECT = (*POST, ("expect", "100-continue"))

# Handlers and the end of their connection


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("cause", ["end of transport", "protocol error", "no acknowledgement of SETTINGS"])
async def test_a_response_cut_short_by_the_end_of_its_connection_is_not_completed(
    cause: str, begun: bool, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        if begun:
            await stream.send_response(200)
            await stream.send_all(b"partial")
        await trio.sleep_forever()

    async with raw_client(handler, handshake=False) as peer:
        await peer.send(PREFACE, peer.settings(), peer.headers(1, GET, end_stream=True))
        await peer.sync()
        if cause == "end of transport":
            await peer.transport.send_eof()  # type: ignore[attr-defined]
        elif cause == "protocol error":
            await peer.send(peer.window_update(0, 0))
        await peer.to_end()
        assert len(of(peer.log, HeadersFrame)) == begun
        assert body_of(peer.log, 1) == (b"partial" if begun else b"")
        assert not any("END_STREAM" in frame.flags for frame in peer.log)


async def test_a_handler_that_raises_as_its_connection_ends_answers_nobody(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ZeroDivisionError

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        await peer.send(peer.window_update(0, 0))
        await peer.to_end()
        assert of(peer.log, GoAwayFrame)
        assert of(peer.log, HeadersFrame) == []


async def test_a_handler_that_raises_after_its_own_close_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.aclose()
        raise ZeroDivisionError

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST))
        assert [f.error_code for f in of(await peer.sync(), RstStreamFrame)] == [ErrorCodes.CANCEL]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]
    caplog.clear()


# What a peer may cost


async def test_a_peer_that_reads_nothing_is_given_up_though_its_streams_end(autojump_clock: MockClock) -> None:
    connections: list[trio_h2.Connection] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        connections.append(stream.connection)
        await stream.respond(204)

    slow, peer_end = slow_pair()
    async with raw_client(handler, transports=(peer_end, slow), config=Config(write_timeout=10)) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        slow.stop()
        start = trio.current_time()
        largest = 0
        with pytest.raises(trio.BrokenResourceError):
            for stream_id in range(3, 203, 2):
                await peer.send(peer.headers(stream_id, GET, end_stream=True), peer.rst(stream_id), peer.ping() * 1_000)
                await trio.sleep(1)
                largest = max(largest, connections[0].statistics().write_buffered)
        assert trio.current_time() - start < 20
        assert largest < 256 * 1024


async def test_the_answers_to_failing_handlers_count_as_replies(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    connections: list[trio_h2.Connection] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        connections[:] = [stream.connection]
        raise ZeroDivisionError

    slow, peer_end = slow_pair()
    async with raw_client(handler, transports=(peer_end, slow), config=Config(max_queued_replies=100)) as peer:
        await peer.sync()
        slow.stop()
        for first in range(1, 20_001, 100):
            await peer.send(
                *(peer.headers(stream_id, GET, end_stream=True) for stream_id in range(first, first + 100, 2))
            )
            await trio.testing.wait_all_tasks_blocked()
        assert connections[0].statistics().write_buffered < 32 * 1024


@pytest.mark.parametrize("kind", ["settings", "unknown frame"])
async def test_connection_events_that_nobody_reads_hold_few_octets(kind: str, autojump_clock: MockClock) -> None:
    connections: list[trio_h2.Connection] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        connections.append(stream.connection)
        await stream.respond(204)

    async with raw_client(handler) as peer:
        if kind == "settings":
            frame = peer.frame(0x4, 0, 0, b"".join(struct.pack(">HI", 0x100 + i, 1) for i in range(32)))
        else:
            frame = peer.frame(0x99, 0, 0, bytes(16_384))

        async def flood(count: int) -> None:
            for _ in range(count):
                await peer.send(frame)
                if kind == "settings":
                    await peer.expect(SettingsFrame)
            await peer.sync()

        await peer.send(peer.headers(1, GET, end_stream=True))
        await flood(80)
        tracemalloc.start()
        try:
            await flood(50)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 256 * 1024
        assert connections[0].statistics().dropped_events >= 50


ORIGINS = [b"https://host%02d.example.org" % number for number in range(100)]
SETTINGS = {
    setting_code_from_int(code): ChangedSetting(setting_code_from_int(code), 2**30 + code, 2**31 + code)
    for code in range(0x1000, 0x1020)
}


@pytest.mark.parametrize(
    "event",
    [
        trio_h2.WindowUpdated(0, 2**31 - 1),
        trio_h2.PingReceived(b"12345678"),
        trio_h2.PingAckReceived(b"12345678"),
        *[trio_h2.RemoteSettingsChanged(dict(list(SETTINGS.items())[:count])) for count in range(33)],
        trio_h2.SettingsAcknowledged(SETTINGS),
        *[trio_h2.ConnectionTerminated(2**32 - 1, 2**31 - 1, bytes(size)) for size in (1, 100, 4_000)],
        *[trio_h2.AlternativeServiceAvailable(bytes(size), bytes(size + 1)) for size in (1, 100, 2_000)],
        *[trio_h2.UnknownFrameReceived(0x99, 0, 2**31 - 1, bytes(size)) for size in (0, 1, 100, 4_000)],
        *[trio_h2.OriginReceived(tuple(ORIGINS[:count])) for count in (0, 1, 7, 50, 100)],
        trio_h2.OriginReceived(tuple([bytes((65, number)) for number in range(100)])),
    ],
    ids=lambda event: type(event).__name__,
)
def test_events_count_at_least_what_cpython_takes_for_them(event: trio_h2.Event) -> None:
    held = held_size(event)
    assert held <= event_size(event) <= 3 * held


async def test_fifty_ordinary_origins_pass_and_empty_ones_hold_few_octets(autojump_clock: MockClock) -> None:
    """RFC 8336. However many come: while nobody reads events(), what waits is bounded with its objects."""
    async with raw_server(config=Config(max_event_octets=64 * 1024)) as (connection, peer):
        await peer.sync()
        events = connection.events()
        payload = b"".join([len(origin).to_bytes(2, "big") + origin for origin in ORIGINS[:50]])
        await peer.send(peer.frame(0xC, 0, 0, payload))
        async for event in events:
            if isinstance(event, trio_h2.OriginReceived):
                assert event.origins == tuple(ORIGINS[:50])
                break
        few = b"".join([b"\0\2%c%c" % (65 + number, 65) for number in range(100)])
        frame = peer.frame(0xC, 0, 0, few)
        await peer.send(frame)
        await peer.sync()
        dropped = connection.statistics().dropped_events
        tracemalloc.start()
        try:
            await peer.send(frame * 500)
            await peer.sync()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 128 * 1024
        assert connection.statistics().dropped_events > dropped + 480


@pytest.mark.parametrize("update", ["PRIORITY", "PRIORITY_UPDATE"])
async def test_stream_events_that_alternate_do_not_pile_up(update: str, autojump_clock: MockClock) -> None:
    events: list[trio_h2.Event] = []
    release = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        async for event in stream.events():
            events.append(event)
            await release.wait()
        await stream.respond(204)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST))
        await trio.testing.wait_all_tasks_blocked()
        if update == "PRIORITY":
            frame = peer.frame(0x2, 0, 1, b"\0\0\0\0\1")
        else:
            frame = peer.frame(0x10, 0, 0, b"\0\0\0\1u=1")
        for _ in range(20):
            await peer.send((peer.window_update(1, 1) + frame) * 20)
            await trio.testing.wait_all_tasks_blocked()
        release.set()
        await peer.send(peer.data(1, end_stream=True))
        await peer.expect(HeadersFrame)
    assert len(events) <= 10
    assert sum(event.delta for event in events if isinstance(event, trio_h2.WindowUpdated)) == 400


async def test_credit_between_tiny_data_neither_splits_it_nor_moves_behind_it(autojump_clock: MockClock) -> None:
    """Otherwise each octet is a chunk of its own, and each WINDOW_UPDATE looks for the one before it among them."""
    release = trio.Event()
    events: list[trio_h2.Event] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        async for event in stream.events():
            events.append(event)
            await release.wait()
        await stream.respond(204)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST), peer.data(1, b"first"))
        await trio.testing.wait_all_tasks_blocked()
        await peer.send((peer.data(1, b"x") + peer.window_update(1, 1)) * 400)
        await trio.testing.wait_all_tasks_blocked()
        release.set()
        await peer.send(peer.data(1, end_stream=True))
        await peer.expect(HeadersFrame)
    kinds = [trio_h2.DataReceived, trio_h2.DataReceived, trio_h2.WindowUpdated, trio_h2.DataReceived]
    assert [type(event) for event in events] == [*kinds, trio_h2.StreamEnded]
    assert b"".join(event.data for event in events if isinstance(event, trio_h2.DataReceived)) == b"first" + b"x" * 400
    assert [event.delta for event in events if isinstance(event, trio_h2.WindowUpdated)] == [400]


# request()


async def test_an_error_of_the_body_is_raised_after_a_graceful_goaway_too(autojump_clock: MockClock) -> None:
    reached = trio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        await reached.wait()
        raise ZeroDivisionError("in the body")

    async with raw_server() as (connection, peer):

        async def answer() -> None:
            await peer.expect(DataFrame)
            await peer.send(peer.goaway(2**31 - 1))
            await peer.sync()
            reached.set()
            await peer.expect_rst(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            with trio.fail_after(60), pytest.raises(ZeroDivisionError, match="in the body"):
                await connection.request("POST", "/", body=body())


class SlowBody:
    """An async iterator that does not stop at once when it is cancelled; `inside` says if it runs now."""

    inside = False

    def __aiter__(self) -> SlowBody:
        return self

    async def __anext__(self) -> bytes:
        self.inside = True
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        self.inside = False
        return b"x"


async def test_a_request_cancelled_as_its_stream_opens_has_left_the_body(autojump_clock: MockClock) -> None:
    body = SlowBody()
    async with raw_server() as (connection, _):
        with trio.CancelScope() as scope:
            scope.cancel()
            await connection.request("POST", "/", body=body)
        assert scope.cancelled_caught
        for _ in range(3):
            assert not body.inside
            await trio.testing.wait_all_tasks_blocked()


# Expect: 100-continue


async def test_a_body_is_read_after_expect_while_another_task_sends(autojump_clock: MockClock) -> None:
    bodies: list[bytes] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        async def read() -> None:
            bodies.append(await read_all(stream))

        async def send() -> None:
            await stream.send_response(200)
            await stream.send_all(b"answer")
            await stream.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(send)

    async with raw_client(handler) as peer:
        # The two tasks start in any order: this often, both orders come.
        for stream_id in range(1, 41, 2):
            await peer.send(peer.headers(stream_id, EXPECT))
            await peer.sync()
            await peer.send(peer.data(stream_id, b"body", end_stream=True))
            await peer.sync()
            assert body_of(peer.log, stream_id) == b"answer"
        assert of(peer.log, RstStreamFrame) == []
    assert bodies == [b"body"] * 20


async def test_a_success_without_a_100_asks_for_the_body_too(autojump_clock: MockClock) -> None:
    async with client_and_server(echo, config=Config(continue_timeout=FOREVER)) as pair:
        with trio.fail_after(60):
            response = await pair.client.request("POST", "/", headers=[("expect", "100-continue")], body=b"body")
        assert (response.status, response.body) == (200, b"body")


# Server shutdown


async def test_shutdown_returns_if_the_server_was_cancelled_before(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(trio_h2.serve_h2_listeners, hello, [MemoryListener()]))
        nursery.cancel_scope.cancel()
    with trio.fail_after(60):
        await server.shutdown(10)


async def test_shutdown_returns_if_the_server_is_cancelled_meanwhile(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep_forever()

    listener = MemoryListener()
    cancelled = trio.CancelScope()

    async def serve(task_status: trio.TaskStatus[trio_h2.H2Server]) -> None:
        with cancelled:
            await trio_h2.serve_h2_listeners(handler, [listener], task_status=task_status)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve)
        peer = RawPeer(listener.connect(), client=True)
        await peer.handshake()
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        nursery.start_soon(peer.expect, GoAwayFrame)
        cancelled.deadline = trio.current_time() + 5
        with trio.fail_after(10):
            await server.shutdown(60)


# Wake-ups


async def test_a_second_task_that_waits_for_a_stream_to_open_or_to_send_does_not_replace_the_first(
    autojump_clock: MockClock,
) -> None:
    async with raw_server(settings={3: 0}) as (connection, _), trio.open_nursery() as nursery:
        nursery.start_soon(connection.request, "GET", "/")
        await trio.testing.wait_all_tasks_blocked()
        (waiting,) = connection._actor.streams.slots.waiting
        with pytest.raises(AssertionError):
            await waiting.wait_open()
        nursery.cancel_scope.cancel()
    async with raw_server(settings={4: 0}) as (connection, _), connection.stream("POST", "/") as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, b"x")
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await stream.send_all(b"y")
            with pytest.raises(AssertionError):
                await connection._actor.writer.send(stream._actor.machine, b"y")
            nursery.cancel_scope.cancel()


# KeyboardInterrupt


class Recorder:
    """Notes, of some methods of the machine, whether a KeyboardInterrupt could stop them in the task that called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        self.protected: list[tuple[str, bool]] = []
        self.task: trio.lowlevel.Task | None = None
        for name in names:
            monkeypatch.setattr(ConnectionMachine, name, self.recording(name, getattr(ConnectionMachine, name)))

    def recording(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if trio.lowlevel.current_task() is self.task:
                self.protected.append((name, trio.lowlevel.currently_ki_protected()))
            return method(*arguments, **options)

        return call


async def test_keyboard_interrupt_cannot_stop_a_client_call_half_way(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(monkeypatch, "open_stream", "send_trailers")
    recorder.task = trio.lowlevel.current_task()
    async with client_and_server(echo) as pair:
        await pair.client.request("GET", "/")
        async with pair.client.stream("POST", "/") as stream:
            assert not trio.lowlevel.currently_ki_protected()
            await stream.send_trailers([("x", "y")])
            await read_all(stream)
    assert recorder.protected == [("open_stream", True), ("open_stream", True), ("send_trailers", True)]


async def test_keyboard_interrupt_cannot_stop_a_server_call_half_way(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(monkeypatch, "send_response", "send_trailers", "promise")

    async def handler(stream: trio_h2.ServerStream) -> None:
        assert not trio.lowlevel.currently_ki_protected()
        recorder.task = trio.lowlevel.current_task()
        await stream.receive_some()
        pushed = await stream.push("/pushed")
        await pushed.respond(200)
        await stream.send_informational(103)
        await stream.send_response(200)
        await stream.send_trailers([("x", "y")])

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, EXPECT))
        await peer.sync()
        await peer.send(peer.data(1, b"body", end_stream=True))
        await peer.expect(HeadersFrame, lambda frame: "END_STREAM" in frame.flags, stream_id=1)
    names = ["send_response", "promise", *["send_response"] * 3, "send_trailers"]
    assert recorder.protected == [(name, True) for name in names]


async def test_keyboard_interrupt_cannot_leave_a_stream_busy(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between saying that it is busy and seeing to it that this ends, no call can be stopped."""
    check = StreamActor.check_sending
    protected = []

    def record(actor: StreamActor) -> None:
        protected.append(trio.lowlevel.currently_ki_protected())
        check(actor)

    async with raw_server() as (connection, _), connection.stream("POST", "/") as stream:
        monkeypatch.setattr(StreamActor, "check_sending", record)
        await stream.update_priority(trio_h2.Priority(1))
        await stream.wait_send_all_might_not_block()
        await stream.send_all(b"bytes")
        await stream.send_all(bytearray(b"bytearray"))
        await stream.send_eof()
    assert protected == [True] * len(protected)
    assert len(protected) >= 8


async def test_keyboard_interrupt_can_stop_a_bodys_iterator(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the caller's code, as a handler is; what it calls of the engine is protected again."""
    recorder = Recorder(monkeypatch, "send_whole", "ping")
    unprotected: list[str] = []

    def note(where: str) -> None:
        recorder.task = trio.lowlevel.current_task()
        if not trio.lowlevel.currently_ki_protected():
            unprotected.append(where)

    class Iterable:
        def __aiter__(self) -> AsyncIterator[bytes]:
            note("aiter")
            return self.generate()

        async def generate(self) -> AsyncIterator[bytes]:
            note("first")
            await pair.client.ping()
            yield b"x"
            note("second")
            try:
                yield b"y" * 10**6
            finally:
                note("closed")

    async def answers_early(stream: trio_h2.ServerStream) -> None:
        while b"y" not in await stream.receive_some():
            pass
        await stream.respond(200)

    async with client_and_server(answers_early) as pair:
        await pair.client.request("POST", "/", body=Iterable())
    assert unprotected == ["aiter", "first", "second", "closed"]
    assert {name for name, _ in recorder.protected} == {"send_whole", "ping"}
    assert all(protected for _, protected in recorder.protected)


def test_keyboard_interrupt_in_a_bodys_iterator_comes_out_of_request() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not interrupted")

    async def main() -> None:
        client_end, server_end = trio.testing.memory_stream_pair()
        trio.lowlevel.spawn_system_task(trio_h2.serve_h2_connection, echo, server_end)
        async with trio_h2.connect_over(client_end, authority="example.org") as connection:
            with pytest.raises(KeyboardInterrupt):
                await connection.request("POST", "/", body=body())
            await trio.testing.wait_all_tasks_blocked()
            assert connection.statistics().streams == ()
            assert (await connection.request("POST", "/", body=b"again")).body == b"again"

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("call", ["request", "stream"])
def test_keyboard_interrupt_as_a_stream_opens_leaves_no_stream_behind(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = ConnectionActor.start_client_stream

    def start_and_press_ctrl_c(connection: ConnectionActor, actor: StreamActor) -> None:
        start(connection, actor)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ConnectionActor, "start_client_stream", start_and_press_ctrl_c)

    async def main() -> None:
        client_end, server_end = trio.testing.memory_stream_pair()
        trio.lowlevel.spawn_system_task(trio_h2.serve_h2_connection, echo, server_end)
        async with trio_h2.connect_over(client_end, authority="example.org") as connection:
            with pytest.raises(KeyboardInterrupt):
                if call == "request":
                    await connection.request("POST", "/")
                else:
                    async with connection.stream("POST", "/") as stream:
                        await stream.response()
            await trio.testing.wait_all_tasks_blocked()
            assert connection.statistics().streams == ()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_keyboard_interrupt_at_any_line_of_connect_leaves_no_nursery_behind() -> None:
    """Ctrl-C as the block is entered or left is a KeyboardInterrupt, not trio's complaint about its nurseries."""

    async def main() -> None:
        client_end, server_end = trio.testing.memory_stream_pair()
        trio.lowlevel.spawn_system_task(trio_h2.serve_h2_connection, echo, server_end)
        async with trio_h2.connect_over(client_end, authority="example.org") as connection:
            await connection.request("GET", "/")

    left = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename != client.__file__ or frame.f_code.co_name not in ("__aenter__", "__aexit__"):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    interrupted = 0
    while interrupted < 100:
        left = interrupted + 1
        sys.settrace(trace)
        try:
            trio.run(main, clock=MockClock(autojump_threshold=0))
        except KeyboardInterrupt:
            interrupted += 1
        else:
            break
        finally:
            sys.settrace(before)
    assert 10 < interrupted < 100


# Pushes


async def test_a_pushed_response_that_waits_for_a_slot_gets_it_after_goaway(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        first = await stream.push("/first")
        second = await stream.push("/second")
        await first.send_response(200)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(second.respond, 200, [], b"second")
            await trio.sleep(10)
            await first.send_eof()
        await stream.respond(200)

    async with raw_client(handler, settings={3: 1}) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.expect(HeadersFrame, stream_id=2)
        await peer.send(peer.goaway(2**31 - 2))
        with trio.fail_after(60):
            await peer.expect(DataFrame, lambda frame: "END_STREAM" in frame.flags, stream_id=4)
            await peer.expect(HeadersFrame, lambda frame: "END_STREAM" in frame.flags, stream_id=1)
        assert body_of(peer.log, 4) == b"second"


async def test_a_push_from_before_the_acknowledgement_of_our_settings_is_refused(autojump_clock: MockClock) -> None:
    async with raw_server(handshake=False) as (connection, peer):

        async def answer() -> None:
            await peer.send(peer.settings())
            await peer.expect(HeadersFrame)
            await peer.send(peer.headers(1, GET, promised=2))
            assert await peer.expect_rst(2) == ErrorCodes.REFUSED_STREAM
            await peer.send(peer.settings(ack=True))
            await peer.send(peer.headers(2, OK), peer.data(2, bytes(1_000), end_stream=True))
            await peer.send(peer.headers(1, OK, end_stream=True))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            with trio.fail_after(60):
                assert (await connection.request("GET", "/")).status == 200
        await peer.sync()
        statistics = connection.statistics()
        assert (statistics.streams, statistics.unread) == ((), 0)
        await peer.send(peer.goaway(1))
        with trio.fail_after(60):
            await connection.wait_closed()


async def test_a_pushed_stream_has_no_body_to_read(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        pushed = await stream.push("/pushed")
        with trio.fail_after(1):
            assert await pushed.receive_some() == b""
        await pushed.respond(204)
        await stream.respond(200)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        assert [frame.fields[0][1] for frame in of(peer.log, HeadersFrame)] == [b"204", b"200"]


# The end of a message


async def test_closing_after_a_complete_response_says_no_error(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await stream.send_all(b"early")
        await stream.send_eof()
        await stream.aclose()

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST))
        assert await peer.expect_rst(1) == ErrorCodes.NO_ERROR
        assert body_of(peer.log, 1) == b"early"
        assert "END_STREAM" in of(peer.log, DataFrame, 1)[-1].flags


Stream = trio_h2.ClientStream | trio_h2.ServerStream


async def check_ended(stream: Stream) -> None:
    """What the sending calls do after `send_eof`."""
    calls: list[Callable[[], Awaitable[object]]] = [
        partial(stream.send_trailers, [("x", "y")]),
        partial(stream.send_all, b"x"),
    ]
    await stream.send_eof()
    await stream.send_eof()
    for call in calls:
        with pytest.raises(trio.ClosedResourceError):
            await call()


async def test_after_send_eof_nothing_more_can_be_sent(autojump_clock: MockClock) -> None:
    checked: list[Stream] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await read_all(stream)
        await check_ended(stream)
        checked.append(stream)

    async with client_and_server(handler) as pair:
        async with pair.client.stream("POST", "/") as stream:
            await stream.response()
            await check_ended(stream)
            checked.append(stream)
            assert await read_all(stream) == b""
    assert len(checked) == 2


SECRETS = [(b"authorization", b"Basic c2VjcmV0"), (b"proxy-authorization", b"Basic eA=="), (b"cookie", b"id=1")]


async def test_rfc7541_7_1_3_secrets_are_sent_never_indexed(autojump_clock: MockClock) -> None:
    """By a client, by a handler, in a promise and in trailers; to a compression table they make no difference."""

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.push("/pushed", headers=SECRETS)
        await stream.send_response(200, SECRETS)
        await stream.send_trailers([SECRETS[0]])

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        sent = [frame for frame in await peer.sync() if getattr(frame, "fields", None)]
        assert [type(frame) for frame in sent] == [PushPromiseFrame, HeadersFrame, HeadersFrame]
        assert not set(peer.decoder.header_table.dynamic_entries) & set(SECRETS)
    async with raw_server() as (connection, peer):
        for _ in range(2):
            async with connection.stream("GET", "/", headers=SECRETS):
                frame = await peer.expect(HeadersFrame)
                assert set(SECRETS) <= set(frame.fields)
                assert frame.data.count(b"\x1f\x08") == 1  # RFC 7541 section 6.2.3, the name's index is 23
        assert not set(peer.decoder.header_table.dynamic_entries) & set(SECRETS)


@pytest.mark.parametrize("name", [b"authorization", b"Proxy-Authorization", b"cookie", b"set-cookie", b"x-marked"])
async def test_no_memory_keeps_secrets_beyond_their_connection(name: bytes, autojump_clock: MockClock) -> None:
    secrets = [b"%d of %s %s" % (n, name, os.urandom(8).hex().encode()) for n in range(3)]

    def field(value: bytes) -> tuple[bytes, bytes]:
        return trio_h2.NeverIndexed(name, value) if name == b"x-marked" else (name, value)

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, [field(secrets[1])], b"hello")

    async def exchange() -> None:
        async with client_and_server(handler) as pair:
            for _ in range(2):
                await pair.client.request("GET", "/", headers=[field(secrets[0])])
                await pair.client.request("GET", "/", headers=((b"x-a", b"1"), field(secrets[2])))

    before = [sys.getrefcount(secret) for secret in secrets]
    await exchange()
    gc.collect()
    assert [sys.getrefcount(secret) for secret in secrets] == before


@pytest.mark.parametrize("values", [[], [0], [5, 0]], ids=str)
async def test_rfc9113_6_9_2_settings_touch_waiting_senders_once_at_most(
    values: list[int], autojump_clock: MockClock
) -> None:
    """However many SETTINGS frames come in one read; and every sender goes on when its window opens at last."""
    whole_reads()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, body=b"0123456789")

    costs = []
    for streams in (5, 100):
        async with raw_client(handler, settings={0x4: 0}) as peer:
            ids = range(1, 2 * streams, 2)
            await peer.send(*(peer.headers(stream_id, GET, end_stream=True) for stream_id in ids))
            await peer.sync()
            frames = [peer.settings({0x4: value}) for value in values] or [peer.settings()]
            with counted_calls() as count:
                await peer.send(*frames * (300 // len(frames)))
                await trio.testing.wait_all_tasks_blocked()
            costs += count
            assert not of(await peer.sync(), DataFrame)
            await peer.send(peer.settings({0x4: 4}))
            await peer.send(peer.settings({0x4: 2}), peer.settings({0x4: 3}))
            sent = await peer.sync()
            assert [body_of(sent, stream_id) for stream_id in ids] == [b"0123"] * streams
            await peer.send(peer.settings({0x4: 9}), *(peer.window_update(stream_id, 1) for stream_id in ids))
            sent = await peer.sync()
            assert [body_of(sent, stream_id) for stream_id in ids] == [b"456789"] * streams
            assert not [frame for frame in peer.log if isinstance(frame, RstStreamFrame)]
    assert costs[1] - costs[0] < 20 * 100


async def test_pushes_that_the_client_resets_leave_nothing_behind(autojump_clock: MockClock) -> None:
    connections: list[trio_h2.Connection] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        connections.append(stream.connection)
        for number in range(100):
            await stream.push(f"/{number}")
        await stream.respond(200)

    def actors() -> int:
        gc.collect()
        return sum(isinstance(thing, StreamActor) for thing in gc.get_objects())

    before = actors()
    async with raw_client(handler) as peer:
        for round_ in range(5):
            await peer.send(peer.headers(1 + 2 * round_, GET, end_stream=True))
            promised = [frame.promised_stream_id for frame in of(await peer.sync(), PushPromiseFrame)]
            assert len(promised) == 100
            await peer.send(*map(peer.rst, promised))
            await peer.sync()
        assert connections[0].statistics().streams == ()
        assert actors() == before


async def test_events_that_nobody_reads_are_bounded_in_octets(autojump_clock: MockClock) -> None:
    """A connection's events of 4 KiB: few are kept, and as they are taken there is room for new ones."""
    async with raw_server() as (connection, peer):
        frame = peer.frame(0x99, 0, 0, bytes(4_096))
        await peer.sync()
        tracemalloc.start()
        try:
            await peer.send(*[frame] * 1_000)
            await peer.sync()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 400 * 1024
        dropped = connection.statistics().dropped_events
        assert 900 < dropped < 950
        events = connection.events()
        for _ in range(3):
            with trio.move_on_after(1):
                async for _ in events:
                    pass
            await peer.send(*[frame] * 50)  # fewer than there is room for
            await peer.sync()
        assert connection.statistics().dropped_events == dropped


async def test_a_knob_says_how_many_octets_of_events_wait(autojump_clock: MockClock) -> None:
    async with raw_server(config=Config(max_event_octets=0)) as (connection, peer):
        await peer.send(peer.frame(0x99, 0, 0, b""))
        await peer.sync()
        assert connection.statistics().dropped_events == 4  # two SETTINGS, an unknown frame and a PING


@pytest.mark.parametrize("size", [10, 16_000])
async def test_rfc9113_6_8_debug_data_enters_texts_escaped_and_cut(size: int, autojump_clock: MockClock) -> None:
    debug_data = (b"\x1b[2Jcalm down\r\n\xff" + b"A" * 16_000)[:size]
    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def request() -> None:
            with pytest.raises(trio_h2.ConnectionTerminatedError) as caught:
                await connection.request("GET", "/")
            assert caught.value.additional_data == debug_data
            text = str(caught.value)
            assert r"\x1b[2Jcalm" in text
            assert text.isascii()
            assert text.isprintable()
            assert len(text) < 260
            assert (text.count("A") > 100) is (size > 200)

        await peer.expect(HeadersFrame)
        await peer.send(peer.goaway(0, 0xB, debug_data))
