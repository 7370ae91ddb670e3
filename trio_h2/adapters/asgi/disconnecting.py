"""How an app learns that its client has gone, and when it is cancelled.

Theory of operation
===================

trio_h2 cancels a handler when its stream is reset or its connection lost. ASGI wants the app to be told first: its
`receive()` gives a disconnect, and its `send()` raises OSError. So the app runs in the handler's task in a scope that
is shielded from that, and a second task of the handler's, the watch, is what gets cancelled. It looks why:

    the client has gone, or is too slow: the app is told, and has a time of grace to end before its scope is cancelled;
    anything else, the server's end say: the app is cancelled at once.

An app whose response is complete has no client any more, and works on: trio_h2 does not cancel a handler for the loss
of a connection after its stream was over.

A promised response has no handler of its own that could be cancelled; there somebody has to look, now and then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

import trio_h2

from .request_stream import RequestStream

__all__ = ["AppRun", "ClientDisconnected", "Exchange", "client_error", "tells_nothing"]


LOOK = 1.0
"""Seconds between two looks at whether the client has refused a promised response."""


class ClientDisconnected(OSError):
    """What an app's `send()` raises when its client has gone; the error of trio_h2 that says how is its cause."""


class Exchange(Protocol):
    """What an app is called with, as its watch sees it."""

    @property
    def complete(self) -> bool:
        """Whether the app has sent all that it had to."""

    @property
    def gone(self) -> bool:
        """Whether the client has gone before that."""

    def client_gone(self) -> None:
        """The client has gone: tell the app."""


def client_error(error: trio_h2.H2Error) -> ClientDisconnected | None:
    """What the app gets for an error of its stream, or None if that is a mistake of its own."""
    over = isinstance(error, trio.BrokenResourceError | trio.ClosedResourceError)
    if not over or isinstance(error, trio_h2.StreamClosedError):
        return None
    return ClientDisconnected(str(error))


class AppRun:
    """One call of an app. Owner of every field: this object.

    Args:
        stream: the request's.
        exchange: what the app receives and sends through.
        grace: seconds from the client's going to the app's cancellation.
    """

    def __init__(self, stream: RequestStream, exchange: Exchange, grace: float) -> None:
        self._stream = stream
        self._exchange = exchange
        self._grace = grace
        self._scope = trio.CancelScope(shield=True)
        self._looking = trio.CancelScope()
        self._ended = trio.Event()

    async def run(
        self,
        nursery: trio.Nursery,
        call: Callable[[], Awaitable[None]],
        *,
        promised: bool = False,
        gone: trio.Event | None = None,
    ) -> BaseException | None:
        """Call the app, and return what it raised: a nursery would put that into a group.

        Args:
            nursery: of the handler; for the watch.
            call: calls the app.
            promised: Whether the stream is one that this side promised.
            gone: set when the client has gone, for a handler that is not cancelled for that.
        """
        nursery.start_soon(self._watch)
        if gone is not None:
            nursery.start_soon(self._watch_event, gone)
        if promised:
            nursery.start_soon(self._watch_promise)
        try:
            with self._scope:
                await call()
        except BaseException as error:
            return error
        finally:
            self._ended.set()
            self._looking.cancel()
        return None

    async def _watch(self) -> None:
        try:
            await self._ended.wait()
        except trio.Cancelled:  # the handler goes on with it when the app has ended
            if self._client_is_gone():
                self._tell()
            else:
                self._scope.cancel()

    async def _watch_event(self, gone: trio.Event) -> None:
        with self._looking:
            await gone.wait()
            self._tell()

    async def _watch_promise(self) -> None:
        with self._looking:
            while not self._client_is_gone():  # noqa: ASYNC110 - nothing says it
                await trio.sleep(LOOK)
            self._tell()

    def _tell(self) -> None:
        if not self._exchange.complete:
            self._exchange.client_gone()
            self._scope.deadline = trio.current_time() + self._grace

    def _client_is_gone(self) -> bool:
        """Whether the stream is over, and this side did not end it."""
        # A sending call raises that in its first step, or waits. It takes no second one, or it would get in the way of
        # what the app sends; and in this scope it does not see that its task is cancelled.
        call = self._stream.wait_send_all_might_not_block()
        try:
            with trio.CancelScope(shield=True):  # noqa: ASYNC100 - the call looks whether its task is cancelled
                call.send(None)
        except trio_h2.H2Error as error:
            return error.initiator != "local"
        except trio.BusyResourceError:  # what the app sends is on its way, so nothing has ended the stream
            return False
        finally:
            call.close()
        return False


def tells_nothing(error: BaseException) -> bool:
    """Whether an app's error says no more than that its client has gone; those of frameworks say so by their names.

    What it covers counts too, or an error of the app's would be lost where sending a 500 for it fails; and one that was
    raised from such an error is no other.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(map(tells_nothing, error.exceptions))
    cause = error.__cause__
    if not _says_gone(error):
        return cause is not None and tells_nothing(cause)
    if isinstance(error, ClientDisconnected) and cause is not None:
        return tells_nothing(cause)
    return error.__context__ is None or error.__suppress_context__ or tells_nothing(error.__context__)


def _says_gone(error: BaseException) -> bool:
    if isinstance(error, ClientDisconnected | trio_h2.H2Error | trio.Cancelled):
        return True
    if type(error).__name__ == "InternalServerException":  # Litestar's, for a request that did not come whole
        return getattr(error, "detail", None) == "client disconnected prematurely"
    return type(error).__name__ in ("ClientDisconnect", "WebSocketDisconnect")  # Starlette's
