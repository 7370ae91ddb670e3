"""The network: `python -m tests.soak.proxy SEED`.

It listens on two ports, one for each server, and gives each connection a fate of its own: cut by a reset or by a close
on both sides, frozen (nothing passes any more and nobody is told), throttled, delayed, or left alone. What it does to a
connection it says before it does it. On stdin: `target INDEX SERVER PORT` sends new connections of a listener there,
`calm`
ends the cutting, and what is frozen.
"""

from __future__ import annotations

import random
import socket
import struct
import sys
from contextlib import aclosing
from dataclasses import dataclass

import trio

from tests.soak.memory import report_samples
from tests.soak.wire import HOST, commands, say, way

PIECE = 32 * 1024
SOCKET_BUFFER = 128 * 1024
FROZEN_FOR = 60.0
"""Seconds after which a frozen connection's ends learn of it, if they have not given up before."""


@dataclass
class Fate:
    """What a connection goes through."""

    ends: str | None
    after: float
    rate: float
    delay: float


class Proxy:
    """Both listeners, and where they lead.

    Attributes:
        calm: set when no connection is cut any more, and those that are frozen end.
    """

    def __init__(self, seed: str) -> None:
        self._rng = random.Random(f"{seed}:proxy")
        self._targets: dict[int, tuple[int, int]] = {}
        self.calm = trio.Event()

    def _fate(self) -> Fate:
        rng = self._rng
        roll = rng.random()
        ends = "reset" if roll < 0.12 else "close" if roll < 0.22 else "freeze" if roll < 0.26 else None
        rate = rng.uniform(1e6, 4e6) if rng.random() < 0.15 else 0.0
        delay = rng.uniform(0.001, 0.03) if rng.random() < 0.25 else 0.0
        return Fate(None if self.calm.is_set() else ends, rng.expovariate(1 / 4), rate, delay)

    async def handle(self, index: int, client: trio.SocketStream) -> None:
        try:
            name = way(client.socket.getpeername()[1], client.socket.getsockname()[1])
        except OSError:
            return  # it has left already
        number, target = self._targets[index]
        say("opened", link=name, server=number)
        try:
            await self._join(name, target, client)
        finally:
            say("closed", link=name)

    async def _join(self, name: str, target: int, client: trio.SocketStream) -> None:
        limit_buffers(client)
        try:
            server = await trio.open_tcp_stream(HOST, target)
            say("joined", link=name, onward=server.socket.getsockname()[1])
        except OSError:
            say("fault", link=name, fault="server down")
            await reset(client)
            return
        limit_buffers(server)
        await Link(name, client, server, self._fate(), self).run()

    async def serve(self) -> None:
        listeners = [(await trio.open_tcp_listeners(0, host=HOST))[0] for _ in range(2)]
        say("listening", ports=[listener.socket.getsockname()[1] for listener in listeners])
        async with aclosing(commands()) as words, trio.open_nursery() as nursery:
            nursery.start_soon(report_samples, 5.0)
            async for command, *arguments in words:
                if command == "calm":
                    self.calm.set()
                    continue
                index, number, target = map(int, arguments)
                if index not in self._targets:
                    nursery.start_soon(self._listen, index, listeners[index])
                self._targets[index] = number, target
            nursery.cancel_scope.cancel()

    async def _listen(self, index: int, listener: trio.SocketListener) -> None:
        async def handle(client: trio.SocketStream) -> None:
            await self.handle(index, client)

        await trio.serve_listeners(handle, [listener])


class Link:
    """One connection through the proxy."""

    def __init__(
        self, name: str, client: trio.SocketStream, server: trio.SocketStream, fate: Fate, proxy: Proxy
    ) -> None:
        self._name = name
        self._client = client
        self._server = server
        self._fate = fate
        self._proxy = proxy
        self._heard = False
        self._frozen = False

    async def run(self) -> None:
        """Carry both ways until both have ended, or the fate strikes."""
        async with self._client, self._server, trio.open_nursery() as nursery:
            if self._fate.ends is not None:
                nursery.start_soon(self._strike, nursery.cancel_scope)
            async with trio.open_nursery() as both:
                both.start_soon(self._carry, self._client, self._server)
                both.start_soon(self._carry, self._server, self._client)
            nursery.cancel_scope.cancel()

    async def _strike(self, scope: trio.CancelScope) -> None:
        await trio.sleep(self._fate.after)
        if self._proxy.calm.is_set():
            return
        if self._fate.ends == "freeze":
            say("fault", link=self._name, fault="frozen")
            self._frozen = True
            with trio.move_on_after(FROZEN_FOR):
                await self._proxy.calm.wait()
        else:
            say("fault", link=self._name, fault=f"cut by {self._fate.ends}")
        if self._fate.ends == "reset":
            await reset(self._client)
            await reset(self._server)
        scope.cancel()

    async def _carry(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        """Carry one way until it ends. Where the sink takes no more the rest is dropped, and the other way goes on."""
        taken = True
        try:
            while data := await source.receive_some(PIECE):
                self._heard = self._heard or source is self._server
                if taken:
                    taken = await self._pass_on(data, sink)
        except trio.BrokenResourceError:
            if source is self._server and not self._heard:
                say("fault", link=self._name, fault="reset in the backlog")
            await reset(sink)
        except trio.ClosedResourceError:
            pass  # the other way was reset, or this connection was cut
        else:
            try:
                await sink.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

    async def _pass_on(self, data: bytes, sink: trio.SocketStream) -> bool:
        """Send octets on as late and as slowly as this connection's fate wants; does the sink still take any?"""
        if self._fate.delay:
            await trio.sleep(self._fate.delay)
        if self._frozen:
            await trio.sleep_forever()
        try:
            await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        if self._fate.rate:
            await trio.sleep(len(data) / self._fate.rate)
        return True


async def reset(stream: trio.SocketStream) -> None:
    """Close with a TCP reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(stream)


def limit_buffers(stream: trio.SocketStream) -> None:
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        stream.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)


if __name__ == "__main__":
    trio.run(Proxy(sys.argv[1]).serve)
