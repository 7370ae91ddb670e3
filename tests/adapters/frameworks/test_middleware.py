"""Starlette's BaseHTTPMiddleware around an app: it runs that in a task of its own, behind streams of its own."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path

import trio

import trio_h2
from tests.peers import TLSFiles

from .drivers import client_context
from .journal import PIECE, digest_of
from .sites import running_site
from .test_leaving import KINDS, open_request

WITHIN = "/within"
SIZE = 80 * len(PIECE)


async def test_an_app_below_a_middleware(tls_files: TLSFiles, tmp_path: Path) -> None:
    """Bodies both ways, clients that leave, and a shutdown with requests open."""
    names = {kind: kind.replace(" ", "-") for kind in KINDS if kind != "plain"}
    with trio.fail_after(60), running_site("ours", "starlette", tls_files, tmp_path) as site:
        async with trio_h2.connect(site.url(), ssl_context=client_context(tls_files)) as connection:
            response = await connection.request("POST", f"{WITHIN}/json", body=b"[1, 2]")
            assert json.loads(response.body) == {"sum": 3}
            response = await connection.request("POST", f"{WITHIN}/upload", body=PIECE * 80)
            assert response.body.decode() == digest_of(SIZE)
            response = await connection.request("GET", f"{WITHIN}/download?size={SIZE}")
            assert response.body == PIECE * 80
            for kind, name in names.items():
                async with open_request(site, connection, kind, f"left-{name}", WITHIN) as stream:
                    await stream.reset()
            await site.open_gate("left-in-the-background")
            for name in names.values():
                assert await site.ended(f"left-{name}"), name
            assert site.own_errors() == []
            async with AsyncExitStack() as stack:
                for kind, name in names.items():
                    await stack.enter_async_context(open_request(site, connection, kind, name, WITHIN))
                await site.open_gate("in-the-background")
                journal = await trio.to_thread.run_sync(site.stop)
    for name in names.values():
        assert journal[name][-1] != "began", name
    assert site.own_errors() == []
