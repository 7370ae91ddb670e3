"""What the suite's apps show: a page for browsers, and a file."""

from __future__ import annotations

from pathlib import Path

FILE = Path(__file__)
"""A file that there is wherever the tests are."""


def page(framework: str) -> str:
    """A page that fetches, listens to events and talks over a WebSocket, shows what came of it, and reports it."""
    return (FILE.parent / "page.html").read_text().replace("FRAMEWORK", framework)
