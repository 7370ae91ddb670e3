"""`RequestFacts`: what a request's header section and connection say, as attributes of spans and metrics."""

from __future__ import annotations

from collections.abc import Mapping

import trio_h2

from .conventions import MAX_VALUE, OTHER, redacted

__all__ = ["Attributes", "RequestFacts", "host_and_port", "peer_attributes"]

Attributes = Mapping[str, str | int]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_METHOD = 64


def host_and_port(authority: str, scheme: str | None) -> tuple[str, int | None]:
    """A host, without the brackets of an IPv6 address, and a port: the scheme's if there is none; None if none."""
    host, colon, digits = authority.rpartition(":")
    if not colon or "]" in digits:
        host, digits = authority, ""
    port = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 5 else None
    if host.startswith("["):
        host = host[1:].removesuffix("]")
    return host[:MAX_VALUE], _DEFAULT_PORTS.get(scheme or "") if port is None else port


def peer_attributes(connection: trio_h2.Connection, *, of_client: bool) -> dict[str, str | int]:
    """The address at the other end; `of_client`: it is also what the conventions have as the client's."""
    address = connection.peer_address
    port: object = None
    if isinstance(address, tuple) and len(address) >= 2:
        address, port = address[:2]
    if isinstance(address, bytes):  # of a unix socket in the abstract namespace
        address = address.decode("latin-1")
    if not isinstance(address, str) or not address:
        return {}
    found: dict[str, str | int] = {"network.peer.address": address}
    if isinstance(port, int):
        found["network.peer.port"] = port
    if of_client:
        found["client.address"] = address
    return found


class RequestFacts:
    """A request as the conventions see it. Nothing of it changes.

    Args:
        headers: its header section, with pseudo-header fields.
        known: methods that are told by their names.
        server: where a tunnel leads through, which its authority does not say: host and port. None of a server.

    Attributes:
        method: its method, or `_OTHER`.
        name: what its span is called without a route.
        scheme: `"http"` or `"https"`, `_OTHER` for what else a client has said; None of a tunnel.
        host, port: the server's, by the request; None if it does not say.
    """

    def __init__(self, headers: trio_h2.Headers, known: frozenset[str], server: str | None) -> None:
        method = headers[":method"]
        self._method = method[:_MAX_METHOD]
        self.method = method if method in known else OTHER
        self.name = method if method in known else "HTTP"
        self._scheme = headers.get(":scheme")
        self.scheme = self._scheme if self._scheme is None or self._scheme in _DEFAULT_PORTS else OTHER
        self._authority = headers.get(":authority") or headers.get("host") or ""
        self._path, self._mark, self._query = headers.get(":path", "").partition("?")
        self._user_agent = headers.get("user-agent")
        tunnel = self._scheme is None and server is not None
        self.host, self.port = host_and_port(server or "" if tunnel else self._authority, self._scheme)

    def _common(self) -> dict[str, str | int]:
        found: dict[str, str | int] = {
            "http.request.method": self.method,
            "network.protocol.name": "http",
            "network.protocol.version": "2",
        }
        if self.method == OTHER:
            found["http.request.method_original"] = self._method
        if self.host:
            found["server.address"] = self.host
            if self.port is not None:
                found["server.port"] = self.port
        if self._user_agent is not None:
            found["user_agent.original"] = self._user_agent[:MAX_VALUE]
        return found

    def client_attributes(self) -> dict[str, str | int]:
        """Of a client's span."""
        found = self._common()
        if self._scheme is not None:
            path = "" if self._path == "*" else self._path
            found["url.full"] = redacted(f"{self._scheme}://{self._authority}{path}{self._mark}{self._query}")
        return found

    def server_attributes(self) -> dict[str, str | int]:
        """Of a server's span."""
        found = self._common()
        if self._scheme is not None:
            found["url.scheme"] = self._scheme[:MAX_VALUE]
            found["url.path"] = self._path[:MAX_VALUE]
        if self._query:
            found["url.query"] = redacted(self._query)
        return found

    def client_series(self) -> dict[str, str | int]:
        """Of a client's metrics: nothing that a server chooses."""
        found: dict[str, str | int] = {"http.request.method": self.method, "network.protocol.version": "2"}
        if self.host:
            found["server.address"] = self.host
            if self.port is not None:
                found["server.port"] = self.port
        return found

    def active_series(self) -> dict[str, str | int]:
        """Of a server's count of requests that are open: nothing that a client chooses freely."""
        scheme = {} if self.scheme is None else {"url.scheme": self.scheme}
        return {"http.request.method": self.method, **scheme}

    def server_series(self) -> dict[str, str | int]:
        """Of a server's other metrics."""
        return {**self.active_series(), "network.protocol.version": "2"}
