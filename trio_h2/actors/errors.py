"""The errors that also are trio's.

The protocol core knows nothing of trio, and code written for trio's streams knows nothing of HTTP/2. So what a
waiting caller gets is both: the error that tells what happened, and `trio.ClosedResourceError` when this side closed
it or `trio.BrokenResourceError` when the world did. A stored failure is raised as a fresh copy each time, because
several tasks may meet it and each adds its own traceback.
"""

from __future__ import annotations

import functools
import ssl
from typing import TypeVar

import trio

from ..codes import NEEDS_ANOTHER_PROTOCOL
from ..exceptions import H2Error, InternalError

__all__ = [
    "TransportFailed",
    "broken",
    "closed",
    "raised",
    "refused_by_tls",
    "retryable",
    "too_slow",
    "why",
    "without_cancelled",
    "without_frames",
]

E = TypeVar("E", bound=H2Error)
AnyError = TypeVar("AnyError", bound=BaseException)


class TransportFailed(Exception):
    """A transport raised `cause`, whatever that is: the connection's failure, and no bug of this package."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


@functools.cache
def _also(error_class: type[H2Error], trio_class: type[Exception]) -> type[H2Error]:
    namespace = {"__module__": error_class.__module__, "__doc__": error_class.__doc__}
    return type(error_class.__name__, (error_class, trio_class), namespace)


def _copy(error: E, trio_class: type[Exception], **changed: object) -> E:
    kind: type[H2Error] = type(error)
    if not isinstance(error, trio_class):
        kind = _also(kind, trio_class)  # type: ignore[arg-type]
    copy = kind.__new__(kind, *error.args)
    copy.args = error.args
    copy.__dict__.update(error.__dict__, **changed)
    copy.__cause__ = error.__cause__
    copy.__suppress_context__ = False  # it may be raised while an error of the user's is handled
    return copy  # type: ignore[return-value]


def broken(error: E) -> E:
    """A copy of `error` that also is a trio.BrokenResourceError: the peer or the network did it."""
    return _copy(error, trio.BrokenResourceError)


def closed(error: E) -> E:
    """A copy of `error` that also is a trio.ClosedResourceError: this side closed it."""
    return _copy(error, trio.ClosedResourceError)


def too_slow(error: E) -> E:
    """A copy of `error` that also is a trio.TooSlowError, as `trio.fail_after` raises it."""
    return _copy(error, trio.TooSlowError)


def raised(failure: E, **changed: object) -> E:
    """The copy of a stored failure to raise now, with other attributes: closed if it was our own doing, else broken."""
    trio_class = trio.ClosedResourceError if failure.initiator == "local" else trio.BrokenResourceError
    return _copy(failure, trio_class, **changed)


def retryable(failure: E, *, lasting: bool = False) -> E:
    """A copy of a failure for a request that the peer certainly did not process (RFC 9113 section 8.7).

    It is safe to retry, unless a new connection would end in the same way: if the failure says so, or `lasting` does.
    """
    lasting = (
        lasting
        or isinstance(failure, InternalError)
        or failure.error_code in NEEDS_ANOTHER_PROTOCOL
        or refused_by_tls(failure.__cause__)
    )
    return raised(failure, safe_to_retry=not lasting)


def refused_by_tls(error: BaseException | None) -> bool:
    """Whether one side refused the other, by its certificate or by an alert. A transport that broke refuses nothing."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__
    return error is not None and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError)


def without_frames(error: AnyError) -> AnyError:
    """The error, and all that it is caused by or covers, without tracebacks: what is kept must not keep our frames.

    A frame has the connection among its variables, and the connection has the error: a circle.
    """
    seen: set[int] = set()
    rest: list[BaseException | None] = [error]
    while rest:
        each = rest.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            each.__traceback__ = None
            rest += [each.__cause__, each.__context__]
            if isinstance(each, BaseExceptionGroup):
                rest += each.exceptions
    return error


def why(error: BaseException) -> str:
    """What an error says; if that is nothing, what caused it says. trio's errors of TLS say nothing themselves."""
    cause: BaseException | None = error
    while cause is not None:
        if text := str(cause):
            return text
        cause = cause.__cause__
    return type(error).__name__


def without_cancelled(error: BaseException) -> BaseException | None:
    """What is left of an error, or of a group of them, without trio's Cancelled; None if it is nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1]
    return None if isinstance(error, trio.Cancelled) else error
