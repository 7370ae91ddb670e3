"""A pool against programs of the world: servers that restart, proxies, and what real sockets do wrong."""

from __future__ import annotations

import socket
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import h11
import pytest
import trio

import tests.peers as peers
import trio_h2

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"


@pytest.fixture
def docroot(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    directory.mkdir()
    (directory / "hello").write_text("hello\n")
    return directory


# Proxies


class Http1Proxy:
    """A proxy of HTTP/1.1 that opens tunnels, on loopback.

    Attributes:
        port: where it listens.
        asked: the targets, and what was shown with each.
    """

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[tuple[str, str | None]] = []

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        [listener] = await trio.open_tcp_listeners(0, host=peers.HOST)
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self.handle, [listener])

    async def handle(self, client: trio.SocketStream) -> None:
        protocol = h11.Connection(h11.SERVER)
        while not isinstance(request := protocol.next_event(), h11.Request):
            data = await client.receive_some()
            if not data:
                return
            protocol.receive_data(bytes(data))
        shown = dict(request.headers).get(b"proxy-authorization")
        self.asked.append((request.target.decode(), None if shown is None else shown.decode()))
        host, _, port = request.target.decode().rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as target:
            await client.send_all(b"HTTP/1.1 200 Connected\r\n\r\n")
            await target.send_all(protocol.trailing_data[0])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.copy, client, target, nursery.cancel_scope)
                nursery.start_soon(self.copy, target, client, nursery.cancel_scope)

    @staticmethod
    async def copy(source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            async for chunk in source:
                await sink.send_all(chunk)
        except trio.BrokenResourceError:
            pass
        scope.cancel()


@asynccontextmanager
async def run_nghttpx(backend: int, tls: peers.TLSFiles) -> AsyncIterator[peers.Peer]:
    """nghttpx: HTTP/2 over TLS in front, and a proxy of HTTP/1.1 behind, on `backend` of loopback."""
    program = peers.require_program("nghttpx", package="nghttp2-proxy")
    port = peers.free_port()
    where = [f"--frontend={peers.HOST},{port}", f"--backend={peers.HOST},{backend}"]
    how = ["--conf=/dev/null", "--http2-proxy", "--workers=1"]
    argv = [program, *how, *where, str(tls.key), str(tls.certificate)]
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        async with peers.run_server("nghttpx", argv, port=port, scheme="https", log=log) as peer:
            yield peer


@pytest.mark.parametrize("kind", ["HTTP/1.1", "nghttpx", "our own"])
@pytest.mark.parametrize("tls", [False, True], ids=["in the clear", "TLS"])
async def test_requests_go_through_a_proxy(
    nursery: trio.Nursery,
    tmp_path: Path,
    docroot: Path,
    tls_files: peers.TLSFiles,
    client_ssl_context: ssl.SSLContext,
    kind: str,
    tls: bool,
) -> None:
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(peers.run_nghttpd(docroot, tls=tls_files if tls else None))
        plain = Http1Proxy()
        if kind == "our own":
            port = peers.free_port()
            name = str(EXAMPLES / "tunnel_proxy.py")
            files = [str(tls_files.certificate), str(tls_files.key)]
            argv = [sys.executable, name, str(port), *files, str(origin.port)]
            running = peers.run_server(kind, argv, port=port, scheme="https", log=tmp_path / "log", may_end=True)
            proxy = (await stack.enter_async_context(running)).url
        else:
            await nursery.start(plain.serve)
            proxy = f"http://me:secret@{peers.HOST}:{plain.port}"
            if kind == "nghttpx":
                proxy = (await stack.enter_async_context(run_nghttpx(plain.port, tls_files))).url
        opening = trio_h2.open_pool(
            proxy=proxy,
            ssl_context=client_ssl_context if tls else None,
            proxy_ssl_context=client_ssl_context,
        )
        with trio.fail_after(60):
            async with opening as pool:
                for _ in range(3):
                    response = await pool.request("GET", f"{origin.url}/hello")
                    assert (response.status, response.body) == (200, b"hello\n")
                body = bytes(range(256)) * 4096
                assert (await pool.request("POST", f"{origin.url}/hello", body=body)).body == body
                assert len(pool.statistics()) == 1
        if kind == "HTTP/1.1":
            assert plain.asked == [(f"{peers.HOST}:{origin.port}", "Basic bWU6c2VjcmV0")]
        nursery.cancel_scope.cancel()


# What real sockets do


async def test_a_port_where_nobody_listens_is_an_error_that_says_so() -> None:
    url = f"http://{peers.HOST}:{peers.free_port()}/"
    async with trio_h2.open_pool(retries=1) as pool:
        with pytest.raises(trio_h2.ConnectError, match=f"no connection to {peers.HOST}") as caught:
            await pool.request("GET", url)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.attempts == 2


async def test_a_name_that_does_not_resolve_is_an_error_that_says_so() -> None:
    async with trio_h2.open_pool(retries=0) as pool:
        with pytest.raises(trio_h2.ConnectError, match=r"no connection to nowhere\.invalid") as caught:
            await pool.request("GET", "http://nowhere.invalid/")
    assert isinstance(caught.value.__cause__, socket.gaierror)


async def test_a_server_that_is_restarted_between_two_requests_is_not_noticed(docroot: Path, tmp_path: Path) -> None:
    """nghttpd ends with no GOAWAY, as a server that is killed does."""
    port = peers.free_port()
    program = peers.require_program("nghttpd", package="nghttp2-server")
    argv = [program, f"--address={peers.HOST}", f"--htdocs={docroot}", "--no-tls", str(port)]
    run = partial(peers.run_server, "nghttpd", argv, port=port, scheme="http", log=tmp_path / "log")
    async with trio_h2.open_pool() as pool:
        for _ in range(3):
            async with run() as peer:
                assert (await pool.request("GET", f"{peer.url}/hello")).body == b"hello\n"
