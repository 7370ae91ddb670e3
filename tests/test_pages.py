"""Pages that are followed word by word: their files are written, their commands run, and print what the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import peers

DOCS = Path(__file__).parent.parent / "docs"
EXAMPLES = DOCS / "examples"
PAGES = {
    "command-line": 9,
    "tutorial": 17,
    "cancellation": 1,
    "grpc": 1,
    "streaming": 2,
    "timeline": 4,
    "tls": 2,
    "tunnels": 1,
    "websocket": 1,
    "windows": 1,
}
"""How many commands each has."""
SERVE = "python server.py"


class Terminal:
    """Runs commands in a directory; the server runs on until it is started anew."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        self.environment.pop("PYTEST_ADDOPTS", None)  # which are for these tests, and not for those of a page
        self._server: subprocess.Popen[str] | None = None

    def run(self, command: str, lines: int) -> str:
        """What the command printed; of the server, its first lines, so many."""
        if command == SERVE:
            return self._serve(lines)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _serve(self, lines: int) -> str:
        self.stop()
        with (self.directory / "server.log").open("a") as log:
            argv = [sys.executable, *SERVE.split()[1:]]
            self._server = subprocess.Popen(argv, cwd=self.directory, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self._server.stdout is not None
        return "".join(self._server.stdout.readline() for _ in range(lines))

    def stop(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.communicate()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.stop()


def without_seconds(text: str) -> str:
    return re.sub(r"in \d+\.\d+s\n", "in some time\n", text)


def python_blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", PAGES)
def test_each_command_prints_what_the_page_says(name: str, terminal: Terminal) -> None:
    peers.require_program("curl", package="curl")
    page = (DOCS / f"{name}.md").read_text()
    for port in ("8080", "8443"):
        page = page.replace(port, str(peers.free_port()))
    for example in re.findall(r"\]\(examples/(\w+\.py)\)", page):  # what it speaks of is at hand
        shutil.copy(EXAMPLES / example, terminal.directory)
    commands = 0
    for language, block in re.findall(r"^```(python|console)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        if language == "python":
            if file := re.match(r"# (\w+\.py)\b", block):
                (terminal.directory / file[1]).write_text(block)
                if (example := EXAMPLES / file[1]).exists():
                    assert block == example.read_text()
        else:
            for command, printed in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
                commands += 1
                shown = terminal.run(command, printed.count("\n"))
                assert without_seconds(shown) == without_seconds(printed), command
    assert commands == PAGES[name]


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_what_looks_like_python_is_python(page: Path) -> None:
    for block in python_blocks(page.read_text()):
        compile(block, page.name, "exec", flags=PyCF_ALLOW_TOP_LEVEL_AWAIT)
