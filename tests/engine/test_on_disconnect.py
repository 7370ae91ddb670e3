"""A handler that is told of its client's going, in place of being cancelled at once."""

from __future__ import annotations

import gc
import logging
import math
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import trio_h2
from trio_h2.testing import in_memory

from .helpers import POST, RawPeer, client_and_server, raw_client, serving
from .test_handler_endings import breaks_a_rule_of_the_connection, breaks_a_rule_of_the_stream, goes_away, resets

Errors = list[trio_h2.H2Error]


@pytest.mark.parametrize(
    ("what", "initiator", "kind"),
    [
        (goes_away, "remote", trio_h2.ConnectionTerminatedError),
        (resets, "remote", trio_h2.StreamResetError),
        (breaks_a_rule_of_the_stream, "library", trio_h2.StreamResetError),
        (breaks_a_rule_of_the_connection, "library", trio_h2.ProtocolError),
    ],
)
async def test_the_handler_is_told_what_its_calls_raise_and_goes_on(
    what: Callable[[RawPeer], Awaitable[None]],
    initiator: str,
    kind: type[trio_h2.H2Error],
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: Errors = []
    raised: list[BaseException] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        assert stream.on_disconnect(told.append) is None
        await trio.sleep(1000)
        with pytest.raises(kind) as caught:
            await stream.send_response(200)
        raised.append(caught.value)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST))
        await peer.sync()
        assert told == []
        await what(peer)
        await trio.sleep(2000)
    (error,) = told
    assert (type(error).__name__, error.initiator) == (kind.__name__, initiator)
    assert isinstance(error, kind)
    assert isinstance(error, trio.BrokenResourceError)
    assert [str(each) for each in raised] == [str(error)]
    assert caplog.records == []


@pytest.mark.parametrize("grace", [0, 1.5, 20])
async def test_after_the_grace_it_is_cancelled(autojump_clock: MockClock, grace: float) -> None:
    told: list[float] = []
    ended: list[float] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        stream.on_disconnect(lambda error: told.append(trio.current_time()), grace=grace)
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST))
        await peer.sync()
        await trio.sleep(1)
        await resets(peer)
        await trio.sleep(1)
        await goes_away(peer)  # by which the client goes no second time
        await trio.sleep(30)
    assert ended == [pytest.approx(told[0] + grace)]


async def test_the_servers_own_end_cancels_at_once(autojump_clock: MockClock) -> None:
    """Its cancellation, and the end of a shutdown's grace."""
    told: Errors = []
    ended: list[float] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        stream.on_disconnect(told.append)
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with serving(handler) as (server, listener, _):
        async with trio_h2.connect_over(listener.connect(), authority="example.org") as client:
            async with client.stream("GET", "/"):
                await trio.sleep(1)
                start = trio.current_time()
                await server.shutdown(5)
    assert ended == [pytest.approx(start + 5, abs=0.6)]
    assert told == []

    async with serving(handler) as (_, listener, nursery):
        async with trio_h2.connect_over(listener.connect(), authority="example.org") as client:
            async with client.stream("GET", "/"):
                await trio.sleep(1)
                start = trio.current_time()
                nursery.cancel_scope.cancel()
    assert ended[1:] == [pytest.approx(start, abs=0.2)]
    assert told == []


async def test_a_shutdown_cancels_who_was_told(autojump_clock: MockClock) -> None:
    ended: list[float] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        stream.on_disconnect(lambda error: None)
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with serving(handler) as (server, listener, _):
        async with trio_h2.connect_over(listener.connect(), authority="example.org") as client:
            async with client.stream("GET", "/") as stream:
                await trio.sleep(1)
                await stream.reset()
            start = trio.current_time()
            await server.shutdown(5)
    assert ended == [pytest.approx(start + 5, abs=0.2)]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_stream_that_is_over_has_no_client_to_lose(autojump_clock: MockClock, method: str) -> None:
    """Because both sides have ended it, or because the handler has."""
    told: Errors = []
    finished: list[bool] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        stream.on_disconnect(told.append, grace=0)
        await stream.respond(200)
        if method == "POST":
            await stream.aclose()
        await trio.sleep(20)
        stream.on_disconnect(told.append, grace=0)
        await trio.sleep(20)
        finished.append(True)

    async with client_and_server(handler) as pair:
        async with pair.client.stream(method, "/") as stream:
            await stream.response()
        await pair.client.aclose()
    assert finished == [True]
    assert told == []


async def test_who_asks_when_the_client_has_gone_is_told_at_once(autojump_clock: MockClock) -> None:
    told: Errors = []
    cancelled: list[bool] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        stream.on_disconnect(told.append)
        assert len(told) == 1
        try:
            await trio.sleep(1)
        except trio.Cancelled:
            cancelled.append(True)
            raise

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST) + peer.rst(1))
        await trio.sleep(1)
    assert isinstance(told[0], trio_h2.StreamResetError)
    assert cancelled == [True]


async def test_the_last_callback_counts(autojump_clock: MockClock) -> None:
    told: list[str] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        stream.on_disconnect(lambda error: told.append("first"), grace=0)
        stream.on_disconnect(lambda error: told.append("last"))
        await trio.sleep(5)
        told.append("end")

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST))
        await peer.sync()
        await resets(peer)
        await trio.sleep(10)
    assert told == ["last", "end"]


async def test_what_a_callback_raises_is_logged_and_cancels_its_handler_alone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Invariant 16."""
    ended: list[str] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        def fails(error: trio_h2.H2Error) -> None:
            raise ValueError("in the callback")

        if stream.stream_id == 1:
            stream.on_disconnect(fails)
        try:
            await trio.sleep(5)
            ended.append("by itself")
        except trio.Cancelled:
            ended.append("cancelled")
            raise

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST) + peer.headers(3, POST))
        await peer.sync()
        await resets(peer)
        await trio.sleep(10)
    assert ended == ["cancelled", "by itself"]
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    (record,) = errors
    assert "the handler of POST / for" in record.getMessage()
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "in the callback"


async def test_what_a_callback_raises_comes_out_of_in_memory(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        def fails(error: trio_h2.H2Error) -> None:
            raise ValueError("in the callback")

        stream.on_disconnect(fails)
        await trio.sleep_forever()

    with pytest.raises(ValueError, match="in the callback"):
        async with in_memory(handler) as client:
            async with client.stream("GET", "/") as stream:
                await trio.testing.wait_all_tasks_blocked()
                await stream.reset()
            await trio.sleep(1)


@pytest.mark.parametrize("how", ["reset", "connection"])
async def test_who_sends_a_promised_response_is_told(autojump_clock: MockClock, how: str) -> None:
    told: Errors = []
    finished: list[bool] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        pushed = await stream.push("/style.css")
        pushed.on_disconnect(told.append, grace=0)
        await stream.respond(200)
        await trio.sleep(30)
        with pytest.raises(type(told[0])):
            await pushed.respond(200)
        finished.append(True)

    async with client_and_server(handler, config=trio_h2.Config(enable_push=True)) as pair:
        await pair.client.request("GET", "/")
        async for pushed in pair.client.pushes():
            if how == "reset":
                await pushed.reset()
            break
    assert len(told) == 1
    assert finished == [True]


async def test_the_callback_is_forgotten_when_the_handler_returns(autojump_clock: MockClock) -> None:
    """Nothing of a request is left, and no circle for the garbage collector."""

    class Callback:
        def __call__(self, error: trio_h2.H2Error) -> None: ...

    callbacks: list[weakref.ref[Callback]] = []
    streams: list[trio_h2.ServerStream] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        callback = Callback()
        callbacks.append(weakref.ref(callback))
        streams.append(stream)
        stream.on_disconnect(callback)
        await stream.respond(200)

    gc.disable()
    try:
        async with client_and_server(handler) as pair:
            await pair.client.request("GET", "/")
            await trio.testing.wait_all_tasks_blocked()
            assert callbacks[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("callback", "grace", "error", "message"),
    [
        (None, 1, TypeError, "callback must be a function of one error, not NoneType"),
        (print, "1", TypeError, "grace must be a number of seconds, not str"),
        (print, True, TypeError, "grace must be a number of seconds, not bool"),
        (print, -1, ValueError, "grace must be 0 or more seconds, not -1"),
        (print, math.nan, ValueError, "grace must be 0 or more seconds, not nan"),
    ],
)
async def test_wrong_arguments_are_refused(
    autojump_clock: MockClock, callback: Any, grace: Any, error: type[Exception], message: str
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        with pytest.raises(error, match=message):
            stream.on_disconnect(callback, grace=grace)
        await stream.respond(200)

    async with client_and_server(handler) as pair:
        assert (await pair.client.request("GET", "/")).status == 200


# Whether it is over


async def test_a_stream_is_closed_when_both_sides_have_ended_it_or_it_was_reset(autojump_clock: MockClock) -> None:
    """RFC 9113 section 5.1."""
    seen: dict[int | None, list[bool]] = {}

    async def handler(stream: trio_h2.ServerStream) -> None:
        states = seen[stream.stream_id] = [stream.closed]
        stream.on_disconnect(lambda error: None)
        if stream.stream_id == 1:
            await stream.respond(200)
            states.append(stream.closed)
            await stream.receive_some()
        else:
            await trio.sleep(1)
        states.append(stream.closed)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST) + peer.headers(3, POST))
        await peer.sync()
        await peer.send(peer.rst(3))
        await peer.send(peer.data(1, b"", end_stream=True))
        await trio.sleep(5)
    assert seen == {1: [False, False, True], 3: [False, True]}
