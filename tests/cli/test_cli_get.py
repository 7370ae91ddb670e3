"""`trio-h2 get`: URLs, order, what goes wrong, and what is said of it. test_cli_get_and_curl.py has it beside curl."""

from __future__ import annotations

import errno
import io
import os
import re
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
from click.testing import CliRunner, Result

import tests.peers as peers
import trio_h2
from trio_h2 import ReplayedStream
from trio_h2.cli import commands
from trio_h2.cli.getting import get as get_module
from trio_h2.cli.getting.get_options import GetOptions, request_of
from trio_h2.cli.getting.outputs import FileOutput
from trio_h2.cli.shared.event_words import describe
from trio_h2.cli.shared.exit_codes import BROKEN_PIPE, ExitCode, Failure, exit_code_table
from trio_h2.cli.shared.locations import Location, parse_url, redirected
from trio_h2.cli.shared.tls_options import client_context
from trio_h2.cli.shared.watched_sockets import WatchedSockets

LIMIT = 60.0


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(commands.cli, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("url", "origin", "target"),
    [
        ("http://example.org", "http://example.org:80", "/"),
        ("HTTPS://Example.ORG:443/a?b#c", "https://example.org:443", "/a?b"),
        ("http://[::1]:8080/a%20b", "http://[::1]:8080", "/a%20b"),
        ("http://[FE80::1%25Eth0]/a", "http://[fe80::1%25Eth0]:80", "/a"),
        ("https://example.org./@a", "https://example.org.:443", "/@a"),
        ("localhost:8080/a", "http://localhost:8080", "/a"),
        ("example.org", "http://example.org:80", "/"),
        ("http://example.org/a/./b/../c/..", "http://example.org:80", "/a/"),
        ("http://example.org/../../a?../b", "http://example.org:80", "/a?../b"),
        (
            "http://example.org/white space/\u00fc?q=\u00fc d",
            "http://example.org:80",
            "/white%20space/%C3%BC?q=%C3%BC%20d",
        ),
        ("http://example.org/\udcff?\udcfe", "http://example.org:80", "/%FF?%FE"),
    ],
)
def test_a_url_is_taken_apart(url: str, origin: str, target: str) -> None:
    location = parse_url(url)
    assert (location.url, location.origin, location.target) == (url, origin, target)


@pytest.mark.parametrize(
    ("reference", "effective"),
    [
        ("/b?c", "https://example.org/b?c#part"),
        ("b", "https://example.org/a/b#part"),
        ("//other.test/b#own", "https://other.test/b#own"),
        ("http://other.test", "http://other.test/#part"),
        ("/white space", "https://example.org/white%20space#part"),
        ("/\xc3\xa9\xff", "https://example.org/%C3%A9%FF#part"),
    ],
)
def test_a_redirect_is_relative_to_its_url(reference: str, effective: str) -> None:
    assert redirected(parse_url("https://example.org/a/?x#part"), reference).effective == effective


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("ftp://a/", ExitCode.SCHEME),
        ("localhost:8080", ExitCode.SCHEME),
        ("mailto:u:p@a", ExitCode.SCHEME),
        ("http://[::1/", ExitCode.URL),
        ("http://u:p@a/", ExitCode.URL),
        ("http://\xff/", ExitCode.URL),
    ],
)
def test_a_redirect_to_no_url(reference: str, code: ExitCode) -> None:
    with pytest.raises(Failure, match="the server redirects to") as caught:
        redirected(parse_url("https://example.org/"), reference)
    assert caught.value.exit_code == code
    assert "u:p" not in caught.value.words


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        ((), 2, "Missing argument"),
        (("ftp://localhost/",), 1, "it must start with http:// or https://"),
        (("http:///path",), 3, "url has no host"),
        (("http://user@localhost/",), 3, "url must be scheme, host and port alone"),
        (("http://localhost:70000/",), 3, "url has no valid host and port"),
        (("http://localhost:0/",), 3, "the port is not between 1 and 65535"),
        (("http://a b/",), 3, "url has no valid host and port"),
        (("http://[::1/",), 3, "Invalid IPv6 URL"),
        (("--max-time", "-1", "http://localhost/"), 2, "0 seconds, for no limit, or more"),
        (("--connect-timeout", "nan", "http://localhost/"), 2, "0 seconds, for no limit, or more"),
        (("-I", "-d", "a", "http://localhost/"), 2, "-G makes it a query"),
        (("-o", "a", "-o", "b", "http://localhost/"), 2, "more -o and -O than URLs"),
        (("-O", "http://localhost/"), 23, "does not end in a file's name"),
        (("-d", "@/nonexistent", "http://localhost/"), 26, "-d cannot read /nonexistent"),
        (("-H", "@/nonexistent", "http://localhost/"), 26, "-H cannot read /nonexistent"),
        (("-w", "@/nonexistent", "http://localhost/"), 26, "-w cannot read /nonexistent"),
        (("-H", "nothing", "http://localhost/"), 2, "-H must be 'Name: value'"),
        (("--key", "a", "http://localhost/"), 2, "--key is the key of a --cert"),
        (("-x", "ftp://localhost", "http://localhost/"), 2, "proxy: url must start with"),
    ],
)
def test_bad_command_lines_of_get(arguments: tuple[str, ...], exit_code: int, message: str) -> None:
    result = invoke("get", *arguments)
    assert (result.exit_code, message in result.stderr) == (exit_code, True), result.stderr
    assert result.stdout == ""


def test_help_lists_every_exit_code() -> None:
    shown = invoke("get", "--help").stdout.partition("Exit codes, as curl's:")[2]
    listed = [int(line.split()[0]) for line in shown.splitlines() if line[2:3].isdigit()]
    assert listed == [0, *ExitCode, 130, BROKEN_PIPE]


def test_the_page_lists_every_exit_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
    rows = [tuple(line.strip("| ").split(" | ")) for line in page.splitlines() if re.match(r"\| \d", line)]
    assert rows == exit_code_table()


@pytest.mark.parametrize(
    "url",
    [
        "http://user:sesame@localhost/",
        "http://user:sesame@localhost:99999/",
        "http://user:sesame/5@localhost/",
        "http://user:sesame#5@localhost/",
        "http://user:sesame@[::1/",
        "http://user:sesame@\u2100.test/",
        "ftp://user:sesame@localhost/",
    ],
)
def test_a_password_on_the_command_line_of_get_is_not_repeated(url: str) -> None:
    result = invoke("get", url)
    assert result.exit_code == (1 if url.startswith("ftp") else 3)
    assert url.startswith("ftp") or "without a user or a password" in " ".join(result.stderr.split())
    assert "sesame" not in result.stderr


async def fetch(*urls: str, files: Sequence[str | None] = (), verify: bool = True, **options: Any) -> int:
    """Run `get`, whose request is that of the options `method` and `body`."""
    request = request_of(options.pop("method", None), [], options.pop("body", None), head=False, agent=None)
    given = GetOptions(request=request, **options)
    locations = [parse_url(url) for url in urls]
    return await get_module.get(locations, given, files=files, ssl_context=client_context(verify=verify))


@asynccontextmanager
async def server_of(handler: Callable[[trio_h2.ServerStream], Awaitable[object]], **options: Any) -> AsyncIterator[str]:
    """A server of this handler on loopback; gives its URL, without a slash at the end."""
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(trio_h2.serve_h2, handler, 0, host="127.0.0.1", **options))
            yield f"{'https' if 'ssl_context' in options else 'http'}://127.0.0.1:{server.port}"
            nursery.cancel_scope.cancel()


def body_of(target: str | None) -> bytes:
    """Some octets of a stream window and a half, other ones for every target."""
    return f"{target},".encode() * 100_000


async def test_bodies_come_in_the_order_of_the_urls(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    connections = set()
    most = running = 0

    async def handler(stream: trio_h2.ServerStream) -> None:
        nonlocal running, most
        connections.add(stream.connection)
        running += 1
        most = max(most, running)
        await stream.respond(200, (), body_of(stream.request.path))
        running -= 1

    targets = [f"/{number}" for number in range(20)]
    # The peer allows three streams: only in order do they not wait for each other for ever.
    async with server_of(handler, config=trio_h2.Config(max_concurrent_streams=3)) as url:
        assert await fetch(*(url + target for target in targets)) == 0
    output = capfdbinary.readouterr()
    assert output.out == b"".join(body_of(target) for target in targets)
    assert output.err == b""
    assert (len(connections), most) == (1, 3)


async def test_more_urls_than_streams_that_may_wait(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many streams the peer allows, those that wait never take the credit of the one whose turn it is."""
    monkeypatch.setattr(get_module, "AHEAD", 4)
    open_streams = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        open_streams.append(len(stream.connection.statistics().streams))
        await stream.respond(200, (), body_of(stream.request.path))

    async with server_of(handler) as url:
        assert await fetch(*(f"{url}/{number}" for number in range(12))) == 0
    assert capfdbinary.readouterr().out == b"".join(body_of(f"/{number}") for number in range(12))
    assert max(open_streams) <= 5  # one may have ended for the client and not yet for the server


async def test_a_status_of_failure_is_one_with_fail(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(404 if stream.request.path == "/no" else 200, (), str(stream.request.path).encode())

    async with server_of(handler) as url:
        urls = (f"{url}/a", f"{url}/no", f"{url}/b")
        assert await fetch(*urls) == 0
        assert tuple(capsysbinary.readouterr()) == (b"/a/no/b", b"")
        assert await fetch(*urls, fail=True) == ExitCode.STATUS
    output = capsysbinary.readouterr()
    assert output.out == b"/a/b"
    assert output.err == f"Error: {url}/no: HTTP status 404\n".encode()


async def test_a_reset_stream_and_its_neighbours(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.path != "/reset":
            await stream.respond(200, (), b"whole")
            return
        await stream.send_response(200)
        await stream.reset(trio_h2.ErrorCodes.ENHANCE_YOUR_CALM)

    async with server_of(handler) as url:
        assert await fetch(f"{url}/a", f"{url}/reset", f"{url}/b") == ExitCode.STREAM
    output = capsysbinary.readouterr()
    assert output.out == b"wholewhole"
    assert output.err == f"Error: {url}/reset: the server ended it early: ENHANCE_YOUR_CALM\n".encode()


async def test_a_status_of_failure_that_is_cut_short(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """A reset behind it, or the end of the connection, does not take away what came with a status of failure."""
    scopes: list[trio.CancelScope] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(503, [("content-length", "1000")])
        await stream.send_all(b"sorry ")
        if stream.request.path == "/reset":
            await stream.reset(trio_h2.ErrorCodes.INTERNAL_ERROR)
            return
        await stream.connection.ping()
        scopes[-1].cancel()

    async def serve(transport: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await trio_h2.serve_h2_connection(handler, transport)

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
            url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            assert await fetch(f"{url}/reset") == ExitCode.STREAM
            assert await fetch(f"{url}/lost") in (ExitCode.PARTIAL, ExitCode.RECEIVE)
            nursery.cancel_scope.cancel()
    output = capfdbinary.readouterr()
    assert output.out == b"sorry sorry "
    reset, lost = output.err.decode().splitlines()
    assert reset == f"Error: {url}/reset: the server ended it early: INTERNAL_ERROR"
    assert lost.startswith(f"Error: {url}: ")


async def test_a_lost_connection_is_one_line(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    scope = trio.CancelScope()

    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.path == "/first":
            await stream.respond(200, (), b"first")
            return
        await stream.send_response(200, [("content-length", "1000")])
        await stream.send_all(b"half")
        await stream.connection.ping()
        scope.cancel()

    async def serve(transport: trio.SocketStream) -> None:
        with scope:
            await trio_h2.serve_h2_connection(handler, transport)

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
            url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            assert await fetch(f"{url}/first", f"{url}/second", f"{url}/third") in (ExitCode.PARTIAL, ExitCode.RECEIVE)
            nursery.cancel_scope.cancel()
    output = capsysbinary.readouterr()
    assert output.out.startswith(b"first")
    assert output.err.startswith(f"Error: {url}: ".encode())
    assert output.err.endswith(b": 1 of 3 URLs are complete\n")
    assert output.err.count(b"\n") == 1


async def test_a_connection_lost_at_once_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    async def hang_up(transport: trio.SocketStream) -> None:
        await transport.receive_some()
        await transport.aclose()

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, hang_up, 0, host="127.0.0.1"))
            url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            assert await fetch(f"{url}/first", f"{url}/second") in (ExitCode.PARTIAL, ExitCode.RECEIVE)
            nursery.cancel_scope.cancel()
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.endswith(": 0 of 2 URLs are complete\n")
    assert output.err.count("\n") == 1


async def test_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    port = peers.free_port()
    assert await fetch(f"http://127.0.0.1:{port}/") == ExitCode.CONNECT
    error = capsys.readouterr().err
    assert error.startswith(f"Error: http://127.0.0.1:{port}: all attempts to connect to 127.0.0.1:{port} failed: ")
    assert error.endswith("Connection refused\n")


async def test_a_host_that_does_not_exist(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async def open_tcp_stream(*args: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    assert await fetch("http://host.invalid/") == ExitCode.HOST_NAME
    assert capsys.readouterr().err == "Error: http://host.invalid:80: Name or service not known\n"


async def hello(stream: trio_h2.ServerStream) -> None:
    await stream.respond(200, (), b"hello\n")


async def test_tls_verification(server_ssl_context: ssl.SSLContext, capsys: pytest.CaptureFixture[str]) -> None:
    async with server_of(hello, ssl_context=server_ssl_context) as url:
        assert await fetch(url) == ExitCode.CERTIFICATE
        output = capsys.readouterr()
        assert output.out == ""
        assert "CERTIFICATE_VERIFY_FAILED" in output.err
        assert output.err.endswith(" (-k goes on without)\n")
        assert output.err.count("\n") == 1
        assert await fetch(url, verify=False) == 0
        assert capsys.readouterr().out == "hello\n"


async def test_a_server_without_h2(server_ssl_context: ssl.SSLContext, capsys: pytest.CaptureFixture[str]) -> None:
    async def handshake(stream: trio.SSLStream[trio.SocketStream]) -> None:
        await stream.do_handshake()
        await stream.aclose()

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(
                partial(trio.serve_ssl_over_tcp, handshake, 0, server_ssl_context, host="127.0.0.1")
            )
            port = listeners[0].transport_listener.socket.getsockname()[1]
            assert await fetch(f"https://127.0.0.1:{port}/", verify=False) == ExitCode.HTTP2
            nursery.cancel_scope.cancel()
    assert capsys.readouterr().err.endswith("the server selected no protocol by ALPN, not h2\n")


async def never(stream: trio_h2.ServerStream) -> None:
    await stream.send_response(200)
    await trio.sleep_forever()


async def test_max_time(capsys: pytest.CaptureFixture[str]) -> None:
    async with server_of(never) as url:
        assert await fetch(f"{url}/a", f"{url}/b", max_time=0.05) == ExitCode.TIMEOUT
    lines = sorted(capsys.readouterr().err.splitlines())
    assert lines == [f"Error: {url}/{name}: not done in 0.05 seconds: 0 bytes received" for name in "ab"]


@pytest.mark.parametrize(
    ("scheme", "message"),
    [("http", "it sent no SETTINGS within 0.05 seconds"), ("https", "no connection to HOST within 0.05")],
)
async def test_connect_timeout(capsys: pytest.CaptureFixture[str], scheme: str, message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        assert await fetch(f"{scheme}://{host}/", connect_timeout=0.05) == ExitCode.TIMEOUT
    assert capsys.readouterr().err.startswith(f"Error: {scheme}://{host}: {message.replace('HOST', host)}")


async def test_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_informational(103, [("link", "</style.css>")])
        await stream.send_response(200, [("x-escape", b"a\x9bb")])
        await stream.send_all(b"hello\n")
        await stream.send_trailers([("x-after", "all")])

    async with server_of(handler) as url:
        assert await fetch(f"{url}/a", verbose=True) == 0
    output = capsys.readouterr()
    assert output.out == "hello\n"
    of_stream = [line for line in output.err.splitlines() if line.startswith("stream ")]
    assert of_stream == [
        f"stream 1: GET {url}/a",
        "stream 1: response 103 [link: </style.css>]",
        "stream 1: response 200 [x-escape: a\\x9bb]",
        "stream 1: data b'hello\\n'",
        "stream 1: trailers [x-after: all]",
        "stream 1: end",
    ]
    assert "connection: RemoteSettingsChanged changed_settings=[" in output.err
    assert "INITIAL_WINDOW_SIZE: 262144" in output.err


def test_events_in_words() -> None:
    terminated = trio_h2.ConnectionTerminated(trio_h2.ErrorCodes.NO_ERROR, 7, bytes(100))
    assert describe(terminated) == (
        "ConnectionTerminated error_code=NO_ERROR last_stream_id=7 additional_data=<100 bytes>"
    )
    assert describe(trio_h2.StreamReset(1, 99)) == "StreamReset error_code=99 remote_reset=True reason="


class BrokenOutput(io.RawIOBase):
    """A file that fails to be written."""

    def __init__(self, error: OSError) -> None:
        self._error = error

    def write(self, data: object) -> int:
        raise self._error


@pytest.mark.parametrize(
    ("error", "exit_code", "message"),
    [
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), BROKEN_PIPE, ""),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            ExitCode.WRITE,
            "Error: standard output: No space left on device\n",
        ),
    ],
)
async def test_output_that_breaks(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    exit_code: int,
    message: str,
) -> None:
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=BrokenOutput(error)))
    async with server_of(hello) as url:
        assert await fetch(f"{url}/a", f"{url}/b") == exit_code
    assert capsys.readouterr().err == message


async def test_output_that_breaks_behind_a_body(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What -w writes fails, too, and ends the rest."""
    full = BrokenOutput(OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=full))
    files = [str(tmp_path / name) for name in "ab"]
    async with server_of(hello) as url:
        assert await fetch(f"{url}/a", f"{url}/b", files=files, write_out="%{http_code}") == ExitCode.WRITE
    assert capsys.readouterr().err == "Error: standard output: No space left on device\n"


async def test_a_file_that_is_opened_late(tmp_path: Path) -> None:
    """Who left in the middle of opening a file, a pipe that nobody reads, leaves nothing open behind."""
    pipe, output = tmp_path / "pipe", FileOutput(str(tmp_path / "pipe"))
    os.mkfifo(pipe)
    with trio.move_on_after(0.01) as scope:
        await output.write(b"nobody reads this")
    assert scope.cancelled_caught
    await output.end(whole=False)
    with pipe.open("rb", buffering=0) as reader, trio.fail_after(5):
        assert await trio.to_thread.run_sync(reader.read, abandon_on_cancel=True) == b""


async def test_what_several_write_to_one_file(tmp_path: Path) -> None:
    """The last one's body is in it, as if one had been fetched after the other; nowhere else do they wait."""
    arrived = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.path == "/4":
            arrived.set()
        await arrived.wait()
        await stream.respond(200, (), body_of(stream.request.path))

    file = tmp_path / "one"
    files = [str(file), os.devnull, str(tmp_path / "." / "one"), os.devnull, str(file)]
    async with server_of(handler) as url:
        assert await fetch(*(f"{url}/{number}" for number in range(5)), files=files) == 0
    assert file.read_bytes() == body_of("/4")


class FullOutput:
    """What is below standard output when somebody made it non-blocking: it takes a little, or nothing."""

    def __init__(self) -> None:
        self.taken = bytearray()
        self._full = False
        self._always_ready = os.open(os.devnull, os.O_WRONLY)

    def fileno(self) -> int:
        return self._always_ready

    def isatty(self) -> bool:
        return False

    def write(self, data: memoryview) -> int | None:
        self._full = not self._full
        if self._full:
            return None
        self.taken += data[:10_000]
        return len(data[:10_000])


async def test_output_that_does_not_block(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, (), body_of("/"))

    output = FullOutput()
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=SimpleNamespace(raw=output)))
    async with server_of(handler) as url:
        assert await fetch(url) == 0
    assert output.taken == body_of("/")
    os.close(output.fileno())


def test_get_by_its_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def run_get(locations: list[Location], options: GetOptions, **others: Any) -> int:
        asked.append(([location.url for location in locations], options, others["files"]))
        assert others["ssl_context"].verify_mode == ssl.CERT_NONE
        return 1

    monkeypatch.setattr(get_module, "get", run_get)
    arguments = [
        "-kvO",
        "--max-time",
        "1.5",
        "-o",
        "-",
        "-d",
        "x",
        "--data-raw",
        "@y",
        "-d",
        "z",
        "http://a/b",
        "c",
        "d",
    ]
    assert invoke("get", *arguments).exit_code == 1
    ((urls, options, files),) = asked
    assert (urls, files) == (["http://a/b", "c", "d"], ["b", "-"])
    assert (options.max_time, options.verbose, options.request.method) == (1.5, True, "POST")
    assert options.request.body == b"x&@y&z"


async def test_redirects_and_retries_need_no_stream_that_those_behind_them_have(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """The peer allows one stream, and whoever has it waits for the turn of one that has to ask again."""
    tried: set[str] = set()

    async def handler(stream: trio_h2.ServerStream) -> None:
        path = str(stream.request.path)
        if path.startswith("/moved"):
            await stream.respond(302, [("location", path.replace("/moved", "/here"))], b"moved")
        elif path.startswith("/later") and path not in tried:
            tried.add(path)
            await stream.respond(503, [("retry-after", "0")], b"later")
        else:
            await stream.respond(200, (), body_of(path))

    async with server_of(handler, config=trio_h2.Config(max_concurrent_streams=1)) as url:
        urls = [f"{url}/{name}{number}" for number in range(3) for name in ("moved", "later", "plain")]
        assert await fetch(*urls, follow=True, retries=1, retry_delay=0.001, silent=True) == 0
    targets = [f"/{name}{number}" for number in range(3) for name in ("here", "later", "plain")]
    assert capfdbinary.readouterr().out == b"".join(map(body_of, targets))


async def test_urls_of_several_origins(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Each has one connection; who is not there keeps nobody else from coming."""

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, (), body_of(f"{stream.request.authority}{stream.request.path}"))

    nobody = f"http://127.0.0.1:{peers.free_port()}"
    async with server_of(handler) as one, server_of(handler) as two:
        urls = [f"{origin}/{number}" for number in range(3) for origin in (one, nobody, two)]
        assert await fetch(*urls) == ExitCode.CONNECT
    output = capfdbinary.readouterr()
    assert output.out == b"".join(body_of(url.partition("//")[2]) for url in urls if not url.startswith(nobody))
    assert output.err.decode().count("\n") == 1
    assert output.err.decode().startswith(f"Error: {nobody}: all attempts to connect")
    assert output.err.decode().endswith(": 6 of 9 URLs are complete\n")


@pytest.mark.parametrize("refusals", [4, 5])
async def test_a_refused_request_is_made_again(capsysbinary: pytest.CaptureFixture[bytes], refusals: int) -> None:
    asked: list[bytes] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        asked.append(await stream.read())
        if len(asked) <= refusals:
            await stream.reset(trio_h2.ErrorCodes.REFUSED_STREAM)
        else:
            await stream.respond(200, (), asked[-1])

    async with server_of(handler) as url:
        assert await fetch(url, body=b"hello") == (0 if refusals == 4 else ExitCode.RECEIVE)
    assert asked == 5 * [b"hello"]
    assert capsysbinary.readouterr().out == (b"hello" if refusals == 4 else b"")


async def test_a_retry_is_said(capsys: pytest.CaptureFixture[str], autojump_clock: trio.testing.MockClock) -> None:
    statuses = iter([429, 503, 500])

    async def handler(stream: trio_h2.ServerStream) -> None:
        status = next(statuses)
        await stream.respond(status, [("retry-after", "30")] if status == 503 else (), b"later")

    client, server = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio_h2.serve_h2_connection, handler, server)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(WatchedSockets, "open_stream", lambda *args: returned(client))
            assert await fetch("http://busy.test/", retries=2, fail=True) == ExitCode.STATUS
        assert 31 <= trio.current_time() < 32
    assert capsys.readouterr().err.splitlines() == [
        "Note: http://busy.test/: HTTP status 429: again in 1 s, 2 retries left",
        "Note: http://busy.test/: HTTP status 503: again in 30 s, 1 retry left",
        "Error: http://busy.test/: HTTP status 500",
    ]


@pytest.mark.parametrize(
    "date", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 2024 00:00:00 +99999999999999", "later"]
)
async def test_a_date_to_retry_after_that_is_none(date: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(503, [("retry-after", date)])

    async with server_of(handler) as url:
        assert await fetch(url, retries=1, retry_delay=0.01, fail=True) == ExitCode.STATUS
    assert "again in 0.01 s" in capsys.readouterr().err


async def test_a_field_of_http1_is_not_sent_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, (), ",".join(name for name, _ in stream.request.headers.items()).encode())

    typed = request_of(None, ["Connection: close", "x-a: 1", "Upgrade:"], None, head=False, agent="")
    async with server_of(handler) as url:
        options, context = GetOptions(request=typed), client_context()
        assert await get_module.get([parse_url(url)], options, ssl_context=context) == 0
    said = "Note: -H connection: HTTP/2 has no such field, and it is not sent\n"
    assert tuple(capsys.readouterr()) == ("accept,x-a", said)


async def returned(client: trio.abc.Stream) -> trio.abc.Stream:
    return client


async def test_a_redirect_that_is_not_followed_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(301, [("location", "../b")], b"moved")

    async with server_of(handler) as url:
        assert await fetch(f"{url}/a/") == 0
        assert tuple(capsys.readouterr()) == ("moved", f"Note: {url}/a/: a redirect, 301, to {url}/b; -L follows it\n")
        assert await fetch(f"{url}/a/", silent=True) == 0
        assert tuple(capsys.readouterr()) == ("moved", "")


@pytest.mark.parametrize(("status", "method", "follows"), [(303, None, "GET"), (302, None, "GET"), (303, "PUT", "PUT")])
async def test_a_length_that_was_typed_goes_with_its_body(
    capfdbinary: pytest.CaptureFixture[bytes], status: int, method: str | None, follows: str
) -> None:
    """curl 7.88 sends it with no body, which is reset; what else was typed goes on, with curl too."""

    async def handler(stream: trio_h2.ServerStream) -> None:
        assert await stream.read() == (b"" if stream.request.path == "/b" else b"abc")
        if stream.request.path == "/b":
            headers = stream.request.headers
            said = f"{stream.request.method} {headers.get('content-length')} {headers['content-language']}"
            await stream.respond(200, [], said.encode())
        else:
            await stream.respond(status, [("location", "/b")])

    typed = request_of(method, ["Content-Length: 3", "content-language: en"], b"abc", head=False, agent=None)
    async with server_of(handler) as url:
        options, context = GetOptions(request=typed, follow=True), client_context()
        assert await get_module.get([parse_url(f"{url}/a")], options, ssl_context=context) == 0
    assert capfdbinary.readouterr().out == f"{follows} None en".encode()


async def say(answer: bytes, transport: trio.SocketStream) -> None:
    async with transport:
        try:
            await transport.send_all(answer)
            await transport.send_eof()
            while await transport.receive_some():
                pass
        except trio.BrokenResourceError:
            pass


async def say_to(answer: bytes, transport: trio.SocketStream) -> None:
    """Say it when something has come."""
    await transport.receive_some()
    await say(answer, transport)


HTTP1 = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"


@pytest.mark.parametrize(
    ("scheme", "answer", "exit_code", "message"),
    [
        ("http", HTTP1, 16, "the server speaks HTTP/1.1, not HTTP/2: it answers 'HTTP/1.1 400 Bad Request'"),
        ("http", b"SSH-2.0-OpenSSH_9.2\r\n", 16, "the server speaks no HTTP/2: it answers 'SSH-2.0-OpenSSH_9.2'"),
        ("http", bytes(100), 16, "the first frame is not SETTINGS"),
        ("https", b"<!DOCTYPE HTML>\n", 35, "this port speaks no TLS: it answers '<!DOCTYPE HTML>'"),
        ("https", HTTP1, 35, "this port speaks HTTP/1.1, in the clear"),
        ("https", SETTINGS, 35, "this port speaks HTTP/2 in the clear: use http://"),
    ],
)
async def test_another_protocol_is_named(
    capsys: pytest.CaptureFixture[str], nursery: trio.Nursery, scheme: str, answer: bytes, exit_code: int, message: str
) -> None:
    listeners = await nursery.start(partial(trio.serve_tcp, partial(say_to, answer), 0, host="127.0.0.1"))
    url = f"{scheme}://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    assert await fetch(url) == exit_code
    error = capsys.readouterr().err
    assert error.startswith(f"Error: {url}: ")
    assert error.endswith(f"{message}\n")


async def test_a_tls_port_in_the_clear_is_named(
    tmp_path: Path,
    tls_files: peers.TLSFiles,
    server_ssl_context: ssl.SSLContext,
    capsys: pytest.CaptureFixture[str],
    nursery: trio.Nursery,
) -> None:
    """One answers in HTTP/1.1, one with an alert, one hangs up."""

    async def alert(transport: trio.SocketStream) -> None:
        first = await transport.receive_some()
        if first.startswith(b"\x16"):
            await hello_over_tls(ReplayedStream(transport, first))
        else:
            await say(b"\x15\x03\x01\0\2\2\x46", transport)

    async def hello_over_tls(transport: trio.abc.Stream) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tls_files.certificate, tls_files.key)
        tls = trio.SSLStream(transport, context, server_side=True)
        await tls.do_handshake()
        await tls.aclose()

    listeners = await nursery.start(partial(trio.serve_tcp, alert, 0, host="127.0.0.1"))
    async with (
        peers.run_nginx(tmp_path, tls=tls_files) as nginx,
        server_of(hello, ssl_context=server_ssl_context) as own,
    ):
        alerting = f"https://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        for url, what in ((nginx.url, "use https://"), (own, "use https://"), (alerting, "HTTP/1.1 by it")):
            in_the_clear = url.replace("https", "http")
            assert await fetch(in_the_clear) == ExitCode.HTTP2
            error = capsys.readouterr().err
            assert error.startswith(f"Error: {in_the_clear}: this port speaks TLS")
            assert error.endswith(f"{what}\n")
