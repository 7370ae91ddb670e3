"""What README.md shows works as it is printed there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import tests.peers as peers
import trio_h2

README = Path(__file__).parent.parent / "README.md"
PORT = "8080"
"""The port of the examples; they are run on a free one."""


def blocks(language: str) -> list[str]:
    """The code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def lines_matching(pattern: str) -> list[str]:
    return [line for line in README.read_text().splitlines() if re.match(pattern, line)]


def test_one_line_sets_up_and_passes_the_tests() -> None:
    line = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[cli,test,fuzz]' && .venv/bin/python -m pytest"
    assert lines_matching("python3 -m venv .*-m pytest") == [line]
    assert f"{line}\n" in blocks("sh")


def test_one_line_sets_up_and_runs_the_demo() -> None:
    line = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[cli]' && .venv/bin/trio-h2 demo"
    assert lines_matching("python3 -m venv .* demo") == [line]
    assert f"{line}\n" in blocks("sh")


async def test_the_examples_work(tmp_path: Path) -> None:
    server, pool, client, _events = blocks("python")
    port = peers.free_port()
    for name, source in (("server.py", server), ("pool.py", pool), ("client.py", client)):
        assert PORT in source
        (tmp_path / name).write_text(source.replace(PORT, str(port)))
    argv = [sys.executable, "-W", "error", str(tmp_path / "server.py")]
    async with peers.run_server("the example", argv, port=port, scheme="http", log=tmp_path / "log") as example:
        done = await peers.run_program(sys.executable, "-W", "error", tmp_path / "pool.py")
        assert (done.text, done.errors) == ("200 text/plain b'hello\\n'\n", "")
        done = await peers.run_program(sys.executable, "-W", "error", tmp_path / "client.py")
        shown = re.sub(r"b'(one, |two|one, two)'\n", "", done.text)
        assert shown == "200 text/plain b'hello\\n'\n200\n"
        assert "two" in done.text
        assert done.errors == ""
        assert example.output() == f"http://localhost:{port}\n"


async def test_the_example_of_events_works(tmp_path: Path) -> None:
    """Its handler ends when its client does, and is told why."""
    port = peers.free_port()
    (tmp_path / "events.py").write_text(blocks("python")[3].replace(PORT, str(port)))
    argv = [sys.executable, "-W", "error", str(tmp_path / "events.py")]
    async with peers.run_server("the example", argv, port=port, scheme="http", log=tmp_path / "log") as example:
        async with trio_h2.connect(f"http://localhost:{port}") as connection:
            async with connection.stream("GET", "/") as stream:
                assert (await stream.response()).headers["content-type"] == "text/event-stream"
                body = b""
                while b"id: 1\n" not in body:
                    body += await stream.receive_some()
                assert body.startswith(b"id: 0\ndata: tick\n\n")
            for _ in range(2):  # what was sent before the first of them has had its effect when the second is answered
                await connection.ping()
        assert "with reason 'stream 1 was reset by the peer: CANCEL'" in example.output()


def test_the_overview_names_what_there_is() -> None:
    rows = "\n".join(lines_matching(r"\| .* \|$"))
    names = set(re.findall(r"`(\w+)(?:\([^`]*\))?`", rows))
    assert {"connect", "H2Server", "update_priority", "safe_to_retry"} <= names
    classes = [getattr(trio_h2, name) for name in trio_h2.__all__]
    for name in names - set(trio_h2.__all__):
        attribute = any(hasattr(each, name) or f"{name}:" in (each.__doc__ or "") for each in classes)
        assert attribute, f"README.md has {name}, trio_h2 does not"
