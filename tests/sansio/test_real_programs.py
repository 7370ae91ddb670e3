"""Programs written for hyper-h2 run with nothing but their imports changed, against programs that know neither.

The examples of `docs/examples/` choose their imports themselves. Published packages run behind `shim.py`, which puts
trio_h2's names where the `h2` package has its own.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
import trio

import trio_h2
from tests import peers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"

SHIM = ["-m", "tests.sansio.shim"]
PROGRAMS = "tests.sansio.programs"
PINGPONG = "tests.benchmarks.pingpong"
FILE = bytes(range(256)) * 4000

IMPORTS = pytest.mark.parametrize("imports", [[], ["--h2"]], ids=["trio_h2", "h2"])


@asynccontextmanager
async def python(
    directory: Path, *arguments: str, port: int, scheme: Literal["http", "https"] = "http"
) -> AsyncIterator[peers.Peer]:
    """A server written in Python, in a process of its own."""
    argv = [sys.executable, *arguments]
    async with peers.run_server(arguments[-2], argv, port=port, scheme=scheme, log=directory / "log", cwd=ROOT) as peer:
        yield peer


async def run(*arguments: str | Path) -> str:
    argv = [sys.executable, *map(str, arguments)]
    with trio.fail_after(60):
        done = await trio.run_process(argv, capture_stdout=True, capture_stderr=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.fixture
def docroot(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_bytes(FILE)
    return root


# The examples


@IMPORTS
async def test_the_asyncio_server_serves_curl_and_nghttp(tmp_path: Path, imports: list[str]) -> None:
    curl = peers.require_program("curl", package="curl")
    nghttp = peers.require_program("nghttp", package="nghttp2-client")
    upload = tmp_path / "upload"
    upload.write_bytes(FILE)
    port = peers.free_port()
    async with python(tmp_path, str(EXAMPLES / "asyncio_server.py"), str(port), *imports, port=port) as peer:
        answer = await peers.run_program(curl, "-sS", "--http2-prior-knowledge", f"{peer.url}/path")
        assert '":path": "/path"' in answer.text
        options = ["-sS", "--http2-prior-knowledge", "--data-binary", f"@{upload}"]
        assert (await peers.run_program(curl, *options, f"{peer.url}/")).stdout == FILE
        answer = await peers.run_program(nghttp, "-v", f"--data={upload}", f"{peer.url}/")
        assert "200" in answer.text
        assert peer.process.poll() is None


@IMPORTS
async def test_the_socket_client_fetches_from_nghttpd(docroot: Path, imports: list[str]) -> None:
    (docroot / "text").write_text("hello from nghttpd")
    async with peers.run_nghttpd(docroot) as peer:
        client = EXAMPLES / "socket_client.py"
        assert await run(client, peers.HOST, str(peer.port), "/text", *imports) == "200\nhello from nghttpd\n"
        assert await run(client, peers.HOST, str(peer.port), "/text", "body" * 20_000, *imports) == (
            "200\n" + "body" * 20_000 + "\n"
        )


@IMPORTS
async def test_the_examples_talk_to_each_other(tmp_path: Path, imports: list[str]) -> None:
    port = peers.free_port()
    async with python(tmp_path, str(EXAMPLES / "asyncio_server.py"), str(port), port=port):
        answer = await run(EXAMPLES / "socket_client.py", peers.HOST, str(port), "/", "posted", *imports)
        assert answer == "200\nposted\n"
        answer = await run(EXAMPLES / "actor_client.py", peers.HOST, str(port), "/", "posted")
        assert answer == "200\nposted\n"


async def test_the_actor_examples_do_the_same(tmp_path: Path) -> None:
    port = peers.free_port()
    async with python(tmp_path, str(EXAMPLES / "actor_server.py"), str(port), port=port):
        for client in ("actor_client.py", "socket_client.py"):
            assert await run(EXAMPLES / client, peers.HOST, str(port), "/", "posted") == "200\nposted\n"
            assert '"path": "/here"' in await run(EXAMPLES / client, peers.HOST, str(port), "/here")


async def test_the_threaded_server_serves_many_at_once(tmp_path: Path) -> None:
    port = peers.free_port()
    async with python(tmp_path, str(EXAMPLES / "threaded_server.py"), str(port), port=port) as peer:
        h2load = peers.require_program("h2load", package="nghttp2-client")
        answer = await peers.run_program(h2load, "-n400", "-c8", "-m10", peer.url)
        assert peers.parse_h2load(answer.text).all_succeeded


WITHOUT_TRIO = """
import sys, types
package = types.ModuleType("trio_h2")  # not the real one, which imports trio for the actors
package.__path__ = [sys.argv[1]]
sys.modules["trio_h2"] = package
sys.modules["trio"] = None  # an import of trio, however deep, is an ImportError
"""


def test_the_engine_runs_at_the_bare_prompt_without_trio() -> None:
    """The example, line for line, at an interpreter that reads from its standard input."""
    code = WITHOUT_TRIO + (EXAMPLES / "in_memory.py").read_text().replace("\n\nfor", "\nfor")
    prompt = [sys.executable, "-q", "-c", "import code, sys; code.interact(banner='', exitmsg='')"]
    lines = code.replace("\n    if", "\n    if").split("\n")
    typed = []
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        typed.append(line)
        if line.startswith("    ") and not following.startswith("    "):
            typed.append("")
    done = subprocess.run(
        [*prompt, str(ROOT / "trio_h2")], input="\n".join(typed), capture_output=True, text=True, check=True, timeout=60
    )
    assert "hello" in done.stdout
    assert "Error" not in done.stderr


@pytest.mark.parametrize("example", ["asyncio_server.py", "threaded_server.py"])
async def test_the_engine_serves_under_asyncio_and_threads_without_trio(tmp_path: Path, example: str) -> None:
    port = peers.free_port()
    script = tmp_path / "script.py"
    run_it = "import runpy\ndel sys.argv[1]\nrunpy.run_path(sys.argv.pop(1), run_name='__main__')\n"
    script.write_text(WITHOUT_TRIO + run_it)
    arguments = [str(script), str(ROOT / "trio_h2"), str(EXAMPLES / example), str(port)]
    async with python(tmp_path, *arguments, port=port) as peer:
        curl = peers.require_program("curl", package="curl")
        answer = await peers.run_program(curl, "-sS", "-w", "%{http_code}", "--http2-prior-knowledge", peer.url)
        assert answer.text.endswith("200")


# Published packages


def program(shim: bool, *arguments: str) -> list[str]:
    return [*SHIM, PROGRAMS, *arguments] if shim else ["-m", PROGRAMS, *arguments]


SHIMMED = pytest.mark.parametrize("shim", [True, False], ids=["trio_h2", "h2"])


@SHIMMED
@pytest.mark.parametrize(("name", "tls"), [("gunicorn", True), ("hypercorn", True), ("hypercorn", False)])
async def test_asgi_servers_serve_curl_nghttp_and_h2load(
    tmp_path: Path, tls_files: peers.TLSFiles, name: str, tls: bool, shim: bool
) -> None:
    curl = peers.require_program("curl", package="curl")
    nghttp = peers.require_program("nghttp", package="nghttp2-client")
    h2load = peers.require_program("h2load", package="nghttp2-client")
    upload = tmp_path / "upload"
    upload.write_bytes(FILE)
    port = peers.free_port()
    files = [str(tls_files.certificate), str(tls_files.key)] if tls else []
    options = ["--cacert", str(tls_files.ca), "--http2"] if tls else ["--http2-prior-knowledge"]
    arguments = program(shim, name, str(port), *files)
    async with python(tmp_path, *arguments, port=port, scheme="https" if tls else "http") as peer:
        answer = await peers.run_program(curl, "-sS", *options, "-w", " %{http_version}", f"{peer.url}/")
        assert answer.text == "hello 2"
        answer = await peers.run_program(curl, "-sS", *options, "--data-binary", f"@{upload}", f"{peer.url}/")
        assert answer.stdout == FILE
        answer = await peers.run_program(nghttp, f"{peer.url}/big")
        assert len(answer.stdout) == 3_000_000
        answer = await peers.run_program(h2load, "-n300", "-c3", "-m10", f"{peer.url}/")
        assert peers.parse_h2load(answer.text).all_succeeded
        assert "Traceback" not in peer.output()


@SHIMMED
async def test_twisted_serves_curl_nghttp_and_h2load(tmp_path: Path, tls_files: peers.TLSFiles, shim: bool) -> None:
    curl = peers.require_program("curl", package="curl")
    nghttp = peers.require_program("nghttp", package="nghttp2-client")
    h2load = peers.require_program("h2load", package="nghttp2-client")
    upload = tmp_path / "upload"
    upload.write_bytes(FILE)
    port = peers.free_port()
    arguments = program(shim, "twisted", str(port), str(tls_files.certificate), str(tls_files.key))
    options = ["-sS", "--cacert", str(tls_files.ca), "--http2"]
    async with python(tmp_path, *arguments, port=port, scheme="https") as peer:
        answer = await peers.run_program(curl, *options, "-w", " %{http_version}", f"{peer.url}/")
        assert answer.text == "hello HTTP/2 2"
        assert (await peers.run_program(curl, *options, f"{peer.url}/late")).text == "late "
        answer = await peers.run_program(curl, *options, "--data-binary", f"@{upload}", f"{peer.url}/")
        assert answer.stdout == FILE
        answer = await peers.run_program(nghttp, f"{peer.url}/big")
        assert len(answer.stdout) == 3_000_000
        answer = await peers.run_program(h2load, "-n300", "-c3", "-m10", f"{peer.url}/")
        assert peers.parse_h2load(answer.text).all_succeeded
        assert "Traceback" not in peer.output()


async def push_service(stream: trio_h2.ServerStream) -> None:
    """What Apple's answers: nothing, or the reason that a token is refused."""
    headers = [("apns-id", stream.request.headers["apns-id"])]
    if stream.request.path.endswith("bad"):
        await stream.respond(400, headers, b'{"reason": "BadDeviceToken"}')
    else:
        await stream.respond(200, headers)


@SHIMMED
async def test_aioapns_notifies_at_an_actor_server(
    nursery: trio.Nursery, tls_files: peers.TLSFiles, shim: bool
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls_files.certificate, tls_files.key)
    context.set_alpn_protocols(["h2"])
    port = peers.free_port()
    await nursery.start(partial(trio_h2.serve_h2, push_service, port, host=peers.HOST, ssl_context=context))
    output = await run(*program(shim, "aioapns", str(port), str(tls_files.ca)))
    assert output.splitlines()[:2] == ["100 {'200'}", "400 BadDeviceToken"]


async def test_hypercorn_upgrades_from_http_1_1(tmp_path: Path) -> None:
    curl = peers.require_program("curl", package="curl")
    port = peers.free_port()
    async with python(tmp_path, *program(True, "hypercorn", str(port)), port=port) as peer:
        answer = await peers.run_program(curl, "-sS", "--http2", "-w", " %{http_version}", f"{peer.url}/")
        assert answer.text == "hello 2"


@SHIMMED
@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "cleartext"])
@pytest.mark.parametrize("package", ["httpcore", "httpcore2"])
async def test_httpcore_fetches_from_nghttpd(
    docroot: Path, tls_files: peers.TLSFiles, package: str, tls: bool, shim: bool
) -> None:
    (docroot / "echo").write_text("")
    async with peers.run_nghttpd(docroot, tls=tls_files if tls else None) as peer:
        url = peer.url.replace(peers.HOST, "localhost") if tls else peer.url
        output = await run(*program(shim, "httpcore", package, url, *([str(tls_files.ca)] if tls else [])))
    digest = hashlib.sha256(FILE).hexdigest()
    assert output.splitlines()[:3] == [f"200 {digest}", "200 300000", "200 " * 7 + "200"]
    assert output.splitlines()[-1] == ("h2 is trio_h2" if shim else "h2 is h2")


async def test_httpcore_and_hypercorn_talk_to_each_other(tmp_path: Path) -> None:
    port = peers.free_port()
    async with python(tmp_path, *program(True, "hypercorn", str(port)), port=port) as peer:
        output = await run(*program(True, "httpcore", "httpcore", peer.url))
    assert output.splitlines()[1] == "200 300000"


@pytest.mark.parametrize("sides", [(True, True), (True, False), (False, True)], ids=["both", "server", "client"])
async def test_grpclib_streams_messages_both_ways(tmp_path: Path, sides: tuple[bool, bool]) -> None:
    server, client = ([*SHIM, PINGPONG] if shim else ["-m", PINGPONG] for shim in sides)
    port = peers.free_port()
    async with python(tmp_path, *server, "grpclib", str(port), port=port) as peer:
        report = json.loads(await run(*client, "grpclib", str(port), "300", "10"))
        assert report["requests"] == 300
        assert "Traceback" not in peer.output()
