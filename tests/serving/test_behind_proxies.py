"""`trio-h2 serve --proxy-protocol` and `--forwarded-allow-ips`: whose words are believed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

import trio_h2
from tests import peers
from tests.adapters.proxy_headers import TCP4

APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": repr(scope["client"]).encode()})
"""


@pytest.mark.parametrize("target", ["app:app", "."])
async def test_apps_and_access_logs_see_the_client_that_the_header_names(target: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "index.html").write_text("hello")
    port = peers.free_port()
    argv = [sys.executable, "-m", "trio_h2", "serve", target, "--port", str(port), "--proxy-protocol", peers.HOST]
    async with peers.run_server("serve", argv, port=port, scheme="http", log=tmp_path / "log", cwd=tmp_path) as server:
        transport = await trio.open_tcp_stream(peers.HOST, port)
        await transport.send_all(TCP4)
        async with trio_h2.connect_over(transport, authority="example.org") as connection:
            response = await connection.request("GET", "/")
        assert response.body == (b"hello" if target == "." else b"('198.51.100.7', 51000)")
        with trio.fail_after(10):
            while '198.51.100.7 "GET /" 200' not in server.output():  # noqa: ASYNC110
                await trio.sleep(0.02)
