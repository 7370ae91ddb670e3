"""Why the calls of a stream fail, in words."""

from __future__ import annotations

from .. import events as ev
from ..codes import error_name
from ..exceptions import ErrorCodes, StreamClosedError, StreamResetError

__all__ = [
    "CLOSED_HERE",
    "half_broken",
    "half_ended",
    "reset_by_event",
    "reset_here",
    "responded",
    "response_ended",
]

# Failures are copied when they are raised, so this one stands for every stream.
CLOSED_HERE = StreamResetError("the stream was closed by this side", initiator="local")


def reset_here(stream_id: int, error_code: int) -> StreamResetError:
    """We have sent RST_STREAM of our own accord."""
    reason = f"this side reset stream {stream_id}: {error_name(error_code)}"
    return StreamResetError(reason, error_code=error_code, initiator="local", stream_id=stream_id)


def reset_by_event(event: ev.StreamReset) -> StreamResetError:
    """RST_STREAM came, or this library sent it for what the peer did."""
    by = "the peer" if event.remote_reset else "this library"
    what = f"{error_name(event.error_code)}: {event.reason}".removesuffix(": ")
    return StreamResetError(
        f"stream {event.stream_id} was reset by {by}: {what}",
        error_code=event.error_code,
        initiator="remote" if event.remote_reset else "library",
        safe_to_retry=event.remote_reset and event.error_code == ErrorCodes.REFUSED_STREAM,
        stream_id=event.stream_id,
    )


def response_ended(stream_id: int, reason: str) -> StreamResetError:
    """A response that is complete makes the rest of its request pointless."""
    return StreamResetError(reason, error_code=ErrorCodes.NO_ERROR, initiator="remote", stream_id=stream_id)


def responded(stream_id: int, status: int | None) -> StreamClosedError:
    """No response can be begun on a half that has ended: with this status, or with none, where there was none."""
    if status is None:
        return half_ended(stream_id)
    return StreamClosedError(
        stream_id, f"stream {stream_id} has been answered already with {status}", initiator="local"
    )


def half_ended(stream_id: int) -> StreamClosedError:
    """Our half has ended."""
    return StreamClosedError(stream_id, "this side of the stream has ended", initiator="local")


def half_broken(stream_id: int) -> StreamClosedError:
    """Our half has part of a body that a cancelled call withdrew (invariant 14)."""
    reason = "a cancelled call has sent part of its data: this side of the stream is broken"
    return StreamClosedError(stream_id, reason, initiator="local")
