"""ASGI's http scope over HTTP/2: requests, responses, and what apps do wrong."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trio_h2
from tests.adapters.helpers import START, answers, app_and_client, body, get, scope_of, sends
from tests.engine.helpers import check_quiet, pattern, read_all
from trio_h2.adapters.asgi import asgi_handler, connection_facts

# The scope


async def test_the_scope_says_what_was_asked_for() -> None:
    scope = await scope_of("/a%20%C3%A4%2Fb?c=%20d", headers=[("x-one", "1"), ("x-two", "2"), ("x-one", "3")])
    assert scope["type"] == "http"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert scope["http_version"] == "2"
    assert scope["method"] == "GET"
    assert scope["scheme"] == "http"
    assert scope["path"] == "/a ä/b"
    assert scope["raw_path"] == b"/a%20%C3%A4%2Fb"
    assert scope["query_string"] == b"c=%20d"
    assert scope["root_path"] == ""
    assert scope["headers"] == [(b"host", b"example.org"), (b"x-one", b"1"), (b"x-two", b"2"), (b"x-one", b"3")]
    assert scope["client"] is None
    assert scope["server"] is None
    assert scope["state"] == {}


async def test_authority_is_the_host_and_comes_first() -> None:
    scope = await scope_of(headers=[("accept", "*/*"), ("host", "example.org")])
    assert scope["headers"] == [(b"host", b"example.org"), (b"accept", b"*/*")]


async def test_octets_that_are_no_utf8_are_replaced_in_the_path_and_stay_in_the_raw_one() -> None:
    scope = await scope_of("/%FF")
    assert scope["path"] == "/\ufffd"
    assert scope["raw_path"] == b"/%FF"


@pytest.mark.parametrize("root_path", ["/mounted", "/mounted/"])
async def test_the_path_begins_with_the_root_path(root_path: str) -> None:
    scope = await scope_of("/below", root_path=root_path)
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/mounted", "/mounted/below", b"/mounted/below")


async def test_rfc9110_9_3_7_the_asterisk_is_below_no_root_path() -> None:
    scope = await scope_of("*", method="OPTIONS", root_path="/root")
    assert (scope["path"], scope["raw_path"]) == ("*", b"*")


async def test_rfc9113_8_2_3_cookie_crumbs_are_one_field() -> None:
    scope = await scope_of(headers=[("cookie", "a=1"), ("x-one", "1"), ("cookie", "b=2")])
    assert [tuple(field) for field in scope["headers"][1:]] == [(b"cookie", b"a=1; b=2"), (b"x-one", b"1")]


async def test_every_request_has_a_copy_of_the_state() -> None:
    shared: list[int] = []
    state = {"shared": shared}
    scope = await scope_of(state=state)
    assert scope["state"] == state
    assert scope["state"] is not state
    assert scope["state"]["shared"] is shared


def emptied(value: Any) -> None:
    """Take out all that can be taken out, at every depth; the state's values and the stream are not copied."""
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        emptied(each)
    if isinstance(value, dict | list):
        value.clear()


async def test_what_an_app_does_to_its_scope_is_not_there_for_the_next_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        connection_facts, "tls_extension", lambda tls: {"client_cert_chain": ["certificate"], "tls_version": 0x304}
    )
    monkeypatch.setattr(trio_h2.ServerConnection, "tls", trio_h2.TLSInfo("TLSv1.3", None, "h2"))
    scopes: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["extensions"].pop("trio_h2")["stream"].stream_id == 2 * len(scopes) + 1
        scopes.append(repr(scope))
        emptied(scope)
        await answers()(scope, receive, send)

    async with app_and_client(app, state={"key": "value"}) as pair:
        await pair.client.request("GET", "/path?query")
        await pair.client.request("GET", "/path?query")
    assert scopes[0] == scopes[1]
    assert "'client_cert_chain': ['certificate']" in scopes[0]


async def test_the_extensions_are_named_and_have_the_stream() -> None:
    scope = await scope_of()
    extensions = scope["extensions"]
    assert isinstance(extensions["trio_h2"]["stream"], trio_h2.ServerStream)
    assert {name for name, value in extensions.items() if value == {}} == {
        "http.response.trailers",
        "http.response.early_hint",
        "http.response.pathsend",
        "http.response.push",
    }
    assert "tls" not in extensions


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"app": None}, TypeError, "app must be an ASGI app, not NoneType"),
        ({"root_path": b"/a"}, TypeError, "root_path must be str, not bytes"),
        ({"root_path": "a"}, ValueError, "root_path must begin with a slash: 'a'"),
        ({"server_header": b"x"}, TypeError, "server_header must be str or None, not bytes"),
        ({"server_header": "ü"}, ValueError, "server_header must be printable ASCII: 'ü'"),
        ({"server_header": "a\r\nb"}, ValueError, r"server_header must be printable ASCII: 'a\\r\\nb'"),
        ({"state": []}, TypeError, "state must be a mapping, not list"),
        ({"disconnect_grace": True}, TypeError, "disconnect_grace must be a number of seconds, not bool"),
        ({"disconnect_grace": -1}, ValueError, "disconnect_grace must not be negative: -1"),
        ({"disconnect_grace": float("nan")}, ValueError, "disconnect_grace must not be negative: nan"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}$"):
        asgi_handler(**({"app": answers()} | arguments))


async def test_rfc9110_15_6_2_a_tunnel_is_not_implemented() -> None:
    async with app_and_client(answers()) as pair:
        for method, arguments in (("CONNECT", {}), ("CONNECT", {"protocol": "connect-udp"})):
            target = "/" if arguments else "example.org:80"
            async with pair.client.stream(method, target, **arguments) as stream:
                assert (await stream.response()).status == 501


# Receiving


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    more = True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        more = message["more_body"]
        await send(body(message["body"], more=True))
    await send(body())


async def test_a_request_without_a_body_is_one_empty_message() -> None:
    messages: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        messages.append(await receive())
        await answers()(scope, receive, send)
        messages.append(await receive())

    await get(app)
    assert messages == [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]


async def test_a_body_streams_both_ways(autojump_clock: MockClock) -> None:
    data = pattern(3_000_000)
    async with app_and_client(echo) as pair:
        response = await pair.client.request("POST", "/", body=data)
        assert hashlib.sha256(response.body).digest() == hashlib.sha256(data).digest()
        await check_quiet(pair)


async def test_receiving_is_what_gives_credit(autojump_clock: MockClock) -> None:
    """An app that does not receive holds its client up by the window of its stream, and gets all of it when it does."""
    go = trio.Event()
    received: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        while (message := await receive())["more_body"]:
            received.append(message["body"])
        await answers()(scope, receive, send)

    data = pattern(500_000)
    async with app_and_client(app) as pair:
        async with pair.client.stream("POST", "/") as stream:
            with trio.move_on_after(10) as scope:
                await stream.send_all(data)
            assert scope.cancelled_caught
            window = pair.client.statistics().streams[0].outbound_window
            assert window == 0
            go.set()


async def test_sending_waits_for_the_window(autojump_clock: MockClock) -> None:
    sent: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        for number in range(100):
            await send(body(bytes(10_000), more=True))
            sent.append(number)
        await send(body())

    async with app_and_client(app, config=trio_h2.Config(initial_window_size=65_535, max_window_size=65_535)) as pair:
        async with pair.client.stream("GET", "/") as stream:
            await stream.response()
            await trio.sleep(10)
            assert len(sent) < 10
            assert len(await read_all(stream)) == 1_000_000


async def test_a_request_that_nobody_reads_is_given_up_when_the_response_is_complete(
    autojump_clock: MockClock,
) -> None:
    """RFC 9113 section 8.1: RST_STREAM(NO_ERROR), and not only when the app's background work is done."""
    told = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answers(status=403)(scope, receive, send)
        assert await receive() == {"type": "http.disconnect"}
        await told.wait()

    async with app_and_client(app) as pair:
        async with pair.client.stream("POST", "/") as stream:
            assert (await stream.response()).status == 403
            with pytest.raises(trio_h2.StreamResetError) as caught:
                while True:
                    await stream.send_all(bytes(10_000))
            assert caught.value.error_code == trio_h2.ErrorCodes.NO_ERROR
        told.set()


async def test_expect_100_continue_is_answered_when_the_app_receives() -> None:
    async with app_and_client(echo) as pair:
        response = await pair.client.request("POST", "/", headers=[("expect", "100-continue")], body=b"body")
    assert response.body == b"body"


# Sending


async def test_a_response_in_one_message_has_its_length() -> None:
    response = await get(sends(START | {"headers": [(b"content-type", b"text/plain")]}, body(b"hello")))
    assert (response.status, response.body) == (200, b"hello")
    assert response.headers["content-type"] == "text/plain"
    assert response.headers["content-length"] == "5"


async def test_a_response_in_pieces_has_none() -> None:
    response = await get(
        sends(START, body(b"he", more=True), body(bytearray(b"l"), more=True), body(memoryview(b"lo")))
    )
    assert response.body == b"hello"
    assert "content-length" not in response.headers


async def test_date_and_server_are_added_unless_there() -> None:
    response = await get(answers())
    assert response.headers["server"] == "trio_h2"
    assert response.headers["date"].endswith(" GMT")
    response = await get(answers(headers=[(b"Date", b"today"), (b"Server", b"mine")]))
    assert response.headers.get_all("server") == ["mine"]
    assert response.headers.get_all("date") == ["today"]
    assert "server" not in (await get(answers(), server_header=None)).headers
    assert (await get(answers(), server_header="other")).headers["server"] == "other"


async def test_rfc9113_8_2_2_fields_of_connections_are_dropped_and_names_lowered() -> None:
    fields = [(b"Transfer-Encoding", b"chunked"), (b"connection", b"close"), (b"Keep-Alive", b"1"), (b"X-Up", b" a\t")]
    response = await get(answers(headers=fields))
    assert (response.status, response.headers["x-up"]) == (200, "a")
    assert {"transfer-encoding", "connection", "keep-alive"}.isdisjoint(dict(response.headers))


@pytest.mark.parametrize("octets", [b"", b"dropped"])
async def test_rfc9110_8_6_a_204_has_no_content_length_and_no_body(octets: bytes) -> None:
    for messages in ([body(octets)], [body(octets, more=True), body(octets)]):
        response = await get(sends(START | {"status": 204, "headers": [(b"content-length", b"0")]}, *messages))
        assert (response.status, response.body) == (204, b"")
        assert "content-length" not in response.headers


@pytest.mark.parametrize(
    ("method", "status", "messages"),
    [
        ("HEAD", 200, [body(b"hello")]),
        ("HEAD", 200, [body()]),
        ("HEAD", 200, [body(b"he", more=True), body(b"llo")]),
        ("GET", 304, [body()]),
        ("GET", 304, [body(b"hello")]),
    ],
)
async def test_rfc9110_6_4_1_a_body_that_may_not_be_there_is_dropped(
    method: str, status: int, messages: list[Any]
) -> None:
    start = START | {"status": status, "headers": [(b"content-length", b"5")]}
    response = await get(sends(start, *messages), method=method)
    assert (response.status, response.body, response.headers["content-length"]) == (status, b"", "5")


async def test_the_head_of_an_unknown_length_has_none() -> None:
    """RFC 9110 section 8.6: it would have to be that of the response to GET."""
    assert "content-length" not in (await get(answers(), method="HEAD")).headers


async def test_nothing_is_sent_before_the_first_body_message(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        raise ValueError("at the last moment")

    assert (await get(app)).status == 500
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "at the last moment"


async def test_an_error_after_the_response_began_resets_it(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(body(b"part", more=True))
        raise ValueError("too late")

    with pytest.raises(trio_h2.StreamResetError) as caught:
        await get(app)
    assert caught.value.error_code == trio_h2.ErrorCodes.INTERNAL_ERROR
    assert caught.value.response.body == b"part"
    assert [record.exc_info[1].args for record in caplog.records if record.exc_info] == [("too late",)]


async def test_an_error_after_the_response_is_complete_is_logged_and_the_response_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await sends(START, body(b"whole"))(scope, receive, send)
        raise ValueError("in the background")

    assert (await get(app)).body == b"whole"
    assert [record.exc_info[1].args for record in caplog.records if record.exc_info] == [("in the background",)]


async def test_what_comes_after_the_response_is_ignored() -> None:
    assert (await get(sends(START, body(b"whole"), body(b"more"), START, {"type": "anything"}))).body == b"whole"


async def test_the_response_is_there_before_the_apps_background_work_is_done(autojump_clock: MockClock) -> None:
    done = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await sends(START, body(b"whole"))(scope, receive, send)
        await trio.sleep(30)
        done.set()

    async with app_and_client(app) as pair:
        assert (await pair.client.request("GET", "/")).body == b"whole"
        assert not done.is_set()
    assert done.is_set()


@pytest.mark.parametrize(
    ("messages", "missing"),
    [
        ([], "http.response.start"),
        ([START], "http.response.body"),
        ([START, body(b"x", more=True)], "http.response.body"),
        ([START | {"trailers": True}, body(b"x")], "http.response.trailers"),
    ],
)
async def test_an_app_that_returns_too_early_is_named(
    caplog: pytest.LogCaptureFixture, messages: list[Any], missing: str
) -> None:
    """Its response never looks complete (invariant 14)."""
    if len(messages) < 2:
        assert (await get(sends(*messages))).status == 500
    else:
        with pytest.raises(trio_h2.StreamResetError):
            await get(sends(*messages))
    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == f"the app returned, and {missing!r} was next"


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        ([None], "send() takes a dict, not NoneType"),
        ([{}], "a message that the app sent has no 'type'"),
        ([{"type": 1}], "a message that the app sent has a 'type' that is not str but int"),
        ([{"type": "http.nonsense"}], "the app sent 'http.nonsense', which is no message of a response"),
        ([body()], "the app sent 'http.response.body' where 'http.response.start' is next"),
        ([START, START], "the app sent 'http.response.start' where 'http.response.body' is next"),
        (
            [START, {"type": "http.response.trailers"}],
            "the app sent 'http.response.trailers' where 'http.response.body' is next",
        ),
        ([{"type": "http.response.start"}], "http.response.start: 'status' must be an int, and is missing"),
        ([START | {"status": "200"}], "http.response.start: 'status' must be an int, not str"),
        ([START | {"status": True}], "http.response.start: 'status' must be an int, not bool"),
        ([START | {"status": 99}], "http.response.start: 'status' must be from 200 to 599, not 99"),
        ([START | {"headers": None}], "http.response.start: 'headers' must be an iterable of pairs, not NoneType"),
        ([START | {"headers": {b"a": b"b"}}], "http.response.start: 'headers' must be an iterable of pairs, not dict"),
        ([START | {"headers": [b"abc"]}], "http.response.start: headers[0] must be a pair of bytes"),
        (
            [START | {"headers": [(b"a", b"b"), ("a", b"b")]}],
            "http.response.start: headers[1] must be a pair of bytes, not of str",
        ),
        ([START | {"headers": [(b"a", 1)]}], "http.response.start: headers[0] must be a pair of bytes, not of int"),
        ([START, body("text")], "http.response.body: 'body' must be bytes, not str"),
        ([START, body(None)], "http.response.body: 'body' must be bytes, not NoneType"),
        ([START, {"type": "http.response.pathsend"}], "http.response.pathsend: 'path' must be str, and is missing"),
        (
            [{"type": "http.response.early_hint", "links": b"<a>"}],
            "http.response.early_hint: 'links' must be an iterable of bytes, not bytes",
        ),
        (
            [{"type": "http.response.early_hint", "links": ["<a>"]}],
            "http.response.early_hint: links[0] must be bytes, not str",
        ),
        ([{"type": "http.response.push", "path": b"/"}], "http.response.push: 'path' must be str, not bytes"),
    ],
)
async def test_what_an_app_sends_wrong_is_named(
    caplog: pytest.LogCaptureFixture, messages: list[Any], error: str
) -> None:
    """It is raised where the app sends it; if it lets that out, the client gets 500."""
    assert (await get(sends(*messages))).status == 500
    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == error


@pytest.mark.parametrize("octets", [b"too long", b"x"])
async def test_rfc9113_8_1_1_a_body_of_the_wrong_length_is_the_apps_error(
    caplog: pytest.LogCaptureFixture, octets: bytes
) -> None:
    start = START | {"headers": [(b"content-length", b"3")]}
    assert (await get(sends(start, body(octets)))).status == 500
    with pytest.raises(trio_h2.StreamResetError):
        await get(sends(start, body(b"x", more=True), body(octets)))
    assert all(record.levelno == logging.ERROR for record in caplog.records)
    assert len(caplog.records) == 2


async def test_an_app_that_goes_wrong_once_may_send_a_500_of_its_own() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(TypeError):
            await send(START | {"status": "wrong"})
        await send(START | {"status": 500})
        with pytest.raises(TypeError):
            await send(body("wrong"))
        await send(body(b"sorry"))

    response = await get(app)
    assert (response.status, response.body) == (500, b"sorry")


# Extensions

TRAILERS = {"type": "http.response.trailers", "headers": [(b"X-Sum", b"1")]}


async def test_trailers_are_sent_to_clients_that_take_them() -> None:
    app = sends(
        START | {"trailers": True},
        body(b"hello"),
        TRAILERS | {"more_trailers": True},
        {"type": "http.response.trailers", "headers": [(b"x-more", b"2")]},
    )
    response = await get(app, headers=[("te", "trailers")])
    assert response.body == b"hello"
    assert response.trailers == trio_h2.Headers([("x-sum", "1"), ("x-more", "2")])
    response = await get(app)
    assert (response.body, response.trailers) == (b"hello", None)


@pytest.mark.parametrize(("method", "last"), [("HEAD", TRAILERS), ("GET", {"type": "http.response.trailers"})])
async def test_a_response_without_trailers_after_all_ends(method: str, last: Any) -> None:
    app = sends(START | {"trailers": True}, body(b"hello"), last)
    response = await get(app, method=method, headers=[("te", "trailers")])
    assert (response.status, response.trailers) == (200, None)


async def test_rfc8297_early_hints_are_sent_before_the_response() -> None:
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b.js>"]}
    app = sends(hint, START, hint, {"type": "http.response.early_hint"}, body(b"hel", more=True), hint, body(b"lo"))
    async with app_and_client(app) as pair:
        async with pair.client.stream("GET", "/") as stream:
            assert (await stream.response()).status == 200
            assert await read_all(stream) == b"hello"
            hints = [(each.status, each.headers.get_all("link")) for each in stream.informational]
    assert hints == [(103, ["</a.css>; rel=preload", "</b.js>"])] * 2


async def test_a_file_is_sent_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(pattern(1_000_000))
    pathsend = {"type": "http.response.pathsend", "path": str(path)}
    length = START | {"headers": [(b"content-length", b"1000000")]}
    assert (await get(sends(length, pathsend))).body == pattern(1_000_000)
    assert (await get(sends(START, pathsend))).body == pattern(1_000_000)
    head = await get(sends(length, pathsend), method="HEAD")
    assert (head.body, head.headers["content-length"]) == (b"", "1000000")
    assert (await get(sends(START | {"status": 204}, pathsend))).status == 204


async def test_a_file_that_is_not_there_is_a_500(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    pathsend = {"type": "http.response.pathsend", "path": str(tmp_path / "nothing")}
    assert (await get(sends(START, pathsend))).status == 500
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], FileNotFoundError)


async def test_a_file_comes_alone(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(trio_h2.StreamResetError):
        await get(sends(START, body(b"x", more=True), {"type": "http.response.pathsend", "path": __file__}))
    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "http.response.pathsend: the body has begun already"
