"""One scripted peer against both compositions of the protocol core: in memory, and in actors.

`server(kind)` and `client(kind)` give a `Side` under test. What the peer says is bytes; what the side answers is read
back with hyperframe. So one test holds both compositions to the same rule, on the wire, where users of either meet it.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import hpack
import trio
import trio.testing
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, RstStreamFrame

import trio_h2
from tests.protocol import helpers as h
from trio_h2 import events as ev
from trio_h2.exceptions import ProtocolError
from trio_h2.sansio import H2Configuration, H2Connection

KINDS = ("memory", "actors")
ANSWER = b"x" * 100


class Side:
    """A connection under test, and the script of its peer.

    Attributes:
        frames: all that it sent, since the handshake.
        events: all that it told its user.
        error: in memory, what `receive_data` raised.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.events: list[ev.Event] = []
        self.error: ProtocolError | None = None
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()

    def headers(self, stream_id: int, fields: h.Fields, *, end: bool = False) -> bytes:
        flags = h.END_HEADERS | (h.END_STREAM if end else 0)
        return h.raw(h.HEADERS, flags, stream_id, self.encoder.encode(list(fields)))

    async def receive(self, *octets: bytes) -> list[Frame]:
        """The peer sends; what the side answers by the time it is quiet."""
        raise NotImplementedError

    async def request(self, fields: h.Fields = h.GET, *, end: bool = True) -> int:
        """The side, a client, opens a stream."""
        raise NotImplementedError

    async def respond(self, stream_id: int) -> None:
        """The side, a server, answers with ANSWER, whether or not the request has ended."""
        raise NotImplementedError

    @property
    def live(self) -> list[int]:
        """The streams that are not closed."""
        raise NotImplementedError

    def goaways(self) -> list[int]:
        return [frame.error_code for frame in self.frames if isinstance(frame, GoAwayFrame)]

    def resets(self) -> dict[int, int]:
        return {f.stream_id: f.error_code for f in self.frames if isinstance(f, RstStreamFrame)}

    def of(self, kind: type[ev.Event]) -> list[ev.Event]:
        return [event for event in self.events if isinstance(event, kind)]

    def fields(self, frame: Frame) -> list[tuple[bytes, bytes]]:
        return list(self.decoder.decode(frame.data, raw=True))  # type: ignore[attr-defined]


class MemorySide(Side):
    def __init__(self, *, client: bool) -> None:
        super().__init__()
        self.connection = H2Connection(H2Configuration(client_side=client))
        self.connection.initiate_connection()

    async def receive(self, *octets: bytes) -> list[Frame]:
        try:
            self.events += self.connection.receive_data(b"".join(octets))
        except ProtocolError as error:
            self.error = error
            self.events += error.events
        frames = h.parse(self.connection.data_to_send())
        self.frames += frames
        return frames

    async def request(self, fields: h.Fields = h.GET, *, end: bool = True) -> int:
        stream_id = self.connection.get_next_available_stream_id()
        self.connection.send_headers(stream_id, fields, end_stream=end)
        return stream_id

    async def respond(self, stream_id: int) -> None:
        connection = self.connection
        connection.send_headers(stream_id, [(":status", "200"), ("content-length", str(len(ANSWER)))])
        connection.send_data(stream_id, ANSWER, end_stream=True)
        if stream_id in self.live:  # what actors do when the handler does not read on
            connection.reset_stream(stream_id)

    @property
    def live(self) -> list[int]:
        return sorted(stream.stream_id for stream in self.connection._machine.table)


class ActorSide(Side):
    def __init__(self, transport: trio.abc.Stream, nursery: trio.Nursery) -> None:
        super().__init__()
        self.transport = transport
        self.nursery = nursery
        self.connection: trio_h2.Connection | None = None
        self.told: dict[int, trio.Event] = {}
        self._opened = 0
        self._buffer = b""
        nursery.start_soon(self._read)

    async def _read(self) -> None:
        try:
            async for data in self.transport:
                self._buffer += data
        except trio.BrokenResourceError:
            pass

    async def receive(self, *octets: bytes) -> list[Frame]:
        try:
            await self.transport.send_all(b"".join(octets))
        except trio.BrokenResourceError:
            pass
        await trio.testing.wait_all_tasks_blocked()
        # memory streams carry whole writes, and the side writes whole frames
        frames, self._buffer = h.parse(self._buffer), b""
        self.frames += frames
        return frames

    async def request(self, fields: h.Fields = h.GET, *, end: bool = True) -> int:
        assert isinstance(self.connection, trio_h2.ClientConnection)
        method = dict(fields)[b":method"].decode()
        self.nursery.start_soon(self._request, self.connection, method, end)
        await trio.testing.wait_all_tasks_blocked()
        self._opened += 1
        return 2 * self._opened - 1

    async def _request(self, connection: trio_h2.ClientConnection, method: str, end: bool) -> None:
        try:
            async with connection.stream(method, "/", end_stream=end) as stream:
                async for event in stream.events():
                    self.events.append(event)
                await trio.sleep_forever()
        except trio_h2.H2Error:
            pass

    async def watch(self, connection: trio_h2.Connection) -> None:
        """Collect what the connection tells its user."""
        self.connection = connection
        async for event in connection.events():
            self.events.append(event)

    async def handle(self, stream: trio_h2.ServerStream) -> None:
        """A handler that reads, and answers when it is told to."""
        if self.connection is None:
            self.nursery.start_soon(self.watch, stream.connection)
        told = self.told[stream.stream_id] = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._collect, stream)
            await told.wait()
            nursery.cancel_scope.cancel()
        await stream.respond(200, [("content-length", str(len(ANSWER)))], ANSWER)

    async def _collect(self, stream: trio_h2.ServerStream) -> None:
        try:
            async for event in stream.events():
                self.events.append(event)
        except trio_h2.H2Error:
            pass

    async def respond(self, stream_id: int) -> None:
        self.told[stream_id].set()
        await trio.testing.wait_all_tasks_blocked()

    @property
    def live(self) -> list[int]:
        if self.connection is None:
            return []
        return sorted(stream.stream_id for stream in self.connection.statistics().streams if stream.stream_id)


async def _greet(side: Side, *, preface: bytes, settings: Sequence[tuple[int, int]]) -> None:
    await side.receive(preface, h.settings(*settings), h.settings_ack())
    side.frames.clear()
    side.events.clear()


@asynccontextmanager
async def server(kind: str, config: trio_h2.Config | None = None) -> AsyncIterator[Side]:
    """A server under test, and its client's handshake done. `config` is for actors."""
    if kind == "memory":
        side: Side = MemorySide(client=False)
        await _greet(side, preface=h.PREFACE, settings=())
        yield side
        return
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            peer_end, end = trio.testing.memory_stream_pair()
            actor_side = ActorSide(peer_end, nursery)
            serve = functools.partial(trio_h2.serve_h2_connection, config=config)
            nursery.start_soon(serve, actor_side.handle, end)
            await _greet(actor_side, preface=h.PREFACE, settings=())
            yield actor_side
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def client(kind: str, *, push: bool = False) -> AsyncIterator[Side]:
    """A client under test, and its server's handshake done."""
    if kind == "memory":
        side: Side = MemorySide(client=True)
        await _greet(side, preface=b"", settings=())
        yield side
        return
    config = trio_h2.Config(enable_push=push)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            peer_end, end = trio.testing.memory_stream_pair()
            actor_side = ActorSide(peer_end, nursery)
            async with trio_h2.connect_over(end, authority="example.org", config=config) as connection:
                nursery.start_soon(actor_side.watch, connection)
                await _greet(actor_side, preface=b"", settings=())
                yield actor_side
                nursery.cancel_scope.cancel()


def headers_of(frames: Sequence[Frame]) -> list[HeadersFrame]:
    return [frame for frame in frames if isinstance(frame, HeadersFrame)]
