"""Headers of the PROXY protocol, as proxies send them; the sum is reckoned bit by bit, unlike the package's."""

from __future__ import annotations

import ipaddress
import struct

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"

TCP4 = b"PROXY TCP4 198.51.100.7 203.0.113.9 51000 443\r\n"
TCP6 = b"PROXY TCP6 2001:db8::7 2001:db8::9 51000 443\r\n"


def binary(
    rest: bytes = b"", *, version: int = 2, command: int = 1, kind: int = 0x11, length: int | None = None
) -> bytes:
    """A header of version 2, whatever it holds."""
    return SIGNATURE + struct.pack("!BBH", version << 4 | command, kind, len(rest) if length is None else length) + rest


def addresses(source: str, destination: str, source_port: int = 51000, destination_port: int = 443) -> bytes:
    packed = [ipaddress.ip_address(each).packed for each in (source, destination)]
    return b"".join(packed) + struct.pack("!HH", source_port, destination_port)


def unix(source: bytes, destination: bytes) -> bytes:
    return source.ljust(108, b"\0") + destination.ljust(108, b"\0")


def value(kind: int, octets: bytes) -> bytes:
    return struct.pack("!BH", kind, len(octets)) + octets


def by_tls(client: int = 1) -> bytes:
    """PP2_TYPE_SSL, with the version and the cipher suite in it."""
    return value(0x20, struct.pack("!BI", client, 1) + value(0x21, b"TLSv1.3") + value(0x23, b"TLS_AES_128_GCM_SHA256"))


FOUR = addresses("198.51.100.7", "203.0.113.9")
SIX = addresses("2001:db8::7", "2001:db8::9")


def with_sum(rest: bytes, *, kind: int = 0x11, wrong: int = 0) -> bytes:
    """A header that ends with its own checksum."""
    header = bytearray(binary(rest + value(0x03, bytes(4)), kind=kind))
    header[-4:] = (castagnoli(bytes(header)) ^ wrong).to_bytes(4, "big")
    return bytes(header)


def with_two_sums(rest: bytes) -> bytes:
    """A header with two checksums, the first of which is right."""
    header = bytearray(binary(rest + value(0x03, bytes(4)) * 2))
    header[-11:-7] = castagnoli(bytes(header)).to_bytes(4, "big")
    return bytes(header)


def castagnoli(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for bit in (octet >> shift & 1 for octet in data for shift in range(8)):
        crc = crc >> 1 ^ (0x82F63B78 if (crc ^ bit) & 1 else 0)
    return crc ^ 0xFFFFFFFF
