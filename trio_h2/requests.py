"""Requests and responses: what the user sees of them, and the checked field lists they are sent as.

What a user gives is checked here, before anything is sent, and turned into fields; what arrives has been checked by
the protocol, and is only taken apart.
"""

from __future__ import annotations

import re
from typing import TypeVar

import attrs

from .headers import SECRET_FIELDS, Headers, HeadersLike, encoded, keep_split, kept_split, trusted_headers
from .protocol.field_rules import Fields, Malformed, check_trailers
from .protocol.limits import field_section_size
from .protocol.priority import DEFAULT_PRIORITY, Priority
from .protocol.request_rules import HOST_DIFFERS, RequestHead, check_request
from .protocol.response_rules import ResponseHead, check_response
from .wording import quoted

__all__ = [
    "Request",
    "Response",
    "fields_from",
    "fields_with",
    "method_text",
    "plain_pairs",
    "remember",
    "repeated_request_fields",
    "repeated_response_fields",
    "request_fields",
    "split_request",
    "split_response",
    "trailer_fields",
]


@attrs.frozen
class Request:
    """A request's header section, taken apart (RFC 9113 section 8.3.1).

    Attributes:
        method: `"GET"` and the like.
        scheme: `"http"` or `"https"`, or what else the client said; None for CONNECT.
        authority: the host and port asked for, from `:authority` or the Host field.
        path: path and query, undecoded; None for CONNECT.
        protocol: extended CONNECT's `:protocol` (RFC 8441), else None.
        headers: the fields, without pseudo-header fields; cookie crumbs are joined.
        priority: what RFC 9218 makes of the priority field.
    """

    method: str
    scheme: str | None
    authority: str | None
    path: str | None
    protocol: str | None
    headers: Headers
    priority: Priority = DEFAULT_PRIORITY


@attrs.frozen
class Response:
    """A response: of a `stream()`, its head; of `request()`, all of it.

    Attributes:
        status: 200 and the like.
        headers: the fields, without `:status`.
        body: the whole body (of a head: empty).
        trailers: the trailer section, or None if there was none.
    """

    status: int
    headers: Headers
    body: bytes = b""
    trailers: Headers | None = None


MAX_KEPT = 256
"""Characters of pseudo-header fields up to which a Request is kept beside its fields: a peer does not pay for them."""


def split_request(headers: Headers, priority: Priority) -> Request:
    """A validated request's fields as a Request; the same one again for the same Headers, which repeats share."""
    kept = kept_split(headers)
    if type(kept) is Request and (kept.priority is priority or kept.priority == priority):
        return kept
    request, characters = _split_request(headers, priority)
    if characters <= MAX_KEPT:
        keep_split(headers, request)
    return request


def _split_request(headers: Headers, priority: Priority) -> tuple[Request, int]:
    """The Request, and how many characters its pseudo-header fields have."""
    pseudo: dict[bytes, str] = {}
    fields = headers.raw
    characters = 0
    for name, value in fields:
        if name[0] != 0x3A:
            break
        pseudo[name] = value.decode("latin-1")
        characters += len(value)
    regular = trusted_headers(fields[len(pseudo) :])
    authority = pseudo.get(b":authority")
    if authority is None and b"host" in regular:
        authority = regular[b"host"]
        characters += len(authority)
    request = Request(
        pseudo[b":method"],
        pseudo.get(b":scheme"),
        authority,
        pseudo.get(b":path"),
        pseudo.get(b":protocol"),
        regular,
        priority,
    )
    return request, characters


def split_response(headers: Headers, body: bytes = b"", trailers: Headers | None = None) -> Response:
    """A validated response's fields as a Response; the parts are the same again for the same Headers."""
    head = kept_split(headers)
    if type(head) is not Response:
        fields = headers.raw
        head = Response(int(fields[0][1]), trusted_headers(fields[1:]))
        keep_split(headers, head)
    return Response(head.status, head.headers, body, trailers) if body or trailers is not None else head


_NOT_ASCII = {
    "target": "what is not ASCII has to be percent-encoded",
    "authority": "a name that is not ASCII has to be in its IDNA form, xn--...",
}


def _octets(text: object, argument: str) -> bytes:
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise TypeError(f"{argument} must be str or bytes, not {type(text).__name__}")
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        what = _NOT_ASCII.get(argument, "it has to be ASCII")
        raise ValueError(f"{argument} {quoted(text)}: {what}") from None


def method_text(method: str | bytes) -> str:
    """A method as its text, which everything compares it with; what makes no method is left to `request_fields`."""
    if isinstance(method, bytes):
        return method.decode("latin-1")
    if not isinstance(method, str):
        raise TypeError(f"method must be str or bytes, not {type(method).__name__}")
    return method


def fields_from(headers: HeadersLike, argument: str) -> Fields:
    """What the user gave as headers, as raw pairs. Raises ValueError or TypeError that names the argument."""
    fields = headers.raw if isinstance(headers, Headers) else encoded(headers, argument)
    for name, _ in fields:
        if name.startswith(b":"):
            raise ValueError(f"{argument}: {quoted(name)} is a pseudo-header field; it has an argument of its own")
    return fields


def request_fields(
    method: str,
    target: str,
    scheme: str,
    authority: str | bytes,
    headers: HeadersLike,
    protocol: str | None = None,
    priority: Priority | None = None,
    length: int | None = None,
) -> tuple[Fields, RequestHead]:
    """A request's fields, checked (RFC 9113 section 8.3.1), with the content-length of a body of `length` octets.

    Raises ValueError or TypeError, naming the argument.
    """
    method_octets = _octets(method, "method")
    pseudo = [(b":method", method_octets)]
    target_octets = _octets(target, "target")
    if method_octets == b"CONNECT" and protocol is None:
        pseudo.append((b":authority", target_octets))
    else:
        pseudo.append((b":scheme", _octets(scheme, "scheme")))
        pseudo.append((b":authority", _octets(authority, "authority")))
        pseudo.append((b":path", target_octets))
    if protocol is not None:
        pseudo.append((b":protocol", _octets(protocol, "protocol")))
    fields = (*pseudo, *fields_from(headers, "headers"))
    if priority is not None:
        if not isinstance(priority, Priority):
            raise TypeError(f"priority must be a Priority, not {type(priority).__name__}")
        fields = (*fields, (b"priority", priority.encode()))
    if length is not None:
        fields = _with_length(fields, length)
    head = check_request(fields, extended_connect=True)
    if isinstance(head, Malformed):
        raise ValueError(_fault(dict(pseudo), head.reason))
    if head.authority is not None and head.authority.startswith(b"[") and b"%" in head.authority:
        argument = "target" if head.path is None else "authority"
        what = "an IPv6 zone is of no use to the peer (RFC 6874 section 4)"
        raise ValueError(f"{argument} {quoted(head.authority)}: {what}")
    return fields, head


def _with_length(fields: tuple[tuple[bytes, bytes], ...], length: int) -> tuple[tuple[bytes, bytes], ...]:
    given = [value for name, value in fields if name == b"content-length"]
    if not given:
        return (*fields, (b"content-length", b"%d" % length))
    if given != [b"%d" % length]:
        raise ValueError(f"headers: content-length is not that of the body, which has {length} octets")
    return fields


def fields_with(fields: Fields, head: RequestHead, more: HeadersLike | None) -> Fields:
    """A request's fields, with those that a trace's `request_made` wants: they stand for those of the same names.

    Raises ValueError or TypeError, also where it would not be the same request any more.
    """
    if more is None:
        return fields
    added = fields_from(more, "request_made")
    names = {name for name, _ in added}
    fields = (*(field for field in fields if field[0] not in names), *added)
    changed = check_request(fields, extended_connect=True)
    if isinstance(changed, Malformed):
        raise ValueError(f"request_made: {changed.reason}")
    if changed != head:
        raise ValueError("request_made: content-length and host are the request's own")
    return fields


_SOUND = {b":method": b"GET", b":scheme": b"https", b":authority": b"example.org", b":path": b"/"}


def _fault(pseudo: dict[bytes, bytes], reason: str) -> str:
    """Which argument makes a request malformed, and what to do about it: each is tried in a request that is sound.

    If it is none of them it is the fields, and `reason` says what is wrong with those.
    """
    tunnel = b":path" not in pseudo
    tried = {b":method": b"CONNECT"} if tunnel else _SOUND
    for name, argument, what in (
        (b":method", "method", "it has to be a token, such as GET (RFC 9110 section 9.1)"),
        (b":protocol", "protocol", "it has to be an upgrade token, such as websocket (RFC 8441 section 4)"),
        (b":scheme", "scheme", "it has to be a scheme, such as https (RFC 3986 section 3.1)"),
        (b":authority", "authority", "it has to be a host and perhaps a port, such as example.org:8443"),
        (b":path", "target", ""),
    ):
        value = pseudo.get(name)
        if value is None or value == tried.get(name) or (name == b":method" and b":protocol" in pseudo):
            continue
        connect = {b":method": b"CONNECT"} if name == b":protocol" else {}
        tried = {**tried, **connect, name: value}
        if not isinstance(check_request(tuple(tried.items()), extended_connect=True), Malformed):
            continue
        if name == b":path":
            return _target_fault(value)
        if name == b":authority" and b"@" in value:
            what = "a user has no place in it (RFC 9113 section 8.3.1)"
        elif name == b":authority" and tunnel:
            what = "of CONNECT it has to be a host and a port, such as example.org:443"
        return f"{'target' if tunnel else argument} {quoted(value)}: {what}"
    if reason == HOST_DIFFERS:
        return "Host: of CONNECT it is the target" if tunnel else "Host: use authority="
    return f"headers: {reason}"


def _target_fault(target: bytes) -> str:
    """What is wrong with a target that makes no `:path`."""
    path, mark, fragment = target.partition(b"#")
    if mark and path[:1] in (b"", b"/") and not re.search(rb"[\x00-\x20\x7f]", path):
        return f"target: {quoted(mark + fragment)} is a fragment, which is not sent"
    if target == b"*":
        what = "only OPTIONS has it"
    elif b"://" in path.split(b"?", 1)[0] and not path.startswith(b"/"):
        what = "path and query alone are sent, the rest is the connection's"
    elif not target.startswith(b"/"):
        what = "it has to begin with '/'"
    elif b" " in target:
        what = "a space has to be percent-encoded"
    else:
        what = "a control character has to be percent-encoded"
    return f"target {quoted(target)}: {what}"


def response_fields(
    status: int, headers: HeadersLike, length: int | None, to_connect: bool
) -> tuple[Fields, ResponseHead]:
    """A response's fields, checked, with a content-length of `length` if they have none.

    Raises ValueError or TypeError, naming the argument.
    """
    fields = ((b":status", b"%d" % status), *fields_from(headers, "headers"))
    if length is not None and not any(name == b"content-length" for name, _ in fields):
        fields = (*fields, (b"content-length", b"%d" % length))
    head = check_response(fields, to_connect=to_connect)
    if isinstance(head, Malformed):
        raise ValueError(f"headers: {head.reason}")  # the status is looked at before
    return fields, head


# A handler says the same few header lists again and again, and so does a client; checking one takes longer than sending
# it. Lists with a NeverIndexed field are left out: it equals a plain one, and a secret should not be kept.
_PLAIN = frozenset((tuple,))
_remembered_requests: dict[tuple[object, ...], tuple[Fields, RequestHead]] = {}
_remembered_responses: dict[tuple[object, ...], tuple[Fields, ResponseHead]] = {}

MAX_REMEMBERED = 128

MAX_REMEMBERED_SIZE = 4 * 1024
"""Octets of a header list that is remembered, as SETTINGS_MAX_HEADER_LIST_SIZE counts them."""

M = TypeVar("M")


def remember(memory: dict[tuple[object, ...], M], key: tuple[object, ...], made: M, fields: Fields) -> None:
    """Keep what was made of checked fields for the next time, unless there is a secret among them, or much."""
    # The memories are every connection's: no credentials and no session, as far as their names say so, may stay there.
    if SECRET_FIELDS.isdisjoint([name for name, _ in fields]) and field_section_size(fields) <= MAX_REMEMBERED_SIZE:
        if len(memory) >= MAX_REMEMBERED:
            memory.clear()
        memory[key] = made


def plain_pairs(headers: HeadersLike) -> tuple[object, ...] | None:
    """By what a header list is remembered; None if it is not to be."""
    pairs = headers.raw if type(headers) is Headers else headers
    return tuple(pairs) if type(pairs) in (list, tuple) and _PLAIN.issuperset(map(type, pairs)) else None


def repeated_request_fields(
    method: str,
    target: str,
    scheme: str,
    authority: str | bytes,
    headers: HeadersLike,
    protocol: str | None = None,
    priority: Priority | None = None,
    length: int | None = None,
) -> tuple[Fields, RequestHead]:
    """`request_fields` for requests that are often made again: the checked fields of the last ones are remembered."""
    plain = plain_pairs(headers)
    if plain is None:
        return request_fields(method, target, scheme, authority, headers, protocol, priority, length)
    key = method, target, scheme, authority, plain, protocol, priority, length
    try:
        known = _remembered_requests.get(key)
    except TypeError:  # something in there cannot be hashed: say what, in the words of the slow path
        return request_fields(method, target, scheme, authority, headers, protocol, priority, length)
    if known is None:
        known = request_fields(method, target, scheme, authority, headers, protocol, priority, length)
        remember(_remembered_requests, key, known, known[0])
    return known


def repeated_response_fields(
    status: int, headers: HeadersLike, length: int | None, to_connect: bool
) -> tuple[Fields, ResponseHead]:
    """`response_fields`, as `repeated_request_fields` is for requests."""
    plain = plain_pairs(headers)
    if plain is None:
        return response_fields(status, headers, length, to_connect)
    key = status, plain, length, to_connect
    try:
        known = _remembered_responses.get(key)
    except TypeError:  # something in there cannot be hashed: say what, in the words of the slow path
        return response_fields(status, headers, length, to_connect)
    if known is None:
        known = response_fields(status, headers, length, to_connect)
        remember(_remembered_responses, key, known, known[0])
    return known


def trailer_fields(trailers: HeadersLike) -> Fields:
    """Trailers, checked. Raises ValueError or TypeError, naming the argument."""
    fields = fields_from(trailers, "trailers")
    malformed = check_trailers(fields)
    if malformed is not None:
        raise ValueError(f"trailers: {malformed.reason}")
    return fields
