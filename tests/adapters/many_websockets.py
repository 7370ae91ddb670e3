"""Many WebSockets over one HTTP/2 connection, one of which stands still: `python -m tests.adapters.many_websockets`.

Three connections have the same work, in turns: messages on each WebSocket and their echoes, again and again. On the
first nothing stands still; on the second the app of one WebSocket never receives, while its client sends all that it
may; on the third the client of one never reads, while its app sends all that it may.
"""

from __future__ import annotations

import argparse
import math
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


class Chat:
    """A WebSocket whose messages are echoed, and whose client answers PINGs also while it says nothing."""

    def __init__(self, stream: trio_h2.ClientStream) -> None:
        self._stream = stream
        self._sent = 0
        self._echoed = 0
        self._all_echoed = trio.Event()

    async def read(self) -> None:
        """Take frames until it is cancelled."""
        octets = b""
        while True:
            while len(octets) > 1 and len(octets) >= 2 + octets[1]:
                await self._take(octets[0] & 0xF, octets[2 : 2 + octets[1]])
                octets = octets[2 + octets[1] :]
            more = await self._stream.receive_some()
            assert more, "the end"
            octets += more

    async def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == 9:
            await self._stream.send_all(frame(payload, 10))
            return
        assert (opcode, payload) == (1, self._text(self._echoed))
        self._echoed += 1
        if self._echoed == self._sent:
            self._all_echoed.set()

    async def talk(self, messages: int) -> None:
        """Send so many, and wait for their echoes."""
        for start in range(0, messages, AT_ONCE):
            count = min(AT_ONCE, messages - start)
            self._all_echoed = trio.Event()
            texts = [self._text(number) for number in range(self._sent, self._sent + count)]
            self._sent += count
            await self._stream.send_all(b"".join([frame(text, 1) for text in texts]))
            await self._all_echoed.wait()

    @staticmethod
    def _text(number: int) -> bytes:
        return b"message %06d" % number


@dataclass
class Group:
    """The WebSockets of one connection.

    Attributes:
        chats: those that move.
        echoes: messages that came back on them.
        seconds, cpu: that it took, by the clock and of the processor, of the client and the server.
        stuck: octets that were sent to who does not receive them.
    """

    name: str
    connection: trio_h2.ClientConnection
    chats: list[Chat] = field(default_factory=list)
    echoes: int = 0
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
            for chat in self.chats:
                nursery.start_soon(chat.talk, messages)
        self.seconds += time.perf_counter() - seconds
        self.cpu += time.process_time() - cpu
        self.echoes += messages * len(self.chats)


async def run(websockets: int, messages: int, rounds: int) -> list[Group]:
    """Let each of `websockets`, on each of three connections, echo `messages`, in so many turns."""
    groups: list[Group] = []
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        config = trio_h2.Config(stall_timeout=math.inf)  # else who does not read is reset after five minutes
        server = await nursery.start(partial(serve_asgi, app, 0, host="127.0.0.1", config=config))
        for name in (MOVES, DEAF, UNREAD):
            connecting = trio_h2.connect(f"http://127.0.0.1:{server.port}")
            group = Group(name, await stack.enter_async_context(connecting))
            groups.append(group)
            for _ in range(websockets - (name != MOVES)):
                group.chats.append(Chat(await group.open(stack, "/echo")))
        clients = await stack.enter_async_context(trio.open_nursery())
        for chat in (chat for group in groups for chat in group.chats):
            clients.start_soon(chat.read)
        clients.start_soon(groups[1].flood, await groups[1].open(stack, "/deaf"))
        await groups[2].open(stack, "/loud")
        for number in range(rounds):
            for group in groups if number % 2 else reversed(groups):
                await group.work(messages // rounds)
        groups[2].stuck = groups[2].connection.statistics().unread
        clients.cancel_scope.cancel()
        nursery.cancel_scope.cancel()
    return groups


def most_memory() -> float:
    """The most MB that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


async def main() -> None:
    parser = argparse.ArgumentParser(description="Many WebSockets over one connection, one of which stands still.")
    parser.add_argument("--websockets", type=int, default=100, help="on each connection (100)")
    parser.add_argument("--messages", type=int, default=10_000, help="on each WebSocket (10000)")
    parser.add_argument("--rounds", type=int, default=100, help="turns of the connections (100)")
    arguments = parser.parse_args()
    before = most_memory()
    groups = await run(arguments.websockets, arguments.messages, arguments.rounds)
    for group in groups:
        print(
            f"{group.name:22} {group.echoes:9,} echoes, {group.echoes / group.seconds:7,.0f} a second,"
            f" {group.echoes / group.cpu:7,.0f} a second of the processor; {group.stuck:7,} octets stand still"
        )
    print(f"memory of client and server: {before:.1f} MB before, {most_memory():.1f} MB at most")


if __name__ == "__main__":
    trio.run(main)
