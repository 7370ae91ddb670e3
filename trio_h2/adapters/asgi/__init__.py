"""ASGI 3.0 over trio_h2: `serve_asgi` and its siblings. They need the extra `asgi`; docs/asgi.md says what they do."""

from .asgi_server import serve_asgi, serve_asgi_listeners
from .disconnecting import ClientDisconnected
from .handler import asgi_handler
from .lifespan import LifespanError

__all__ = ["ClientDisconnected", "LifespanError", "asgi_handler", "serve_asgi", "serve_asgi_listeners"]
