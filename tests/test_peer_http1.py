"""Real clients of HTTP/1.1 and HTTP/2 on one port: h11 serves the ones, trio_h2 the others."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import h11
import httpx
import pytest
import trio

import trio_h2
from tests import peers
from tests.peer_site import Site, logged


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.WARNING, "trio_h2"):
        yield
    assert logged(caplog) == []


async def http2(stream: trio_h2.ServerStream) -> None:
    size = 0
    async for chunk in stream:
        size += len(chunk)
    await stream.respond(200, body=f"2 {stream.request.method} {stream.request.path} {size}\n".encode())


async def http1(stream: trio.abc.Stream) -> None:
    """An HTTP/1.1 server's connection, with keep-alive."""
    connection = h11.Connection(h11.SERVER)

    async def next_event() -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := connection.next_event()) is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                go_ahead = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                await stream.send_all(connection.send(go_ahead) or b"")
            connection.receive_data(bytes(await stream.receive_some()))
        return event

    while isinstance(request := await next_event(), h11.Request):
        size = 0
        while isinstance(event := await next_event(), h11.Data):
            size += len(event.data)
        body = f"1 {request.method.decode()} {request.target.decode()} {size}\n".encode()
        response = h11.Response(status_code=200, headers=[("content-length", str(len(body)))])
        for sent in (response, h11.Data(data=body), h11.EndOfMessage()):
            await stream.send_all(connection.send(sent) or b"")
        if connection.our_state is not h11.DONE:
            return
        connection.start_next_cycle()


@pytest.fixture(params=["http", "https"])
async def served(
    request: pytest.FixtureRequest,
    nursery: trio.Nursery,
    server_ssl_context: ssl.SSLContext,
    tls_files: peers.TLSFiles,
) -> Site:
    """Both protocols, in the clear or over TLS."""
    context = server_ssl_context if request.param == "https" else None
    serve = partial(trio_h2.serve_h2, http2, 0, host=peers.HOST, ssl_context=context, http1=http1)
    server: trio_h2.H2Server = await nursery.start(serve)
    return Site(server, request.param, tls_files.ca)


@pytest.mark.parametrize(
    ("how", "version"),
    [
        (["--http1.1"], "1"),
        (["--http1.0"], "1"),
        (["--http2"], "2"),  # in the clear an offer to upgrade, which HTTP/1.1 may leave alone
        (["--http2-prior-knowledge"], "2"),
    ],
    ids=lambda value: "".join(value),
)
async def test_curl(served: Site, how: list[str], version: str, tmp_path: Path) -> None:
    if served.scheme == "http" and how == ["--http2"]:
        version = "1"
    # With prior knowledge curl 7.88 cannot use a connection twice.
    paths = ["/a"] if how == ["--http2-prior-knowledge"] else ["/a", "/b"]
    program = peers.require_program("curl", package="curl")
    body = tmp_path / "body"
    body.write_bytes(bytes(2_000_000))
    for method, arguments, size in [
        ("GET", [], 0),
        ("POST", ["-H", "Expect: 100-continue", "--data-binary", f"@{body}"], 2_000_000),
    ]:
        argv = [program, "-sS", *how, "--cacert", str(served.ca), *arguments]
        done = await peers.run_program(*argv, *(f"{served.url}{path}" for path in paths))
        assert done.text == "".join(f"{version} {method} {path} {size}\n" for path in paths)


async def test_nghttp(served: Site) -> None:
    program = peers.require_program("nghttp", package="nghttp2-client")
    done = await peers.run_program(program, "--no-verify-peer", f"{served.url}/a")
    assert done.text == "2 GET /a 0\n"


@pytest.mark.parametrize("version", [1, 2])
async def test_httpx_keeps_its_connection(served: Site, version: int, client_ssl_context: ssl.SSLContext) -> None:
    both = {"http1": version == 1, "http2": version == 2}
    async with httpx.AsyncClient(verify=client_ssl_context, **both) as client:
        for path in ("/a", "/b"):
            response = await client.post(f"{served.url}{path}", content=b"12345")
            assert response.text == f"{version} POST {path} 5\n"


@pytest.mark.parametrize("client", ["curl", "nghttp"])
async def test_both_at_once_until_a_shutdown(
    client: str, server_ssl_context: ssl.SSLContext, tls_files: peers.TLSFiles
) -> None:
    """Each client gets its protocol, and the shutdown leaves no connection."""
    curl = peers.require_program("curl", package="curl")
    other = peers.require_program(client, package="nghttp2-client" if client == "nghttp" else "curl")
    async with trio.open_nursery() as nursery:
        serve = partial(trio_h2.serve_h2, http2, 0, host=peers.HOST, ssl_context=server_ssl_context, http1=http1)
        server: trio_h2.H2Server = await nursery.start(serve)
        url = f"https://{peers.HOST}:{server.port}/"
        options = ["--no-verify-peer"] if client == "nghttp" else ["-sSk", "--http2"]

        async def run(expected: str, *argv: str) -> None:
            assert (await peers.run_program(*argv)).text == expected

        async with trio.open_nursery() as clients:
            for _ in range(5):
                clients.start_soon(run, "1 GET / 0\n", curl, "-sSk", "--http1.1", url)
                clients.start_soon(run, "2 GET / 0\n", other, *options, url)
        seen = server.statistics()
        assert (seen.connections, seen.connections_http1, seen.requests) == (10, 5, {"GET": 5})
        await server.shutdown(5)
        assert server.statistics().connections_open == 0
