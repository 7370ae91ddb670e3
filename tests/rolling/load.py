"""A load that may lose nothing: our own client, which honours GOAWAY and connects again at once.

    load = Load(url, connections=20, ssl_context=context)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.run)
        ...                                 # do to the servers what is to be done
        load.stop()
    load.lost                               # requests that failed and may not be tried again

The server answers as `rolling_app.py` does: each response says in `x-worker` who made it.
"""

from __future__ import annotations

import itertools
import random
import ssl
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import trio

import trio_h2

__all__ = ["Load", "Loss"]

LONGEST = 30.0
"""Seconds after which a request hangs: none takes a tenth of it."""

PAUSE = 0.05
"""Seconds before another try to connect."""

SIZES = (0, 100, 3_000, 60_000)


@dataclass(frozen=True)
class Loss:
    """A request that was not answered as it should have been, and may not be tried again.

    Attributes:
        request: what it asked for.
        port: its client's port, by which the connection is known to the server. 0 if it had none any more.
        begun: when the client began to connect, on the clock of `time.monotonic`. TLS may come to its end here when the
            server is no more.
        at: when it failed.
        error: with what.
        worker: who had begun to answer it, "" for nobody.
    """

    request: str
    port: int
    begun: float
    at: float
    error: str
    worker: str = ""


@dataclass
class Route:
    """A connection, when it was begun, and until when new requests are made on it."""

    connection: trio_h2.ClientConnection
    begun: float
    until: float
    port: int
    over: trio.Event = field(default_factory=trio.Event)


class Load:
    """Args:
        url: of the server.
        connections: how many are open at a time, beside those that drain.
        streams: how many requests are made at a time on each.
        ssl_context: for `https`.
        pause: seconds between two requests of one stream, on the average.
        lifetime: seconds after which a connection is left for another one, on the average: so there are new ones.

    Attributes:
        answered: how many requests were, by who answered them.
        connected: how many connections were opened.
        retried: requests whose failure was safe to retry; each of them was made again.
        unconnected: why connections could not be opened, and how often.
        lost: those that failed otherwise.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int = 20,
        streams: int = 3,
        ssl_context: ssl.SSLContext | None = None,
        pause: float = 0.02,
        lifetime: float = 3,
        seed: str = "1",
    ) -> None:
        self.answered: Counter[str] = Counter()
        self.connected = 0
        self.retried: list[str] = []
        self.unconnected: Counter[str] = Counter()
        self.lost: list[Loss] = []
        self._url = url
        self._connections = connections
        self._streams = streams
        self._context = ssl_context
        self._pause = pause
        self._lifetime = lifetime
        self._rng = random.Random(seed)
        self._numbers = itertools.count(1)
        self._again: deque[str] = deque()
        self._stopping = trio.Event()

    async def run(self) -> None:
        """Make requests until `stop`; returns when all have been answered, or lost."""
        async with trio.open_nursery() as nursery:
            for _ in range(self._connections):
                nursery.start_soon(self._keep_connected, nursery)

    def stop(self) -> None:
        """Make no more new requests."""
        self._stopping.set()

    @property
    def _is_over(self) -> bool:
        return self._stopping.is_set() and not self._again

    async def _keep_connected(self, nursery: trio.Nursery) -> None:
        """Have one connection that takes requests, until there are none; those that take no more drain beside it."""
        while not self._is_over:
            route = await nursery.start(self._connect)
            if route is None:
                await trio.sleep(PAUSE)
            else:
                await route.over.wait()

    async def _connect(self, task_status: trio.TaskStatus[Route | None]) -> None:
        started = False
        begun = time.monotonic()
        try:
            async with trio_h2.connect(self._url, ssl_context=self._context) as connection:
                self.connected += 1
                address = connection.local_address
                until = time.monotonic() + self._rng.expovariate(1 / self._lifetime)
                route = Route(connection, begun, until, address[1] if isinstance(address, tuple) else 0)
                started = True
                task_status.started(route)
                async with trio.open_nursery() as nursery:
                    for _ in range(self._streams):
                        nursery.start_soon(self._use, route)
        except (OSError, trio_h2.HandshakeError) as error:
            if started:
                raise
            self.unconnected[repr(error)] += 1
            task_status.started(None)

    async def _use(self, route: Route) -> None:
        while route.connection.accepting and time.monotonic() < route.until and not self._is_over:
            request = self._again.popleft() if self._again else self._next()
            await self._make(route, request)
            await trio.sleep(self._rng.expovariate(1 / self._pause))
        route.over.set()

    def _next(self) -> str:
        kind = self._rng.choices(["small", "echo", "slow"], [80, 15, 5])[0]
        return f"/{kind}/{next(self._numbers)}/{self._rng.choice(SIZES)}"

    async def _make(self, route: Route, request: str) -> None:
        try:
            with trio.fail_after(LONGEST):
                await self._exchange(route.connection, request)
        except trio_h2.H2Error as error:
            if error.safe_to_retry:
                self.retried.append(request)
                self._again.append(request)
            else:
                self._lose(route, request, error)
        except (trio.TooSlowError, WrongAnswer) as error:
            self._lose(route, request, error)

    def _lose(self, route: Route, request: str, error: Exception) -> None:
        causes = f"{error!r} <- {error.__cause__!r}"
        response: trio_h2.Response | None = getattr(error, "response", None)
        worker = "" if response is None else response.headers.get("x-worker", "")
        self.lost.append(Loss(request, route.port, route.begun, time.monotonic(), causes, worker))

    async def _exchange(self, connection: trio_h2.ClientConnection, request: str) -> None:
        _, kind, number, size = request.split("/")
        expected = number.encode() * (int(size) // len(number))
        if kind == "echo":
            response = await connection.request("POST", request, body=_pieces(expected))
        else:
            response = await connection.request("GET", request)
        if response.status != 200 or response.body != expected:
            raise WrongAnswer(response, len(expected))
        self.answered[response.headers["x-worker"]] += 1


class WrongAnswer(Exception):
    """A response that is not what was asked for."""

    def __init__(self, response: trio_h2.Response, expected: int) -> None:
        super().__init__(f"status {response.status}, {len(response.body)} of {expected} octets")
        self.response = response


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 10_000):
        yield body[start : start + 10_000]
        await trio.sleep(0.01)
