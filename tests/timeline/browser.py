"""Chromium without a window: what a page is when its program has run, and a picture of it."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path

from tests.peers import require_program, run_program

__all__ = ["Opened", "opened", "take_picture"]

HEADLESS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--virtual-time-budget=3000",
)


@dataclass(frozen=True)
class Opened:
    """A page that was opened.

    Attributes:
        dom: the document as HTML, after its program has run.
        seconds: how long that took, from the beginning of the navigation, as the page itself says.
    """

    dom: str
    seconds: float

    def sentences(self) -> list[str]:
        """What waited longest, in words."""
        [found] = re.findall(r'<ol id="waits">(.*?)</ol>', self.dom, re.DOTALL)
        return [_text(item) for item in re.findall(r"<li>(.*?)</li>", found, re.DOTALL)]

    def table(self) -> list[dict[str, str]]:
        """The rows of the table, by the names of its columns."""
        [found] = re.findall(r'<table id="table">(.*?)</table>', self.dom, re.DOTALL)
        rows = [
            re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", found, re.DOTALL)
        ]
        cells = [[html.unescape(re.sub(r"<[^>]*>|[ ↑↓]*$", "", cell)).rstrip(" ↑↓") for cell in row] for row in rows]
        return [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]


def _text(cell: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", cell)).rstrip(" ↑↓")


async def opened(page: Path, profile: Path) -> Opened:
    """Open a page, and let its program run. Fails if that has failed."""
    chromium = require_program("chromium", package="chromium")
    done = await run_program(chromium, *HEADLESS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri(), seconds=60)
    [attributes] = re.findall(r"<html([^>]*)>", done.text)
    assert "data-failed" not in attributes, attributes
    ready = re.search(r'data-ready="(\d+)"', attributes)
    assert ready is not None, done.errors
    return Opened(done.text, int(ready[1]) / 1000)


async def take_picture(page: Path, picture: Path, profile: Path, *, size: str, dark: bool = False) -> None:
    """A picture of a page, `size` as in `1200,800`."""
    chromium = require_program("chromium", package="chromium")
    options = (f"--screenshot={picture}", f"--window-size={size}", f"--user-data-dir={profile}")
    await run_program(chromium, *HEADLESS, *options, page.as_uri() + ("#dark" if dark else ""), seconds=60)
