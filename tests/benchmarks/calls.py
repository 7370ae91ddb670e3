"""What a request costs in counts, which do not vary with the machine: `python -m tests.benchmarks calls`.

Both sides run in one process: under a clock that stands still, the tasks of a turn in order (trio throws dice for it),
with no garbage collection. Three times over: to count calls of Python and of C functions, steps of tasks and turns of
trio's loop, over memory streams; to count the objects made, likewise; and to count system calls, over a pair of
sockets. What counts for whom, `meters.py` says.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar
from unittest.mock import patch

import attrs
import trio
import trio.testing
from trio._core import _run as trio_run

import trio_h2
from tests.benchmarks.meters import SIDE, SIDES, Calls, Meter, Objects, SystemCalls
from tests.engine.helpers import whole_reads

M = TypeVar("M", bound=Meter)
Ends = tuple[trio.abc.Stream, trio.abc.Stream]
MIB = 1 << 20
BROWSER = [
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9"),
    ("cache-control", "no-cache"),
    ("referer", "https://example.org/articles"),
    ("sec-ch-ua-platform", '"Linux"'),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "same-origin"),
    ("cookie", "session=0123456789abcdef; theme=dark"),
]


@attrs.frozen
class Counts:
    """Of one request, or of whatever a workload repeats.

    Attributes:
        python, c, steps: calls of Python functions, of C functions, and steps of tasks, by side.
        turns: of trio's loop.
        objects: made, by side.
        system: calls of the kernel for a socket, by side.
        polls: turns of trio's loop over sockets; each is one system call more, for both sides.
    """

    python: dict[str, float]
    c: dict[str, float]
    steps: dict[str, float]
    turns: float
    objects: dict[str, float]
    system: dict[str, float]
    polls: float


@attrs.frozen
class Work:
    """What is counted.

    Attributes:
        handler: of the server.
        once: what the client does each time.
        at_once: how many of its tasks do it.
        times: how often all of them together do it.
    """

    handler: Callable[[trio_h2.ServerStream], Awaitable[None]]
    once: Callable[[trio_h2.ClientConnection], Awaitable[object]]
    at_once: int
    times: int


async def hello(stream: trio_h2.ServerStream) -> None:
    await stream.respond(200, [("content-type", "text/plain")], b"hello")


async def page(stream: trio_h2.ServerStream) -> None:
    fields = [("content-type", "text/html; charset=utf-8"), ("cache-control", "max-age=60"), ("vary", "accept")]
    await stream.respond(200, fields, bytes(1024))


async def download(stream: trio_h2.ServerStream) -> None:
    await stream.respond(200, (), bytes(MIB))


async def take(stream: trio_h2.ServerStream) -> None:
    async for _ in stream:
        pass
    await stream.respond(200)


async def echo(stream: trio_h2.ServerStream) -> None:
    await stream.send_response(200)
    async for message in stream:
        await stream.send_all(message)


async def get(connection: trio_h2.ClientConnection) -> None:
    await connection.request("GET", "/")


async def browse(connection: trio_h2.ClientConnection) -> None:
    await connection.request("GET", "/articles/one", headers=BROWSER)


async def upload(connection: trio_h2.ClientConnection) -> None:
    await connection.request("POST", "/", body=bytes(MIB))


async def messages(connection: trio_h2.ClientConnection) -> None:
    """A hundred there and back on one stream."""
    async with connection.stream("POST", "/") as stream:
        for _ in range(100):
            await stream.send_all(bytes(100))
            await stream.receive_some()


WORK = {
    "a GET, one at once": Work(hello, get, 1, 100),
    "a GET, 100 at once": Work(hello, get, 100, 800),
    "a browser's GET, 100 at once": Work(page, browse, 100, 800),
    "1 MiB down": Work(download, get, 1, 8),
    "1 MiB up": Work(take, upload, 1, 8),
    "100 messages there and back": Work(echo, messages, 1, 2),
}


class StillClock(trio.abc.Clock):
    """Time that stands still, asked for in as many calls as trio's own clock."""

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return 1000.0

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return max(0.0, deadline - 1000.0)


class NoDice:
    """In place of what trio throws each turn, to run its tasks forwards or backwards."""

    def random(self) -> float:
        return 0.0


async def as_side(side: str, run: Callable[[], Awaitable[object]]) -> None:
    SIDE.set(side)
    await run()


def count(work: Work, trace: trio_h2.Trace | None = None) -> Counts:
    """Count it; `trace` is the server's."""

    def each(counter: Counter[str]) -> dict[str, float]:
        return {side: counter[side] / work.times for side in SIDES}

    calls = metered(work, Calls(), trace=trace)
    objects = metered(work, Objects(), trace=trace)
    system = metered(work, SystemCalls(), socket_pair, trace=trace)
    return Counts(
        each(calls.python),
        each(calls.c),
        each(calls.steps),
        calls.turns / work.times,
        each(objects.made),
        each(system.made),
        system.turns / work.times,
    )


def metered(
    work: Work,
    meter: M,
    ends: Callable[[], Ends] = trio.testing.memory_stream_pair,
    trace: trio_h2.Trace | None = None,
) -> M:
    """The meter after it has counted: the same each time, for nothing is left to the clock or to chance."""
    gc.collect()
    gc.disable()
    try:
        with patch.object(trio_run, "_r", NoDice()), patch.object(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", False):
            trio.run(run, work, meter, ends, trace, clock=StillClock())
    finally:
        gc.enable()
    return meter


def socket_pair() -> Ends:
    near, far = trio.socket.socketpair()
    return trio.SocketStream(near), trio.SocketStream(far)


async def run(work: Work, meter: Meter, ends: Callable[[], Ends], trace: trio_h2.Trace | None) -> None:
    """Have the meter count once it was done for a while. No slices: those end by time."""
    whole_reads()
    client_end, server_end = ends()

    async def client() -> None:
        async with trio_h2.connect_over(client_end, authority="example.org") as connection:
            await repeat(connection, work.times // 4)
            meter.start()
            await repeat(connection, work.times)
            meter.stop()

    async def repeat(connection: trio_h2.ClientConnection, times: int) -> None:
        left = iter(range(times))

        async def caller() -> None:
            for _ in left:
                await work.once(connection)

        async with trio.open_nursery() as callers:
            for _ in range(work.at_once):
                callers.start_soon(caller)

    async with trio.open_nursery() as nursery:
        serve = partial(trio_h2.serve_h2_connection, work.handler, server_end, trace=trace)
        nursery.start_soon(as_side, "server", serve)
        nursery.start_soon(as_side, "client", client)


SMALL_GET, WANTED = "a GET, 100 at once", 200
HEADS = ("Python", "C", "steps", "objects", "system")


def column(figure: float) -> str:
    return f"{figure:10.3f}" if figure < 1 else f"{figure:10,.1f}"


def table() -> str:
    columns = "".join(f"{head:>10}" for head in HEADS)
    sides = "".join(f"{side:>{len(columns)}}" for side in SIDES)
    small_get = 0.0
    lines = [f"{'':30}{sides}", f"{'':30}{columns}{columns}{'turns':>10}{'polls':>10}"]
    for name, work in WORK.items():
        counts = count(work)
        if name == SMALL_GET:
            small_get = counts.python["server"]
        by_side = (counts.python, counts.c, counts.steps, counts.objects, counts.system)
        row = [one[side] for side in SIDES for one in by_side]
        lines.append(f"{name:30}" + "".join(map(column, [*row, counts.turns, counts.polls])))
    outcome = "reached" if small_get <= WANTED else f"short by {small_get / WANTED - 1:.0%}"
    lines += ["", f"Python calls of {SMALL_GET}, server: {small_get:,.1f}, wanted at most {WANTED}: {outcome}"]
    return "\n".join(lines)
