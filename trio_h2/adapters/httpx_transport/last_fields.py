"""`LastRequestFields`, `LastResponseFields`: the header fields that a client sends, or gets, again and again.

Each keeps what was made of the last ones there were, until there are others. Those whose names say that they are
credentials or a session (`trio_h2.SECRET_FIELDS`) are not kept. That a field of one's own, `x-api-key` say, is a secret
nobody knows here: such a one is kept with the others, beside a client that has it among its own headers anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

import trio_h2

__all__ = ["LastRequestFields", "LastResponseFields"]

_NOT_IN_HTTP2 = frozenset(
    (b"connection", b"host", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
"""Header fields that are not sent: HTTP/2 says the same otherwise (RFC 9113 sections 8.2.2 and 8.3.1)."""

Fields = tuple[tuple[bytes, bytes], ...]


class LastRequestFields:
    """Owner of every field: this object."""

    def __init__(self) -> None:
        self._raw: list[tuple[bytes, bytes]] | None = None
        self._made: tuple[Fields, str | None] = ((), None)

    def of(self, raw: list[tuple[bytes, bytes]]) -> tuple[Fields, str | None]:
        """The fields that HTTP/2 sends of these, and their Host."""
        if raw == self._raw:
            return self._made
        made = _made_of(raw)
        if _may_be_kept(made[0]):
            self._raw, self._made = raw, made
        return made


def _may_be_kept(fields: Iterable[tuple[bytes, bytes]]) -> bool:
    return trio_h2.SECRET_FIELDS.isdisjoint([name for name, _ in fields])


def _made_of(raw: list[tuple[bytes, bytes]]) -> tuple[Fields, str | None]:
    authority: str | None = None
    fields = []
    for name, value in raw:
        name = name.lower()
        if name not in _NOT_IN_HTTP2:
            fields.append((name, value.strip(b" \t")))  # which HTTP/1.1 allows around a value, and HTTP/2 does not
        elif name == b"host" and authority is None:
            authority = value.decode("ascii")
    return tuple(fields), authority


class LastResponseFields:
    """Owner of every field: this object.

    Args:
        package: httpx, or httpx2.

    Attributes:
        known_encoding: that of the fields which `of` has given last, where it is known; else the package looks for it.
    """

    def __init__(self, package: ModuleType) -> None:
        self._package = package
        self.known_encoding: str | None = None
        self._headers: trio_h2.Headers | None = None
        self._made: Any = None

    def of(self, headers: trio_h2.Headers) -> Any:
        """These, as a response of the package is made of them. They are the same object where a server repeats them."""
        if headers is not self._headers:
            self._headers, self._made = (headers if _may_be_kept(headers) else None), None
            self.known_encoding = None
            return headers.raw
        if self._made is None:
            self._made = self._package.Headers(headers.raw)  # which each response copies
            self.known_encoding = self._made.encoding
        return self._made
