"""An ASGI app with its access log."""

from __future__ import annotations

import os
from typing import Any

from trio_h2.adapters.asgi import ClientDisconnected

from .access_log import Access, AccessLog
from .app_loading import App

__all__ = ["logged"]


def logged(app: App, log: AccessLog) -> App:
    """An app that does what `app` does; every request and WebSocket is a line in the log when it is over."""

    async def logged_app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
        else:
            await _Watched(app, log, scope, send).run(receive)

    return logged_app


class _Watched:
    """One call of the app. Owner of every field: this object."""

    def __init__(self, app: App, log: AccessLog, scope: Any, send: Any) -> None:
        self._app = app
        self._log = log
        self._scope = scope
        self._send = send
        self._status = 0
        self._gone = False
        self._written = False
        is_websocket = scope["type"] == "websocket"
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        self._access = Access(
            client=scope["client"][0] if scope["client"] else "-",
            method="WEBSOCKET" if is_websocket else scope["method"],
            target=target.decode("latin-1"),
            http_version=scope["http_version"],
        )

    async def run(self, receive: Any) -> None:
        """Call the app, and log the request if that is not done yet."""
        try:
            await self._app(self._scope, receive, self._watched_send)
        except Exception:
            self._ended(well=False)
            raise
        else:
            self._ended(well=True)
        finally:
            self._write()

    def _ended(self, *, well: bool) -> None:
        """The app has ended, and was not cancelled."""
        if self._access.status is None and not self._gone:  # which is answered for it
            self._access.answered(500)
            self._access.completed()
        elif well and self._access.method == "WEBSOCKET":
            self._access.completed()

    def _write(self) -> None:
        if not self._written:
            self._written = True
            self._log.write(self._access)

    async def _watched_send(self, message: Any) -> None:
        try:
            await self._send(message)
        except ClientDisconnected:
            self._gone = True
            raise
        self._sent(message)

    def _sent(self, message: Any) -> None:
        kind = message["type"]
        if kind in ("http.response.start", "websocket.http.response.start"):
            self._status = message["status"]  # which nobody has seen until the body begins
        elif kind in ("http.response.body", "websocket.http.response.body"):
            self._body(len(message.get("body", b"")), more=message.get("more_body", False))
        elif kind == "http.response.pathsend":
            self._body(_size(message["path"]), more=False)
        elif kind == "websocket.accept":
            self._access.answered(101 if self._scope["http_version"] == "1.1" else 200)
        elif kind == "websocket.send":
            text, data = message.get("text"), message.get("bytes")
            self._access.sent(len(data) if text is None else len(text.encode()))
        elif kind == "websocket.close":
            if self._access.status is None:
                self._access.answered(403)
            self._access.completed()

    def _body(self, octets: int, *, more: bool) -> None:
        self._access.answered(self._status)
        if self._access.method != "HEAD":
            self._access.sent(octets)
        if not more:
            self._access.completed()
            self._write()  # now: background tasks may follow


def _size(path: str) -> int:
    """Of a file that was sent; 0 if it is gone already."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
