"""The programs of `docs/examples/` that use the actors do their job for real peers, and end in order at SIGTERM."""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import httpx
import httpx2
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

import trio_h2
from tests import peers
from tests.peer_site import MIB, start_server, write_body

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"

SHORT = [
    "service.py",
    "telemetry.py",
    "events.py",
    "metrics_exporter.py",
    "h11_on_the_same_port.py",
    "resilient_client.py",
    "reverse_proxy.py",
    "tunnel_proxy.py",
    "websocket_echo.py",
]


@asynccontextmanager
async def example(
    directory: Path,
    name: str,
    *arguments: str | Path,
    scheme: Literal["http", "https"] = "http",
    port: int | None = None,
) -> AsyncIterator[peers.Peer]:
    """A server among the examples, with its port before its other arguments; at SIGTERM it ends in order."""
    port = port or peers.free_port()
    argv = [sys.executable, "-W", "error", str(EXAMPLES / name), str(port), *map(str, arguments)]
    async with peers.run_server(
        name, argv, port=port, scheme=scheme, log=directory / f"{name}.log", may_end=True
    ) as peer:
        yield peer
    assert peer.process.returncode == 0, peer.output()
    assert "Traceback" not in peer.output()


@asynccontextmanager
async def page_in_a_browser(
    context: ssl.SSLContext, script: str
) -> AsyncIterator[trio.MemoryReceiveChannel[dict[str, Any]]]:
    """Chromium runs a script in a page of its own; what that gives to `report(...)` is received here."""
    chromium = peers.require_program("chromium", package="chromium")
    reports_in, reports = trio.open_memory_channel[dict[str, Any]](100)
    page = f"""<!doctype html><script type="module">
const report = what => fetch("/report", {{method: "POST", body: JSON.stringify(what)}});
{script}
</script>"""

    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.path == "/report":
            reports_in.send_nowait(json.loads(b"".join([chunk async for chunk in stream])))
            await stream.respond(204)
        elif stream.request.path == "/":
            await stream.respond(200, [("content-type", "text/html")], page.encode())
        else:
            await stream.respond(404)

    async with trio.open_nursery() as nursery:
        server = await start_server(nursery, handler, ssl_context=context)
        how = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--ignore-certificate-errors",
            "--remote-debugging-port=0",
        ]
        async with peers.running_program(chromium, *how, f"https://{peers.HOST}:{server.port}/"):
            with trio.fail_after(60):
                yield reports
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("name", SHORT)
def test_an_example_is_short_and_hides_nothing_from_type_checkers(name: str) -> None:
    text = (EXAMPLES / name).read_text()
    assert len(text.splitlines()) < 100
    assert re.findall(r"\bcast\b|type: *ignore|pyright: *ignore|noqa", text) == []


# The service ----------------------------------------------------------------------------------------------------------


async def test_curl_and_httpx_use_the_service(
    tmp_path: Path, tls_files: peers.TLSFiles, client_ssl_context: ssl.SSLContext
) -> None:
    curl = peers.require_program("curl", package="curl")
    how = ["-sS", "--http2", "--cacert", str(tls_files.ca), "--write-out", " %{http_version} %{http_code}"]

    async def asked(*arguments: str) -> tuple[Any, str]:
        body, _, said = (await peers.run_program(curl, *how, *arguments)).text.partition(" 2 ")
        return json.loads(body), said

    async with example(tmp_path, "service.py", tls_files.certificate, tls_files.key, scheme="https") as peer:
        notes = f"{peer.url}/notes"
        assert await asked("--data", '{"text": "milk"}', notes) == ({"number": 1}, "201")
        assert await asked("--data", '{"text": "bread"}', notes) == ({"number": 2}, "201")
        assert await asked(f"{notes}/1") == ({"text": "milk"}, "200")
        assert await asked("--request", "DELETE", f"{notes}/1") == ({}, "200")
        assert await asked(f"{notes}/1?really") == ({"error": "there is no such thing"}, "404")
        assert await asked("--data", "milk", notes) == ({"error": "the body is no JSON"}, "400")
        assert await asked("--data", '{"text": 1}', notes) == ({"error": 'a note is {"text": "..."}'}, "400")
        async with httpx2.AsyncClient(http2=True, http1=False, verify=client_ssl_context) as client:
            response = await client.get(notes)
            assert (response.http_version, response.json()) == ("HTTP/2", {"2": "bread"})
            response = await client.post(notes, content=b"x" * 10_001)
            assert response.status_code == 413
        lines = re.findall(r"service (\S+ \S+: \S+) after", peer.output())
        assert lines[:2] == ["POST /notes: 201", "POST /notes: 201"]
        assert lines[4] == "GET /notes/1?really: 404"


# The events -----------------------------------------------------------------------------------------------------------

EVENTS = """
const source = new EventSource("https://ORIGIN/events");
source.onopen = () => report({open: true});
source.onmessage = event => report({id: event.lastEventId, data: event.data});
"""


async def test_a_browser_hears_of_events(
    tmp_path: Path, tls_files: peers.TLSFiles, server_ssl_context: ssl.SSLContext
) -> None:
    curl = peers.require_program("curl", package="curl")

    async def publish(text: str) -> None:
        how = ["-sS", "--fail", "--http2", "--cacert", str(tls_files.ca)]
        await peers.run_program(curl, *how, "--data-binary", text, f"https://{peers.HOST}:{port}/publish")

    port = peers.free_port()
    script = EVENTS.replace("ORIGIN", f"{peers.HOST}:{port}")
    files = tls_files.certificate, tls_files.key
    async with page_in_a_browser(server_ssl_context, script) as reports:
        for _ in range(2):  # the second time by a server that was started again: the browser comes back by itself
            async with example(tmp_path, "events.py", *files, scheme="https", port=port) as peer:
                assert await reports.receive() == {"open": True}
                await publish("one")
                assert await reports.receive() == {"id": "1", "data": "one"}
                await publish("two\nlines \u20ac")
                assert await reports.receive() == {"id": "2", "data": "two\nlines \u20ac"}
                peer.process.terminate()
                with trio.fail_after(5):  # far less than the grace: the response has ended in order
                    await peer.process.wait()


async def test_a_listener_that_comes_back_hears_what_it_missed(tmp_path: Path, tls_files: peers.TLSFiles) -> None:
    curl = peers.require_program("curl", package="curl")
    how = ["-sS", "--http2", "--cacert", str(tls_files.ca)]
    async with example(tmp_path, "events.py", tls_files.certificate, tls_files.key, scheme="https") as peer:
        for text in ("one", "two", "three"):
            await peers.run_program(curl, *how, "--data", text, f"{peer.url}/publish")
        argv = [curl, *how, "--no-buffer", "--header", "last-event-id: 1", f"{peer.url}/events"]
        process = await trio.lowlevel.open_process(argv, stdout=subprocess.PIPE)
        assert process.stdout is not None
        with trio.fail_after(30):
            async with process.stdout, aclosing(lines_of(process.stdout)) as lines:
                told = [await anext(lines) for _ in range(8)]
                assert told == ["retry: 1000", "", "id: 2", "data: two", "", "id: 3", "data: three", ""]
                peer.process.terminate()
                assert [line async for line in lines] == []
            assert await process.wait() == 0  # curl: the response has ended in order
            await peer.process.wait()


# The spans ------------------------------------------------------------------------------------------------------------


async def test_the_spans_of_a_request_are_of_its_clients_trace(tmp_path: Path) -> None:
    curl = peers.require_program("curl", package="curl")
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    async with example(tmp_path, "telemetry.py") as peer:
        how = ["-sS", "--http2-prior-knowledge", "--header", f"traceparent: {parent}"]
        done = await peers.run_program(curl, *how, f"http://localhost:{peer.port}/orders/7")
        assert done.text == "in stock: 12\n"
    told = [json.loads(line) for line in peer.output().splitlines() if line.startswith("{")]
    spans = {span["context"]["span_id"]: span for span in told if "context" in span}
    ours = {number: span for number, span in spans.items() if span["context"]["trace_id"] == f"0x{'a' * 32}"}
    chain, after = [], f"0x{'b' * 16}"
    while following := [span for span in ours.values() if span["parent_id"] == after]:
        chain.append(following[0]["name"])
        after = following[0]["context"]["span_id"]
    assert chain == ["GET /orders/{id}", "look at the stock", "GET", "GET /stock"]
    [measured] = [each["resource_metrics"] for each in told if "resource_metrics" in each]
    names = {metric["name"] for scope in measured[0]["scope_metrics"] for metric in scope["metrics"]}
    assert {"http.server.request.duration", "http.client.request.duration", "trio_h2.connection.io"} <= names


# The metrics ----------------------------------------------------------------------------------------------------------


async def test_prometheus_reads_what_the_exporter_exports(tmp_path: Path, tls_files: peers.TLSFiles) -> None:
    curl = peers.require_program("curl", package="curl")
    how = ["-sS", "--http2", "--cacert", str(tls_files.ca)]
    metrics_port = peers.free_port()
    files = tls_files.certificate, tls_files.key
    async with example(tmp_path, "metrics_exporter.py", str(metrics_port), *files, scheme="https") as peer:
        for method in ("GET", "GET", "POST", "BREW"):
            await peers.run_program(curl, *how, "--request", method, peer.url)
        url = f"https://{peers.HOST}:{metrics_port}/metrics"
        done = await peers.run_program(curl, *how, "--write-out", "%{stderr}%{content_type}", url)
        assert done.errors == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(done.text)}
    values = {
        (sample.name, *sample.labels.values()): sample.value for each in families.values() for sample in each.samples
    }
    assert all(family.documentation for family in families.values())
    assert families["h2_requests"].type == "counter"
    assert families["h2_connections_open"].type == "gauge"
    assert values["h2_requests_total", "GET"] == 2
    assert values["h2_requests_total", "POST"] == 1
    assert values["h2_requests_total", "_OTHER"] == 1
    assert values["h2_responses_total", "2xx"] == 4
    assert values["h2_streams_total",] == 4
    assert values["h2_streams_open",] == 0
    # One came to look whether somebody listens, and said nothing; if it was gone before it was accepted, it was none.
    assert values["h2_connections_total",] - values["h2_handshakes_failed_total",] == 4
    assert values["h2_bytes_received_total",] > 100


# HTTP/1.1 on the same port --------------------------------------------------------------------------------------------


async def test_curl_speaks_both_protocols_on_one_port(tmp_path: Path, tls_files: peers.TLSFiles) -> None:
    curl = peers.require_program("curl", package="curl")
    how = ["-sS", "--cacert", str(tls_files.ca), "--write-out", "%{http_version} %{http_code} %{num_connects}\n"]
    files = tls_files.certificate, tls_files.key
    upload = write_body(tmp_path / "upload", MIB)

    async def asked(*arguments: str) -> str:
        return (await peers.run_program(curl, *how, *arguments)).text

    async with example(tmp_path, "h11_on_the_same_port.py", *files, scheme="https") as peer:
        assert await asked("--http2", peer.url) == "GET over HTTP/2\n2 200 1\n"
        once, again = "GET over HTTP/1.1\n1.1 200 1\n", "GET over HTTP/1.1\n1.1 200 0\n"
        assert await asked("--http1.1", peer.url, peer.url) == once + again  # over one connection
        expecting = ["-H", "Expect: 100-continue", "--data-binary", f"@{upload}"]
        assert await asked("--http1.1", *expecting, peer.url) == "POST over HTTP/1.1\n1.1 200 1\n"
        head = await asked("--http1.1", "--head", peer.url)
        assert "content-length: 19" in head.lower()
        assert head.endswith("1.1 200 1\n")
        assert await asked("--http1.1", "-H", "Host:", peer.url) == "1.1 400 1\n"
        assert await asked("--http1.0", peer.url) == "GET over HTTP/1.1\n1.1 200 1\n"


async def test_an_idle_connection_of_http1_does_not_hold_the_end_up(
    tmp_path: Path, tls_files: peers.TLSFiles, client_ssl_context: ssl.SSLContext
) -> None:
    files = tls_files.certificate, tls_files.key
    async with example(tmp_path, "h11_on_the_same_port.py", *files, scheme="https") as peer:
        async with httpx.AsyncClient(verify=client_ssl_context) as client:
            assert (await client.get(peer.url)).text == "GET over HTTP/1.1\n"
            peer.process.terminate()
            with trio.fail_after(5):  # of a grace of ten
                await peer.process.wait()


# The proxies ----------------------------------------------------------------------------------------------------------

NODE_TUNNEL = """
const http2 = require('http2');
const [proxy, target, count] = process.argv.slice(2);
const session = http2.connect(proxy, {rejectUnauthorized: false});
const tunnel = session.request({':method': 'CONNECT', ':authority': target});
let received = 0;
tunnel.on('response', headers => {
  console.log(headers[':status']);
  tunnel.end(Buffer.alloc(Number(count), 'x'));
});
tunnel.on('data', data => { received += data.length; });
tunnel.on('end', () => console.log(received));
tunnel.on('error', error => console.log(error.message));
tunnel.on('close', () => session.close());
"""


async def node_tunnel(directory: Path, peer: peers.Peer, target: str, count: int = 0) -> list[str]:
    """What node says of a tunnel: the status, and how many octets came back of those it sent."""
    script = directory / "tunnel.js"
    script.write_text(NODE_TUNNEL)
    node = peers.require_program("node", package="nodejs")
    return (await peers.run_program(node, script, peer.url, target, str(count))).text.splitlines()


async def echo_tcp(transport: trio.SocketStream) -> None:
    async for chunk in transport:
        await transport.send_all(chunk)


async def break_tcp(transport: trio.SocketStream) -> None:
    """Read something, then reset the connection."""
    await transport.receive_some()
    transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.socket.close()


async def listen(nursery: trio.Nursery, handler: Callable[[trio.SocketStream], Awaitable[None]]) -> int:
    """The port of a TCP server on loopback."""
    listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host=peers.HOST))
    port: int = listeners[0].socket.getsockname()[1]
    return port


async def test_node_opens_tunnels_through_the_tunnel_proxy(
    tmp_path: Path, tls_files: peers.TLSFiles, nursery: trio.Nursery
) -> None:
    echoes, breaks = await listen(nursery, echo_tcp), await listen(nursery, break_tcp)
    closed = peers.free_port()
    ports = [str(port) for port in (echoes, breaks, closed)]
    async with example(
        tmp_path, "tunnel_proxy.py", tls_files.certificate, tls_files.key, *ports, scheme="https"
    ) as peer:
        assert await node_tunnel(tmp_path, peer, f"{peers.HOST}:{echoes}", 5_000_000) == ["200", "5000000"]
        assert await node_tunnel(tmp_path, peer, f"localhost:{echoes}", 1) == ["200", "1"]
        assert await node_tunnel(tmp_path, peer, f"{peers.HOST}:{peers.free_port()}") == ["403", "0"]
        assert await node_tunnel(tmp_path, peer, f"{peers.HOST}:{closed}") == ["502", "0"]
        status, error = await node_tunnel(tmp_path, peer, f"{peers.HOST}:{breaks}", 1)
        assert status == "200"
        assert "NGHTTP2_CONNECT_ERROR" in error
        curl = peers.require_program("curl", package="curl")
        done = await peers.run_program(curl, "-sS", "--http2", "--insecure", "--write-out", "%{http_code}", peer.url)
        assert done.text == "405"


async def test_a_browser_browses_through_the_tunnel_proxy(
    tmp_path: Path, tls_files: peers.TLSFiles, server_ssl_context: ssl.SSLContext, nursery: trio.Nursery
) -> None:
    async def page(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, [("content-type", "text/html")], b"<p>through the tunnel")

    server = await start_server(nursery, page, ssl_context=server_ssl_context)
    certificate = tls_files.certificate, tls_files.key
    async with example(tmp_path, "tunnel_proxy.py", *certificate, str(server.port), scheme="https") as peer:
        chromium = peers.require_program("chromium", package="chromium")
        how = ["--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", "--dump-dom"]
        through = [f"--proxy-server={peer.url}", "--proxy-bypass-list=<-loopback>"]
        done = await peers.run_program(chromium, *how, *through, f"https://{peers.HOST}:{server.port}/")
        assert "through the tunnel" in done.text


async def test_curl_reaches_nghttpd_through_the_reverse_proxy(tmp_path: Path) -> None:
    curl = peers.require_program("curl", package="curl")
    how = ["-sS", "--http2-prior-knowledge", "--write-out", "%{http_code}"]
    docroot = tmp_path / "root"
    docroot.mkdir()
    upload = write_body(tmp_path / "upload", 3 * MIB)
    write_body(docroot / "file", 3 * MIB)
    port = peers.free_port()
    async with example(tmp_path, "reverse_proxy.py", f"http://{peers.HOST}:{port}") as peer:
        for _ in range(2):  # the second time after a restart of the server behind
            async with run_nghttpd_on(port, tmp_path, docroot):
                done = await peers.run_program(curl, *how, f"{peer.url}/file")
                assert done.stdout == upload.read_bytes() + b"200"
                done = await peers.run_program(curl, *how, "--data-binary", f"@{upload}", f"{peer.url}/echo")
                assert done.stdout == upload.read_bytes() + b"200"
                done = await peers.run_program(curl, *how, "--head", f"{peer.url}/file")
                assert f"content-length: {3 * MIB}" in done.text
                done = await peers.run_program(curl, *how, "--output", tmp_path / "body", f"{peer.url}/nothing")
                assert done.text == "404"
            done = await peers.run_program(curl, *how, f"{peer.url}/file")
            assert done.text == "502"
            assert "GET /file: " in peer.output()


@asynccontextmanager
async def run_nghttpd_on(port: int, directory: Path, docroot: Path) -> AsyncIterator[peers.Peer]:
    """nghttpd on a port of the test's choice, so that it can be started there again."""
    program = peers.require_program("nghttpd", package="nghttp2-server")
    argv = [program, f"--address={peers.HOST}", f"--htdocs={docroot}", "--echo-upload", "--no-tls", str(port)]
    async with peers.run_server("nghttpd", argv, port=port, scheme="http", log=directory / "nghttpd.log") as peer:
        yield peer


# The WebSocket echo ---------------------------------------------------------------------------------------------------

# Chromium opens a WebSocket on an HTTP/2 connection that it has, and makes none for one.
WEBSOCKET = """
await fetch("https://ORIGIN/", {mode: "no-cors", credentials: "include"});
const socket = new WebSocket("wss://ORIGIN/");
const sent = ["hello", "x".repeat(300000), "\\u00fc\\u20ac"];
socket.onopen = () => sent.forEach(text => socket.send(text));
const received = [];
socket.onmessage = event => {
  received.push(event.data);
  if (received.length === sent.length) {
    report({right: received.every((text, number) => text === sent[number])});
    LAST
  }
};
socket.onclose = event => report({code: event.code, clean: event.wasClean});
"""


async def test_a_browser_talks_to_the_websocket_echo(
    tmp_path: Path, tls_files: peers.TLSFiles, server_ssl_context: ssl.SSLContext
) -> None:
    async with example(tmp_path, "websocket_echo.py", tls_files.certificate, tls_files.key, scheme="https") as peer:
        script = WEBSOCKET.replace("LAST", 'socket.close(4000, "bye");').replace("ORIGIN", f"{peers.HOST}:{peer.port}")
        async with page_in_a_browser(server_ssl_context, script) as reports:
            assert await reports.receive() == {"right": True}
            assert await reports.receive() == {"code": 4000, "clean": True}


async def test_a_browser_hears_that_the_websocket_echo_goes_away(
    tmp_path: Path, tls_files: peers.TLSFiles, server_ssl_context: ssl.SSLContext
) -> None:
    async with example(tmp_path, "websocket_echo.py", tls_files.certificate, tls_files.key, scheme="https") as peer:
        script = WEBSOCKET.replace("LAST", "").replace("ORIGIN", f"{peers.HOST}:{peer.port}")
        async with page_in_a_browser(server_ssl_context, script) as reports:
            assert await reports.receive() == {"right": True}
            peer.process.terminate()
            assert await reports.receive() == {"code": 1001, "clean": True}
        await peer.process.wait()


# The resilient client -------------------------------------------------------------------------------------------------


async def lines_of(pipe: trio.abc.ReceiveStream) -> AsyncIterator[str]:
    """What a program writes, line by line."""
    rest = b""
    async for chunk in pipe:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode()


async def test_the_resilient_client_outlives_restarts_of_nghttpd(tmp_path: Path) -> None:
    docroot = tmp_path / "root"
    docroot.mkdir()
    (docroot / "file").write_text("here")
    port = peers.free_port()
    name, url = EXAMPLES / "resilient_client.py", f"http://{peers.HOST}:{port}"
    argv = [sys.executable, "-W", "error", str(name), f"{url}/file", "0.01"]
    process = await trio.lowlevel.open_process(argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        with trio.fail_after(60):
            async with process.stdout, aclosing(lines_of(process.stdout)) as lines:
                for _ in range(3):
                    async with run_nghttpd_on(port, tmp_path, docroot):
                        for _ in range(20):
                            assert await anext(lines) == "200 4"
        assert process.poll() is None
    finally:
        process.kill()
        await process.wait()
