"""What a request's header section has to be: RFC 9113 sections 8.3.1 and 8.5, and RFC 8441 for extended CONNECT.

`field_rules.py` has the theory. Each rule here answers with the reason why the section is malformed, or None if it is
not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from .field_rules import (
    NOT_IN_HTTP2,
    ORDINARY,
    RECEIVED,
    SENT,
    TOKEN,
    FieldRules,
    Fields,
    Kind,
    Malformed,
    Pseudo,
    Ruled,
    content_length,
    length_unchecked,
    scan,
    te_problem,
)

__all__ = ["HOST_DIFFERS", "RequestHead", "check_request", "parse_request_untrusted", "read_request_unchecked"]


class RequestHead(NamedTuple):
    """What a valid request header section says.

    `authority` is the value of `:authority`, or that of the Host field where there is no `:authority`.
    `content_length` is None for a tunnel: its DATA is not content (RFC 9110 section 9.3.6).
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
        """Whether this is CONNECT (RFC 9113 section 8.5), plain or extended (RFC 8441 section 4)."""
        return self.method == b"CONNECT"


_IN_REQUEST: dict[bytes, Kind] = {
    **ORDINARY,
    **NOT_IN_HTTP2,
    b":method": "pseudo",
    b":scheme": "pseudo",
    b":authority": "pseudo",
    b":path": "pseudo",
    b":protocol": "pseudo",
    b"content-length": "ruled",
    b"host": "ruled",
    b"te": "ruled",
}

# RFC 9110 section 9.1 for the method; RFC 9110 section 7.8 for an upgrade token, which may carry a version.
_METHOD = re.compile(TOKEN)
_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"PATCH"))  # tokens, at once
_PROTOCOL = re.compile(TOKEN + rb"(?:/" + TOKEN + rb")?")

# RFC 3986 sections 3.1, 3.2 and 3.3. A path holds whatever a request line could carry unambiguously: clients do send
# octets that RFC 3986 would have them percent-encode.
_DEFAULT_PORTS: Mapping[bytes | None, bytes] = {b"http": b":80", b"https": b":443"}
_HTTP_SCHEMES = frozenset({b"http", b"https"})
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*")
_HOST = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]+|\[[A-Za-z0-9\-._~!$&'()*+,;=%:]+\])"
_HTTP_AUTHORITY = re.compile(_HOST + rb"(?::[0-9]*)?")
_CONNECT_AUTHORITY = re.compile(_HOST + rb":([0-9]{1,5})")
_ANY_AUTHORITY = re.compile(rb"[^\x00-\x20\x7f/?#\\]*")
_HTTP_PATH = re.compile(rb"/[^\x00-\x20\x7f#]*")
_ANY_PATH = re.compile(rb"[^\x00-\x20\x7f#]*")


HOST_DIFFERS = "host differs from :authority (RFC 9113 section 8.3.1)"
"""A reason that users who send get in words of their own."""


def parse_request_untrusted(
    fields: Fields, telling: Fields | None = None, *, extended_connect: bool
) -> RequestHead | Malformed:
    """Judge a request's header section that a peer sent (RFC 9113 sections 8.3.1, 8.5; RFC 8441 section 4).

    Args:
        fields: the decoded fields, in order.
        telling: those of them that are not plain (`field_rules.is_plain`); None if that is not known.
        extended_connect: whether we enabled RFC 8441; `:protocol` is malformed otherwise.
    """
    return _request(fields, RECEIVED, extended_connect, telling)


def check_request(fields: Fields, *, extended_connect: bool) -> RequestHead | Malformed:
    """Judge a request's header section that our user wants to send.

    Args:
        fields: the fields, in order, names in lower case.
        extended_connect: whether the peer enabled RFC 8441.
    """
    return _request(fields, SENT, extended_connect)


def read_request_unchecked(fields: Fields) -> RequestHead:
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
        None if method == b"CONNECT" else length_unchecked(found),
        regular,
    )


def _request(
    fields: Fields, rules: FieldRules, extended_connect: bool, telling: Fields | None = None
) -> RequestHead | Malformed:
    scanned = scan(fields, _IN_REQUEST, rules, telling)
    if isinstance(scanned, Malformed):
        return scanned
    pseudo, ruled = scanned
    method = pseudo.get(b":method", b"")
    protocol = pseudo.get(b":protocol")
    length = content_length(ruled, rules) if ruled else None
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
        problem = problem or _host(ruled, head) or te_problem(ruled) or _tunnel_length(head, ruled, rules)
    return head if problem is None else Malformed(problem)


def _method(method: bytes) -> str | None:
    """RFC 9113 section 8.3.1, RFC 9110 section 9.1."""
    if method in _METHODS or _METHOD.fullmatch(method):
        return None
    return ":method is missing or not a token (RFC 9113 section 8.3.1)"


def _target(head: RequestHead) -> str | None:
    """RFC 9113 section 8.3.1: the target URI in :scheme, :authority and :path."""
    scheme, authority, path = head.scheme, head.authority, head.path
    http = scheme in _HTTP_SCHEMES
    if not http and (scheme is None or not _SCHEME.fullmatch(scheme)):
        return ":scheme is missing or not a scheme (RFC 9113 section 8.3.1, RFC 3986 section 3.1)"
    if path is None:
        return ":path is missing (RFC 9113 section 8.3.1)"
    if http or (scheme is not None and scheme.lower() in _HTTP_SCHEMES):
        return _http_target(head.method, authority, path)
    if authority is not None and not _ANY_AUTHORITY.fullmatch(authority):
        return ":authority is not an authority (RFC 9113 section 8.3.1, RFC 3986 section 3.2)"
    if not _ANY_PATH.fullmatch(path):
        return ":path holds a space, a control or a fragment (RFC 9113 section 8.3.1)"
    return None


def _http_target(method: bytes, authority: bytes | None, path: bytes) -> str | None:
    """RFC 9113 section 8.3.1: what "http" and "https" URIs ask for beyond what any URI does."""
    if authority is None:
        return ":authority is missing (RFC 9113 section 8.3.1, RFC 9110 section 7.2)"
    if not _HTTP_AUTHORITY.fullmatch(authority):
        return ":authority is not a host and an optional port (RFC 9113 section 8.3.1, RFC 9110 section 4.2)"
    if not _HTTP_PATH.fullmatch(path) and not (path == b"*" and method == b"OPTIONS"):
        return ":path is not an absolute path, or * for OPTIONS (RFC 9113 section 8.3.1)"
    return None


def _authority(pseudo: Pseudo, ruled: Ruled, rules: FieldRules) -> bytes | None:
    """RFC 9113 section 8.3.1: who sends must say :authority; who receives takes Host where there is none.

    Host belongs to a target URI, which has a scheme: the target of a plain CONNECT is :authority alone.
    """
    authority = pseudo.get(b":authority")
    if authority is None and b"host" in ruled and b":scheme" in pseudo and not rules.sending:
        return ruled[b"host"][0]
    return authority


def _host(ruled: Ruled, head: RequestHead) -> str | None:
    """RFC 9113 section 8.3.1: Host says the same as :authority, but for case and a default port.

    And it says so once (RFC 9110 section 7.2).
    """
    hosts = ruled.get(b"host")
    if hosts is None:
        return None
    if len(hosts) > 1:
        return "host is repeated (RFC 9110 section 7.2)"
    if head.authority is None or hosts[0] == head.authority:
        return None
    port = _DEFAULT_PORTS.get(head.scheme, b"")
    if hosts[0].lower().removesuffix(port) != head.authority.lower().removesuffix(port):
        return HOST_DIFFERS
    return None


def _connect(head: RequestHead) -> str | None:
    """RFC 9113 section 8.5: CONNECT has a host and a port, and nothing else (the port: RFC 9110 section 9.3.6)."""
    if head.scheme is not None or head.path is not None:
        return "CONNECT has a :scheme or a :path (RFC 9113 section 8.5)"
    match = _CONNECT_AUTHORITY.fullmatch(head.authority or b"")
    if match is None or not 0 < int(match[1]) < 65536:
        return "the :authority of CONNECT is not a host and a port (RFC 9113 section 8.5)"
    return None


def _extended_connect(head: RequestHead, enabled: bool) -> str | None:
    """RFC 8441 sections 3 and 4: :protocol needs the setting, and CONNECT. The target is that of any request."""
    if not enabled:
        return ":protocol without SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 section 3)"
    if head.method != b"CONNECT":
        return ":protocol with a method other than CONNECT (RFC 8441 section 4)"
    if not _PROTOCOL.fullmatch(head.protocol or b""):
        return ":protocol is not an upgrade token (RFC 8441 section 4, RFC 9110 section 7.8)"
    return None


def _tunnel_length(head: RequestHead, ruled: Ruled, rules: FieldRules) -> str | None:
    """RFC 9110 section 9.3.6: CONNECT has no content, so a length of it is ignored when received, and not sent."""
    if rules.sending and head.is_tunnel and b"content-length" in ruled:
        return "content-length is not allowed in a CONNECT request (RFC 9110 section 9.3.6)"
    return None
