"""`Origin`: what a URL says of whom to connect to, and as whom to address it."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import unquote

import idna

from .wording import quoted

__all__ = ["Origin", "origin_of", "tls_name_of"]


class Origin(NamedTuple):  # which hashes at C's speed: each request of a pool looks for its origin
    """What a URL says of the peer.

    Attributes:
        scheme: `"http"` or `"https"`.
        host: what to connect to: a name for DNS, or an address and perhaps its zone.
        port: the URL's, or the scheme's.
        name: what TLS asks for and verifies: no final dot (RFC 6066 section 3), no zone (RFC 6874 section 4).
        authority: the `:authority` of requests: no zone, and no port if it is the scheme's.
    """

    scheme: str
    host: str
    port: int
    name: str
    authority: str


_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST_AND_PORT = re.compile(r"(?:\[([^\[\]]*)\]|([^\[\]:]*))(?::([0-9]*))?")
# RFC 3986 section 3.2.2, without percent-encoding: DNS has none.
_NAME = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=]+")
# RFC 6874 section 2; and section 3 for the bare "%" that people type, where it can't be taken for an escape.
_ZONE = re.compile(r"25(?P<escaped>(?:[A-Za-z0-9._~\-]|%[0-9A-Fa-f]{2})+)|(?![0-9A-Fa-f]{2})[A-Za-z0-9._~\-]+")


def origin_of(url: str) -> Origin:
    """Take a URL apart. Raises ValueError, which shows the URL without its user part."""
    if "@" in url:
        raise ValueError(f"url must be scheme, host and port alone, without a user or a password: {quoted(url)}")
    scheme, separator, rest = url.partition("://")
    scheme, rest = scheme.lower(), rest.removesuffix("/")
    default_port = _DEFAULT_PORTS.get(scheme)
    if not separator or default_port is None:
        raise ValueError(f"url must start with http:// or https://, not {quoted(url)}")
    if any(mark in rest for mark in "/?#"):
        raise ValueError(f"url must be scheme, host and port alone: {quoted(url)}")
    if not rest or rest.startswith(":"):
        raise ValueError(f"url has no host: {quoted(url)}")
    try:
        match = _HOST_AND_PORT.fullmatch(rest)
        if match is None:
            raise ValueError("it is not a host, or one and a port of decimal digits")
        port = int(match[3]) if match[3] else default_port
        if not 0 < port < 65536:
            raise ValueError("the port is not between 1 and 65535")
        if match[1] is None:
            host = authority = _domain_name(match[2])
            name = host.removesuffix(".")
        else:
            name, zone = _ipv6_address(match[1])
            host = f"{name}%{zone}" if zone else name
            authority = f"[{name}]"
    except ValueError as error:
        raise ValueError(f"url has no valid host and port: {quoted(url)}: {error}") from error
    if port != default_port:
        authority += f":{port}"
    return Origin(scheme, host, port, name, authority)


def tls_name_of(server_hostname: str) -> str:
    """What TLS asks for and verifies, of a name or an address that was given. Raises ValueError or TypeError."""
    if not isinstance(server_hostname, str):
        raise TypeError(f"server_hostname must be a str, not {type(server_hostname).__name__}")
    try:
        if ":" in server_hostname:
            return _ipv6_address(server_hostname)[0]
        return _domain_name(server_hostname).removesuffix(".")
    except ValueError as error:
        raise ValueError(f"server_hostname is not a domain name or an address: {quoted(server_hostname)}") from error


def _domain_name(host: str) -> str:
    """A host as DNS, TLS and HTTP have it. ASCII is left alone: what only IDNA forbids, `my_service`, may resolve."""
    host = host.lower() if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    name = host.removesuffix(".")
    if not _NAME.fullmatch(host) or len(name) > 253 or not all(0 < len(label) < 64 for label in name.split(".")):
        raise ValueError("the host is not a domain name or an address")
    return host


def _ipv6_address(literal: str) -> tuple[str, str]:
    """What stands in brackets: an address, and its zone or nothing."""
    address, percent, rest = literal.partition("%")
    ipaddress.IPv6Address(address)
    if not percent:
        return address.lower(), ""
    match = _ZONE.fullmatch(rest)
    zone = "" if match is None else unquote(match["escaped"] or match[0])
    if not re.fullmatch(r"[!-~]+", zone):
        raise ValueError("the zone is not one after %25 (RFC 6874)")
    return address.lower(), zone
