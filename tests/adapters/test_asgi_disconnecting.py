"""An app learns that its client has gone before it is cancelled; whatever else ends it cancels it at once."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import trio_h2
from tests.adapters.helpers import START, app_and_client, body, sends
from tests.engine.helpers import POST, MemoryListener, raw_client, whole_reads
from trio_h2.adapters.asgi import ClientDisconnected, asgi_handler, serve_asgi_listeners


class Ended:
    """How an app ended: what it received and raised, and when."""

    def __init__(self) -> None:
        self.event = trio.Event()
        self.messages: list[Any] = []
        self.error: BaseException | None = None
        self.at = 0.0

    def wrap(self, app: Any) -> Any:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            assert scope["type"] == "http"
            try:
                await app(scope, receive, send, self)
            except BaseException as error:
                self.error = error
                raise
            finally:
                self.at = trio.current_time()
                self.event.set()

        return wrapped


async def listens(scope: Any, receive: Any, send: Any, ended: Ended) -> None:
    while not ended.messages or ended.messages[-1]["type"] != "http.disconnect":
        ended.messages.append(await receive())


async def streams(scope: Any, receive: Any, send: Any, ended: Ended) -> None:
    await send(START)
    while True:
        await send(body(b"x", more=True))
        await trio.sleep(0.1)


async def sleeps(scope: Any, receive: Any, send: Any, ended: Ended) -> None:
    await send(START)
    await send(body(b"x", more=True))
    await trio.sleep_forever()


REQUEST = {"type": "http.request", "body": b"", "more_body": False}
DISCONNECT = {"type": "http.disconnect"}


async def leave(pair: Any, ended: Ended, how: str) -> None:
    """Make a request and go away after a second, by the stream alone or with the connection."""
    async with pair.client.stream("GET", "/") as stream:
        await trio.sleep(1)
        if how == "reset":
            await stream.reset()
            await ended.event.wait()
        else:
            await pair.client.aclose()


@pytest.mark.parametrize("how", ["reset", "connection"])
async def test_an_app_that_listens_gets_the_disconnect_and_ends_by_itself(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    ended = Ended()
    async with app_and_client(ended.wrap(listens)) as pair:
        await leave(pair, ended, how)
    assert ended.messages == [REQUEST, DISCONNECT]
    assert ended.error is None
    assert caplog.records == []


@pytest.mark.parametrize("how", ["reset", "connection"])
async def test_an_app_that_sends_gets_an_oserror(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """It is no error of the app's if it lets that out."""
    ended = Ended()
    async with app_and_client(ended.wrap(streams)) as pair:
        start = trio.current_time()
        await leave(pair, ended, how)
    assert isinstance(ended.error, ClientDisconnected)
    assert isinstance(ended.error, OSError)
    closing = 0 if how == "reset" else 5  # `Config.close_timeout` of the client, who waits for the response meanwhile
    assert ended.at - start == pytest.approx(1.1 + closing, abs=0.2)
    assert caplog.records == []


@pytest.mark.parametrize("grace", [1.0, 20.0])
async def test_an_app_that_does_neither_is_cancelled_after_the_grace(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, grace: float
) -> None:
    ended = Ended()
    async with app_and_client(ended.wrap(sleeps), disconnect_grace=grace) as pair:
        start = trio.current_time()
        await leave(pair, ended, "reset")
    assert isinstance(ended.error, trio.Cancelled)
    assert ended.at - start == 1 + grace
    assert caplog.records == []


async def test_receive_in_a_body_gives_the_disconnect(autojump_clock: MockClock) -> None:
    ended = Ended()
    async with app_and_client(ended.wrap(listens)) as pair:
        async with pair.client.stream("POST", "/") as stream:
            await stream.send_all(b"part")
            await trio.sleep(1)
            await stream.reset()
            await ended.event.wait()
    assert ended.messages == [{"type": "http.request", "body": b"part", "more_body": True}, DISCONNECT]


async def test_all_calls_after_the_disconnect_know_it(autojump_clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any, ended: Ended) -> None:
        await listens(scope, receive, send, ended)
        assert await receive() == DISCONNECT
        for message in (START, body(b"x")):
            with pytest.raises(ClientDisconnected):
                await send(message)

    ended = Ended()
    async with app_and_client(ended.wrap(app)) as pair:
        await leave(pair, ended, "reset")
    assert ended.error is None


async def test_an_apps_own_error_after_its_client_left_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where a middleware fails to send a 500 for it: the error that is raised then covers it (invariant 16)."""

    async def app(scope: Any, receive: Any, send: Any, ended: Ended) -> None:
        await listens(scope, receive, send, ended)
        try:
            raise ValueError("its own")
        except ValueError:
            await send(START | {"status": 500})

    ended = Ended()
    async with app_and_client(ended.wrap(app)) as pair:
        await leave(pair, ended, "reset")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ClientDisconnected)
    assert isinstance(record.exc_info[1].__context__, ValueError)


async def test_an_error_that_a_500_was_being_sent_for_when_the_client_left_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any, ended: Ended) -> None:
        try:
            raise ValueError("its own")
        except ValueError:
            await send(START | {"status": 500})
            await send(body(bytes(10_000_000)))  # waits for the client's window

    ended = Ended()
    async with app_and_client(ended.wrap(app)) as pair:
        await leave(pair, ended, "reset")
    assert isinstance(ended.error, ClientDisconnected)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR


class InternalServerException(Exception):
    """What Litestar raises where a request does not come whole."""

    detail = "client disconnected prematurely"


class ClientDisconnectedError(RuntimeError):
    """What Quart raises where the client has gone."""


@pytest.mark.parametrize("error", [InternalServerException, ClientDisconnectedError, ValueError])
async def test_what_a_framework_raises_from_the_disconnect_is_not_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, error: type[Exception]
) -> None:
    """As Litestar does, where it fails to send the response for an error; the error itself is logged."""

    async def app(scope: Any, receive: Any, send: Any, ended: Ended) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        try:
            try:
                raise error
            except Exception:
                await send(START | {"status": 500})
        except OSError as disconnected:
            raise RuntimeError("the response had begun") from disconnected

    ended = Ended()
    async with app_and_client(ended.wrap(app)) as pair:
        await leave(pair, ended, "reset")
    assert isinstance(ended.error, RuntimeError)
    assert len(caplog.records) == (error is ValueError)


async def test_an_error_in_the_clean_up_of_a_cancelled_app_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any, ended: Ended) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in the clean-up")

    ended = Ended()
    async with app_and_client(ended.wrap(app)) as pair:
        await leave(pair, ended, "reset")
    assert [record.exc_info[1].args for record in caplog.records if record.exc_info] == [("in the clean-up",)]


async def test_many_tasks_of_an_app_are_told(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Their errors come in a group; it says no more than one of them."""

    async def app(scope: Any, receive: Any, send: Any, ended: Ended) -> None:
        async with trio.open_nursery() as nursery:
            for task in (streams, listens):
                nursery.start_soon(partial(task, scope, receive, send, ended))

    ended = Ended()
    async with app_and_client(ended.wrap(app)) as pair:
        await leave(pair, ended, "reset")
    assert isinstance(ended.error, BaseExceptionGroup)
    assert caplog.records == []


async def test_a_task_that_is_cancelled_beside_one_that_is_told_adds_nothing(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it was handling as it waited: anyio's streams wait within an `except`."""

    async def app(scope: Any, receive: Any, send: Any, ended: Ended) -> None:
        async def waits() -> None:
            try:
                raise trio.WouldBlock
            except trio.WouldBlock:
                await trio.sleep_forever()

        await send(START)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            nursery.start_soon(send, body(bytes(10_000_000)))

    ended = Ended()
    async with app_and_client(ended.wrap(app), disconnect_grace=0) as pair:
        await leave(pair, ended, "reset")
    assert caplog.records == []


async def test_a_sending_call_that_waits_for_the_window_is_told(autojump_clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any, ended: Ended) -> None:
        await send(START)
        await send(body(bytes(10_000_000)))

    ended = Ended()
    async with app_and_client(ended.wrap(app)) as pair:
        await leave(pair, ended, "reset")
    assert isinstance(ended.error, ClientDisconnected)


@pytest.mark.parametrize("scheme", ["http", "websocket"])
async def test_an_app_whose_client_has_gone_before_it_began_is_not_called(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    fields = POST
    if scheme == "websocket":
        method, protocol = ((":method", "CONNECT"), (":protocol", "websocket"))
        fields = (method, protocol, *POST[1:], ("sec-websocket-version", "13"))
    whole_reads()
    async with raw_client(asgi_handler(app)) as peer:
        await peer.send(peer.headers(1, fields) + peer.rst(1))
        await peer.sync()
    assert caplog.records == []


# What works on when its response is complete


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_background_work_goes_on_when_the_connection_is_gone(autojump_clock: MockClock, method: str) -> None:
    """Of a request that was read, and of one that was not and is given up."""
    done: list[float] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await sends(START, body(b"whole"))(scope, receive, send)
        await trio.sleep(30)
        done.append(trio.current_time())

    async with app_and_client(app) as pair:
        async with pair.client.stream(method, "/") as stream:
            await stream.response()
        start = trio.current_time()
        await pair.client.aclose()
    assert done == [pytest.approx(start + 30, abs=1)]


# What is not the client's doing


@pytest.mark.parametrize("app", [sleeps, listens, streams])
async def test_a_server_that_is_cancelled_cancels_its_apps_at_once(autojump_clock: MockClock, app: Any) -> None:
    ended = Ended()
    client_end, server_end = trio.testing.memory_stream_pair()
    handler = asgi_handler(ended.wrap(app), disconnect_grace=1000)
    async with trio_h2.connect_over(client_end, authority="example.org") as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio_h2.serve_h2_connection, handler, server_end)
            async with client.stream("GET", "/"):
                await trio.sleep(1)
                start = trio.current_time()
                nursery.cancel_scope.cancel()
        assert trio.current_time() - start < 0.1
    assert isinstance(ended.error, trio.Cancelled)


async def works_on(scope: Any, receive: Any, send: Any, ended: Ended) -> None:
    await sends(START, body(b"whole"))(scope, receive, send)
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("app", "connected"), [(sleeps, True), (listens, True), (streams, True), (works_on, True), (works_on, False)]
)
async def test_a_shutdown_cancels_apps_at_the_end_of_its_grace(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, app: Any, connected: bool
) -> None:
    ended = Ended()
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:
        serve = partial(serve_asgi_listeners, ended.wrap(app), [listener], disconnect_grace=1000)
        server = await nursery.start(serve)
        async with trio_h2.connect_over(listener.connect(), authority="example.org") as client:
            async with client.stream("GET", "/") as stream:
                await trio.sleep(1)
                if not connected:
                    await stream.response()
                    await client.aclose()
                start = trio.current_time()
                await server.shutdown(5)
                assert 4.4 < trio.current_time() - start < 5.3
    assert isinstance(ended.error, trio.Cancelled | ClientDisconnected)
    assert caplog.records == []


async def test_a_shutdown_lets_apps_finish(autojump_clock: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any, ended: Ended) -> None:
        await trio.sleep(3)
        await sends(START, body(b"whole"))(scope, receive, send)

    ended = Ended()
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_asgi_listeners, ended.wrap(app), [listener]))
        async with trio_h2.connect_over(listener.connect(), authority="example.org") as client:
            async with client.stream("GET", "/") as stream:
                await trio.sleep(1)
                nursery.start_soon(server.shutdown, 5)
                assert (await stream.response()).status == 200
    assert ended.error is None
