"""A gRPC client, with `grpc_layer.py`: `python grpc_client.py URL METHOD TEXT...` sends texts, and prints what comes.

`python grpc_client.py http://localhost:PORT /demo.Words/Split "one two"` asks what `grpc_service.py` serves.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import trio
from grpc_layer import Client, ClientCall, Method, RpcError

import trio_h2


async def send(call: ClientCall[str, str], texts: list[str]) -> None:
    with suppress(trio.BrokenResourceError):  # the service wants no more, and whoever receives hears why
        for text in texts:
            await call.send(text)
        await call.end()


async def main(url: str, path: str, texts: list[str]) -> None:
    method = Method(path, str.encode, bytes.decode, str.encode, bytes.decode)
    try:
        async with trio_h2.connect(url) as connection:
            client = Client(connection)
            # Where one text goes and one comes this is `print(await client.unary(method, text, timeout=10))`.
            async with client.call(method, timeout=10) as call, trio.open_nursery() as nursery:
                nursery.start_soon(send, call, texts)
                async for reply in call:
                    print(reply, flush=True)
    except* RpcError as errors:
        sys.exit(str(errors.exceptions[0]))


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3:])
