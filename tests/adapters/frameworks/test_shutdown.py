"""A server that ends while requests of every kind are open."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

import trio_h2
from tests.adapters.websockets import websocket
from tests.peers import HOST, TLSFiles

from .drivers import client_context
from .expectations import DIFFERENCES
from .sites import FRAMEWORKS, Site, running_site
from .test_leaving import KINDS, open_request


async def ended(site: Site, seconds: float) -> bool:
    """Whether the process ends by itself."""
    with trio.move_on_after(seconds):
        while site.process.poll() is None:  # noqa: ASYNC110 - it has no event of trio's
            await trio.sleep(0.02)
        return True
    return False


async def stop(site: Site, journals: list[dict[str, list[str]]]) -> None:
    journals.append(await trio.to_thread.run_sync(site.stop))


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_shutdown_ends_what_is_open(framework: str, tls_files: TLSFiles, tmp_path: Path) -> None:
    """Within the grace, then by cancellation; and the lifespan's shutdown comes after that."""
    with trio.fail_after(60), running_site("ours", framework, tls_files, tmp_path) as site:
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(
                trio_h2.connect(site.url(), ssl_context=client_context(tls_files))
            )
            for kind in KINDS:
                await stack.enter_async_context(open_request(site, connection, kind, kind.replace(" ", "-")))
            socket = await stack.enter_async_context(websocket(connection, "/echo?as=socket"))
            http1 = await stack.enter_async_context(await trio.open_tcp_stream(HOST, site.http))
            await http1.send_all(f"GET /events?as=http1 HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
            await site.noted("http1", "began")
            await site.open_gate("in-the-background")
            journals: list[dict[str, list[str]]] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stop, site, journals)
                assert await socket.closed() == (1001, "")
    assert site.process.returncode == 0
    (journal,) = journals
    assert journal["lifespan"] == ["startup", "shutdown"]
    assert "worked" in journal["in-the-background"]
    for name in [*(kind.replace(" ", "-") for kind in KINDS), "socket", "http1"]:
        assert journal[name][-1] in ("returned", "cancelled", "worked") or "raised" in journal[name][-1], name
    assert site.own_errors() == []


async def test_a_websocket_that_is_closed_over_http2(tls_files: TLSFiles, tmp_path: Path) -> None:
    """The reference ends of it; so the other tests close none there."""
    with trio.fail_after(60), running_site("hypercorn", "starlette", tls_files, tmp_path) as site:
        async with trio_h2.connect(site.url(), ssl_context=client_context(tls_files)) as connection:
            async with websocket(connection, "/echo") as socket:
                await socket.send("close")
                assert await socket.receive()
            outcome = "the server ends" if await ended(site, 10) else "served"
    assert outcome == DIFFERENCES["a WebSocket that is closed over HTTP/2"].hypercorn
