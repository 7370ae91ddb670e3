"""The access log: a line for every request, on standard output."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

import attrs
import trio

from ..shared.saying import complain, reason, say
from .log_output import timestamp

__all__ = ["Access", "AccessLog", "say_or_complain"]


@attrs.define
class Access:
    """One request, and what became of it. Owner of every field: this object.

    Attributes:
        client: its address, or `"-"`.
        method: `"WEBSOCKET"` for one.
        target: path and query as they were sent; of CONNECT the authority.
        http_version: `"2"`, `"1.1"` or `"1.0"`.
        status: of the response, or None if there was none.
        octets: of the body that was sent, or of a WebSocket's messages.
        is_complete: was that all?
    """

    client: str
    method: str
    target: str
    http_version: str
    status: int | None = None
    octets: int = 0
    is_complete: bool = False
    began: float = attrs.field(factory=trio.current_time)

    def answered(self, status: int) -> None:
        """The response has this status."""
        self.status = status

    def sent(self, octets: int) -> None:
        """More of the body was sent."""
        self.octets += octets

    def completed(self) -> None:
        """That was all of it."""
        self.is_complete = True

    @property
    def milliseconds(self) -> float:
        """How long it has taken until now."""
        return (trio.current_time() - self.began) * 1000

    def as_text(self) -> str:
        """It in a line for people."""
        outcome = "" if self.is_complete else " cut short"
        status = "-" if self.status is None else self.status
        asked = f'{self.client} "{self.method} {self.target}"'
        return f"{asked} {status} {self.octets} bytes {self.milliseconds:.1f} ms{outcome}"

    def as_json(self) -> str:
        """It in a line for programs."""
        entry: dict[str, Any] = {
            "time": timestamp(time.time()),
            "process": os.getpid(),
            "client": None if self.client == "-" else self.client,
            "method": self.method,
            "target": self.target,
            "http_version": self.http_version,
            "status": self.status,
            "octets": self.octets,
            "milliseconds": round(self.milliseconds, 1),
            "complete": self.is_complete,
        }
        return json.dumps(entry)


class AccessLog:
    """Where the lines go.

    Args:
        log_format: `"text"` or `"json"`, or None for no lines at all.
    """

    def __init__(self, log_format: str | None) -> None:
        self._line: Callable[[Access], str] | None = None
        if log_format is not None:
            self._line = Access.as_json if log_format == "json" else Access.as_text

    def write(self, access: Access) -> None:
        """Print the line of a request that is over."""
        if self._line is not None:
            say_or_complain(self._line(access))


def say_or_complain(line: str) -> None:
    """Print a line. The server goes on when there is no place for it, and says so once."""
    try:
        say(line)
    except OSError as error:
        complain(reason(error))
