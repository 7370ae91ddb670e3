"""Many requests, a third of them cancelled or failed at random points: the rest is right and nothing is left.

The set makes 900 requests; with TRIO_H2_FULL=1 in the environment they are 10,000. The random numbers are seeded.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import Pair, check_quiet, client_and_server, pattern, read_all
from trio_h2 import Config

REQUESTS = 10_000 if os.environ.get("TRIO_H2_FULL") else 900
WORKERS = 120
"""More than the limit of 100 concurrent streams, so that some requests wait for a slot."""

POINTS = ["before", "headers", "uploading", "response", "downloading", "end", "sometime"]

SMALL = Config(initial_window_size=20_000, connection_window_size=65_535, write_buffer_size=30_000)
TIGHT = Config(initial_window_size=20_000, connection_window_size=100_000, max_unread=50_000)


@dataclass
class Chaos:
    """One run: how many requests went which way."""

    rng: random.Random
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    errors: list[str] = field(default_factory=list)

    async def request(self, pair: Pair, number: int) -> None:
        """One request of random sizes, whose response is held against what it has to be."""
        up, down = self.rng.randrange(60_000), self.rng.randrange(60_000)
        target = f"/{number}?down={down}"
        body = pattern(up, number)
        response = await pair.client.request(
            "POST", target, body=self.chunks(body), headers=[("x-number", str(number))]
        )
        expected = hashlib.sha256(body).hexdigest()
        if (response.status, response.headers["x-sha256"]) != (200, expected):
            self.errors.append(f"{target}: {response.status} {response.headers}")
        if response.body != pattern(down, number):
            self.errors.append(f"{target}: {len(response.body)} octets of the wrong body")
        self.finished += 1

    @staticmethod
    async def chunks(body: bytes) -> object:
        for offset in range(0, len(body), 7_000):
            yield body[offset : offset + 7_000]

    async def cancelled_request(self, pair: Pair, number: int) -> None:
        """The same by `stream()`, and cancelled at a random point."""
        point = self.rng.choice(POINTS)
        up, down = self.rng.randrange(60_000), self.rng.randrange(60_000)
        with trio.CancelScope() as scope:
            if point == "before":
                scope.cancel()
            elif point == "sometime":
                scope.deadline = trio.current_time() + self.rng.random() * 0.01
            async with pair.client.stream("POST", f"/{number}?down={down}") as stream:
                if point == "headers":
                    scope.cancel()
                await stream.send_all(pattern(up, number))
                if point == "uploading":
                    scope.cancel()
                await stream.send_all(b"more")
                await stream.send_eof()
                await stream.response()
                if point == "response":
                    scope.cancel()
                received = await stream.receive_some(5_000)
                if point == "downloading":
                    scope.cancel()
                received += await read_all(stream)
                assert received == pattern(down, number)
                if point == "end":
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
        self.cancelled += scope.cancelled_caught

    async def handler(self, stream: trio_h2.ServerStream) -> None:
        """Answer with the body's hash and with as much as the target asks for; sometimes dawdle."""
        number, _, down = (stream.request.path or "")[1:].partition("?down=")
        digest = hashlib.sha256()
        async for chunk in stream:
            digest.update(chunk)
            if not self.rng.randrange(10):
                await trio.sleep(0.001)
        await stream.send_response(200, [("x-sha256", digest.hexdigest())])
        body = pattern(int(down), int(number))
        for offset in range(0, len(body), 9_000):
            await stream.send_all(body[offset : offset + 9_000])
        await stream.send_eof()


async def run(chaos: Chaos, pair: Pair, jobs: list[object]) -> None:
    """Work through the jobs in many tasks."""
    waiting = iter(jobs)

    async def worker() -> None:
        for job in waiting:
            await job()

    async with trio.open_nursery() as nursery:
        for _ in range(WORKERS):
            nursery.start_soon(worker)


@pytest.mark.parametrize("config", [None, SMALL, TIGHT], ids=["default", "small", "tight"])
async def test_a_third_of_the_requests_is_cancelled(config: Config | None, autojump_clock: MockClock) -> None:
    chaos = Chaos(random.Random(20))
    before = trio.lowlevel.current_statistics().tasks_living
    count = REQUESTS if config is None else REQUESTS // 3
    async with client_and_server(chaos.handler, config=config, server_config=config) as pair:
        await chaos.request(pair, 0)
        await check_quiet(pair)
        idle = trio.lowlevel.current_statistics().tasks_living
        jobs = []
        for number in range(1, count):
            victim = chaos.rng.randrange(3) == 0
            method = chaos.cancelled_request if victim else chaos.request
            jobs.append(lambda method=method, number=number: method(pair, number))
        await run(chaos, pair, jobs)
        assert chaos.errors == []
        assert chaos.finished > count * 0.6
        assert chaos.cancelled > count * 0.2
        await check_quiet(pair)
        assert trio.lowlevel.current_statistics().tasks_living == idle
        # Every slot is free again: a full load of requests runs at once.
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(chaos.request, pair, number)
        assert chaos.errors == []
        await check_quiet(pair)
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == before


class FailingChaos(Chaos):
    """A third of the handlers raises at a random point."""

    async def handler(self, stream: trio_h2.ServerStream) -> None:
        if not stream.request.headers.get("x-fail"):
            await super().handler(stream)
            return
        point = stream.request.headers["x-fail"]
        if point == "before":
            raise RuntimeError(point)
        await stream.receive_some(5_000)
        if point == "headers":
            raise RuntimeError(point)
        await stream.send_response(200)
        if point == "response":
            raise RuntimeError(point)
        if point == "uploading":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send_all, bytes(100_000))
                await stream.receive_some(5_000)
                raise RuntimeError(point)
        await read_all(stream)
        await stream.send_all(pattern(30_000))
        if point == "downloading":
            raise RuntimeError(point)
        await stream.send_eof()
        if point == "end":
            raise RuntimeError(point)
        await trio.sleep(self.rng.random() * 0.01)
        raise RuntimeError(point)

    async def failing_request(self, pair: Pair, number: int) -> None:
        """A request whose handler raises: an error, a 500, or, when all was sent by then, the whole response."""
        point = self.rng.choice(POINTS)
        try:
            response = await pair.client.request(
                "POST", "/", body=pattern(self.rng.randrange(60_000), number), headers=[("x-fail", point)]
            )
        except trio_h2.StreamResetError as error:
            assert error.error_code == trio_h2.ErrorCodes.INTERNAL_ERROR
            assert point in ("response", "uploading", "downloading")
        else:
            if response.status == 500:
                assert point in ("before", "headers")
            else:
                assert point in ("end", "sometime")
                assert response.body == pattern(30_000)
        self.failed += 1


@pytest.mark.parametrize("config", [None, SMALL, TIGHT], ids=["default", "small", "tight"])
async def test_a_third_of_the_handlers_raises(
    config: Config | None, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    chaos = FailingChaos(random.Random(21))
    count = REQUESTS if config is None else REQUESTS // 3
    async with client_and_server(chaos.handler, config=config, server_config=config) as pair:
        await chaos.request(pair, 0)
        await check_quiet(pair)
        idle = trio.lowlevel.current_statistics().tasks_living
        jobs = []
        for number in range(1, count):
            method = chaos.failing_request if chaos.rng.randrange(3) == 0 else chaos.request
            jobs.append(lambda method=method, number=number: method(pair, number))
        with caplog.at_level(logging.CRITICAL, "trio_h2"):
            await run(chaos, pair, jobs)
        assert chaos.errors == []
        assert chaos.failed > count * 0.2
        assert chaos.finished + chaos.failed == count
        await check_quiet(pair)
        assert trio.lowlevel.current_statistics().tasks_living == idle


async def test_cancelled_requests_and_failing_handlers_at_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    chaos = FailingChaos(random.Random(22))
    count = REQUESTS // 3
    async with client_and_server(chaos.handler, config=SMALL, server_config=SMALL) as pair:
        await chaos.request(pair, 0)
        jobs = []
        for number in range(1, count):
            method = chaos.rng.choice([chaos.failing_request, chaos.cancelled_request, chaos.request])
            jobs.append(lambda method=method, number=number: method(pair, number))
        with caplog.at_level(logging.CRITICAL, "trio_h2"):
            await run(chaos, pair, jobs)
        assert chaos.errors == []
        await check_quiet(pair)
