"""Header sections to be sent, given as hyper-h2 takes them: text or octets, in any case, with what is HTTP/1.1's.

Every user of the in-memory engine sends the same few sections again and again, so what was found good is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from hpack import HeaderTuple, NeverIndexedHeaderTuple

from ..exceptions import ProtocolError
from ..protocol.field_rules import CONNECTION_SPECIFIC, Fields, Malformed, check_trailers
from ..protocol.limits import field_section_size
from ..protocol.request_rules import RequestHead, check_request, read_request_unchecked
from ..protocol.response_rules import ResponseHead, check_response, read_response_unchecked

__all__ = ["HeaderPairs", "OutboundHeaders"]

HeaderPairs = Mapping[Any, Any] | Iterable[tuple[str | bytes, str | bytes]]

H = TypeVar("H")

MAX_REMEMBERED = 64 * 1024
"""Octets that a connection takes to remember what was found good, as the user gave it and as it is sent."""


class OutboundHeaders:
    """Header sections of one connection: normalized and checked, and what they say.

    Args:
        validate: hold them to RFC 9113 sections 8.2 and 8.3.
        normalize: names in lower case, values without surrounding whitespace, no connection-specific fields (8.2.2),
            `:authority` with every Host (8.3.1).
        split_cookies: each cookie crumb as a field of its own (8.2.3), if normalizing.
    """

    def __init__(self, *, validate: bool, normalize: bool, split_cookies: bool) -> None:
        self._validate = validate
        self._normalize = normalize
        self._split_cookies = split_cookies
        # By kind: a response to CONNECT has rules of its own.
        self._remembered: dict[tuple[object, ...], tuple[Fields, Any]] = {}
        self._remembered_size = 0

    def request(self, headers: HeaderPairs) -> tuple[Fields, RequestHead]:
        """A request's fields, and what they say. Raises ProtocolError if they are malformed."""
        return self._prepared("request", headers, self._judge_request)

    def response(self, headers: HeaderPairs, *, to_connect: bool) -> tuple[Fields, ResponseHead]:
        """A response's, interim or final; `to_connect` if the request was CONNECT. Raises ProtocolError."""
        if to_connect:
            return self._prepared("response to CONNECT", headers, self._judge_response_to_connect)
        return self._prepared("response", headers, self._judge_response)

    def trailers(self, headers: HeaderPairs) -> Fields:
        """A trailer section's. Raises ProtocolError."""
        return self._prepared("trailers", headers, self._judge_trailers)[0]

    def _judge_request(self, fields: Fields) -> RequestHead | Malformed:
        if self._validate:
            return check_request(fields, extended_connect=True)
        return read_request_unchecked(fields)._replace(content_length=None)  # the body is not checked either

    def _judge_response(self, fields: Fields) -> ResponseHead | Malformed:
        return check_response(fields) if self._validate else self._unchecked_response(fields)

    def _judge_response_to_connect(self, fields: Fields) -> ResponseHead | Malformed:
        return check_response(fields, to_connect=True) if self._validate else self._unchecked_response(fields)

    @staticmethod
    def _unchecked_response(fields: Fields) -> ResponseHead:
        return read_response_unchecked(fields)._replace(content_length=None)

    def _judge_trailers(self, fields: Fields) -> Malformed | None:
        return check_trailers(fields) if self._validate else None

    def _prepared(self, kind: str, headers: HeaderPairs, judge: Callable[[Fields], H | Malformed]) -> tuple[Fields, H]:
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        key: tuple[object, ...] | None = None
        if set(map(type, pairs)) == {tuple}:  # a never-indexed field equals a plain one, so not those
            key = (kind, *pairs)
            try:
                known = self._remembered.get(key)
            except TypeError:  # something in it has no hash
                known = key = None
            if known is not None:
                return known
        fields = self._fields(kind, [(_encoded(pair[0]), _encoded(pair[1]), _is_secret(pair)) for pair in pairs])
        head = judge(fields)
        if isinstance(head, Malformed):
            raise ProtocolError(head.reason, scope="stream", initiator="local")
        if key is not None:
            self._remember(key, fields, head)
        return fields, head

    def _remember(self, key: tuple[object, ...], fields: Fields, head: Any) -> None:
        # Each field is two tuples and four strings, and what is kept of all is a dozen objects.
        size = 500 + 250 * len(key) + 2 * field_section_size(fields)
        if size > MAX_REMEMBERED:
            return
        if self._remembered_size + size > MAX_REMEMBERED:
            self._remembered.clear()
            self._remembered_size = 0
        self._remembered[key] = fields, head
        self._remembered_size += size

    def _fields(self, kind: str, triples: list[tuple[bytes, bytes, bool]]) -> Fields:
        if not self._normalize:
            return tuple([_field(name, value, secret) for name, value, secret in triples])
        fields = []
        for raw_name, raw_value, secret in triples:
            name, value = raw_name.lower().strip(), raw_value.strip()
            if name in CONNECTION_SPECIFIC:
                continue
            crumbs = value.split(b"; ") if name == b"cookie" and self._split_cookies else [value]
            fields += [_field(name, crumb, secret) for crumb in crumbs]
        return tuple(_with_authority(fields) if kind == "request" else fields)


def _encoded(text: Any) -> bytes:
    """As octets; surrogates, which received text may have, become again the octets that they stand for."""
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else bytes(memoryview(text))


def _is_secret(pair: Any) -> bool:
    return isinstance(pair, HeaderTuple) and not pair.indexable


def _field(name: bytes, value: bytes, secret: bool) -> tuple[bytes, bytes]:
    return NeverIndexedHeaderTuple(name, value) if secret else (name, value)


def _with_authority(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """RFC 9113 section 8.3.1: who says Host says :authority."""
    names = [name for name, _ in fields]
    if b":authority" in names or b"host" not in names:
        return fields
    pseudo = sum(name.startswith(b":") for name in names)
    return [*fields[:pseudo], (b":authority", fields[names.index(b"host")][1]), *fields[pseudo:]]
