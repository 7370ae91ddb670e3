"""The command `trio-h2`: serve, get, demo, and how each says that something went wrong."""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
import trio
import trio.testing
from click.testing import CliRunner, Result
from rich.console import Console

import tests.peers as peers
import trio_h2
from tests.fresh_imports import forget
from trio_h2 import cli as cli_package
from trio_h2.cli import commands
from trio_h2.cli.serving import access_log, directory_handler, serve_command
from trio_h2.cli.serving.access_log import AccessLog
from trio_h2.cli.serving.banner import url_of
from trio_h2.cli.serving.binding import bound
from trio_h2.cli.serving.files import Moved, OpenedFile, content_type, find
from trio_h2.cli.serving.plain_command import serve_until_signal
from trio_h2.cli.serving.serve_options import ServeOptions
from trio_h2.cli.serving.serving_process import prepare
from trio_h2.cli.shared import saying
from trio_h2.cli.shared.exit_codes import BROKEN_PIPE
from trio_h2.cli.shared.interrupting import INTERRUPTED, until_interrupted
from trio_h2.cli.showing import demo as demo_module
from trio_h2.cli.showing.demo import Demo

TRIO_H2 = (sys.executable, "-m", "trio_h2")
LIMIT = 60.0


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(commands.cli, [str(argument) for argument in arguments])


# From a path to a file ---------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory to serve, with things around it that must not be served."""
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "index.html").write_text("secret")
    root = tmp_path / "site"
    for directory in ("sub", "no index", "stolen index", "\\host"):
        (root / directory).mkdir(parents=True)
    (root / "a.txt").write_text("hello\n")
    (root / "empty").touch()
    (root / "white space.html").write_text("space")
    (root / os.fsdecode(b"caf\xe9")).write_text("latin-1")
    (root / "sub" / "index.html").write_text("index")
    (root / "inside").symlink_to("sub")
    (root / "file out").symlink_to(tmp_path / "secret.txt")
    (root / "directory out").symlink_to(tmp_path / "private")
    (root / "stolen index" / "index.html").symlink_to(tmp_path / "secret.txt")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "fifo")
    return root.resolve()


@pytest.mark.parametrize(
    ("target", "content"),
    [
        ("/a.txt", b"hello\n"),
        ("/a.txt?query=/../..", b"hello\n"),
        ("/%61.t%78t", b"hello\n"),
        ("//a.txt", b"hello\n"),
        ("/./a.txt", b"hello\n"),
        ("/white%20space.html", b"space"),
        ("/caf%e9", b"latin-1"),
        ("/caf\xe9", b"latin-1"),
        ("/sub/", b"index"),
        ("/inside/index.html", b"index"),
        ("/sub%2findex.html", b"index"),
    ],
)
def test_a_file_is_found(site: Path, target: str, content: bytes) -> None:
    found = find(site, target)
    assert isinstance(found, OpenedFile)
    with found.stream:
        assert found.stream.read() == content
    assert found.size == len(content)
    assert found.modified.endswith(" GMT")


@pytest.mark.parametrize(
    "target",
    [
        "/../secret.txt",
        "/sub/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/.%2E/secret.txt",
        "/..%2fsecret.txt",
        "/sub/..",
        "/file%20out",
        "/directory%20out/",
        "/directory%20out/index.html",
        "/directory%20out",
        "/stolen%20index/",
        "/etc/passwd",
        "//etc/passwd",
        "/%2Fetc/passwd",
        "/a.txt%00",
        "/%00",
        "/a.txt/",
        "/a.txt/more",
        "/nothing",
        "/no%20index/",
        "/",
        "/loop",
        "/fifo",
        "/" + 5000 * "a",
    ],
)
def test_nothing_else_is_found(site: Path, target: str) -> None:
    assert find(site, target) is None


def test_an_absolute_path_is_one_below_the_root(site: Path) -> None:
    assert find(site, f"/{site.parent}/secret.txt") is None


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/sub", "/sub/"),
        ("/sub?a=%20b&c", "/sub/?a=%20b&c"),
        ("/sub?\xfc", "/sub/?%FC"),  # a field's value is ASCII
        ("/no%20index", "/no%20index/"),
        ("//sub", "/sub/"),  # a location of //sub/ would be that of a host
        ("/%5Chost", "/%5Chost/"),  # browsers take a backslash for a slash
    ],
)
def test_a_directory_is_redirected_to_its_slash(site: Path, target: str, location: str) -> None:
    assert find(site, target) == Moved(location)


def test_a_failing_system_is_not_a_missing_file(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> Path:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "resolve", fail)
    with pytest.raises(OSError, match="Input/output error"):
        find(site, "/a.txt")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.png", "image/png"),
        ("a.tar.gz", "application/gzip"),
        ("a.css.br", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_content_types(name: str, expected: str) -> None:
    assert content_type(name) == expected


# serve: one request -------------------------------------------------------------------------------


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> trio.MemoryReceiveChannel[str]:
    """What `serve` prints on standard output, line by line."""
    lines, received = trio.open_memory_channel[str](1000)
    monkeypatch.setattr(access_log, "say", lines.send_nowait)
    return received


@asynccontextmanager
async def served(
    handler: Callable[[trio_h2.ServerStream], Awaitable[object]], *, config: trio_h2.Config | None = None
) -> AsyncIterator[trio_h2.ClientConnection]:
    """A client's connection, in memory, to a server of this handler."""
    client_end, server_end = trio.testing.memory_stream_pair()
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio_h2.serve_h2_connection, handler, server_end)
            async with trio_h2.connect_over(client_end, authority="localhost", config=config) as connection:
                yield connection


async def test_a_file_is_served(site: Path, said: trio.MemoryReceiveChannel[str]) -> None:
    async with served(partial(directory_handler.handle, site, AccessLog("text"))) as connection:
        response = await connection.request("GET", "/a.txt")
        assert (response.status, response.body) == (200, b"hello\n")
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert response.headers["content-length"] == "6"
        assert response.headers["last-modified"].endswith(" GMT")
        assert response.headers["date"].endswith(" GMT")
        line = await said.receive()
        assert line.startswith('- "GET /a.txt" 200 6 bytes ')
        assert line.endswith(" ms")


async def test_head_is_get_without_the_body(site: Path, said: trio.MemoryReceiveChannel[str]) -> None:
    async with served(partial(directory_handler.handle, site, AccessLog("text"))) as connection:
        get = await connection.request("GET", "/a.txt")
        head = await connection.request("HEAD", "/a.txt")
        assert (head.status, head.body) == (200, b"")
        for name in ("content-type", "content-length", "last-modified"):
            assert head.headers[name] == get.headers[name]
        missing = await connection.request("HEAD", "/nothing")
        assert (missing.status, missing.body) == (404, b"")


async def test_an_empty_file(site: Path, said: trio.MemoryReceiveChannel[str]) -> None:
    async with served(partial(directory_handler.handle, site, AccessLog("text"))) as connection:
        response = await connection.request("GET", "/empty")
        assert (response.status, response.body) == (200, b"")
        assert response.headers["content-length"] == "0"


async def test_a_file_of_many_chunks(site: Path, said: trio.MemoryReceiveChannel[str]) -> None:
    content = os.urandom(3 * directory_handler.CHUNK_SIZE + 1)
    (site / "big").write_bytes(content)
    async with served(partial(directory_handler.handle, site, AccessLog("text"))) as connection:
        assert (await connection.request("GET", "/big")).body == content


@pytest.mark.parametrize(
    ("method", "target", "status", "field"),
    [
        ("GET", "/nothing", 404, None),
        ("GET", "/../secret.txt", 404, None),
        ("GET", "/sub", 301, ("location", "/sub/")),
        ("POST", "/a.txt", 405, ("allow", "GET, HEAD")),
        ("OPTIONS", "*", 405, ("allow", "GET, HEAD")),
    ],
)
async def test_other_answers(
    site: Path,
    said: trio.MemoryReceiveChannel[str],
    method: str,
    target: str,
    status: int,
    field: tuple[str, str] | None,
) -> None:
    async with served(partial(directory_handler.handle, site, AccessLog("text"))) as connection:
        response = await connection.request(method, target)
        assert response.status == status
        assert response.body.startswith(b"%d " % status)
        if field is not None:
            assert response.headers[field[0]] == field[1]
        assert (await said.receive()).startswith(f'- "{method} {target}" {status} ')


EARLY, LATE = "Mon, 01 Jan 1990 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([("if-modified-since", "")], 304),  # that of the file
        ([("if-modified-since", LATE)], 304),
        ([("if-modified-since", EARLY)], 200),
        ([("if-modified-since", "soon")], 200),
        ([("if-modified-since", "Fri, 01 Jan 99999 00:00:00 GMT")], 200),
        ([("if-none-match", "*")], 304),
        ([("if-none-match", '"a"'), ("if-modified-since", LATE)], 200),
        ([("if-match", "*"), ("if-unmodified-since", EARLY)], 200),
        ([("if-match", '"a"')], 412),
        ([("if-unmodified-since", "")], 200),
        ([("if-unmodified-since", EARLY)], 412),
        ([("if-unmodified-since", LATE), ("if-modified-since", LATE)], 304),
        ([("range", "bytes=0-1")], 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_rfc9110_13_2_conditions_are_looked_at(
    site: Path, said: trio.MemoryReceiveChannel[str], method: str, fields: list[tuple[str, str]], status: int
) -> None:
    async with served(partial(directory_handler.handle, site, AccessLog("text"))) as connection:
        modified = (await connection.request("HEAD", "/a.txt")).headers["last-modified"]
        asked = [(name, value or modified) for name, value in fields]
        response = await connection.request(method, "/a.txt", headers=asked)
        assert (response.status, response.headers["last-modified"]) == (status, modified)
        if status == 304:
            assert "content-type" not in response.headers
            assert response.body == b""
        elif status == 200 and method == "GET":
            assert response.body == b"hello\n"
    lines = [await said.receive(), await said.receive()]  # in the order in which the handlers end
    expected = ['- "HEAD /a.txt" 200', f'- "{method} /a.txt" {status}']
    assert sorted(" ".join(line.split(" ")[:4]) for line in lines) == sorted(expected)


async def test_connect_is_not_allowed(site: Path, said: trio.MemoryReceiveChannel[str]) -> None:
    async with (
        served(partial(directory_handler.handle, site, AccessLog("text"))) as connection,
        connection.stream("CONNECT", "example.org:443") as stream,
    ):
        assert (await stream.response()).status == 405
        assert (await said.receive()).startswith('- "CONNECT example.org:443" 405 ')


@pytest.mark.parametrize(
    ("error", "status"),
    [(PermissionError(errno.EACCES, "Permission denied"), 403), (OSError(errno.EMFILE, "Too many open files"), 500)],
)
async def test_a_file_that_cannot_be_opened(
    site: Path,
    said: trio.MemoryReceiveChannel[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: OSError,
    status: int,
) -> None:
    def fail(root: Path, target: str) -> None:
        raise error

    monkeypatch.setattr(directory_handler, "find", fail)
    async with served(partial(directory_handler.handle, site, AccessLog("text"))) as connection:
        assert (await connection.request("GET", "/a.txt")).status == status
    assert capsys.readouterr().err == ("" if status == 403 else "Error: /a.txt: Too many open files\n")


async def test_a_file_that_shrinks_does_not_look_complete(site: Path, said: trio.MemoryReceiveChannel[str]) -> None:
    big = site / "big"
    big.write_bytes(bytes(4 * directory_handler.CHUNK_SIZE))
    # A window of less than a chunk: the second one is not read before the file shrinks.
    config = trio_h2.Config(initial_window_size=directory_handler.CHUNK_SIZE // 2)
    async with (
        served(partial(directory_handler.handle, site, AccessLog("text")), config=config) as connection,
        connection.stream("GET", "/big") as stream,
    ):
        assert (await stream.response()).headers["content-length"] == str(4 * directory_handler.CHUNK_SIZE)
        os.truncate(big, 10)
        with pytest.raises(trio_h2.StreamResetError) as caught:
            while await stream.receive_some():
                pass
        assert caught.value.error_code == trio_h2.ErrorCodes.INTERNAL_ERROR
        assert (await said.receive()).endswith(" cut short")


async def test_a_client_that_leaves_is_seen(site: Path, said: trio.MemoryReceiveChannel[str]) -> None:
    (site / "big").write_bytes(bytes(4 * directory_handler.CHUNK_SIZE))
    config = trio_h2.Config(initial_window_size=1)
    async with served(partial(directory_handler.handle, site, AccessLog("text")), config=config) as connection:
        async with connection.stream("GET", "/big") as stream:
            await stream.response()
        line = await said.receive()
        assert line.startswith('- "GET /big" 200 0 bytes ')
        assert line.endswith(" cut short")


# serve: the server --------------------------------------------------------------------------------


class Running:
    """`serve`, in a task of the test."""

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.url = ""
        self.ended = trio.Event()

    async def run(self, directory: Path, **options: Any) -> None:
        prepared = prepare(ServeOptions(target=str(directory), is_directory=True, port=0, **options))
        with bound(prepared.options) as sockets:
            self.exit_code = await serve_until_signal(prepared, sockets)
        self.ended.set()


@asynccontextmanager
async def serving(directory: Path, said: trio.MemoryReceiveChannel[str], **options: Any) -> AsyncIterator[Running]:
    running = Running()
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(running.run, directory, **options))
            line = await said.receive()
            assert line.startswith(f"Serving {directory} at ")
            running.url = line.split(" at ")[1].split()[0]
            assert (await said.receive()).startswith("Directory: HTTP/2, ")
            yield running
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_lets_downloads_finish(
    site: Path, said: trio.MemoryReceiveChannel[str], number: signal.Signals
) -> None:
    content = os.urandom(20 * directory_handler.CHUNK_SIZE)
    (site / "big").write_bytes(content)
    async with serving(site, said) as running:
        async with (
            trio_h2.connect(running.url, config=trio_h2.Config(initial_window_size=1000)) as connection,
            connection.stream("GET", "/big") as stream,
        ):
            await stream.response()
            signal.raise_signal(number)
            assert b"".join([chunk async for chunk in stream]) == content
        await running.ended.wait()
        assert running.exit_code == 0
        with pytest.raises(OSError, match="failed"):
            await trio_h2.connect(running.url).__aenter__()


async def test_a_second_signal_does_not_wait(
    site: Path, said: trio.MemoryReceiveChannel[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "big").write_bytes(bytes(20 * directory_handler.CHUNK_SIZE))
    async with serving(site, said) as running:
        async with (
            trio_h2.connect(running.url, config=trio_h2.Config(initial_window_size=1000)) as connection,
            connection.stream("GET", "/big") as stream,
        ):
            await stream.response()
            signal.raise_signal(signal.SIGINT)
            events = connection.events()
            while not isinstance(await anext(events), trio_h2.ConnectionTerminated):
                pass  # until the server's GOAWAY: it has seen the signal
            signal.raise_signal(signal.SIGINT)
            await running.ended.wait()
        assert running.exit_code == 1
    assert capsys.readouterr().err == "Error: stopped without waiting for open requests\n"


async def test_self_signed(site: Path, said: trio.MemoryReceiveChannel[str]) -> None:
    async with serving(site, said, host="0.0.0.0", self_signed=True) as running:
        assert running.url.startswith("https://127.0.0.1:")
        insecure = ssl.create_default_context()
        insecure.check_hostname = False
        insecure.verify_mode = ssl.CERT_NONE
        async with trio_h2.connect(running.url, ssl_context=insecure) as connection:
            assert (await connection.request("GET", "/a.txt")).body == b"hello\n"
        assert (await said.receive()).startswith('127.0.0.1 "GET /a.txt" 200 ')


async def test_certificate_files(
    site: Path,
    said: trio.MemoryReceiveChannel[str],
    tls_files: peers.TLSFiles,
    client_ssl_context: ssl.SSLContext,
) -> None:
    async with (
        serving(site, said, certfile=str(tls_files.certificate), keyfile=str(tls_files.key)) as running,
        trio_h2.connect(running.url, ssl_context=client_ssl_context) as connection,
    ):
        assert (await connection.request("GET", "/a.txt")).body == b"hello\n"


def test_an_ipv6_url() -> None:
    options = ServeOptions(target="site", is_directory=True)

    def url(*address: object) -> str:
        return url_of(SimpleNamespace(getsockname=lambda: address), options)  # type: ignore[arg-type]

    assert url("::", 1, 0, 0) == "http://[::1]:1/"
    assert url("fe80::1", 1, 0, 1) == f"http://[fe80::1%25{socket.if_indextoname(1)}]:1/"


def test_a_port_in_use(site: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = invoke("serve", site, "--port", str(port))
    assert result.exit_code == 1
    assert result.stderr == f"Error: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


@pytest.mark.parametrize(
    ("arguments", "port", "tls"),
    [
        ((), 8080, False),
        (("--self-signed",), 8443, True),
        (("--self-signed", "--port", "1"), 1, True),
        (("--certfile", "CERTIFICATE", "--keyfile", "KEY"), 8443, True),
    ],
)
def test_options_of_serve(
    site: Path,
    tls_files: peers.TLSFiles,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    port: int,
    tls: bool,
) -> None:
    asked = []

    def run_plain(options: ServeOptions) -> int:
        asked.append((options.target, options.listening_host, options.listening_port, options.tls))
        return 0

    monkeypatch.setattr(serve_command, "run_plain", run_plain)
    files = {"CERTIFICATE": tls_files.certificate, "KEY": tls_files.key}
    assert invoke("serve", site, *(files.get(each, each) for each in arguments)).exit_code == 0
    assert asked == [(str(site), "127.0.0.1", port, tls)]


def test_bad_command_lines_of_serve(site: Path, tls_files: peers.TLSFiles) -> None:
    certificate = ("--certfile", tls_files.certificate)
    key = ("--keyfile", tls_files.key)
    for arguments, message in [
        ((site / "nothing",), "is no directory that exists"),
        ((site / "a.txt",), "is a file"),
        ((site, "--port", "65536"), "not in the range"),
        ((site, *certificate), "--certfile and --keyfile go together"),
        ((site, *key), "--certfile and --keyfile go together"),
        ((site, "--self-signed", *certificate, *key), "--self-signed makes a certificate"),
        ((site, "--self-signed", "--host", "a_b"), "no certificate names the host 'a_b'"),
    ]:
        result = invoke("serve", *arguments)
        assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
    result = invoke("serve", site, *certificate, "--keyfile", site / "a.txt")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: cannot use certificate {tls_files.certificate} with key {site / 'a.txt'}:")


# demo ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("terminal", [True, False])
async def test_demo(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    for name in ("REFRESH", "PLAIN_REFRESH", "SLOW_PAUSE"):
        monkeypatch.setattr(demo_module, name, 0.05)
    screen = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    with trio.fail_after(LIMIT):
        assert await Demo(0, 0).run(screen) == []
    output = capsys.readouterr().out
    claims = output.split("What happened:\n")[1].splitlines()
    assert len(claims) == 5
    assert all(claim.startswith("  yes  ") for claim in claims), claims
    if terminal:
        assert "What each stream's sender waits for:" in screen.file.getvalue()
        assert "The slow reader has no stream open" in screen.file.getvalue()
    else:
        assert "  slow reader: " in output


async def break_streams(demo: Demo, stream: trio_h2.ServerStream) -> None:
    demo._server = stream.connection
    await stream.reset()


async def send_other_bodies(demo: Demo, stream: trio_h2.ServerStream) -> None:
    demo._server = stream.connection
    await stream.respond(200, (), b"something else")


@pytest.mark.parametrize(
    ("handler", "problem"),
    [(break_streams, "was reset by the peer: CANCEL"), (send_other_bodies, "its body is not what the server sent")],
)
async def test_demo_tells_what_goes_wrong(
    monkeypatch: pytest.MonkeyPatch, handler: Callable[..., Awaitable[None]], problem: str
) -> None:
    monkeypatch.setattr(Demo, "_handle", handler)
    with trio.fail_after(LIMIT):
        problems = await Demo(0, 0).run(Console(file=io.StringIO()))
    assert sum(problem in each for each in problems) == demo_module.STREAMS
    assert any(each.startswith("this should hold: 100 streams moved ") for each in problems)


async def test_an_interrupted_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last frame is of a moment before: no stream looks as if it were over."""
    monkeypatch.setattr(demo_module, "REFRESH", 0.01)
    screen = Console(file=io.StringIO(), force_terminal=True, width=120)
    with trio.fail_after(LIMIT), trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Demo(LIMIT, LIMIT).run, screen)
            while "The slow reader, stream" not in screen.file.getvalue():
                await trio.lowlevel.checkpoint()
            scope.cancel()
    assert "The slow reader has no stream" not in screen.file.getvalue().split("The slow reader, stream")[-1]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (None, ""),
        (trio.TooSlowError(), "Error: not done in 60 seconds\n"),
        (OSError(errno.EMFILE, "Too many open files"), "Error: Too many open files\n"),
        (ExceptionGroup("", [trio_h2.H2Error("one"), trio_h2.H2Error("two")]), "Error: one\nError: two\n"),
    ],
)
def test_demo_by_its_command_line(monkeypatch: pytest.MonkeyPatch, error: Exception | None, message: str) -> None:
    async def run(demo: Demo, console: Console) -> list[str]:
        if error is not None:
            raise error
        return []

    monkeypatch.setattr(Demo, "run", run)
    result = invoke("demo")
    assert (result.exit_code, result.stderr) == (1 if message else 0, message)


# The process --------------------------------------------------------------------------------------


async def test_sigint_cancels() -> None:
    async def main() -> int:
        signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()
        return 0

    assert await until_interrupted(main) == INTERRUPTED == 130


def test_what_is_said_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        saying.say("nobody hears")
        saying.say("nor this")


def test_letters_that_standard_output_does_not_take_are_written_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    octets = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(octets, encoding="latin-1"))
    saying.say("Übung")
    saying.say("дом")
    assert octets.getvalue() == b"\xdcbung\n\\u0434\\u043e\\u043c\n"


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["trio-h2", *arguments])
    return cli_package.main()


def test_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"trio-h2 {trio_h2.__version__}\n"
    assert run_main(monkeypatch, "--help") == 0
    assert run_main(monkeypatch, "get") == 2
    assert "Missing argument" in capsys.readouterr().err

    def interrupted(*args: object, **kwargs: object) -> None:
        raise click.Abort

    handlers: dict[int, object] = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    monkeypatch.setattr(commands.cli, "main", interrupted)
    assert run_main(monkeypatch) == INTERRUPTED
    assert handlers == {signal.SIGINT: signal.SIG_DFL}  # who is impatient sees no traceback of Python's last steps


@pytest.mark.parametrize("missing", ["click", "rich", "trustme"])
def test_a_missing_extra_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    forget_commands(monkeypatch)
    forget(monkeypatch, lambda name: name.partition(".")[0] == missing)
    monkeypatch.setitem(sys.modules, missing, None)
    assert run_main(monkeypatch, "demo") == 1
    assert capsys.readouterr().err == (f"trio-h2: {missing} is missing; install it with: pip install 'trio-h2[cli]'\n")


def test_ctrl_c_before_the_commands_are_there_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_commands(monkeypatch)

    def interrupted(name: str, *args: object) -> object:
        if name.endswith("commands"):
            raise KeyboardInterrupt
        return real(name, *args)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", interrupted)
    assert run_main(monkeypatch, "serve") == INTERRUPTED


def test_another_missing_module_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_commands(monkeypatch)
    monkeypatch.setitem(sys.modules, "trio_h2.cli.serving.files", None)
    with pytest.raises(ModuleNotFoundError):
        run_main(monkeypatch, "demo")


def forget_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the modules of the command imported anew, and put back afterwards."""
    forget(monkeypatch, lambda name: name.startswith("trio_h2.cli."))


# Processes of their own ---------------------------------------------------------------------------


@asynccontextmanager
async def serve_process(directory: Path, *options: str) -> AsyncIterator[tuple[trio.Process, str]]:
    """`trio-h2 serve` as a program, and its URL."""
    argv = [*TRIO_H2, "serve", str(directory), "--port", "0", *options]
    program = await trio.lowlevel.open_process(argv, stdout=subprocess.PIPE)
    assert program.stdout is not None
    try:
        with trio.fail_after(LIMIT):
            line = b""
            while not line.endswith(b"\n"):
                line += await program.stdout.receive_some(1) or pytest.fail("serve has ended")
            yield program, line.decode().split(" at ")[1].split()[0]
    finally:
        program.kill()
        with trio.CancelScope(shield=True):
            await program.wait()
            await program.stdout.aclose()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_serve_curl_and_a_signal(site: Path, number: signal.Signals) -> None:
    curl = peers.require_program("curl", package="curl")
    async with serve_process(site) as (program, url):
        done = await peers.run_program(curl, "-sS", "--http2-prior-knowledge", f"{url}a.txt")
        assert done.stdout == b"hello\n"
        escape = await peers.run_program(
            curl, "-sS", "--path-as-is", "--http2-prior-knowledge", "-w", "%{http_code}", f"{url}../secret.txt"
        )
        assert escape.stdout == b"404 Not Found\n404"
        program.send_signal(number)
        assert await program.wait() == 0


async def test_curl_over_tls(site: Path) -> None:
    curl = peers.require_program("curl", package="curl")
    async with serve_process(site, "--self-signed") as (_, url):
        done = await peers.run_program(curl, "-sSk", "--http2", "-w", "%{http_version}", f"{url}a.txt")
        assert done.stdout == b"hello\n2"


async def test_get_from_serve(site: Path) -> None:
    content = os.urandom(2_000_000)
    (site / "big").write_bytes(content)
    async with serve_process(site, "--self-signed") as (_, url):
        done = await peers.run_program(*TRIO_H2, "get", "-k", f"{url}a.txt", f"{url}big", f"{url}sub/")
        assert done.stdout == b"hello\n" + content + b"index"
        assert done.stderr == b""
        failed = await peers.run_program(*TRIO_H2, "get", f"{url}a.txt", check=False)
        assert (failed.returncode, failed.stdout) == (60, b"")
        assert failed.errors.startswith("Error: ")
        assert failed.errors.count("\n") == 1


async def test_get_into_a_closed_pipe(site: Path) -> None:
    (site / "big").write_bytes(bytes(10_000_000))
    read, write = os.pipe()
    async with serve_process(site) as (_, url):
        getting = await trio.lowlevel.open_process([*TRIO_H2, "get", f"{url}big"], stdout=write, stderr=subprocess.PIPE)
        os.close(write)
        async with trio.lowlevel.FdStream(read) as output:
            assert await output.receive_some(1) == b"\0"
        assert getting.stderr is not None
        async with getting.stderr:
            assert [chunk async for chunk in getting.stderr] == []
        assert await getting.wait() == BROKEN_PIPE == 141


CLOSED = "Error: standard output is closed\n"
FULL = "Error: standard output: No space left on device\n"


def redirected(redirection: str, *arguments: str) -> list[str]:
    """The command line that runs `trio-h2` with its standard files redirected by a shell."""
    return ["sh", "-c", f'exec "$@" {redirection}', "sh", *TRIO_H2, *arguments]


@pytest.mark.parametrize(
    ("redirection", "text", "errors", "exit_code"),
    [
        (">&-", "", CLOSED, 23),
        ("<&- >&-", "", CLOSED, 23),
        (">/dev/full", "", FULL, 23),
        (">&- 2>&-", "", "", 23),
        ("2>&-", "hello\n", "", 0),
        ("2>/dev/full", "hello\n", "", 0),
        ("<&-", "hello\n", "", 0),
    ],
)
async def test_get_with_a_standard_file_that_takes_nothing(
    site: Path, redirection: str, text: str, errors: str, exit_code: int
) -> None:
    async with serve_process(site) as (_, url):
        done = await peers.run_program(*redirected(redirection, "get", f"{url}a.txt"), check=False)
        assert (done.text, done.errors, done.returncode) == (text, errors, exit_code)
        if not errors:  # what cannot be shown stops nothing
            done = await peers.run_program(*redirected(redirection, "get", "-v", f"{url}a.txt"), check=False)
            assert (done.text, done.returncode) == (text, exit_code)


@pytest.mark.parametrize(("redirection", "errors"), [(">&-", CLOSED), (">/dev/full", FULL)])
@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("get", "--help"), ("demo",), ("completion", "bash")]
)
async def test_what_standard_output_does_not_take_is_one_line(
    redirection: str, errors: str, arguments: tuple[str, ...]
) -> None:
    done = await peers.run_program(*redirected(redirection, *arguments), check=False)
    assert (done.text, done.errors, done.returncode) == ("", errors, 1)


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
async def test_a_wrong_command_line_without_standard_error(redirection: str) -> None:
    done = await peers.run_program(*redirected(redirection, "get"), check=False)
    assert (done.text, done.errors, done.returncode) == ("", "", 2)


@pytest.mark.parametrize(
    ("redirection", "errors"), [(">&-", CLOSED), (">/dev/full", FULL), (">&- 2>&-", ""), ("<&- 2>/dev/full", "")]
)
async def test_serve_goes_on_without_standard_files(site: Path, redirection: str, errors: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = redirected(redirection, "serve", str(site), "--port", str(port))
    serving = await trio.lowlevel.open_process(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert serving.stderr is not None
    try:
        with trio.fail_after(LIMIT):
            await listening(port)
            for _ in range(2):
                done = await peers.run_program(*TRIO_H2, "get", f"http://127.0.0.1:{port}/a.txt")
                assert done.text == "hello\n"
            serving.send_signal(signal.SIGTERM)
            assert b"".join([chunk async for chunk in serving.stderr]).decode() == errors
            assert await serving.wait() == 0
    finally:
        serving.kill()
        await serving.stderr.aclose()


async def listening(port: int) -> None:
    """Wait until somebody listens there."""
    while True:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            await trio.sleep(0.05)
        else:
            await stream.aclose()
            return


async def test_get_is_interrupted_while_nobody_reads(site: Path) -> None:
    (site / "big").write_bytes(bytes(10_000_000))
    read, write = os.pipe()
    async with serve_process(site) as (_, url), trio.lowlevel.FdStream(read) as output:
        getting = await trio.lowlevel.open_process([*TRIO_H2, "get", f"{url}big"], stdout=write)
        os.close(write)
        await output.receive_some(1)
        getting.send_signal(signal.SIGINT)
        assert await getting.wait() == INTERRUPTED


async def test_get_from_nghttpd(tmp_path: Path) -> None:
    """It allows one stream at a time: all the others wait, and none is refused."""
    (tmp_path / "big").write_bytes(bytes(1_000_000))
    (tmp_path / "small").write_bytes(b"small")
    async with peers.run_nghttpd(tmp_path, options=("--max-concurrent-streams=1",)) as peer:
        urls = [f"{peer.url}/{name}" for name in ("big", "small", "big", "small")]
        done = await peers.run_program(*TRIO_H2, "get", *urls)
    assert done.stdout == 2 * (bytes(1_000_000) + b"small")


async def test_get_from_nginx(tmp_path: Path, tls_files: peers.TLSFiles) -> None:
    (tmp_path / "big").write_bytes(bytes(1_000_000))
    (tmp_path / "small").write_bytes(b"small")
    async with peers.run_nginx(tmp_path, tls=tls_files) as peer:
        urls = [f"{peer.url}/{name}" for name in ("big", "small", "nothing", "small")]
        done = await peers.run_program(*TRIO_H2, "get", "-fkv", *urls, check=False)
    assert done.returncode == 22
    assert done.stdout == bytes(1_000_000) + b"smallsmall"
    assert f"Error: {urls[2]}: HTTP status 404\n" in done.errors
    assert "connection: RemoteSettingsChanged" in done.errors


async def test_demo_as_a_program() -> None:
    done = await peers.run_program(*TRIO_H2, "demo", seconds=LIMIT)
    assert done.text.count("  yes  ") == 5
    assert " NO " not in done.text
    assert "senders: " in done.text
