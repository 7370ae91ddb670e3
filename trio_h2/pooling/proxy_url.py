"""`Proxy`: what a proxy's URL says."""

from __future__ import annotations

import base64
from urllib.parse import unquote_to_bytes

import attrs

from ..headers import NeverIndexed
from ..origin import Origin, origin_of

__all__ = ["Proxy", "proxy_of"]


@attrs.frozen
class Proxy:
    """Whom to ask for tunnels.

    Attributes:
        origin: the proxy itself.
        authorization: the Proxy-Authorization field, or None (RFC 9110 section 11.7.2).
    """

    origin: Origin
    authorization: NeverIndexed | None = attrs.field(repr=False)


def proxy_of(url: str) -> Proxy:
    """Take a proxy's URL apart. Raises ValueError, or TypeError; neither shows user or password."""
    if not isinstance(url, str):
        raise TypeError(f"proxy must be a str, not {type(url).__name__}")
    scheme, separator, rest = url.partition("://")
    user, at, host = rest.rpartition("@")
    try:
        origin = origin_of(f"{scheme}{separator}{host}")
    except ValueError as error:
        raise ValueError(f"proxy: {error}") from None
    if not at:
        return Proxy(origin, None)
    name, _, password = user.partition(":")
    pair = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
    return Proxy(origin, NeverIndexed("proxy-authorization", b"Basic " + base64.b64encode(pair)))
