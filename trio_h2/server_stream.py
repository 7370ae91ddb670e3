"""ServerStream: the request that a handler answers."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from .actors.departure import Departure
from .actors.stream_actor import StreamActor
from .connection import ServerConnection, checked_grace, start_pushed
from .exceptions import H2Error, RequestTooLargeError
from .headers import HeadersLike, trusted_headers
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
from .stream import Stream, check_max_body
from .wording import number, quoted

__all__ = ["ServerStream"]

MAX_REQUEST_BODY = 2**20
"""What a server's `read()` holds in memory by default, in octets."""


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
        if type(body) is bytes:  # to make a union takes longer than to look in it
            length = len(body)
        elif isinstance(body, bytes | bytearray | memoryview):
            length = memoryview(body).nbytes
        else:
            raise TypeError(f"body must be bytes-like, not {type(body).__name__}")
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
        if type(body) is bytes:
            await trio.lowlevel.checkpoint_if_cancelled()
            if actor.cut_whole_response(fields, head, body, trailing):
                await trio.lowlevel.cancel_shielded_checkpoint()
                actor.whole_response_sent()
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
        pushed = start_pushed(self._connection, actor.promise(fields, head))
        return ServerStream(pushed, self._connection, split_request(trusted_headers(fields), DEFAULT_PRIORITY))


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
