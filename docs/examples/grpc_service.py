"""A gRPC service: `python grpc_service.py PORT` serves `demo.Words`, one method of each kind, with `grpc_layer.py`."""

from __future__ import annotations

import signal
import sys
from functools import partial

import trio
from grpc_layer import Code, Method, RpcError, Service, ServiceCall

import trio_h2


def words(name: str) -> Method[str, str]:
    return Method(f"/demo.Words/{name}", str.encode, bytes.decode, str.encode, bytes.decode)


async def upper(call: ServiceCall[str, str]) -> str:
    """One text, and one comes back."""
    text = await call.only()
    if not text:
        raise RpcError(Code.INVALID_ARGUMENT, "there is no text")
    return text.upper()


async def count(call: ServiceCall[str, str]) -> str:
    """Many texts, and how many words they have."""
    return str(sum([len(text.split()) async for text in call]))


async def split(call: ServiceCall[str, str]) -> None:
    """One text, and each of its words."""
    for word in (await call.only()).split():
        await call.send(word, more=True)


async def echo(call: ServiceCall[str, str]) -> None:
    """Many texts, each of which comes back: with `more`, together with those that have come with it."""
    async for text in call:
        await call.send(text, more=True)


async def main(port: int) -> None:
    service = Service()
    service.add(words("Upper"), upper)
    service.add(words("Count"), count)
    service.add(words("Split"), split)
    service.add(words("Echo"), echo)
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            server: trio_h2.H2Server = await nursery.start(partial(trio_h2.serve_h2, service.handle, port))
            print(f"http://localhost:{server.port}", flush=True)
            await anext(signals)
        await server.shutdown()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
