"""`trio-h2 probe`: what servers announce, and what is said of those that cannot be looked at."""

from __future__ import annotations

import io
import json
import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from rich.console import Console

import tests.peers as peers
import trio_h2
from trio_h2.cli.commands import cli
from trio_h2.cli.probing.certificate_facts import certificate_facts
from trio_h2.cli.probing.probe import DEFAULTS, Probe
from trio_h2.cli.probing.probe_view import show_table, table_rows
from trio_h2.cli.shared.locations import parse_url
from trio_h2.cli.shared.tls_options import client_context

LIMIT = 60.0


async def look(url: str, *, cacert: Path | None = None, max_time: float = LIMIT) -> Probe:
    probe = Probe(parse_url(url), client_context(cacert=None if cacert is None else str(cacert)))
    await probe.run(max_time)
    return probe


def rows(probe: Probe) -> dict[str, str]:
    return dict(table_rows(probe.facts))


async def hello(stream: trio_h2.ServerStream) -> None:
    if stream.can_push and stream.request.method == "GET":
        await stream.push("/style.css")
    await stream.respond(200, [("server", "hello"), ("content-type", "text/plain")], b"hello\n")


async def test_our_own_server(
    server_ssl_context: ssl.SSLContext, tls_files: peers.TLSFiles, nursery: trio.Nursery
) -> None:
    config = trio_h2.Config(max_concurrent_streams=7)
    serve = partial(trio_h2.serve_h2, hello, 0, host="127.0.0.1", ssl_context=server_ssl_context, config=config)
    server = await nursery.start(serve)
    probe = await look(f"https://127.0.0.1:{server.port}/path", cacert=tls_files.ca)
    facts = probe.facts
    assert probe.failure is None
    assert facts["address"] == f"127.0.0.1 port {server.port}"
    assert (facts["tls"]["version"], facts["tls"]["alpn"]) == ("TLSv1.3", "h2")
    assert facts["tls"]["certificate"]["names"] == ["localhost", "127.0.0.1", "::1"]
    assert facts["settings"]["MAX_CONCURRENT_STREAMS"] == 7
    assert facts["settings"]["ENABLE_CONNECT_PROTOCOL"] == 1
    assert "HEADER_TABLE_SIZE" not in facts["settings"]
    assert facts["connection_window"] > 65_535
    assert facts["extended_connect"] is True
    assert len(facts["ping_ms"]) == 3
    assert (facts["head"]["status"], facts["head"]["octets"]) == (200, 0)
    assert (facts["get"]["status"], facts["get"]["octets"], facts["get"]["server"]) == (200, 6, "hello")
    assert facts["push"] == {"promised": ["/style.css"]}
    assert facts["goaway"] == {"unasked": None, "open_request": "finished", "answered": None}
    shown = rows(probe)
    assert shown["MAX_CONCURRENT_STREAMS"] == "7"
    assert shown["HEADER_TABLE_SIZE"] == "4,096 (not announced)"
    assert shown["for"] == "localhost, 127.0.0.1, ::1"
    assert shown["push"] == "/style.css"


async def test_nghttpd(tmp_path: Path, tls_files: peers.TLSFiles) -> None:
    (tmp_path / "file").write_bytes(b"content")
    async with peers.run_nghttpd(tmp_path, tls=tls_files) as peer:
        probe = await look(f"{peer.url}/file", cacert=tls_files.ca)
    assert probe.failure is None
    assert probe.facts["settings"]["MAX_CONCURRENT_STREAMS"] == 100
    assert probe.facts["get"]["octets"] == 7
    assert probe.facts["get"]["server"].startswith("nghttpd ")
    assert probe.facts["goaway"]["open_request"] == "finished"


async def test_nginx(tmp_path: Path, tls_files: peers.TLSFiles) -> None:
    async with peers.run_nginx(tmp_path, tls=tls_files) as peer:
        probe = await look(f"{peer.url}/nothing", cacert=tls_files.ca)
    assert probe.failure is None  # a status is an answer
    assert probe.facts["settings"] == {
        "MAX_CONCURRENT_STREAMS": 128,
        "INITIAL_WINDOW_SIZE": 65_536,
        "MAX_FRAME_SIZE": 16_777_215,
    }
    assert probe.facts["connection_window"] == 2**31 - 1
    assert probe.facts["extended_connect"] is False
    assert probe.facts["get"]["status"] == 404
    assert probe.facts["goaway"]["open_request"] == "finished"


async def test_a_stream_that_is_reset_ends_nothing_else(nursery: trio.Nursery) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.method == "HEAD":
            await stream.reset(trio_h2.ErrorCodes.INTERNAL_ERROR)
        else:
            await stream.respond(200, (), bytes(2**21))

    server = await nursery.start(partial(trio_h2.serve_h2, handler, 0, host="127.0.0.1"))
    probe = await look(f"http://127.0.0.1:{server.port}/")
    assert probe.failure is not None
    assert probe.failure.exit_code == 92
    assert probe.facts["tls"] is None
    assert rows(probe)["HEAD"] == "the server ended it early: INTERNAL_ERROR"
    assert rows(probe)["GET"].startswith("200, more than 1,")
    assert probe.facts["goaway"]["open_request"] == "reset"


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + payload


async def test_what_a_server_sends_unasked(nursery: trio.Nursery) -> None:
    """A setting that nobody knows, an ALTSVC, and no answer to PING."""

    async def serve(transport: trio.SocketStream) -> None:
        await transport.receive_some()
        await transport.send_all(frame(4, 0, 0, (0x99).to_bytes(2, "big") + (5).to_bytes(4, "big")))
        await transport.send_all(frame(10, 0, 0, b'\0\x01ah2=":1"'))
        while await transport.receive_some():
            pass
        await transport.aclose()

    listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    probe = await look(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/", max_time=0.2)
    assert probe.facts["settings"] == {"0x99": 5}
    assert rows(probe)["also sent"].startswith("AlternativeServiceAvailable")
    assert probe.failure is not None
    assert probe.failure.exit_code == 28


async def test_a_server_that_goes_first(nursery: trio.Nursery) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.method == "GET":
            await stream.connection.shutdown()
        await stream.respond(200)

    server = await nursery.start(partial(trio_h2.serve_h2, handler, 0, host="127.0.0.1"))
    probe = await look(f"http://127.0.0.1:{server.port}/")
    assert probe.failure is None
    goaway = {"error_code": "NO_ERROR", "last_stream_id": 3}
    assert probe.facts["goaway"] == {"unasked": goaway, "open_request": None, "answered": None}
    assert rows(probe)["GOAWAY unasked"] == "GOAWAY NO_ERROR, last stream 3"
    assert rows(probe)["request before our GOAWAY"] == "none was possible"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("ftp://localhost/",), 1, "must start with http"),
        (("http://[::1/",), 3, "Invalid IPv6 URL"),
        (("--cacert", "/nonexistent", "https://localhost/"), 77, "/nonexistent"),
        (("--key", "a", "https://localhost/"), 2, "--key is the key of a --cert"),
        ((), 2, "Missing argument"),
    ],
)
def test_wrong_command_lines_of_probe(arguments: tuple[str, ...], exit_code: int, message: str) -> None:
    result = CliRunner().invoke(cli, ["probe", *arguments])
    assert (result.exit_code, result.stdout, message in result.stderr) == (exit_code, "", True)


def test_a_failure_is_in_the_json_and_in_the_exit_code() -> None:
    url = f"http://127.0.0.1:{peers.free_port()}/"
    result = CliRunner().invoke(cli, ["probe", "--json", url])
    assert result.exit_code == 7
    facts = json.loads(result.stdout)
    assert (facts["url"], facts["error"]["exit_code"]) == (url, 7)
    assert facts["error"]["words"].endswith("Connection refused")
    assert CliRunner().invoke(cli, ["probe", url]).stdout == ""


def test_as_a_table_on_a_terminal() -> None:
    facts: dict[str, Any] = {"url": "http://a/", "address": "127.0.0.1 port 80", "tls": None, "settings": {"0x99": 5}}
    console = Console(force_terminal=True, width=80, no_color=True)
    with console.capture() as capture:
        show_table(facts, console)
    lines = [" ".join(re.sub(r"\x1b\[[\d;]*m", "", line).split()) for line in capture.get().splitlines()]
    assert "0x99 5" in lines
    assert sum(line.endswith("(not announced)") for line in lines) == len(DEFAULTS)


def test_a_table_on_a_terminal_that_does_not_take_every_letter() -> None:
    shown = io.BytesIO()
    console = Console(file=io.TextIOWrapper(shown, "ascii", write_through=True), force_terminal=True, width=80)
    show_table({"url": "http://a/", "settings": {}, "get": {"failure": "caf\xe9\x1b"}}, console)
    assert b"caf\\xe9\\x1b" in shown.getvalue()


def odd_certificates() -> Iterator[tuple[str, bytes]]:
    """Such as OpenSSL takes, where nobody verifies them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "odd")])
    from_to = datetime(2024, 1, 1, tzinfo=UTC), datetime(2044, 1, 1, tzinfo=UTC)

    def certificate(**extensions: bytes) -> bytes:
        builder = x509.CertificateBuilder(name, name, key.public_key(), 1, *from_to)
        for oid, value in extensions.items():
            unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
            builder = builder.add_extension(unknown, critical=False)
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    yield "nothing", b"nothing"
    yield "X.400 address", certificate(**{"2.5.29.17": b"\x30\x02\xa3\x00"})
    yield "9 is not a valid", certificate().replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09")
    yield "Duplicate", certificate(**{"1.2.3.4": b"", "1.2.3.5": b""}).replace(b"\x2a\x03\x05", b"\x2a\x03\x04")


@pytest.mark.parametrize("certificate", [pytest.param(each, id=name) for name, each in odd_certificates()])
def test_what_is_no_certificate(certificate: bytes) -> None:
    assert list(certificate_facts(certificate)) == ["error"]
