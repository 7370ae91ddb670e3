"""What happens to a handler that runs when its client goes away, or when its server is shut down."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import trio_h2
from trio_h2 import ErrorCodes
from trio_h2.testing import in_memory

from .helpers import FOREVER, POST, MemoryListener, RawPeer, raw_client, serving

# Why it is cancelled


async def goes_away(peer: RawPeer) -> None:
    await peer.transport.aclose()


async def resets(peer: RawPeer) -> None:
    await peer.send(peer.rst(1, ErrorCodes.CANCEL))


async def resets_with_a_code_that_nobody_knows(peer: RawPeer) -> None:
    await peer.send(peer.rst(1, 0xBAD))


async def breaks_a_rule_of_the_stream(peer: RawPeer) -> None:
    await peer.send(peer.window_update(1, 0))


async def breaks_a_rule_of_the_connection(peer: RawPeer) -> None:
    await peer.send(peer.data(3, b"x"))


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (goes_away, "the peer closed the transport"),
        (resets, "stream 1 was reset by the peer: CANCEL"),
        (resets_with_a_code_that_nobody_knows, "stream 1 was reset by the peer: error code 0xbad"),
        (
            breaks_a_rule_of_the_stream,
            "stream 1 was reset by this library: PROTOCOL_ERROR: a WINDOW_UPDATE of 0",
        ),
        (breaks_a_rule_of_the_connection, "RECV_DATA on idle stream 3"),
    ],
)
async def test_a_handler_is_told_why_it_is_cancelled(
    what: Callable[[RawPeer], Awaitable[None]], reason: str, autojump_clock: MockClock
) -> None:
    told: list[str] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            told.append(str(cancelled))
            raise

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST))
        await peer.sync()
        await what(peer)
        await trio.sleep(1)
    assert len(told) == 1
    assert f"with reason {reason!r}" in told[0]


async def test_at_the_end_of_the_grace_the_reason_is_the_shutdown_of_its_connection(autojump_clock: MockClock) -> None:
    """And not of its server, which may go on."""
    told: list[str] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        connections.append(stream.connection)
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            told.append(str(cancelled))
            raise

    connections: list[trio_h2.ServerConnection] = []
    async with in_memory(handler) as client, client.stream("GET", "/"):
        await trio.testing.wait_all_tasks_blocked()
        await connections[0].shutdown(1)
    assert len(told) == 1
    assert "with reason 'the connection was shut down'" in told[0]


# A handler that shuts its server down


class Site:
    """A server with a path for each way to go on, and what came of them.

    `/stop` shuts the server down and then answers; `/after` is answered after `delay` seconds, `/never` never.

    Attributes:
        log: what happened, and how many seconds after the beginning.
    """

    def __init__(self, grace: float, *, delay: float = 1) -> None:
        self.grace = grace
        self.delay = delay
        self.log: list[tuple[str, float]] = []
        self._began = trio.current_time()
        self._server: trio_h2.H2Server | None = None
        self._to_come = 0
        self._all_here = trio.Event()

    def note(self, what: str) -> None:
        self.log.append((what, round(trio.current_time() - self._began, 3)))

    def when(self, what: str) -> float:
        """Seconds to the moment of what happened once."""
        (time,) = [time for happened, time in self.log if happened == what]
        return time

    async def handler(self, stream: trio_h2.ServerStream) -> None:
        path = stream.request.path
        assert path is not None
        self._to_come -= 1
        if not self._to_come:
            self._all_here.set()
        await self._all_here.wait()
        try:
            await getattr(self, path[1:])(stream)
            self.note(f"{path} has ended")
        except trio.Cancelled:
            self.note(f"{path} was cancelled")
            raise

    async def shut_down(self, stream: trio_h2.ServerStream) -> None:
        if self._server is None:
            await stream.connection.shutdown(self.grace)
        else:
            await self._server.shutdown(self.grace)
        self.note("shut down")

    async def stop(self, stream: trio_h2.ServerStream) -> None:
        await self.shut_down(stream)
        await stream.respond(200, (), b"stopped")

    async def stop_in_a_task(self, stream: trio_h2.ServerStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.shut_down, stream)
        await stream.respond(200, (), b"stopped")

    async def stop_and_hang(self, stream: trio_h2.ServerStream) -> None:
        await self.shut_down(stream)
        await trio.sleep_forever()

    async def give_up(self, stream: trio_h2.ServerStream) -> None:
        with trio.move_on_after(0.5):
            await self.shut_down(stream)
        await trio.sleep(self.delay)
        await stream.respond(200, (), b"given up")

    async def after(self, stream: trio_h2.ServerStream) -> None:
        await trio.sleep(self.delay)
        await stream.respond(200, (), b"late")

    async def never(self, stream: trio_h2.ServerStream) -> None:
        await trio.sleep_forever()

    async def request(self, connection: trio_h2.ClientConnection, path: str) -> None:
        try:
            response = await connection.request("GET", f"/{path}")
        except trio_h2.H2Error:
            self.note(f"/{path} failed")
        else:
            self.note(f"{response.status} {response.body.decode()}")

    async def run(self, *connections: Sequence[str]) -> None:
        """Make each connection's requests, in order, and wait for the server's end."""
        listener = MemoryListener()
        self._to_come = sum(map(len, connections))
        async with serving(self.handler, listener) as (self._server, _, nursery):
            self._began = trio.current_time()
            for paths in connections:
                nursery.start_soon(self._be_client, listener.connect(), paths)
        self.note("served")

    async def run_alone(self, *paths: str) -> None:
        """As `run`, with `serve_h2_connection` and its connection's own shutdown."""
        ours, theirs = trio.testing.memory_stream_pair()
        self._to_come = len(paths)
        with trio.fail_after(FOREVER):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio_h2.serve_h2_connection, self.handler, theirs)
                self._began = trio.current_time()
                nursery.start_soon(self._be_client, ours, paths)
        self.note("served")

    async def _be_client(self, transport: trio.abc.Stream, paths: Sequence[str]) -> None:
        async with trio_h2.connect_over(transport, authority="example.org") as connection:
            async with trio.open_nursery() as nursery:
                for path in paths:
                    nursery.start_soon(self.request, connection, path)


@pytest.mark.parametrize("grace", [0, 0.1, 5, math.inf])
@pytest.mark.parametrize("how", ["stop", "stop_in_a_task"])
async def test_a_handler_that_shuts_its_server_down_may_answer(
    how: str, grace: float, autojump_clock: MockClock
) -> None:
    site = Site(grace)
    await site.run([how])
    assert [what for what, _ in site.log] == ["shut down", f"/{how} has ended", "200 stopped", "served"]
    assert site.log[-1][1] < 0.1


@pytest.mark.parametrize(
    "connections", [[["after", "stop"]], [["after"], ["stop"]], [["after"], [], ["after", "stop"]]]
)
async def test_it_waits_for_every_other_stream(connections: list[list[str]], autojump_clock: MockClock) -> None:
    site = Site(10)
    await site.run(*connections)
    assert site.when("shut down") == site.when("served") == pytest.approx(1, abs=0.01)
    assert ("200 late", 1) in site.log
    assert ("200 stopped", site.when("shut down")) in site.log


@pytest.mark.parametrize("grace", [0, 1, 10])
@pytest.mark.parametrize("connections", [[["never", "stop"]], [["never"], ["stop"]], [["never"], ["never", "stop"]]])
async def test_it_waits_no_longer_than_its_grace_and_still_may_answer(
    connections: list[list[str]], grace: float, autojump_clock: MockClock
) -> None:
    site = Site(grace)
    await site.run(*connections)
    assert ("/never failed", site.when("shut down")) in site.log
    assert 0.85 * grace <= site.when("shut down") <= grace + 0.051
    assert ("200 stopped", site.when("served")) in site.log
    assert site.when("served") <= grace + 0.1


@pytest.mark.parametrize(
    "connections", [[["stop", "stop"]], [["stop"], ["stop"]], [["stop", "after"], ["stop", "stop"]]]
)
async def test_handlers_that_both_shut_their_server_down_do_not_wait_for_each_other(
    connections: list[list[str]], autojump_clock: MockClock
) -> None:
    site = Site(10)
    await site.run(*connections)
    stops = sum(paths.count("stop") for paths in connections)
    assert [what for what, _ in site.log].count("200 stopped") == stops
    assert site.when("served") == pytest.approx(max(1 if "after" in paths else 0 for paths in connections), abs=0.01)


async def test_a_handler_that_never_answers_after_its_shutdown_is_cut_off(autojump_clock: MockClock) -> None:
    """The deadline holds for it, too, with a moment in which it may answer."""
    site = Site(3)
    await site.run(["stop_and_hang"])
    assert site.when("shut down") < 0.1
    assert site.when("/stop_and_hang failed") == site.when("served") == pytest.approx(3.25, abs=0.01)


async def test_a_handler_that_gave_its_shutdown_up_is_a_stream_like_any_other(autojump_clock: MockClock) -> None:
    site = Site(10, delay=3)
    await site.run(["give_up"], ["stop", "never"])
    assert ("200 given up", 3.5) in site.log
    assert site.when("shut down") == pytest.approx(9.5, abs=0.01)
    site = Site(10, delay=3)
    await site.run(["give_up", "stop", "after"])
    assert ("200 given up", 3.5) in site.log
    assert site.when("shut down") == pytest.approx(3.5, abs=0.01)
    site = Site(2, delay=3)
    await site.run(["give_up"], ["never"])
    assert site.when("/give_up failed") <= 2


async def test_a_task_that_outlives_its_handler_waits_for_all(autojump_clock: MockClock) -> None:
    site = Site(10)

    async def later(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(0.5)
        await site.shut_down(stream)

    async with trio.open_nursery() as nursery:

        async def leave_a_task(stream: trio_h2.ServerStream) -> None:
            nursery.start_soon(later, stream)
            await stream.respond(200, (), b"left")

        site.leave_a_task = leave_a_task  # type: ignore[attr-defined]
        await site.run(["after", "leave_a_task"])
    assert site.when("shut down") == site.when("served") == 1


async def test_a_shutdown_that_its_server_does_not_see_to_any_more_is_over_with_its_grace(
    autojump_clock: MockClock,
) -> None:
    """Connections in a nursery of the user's outlive a server that is cancelled, and so do handlers that wait."""
    site = Site(2)
    listener = MemoryListener()
    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as servers:
                    site._server = await servers.start(
                        partial(trio_h2.serve_h2_listeners, site.handler, [listener], handler_nursery=nursery)
                    )
                    site._to_come = 2
                    nursery.start_soon(site._be_client, listener.connect(), ["stop", "never"])
                    await trio.sleep(1)
                    scope.cancel()
            await trio.sleep(5)
            assert site.when("shut down") == pytest.approx(2.05)
            nursery.cancel_scope.cancel()


async def test_a_handler_of_http1_that_shuts_its_server_down_may_answer(autojump_clock: MockClock) -> None:
    """It is not waited for by its own call, nor by another's; one that does not shut down is."""
    site = Site(10)
    answered: list[tuple[bytes, float]] = []

    async def http1(transport: trio.abc.Stream) -> None:
        request = await transport.receive_some()
        if request.startswith(b"GET /stop"):
            assert site._server is not None
            await site._server.shutdown(10)
        else:
            await trio.sleep(2)
        await transport.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")

    async def ask(path: bytes) -> None:
        transport = listener.connect()
        await transport.send_all(b"GET %s HTTP/1.1\r\n\r\n" % path)
        assert await transport.receive_some() == b"HTTP/1.1 204 No Content\r\n\r\n"
        answered.append((path, trio.current_time() - began))

    async with serving(site.handler, http1=http1) as (site._server, listener, nursery):
        began = trio.current_time()
        site._to_come = 2
        nursery.start_soon(site._be_client, listener.connect(), ["stop", "after"])
        for path in (b"/slow", b"/stop", b"/stop"):
            nursery.start_soon(ask, path)
    assert [path for path, _ in answered] == [b"/slow", b"/stop", b"/stop"]
    assert answered[-1][1] == site.when("shut down") == pytest.approx(2, abs=0.01)


# A handler that shuts its connection down


@pytest.mark.parametrize("grace", [0, 0.1, 5, math.inf])
@pytest.mark.parametrize("how", ["stop", "stop_in_a_task"])
async def test_a_handler_that_shuts_its_connection_down_may_answer(
    how: str, grace: float, autojump_clock: MockClock
) -> None:
    site = Site(grace)
    await site.run_alone(how)
    assert [what for what, _ in site.log] == ["shut down", f"/{how} has ended", "200 stopped", "served"]
    assert site.log[-1][1] < 0.1


@pytest.mark.parametrize("grace", [0, 1, 10])
async def test_a_connections_shutdown_waits_for_other_streams_within_its_grace(
    grace: float, autojump_clock: MockClock
) -> None:
    site = Site(grace, delay=0.5)
    await site.run_alone("after", "stop", "stop")
    assert [what for what, _ in site.log].count("200 stopped") == 2
    assert site.when("served") == pytest.approx(min(grace, 0.5), abs=0.1)
    site = Site(grace)
    await site.run_alone("never", "stop")
    assert 0.85 * grace <= site.when("/never failed") <= grace + 0.051
    assert ("200 stopped", site.when("served")) in site.log


async def test_a_handler_that_never_answers_after_its_connections_shutdown_is_cut_off(
    autojump_clock: MockClock,
) -> None:
    site = Site(3)
    await site.run_alone("stop_and_hang")
    assert site.when("shut down") < 0.1
    assert 3 <= site.when("/stop_and_hang failed") == site.when("served") <= 3.3


async def test_a_connections_shutdown_that_was_given_up(autojump_clock: MockClock) -> None:
    site = Site(10, delay=3)
    await site.run_alone("give_up", "stop", "after")
    assert ("200 given up", 3.5) in site.log
    assert site.when("served") == 3.5


@pytest.mark.parametrize("grace", [0, 1])
async def test_a_sooner_shutdown_cuts_off_a_handler_that_asked_for_a_later_one(
    grace: float, autojump_clock: MockClock
) -> None:
    connections: list[trio_h2.ServerConnection] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        connections.append(stream.connection)
        await stream.connection.shutdown(100)
        await trio.sleep_forever()

    async with in_memory(handler) as client, client.stream("GET", "/") as stream:
        await trio.sleep(5)
        await connections[0].shutdown(grace)
        assert trio.current_time() == pytest.approx(5.2 + grace, abs=0.01)
        with pytest.raises(trio_h2.ConnectionTerminatedError):
            await stream.response()
