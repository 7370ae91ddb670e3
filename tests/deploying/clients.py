"""Clients that come from an address that is theirs alone, and ask what the app was told of them."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path
from typing import Any

import grpc
import trio
import websockets.sync.client

import trio_h2
from tests import peers

__all__ = ["CLIENT", "FORGED", "asked_by_curl", "asked_over_h2", "called_by_grpc", "connected", "websocket_told"]

CLIENT = "127.0.0.9"
"""The clients' address: of loopback, and nobody else's."""

FORGED = {
    "x-forwarded-for": "192.0.2.66",
    "x-forwarded-proto": "gopher",
    "x-forwarded-host": "forged.example",
    "forwarded": "for=192.0.2.66;proto=http;host=forged.example",
}


async def connected(port: int, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    """TLS with HTTP/2, from the clients' address."""
    context.set_alpn_protocols(["h2"])
    transport = await trio.open_tcp_stream(peers.HOST, port, local_address=CLIENT)
    stream = trio.SSLStream(transport, context, server_hostname="localhost", https_compatible=True)
    await stream.do_handshake()
    return stream


async def asked_over_h2(port: int, context: ssl.SSLContext, body: bytes | None = None) -> Any:
    """What the app was told of a request over HTTP/2 that forges what proxies say."""
    stream = await connected(port, context)
    async with trio_h2.connect_over(stream, authority="app.example", scheme="https") as connection:
        method = "GET" if body is None else "POST"
        response = await connection.request(method, "/told", headers=list(FORGED.items()), body=body)
    assert response.status == 200
    assert body is None or response.body == body
    return json.loads(response.headers["x-told"])


async def asked_by_curl(port: int, ca: Path, *options: str) -> Any:
    """What the app was told of a request of curl's that forges the same."""
    program = peers.require_program("curl", package="curl")
    forged = [option for name, value in FORGED.items() for option in ("-H", f"{name}: {value}")]
    url = f"https://localhost:{port}/told"
    how = ["--interface", CLIENT, "--cacert", str(ca), "--max-time", "20", "-H", "host: app.example"]
    done = await peers.run_program(program, "--silent", "--show-error", "--ipv4", *how, *forged, *options, url)
    return json.loads(done.text)


async def websocket_told(port: int, context: ssl.SSLContext) -> Any:
    """What the app was told of a WebSocket over HTTP/1.1, which carries messages both ways."""

    def talk() -> Any:
        sock = socket.create_connection((peers.HOST, port), timeout=20, source_address=(CLIENT, 0))
        url = f"wss://localhost:{port}/socket"
        context.set_alpn_protocols(["http/1.1"])
        with websockets.sync.client.connect(url, sock=sock, ssl=context, additional_headers=FORGED) as websocket:
            told = json.loads(websocket.recv(20))
            for message in ("hello", "x" * 100_000):
                websocket.send(message)
                assert websocket.recv(20) == message
        return told

    return await trio.to_thread.run_sync(talk)


async def called_by_grpc(port: int, ca: Path, method: str) -> Any:
    """What the app was told of a call of gRPC's, which gets back its message and its status."""

    def call() -> Any:
        credentials = grpc.ssl_channel_credentials(ca.read_bytes())
        with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
            answer, done = channel.unary_unary(method).with_call(b"message" * 10_000, timeout=20)
            assert answer == b"message" * 10_000
            assert done.code() is grpc.StatusCode.OK
            return json.loads(dict(done.initial_metadata())["x-told"])

    return await trio.to_thread.run_sync(call)
