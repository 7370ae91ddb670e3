"""TrustedAddresses: the peers whose word is believed, as the user names them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

__all__ = ["Address", "TrustedAddresses", "parsed_address"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedAddresses:
    """Which peers are trusted.

    Args:
        allowed: IP addresses and networks, as an iterable or separated by commas; `"unix"` is every peer without an
            address, `"*"` every peer.
        argument: the name that the user knows it by, for errors.

    Raises:
        ValueError, TypeError: one of them is none of these.

    Attributes:
        nobody: Whether there is none.
    """

    def __init__(self, allowed: str | Iterable[str], argument: str) -> None:
        if not hasattr(allowed, "__iter__"):
            raise TypeError(f"{argument} must be str or an iterable of str, not {type(allowed).__name__}")
        names = [each.strip() for each in allowed.split(",")] if isinstance(allowed, str) else list(allowed)
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"{argument} must be of str, not of {type(name).__name__}")
        self._all = "*" in names
        self._unix = "unix" in names
        self._networks = [_network(name, argument) for name in names if name and name not in ("*", "unix")]
        self.nobody = not (self._all or self._unix or self._networks)

    def has_peer(self, host: str | None) -> bool:
        """Whether a connection's peer is among them: by its IP address, None if it has none."""
        if host is None:
            return self._all or self._unix
        return self.has(parsed_address(host))

    def has(self, address: Address | None) -> bool:
        """Whether this address is; None is one that nobody knows."""
        return self._all or (address is not None and any(address in network for network in self._networks))


def parsed_address(text: str) -> Address | None:
    """The IP address that a text is, without a zone, and IPv4's own where IPv6 has it mapped; None if it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _network(name: str, argument: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(name)
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from None
