"""What the protocol core thinks of a received frame when it is not simply fine.

Inside `protocol/` a failure is a value that is returned, so that a rule can be read and tested without a raise;
it becomes an exception once, at the boundary that a user calls.
"""

from __future__ import annotations

from typing import Any

import attrs

from ..codes import ErrorCodes
from ..exceptions import H2Error, ProtocolError

__all__ = ["IGNORE", "ConnectionFailure", "Ignore", "StreamFailure", "Verdict", "malformed", "protocol_error"]


@attrs.frozen
class Ignore:
    """The frame is late or without effect; it was counted and changes nothing else."""


@attrs.frozen
class StreamFailure:
    """A stream error (RFC 9113 section 5.4.2): RST_STREAM, and the connection goes on.

    Attributes:
        limit: the field of Config that was passed, if it was one.
        fault: Whether it is the peer's. Not where it may not know better, or where our own user is slow.
    """

    stream_id: int
    error_code: ErrorCodes
    reason: str
    limit: str | None = None
    fault: bool = True


@attrs.frozen
class ConnectionFailure:
    """A connection error (RFC 9113 section 5.4.1): GOAWAY, then the transport closes.

    Attributes:
        error_class: what it becomes when it is raised.
        arguments: what that class is called with, by default the reason.
        limit: the field of Config that was passed, if it was one.
    """

    error_code: ErrorCodes
    reason: str
    error_class: type[H2Error] = ProtocolError
    arguments: tuple[object, ...] = ()
    limit: str | None = None

    def error(self, **details: Any) -> H2Error:
        """It as an exception, to be raised; with more of what its class takes."""
        arguments = self.arguments or (self.reason,)
        return self.error_class(*arguments, error_code=self.error_code, scope="connection", **details)


IGNORE = Ignore()

Verdict = Ignore | StreamFailure | ConnectionFailure


def protocol_error(reason: str) -> ConnectionFailure:
    """A connection error of type PROTOCOL_ERROR."""
    return ConnectionFailure(ErrorCodes.PROTOCOL_ERROR, reason)


def malformed(stream_id: int, reason: str) -> StreamFailure:
    """A stream error of type PROTOCOL_ERROR: what came on this stream is malformed (RFC 9113 section 8.1.1)."""
    return StreamFailure(stream_id, ErrorCodes.PROTOCOL_ERROR, reason)
