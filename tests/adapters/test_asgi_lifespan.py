"""An app's lifespan: its startup before the first request, its shutdown after the last, and how both fail."""

from __future__ import annotations

import logging
import ssl
import sys
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trio_h2
from tests.adapters.helpers import START, answers, body, sends
from tests.engine.helpers import MemoryListener
from trio_h2.adapters.asgi import LifespanError, serve_asgi, serve_asgi_listeners

COMPLETE = {"type": "lifespan.startup.complete"}
STOPPED = {"type": "lifespan.shutdown.complete"}


class App:
    """An app with a lifespan, which notes what happens in `log`.

    Args:
        startup, shutdown: what it sends in answer; an exception is raised.
    """

    def __init__(self, startup: Any = COMPLETE, shutdown: Any = STOPPED) -> None:
        self.startup = startup
        self.shutdown = shutdown
        self.log: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            assert scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
            scope["state"]["number"] = 7
            for answer in (self.startup, self.shutdown):
                self.log.append((await receive())["type"])
                await trio.sleep(1)
                if isinstance(answer, Exception):
                    raise answer
                await send(answer)
        else:
            self.log.append(f"request {scope['state']['number']}")
            await trio.sleep(1)
            await answers()(scope, receive, send)
            self.log.append("answered")


async def serve_once(app: Any) -> None:
    """Serve an app for one request, then shut down. Raises what serving raised, not in a group."""
    listener = MemoryListener()
    failure: Exception | None = None

    async def serve(*, task_status: Any) -> None:
        nonlocal failure
        try:
            await serve_asgi_listeners(app, [listener], task_status=task_status)
        except Exception as error:
            failure = error

    async with trio.open_nursery() as nursery:
        try:
            server = await nursery.start(serve)
        except RuntimeError:  # it ended and had not started
            assert failure is not None
        else:
            async with trio_h2.connect_over(listener.connect(), authority="example.org") as client:
                await request_and_shut_down(client, server)
    if failure is not None:
        raise failure


async def request_and_shut_down(client: trio_h2.ClientConnection, server: trio_h2.H2Server) -> None:
    async with client.stream("GET", "/") as stream:
        await trio.sleep(0.5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.shutdown)
            assert (await stream.response()).status == 200


async def test_startup_is_before_the_first_request_and_shutdown_after_the_last(autojump_clock: MockClock) -> None:
    app = App()
    await serve_once(app)
    assert app.log == ["lifespan.startup", "request 7", "answered", "lifespan.shutdown"]


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"message": "no database"}, "the app's startup failed: no database"),
        ({}, "the app's startup failed"),
    ],
)
async def test_a_startup_that_fails_is_an_error_of_the_call(
    autojump_clock: MockClock, message: dict[str, str], says: str
) -> None:
    app = App(startup={"type": "lifespan.startup.failed"} | message, shutdown=ValueError("never asked"))
    with pytest.raises(LifespanError, match=f"^{says}$"):
        await serve_once(app)
    assert app.log == ["lifespan.startup"]


async def test_a_shutdown_that_fails_is_an_error_of_the_call(autojump_clock: MockClock) -> None:
    app = App(shutdown={"type": "lifespan.shutdown.failed", "message": "lost"})
    with pytest.raises(LifespanError, match=r"^the app's shutdown failed: lost$"):
        await serve_once(app)
    assert app.log[-1] == "lifespan.shutdown"


async def test_a_shutdown_that_raises_is_an_error_of_the_call(autojump_clock: MockClock) -> None:
    with pytest.raises(ValueError, match=r"^broken$"):
        await serve_once(App(shutdown=ValueError("broken")))


async def test_an_app_without_a_lifespan_is_served(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        assert scope["state"] == {}
        await trio.sleep(1)
        await answers()(scope, receive, send)

    await serve_once(app)
    assert caplog.records == []


async def test_an_app_that_raises_in_its_startup_is_served_and_named(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The specification has it so: it may be that it knows no lifespan."""
    app = App(startup=ValueError("unknown"))
    await serve_once(app)
    assert app.log == ["lifespan.startup", "request 7", "answered"]
    (record,) = caplog.records
    assert (record.levelno, record.exc_info and record.exc_info[1]) == (logging.WARNING, app.startup)


async def test_an_app_that_exits_in_its_startup_is_not_served() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        sys.exit(7)

    class Status(trio.TaskStatus[Any]):
        served = False

        def started(self, value: Any = None) -> None:
            self.served = True

    status = Status()
    with pytest.raises(BaseExceptionGroup) as caught:
        await serve_asgi_listeners(app, [MemoryListener()], task_status=status)
    assert caught.group_contains(SystemExit, match="7")
    assert not status.served


async def test_an_app_whose_lifespan_breaks_while_it_is_served_ends_the_server(autojump_clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await send(COMPLETE)
            await trio.sleep(10)
            raise ValueError("a task of the app's")
        await answers()(scope, receive, send)

    with pytest.raises(ValueError, match=r"^a task of the app's$"):
        await serve_asgi_listeners(app, [MemoryListener()])
    assert trio.current_time() == 10


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (STOPPED, "the app sent 'lifespan.shutdown.complete' in its lifespan while it was starting"),
        (START, "the app sent 'http.response.start' in its lifespan while it was starting"),
        ({"type": "lifespan.startup.failed", "message": 1}, "lifespan.startup.failed: 'message' must be str, not int"),
    ],
)
async def test_what_an_app_sends_wrong_is_named(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, message: Any, error: str
) -> None:
    await serve_once(App(startup=message))
    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == error


async def cancelled_after_a_second(app: Any) -> float:
    """How long a server takes to end when it is cancelled."""
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_asgi_listeners, app, [MemoryListener()]))
        await trio.sleep(1)
        start = trio.current_time()
        nursery.cancel_scope.cancel()
    return trio.current_time() - start


async def test_a_server_that_is_cancelled_lets_its_app_shut_down(autojump_clock: MockClock) -> None:
    app = App()
    assert await cancelled_after_a_second(app) == 1
    assert app.log == ["lifespan.startup", "lifespan.shutdown"]


async def test_the_shutdown_of_an_app_of_a_cancelled_server_is_bounded(autojump_clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(COMPLETE)
        await receive()
        await trio.sleep_forever()

    assert await cancelled_after_a_second(app) == 5


async def test_a_server_that_is_cancelled_in_its_apps_startup_ends(autojump_clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep_forever()

    with trio.move_on_after(3):
        await serve_asgi_listeners(app, [MemoryListener()])
    assert trio.current_time() == 3


async def test_an_app_that_does_not_return_from_its_lifespan_is_cancelled(autojump_clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for message in (COMPLETE, STOPPED):
                await receive()
                await send(message)
            await trio.sleep_forever()
        await trio.sleep(1)
        await answers()(scope, receive, send)

    await serve_once(app)
    assert trio.current_time() < 10


async def test_the_port_is_bound_after_the_startup_and_an_error_is_followed_by_the_shutdown() -> None:
    app = App()
    (taken, *_) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with taken:
        with pytest.raises(OSError, match="in use"):
            await serve_asgi(app, taken.socket.getsockname()[1], host="127.0.0.1")
    assert app.log == ["lifespan.startup", "lifespan.shutdown"]


async def test_wrong_arguments_are_raised_before_the_startup() -> None:
    app = App()
    with pytest.raises(ValueError, match=r"^root_path must begin with a slash"):
        await serve_asgi(app, 0, root_path="x")
    with pytest.raises(ValueError, match=r"^root_path must begin with a slash"):
        await serve_asgi_listeners(app, [], root_path="x")
    assert app.log == []


async def test_an_app_is_served_over_tls(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """The extension `tls` has numbers, and no certificate of a client that showed none."""
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        scopes.append(scope)
        await sends(START, body(b"hello"))(scope, receive, send)

    async with trio.open_nursery() as nursery:
        serve = partial(serve_asgi, app, 0, host="127.0.0.1", ssl_context=server_ssl_context)
        server = await nursery.start(serve)
        async with trio_h2.connect(f"https://127.0.0.1:{server.port}", ssl_context=client_ssl_context) as client:
            assert (await client.request("GET", "/")).body == b"hello"
            local = client.local_address
        await server.shutdown()
    (scope,) = scopes
    assert scope["scheme"] == "https"
    assert scope["client"] == local
    assert scope["server"] == ("127.0.0.1", server.port)
    assert scope["extensions"]["tls"] == {
        "server_cert": None,
        "client_cert_chain": [],
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": 0x0304,
        "cipher_suite": 0x1302,
    }
