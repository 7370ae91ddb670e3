"""The pictures can be taken; TRIO_H2_SCREENSHOTS=1 has them replace those in docs/images."""

from __future__ import annotations

import os
from pathlib import Path

from tests.timeline.pictures import IMAGES, take_demo, take_slow_reader

LARGEST = 250_000
"""Octets of a picture: they are in the repository."""


async def test_the_pictures_are_taken(tmp_path: Path) -> None:
    if os.environ.get("TRIO_H2_SCREENSHOTS"):
        await take_slow_reader(IMAGES, tmp_path)
        await take_demo(IMAGES, tmp_path)
    await take_slow_reader(tmp_path, tmp_path)
    for name in ("timeline", "timeline-client"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    for name in ("timeline", "timeline-client", "timeline-demo"):
        assert (IMAGES / f"{name}.png").stat().st_size < LARGEST
