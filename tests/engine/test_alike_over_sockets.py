"""The same conversations over memory and over sockets, also such as take a few octets at a time, come to the same.

What a conversation is made of is random, by its seed. Memory has the writer's task write all; on a plain socket senders
write themselves, and one that is full cuts what they have in two.
"""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import Pair, check_quiet, client_and_server, pattern, read_all
from trio_h2 import Config

SIZES = (0, 1, 100, 4_000, 5_000, 17_000, 40_000)

Ends = tuple[trio.abc.Stream, trio.abc.Stream]


def sockets(*, small: bool) -> Ends:
    ends = socket.socketpair()
    for end in ends if small else ():
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    one, other = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in ends)
    return one, other


class Conversation:
    """Twenty requests at once, and what became of each."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.outcomes: dict[int, object] = {}

    def rng(self, who: str, number: int = 0) -> random.Random:
        """One for each side of a request: so nothing depends on who runs first."""
        return random.Random(f"{self.seed} {who} {number}")

    def config(self, who: str) -> Config:
        rng = self.rng(who)
        return Config(
            initial_window_size=rng.choice([1_000, 20_000, 65_535]),
            write_buffer_size=rng.choice([1_000, 30_000, 65_536]),
            max_concurrent_streams=rng.choice([1, 5, 100]),
            max_outbound_frame_size=rng.choice([700, 16_384]),
        )

    async def handler(self, stream: trio_h2.ServerStream) -> None:
        rng = self.rng("handler", int((stream.request.path or "")[1:]))
        body = pattern(rng.choice(SIZES), rng.randrange(100))
        if rng.random() < 0.5:
            await stream.read()
        how = rng.choice(["whole", "whole", "trailers", "pieces", "echo", "raise", "short"])
        if how == "whole":
            await stream.respond(200, (("x-how", how),), body)
        elif how == "trailers":
            await stream.respond(200, (), body, trailers=[("x-end", "1")])
        elif how == "raise":
            raise RuntimeError(how)
        else:
            promised = (("content-length", str(len(body) + 1)),) if how == "short" else ()
            await stream.send_response(200, promised)
            await self.send(stream, body, rng)
            if how == "echo":
                await stream.send_all(await stream.read())
                await stream.send_trailers([("x-end", "2")])

    async def send(self, stream: trio_h2.Stream, body: bytes, rng: random.Random) -> None:
        at = 0
        while at < len(body):
            count = rng.choice([1, 300, 3_000, 9_000])
            await stream.send_all(body[at : at + count])
            at += count

    async def chunks(self, body: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(body), 6_000):
            yield body[at : at + 6_000]

    async def request(self, pair: Pair, number: int) -> None:
        rng = self.rng("request", number)
        body = pattern(rng.choice(SIZES), number)
        how = rng.choice(["get", "octets", "chunks", "stream"])
        try:
            self.outcomes[number] = await self.ask(pair.client, number, how, body, rng)
        except* trio_h2.StreamResetError as errors:
            self.outcomes[number] = [str(error).partition("reset by")[2] for error in errors.exceptions]

    async def ask(
        self, client: trio_h2.ClientConnection, number: int, how: str, body: bytes, rng: random.Random
    ) -> object:
        target = f"/{number}"
        if how != "stream":
            bodies = {"get": None, "octets": body, "chunks": self.chunks(body)}
            return await client.request("GET" if how == "get" else "POST", target, body=bodies[how])
        async with client.stream("POST", target) as stream, trio.open_nursery() as nursery:

            async def upload() -> None:
                try:
                    await self.send(stream, body, rng)
                    await stream.send_eof()
                except trio_h2.StreamResetError:
                    pass  # the answer was early

            nursery.start_soon(upload)
            head = await stream.response()
            return head, await read_all(stream), stream.trailers

    async def run(self, ends: Ends) -> dict[int, object]:
        configs = {"config": self.config("client"), "server_config": self.config("server")}
        async with client_and_server(self.handler, transports=ends, **configs) as pair:
            await pair.client.settings_received()
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(self.request, pair, number)
            await check_quiet(pair)
            client, server = pair.client.statistics(), pair.server.statistics()
            assert (client.bytes_sent, server.bytes_sent) == (server.bytes_received, client.bytes_received)
        return self.outcomes


@pytest.mark.parametrize("seed", range(8))
async def test_conversations_are_alike(seed: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    kinds: list[Callable[[], Ends]] = [
        trio.testing.memory_stream_pair,
        partial(sockets, small=False),
        partial(sockets, small=True),
    ]
    memory, plain, small = [await Conversation(seed).run(kind()) for kind in kinds]
    assert len(memory) == 20
    assert plain == memory
    assert small == memory
