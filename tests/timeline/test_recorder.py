"""What a Timeline keeps of what it is told, and in how much memory."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing

import trio_h2
from tests.engine.helpers import GET, OK, client_and_server, hello, raw_client, raw_server, serving
from tests.engine.recording import Recording as Recorded
from trio_h2 import Config, ErrorCodes, NeverIndexed, SettingCodes, Timeline
from trio_h2.testing import in_memory
from trio_h2.timeline.records import Octets
from trio_h2.timeline.rings import ColumnRing, Ring
from trio_h2.timeline.rows import Credit, Frame, Mark, Recording, Wait


class Both(trio_h2.Trace):
    """Passes on everything."""

    def __init__(self, *traces: trio_h2.Trace) -> None:
        for name in (name for name in vars(trio_h2.Trace) if not name.startswith("_")):
            setattr(self, name, partial(self._pass_on, name, traces))

    def _pass_on(self, name: str, traces: tuple[trio_h2.Trace, ...], *arguments: object) -> None:
        for trace in traces:
            getattr(trace, name)(*arguments)


def total(recording: Recording, stream: int, reason: str) -> Wait:
    """The row of a stream's waits for one thing."""
    [row] = [row for row in recording.totals if (row.stream, row.reason) == (stream, reason)]
    return row


async def test_a_request_is_a_stream_with_its_waits_and_frames(autojump_clock: trio.testing.MockClock) -> None:
    timeline = Timeline()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(2)
        await stream.respond(200, body=b"hello")

    async with in_memory(handler, trace=timeline) as connection:
        await trio.sleep(1)
        await connection.request("GET", "/here?secret=1", headers=[("authorization", "Bearer sesame")])
    recording = timeline.recording()
    [row] = recording.connections
    assert (row.number, row.side, row.tls, row.made, row.error) == (1, "client", "", 0, "")
    assert row.ended == 3 == recording.seconds
    [stream] = recording.streams
    assert (stream.stream, stream.method, stream.path, stream.opened, stream.closed) == (1, "GET", "/here", 1, 3)
    assert (stream.error, stream.data_received, stream.data_taken) == ("", 5, 5)
    assert recording.waits == [Wait(1, 1, "headers", 1, 3, 1, 2)]
    assert recording.totals == [Wait(1, 1, "headers", 1, 3, 1, 2), Wait(1, 1, "unread", 3, 3, 1, 0)]
    assert [frame for frame in recording.frames if frame.stream == 1 and not frame.sent] == [
        Frame(1, 1, 3, False, 1, 4, 5),
        Frame(1, 1, 3, False, 0, 1, 5),
    ]
    assert recording.dropped == {}
    assert "sesame" not in repr(recording)
    assert "secret" not in repr(recording)


async def test_a_path_that_is_never_indexed_is_not_kept(autojump_clock: trio.testing.MockClock) -> None:
    timeline = Timeline()
    async with in_memory(hello, trace=timeline) as connection:
        recorder = timeline._live[1]
        recorder.stream_opened(7, trio_h2.Headers([(":method", "GET"), NeverIndexed(":path", "/sesame")]), Octets())
        assert timeline.recording().streams[0].path == "(hidden)"
        recorder.stream_closed(7, None)
        await connection.ping()
    assert "sesame" not in repr(timeline.recording())


async def test_what_a_peer_says_is_cut_and_escaped(autojump_clock: trio.testing.MockClock) -> None:
    timeline = Timeline()
    async with in_memory(hello, trace=timeline) as connection:
        recorder = timeline._live[1]
        for path in ("/" + "x" * 100_000, b"/\x1b[2J\xe4\n"):
            recorder.stream_opened(7, trio_h2.Headers([(":method", "GET"), (":path", path)]), Octets())
            recorder.stream_closed(7, None)
        await connection.ping()
    first, second = [row.path for row in timeline.recording().streams]
    assert first == "/" + "x" * 199
    assert second == "/\\x1b[2J\\xe4\\n"


async def test_what_goes_on_ends_now_and_is_kept_open(autojump_clock: trio.testing.MockClock) -> None:
    timeline = Timeline()
    async with raw_server(trace=timeline) as (connection, peer):
        async with connection.stream("GET", "/") as stream:
            await peer.send(peer.headers(1, OK), peer.data(1, b"x" * 100))
            await trio.sleep(3)
            for _ in range(2):  # looking changes nothing
                recording = timeline.recording()
                [row] = recording.streams
                assert (row.closed, row.idle_from, row.idle_to) == (None, 0, 3)
                assert total(recording, 1, "unread") == Wait(1, 1, "unread", 0, 3, 1, 3)
                assert recording.connections[0].ended is None
            assert await stream.receive_some() == b"x" * 100
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.receive_some)
                await trio.sleep(2)
                assert total(timeline.recording(), 1, "body") == Wait(1, 1, "body", 3, 5, 1, 2)
                nursery.cancel_scope.cancel()
        assert timeline.recording().streams[0].error == "reset by this side: CANCEL"


async def test_a_wait_for_a_slot_is_the_beginning_of_its_stream(autojump_clock: trio.testing.MockClock) -> None:
    timeline = Timeline()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(1)
        await stream.respond(200)

    config = Config(max_concurrent_streams=1)
    async with client_and_server(handler, server_config=config, trace=timeline) as pair:
        await pair.client.request("GET", "/first")
        async with trio.open_nursery() as nursery:
            for path in ("/second", "/third"):
                nursery.start_soon(pair.client.request, "GET", path)
    last = timeline.recording().streams[-1]
    assert (last.stream, last.opened, last.closed) == (5, 1, 3)
    assert total(timeline.recording(), 5, "slot") == Wait(1, 5, "slot", 1, 2, 1, 1)


async def test_a_request_that_never_got_its_slot_is_a_row_of_its_own(autojump_clock: trio.testing.MockClock) -> None:
    timeline = Timeline()
    async with raw_server(trace=timeline, settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as (connection, peer):
        await peer.sync()
        async with connection.stream("GET", "/first"):
            with trio.move_on_after(2):
                await connection.request("GET", "/second")
            await peer.send(peer.headers(1, OK, end_stream=True))
            await peer.sync()
        async with connection.stream("GET", "/third"):
            pass
    rows = {row.stream: row for row in timeline.recording().streams}
    assert sorted(rows) == [-2, 1, 3]
    assert (rows[-2].path, rows[-2].opened, rows[-2].closed, rows[-2].error) == ("/second", 0, 2, "never sent")
    assert total(timeline.recording(), -2, "slot").seconds == 2
    assert rows[3].opened == 2


async def test_credit_settings_round_trips_and_goaways_are_kept(autojump_clock: trio.testing.MockClock) -> None:
    timeline = Timeline()
    async with raw_server(trace=timeline, settings={SettingCodes.INITIAL_WINDOW_SIZE: 1000}) as (connection, peer):
        async with connection.stream("GET", "/"):
            await peer.send(peer.window_update(0, 10), peer.window_update(1, 20))
            await peer.send(peer.goaway(1, ErrorCodes.ENHANCE_YOUR_CALM))
            await peer.sync()
    recording = timeline.recording()
    assert [row for row in recording.credits if row.what == "received"] == [
        Credit(1, 0, 0, "received", 10),
        Credit(1, 1, 0, "received", 20),
    ]
    assert recording.streams[0].credit_received == 20
    assert recording.connections[0].credit_received == 10
    assert Mark(1, 0, "initial window received", 1000, "") in recording.marks
    assert Mark(1, 0, "goaway received", 1, "ENHANCE_YOUR_CALM") in recording.marks


async def test_data_that_is_cut_with_its_headers_counts(autojump_clock: trio.testing.MockClock) -> None:
    timeline = Timeline()
    async with in_memory(hello, trace=timeline) as connection:
        await connection.request("POST", "/", body=b"x" * 1000)
    assert timeline.recording().streams[0].data_sent == 1000


async def test_the_newest_are_kept_and_what_is_not_is_counted(autojump_clock: trio.testing.MockClock) -> None:
    timeline = Timeline(max_streams=3, max_frames=5, max_waits=2, max_connections=1)
    for _ in range(2):
        async with in_memory(hello, trace=timeline) as connection:
            for number in range(10):
                await connection.request("GET", f"/{number}")
    recording = timeline.recording()
    assert [row.number for row in recording.connections] == [2]
    assert [row.path for row in recording.streams] == ["/7", "/8", "/9"]
    assert (len(recording.frames), len(recording.waits)) == (5, 2)
    assert recording.dropped.items() >= {"connections": 1, "streams": 17, "waits": 18}.items()
    assert recording.dropped["frames"] > 50


async def test_totals_are_true_when_waits_and_frames_are_not_kept(autojump_clock: trio.testing.MockClock) -> None:
    timeline, told = Timeline(max_waits=1, max_frames=1), Recorded()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        for _ in range(3):
            await trio.sleep(1)
            await stream.send_all(b"x" * 100)

    async with in_memory(handler, trace=Both(timeline, told)) as connection:
        await connection.request("GET", "/")
    recording = timeline.recording()
    waits = [ended - began for reason, began, ended in told.waits(1) if reason == "body"]
    row = total(recording, 1, "body")
    assert (row.times, row.seconds) == (len(waits), sum(waits))
    assert recording.streams[0].data_received == 300


async def test_a_subclass_may_override_and_a_trace_may_pass_on(autojump_clock: trio.testing.MockClock) -> None:
    class Counting(Timeline):
        opened = 0

        def stream_opened(self, connection: trio_h2.Connection, stream_id: int, headers: trio_h2.Headers) -> None:
            self.opened += 1
            super().stream_opened(connection, stream_id, headers)

    plain, counting, passed = Timeline(), Counting(), Timeline()
    for trace in (plain, counting, Both(passed)):
        async with client_and_server(hello, trace=trace) as pair:
            await pair.client.request("GET", "/")
            await pair.client.ping()
    assert counting.opened == 1
    one, *others = [timeline.recording() for timeline in (plain, counting, passed)]
    for other in others:
        for name in ("connections", "streams", "frames"):
            assert getattr(one, name) == getattr(other, name)


async def test_one_timeline_of_a_server_and_its_clients(autojump_clock: trio.testing.MockClock) -> None:
    timeline = Timeline()
    async with serving(hello, trace=timeline) as (server, listener, _):
        for _ in range(2):
            async with trio_h2.connect_over(listener.connect(), authority="a", trace=timeline) as connection:
                await connection.request("GET", "/")
        await server.shutdown()
    recording = timeline.recording()
    assert sorted(row.side for row in recording.connections) == ["client", "client", "server", "server"]
    assert len(recording.streams) == 4
    assert repr(timeline) == "<Timeline of 4 connections>"


async def test_a_connection_error_is_said(autojump_clock: trio.testing.MockClock) -> None:
    timeline = Timeline()
    async with raw_client(hello, trace=timeline) as peer:
        await peer.send(peer.window_update(0, 0))
        await peer.to_end()
    [row] = timeline.recording().connections
    assert "WINDOW_UPDATE of 0" in row.error


def test_a_second_run_of_trio_goes_on_where_the_first_was() -> None:
    timeline = Timeline()

    async def run() -> None:
        async with in_memory(hello, trace=timeline) as connection:
            await connection.request("GET", "/")

    for _ in range(2):
        trio.run(run)
    first, second = timeline.recording().connections
    assert first.ended is not None
    assert first.ended <= second.made < 60


@pytest.mark.parametrize("name", ["max_streams", "max_frames", "max_waits", "max_connections"])
def test_bounds_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be 1 or more, not 0$"):
        Timeline(**{name: 0})
    with pytest.raises(TypeError, match=f"^{name} must be a whole number, not float$"):
        Timeline(**{name: 1.5})  # type: ignore[arg-type]


def test_a_ring_has_the_newest_in_order() -> None:
    ring = Ring("I", 3)
    for number in range(8):
        ring.pack_into(ring.buffer, ring.claim(), number)
        assert [row[0] for row in ring] == list(range(max(number - 2, 0), number + 1))
        assert (ring.added, len(ring)) == (number + 1, min(number + 1, 3))


@pytest.mark.parametrize("many", [1, 2, 3, 4, 10])
def test_a_ring_of_columns_has_the_newest_in_order(many: int) -> None:
    ring = ColumnRing(("I", None), 3)
    assert [list(column) for column in ring.columns()] == [[], []]
    for last in range(many, 5 * many, many):
        numbers = list(range(last - many, last))
        ring.extend([numbers, list(map(str, numbers))])
        newest = list(range(max(last - 3, 0), last))
        assert [list(column) for column in ring.columns()] == [newest, list(map(str, newest))]
        assert ring.added == last


async def test_a_frame_on_a_stream_that_never_was_is_kept_and_no_stream(
    autojump_clock: trio.testing.MockClock,
) -> None:
    timeline = Timeline()
    async with raw_client(hello, trace=timeline) as peer:
        await peer.send(peer.rst(1, ErrorCodes.CANCEL))
        await peer.to_end()
    recording = timeline.recording()
    assert recording.streams == []
    assert [row.stream for row in recording.frames if row.type == 3] == [1]


async def test_the_bit_before_a_stream_id_is_nobodys(autojump_clock: trio.testing.MockClock) -> None:
    timeline, told = Timeline(), Recorded()
    for trace in (timeline, told):
        async with raw_client(hello, trace=trace) as peer:
            request = bytearray(peer.headers(1, GET, end_stream=True))
            request[5] |= 0x80
            await peer.send(bytes(request))
            await peer.sync()
    received = [row for row in timeline.recording().frames if row.type == 1 and not row.sent]
    assert [(row.stream, row.length) for row in received] == [(1, len(request) - 9)]
    assert (1, 5, 1, len(request) - 9) in told.arguments("frame_received")


async def test_what_is_noted_and_not_kept_yet_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    timeline = Timeline(max_frames=10)
    async with in_memory(hello, trace=timeline) as connection:
        recorder = timeline._live[1]
        for _ in range(300):
            await connection.request("GET", "/")
            assert len(recorder._frames) + len(recorder._closed) < 500
    recording = timeline.recording()
    assert len(recording.frames) == 10
    assert recording.dropped["frames"] >= 300 * 3 - 10


async def test_a_thread_may_look_while_streams_come_and_go() -> None:
    timeline = Timeline()
    recordings: list[Recording] = []

    def look() -> None:
        for _ in range(20):
            recordings.append(timeline.recording())

    async with in_memory(hello, trace=timeline) as connection:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, look)
            for _ in range(200):
                await connection.request("POST", "/", body=b"x" * 10_000)
    for recording in recordings:
        streams = [row.stream for row in recording.streams]
        assert len(set(streams)) == len(streams)
    assert len(timeline.recording().streams) == 200
