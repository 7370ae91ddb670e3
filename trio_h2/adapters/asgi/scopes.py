"""The scope of a request: what ASGI says of it to the app."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import trio_h2

from .asgi_types import ASGI_VERSIONS, Scope
from .connection_facts import ConnectionFacts
from .http1_stream import Http1Stream
from .request_stream import RequestStream

__all__ = ["http_scope", "offered_subprotocols", "websocket_scope"]


def http_scope(
    stream: RequestStream, facts: ConnectionFacts, root_path: str, state: Mapping[str, Any], promised: bool = False
) -> Scope:
    """The scope of type `http` for a request.

    Args:
        stream: the request's.
        facts: of its connection.
        root_path: what the app's own paths are below, without a slash at its end.
        state: the app's; the scope gets a shallow copy.
        promised: Whether this side promised the request: nothing can be pushed along with it.
    """
    extensions: dict[str, Any] = {
        "http.response.trailers": {},
        "http.response.early_hint": {},
        "http.response.pathsend": {},
    }
    if not promised and isinstance(stream, trio_h2.ServerStream):
        extensions["http.response.push"] = {}
    scope = _scope("http", stream, facts, root_path, state, extensions)
    scope["method"] = stream.request.method
    scope["scheme"] = "https" if facts.secure else "http"
    return scope


def websocket_scope(stream: RequestStream, facts: ConnectionFacts, root_path: str, state: Mapping[str, Any]) -> Scope:
    """The scope of type `websocket` for an extended CONNECT (RFC 8441); the arguments are those of `http_scope`."""
    scope = _scope("websocket", stream, facts, root_path, state, {"websocket.http.response": {}})
    scope["scheme"] = "wss" if facts.secure else "ws"
    scope["subprotocols"] = offered_subprotocols(stream.request)
    return scope


def offered_subprotocols(request: trio_h2.Request) -> list[str]:
    """The subprotocols that the client of a WebSocket takes, as they were sent."""
    offered = ",".join(request.headers.get_all("sec-websocket-protocol")).split(",")
    return [name for each in offered if (name := each.strip())]


def _scope(
    kind: str,
    stream: RequestStream,
    facts: ConnectionFacts,
    root_path: str,
    state: Mapping[str, Any],
    extensions: dict[str, Any],
) -> dict[str, Any]:
    """What the scopes of requests and of WebSockets have in common."""
    raw_path, _, query_string = (stream.request.path or "").encode("latin-1").partition(b"?")
    prefix = "" if raw_path == b"*" else root_path  # which is the whole server (RFC 9110 section 9.3.7)
    version = "2"
    if isinstance(stream, Http1Stream):
        version = stream.http_version
    else:
        extensions["trio_h2"] = {"stream": stream}
    if facts.tls is not None:
        extensions["tls"] = copy.deepcopy(facts.tls)
    return {
        "type": kind,
        "asgi": ASGI_VERSIONS.copy(),
        "http_version": version,
        "path": prefix + _decoded(raw_path),
        "raw_path": prefix.encode() + raw_path,
        "query_string": query_string,
        "root_path": root_path,
        "headers": _fields(stream.request),
        "client": facts.client,
        "server": facts.server,
        "state": dict(state),
        "extensions": extensions,
    }


def _decoded(raw_path: bytes) -> str:
    return (unquote_to_bytes(raw_path) if b"%" in raw_path else raw_path).decode("utf-8", "replace")


def _fields(request: trio_h2.Request) -> list[tuple[bytes, bytes]]:
    """The request's fields; `:authority` is the Host, and the first of them."""
    fields = list(request.headers)
    if request.authority is None:
        return fields
    for name, _ in fields:
        if name == b"host":
            fields = [field for field in fields if field[0] != b"host"]
            break
    fields.insert(0, (b"host", request.authority.encode("latin-1")))
    return fields
