# window_bound.py: what an upload waits for, on a link of 100 Mbit/s with a round trip of 80 ms; no time passes in it.
from __future__ import annotations

import math
from collections import defaultdict
from functools import partial

import trio
import trio.testing

import trio_h2

RATE, ROUND_TRIP = 12.5e6, 0.08  # octets a second, and seconds
BODY = bytes(42_000_000)

Piece = tuple[float, bytes]  # when it arrives, and what it is


class LinkEnd(trio.abc.Stream):
    def __init__(self, out: trio.MemorySendChannel[Piece], back: trio.MemoryReceiveChannel[Piece]) -> None:
        self._out, self._back = out, back

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep(len(data) / RATE)
        self._out.send_nowait((trio.current_time() + ROUND_TRIP / 2, bytes(data)))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        async for arrival, data in self._back:
            await trio.sleep_until(arrival)
            return data
        return b""

    async def aclose(self) -> None:
        self._out.close()
        self._back.close()
        await trio.lowlevel.checkpoint()


class Waits(trio_h2.Trace):
    """How long streams waited, by what for."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._began: dict[tuple[int, str], float] = {}

    def wait_began(self, connection: trio_h2.Connection, stream_id: int, reason: str) -> None:
        self._began[stream_id, reason] = trio.current_time()

    def wait_ended(self, connection: trio_h2.Connection, stream_id: int, reason: str) -> None:
        self.seconds[reason] += trio.current_time() - self._began.pop((stream_id, reason))


async def take(stream: trio_h2.ServerStream) -> None:
    async for _ in stream:
        pass
    await stream.respond(204)


async def upload(name: str, config: trio_h2.Config) -> None:
    there, back = (trio.open_memory_channel[Piece](math.inf) for _ in range(2))
    waits = Waits()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio_h2.serve_h2_connection, take, LinkEnd(back[0], there[1]), config=config))
        client = trio_h2.connect_over(LinkEnd(there[0], back[1]), authority="example.org", trace=waits)
        async with client as connection:
            await connection.settings_received()
            began = trio.current_time()
            async with connection.stream("POST", "/") as stream:
                await stream.send_all(BODY)
                await stream.send_eof()
                await stream.response()
            seconds = trio.current_time() - began
    longest = max(waits.seconds, key=lambda reason: waits.seconds[reason])
    print(f"{name}: {len(BODY) / RATE / seconds:.1g} of the link, held up most by the {longest}")


async def main() -> None:
    await upload("64 KiB for ever", trio_h2.Config(initial_window_size=65_536, max_window_size=0))
    await upload("as by default", trio_h2.Config())
    await upload("2 MiB at once", trio_h2.Config(initial_window_size=2 << 20, connection_window_size=2 << 20))


trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
