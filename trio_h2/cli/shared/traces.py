"""What `--trace FILE` does: a recording that is written when the command ends, whatever it ends by."""

from __future__ import annotations

from collections.abc import Callable

import trio_h2

from .saying import complain, reason

__all__ = ["WatchedTimeline", "save_trace"]


class WatchedTimeline(trio_h2.Timeline):
    """A Timeline, where somebody else is told of connections, too.

    Args:
        on_made: called with each connection that is made.
    """

    def __init__(self, on_made: Callable[[trio_h2.ClientConnection], None]) -> None:
        super().__init__()
        self._on_made = on_made

    def connection_made(self, connection: trio_h2.Connection) -> None:
        """As a Trace is told."""
        super().connection_made(connection)
        assert isinstance(connection, trio_h2.ClientConnection)
        self._on_made(connection)


def save_trace(timeline: trio_h2.Timeline, file: str) -> bool:
    """Write the recording; whether that was possible. What was wrong is said."""
    try:
        timeline.save(file)
    except OSError as error:
        complain(f"--trace {file}: {reason(error)}")
        return False
    return True
