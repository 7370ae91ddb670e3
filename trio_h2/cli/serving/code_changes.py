"""When the code has changed, for `--reload`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

__all__ = ["watch_code"]

logger = logging.getLogger("trio_h2.serving")

NAMED = 3
"""Files that are named when they have changed."""


async def watch_code(directory: str, on_change: Callable[[], object]) -> None:
    """Call `on_change` whenever files of Python below a directory have changed; those of one moment are one change."""
    from watchfiles import PythonFilter, awatch

    async for changes in awatch(directory, watch_filter=PythonFilter()):
        logger.info("%s changed: loading the app again", _named({path for _, path in changes}, directory))
        on_change()


def _named(changed: set[str], directory: str) -> str:
    paths = sorted(os.path.relpath(path, directory) for path in changed)
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(paths[:NAMED]) + more
