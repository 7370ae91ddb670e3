"""What apps send wrong: every key of every message is checked, and the error names it, over HTTP/2 and HTTP/1.1."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.helpers import START, app_and_client, body
from tests.adapters.test_asgi_http1 import GET, connected
from tests.adapters.websockets import ACCEPT, TRANSPORTS, ServerFrame, raw_websocket

PUSH = {"type": "http.response.push", "path": "/"}
PATHSEND = {"type": "http.response.pathsend"}
TRAILERS = {"type": "http.response.trailers"}
HINT = {"type": "http.response.early_hint"}
SEND = {"type": "websocket.send"}
CLOSE = {"type": "websocket.close"}
DENIAL = {"type": "websocket.http.response.start", "status": 401}
DENIAL_BODY = {"type": "websocket.http.response.body"}
BEGUN = (START,)
ENDING = (START | {"trailers": True}, body(b"x"))

HTTP = [
    ((), None, "send() takes a dict, not NoneType"),
    ((), {}, "a message that the app sent has no 'type'"),
    ((), {"type": b"http.response.start"}, "a message that the app sent has a 'type' that is not str but bytes"),
    ((), {"type": "http.response"}, "the app sent 'http.response', which is no message of a response"),
    ((), {"type": "websocket.send"}, "the app sent 'websocket.send', which is no message of a response"),
    # Out of order
    ((), body(), "the app sent 'http.response.body' where 'http.response.start' is next"),
    ((), PATHSEND, "the app sent 'http.response.pathsend' where 'http.response.start' is next"),
    ((), TRAILERS, "the app sent 'http.response.trailers' where 'http.response.start' is next"),
    (BEGUN, START, "the app sent 'http.response.start' where 'http.response.body' is next"),
    (BEGUN, TRAILERS, "the app sent 'http.response.trailers' where 'http.response.body' is next"),
    (ENDING, body(), "the app sent 'http.response.body' where 'http.response.trailers' is next"),
    # http.response.start
    ((), {"type": "http.response.start"}, "http.response.start: 'status' must be an int, and is missing"),
    ((), START | {"status": True}, "http.response.start: 'status' must be an int, not bool"),
    ((), START | {"status": 200.0}, "http.response.start: 'status' must be an int, not float"),
    ((), START | {"status": 103}, "http.response.start: 'status' must be from 200 to 599, not 103"),
    ((), START | {"headers": b"a: b"}, "http.response.start: 'headers' must be an iterable of pairs, not bytes"),
    ((), START | {"headers": [(b"a",)]}, "http.response.start: headers[0] must be a pair of bytes"),
    ((), START | {"headers": [("a", b"b")]}, "http.response.start: headers[0] must be a pair of bytes, not of str"),
    ((), START | {"trailers": "yes"}, "http.response.start: 'trailers' must be a bool, not str"),
    # http.response.body
    (BEGUN, body("text"), "http.response.body: 'body' must be bytes, not str"),
    (BEGUN, body() | {"more_body": 1}, "http.response.body: 'more_body' must be a bool, not int"),
    (BEGUN, body() | {"more_body": None}, "http.response.body: 'more_body' must be a bool, not NoneType"),
    # http.response.pathsend
    (BEGUN, PATHSEND, "http.response.pathsend: 'path' must be str, and is missing"),
    (BEGUN, PATHSEND | {"path": b"/"}, "http.response.pathsend: 'path' must be str, not bytes"),
    (BEGUN, PATHSEND | {"path": "/\0"}, "http.response.pathsend: 'path' must have no NUL in it: '/\\x00'"),
    # http.response.trailers
    (ENDING, TRAILERS | {"headers": 1}, "http.response.trailers: 'headers' must be an iterable of pairs, not int"),
    (ENDING, TRAILERS | {"more_trailers": 0}, "http.response.trailers: 'more_trailers' must be a bool, not int"),
    # http.response.early_hint
    ((), HINT | {"links": None}, "http.response.early_hint: 'links' must be an iterable of bytes, not NoneType"),
    ((), HINT | {"links": b"</a>"}, "http.response.early_hint: 'links' must be an iterable of bytes, not bytes"),
    ((), HINT | {"links": [b"</a>", "</b>"]}, "http.response.early_hint: links[1] must be bytes, not str"),
    # http.response.push
    ((), PUSH | {"path": b"/"}, "http.response.push: 'path' must be str, not bytes"),
    ((), PUSH | {"path": "a"}, "http.response.push: 'path' must begin with a slash: 'a'"),
    ((), PUSH | {"headers": [(b"a", 1)]}, "http.response.push: headers[0] must be a pair of bytes, not of int"),
]

MALFORMED = [
    (b"a b", b"secret"),
    (b"", b"secret"),
    (b":status", b"secret"),
    (b"a", b"secret\nb: c"),
]

CONNECTING = [
    (None, "send() takes a dict, not NoneType"),
    ({"type": 1}, "a message that the app sent has a 'type' that is not str but int"),
    (START, "the app sent 'http.response.start' to a WebSocket before it was accepted"),
    (SEND | {"text": "early"}, "the app sent 'websocket.send' to a WebSocket before it was accepted"),
    (DENIAL_BODY, "the app sent 'websocket.http.response.body' to a WebSocket before it was accepted"),
    (ACCEPT | {"subprotocol": b"one"}, "websocket.accept: 'subprotocol' must be str, not bytes"),
    (ACCEPT | {"headers": [b"ab"]}, "websocket.accept: headers[0] must be a pair of bytes, not of int"),
    (
        ACCEPT | {"headers": [(b"a", b"b"), (b"Sec-WebSocket-Protocol", b"one")]},
        "websocket.accept: headers[1] must not be sec-websocket-protocol: the server sends it",
    ),
    (CLOSE | {"code": "1000"}, "websocket.close: 'code' must be an int, not str"),
    (CLOSE | {"code": True}, "websocket.close: 'code' must be an int, not bool"),
    (CLOSE | {"reason": b"bye"}, "websocket.close: 'reason' must be str, not bytes"),
    (DENIAL | {"status": 101}, "websocket.http.response.start: 'status' must be from 200 to 599, not 101"),
    (DENIAL | {"status": "401"}, "websocket.http.response.start: 'status' must be an int, not str"),
    (DENIAL | {"headers": 1}, "websocket.http.response.start: 'headers' must be an iterable of pairs, not int"),
]

OPEN = [
    (ACCEPT, "the app sent 'websocket.accept' to a WebSocket while it was open"),
    (DENIAL, "the app sent 'websocket.http.response.start' to a WebSocket while it was open"),
    ({"type": "websocket.ping"}, "the app sent 'websocket.ping' to a WebSocket while it was open"),
    (SEND, "websocket.send: exactly one of 'text' and 'bytes' must be there"),
    (SEND | {"text": "a", "bytes": b"a"}, "websocket.send: exactly one of 'text' and 'bytes' must be there"),
    (SEND | {"text": b"a"}, "websocket.send: 'text' must be str, not bytes"),
    (SEND | {"bytes": "a"}, "websocket.send: 'bytes' must be bytes, not str"),
    (CLOSE | {"code": None}, "websocket.close: 'code' must be an int, not NoneType"),
    (CLOSE | {"code": 1005}, "websocket.close: 'code' must be one that may be sent (RFC 6455 section 7.4), not 1005"),
    (CLOSE | {"reason": 1}, "websocket.close: 'reason' must be str, not int"),
]


CLOSED = ServerFrame(8, (1000).to_bytes(2, "big"), True, False)


class Tries:
    """An app that sends messages of which the last is wrong, notes what is raised, and ends its answer well."""

    def __init__(self, *messages: Any, then: tuple[Any, ...] = ()) -> None:
        self._messages = messages
        self._then = then
        self.raised: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        *before, wrong = self._messages
        for message in before:
            await send(message)
        try:
            await send(wrong)
        except Exception as error:
            self.raised.append(str(error))
        for message in self._then:
            await send(message)


@pytest.mark.parametrize(("before", "wrong", "error"), HTTP)
async def test_what_an_app_answers_wrong_is_named(before: tuple[Any, ...], wrong: Any, error: str) -> None:
    """And may be mended: the response goes on as if the message had not been sent."""
    then = [(START, body()), (body(),), (TRAILERS,)][len(before)]
    app = Tries(*before, wrong, then=then)
    async with app_and_client(app) as pair:
        assert (await pair.client.request("GET", "/", headers=[("te", "trailers")])).status == 200
    async with connected(app) as client:
        await client.send(GET)
        assert (await client.response())[0] == 200
    assert app.raised == [error, error]


@pytest.mark.parametrize("field", MALFORMED)
async def test_a_malformed_field_is_named_and_its_value_is_not(
    field: tuple[bytes, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    start = START | {"headers": [(b"x-fine", b"1"), field]}
    for more in (False, True):
        app = Tries(start, body(b"x", more=more))
        async with app_and_client(app) as pair:
            assert (await pair.client.request("GET", "/")).status == 500
        async with connected(app) as client:
            await client.send(GET)
            assert (await client.response())[0] == 500
        for error in app.raised:
            assert error.startswith("headers: ")
            assert "secret" not in error
        assert len(app.raised) == 2
    assert "secret" not in caplog.text


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("wrong", "error"), CONNECTING)
async def test_what_an_app_sends_wrong_before_it_accepts_is_named(transport: str, wrong: Any, error: str) -> None:
    app = Tries(wrong, then=(ACCEPT, CLOSE))
    async with raw_websocket(transport, app) as client:
        assert await client.frame() == CLOSED
        await client.cut()
    assert app.raised == [error]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("wrong", "error"), OPEN)
async def test_what_an_app_sends_wrong_to_a_websocket_is_named(transport: str, wrong: Any, error: str) -> None:
    app = Tries(ACCEPT, wrong, then=(CLOSE,))
    async with raw_websocket(transport, app) as client:
        assert await client.frame() == CLOSED
        await client.cut()
    assert app.raised == [error]


KEYS = {
    "http.response.start": {"status", "headers", "trailers"},
    "http.response.body": {"body", "more_body"},
    "http.response.pathsend": {"path"},
    "http.response.trailers": {"headers", "more_trailers"},
    "http.response.early_hint": {"links"},
    "http.response.push": {"path", "headers"},
    "websocket.accept": {"subprotocol", "headers"},
    "websocket.send": {"text", "bytes"},
    "websocket.close": {"code", "reason"},
    "websocket.http.response.start": {"status", "headers"},
}


def test_every_key_of_every_message_is_there() -> None:
    errors = [error for *_, error in HTTP + CONNECTING + OPEN]
    for kind, keys in KEYS.items():
        for key in keys:
            assert any(error.startswith(f"{kind}: ") and key in error for error in errors), (kind, key)
