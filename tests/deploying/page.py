"""What docs/deploying.md shows, cut out of it, with no more changed than what a test has to."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests import peers

__all__ = ["APP_DIRECTORY", "command", "configuration", "replaced", "serve", "serving"]

PAGE = Path(__file__).parents[2] / "docs" / "deploying.md"
APP_DIRECTORY = Path(__file__).parent
"""Where the app of the page, `app:app`, is for the tests."""


def configuration(path: str, replacements: Mapping[str, str]) -> str:
    """The block that begins with a comment that names this file, with replacements."""
    blocks = re.findall(r"^```\w+\n(# .*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(f"# {path}\n")]
    return replaced(found, replacements)


def command(beginning: str) -> str:
    """The one line of a shell that begins so."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (found,) = [line for block in blocks for line in block.splitlines() if line.startswith(beginning)]
    return found


def replaced(text: str, replacements: Mapping[str, str]) -> str:
    """A text with what a test has in place of what stands there, which has to stand there."""
    for old, new in replacements.items():
        assert old in text, f"{old!r} is not in it"
        text = text.replace(old, new)
    return text


def serve(line: str, replacements: Mapping[str, str]) -> list[str]:
    """The arguments of a program for a line that is `trio-h2 serve ...`."""
    program, *arguments = shlex.split(replaced(line, replacements))
    assert program == "trio-h2"
    return [sys.executable, "-m", "trio_h2", *arguments]


@asynccontextmanager
async def serving(
    page_port: int, port: int, log: Path, replacements: Mapping[str, str] | None = None
) -> AsyncIterator[peers.Peer]:
    """Run the command of the page that has this port, on another one."""
    argv = serve(
        command(f"trio-h2 serve app:app --port {page_port}"), {str(page_port): str(port), **(replacements or {})}
    )
    async with peers.run_server(
        f"serve on {page_port}", argv, port=port, scheme="http", log=log, cwd=APP_DIRECTORY, may_end=True
    ) as server:
        yield server
