"""A stream's inbox: what tiny frames cost, and that credit balances to the octet however a stream ends.

Frames are given to the connection's actor in one step here, so that what happens next happens in the same turn of
trio's loop: an item is on its way to the waiting reader then, which has not run.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
import trio.testing
from hyperframe.frame import HeadersFrame
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import (
    GET,
    OK,
    POST,
    RawPeer,
    at_rest,
    client_and_server,
    raw_client,
    raw_server,
    read_all,
    whole_reads,
)
from tests.engine.test_memory import peak
from tests.frames import rst_stream
from trio_h2 import Config, StreamResetError

MIB = 1024 * 1024
MILLION = 1_000_000
FRAMES = MILLION if os.environ.get("TRIO_H2_FULL") else 50_000
CONFIG = Config(initial_window_size=MIB, connection_window_size=2 * MIB)


@dataclass
class Download:
    """A stream whose response's body comes in frames of one octet.

    Attributes:
        errors: what its reader, which reads on to the end, was raised.
        taken: how many octets were read.
    """

    connection: trio_h2.ClientConnection
    stream: trio_h2.ClientStream
    peer: RawPeer
    errors: list[Exception]
    taken: int = 0

    async def receive(self, frames: bytes) -> None:
        """Let the engine have frames, without a turn of the loop for anybody else."""
        await self.connection._actor.receive(frames)

    async def receive_body(self, count: int) -> None:
        frame = self.peer.data(1, b"x")
        while count:
            some = min(count, 1_000)
            await self.receive(frame * some)
            count -= some

    async def read_on(self) -> None:
        """Read to the end, in pieces that leave a part of a chunk behind."""
        try:
            async for data in self.stream:
                self.taken += len(data)
        except Exception as error:
            self.errors.append(error)

    async def check_balance(self) -> None:
        """Every octet that was received is credit again: here, and at the peer when a PING has been answered."""
        await self.peer.sync()
        window = self.connection.statistics().inbound_window
        assert at_rest(window)
        assert self.connection.statistics().unread == 0


@asynccontextmanager
async def download() -> AsyncIterator[Download]:
    whole_reads()
    async with raw_server(config=CONFIG) as (connection, peer), connection.stream("GET", "/") as stream:
        await peer.sync()
        download = Download(connection, stream, peer, [])
        await download.receive(peer.headers(1, OK))
        await stream.response()
        yield download


async def receive_a_million() -> int:
    """By how many octets the most memory that this program has had grows with a million frames that nobody reads."""
    async with download() as it:
        await it.receive_body(1_000)
        before = peak()
        await it.receive_body(MILLION - 1_000)
        growth = peak() - before
        assert it.connection.statistics().streams[0].unread == MILLION
        await it.stream.reset()
        await it.check_balance()
    return growth


def test_a_million_frames_of_one_octet_that_nobody_reads() -> None:
    code = "import trio; from tests.engine.test_inbox import receive_a_million; print(trio.run(receive_a_million))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == 0, finished.stderr
    assert int(finished.stdout) <= 2 * MIB


@pytest.mark.parametrize("ending", ["closed", "reset and read", "reset and closed", "lost and read"])
@pytest.mark.parametrize("reader", ["waits", "does not wait", "has taken half a chunk"])
async def test_credit_balances_to_the_octet(reader: str, ending: str, autojump_clock: MockClock) -> None:
    async with download() as it, trio.open_nursery() as nursery:
        if reader == "waits":
            nursery.start_soon(it.read_on)
            await trio.testing.wait_all_tasks_blocked()
        await it.receive_body(FRAMES)
        if reader == "has taken half a chunk":
            it.taken += len(await it.stream.receive_some(FRAMES // 3))
            assert it.taken == FRAMES // 3
        if ending.startswith("reset"):
            await it.receive(it.peer.rst(1))
        if ending.startswith("lost"):
            await it.peer.transport.aclose()
            await trio.testing.wait_all_tasks_blocked()
        if ending.endswith("read"):
            if reader == "waits":
                await trio.testing.wait_all_tasks_blocked()
            else:
                await it.read_on()
            assert it.taken == FRAMES
        else:
            await it.stream.aclose()  # the reader that waits has been handed a chunk, and has not run
            await trio.testing.wait_all_tasks_blocked()
            assert it.taken == (FRAMES // 3 if reader == "has taken half a chunk" else 0)
        if reader == "waits" or ending.endswith("read"):
            (error,) = it.errors
            assert isinstance(error, trio_h2.H2Error)
            # Closed here it says so, whatever the peer did before.
            closed = trio.BrokenResourceError if ending.endswith("read") else trio.ClosedResourceError
            assert isinstance(error, closed)
        if ending.startswith("lost"):
            assert at_rest(it.connection.statistics().inbound_window)
        else:
            await it.check_balance()


async def test_frames_that_come_before_a_reader_runs_join_the_chunk_on_its_way(autojump_clock: MockClock) -> None:
    async with download() as it, trio.open_nursery() as nursery:
        chunks: list[bytes] = []

        async def read_one() -> None:
            chunks.append(await it.stream.receive_some())

        nursery.start_soon(read_one)
        await trio.testing.wait_all_tasks_blocked()
        for octets in (b"on", b"e ", b"chunk"):
            await it.receive(it.peer.data(1, octets))
        await trio.testing.wait_all_tasks_blocked()
        assert chunks == [b"one chunk"]


async def test_a_chunk_that_was_seen_is_not_joined(autojump_clock: MockClock) -> None:
    async with download() as it:
        await it.receive(it.peer.data(1, b"first"))
        assert await it.stream.receive_some(2) == b"fi"
        await it.receive(it.peer.data(1, b"second"))
        assert it.connection.statistics().unread == len(b"rstsecond")
        assert await it.stream.receive_some() == b"rstsecond"


async def test_data_does_not_pass_an_event(autojump_clock: MockClock) -> None:
    async with raw_server(config=CONFIG) as (connection, peer), connection.stream("POST", "/") as stream:
        whole_reads()
        await peer.sync()
        events = aiter(stream.events())
        received: list[trio_h2.events.Event] = []

        async def read() -> None:
            received.extend([event async for event in events])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            frames = [peer.headers(1, OK)]
            for octets in (b"1", b"2", b"3"):
                frames += [peer.data(1, octets), peer.window_update(1, 7)]
            await connection._actor.receive(b"".join([*frames, peer.data(1, end_stream=True)]))
        response, one, update, rest, end = received
        assert isinstance(response, trio_h2.events.ResponseReceived)
        assert isinstance(one, trio_h2.events.DataReceived)
        assert one.data == b"1"
        assert isinstance(update, trio_h2.events.WindowUpdated)
        assert update.delta == 21
        assert isinstance(rest, trio_h2.events.DataReceived)
        assert rest.data == b"23"
        assert isinstance(end, trio_h2.events.StreamEnded)


async def test_a_reader_that_is_cancelled_as_it_is_handed_a_chunk_loses_nothing(autojump_clock: MockClock) -> None:
    async with download() as it:
        chunks: list[bytes] = []
        scope = trio.CancelScope()

        async def read_one() -> None:
            with scope:
                chunks.append(await it.stream.receive_some(2))
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_one)
            await trio.testing.wait_all_tasks_blocked()
            await it.receive(it.peer.data(1, b"hello"))
            scope.cancel()
        assert chunks == [b"he"]
        assert scope.cancelled_caught
        assert await it.stream.receive_some() == b"llo"
        await it.check_balance()


@pytest.fixture
def channels(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The sizes of the memory channels that are opened from here on."""
    opened: list[float] = []
    open_memory_channel = trio.open_memory_channel

    class Counted:
        def __class_getitem__(cls, _: object) -> type[Counted]:
            return cls

        def __new__(cls, size: float) -> object:
            opened.append(size)
            return open_memory_channel(size)

    monkeypatch.setattr(trio, "open_memory_channel", Counted)
    return opened


async def test_a_channel_opens_for_what_it_carries_or_who_waits(
    autojump_clock: MockClock, channels: list[float]
) -> None:
    async with raw_server(config=CONFIG) as (connection, peer):
        await peer.sync()
        channels.clear()
        async with connection.stream("POST", "/") as stream:
            await stream.send_all(b"hello")
            await peer.sync()
            assert channels == []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.response)
                await trio.testing.wait_all_tasks_blocked()
                assert channels == [math.inf]
                await peer.send(peer.headers(1, OK), peer.data(1, b"body", end_stream=True))
            assert await read_all(stream) == b"body"
        assert channels == [math.inf]


async def test_a_request_without_a_body_opens_no_channel(autojump_clock: MockClock, channels: list[float]) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        assert await stream.receive_some() == b""
        await stream.respond(204)

    async with raw_client(handler) as peer:
        await peer.sync()
        channels.clear()
        await peer.send(peer.headers(1, GET, end_stream=True))
        frames = await peer.sync()
        assert [frame.stream_id for frame in frames if "END_STREAM" in frame.flags] == [1]
        assert channels == []


@pytest.mark.parametrize("ending", ["END_STREAM", "RST_STREAM"])
async def test_events_of_a_stream_closed_here_do_not_end_as_if_all_was_given(
    ending: str, autojump_clock: MockClock
) -> None:
    async with raw_server() as (connection, peer), connection.stream("GET", "/") as stream:
        await peer.expect(HeadersFrame)
        end = peer.data(1, end_stream=True) if ending == "END_STREAM" else peer.rst(1)
        await peer.send(peer.headers(1, OK), peer.data(1, b"never taken"), end)
        await peer.sync()
        events = aiter(stream.events())
        assert isinstance(await anext(events), trio_h2.ResponseReceived)
        await stream.aclose()
        for _ in range(2):
            with pytest.raises(trio.ClosedResourceError) as caught:
                await anext(events)
            assert isinstance(caught.value, trio_h2.H2Error)


async def test_nothing_follows_the_end_in_events(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), connection.stream("POST", "/") as stream:
        await peer.expect(HeadersFrame)
        events = aiter(stream.events())
        await peer.send(peer.headers(1, OK))
        assert isinstance(await anext(events), trio_h2.ResponseReceived)
        await peer.send(peer.data(1, end_stream=True), peer.window_update(1, 7))
        await peer.sync()
        assert isinstance(await anext(events), trio_h2.StreamEnded)
        await peer.send(peer.window_update(1, 7))
        await peer.sync()
        await stream.aclose()
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await anext(events)


async def test_a_channel_is_used_again_when_nothing_is_left_in_it(
    autojump_clock: MockClock, channels: list[float]
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, body=b"".join([chunk async for chunk in stream]))

    async with client_and_server(handler) as pair:
        await pair.client.request("POST", "/", body=b"the first")
        channels.clear()
        for number in range(10):
            body = b"%d" % number
            assert (await pair.client.request("POST", "/", body=body)).body == body
        assert channels == []


@pytest.mark.parametrize("left", ["an item", "a part of an item", "a reader that was handed an item", "a reset"])
async def test_what_a_stream_leaves_in_its_channel_never_reaches_another(left: str, autojump_clock: MockClock) -> None:
    async with raw_server(config=CONFIG) as (connection, peer):
        await peer.sync()
        async with connection.stream("GET", "/") as stream, trio.open_nursery() as nursery:
            await peer.send(peer.headers(1, OK))
            await stream.response()
            if left == "a reader that was handed an item":
                nursery.start_soon(read_nothing, stream)
                await trio.testing.wait_all_tasks_blocked()
            await connection._actor.receive(peer.data(1, b"of the first"))
            if left == "a part of an item":
                assert await stream.receive_some(2) == b"of"
            if left == "a reset":
                await connection._actor.receive(rst_stream(1))
            await stream.aclose()
        async with connection.stream("GET", "/") as stream:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.response)
                await trio.testing.wait_all_tasks_blocked()
                await peer.send(peer.headers(3, OK), peer.data(3, b"of the second", end_stream=True))
            assert await read_all(stream) == b"of the second"


async def read_nothing(stream: trio_h2.ClientStream) -> None:
    """Read, and be told that the stream was closed here."""
    with pytest.raises(StreamResetError):
        await stream.receive_some()


async def test_a_reset_is_the_last_event_after_the_handler_that_it_cancelled(autojump_clock: MockClock) -> None:
    streams: list[trio_h2.ServerStream] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        streams.append(stream)
        await trio.sleep_forever()

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET))
        await peer.sync()
        await peer.send(peer.rst(1))
        await peer.sync()
        events = aiter(streams[0].events())
        assert isinstance(await anext(events), trio_h2.StreamReset)
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_a_body_read_as_it_comes_in_tiny_pieces_is_kept_in_large_ones(autojump_clock: MockClock) -> None:
    """However a peer times its frames: two octets in an object of their own would take 28 times as much memory."""
    pieces = [b"%02d" % (count % 100) for count in range(40_000)]
    body: list[bytes | bytearray] = []
    async with download() as it, trio.open_nursery() as nursery:
        nursery.start_soon(it.stream._actor.inbox.receive_message, body, None)
        for piece in pieces:
            await trio.lowlevel.checkpoint()
            await it.receive(it.peer.data(1, piece))
        await trio.testing.wait_all_tasks_blocked()
        assert len(body) == 2
        await it.receive(it.peer.data(1, end_stream=True))
    assert b"".join(body) == b"".join(pieces)


@pytest.mark.parametrize("max_bytes", [None, 3_000, 3_001, 100])
async def test_what_is_waited_for_is_taken_as_what_is_there(max_bytes: int | None, autojump_clock: MockClock) -> None:
    """The fast path of a chunk that comes alone, and the other: the same pieces, and the same credit."""
    pieces: dict[str, list[bytes]] = {"waited for": [], "there": []}
    come = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        how = stream.request.headers["how"]
        if how == "there":
            await come.wait()
        while piece := await stream.receive_some(max_bytes):
            pieces[how].append(piece)
        await stream.respond(200)

    async with raw_client(handler) as peer:
        for stream_id, how in ((1, "waited for"), (3, "there")):
            await peer.send(peer.headers(stream_id, [*POST, ("how", how)]))
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(peer.data(stream_id, b"x" * 3_000))
            await trio.testing.wait_all_tasks_blocked()
            come.set()
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(peer.data(stream_id, b"y" * 3_001), peer.data(stream_id, b"z", end_stream=True))
            await peer.expect(HeadersFrame, stream_id=stream_id)
    assert pieces["waited for"] == pieces["there"]
    assert b"".join(pieces["there"]) == b"x" * 3_000 + b"y" * 3_001 + b"z"
