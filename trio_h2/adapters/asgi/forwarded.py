"""What proxies say of the client behind them: X-Forwarded-For, -Proto and -Host, or Forwarded (RFC 7239).

Anybody can send these fields, so they are believed only from the proxies that the user names. Each proxy adds to the
end of a list, so what is believed is the part of it that trusted proxies have added: the client is the last address
that is none of theirs.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

import attrs

from .asgi_types import Scope

__all__ = ["TrustedProxies"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# RFC 7239 section 4: token "=" (token / quoted-string); a quoted string may hold the commas and semicolons.
PAIR = r'[!#$%&\'*+.^_`|~0-9A-Za-z-]+=(?:[!#$%&\'*+.^_`|~0-9A-Za-z-]+|"(?:[^"\\]|\\.)*")'
ELEMENT = re.compile(rf"{PAIR}(?:[ \t]*;[ \t]*{PAIR})*")
HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
FIELDS = {b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"}
SECURE = {"http": "https", "ws": "wss"}


@attrs.frozen
class Hop:
    """What one proxy says of who is before it.

    Attributes:
        node: its address, maybe with a port, as it was written.
        scheme: `"http"` or `"https"`, or None.
        host: the Host that was asked for, or None.
    """

    node: str
    scheme: str | None = None
    host: str | None = None


class TrustedProxies:
    """The proxies that are believed.

    Args:
        allowed: IP addresses and networks, as an iterable or separated by commas; `"unix"` is every peer without an
            address, `"*"` every peer.

    Raises:
        ValueError, TypeError: one of them is none of these.
    """

    def __init__(self, allowed: str | Iterable[str]) -> None:
        if not hasattr(allowed, "__iter__"):
            raise TypeError(f"forwarded_allow_ips must be str or an iterable of str, not {type(allowed).__name__}")
        names = [each.strip() for each in allowed.split(",")] if isinstance(allowed, str) else list(allowed)
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"forwarded_allow_ips must be of str, not of {type(name).__name__}")
        self._all = "*" in names
        self._unix = "unix" in names
        self._networks = [_network(name) for name in names if name and name not in ("*", "unix")]

    def correct(self, scope: Scope) -> None:
        """Put what trusted proxies say into a request's scope: client, scheme and host."""
        if not self._trusts_peer(scope["client"]):
            return
        hops = _hops(scope["headers"])
        if not hops:
            return
        hop = next((hop for hop in reversed(hops) if not self._trusts(_address(hop.node)[0])), hops[0])
        address, port = _address(hop.node)
        scope["client"] = None if address is None else (str(address), port)
        if hop.scheme is not None:
            plain = "ws" if scope["type"] == "websocket" else "http"
            scope["scheme"] = SECURE[plain] if hop.scheme == "https" else plain
        if hop.host is not None:
            others = [field for field in scope["headers"] if field[0] != b"host"]
            scope["headers"] = [(b"host", hop.host.encode("ascii")), *others]

    def _trusts_peer(self, client: tuple[str, int] | None) -> bool:
        if client is None:
            return self._all or self._unix
        return self._trusts(_address(client[0])[0])

    def _trusts(self, address: Address | None) -> bool:
        return self._all or (address is not None and any(address in network for network in self._networks))


def _network(name: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(name)
    except ValueError as error:
        raise ValueError(f"forwarded_allow_ips: {error}") from None


def _address(node: str) -> tuple[Address | None, int]:
    """The address that a node is written with, and its port or 0; None for one that is hidden or unknown."""
    host, port = node, ""
    if node.startswith("["):
        host, _, port = node[1:].partition("]")
        port = port.removeprefix(":")
    elif node.count(":") == 1:
        host, _, port = node.partition(":")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None, 0
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address, int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0


def _hops(fields: Iterable[tuple[bytes, bytes]]) -> list[Hop]:
    """What the proxies say, the nearest last; nothing where both kinds of fields are there, or one is malformed.

    A proxy that adds one kind may pass the other on as its client sent it. Who believed either could be told anything.
    """
    lists: dict[bytes, list[str]] = {}
    for name, value in fields:
        if name in FIELDS:
            lists.setdefault(name, []).append(value.decode("latin-1"))
    forwarded = lists.pop(b"forwarded", None)
    if forwarded is not None:
        return [] if lists else _forwarded(",".join(forwarded))
    clients = _split(lists.get(b"x-forwarded-for"))
    schemes = [each.lower() for each in _split(lists.get(b"x-forwarded-proto"))]
    hosts = _split(lists.get(b"x-forwarded-host"))
    return [
        Hop(client, _scheme(_nth(schemes, number, len(clients))), _host(_nth(hosts, number, len(clients))))
        for number, client in enumerate(clients)
    ]


def _split(values: list[str] | None) -> list[str]:
    return [each.strip(" \t") for each in ",".join(values).split(",")] if values else []


def _nth(values: list[str], number: int, count: int) -> str | None:
    """The value of a proxy; where not every proxy has added one, the last one has."""
    if not values:
        return None
    return values[number if len(values) == count else -1]


def _forwarded(value: str) -> list[Hop]:
    """The elements of Forwarded (RFC 7239 section 4)."""
    hops = []
    rest = value.lstrip(" \t")
    while match := ELEMENT.match(rest):
        pairs = {}
        for pair in re.findall(PAIR, match[0]):
            name, _, text = pair.partition("=")
            pairs[name.lower()] = re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
        hops.append(Hop(pairs.get("for", "unknown"), _scheme(pairs.get("proto", "").lower()), _host(pairs.get("host"))))
        rest = rest[match.end() :].lstrip(" \t")
        if not rest:
            return hops
        if not rest.startswith(","):
            return []
        rest = rest[1:].lstrip(" \t")
    return []


def _scheme(text: str | None) -> str | None:
    plain = {"ws": "http", "wss": "https"}.get(text or "", text)
    return plain if plain in ("http", "https") else None


def _host(text: str | None) -> str | None:
    return text if text is not None and HOST.fullmatch(text) else None
