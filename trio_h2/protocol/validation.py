"""The rules for header sections: RFC 9113 8.1.1 to 8.6, and RFC 8441 4 for extended CONNECT.

Theory of operation. A field list is read once, by `_scan`, which applies the rules that hold for every
field: characters and case (8.2, 8.2.1), connection-specific fields (8.2.2), order and repetition of
pseudo-header fields (8.3). It sorts out the pseudo-header fields and the three regular fields that have
a rule for their value (content-length, host, te); functions named after what they check judge those,
one function for each section. What comes out is a small head value that says what the stream needs to
know, or `Malformed` with the reason: what a peer sent is never a reason to raise (RFC 9113 8.1.1 makes
it a stream error, and that verdict is the caller's).

The same code judges what a peer sent (``*_untrusted``) and what our own user wants to send (``check_*``).
Where the two differ, a `_Rules` value says so: a receiver applies the minimum that RFC 9113 8.2.1 demands,
a sender all of RFC 9110's grammar, because what it lets through others may rightly refuse.

A server does this for every request, so the scan has no call into Python per field: a character set is
checked by translating with a table that changes each prohibited octet, and comparing.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import attrs
from hpack.table import HeaderTable

from trio_h2.exceptions import shown
from trio_h2.headers import NeverIndexed

from .limits import MAX_CONTENT_LENGTH_OCTETS

__all__ = [
    "CONNECTION_SPECIFIC",
    "FieldList",
    "Malformed",
    "RequestHead",
    "ResponseHead",
    "check_request",
    "check_response",
    "check_trailers",
    "check_trailers_untrusted",
    "join_cookies",
    "parse_request_untrusted",
    "parse_response_untrusted",
    "read_request_unchecked",
    "read_response_unchecked",
]

FieldList: TypeAlias = Sequence[tuple[bytes, bytes]]


# --- what comes out ------------------------------------------------------------------------------------


@attrs.frozen
class Malformed:
    """Why a header section is malformed (RFC 9113 8.1.1). The reason names fields and shows no value."""

    reason: str


class RequestHead(NamedTuple):
    """What a valid request header section says.

    `authority` is the value of ``:authority``, or that of the Host field where there is no ``:authority``.
    `content_length` is None for a tunnel: its DATA is not content (RFC 9110 9.3.6).
    `regular` is the index of the first field that is not a pseudo-header field.
    """

    method: bytes
    scheme: bytes | None
    authority: bytes | None
    path: bytes | None
    protocol: bytes | None
    content_length: int | None
    regular: int

    @property
    def is_tunnel(self) -> bool:
        """Whether this is CONNECT (RFC 9113 8.5), plain or extended (RFC 8441 4)."""
        return self.method == b"CONNECT"


class ResponseHead(NamedTuple):
    """What a valid response header section says.

    `status` is 100 to 999. RFC 9110 15 defines 100 to 599 and lets a client treat the rest as a 5xx.
    `content_length` is None where the field has no meaning: 1xx, 204 and a 2xx to CONNECT (RFC 9110 8.6).
    It counts no DATA in a response to HEAD or in a 304, which the caller has to know.
    `regular` is the index of the first field that is not a pseudo-header field.
    """

    status: int
    content_length: int | None
    regular: int

    @property
    def is_informational(self) -> bool:
        """Whether this is an interim response, which another one follows (RFC 9110 15.2)."""
        return self.status < 200


# --- the tables ----------------------------------------------------------------------------------------


def _changing(prohibited: Container[int]) -> bytes:
    """A table for `bytes.translate` that changes every prohibited octet and no other."""
    return bytes(octet ^ 1 if octet in prohibited else octet for octet in range(256))


class _Rules(NamedTuple):
    """Where the rules for what is received and for what is sent differ."""

    sending: bool
    names: bytes
    values: bytes


_UPPER_CASE: Final = range(0x41, 0x5B)
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110 5.6.2
_TOKEN_OCTETS: Final = {octet for octet in range(256) if re.fullmatch(_TOKEN, bytes([octet]))}

# RFC 9113 8.2.1, to the letter. The colon that begins a pseudo-header field's name never gets this far.
_RECEIVED: Final = _Rules(
    sending=False,
    names=_changing({*range(0x21), *_UPPER_CASE, *range(0x7F, 0x100), ord(":")}),
    values=_changing(b"\0\r\n"),
)

# RFC 9110 5.1 (a name is a token; RFC 9113 8.2: in lower case) and 5.5 (no controls but HTAB).
_SENT: Final = _Rules(
    sending=True,
    names=_changing({*range(256)} - _TOKEN_OCTETS | {*_UPPER_CASE}),
    values=_changing({*range(0x20), 0x7F} - {ord("\t")}),
)

# What a name means in a section. A name that is not in the section's table is an ordinary field's,
# or not a valid one. "ruled" fields have a rule for their value.
_Kind: TypeAlias = Literal["ordinary", "pseudo", "ruled", "connection-specific"]

# Names known to be valid, which are not looked at octet by octet: those of RFC 7541 appendix A, and what browsers send.
_ORDINARY: Final[dict[bytes, _Kind]] = dict.fromkeys(
    [
        *(name for name, _ in HeaderTable.STATIC_TABLE if not name.startswith(b":")),
        b"dnt",
        b"origin",
        b"pragma",
        b"priority",
        b"sec-ch-ua",
        b"sec-ch-ua-mobile",
        b"sec-ch-ua-platform",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"sec-fetch-user",
        b"sec-gpc",
        b"upgrade-insecure-requests",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-requested-with",
    ],
    "ordinary",
)

# RFC 9113 8.2.2: they say something about one HTTP/1.1 connection.
CONNECTION_SPECIFIC: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)

_NOT_IN_HTTP2: Final[dict[bytes, _Kind]] = dict.fromkeys(CONNECTION_SPECIFIC, "connection-specific")

_IN_REQUEST: Final[dict[bytes, _Kind]] = {
    **_ORDINARY,
    **_NOT_IN_HTTP2,
    b":method": "pseudo",
    b":scheme": "pseudo",
    b":authority": "pseudo",
    b":path": "pseudo",
    b":protocol": "pseudo",
    b"content-length": "ruled",
    b"host": "ruled",
    b"te": "ruled",
}

_IN_RESPONSE: Final[dict[bytes, _Kind]] = {
    **_ORDINARY,
    **_NOT_IN_HTTP2,
    b":status": "pseudo",
    b"content-length": "ruled",
    # RFC 9110 7.6.1 counts TE as connection-specific, and RFC 9113 8.2.2 excepts it in requests alone.
    b"te": "connection-specific",
}

_IN_TRAILERS: Final[dict[bytes, _Kind]] = {
    **_ORDINARY,
    **_NOT_IN_HTTP2,
    b"content-length": "ruled",
    b"host": "ruled",
    b"te": "ruled",
}

# RFC 9110 9.1 for the method; RFC 9110 7.8 for an upgrade token, which may carry a version.
_METHOD: Final = re.compile(_TOKEN)
_PROTOCOL: Final = re.compile(_TOKEN + rb"(?:/" + _TOKEN + rb")?")

# RFC 3986 3.1, 3.2 and 3.3. A path holds whatever a request line could carry unambiguously: clients do send
# octets that RFC 3986 would have them percent-encode.
_DEFAULT_PORTS: Final[Mapping[bytes | None, bytes]] = {b"http": b":80", b"https": b":443"}
_HTTP_SCHEMES: Final = frozenset({b"http", b"https"})
_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*")
_HOST: Final = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]+|\[[A-Za-z0-9\-._~!$&'()*+,;=%:]+\])"
_HTTP_AUTHORITY: Final = re.compile(_HOST + rb"(?::[0-9]*)?")
_CONNECT_AUTHORITY: Final = re.compile(_HOST + rb":([0-9]{1,5})")
_ANY_AUTHORITY: Final = re.compile(rb"[^\x00-\x20\x7f/?#\\]*")
_HTTP_PATH: Final = re.compile(rb"/[^\x00-\x20\x7f#]*")
_ANY_PATH: Final = re.compile(rb"[^\x00-\x20\x7f#]*")

# The first digit 1 to 5 is RFC 9110 15's; a client accepts more (see `ResponseHead`).
_STATUS_RECEIVED: Final = re.compile(rb"[1-9][0-9][0-9]")
_STATUS_SENT: Final = re.compile(rb"[1-5][0-9][0-9]")

# RFC 9110 8.6 sets no limit and warns of overflow; 19 digits hold 2**63 - 1, the most that others can count.
_LENGTH: Final = re.compile(rb"[0-9]{1,19}")


# --- the entrances -------------------------------------------------------------------------------------


def parse_request_untrusted(fields: FieldList, *, extended_connect: bool) -> RequestHead | Malformed:
    """Judge a request's header section that a peer sent (RFC 9113 8.3.1, 8.5; RFC 8441 4).

    Args:
        fields: the decoded fields, in order.
        extended_connect: whether we enabled RFC 8441; ``:protocol`` is malformed otherwise.
    """
    return _request(fields, _RECEIVED, extended_connect)


def check_request(fields: FieldList, *, extended_connect: bool) -> RequestHead | Malformed:
    """Judge a request's header section that our user wants to send.

    Args:
        fields: the fields, in order, names in lower case.
        extended_connect: whether the peer enabled RFC 8441.
    """
    return _request(fields, _SENT, extended_connect)


def parse_response_untrusted(fields: FieldList, *, to_connect: bool = False) -> ResponseHead | Malformed:
    """Judge a response's header section that a peer sent, interim or final (RFC 9113 8.3.2).

    Args:
        fields: the decoded fields, in order.
        to_connect: whether the request was CONNECT; content-length in a 2xx is ignored then (RFC 9110 9.3.6).
    """
    return _response(fields, _RECEIVED, to_connect)


def check_response(fields: FieldList, *, to_connect: bool = False) -> ResponseHead | Malformed:
    """Judge a response's header section that our user wants to send, interim or final.

    Args:
        fields: the fields, in order, names in lower case.
        to_connect: whether the request was CONNECT; content-length in a 2xx is wrong then (RFC 9110 9.3.6).
    """
    return _response(fields, _SENT, to_connect)


def check_trailers_untrusted(fields: FieldList) -> Malformed | None:
    """Judge a trailer section that a peer sent (RFC 9113 8.1)."""
    return _trailers(fields, _RECEIVED)


def check_trailers(fields: FieldList) -> Malformed | None:
    """Judge a trailer section that our user wants to send."""
    return _trailers(fields, _SENT)


def read_request_unchecked(fields: FieldList) -> RequestHead:
    """What a request that nobody checks says, as far as it can be read; for users who switched the checks off."""
    found = dict(reversed(fields))
    regular = next((index for index, (name, _) in enumerate(fields) if not name.startswith(b":")), len(fields))
    method = found.get(b":method", b"")
    return RequestHead(
        method,
        found.get(b":scheme"),
        found.get(b":authority", found.get(b"host")),
        found.get(b":path"),
        found.get(b":protocol"),
        None if method == b"CONNECT" else _length_unchecked(found),
        regular,
    )


def read_response_unchecked(fields: FieldList) -> ResponseHead:
    """What a response that nobody checks says, as far as it can be read; a status that is none counts as 200."""
    found = dict(reversed(fields))
    status = found.get(b":status", b"")
    known = len(status) == 3 and status.isdigit()
    return ResponseHead(int(status) if known else 200, _length_unchecked(found), 1 if b":status" in found else 0)


def _length_unchecked(found: dict[bytes, bytes]) -> int | None:
    length = found.get(b"content-length", b"")
    return int(length) if len(length) < 20 and length.isdigit() else None


def join_cookies(fields: FieldList) -> FieldList:
    """Join cookie crumbs into one field, at the place of the first (RFC 9113 8.2.3).

    Gives back `fields` itself if there is nothing to join. One crumb that is never to be indexed
    makes the whole field so (RFC 7541 7.1.3).
    """
    crumbs = [field for field in fields if field[0] == b"cookie"]
    if len(crumbs) < 2:
        return fields
    value = b"; ".join([crumb[1] for crumb in crumbs])
    secret = any(not getattr(crumb, "indexable", True) for crumb in crumbs)
    joined = [field for field in fields if field[0] != b"cookie"]
    # No field before the first crumb was taken out, so its place is still the same.
    place = next(index for index, field in enumerate(fields) if field[0] == b"cookie")
    joined.insert(place, NeverIndexed(b"cookie", value) if secret else (b"cookie", value))
    return joined


# --- all fields: RFC 9113 8.2, 8.2.1, 8.2.2, 8.3 ---------------------------------------------------------

_Pseudo: TypeAlias = dict[bytes, bytes]
_Ruled: TypeAlias = dict[bytes, list[bytes]]


def _scan(fields: FieldList, kinds: Mapping[bytes, _Kind], rules: _Rules) -> tuple[_Pseudo, _Ruled] | Malformed:
    """One pass over a section: its pseudo-header fields, and its fields that have a rule for their value."""
    pseudo: _Pseudo = {}
    ruled: _Ruled = {}
    names, values = rules.names, rules.values
    in_regular = False
    for name, value in fields:
        if value.translate(values).strip(b" \t") != value:
            return _bad_value(name)
        kind = kinds.get(name)
        if kind == "pseudo":
            if in_regular or name in pseudo:
                return _bad_pseudo(name, name in pseudo)
            pseudo[name] = value
            continue
        in_regular = True
        if kind == "ordinary":
            continue
        if kind is None:
            if name.translate(names) != name or not name:
                return _bad_name(name)
        elif kind == "ruled":
            ruled.setdefault(name, []).append(value)
        else:
            return Malformed(f"{_show(name)} is connection-specific (RFC 9113 8.2.2)")
    return pseudo, ruled


def _bad_value(name: bytes) -> Malformed:
    return Malformed(f"the value of {_show(name)} has a prohibited octet or space at an end (RFC 9113 8.2.1)")


def _bad_pseudo(name: bytes, repeated: bool) -> Malformed:
    if repeated:
        return Malformed(f"{_show(name)} is repeated (RFC 9113 8.3)")
    return Malformed(f"{_show(name)} comes after a regular field (RFC 9113 8.3)")


def _bad_name(name: bytes) -> Malformed:
    if not name:
        return Malformed("a field name is empty (RFC 9110 5.1)")
    if name.startswith(b":"):
        return Malformed(f"{_show(name)} is not a pseudo-header field of this section (RFC 9113 8.3)")
    if name != name.lower():
        return Malformed(f"the field name {_show(name)} is not in lower case (RFC 9113 8.2)")
    return Malformed(f"the field name {_show(name)} holds a prohibited octet (RFC 9113 8.2.1)")


def _show(name: bytes) -> str:
    """A field name for a message. A peer may have chosen it, so it is escaped, and cut."""
    return f"'{shown(name, 64)}'"


# --- requests: RFC 9113 8.3.1, 8.5, RFC 8441 4 ---------------------------------------------------------
# Each rule answers with the reason why the section is malformed, or None if it is not.


def _request(fields: FieldList, rules: _Rules, extended_connect: bool) -> RequestHead | Malformed:
    scanned = _scan(fields, _IN_REQUEST, rules)
    if isinstance(scanned, Malformed):
        return scanned
    pseudo, ruled = scanned
    method = pseudo.get(b":method", b"")
    protocol = pseudo.get(b":protocol")
    length = _content_length(ruled, rules)
    if isinstance(length, Malformed):
        return length
    head = RequestHead(
        method,
        pseudo.get(b":scheme"),
        _authority(pseudo, ruled, rules),
        pseudo.get(b":path"),
        protocol,
        None if method == b"CONNECT" else length,
        len(pseudo),
    )
    problem = None if protocol is None else _extended_connect(head, extended_connect)
    if method == b"CONNECT" and protocol is None:
        problem = _connect(head)
    else:
        problem = problem or _method(method) or _target(head)
    if ruled:
        problem = problem or _host(ruled, head) or _te(ruled) or _tunnel_length(head, ruled, rules)
    return head if problem is None else Malformed(problem)


def _method(method: bytes) -> str | None:
    """RFC 9113 8.3.1, RFC 9110 9.1."""
    if _METHOD.fullmatch(method):
        return None
    return ":method is missing or not a token (RFC 9113 8.3.1)"


def _target(head: RequestHead) -> str | None:
    """RFC 9113 8.3.1: the target URI in :scheme, :authority and :path."""
    scheme, authority, path = head.scheme, head.authority, head.path
    if scheme is None or not _SCHEME.fullmatch(scheme):
        return ":scheme is missing or not a scheme (RFC 9113 8.3.1, RFC 3986 3.1)"
    if path is None:
        return ":path is missing (RFC 9113 8.3.1)"
    if scheme in _HTTP_SCHEMES or scheme.lower() in _HTTP_SCHEMES:
        return _http_target(head.method, authority, path)
    if authority is not None and not _ANY_AUTHORITY.fullmatch(authority):
        return ":authority is not an authority (RFC 9113 8.3.1, RFC 3986 3.2)"
    if not _ANY_PATH.fullmatch(path):
        return ":path holds a space, a control or a fragment (RFC 9113 8.3.1)"
    return None


def _http_target(method: bytes, authority: bytes | None, path: bytes) -> str | None:
    """RFC 9113 8.3.1: what "http" and "https" URIs ask for beyond what any URI does."""
    if authority is None:
        return ":authority is missing (RFC 9113 8.3.1, RFC 9110 7.2)"
    if not _HTTP_AUTHORITY.fullmatch(authority):
        return ":authority is not a host and an optional port (RFC 9113 8.3.1, RFC 9110 4.2)"
    if not _HTTP_PATH.fullmatch(path) and not (path == b"*" and method == b"OPTIONS"):
        return ":path is not an absolute path, or * for OPTIONS (RFC 9113 8.3.1)"
    return None


def _authority(pseudo: _Pseudo, ruled: _Ruled, rules: _Rules) -> bytes | None:
    """RFC 9113 8.3.1: who sends must say :authority; who receives takes Host where there is none.

    Host belongs to a target URI, which has a scheme: the target of a plain CONNECT is :authority alone.
    """
    authority = pseudo.get(b":authority")
    if authority is None and b"host" in ruled and b":scheme" in pseudo and not rules.sending:
        return ruled[b"host"][0]
    return authority


def _host(ruled: _Ruled, head: RequestHead) -> str | None:
    """RFC 9113 8.3.1, RFC 9110 7.2: Host says the same as :authority, once, but for case and a default port."""
    hosts = ruled.get(b"host")
    if hosts is None:
        return None
    if len(hosts) > 1:
        return "host is repeated (RFC 9110 7.2)"
    if head.authority is None or hosts[0] == head.authority:
        return None
    port = _DEFAULT_PORTS.get(head.scheme, b"")
    if hosts[0].lower().removesuffix(port) != head.authority.lower().removesuffix(port):
        return "host differs from :authority (RFC 9113 8.3.1)"
    return None


def _connect(head: RequestHead) -> str | None:
    """RFC 9113 8.5: CONNECT has a host and a port, and nothing else (the port: RFC 9110 9.3.6)."""
    if head.scheme is not None or head.path is not None:
        return "CONNECT has a :scheme or a :path (RFC 9113 8.5)"
    match = _CONNECT_AUTHORITY.fullmatch(head.authority or b"")
    if match is None or not 0 < int(match[1]) < 65536:
        return "the :authority of CONNECT is not a host and a port (RFC 9113 8.5)"
    return None


def _extended_connect(head: RequestHead, enabled: bool) -> str | None:
    """RFC 8441 3 and 4: :protocol needs the setting, and CONNECT. The target is that of any request."""
    if not enabled:
        return ":protocol without SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 3)"
    if head.method != b"CONNECT":
        return ":protocol with a method other than CONNECT (RFC 8441 4)"
    if not _PROTOCOL.fullmatch(head.protocol or b""):
        return ":protocol is not an upgrade token (RFC 8441 4, RFC 9110 7.8)"
    return None


# --- responses and trailers: RFC 9113 8.3.2, 8.6, 8.1 ----------------------------------------------------


def _response(fields: FieldList, rules: _Rules, to_connect: bool) -> ResponseHead | Malformed:
    scanned = _scan(fields, _IN_RESPONSE, rules)
    if isinstance(scanned, Malformed):
        return scanned
    pseudo, ruled = scanned
    status = _status(pseudo.get(b":status", b""), rules)
    if isinstance(status, Malformed):
        return status
    if _has_no_length(status, to_connect):
        if ruled and rules.sending:
            return Malformed(f"content-length is not allowed in this {status} response (RFC 9110 8.6)")
        return ResponseHead(status, None, len(pseudo))
    length = _content_length(ruled, rules)
    if isinstance(length, Malformed):
        return length
    return ResponseHead(status, length, len(pseudo))


def _status(status: bytes, rules: _Rules) -> int | Malformed:
    """RFC 9113 8.3.2 and 8.6, RFC 9110 15."""
    grammar = _STATUS_SENT if rules.sending else _STATUS_RECEIVED
    if not grammar.fullmatch(status):
        return Malformed(":status is missing or not a status code (RFC 9113 8.3.2, RFC 9110 15)")
    if status == b"101":
        return Malformed(":status is 101, which HTTP/2 does not have (RFC 9113 8.6)")
    return int(status)


def _trailers(fields: FieldList, rules: _Rules) -> Malformed | None:
    """RFC 9113 8.1: no pseudo-header fields. RFC 9110 6.5.1: nothing that frames or routes the message.

    A receiver may discard such a field, and this one does not look at it; TE stays bound by RFC 9113 8.2.2.
    """
    scanned = _scan(fields, _IN_TRAILERS, rules)
    if isinstance(scanned, Malformed):
        return scanned
    _, ruled = scanned
    if ruled and rules.sending:
        return Malformed(f"{_show(next(iter(ruled)))} is not allowed in trailers (RFC 9110 6.5.1)")
    problem = _te(ruled)
    return None if problem is None else Malformed(problem)


# --- fields with a rule for their value: RFC 9113 8.1.1, 8.2.2 -------------------------------------------


def _te(ruled: _Ruled) -> str | None:
    """RFC 9113 8.2.2: TE holds "trailers" alone, which RFC 9110 10.1.4 compares without case."""
    if all(value.lower() == b"trailers" for value in ruled.get(b"te", ())):
        return None
    return "te holds a value other than trailers (RFC 9113 8.2.2)"


def _content_length(ruled: _Ruled, rules: _Rules) -> int | Malformed | None:
    """RFC 9110 8.6: a number. A receiver takes the same one repeated, on lines or in a list, as one."""
    values = ruled.get(b"content-length")
    if values is None:
        return None
    if len(values) == 1 and _LENGTH.fullmatch(values[0]):
        return int(values[0])
    if sum(map(len, values)) > MAX_CONTENT_LENGTH_OCTETS:
        return Malformed(f"content-length has more than {MAX_CONTENT_LENGTH_OCTETS} octets")
    items = [item.strip(b" \t") for value in values for item in value.split(b",")]
    if rules.sending or not all(_LENGTH.fullmatch(item) for item in items):
        return Malformed("content-length is not one number of at most 19 digits (RFC 9110 8.6)")
    lengths = {int(item) for item in items}
    if len(lengths) > 1:
        return Malformed("content-length has several values that differ (RFC 9113 8.1.1, RFC 9110 8.6)")
    return lengths.pop()


def _has_no_length(status: int, to_connect: bool) -> bool:
    """RFC 9110 8.6 and 9.3.6: the responses in which content-length must not be sent, and means nothing."""
    return status < 200 or status == 204 or (to_connect and status < 300)


def _tunnel_length(head: RequestHead, ruled: _Ruled, rules: _Rules) -> str | None:
    """RFC 9110 9.3.6: CONNECT has no content, so a length of it is ignored when received, and not sent."""
    if rules.sending and head.is_tunnel and b"content-length" in ruled:
        return "content-length is not allowed in a CONNECT request (RFC 9110 9.3.6)"
    return None
