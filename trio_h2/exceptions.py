"""Every error trio_h2 raises, by hyper-h2's names.

An error says three things beside its message: `scope` (does it end one stream or the whole connection),
`initiator` (did we, the peer, or this library's own checks end it) and `safe_to_retry` (is it certain that the
peer did not process the request, and may a new connection do better). No module below the actors knows trio; what a
waiting caller catches is also one of trio's errors, made so in `trio_h2.actors.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from .codes import ErrorCodes

if TYPE_CHECKING:
    from .events import Event

__all__ = [
    "ALPNError",
    "ConnectError",
    "ConnectionTerminatedError",
    "DenialOfServiceError",
    "ErrorCodes",
    "FlowControlError",
    "FrameDataMissingError",
    "FrameTooLargeError",
    "H2Error",
    "HandshakeError",
    "Initiator",
    "InternalError",
    "InvalidBodyLengthError",
    "InvalidSettingsValueError",
    "NoAvailableStreamIDError",
    "NoSuchStreamError",
    "ProtocolError",
    "ProxyError",
    "RFC1122Error",
    "RequestPhase",
    "RequestTimeoutError",
    "RequestTooLargeError",
    "ResponseTooLargeError",
    "Scope",
    "StreamClosedError",
    "StreamIDTooLowError",
    "StreamResetError",
    "TooManyStreamsError",
    "UnsupportedFrameError",
]

Scope = Literal["stream", "connection"]
Initiator = Literal["local", "remote", "library"]
RequestPhase = Literal["acquire", "connect", "read", "write"]


class H2Error(Exception):
    """The root of everything trio_h2 raises about HTTP/2.

    Attributes:
        error_code: what went, or would go, into RST_STREAM or GOAWAY (RFC 9113 section 7).
        scope: `"stream"` or `"connection"`: how much it ended.
        initiator: `"local"` (your own call), `"remote"` (the peer's) or `"library"` (our checks of the peer).
        safe_to_retry: True when the peer certainly did not process the request (RFC 9113 section 8.7), and a new
            connection may do better. False where it would meet the same: a refused certificate, no HTTP/2.
        stream_id: the stream it is about, or None.
        response: when `request()` raises it, what had come of the response, as a Response whose body may be cut
            short; None if its status had not, and from every other call.
        attempts: when a pool raises it, how often that tried the request; 1 from every other call.
    """

    error_code: ErrorCodes | int = ErrorCodes.INTERNAL_ERROR
    scope: Scope = "connection"
    initiator: Initiator = "library"
    safe_to_retry: bool = False
    stream_id: int | None = None
    response: Any = None  # a Response or None; nothing down here knows that class
    attempts: int = 1

    def __init__(
        self,
        *args: Any,
        error_code: ErrorCodes | int | None = None,
        scope: Scope | None = None,
        initiator: Initiator | None = None,
        safe_to_retry: bool | None = None,
        stream_id: int | None = None,
    ) -> None:
        super().__init__(*args)
        if error_code is not None:
            self.error_code = error_code
        if scope is not None:
            self.scope = scope
        if initiator is not None:
            self.initiator = initiator
        if safe_to_retry is not None:
            self.safe_to_retry = safe_to_retry
        if stream_id is not None:
            self.stream_id = stream_id

    def add_response(self, response: Any) -> None:
        """Note what had come of the response, as `response`."""
        self.response = response

    def add_attempts(self, attempts: int) -> None:
        """Note how often a pool tried, as `attempts`, and where it is printed if that was more than once."""
        self.attempts = attempts
        if attempts > 1:
            self.add_note(f"it was tried {attempts} times")


class InternalError(H2Error):
    """A bug in trio_h2 itself ended the connection; the cause is attached."""


class HandshakeError(H2Error):
    """TLS failed, or the peer did not select `h2` by ALPN (RFC 9113 section 3.2). Nothing was sent.

    It is safe to retry if the transport broke; not if one side refused the other, by its certificate or by an alert.
    """

    error_code = ErrorCodes.CONNECT_ERROR
    initiator = "remote"
    safe_to_retry = True


class ALPNError(HandshakeError):
    """TLS is up, and the server does not speak HTTP/2 by it: it selected another protocol by ALPN, or none.

    Not safe to retry: it is the same the next time. Nothing of a request was sent, so another client may make it.

    Attributes:
        selected: what the server selected, `"http/1.1"` say; None if nothing.
    """

    safe_to_retry = False

    def __init__(self, *args: Any, selected: str | None = None, **details: Any) -> None:
        super().__init__(*args, **details)
        self.selected = selected


class ConnectError(H2Error):
    """A pool could open no connection; `__cause__` says why, an OSError mostly. Nothing of the request was sent."""

    error_code = ErrorCodes.CONNECT_ERROR
    initiator: Initiator = "remote"
    safe_to_retry = True


class ProxyError(ConnectError):
    """The proxy opens no tunnel to the origin. Safe to retry if its status says that it may do so later.

    Attributes:
        status: what it answered to CONNECT, 407 say; None if that was no answer.
    """

    safe_to_retry = False

    def __init__(self, *args: Any, status: int | None = None, **details: Any) -> None:
        super().__init__(*args, **details)
        self.status = status


class RequestTimeoutError(H2Error):
    """A pool, or one of the `Timeouts` of a request, did not wait any longer. Also a trio.TooSlowError.

    Attributes:
        phase: what it waited for: `"acquire"` (its turn: all streams that the origin allows were in use), `"connect"`
            (a new connection), `"write"` (the server, to take more of the body) or `"read"` (the response's headers).
    """

    error_code = ErrorCodes.CANCEL
    scope: Scope = "stream"
    initiator: Initiator = "local"

    def __init__(self, *args: Any, phase: RequestPhase = "read", **details: Any) -> None:
        details.setdefault("safe_to_retry", phase in ("acquire", "connect"))
        super().__init__(*args, **details)
        self.phase = phase


class ProtocolError(H2Error):
    """A rule of the protocol was broken, by the peer or by the caller.

    Attributes:
        events: what `H2Connection.receive_data` learned from the same bytes before the rule was broken.
    """

    error_code = ErrorCodes.PROTOCOL_ERROR
    events: Sequence[Event] = ()

    def __init__(self, *args: Any, events: Sequence[Event] | None = None, **details: Any) -> None:
        super().__init__(*args, **details)
        if events is not None:
            self.events = events


class FrameTooLargeError(ProtocolError):
    """A frame longer than SETTINGS_MAX_FRAME_SIZE allows (RFC 9113 section 4.2)."""

    error_code = ErrorCodes.FRAME_SIZE_ERROR


class FrameDataMissingError(ProtocolError):
    """A frame of the wrong length for its type (RFC 9113 section 4.2)."""

    error_code = ErrorCodes.FRAME_SIZE_ERROR


class TooManyStreamsError(ProtocolError):
    """More concurrent streams than SETTINGS_MAX_CONCURRENT_STREAMS allows (RFC 9113 section 5.1.2)."""


class FlowControlError(ProtocolError):
    """More bytes, or more credit, than a flow-control window allows (RFC 9113 section 6.9)."""

    error_code = ErrorCodes.FLOW_CONTROL_ERROR


class StreamIDTooLowError(ProtocolError, ValueError):
    """A new stream's ID is not above those already used (RFC 9113 section 5.1.1).

    Attributes:
        max_stream_id: the highest ID that was used.
    """

    def __init__(self, stream_id: int, max_stream_id: int, **details: Any) -> None:
        super().__init__(stream_id, max_stream_id, stream_id=stream_id, **details)
        self.max_stream_id = max_stream_id

    def __str__(self) -> str:
        return f"stream ID {self.stream_id} is not above {self.max_stream_id}, the highest one used"


class NoAvailableStreamIDError(ProtocolError):
    """All 2**30 stream IDs of this side are used up (RFC 9113 section 5.1.1)."""

    safe_to_retry = True


class NoSuchStreamError(ProtocolError):
    """There is no stream of this ID."""

    scope: Scope = "stream"

    def __init__(self, stream_id: int, *args: Any, **details: Any) -> None:
        super().__init__(*(args or (stream_id,)), stream_id=stream_id, **details)

    def __str__(self) -> str:
        return str(self.args[0]) if isinstance(self.args[0], str) else f"no stream {self.stream_id}"


class StreamClosedError(NoSuchStreamError):
    """The stream is closed, at least in the direction that was asked for (RFC 9113 section 5.1)."""

    error_code = ErrorCodes.STREAM_CLOSED

    def __str__(self) -> str:
        return str(self.args[0]) if isinstance(self.args[0], str) else f"stream {self.stream_id} is closed"


class InvalidSettingsValueError(ProtocolError, ValueError):
    """A setting's value, ours or the peer's, is outside what RFC 9113 section 6.5.2 allows."""

    def __init__(self, msg: str, error_code: ErrorCodes | int, **details: Any) -> None:
        super().__init__(msg, error_code=error_code, **details)


class InvalidBodyLengthError(ProtocolError, ValueError):
    """A body is longer or shorter than its content-length (RFC 9113 section 8.1.1).

    Attributes:
        expected_length: octets that the content-length says.
        actual_length: octets that there are, so far as it has been read or was sent.
    """

    scope: Scope = "stream"

    def __init__(self, expected: int, actual: int, **details: Any) -> None:
        super().__init__(expected, actual, **details)
        self.expected_length = expected
        self.actual_length = actual

    def __str__(self) -> str:
        return f"content-length says {self.expected_length} bytes, the body has {self.actual_length}"


class UnsupportedFrameError(ProtocolError):
    """A frame that this side may never receive, or that the peer does not support."""


class RFC1122Error(H2Error):
    """What RFC 9113 leaves possible and nobody should do: a server that prioritizes, say (section 5.3)."""

    error_code = ErrorCodes.PROTOCOL_ERROR
    initiator: Initiator = "local"


class DenialOfServiceError(ProtocolError):
    """The peer asked for more work than any honest peer would (RFC 9113 section 10.5)."""

    error_code = ErrorCodes.ENHANCE_YOUR_CALM


class StreamResetError(H2Error):
    """A stream ended early: by RST_STREAM from either side, or by a rule the peer broke on it."""

    error_code = ErrorCodes.CANCEL
    scope: Scope = "stream"


class RequestTooLargeError(H2Error):
    """A request's body is larger than the handler's `read()` allowed; a handler that raises it answers with 413."""

    error_code = ErrorCodes.CANCEL
    scope: Scope = "stream"
    initiator: Initiator = "local"


class ResponseTooLargeError(H2Error):
    """A response's body is larger than the caller of `request()` or `read()` allowed."""

    error_code = ErrorCodes.CANCEL
    scope: Scope = "stream"
    initiator: Initiator = "local"


class ConnectionTerminatedError(H2Error):
    """The connection ended under a caller: GOAWAY, a lost transport, or our own close.

    When it was a rule that the peer broke, calls raise the ProtocolError that says which, in place of this.

    Attributes:
        last_stream_id: GOAWAY's last stream ID, or None when there was no GOAWAY.
        additional_data: GOAWAY's debug data (RFC 9113 section 6.8), unchecked bytes from the peer.
    """

    error_code = ErrorCodes.NO_ERROR

    def __init__(
        self, *args: Any, last_stream_id: int | None = None, additional_data: bytes = b"", **details: Any
    ) -> None:
        super().__init__(*args, **details)
        self.last_stream_id = last_stream_id
        self.additional_data = additional_data
