"""httpx's words for what `open_pool` takes: `verify` and `cert`, `limits`, `proxy`."""

from __future__ import annotations

import math
import os
import ssl
import sys
from types import ModuleType
from typing import Any, Protocol
from urllib.parse import quote

__all__ = ["Cert", "Limits", "Verify", "limits_arguments", "proxy_arguments", "tls_context"]

Verify = ssl.SSLContext | str | os.PathLike[str] | bool
"""Whether servers are verified, or with what: a context, a file of authorities, or a directory of them."""

Cert = str | os.PathLike[str] | tuple[str, str] | tuple[str, str, str]
"""Our own certificate: a file that has the key too, or the two files, and a password."""


class Limits(Protocol):
    """An `httpx.Limits`, or one of httpx2's."""

    @property
    def max_connections(self) -> int | None:
        """How many connections there may be."""

    @property
    def keepalive_expiry(self) -> float | None:
        """How long they may be idle."""


def tls_context(package: ModuleType, verify: Verify, cert: Cert | None, trust_env: bool) -> ssl.SSLContext:
    """The context for TLS with origins. Raises OSError, ssl.SSLError or TypeError, naming the argument."""
    if isinstance(verify, bool | ssl.SSLContext):
        context: ssl.SSLContext = package.create_ssl_context(verify=verify, trust_env=trust_env)
    elif isinstance(verify, str | os.PathLike):
        path = os.fspath(verify)
        directory = os.path.isdir(path)
        context = ssl.create_default_context(cafile=None if directory else path, capath=path if directory else None)
    else:
        raise TypeError(f"verify must be a bool, an ssl.SSLContext or a path, not {type(verify).__name__}")
    if isinstance(cert, tuple):
        context.load_cert_chain(*cert)
    elif isinstance(cert, str | os.PathLike):
        context.load_cert_chain(cert)
    elif cert is not None:
        raise TypeError(f"cert must be a path or a tuple of them, not {type(cert).__name__}")
    return context


def limits_arguments(limits: Limits | None) -> dict[str, Any]:
    """What of the limits a pool has; all else that a pool does is as it is by default."""
    if limits is None:
        return {}
    most, expiry = limits.max_connections, limits.keepalive_expiry
    if expiry is not None and expiry <= 0:
        raise ValueError("limits: keepalive_expiry must be more than 0 seconds, or None")
    return {
        "max_connections_per_origin": sys.maxsize if most is None else most,
        "idle_timeout": math.inf if expiry is None else expiry,
    }


def proxy_arguments(package: ModuleType, proxy: object) -> dict[str, Any]:
    """A proxy, given as a URL or as the package's `Proxy`. Raises ValueError or TypeError."""
    if proxy is None:
        return {}
    if isinstance(proxy, str | package.URL):
        proxy = package.Proxy(proxy)
    elif not isinstance(proxy, package.Proxy):
        raise TypeError(f"proxy must be a URL or a {package.__name__}.Proxy, not {type(proxy).__name__}")
    given: Any = proxy
    if given.url.scheme not in ("http", "https"):
        raise ValueError(f"proxy: its scheme must be http or https, not {given.url.scheme}; see open_stream for others")
    if given.headers:
        raise ValueError("proxy: header fields for it are not sent; its URL or `auth` may have a user and a password")
    user = "" if given.auth is None else ":".join(quote(part, safe="") for part in given.auth) + "@"
    context = given.ssl_context
    if context is None and given.url.scheme == "https":
        context = package.create_ssl_context()
    return {"proxy": f"{given.url.scheme}://{user}{given.url.netloc.decode('ascii')}", "proxy_ssl_context": context}
