"""What a request costs in counts, which hardly vary with the machine: `python -m tests.benchmarks calls`.

Both sides run over memory streams in one process. Counted are the calls of Python functions and of C functions (a
coroutine that is resumed counts as called), the steps of tasks, each for the side whose task made them, and the turns
of trio's loop. What trio's loop itself calls between steps, and the memory streams, count for nobody. How many objects
are made is not counted: CPython does not tell.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from types import FrameType

import attrs
import trio
import trio.testing

import trio_h2
from tests.engine.helpers import whole_reads

SIDE: ContextVar[str] = ContextVar("SIDE")
OF_THE_MEASURE = ("/trio/testing/_memory_streams.py", "/trio/_core/_instrumentation.py", __file__)
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
    """

    python: dict[str, float]
    c: dict[str, float]
    steps: dict[str, float]
    turns: float


class Meter(trio.abc.Instrument):
    """Counts while it is an instrument of trio's loop."""

    def __init__(self) -> None:
        self.python: Counter[str] = Counter()
        self.c: Counter[str] = Counter()
        self.steps: Counter[str] = Counter()
        self.turns = 0
        self._side = ""

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        side = task.context.get(SIDE)
        if side is not None:
            self._side = side
            self.steps[side] += 1
            sys.setprofile(self._count)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        sys.setprofile(None)

    def before_io_wait(self, timeout: float) -> None:
        self.turns += 1

    def _count(self, frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code.co_filename.endswith(OF_THE_MEASURE):
            return
        if event == "call":
            self.python[self._side] += 1
        elif event == "c_call":
            self.c[self._side] += 1

    def counts(self, times: int) -> Counts:
        def each(counter: Counter[str]) -> dict[str, float]:
            return {side: counter[side] / times for side in ("server", "client")}

        return Counts(each(self.python), each(self.c), each(self.steps), self.turns / times)


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


async def as_side(side: str, run: Callable[[], Awaitable[object]]) -> None:
    SIDE.set(side)
    await run()


async def count(work: Work, trace: trio_h2.Trace | None = None) -> Counts:
    """Count it, after it was done for a while; `trace` is the server's. No slices: those end by time."""
    whole_reads()
    client_end, server_end = trio.testing.memory_stream_pair()
    counts: list[Counts] = []

    async def client() -> None:
        async with trio_h2.connect_over(client_end, authority="example.org") as connection:
            await repeat(connection, work.times // 4)
            meter = Meter()
            trio.lowlevel.add_instrument(meter)
            await repeat(connection, work.times)
            trio.lowlevel.remove_instrument(meter)
            sys.setprofile(None)
            counts.append(meter.counts(work.times))

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
    return counts[0]


def table() -> str:
    columns = f"{'Python':>10}{'C':>10}{'steps':>10}"
    lines = [f"{'':30}{'server':>30}{'client':>30}", f"{'':30}{columns}{columns}{'turns':>10}"]
    for name, work in WORK.items():
        counts = trio.run(count, work)
        row = [one[side] for side in ("server", "client") for one in (counts.python, counts.c, counts.steps)]
        lines.append(f"{name:30}" + "".join(f"{figure:10,.1f}" for figure in [*row, counts.turns]))
    return "\n".join(lines)
