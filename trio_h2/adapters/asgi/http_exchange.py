"""HttpExchange: one request and its response, as an ASGI app receives and sends them."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar
from urllib.parse import quote

import trio

import trio_h2

from .app_messages import (
    checked_fields,
    checked_flag,
    checked_links,
    checked_octets,
    checked_path,
    checked_status,
    checked_target,
    message_type,
)
from .asgi_types import Message
from .disconnecting import ClientDisconnected, client_error
from .file_body import open_body
from .mending import mended_fields
from .request_stream import RequestStream

__all__ = ["HttpExchange"]


class Part(enum.Enum):
    """What the app has to send next."""

    START = "http.response.start"
    BODY = "http.response.body"
    TRAILERS = "http.response.trailers"
    NOTHING = "nothing"


class HttpExchange:
    """Owner of every field: this object.

    The response's head is sent with its first body message, as ASGI has it: until then it can become a 500.

    Args:
        stream: the request's.
        server: the value of Server where the app sends none, or None.
        start_push: what answers a request that the app promises; None where the client takes no promises.
        promised: as the attribute.

    Attributes:
        complete: whether the whole response has been sent.
        promised: whether this side promised the request: it has no body.
        gone: whether the client has gone before the response was complete.
    """

    def __init__(
        self,
        stream: RequestStream,
        server: bytes | None,
        start_push: Callable[[trio_h2.ServerStream], None] | None = None,
        *,
        promised: bool = False,
    ) -> None:
        self.complete = False
        self.gone = False
        self.promised = promised
        self._stream = stream
        self._server = server
        self._start_push = start_push
        self._next = Part.START
        self._request_ended = False
        self._waiting: trio.Event | None = None
        self._told = False
        self._status = 0
        self._fields: list[tuple[bytes, bytes]] = []
        self._has_trailers = False
        self._trailers: list[tuple[bytes, bytes]] = []

    @property
    def missing(self) -> str:
        """What an app that has returned did not send."""
        return self._next.value

    def client_gone(self, error: trio_h2.H2Error | None = None) -> None:
        """The client has gone: what waits in `receive` returns. Not if the app had sent all."""
        if not self.complete:
            self.gone = True
            self._wake()

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.set()

    # What the app calls

    async def receive(self) -> Message:
        """The next chunk of the request's body; taking it is credit for the client. After the last, the disconnect.

        The first disconnect comes without a checkpoint: Starlette looks for it in a scope that is cancelled.
        """
        if self.gone or self.complete:
            return await self._disconnect()
        if not self._request_ended:
            try:
                chunk = b"" if self.promised else await self._stream.receive_some()
            except trio_h2.H2Error:
                self.client_gone()
                return await self._disconnect()
            self._request_ended = not chunk
            return {"type": "http.request", "body": chunk, "more_body": bool(chunk)}
        if self._waiting is None:
            self._waiting = trio.Event()
        await self._waiting.wait()
        return await self._disconnect()

    async def _disconnect(self) -> Message:
        if self._told:
            await trio.lowlevel.checkpoint()
        self._told = True
        return {"type": "http.disconnect"}

    async def send(self, message: Message, kind: str | None = None) -> None:
        """Send a part of the response. Raises ClientDisconnected, or what is wrong with the message.

        A WebSocket that is denied says which `kind` of part the message is; its type has a prefix.
        """
        if kind is None:
            kind = message_type(message)
        if self.complete:
            await trio.lowlevel.checkpoint()
            return
        if self.gone:
            raise ClientDisconnected("the client has gone")
        if kind == "http.response.start":
            self._start(message)
            return
        take = self._takes.get(kind)
        if take is None:
            raise ValueError(f"the app sent {kind!r}, which is no message of a response")
        try:
            await take(self, message)
        except trio_h2.H2Error as error:
            disconnected = client_error(error)
            if disconnected is None:
                raise
            self.client_gone()
            raise disconnected from error

    # What each message does

    def _start(self, message: Message) -> None:
        if self._next is not Part.START:
            raise self._misplaced(message)
        self._status = checked_status(message)
        self._fields = mended_fields(self._status, checked_fields(message), self._server)
        self._has_trailers = "trailers" in message and checked_flag(message, "trailers")
        self._next = Part.BODY

    async def _body(self, message: Message) -> None:
        if self._next is not Part.BODY:
            raise self._misplaced(message)
        body = checked_octets(message, "body")
        if self._status == 204:
            body = b""
        stream = self._stream
        more = "more_body" in message and checked_flag(message, "more_body")
        if stream.status is None:
            if not more and not self._has_trailers:
                await self._respond(body)
                return
            await stream.send_response(self._status, self._fields)
        if len(body):
            await stream.send_all(body)
        if not more:
            await self._end_body()

    async def _respond(self, body: bytes | bytearray | memoryview) -> None:
        """Send the whole response at once."""
        if len(body) or self._stream.request.method != "HEAD":
            await self._stream.respond(self._status, self._fields, body)
        else:  # whose content-length would be that of GET's body (RFC 9110 section 8.6)
            await self._stream.send_response(self._status, self._fields, end_stream=True)
        await self._end()

    async def _end_body(self) -> None:
        if self._has_trailers:
            self._next = Part.TRAILERS
        else:
            await self._stream.send_eof()
            await self._end()

    async def _end(self) -> None:
        """The response is complete. An unread request is given up now, and not when the app's background tasks end."""
        self._next = Part.NOTHING
        self.complete = True
        self._wake()
        if not self._stream.closed:
            await self._stream.aclose()

    async def _pathsend(self, message: Message) -> None:
        if self._next is not Part.BODY:
            raise self._misplaced(message)
        path = checked_path(message)
        stream = self._stream
        if stream.status is not None:
            raise RuntimeError("http.response.pathsend: the body has begun already")
        async with open_body(path) as body:  # before the response begins: a missing file is a 500
            await stream.send_response(self._status, self._fields)
            if stream.request.method != "HEAD" and self._status not in (204, 304):
                async for chunk in body:
                    await stream.send_all(chunk)
        await self._end_body()

    async def _more_trailers(self, message: Message) -> None:
        if self._next is not Part.TRAILERS:
            raise self._misplaced(message)
        self._trailers += checked_fields(message)
        if checked_flag(message, "more_trailers"):
            await trio.lowlevel.checkpoint()
            return
        request = self._stream.request
        asked = "trailers" in ",".join(request.headers.get_all("te")).lower()
        if self._trailers and asked and request.method != "HEAD":
            await self._stream.send_trailers(self._trailers)
        else:
            await self._stream.send_eof()
        await self._end()

    async def _early_hint(self, message: Message) -> None:
        fields = checked_links(message)
        if fields and self._stream.status is None:
            await self._stream.send_informational(103, fields)
        else:
            await trio.lowlevel.checkpoint()

    async def _push(self, message: Message) -> None:
        target = quote(checked_target(message), safe="/?:@!$&'()*+,;=~%[]")
        fields = checked_fields(message)
        if self._start_push is None or not isinstance(self._stream, trio_h2.ServerStream):
            return
        try:
            pushed = await self._stream.push(target, headers=fields)
        except trio_h2.ProtocolError as error:
            if client_error(error) is not None:
                raise
            return  # the client takes no pushes
        self._start_push(pushed)

    def _misplaced(self, message: Message) -> RuntimeError:
        return RuntimeError(f"the app sent {message['type']!r} where {self._next.value!r} is next")

    _takes: ClassVar[dict[str, Callable[[HttpExchange, Any], Awaitable[None]]]] = {
        "http.response.body": _body,
        "http.response.pathsend": _pathsend,
        "http.response.trailers": _more_trailers,
        "http.response.early_hint": _early_hint,
        "http.response.push": _push,
    }
