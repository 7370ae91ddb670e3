"""Chromium and an ASGI app: a page, its fetches over HTTP/2, and a WebSocket on the same connection."""

from __future__ import annotations

import json
import ssl
from functools import partial
from typing import Any

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from tests.peers import HOST, require_program, running_program
from trio_h2.adapters.asgi import serve_asgi

PAGE = """<!doctype html><script type="module">
const report = what => fetch("/report", {method: "POST", body: JSON.stringify(what)});
await (await fetch("/data")).text();
await report({protocol: performance.getEntriesByName(location.origin + "/data")[0].nextHopProtocol});
const socket = new WebSocket("wss://" + location.host + "/socket", ["one", "two"]);
const sent = ["hello", "x".repeat(300000), "\\u00fc\\u20ac"];
socket.onopen = () => sent.forEach(text => socket.send(text));
const received = [];
socket.onmessage = event => {
  received.push(event.data);
  if (received.length === sent.length) socket.send("close");
};
socket.onclose = event => report({
  echoed: received.every((text, number) => text === sent[number]),
  subprotocol: socket.protocol, extensions: socket.extensions,
  code: event.code, reason: event.reason, clean: event.wasClean,
});
</script>"""


async def test_a_browser_talks_to_an_app(server_ssl_context: ssl.SSLContext) -> None:
    chromium = require_program("chromium", package="chromium")
    reports_in, reports = trio.open_memory_channel[dict[str, Any]](10)
    versions: list[str] = []

    async def page(request: Request) -> Response:
        return HTMLResponse(PAGE)

    async def report(request: Request) -> Response:
        reports_in.send_nowait(json.loads(await request.body()))
        return Response(status_code=204)

    async def socket(socket: WebSocket) -> None:
        versions.append(socket.scope["http_version"])
        await socket.accept("two")
        while (text := await socket.receive_text()) != "close":
            await socket.send_text(text)
        await socket.close(4000, "bye")

    app = Starlette(
        routes=[
            Route("/", page),
            Route("/data", page),
            Route("/report", report, methods=["POST"]),
            WebSocketRoute("/socket", socket),
        ]
    )
    how = ["--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", "--remote-debugging-port=0"]
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_asgi, app, 0, host=HOST, ssl_context=server_ssl_context))
        async with running_program(chromium, *how, f"https://{HOST}:{server.port}/"):
            with trio.fail_after(60):
                assert await reports.receive() == {"protocol": "h2"}
                assert await reports.receive() == {
                    "echoed": True,
                    "subprotocol": "two",
                    "extensions": "permessage-deflate; client_max_window_bits=15",
                    "code": 4000,
                    "reason": "bye",
                    "clean": True,
                }
        await server.shutdown(1)
    assert versions == ["2"]
