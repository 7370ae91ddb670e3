"""A network in memory for pools: `Network.open_stream` is what they connect by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio
import trio.testing

import trio_h2
from trio_h2 import Config

from .helpers import Handler, RawPeer

URL = "http://example.org/"


class Network:
    """What is behind every host and port, and who connected.

    Attributes:
        reached: the hosts and ports that were connected to, in order.
        handler: what answers requests.
        config: that of the servers.
        serve: what is done with the server's end of each connection, by default HTTP/2 with the handler.
        before: awaited before a connection is there; what it raises is raised to who connects.
        peers: the raw peers there are, where `raw` is what serves.
        ends: the servers' ends of the connections.
        connections: the servers' connections on which requests came.
        requests: the paths of the requests that came, in order.
    """

    def __init__(self, nursery: trio.Nursery, handler: Handler | None = None, config: Config | None = None) -> None:
        self.reached: list[tuple[str, int]] = []
        self.handler = handler or self.hello
        self.config = config
        self.serve: Callable[[trio.abc.Stream], Awaitable[object]] = self.http2
        self.before: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint
        self.requests: list[str] = []
        self.peers: list[RawPeer] = []
        self.ends: list[trio.StapledStream[Any, Any]] = []
        self.connections: list[trio_h2.ServerConnection] = []
        self._nursery = nursery
        self._peer_made, self._peers = trio.open_memory_channel[RawPeer](100)

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        self.reached.append((host, port))
        await self.before()
        client, server = trio.testing.memory_stream_pair()
        self.ends.append(server)
        self._nursery.start_soon(self.serve, server)
        return client

    async def http2(self, transport: trio.abc.Stream) -> None:
        await trio_h2.serve_h2_connection(self._handle, transport, config=self.config)

    async def _handle(self, stream: trio_h2.ServerStream) -> None:
        if stream.connection not in self.connections:
            self.connections.append(stream.connection)
        self.requests.append(stream.request.path or "")
        await self.handler(stream)

    @staticmethod
    async def hello(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, [("content-type", "text/plain")], b"hello")

    async def raw(self, transport: trio.abc.Stream) -> None:
        """A peer that the test speaks for."""
        self._peer_made.send_nowait(RawPeer(transport, client=False))

    async def next_peer(self) -> RawPeer:
        """The next raw peer that is connected to."""
        return await self._peers.receive()

    def pool(self, **arguments: Any) -> trio_h2.open_pool:
        return trio_h2.open_pool(open_stream=self.open_stream, **arguments)


async def gather(count: int, call: Callable[[int], Awaitable[object]]) -> list[object]:
    """What so many calls return, or raise, in the order in which they were made."""
    results: list[object] = [None] * count

    async def one(number: int) -> None:
        try:
            results[number] = await call(number)
        except Exception as error:
            results[number] = error

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)
    return results


__all__ = ["URL", "Network", "gather", "partial"]
