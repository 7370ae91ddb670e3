"""`--trace` of `trio-h2 get` and `serve`, and `trio-h2 view`."""

from __future__ import annotations

import signal
import sys
import webbrowser
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

import trio_h2
from tests.peers import Completed, run_program
from tests.serving.running import Program, serve_program
from tests.timeline.slow_reader import mocked
from trio_h2.cli import commands
from trio_h2.testing import in_memory
from trio_h2.timeline import load


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(commands.cli, [str(argument) for argument in arguments])


async def fetch(*arguments: str | Path) -> Completed:
    return await run_program(sys.executable, "-m", "trio_h2", "get", *arguments, check=False)


@pytest.fixture
async def port(nursery: trio.Nursery) -> int:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, body=b"hello")

    server: trio_h2.H2Server = await nursery.start(trio_h2.serve_h2, handler, 0)
    return server.port


async def test_get_records_what_it_does(port: int, tmp_path: Path) -> None:
    for name in ("out.jsonl", "out.html"):
        done = await fetch("--trace", tmp_path / name, *(f"http://127.0.0.1:{port}/{path}" for path in "ab"))
        assert (done.returncode, done.text, done.errors) == (0, "hellohello", "")
    recording = load(tmp_path / "out.jsonl")
    assert sorted(row.path for row in recording.streams) == ["/a", "/b"]
    assert [row.side for row in recording.connections] == ["client"]
    assert "GET /a" in (tmp_path / "out.html").read_text()


async def test_get_says_that_its_recording_was_not_written(port: int, tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "out.html"
    done = await fetch("--trace", file, f"http://127.0.0.1:{port}/")
    assert (done.returncode, done.text) == (23, "hello")
    assert done.errors == f"Error: --trace {file}: No such file or directory\n"


async def test_serve_writes_its_recording_when_it_ends(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("hello")
    file = tmp_path / "out.jsonl"
    async with serve_program(tmp_path, "--port", "0", "--trace", file, cwd=tmp_path) as program:
        url = await listening(program)
        assert load(file).connections == []  # which shows that it can be written
        async with trio_h2.connect(url.rstrip("/")) as connection:
            assert (await connection.request("GET", "/")).body == b"hello"
        program.process.send_signal(signal.SIGTERM)
        assert await program.process.wait() == 0
    [row] = load(file).streams
    assert (row.method, row.path, row.data_sent) == ("GET", "/", 5)


async def listening(program: Program) -> str:
    """The URL in the banner."""
    return (await program.line()).split(" at ")[1].split(" ")[0]


def test_serve_does_not_begin_where_it_cannot_write(tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "out.html"
    done = invoke("serve", tmp_path, "--port", "0", "--trace", file)
    assert (done.exit_code, done.stderr) == (1, f"Error: --trace {file}: No such file or directory\n")


def test_serve_records_one_process(tmp_path: Path) -> None:
    done = invoke("serve", tmp_path, "--trace", "out.html", "--workers", "2")
    assert done.exit_code == 2
    assert "--trace records one process: it takes no --workers and no --reload" in done.stderr


# view


async def run_one(timeline: trio_h2.Timeline) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200)

    async with in_memory(handler, trace=timeline) as connection:
        await connection.request("GET", "/shown")


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    timeline = trio_h2.Timeline()
    mocked(run_one, timeline)
    timeline.save(tmp_path / "out.jsonl")
    return tmp_path / "out.jsonl"


def test_view_makes_a_page_beside_the_lines_or_where_it_is_told(lines: Path) -> None:
    assert invoke("view", lines).output == f"{lines.with_suffix('.html')}\n"
    other = lines.parent / "other.html"
    assert invoke("view", lines, "--output", other).output == f"{other}\n"
    assert other.read_text() == lines.with_suffix(".html").read_text()
    assert '"/shown"' in other.read_text()


def test_view_shows_the_page_if_it_is_asked_to(lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: shown.append(url) or len(shown) == 1)
    assert invoke("view", lines).exit_code == 0
    assert shown == []
    assert invoke("view", lines, "--open").exit_code == 0
    assert shown == [lines.with_suffix(".html").as_uri()]
    done = invoke("view", lines, "--open")
    assert (done.exit_code, done.stderr) == (1, "Error: there is no browser to show it in\n")


def test_view_says_what_is_wrong(lines: Path) -> None:
    lines.write_text(lines.read_text() + "{}\n")
    count = len(lines.read_text().splitlines())
    done = invoke("view", lines)
    assert (done.exit_code, done.stderr) == (1, f"Error: {lines}: line {count} is of an unknown kind: 'None'\n")
    lines.write_bytes(b"\xff")
    assert invoke("view", lines).stderr == f"Error: {lines}: it is no text in UTF-8\n"
    assert invoke("view", lines.parent / "nothing").exit_code == 2
    assert invoke("view", lines, "--output", "a.jsonl").exit_code == 2


def test_view_says_that_the_page_cannot_be_written(lines: Path) -> None:
    page = lines.parent / "nowhere" / "out.html"
    done = invoke("view", lines, "-o", page)
    assert (done.exit_code, done.stderr) == (1, f"Error: {page}: No such file or directory\n")


def test_a_page_of_a_page_is_refused(lines: Path) -> None:
    invoke("view", lines)
    page = lines.with_suffix(".html")
    done = invoke("view", page, "-o", lines.parent / "again.html")
    assert (done.exit_code, done.stderr) == (1, f"Error: {page}: it is no recording of a timeline\n")
    assert sys.getsizeof(page.read_text()) > 50_000


def test_a_page_does_not_take_the_place_of_its_recording(lines: Path) -> None:
    named_so = lines.rename(lines.with_suffix(".html"))
    before = named_so.read_bytes()
    done = invoke("view", named_so)
    assert (done.exit_code, "-o names another" in done.stderr) == (2, True)
    assert named_so.read_bytes() == before
