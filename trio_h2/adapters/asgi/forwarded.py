"""What proxies say of the client behind them: X-Forwarded-For, -Proto and -Host, or Forwarded (RFC 7239).

Anybody can send these fields, so they are believed only from the proxies that the user names. Each proxy adds to the
end of a list, so what is believed is the part of it that trusted proxies have added: the client is the last address
that is none of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import attrs

from ..trusted_addresses import Address, TrustedAddresses, parsed_address
from .asgi_types import Scope

__all__ = ["TrustedProxies"]

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
        allowed: as for `TrustedAddresses`.

    Raises:
        ValueError, TypeError: as by `TrustedAddresses`.
    """

    def __init__(self, allowed: str | Iterable[str]) -> None:
        self._trusted = TrustedAddresses(allowed, "forwarded_allow_ips")

    def correct(self, scope: Scope) -> None:
        """Put what trusted proxies say into a request's scope: client, scheme and host."""
        if self._trusted.nobody or not self._trusted.has_peer(_host_of_peer(scope)):
            return
        hops = _hops(scope["headers"])
        if not hops:
            return
        hop = next((hop for hop in reversed(hops) if not self._trusted.has(_address(hop.node)[0])), hops[0])
        address, port = _address(hop.node)
        scope["client"] = None if address is None else (str(address), port)
        if hop.scheme is not None:
            plain = "ws" if scope["type"] == "websocket" else "http"
            scope["scheme"] = SECURE[plain] if hop.scheme == "https" else plain
        if hop.host is not None:
            others = [field for field in scope["headers"] if field[0] != b"host"]
            scope["headers"] = [(b"host", hop.host.encode("ascii")), *others]


def _host_of_peer(scope: Scope) -> str | None:
    """The peer's IP address, None without one. A TCP socket that was reset has forgotten it: that is no unix socket."""
    client, server = scope["client"], scope["server"]
    if client is not None:
        return str(client[0])
    return None if server is None or server[1] is None else ""


def _address(node: str) -> tuple[Address | None, int]:
    """The address that a node is written with, and its port or 0; None for one that is hidden or unknown."""
    host, port = node, ""
    if node.startswith("["):
        host, _, port = node[1:].partition("]")
        port = port.removeprefix(":")
    elif node.count(":") == 1:
        host, _, port = node.partition(":")
    address = parsed_address(host)
    if address is None:
        return None, 0
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
