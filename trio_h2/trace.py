"""`Trace`, which shows a user what connections do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from .exceptions import H2Error
from .headers import Headers, HeadersLike

__all__ = ["Switch", "Trace", "WaitReason", "checked_trace", "own_tracer", "switch_of"]

WaitReason = Literal["stream window", "connection window", "transport", "slot", "headers", "body"]


class Switch:
    """Whether a Trace is told no more, for any of its connections. Owner of the field: this object."""

    __slots__ = ("off",)

    def __init__(self) -> None:
        self.off = False

    def turn_off(self) -> None:
        """It has raised."""
        self.off = True


class Trace:
    """What connections do, as they do it: derive from it, in the manner of `trio.abc.Instrument`, and override.

    `connect(trace=)`, `connect_over(trace=)` and `serve_h2(trace=)` and its siblings take one; one may serve any number
    of connections. No method has to be overridden, and those that are not are not called.

    They are called within a step of the connection, in the task that makes it. So they should be quick, may look
    (`trio.current_time()`, `connection.statistics()`), and must use nothing that sends or closes. What one raises is
    logged once, on the logger `trio_h2`, and switches its trace off, for all its connections, which go on.

    What `connection_made` tells first and `connection_ended` last is the life of a connection; all else is in between.
    In it `stream_opened` and `stream_closed` come once each for every stream, and so do `wait_began` and `wait_ended`
    for every wait, also if the connection is lost.

    In all methods:
        connection: the ClientConnection or ServerConnection.
        stream_id: the stream's ID, or 0 where it is about the connection as a whole.
    """

    _switch: Switch | None = None

    def _own_switch(self) -> Switch:
        if self._switch is None:
            object.__setattr__(self, "_switch", Switch())  # also if the user's class is frozen
        assert self._switch is not None
        return self._switch

    def _tracer_for_connection(self, clock: Callable[[], float], *, client: bool) -> Any:
        """Who is told of one connection in its place; None for itself."""
        return None

    def connection_made(self, connection: Any) -> None:
        """HTTP/2 begins on a connection, after TLS's handshake. No frame of it has been sent or received."""

    def connection_ended(self, connection: Any, error: H2Error | None) -> None:
        """The connection has ended, and its transport is closed.

        Args:
            connection: which.
            error: why, as its calls raise it; None for a clean end: this side closed it, shut it down, cancelled it
                or found it idle, or the peer went, by a GOAWAY with NO_ERROR or without, and no stream was open.
        """

    def request_made(self, connection: Any, number: int, headers: Headers) -> HeadersLike | None:
        """A client is about to make a request. Called in the task that makes it, so its context variables are there.

        Args:
            connection: which.
            number: what the request goes by until its stream is opened: a negative number of its own.
            headers: its header section, as for `stream_opened`.

        Returns: fields to send with it, in place of those of the same names; None for none. They must not change what
            is requested: no pseudo-header fields, and content-length as it is.
        """
        return None

    def request_settled(self, connection: Any, number: int, stream_id: int | None, error: H2Error | None) -> None:
        """A request that `request_made` told of has its stream now, or will never have one. Once for each number.

        Args:
            connection: which.
            number: the request's number.
            stream_id: its stream's ID: `stream_opened` follows at once. None if nothing of it was sent.
            error: why it never has a stream; None if it has one, or if its caller was cancelled.
        """

    def stream_opened(self, connection: Any, stream_id: int, headers: Headers) -> None:
        """A request begins: its HEADERS were cut, or received and found good. A pushed one begins by its promise.

        Args:
            connection: which.
            stream_id: the stream's ID.
            headers: the request's header section, with its pseudo-header fields. What must not be shown is
                `NeverIndexed` or has a name that says so: `authorization`, `cookie`.
        """

    def handler_began(self, connection: Any, stream_id: int) -> None:
        """A server's handler is about to be called. Called in its task: it sees context variables that are set here.

        Not of a pushed stream, which has no handler of its own, nor of one that was over before its turn came.
        """

    def response_began(self, connection: Any, stream_id: int, status: int, headers: Headers) -> None:
        """A response's header section was cut, or received and found good.

        Args:
            connection: which.
            stream_id: the stream's ID.
            status: of an interim response, 100 to 199, which another one follows; or of the final one.
            headers: the header section, with `:status`.
        """

    def stream_closed(self, connection: Any, stream_id: int, error: H2Error | None) -> None:
        """A stream is over: both sides have ended it and its user is done with it, or it was cut short.

        Args:
            connection: which.
            stream_id: the stream's ID.
            error: None if both sides have ended it, or the response is complete, after which nobody needs the rest of
                a request (RFC 9113 section 8.1); else why it was cut short: a StreamResetError with the `error_code`
                and `initiator` of the RST_STREAM, or what the connection ended by.
        """

    def frame_received(self, connection: Any, type: int, flags: int, stream_id: int, length: int) -> None:
        """A frame has come, whatever is to be said of it: of an unknown type, on a stream that is not there.

        It is told before what it brings. A frame whose header breaks a rule is told, too, and is the last.

        Args:
            connection: which.
            type, flags: as in the frame's header (RFC 9113 section 4.1).
            stream_id: the stream's ID, or 0.
            length: octets of payload, without the nine of the header.
        """

    def frame_sent(self, connection: Any, type: int, flags: int, stream_id: int, length: int) -> None:
        """A frame was cut: it leaves next in this order, or is lost if the connection ends before.

        Args:
            connection, type, flags, stream_id, length: as for `frame_received`.
        """

    def wait_began(self, connection: Any, stream_id: int, reason: WaitReason) -> None:
        """A call of the user's waits on a stream. If what it waits for changes, one wait ends and another begins.

        Args:
            connection: which.
            stream_id: the stream's ID. A client's stream that waits for a slot has none yet: it goes by a negative
                number of its own, that of `request_made`. When that wait ends and the stream opens, `stream_opened`
                follows at once.
            reason: what its sender waits for, `"stream window"`, `"connection window"`, `"transport"` (the peer, or
                the network, takes no more now) or `"slot"` (the peer's limit of concurrent streams); or its reader,
                `"headers"` or `"body"`. A stream may have one wait of each kind.
        """

    def wait_ended(self, connection: Any, stream_id: int, reason: WaitReason) -> None:
        """A wait is over, because what it waited for came, or it was cancelled, or failed.

        Args:
            connection, stream_id, reason: as for `wait_began`.
        """

    def credit_given(self, connection: Any, stream_id: int, octets: int) -> None:
        """A WINDOW_UPDATE was cut: the peer may send so many octets more, on a stream or on all together (0)."""

    def credit_received(self, connection: Any, stream_id: int, octets: int) -> None:
        """A WINDOW_UPDATE came: we may send so many octets more, on a stream or on all together (0)."""

    def data_taken(self, connection: Any, stream_id: int, octets: int) -> None:
        """So many octets of DATA, padding included, were read by the user, or thrown away: they are credit again.

        What came on a stream and was not taken lies unread. Nothing is told of a stream that is not there any more.
        """

    def settings_in_force(self, connection: Any, initiator: Literal["local", "remote"], values: dict[int, int]) -> None:
        """Settings are in force from now on.

        Args:
            connection: which.
            initiator: whose they are: `"remote"` for the peer's, `"local"` for ours, which it has acknowledged.
            values: what its frame had, by code (RFC 9113 section 6.5.2).
        """

    def goaway_received(self, connection: Any, last_stream_id: int, error_code: int) -> None:
        """The peer takes no new streams. It is told after its frame.

        Args:
            connection: which.
            last_stream_id: the ID of the last of our streams that the peer will have looked at.
            error_code: why (RFC 9113 section 7).
        """

    def goaway_sent(self, connection: Any, last_stream_id: int, error_code: int) -> None:
        """A GOAWAY was cut: we take no new streams. It is told after its frame.

        Args:
            connection: which.
            last_stream_id: the ID of the last of the peer's streams that we look at.
            error_code: why (RFC 9113 section 7).
        """

    def round_trip(self, connection: Any, seconds: float) -> None:
        """A PING was answered after so many seconds, whether it was the user's, or one of the connection's own."""

    def window_grown(self, connection: Any, stream_id: int, target: int) -> None:
        """A receive window became larger, a stream's or the connection's (0): it has `target` octets from now on.

        Before, a stream has `Config.initial_window_size`, and the connection 65,535 octets (RFC 9113 section 6.9.2).
        """


def checked_trace(trace: Trace | None) -> Trace | None:
    """What a caller gave as `trace`. Raises TypeError."""
    if trace is not None and not isinstance(trace, Trace):
        raise TypeError(f"trace must be a Trace, not {type(trace).__name__}")
    return trace


def switch_of(trace: Trace) -> Switch:
    """Whether a trace is switched off; the same object each time."""
    return trace._own_switch()


def own_tracer(trace: Trace, clock: Callable[[], float], *, client: bool) -> Any:
    """The `Tracer` that a trace of ours brings for one connection; None if its own methods are to be called."""
    return trace._tracer_for_connection(clock, client=client)
