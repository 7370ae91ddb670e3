"""A read is worked off in slices: nobody holds the loop, and nothing is worked off on a connection that has ended."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import (
    FOREVER,
    GET,
    PREFACE,
    RawPeer,
    client_and_server,
    hello,
    raw_client,
    slices_of_one_frame,
    slow_pair,
    whole_reads,
)
from trio_h2 import Config
from trio_h2.actors.slices import TURN, Slice, Turn


async def turns_while_a_read_is_worked_off() -> int:
    """How often another task has a turn while a hundred requests that came in one read are taken in."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    started = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.path == "/last":
            started.set()

    last = (*GET[:3], (":path", "/last"))
    async with raw_client(handler, config=Config(max_concurrent_streams=200)) as peer, trio.open_nursery() as nursery:
        requests = [peer.headers(stream_id, GET, end_stream=True) for stream_id in range(1, 201, 2)]
        nursery.start_soon(count)
        await peer.send(*requests, peer.headers(201, last, end_stream=True))
        turns = 0
        await started.wait()
        nursery.cancel_scope.cancel()
    return turns


async def test_everybody_has_a_turn_after_every_slice() -> None:
    whole_reads()
    assert await turns_while_a_read_is_worked_off() < 20
    slices_of_one_frame()
    assert await turns_while_a_read_is_worked_off() >= 100


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_all_connections_share_a_turn_of_the_loop() -> None:
    clock = Clock()
    TURN.set(Turn(clock, seconds=1.0))
    one, other = Slice(), Slice()
    assert one.begin()
    assert one.until == 1.0
    clock.now = 0.75
    one.end()
    assert other.begin()
    assert other.until == 1.0
    clock.now = 1.5
    other.end()
    # That it has had its slice of this turn is how a new one is known.
    assert one.begin()
    assert one.until == 2.5
    clock.now = 3.0
    one.end()
    assert not other.begin()


async def test_a_slice_may_be_less_than_what_is_left_of_the_turn() -> None:
    clock = Clock()
    TURN.set(Turn(clock, seconds=1.0))
    client, server = Slice(0.125), Slice()
    assert client.begin()
    assert client.until == 0.125
    clock.now = 0.125
    client.end()
    assert server.begin()
    assert server.until == 1.0


async def test_the_rest_of_a_read_waits_for_some_turns_that_others_use_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slice, "begin", lambda self: False)
    assert 1_000 <= await turns_while_a_read_is_worked_off() < 1_100


async def test_a_slice_is_one_frame_at_least(autojump_clock: MockClock) -> None:
    slices_of_one_frame()
    async with client_and_server(hello) as pair:
        for _ in range(10):
            assert (await pair.client.request("GET", "/")).body == b"hello"


class Ending(trio.abc.Stream):
    """A transport whose write fails in the very turn of the loop in which its read completes, cancelled or not."""

    def __init__(self, data: bytes) -> None:
        self._reads = [PREFACE + RawPeer.settings() + RawPeer.settings(ack=True), data]
        self.now = trio.Event()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if len(self._reads) == 1:
            with trio.CancelScope(shield=True):
                await self.now.wait()
        if not self._reads:
            await trio.sleep_forever()
        return self._reads.pop(0)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.now.wait()
        raise trio.BrokenResourceError("reset by the peer")

    async def wait_send_all_might_not_block(self) -> None:
        raise AssertionError("not used")

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("seed", range(20))
async def test_a_read_that_completes_as_the_connection_ends_starts_nothing_that_stays(
    seed: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whichever task of the two has the first turn, which trio draws by lot."""
    running = 0

    async def handler(stream: trio_h2.ServerStream) -> None:
        nonlocal running
        running += 1
        try:
            await trio.sleep_forever()
        finally:
            running -= 1

    peer = RawPeer(None, client=True)  # type: ignore[arg-type]
    transport = Ending(b"".join(peer.headers(stream_id, GET) for stream_id in range(1, 41, 2)))
    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio_h2.serve_h2_connection, handler, transport)
            await trio.testing.wait_all_tasks_blocked()
            transport.now.set()
    assert running == 0
    assert not caplog.records


async def test_the_rest_of_a_read_is_dropped_when_the_connection_has_ended(autojump_clock: MockClock) -> None:
    slices_of_one_frame()
    started = 0

    async def handler(stream: trio_h2.ServerStream) -> None:
        nonlocal started
        started += 1
        await stream.respond(200)

    slow, other = slow_pair()
    async with raw_client(handler, transports=(other, slow)) as peer:
        slow.break_writes()
        await peer.send(*(peer.headers(stream_id, GET, end_stream=True) for stream_id in range(1, 201, 2)))
        await trio.testing.wait_all_tasks_blocked()
    assert 0 < started < 50


async def test_replies_are_bounded_after_every_slice(autojump_clock: MockClock) -> None:
    slices_of_one_frame()
    connections: list[trio_h2.Connection] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        connections.append(stream.connection)
        await trio.sleep_forever()

    slow, other = slow_pair()
    config = Config(max_queued_replies=10, write_timeout=5)
    async with raw_client(handler, config=config, transports=(other, slow)) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        slow.stop()
        await peer.send(*[peer.ping()] * 1_000)
        await trio.sleep(1)
        assert 0 < connections[0].statistics().write_buffered <= 11 * len(peer.ping())
        await trio.sleep(10)
        assert connections[0].statistics().streams == ()
