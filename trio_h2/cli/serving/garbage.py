"""How often Python looks for garbage in a process that serves.

Its collector looks for circles whenever some hundred objects have come and not gone: with a hundred requests at once
that is several times for each of them, and every few rounds it looks through all that there is. It finds nothing of
trio_h2's, which makes no circles, and took a quarter of the time of a small request. What an app makes is still found,
after so many more objects.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["rare_collection"]

OBJECTS = 50_000
"""How many have to come and not go until the collector looks through the new ones."""

_DEFAULT = gc.get_threshold()  # before an app was imported, which may have a wish of its own


@contextmanager
def rare_collection() -> Iterator[None]:
    """Look seldom while the block lasts, and never at what is there now; an app that has set thresholds keeps them."""
    before = gc.get_threshold()
    if before != _DEFAULT:
        yield
        return
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
