"""The PROXY protocol's header, by the sections of HAProxy's proxy-protocol.txt."""

from __future__ import annotations

import ipaddress
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.proxy_headers import (
    FOUR,
    SIGNATURE,
    SIX,
    TCP4,
    TCP6,
    addresses,
    binary,
    by_tls,
    castagnoli,
    unix,
    value,
    with_sum,
    with_two_sums,
)
from trio_h2.adapters.proxy_protocol import ProxyHeader
from trio_h2.adapters.proxy_protocol.proxy_header import MAX_LENGTH, ProxyHeaderError, crc32c, parse

CLIENT4, SERVER4 = ("198.51.100.7", 51000), ("203.0.113.9", 443)
CLIENT6, SERVER6 = ("2001:db8::7", 51000, 0, 0), ("2001:db8::9", 443, 0, 0)
NOTHING = ProxyHeader()

LONGEST = b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
WORST = b"PROXY UNKNOWN " + b" ".join([LONGEST, LONGEST, b"65535", b"65535"]) + b"\r\n"

GOOD: dict[bytes, ProxyHeader] = {
    TCP4: ProxyHeader(CLIENT4, SERVER4),
    TCP6: ProxyHeader(CLIENT6, SERVER6),
    b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n": ProxyHeader(("0.0.0.0", 0), ("255.255.255.255", 65535)),
    b"PROXY TCP6 2001:DB8::A ::FFFF:192.0.2.1 1 2\r\n": ProxyHeader(
        ("2001:db8::a", 1, 0, 0), (str(ipaddress.IPv6Address("::ffff:192.0.2.1")), 2, 0, 0)
    ),
    b"PROXY UNKNOWN\r\n": NOTHING,
    b"PROXY UNKNOWN anything, \xff\n\r at all\r\n": NOTHING,
    WORST: NOTHING,
    binary(FOUR): ProxyHeader(CLIENT4, SERVER4),
    binary(SIX, kind=0x21): ProxyHeader(CLIENT6, SERVER6),
    binary(FOUR, kind=0x12): ProxyHeader(CLIENT4, SERVER4),
    binary(SIX, kind=0x22): ProxyHeader(CLIENT6, SERVER6),
    binary(unix(b"/run/a", b"/run/b"), kind=0x31): ProxyHeader("/run/a", "/run/b"),
    binary(unix(b"", b"\0abstract"), kind=0x32): ProxyHeader("", b"\0abstract"),
    binary(unix(b"a" * 108, b"a\0b"), kind=0x31): ProxyHeader("a" * 108, "a"),
    # What the proxy does not say of a client is the connection's own.
    binary(command=0, kind=0): NOTHING,
    binary(b"whatever", command=0, kind=0xFF): NOTHING,
    binary(FOUR, command=0): NOTHING,
    binary(kind=0): NOTHING,
    binary(b"whatever", kind=0): NOTHING,
    binary(FOUR, kind=0x10): NOTHING,
    binary(b"", kind=0x01): NOTHING,
    # Values.
    binary(FOUR + value(0x04, b"") + value(0xEA, b"\x01vpce")): ProxyHeader(
        CLIENT4, SERVER4, values=((0x04, b""), (0xEA, b"\x01vpce"))
    ),
    binary(FOUR + by_tls()): ProxyHeader(CLIENT4, SERVER4, tls=True, values=((0x20, by_tls()[3:]),)),
    binary(FOUR + by_tls(client=6)): ProxyHeader(CLIENT4, SERVER4, tls=False, values=((0x20, by_tls(6)[3:]),)),
    binary(SIX + value(0x01, b"h2") + value(0x02, b"example.org"), kind=0x21): ProxyHeader(
        CLIENT6, SERVER6, values=((0x01, b"h2"), (0x02, b"example.org"))
    ),
    binary(FOUR + value(0x04, bytes(MAX_LENGTH - 16 - 12 - 3))): ProxyHeader(
        CLIENT4, SERVER4, values=((0x04, bytes(MAX_LENGTH - 16 - 12 - 3)),)
    ),
}


@pytest.mark.parametrize("octets", GOOD)
def test_a_header_is_what_it_says_and_ends_where_it_says(octets: bytes) -> None:
    assert parse(octets) == (GOOD[octets], len(octets))
    assert parse(octets + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == (GOOD[octets], len(octets))


@pytest.mark.parametrize("octets", [each for each in GOOD if len(each) < MAX_LENGTH])
def test_of_a_header_that_is_not_whole_nothing_is_believed(octets: bytes) -> None:
    """Section 2.2: a receiver must not start to parse an address before all of it is there."""
    assert [parse(octets[:length]) for length in range(len(octets))] == [None] * len(octets)


BAD: dict[bytes, str] = {
    # Not the beginning of one.
    b"G": "it begins with b'G'",
    b"GET / HTTP/1.1\r\n": "it begins with b'GET / HTTP/1'",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": "it begins with",
    b"PROXy ": "it begins with",
    b"\x16\x03\x01": "it begins with",
    b"\r\n\r\n\0\r\nQUIT\r": "it begins with",
    # Section 2.1.
    b"PROXY \r\n": "no such line",
    b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n": "no such line",
    b"PROXY TCP4\r\n": "no such line",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n": "no such line",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n": "no such line",
    b"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n": "no such line",
    b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n": "no such line",
    b"PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n": "no such line",
    b"PROXY UNKNOWN\n\r\n": "no such line",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n\r\n": "no port",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n": "no port",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n": "no port",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n": "no port",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n": "no port",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n": "no port",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 \xb2 2\r\n": "no port",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 123456 2\r\n": "no port",
    b"PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n": "Leading zeros",
    b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n": "Expected 4 octets",
    b"PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n": "not permitted",
    b"PROXY TCP4 ::1 ::1 1 2\r\n": "Expected 4 octets",
    b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n": "At least 3 parts",
    b"PROXY TCP6 ::1 ::1%1 1 2\r\n": "no address",
    b"PROXY TCP6 ::1::2 ::1 1 2\r\n": "At most one '::'",
    WORST[:-2] + b"5\r\n": "a line of more than 107 octets",
    b"PROXY " + b"x" * 101: "a line of more than 107 octets",
    # Section 2.2.
    binary(FOUR, version=1): "version 1, command 1",
    binary(FOUR, version=3): "version 3, command 1",
    binary(FOUR, command=2): "version 2, command 2",
    binary(FOUR, kind=0x41): "family 4, protocol 1",
    binary(FOUR, kind=0x13): "family 1, protocol 3",
    binary(FOUR, kind=0xF0): "family 15, protocol 0",
    binary(FOUR[:-1]): "11 octets for addresses that have 12",
    binary(): "0 octets for addresses that have 12",
    binary(FOUR, kind=0x21): "12 octets for addresses that have 36",
    binary(SIX, kind=0x31): "36 octets for addresses that have 216",
    binary(length=65535): "a header of 65551 octets",
    binary(length=MAX_LENGTH - 15): "a header of 4097 octets",
    binary(length=65535, command=0): "a header of 65551 octets",
    # Its values.
    binary(FOUR + b"\x04"): "beyond its end",
    binary(FOUR + b"\x04\x00"): "beyond its end",
    binary(FOUR + b"\x04\x00\x01"): "beyond its end",
    binary(FOUR + value(0x20, bytes(4))): "too short",
    binary(FOUR + value(0x03, bytes(3))): "a checksum of 3 octets",
    with_sum(FOUR, wrong=1): "a checksum that is not its own",
    with_two_sums(FOUR): "more than one checksum",
}


@pytest.mark.parametrize("octets", BAD)
def test_what_is_no_header_is_refused(octets: bytes) -> None:
    with pytest.raises(ProxyHeaderError) as caught:
        parse(octets)
    assert BAD[octets] in str(caught.value)


@pytest.mark.parametrize("length", [16, 20, 1000])
def test_a_header_that_is_too_long_is_refused_before_it_is_received(length: int) -> None:
    with pytest.raises(ProxyHeaderError):
        parse(binary(bytes(length - 16), length=65535))


@pytest.mark.parametrize("rest", [FOUR, FOUR + by_tls(), FOUR + value(0x04, bytes(1000))])
def test_section_2_2_3_a_checksum_is_looked_at(rest: bytes) -> None:
    header = with_sum(rest)
    found = parse(header)
    assert found is not None
    assert found[0].source == CLIENT4
    for index in range(len(SIGNATURE) + 4, len(SIGNATURE) + 4 + len(FOUR)):
        changed = header[:index] + bytes([header[index] ^ 1]) + header[index + 1 :]
        with pytest.raises(ProxyHeaderError):
            parse(changed)


def test_the_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283 == castagnoli(b"123456789")
    assert crc32c(b"") == 0


@given(st.binary(max_size=300))
def test_any_octets_are_a_header_or_none(octets: bytes) -> None:
    """Nothing but a ProxyHeaderError comes out, and what more octets follow changes no verdict."""
    for start in (b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\x00"):
        check(start + octets)


@given(
    st.binary(max_size=240),
    st.integers(0, 255),
    st.integers(0, 255),
    st.one_of(st.none(), st.integers(0, 65535)),
)
def test_any_header_of_version_2_is_taken_or_refused(rest: bytes, first: int, kind: int, length: int | None) -> None:
    check(binary(rest, version=first >> 4, command=first & 15, kind=kind, length=length))


def check(octets: bytes) -> None:
    verdicts = [verdict(octets[:length]) for length in (len(octets) // 2, len(octets))] + [verdict(octets + b"\0")]
    for earlier, later in itertools.pairwise(verdicts):
        assert earlier is None or earlier == later
    if isinstance(verdicts[1], tuple):
        assert verdicts[1][1] <= len(octets)


def verdict(octets: bytes) -> Any:
    try:
        return parse(octets)
    except ProxyHeaderError:
        return ProxyHeaderError


@given(st.ip_addresses(), st.integers(0, 65535), st.integers(0, 65535))
def test_addresses_are_read_as_they_were_written(address: Any, source: int, destination: int) -> None:
    text = str(address)
    family = "TCP4" if address.version == 4 else "TCP6"
    line = f"PROXY {family} {text} {text} {source} {destination}\r\n".encode()
    kind = 0x11 if address.version == 4 else 0x21
    found = parse(line)
    same = parse(binary(addresses(text, text, source, destination), kind=kind))
    assert found is not None
    assert same is not None
    assert found[0] == same[0]
    assert found[0].source[:2] == (text, source)
    assert found[0].destination[:2] == (text, destination)
