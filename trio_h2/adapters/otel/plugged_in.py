"""`PluggedIn`: calls into what a program plugs into OpenTelemetry's SDK: samplers, span processors, propagators."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

__all__ = ["PluggedIn"]

logger = logging.getLogger("trio_h2")

T = TypeVar("T")


class PluggedIn:
    """Such a call may raise, and of what a peer has sent: that costs a span, or its parent, and not the whole trace.

    Only the first one is logged, or a peer could fill the log.
    """

    def __init__(self) -> None:
        self._told = False

    def call(self, function: Callable[[], T], otherwise: T) -> T:
        """What the function returns; something else if it raises."""
        try:
            return function()
        except Exception:
            if not self._told:
                self._told = True
                logger.exception(
                    "a plug-in of OpenTelemetry's SDK raised: a span, or its parent, is lost; this is said once"
                )
            return otherwise
