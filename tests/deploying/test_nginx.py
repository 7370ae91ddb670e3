"""nginx in front, by the configuration of docs/deploying.md."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests import peers

from . import clients
from .page import configuration, serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.9 is loopback on Linux alone")

MODULES = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@asynccontextmanager
async def run_nginx(text: str, port: int, directory: Path) -> AsyncIterator[None]:
    """Run nginx with a file that its own nginx.conf would include."""
    program = peers.require_program("nginx", package="nginx")
    (directory / "app.conf").write_text(text)
    temporary = "\n".join(f"{module}_temp_path {directory}/{module};" for module in MODULES)
    main = directory / "nginx.conf"
    main.write_text(f"""
daemon off;
{"user root;" if os.geteuid() == 0 else ""}
pid {directory}/pid;
events {{ }}
http {{
    access_log off;
    {temporary}
    include {directory}/app.conf;
}}
""")
    log = directory / "nginx.log"
    argv = [program, "-p", str(directory), "-c", str(main), "-e", str(log)]
    async with peers.run_server("nginx", argv, port=port, scheme="https", log=log):
        yield


@pytest.fixture
async def port(tmp_path: Path, tls_files: peers.TLSFiles) -> AsyncIterator[int]:
    """Where nginx is, in front of the app."""
    front, back = peers.free_port(), peers.free_port()
    text = configuration(
        "/etc/nginx/conf.d/app.conf",
        {
            "listen 443": f"listen {peers.HOST}:{front}",
            "127.0.0.1:8000": f"127.0.0.1:{back}",
            "/etc/nginx/site.crt": str(tls_files.certificate),
            "/etc/nginx/site.key": str(tls_files.key),
        },
    )
    async with serving(8000, back, tmp_path / "app.log"), run_nginx(text, front, tmp_path):
        yield front


async def test_the_app_sees_the_client_and_not_what_it_makes_up(
    port: int, tls_files: peers.TLSFiles, client_ssl_context: ssl.SSLContext
) -> None:
    for told in (
        await clients.asked_over_h2(port, client_ssl_context),
        await clients.asked_over_h2(port, client_ssl_context, b"body" * 100_000),
        await clients.asked_by_curl(port, tls_files.ca, "--http2"),
        await clients.asked_by_curl(port, tls_files.ca, "--http1.1"),
    ):
        assert (told["client"][0], told["scheme"], told["http_version"]) == (clients.CLIENT, "https", "1.1")
        assert told["host"] == "app.example"


async def test_websockets_and_grpc_go_through(
    port: int, tls_files: peers.TLSFiles, client_ssl_context: ssl.SSLContext
) -> None:
    told = await clients.websocket_told(port, client_ssl_context)
    assert (told["client"][0], told["scheme"], told["http_version"]) == (clients.CLIENT, "wss", "1.1")
    told = await clients.called_by_grpc(port, tls_files.ca, "/helloworld.Greeter/SayHello")
    assert (told["client"][0], told["scheme"], told["http_version"]) == (peers.HOST, "https", "2")


async def test_connections_that_are_kept_alive_are_of_one_protocol(
    port: int, tls_files: peers.TLSFiles, client_ssl_context: ssl.SSLContext
) -> None:
    for _ in range(3):
        assert (await clients.asked_over_h2(port, client_ssl_context))["http_version"] == "1.1"
        told = await clients.called_by_grpc(port, tls_files.ca, "/helloworld.Greeter/SayHello")
        assert told["http_version"] == "2"
