"""A client: `python -m tests.soak.client SEED NUMBER CONNECTIONS STARTED_FILE CA PORT TLS_PORT SAMPLE_EVERY`.

It keeps so many connections, of random length of life, each with some workers that make one request after another. A
request that failed and is safe to retry is made again, on whichever connection takes it next. `stop` on stdin ends it:
it makes the retries that are due, closes all, and reports.
"""

from __future__ import annotations

import random
import ssl
import sys
from collections import Counter, deque
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import trio
import trio.testing

import trio_h2
from tests.soak.memory import report_samples
from tests.soak.traffic import OWN_CANCELS, Kind, WrongAnswer, choose, push, read_push
from tests.soak.wire import HOST, MAX_ATTEMPTS, Started, commands, say, way

COUNTS_EVERY = 1.0
LONGEST = 120.0
"""Seconds after which a request hangs: nothing here takes a tenth of it."""

CONFIGS = [
    {},
    {"enable_push": True},
    {"initial_window_size": 16 * 1024, "max_window_size": 0},
    {"connection_window_size": 65_535, "initial_window_size": 65_535},
]
KEEPALIVE = {"keepalive_interval": 5.0, "keepalive_timeout": 15.0}
SHARE_OF_ATTEMPTS = MAX_ATTEMPTS // 8


@dataclass
class Route:
    """A connection, for as long as it is used.

    Attributes:
        scope: when it is cancelled, all that happens on the connection is.
        until: when no new request is made on it any more.
    """

    connection: trio_h2.ClientConnection
    pushes: bool
    scope: trio.CancelScope
    until: float


class Client:
    def __init__(self, seed: str, number: int, started: Started, context: ssl.SSLContext, urls: list[str]) -> None:
        self._rng = random.Random(f"{seed}:client:{number}")
        self._started = started
        self._context = context
        self._urls = urls
        self._attempt = number * SHARE_OF_ATTEMPTS
        # What has to be made again, with the attempt that failed.
        self._again: deque[tuple[Kind, int]] = deque()
        self._stopping = False
        self.made: Counter[str] = Counter()
        self.limits_hit: Counter[str] = Counter()

    async def route(self, index: int) -> None:
        """Keep up a connection, until there is nothing more to do."""
        url = self._urls[index % len(self._urls)]
        while not self._stopping or self._again:
            context = self._context if url.startswith("https") else None
            config = trio_h2.Config(**{**KEEPALIVE, **self._rng.choice(CONFIGS)})
            try:
                with trio.move_on_after(self._rng.expovariate(1 / 60)) as scope:  # cancelled half-way, at times
                    async with trio_h2.connect(url, ssl_context=context, config=config) as connection:
                        until = trio.current_time() + self._rng.uniform(1, 20)
                        await self._use(Route(connection, config.enable_push, scope, until))
                    self.limits_hit.update(getattr(connection.statistics(), "limits_hit", {}))
            except (OSError, trio_h2.HandshakeError):
                self.made["connecting failed"] += 1
                await trio.sleep(0.1)

    async def _use(self, route: Route) -> None:
        self.made["connections"] += 1
        async with trio.open_nursery() as reading:
            if route.pushes:
                reading.start_soon(self._read_pushes, route)
            async with trio.open_nursery() as nursery:
                for _ in range(self._rng.randrange(1, 9)):
                    nursery.start_soon(self._work, route)
            reading.cancel_scope.cancel()

    async def _work(self, route: Route) -> None:
        while route.connection.accepting and trio.current_time() < route.until:
            due = self._due(route)
            if due is not None:
                kind, failed = due
                if await self._try(route, kind):
                    self.made["retried"] += 1
                self._check_not_started(kind, failed)
            elif self._stopping:
                return
            else:
                self.made["requests"] += 1
                await self._try(route, choose(self._rng, pushes=route.pushes))
            await trio.sleep(self._rng.expovariate(1 / 0.15))

    def _due(self, route: Route) -> tuple[Kind, int] | None:
        """A request that has to be made again, and can be on this connection; with the attempt that failed."""
        for index, (kind, failed) in enumerate(self._again):
            if route.pushes or kind is not push:
                del self._again[index]
                return kind, failed
        return None

    async def _try(self, route: Route, kind: Kind) -> bool:
        """Make a request; False if it has to be made again."""
        self._attempt += 1
        attempt = self._attempt
        limit = self._rng.expovariate(10) if self._rng.random() < OWN_CANCELS else LONGEST
        outcome = "cancelled"
        try:
            with trio.move_on_after(limit) as scope:
                await kind(route.connection, self._rng, str(attempt))
                outcome = "completed"
            if scope.cancelled_caught and limit == LONGEST:
                outcome = "failed"
                self._failed(route.connection, kind, attempt, TimeoutError(f"no end after {limit} s"))
        except* Exception as group:
            error = first_of(group)
            if isinstance(error, trio_h2.H2Error) and error.safe_to_retry:
                outcome = ""
                self._again.append((kind, attempt))
                self._check_not_started(kind, attempt)
            elif not route.scope.cancel_called:
                outcome = "failed"
                self._failed(route.connection, kind, attempt, error)
        finally:
            if outcome:
                self.made[outcome] += 1
        return bool(outcome)

    async def _read_pushes(self, route: Route) -> None:
        async for stream in route.connection.pushes():
            try:
                await read_push(stream, stream.request.path or "")
                self.made["pushes"] += 1
            except Exception as error:
                if not route.scope.cancel_called:
                    self._failed(route.connection, read_push, 0, error)

    def _check_not_started(self, kind: Kind, attempt: int) -> None:
        """What was safe to retry must never have reached a handler."""
        if attempt in self._started:
            say("broken", what=f"{kind.__name__} was safe to retry, and its handler had started", attempt=attempt)

    def _failed(self, connection: trio_h2.ClientConnection, kind: object, attempt: int, error: object) -> None:
        name = getattr(kind, "__name__", "?")
        if isinstance(error, WrongAnswer) or not isinstance(error, trio_h2.H2Error):
            say("broken", what=f"{name}: {error!r}", attempt=attempt)
        else:
            details = {"request": name, "attempt": attempt, "error": repr(error), "cause": repr(error.__cause__)}
            # Of a connection that was reset at once the peer's address is not known any more.
            link = way(connection.local_address[1], int(connection.authority.rpartition(":")[2]))
            say("failure", link=link, initiator=error.initiator, **details)

    def stop(self) -> None:
        self._stopping = True


def first_of(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


async def run(client: Client, connections: int, sample_every: float) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(report_samples, sample_every)
        nursery.start_soon(_report_counts, client)
        tasks = trio.lowlevel.current_statistics().tasks_living
        async with aclosing(commands()) as words, trio.open_nursery() as routes:
            for index in range(connections):
                routes.start_soon(client.route, index)
            await anext(words, None)
            client.stop()
        await trio.testing.wait_all_tasks_blocked()
        left = trio.lowlevel.current_statistics().tasks_living - tasks
        say("ended", tasks_left=left, made=client.made, limits_hit=client.limits_hit, took=0, grace=0, alive=0)
        nursery.cancel_scope.cancel()


async def _report_counts(client: Client) -> None:
    while True:
        await trio.sleep(COUNTS_EVERY)
        say("made", made=client.made)


def main(
    seed: str, number: str, connections: str, started: str, ca: str, port: str, tls_port: str, sample_every: str
) -> None:
    context = ssl.create_default_context(cafile=ca)
    urls = [f"http://{HOST}:{port}", f"https://{HOST}:{tls_port}"]
    client = Client(seed, int(number), Started(Path(started)), context, urls)
    trio.run(run, client, int(connections), float(sample_every))


if __name__ == "__main__":
    main(*sys.argv[1:])
