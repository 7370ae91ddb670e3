"""A storm on a pool: `python -m tests.pool_storm [--through httpx] [--tls]`. Exit code 1 if it does not hold.

A server sends GOAWAY every 500 requests, drops the connection every 900 and refuses every fiftieth; a third of the
requests is cancelled at random. Each of the others is answered right, or was on a connection that was dropped, and
raises an error that is not safe to retry. None is processed twice, which the server counts, and nothing is left.
"""

from __future__ import annotations

import argparse
import importlib
import random
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio
import trustme

import trio_h2

GOAWAY_EVERY = 500
DROP_EVERY = 900
REFUSE_EVERY = 50
GRACE = 60.0  # seconds: more than any request takes, so that one that stands still is found
AT_ONCE = 150
CANCELLED_WITHIN = 0.05  # seconds

CLIENTS = ("httpx", "httpx2")
"""What asks through a pool, beside a pool itself: by our transports."""

Ask = Callable[[str, bytes], Awaitable[bytes]]
"""Makes a request with a body, of which its answer is the reverse; the URL and the body are given."""


@dataclass
class StormyServer:
    """What the server does and counts.

    Attributes:
        seen: requests that came, refused ones too.
        processed: how often each was processed, by its number.
        refused, goaways, drops: how often it did each.
    """

    nursery: trio.Nursery
    seen: int = 0
    processed: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    goaways: int = 0
    drops: int = 0

    async def handler(self, stream: trio_h2.ServerStream) -> None:
        self.seen += 1
        number = self.seen
        if number % REFUSE_EVERY == 0:
            self.refused += 1
            await stream.reset(trio_h2.ErrorCodes.REFUSED_STREAM)
            return
        assert stream.request.path is not None
        self.processed[stream.request.path] += 1
        if number % GOAWAY_EVERY == 1:
            self.goaways += 1
            self.nursery.start_soon(stream.connection.shutdown, GRACE)
        if number % DROP_EVERY == 2:
            self.drops += 1
            self.drop(stream.connection)
        body = await stream.read()
        await trio.sleep(random.expovariate(1 / 0.005))
        await stream.respond(200, body=body[::-1])

    @staticmethod
    def drop(connection: trio_h2.ServerConnection) -> None:
        """As a machine that loses its power: the socket is gone, whatever was on its way."""
        transport = connection.transport
        if isinstance(transport, trio.SSLStream):
            transport = transport.transport_stream
        assert isinstance(transport, trio.SocketStream)
        transport.socket.close()


@dataclass
class Outcome:
    """What became of the requests.

    Attributes:
        answered, cancelled: how many were.
        lost: how many were on a connection that was dropped, and may have been processed.
        faults: what must not be, in words.
    """

    answered: int = 0
    cancelled: int = 0
    lost: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = f"{self.answered} answered, {self.cancelled} cancelled, {self.lost} lost with their connection"
        return "\n".join([counts, *self.faults])


async def one(ask: Ask, url: str, number: int, chance: random.Random, outcome: Outcome) -> None:
    """Make a request, which may be cancelled, and judge what comes of it."""
    body = b"%d " % number * chance.choice([1, 1, 1, 1, 20_000])
    begun = trio.current_time()
    limit = chance.uniform(0, CANCELLED_WITHIN) if chance.random() < 1 / 3 else 60
    try:
        with trio.move_on_after(limit) as scope:
            answer = await ask(f"{url}/{number}", body)
    except trio_h2.ConnectionTerminatedError as error:
        outcome.lost += 1
        if error.safe_to_retry:
            outcome.faults.append(f"request {number}: {error}, which is safe to retry")
    except Exception as error:
        took = trio.current_time() - begun
        outcome.faults.append(f"request {number}, of {len(body)} octets, after {took:.2f} s: {error!r}")
    else:
        if scope.cancelled_caught:
            outcome.cancelled += 1
            if limit == 60:
                outcome.faults.append(f"request {number}: no answer within a minute")
        else:
            outcome.answered += 1
            if answer != body[::-1]:
                outcome.faults.append(f"request {number}: a wrong answer")


async def blow(ask: Ask, url: str, requests: int, seed: int) -> Outcome:
    """Make so many requests, some at once."""
    outcome = Outcome()
    chance = random.Random(seed)
    numbers = iter(range(requests))

    async def ask_on() -> None:
        for number in numbers:
            await one(ask, url, number, chance, outcome)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(ask_on)
    return outcome


async def through_pool(pool: trio_h2.Pool, url: str, body: bytes) -> bytes:
    """Ask in one of the ways there are."""
    if len(body) % 2:
        return (await pool.request("POST", url, body=body)).body
    async with pool.stream("POST", url, body=lambda: [body[:7], body[7:]]) as stream:
        return await stream.read()


async def through_client(client: Any, url: str, body: bytes) -> bytes:
    """Ask by a client of httpx, or httpx2, in one of the ways there are."""
    try:
        if len(body) % 2:
            answer: bytes = (await client.post(url, content=body)).content
            return answer
        async with client.stream("POST", url, content=body) as response:
            return b"".join([chunk async for chunk in response.aiter_raw()])
    except Exception as error:
        raise error.__cause__ or error from None


@asynccontextmanager
async def opened(through: str, context: ssl.SSLContext | None) -> AsyncIterator[tuple[Ask, trio_h2.Pool]]:
    """What asks, and the pool behind it."""
    if through == "pool":
        async with trio_h2.open_pool(ssl_context=context, retries=5) as pool:
            yield partial(through_pool, pool), pool
        return
    adapter = importlib.import_module(f"trio_h2.adapters.{through}")
    transport = adapter.H2Transport(False if context is None else context, retries=5)
    async with importlib.import_module(through).AsyncClient(transport=transport, timeout=None) as client:
        yield partial(through_client, client), transport.pool


async def storm(requests: int, *, tls: bool, seed: int, through: str = "pool") -> tuple[Outcome, StormyServer]:
    """A server, a pool, and the storm between them; `through` is `"pool"`, or one of `CLIENTS`."""
    server_context = client_context = None
    if tls:
        authority = trustme.CA()
        server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(server_context)
        client_context = ssl.create_default_context()
        authority.configure_trust(client_context)
    async with trio.open_nursery() as nursery:
        server = StormyServer(nursery)
        serve = partial(trio_h2.serve_h2, server.handler, 0, host="127.0.0.1", ssl_context=server_context)
        listening: trio_h2.H2Server = await nursery.start(serve)
        url = f"http{'s' if tls else ''}://127.0.0.1:{listening.port}"
        async with opened(through, client_context) as (ask, pool):
            outcome = await blow(ask, url, requests, seed)
            await quiet(pool, outcome)
        with trio.move_on_after(10) as patience:
            while listening.connections:  # noqa: ASYNC110
                await trio.sleep(0.01)
        if patience.cancelled_caught:
            outcome.faults.append(f"left on the server: {listening.connections}")
        nursery.cancel_scope.cancel()
    outcome.faults += [f"{path} was processed {n} times" for path, n in server.processed.items() if n > 1]
    return outcome, server


def left_of(origin: trio_h2.OriginStatistics) -> bool:
    """Whether anything is under way to an origin."""
    return bool(origin.streams or origin.waiting or origin.leaving or origin.opening)


async def quiet(pool: trio_h2.Pool, outcome: Outcome) -> None:
    """See that no stream, no request that waits and no connection beyond the limit is left."""
    with trio.move_on_after(15):
        while any(left_of(each) for each in pool.statistics().values()):  # noqa: ASYNC110
            await trio.sleep(0.01)
        return
    outcome.faults.append(f"left in the pool: {pool.statistics()}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.pool_storm", description="Exit with 1 if it does not hold.")
    parser.add_argument("--requests", type=int, default=10_000, help="how many (default: 10,000)")
    parser.add_argument("--through", choices=["pool", *CLIENTS], default="pool", help="what asks (default: pool)")
    parser.add_argument("--tls", action="store_true", help="over TLS")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of all that is chosen at random")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    storming = partial(storm, arguments.requests, tls=arguments.tls, seed=arguments.seed, through=arguments.through)
    outcome, server = trio.run(storming)
    print(outcome)
    print(f"the server saw {server.seen}: {server.refused} refused, {server.goaways} GOAWAYs, {server.drops} drops")
    sys.exit(bool(outcome.faults))


if __name__ == "__main__":
    main()
