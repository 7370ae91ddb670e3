"""Requests of HTTP/1.x, one after the other, on one connection."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import h11
import trio

import trio_h2

from .http1_stream import Http1Stream
from .http1_transport import Http1Gone, Http1Transport
from .mending import current_date

__all__ = ["Http1Connection"]

logger = logging.getLogger("trio_h2")


class Http1Connection:
    """Owner of every field: this object.

    Args:
        stream: as trio_h2 gives it to an `http1` handler.
        handle: answers a request.
        closing: set when the server is going away.
    """

    def __init__(
        self, stream: trio_h2.ReplayedStream, handle: Callable[[Http1Stream], Awaitable[None]], closing: trio.Event
    ) -> None:
        self._handle = handle
        self._closing = closing
        self._transport = Http1Transport(stream, closing.is_set)
        self._idle = trio.CancelScope()

    async def run(self) -> None:
        """Answer requests until the client has gone, or is too slow, or the server is going away."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_waiting)
            try:
                while await self._answer_next():
                    pass
                await self._transport.close_gently()
            except Http1Gone:
                pass
            nursery.cancel_scope.cancel()

    async def _stop_waiting(self) -> None:
        await self._closing.wait()
        if not self._transport.protocol.trailing_data[0]:  # else a request has begun
            self._idle.cancel()

    async def _answer_next(self) -> bool:
        """Answer a request. Whether another one may follow."""
        protocol = self._transport.protocol
        head: h11.Request | None = None
        try:
            with trio.CancelScope() as self._idle:
                if self._closing.is_set() and not protocol.trailing_data[0]:
                    return False
                head = await self._transport.next_head()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
            return False
        except trio.BrokenResourceError as error:
            raise Http1Gone(str(error)) from error
        if head is None:
            return False
        names = {name for name, _ in head.headers}
        if {b"content-length", b"transfer-encoding"} <= names:  # RFC 9112 section 6.3: it may be smuggling
            await self._refuse(400)
            return False
        try:
            stream = Http1Stream(self._transport, head)
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
            return False
        if head.method == b"CONNECT":  # no app can be asked for a tunnel, and what follows was meant for it
            await self._refuse(501)
            return False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.watch)
            # In a task of its own: what an app sets in its context is not there for the next request.
            nursery.start_soon(self._see_to, stream, nursery.cancel_scope)
        if self._transport.malformed and stream.status is None:
            await self._refuse(400)
        stream.drop_the_rest()
        done = protocol.our_state is h11.DONE and protocol.their_state is h11.DONE
        if not done or self._transport.broken or stream.gone:
            return False
        protocol.start_next_cycle()
        return True

    async def _see_to(self, stream: Http1Stream, request: trio.CancelScope) -> None:
        """Call the handler, and end the request; an error of it ends the response."""
        try:
            with stream.scope:
                await self._handle(stream)
        except Exception as error:
            path = (stream.request.path or "").partition("?")[0]
            logger.error("the app raised for %s %r", self._method(stream), path, exc_info=error)
            if stream.status is None and not stream.gone:
                try:
                    await self._refuse(500)
                except Http1Gone:
                    pass
        request.cancel()

    @staticmethod
    def _method(stream: Http1Stream) -> str:
        return "the WebSocket" if stream.request.protocol is not None else stream.request.method

    async def _refuse(self, status: int) -> None:
        """Answer without the app, and close."""
        if self._transport.protocol.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not self._transport.broken:
            fields = [(b"date", current_date()), (b"content-length", b"0"), (b"connection", b"close")]
            response = h11.Response(status_code=status, headers=fields)
            await self._transport.send(response, h11.EndOfMessage())
