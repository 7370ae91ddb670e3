"""The pictures in docs/timeline.md: `python -m tests.timeline.pictures` takes them anew."""

from __future__ import annotations

import tempfile
from io import StringIO
from pathlib import Path

import trio
from rich.console import Console

import trio_h2
from tests.timeline.browser import take_picture
from tests.timeline.slow_reader import recorded
from trio_h2.cli.showing.demo import Demo

__all__ = ["take_demo", "take_slow_reader"]

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
FIRST_END, LAST_END = 1.5, 5.0
"""Seconds, as `trio-h2 demo` has them."""


async def take_slow_reader(directory: Path, work: Path) -> None:
    """One slow reader among twenty, as its server saw it, and in the dark its client."""
    client, server, _ = await trio.to_thread.run_sync(recorded)
    for timeline, name, dark in ((server, "timeline", False), (client, "timeline-client", True)):
        page = work / f"{name}.html"
        timeline.save(page)
        await take_picture(page, directory / f"{name}.png", work / f"profile-{name}", size="1280,1290", dark=dark)


async def take_demo(directory: Path, work: Path) -> None:
    """Both ends of `trio-h2 demo`."""
    timeline = trio_h2.Timeline()
    assert await Demo(FIRST_END, LAST_END, timeline).run(Console(file=StringIO())) == []
    page = work / "demo.html"
    timeline.save(page)
    await take_picture(page, directory / "timeline-demo.png", work / "profile-demo", size="1200,1150")


async def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        await take_slow_reader(IMAGES, Path(work))
        await take_demo(IMAGES, Path(work))


if __name__ == "__main__":
    trio.run(main)
