"""The PROXY protocol, versions 1 and 2: a proxy that passes octets on says first whose they are.

`with_proxy_protocol` puts it before a listener; `proxy_header` is what a connection's proxy has said.
"""

from .proxied_stream import proxy_header
from .proxy_header import ProxyHeader
from .proxy_listener import with_proxy_protocol

__all__ = ["ProxyHeader", "proxy_header", "with_proxy_protocol"]
