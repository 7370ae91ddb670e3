"""`Outgoing`: a request that is checked and ready; how it is sent on a connection, and how its response is read."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Callable
from functools import partial

import trio

from .actors.connection_actor import ConnectionActor
from .actors.inbox import Inbox
from .actors.pump import Pump
from .actors.stream_actor import StreamActor
from .bodies import Body, chunks_of, makes_body, reads_pieces
from .exceptions import H2Error, ProtocolError, ResponseTooLargeError
from .headers import HeadersLike, trusted_headers
from .protocol.field_rules import Fields
from .protocol.priority import Priority
from .protocol.request_rules import RequestHead
from .requests import (
    Response,
    fields_with,
    method_text,
    plain_pairs,
    remember,
    repeated_request_fields,
    request_fields,
    split_response,
    trailer_fields,
)
from .tracer import Tracer
from .wording import quoted

__all__ = ["Outgoing", "exchange", "open_stream", "streamed_request", "whole_request"]

_WITHOUT_BODY = ("GET", "HEAD", "DELETE", "OPTIONS")


class Outgoing:
    """A request that may be sent, on any connection to its origin. Nothing of it changes.

    Attributes:
        fields, head: its header section, checked.
        end_stream: Whether the header section is all of it.
        body: what is pumped after it; None if nothing is, and its user sends what there is.
        trailers: what is sent after the body, or None.
    """

    __slots__ = ("body", "end_stream", "fields", "head", "trailers")

    def __init__(
        self,
        fields: Fields,
        head: RequestHead,
        *,
        end_stream: bool,
        body: Body | None = None,
        trailers: Fields | None = None,
    ) -> None:
        self.fields = fields
        self.head = head
        self.end_stream = end_stream
        self.body = body
        self.trailers = trailers

    def pump(self, write_timeout: float = math.inf) -> Pump | None:
        """What sends the body and the trailers, once; None where there is nothing to send or the user sends."""
        if self.body is None:
            return None
        expects = any(value.lower() == b"100-continue" for name, value in self.fields if name == b"expect")
        body = self.body
        if not isinstance(body, bytes | bytearray | memoryview):
            body = partial(chunks_of, body)
        return Pump(body, self.trailers, expect_continue=expects, write_timeout=write_timeout)

    def repeatable(self, pump: Pump | None) -> bool:
        """Whether it can be sent again from its beginning, after the pump that had it.

        Where its user sends the body, nobody knows what it was.
        """
        if pump is None:
            return self.end_stream
        body = self.body
        return not pump.begun or isinstance(body, bytes | bytearray | memoryview) or makes_body(body)


_remembered: dict[tuple[object, ...], Outgoing] = {}


def _repeated(make: Callable[..., Outgoing], headers: HeadersLike, *arguments: object) -> Outgoing:
    """What `make` gives for these; the last ones are remembered, as by `repeated_request_fields`, and shared."""
    plain = plain_pairs(headers)
    if plain is None:
        return make(headers, *arguments)
    key = make, plain, arguments
    try:
        known = _remembered.get(key)
    except TypeError:  # something in there cannot be hashed: say what, in the words of the slow path
        return make(headers, *arguments)
    if known is None:
        known = make(headers, *arguments)
        remember(_remembered, key, known, known.fields)
    return known


def whole_request(
    method: str | bytes,
    target: str,
    scheme: str,
    authority: str,
    headers: HeadersLike,
    body: Body | None,
    trailers: HeadersLike | None,
    priority: Priority | None,
) -> Outgoing:
    """A request with all that is to be sent of it. Raises ValueError or TypeError, naming the argument."""
    if body is None and trailers is None:
        return _repeated(_without_body, headers, method, target, scheme, authority, priority)
    method = _method_of_whole(method)
    length = None
    if isinstance(body, bytes | bytearray | memoryview):
        length = memoryview(body).nbytes
    elif not (body is None or isinstance(body, AsyncIterable) or reads_pieces(body) or makes_body(body)):
        raise TypeError(f"body must be bytes-like or an async iterable, not {type(body).__name__}")
    trailing = None if trailers is None else trailer_fields(trailers)
    fields, head = repeated_request_fields(method, target, scheme, authority, headers, None, priority, length)
    if body is None:
        _check_no_length(head)
        body = b""
    return Outgoing(fields, head, end_stream=False, body=body, trailers=trailing)


def _without_body(
    headers: HeadersLike, method: str | bytes, target: str, scheme: str, authority: str, priority: Priority | None
) -> Outgoing:
    fields, head = request_fields(_method_of_whole(method), target, scheme, authority, headers, None, priority)
    _check_no_length(head)
    return Outgoing(fields, head, end_stream=True)


def _method_of_whole(method: str | bytes) -> str:
    method = method_text(method)
    if method == "CONNECT":
        raise ValueError("method: CONNECT makes a tunnel, for which there is stream()")
    return method


def _check_no_length(head: RequestHead) -> None:
    if head.content_length:
        raise ValueError("headers: content-length promises a body, and there is none")


def streamed_request(
    method: str | bytes,
    target: str,
    scheme: str,
    authority: str | None,
    headers: HeadersLike,
    end_stream: bool | None,
    protocol: str | None,
    priority: Priority | None,
    default_authority: str,
) -> Outgoing:
    """A request whose body, if it has one, its user sends. Raises ValueError or TypeError, naming the argument."""
    return _repeated(
        _streamed, headers, method, target, scheme, authority, end_stream, protocol, priority, default_authority
    )


def _streamed(
    headers: HeadersLike,
    method: str | bytes,
    target: str,
    scheme: str,
    authority: str | None,
    end_stream: bool | None,
    protocol: str | None,
    priority: Priority | None,
    default_authority: str,
) -> Outgoing:
    method = method_text(method)
    if protocol is not None and method != "CONNECT":
        raise ValueError(f"protocol: only a CONNECT request has one (RFC 8441), not {quoted(method)}")
    if authority is None:
        authority = default_authority
    elif method == "CONNECT" and protocol is None:
        raise ValueError("authority: for CONNECT it is the target")
    fields, head = request_fields(method, target, scheme, authority, headers, protocol, priority)
    if end_stream is None:
        end_stream = method in _WITHOUT_BODY
    elif end_stream and head.is_tunnel:
        raise ValueError("end_stream: a CONNECT tunnel starts open both ways")
    if end_stream and head.content_length:
        raise ValueError("headers: content-length promises a body, and end_stream says that none follows")
    return Outgoing(fields, head, end_stream=end_stream)


async def open_stream(connection: ConnectionActor, outgoing: Outgoing, pump: Pump | None = None) -> StreamActor:
    """Open a stream, at once if there is a slot: a checkpoint only if it has to wait for one."""
    if outgoing.head.protocol is not None:
        connection.ending.check_usable()
        await connection.life.settings_received.wait()
        connection.ending.check_usable()
        if not connection.machine.remote_settings.enable_connect_protocol:
            raise ProtocolError(
                "the peer does not know extended CONNECT (RFC 8441)",
                initiator="local",
            )
    actor = _started(connection, outgoing, pump)
    if actor.stream is None:
        await _opened(actor, pump)
    return actor


def _started(connection: ConnectionActor, outgoing: Outgoing, pump: Pump | None) -> StreamActor:
    """The actor of a request's stream, which is open if there is a slot for it."""
    actor = StreamActor(connection.context)
    tracer = connection.context.tracer
    fields = outgoing.fields
    if tracer is not None:
        connection.ending.check_usable()
        fields = _traced(tracer, actor, outgoing)
    actor.prepare(fields, outgoing.head, end_stream=outgoing.end_stream, pump=pump)
    connection.start_client_stream(actor)
    return actor


async def _opened(actor: StreamActor, pump: Pump | None) -> None:
    """Wait for the slot; who is cancelled meanwhile has sent nothing."""
    try:
        await actor.wait_open()
    except BaseException:
        actor.close(linger=False)
        actor.tell_settled()
        if pump is not None:
            await pump.left()
        raise


def _traced(tracer: Tracer, actor: StreamActor, outgoing: Outgoing) -> Fields:
    """The fields of a request that is about to be made, with those that a trace wants to be sent."""
    read = partial(fields_with, outgoing.fields, outgoing.head)
    fields = tracer.request_made(actor, trusted_headers(outgoing.fields), read)
    return outgoing.fields if fields is None else fields


async def exchange(
    connection: ConnectionActor, outgoing: Outgoing, pump: Pump | None, max_body: int | None
) -> Response:
    """Send a whole request, and return the whole response."""
    # The stream opens before the first wait: a call that is cancelled already must not send the request.
    await trio.lowlevel.checkpoint_if_cancelled()
    actor = _started(connection, outgoing, pump)  # not by `open_stream`: an await less, and no tunnel comes here
    if actor.stream is None:
        await _opened(actor, pump)
    body: list[bytes | bytearray] = []
    try:
        if not await actor.inbox.receive_message(body, max_body):
            reason = f"the response has more than {max_body} octets, its max_body"
            raise ResponseTooLargeError(reason, stream_id=actor.stream_id)
        response = _received(actor.inbox, body)
        assert response is not None
        return response
    except H2Error as error:
        error.add_response(_received(actor.inbox, body))
        raise
    finally:
        actor.close(linger=False)
        if pump is not None:
            await pump.left()
            pump.raise_error()


def _received(inbox: Inbox, body: list[bytes | bytearray]) -> Response | None:
    """The response, whole or as far as it came; None if its header section did not."""
    if inbox.head is None:
        return None
    trailers = None if inbox.trailers is None else inbox.trailers.headers
    return split_response(inbox.head.headers, b"".join(body), trailers)
