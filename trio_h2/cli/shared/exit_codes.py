"""The exit codes of `trio-h2 get` and `probe`: those that curl has for the same causes."""

from __future__ import annotations

import enum
import errno
import socket
import ssl
from collections.abc import Iterator

import trio_h2

from .saying import reason

__all__ = ["BROKEN_PIPE", "ExitCode", "Failure", "exit_code_table", "failure_of"]

BROKEN_PIPE = 128 + 13
"""The exit code that shells know a command by which SIGPIPE ended."""


class ExitCode(enum.IntEnum):
    """Why a transfer failed; each has the words that `--help` lists it with."""

    words: str

    def __new__(cls, number: int, words: str) -> ExitCode:
        member = int.__new__(cls, number)
        member._value_ = number
        member.words = words
        return member

    SCHEME = 1, "a URL, or a redirect, with another scheme than http and https"
    USAGE = 2, "a wrong command line, or fields that make no request"
    URL = 3, "a malformed URL"
    PROXY_NAME = 5, "the proxy's name was not resolved"
    HOST_NAME = 6, "the host's name was not resolved"
    CONNECT = 7, "no connection to the host, or to the proxy"
    HTTP2 = 16, "HTTP/2 failed: another protocol is spoken there, a rule was broken, a GOAWAY with an error"
    PARTIAL = 18, "the response ended early: the connection was closed"
    STATUS = 22, "a status of 400 or more, with --fail"
    WRITE = 23, "a file, or standard output, was not written"
    READ = 26, "a file that -d, -H or -w names was not read"
    TIMEOUT = 28, "--max-time or --connect-timeout was over"
    TLS = 35, "the TLS handshake failed"
    REDIRECTS = 47, "more redirects than --max-redirs"
    RECEIVE = 56, "the connection broke; the proxy opened no tunnel; requests were refused again and again"
    OWN_CERTIFICATE = 58, "--cert or --key is of no use"
    CERTIFICATE = 60, "the server's certificate was not verified"
    CA_FILE = 77, "--cacert is of no use"
    STREAM = 92, "the stream was reset"


TRANSIENT = (ExitCode.TIMEOUT, ExitCode.HOST_NAME, ExitCode.PROXY_NAME)
"""What --retry tries again, beside some statuses."""


def exit_code_table() -> list[tuple[str, str]]:
    """Every exit code, and its words."""
    others = [(130, "SIGINT"), (BROKEN_PIPE, "nobody reads standard output any more")]
    rows = [(0, "every response came whole"), *((each.value, each.words) for each in ExitCode), *others]
    return [(str(number), words) for number, words in rows]


class Failure(Exception):
    """A transfer has failed.

    Args:
        exit_code: why.
        words: what is said of it.
        shared: what failed, the origin's connection say, where it is not this transfer's alone; it is said once.
        transient: whether another try may do better; by default as the exit code says.
        retry_after: seconds that the server asks for until then, or None.
    """

    def __init__(
        self,
        exit_code: ExitCode,
        words: str,
        shared: str | None = None,
        *,
        transient: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(words)
        self.exit_code = exit_code
        self.words = words
        self.shared = shared
        self.transient = exit_code in TRANSIENT if transient is None else transient
        self.retry_after = retry_after


def failure_of(error: Exception, origin: str, *, answered: bool, proxied: bool, spoken: str | None) -> Failure:
    """What an error of a request means.

    Args:
        error: an H2Error, or an OSError of connecting.
        origin: whose connection it is.
        answered: whether the response's headers came.
        proxied: whether connections lead to a proxy.
        spoken: what the port speaks, in words, where it is known not to be what was asked for.
    """
    if isinstance(error, trio_h2.StreamResetError):
        return _reset(error, answered=answered)
    if isinstance(error, trio_h2.RequestTimeoutError):
        return Failure(ExitCode.TIMEOUT, reason(error), origin)
    connect = isinstance(error, trio_h2.ConnectError) and not isinstance(error, trio_h2.ProxyError)
    words = reason(error.__cause__ if connect and error.__cause__ is not None else error)
    if spoken is not None:
        words = f"{words}: {spoken}" if isinstance(error, trio_h2.HandshakeError) else spoken
    code = _code(error, answered=answered, proxied=proxied, other_protocol=spoken is not None)
    if code is ExitCode.CERTIFICATE:
        words += " (-k goes on without)"
    return Failure(code, words, origin)


def _reset(error: trio_h2.StreamResetError, *, answered: bool) -> Failure:
    name = getattr(error.error_code, "name", error.error_code)
    if error.initiator != "remote":
        return Failure(ExitCode.STREAM, f"trio-h2, for an invalid response, ended it early: {name} {error}")
    words = f"the server ended it early: {name}"
    if error.error_code == trio_h2.ErrorCodes.REFUSED_STREAM:
        return Failure(ExitCode.RECEIVE, words)
    if error.error_code == trio_h2.ErrorCodes.HTTP_1_1_REQUIRED:
        words += ": it answers this in HTTP/1.1 only"
    partial = answered and error.error_code == trio_h2.ErrorCodes.NO_ERROR
    return Failure(ExitCode.PARTIAL if partial else ExitCode.STREAM, words)


def _code(error: Exception, *, answered: bool, proxied: bool, other_protocol: bool) -> ExitCode:
    causes = list(_causes(error))
    if any(isinstance(each, socket.gaierror) for each in causes):
        return ExitCode.PROXY_NAME if proxied else ExitCode.HOST_NAME
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in causes):
        return ExitCode.CERTIFICATE
    if isinstance(error, trio_h2.ALPNError):
        return ExitCode.HTTP2
    if isinstance(error, trio_h2.HandshakeError):
        return ExitCode.TLS
    if isinstance(error, trio_h2.ProxyError):
        return ExitCode.RECEIVE
    if other_protocol:
        return ExitCode.HTTP2
    if isinstance(error, trio_h2.ConnectionTerminatedError):
        if error.last_stream_id is not None and not answered:
            return ExitCode.HTTP2
        return ExitCode.RECEIVE if len(causes) > 1 else ExitCode.PARTIAL
    if isinstance(error, trio_h2.ConnectError | OSError):
        late = any(isinstance(each, OSError) and each.errno == errno.ETIMEDOUT for each in causes)
        return ExitCode.TIMEOUT if late else ExitCode.CONNECT
    return ExitCode.HTTP2


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it was caused by; of a group, all of it."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _causes(each)
        error = error.__cause__
