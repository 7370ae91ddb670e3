"""`trio-h2 get` on a terminal: progress bars, and bodies that are no text."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

import tests.peers as peers
import trio_h2
from trio_h2.cli.getting.get import get
from trio_h2.cli.getting.get_options import GetOptions, request_of
from trio_h2.cli.shared.exit_codes import ExitCode
from trio_h2.cli.shared.locations import parse_url
from trio_h2.cli.shared.tls_options import client_context

GET = (sys.executable, "-m", "trio_h2", "get")
LIMIT = 60.0
HALF = 100_000


class Terminal:
    """A terminal, by default of 80 columns, of which a program has the one end.

    Attributes:
        theirs: the program's end, a file descriptor.
        shown: what the program wrote.
    """

    def __init__(self, columns: int = 80) -> None:
        self._ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.shown = ""

    async def read(self) -> bool:
        """Wait for more of it; False at the end."""
        try:
            data = await trio.to_thread.run_sync(os.read, self._ours, 65536, abandon_on_cancel=True)
        except OSError as error:  # the program has closed its end
            assert error.errno == errno.EIO
            data = b""
        self.shown += data.decode()
        return bool(data)

    @property
    def lines(self) -> list[str]:
        """All lines that were shown, one below the other, without what moves and colours."""
        return [line.rstrip() for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", self.shown))]

    def close(self) -> None:
        os.close(self._ours)


def environment() -> dict[str, str]:
    dropped = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    return {name: value for name, value in os.environ.items() if name not in dropped} | {"TERM": "xterm"}


async def start(terminal: Terminal, *arguments: str, bodies: int = subprocess.DEVNULL) -> trio.Process:
    """Run `get` with standard error on a terminal."""
    process = await trio.lowlevel.open_process(
        [*GET, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=bodies,
        stderr=terminal.theirs,
        env=environment(),
    )
    os.close(terminal.theirs)
    return process


class Halves:
    """A handler that sends the second half of a body when it is told to."""

    def __init__(self) -> None:
        self.go_on = trio.Event()

    async def __call__(self, stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200, [("content-length", str(2 * HALF))])
        await stream.send_all(bytes(HALF))
        await self.go_on.wait()
        if stream.request.path == "/broken":
            await stream.reset()
        else:
            await stream.send_all(bytes(HALF))


async def test_each_stream_has_a_bar_on_a_terminal(tmp_path: Path, nursery: trio.Nursery) -> None:
    handler, terminal = Halves(), Terminal()
    server = await nursery.start(partial(trio_h2.serve_h2, handler, 0, host="127.0.0.1"))
    url = f"http://127.0.0.1:{server.port}"
    names = ["one.bin", "broken", "a-very-long-name-of-a-file-that-is-cut.bin"]
    files = [option for name in names for option in ("-o", str(tmp_path / name))]
    with trio.fail_after(LIMIT):
        process = await start(terminal, *files, *(f"{url}/{name}" for name in names))
        while terminal.shown.count(" 50%") < 3 and await terminal.read():
            pass
        handler.go_on.set()
        while await terminal.read():
            pass
        assert await process.wait() == ExitCode.STREAM
    terminal.close()
    assert max(map(len, terminal.lines)) <= 80
    one, broken, long = terminal.lines[-4:-1]
    assert re.fullmatch(r"one\.bin +\S+ 100% 200\.0/200\.0 kB [\d.]+ \wB/s", one)
    assert re.fullmatch(r"broken +\S+.* FAIL 100\.0/200\.0 kB .*", broken)
    assert re.fullmatch(r"…-a-file-that-is-cut\.bin +\S+ 100% 200\.0/200\.0 kB [\d.]+ \wB/s", long)
    assert f"Error: {url}/broken: the server ended it early: CANCEL" in terminal.lines


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (50, r"one\.bin +\S+ 100% 200\.0/200\.0 kB"),
        (36, r"one\.bin +\S+ 100% 200\.0/200\.0 kB"),
        (30, r"one\.bin +\S+ 100%"),
    ],
)
async def test_a_bar_is_one_line_on_a_narrow_terminal(
    tmp_path: Path, nursery: trio.Nursery, columns: int, line: str
) -> None:
    handler, terminal = Halves(), Terminal(columns)
    handler.go_on.set()
    server = await nursery.start(partial(trio_h2.serve_h2, handler, 0, host="127.0.0.1"))
    with trio.fail_after(LIMIT):
        process = await start(terminal, "-o", str(tmp_path / "one.bin"), f"http://127.0.0.1:{server.port}/one")
        while await terminal.read():
            pass
        assert await process.wait() == 0
    terminal.close()
    bars = [shown for shown in terminal.lines if shown]
    assert all(shown.startswith("one.bin ") and len(shown) <= columns for shown in bars)
    assert re.fullmatch(line, bars[-1])


async def test_there_are_no_bars_for_a_pipe(tmp_path: Path, nursery: trio.Nursery) -> None:
    handler = Halves()
    handler.go_on.set()
    server = await nursery.start(partial(trio_h2.serve_h2, handler, 0, host="127.0.0.1"))
    url = f"http://127.0.0.1:{server.port}"
    done = await peers.run_program(*GET, "-o", tmp_path / "one", "-o", tmp_path / "two", f"{url}/1", f"{url}/2")
    assert (done.stdout, done.stderr) == (b"", b"")
    # Nor where standard error is a terminal and somebody reads the bodies, a pager perhaps, which draws on it.
    terminal = Terminal()
    with trio.fail_after(LIMIT):
        process = await start(terminal, f"{url}/1", bodies=subprocess.PIPE)
        assert process.stdout is not None
        async with process.stdout:
            assert b"".join([chunk async for chunk in process.stdout]) == bytes(2 * HALF)
        assert await process.wait() == 0
        assert not await terminal.read()
    terminal.close()


class Escaping:
    """A server that wants to have a terminal: nobody who checks what he sends can be it."""

    BLOCK = b"\x88\x5f\x04\x1b[2J\0\x03x-a\x06\xc2\x9b2J\t!"

    async def __call__(self, transport: trio.SocketStream) -> None:
        head = len(self.BLOCK).to_bytes(3, "big") + b"\1\5\0\0\0\1" + self.BLOCK
        await transport.send_all(b"\0\0\0\4\0\0\0\0\0")
        asked = b""
        while b"\1\5\0\0\0\1" not in asked:
            asked += await transport.receive_some()
        await transport.send_all(head)
        async for _ in transport:
            pass


@pytest.mark.parametrize(
    ("file", "shown"),
    [
        (None, "content-type: \\x1b[2J\r\r\nx-a: \\x9b2J\t!\r\r\n\r\r\n\\x1b[2J|\x1b|\\x9b2J\\t!"),
        ("-", "content-type: \x1b[2J\r\r\nx-a: \x9b2J\t!\r\r\n\r\r\n\x1b[2J|\x1b|\x9b2J\t!"),
    ],
)
async def test_what_a_peer_says_does_not_control_a_terminal(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, file: str | None, shown: str
) -> None:
    listeners = await nursery.start(partial(trio.serve_tcp, Escaping(), 0, host="127.0.0.1"))
    url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    terminal = Terminal()
    with os.fdopen(terminal.theirs, "wb", buffering=0) as stdout:
        monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=stdout))
        request = request_of(None, [], None, head=False, agent=None)
        written = "%{content_type}|\x1b|%header{x-a}"
        options = GetOptions(request=request, include=True, write_out=written)
        assert await get([parse_url(url)], options, files=[file], ssl_context=client_context()) == 0
    while await terminal.read():
        pass
    terminal.close()
    assert terminal.shown == f"HTTP/2 200 \r\r\n{shown}"


async def mixed(stream: trio_h2.ServerStream) -> None:
    match stream.request.path:
        case "/text":
            await stream.respond(200, (), "some té\x1bxt\n".encode())
        case "/binary":
            await stream.respond(200, (), b"some\0octets\n")
        case _:
            await stream.respond(200, [("content-encoding", "br")], b"encoded\n")


@pytest.mark.parametrize(
    ("path", "file", "exit_code", "shown"),
    [
        ("/text", None, 0, "some té\x1bxt\r\n"),
        ("/binary", None, ExitCode.WRITE, ""),
        ("/encoded", None, ExitCode.WRITE, ""),
        ("/binary", "-", 0, "some\0octets\r\n"),
        ("/encoded", "-", 0, "encoded\r\n"),
    ],
)
async def test_what_is_written_to_a_terminal(
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    path: str,
    file: str | None,
    exit_code: int,
    shown: str,
) -> None:
    server = await nursery.start(partial(trio_h2.serve_h2, mixed, 0, host="127.0.0.1"))
    url = f"http://127.0.0.1:{server.port}{path}"
    terminal = Terminal()
    with os.fdopen(terminal.theirs, "wb", buffering=0) as stdout:
        monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=stdout))
        options = GetOptions(request=request_of(None, [], None, head=False, agent=None))
        assert await get([parse_url(url)], options, files=[file], ssl_context=client_context()) == exit_code
    while await terminal.read():
        pass
    terminal.close()
    assert terminal.shown == shown
    what = "a body with content-encoding br" if path == "/encoded" else "binary data"
    hint = "is not written to a terminal: -o FILE writes it to a file, -o - to the terminal"
    assert capsys.readouterr().err == (f"Error: {url}: {what} {hint}\n" if exit_code else "")
