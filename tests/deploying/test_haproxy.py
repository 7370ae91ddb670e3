"""HAProxy in front, by the configurations of docs/deploying.md."""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

import trio_h2
from tests import peers

from . import clients
from .haproxy import Balancer, run_haproxy
from .page import command, serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.9 is loopback on Linux alone")

PORTS = (8001, 8002)


@pytest.fixture
async def balancer(tmp_path: Path, tls_files: peers.TLSFiles) -> AsyncIterator[tuple[Balancer, dict[str, peers.Peer]]]:
    """HAProxy with its two servers, both up; the servers by their names."""
    ports = {f":{port}": f":{peers.free_port()}" for port in PORTS}
    one, two = (int(port[1:]) for port in ports.values())
    replacements = {"/etc/haproxy/site.pem": str(tls_files.combined), **ports}
    async with (
        serving(PORTS[0], one, tmp_path / "one.log") as first,
        serving(PORTS[1], two, tmp_path / "two.log") as second,
        run_haproxy("/etc/haproxy/haproxy.cfg", replacements, tmp_path) as haproxy,
    ):
        for name in ("one", "two"):
            await haproxy.wait_until(name, "UP")
        yield haproxy, {"one": first, "two": second}


async def test_the_app_sees_the_client_and_not_what_it_makes_up(
    balancer: tuple[Balancer, dict[str, peers.Peer]], tls_files: peers.TLSFiles, client_ssl_context: ssl.SSLContext
) -> None:
    port = balancer[0].port
    for told in (
        await clients.asked_over_h2(port, client_ssl_context),
        await clients.asked_over_h2(port, client_ssl_context, b"body" * 100_000),
        await clients.asked_by_curl(port, tls_files.ca, "--http2"),
        await clients.asked_by_curl(port, tls_files.ca, "--http1.1"),
    ):
        assert (told["client"][0], told["scheme"], told["http_version"]) == (clients.CLIENT, "https", "2")
        assert told["host"] == "app.example"


async def test_websockets_and_grpc_go_through(
    balancer: tuple[Balancer, dict[str, peers.Peer]], tls_files: peers.TLSFiles, client_ssl_context: ssl.SSLContext
) -> None:
    port = balancer[0].port
    told = await clients.websocket_told(port, client_ssl_context)
    assert (told["client"][0], told["scheme"], told["http_version"]) == (clients.CLIENT, "wss", "2")
    told = await clients.called_by_grpc(port, tls_files.ca, "/helloworld.Greeter/SayHello")
    assert (told["scheme"], told["http_version"]) == ("https", "2")


class Load:
    """Requests, GET and POST in turn, one after the other on each of some connections. Owner of every field: this.

    Attributes:
        statuses: of all responses.
    """

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self._over = False

    def stop(self) -> None:
        self._over = True

    async def run(self, port: int, context: ssl.SSLContext, path: str) -> None:
        stream = await clients.connected(port, context)
        async with trio_h2.connect_over(stream, authority="app.example", scheme="https") as connection:
            while not self._over:
                body = b"x" * 10_000 if len(self.statuses) % 2 else None
                response = await connection.request("GET" if body is None else "POST", path, body=body)
                self.statuses.append(response.status)


async def test_a_server_that_is_drained_and_then_stopped_loses_no_request(
    balancer: tuple[Balancer, dict[str, peers.Peer]], client_ssl_context: ssl.SSLContext
) -> None:
    haproxy, servers = balancer
    load = Load()
    words = re.search(r'"(set server app/one state drain)"', command('echo "set'))
    assert words is not None
    async with trio.open_nursery() as nursery:
        for path in ("/slow",) * 5 + ("/",) * 5:
            nursery.start_soon(load.run, haproxy.port, client_ssl_context, path)
        await haproxy.tell(words[1])
        await haproxy.wait_until("one", "DRAIN")
        await haproxy.wait_until_idle("one")
        assert "127.0.0.1" in await haproxy.tell("show servers conn app")
        servers["one"].process.terminate()
        assert await servers["one"].process.wait() == 0
        seen = len(load.statuses)
        with trio.fail_after(30):
            while len(load.statuses) < seen + 100:  # noqa: ASYNC110
                await trio.sleep(0.02)
        load.stop()
    assert set(load.statuses) == {200}
    assert [await haproxy.lost(name) for name in servers] == [0, 0]


async def test_a_server_that_dies_is_down_and_comes_back(
    balancer: tuple[Balancer, dict[str, peers.Peer]], tmp_path: Path, client_ssl_context: ssl.SSLContext
) -> None:
    haproxy, servers = balancer
    servers["one"].process.terminate()
    await haproxy.wait_until("one", "DOWN")
    for _ in range(4):
        await clients.asked_over_h2(haproxy.port, client_ssl_context)
    async with serving(PORTS[0], servers["one"].port, tmp_path / "again.log"):
        await haproxy.wait_until("one", "UP")


async def test_where_tls_is_passed_on_the_proxy_protocol_says_who_the_client_is(
    tmp_path: Path, tls_files: peers.TLSFiles, client_ssl_context: ssl.SSLContext
) -> None:
    port = peers.free_port()
    files = {"/etc/app/site.crt": str(tls_files.certificate), "/etc/app/site.key": str(tls_files.key)}
    replacements = {
        ":8441": f":{port}",
        "/etc/haproxy/ca.pem": str(tls_files.ca),
        "verifyhost app.example": "verifyhost localhost",
    }
    async with (
        serving(8441, port, tmp_path / "app.log", files) as server,
        run_haproxy("/etc/haproxy/passed-on.cfg", replacements, tmp_path) as haproxy,
    ):
        await haproxy.wait_until("one", "UP")
        for told, version in (
            (await clients.asked_over_h2(haproxy.port, client_ssl_context), "2"),
            (await clients.asked_by_curl(haproxy.port, tls_files.ca, "--http2"), "2"),
            (await clients.asked_by_curl(haproxy.port, tls_files.ca, "--http1.1"), "1.1"),
            (await clients.websocket_told(haproxy.port, client_ssl_context), "1.1"),
        ):
            assert (told["client"][0], told["http_version"]) == (clients.CLIENT, version)
            assert told["scheme"] in ("https", "wss")
        assert f'{clients.CLIENT} "GET /told" 200' in server.output()
