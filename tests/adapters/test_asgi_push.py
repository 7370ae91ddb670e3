"""ASGI's extension `http.response.push`: the app answers the requests that it promises."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trio_h2
from tests.adapters.helpers import START, app_and_client, body
from tests.engine.helpers import check_quiet

PUSHES = trio_h2.Config(enable_push=True)


def push(path: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.push", "path": path, "headers": headers}


def pushing(answer: Any, path: str = "/style ä.css?v=1") -> Any:
    """An app that pushes one path with its page, and answers the promised request so."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/":
            await send(START)
            await send(push(path, (b"accept", b"text/css")))
            await send(body(b"page"))
        else:
            await answer(scope, receive, send)

    return app


async def test_a_promised_request_is_answered_by_the_app(autojump_clock: MockClock) -> None:
    scopes: list[Any] = []

    async def style(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        await send(START)
        await send(body(b"style", more=True))
        await send(body())
        assert await receive() == {"type": "http.disconnect"}

    async with app_and_client(pushing(style), config=PUSHES) as pair:
        assert (await pair.client.request("GET", "/")).body == b"page"
        async for pushed in pair.client.pushes():
            async with pushed:
                assert pushed.request.path == "/style%20%C3%A4.css?v=1"
                assert (await pushed.response()).status == 200
                assert b"".join([chunk async for chunk in pushed]) == b"style"
            break
        await check_quiet(pair)
    (scope,) = scopes
    assert (scope["path"], scope["query_string"]) == ("/style ä.css", b"v=1")
    assert scope["headers"] == [(b"host", b"example.org"), (b"accept", b"text/css")]
    assert "http.response.push" not in scope["extensions"]


async def test_a_client_that_takes_no_pushes_gets_none() -> None:
    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    async with app_and_client(pushing(never)) as pair:
        assert (await pair.client.request("GET", "/")).body == b"page"


async def test_a_push_that_its_client_resets_is_told(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    ended = trio.Event()
    times: list[float] = []

    async def style(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert await receive() == {"type": "http.disconnect"}
        times.append(trio.current_time())
        with pytest.raises(OSError, match="the client has gone"):
            await send(START)
        ended.set()

    async with app_and_client(pushing(style), config=PUSHES) as pair:
        assert (await pair.client.request("GET", "/")).body == b"page"
        async for pushed in pair.client.pushes():
            await trio.sleep(1)
            await pushed.reset()
            times.append(trio.current_time())
            break
        await ended.wait()
        await check_quiet(pair)
    assert times[0] == times[1]
    assert caplog.records == []


async def test_a_push_whose_app_does_not_notice_is_cancelled_after_the_grace(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    times: list[float] = []

    async def style(scope: Any, receive: Any, send: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            times.append(trio.current_time())

    async with app_and_client(pushing(style), config=PUSHES, disconnect_grace=3) as pair:
        assert (await pair.client.request("GET", "/")).body == b"page"
        async for pushed in pair.client.pushes():
            await pushed.reset()
            times.append(trio.current_time() + 3)
            break
        await trio.sleep(10)
        await check_quiet(pair)
    assert times[0] == times[1]
    assert caplog.records == []


@pytest.mark.parametrize("begin", [True, False])
async def test_what_goes_wrong_in_a_push_ends_it_alone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, begin: bool
) -> None:
    async def style(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep(1)
        if begin:
            await send(START)
            await send(body(b"part", more=True))
        raise ValueError("style")

    async with app_and_client(pushing(style), config=PUSHES) as pair:
        assert (await pair.client.request("GET", "/")).body == b"page"
        async for pushed in pair.client.pushes():
            async with pushed:
                with pytest.raises(trio_h2.StreamResetError):
                    await pushed.response()
                    [chunk async for chunk in pushed]
            break
        await check_quiet(pair)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "style"


async def test_pushes_end_with_the_server(autojump_clock: MockClock) -> None:
    ended = trio.Event()

    async def style(scope: Any, receive: Any, send: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with app_and_client(pushing(style), config=PUSHES) as pair:
        assert (await pair.client.request("GET", "/")).body == b"page"
    assert ended.is_set()
