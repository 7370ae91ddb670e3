"""`serve` with apps: served in a task of the test, and by a program of its own."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

import tests.peers as peers
import trio_h2
from tests.serving.running import LIMIT, invoke_serve, serve_program, serving
from trio_h2.cli.serving import plain_command
from trio_h2.cli.serving.banner import show_banner
from trio_h2.cli.serving.binding import bound
from trio_h2.cli.serving.log_output import configured_logging
from trio_h2.cli.serving.serve_options import ServeOptions
from trio_h2.cli.serving.serving_process import prepare, serve_sockets
from trio_h2.cli.shared.interrupting import INTERRUPTED

Write = Callable[..., Path]
Lines = trio.MemoryReceiveChannel[str]

SLOW = """\
import trio

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("shutdown")
        await SHUTDOWN
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hel", "more_body": True})
    await receive()
    await receive()
    await send({"type": "http.response.body", "body": b"lo"})
"""

FAILS = """\
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.STEP.failed", "message": "no database"})
"""


def slow(shutdown: str = "trio.sleep(0)") -> str:
    """An app whose response ends when its request does."""
    return SLOW.replace("SHUTDOWN", shutdown)


async def test_an_app_is_served_over_both_versions(module: Write, lines: Lines) -> None:
    curl = peers.require_program("curl", package="curl")
    async with serving(lines, "hello:app") as running:
        assert running.banner == (
            f"Serving hello:app at {running.url}/ (stop with Ctrl+C)\n"
            f"App: HTTP/2 and HTTP/1.1, without TLS; one process, pid {os.getpid()}"
        )
        for option, version in (("--http2-prior-knowledge", "2"), ("--http1.1", "1.1")):
            done = await peers.run_program(curl, "-sS", option, "-w", "%{http_version}", f"{running.url}/x?y")
            assert done.text == f"hello{version}"
            assert (await lines.receive()).startswith('127.0.0.1 "GET /x?y" 200 5 bytes ')
        signal.raise_signal(signal.SIGTERM)
        await running.ended.wait()
        assert running.exit_code == 0


async def test_tls_and_certificates_of_clients(
    module: Write, lines: Lines, tls_files: peers.TLSFiles, client_ssl_context: ssl.SSLContext
) -> None:
    certificates = {"certfile": str(tls_files.certificate), "keyfile": str(tls_files.key)}
    async with serving(lines, "hello:app", ca_certs=str(tls_files.ca), **certificates) as running:
        assert f"TLS with {tls_files.certificate}, clients' certificates by {tls_files.ca}; " in running.banner
        url = running.url.replace("127.0.0.1", "localhost")
        with pytest.raises((OSError, trio_h2.H2Error)):
            async with trio_h2.connect(url, ssl_context=client_ssl_context) as connection:
                await connection.request("GET", "/")
        client_ssl_context.load_cert_chain(tls_files.certificate, tls_files.key)
        async with trio_h2.connect(url, ssl_context=client_ssl_context) as connection:
            assert (await connection.request("GET", "/")).body == b"hello"


async def test_tls_speaks_http1_to_those_who_want_it(module: Write, lines: Lines) -> None:
    curl = peers.require_program("curl", package="curl")
    async with serving(lines, "hello:app", self_signed=True) as running:
        assert "TLS with a certificate made for this run; " in running.banner
        for option, version in (("--http2", "2"), ("--http1.1", "1.1")):
            done = await peers.run_program(curl, "-sSk", option, "-w", "%{http_version}", running.url)
            assert done.text == f"hello{version}"


async def test_a_unix_socket(module: Write, lines: Lines, tmp_path: Path) -> None:
    curl = peers.require_program("curl", package="curl")
    path = str(tmp_path / "socket")
    async with serving(lines, "hello:app", unix=path, unix_mode=0o600) as running:
        assert f" at unix:{path} " in running.banner
        done = await peers.run_program(curl, "-sS", "--unix-socket", path, "http://localhost/")
        assert done.text == "hello"
        assert (await lines.receive()).startswith('- "GET /" 200 5 bytes ')
        signal.raise_signal(signal.SIGTERM)
        await running.ended.wait()
    assert "socket" not in await trio.to_thread.run_sync(os.listdir, tmp_path)


async def test_the_options_of_the_app_and_the_connection(module: Write, lines: Lines) -> None:
    module(
        "told",
        "def make():\n"
        "    async def app(scope, receive, send):\n"
        "        assert scope['type'] == 'http'\n"
        "        await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "        told = [scope['path'], scope['root_path'], scope['client'][0]]\n"
        "        await send({'type': 'http.response.body', 'body': repr(told).encode()})\n"
        "    return app\n",
    )
    config = trio_h2.Config(max_concurrent_streams=7)
    options = {"factory": True, "root_path": "/below", "forwarded_allow_ips": "127.0.0.1", "access_log": False}
    async with (
        serving(lines, "told:make", config=config, **options) as running,
        trio_h2.connect(running.url) as connection,
    ):
        response = await connection.request("GET", "/x", headers=[("x-forwarded-for", "192.0.2.1")])
        assert response.body == b"['/below/x', '/below', '192.0.2.1']"
        assert connection.peer_settings.max_concurrent_streams == 7
    with pytest.raises(trio.WouldBlock):
        lines.receive_nowait()


async def test_a_signal_lets_requests_finish_and_then_the_app_shut_down(
    module: Write, lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    module("slow", slow())
    async with serving(lines, "slow:app") as running:
        async with trio_h2.connect(running.url) as connection, connection.stream("POST", "/") as stream:
            assert await stream.receive_some() == b"hel"
            signal.raise_signal(signal.SIGINT)
            events = connection.events()
            while not isinstance(await anext(events), trio_h2.ConnectionTerminated):
                pass
            assert capsys.readouterr().out == ""
            await stream.send_all(b"x")
            await stream.send_eof()
            assert await stream.read() == b"lo"
        await running.ended.wait()
        assert running.exit_code == 0
    assert capsys.readouterr().out == "shutdown\n"
    assert (await lines.receive()).startswith('127.0.0.1 "POST /" 200 5 bytes ')


async def test_grace_bounds_the_requests(module: Write, lines: Lines) -> None:
    module("slow", slow())
    async with serving(lines, "slow:app", grace=0.0) as running:
        async with trio_h2.connect(running.url) as connection, connection.stream("POST", "/") as stream:
            assert await stream.receive_some() == b"hel"
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(trio_h2.H2Error):
                await stream.read()
        await running.ended.wait()
        assert running.exit_code == 0


async def test_a_second_signal_does_not_wait(module: Write, lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    module("slow", slow())
    async with serving(lines, "slow:app") as running:
        async with trio_h2.connect(running.url) as connection, connection.stream("POST", "/") as stream:
            assert await stream.receive_some() == b"hel"
            signal.raise_signal(signal.SIGINT)
            events = connection.events()
            while not isinstance(await anext(events), trio_h2.ConnectionTerminated):
                pass
            signal.raise_signal(signal.SIGINT)
            await running.ended.wait()
        assert running.exit_code == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("shutdown\n", "Error: stopped without waiting for open requests\n")


# What serve_sockets does, with no signals ---------------------------------------------------------


async def served(
    target: str,
    stopping: trio.Event,
    on_started: Callable[[trio_h2.H2Server], object] = lambda server: None,
    **told: Any,
) -> int:
    prepared = prepare(ServeOptions(target=target, port=0, **told))
    with bound(prepared.options) as sockets, trio.fail_after(LIMIT):
        return await serve_sockets(prepared, sockets, on_started=on_started, stopping=stopping)


async def test_stopping_while_the_app_starts_cancels_that(module: Write) -> None:
    module("starting", "import trio\nasync def app(scope, receive, send):\n    await trio.sleep_forever()\n")
    stopping = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_when_blocked, stopping)
        assert await served("starting:app", stopping) == 0


async def test_stopping_in_the_moment_in_which_the_app_has_started_is_no_error(
    module: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever comes first, the start that is cancelled or its end."""
    module(
        "just",
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.startup.complete'})\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.shutdown.complete'})\n",
    )
    for turns in range(20):
        stopping = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop_after, turns, stopping)
            assert await served("just:app", stopping) == 0
    assert capsys.readouterr().err == ""


async def stop_after(turns: int, stopping: trio.Event) -> None:
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    stopping.set()


async def stop_when_blocked(stopping: trio.Event) -> None:
    await trio.testing.wait_all_tasks_blocked()
    stopping.set()


async def test_a_shutdown_of_the_app_that_does_not_end_is_bounded(
    module: Write, autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    module("slow", slow("trio.sleep_forever()"))
    stopping = trio.Event()
    before = trio.current_time()
    code = await served("slow:app", stopping, lambda server: stopping.set(), grace=3.0)
    assert code == 1
    assert trio.current_time() - before == pytest.approx(3 + 1 + 5)
    assert capsys.readouterr().err == "Error: stopped before the app's shutdown was over: --grace had passed\n"


async def test_what_the_lifespan_raises_later_ends_the_server(module: Write, caplog: pytest.LogCaptureFixture) -> None:
    module(
        "raises",
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.startup.complete'})\n"
        "    raise RuntimeError('boom')\n",
    )
    assert await served("raises:app", trio.Event()) == 1
    [record] = [record for record in caplog.records if record.name == "trio_h2"]
    assert record.getMessage() == "an error ended the server"
    assert "boom" in (caplog.text)


@pytest.mark.parametrize("step", ["startup", "shutdown"])
def test_a_lifespan_that_fails_is_one_line(module: Write, step: str) -> None:
    source = FAILS.replace("STEP", step)
    if step == "shutdown":
        source = source.replace(
            "    await send",
            "    await send({'type': 'lifespan.startup.complete'})\n    await receive()\n    await send",
        )
        source += "import os, signal\ndef make():\n    os.kill(os.getpid(), signal.SIGTERM)\n    return app\n"
    module("fails", source)
    if step == "shutdown":

        async def main() -> int:
            stopping = trio.Event()
            return await served("fails:app", stopping, lambda server: stopping.set())

        with pytest.raises(Exception, match="the app's shutdown failed: no database"):
            trio.run(main)
    else:
        result = invoke_serve("fails:app", "--port", "0")
        assert (result.stderr, result.exit_code) == ("Error: the app's startup failed: no database\n", 1)


# Logs ---------------------------------------------------------------------------------------------


def test_the_log_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("trio_h2")
    with configured_logging(ServeOptions(target="hello:app", log_level="warning")):
        logger.info("not this")
        logger.warning("but %s", "this")
    text = capsys.readouterr().err
    assert text.endswith(f"Z [{os.getpid()}] WARNING but this\n")
    assert text.count("\n") == 1


@pytest.mark.usefixtures("logging_comes_back")
@pytest.mark.parametrize("where", ["import", "startup"])
async def test_an_app_that_sets_up_logging_does_not_silence_the_server(
    module: Write, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    setup = "logging.config.dictConfig({'version': 1})"
    module(
        "sets_up",
        "import logging.config, hello\n"
        f"if {where == 'import'}: {setup}\n"
        "async def app(scope, receive, send):\n"
        f"    if {where == 'startup'}: {setup}\n"
        "    await hello.app(scope, receive, send)\n",
    )
    logger = logging.getLogger("trio_h2.serving")
    stopping = trio.Event()

    def started(server: trio_h2.H2Server) -> None:
        logger.warning("heard")
        stopping.set()

    with configured_logging(ServeOptions(target="hello:app")):
        assert await served("sets_up:app", stopping, started) == 0
    assert capsys.readouterr().err.endswith("WARNING heard\n")


def test_the_log_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("trio_h2.part")
    with configured_logging(ServeOptions(target="hello:app", log_format="json")):
        try:
            raise RuntimeError("boom")
        except RuntimeError as error:
            logger.error("it failed", exc_info=error)
    entry = json.loads(capsys.readouterr().err)
    assert entry.pop("time").endswith("Z")
    assert entry.pop("traceback").endswith("RuntimeError: boom")
    assert entry == {"process": os.getpid(), "level": "error", "logger": "trio_h2.part", "message": "it failed"}


def test_the_banner_is_json(lines: Lines) -> None:
    listener: Any = SimpleNamespace(getsockname=lambda: "/x")
    show_banner(ServeOptions(target=".", is_directory=True, log_format="json", workers=2), [listener])
    entry = json.loads(lines.receive_nowait())
    assert entry.pop("time").endswith("Z")
    assert entry == {
        **{"message": "serving", "directory": ".", "urls": ["unix:/x"], "protocols": ["HTTP/2"]},
        **{"tls": None, "workers": 2, "process": os.getpid()},
    }


@pytest.mark.parametrize(
    ("options", "processes"),
    [
        ({}, "one process"),
        ({"workers": 1}, "1 worker"),
        ({"workers": 2}, "2 workers"),
        ({"reload": True}, "reloaded when its files change"),
    ],
)
def test_the_banner_says_who_serves(lines: Lines, options: dict[str, Any], processes: str) -> None:
    listener: Any = SimpleNamespace(getsockname=lambda: "/x")
    show_banner(ServeOptions(target="hello:app", **options), [listener])
    assert lines.receive_nowait() == "Serving hello:app at unix:/x (stop with Ctrl+C)"
    assert lines.receive_nowait() == f"App: HTTP/2 and HTTP/1.1, without TLS; {processes}, pid {os.getpid()}"


# Programs of their own ----------------------------------------------------------------------------


async def test_a_program_with_sockets_of_systemd_and_options_from_the_environment(
    module: Write, tmp_path: Path
) -> None:
    curl = peers.require_program("curl", package="curl")
    # What systemd does between fork and exec.
    launch = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid());"
        "os.environ['LISTEN_FDS'] = '1'; os.execv(sys.argv[2], sys.argv[2:])"
    )
    with socket.create_server(("127.0.0.1", 0)) as given:
        port = given.getsockname()[1]
        async with serve_program(
            "hello:app",
            cwd=tmp_path,
            env={"TRIO_H2_LOG_FORMAT": "json"},
            through=(sys.executable, "-c", launch, str(given.fileno())),
            pass_fds=(given.fileno(),),
        ) as program:
            assert json.loads(await program.line())["urls"] == [f"http://127.0.0.1:{port}/"]
            done = await peers.run_program(curl, "-sS", f"http://127.0.0.1:{port}/")
            assert done.text == "hello"
            assert json.loads(await program.line())["status"] == 200
            program.process.send_signal(signal.SIGINT)
            assert await program.process.wait() == 0
            assert await program.errors() == ""


@pytest.mark.parametrize(
    ("number", "source", "exit_code"),
    [
        (signal.SIGINT, "import time\nprint('importing', flush=True)\ntime.sleep(60)", INTERRUPTED),
        (
            signal.SIGTERM,
            "import trio\nasync def app(scope, receive, send):\n    print('starting', flush=True)\n"
            "    await trio.sleep_forever()\n",
            0,
        ),
    ],
)
async def test_a_signal_at_the_start_ends_it_quietly(
    module: Write, tmp_path: Path, number: int, source: str, exit_code: int
) -> None:
    module("starting", source)
    async with serve_program("starting:app", "--port", "0", cwd=tmp_path) as program:
        assert await program.line() in ("importing", "starting")
        program.process.send_signal(number)
        assert await program.process.wait() == exit_code
        assert (await program.errors()).strip() == ""


async def test_a_third_signal_ends_what_the_second_does_not(module: Write, tmp_path: Path) -> None:
    module(
        "stubborn",
        "import trio, sys\n"
        "async def app(scope, receive, send):\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': b'x', 'more_body': True})\n"
        "    with trio.CancelScope(shield=True):\n"
        "        await trio.sleep_forever()\n",
    )
    async with serve_program("stubborn:app", "--port", "0", cwd=tmp_path) as program:
        url = (await program.line()).split(" at ")[1].split()[0].removesuffix("/")
        async with trio_h2.connect(url) as connection, connection.stream("GET", "/") as stream:
            assert await stream.receive_some() == b"x"
            program.process.send_signal(signal.SIGINT)
            events = connection.events()
            while not isinstance(await anext(events), trio_h2.ConnectionTerminated):
                pass
            program.process.send_signal(signal.SIGINT)
            with pytest.raises(trio_h2.H2Error):
                await stream.read()
            program.process.send_signal(signal.SIGINT)
            assert await program.process.wait() == -signal.SIGINT


async def test_an_app_that_keeps_trio_from_its_turn_is_ended_by_signals_all_the_same(
    module: Write, tmp_path: Path
) -> None:
    module(
        "busy",
        "async def app(scope, receive, send):\n"
        "    if scope['type'] == 'http':\n"
        "        print('busy', flush=True)\n"
        "        while True: pass\n",
    )
    async with serve_program("busy:app", "--port", "0", cwd=tmp_path) as program:
        url = (await program.line()).split(" at ")[1].split()[0].removesuffix("/")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(get_and_lose, url)
            while await program.line() != "busy":
                pass
            while program.process.poll() is None:  # two that come at once are one
                program.process.send_signal(signal.SIGINT)
                await trio.sleep(0.05)
        assert program.process.returncode == -signal.SIGINT


async def get_and_lose(url: str) -> None:
    with pytest.raises((trio_h2.H2Error, OSError)):
        async with trio_h2.connect(url) as connection:
            await connection.request("GET", "/")


@pytest.mark.parametrize(
    ("statement", "exit_code", "errors"),
    [
        ("sys.exit('enough')", 1, "Error: enough\n"),
        ("raise KeyboardInterrupt", INTERRUPTED, ""),
    ],
)
async def test_an_app_that_ends_the_process_shows_no_traceback(
    module: Write, tmp_path: Path, statement: str, exit_code: int, errors: str
) -> None:
    module("ends", f"import sys\nasync def app(scope, receive, send):\n    if scope['type'] == 'http': {statement}\n")
    async with serve_program("ends:app", "--port", "0", cwd=tmp_path) as program:
        url = (await program.line()).split(" at ")[1].split()[0].removesuffix("/")
        await get_and_lose(url)
        assert await program.process.wait() == exit_code
        assert await program.errors() == errors


async def test_an_app_that_closes_standard_files_is_served_all_the_same(module: Write, tmp_path: Path) -> None:
    module(
        "closes",
        """
import sys

async def app(scope, receive, send):
    if scope["type"] == "http":
        if scope["path"] == "/output":
            sys.stdout.close()
        elif scope["path"] == "/errors":
            sys.stderr.close()
        raise ValueError("which nobody can read")
""",
    )
    async with serve_program("closes:app", "--port", "0", cwd=tmp_path) as program:
        url = (await program.line()).split(" at ")[1].split()[0].removesuffix("/")
        async with trio_h2.connect(url) as connection:
            for path in ("/output", "/", "/errors", "/"):
                assert (await connection.request("GET", path)).status == 500
        program.process.send_signal(signal.SIGTERM)
        assert await program.process.wait() == 0
        assert (await program.errors()).count("Error: standard output is closed\n") == 1


def test_exit_codes_that_apps_ask_for() -> None:
    def code(*errors: BaseException) -> int:
        return plain_command.exit_code_of(BaseExceptionGroup("", [BaseExceptionGroup("", errors)]))

    assert code(SystemExit()) == 0
    assert code(SystemExit(7), KeyboardInterrupt()) == 7
    assert code(SystemExit("enough")) == 1
    assert code(KeyboardInterrupt()) == INTERRUPTED
    with pytest.RaisesGroup(pytest.RaisesGroup(SystemExit, ValueError)):
        code(SystemExit(7), ValueError())
    with pytest.RaisesGroup(pytest.RaisesGroup(ValueError)):
        code(ValueError())
