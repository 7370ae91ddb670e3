"""What README.md shows works as it is printed there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import tests.peers as peers

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
    server, client = blocks("python")
    port = peers.free_port()
    for name, source in (("server.py", server), ("client.py", client)):
        assert PORT in source
        (tmp_path / name).write_text(source.replace(PORT, str(port)))
    argv = [sys.executable, "-W", "error", str(tmp_path / "server.py")]
    async with peers.run_server("the example", argv, port=port, scheme="http", log=tmp_path / "log") as example:
        done = await peers.run_program(sys.executable, "-W", "error", tmp_path / "client.py")
        assert (done.text, done.errors) == ("200 text/plain b'hello\\n'\n", "")
        assert example.output() == f"http://localhost:{port}\n"
