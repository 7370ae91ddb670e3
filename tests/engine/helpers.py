"""What the engine's tests share: two engines over memory streams, and raw peers that speak frames by hand.

`client_and_server` pairs the two real engines. `raw_server` and `raw_client` put a `RawPeer` on one side, which sends
whatever bytes a test wants and says what the engine sent: it knows frames and HPACK, and no rule of the protocol.
`SlowTransport` is a transport whose pace a test sets, and `link_pair` makes one that delays what it carries.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import hpack
import trio
import trio.testing
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
)

import trio_h2
from tests import frames
from tests.frames import PREFACE
from trio_h2 import Config
from trio_h2.actors.slices import TURN, Turn

FOREVER = 100_000
"""Seconds on a MockClock after which a test is stuck: when nothing can happen any more it jumps there at once."""

Handler = Callable[[trio_h2.ServerStream], Awaitable[object]]

GET = ((":method", "GET"), (":scheme", "http"), (":authority", "example.org"), (":path", "/"))
POST = ((":method", "POST"), (":scheme", "http"), (":authority", "example.org"), (":path", "/"))
CONNECT = ((":method", "CONNECT"), (":authority", "example.org:80"))
OK = ((":status", "200"),)


# Two engines


@dataclass
class Pair:
    """Both sides of one connection.

    Attributes:
        client: the client's connection.
        server_done: set when `serve_h2_connection` has returned.
    """

    client: trio_h2.ClientConnection
    server_done: trio.Event = field(default_factory=trio.Event)
    _server: trio_h2.ServerConnection | None = None

    @property
    def server(self) -> trio_h2.ServerConnection:
        """The server's connection, once a handler has run."""
        assert self._server is not None
        return self._server


@asynccontextmanager
async def client_and_server(
    handler: Handler,
    *,
    config: Config | None = None,
    server_config: Config | None = None,
    transports: tuple[trio.abc.Stream, trio.abc.Stream] | None = None,
    trace: trio_h2.Trace | None = None,
    server_trace: trio_h2.Trace | None = None,
) -> AsyncIterator[Pair]:
    """A client and a server of this package, connected; both are closed, and awaited, at the end."""
    client_end, server_end = transports or trio.testing.memory_stream_pair()
    pairs: list[Pair] = []

    async def handle(stream: trio_h2.ServerStream) -> None:
        pairs[0]._server = stream.connection
        await handler(stream)

    async def serve() -> None:
        try:
            await trio_h2.serve_h2_connection(handle, server_end, config=server_config, trace=server_trace)
        finally:
            pairs[0].server_done.set()

    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            connecting = trio_h2.connect_over(client_end, authority="example.org", config=config, trace=trace)
            async with connecting as client:
                pairs.append(Pair(client))
                nursery.start_soon(serve)
                yield pairs[0]
            with trio.fail_after(60):
                await pairs[0].server_done.wait()


def whole_reads() -> None:
    """From here on, for connections that begin in this test: every read is worked off in one slice."""
    TURN.set(Turn(clock=lambda: 0.0))


def slices_of_one_frame() -> None:
    """From here on, for connections that begin in this test: everybody else has a turn after every frame."""
    TURN.set(Turn(seconds=0.0))


async def echo(stream: trio_h2.ServerStream) -> None:
    """A handler that answers with the body it is sent, as it comes."""
    await stream.send_response(200)
    async for chunk in stream:
        await stream.send_all(chunk)
    await stream.send_eof()


async def hello(stream: trio_h2.ServerStream) -> None:
    """A handler that answers at once, without a look at the request's body."""
    await stream.respond(200, [("content-type", "text/plain")], b"hello")


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """The whole body."""
    return b"".join([chunk async for chunk in stream])


def pattern(count: int, seed: int = 0) -> bytes:
    """`count` octets that differ from place to place and from seed to seed."""
    block = bytes((seed * 7 + i * 31 + (i >> 8)) & 0xFF for i in range(4099))
    return (block * (count // len(block) + 1))[:count]


def at_rest(window: trio_h2.WindowStatistics) -> bool:
    """Is nothing of the window unread, and every octet of it accounted for?"""
    return window.held == 0 and window.available + window.unannounced == window.target


def check_balance(one: trio_h2.Connection, other: trio_h2.Connection) -> None:
    """Both sides of a quiet connection agree on its windows, to the octet (invariant 4)."""
    for receiver, sender in ((one, other), (other, one)):
        statistics = receiver.statistics()
        assert statistics.unread == 0
        assert statistics.write_buffered == 0
        assert at_rest(statistics.inbound_window), statistics.inbound_window
        assert sender.statistics().outbound_window == statistics.inbound_window.available


async def check_quiet(pair: Pair) -> None:
    """When nothing moves any more, no stream is left on either side, and their credit balances. On a MockClock."""
    await trio.sleep(1)
    await trio.testing.wait_all_tasks_blocked()
    for side in (pair.client, pair.server):
        assert side.statistics().streams == ()
        assert not len(side._actor.streams)  # closed ones are not listed, and have to be gone, too
    check_balance(pair.client, pair.server)


# Frames by hand


class RawPeer:
    """A peer that sends any bytes, and shows what the engine sends.

    Attributes:
        transport: its end.
        decoder, encoder: its HPACK state.
        log: every frame received, in order.
    """

    def __init__(self, transport: trio.abc.Stream, *, client: bool) -> None:
        self.transport = transport
        self.client = client
        self.decoder = hpack.Decoder()
        self.encoder = hpack.Encoder()
        self.log: list[Frame] = []
        self._buffer = b""
        self._waiting: deque[Frame] = deque()
        self._preface_seen = client

    # Making frames

    def headers(
        self,
        stream_id: int,
        fields: Iterable[tuple[Any, Any]],
        *,
        end_stream: bool = False,
        promised: int | None = None,
    ) -> bytes:
        """HEADERS; with `promised` it is PUSH_PROMISE."""
        block = self.encoder.encode(list(fields))
        if promised is not None:
            return frames.raw(frames.PUSH_PROMISE, frames.END_HEADERS, stream_id, frames.uint32(promised) + block)
        flags = frames.END_HEADERS | (frames.END_STREAM if end_stream else 0)
        return frames.raw(frames.HEADERS, flags, stream_id, block)

    @staticmethod
    def data(stream_id: int, data: bytes = b"", *, end_stream: bool = False, padding: int = 0) -> bytes:
        return frames.data(stream_id, data, end=end_stream, pad=padding or None)

    @staticmethod
    def settings(values: dict[int, int] | None = None, *, ack: bool = False) -> bytes:
        return frames.settings_ack() if ack else frames.settings(*(values or {}).items())

    rst = staticmethod(frames.rst_stream)
    window_update = staticmethod(frames.window_update)
    goaway = staticmethod(frames.goaway)
    ping = staticmethod(frames.ping)
    frame = staticmethod(frames.raw)

    # Sending and receiving

    async def send(self, *frames: bytes) -> None:
        """Send bytes in one write."""
        await self.transport.send_all(b"".join(frames))

    async def handshake(self, settings: dict[int, int] | None = None) -> None:
        """Both prefaces, and both SETTINGS acknowledged."""
        await self.send(PREFACE if self.client else b"", self.settings(settings))
        await self.expect(SettingsFrame, lambda frame: "ACK" not in frame.flags)
        await self.send(self.settings(ack=True))
        await self.expect(SettingsFrame, lambda frame: "ACK" in frame.flags)

    async def receive(self) -> Frame | None:
        """The next frame, with `.fields` if it has a field block; None at the end of the transport."""
        while not self._waiting:
            data = await self.transport.receive_some(2**16)
            if not data:
                return None
            self._feed(bytes(data))
        frame = self._waiting.popleft()
        self.log.append(frame)
        return frame

    def _feed(self, data: bytes) -> None:
        self._buffer += data
        if not self._preface_seen:
            if len(self._buffer) < len(PREFACE):
                return
            assert self._buffer.startswith(PREFACE)
            self._buffer = self._buffer[len(PREFACE) :]
            self._preface_seen = True
        while len(self._buffer) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._buffer[:9]))
            if len(self._buffer) < 9 + length:
                return
            frame.parse_body(memoryview(self._buffer[9 : 9 + length]))
            self._buffer = self._buffer[9 + length :]
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, HeadersFrame | PushPromiseFrame):
            frame.fields = None
            self._block = frame
        if isinstance(frame, HeadersFrame | PushPromiseFrame | ContinuationFrame):
            first = self._block
            if frame is not first:
                first.data += frame.data
            if "END_HEADERS" in frame.flags:
                fields = self.decoder.decode(first.data, raw=True)
                first.fields = [(bytes(name), bytes(value)) for name, value in fields]
        self._waiting.append(frame)

    async def expect(self, type_: type[Frame], matches: Callable[[Any], bool] | None = None, **attributes: Any) -> Any:
        """The next frame of this type and these attributes; what comes before it is in `log`."""
        while True:
            frame = await self.receive()
            assert frame is not None, f"the transport ended before a {type_.__name__}; received: {self.log}"
            if type(frame) is not type_ or (matches is not None and not matches(frame)):
                continue
            if all(getattr(frame, name) == value for name, value in attributes.items()):
                return frame

    async def expect_rst(self, stream_id: int) -> int:
        """The error code of the next RST_STREAM on this stream."""
        frame = await self.expect(RstStreamFrame, stream_id=stream_id)
        return int(frame.error_code)

    async def sync(self) -> list[Frame]:
        """What the engine has sent by the time it is quiet and answers a PING."""
        await trio.testing.wait_all_tasks_blocked()
        start = len(self.log)
        await self.send(self.ping(b"--sync--"))
        await self.expect(PingFrame, opaque_data=b"--sync--")
        return self.log[start:-1]

    async def to_end(self) -> list[Frame]:
        """Every frame up to the end of the transport."""
        frames = []
        while (frame := await self.receive()) is not None:
            frames.append(frame)
        return frames


def of(frames: Sequence[Frame], type_: type[Frame], stream_id: int | None = None) -> list[Any]:
    """The frames of one type, on one stream if it is given."""
    return [f for f in frames if type(f) is type_ and (stream_id is None or f.stream_id == stream_id)]


def body_of(frames: Sequence[Frame], stream_id: int) -> bytes:
    """The octets of DATA on one stream."""
    return b"".join(bytes(frame.data) for frame in of(frames, DataFrame, stream_id))


@asynccontextmanager
async def raw_server(
    *,
    config: Config | None = None,
    settings: dict[int, int] | None = None,
    transports: tuple[trio.abc.Stream, trio.abc.Stream] | None = None,
    handshake: bool = True,
    trace: trio_h2.Trace | None = None,
) -> AsyncIterator[tuple[trio_h2.ClientConnection, RawPeer]]:
    """This package's client, and a server made by hand."""
    client_end, peer_end = transports or trio.testing.memory_stream_pair()
    with trio.fail_after(FOREVER):
        connecting = trio_h2.connect_over(client_end, authority="example.org", config=config, trace=trace)
        async with connecting as connection:
            peer = RawPeer(peer_end, client=False)
            if handshake:
                await peer.handshake(settings)
            yield connection, peer
            await trio.aclose_forcefully(peer_end)


@asynccontextmanager
async def raw_client(
    handler: Handler,
    *,
    config: Config | None = None,
    settings: dict[int, int] | None = None,
    transports: tuple[trio.abc.Stream, trio.abc.Stream] | None = None,
    handshake: bool = True,
    trace: trio_h2.Trace | None = None,
) -> AsyncIterator[RawPeer]:
    """This package's server, and a client made by hand."""
    peer_end, server_end = transports or trio.testing.memory_stream_pair()
    served = trio.Event()

    async def serve() -> None:
        try:
            await trio_h2.serve_h2_connection(handler, server_end, config=config, trace=trace)
        finally:
            served.set()

    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            peer = RawPeer(peer_end, client=True)
            if handshake:
                await peer.handshake(settings)
            yield peer
            await trio.aclose_forcefully(peer_end)
            with trio.fail_after(60):
                await served.wait()


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener for memory streams."""

    def __init__(self) -> None:
        self._in, self._out = trio.open_memory_channel[trio.abc.Stream](math.inf)

    def connect(self) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        self.take(theirs)
        return ours

    def take(self, stream: trio.abc.Stream) -> None:
        """Accept this one next."""
        self._in.send_nowait(stream)

    async def accept(self) -> trio.abc.Stream:
        try:
            return await self._out.receive()
        except trio.BrokenResourceError:
            raise trio.ClosedResourceError from None

    async def aclose(self) -> None:
        self._in.close()
        self._out.close()


@asynccontextmanager
async def serving(
    handler: Handler, listener: MemoryListener | None = None, **arguments: Any
) -> AsyncIterator[tuple[trio_h2.H2Server, MemoryListener, trio.Nursery]]:
    """A server on a listener for memory streams; the block ends when the server has returned."""
    listener = listener or MemoryListener()
    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(trio_h2.serve_h2_listeners, handler, [listener], **arguments))
            yield server, listener, nursery


class SlowTransport(trio.abc.HalfCloseableStream):
    """A transport that takes bytes only as far as a test lets it.

    Attributes:
        allowance: octets that `send_all` may still take; infinite at first.
        blocked: is a write waiting now?
        broken: set it, and the next write raises trio.BrokenResourceError.
    """

    def __init__(self, inner: trio.StapledStream[Any, Any]) -> None:
        self._inner = inner
        self._lot = trio.lowlevel.ParkingLot()
        self.allowance: float = math.inf
        self.broken = False

    @property
    def blocked(self) -> bool:
        return len(self._lot) > 0

    def allow(self, count: float) -> None:
        """Let `count` more octets through."""
        self.allowance += count
        self._lot.unpark_all()

    def stop(self) -> None:
        """Take nothing any more, until `allow`."""
        self.allowance = 0

    def break_writes(self) -> None:
        """Fail this write and those after it; what was received can still be read."""
        self.broken = True
        self._lot.unpark_all()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(bytes(data))
        while len(rest):
            if self.broken:
                raise trio.BrokenResourceError("broken by the test")
            if self.allowance <= 0:
                await self._lot.park()
                continue
            count = int(min(len(rest), self.allowance))
            self.allowance -= count
            await self._inner.send_all(rest[:count])
            rest = rest[count:]

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._inner.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def aclose(self) -> None:
        self.broken = True
        self._lot.unpark_all()
        await self._inner.aclose()


def slow_pair() -> tuple[SlowTransport, trio.abc.Stream]:
    """Two connected ends, of which the first one's writes go as a test says."""
    one, other = trio.testing.memory_stream_pair()
    return SlowTransport(one), other


class Wire:
    """One direction of a link: what it carries arrives after a delay, at a rate. On a MockClock."""

    def __init__(self, delay: float, rate: float) -> None:
        self._delay = delay
        self._rate = rate
        self._free_at = -math.inf
        self._arriving: deque[tuple[float, bytes]] = deque()
        self._lot = trio.lowlevel.ParkingLot()
        self.closed = False

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Put octets on the wire; returns when the last of them is on it."""
        for start in range(0, len(data), 8192):
            piece = bytes(data[start : start + 8192])
            if self.closed:
                raise trio.BrokenResourceError("the other end is closed")
            self._free_at = max(self._free_at, trio.current_time()) + len(piece) / self._rate
            self._put(self._free_at, piece)
            await trio.sleep_until(self._free_at)

    def end(self) -> None:
        """After what is on the wire, the end."""
        self._put(max(self._free_at, trio.current_time()), b"")

    def _put(self, sent_at: float, piece: bytes) -> None:
        self._arriving.append((sent_at + self._delay, piece))
        self._lot.unpark_all()

    async def receive(self) -> bytes:
        """What has arrived; b"" at the end."""
        await trio.lowlevel.checkpoint()
        while not self._arriving and not self.closed:
            await self._lot.park()
        if self.closed:
            raise trio.ClosedResourceError
        await trio.sleep_until(self._arriving[0][0])
        return self._arriving.popleft()[1] if self._arriving[0][1] else b""

    def close(self) -> None:
        """Nobody receives any more."""
        self.closed = True
        self._lot.unpark_all()


class LinkEnd(trio.abc.HalfCloseableStream):
    """One end of a link."""

    def __init__(self, out: Wire, back: Wire) -> None:
        self._out = out
        self._back = back

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        await self._out.send(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._back.receive()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        self._out.end()

    async def aclose(self) -> None:
        self._out.end()
        self._back.close()
        await trio.lowlevel.checkpoint()


def link_pair(round_trip: float, rate: float) -> tuple[LinkEnd, LinkEnd]:
    """Two ends of a link of so many seconds and octets a second."""
    one, other = Wire(round_trip / 2, rate), Wire(round_trip / 2, rate)
    return LinkEnd(one, other), LinkEnd(other, one)
