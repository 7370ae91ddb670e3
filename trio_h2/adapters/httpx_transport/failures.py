"""Which error of httpx's stands for which of trio_h2's."""

from __future__ import annotations

from types import ModuleType

import trio_h2

__all__ = ["failure_of"]

_TIMEOUTS = {"acquire": "PoolTimeout", "connect": "ConnectTimeout", "write": "WriteTimeout", "read": "ReadTimeout"}


def failure_of(package: ModuleType, error: trio_h2.H2Error, *, sending: bool = False) -> Exception:
    """The error to raise `from` this one. A bug of trio_h2 stays what it is.

    Args:
        package: httpx, or httpx2.
        error: what a pool, or a stream of it, raised.
        sending: Whether the request's body was still being sent.
    """
    if isinstance(error, trio_h2.InternalError):
        return error
    reason = str(error)
    if isinstance(error, trio_h2.ALPNError):
        reason += "; H2Transport(fallback=...) takes another transport for such an origin"
    failure: Exception = getattr(package, _name_of(error, sending))(reason)
    return failure


def _name_of(error: trio_h2.H2Error, sending: bool) -> str:
    match error:
        case trio_h2.RequestTimeoutError():
            return _TIMEOUTS[error.phase]
        case trio_h2.ProxyError():
            return "ProxyError"
        case trio_h2.ConnectError() | trio_h2.HandshakeError():
            return "ConnectError"
        case trio_h2.ConnectionTerminatedError(last_stream_id=None):
            return _name_of_lost(error, sending)
        case trio_h2.H2Error(initiator="local"):
            return "LocalProtocolError"
    return "RemoteProtocolError"


def _name_of_lost(error: trio_h2.H2Error, sending: bool) -> str:
    """Of a connection that ended without GOAWAY."""
    if sending:
        return "WriteError"
    hung_up = error.initiator == "remote" and error.__cause__ is None
    return "RemoteProtocolError" if hung_up else "ReadError"
