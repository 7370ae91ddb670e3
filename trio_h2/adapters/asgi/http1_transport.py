"""Http1Transport: a connection of HTTP/1.x, its octets and h11's events, with every wait bounded in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import h11
import trio

import trio_h2

__all__ = ["Http1Gone", "Http1Transport"]

HEAD_TIME = 30.0
"""Seconds that the head of a request may take from its first octet on."""

IDLE_TIME = 60.0
"""Seconds for which a connection waits for its next request."""

BODY_TIME = 60.0
"""Seconds without an octet of a body that an app waits for, or without 64 KiB of a response being taken."""

PIECE = 64 * 1024

LAST_READ = 1.0
"""Seconds without an octet for which a connection is read on after its last response, which a TCP reset would destroy
(RFC 9112 section 9.6)."""

LAST_UPLOAD = 10.0
"""Seconds for which it is read on at most, from a client that goes on sending."""


class Http1Gone(trio_h2.ConnectionTerminatedError, trio.BrokenResourceError):
    """The client has gone, was too slow, or broke a rule in the middle of a request."""


class Http1Transport:
    """Owner of every field: this object.

    Args:
        stream: as trio_h2 gives it to an `http1` handler.
        closing: says whether the server is going away, so that each response is the last.

    Attributes:
        transport: what carries it.
        tls: what TLS settled on, or None without it.
        peer_address, local_address: of the transport, or None.
        protocol: h11's state.
        broken: Whether part of what was to be sent may be on its way, and nothing can follow it.
        malformed: Whether the client broke a rule within a request's body.
    """

    def __init__(self, stream: trio_h2.ReplayedStream, closing: Callable[[], bool]) -> None:
        self._stream = stream
        self._closing = closing
        self.broken = self.malformed = False
        self._asking: trio.Event | None = None  # set when the client has been asked for the body
        self.protocol = h11.Connection(h11.SERVER)
        self.transport = stream.transport_stream
        self.tls = stream.tls
        self.peer_address = stream.peer_address
        self.local_address = stream.local_address

    @property
    def closing_fields(self) -> list[tuple[bytes, bytes]]:
        """What a response says of the connection's end."""
        return [(b"connection", b"close")] if self._closing() else []

    @property
    def request_is_open(self) -> bool:
        """Whether the request has not ended, or in no way that another one could follow."""
        return self.protocol.their_state in (h11.SEND_BODY, h11.ERROR)

    # Receiving

    async def next_head(self) -> h11.Request | None:
        """The head of the next request; None if there is none in time. Raises h11.RemoteProtocolError."""
        event = self.protocol.next_event()
        with self._stream.idle(), trio.move_on_after(IDLE_TIME) as scope:
            while event is h11.NEED_DATA:
                begun = bool(self.protocol.trailing_data[0])
                self.protocol.receive_data(await self._read())
                if not begun:
                    scope.deadline = trio.current_time() + HEAD_TIME
                event = self.protocol.next_event()
            return event if isinstance(event, h11.Request) else None
        return None

    def look(self) -> Any:
        """What is there of the request's body: a Data, its end, or None."""
        if self.protocol.their_state is not h11.SEND_BODY or self.protocol.they_are_waiting_for_100_continue:
            return None
        event = self.protocol.next_event()
        return event if isinstance(event, h11.Data | h11.EndOfMessage) else None

    def drop_body(self) -> None:
        """Drop what is there of the request's body."""
        try:
            while self.look() is not None:
                pass
        except h11.RemoteProtocolError:  # the connection ends with this
            pass

    async def next_event(self) -> Any:
        """The next part of the body, or its end. Asks for it first, if the client waits for that. Raises Http1Gone."""
        with self._failing(BODY_TIME):
            event = self.protocol.next_event()
            while event is h11.NEED_DATA:
                if self.protocol.they_are_waiting_for_100_continue and self.protocol.our_state is h11.SEND_RESPONSE:
                    await self._ask_for_body()
                self.protocol.receive_data(await self._read())
                event = self.protocol.next_event()
            if isinstance(event, h11.Data | h11.EndOfMessage):
                return event
        raise Http1Gone("the client has gone", initiator="remote")

    async def _ask_for_body(self) -> None:
        """A task of the app's that answers at the same time waits for this: it knows nothing of it."""
        self._check()
        octets = self.protocol.send(h11.InformationalResponse(status_code=100, headers=[])) or b""
        self._asking = trio.Event()
        try:
            await self.send_raw(octets)
        finally:
            self._asking.set()
            self._asking = None

    async def read_ahead(self) -> bool:
        """Wait for something of the next request. Whether it came, and not the client's end."""
        try:
            data = await self._read()
        except trio.BrokenResourceError:
            return False
        self.protocol.receive_data(data)
        return bool(data)

    async def receive_raw(self) -> bytes:
        """What comes after a switch of protocols. Raises Http1Gone."""
        try:
            return await self._read()
        except trio.BrokenResourceError as error:
            raise _gone(error) from error

    async def _read(self) -> bytes:
        return bytes(await self._stream.receive_some())

    # Sending

    async def send(self, *events: h11.Event) -> None:
        """Send events. Raises Http1Gone, and h11.LocalProtocolError for what they may not be."""
        if self._asking is not None:
            await self._asking.wait()
        self._check()
        octets = [self.protocol.send(event) or b"" for event in events]
        await self.send_raw(b"".join(octets))

    async def send_raw(self, octets: bytes) -> None:
        """Send octets. Raises Http1Gone."""
        self._check()
        if not octets:
            await trio.lowlevel.checkpoint()
        self.broken = True
        for start in range(0, len(octets), PIECE):
            with trio.CancelScope(deadline=trio.current_time() + BODY_TIME) as scope:
                try:
                    await self._stream.send_all(octets[start : start + PIECE])
                except trio.BrokenResourceError as error:
                    raise _gone(error) from error
            if scope.cancelled_caught:
                raise Http1Gone("the client does not take what is sent", initiator="remote")
        self.broken = False

    async def send_end(self) -> None:
        """End this side, if the transport can do that. Raises Http1Gone; with TLS in any case, which ends both ways."""
        with self._failing(BODY_TIME):
            if isinstance(self.transport, trio.SSLStream):
                below, _ = await self.transport.unwrap()
                await below.aclose()  # which TLS has given up
                raise trio.BrokenResourceError("the client has ended, too")
            if isinstance(self.transport, trio.abc.HalfCloseableStream):
                await self.transport.send_eof()

    def _check(self) -> None:
        if self.broken:
            raise RuntimeError("a send that was cancelled, or another task's, has part of its octets on the way")

    @contextmanager
    def _failing(self, seconds: float) -> Iterator[None]:
        """What goes wrong with the client, or lasts longer than this, is Http1Gone."""
        try:
            with trio.fail_after(seconds):
                yield
        except (trio.BrokenResourceError, trio.TooSlowError, h11.RemoteProtocolError) as error:
            if isinstance(error, Http1Gone):
                raise
            self.malformed = isinstance(error, h11.RemoteProtocolError)
            raise _gone(error) from error

    async def close_gently(self) -> None:
        """End this side, and read on to the client's end for a moment; longer while it sends, an upload say."""
        try:
            if isinstance(self.transport, trio.abc.HalfCloseableStream):
                await self.transport.send_eof()
            latest = trio.current_time() + LAST_UPLOAD
            with trio.move_on_after(LAST_READ) as scope:
                while await self._read():
                    scope.deadline = min(trio.current_time() + LAST_READ, latest)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


def _gone(error: Exception) -> Http1Gone:
    return Http1Gone(str(error) or type(error).__name__, initiator="remote")
