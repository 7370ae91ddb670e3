"""Many WebSockets over one HTTP/2 connection, one of which stands still: `python -m tests.adapters.many_websockets`.

Three connections have the same work, in turns: messages on each WebSocket and their echoes, again and again. On the
first nothing stands still; on the second the app of one WebSocket never receives, while its client sends all that it
may; on the third the client of one never reads, while its app sends all that it may.
"""

from __future__ import annotations

import argparse
import resource
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

import trio_h2
from tests.adapters.websockets import ACCEPT, VERSION, frame
from trio_h2.adapters.asgi import serve_asgi

AT_ONCE = 10
"""Messages that a client sends before it waits for their echoes."""

MOVES, DEAF, UNREAD = "none stands still", "an app never receives", "a client never reads"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """`/echo` echoes, `/deaf` never receives, and `/loud` sends without an end."""
    if scope["type"] == "lifespan":
        raise NotImplementedError
    await receive()
    await send(ACCEPT)
    if scope["path"] == "/deaf":
        await trio.sleep_forever()
    while scope["path"] == "/loud":
        await send({"type": "websocket.send", "bytes": bytes(1000)})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


@dataclass
class Group:
    """The WebSockets of one connection.

    Attributes:
        streams: those that move.
        echoed: messages that came back on them.
        seconds, cpu: that it took, by the clock and of the processor, of the client and the server.
        stuck: octets that were sent to who does not receive them.
    """

    name: str
    connection: trio_h2.ClientConnection
    streams: list[trio_h2.ClientStream] = field(default_factory=list)
    echoed: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    stuck: int = 0

    async def open(self, stack: AsyncExitStack, path: str) -> trio_h2.ClientStream:
        """Open a WebSocket."""
        opening = self.connection.stream("CONNECT", path, protocol="websocket", headers=[VERSION])
        stream = await stack.enter_async_context(opening)
        assert (await stream.response()).status == 200
        return stream

    async def flood(self, stream: trio_h2.ClientStream) -> None:
        """Send to an app that never receives."""
        octets = frame(bytes(1000))
        while True:
            await stream.send_all(octets)
            self.stuck += len(octets)

    async def work(self, messages: int) -> None:
        """Send so many messages on each WebSocket that moves, and wait for their echoes."""
        seconds, cpu = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as nursery:
            for stream in self.streams:
                nursery.start_soon(self._chat, stream, messages)
        self.seconds += time.perf_counter() - seconds
        self.cpu += time.process_time() - cpu

    async def _chat(self, stream: trio_h2.ClientStream, messages: int) -> None:
        for start in range(0, messages, AT_ONCE):
            texts = [b"message %06d" % number for number in range(start, min(start + AT_ONCE, messages))]
            await stream.send_all(b"".join([frame(text, 1) for text in texts]))
            expected = b"".join([bytes([0x81, len(text)]) + text for text in texts])
            came = b""
            while len(came) < len(expected):
                octets = await stream.receive_some()
                assert octets, "the end"
                came += octets
            assert came == expected
            self.echoed += len(texts)


async def run(websockets: int, messages: int, rounds: int) -> list[Group]:
    """Let each of `websockets`, on each of three connections, echo `messages`, in so many turns."""
    groups: list[Group] = []
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        server = await nursery.start(partial(serve_asgi, app, 0, host="127.0.0.1"))
        for name in (MOVES, DEAF, UNREAD):
            connecting = trio_h2.connect(f"http://127.0.0.1:{server.port}")
            group = Group(name, await stack.enter_async_context(connecting))
            groups.append(group)
            for _ in range(websockets - (name != MOVES)):
                group.streams.append(await group.open(stack, "/echo"))
            if name == DEAF:
                nursery.start_soon(group.flood, await group.open(stack, "/deaf"))
            elif name == UNREAD:
                await group.open(stack, "/loud")
        await groups[0].work(AT_ONCE)  # until all are at work as they will be
        groups[0].echoed, groups[0].seconds, groups[0].cpu = 0, 0.0, 0.0
        for number in range(rounds):
            for group in groups if number % 2 else reversed(groups):
                await group.work(messages // rounds)
        groups[2].stuck = groups[2].connection.statistics().unread
        nursery.cancel_scope.cancel()
    return groups


def most_memory() -> float:
    """The most MB that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


async def main() -> None:
    parser = argparse.ArgumentParser(description="Many WebSockets over one connection, one of which stands still.")
    parser.add_argument("--websockets", type=int, default=100, help="on each connection (100)")
    parser.add_argument("--messages", type=int, default=10_000, help="on each WebSocket (10000)")
    parser.add_argument("--rounds", type=int, default=10, help="turns of the connections (10)")
    arguments = parser.parse_args()
    before = most_memory()
    groups = await run(arguments.websockets, arguments.messages, arguments.rounds)
    for group in groups:
        print(
            f"{group.name:22} {group.echoed:9,} echoes, {group.echoed / group.seconds:7,.0f} a second,"
            f" {group.echoed / group.cpu:7,.0f} a second of the processor; {group.stuck:7,} octets stand still"
        )
    print(f"memory of client and server: {before:.1f} MB before, {most_memory():.1f} MB at most")


if __name__ == "__main__":
    trio.run(main)
