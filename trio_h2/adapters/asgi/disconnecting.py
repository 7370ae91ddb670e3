"""How an app learns that its client has gone, and when it is cancelled.

Theory of operation
===================

trio_h2 cancels a handler when its stream is reset or its connection lost, unless the handler asks to be told instead.
ASGI wants that: the app's `receive()` gives a disconnect, its `send()` raises OSError, and the app has a time of grace
to end before it is cancelled. What else ends it, the server's end say, cancels it at once.

A request's app runs in its handler's task, and in the handler's scope: `ServerStream.on_disconnect` is all it takes. A
WebSocket's handler has more to do when the app is cancelled, and a promised response has no handler: their apps have a
scope of their own, whose deadline is set when the client goes.

An app whose response is complete has no client any more, and works on: its stream is over, so nothing is told.
"""

from __future__ import annotations

from typing import Protocol

import trio

import trio_h2

from .request_stream import RequestStream

__all__ = ["ClientDisconnected", "Exchange", "client_error", "scope_of_app", "tells_nothing"]


OF_FRAMEWORKS = ("ClientDisconnect", "ClientDisconnectedError", "WebSocketDisconnect")
"""What Starlette, Quart, and Starlette and Litestar with WebSockets, raise where the client has gone."""


class ClientDisconnected(OSError):
    """What an app's `send()` raises when its client has gone; the error of trio_h2 that says how is its cause."""


class Exchange(Protocol):
    """What an app is called with."""

    @property
    def complete(self) -> bool:
        """Whether the app has sent all that it had to."""

    def client_gone(self) -> None:
        """The client has gone: tell the app."""


def client_error(error: trio_h2.H2Error) -> ClientDisconnected | None:
    """What the app gets for an error of its stream, or None if that is a mistake of its own."""
    over = isinstance(error, trio.BrokenResourceError | trio.ClosedResourceError)
    if not over or isinstance(error, trio_h2.StreamClosedError):
        return None
    return ClientDisconnected(str(error))


def scope_of_app(stream: RequestStream, exchange: Exchange, grace: float) -> trio.CancelScope:
    """A scope for the call of an app, which is told when its client has gone and cancelled after the grace."""
    scope = trio.CancelScope()

    def gone(error: trio_h2.H2Error) -> None:
        if not exchange.complete:
            exchange.client_gone()
            scope.deadline = trio.current_time() + grace

    stream.on_disconnect(gone)
    return scope


def tells_nothing(error: BaseException) -> bool:
    """Whether an app's error says no more than that its client has gone; those of frameworks say so by their names.

    What it covers counts too, or an error of the app's would be lost where sending a 500 for it fails; and one that was
    raised from such an error is no other.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(map(tells_nothing, error.exceptions))
    if isinstance(error, trio.Cancelled):  # its scope takes it, whatever it covers
        return True
    cause = error.__cause__
    if not _says_gone(error):
        return cause is not None and tells_nothing(cause)
    if isinstance(error, ClientDisconnected) and cause is not None:
        return tells_nothing(cause)
    return error.__context__ is None or error.__suppress_context__ or tells_nothing(error.__context__)


def _says_gone(error: BaseException) -> bool:
    if isinstance(error, ClientDisconnected | trio_h2.H2Error):
        return True
    if type(error).__name__ == "InternalServerException":  # Litestar's, for a request that did not come whole
        return getattr(error, "detail", None) == "client disconnected prematurely"
    return type(error).__name__ in OF_FRAMEWORKS
