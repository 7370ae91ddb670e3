"""Both ends of gRPC calls: `python -m tests.benchmarks.grpc_calls NAME PORT [KIND COUNT AT_ONCE]`.

Without a kind the server; with it the client, which makes COUNT calls of the kind `unary`, AT_ONCE at once, or moves
COUNT messages on one stream: `replies`, `requests` or `both`. One line of JSON comes out of the client.

Our side is the layer in `docs/examples/grpc_layer.py`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import trio

from tests.benchmarks.pingpong import bytes_codec

HOST = "127.0.0.1"
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

MESSAGE = b"m" * 100
SERVICE = "benchmark.Calls"

WARM_UP = 200
"""Calls, or messages, before the clock starts."""


def check(condition: bool) -> None:
    if not condition:
        raise AssertionError("other messages came back than were due")


# trio_h2 ------------------------------------------------------------------------------------------


def layer() -> Any:
    sys.path.insert(0, str(EXAMPLES))
    import grpc_layer  # type: ignore[import-not-found]

    return grpc_layer


def trio_h2_server(port: int) -> None:
    import trio_h2

    async def unary(call: Any) -> bytes:
        return await call.only()

    async def replies(call: Any) -> None:
        for _ in range(int(await call.only())):
            await call.send(MESSAGE, more=True)

    async def requests(call: Any) -> bytes:
        count = 0
        async for _ in call:
            count += 1
        return b"%d" % count

    async def both(call: Any) -> None:
        async for message in call:
            await call.send(message, more=True)

    grpc_layer = layer()
    service = grpc_layer.Service()
    for handler in (unary, replies, requests, both):
        service.add(grpc_layer.Method(f"/{SERVICE}/{handler.__name__}", bytes, bytes, bytes, bytes), handler)

    async def serve() -> None:
        await trio_h2.serve_h2(service.handle, port, host=HOST)

    trio.run(serve)


def trio_h2_client(port: int, kind: str, count: int, at_once: int) -> float:
    import trio_h2

    grpc_layer = layer()
    method = grpc_layer.Method(f"/{SERVICE}/{kind}", bytes, bytes, bytes, bytes)

    async def unary(client: Any, count: int) -> None:
        async def caller(share: Iterator[int]) -> None:
            for _ in share:
                check(await client.unary(method, MESSAGE) == MESSAGE)

        share = iter(range(count))
        async with trio.open_nursery() as nursery:
            for _ in range(at_once):
                nursery.start_soon(caller, share)

    async def replies(client: Any, count: int) -> None:
        async with client.call(method) as call:
            await call.send(b"%d" % count)
            await call.end()
            check(sum([message == MESSAGE async for message in call]) == count)

    async def send(call: Any, count: int) -> None:
        for _ in range(count):
            await call.send(MESSAGE, more=True)
        await call.end()

    async def requests(client: Any, count: int) -> None:
        async with client.call(method) as call:
            await send(call, count)
            check(int(await call.only()) == count)

    async def both(client: Any, count: int) -> None:
        async with client.call(method) as call, trio.open_nursery() as nursery:
            nursery.start_soon(send, call, count)
            check(sum([message == MESSAGE async for message in call]) == count)

    run = {"unary": unary, "replies": replies, "requests": requests, "both": both}[kind]

    async def measure() -> float:
        async with trio_h2.connect(f"http://{HOST}:{port}") as connection:
            client = grpc_layer.Client(connection)
            await run(client, WARM_UP)
            started = time.perf_counter()
            await run(client, count)
            return time.perf_counter() - started

    return trio.run(measure)


# asyncio: what both of the others share -----------------------------------------------------------


async def timed(run: Callable[[int], Awaitable[None]], count: int) -> float:
    await run(WARM_UP)
    started = time.perf_counter()
    await run(count)
    return time.perf_counter() - started


async def at_once_on_asyncio(call: Callable[[], Awaitable[bytes]], count: int, at_once: int) -> None:
    share = iter(range(count))

    async def caller() -> None:
        for _ in share:
            check(await call() == MESSAGE)

    await asyncio.gather(*[caller() for _ in range(at_once)])


# grpclib ------------------------------------------------------------------------------------------


def grpclib_server(port: int) -> None:
    from grpclib.const import Cardinality, Handler
    from grpclib.server import Server

    async def unary(stream: Any) -> None:
        await stream.send_message(await stream.recv_message())

    async def replies(stream: Any) -> None:
        for _ in range(int(await stream.recv_message())):
            await stream.send_message(MESSAGE)

    async def requests(stream: Any) -> None:
        count = 0
        async for _ in stream:
            count += 1
        await stream.send_message(b"%d" % count)

    async def both(stream: Any) -> None:
        async for message in stream:
            await stream.send_message(message)

    class Calls:
        def __mapping__(self) -> dict[str, Handler]:
            return {
                f"/{SERVICE}/{handler.__name__}": Handler(handler, cardinality, bytes, bytes)
                for handler, cardinality in (
                    (unary, Cardinality.UNARY_UNARY),
                    (replies, Cardinality.UNARY_STREAM),
                    (requests, Cardinality.STREAM_UNARY),
                    (both, Cardinality.STREAM_STREAM),
                )
            }

    async def serve() -> None:
        server = Server([Calls()], codec=bytes_codec())
        await server.start(HOST, port)
        await server.wait_closed()

    asyncio.run(serve())


def grpclib_client(port: int, kind: str, count: int, at_once: int) -> float:
    from grpclib import client

    async def measure() -> float:
        async with client.Channel(HOST, port, codec=bytes_codec()) as channel:
            arguments = channel, f"/{SERVICE}/{kind}", bytes, bytes

            async def unary(count: int) -> None:
                method = client.UnaryUnaryMethod(*arguments)
                await at_once_on_asyncio(lambda: method(MESSAGE), count, at_once)

            async def replies(count: int) -> None:
                async with client.UnaryStreamMethod(*arguments).open() as stream:
                    await stream.send_message(b"%d" % count, end=True)
                    check(sum([message == MESSAGE async for message in stream]) == count)

            async def send(stream: Any, count: int) -> None:
                for _ in range(count):
                    await stream.send_message(MESSAGE)
                await stream.end()

            async def requests(count: int) -> None:
                async with client.StreamUnaryMethod(*arguments).open() as stream:
                    await send(stream, count)
                    check(int(await stream.recv_message()) == count)

            async def both(count: int) -> None:
                async with client.StreamStreamMethod(*arguments).open() as stream:
                    await stream.send_request()
                    sending = asyncio.ensure_future(send(stream, count))
                    check(sum([message == MESSAGE async for message in stream]) == count)
                    await sending

            run = {"unary": unary, "replies": replies, "requests": requests, "both": both}[kind]
            return await timed(run, count)

    return asyncio.run(measure())


# grpcio -------------------------------------------------------------------------------------------


def grpcio_server(port: int) -> None:
    import grpc

    async def unary(request: bytes, context: Any) -> bytes:
        return request

    async def replies(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(int(request)):
            yield MESSAGE

    async def requests(request_iterator: AsyncIterator[bytes], context: Any) -> bytes:
        return b"%d" % sum([1 async for _ in request_iterator])

    async def both(request_iterator: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for message in request_iterator:
            yield message

    async def serve() -> None:
        server = grpc.aio.server()
        handlers = {
            "unary": grpc.unary_unary_rpc_method_handler(unary),
            "replies": grpc.unary_stream_rpc_method_handler(replies),
            "requests": grpc.stream_unary_rpc_method_handler(requests),
            "both": grpc.stream_stream_rpc_method_handler(both),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        server.add_insecure_port(f"{HOST}:{port}")
        await server.start()
        await server.wait_for_termination()

    asyncio.run(serve())


def grpcio_client(port: int, kind: str, count: int, at_once: int) -> float:
    import grpc

    path = f"/{SERVICE}/{kind}"

    async def messages(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield MESSAGE

    async def measure() -> float:
        async with grpc.aio.insecure_channel(f"{HOST}:{port}") as channel:

            async def unary(count: int) -> None:
                method = channel.unary_unary(path)
                await at_once_on_asyncio(lambda: method(MESSAGE), count, at_once)

            async def replies(count: int) -> None:
                call = channel.unary_stream(path)(b"%d" % count)
                check(sum([message == MESSAGE async for message in call]) == count)

            async def requests(count: int) -> None:
                check(int(await channel.stream_unary(path)(messages(count))) == count)

            async def both(count: int) -> None:
                call = channel.stream_stream(path)(messages(count))
                check(sum([message == MESSAGE async for message in call]) == count)

            run = {"unary": unary, "replies": replies, "requests": requests, "both": both}[kind]
            return await timed(run, count)

    return asyncio.run(measure())


SERVERS = {"trio_h2": trio_h2_server, "grpclib": grpclib_server, "grpcio": grpcio_server}
CLIENTS = {"trio_h2": trio_h2_client, "grpclib": grpclib_client, "grpcio": grpcio_client}


def main(name: str, port: str, kind: str = "", count: str = "", at_once: str = "1") -> None:
    if not kind:
        SERVERS[name](int(port))
    else:
        seconds = CLIENTS[name](int(port), kind, int(count), int(at_once))
        print(json.dumps({"requests": int(count), "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
