"""What a wrong argument is told: which it is, its value, and what to do; word for word."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from hyperframe.frame import HeadersFrame
from trio.testing import MockClock

import trio_h2
from trio_h2.wording import number, quoted, shown

from .helpers import GET, MemoryListener, hello, of, raw_client, raw_server, serving

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


# What a stream's calls are given


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda s: s.push("/", method="POST"),
            "method must be GET or HEAD, not 'POST': only safe requests are pushed (RFC 9113 section 8.4)",
        ),
        (lambda s: s.respond("200"), "status must be an int, not str"),
        (lambda s: s.respond(True), "status must be an int, not bool"),
        (lambda s: s.respond(99), "status must be from 200 to 599, not 99"),
        (lambda s: s.respond(600), "status must be from 200 to 599, not 600"),
        (lambda s: s.respond(10**99), "status must be from 200 to 599, not an int of 329 bits"),
        (lambda s: s.respond(101), "status 101: HTTP/2 does not have it (RFC 9113 section 8.6)"),
        (lambda s: s.send_informational(101), "status 101: HTTP/2 does not have it (RFC 9113 section 8.6)"),
        (
            lambda s: s.send_response(103),
            "status must be from 200 to 599, not 103: an interim response is sent by send_informational()",
        ),
        (
            lambda s: s.send_informational(200),
            "status must be from 100 to 199, not 200: the final response is sent by respond() or send_response()",
        ),
        (lambda s: s.respond(200, (), "text"), "body must be bytes-like, not str"),
        (lambda s: s.respond(204, (), b"abc"), "body: a 204 response has none (RFC 9110 section 15.3.5), not 3 bytes"),
        (
            lambda s: s.respond(200, {"content-length": "2"}, b"abc"),
            "headers: content-length is not that of the body, which has 3 octets",
        ),
        (lambda s: s.send_all("text"), "data must be bytes-like, not str"),
        (lambda s: s.receive_some(0), "max_bytes must be at least 1, not 0"),
        (lambda s: s.receive_some("1"), "max_bytes must be an int or None, not str"),
        (lambda s: s.reset(-1), "error_code must be from 0 to 2**32-1, not -1"),
        (lambda s: s.reset("CANCEL"), "error_code must be an int, not str"),
    ],
)
async def test_of_a_streams_call(call: Call, text: str, autojump_clock: MockClock) -> None:
    assert await told(call) == text


async def test_of_a_priority(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, _), connection.stream("GET", "/") as stream:
        with pytest.raises(TypeError, match=r"^priority must be a Priority, not int$"):
            await stream.update_priority(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^urgency must be from 0 to 7, not 8$"):
        trio_h2.Priority(urgency=8)


@pytest.mark.parametrize(
    "again",
    [
        lambda s: s.respond(200),
        lambda s: s.respond(200, (), memoryview(b"body")),
        lambda s: s.send_response(500),
        lambda s: s.send_informational(103),
    ],
)
@pytest.mark.parametrize("ended", [False, True])
async def test_a_second_answer_is_told_of_the_first(again: Call, ended: bool, autojump_clock: MockClock) -> None:
    texts: list[str] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(404, end_stream=ended)
        with pytest.raises(trio_h2.StreamClosedError if ended else trio_h2.ProtocolError) as caught:
            await again(stream)
        assert caught.value.stream_id == 5
        texts.append(str(caught.value))

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(5, GET, end_stream=True))
        await peer.sync()
    assert texts == ["stream 5 has been answered already with 404"]


async def test_a_block_that_is_awaited_is_told_that_it_is_one(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, _):
        blocks: list[tuple[object, str]] = [
            (connection.stream("GET", "/"), "connection.stream(...)"),
            (trio_h2.connect("http://a"), "connect(...)"),
            (trio_h2.connect_over(trio.testing.memory_stream_pair()[0], authority="a"), "connect_over(...)"),
        ]
        for block, name in blocks:
            with pytest.raises(TypeError) as caught:
                await block  # type: ignore[misc]
            assert str(caught.value) == f"{name} is not awaited, it is an `async with`: `async with {name} as name:`"


# Connecting, and serving


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (5, "url must be a str, not int"),
        ("example.org", "url must start with http:// or https://, not 'example.org'"),
        ("ftp://a\x1b", r"url must start with http:// or https://, not 'ftp://a\x1b'"),
        ("https://", "url has no host: 'https://'"),
        ("https://a/b", "url must be scheme, host and port alone: 'https://a/b'"),
        (f"https://a/{LONG}", f"url must be scheme, host and port alone: 'https://a/{CUT[10:]}'"),
        (
            f"https://me:{SECRET}@a/b",
            "url must be scheme, host and port alone, without a user or a password: 'https://...@a/b'",
        ),
        (f"me:{SECRET}@a", "url must be scheme, host and port alone, without a user or a password: '...@a'"),
        ("https://a:0", "url has no valid host and port: 'https://a:0': the port is not between 1 and 65535"),
        (
            "https://a:b",
            "url has no valid host and port: 'https://a:b': it is not a host, or one and a port of decimal digits",
        ),
        (
            "https://a b",
            "url has no valid host and port: 'https://a b': the host is not a domain name or an address",
        ),
    ],
)
def test_of_a_url(url: object, text: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        trio_h2.connect(url)  # type: ignore[arg-type]
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"config": {}}, "config must be a Config, not dict"),
        ({"ssl_context": True}, "ssl_context must be an ssl.SSLContext, not bool"),
        (
            {"url": "http://a", "ssl_context": ssl.create_default_context()},
            "ssl_context: an http:// url has no use for one",
        ),
    ],
)
def test_of_connect(arguments: dict[str, object], text: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        trio_h2.connect(**{"url": "https://a", **arguments})  # type: ignore[arg-type]
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"transport": "x"}, "transport must be a trio.abc.Stream, not str"),
        ({"authority": "a b"}, "authority 'a b': it has to be a host and perhaps a port, such as example.org:8443"),
        ({"authority": None}, "authority must be str or bytes, not NoneType"),
        ({"scheme": "h t"}, "scheme 'h t': it has to be a scheme, such as https (RFC 3986 section 3.1)"),
        ({"config": 5}, "config must be a Config, not int"),
    ],
)
def test_of_connect_over(arguments: dict[str, object], text: str) -> None:
    given = {"transport": trio.testing.memory_stream_pair()[0], "authority": "a", **arguments}
    with pytest.raises((TypeError, ValueError)) as caught:
        trio_h2.connect_over(**given)  # type: ignore[arg-type]
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"handler": 5}, "handler must be an async function of one stream, not int"),
        ({"port": "80"}, "port must be an int, not str"),
        ({"port": True}, "port must be an int, not bool"),
        ({"port": -1}, "port must be from 0 to 65535, not -1"),
        ({"port": 65536}, "port must be from 0 to 65535, not 65536"),
        ({"host": 5}, "host must be str or bytes, or None, not int"),
        ({"ssl_context": True}, "ssl_context must be an ssl.SSLContext, not bool"),
        ({"wrap_listener": 5}, "wrap_listener must be a function of a listener, or None, not int"),
        ({"config": 5}, "config must be a Config, not int"),
        ({"max_connections": 0}, "max_connections must be at least 1, not 0"),
        ({"max_connections": "5"}, "max_connections must be an int, not str"),
        ({"max_handshakes": -(10**99)}, "max_handshakes must be at least 1, not an int of 329 bits"),
        ({"handler_nursery": 5}, "handler_nursery must be a trio.Nursery, not int"),
    ],
)
async def test_of_serve_h2(arguments: dict[str, object], text: str) -> None:
    given = {"handler": hello, "port": 0, "host": "127.0.0.1", **arguments}
    with pytest.raises((TypeError, ValueError)) as caught:
        await trio_h2.serve_h2(**given)  # type: ignore[arg-type]
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("listeners", "text"),
    [
        (5, "listeners must be a sequence of trio.abc.Listener, not int"),
        ([5], "listeners[0] must be a trio.abc.Listener, not int"),
    ],
)
async def test_of_serve_h2_listeners(listeners: object, text: str, autojump_clock: MockClock) -> None:
    with pytest.raises(TypeError) as caught:
        await trio_h2.serve_h2_listeners(hello, listeners)  # type: ignore[arg-type]
    assert str(caught.value) == text


async def test_of_serve_h2_listeners_one_that_is_no_sequence(autojump_clock: MockClock) -> None:
    with pytest.raises(TypeError, match=r"^listeners must be a sequence of trio\.abc\.Listener, not MemoryListener$"):
        await trio_h2.serve_h2_listeners(hello, MemoryListener())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"handler": None}, "handler must be an async function of one stream, not NoneType"),
        ({"transport": 5}, "transport must be a trio.abc.Stream, not int"),
        ({"config": 5}, "config must be a Config, not int"),
    ],
)
async def test_of_serve_h2_connection(arguments: dict[str, object], text: str) -> None:
    given = {"handler": hello, "transport": trio.testing.memory_stream_pair()[0], **arguments}
    with pytest.raises(TypeError) as caught:
        await trio_h2.serve_h2_connection(**given)  # type: ignore[arg-type]
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("grace", "text"),
    [
        (-1, "grace must be 0 or more seconds, not -1"),
        (float("nan"), "grace must be 0 or more seconds, not nan"),
        ("1", "grace must be a number of seconds, not str"),
    ],
)
async def test_of_shutdown(grace: object, text: str, autojump_clock: MockClock) -> None:
    async with serving(hello) as (server, _, _):
        with pytest.raises((TypeError, ValueError)) as caught:
            await server.shutdown(grace)  # type: ignore[arg-type]
        assert str(caught.value) == text
        await server.shutdown()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"max_unread": -1}, f"Config.max_unread must be from 0 to {2**62}, not -1"),
        ({"max_unread": 10**5000}, f"Config.max_unread must be from 0 to {2**62}, not an int of 16610 bits"),
        ({"max_unread": "1"}, "Config.max_unread must be an int, not str"),
        ({"idle_timeout": 0}, "Config.idle_timeout must be more than 0 seconds, not 0"),
        ({"min_send_rate": -0.5}, "Config.min_send_rate must be 0 or more octets a second, and finite, not -0.5"),
        ({"enable_push": 1}, "Config.enable_push must be True or False, not 1"),
    ],
)
def test_of_config(arguments: dict[str, object], text: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        trio_h2.Config(**arguments)  # type: ignore[arg-type]
    assert str(caught.value) == text


# A server of another protocol

HTTP1 = b"HTTP/1.1 400 Bad Request\r\nServer: example\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "octets"),
    [
        ([HTTP1], r"HTTP/1.1 400 Bad Request\r\nServer: example\r\nContent-Length: 0..."),
        ([HTTP1[:5], HTTP1[5:]], r"HTTP/1.1 400 Bad Request\r\nServer: example\r\nContent-Length: 0..."),
        ([HTTP1[each : each + 1] for each in range(9)], "HTTP/1.1 "),
    ],
)
async def test_a_server_that_speaks_http1_is_named_as_that(
    pieces: list[bytes], octets: str, autojump_clock: MockClock
) -> None:
    client, server = trio.testing.memory_stream_pair()
    async with trio_h2.connect_over(client, authority="example.org") as connection:
        for piece in pieces:
            await server.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio_h2.ProtocolError) as caught:
            await connection.request("GET", "/")
        text = f"the server speaks HTTP/1.1, not HTTP/2: its first octets are '{octets}'"
        assert str(caught.value) == text
        assert isinstance(caught.value, trio.BrokenResourceError)
        assert not caught.value.safe_to_retry


async def test_a_server_that_sends_less_than_a_frame_and_goes(autojump_clock: MockClock) -> None:
    client, server = trio.testing.memory_stream_pair()
    async with trio_h2.connect_over(client, authority="example.org") as connection:
        await server.send_all(b"HTTP")
        await server.send_eof()
        with pytest.raises(trio_h2.ConnectionTerminatedError, match="the peer closed the transport"):
            await connection.request("GET", "/")
