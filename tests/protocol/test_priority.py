"""The priority signal of RFC 9218, and as much of RFC 8941 as it takes to find it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_h2.protocol.priority import Priority, parse_priority_untrusted, priority_untrusted

from . import helpers as h

DEFAULT = (3, False)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", DEFAULT),
        (b"   ", DEFAULT),
        (b"u=0", (0, False)),
        (b"u=7", (7, False)),
        (b"i", (3, True)),
        (b"i=?1", (3, True)),
        (b"i=?0", DEFAULT),
        (b"u=5, i", (5, True)),
        (b"i,u=5", (5, True)),
        (b"  u=5\t ,\t i ", (5, True)),
        (b"u=007", (7, False)),
        (b"u=-0", (0, False)),
    ],
)
def test_rfc9218_4_parameters(value: bytes, expected: tuple[int, bool]) -> None:
    assert parse_priority_untrusted(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        b"u=8",
        b"u=-1",
        b"u=999999999999999",
        b"u=1.0",
        b'u="1"',
        b"u=one",
        b"u=?1",
        b"u=:MQ==:",
        b"u=(1 2)",
        b"u=()",
        b"u",
        b"i=1",
        b"i=0",
        b'i="?1"',
        b"i=true",
        b"i=(?1)",
        b"x, y=1, *z=2",
        b"u1=1, i2",
    ],
)
def test_rfc9218_4_unknown_out_of_range_and_wrongly_typed_parameters_are_ignored(value: bytes) -> None:
    assert parse_priority_untrusted(value) == DEFAULT
    # Ignoring one leaves the others in force.
    assert parse_priority_untrusted(value + b", u=2, i") == (2, True)


@pytest.mark.parametrize(
    "value",
    [
        b'u=1;a=b, x="a,b", i',
        b'x="u=5", u=1, i',
        b'x="\\"u=5\\\\", u=1, i',
        b'u=1; a;b=1.5;c="i=?0";d=:YQ==:;e=?0, i;f',
        b'x=("a" b;q=1  ?1 );u=5, u=1, i',
        b"x=( ), u=1, i=?1;a",
        b"*a-b_c.d=*tok/en:x, u=1, i",
        b"x=-12.345, y=999999999999.999, u=1, i",
        b"u=5, i=?0, u=1, i",
    ],
)
def test_rfc8941_3_2_other_members_and_parameters_are_skipped(value: bytes) -> None:
    assert parse_priority_untrusted(value) == (1, True)


def test_rfc8941_4_2_2_the_last_member_of_a_key_wins_even_if_it_is_useless() -> None:
    assert parse_priority_untrusted(b"u=1, u=2") == (2, False)
    assert parse_priority_untrusted(b"u=1, u=foo") == DEFAULT
    assert parse_priority_untrusted(b"i, i=?0") == DEFAULT
    assert parse_priority_untrusted(b"i, i=(a)") == DEFAULT


@pytest.mark.parametrize(
    "value",
    [
        b"u=1,",
        b",u=1",
        b"u=1,,i",
        b"u=1 i",
        b"\tu=1",
        b"u =1",
        b"u= 1",
        b"u=",
        b"u=1;",
        b"u=1 ;a",
        b"u=1;A",
        b"u=1;a=",
        b"U=1",
        b"1=u",
        b"u=1x",
        b"u=1234567890123456",
        b"u=1.",
        b"u=1, x=1.2345",
        b"u=1, x=1234567890123.1",
        b'u=1, x="a',
        b'u=1, x="\\a"',
        b'u=1, x="\x7f"',
        b"u=1, x=:a",
        b"u=1, x=?2",
        b"u=1, x=(a",
        b'u=1, x=("a""b")',
        b"u=1, x=(a\tb)",
        b"u=1, \xff",
        b"u=1\0",
        b"u=1\n",
    ],
)
def test_rfc8941_4_2_what_is_no_dictionary_is_ignored_as_a_whole(value: bytes) -> None:
    assert parse_priority_untrusted(value) == DEFAULT


@pytest.mark.parametrize(
    "value",
    [
        b"u=(" + b"1.1 " * 50_000,
        b'a="' + b"\\\\" * 50_000,
        b"a;b" * 50_000,
        b"a," * 50_000,
        b" " * 200_000 + b";",
    ],
)
def test_long_values_take_linear_time(value: bytes) -> None:
    start = time.perf_counter()
    assert parse_priority_untrusted(value) == DEFAULT
    assert time.perf_counter() - start < 2


def test_rfc9113_10_5_a_priority_over_256_octets_is_ignored() -> None:
    """RFC 9218 section 4 lets a receiver do so."""
    longest = b"u=5, a=" + b"a" * 249
    assert len(longest) == 256
    assert priority_untrusted(longest) == Priority(5)
    with h.counted_calls() as calls:
        assert priority_untrusted(longest + b"a") == Priority()
        assert priority_untrusted(b"u," * 8_000 + b"u=1") == Priority()
    assert calls[0] < 40


def test_rfc9113_10_5_a_priority_costs_the_same_however_many_members_it_has() -> None:
    counts = []
    for value in (b"u=1,u=2,u=3,u=4, i", b",".join([b"u=4"] * 63)):
        with h.counted_calls() as calls:
            assert priority_untrusted(value).urgency == 4
        counts.append(calls[0])
    assert abs(counts[0] - counts[1]) < 10


@given(st.binary() | st.from_regex(rb"[ui=?01;,\"() :.a-]*", fullmatch=True))
def test_nothing_a_peer_sends_raises(value: bytes) -> None:
    urgency, incremental = parse_priority_untrusted(value)
    assert 0 <= urgency <= 7
    assert incremental in (True, False)


@given(st.integers(0, 7), st.booleans())
def test_rfc9218_4_what_is_encoded_is_parsed_as_the_same(urgency: int, incremental: bool) -> None:
    encoded = Priority(urgency, incremental).encode()
    assert parse_priority_untrusted(encoded) == (urgency, incremental)


def test_rfc9218_8_encoding_always_says_the_urgency() -> None:
    assert Priority().encode() == b"u=3"
    assert Priority(urgency=0).encode() == b"u=0"
    assert Priority(incremental=True).encode() == b"u=3, i"


def test_priority_is_a_frozen_value() -> None:
    priority = Priority(1, True)
    assert priority == Priority(urgency=1, incremental=True)
    assert hash(priority) == hash(Priority(1, True))
    with pytest.raises(AttributeError):
        priority.urgency = 2  # type: ignore[misc]


@pytest.mark.parametrize("urgency", [-1, 8])
def test_rfc9218_4_1_urgency_out_of_range_is_a_value_error(urgency: int) -> None:
    with pytest.raises(ValueError, match="urgency must be from 0 to 7"):
        Priority(urgency)


def test_wrong_types_are_type_errors_that_name_the_argument() -> None:
    for urgency in ("1", None, True, 1.0):
        with pytest.raises(TypeError, match="urgency must be an int"):
            Priority(urgency)  # type: ignore[arg-type]
    for incremental in (1, "yes", None):
        with pytest.raises(TypeError, match="incremental must be a bool"):
            Priority(3, incremental)  # type: ignore[arg-type]
