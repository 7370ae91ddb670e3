"""What the tests of both packages' transports share: `Package`, and a client over a network in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import httpx2
import trio

import trio_h2
import trio_h2.adapters.httpx
import trio_h2.adapters.httpx2
from tests.engine.pool_network import Network


@dataclass(frozen=True)
class Package:
    """httpx or httpx2, and the transport for it."""

    module: Any
    transport: Any

    def __str__(self) -> str:
        return str(self.module.__name__)

    @asynccontextmanager
    async def client(self, network: Network, *, transport: dict[str, Any] | None = None, **arguments: Any) -> Any:
        """A client whose connections lead to this network; `transport` is what the transport is given beside it."""
        made = self.transport(verify=False, open_stream=network.open_stream, **(transport or {}))
        async with self.module.AsyncClient(transport=made, **arguments) as client:
            yield client


PACKAGES = (
    Package(httpx, trio_h2.adapters.httpx.H2Transport),
    Package(httpx2, trio_h2.adapters.httpx2.H2Transport),
)


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    """A body that can be had once."""
    for piece in pieces:
        await trio.lowlevel.checkpoint()
        yield piece


async def echo(stream: trio_h2.ServerStream) -> None:
    """Answers with what was asked: the method and the target as fields, the body as the body."""
    request = stream.request
    body = await stream.read(max_body=None)
    fields = [("asked", f"{request.method} {request.path}"), ("for", request.authority or "")]
    await stream.respond(200, [*fields, *[(f"had-{n.decode()}", v) for n, v in request.headers]], body)
