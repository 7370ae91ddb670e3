"""`-w FORMAT`: what is written after each transfer, in curl's words."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator
from typing import Any

from ..shared.saying import printable
from .report import Report

__all__ = ["written_out"]

PIECE = re.compile(r"%%|%header\{([^}]*)\}|%\{([^}]*)\}|\\([nrt])|\\?.", re.DOTALL)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


VARIABLES: dict[str, Callable[[Report], object]] = {
    "content_type": lambda report: _as_it_came(report.headers.get("content-type", "")),
    "errormsg": lambda report: report.error,
    "exitcode": lambda report: report.exit_code,
    "filename_effective": lambda report: report.file,
    "http_code": lambda report: f"{report.status:03}",
    "http_version": lambda report: "2" if report.status else "0",
    "local_ip": lambda report: _address(report.local, 0),
    "local_port": lambda report: _address(report.local, 1),
    "method": lambda report: report.method,
    "num_connects": lambda report: report.connections,
    "num_headers": lambda report: len(report.headers),
    "num_redirects": lambda report: report.redirects,
    "redirect_url": lambda report: report.redirect_url,
    "remote_ip": lambda report: _address(report.remote, 0),
    "remote_port": lambda report: _address(report.remote, 1),
    "response_code": lambda report: f"{report.status:03}",
    "scheme": lambda report: report.location.scheme.upper(),
    "size_download": lambda report: report.downloaded,
    "size_header": lambda report: report.header_size,
    "size_upload": lambda report: report.uploaded,
    "speed_download": lambda report: report.rate(report.downloaded),
    "speed_upload": lambda report: report.rate(report.uploaded),
    "time_connect": lambda report: report.since_began(report.connected),
    "time_starttransfer": lambda report: report.since_began(report.answered),
    "time_total": lambda report: report.since_began(report.ended),
    "url": lambda report: report.url,
    "url_effective": lambda report: report.location.effective,
    "urlnum": lambda report: report.number,
}


def _as_it_came(value: str) -> str:
    """A field's value, which has a letter for each octet, as text that is written as these octets."""
    return value.encode("latin-1").decode("utf-8", "surrogateescape")


def _address(address: Any, part: int) -> object:
    return address[part] if isinstance(address, tuple) else ("", 0)[part]


def written_out(
    text: str, report: Report, complain: Callable[[str], None], *, terminals: Container[str] = ()
) -> Iterator[tuple[str, str]]:
    """What a format says of a transfer: pieces of text, each for `"stdout"` or for `"stderr"`.

    Args:
        text: the format.
        report: of the transfer.
        complain: is told of variables that there are not, which stand for nothing.
        terminals: which of the two lead to one: what comes from a peer does not control it.
    """

    def fit(value: str) -> str:
        return printable(value) if stream in terminals else value

    stream = "stdout"
    for match in PIECE.finditer(text):
        header, name, escape = match.groups()
        if name in ("stdout", "stderr"):
            stream = name
        elif name == "onerror":
            if not report.exit_code:
                return
        elif header is not None:
            values = report.headers.get_all(header)  # of several the first: those of set-cookie cannot be joined
            yield stream, fit(_as_it_came(values[0]) if values else "")
        elif name is None:
            yield stream, "%" if match[0] == "%%" else ESCAPES[escape] if escape else match[0]
        elif name in VARIABLES:
            yield stream, fit(str(VARIABLES[name](report)))
        else:
            complain(f"unknown --write-out variable: {name!r}")
