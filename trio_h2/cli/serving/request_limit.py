"""An ASGI app that says when it has had enough requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .app_loading import App

__all__ = ["limited"]


def limited(app: App, most: int, on_reached: Callable[[], object]) -> App:
    """An app that does what `app` does, and calls `on_reached` once, when the request of this number comes.

    Requests and WebSockets count. It goes on, also beyond that.
    """
    served = 0

    async def limited_app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal served
        if scope["type"] != "lifespan":
            served += 1
            if served == most:
                on_reached()
        await app(scope, receive, send)

    return limited_app
