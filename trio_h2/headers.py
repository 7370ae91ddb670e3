"""HTTP fields as the user gives and gets them: an immutable, ordered multi-map.

RFC 9110 section 5.2 lets a field name occur more than once and RFC 9110 section 5.3 makes the order of such lines
matter, so a dict cannot hold a header section. `Headers` keeps the raw octets in wire order and
answers look-ups as text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Self, TypeVar, overload

from hpack import NeverIndexedHeaderTuple

from .wording import field_name, quoted

__all__ = [
    "SECRET_FIELDS",
    "Headers",
    "HeadersLike",
    "NeverIndexed",
    "encoded",
    "keep_split",
    "kept_split",
    "trusted_headers",
]

T = TypeVar("T")

HeadersLike = (
    Mapping[str, str | bytes]
    | Mapping[bytes, str | bytes]
    | Mapping[str | bytes, str | bytes]
    | Iterable[tuple[str | bytes, str | bytes]]
)
"""What every `headers=` and `trailers=` argument takes: a mapping, or an iterable of pairs."""


SECRET_FIELDS = frozenset((b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"))
"""The names of the header fields whose values are credentials or a session, marked as `NeverIndexed` or not.

Their values are never logged, and not remembered for the next message. Neither are the first three put into a
compression table, but for long cookies.
"""


class NeverIndexed(NeverIndexedHeaderTuple):
    """One `(name, value)` pair whose value is a secret that HPACK must never index.

    Use it as an element of a header list: `[NeverIndexed("authorization", token), ("accept", "*/*")]`.
    The field is sent as a literal that no hop may put into a compression table, so its value cannot be
    guessed by watching compressed sizes (RFC 7541 section 7.1.3), and `repr` does not show it. Authorization,
    Proxy-Authorization and cookies of less than 20 octets are sent so without being marked.

    Args:
        name: the field name, ASCII `str` or `bytes`, lower-cased (RFC 9113 section 8.2).
        value: the field value, ASCII `str` or `bytes`.

    It is a plain `tuple[bytes, bytes]` otherwise and has `indexable = False`.

    Raises:
        TypeError: if an argument is neither `str` nor `bytes`.
        ValueError: if a `str` is not ASCII.
    """

    __slots__ = ()

    def __new__(cls, name: str | bytes, value: str | bytes) -> Self:
        raw_name = _encode_name(name, "NeverIndexed")
        return super().__new__(cls, raw_name, _encode_value(value, raw_name, "NeverIndexed"))

    def __getnewargs__(self) -> tuple[bytes, bytes]:
        return self[0], self[1]

    def __repr__(self) -> str:
        return f"NeverIndexed({self[0]!r}, ...)"


class Headers:
    """An immutable, ordered multi-map of HTTP fields (RFC 9110 section 5).

    Iterating gives the raw `(name, value)` pairs of `bytes` in order, so `list(h)`, `len(h)` and `Headers(h)` do
    what they say. Look-ups take a name as `str` or `bytes` in any case and answer `str`, decoded as latin-1, which
    maps every octet to one character (RFC 9110 section 5.5). `items()` gives all pairs as such `str`, and `dict(h)`
    a dict of them if no name occurs twice; it raises TypeError if one does.

    Args:
        source: pairs of `str` (ASCII) or `bytes`, as an iterable, a mapping or another `Headers`;
            empty by default. Names are lower-cased (RFC 9113 section 8.2). A pair given as `NeverIndexed` or as
            `hpack.NeverIndexedHeaderTuple` stays `NeverIndexed`.

    Raises:
        TypeError: if `source` or one of its elements has a wrong type; the message says which element.
        ValueError: if a `str` is not ASCII; the message names the field. Give `bytes` for other octets.

    Whether the fields are *valid* HTTP/2 is not judged here but where they are sent.
    """

    __slots__ = ("_pairs", "_split")

    _pairs: Sequence[tuple[bytes, bytes]]
    _split: object

    def __init__(self, source: HeadersLike = ()) -> None:
        self._split = None
        if isinstance(source, Headers):
            self._pairs = source._pairs
            return
        self._pairs = encoded(source, "headers")

    @property
    def raw(self) -> tuple[tuple[bytes, bytes], ...]:
        """Every `(name, value)` pair in order, as octets."""
        return tuple(self._pairs)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __contains__(self, name: object) -> bool:
        """Whether a field of this name is present. Raises TypeError if `name` is not `str` or `bytes`."""
        return self._first(name) is not None

    def __getitem__(self, name: str | bytes) -> str:
        """The first value of the field `name`.

        Raises:
            KeyError: if there is no such field.
            TypeError: if `name` is not `str` or `bytes`.
        """
        value = self._first(name)
        if value is None:
            raise KeyError(name)
        return value.decode("latin-1")

    @overload
    def get(self, name: str | bytes) -> str | None: ...

    @overload
    def get(self, name: str | bytes, default: T) -> str | T: ...

    def get(self, name: str | bytes, default: T | None = None) -> str | T | None:
        """The first value of the field `name`, or `default` (None) if there is no such field."""
        value = self._first(name)
        return default if value is None else value.decode("latin-1")

    def get_all(self, name: str | bytes) -> list[str]:
        """Every value of the field `name`, in order; empty if there is none."""
        wanted = _lookup_key(name)
        return [value.decode("latin-1") for key, value in self._pairs if key == wanted]

    def items(self) -> list[tuple[str, str]]:
        """Every `(name, value)` pair in order as `str`, decoded as latin-1: to look at.

        To send fields on, give the `Headers` itself, or pairs of it or of `raw`: of these, values outside ASCII are
        refused, and what was `NeverIndexed` is a plain pair.
        """
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._pairs]

    def keys(self) -> list[str]:
        """The names in order, as `str`: what `dict(headers)` and `{**headers}` go by.

        Raises:
            TypeError: a name occurs more than once (RFC 9110 section 5.3), and a dict would keep one of its values;
                the message says which name. `items()` has them all, `get_all` those of one name.
        """
        names = [name.decode("latin-1") for name, _ in self._pairs]
        if len(set(names)) != len(names):
            name, times = Counter(names).most_common(1)[0]
            text = f"the field {name[:60]!a} is there {times} times, and a dict holds one: use items() or get_all()"
            raise TypeError(text)
        return names

    def _keep(self, split: object) -> None:
        self._split = split

    def _first(self, name: object) -> bytes | None:
        # The most common case of `_lookup_key`, without a call of it.
        wanted = name.encode("utf-8", "surrogatepass").lower() if type(name) is str else _lookup_key(name)
        for key, value in self._pairs:
            if key == wanted:
                return value
        return None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"Headers([{', '.join(_show_pair(pair) for pair in self._pairs)}])"


def trusted_headers(pairs: Sequence[tuple[bytes, bytes]]) -> Headers:
    """Wrap pairs the engine decoded and validated itself: no check, no copy, O(1).

    The caller gives the sequence away: nobody may change it afterwards.
    """
    headers = Headers.__new__(Headers)
    headers._pairs = pairs
    headers._split = None
    return headers


def keep_split(headers: Headers, split: object) -> None:
    """Keep what was made of a header section beside it, for the next message that has the same, and so this object."""
    headers._keep(split)


def kept_split(headers: Headers) -> object:
    """What `keep_split` was given last; None at first."""
    return headers._split


def encoded(source: object, argument: str) -> tuple[tuple[bytes, bytes], ...]:
    """What a user gave as the argument of this name, as raw pairs. Raises TypeError or ValueError, naming it."""
    return tuple([_encode_pair(pair, argument, index) for index, pair in enumerate(_elements(source, argument))])


def _elements(source: object, argument: str) -> Iterable[object]:
    """What a `Headers` is built from, element by element."""
    if isinstance(source, (tuple, list)):  # by far the most common; asking the ABCs costs more than the rest
        return source
    if isinstance(source, Mapping):
        return source.items()
    if isinstance(source, Iterable) and not isinstance(source, (str, bytes)):
        return source
    raise TypeError(f"{argument} must be a mapping or an iterable of pairs, not {type(source).__name__}")


def _encode_pair(pair: object, argument: str, index: int) -> tuple[bytes, bytes]:
    """One element of a user's header list as raw octets, or an error that says which element is wrong."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(f"{argument}[{index}] must be a (name, value) pair, not {_describe(pair)}")
    name, value = pair
    raw_name = _encode_name(name, argument, index)
    raw_value = _encode_value(value, raw_name, argument)
    if isinstance(pair, NeverIndexedHeaderTuple):
        return NeverIndexed(raw_name, raw_value)
    return raw_name, raw_value


def _encode_name(name: object, argument: str, index: int | None = None) -> bytes:
    """A field name as lower-case octets (RFC 9113 section 8.2)."""
    if isinstance(name, str):
        try:
            name = name.encode("ascii")
        except UnicodeEncodeError:
            raise ValueError(f"{_place(argument, index)}: the field name {quoted(name)} must be ASCII") from None
    # Lower-cased as octets: str.lower() would turn some letters outside ASCII into ASCII ones.
    if isinstance(name, bytes):
        return name.lower()
    raise TypeError(f"{_place(argument, index)}: a field name must be str or bytes, not {type(name).__name__}")


def _place(argument: str, index: int | None) -> str:
    return argument if index is None else f"{argument}[{index}]"


def _encode_value(value: object, name: bytes, place: str) -> bytes:
    """A field value as octets. Errors name the field and never show the value, which may be a secret."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return value.encode("ascii")
        except UnicodeEncodeError:
            pass
        raise ValueError(f"{place}: {field_name(name)} must be ASCII, or bytes for other octets")
    raise TypeError(f"{place}: {field_name(name)} must be str or bytes, not {type(value).__name__}")


def _lookup_key(name: object) -> bytes:
    if isinstance(name, str):
        # Any text may be asked for; a name outside ASCII simply matches no valid field.
        name = name.encode("utf-8", "surrogatepass")
    if isinstance(name, bytes):
        return name.lower()
    raise TypeError(f"a field name must be str or bytes, not {type(name).__name__}")


def _describe(thing: object) -> str:
    """A wrong element by its type, and its length if that is what is wrong; never its content."""
    kind = type(thing).__name__
    return f"{kind} of length {len(thing)}" if isinstance(thing, (tuple, list)) else kind


def _show_pair(pair: tuple[bytes, bytes]) -> str:
    name, value = pair
    if isinstance(pair, NeverIndexedHeaderTuple):
        return f"NeverIndexed({name!r}, ...)"
    return f"({name!r}, {value!r})"
