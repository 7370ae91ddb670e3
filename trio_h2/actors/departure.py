"""Departure: what a handler wants to happen when its client goes, in place of being cancelled at once."""

from __future__ import annotations

from collections.abc import Callable

import trio

from ..exceptions import H2Error

__all__ = ["Departure"]


class Departure:
    """Owner of every field: this object.

    Args:
        callback: told once, of the first failure; it must not wait.
        grace: seconds from then to the handler's cancellation.
    """

    __slots__ = ("_callback", "_grace", "_told")

    def __init__(self, callback: Callable[[H2Error], object], grace: float) -> None:
        self._callback = callback
        self._grace = grace
        self._told = False

    def begin(self, failure: H2Error, handler: trio.CancelScope) -> None:
        """The client has gone; its connection may still be lost after its stream. Raises what the callback does."""
        if self._told:
            return
        self._told = True
        handler.deadline = trio.current_time() + self._grace
        self._callback(failure)
