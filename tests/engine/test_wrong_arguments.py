"""What a wrong argument is told: which it is, its value, and what to do; word for word."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from hyperframe.frame import HeadersFrame
from trio.testing import MockClock

import trio_h2
from trio_h2.wording import number, quoted, shown

from .helpers import GET, of, raw_client, raw_server

LONG = "x" * 100
CUT = "x" * 64 + "..."
SECRET = "sesame"

# What a request is made of

REQUESTS: list[tuple[dict[str, object], str]] = [
    ({"method": "G T"}, "method 'G T': it has to be a token, such as GET (RFC 9110 section 9.1)"),
    ({"method": b"G\x00T"}, r"method 'G\x00T': it has to be a token, such as GET (RFC 9110 section 9.1)"),
    ({"method": ""}, "method '': it has to be a token, such as GET (RFC 9110 section 9.1)"),
    ({"method": "G\xc9T"}, r"method 'G\xc9T': it has to be ASCII"),
    ({"method": 5}, "method must be str or bytes, not int"),
    ({"target": "/a b"}, "target '/a b': a space has to be percent-encoded"),
    ({"target": "/a b" + LONG}, f"target '/a b{CUT[4:]}': a space has to be percent-encoded"),
    ({"target": "/a b#x"}, "target '/a b#x': a space has to be percent-encoded"),
    ({"target": "/a\n"}, r"target '/a\n': a control character has to be percent-encoded"),
    ({"target": "/\xe9"}, r"target '/\xe9': what is not ASCII has to be percent-encoded"),
    ({"target": "/\ud800"}, r"target '/\ud800': what is not ASCII has to be percent-encoded"),
    ({"target": "#x"}, "target: '#x' is a fragment, which is not sent"),
    ({"target": "/a#x"}, "target: '#x' is a fragment, which is not sent"),
    ({"target": "/a?b#x y\x1b"}, r"target: '#x y\x1b' is a fragment, which is not sent"),
    ({"target": "/a#" + LONG}, f"target: '#{CUT[1:]}' is a fragment, which is not sent"),
    ({"target": "/a#"}, "target: '#' is a fragment, which is not sent"),
    ({"target": ""}, "target '': it has to begin with '/'"),
    ({"target": "no-slash"}, "target 'no-slash': it has to begin with '/'"),
    ({"target": "?a=http://b/"}, "target '?a=http://b/': it has to begin with '/'"),
    ({"target": "*"}, "target '*': only OPTIONS has it"),
    (
        {"target": "https://example.org/a"},
        "target 'https://example.org/a': path and query alone are sent, the rest is the connection's",
    ),
    (
        {"target": f"https://me:{SECRET}@example.org/a"},
        "target 'https://...@example.org/a': path and query alone are sent, the rest is the connection's",
    ),
    ({"target": None}, "target must be str or bytes, not NoneType"),
    ({"authority": "a b"}, "authority 'a b': it has to be a host and perhaps a port, such as example.org:8443"),
    ({"authority": "a:b"}, "authority 'a:b': it has to be a host and perhaps a port, such as example.org:8443"),
    ({"authority": ""}, "authority '': it has to be a host and perhaps a port, such as example.org:8443"),
    ({"authority": f"me:{SECRET}@host"}, "authority '...@host': a user has no place in it (RFC 9113 section 8.3.1)"),
    (
        {"authority": "b\xfccher.test"},
        r"authority 'b\xfccher.test': a name that is not ASCII has to be in its IDNA form, xn--...",
    ),
    (
        {"authority": "[fe80::1%25eth0]"},
        "authority '[fe80::1%25eth0]': an IPv6 zone is of no use to the peer (RFC 6874 section 4)",
    ),
    ({"authority": 5}, "authority must be str or bytes, not int"),
    ({"headers": {"content-length": 5}}, "headers: content-length must be str or bytes, not int"),
    ({"headers": [("x", None)]}, "headers: x must be str or bytes, not NoneType"),
    ({"headers": [("x", SECRET + "\xe9")]}, "headers: x must be ASCII, or bytes for other octets"),
    ({"headers": [(b"\x1b", 5)]}, r"headers: '\x1b' must be str or bytes, not int"),
    ({"headers": [("x" * 100, 5)]}, f"headers: '{CUT}' must be str or bytes, not int"),
    ({"headers": [("a", "b"), (5, "x")]}, "headers[1]: a field name must be str or bytes, not int"),
    ({"headers": [("\xe9", SECRET)]}, r"headers[0]: the field name '\xe9' must be ASCII"),
    ({"headers": ["ab"]}, "headers[0] must be a (name, value) pair, not str"),
    ({"headers": [("a", SECRET, "c")]}, "headers[0] must be a (name, value) pair, not tuple of length 3"),
    ({"headers": 5}, "headers must be a mapping or an iterable of pairs, not int"),
    ({"headers": "a: b"}, "headers must be a mapping or an iterable of pairs, not str"),
    ({"headers": [("host", "other")]}, "Host: use authority="),
    ({"headers": {"Host": "other"}, "authority": "another"}, "Host: use authority="),
    ({"headers": [("host", "example.org"), ("host", "b")]}, "headers: host is repeated (RFC 9110 section 7.2)"),
    (
        {"headers": [("x", f"{SECRET}\r\nb")]},
        "headers: the value of 'x' has a control character (RFC 9113 section 8.2.1)",
    ),
    (
        {"headers": [("x", f" {SECRET}")]},
        "headers: the value of 'x' has white space at an end (RFC 9113 section 8.2.1)",
    ),
    ({"headers": [("", SECRET)]}, "headers: a field name is empty (RFC 9110 section 5.1)"),
    (
        {"headers": [("a b", SECRET)]},
        "headers: the field name 'a b' holds a prohibited octet (RFC 9113 section 8.2.1)",
    ),
    ({"headers": [(":path", "/")]}, "headers: ':path' is a pseudo-header field; it has an argument of its own"),
    ({"headers": [("connection", SECRET)]}, "headers: 'connection' is connection-specific (RFC 9113 section 8.2.2)"),
    ({"headers": [("te", SECRET)]}, "headers: te holds a value other than trailers (RFC 9113 section 8.2.2)"),
    (
        {"headers": [("content-length", SECRET)]},
        "headers: content-length is not one number of at most 19 digits (RFC 9110 section 8.6)",
    ),
    ({"priority": "u=1"}, "priority must be a Priority, not str"),
]


@pytest.mark.parametrize(("arguments", "text"), REQUESTS)
@pytest.mark.parametrize("how", ["request", "stream"])
async def test_of_a_request(how: str, arguments: dict[str, object], text: str, autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        given = {"method": "GET", "target": "/", **arguments}
        with pytest.raises((TypeError, ValueError)) as caught:
            if how == "request":
                await connection.request(**given)  # type: ignore[arg-type]
            else:
                connection.stream(**given)  # type: ignore[arg-type]
        assert str(caught.value) == text
        assert SECRET not in text
        assert of(await peer.sync(), HeadersFrame) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"method": "CONNECT"}, "method: CONNECT makes a tunnel, for which there is stream()"),
        (
            {"body": b"abc", "headers": {"content-length": "2"}},
            "headers: content-length is not that of the body, which has 3 octets",
        ),
        (
            {"body": b"abc", "headers": {"content-length": SECRET}},
            "headers: content-length is not that of the body, which has 3 octets",
        ),
        ({"headers": {"content-length": "2"}}, "headers: content-length promises a body, and there is none"),
        ({"trailers": {"x": 5}}, "trailers: x must be str or bytes, not int"),
        ({"trailers": [("x", "b"), (5, "x")]}, "trailers[1]: a field name must be str or bytes, not int"),
        ({"trailers": 5}, "trailers must be a mapping or an iterable of pairs, not int"),
        ({"trailers": {":x": "1"}}, "trailers: ':x' is a pseudo-header field; it has an argument of its own"),
        ({"trailers": {"host": SECRET}}, "trailers: 'host' is not allowed in trailers (RFC 9110 section 6.5.1)"),
        (
            {"trailers": {"x": f"{SECRET}\n"}},
            "trailers: the value of 'x' has a control character (RFC 9113 section 8.2.1)",
        ),
    ],
)
async def test_of_a_request_alone(arguments: dict[str, object], text: str, autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        with pytest.raises((TypeError, ValueError)) as caught:
            await connection.request(**{"method": "POST", "target": "/", **arguments})  # type: ignore[arg-type]
        assert str(caught.value) == text
        assert of(await peer.sync(), HeadersFrame) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"target": "/"},
            "target '/': of CONNECT it has to be a host and a port, such as example.org:443",
        ),
        (
            {"target": "a:99999"},
            "target 'a:99999': of CONNECT it has to be a host and a port, such as example.org:443",
        ),
        ({"target": f"{SECRET}@a:1"}, "target '...@a:1': a user has no place in it (RFC 9113 section 8.3.1)"),
        (
            {"target": "[fe80::1%eth0]:1"},
            "target '[fe80::1%eth0]:1': an IPv6 zone is of no use to the peer (RFC 6874 section 4)",
        ),
        ({"headers": {"host": "b"}}, "Host: of CONNECT it is the target"),
        (
            {"headers": {"content-length": "1"}},
            "headers: content-length is not allowed in a CONNECT request (RFC 9110 section 9.3.6)",
        ),
        ({"authority": "b"}, "authority: for CONNECT it is the target"),
        ({"end_stream": True}, "end_stream: a CONNECT tunnel starts open both ways"),
        (
            {"target": "/", "protocol": "web socket"},
            "protocol 'web socket': it has to be an upgrade token, such as websocket (RFC 8441 section 4)",
        ),
        ({"target": "/", "protocol": 5}, "protocol must be str or bytes, not int"),
        ({"target": "/a b", "protocol": "websocket"}, "target '/a b': a space has to be percent-encoded"),
        ({"target": "/", "protocol": "websocket", "headers": {"host": "b"}}, "Host: use authority="),
        (
            {"method": "GET", "target": "/", "protocol": "websocket"},
            "protocol: only a CONNECT request has one (RFC 8441), not 'GET'",
        ),
        (
            {"method": "GET", "target": "/", "end_stream": True, "headers": {"content-length": "1"}},
            "headers: content-length promises a body, and end_stream says that none follows",
        ),
    ],
)
async def test_of_a_tunnel(arguments: dict[str, object], text: str, autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        with pytest.raises((TypeError, ValueError)) as caught:
            connection.stream(**{"method": "CONNECT", "target": "a:1", **arguments})  # type: ignore[arg-type]
        assert str(caught.value) == text
        assert of(await peer.sync(), HeadersFrame) == []


# What a response is made of

Call = Callable[[trio_h2.ServerStream], Awaitable[object]]


async def told(call: Call) -> str:
    """What a call in a handler raises."""
    texts: list[str] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        with pytest.raises((TypeError, ValueError)) as caught:
            await call(stream)
        texts.append(str(caught.value))
        await stream.respond(204)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
    assert len(texts) == 1
    return texts[0]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda s: s.respond(200, {"a": 1}), "headers: a must be str or bytes, not int"),
        (
            lambda s: s.respond(200, [("a b", SECRET)]),
            "headers: the field name 'a b' holds a prohibited octet (RFC 9113 section 8.2.1)",
        ),
        (
            lambda s: s.respond(200, {"a": SECRET + " "}),
            "headers: the value of 'a' has white space at an end (RFC 9113 section 8.2.1)",
        ),
        (
            lambda s: s.respond(200, {"connection": "close"}),
            "headers: 'connection' is connection-specific (RFC 9113 section 8.2.2)",
        ),
        (
            lambda s: s.send_response(204, {"content-length": "0"}),
            "headers: content-length is not allowed in this 204 response (RFC 9110 section 8.6)",
        ),
        (
            lambda s: s.send_response(200, {":status": "200"}),
            "headers: ':status' is a pseudo-header field; it has an argument of its own",
        ),
        (lambda s: s.send_response(200, 5), "headers must be a mapping or an iterable of pairs, not int"),
        (
            lambda s: s.send_trailers({":status": "200"}),
            "trailers: ':status' is a pseudo-header field; it has an argument of its own",
        ),
        (lambda s: s.push("/a b"), "target '/a b': a space has to be percent-encoded"),
        (lambda s: s.push("/", headers={"host": "b"}), "Host: use authority="),
    ],
)
async def test_of_a_response(call: Call, text: str, autojump_clock: MockClock) -> None:
    assert await told(call) == text
    assert SECRET not in text


# How values stand in a text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "'a'"),
        (b"a\xff\n", r"'a\xff\n'"),
        ("\U0001f600", r"'\U0001f600'"),
        (LONG, f"'{CUT}'"),
        ("\n" * 64, "'" + r"\n" * 32 + "...'"),
        ("me:sesame@host", "'...@host'"),
        ("https://me:ses@me@host", "'https://...@host'"),
        ("//me:sesame@host", "'...@host'"),
        (f"https://{LONG}@host", "'https://...@host'"),
        ("/@me", "'/@me'"),
    ],
)
def test_a_value_is_escaped_and_cut_and_names_no_user(value: str | bytes, text: str) -> None:
    assert quoted(value) == text
    assert len(text) <= 69


def test_a_number_is_cut() -> None:
    assert [number(each) for each in (5, -1, 0.5, float("nan"), 10**23)] == ["5", "-1", "0.5", "nan", str(10**23)]
    assert number(10**5000) == number(-(10**5000)) == "an int of 16610 bits"


def test_what_a_peer_sent_is_escaped_and_cut() -> None:
    assert shown(b"a\x1b'") == r"a\x1b'"
    assert shown(b"a" * 201) == "a" * 200 + "..."
    assert shown(b"\n" * 101) == r"\n" * 100 + "..."
