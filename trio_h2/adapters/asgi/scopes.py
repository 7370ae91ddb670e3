"""The scope of a request: what ASGI says of it to the app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import trio_h2

from .asgi_types import ASGI_VERSIONS, Scope
from .http1_stream import Http1Stream
from .request_stream import RequestStream, came_by_tls
from .tls_extension import tls_extension

__all__ = ["http_scope", "offered_subprotocols", "websocket_scope"]


def http_scope(stream: RequestStream, root_path: str, state: Mapping[str, Any], *, promised: bool = False) -> Scope:
    """The scope of type `http` for a request.

    Args:
        stream: the request's.
        root_path: what the app's own paths are below, without a slash at its end.
        state: the app's; the scope gets a shallow copy.
        promised: Whether this side promised the request: nothing can be pushed along with it.
    """
    extensions: dict[str, Any] = {
        "http.response.trailers": {},
        "http.response.early_hint": {},
        "http.response.pathsend": {},
    }
    if isinstance(stream, trio_h2.ServerStream) and not promised:
        extensions["http.response.push"] = {}
    return {
        "type": "http",
        "method": stream.request.method,
        "scheme": "https" if came_by_tls(stream.connection) else "http",
        "extensions": extensions,
        **_common(stream, root_path, state, extensions),
    }


def websocket_scope(stream: RequestStream, root_path: str, state: Mapping[str, Any]) -> Scope:
    """The scope of type `websocket` for an extended CONNECT (RFC 8441); the arguments are those of `http_scope`."""
    extensions: dict[str, Any] = {"websocket.http.response": {}}
    return {
        "type": "websocket",
        "scheme": "wss" if came_by_tls(stream.connection) else "ws",
        "subprotocols": offered_subprotocols(stream.request),
        "extensions": extensions,
        **_common(stream, root_path, state, extensions),
    }


def offered_subprotocols(request: trio_h2.Request) -> list[str]:
    """The subprotocols that the client of a WebSocket takes, as they were sent."""
    offered = ",".join(request.headers.get_all("sec-websocket-protocol")).split(",")
    return [name for each in offered if (name := each.strip())]


def _common(
    stream: RequestStream, root_path: str, state: Mapping[str, Any], extensions: dict[str, Any]
) -> dict[str, Any]:
    """What the scopes of requests and of WebSockets have in common."""
    connection = stream.connection
    raw_path, _, query_string = (stream.request.path or "").encode("latin-1").partition(b"?")
    prefix = "" if raw_path == b"*" else root_path  # which is the whole server (RFC 9110 section 9.3.7)
    version = "2"
    if isinstance(stream, Http1Stream):
        version = stream.http_version
    else:
        extensions["trio_h2"] = {"stream": stream}
    if connection.tls is not None:
        extensions["tls"] = tls_extension(connection.tls)
    return {
        "asgi": ASGI_VERSIONS.copy(),
        "http_version": version,
        "path": prefix + _decoded(raw_path),
        "raw_path": prefix.encode() + raw_path,
        "query_string": query_string,
        "root_path": root_path,
        "headers": _fields(stream.request),
        "client": _client(connection.peer_address),
        "server": _server(connection.local_address),
        "state": dict(state),
    }


def _decoded(raw_path: bytes) -> str:
    return (unquote_to_bytes(raw_path) if b"%" in raw_path else raw_path).decode("utf-8", "replace")


def _fields(request: trio_h2.Request) -> list[tuple[bytes, bytes]]:
    """The request's fields; `:authority` is the Host, and the first of them."""
    fields = list(request.headers)
    if request.authority is None:
        return fields
    return [(b"host", request.authority.encode("latin-1")), *(field for field in fields if field[0] != b"host")]


def _client(address: object) -> tuple[str, int] | None:
    return (address[0], address[1]) if isinstance(address, tuple) else None


def _server(address: object) -> tuple[str, int | None] | None:
    """Host and port, or the path of a unix socket and None."""
    if isinstance(address, tuple):
        return address[0], address[1]
    return (address, None) if isinstance(address, str) and address else None
