"""How long to wait before a worker that died is replaced."""

from __future__ import annotations

__all__ = ["Backoff"]

LIVED = 5.0
"""Seconds after which a worker's death is no sign that the next one will die, too."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds before a worker is tried again; they double from the one to the other."""


class Backoff:
    """Counts the deaths of one place's workers that came too soon. Owner of every field: this object."""

    def __init__(self) -> None:
        self._next = 0.0

    def pause(self, lived: float | None) -> float:
        """Seconds to wait after a death, of a worker that served for so long; None if it could not start.

        One that has served is replaced at once, unless the one before it has died as soon.
        """
        if lived is not None and lived >= LIVED:
            self._next = 0
            return 0
        pause = FIRST_PAUSE if lived is None and not self._next else self._next
        self._next = min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
        return pause
