"""ProxyHeader: what a proxy says of a connection before its first octet, by HAProxy's proxy-protocol.txt.

Version 1 is a line of text (its section 2.1), version 2 is binary (section 2.2). Neither begins as HTTP or TLS does.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
import struct
from collections.abc import Iterator
from typing import Any

import attrs

__all__ = ["MAX_LENGTH", "ProxyHeader", "ProxyHeaderError", "parse"]

MAX_LENGTH = 4096
"""Octets of a whole header. Most have less than a hundred; those with many TLVs have some hundred more."""

MAX_LINE = 107
"""Octets of a line of version 1, its end included."""

TEXT = b"PROXY "
BINARY = b"\r\n\r\n\0\r\nQUIT\n"
FIXED = struct.Struct("!12sBBH")
TLV = struct.Struct("!BH")

PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
WORDS = 6

LOCAL, PROXY = 0, 1
UNSPECIFIED, INET, INET6, UNIX = range(4)
PROTOCOLS = 3
"""Unspecified, stream and datagram; what is above is none."""

ADDRESSES = {INET: struct.Struct("!4s4sHH"), INET6: struct.Struct("!16s16sHH"), UNIX: struct.Struct("!108s108s")}

TYPE_CRC32C, TYPE_SSL = 0x03, 0x20
CLIENT_SSL = 0x01
SSL_FIXED = 5
"""Octets before the values within a value of TYPE_SSL."""


class ProxyHeaderError(ValueError):
    """These octets are no header, nor the beginning of one."""


@attrs.frozen
class ProxyHeader:
    """What a proxy says of a connection.

    Attributes:
        source: the client's address, as `socket.getpeername` would have it; None where the proxy speaks for itself (a
            health check, say), or knows no address: then the socket's own holds.
        destination: the address that the client connected to, as `socket.getsockname` would have it; or None.
        tls: Whether the client came by TLS, which the proxy has taken off.
        values: what else version 2 says, as pairs of a type and its octets (section 2.2 of its specification).
    """

    source: Any = None
    destination: Any = None
    tls: bool = False
    values: tuple[tuple[int, bytes], ...] = ()


def parse(data: bytes) -> tuple[ProxyHeader, int] | None:
    """The header that these octets begin with, and its length; None while more of them are needed.

    Raises:
        ProxyHeaderError: they are none, whatever may follow.
    """
    for signature, parsed in ((TEXT, _parsed_text), (BINARY, _parsed_binary)):
        if data.startswith(signature):
            return parsed(data)
        if signature.startswith(data):
            return None
    raise ProxyHeaderError(f"it begins with {data[: len(BINARY)]!r}")


# Version 1


def _parsed_text(data: bytes) -> tuple[ProxyHeader, int] | None:
    line, end, _ = data[:MAX_LINE].partition(b"\r\n")
    if not end:
        if len(data) >= MAX_LINE:
            raise ProxyHeaderError(f"a line of more than {MAX_LINE} octets")
        return None
    words = line.split(b" ")
    length = len(line) + len(end)
    if words[1] == b"UNKNOWN":
        return ProxyHeader(), length
    if len(words) != WORDS or words[1] not in (b"TCP4", b"TCP6"):
        raise ProxyHeaderError(f"no such line: {line!r}")
    _, family, source, destination, source_port, destination_port = words
    try:
        return ProxyHeader(
            _text_address(family, source, source_port), _text_address(family, destination, destination_port)
        ), length
    except ValueError as error:
        raise ProxyHeaderError(str(error)) from None


def _text_address(family: bytes, host: bytes, port: bytes) -> Any:
    if not PORT.fullmatch(port) or int(port) > 0xFFFF:
        raise ValueError(f"no port: {port!r}")
    text = host.decode("latin-1")
    if family == b"TCP4":
        return str(ipaddress.IPv4Address(text)), int(port)
    if "%" in text:  # a zone means nothing here
        raise ValueError(f"no address: {host!r}")
    return str(ipaddress.IPv6Address(text)), int(port), 0, 0


# Version 2


def _parsed_binary(data: bytes) -> tuple[ProxyHeader, int] | None:
    if len(data) < FIXED.size:
        return None
    _, version_and_command, family_and_protocol, rest = FIXED.unpack_from(data)
    version, command = divmod(version_and_command, 16)
    if version != 2 or command not in (LOCAL, PROXY):
        raise ProxyHeaderError(f"version {version}, command {command}")
    length = FIXED.size + rest
    if length > MAX_LENGTH:
        raise ProxyHeaderError(f"a header of {length} octets")
    if len(data) < length:
        return None
    if command == LOCAL:  # section 2.2: what follows is to be discarded, the family included
        return ProxyHeader(), length
    return _proxied(data[:length], *divmod(family_and_protocol, 16)), length


def _proxied(data: bytes, family: int, protocol: int) -> ProxyHeader:
    """What a whole header of version 2 says of another's connection. The protocols have the same addresses."""
    if family not in (UNSPECIFIED, *ADDRESSES) or protocol >= PROTOCOLS:
        raise ProxyHeaderError(f"family {family}, protocol {protocol}")
    if family == UNSPECIFIED or protocol == UNSPECIFIED:
        return ProxyHeader()  # how long its addresses are nobody knows, nor where values begin
    addresses = ADDRESSES[family]
    if len(data) < FIXED.size + addresses.size:
        raise ProxyHeaderError(f"{len(data) - FIXED.size} octets for addresses that have {addresses.size}")
    source, destination, *ports = addresses.unpack_from(data, FIXED.size)
    source_port, destination_port = ports or (0, 0)
    values: list[tuple[int, bytes]] = []
    tls = False
    for kind, start, end in _values(data, FIXED.size + addresses.size):
        value = data[start:end]
        if kind == TYPE_CRC32C:
            if any(earlier == TYPE_CRC32C for earlier, _ in values):  # each would cost a pass over all
                raise ProxyHeaderError("more than one checksum")
            _check_sum(data, start, value)
        elif kind == TYPE_SSL:
            if len(value) < SSL_FIXED:
                raise ProxyHeaderError("a value of PP2_TYPE_SSL that is too short")
            tls = bool(value[0] & CLIENT_SSL)
        values.append((kind, value))
    return ProxyHeader(
        _address(family, source, source_port), _address(family, destination, destination_port), tls, tuple(values)
    )


def _address(family: int, packed: bytes, port: int) -> Any:
    if family == UNIX:
        name = packed.rstrip(b"\0")
        # As sockets have them: the name of one in Linux's abstract namespace begins with a zero, and is no path.
        return name if name.startswith(b"\0") else os.fsdecode(name.partition(b"\0")[0])
    host = str(ipaddress.ip_address(packed))
    return (host, port) if family == INET else (host, port, 0, 0)


def _values(data: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """The type of each TLV, and where its octets begin and end."""
    while start < len(data):
        end = start + TLV.size
        if end <= len(data):
            kind, length = TLV.unpack_from(data, start)
            start, end = end, end + length
        if end > len(data):
            raise ProxyHeaderError("a value that goes beyond its end")
        yield kind, start, end
        start = end


def _check_sum(data: bytes, start: int, value: bytes) -> None:
    """Section 2.2.3: the sum is over the whole header, with zeros for itself."""
    if len(value) != 4:
        raise ProxyHeaderError(f"a checksum of {len(value)} octets")
    if crc32c(data[:start] + bytes(4) + data[start + 4 :]) != int.from_bytes(value, "big"):
        raise ProxyHeaderError("a checksum that is not its own")


def crc32c(data: bytes) -> int:
    """Castagnoli's CRC (RFC 4960 appendix B)."""
    table = _crc_table()
    crc = 0xFFFFFFFF
    for octet in data:
        crc = table[(crc ^ octet) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@functools.cache
def _crc_table() -> list[int]:
    table = []
    for octet in range(256):
        crc = octet
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table
