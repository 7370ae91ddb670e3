"""`Headers` and `NeverIndexed`: what users give, what they get back, and what hpack sees."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_h2.headers import Headers, HeadersLike, NeverIndexed, trusted_headers

PAIRS = [(b"accept", b"*/*"), (b"x-a", b"1"), (b"x-a", b"2")]


@pytest.mark.parametrize(
    "source",
    [
        [("accept", "*/*"), ("x-a", "1"), ("x-a", "2")],
        (("Accept", "*/*"), ["X-A", b"1"], (b"X-a", "2")),
        iter(PAIRS),
        (pair for pair in PAIRS),
        Headers(PAIRS),
        trusted_headers(PAIRS),
    ],
)
def test_every_iterable_of_pairs_gives_the_same_headers(source: HeadersLike) -> None:
    headers = Headers(source)
    assert list(headers) == PAIRS
    assert headers.raw == tuple(PAIRS)
    assert headers == Headers(PAIRS)
    assert hash(headers) == hash(Headers(PAIRS))


@pytest.mark.parametrize(
    "source",
    [
        {"Accept": "*/*", "x-a": b"1"},
        {b"accept": b"*/*", b"X-A": "1"},
        {b"accept": b"*/*", "x-a": "1"},
    ],
)
def test_mappings_are_taken(source: HeadersLike) -> None:
    assert Headers(source).raw == ((b"accept", b"*/*"), (b"x-a", b"1"))


def test_it_is_empty_by_default() -> None:
    headers = Headers()
    assert len(headers) == 0
    assert not headers
    assert headers.raw == ()
    assert repr(headers) == "Headers([])"


def test_it_works_with_the_builtins() -> None:
    headers = Headers(PAIRS)
    assert len(headers) == 3
    assert Headers(headers).raw == headers.raw
    assert copy.deepcopy(headers) == headers
    assert pickle.loads(pickle.dumps(headers)) == headers


def test_items_are_text_in_order() -> None:
    headers = Headers([("B", b"caf\xe9"), (b"a", "1"), NeverIndexed("b", "2")])
    assert headers.items() == [("b", "caf\xe9"), ("a", "1"), ("b", "2")]
    assert trusted_headers(PAIRS).items() == [("accept", "*/*"), ("x-a", "1"), ("x-a", "2")]
    assert Headers().items() == []


@pytest.mark.parametrize("make", [dict, lambda headers: {**headers}])
def test_a_dict_of_headers_is_text(make: Callable[[Headers], dict[str, str]]) -> None:
    headers = Headers([("B", b"caf\xe9"), (b"a", "1"), NeverIndexed("c", "2")])
    assert headers.keys() == ["b", "a", "c"]
    assert list(make(headers).items()) == headers.items()
    assert make(Headers()) == {}


@pytest.mark.parametrize("make", [dict, lambda headers: {**headers}, lambda headers: {}.update(headers)])
def test_rfc9110_5_3_a_dict_that_would_lose_a_value_is_a_type_error(make: Callable[[Headers], object]) -> None:
    headers = Headers([("a", "1"), ("set-cookie", "secret"), ("Set-Cookie", "secret"), ("a", "2"), ("A", "3")])
    with pytest.raises(TypeError) as caught:
        make(headers)
    assert str(caught.value) == "the field 'a' is there 3 times, and a dict holds one: use items() or get_all()"


def test_a_name_that_repeats_is_shown_escaped_and_cut() -> None:
    with pytest.raises(TypeError) as caught:
        dict(trusted_headers([(b"\xff\n" + b"a" * 10_000, b"1")] * 2))
    assert "'\\xff\\n" in str(caught.value)
    assert len(str(caught.value)) < 200


def test_what_is_sent_on_is_the_headers_and_not_its_items() -> None:
    headers = Headers([("a", b"caf\xe9"), NeverIndexed("b", "2")])
    assert Headers(headers) == Headers(headers.raw) == Headers(list(headers)) == headers
    with pytest.raises(ValueError, match="headers: a must be ASCII"):
        Headers(headers.items())


def test_lookups_ignore_case_and_answer_text() -> None:
    headers = Headers([(b"x-name", b"caf\xe9"), ("x-name", "tea"), ("other", "")])
    assert headers["X-Name"] == headers[b"x-NAME"] == "caf\xe9"
    assert headers.get("x-name") == "caf\xe9"
    assert headers.get("other", "default") == ""
    assert headers.get("absent") is None
    assert headers.get("absent", "default") == "default"
    assert headers.get_all("X-NAME") == ["caf\xe9", "tea"]
    assert headers.get_all(b"absent") == []
    assert "X-name" in headers
    assert b"OTHER" in headers
    assert "absent" not in headers
    with pytest.raises(KeyError, match="absent"):
        headers["absent"]


@pytest.mark.parametrize("name", ["\u212aelvin", "\udcff", ""])
def test_looking_up_any_text_is_no_error(name: str) -> None:
    headers = Headers([("kelvin", "1")])
    assert name not in headers
    assert headers.get(name) is None


@pytest.mark.parametrize("name", [None, 1, ("x-a", "1")])
def test_looking_up_something_else_is_a_type_error(name: object) -> None:
    headers = Headers(PAIRS)
    with pytest.raises(TypeError, match="field name must be str or bytes"):
        name in headers  # noqa: B015
    with pytest.raises(TypeError, match="field name must be str or bytes"):
        headers.get(name)  # type: ignore[call-overload]


def test_equality_is_about_order_and_octets() -> None:
    assert Headers(PAIRS) != Headers(PAIRS[::-1])
    assert Headers(PAIRS) != Headers(PAIRS[:2])
    assert Headers(PAIRS) != PAIRS
    assert Headers({"A": "1"}) == Headers([(b"a", b"1")])


def test_it_has_no_dict() -> None:
    with pytest.raises(AttributeError):
        Headers().note = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("source", [None, 1, "accept", b"accept", object()])
def test_a_source_of_a_wrong_type_is_a_type_error(source: object) -> None:
    with pytest.raises(TypeError, match="headers must be a mapping or an iterable of pairs"):
        Headers(source)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("element", "said"),
    [
        ("ab", "not str"),
        (b"ab", "not bytes"),
        (None, "not NoneType"),
        (("a",), "tuple of length 1"),
        (["a", "b", "c"], "list of length 3"),
        ({"a", "b"}, "not set"),
        ((1, "b"), "a field name must be str or bytes, not int"),
        (("a", 1), "headers: a must be str or bytes, not int"),
        (("a", None), "headers: a must be str or bytes, not NoneType"),
        (("a", bytearray(b"b")), "headers: a must be str or bytes, not bytearray"),
    ],
)
def test_a_type_error_says_which_element(element: object, said: str) -> None:
    with pytest.raises(TypeError, match=said) as caught:
        Headers([("good", "one"), element])  # type: ignore[list-item]
    assert str(caught.value).startswith(("headers[1]", "headers: a must"))


def test_a_value_error_names_the_field() -> None:
    with pytest.raises(ValueError, match=r"^headers\[0\]: the field name 'na\\u212ame' must be ASCII$"):
        Headers([("na\u212ame", "x")])
    with pytest.raises(ValueError, match=r"^headers: x-name must be ASCII, or bytes for other octets$") as caught:
        Headers([("a", "b"), ("X-Name", "s\xe9cret")])
    assert "cret" not in str(caught.value)


def test_rfc7541_7_1_3_never_indexed_survives_construction() -> None:
    headers = Headers(
        [
            ("accept", "*/*"),
            NeverIndexed("Authorization", "secret"),
            NeverIndexed(b"COOKIE", b"secret"),
            hpack.NeverIndexedHeaderTuple("X-Key", "secret"),
            hpack.NeverIndexedHeaderTuple(b"X-Key", b"secret"),
            hpack.HeaderTuple(b"X-Plain", b"value"),
        ]
    )
    names = [b"accept", b"authorization", b"cookie", b"x-key", b"x-key", b"x-plain"]
    assert [name for name, _ in headers] == names
    for again in (headers, Headers(headers), Headers(list(headers))):
        assert [isinstance(pair, NeverIndexed) for pair in again] == [False, True, True, True, True, False]
        assert [name for name, value in again if value == b"secret"] == names[1:5]


def test_rfc7541_7_1_3_hpack_encodes_never_indexed_as_such() -> None:
    block = hpack.Encoder().encode(Headers([NeverIndexed("x-key", "secret"), ("x-plain", "value")]))
    decoded = hpack.Decoder().decode(block, raw=True)
    assert [type(pair) for pair in decoded] == [hpack.NeverIndexedHeaderTuple, hpack.HeaderTuple]
    assert Headers(decoded) == Headers([(b"x-key", b"secret"), (b"x-plain", b"value")])


def test_never_indexed_is_a_pair_of_octets() -> None:
    field = NeverIndexed("X-Key", "secret")
    name, value = field
    assert (name, value) == field == (b"x-key", b"secret")
    assert field.indexable is False
    assert copy.copy(field) == field
    assert type(pickle.loads(pickle.dumps(field))) is NeverIndexed
    with pytest.raises(TypeError, match=r"^NeverIndexed: a field name must be"):
        NeverIndexed(1, "secret")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^NeverIndexed: x-key must be ASCII"):
        NeverIndexed("x-key", "\xe9")


def test_repr_shows_no_secret() -> None:
    field = NeverIndexed("x-key", "secret")
    assert repr(field) == "NeverIndexed(b'x-key', ...)"
    assert repr(Headers([("a", "b"), field])) == "Headers([(b'a', b'b'), NeverIndexed(b'x-key', ...)])"
    decoded = trusted_headers([hpack.NeverIndexedHeaderTuple(b"x-key", b"secret")])
    assert repr(decoded) == "Headers([NeverIndexed(b'x-key', ...)])"


def test_trusted_keeps_the_sequence() -> None:
    pairs = list(PAIRS)
    assert trusted_headers(pairs)._pairs is pairs
    assert Headers(trusted_headers(pairs))._pairs is pairs


@given(st.lists(st.tuples(st.binary() | st.text(st.characters(codec="ascii")), st.binary())))
def test_construction_is_idempotent(pairs: list[tuple[str | bytes, bytes]]) -> None:
    headers = Headers(pairs)
    assert Headers(list(headers)) == headers
    assert [value for _, value in headers] == [value for _, value in pairs]
    for name, _ in pairs:
        assert headers[name] == headers.get_all(name)[0]
