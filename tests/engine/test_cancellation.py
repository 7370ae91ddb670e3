"""Cancelling at every checkpoint of a request's life, on either side, harms nobody else (invariants 2 and 7).

`Victim` counts the steps of one task and cancels its scope before step number k; a test lets k grow until the task
gets through uncancelled. Beside the victim a neighbour echoes on the same connection all the time, and after each
victim the connection serves another request.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import pytest
import trio
import trio.testing
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import (
    FOREVER,
    GET,
    OK,
    POST,
    Pair,
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
)
from trio_h2 import Config, ErrorCodes, StreamClosedError
from trio_h2.testing import in_memory

SMALL = Config(initial_window_size=3_000, write_buffer_size=2_000, max_concurrent_streams=2)
"""So small that a body of some thousand octets waits for everything there is to wait for."""

STEPS_AT_MOST = 400


class Victim(trio.abc.Instrument):
    """Runs an async function in this task and cancels it before its step number `step`."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.scope = trio.CancelScope()
        self.finished = False
        self._task: trio.lowlevel.Task | None = None
        self._count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is not self._task:
            return
        if self._count == self.step:
            self.scope.cancel()
        self._count += 1

    async def run(self, function: Callable[[], Awaitable[object]]) -> None:
        self._task = trio.lowlevel.current_task()
        if self.step == 0:
            self.scope.cancel()
        self._count = 1
        trio.lowlevel.add_instrument(self)
        try:
            with self.scope:
                await function()
                self.finished = True
        finally:
            trio.lowlevel.remove_instrument(self)
            self._task = None


@pytest.fixture(params=[None, SMALL], ids=["default", "small"])
def config(request: pytest.FixtureRequest) -> Config | None:
    """Of both sides."""
    config: Config | None = request.param
    return config


class Neighbour:
    """A stream that echoes on the same connection, before, during and after."""

    def __init__(self, stream: trio_h2.ClientStream) -> None:
        self.stream = stream
        self.count = 0

    async def talk_beside(self, victim: Callable[[], Awaitable[object]], pair: Pair, step: int) -> None:
        """Echo while the victim runs; then the connection serves another request."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.talk)
            await victim()
        assert (await pair.client.request("POST", "/echo", body=b"next")).body == b"next", step

    async def talk(self) -> None:
        self.count += 1
        sent = pattern(5_000, self.count)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.stream.send_all, sent)
            received = b""
            while len(received) < len(sent):
                received += await self.stream.receive_some()
            assert received == sent


@asynccontextmanager
async def neighbour_on(pair: Pair) -> AsyncIterator[Neighbour]:
    """At the end of the block its stream ends as it should, and nothing is left on the connection."""
    async with pair.client.stream("POST", "/echo") as stream:
        yield Neighbour(stream)
        await stream.send_eof()
        assert await read_all(stream) == b""
    await check_quiet(pair)


@contextmanager
def no_task_left() -> Iterator[None]:
    before = trio.lowlevel.current_statistics().tasks_living
    yield
    assert trio.lowlevel.current_statistics().tasks_living == before


async def cancel_everywhere(pair: Pair, victim: Callable[[], Awaitable[object]]) -> int:
    """Cancel `victim` on the client before each of its steps in turn; how many there were."""
    async with neighbour_on(pair) as neighbour:
        await neighbour.talk()
        step = 0
        while True:
            case = Victim(step)
            await neighbour.talk_beside(partial(case.run, victim), pair, step)
            if case.finished:
                break
            step += 1
            assert step < STEPS_AT_MOST
    return step


async def everything(stream: trio_h2.ServerStream) -> None:
    """A handler that reads, sends a 103, a response, a body and trailers; or is a tunnel; or echoes."""
    if stream.request.method == "CONNECT" or stream.request.path == "/echo":
        await echo(stream)
        return
    body = await read_all(stream)
    await stream.send_informational(103, [("link", "</style.css>")])
    await stream.send_response(200)
    await stream.send_all(body)
    await stream.send_all(pattern(4_000))
    await stream.send_trailers([("x-length", str(len(body)))])


class VictimsHandler:
    """Does everything; for requests with an x-victim field, as the victim.

    Attributes:
        case: the next victim.
    """

    case: Victim

    async def __call__(self, stream: trio_h2.ServerStream) -> None:
        if stream.request.headers.get("x-victim"):
            await self.case.run(lambda: everything(stream))
        else:
            await everything(stream)


@pytest.fixture
def handler() -> VictimsHandler:
    return VictimsHandler()


class Chunks:
    """A body in three chunks; not a generator, which would have an opinion of its own on being left early."""

    def __init__(self) -> None:
        self.number = 0

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.number == 3:
            raise StopAsyncIteration
        self.number += 1
        return pattern(2_500, self.number)


async def by_request(pair: Pair) -> None:
    response = await pair.client.request("POST", "/", body=pattern(7_000), trailers=[("x-done", "1")])
    assert response.body == pattern(7_000) + pattern(4_000)
    assert response.trailers is not None
    assert response.trailers["x-length"] == "7000"


async def by_request_of_an_iterable(pair: Pair) -> None:
    response = await pair.client.request("POST", "/", body=Chunks())
    assert len(response.body) == 7_500 + 4_000


async def by_request_that_expects(pair: Pair) -> None:
    response = await pair.client.request("POST", "/", body=pattern(7_000), headers=[("expect", "100-continue")])
    assert len(response.body) == 7_000 + 4_000


async def by_get(pair: Pair) -> None:
    assert (await pair.client.request("GET", "/")).body == pattern(4_000)


async def by_stream(pair: Pair) -> None:
    async with pair.client.stream("POST", "/") as stream:
        await stream.send_all(pattern(7_000))
        await stream.wait_send_all_might_not_block()
        await stream.send_trailers([("x-done", "1")])
        assert (await stream.response()).status == 200
        assert await read_all(stream) == pattern(7_000) + pattern(4_000)
        assert stream.trailers is not None


async def by_events(pair: Pair) -> None:
    async with pair.client.stream("POST", "/") as stream:
        await stream.send_all(pattern(7_000))
        await stream.send_eof()
        events = [event async for event in stream.events()]
        assert isinstance(events[-1], trio_h2.StreamEnded)


async def by_tunnel(pair: Pair) -> None:
    async with pair.client.stream("CONNECT", "example.org:1") as tunnel:
        await tunnel.response()
        await Neighbour(tunnel).talk()
        await tunnel.send_eof()
        assert await read_all(tunnel) == b""


async def by_websocket(pair: Pair) -> None:
    async with pair.client.stream("CONNECT", "/", protocol="websocket") as tunnel:
        await tunnel.response()
        await Neighbour(tunnel).talk()


async def by_ping(pair: Pair) -> None:
    await pair.client.ping()


LIVES = [
    by_get,
    by_request,
    by_request_of_an_iterable,
    by_request_that_expects,
    by_stream,
    by_events,
    by_tunnel,
    by_websocket,
    by_ping,
]


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
async def test_cancelling_a_client_at_every_checkpoint(
    life: Callable[[Pair], Awaitable[None]], config: Config | None, autojump_clock: MockClock
) -> None:
    async with client_and_server(everything, config=config, server_config=config) as pair:
        assert await cancel_everywhere(pair, lambda: life(pair)) >= 1


async def test_cancelling_a_client_that_waits_for_a_slot(autojump_clock: MockClock) -> None:
    config = Config(max_concurrent_streams=2)
    async with client_and_server(everything, server_config=config) as pair:
        await pair.client.request("GET", "/")

        async def life() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(by_get, pair)
                nursery.start_soon(by_request, pair)
                await by_stream(pair)

        await cancel_everywhere(pair, life)


@pytest.mark.parametrize("method", ["POST", "CONNECT"])
async def test_cancelling_a_handler_at_every_checkpoint(
    method: str,
    config: Config | None,
    handler: VictimsHandler,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        client_and_server(handler, config=config, server_config=config) as pair,
        neighbour_on(pair) as neighbour,
    ):
        for step in range(STEPS_AT_MOST):
            case = handler.case = Victim(step)
            await neighbour.talk_beside(partial(check_victims_response, pair, method), pair, step)
            if case.finished:
                break
        assert case.finished
        assert case.step >= 2
    # A handler that was cancelled, and returned, has not responded: the user is told, and nothing else is logged.
    assert {record.levelno for record in caplog.records} <= {logging.WARNING}
    assert all(f"the handler of {method} " in line and " returned w" in line for line in caplog.messages)


async def check_victims_response(pair: Pair, method: str) -> None:
    """A handler that was cancelled and returned: a 500, a reset, or all of it; never half of it as if it were all."""
    if method == "CONNECT":
        async with pair.client.stream("CONNECT", "a:1", headers=[("x-victim", "1")]) as tunnel:
            try:
                await tunnel.response()
                await tunnel.send_all(pattern(7_000))
                await tunnel.send_eof()
                assert pattern(7_000).startswith(await read_all(tunnel))
            except trio_h2.StreamResetError:
                pass
        return
    try:
        response = await pair.client.request("POST", "/", body=pattern(7_000), headers=[("x-victim", "1")])
    except trio_h2.StreamResetError:
        return
    # With no content-length and no trailers to miss, a body that ends at a chunk's end is all the handler said.
    assert response.status in (200, 500)
    assert (pattern(7_000) + pattern(4_000)).startswith(response.body)


async def test_a_peers_reset_cancels_the_handler_at_every_checkpoint(
    config: Config | None, handler: VictimsHandler, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    client_scope = trio.CancelScope()

    class Resetter(Victim):
        """Cancels the client's scope, whose reset then cancels the handler; not the handler's own."""

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            if task is self._task:
                if self._count == self.step:
                    client_scope.cancel()
                self._count += 1

    async def ask() -> None:
        with client_scope:
            response = await pair.client.request("POST", "/", body=pattern(7_000), headers=[("x-victim", "1")])
            assert response.body == pattern(7_000) + pattern(4_000)

    async with (
        client_and_server(handler, config=config, server_config=config) as pair,
        neighbour_on(pair) as neighbour,
    ):
        for step in range(1, STEPS_AT_MOST):
            case = handler.case = Resetter(step)
            client_scope = trio.CancelScope()
            await neighbour.talk_beside(ask, pair, step)
            if case.finished and not client_scope.cancelled_caught:
                break
        assert case.finished
    assert caplog.records == []


async def test_a_connection_closes_when_connects_own_scope_is_cancelled(autojump_clock: MockClock) -> None:
    errors: list[trio_h2.H2Error] = []
    client_end, server_end = trio.testing.memory_stream_pair()
    connections: list[trio_h2.ClientConnection] = []
    with trio.fail_after(FOREVER), no_task_left():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio_h2.serve_h2_connection, echo, server_end)
            scope = trio.CancelScope()

            async def own() -> None:
                with scope:
                    async with trio_h2.connect_over(client_end, authority="example.org") as connection:
                        connections.append(connection)
                        await trio.sleep_forever()
                assert scope.cancelled_caught

            async def use() -> None:
                with pytest.raises(trio_h2.ConnectionTerminatedError) as caught:
                    async with connections[0].stream("POST", "/") as stream:
                        await stream.receive_some()
                errors.append(caught.value)

            nursery.start_soon(own)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(use)
            nursery.start_soon(connections[0].wait_closed)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert isinstance(errors[0], trio.ClosedResourceError)
    await connections[0].wait_closed()
    await connections[0].aclose()


CALLS_ON_A_STREAM: list[Callable[[trio_h2.ClientStream], Awaitable[object]]] = [
    lambda stream: stream.send_all(b"x"),
    lambda stream: stream.send_all(bytearray(100_000)),
    lambda stream: stream.wait_send_all_might_not_block(),
    lambda stream: stream.send_trailers([("a", "b")]),
    lambda stream: stream.send_eof(),
    lambda stream: stream.receive_some(),
    lambda stream: stream.read(),
    lambda stream: stream.response(),
    lambda stream: stream.events().__anext__(),
    lambda stream: stream.update_priority(trio_h2.Priority()),
    lambda stream: stream.connection.ping(),
    lambda stream: stream.connection.request("GET", "/"),
    lambda stream: stream.connection.stream("GET", "/").__aenter__(),
    lambda stream: stream.connection.settings_received(),
]


@pytest.mark.parametrize("call", CALLS_ON_A_STREAM)
async def test_who_is_cancelled_with_the_connection_hears_only_of_that(
    call: Callable[[trio_h2.ClientStream], Awaitable[object]], autojump_clock: MockClock
) -> None:
    """`move_on_after` around a connection: its tasks may come to their end before its user does."""
    with trio.CancelScope() as scope:
        async with in_memory(echo) as connection, connection.stream("POST", "/") as stream:
            scope.cancel()
            with trio.CancelScope(shield=True):
                await connection.wait_closed()
                with pytest.raises(trio_h2.ConnectionTerminatedError):
                    await stream.receive_some()
            with pytest.raises(trio.Cancelled):
                await call(stream)
    assert scope.cancelled_caught


async def test_a_handler_that_is_cancelled_hears_only_of_that(autojump_clock: MockClock) -> None:
    calls: list[Callable[[trio_h2.ServerStream], Awaitable[object]]] = [
        lambda stream: stream.respond(200, (), b"x"),
        lambda stream: stream.respond(200),
        lambda stream: stream.send_response(200),
        lambda stream: stream.push("/"),
        lambda stream: stream.read(),
    ]
    done: list[None] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        with pytest.raises(trio.Cancelled):
            await trio.sleep_forever()
        for call in calls:
            with pytest.raises(trio.Cancelled):
                await call(stream)
            done.append(None)
        await trio.lowlevel.checkpoint()

    async with in_memory(handler) as connection, connection.stream("POST", "/"):
        await trio.testing.wait_all_tasks_blocked()
    assert len(done) == len(calls)


async def test_cancelled_at_once_leaves_nothing(autojump_clock: MockClock) -> None:
    for step in range(30):
        client_end, server_end = trio.testing.memory_stream_pair()
        case = Victim(step)

        async def life(transport: trio.abc.Stream = client_end) -> None:
            async with trio_h2.connect_over(transport, authority="example.org") as connection:
                await connection.request("POST", "/", body=b"x")

        with no_task_left():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio_h2.serve_h2_connection, echo, server_end)
                await case.run(life)
    assert case.finished


async def test_serve_h2_connection_cancelled_at_every_checkpoint(autojump_clock: MockClock) -> None:
    for step in range(30):
        client_end, server_end = trio.testing.memory_stream_pair()
        case = Victim(step)

        async def life(transport: trio.abc.Stream = server_end) -> None:
            await trio_h2.serve_h2_connection(echo, transport)

        with no_task_left():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(case.run, life)
                async with trio_h2.connect_over(client_end, authority="example.org") as connection:
                    try:
                        assert (await connection.request("POST", "/", body=b"x")).body == b"x"
                    except trio_h2.ConnectionTerminatedError as error:
                        assert isinstance(error, trio.BrokenResourceError)
    assert case.finished


async def test_cancelled_while_waiting_for_a_slot_nothing_is_sent(autojump_clock: MockClock) -> None:
    async with raw_server(settings={3: 1}) as (connection, peer):
        async with connection.stream("GET", "/first"):
            with trio.move_on_after(1) as scope:
                await connection.request("POST", "/second", body=b"x")
            assert scope.cancelled_caught
            with trio.move_on_after(1) as scope:
                async with connection.stream("GET", "/third"):
                    pass
            assert scope.cancelled_caught
            frames = await peer.sync()
            assert [frame.stream_id for frame in peer.log if type(frame) is HeadersFrame] == [1]
            assert of(frames, RstStreamFrame) == []
        assert await peer.expect_rst(1) == ErrorCodes.CANCEL


async def test_a_cancelled_upload_sends_what_was_cut_and_one_reset(autojump_clock: MockClock) -> None:
    async with raw_server(settings={4: 1_000}) as (connection, peer):
        with trio.move_on_after(1):
            await connection.request("POST", "/", body=bytes(5_000))
        frames = await peer.sync()
        assert sum(len(frame.data) for frame in of(peer.log, DataFrame)) == 1_000
        assert [frame.error_code for frame in of(peer.log, RstStreamFrame)] == [ErrorCodes.CANCEL]
        assert type(frames[-1]) is RstStreamFrame


async def test_a_cancelled_send_all_withdraws_the_rest_and_breaks_the_half(autojump_clock: MockClock) -> None:
    async with raw_server(settings={4: 1_000}) as (connection, peer), connection.stream("POST", "/") as stream:
        with trio.move_on_after(1):
            await stream.send_all(b"a" * 5_000)
        await peer.send(peer.window_update(1, 100_000))
        await peer.sync()
        for call in (partial(stream.send_all, b"b"), stream.send_eof, partial(stream.send_trailers, [("a", "b")])):
            with pytest.raises(StreamClosedError, match="broken") as caught:
                await call()
            assert isinstance(caught.value, trio.BrokenResourceError)
        await peer.send(peer.headers(1, OK))
        await stream.response()
        assert body_of(await peer.sync(), 1) == b""
        assert body_of(peer.log, 1) == b"a" * 1_000


@pytest.mark.parametrize("method", ["POST", "CONNECT"])
async def test_a_clients_half_that_was_cut_off_ends_with_a_reset(method: str, autojump_clock: MockClock) -> None:
    async with raw_server(settings={4: 1_000}) as (connection, peer):
        async with connection.stream(method, "/" if method == "POST" else "example.org:80") as stream:
            await peer.send(peer.headers(1, OK))
            await stream.response()
            with trio.move_on_after(1):
                await stream.send_all(bytes(5_000))
        assert await peer.expect_rst(1) == ErrorCodes.INTERNAL_ERROR
        assert not any("END_STREAM" in frame.flags for frame in of(peer.log, DataFrame))


async def test_no_reset_once_both_sides_have_ended(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        with trio.CancelScope() as scope:
            async with connection.stream("GET", "/"):
                await peer.send(peer.headers(1, OK), peer.data(1, b"unread", end_stream=True))
                await peer.sync()
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert of(await peer.sync(), RstStreamFrame) == []


async def test_no_reset_after_the_peers_reset(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        async with connection.stream("POST", "/"):
            await peer.sync()
            await peer.send(peer.rst(1))
            await peer.sync()
        assert of(await peer.sync(), RstStreamFrame) == []


async def test_a_generator_that_makes_a_body_is_closed_before_request_returns(autojump_clock: MockClock) -> None:
    closed = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            while True:
                yield bytes(100_000)
        finally:
            closed = True

    generator = body()
    async with raw_server() as (connection, _):
        with trio.move_on_after(1):
            await connection.request("POST", "/", body=generator)
        assert closed
    await generator.aclose()  # type: ignore[attr-defined]


async def test_a_bodys_iterator_is_left_before_request_returns(autojump_clock: MockClock) -> None:
    inside = False

    class Body:
        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal inside
            inside = True
            try:
                while True:
                    yield b"x"
                    try:
                        await trio.sleep(1)
                    finally:
                        with trio.CancelScope(shield=True):
                            await trio.sleep(3)
            finally:
                inside = False

    async with client_and_server(echo) as pair:
        start = trio.current_time()
        with trio.move_on_after(0.5):
            await pair.client.request("POST", "/", body=Body())
        assert not inside
        assert trio.current_time() - start == pytest.approx(3.5)
        assert (await pair.client.request("POST", "/", body=b"y")).body == b"y"


async def test_a_cancelled_handler_outlives_its_reset_and_holds_its_permit(autojump_clock: MockClock) -> None:
    running = 0
    most = 0

    async def handler(stream: trio_h2.ServerStream) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            await hello(stream)
        finally:
            running -= 1

    async with raw_client(handler, config=Config(max_concurrent_streams=3)) as peer:
        for stream_id in range(1, 13, 2):
            await peer.send(peer.headers(stream_id, GET, end_stream=True))
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(peer.rst(stream_id))
            await trio.testing.wait_all_tasks_blocked()
        await peer.send(peer.headers(13, POST, end_stream=True))
        await peer.expect(HeadersFrame, stream_id=13)
    assert most == 3
    assert running == 0


class Interrupter(trio.abc.Instrument):
    """Presses Ctrl-C before step number `step` of any task."""

    def __init__(self, step: int) -> None:
        self._left = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_at_every_step_leaves_unwrapped_and_leaves_nothing() -> None:
    async def life() -> bool:
        client_end, server_end = trio.testing.memory_stream_pair()
        # A system task: a nursery of ours would wrap what leaves the block.
        trio.lowlevel.spawn_system_task(trio_h2.serve_h2_connection, everything, server_end)
        before = trio.lowlevel.current_statistics().tasks_living
        try:
            with trio.fail_after(FOREVER):
                async with trio_h2.connect_over(client_end, authority="example.org") as connection:
                    response = await connection.request("POST", "/", body=Chunks())
                    assert len(response.body) == 7_500 + 4_000
                    async with connection.stream("POST", "/") as stream:
                        await stream.send_all(b"x")
                        await stream.send_eof()
                        await read_all(stream)
        finally:
            # The server may be a handler's task ahead, or at its end already; of the client nothing is left.
            assert trio.lowlevel.current_statistics().tasks_living <= before + 3
        return True

    interrupted = 0
    for step in range(1, 2_000):
        clock = MockClock(autojump_threshold=0)
        try:
            if trio.run(life, clock=clock, instruments=[Interrupter(step)]) and step > 150:
                break
        except KeyboardInterrupt:
            interrupted += 1
    assert interrupted > 20
    assert step < 1_999
