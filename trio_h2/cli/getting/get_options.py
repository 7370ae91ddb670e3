"""What `trio-h2 get` is asked for: the request, and what is done with its response."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

import trio_h2

from ..shared.exit_codes import ExitCode, Failure
from ..shared.saying import reason

__all__ = ["DEFAULT_FIELDS", "LINE_ENDS", "GetOptions", "Request", "data_of", "read_file", "request_of"]

DEFAULT_FIELDS = {"user-agent": f"trio-h2/{trio_h2.__version__}", "accept": "*/*"}
FORM = "application/x-www-form-urlencoded"

LINE_ENDS = b"\r\n\0"
"""What is left out of the files that -d and -w name."""

OF_HTTP1 = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
"""Fields that HTTP/2 does not have (RFC 9113 section 8.2.2), and that a browser's "copy as cURL" may bring."""

OF_ONE_ORIGIN = {"authorization", "cookie"}
"""Fields that a redirect does not take to another origin."""


@attrs.frozen
class Request:
    """What is sent, but for the URL.

    Attributes:
        method: GET and the like.
        headers: fields, their names in lower case.
        body: what is sent, or None.
        authority: what -H gives as Host, or None.
        keeps_method: whether the method was chosen by -X: redirects do not change it.
        left_out: names of fields that were asked for, and that HTTP/2 does not have.
    """

    method: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None = None
    authority: str | None = None
    keeps_method: bool = False
    left_out: tuple[str, ...] = ()

    @property
    def octets(self) -> list[tuple[str, bytes]]:
        """The fields as they are sent: what was typed, octet by octet."""
        return [(name, value.encode("utf-8", "surrogateescape")) for name, value in self.headers]

    def redirected(self, status: int, *, other_origin: bool) -> Request:
        """The request that follows a redirect, as curl makes it (RFC 9110 section 15.4 lets 301 and 302 do that)."""
        request = self
        if other_origin:
            headers = tuple(field for field in self.headers if field[0] not in OF_ONE_ORIGIN)
            request = attrs.evolve(request, headers=headers, authority=None)
        changes = status == 303 and self.method != "HEAD"
        if changes or (status in (301, 302) and (self.body is not None or self.method == "POST")):
            method = self.method if self.keeps_method else "GET"
            headers = tuple(field for field in request.headers if not _of_the_body(field))
            request = attrs.evolve(request, method=method, body=None, headers=headers)
        return request


def _of_the_body(field: tuple[str, str]) -> bool:
    """Whether a redirect that drops the body drops this. What else -H says of it goes on, with curl too."""
    return field[0] == "content-length" or field == ("content-type", FORM)


@attrs.frozen(kw_only=True)
class GetOptions:
    """How a `get` is done.

    Attributes:
        request: what is sent to every URL.
        include: whether headers are written, too.
        only_head: whether nothing else is.
        follow, max_redirects: whether redirects are followed, and how many; -1 for any number.
        fail: whether a status of 400 or more is a failure.
        fail_body: whether the body is written then.
        retries, retry_delay: how often what failed for a time is tried again, and seconds before it; None: growing.
        max_time: seconds that a transfer may take.
        connect_timeout: seconds that a connection may take to be opened.
        proxy: the proxy's URL, or None.
        write_out: what is written after each transfer, or None.
        trace: the file that is to have a recording, or None.
        verbose: whether the events of HTTP/2 are shown.
        silent: whether neither progress nor notes are.
        says_errors: whether errors are.
    """

    request: Request
    include: bool = False
    only_head: bool = False
    follow: bool = False
    max_redirects: int = 50
    fail: bool = False
    fail_body: bool = False
    retries: int = 0
    retry_delay: float | None = None
    max_time: float = math.inf
    connect_timeout: float = 300
    proxy: str | None = None
    write_out: str | None = None
    trace: str | None = None
    verbose: bool = False
    silent: bool = False
    says_errors: bool = True


def read_file(name: str, option: str) -> bytes:
    """The octets of a file that an option names, or of standard input for `-`. Raises Failure."""
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise Failure(ExitCode.READ, f"{option} cannot read {name}: {reason(error)}") from error


def data_of(pieces: Iterable[tuple[str, str]]) -> bytes | None:
    """What -d and its siblings give, joined by `&`; None if they are not there. Raises Failure.

    Args:
        pieces: for each the option's name and its value.
    """
    data = [_piece(option, value) for option, value in pieces]
    return b"&".join(data) if data else None


def _piece(option: str, value: str) -> bytes:
    if option == "--data-raw" or not value.startswith("@"):
        return value.encode("utf-8", "surrogateescape")
    content = read_file(value[1:], option)
    return content if option == "--data-binary" else content.translate(None, LINE_ENDS)


def request_of(
    method: str | None, headers: Sequence[str], body: bytes | None, *, head: bool, agent: str | None
) -> Request:
    """The request that the options make. Raises Failure.

    Args:
        method: that of -X, or None.
        headers: the values of -H: `Name: value`, `Name:` for none of what is sent by itself, `Name;` for an empty
            one, `@file` for lines of them.
        body: what is sent, or None.
        head: whether -I is there.
        agent: the value of -A, or None.
    """
    fields = dict(DEFAULT_FIELDS)
    if agent is not None:
        fields["user-agent"] = agent
    if body is not None:
        fields["content-type"] = FORM
    own: list[tuple[str, str]] = []
    left_out: list[str] = []
    authority = None
    for line in _lines(headers):
        name, value = _field(line)
        if name == "host":
            authority = value or None
            continue
        if name in OF_HTTP1 and value is not None:
            left_out.append(name)
            continue
        fields.pop(name, None)
        if value is not None:
            own.append((name, value))
    defaults = [(name, value) for name, value in fields.items() if value]
    chosen = method or ("HEAD" if head else "GET" if body is None else "POST")
    return Request(
        chosen, (*defaults, *own), body, authority, keeps_method=method is not None, left_out=tuple(left_out)
    )


def _lines(headers: Iterable[str]) -> Iterable[str]:
    for header in headers:
        if header.startswith("@"):
            text = read_file(header[1:], "-H").decode("utf-8", "surrogateescape")
            yield from (line for line in text.splitlines() if line.strip())
        else:
            yield header


def _field(line: str) -> tuple[str, str | None]:
    """A field's name and value; None for the value of what is not to be sent."""
    name, colon, value = line.partition(":")
    if colon and name.strip():
        return name.strip().lower(), value.strip() or None
    if line.endswith(";") and line[:-1].strip():
        return line[:-1].strip().lower(), ""
    raise Failure(ExitCode.USAGE, f"-H must be 'Name: value', 'Name:' or 'Name;', not {line!r}")
