# grpc_calls.py: a service that looks things up, and calls of it: a reply, many replies, a status, a deadline.
from __future__ import annotations

import trio
import trio.testing
from grpc_layer import Client, Code, Method, RpcError, Service, ServiceCall

from trio_h2.testing import in_memory

PRICES = {"apple": 30, "pear": 45, "plum": 20}


def method(name: str) -> Method[str, str]:
    # With protobuf: Method("/shop.Prices/Get", Ask.SerializeToString, Ask.FromString, ...), of the classes.
    return Method(f"/shop.Prices/{name}", str.encode, bytes.decode, str.encode, bytes.decode)


async def get(call: ServiceCall[str, str]) -> str:
    name = await call.only()
    if name not in PRICES:
        raise RpcError(Code.NOT_FOUND, f"there is no {name}")
    return str(PRICES[name])


async def watch(call: ServiceCall[str, str]) -> None:
    """All prices, and then each change of one: there is none."""
    await call.only()
    try:
        for name, price in PRICES.items():
            await call.send(f"{name} {price}")
        await trio.sleep_forever()
    finally:
        print("the service is told that the call is over")


async def main() -> None:
    service = Service()
    service.add(method("Get"), get)
    service.add(method("Watch"), watch)
    async with in_memory(service.handle) as connection:
        client = Client(connection)
        price = await client.unary(method("Get"), "pear", timeout=5)
        print(price)
        try:
            await client.unary(method("Get"), "grape", timeout=5)
        except RpcError as error:
            print(error)
        try:
            async with client.call(method("Watch"), timeout=5) as call:
                await call.send("everything")
                await call.end()
                async for line in call:
                    print(line)
        except RpcError as error:
            await trio.testing.wait_all_tasks_blocked()  # both sides know the deadline: let the other one speak first
            print(error)


trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
