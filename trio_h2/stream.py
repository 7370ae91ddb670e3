"""Stream: what users hold of a stream on either side.

It is a thin handle on a StreamActor: what the user gives is checked and turned into fields before anything is sent;
everything else the actor and the protocol do. `ServerStream` has a file of its own; `ClientStream` stands beside
`ClientConnection`, because each names the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

from . import events as ev
from .actors.stream_actor import StreamActor
from .connection import Connection, Incoming
from .exceptions import ErrorCodes, H2Error
from .headers import Headers, HeadersLike
from .requests import trailer_fields
from .wording import number

__all__ = ["Stream", "check_max_body"]

# Named here, because to make a union takes longer than to look in it.
OCTETS = (bytes, bytearray, memoryview)


class Stream(trio.abc.HalfCloseableStream):
    """What a client's and a server's stream share.

    It is a `trio.abc.HalfCloseableStream` and an async iterator of `bytes`. Errors are the ones of `trio_h2`, and
    also trio's: `trio.ClosedResourceError` when this side closed the stream, `trio.BrokenResourceError` when the
    peer or the network did, `trio.BusyResourceError` when two tasks do the same thing at once. A connection that ended
    by a broken rule raises the ProtocolError that says which, in place of ConnectionTerminatedError.
    """

    def __init__(self, actor: StreamActor, connection: Connection) -> None:
        self._actor = actor
        self._connection = connection

    def __repr__(self) -> str:
        state = self._actor.state
        text = "waiting for a slot" if state is None else f"{self.stream_id} {state.name}"
        return f"<{type(self).__name__} {text}>"

    @property
    def stream_id(self) -> int | None:
        """The stream's ID, or None while a client's stream waits for a slot (RFC 9113 section 5.1.1)."""
        return self._actor.stream_id

    @property
    def trailers(self) -> Headers | None:
        """The peer's trailer section; None until the body has been read to its end, or if there was none."""
        trailers = self._actor.inbox.trailers
        return None if trailers is None else trailers.headers

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """At most `max_bytes` octets of the body (None, the default: what is there), or b"" at its end.

        Reading is acknowledging: what is taken here is credit for the peer (RFC 9113 section 6.9). What came before a
        reset, or before the connection's end, is given first, then that is raised; in a handler, which a reset
        cancels, it can be read by a clean-up in a shielded scope.

        Raises:
            StreamResetError: the stream was reset; a body that ends early never looks complete.
            ConnectionTerminatedError: the connection ended first.
            ValueError, TypeError: `max_bytes` is not a positive int.
        """
        if max_bytes is not None:
            if isinstance(max_bytes, bool) or not isinstance(max_bytes, int):
                raise TypeError(f"max_bytes must be an int or None, not {type(max_bytes).__name__}")
            if max_bytes < 1:
                raise ValueError(f"max_bytes must be at least 1, not {number(max_bytes)}")
        self._ask_for_body()
        return await self._actor.inbox.receive_some(max_bytes)

    def receive_nowait(self) -> bytes:
        """The octets of the body that are here, or b"" at its end: `receive_some` without waiting, or a checkpoint.

        Raises: as `receive_some`, and trio.WouldBlock if there is nothing yet.
        """
        self._ask_for_body()
        return self._actor.inbox.receive_nowait()

    async def __anext__(self) -> bytes:
        """As `receive_some()`, until the body's end."""
        self._ask_for_body()
        data = await self._actor.inbox.receive_some(None)
        if not data:
            raise StopAsyncIteration
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send octets of the body; returns when all of them are cut into frames.

        It waits for the stream's window, the connection's window and the transport's pace, and for nothing else.
        Cancelled, the uncut rest is withdrawn, and what was cut is sent; if that is part of `data`, this side of the
        stream is broken, as with `trio.SSLStream`: later sends raise, and the stream ends with RST_STREAM. The body of
        a response to HEAD, and of 304, is taken and not sent (RFC 9110 section 6.4.1).

        Raises:
            StreamResetError, ConnectionTerminatedError: the stream or the connection ended.
            InvalidBodyLengthError: more than the content-length of the header section promised, or any octets after
                204; nothing is sent.
            StreamClosedError: this side was ended, or is broken; the latter is also a trio.BrokenResourceError.
            ProtocolError: the header section has not been sent.
            TypeError: `data` is not bytes-like.
        """
        if not isinstance(data, OCTETS):
            raise TypeError(f"data must be bytes-like, not {type(data).__name__}")
        await self._actor.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until `send_all` could send something at once. Raises as `send_all`."""
        await self._actor.wait_sendable()

    async def send_eof(self) -> None:
        """End this side of the stream with END_STREAM; a second time is no error.

        Raises:
            StreamClosedError: a cancelled call has sent part of its data; also a trio.BrokenResourceError.
            InvalidBodyLengthError: less was sent than the content-length promised; nothing is sent.
            StreamResetError, ConnectionTerminatedError: the stream or the connection ended.
        """
        await self._actor.send_eof()

    async def send_trailers(self, trailers: HeadersLike) -> None:
        """Send a trailer section, which ends this side of the stream (RFC 9113 section 8.1).

        Args:
            trailers: fields, as pairs or a mapping; no pseudo-header fields.

        Raises: as `send_eof`, and ValueError or TypeError for fields that HTTP/2 does not allow.
        """
        await self._actor.send_trailers(trailer_fields(trailers))

    async def aclose(self) -> None:
        """Be done with the stream.

        If it has not ended both ways, the peer is told with RST_STREAM(CANCEL); a CONNECT tunnel ends its half with
        END_STREAM instead, and waits in the background for the peer to end the other. Cancelled, it is reset. If the
        last sending call was cancelled, or is still waiting in another task, it is RST_STREAM(INTERNAL_ERROR).
        """
        self._actor.close(linger=True)
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            self._actor.close(linger=False)
            raise

    async def reset(self, error_code: ErrorCodes | int = ErrorCodes.CANCEL) -> None:
        """End the stream at once with RST_STREAM (RFC 9113 section 6.4); later calls raise.

        Args:
            error_code: what the peer is told (section 7); by default CANCEL.

        Raises:
            ValueError, TypeError: `error_code` is not a 32-bit code.
        """
        if isinstance(error_code, bool) or not isinstance(error_code, int):
            raise TypeError(f"error_code must be an int, not {type(error_code).__name__}")
        if not 0 <= error_code < 2**32:
            raise ValueError(f"error_code must be from 0 to 2**32-1, not {number(error_code)}")
        self._actor.reset(error_code)
        self._actor.close(linger=False)
        await trio.lowlevel.checkpoint()

    def events(self) -> AsyncIterator[ev.Event]:
        """The stream's events in order, until it ends: another way to consume it (not beside the receiving calls).

        Taking a DataReceived gives its credit to the peer. A reset is the last event; a lost connection raises.

        Raises:
            trio.BusyResourceError: the stream has another consumer already.
            ConnectionTerminatedError: the connection ended first.
        """
        return Incoming(self._next_event)

    async def _next_event(self) -> ev.Event | None:
        self._ask_for_body()
        return await self._actor.inbox.receive_event()

    @trio.lowlevel.enable_ki_protection
    async def _read_body(self, max_body: int | None) -> bytes:
        """The rest of the body. If it raises, what has been taken of it is there again."""
        inbox = self._actor.inbox
        left = self._actor.body_left
        announced = max_body is not None and left is not None and left > max_body and inbox.failure is None
        # Where there is something to wait for, the wait is the checkpoint.
        if announced or inbox.ended or inbox.failure is not None:
            await trio.lowlevel.checkpoint()
        if announced:
            raise self._too_large(f"the body has {left} octets to come by its content-length, max_body is {max_body}")
        self._ask_for_body()
        body: list[bytes | bytearray] = []
        whole = False
        try:
            whole = await inbox.receive_message(body, max_body)
        finally:
            if not whole:
                inbox.give_back(body)
        if not whole:
            raise self._too_large(f"the body has more than {max_body} octets, its max_body")
        return b"".join(body)

    def _too_large(self, reason: str) -> H2Error:
        """What `_read_body` raises where there is more than was allowed."""
        raise NotImplementedError

    def _ask_for_body(self) -> None:
        """What a first read has to do before it waits: on a client, nothing."""


def check_max_body(max_body: object) -> None:
    """Raise ValueError or TypeError if this is neither None nor a number of octets."""
    if max_body is None:
        return
    if isinstance(max_body, bool) or not isinstance(max_body, int):
        raise TypeError(f"max_body must be an int or None, not {type(max_body).__name__}")
    if max_body < 0:
        raise ValueError(f"max_body must not be negative: {number(max_body)}")
