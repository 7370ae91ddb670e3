"""What senders write themselves: the same octets as the writer's task would write, without it, and whole."""

from __future__ import annotations

import select
import socket
import ssl
from collections import Counter
from collections.abc import Callable

import pytest
import trio
import trio.testing
from hyperframe.frame import DataFrame, HeadersFrame
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import (
    GET,
    OK,
    POST,
    RawPeer,
    body_of,
    client_and_server,
    echo,
    hello,
    pattern,
    raw_client,
    raw_server,
)
from trio_h2.actors.plain_sockets import plain_socket, read_socket, write_socket
from trio_h2.actors.writer import ENOUGH, HELD_UP

MESSAGE = b"m" * 100


Make = Callable[[trio.SocketStream], trio.abc.Stream]


def plain(stream: trio.SocketStream) -> trio.abc.Stream:
    return stream


def wrapped(stream: trio.SocketStream) -> trio.abc.Stream:
    """Of this nothing is known, so the writer's task writes it."""
    return trio.StapledStream(stream, stream)


def socket_pair(make: Make = plain) -> tuple[trio.abc.Stream, trio.abc.Stream]:
    """Two ends, both made so."""
    one, other = (make(trio.SocketStream(trio.socket.from_stdlib_socket(end))) for end in socket.socketpair())
    return one, other


def plain_ends() -> tuple[trio.SocketStream, trio.SocketStream]:
    one, other = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in socket.socketpair())
    return one, other


class Steps(trio.abc.Instrument):
    """Counts steps, by the names of their tasks."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.of[task.coro.__name__] += 1


async def steps_of_ten_messages(make: Make) -> Counter[str]:
    """There and back, one after the other."""
    steps = Steps()
    async with client_and_server(echo, transports=socket_pair(make)) as pair:
        async with pair.client.stream("POST", "/") as stream:
            await stream.response()
            await trio.testing.wait_all_tasks_blocked()
            trio.lowlevel.add_instrument(steps)
            for _ in range(10):
                await stream.send_all(MESSAGE)
                assert await stream.receive_some() == MESSAGE
            trio.lowlevel.remove_instrument(steps)
    return steps.of


async def test_who_answers_alone_wakes_no_writer(autojump_clock: MockClock) -> None:
    steps = await steps_of_ten_messages(plain)
    assert steps["_run_writer"] <= 2  # the first message is no answer
    assert steps["run_server"] == 20


async def test_of_another_transport_nothing_is_known(autojump_clock: MockClock) -> None:
    steps = await steps_of_ten_messages(wrapped)
    assert steps["_run_writer"] >= 40


async def test_those_who_answer_together_write_together(autojump_clock: MockClock) -> None:
    """The first of them that goes on writes for all, and wakes no writer."""
    steps = Steps()
    async with raw_client(hello, transports=socket_pair()) as peer:
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(steps)
        await peer.send(*(peer.headers(stream_id, GET, end_stream=True) for stream_id in range(1, 21, 2)))
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(steps)
        written = await peer.transport.receive_some(2**16)
        assert written.count(b"hello") == 10
    assert steps.of["_run_writer"] == 0


async def test_forty_messages_leave_before_the_others_are_sent(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        async for message in stream:
            there.append(readable(peers[0].transport))
            await stream.send_all(message)

    def readable(transport: trio.abc.Stream) -> bool:
        assert isinstance(transport, trio.SocketStream)
        return bool(select.select([transport.socket], [], [], 0)[0])

    there: list[bool] = []
    peers: list[RawPeer] = []
    ids = range(1, 121, 2)
    async with raw_client(handler, transports=socket_pair()) as peer:
        peers.append(peer)
        await peer.send(*(peer.headers(stream_id, POST) for stream_id in ids))
        await peer.sync()
        await peer.send(*(peer.data(stream_id, MESSAGE) for stream_id in ids))
        await trio.testing.wait_all_tasks_blocked()
        assert there == [False] * ENOUGH + [True] * (len(ids) - ENOUGH)
        await peer.send(*(peer.data(stream_id, b"", end_stream=True) for stream_id in ids))
        await peer.sync()


async def test_responses_that_end_leave_together(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, (), pattern(1_000))

    ends = plain_ends()
    async with raw_client(handler, transports=ends) as peer:
        await peer.send(*(peer.headers(stream_id, GET, end_stream=True) for stream_id in range(1, 121, 2)))
        await trio.testing.wait_all_tasks_blocked()
        assert len(await ends[0].receive_some(2**20)) > 60_000


async def conversation(make: Make) -> list[bytes]:
    """What a server writes in the course of one."""
    log: list[bytes] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        await (hello if stream.request.method == "GET" else echo)(stream)

    async def answer(peer: RawPeer) -> None:
        await trio.testing.wait_all_tasks_blocked()
        log.append(bytes(await peer.transport.receive_some(2**16)))

    async with raw_client(handler, transports=socket_pair(make)) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await answer(peer)
        await peer.send(peer.headers(3, POST), peer.data(3, MESSAGE))
        await answer(peer)
        for _ in range(400):  # enough of them for a WINDOW_UPDATE
            await peer.send(peer.data(3, MESSAGE))
            await answer(peer)
        await peer.send(peer.data(3, pattern(9_000)))
        await answer(peer)
        await peer.send(peer.data(3, MESSAGE, end_stream=True))
        await answer(peer)
    return log


@pytest.mark.parametrize("size", [20_000, 60_000, 200_000])
async def test_large_chunks_are_cut_whole_as_they_are_cut_in_turns(size: int, autojump_clock: MockClock) -> None:
    """Octets that nobody can change by their sender, those of a buffer in turns; a Trace is told of the same frames."""

    async def sent(make: Callable[[bytes], bytes | bytearray]) -> list[tuple[int, ...]]:
        class Told(trio_h2.Trace):
            def frame_sent(self, connection: object, type: int, flags: int, stream_id: int, length: int) -> None:
                if type == DataFrame.type:
                    told.append((flags, stream_id, length))

        told: list[tuple[int, ...]] = []
        async with client_and_server(reads, transports=socket_pair(), trace=Told()) as pair:
            async with pair.client.stream("POST", "/") as stream:
                await stream.send_all(make(pattern(size)))
                await stream.send_all(make(pattern(size, 1)))
                await stream.send_eof()
                assert await stream.read() == pattern(size) + pattern(size, 1)
        return told

    async def reads(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, (), await stream.read(max_body=2**20))

    assert await sent(bytes) == await sent(bytearray)


async def test_a_large_chunk_wakes_no_writer(autojump_clock: MockClock) -> None:
    steps = Steps()
    async with raw_server(transports=plain_ends()) as (connection, peer):
        async with connection.stream("POST", "/") as stream:
            await trio.testing.wait_all_tasks_blocked()
            trio.lowlevel.add_instrument(steps)
            await stream.send_all(pattern(60_000))
            await trio.testing.wait_all_tasks_blocked()
            trio.lowlevel.remove_instrument(steps)
            frames = [await peer.expect(DataFrame) for _ in range(4)]
            assert body_of(frames, 1) == pattern(60_000)
    assert steps.of["_run_writer"] == 0, steps.of


async def test_both_ways_write_the_same(autojump_clock: MockClock) -> None:
    assert await conversation(plain) == await conversation(wrapped)


async def test_what_a_full_socket_does_not_take_follows(autojump_clock: MockClock) -> None:
    """Nothing is lost, doubled or overtaken (invariant 6)."""
    pieces = [pattern(12_288, seed) for seed in range(100)]

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        for piece in pieces:
            await stream.send_all(piece)
        await stream.send_eof()

    ends = plain_ends()
    ends[1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    wide = {4: 2**30}  # INITIAL_WINDOW_SIZE
    async with raw_client(handler, transports=ends, settings=wide) as peer:
        await peer.send(peer.window_update(0, 2**30), peer.headers(1, GET, end_stream=True))
        await trio.testing.wait_all_tasks_blocked()
        await peer.expect(DataFrame, lambda frame: "END_STREAM" in frame.flags)
        assert body_of(peer.log, 1) == b"".join(pieces)


async def test_a_cancelled_answer_is_written_whole(autojump_clock: MockClock) -> None:
    """Invariant 2: it has left before the call's checkpoint."""

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        async for message in stream:
            with trio.CancelScope() as scope:
                trio.lowlevel.spawn_system_task(cancel, scope)
                await stream.send_all(message)
            assert not scope.cancelled_caught
        await stream.send_eof()

    async def cancel(scope: trio.CancelScope) -> None:
        scope.cancel()

    async with raw_client(handler, transports=socket_pair()) as peer:
        await peer.send(peer.headers(1, POST))
        await peer.expect(HeadersFrame)
        for _ in range(5):
            await peer.send(peer.data(1, MESSAGE))
            assert bytes((await peer.expect(DataFrame)).data) == MESSAGE


async def test_a_peer_that_has_gone_is_the_connections_failure(autojump_clock: MockClock) -> None:
    errors: list[BaseException] = []
    gone = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await gone.wait()
        with trio.CancelScope(shield=True):
            try:
                while True:
                    await stream.send_all(MESSAGE)
            except Exception as error:
                errors.append(error)

    async with raw_client(handler, transports=socket_pair()) as peer:
        await peer.send(peer.headers(1, GET))
        await trio.testing.wait_all_tasks_blocked()
        gone.set()
        await trio.aclose_forcefully(peer.transport)
    assert isinstance(errors[0], trio_h2.ConnectionTerminatedError)


async def test_a_closed_socket_has_nobody_elses_number() -> None:
    one, other = plain_ends()
    await one.aclose()
    with pytest.raises(trio.ClosedResourceError):
        write_socket(one.socket, b"data")
    with pytest.raises(trio.ClosedResourceError):
        await read_socket(one.socket, 100)
    await other.aclose()


async def test_a_socket_that_closes_while_it_is_read(autojump_clock: MockClock) -> None:
    one, other = plain_ends()
    async with other, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def reader() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await read_socket(one.socket, 100)

        await trio.testing.wait_all_tasks_blocked()
        await one.aclose()


def tcp_ends() -> tuple[trio.SocketStream, trio.SocketStream]:
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    listener.close()
    one, other = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in (client, accepted))
    return one, other


def reset_by_tcp(stream: trio.abc.Stream) -> None:
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stream.socket.close()


@pytest.mark.parametrize("how", ["read", "written"])
async def test_a_socket_whose_peer_resets_is_broken(how: str) -> None:
    client, one = tcp_ends()
    reset_by_tcp(client)
    with pytest.raises(trio.BrokenResourceError, match="reset"):
        if how == "read":
            await read_socket(one.socket, 100)
        else:
            write_socket(one.socket, b"data")
    await one.aclose()


class Ends(trio_h2.Trace):
    def __init__(self) -> None:
        self.errors: list[trio_h2.H2Error | None] = []

    def connection_ended(self, connection: trio_h2.Connection, error: trio_h2.H2Error | None) -> None:
        self.errors.append(error)


async def test_what_a_write_at_once_met_is_why_the_connection_ended(autojump_clock: MockClock) -> None:
    """A socket says that it was reset to whoever asks first; the reader after it sees an end like any other."""

    async def handler(stream: trio_h2.ServerStream) -> None:
        reset_by_tcp(peers[0].transport)
        await stream.respond(200, (), bytes(4_096))

    peers: list[RawPeer] = []
    trace = Ends()
    async with raw_client(handler, transports=tcp_ends(), trace=trace) as peer:
        peers.append(peer)
        await peer.send(peer.headers(1, GET, end_stream=True))
        await trio.testing.wait_all_tasks_blocked()
    assert "reset" in str(trace.errors[0])


async def test_a_clients_request_learns_it_too_and_was_not_sent(autojump_clock: MockClock) -> None:
    async with raw_server(transports=tcp_ends()) as (connection, peer):
        async with connection.stream("GET", "/") as stream:
            await peer.send(peer.headers(1, OK))
            await stream.response()  # who sends next is alone
            reset_by_tcp(peer.transport)
            with pytest.raises(trio_h2.ConnectionTerminatedError, match="reset") as caught:
                await connection.request("GET", "/")
    assert caught.value.safe_to_retry


async def test_after_a_while_the_reader_goes_before_a_request(autojump_clock: MockClock) -> None:
    """The program was busy, and the server has left: the request is not written, and safe to make again."""
    for _ in range(20):  # the reader and the writer wake in the same turn of the loop, in either order
        async with raw_server(transports=tcp_ends()) as (connection, peer), connection.stream("GET", "/") as stream:
            await peer.expect(HeadersFrame)
            await peer.send(peer.headers(1, OK, end_stream=True))
            await stream.response()
            await trio.sleep(HELD_UP * 1.1)
            assert isinstance(peer.transport, trio.SocketStream)
            peer.transport.socket.close()
            with pytest.raises(trio_h2.ConnectionTerminatedError, match="closed the transport") as caught:
                await connection.request("GET", "/")
            assert caught.value.safe_to_retry


async def test_only_plain_sockets_are_plain() -> None:
    one, other = plain_ends()
    async with one, other:
        assert plain_socket(one) is one.socket
        assert plain_socket(wrapped(one)) is None
        assert plain_socket(trio.SSLStream(one, ssl.create_default_context(), server_hostname="example.org")) is None
