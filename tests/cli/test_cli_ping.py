"""`trio-h2 ping`, and `trio-h2 completion`."""

from __future__ import annotations

import re
import ssl
import sys
from functools import partial

import pytest
import trio
import trio.testing
from click.testing import CliRunner

import tests.peers as peers
import trio_h2
from trio_h2.cli.commands import cli
from trio_h2.cli.probing.ping import ping
from trio_h2.cli.shared.locations import parse_url
from trio_h2.cli.shared.tls_options import client_context


async def hello(stream: trio_h2.ServerStream) -> None:
    await stream.respond(200, (), b"hello\n")


async def run_ping(origin: str, *, count: int = 3, verify: bool = True, max_time: float = 60) -> int:
    tls = client_context(verify=verify)
    return await ping(parse_url(origin), count=count, interval=0.001, ssl_context=tls, max_time=max_time)


async def test_each_ping_is_a_line_and_the_last_line_sums_up(
    server_ssl_context: ssl.SSLContext, capsys: pytest.CaptureFixture[str], nursery: trio.Nursery
) -> None:
    serve = partial(trio_h2.serve_h2, hello, 0, host="127.0.0.1", ssl_context=server_ssl_context)
    server = await nursery.start(serve)
    url = f"https://127.0.0.1:{server.port}"
    assert await run_ping(url, verify=False) == 0
    *lines, summary = capsys.readouterr().out.splitlines()
    assert [re.sub(r"[\d.]+ ms", "T ms", line) for line in lines] == [f"PING {n} to {url}: T ms" for n in (1, 2, 3)]
    times = [float(line.split()[-2]) for line in lines]
    match = re.fullmatch(r"3 sent, 3 answered; min/avg/max ([\d.]+)/([\d.]+)/([\d.]+) ms", summary)
    assert match is not None
    assert [float(match[1]), float(match[3])] == [min(times), max(times)]
    assert float(match[2]) == pytest.approx(sum(times) / 3, abs=0.002)
    assert await run_ping(url) == 1
    assert "CERTIFICATE_VERIFY_FAILED" in capsys.readouterr().err


async def test_a_server_that_answers_no_ping(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    client, _server = trio.testing.memory_stream_pair()

    async def open_tcp_stream(*args: object) -> trio.abc.Stream:
        return client

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    assert await run_ping("http://silent.test", max_time=5) == 1
    output = capsys.readouterr()
    assert output.err == "Error: http://silent.test:80: not done in 5 seconds\n"
    assert output.out == "1 sent, 0 answered\n"


async def test_nobody_is_there_to_answer(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{peers.free_port()}"
    assert await run_ping(url) == 1
    assert capsys.readouterr().err.endswith("Connection refused\n")


async def test_another_protocol_is_named(
    server_ssl_context: ssl.SSLContext, capsys: pytest.CaptureFixture[str], nursery: trio.Nursery
) -> None:
    async def http1(transport: trio.SocketStream) -> None:
        async with transport:
            await transport.receive_some()
            await transport.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    listeners = await nursery.start(partial(trio.serve_tcp, http1, 0, host="127.0.0.1"))
    serve = partial(trio_h2.serve_h2, hello, 0, host="127.0.0.1", ssl_context=server_ssl_context)
    server = await nursery.start(serve)
    for port, words in (
        (listeners[0].socket.getsockname()[1], "the server speaks HTTP/1.1, not HTTP/2"),
        (server.port, "this port speaks TLS: use https://"),
    ):
        assert await run_ping(f"http://127.0.0.1:{port}") == 1
        assert words in capsys.readouterr().err


async def test_the_certificates_are_given_as_to_get(
    server_ssl_context: ssl.SSLContext, tls_files: peers.TLSFiles, nursery: trio.Nursery
) -> None:
    serve = partial(trio_h2.serve_h2, hello, 0, host="127.0.0.1", ssl_context=server_ssl_context)
    server = await nursery.start(serve)
    arguments = ["--cacert", str(tls_files.ca), "-c", "1", "-m", "60", f"https://127.0.0.1:{server.port}"]
    command = [sys.executable, "-m", "trio_h2", "ping", *arguments]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("arguments", [("-c", "0", "http://a"), ("-i", "0", "http://a"), ("ftp://a",), ()])
def test_wrong_command_lines_of_ping(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, ["ping", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")


def test_ping_by_its_command_line() -> None:
    url = f"http://127.0.0.1:{peers.free_port()}/path"
    result = CliRunner().invoke(cli, ["ping", "-k", "-c", "1", url])
    assert (result.exit_code, "Connection refused" in result.stderr) == (1, True)


def test_a_file_of_authorities_that_is_not_there() -> None:
    result = CliRunner().invoke(cli, ["ping", "https://localhost"], env={"SSL_CERT_FILE": "/nonexistent"})
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: cannot use the authorities of /nonexistent: No such file or directory\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_is_given_completes_commands(shell: str) -> None:
    script = CliRunner().invoke(cli, ["completion", shell])
    assert (script.exit_code, f"_TRIO_H2_COMPLETE={shell}_complete" in script.stdout) == (0, True)
    asked = {"_TRIO_H2_COMPLETE": f"{shell}_complete", "COMP_WORDS": "trio-h2 pi", "COMP_CWORD": "1"}
    if shell == "fish":
        asked["COMP_CWORD"] = "pi"
    answer = CliRunner().invoke(cli, [], env=asked, prog_name="trio-h2")
    assert "ping" in answer.stdout
    assert "demo" not in answer.stdout


@pytest.mark.parametrize("option", ["get -o", "get --cacert", "get --trace", "ping --key", "serve --trace", "view -o"])
def test_a_shell_completes_the_names_of_files(option: str) -> None:
    asked = {"_TRIO_H2_COMPLETE": "bash_complete", "COMP_WORDS": f"trio-h2 {option} a", "COMP_CWORD": "3"}
    assert CliRunner().invoke(cli, [], env=asked, prog_name="trio-h2").stdout == "file,a\n"
