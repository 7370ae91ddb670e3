"""Both ends of the ping-pong: `python -m tests.benchmarks.pingpong NAME PORT [COUNT STREAMS]`.

Without a count the server, which sends every message back; with it the client, which has so many streams open and
on each sends the next message when the last one is back, COUNT in all. One line of JSON comes out of the client.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import trio

HOST = "127.0.0.1"
MESSAGE = b"m" * 100

WARM_UP = 50
"""Messages on each stream before the clock starts."""


def check_back(message: bytes) -> None:
    if message != MESSAGE:
        raise AssertionError(f"another message came back: {message!r}")


# trio_h2 ------------------------------------------------------------------------------------------


def trio_h2_server(port: int) -> None:
    import trio_h2

    async def echo(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        async for message in stream:
            await stream.send_all(message)
        await stream.send_eof()

    async def serve() -> None:
        await trio_h2.serve_h2(echo, port, host=HOST)

    trio.run(serve)


def trio_h2_client(port: int, count: int, streams: int) -> float:
    import trio_h2

    async def exchange(stream: trio_h2.ClientStream) -> None:
        await stream.send_all(MESSAGE)
        message = await stream.receive_some()
        while len(message) < len(MESSAGE):
            message += await stream.receive_some()
        check_back(message)

    async def call() -> float:
        async with trio_h2.connect(f"http://{HOST}:{port}") as connection:
            return await all_streams(connection)

    async def all_streams(connection: trio_h2.ClientConnection) -> float:
        share = iter(range(count))
        warm, go = trio.Semaphore(0), trio.Event()

        async def one_stream() -> None:
            async with connection.stream("POST", "/") as stream:
                await stream.response()
                for _ in range(WARM_UP):
                    await exchange(stream)
                warm.release()
                await go.wait()
                for _ in share:
                    await exchange(stream)
                await stream.send_eof()
                async for _ in stream:
                    raise AssertionError("more came back than was sent")

        async with trio.open_nursery() as nursery:
            for _ in range(streams):
                nursery.start_soon(one_stream)
            for _ in range(streams):
                await warm.acquire()
            started = time.perf_counter()
            go.set()
        return time.perf_counter() - started

    return trio.run(call)


# asyncio: what both of the others share -----------------------------------------------------------


Warmed = Callable[[], Awaitable[None]]
"""What a stream awaits once it is warm: it returns when the clock runs."""


async def exchange_on_all(streams: int, count: int, one: Callable[[Iterator[int], Warmed], Awaitable[None]]) -> float:
    """Run `one(share, warmed)` so many times at once; the clock starts when all of them are warm."""
    share = iter(range(count))
    warm, go = asyncio.Semaphore(0), asyncio.Event()

    async def warmed() -> None:
        warm.release()
        await go.wait()

    tasks = [asyncio.ensure_future(one(share, warmed)) for _ in range(streams)]
    for _ in range(streams):
        await asyncio.wait_for(warm.acquire(), 60)
    started = time.perf_counter()
    go.set()
    await asyncio.gather(*tasks)
    return time.perf_counter() - started


# grpclib ------------------------------------------------------------------------------------------

METHOD = "/benchmark.PingPong/Exchange"


def bytes_codec() -> Any:
    from grpclib.encoding.base import CodecBase

    class BytesCodec(CodecBase):
        """Messages that are bytes already."""

        __content_subtype__ = "bytes"

        def encode(self, message: Any, message_type: Any) -> bytes:
            return message

        def decode(self, data: bytes, message_type: Any) -> bytes:
            return data

    return BytesCodec()


def grpclib_server(port: int) -> None:
    from grpclib.const import Cardinality, Handler
    from grpclib.server import Server

    async def echo(stream: Any) -> None:
        async for message in stream:
            await stream.send_message(message)

    class PingPong:
        def __mapping__(self) -> dict[str, Handler]:
            return {METHOD: Handler(echo, Cardinality.STREAM_STREAM, bytes, bytes)}

    async def serve() -> None:
        server = Server([PingPong()], codec=bytes_codec())
        await server.start(HOST, port)
        await server.wait_closed()

    asyncio.run(serve())


def grpclib_client(port: int, count: int, streams: int) -> float:
    from grpclib.client import Channel, StreamStreamMethod

    async def call() -> float:
        async with Channel(HOST, port, codec=bytes_codec()) as channel:
            method = StreamStreamMethod(channel, METHOD, bytes, bytes)

            async def exchange(stream: Any) -> None:
                await stream.send_message(MESSAGE)
                check_back(await stream.recv_message())

            async def one_stream(share: Iterator[int], warmed: Warmed) -> None:
                async with method.open() as stream:
                    for _ in range(WARM_UP):
                        await exchange(stream)
                    await warmed()
                    for _ in share:
                        await exchange(stream)
                    await stream.end()
                    if await stream.recv_message() is not None:
                        raise AssertionError("more came back than was sent")

            return await exchange_on_all(streams, count, one_stream)

    return asyncio.run(call())


# h2 on asyncio ------------------------------------------------------------------------------------


def h2_protocol(client_side: bool) -> Any:
    """The plain way to put h2 on asyncio: one protocol, which writes once for each read."""
    from h2.config import H2Configuration
    from h2.connection import H2Connection

    class H2Protocol(asyncio.Protocol):
        def __init__(self) -> None:
            self.h2 = H2Connection(H2Configuration(client_side=client_side, header_encoding=None))
            self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            self.h2.initiate_connection()
            self.write()

        def connection_lost(self, error: Exception | None) -> None:
            if not self.lost.done():
                self.lost.set_result(None)

        def write(self) -> None:
            self.transport.write(self.h2.data_to_send())

        def data_received(self, data: bytes) -> None:
            for event in self.h2.receive_data(data):
                self.handle(event)
            self.write()

        def handle(self, event: Any) -> None:
            raise NotImplementedError

    return H2Protocol


def h2_server(port: int) -> None:
    """The least that answers: in the callback that received, with no task."""
    from h2 import events

    class EchoProtocol(h2_protocol(client_side=False)):
        def handle(self, event: Any) -> None:
            if isinstance(event, events.RequestReceived):
                self.h2.send_headers(event.stream_id, [(":status", "200")])
            elif isinstance(event, events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if event.data:
                    self.h2.send_data(event.stream_id, event.data)
            elif isinstance(event, events.StreamEnded):
                self.h2.end_stream(event.stream_id)

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(EchoProtocol, HOST, port)
        await server.serve_forever()

    asyncio.run(serve())


class H2Stream:
    """One stream's messages in a task: a buffer, and the future of whoever waits for the next."""

    def __init__(self, protocol: Any, stream_id: int) -> None:
        self.protocol = protocol
        self.stream_id = stream_id
        self.buffer = b""
        self.ended = False
        self.waiter: asyncio.Future[None] | None = None

    def put(self, data: bytes, *, ended: bool = False) -> None:
        self.buffer += data
        self.ended = self.ended or ended
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def receive(self, size: int) -> bytes:
        while len(self.buffer) < size and not self.ended:
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter
        message, self.buffer = self.buffer[:size], self.buffer[size:]
        return message

    def send(self, data: bytes, *, end: bool = False) -> None:
        self.protocol.h2.send_data(self.stream_id, data, end_stream=end)
        self.protocol.write()


def h2_tasks_server(port: int) -> None:
    """What is received on a stream is given to a task, which answers: as ours and grpclib's do."""
    from h2 import events

    class TasksProtocol(h2_protocol(client_side=False)):
        def __init__(self) -> None:
            super().__init__()
            self.streams: dict[int, H2Stream] = {}
            self.tasks: set[asyncio.Task[None]] = set()

        def handle(self, event: Any) -> None:
            if isinstance(event, events.RequestReceived):
                self.streams[event.stream_id] = stream = H2Stream(self, event.stream_id)
                self.tasks.add(asyncio.ensure_future(self.echo(stream)))
            elif isinstance(event, events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.streams[event.stream_id].put(event.data)
            elif isinstance(event, events.StreamEnded):
                self.streams[event.stream_id].put(b"", ended=True)

        async def echo(self, stream: H2Stream) -> None:
            self.h2.send_headers(stream.stream_id, [(":status", "200")])
            while message := await stream.receive(len(MESSAGE)):
                stream.send(message)
            stream.send(b"", end=True)

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(TasksProtocol, HOST, port)
        await server.serve_forever()

    asyncio.run(serve())


def h2_client(port: int, count: int, streams: int) -> float:
    from h2 import events

    class ClientProtocol(h2_protocol(client_side=True)):
        def __init__(self) -> None:
            super().__init__()
            self.streams: dict[int, H2Stream] = {}

        def handle(self, event: Any) -> None:
            if isinstance(event, events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.streams[event.stream_id].put(event.data)
            elif isinstance(event, events.StreamEnded):
                self.streams[event.stream_id].put(b"", ended=True)
            elif isinstance(event, events.StreamReset | events.ConnectionTerminated):
                raise AssertionError(event)

        def open(self) -> H2Stream:
            stream_id = self.h2.get_next_available_stream_id()
            self.streams[stream_id] = stream = H2Stream(self, stream_id)
            fields = [(":method", "POST"), (":scheme", "http"), (":authority", HOST), (":path", "/")]
            self.h2.send_headers(stream_id, fields)
            self.write()
            return stream

    async def exchange(stream: H2Stream) -> None:
        stream.send(MESSAGE)
        check_back(await stream.receive(len(MESSAGE)))

    async def call() -> float:
        _, protocol = await asyncio.get_running_loop().create_connection(ClientProtocol, HOST, port)

        async def one_stream(share: Iterator[int], warmed: Warmed) -> None:
            stream = protocol.open()
            for _ in range(WARM_UP):
                await exchange(stream)
            await warmed()
            for _ in share:
                await exchange(stream)
            stream.send(b"", end=True)
            if await stream.receive(1):
                raise AssertionError("more came back than was sent")

        try:
            return await exchange_on_all(streams, count, one_stream)
        finally:
            protocol.transport.close()
            await protocol.lost

    return asyncio.run(call())


SERVERS = {
    "trio_h2": trio_h2_server,
    "grpclib": grpclib_server,
    "h2 on asyncio": h2_server,
    "h2 on asyncio with tasks": h2_tasks_server,
}
CLIENTS = {
    "trio_h2": trio_h2_client,
    "grpclib": grpclib_client,
    "h2 on asyncio": h2_client,
    "h2 on asyncio with tasks": h2_client,
}


def main(name: str, port: str, count: str = "", streams: str = "") -> None:
    if not count:
        SERVERS[name](int(port))
    else:
        seconds = CLIENTS[name](int(port), int(count), int(streams))
        print(json.dumps({"requests": int(count), "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
