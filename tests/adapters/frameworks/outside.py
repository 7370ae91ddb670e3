"""What is around each framework's app: it notes how each request ends, and answers `/raw/...` as a plain ASGI app.

There is what frameworks have no words for, trailers, early hints, pushes and the scope; and what tests need, the
journal and its gates.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import trio

from .journal import JOURNAL, gate, note

Answer = Callable[[Any, Any, Any], Awaitable[None]]


class Outside:
    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["outside"] = ["kept"]
            await self._app(scope, receive, send)
            return
        answer = RAW.get(scope["path"], self._app)
        name = name_of(scope)
        if scope["path"].startswith("/mounted/"):
            scope = scope | {"root_path": scope["root_path"] + "/mounted"}
        note(name, f"HTTP/{scope['http_version']}")
        note(name, "began")
        try:
            await answer(scope, receive, send)
        except trio.Cancelled:
            note(name, "cancelled")
            raise
        except BaseException as error:
            note(name, f"raised {type(error).__name__}")
            raise
        note(name, "returned")


def name_of(scope: Any) -> str:
    return parse_qs(scope["query_string"].decode()).get("as", [""])[0]


def start(**more: Any) -> dict[str, Any]:
    return {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]} | more


def body(octets: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": octets, "more_body": more}


async def _answer_json(send: Any, what: Any) -> None:
    await send(start(headers=[(b"content-type", b"application/json")]))
    await send(body(json.dumps(what).encode()))


async def journal(scope: Any, receive: Any, send: Any) -> None:
    await _answer_json(send, JOURNAL[parse_qs(scope["query_string"].decode())["of"][0]])


async def open_gate(scope: Any, receive: Any, send: Any) -> None:
    gate(parse_qs(scope["query_string"].decode())["of"][0]).set()
    await _answer_json(send, None)


async def state(scope: Any, receive: Any, send: Any) -> None:
    await _answer_json(send, scope["state"]["outside"])


async def seen(scope: Any, receive: Any, send: Any) -> None:
    """What the scope says that can be said in JSON."""
    plain = {key: scope[key] for key in ("type", "http_version", "method", "scheme", "path", "root_path", "client")}
    fields = [[name.decode(), value.decode()] for name, value in scope["headers"]]
    await _answer_json(send, plain | {"headers": fields, "extensions": sorted(scope.get("extensions", {}))})


async def trailers(scope: Any, receive: Any, send: Any) -> None:
    await send(start(trailers=True))
    await send(body(b"before "))
    await send({"type": "http.response.trailers", "headers": [(b"x-after", b"1")], "more_trailers": False})


async def hints(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload; as=style"]})
    await send(start())
    await send(body(b"hinted"))


async def pushes(scope: Any, receive: Any, send: Any) -> None:
    await send(start())
    await send({"type": "http.response.push", "path": "/raw/state", "headers": []})
    await send(body(b"pushes"))


async def wrong(scope: Any, receive: Any, send: Any) -> None:
    """Sends what the query names, which is wrong, and answers with what came of it."""
    message = WRONG[parse_qs(scope["query_string"].decode())["message"][0]]
    raised: BaseException | None = None
    try:
        await send(message)
    except Exception as error:
        raised = error
    if message.get("type") == "http.response.start" and raised is None:
        await send(body(b"nothing"))
        return
    await _answer_json(send, "nothing" if raised is None else f"{type(raised).__name__}: {raised}")


WRONG: dict[str, Any] = {
    "unknown": {"type": "http.response.unknown"},
    "no-type": {"status": 200},
    "early": {"type": "http.response.body", "body": b"early"},
    "text-status": start(status="200"),
    "text-headers": start(headers=[("x-text", "text")]),
}


async def leaves_headers_out(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})


async def mends(scope: Any, receive: Any, send: Any) -> None:
    """A response with fields that a server has to see to."""
    fields = [(b"X-Upper", b"1"), (b"transfer-encoding", b"chunked"), (b"connection", b"keep-alive")]
    await send(start(headers=fields))
    await send(body(b"mended"))


async def no_content(scope: Any, receive: Any, send: Any) -> None:
    await send(start(status=204, headers=[(b"content-length", b"0")]))
    await send(body(b""))


async def half(scope: Any, receive: Any, send: Any) -> None:
    """Returns with half of its response sent."""
    await send(start(headers=[(b"content-type", b"text/plain")]))
    await send(body(b"half", True))


async def after_the_end(scope: Any, receive: Any, send: Any) -> None:
    """Says in the journal what becomes of a message after the end, and what it receives then."""
    name = name_of(scope)
    await send(start())
    await send(body(b"whole"))
    for message in (body(b"more"), {"type": "http.response.unknown"}):
        try:
            await send(message)
            note(name, "ignored")
        except Exception as error:
            note(name, f"refused: {type(error).__name__}")
    with trio.move_on_after(5):
        while (await receive())["type"] != "http.disconnect":
            pass
        note(name, "told")


async def sends_to_nobody(scope: Any, receive: Any, send: Any) -> None:
    """Waits for the disconnect, and says what sending does then."""
    name = name_of(scope)
    await send(start())
    await send(body(b"first", True))
    while (await receive())["type"] != "http.disconnect":
        pass
    note(name, "told")
    try:
        await send(body(b"second", True))
        note(name, "sent")
    except OSError as error:
        note(name, "OSError" if type(error) is not OSError else "no subclass")
        raise


async def report(scope: Any, receive: Any, send: Any) -> None:
    """Takes down what the page has found, and lets its picture come."""
    found = b""
    more = True
    while more:
        message = await receive()
        found += message.get("body", b"")
        more = message.get("more_body", False)
    note("report", found.decode())
    gate("picture").set()
    await _answer_json(send, None)


async def picture(scope: Any, receive: Any, send: Any) -> None:
    await gate("picture").wait()
    await send(start(status=204, headers=[]))
    await send(body(b""))


RAW: dict[str, Answer] = {
    "/raw/journal": journal,
    "/raw/open": open_gate,
    "/raw/report": report,
    "/raw/picture": picture,
    "/raw/state": state,
    "/raw/seen": seen,
    "/raw/trailers": trailers,
    "/raw/hints": hints,
    "/raw/pushes": pushes,
    "/raw/wrong": wrong,
    "/raw/empty": leaves_headers_out,
    "/raw/mends": mends,
    "/raw/no-content": no_content,
    "/raw/half": half,
    "/raw/after": after_the_end,
    "/raw/nobody": sends_to_nobody,
}
