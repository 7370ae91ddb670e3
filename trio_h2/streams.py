"""What the user holds of a stream: `Stream`, which both sides' are, and `ServerStream`.

Each is a thin handle on a StreamActor: what the user gives is checked and turned into fields before anything is sent;
everything else the actor and the protocol do. `ClientStream` stands beside `ClientConnection`: each names the other.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable

import trio

from . import events as ev
from .actors.departure import Departure
from .actors.stream_actor import StreamActor
from .connection import Connection, Incoming, ServerConnection, checked_grace
from .exceptions import ErrorCodes, H2Error, RequestTooLargeError
from .headers import Headers, HeadersLike, trusted_headers
from .protocol.priority import DEFAULT_PRIORITY
from .protocol.response_rules import WITHOUT_CONTENT
from .requests import (
    Request,
    method_text,
    repeated_response_fields,
    request_fields,
    split_request,
    trailer_fields,
)
from .wording import number, quoted

__all__ = ["ServerStream", "Stream", "check_max_body"]

MAX_REQUEST_BODY = 2**20
"""What a server's `read()` holds in memory by default, in octets."""


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
        data = await self.receive_some()
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
        if not isinstance(data, bytes | bytearray | memoryview):
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


class ServerStream(Stream):
    """A request to answer, as a handler gets it.

    The first read asks a client that sent `Expect: 100-continue` for its body.

    Attributes:
        request: what the client asked for.
    """

    _connection: ServerConnection

    def __init__(self, actor: StreamActor, connection: ServerConnection, request: Request) -> None:
        super().__init__(actor, connection)
        self.request = request
        self._read = False

    @property
    def connection(self) -> ServerConnection:
        """The connection it is a stream of: its addresses, TLS, PING and statistics."""
        return self._connection

    @property
    def status(self) -> int | None:
        """The status of the final response, once its header section is on its way; None before.

        It stays when the handler has returned, and then is also that of the answer that the library made for it: 500
        where the handler raised or did not respond.
        """
        return self._actor.status

    @property
    def closed(self) -> bool:
        """Whether the stream has ended (RFC 9113 section 5.1): request and response are complete, or it was reset."""
        return self._actor.closed

    def on_disconnect(self, callback: Callable[[H2Error], object], *, grace: float = math.inf) -> None:
        """Be told when the client goes, in place of being cancelled at once.

        When the client resets the stream, the connection is lost, or this library ends either for what the client did,
        `callback(error)` is called, once, with what the stream's calls raise from then on; the handler is cancelled
        `grace` seconds later. The server's own end, or that of a shutdown's grace, cancels it at once as ever. A stream
        that both sides have ended, or that was closed here, has no client that could go.

        If the client has gone already the callback is called before this returns, and the handler is cancelled at its
        next checkpoint all the same. The stream of a promised response has no handler that could be cancelled: who
        sends on it has this to be told by, and `grace` is of no account.

        Args:
            callback: a function of one error. It is called in a task of the connection's, so it must neither wait nor
                take long: it sets an event, say. What it raises is logged as if the handler had raised it, which is
                then cancelled at once. The last one that was given counts; when the handler has returned, none does.
            grace: seconds; by default inf (`math.inf`), so that the handler has to end by itself.

        Raises:
            TypeError, ValueError: `callback` cannot be called; `grace` is not a number of seconds.
        """
        if not callable(callback):
            raise TypeError(f"callback must be a function of one error, not {type(callback).__name__}")
        self._actor.on_disconnect(Departure(callback, checked_grace(grace)))

    @property
    def can_push(self) -> bool:
        """Whether `push` can promise a response now (RFC 9113 section 8.4).

        False where the client does not take pushes, or allows none at once; after its GOAWAY; on a pushed stream and
        in a tunnel; once this stream is closed or its response is complete.
        """
        return self._actor.can_push

    def _ask_for_body(self) -> None:
        """RFC 9110 section 10.1.1: a 100, unless the response has begun or the body is coming anyway."""
        if self._read:
            return
        self._read = True
        if "100-continue" in self.request.headers.get("expect", "").lower():
            self._actor.send_continue()

    async def read(self, *, max_body: int | None = MAX_REQUEST_BODY) -> bytes:
        """The rest of the body, whole: what `receive_some` has not given yet; b"" if there is no more. See `trailers`.

        Reading is acknowledging, so the client goes on sending; the whole body is held in memory. What it raises, also
        Cancelled, loses nothing: `receive_some`, or another `read`, begins where this one did.

        Args:
            max_body: the most there may be of it, in octets; None for no limit. 1 MiB by default.

        Raises:
            RequestTooLargeError: there is more than `max_body`. A content-length that says so raises at once, and the
                client is not asked for the body (RFC 9110 section 10.1.1). The request can still be answered; a
                handler that lets this error out answers with 413 (section 15.5.14), or resets the stream if its
                response has begun, and is one line at INFO in the log.
            StreamResetError, ConnectionTerminatedError: the stream or the connection ended before the body did.
            trio.BusyResourceError: another task is receiving from this stream, or `events()` is in use.
            ValueError, TypeError: `max_body` is not None or an int of at least 0.
        """
        check_max_body(max_body)
        return await self._read_body(max_body)

    def _too_large(self, reason: str) -> RequestTooLargeError:
        return RequestTooLargeError(reason, stream_id=self.stream_id)

    async def send_informational(self, status: int, headers: HeadersLike = ()) -> None:
        """Send an interim response (RFC 9113 section 8.1).

        Args:
            status: 100 to 199, but not 101.
            headers: fields, as pairs or a mapping; no pseudo-header fields. By default none.

        Raises:
            ValueError, TypeError: the status is not interim, or a field is not allowed; nothing is sent.
            ProtocolError: the final response has begun.
            StreamResetError, ConnectionTerminatedError: the stream or the connection ended.
        """
        _status(status, 100, 199)
        fields, head = repeated_response_fields(status, headers, None, self.request.method == "CONNECT")
        await self._actor.send_response(fields, head, end_stream=False)

    async def send_response(self, status: int, headers: HeadersLike = (), *, end_stream: bool = False) -> None:
        """Send the final response's header section; the body follows with `send_all` and its like.

        Args:
            status: 200 to 599.
            headers: fields, as pairs or a mapping; no pseudo-header fields. By default none.
            end_stream: True when there is no body; False by default.

        Raises:
            ValueError, TypeError: the status or a field is not allowed; nothing is sent.
            ProtocolError: the final response has begun already.
            InvalidBodyLengthError: `end_stream`, and a content-length that promises a body.
            StreamResetError, ConnectionTerminatedError: the stream or the connection ended.
        """
        _status(status, 200, 599)
        fields, head = repeated_response_fields(status, headers, None, self.request.method == "CONNECT")
        await self._actor.send_response(fields, head, end_stream=end_stream)

    @trio.lowlevel.enable_ki_protection
    async def respond(
        self,
        status: int,
        headers: HeadersLike = (),
        body: bytes | bytearray | memoryview = b"",
        *,
        trailers: HeadersLike | None = None,
    ) -> None:
        """Send a whole response: header section, body, trailers if there are any, and END_STREAM.

        A content-length is added where the fields have none and the status allows one (RFC 9110 section 8.6). The
        body of a response to HEAD, and of 304, is not sent, nor are its trailers, nor those of a 204.

        Args:
            status: 200 to 599.
            headers: fields, as pairs or a mapping; no pseudo-header fields. By default none.
            body: octets; by default none.
            trailers: a trailer section, as for `send_trailers`. By default none.

        Raises: as `send_response` and `send_all`, and ValueError for a body with 204.
        """
        _status(status, 200, 599)
        if not isinstance(body, bytes | bytearray | memoryview):
            raise TypeError(f"body must be bytes-like, not {type(body).__name__}")
        length = memoryview(body).nbytes
        if status == 204 and length:
            raise ValueError(f"body: a 204 response has none (RFC 9110 section 15.3.5), not {length} bytes")
        bodiless = self.request.method == "HEAD" or status in WITHOUT_CONTENT
        to_connect = self.request.method == "CONNECT"
        add_length = status not in WITHOUT_CONTENT and not to_connect
        fields, head = repeated_response_fields(status, headers, length if add_length else None, to_connect)
        if head.content_length not in (None, length) and not bodiless:
            raise ValueError(f"headers: content-length is not that of the body, which has {length} octets")
        actor = self._actor
        trailing = None if trailers is None else trailer_fields(trailers)
        if type(body) is bytes and await actor.send_whole_response(fields, head, body, trailing):
            return
        alone = bodiless or status in WITHOUT_CONTENT or not (length or trailing)
        await actor.send_final(fields, head, body, None if alone else trailing, end_stream=alone)

    @trio.lowlevel.enable_ki_protection
    async def push(
        self,
        target: str,
        *,
        method: str | bytes = "GET",
        headers: HeadersLike = (),
        authority: str | None = None,
    ) -> ServerStream:
        """Promise a response that the client did not ask for, and get the stream to send it on (section 8.4).

        The promised stream lives until its response is complete; close it to take the promise back.

        Args:
            target: path and query of the promised request.
            method: GET, the default, or HEAD.
            headers: the promised request's fields, as pairs or a mapping; by default none.
            authority: by default that of this stream's request.

        Raises:
            ValueError, TypeError: the request is not one that can be pushed; nothing is sent.
            ProtocolError: `can_push` is False, because the client does not take pushes, say. While its
                SETTINGS_MAX_CONCURRENT_STREAMS is merely reached, the pushed response waits for its turn.
            StreamResetError, ConnectionTerminatedError: the stream or the connection ended.
        """
        method = method_text(method)
        if method not in ("GET", "HEAD"):
            why = "only safe requests are pushed (RFC 9113 section 8.4)"
            raise ValueError(f"method must be GET or HEAD, not {quoted(method)}: {why}")
        fields, head = request_fields(
            method,
            target,
            scheme=self.request.scheme or "https",
            authority=authority or self.request.authority or "",
            headers=headers,
        )
        actor = self._actor
        await actor.ready_to_send()
        pushed = self._connection._actor.start_pushed_stream(actor.promise(fields, head))
        return ServerStream(pushed, self._connection, split_request(trusted_headers(fields), DEFAULT_PRIORITY))


def check_max_body(max_body: object) -> None:
    """Raise ValueError or TypeError if this is neither None nor a number of octets."""
    if max_body is None:
        return
    if isinstance(max_body, bool) or not isinstance(max_body, int):
        raise TypeError(f"max_body must be an int or None, not {type(max_body).__name__}")
    if max_body < 0:
        raise ValueError(f"max_body must not be negative: {number(max_body)}")


_OTHERS = {1: ": an interim response is sent by send_informational()"} | dict.fromkeys(
    range(2, 6), ": the final response is sent by respond() or send_response()"
)


def _status(status: object, low: int, high: int) -> None:
    if isinstance(status, bool) or not isinstance(status, int):
        raise TypeError(f"status must be an int, not {type(status).__name__}")
    if status == 101:
        raise ValueError("status 101: HTTP/2 does not have it (RFC 9113 section 8.6)")
    if not low <= status <= high:
        other = _OTHERS.get(status // 100, "")
        raise ValueError(f"status must be from {low} to {high}, not {number(status)}{other}")
