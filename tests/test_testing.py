"""`trio_h2.testing.in_memory`: what leaves its block, and what does not."""

from __future__ import annotations

import gc
import logging
import re
import sys
import traceback
import weakref
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

import trio_h2
from tests import peers
from tests.engine.helpers import echo, hello
from tests.peer_site import logged
from trio_h2.testing import in_memory


class Boom(Exception):
    """What a handler raises."""


class Bang(BaseException):
    """What a handler raises that is no Exception."""


class BlockFailed(Exception):
    """What a block raises."""


async def raise_boom(stream: trio_h2.ServerStream) -> None:
    raise Boom("of the handler")


async def raise_when_cancelled(stream: trio_h2.ServerStream) -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise Boom("of the clean-up")


async def test_it_gives_a_connection_to_the_handler(autojump_clock: MockClock) -> None:
    seen: list[trio_h2.Request] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        seen.append(stream.request)
        await hello(stream)

    async with in_memory(handler) as connection:
        response = await connection.request("GET", "/path")
        assert (response.status, response.body) == (200, b"hello")
    (request,) = seen
    assert (request.scheme, request.authority, request.path) == ("http", "example.org", "/path")
    await connection.wait_closed()


async def test_bodies_go_both_ways_in_more_than_a_window(autojump_clock: MockClock) -> None:
    body = bytes(range(256)) * 8_000
    async with in_memory(echo) as connection:
        assert (await connection.request("POST", "/", body=body)).body == body


async def test_time_does_not_pass(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(3_000)
        await hello(stream)

    start = trio.current_time()
    async with in_memory(handler) as connection:
        assert (await connection.request("GET", "/")).status == 200
    assert 3_000 <= trio.current_time() - start < 3_001


async def test_each_side_has_its_config(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.push("/pushed")
        await hello(stream)

    config = trio_h2.Config(enable_push=True, max_header_list_size=2_000)
    async with in_memory(handler, config=config, server_config=trio_h2.Config(max_concurrent_streams=7)) as connection:
        settings = [event async for event in first(connection.events(), 1)]
        changed = settings[0].changed_settings
        assert changed[trio_h2.SettingCodes.MAX_CONCURRENT_STREAMS].new_value == 7
        assert (await connection.request("GET", "/")).status == 200


async def first(events: Any, count: int) -> Any:
    """So many of them."""
    for _ in range(count):
        yield await anext(events)


async def test_the_first_error_of_a_handler_leaves_the_block_as_it_is(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    waited = False
    with pytest.raises(Boom, match="of the handler") as caught:
        async with in_memory(raise_boom) as connection:
            try:
                await connection.request("GET", "/")
            except trio.Cancelled:
                waited = True
                raise
    assert waited
    assert [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)][-1] == "raise_boom"
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert logged(caplog) == []


async def test_an_error_keeps_what_it_was_raised_from(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            raise KeyError("first")
        except KeyError:
            raise Boom("of the handler")  # noqa: B904

    with pytest.raises(Boom) as caught:
        async with in_memory(handler) as connection:
            await connection.request("GET", "/")
    assert isinstance(caught.value.__context__, KeyError)


async def test_a_group_that_a_handler_raises_is_what_it_raises(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raise_boom, stream)

    with pytest.raises(ExceptionGroup) as caught:
        async with in_memory(handler) as connection:
            await connection.request("GET", "/")
    (error,) = caught.value.exceptions
    assert isinstance(error, Boom)


async def test_a_handlers_error_keeps_nothing_once_it_was_handled(autojump_clock: MockClock) -> None:
    """The garbage collector is off: no circle holds what the handler had."""
    kept: list[weakref.ref[object]] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        kept.append(weakref.ref(stream))
        raise Boom

    async def caught() -> None:
        block = in_memory(handler)
        kept.append(weakref.ref(block))
        try:  # pytest.raises would keep it
            async with block as connection:
                await connection.request("GET", "/")
        except Boom as error:
            kept.append(weakref.ref(error))

    gc.collect()
    gc.disable()
    try:
        await caught()
        assert len(kept) == 3
        assert [reference() for reference in kept] == [None, None, None]
    finally:
        gc.enable()


async def test_a_block_that_waits_for_something_else_is_cancelled(autojump_clock: MockClock) -> None:
    with pytest.raises(Boom):
        async with in_memory(raise_boom) as connection, connection.stream("GET", "/"):
            await trio.sleep_forever()


async def test_an_error_after_the_response_leaves_the_block_too(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await hello(stream)
        raise Boom("after the response")

    with pytest.raises(Boom):
        async with in_memory(handler) as connection:
            await connection.request("GET", "/")


async def test_an_error_while_the_block_is_closing_leaves_it(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(1)
        raise Boom("late")

    with pytest.raises(Boom, match="late"):
        async with in_memory(handler) as connection, trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(connection.request, "GET", "/")
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(connection.aclose)
                scope.cancel()


async def test_an_error_of_a_handlers_clean_up_leaves_the_block(autojump_clock: MockClock) -> None:
    with pytest.raises(Boom, match="of the clean-up"):
        async with in_memory(raise_when_cancelled) as connection:
            async with connection.stream("GET", "/"):
                await trio.testing.wait_all_tasks_blocked()


async def test_later_errors_are_logged(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.path == "/first":
            raise Boom("first")
        await raise_when_cancelled(stream)

    with pytest.raises(Boom, match="first"):
        async with in_memory(handler) as connection, trio.open_nursery() as nursery:
            nursery.start_soon(connection.request, "GET", "/second")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(connection.request, "GET", "/first")
    (record,) = caplog.get_records("call")
    assert record.levelno == logging.ERROR
    assert "GET /second" in record.getMessage()
    assert "of the clean-up" in caplog.text


async def test_without_it_a_handler_that_raises_is_a_500(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with in_memory(raise_boom, raise_handler_errors=False) as connection:
        assert (await connection.request("GET", "/")).status == 500
        assert (await connection.request("GET", "/")).status == 500
    assert len(logged(caplog)) == 2
    assert "of the handler" in caplog.text


@pytest.mark.parametrize("raise_handler_errors", [True, False])
async def test_what_is_no_exception_leaves_the_block_in_any_case(
    raise_handler_errors: bool, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        raise Bang

    with pytest.raises(Bang):
        async with in_memory(handler, raise_handler_errors=raise_handler_errors) as connection:
            await connection.request("GET", "/")


async def test_a_handler_that_is_called_out_of_turn_is_an_error(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await hello(stream)
        await hello(stream)

    with pytest.raises(trio_h2.ProtocolError):
        async with in_memory(handler) as connection:
            await connection.request("GET", "/")


async def test_a_handler_whose_client_went_away_is_no_error(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            await stream.receive_some()
        finally:
            with trio.CancelScope(shield=True):
                await stream.respond(200)

    async with in_memory(handler) as connection:
        with trio.move_on_after(1):
            await connection.request("POST", "/", body=never_ending())
    assert logged(caplog) == []


async def never_ending() -> Any:
    """A body that does not come."""
    await trio.sleep_forever()
    yield b""


async def test_a_request_that_is_too_large_is_no_error_of_the_handler(autojump_clock: MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, [], await stream.read(max_body=3))

    async with in_memory(handler) as connection:
        assert (await connection.request("POST", "/", body=b"abc")).body == b"abc"
        assert (await connection.request("POST", "/", body=b"abcd")).status == 413


async def test_what_the_block_raises_leaves_it_as_it_is(autojump_clock: MockClock) -> None:
    error = BlockFailed()
    with pytest.raises(BlockFailed) as caught:
        async with in_memory(hello) as connection:
            await connection.request("GET", "/")
            raise error
    assert caught.value is error


async def test_what_handlers_raise_after_the_block_has_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BlockFailed):
        async with in_memory(raise_when_cancelled) as connection:
            async with connection.stream("GET", "/"):
                await trio.testing.wait_all_tasks_blocked()
                raise BlockFailed
    assert "of the clean-up" in caplog.text


async def test_what_the_block_raises_after_a_handler_has_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Boom) as caught:
        async with in_memory(raise_boom) as connection:
            try:
                await connection.request("GET", "/")
            finally:
                raise BlockFailed("in the clean-up")
    assert caught.value.__context__ is None
    (record,) = caplog.get_records("call")
    assert record.levelno == logging.ERROR
    assert "in the clean-up" in caplog.text


async def test_a_nursery_of_the_blocks_does_not_hide_the_error(autojump_clock: MockClock) -> None:
    with pytest.raises(Boom):
        async with in_memory(raise_boom) as connection, trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(connection.request, "GET", "/")


@pytest.mark.parametrize("leave", ["in the block", "while it closes"])
async def test_cancelled_from_outside_it_ends_at_once(leave: str, autojump_clock: MockClock) -> None:
    ended = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    start = trio.current_time()
    with trio.move_on_after(1) as scope:
        async with in_memory(handler) as connection, trio.open_nursery() as nursery:
            nursery.start_soon(connection.request, "GET", "/")
            await trio.sleep(0.5)
            if leave == "in the block":
                await trio.sleep_forever()
            else:
                await connection.aclose()
    assert scope.cancelled_caught
    assert ended.is_set()
    assert trio.current_time() == start + 1


async def test_an_error_of_a_handler_that_is_cancelled_from_outside_is_not_lost(autojump_clock: MockClock) -> None:
    with pytest.raises(Boom), trio.move_on_after(1):
        async with in_memory(raise_when_cancelled) as connection:
            await connection.request("GET", "/")


async def test_two_errors_at_the_same_moment_are_one_raised_and_one_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    moment = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await moment.wait()
        raise Boom(stream.request.path)

    with pytest.raises(Boom):
        async with in_memory(handler) as connection, trio.open_nursery() as nursery:
            nursery.start_soon(connection.request, "GET", "/one")
            nursery.start_soon(connection.request, "GET", "/other")
            await trio.testing.wait_all_tasks_blocked()
            moment.set()
    assert len(logged(caplog)) == 1


async def test_one_within_a_handler_of_another(autojump_clock: MockClock) -> None:
    """A proxy and what is behind it: the inner error passes through the outer handler."""

    async def proxy(stream: trio_h2.ServerStream) -> None:
        async with in_memory(raise_boom) as upstream:
            await upstream.request("GET", "/")

    with pytest.raises(Boom):
        async with in_memory(proxy) as connection:
            await connection.request("GET", "/")


async def test_it_is_entered_once(autojump_clock: MockClock) -> None:
    block = in_memory(hello)
    async with block:
        pass
    with pytest.raises(RuntimeError, match="make another one"):
        async with block:
            pass


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"handler": None}, "handler must be an async function of one stream, not NoneType"),
        ({"config": 1}, "config must be a Config, not int"),
        ({"server_config": 1}, "server_config must be a Config, not int"),
        ({"raise_handler_errors": "no"}, "raise_handler_errors must be True or False, not 'no'"),
    ],
)
def test_a_bad_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError) as caught:
        in_memory(**{"handler": hello} | arguments)
    assert str(caught.value) == message


async def test_the_page_about_testing_shows_tests_that_pass(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "testing.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "pyproject.toml").write_text(
        "[tool.pytest.ini_options]\ntrio_mode = true\nfilterwarnings = ['error']\n"
    )
    (tmp_path / "test_page.py").write_text("\n\n".join(blocks))
    # Without the options of the run that this test is in, such as coverage.
    done = await peers.run_program(
        *("env", "-u", "PYTEST_ADDOPTS", sys.executable, "-m", "pytest", "-q", f"--rootdir={tmp_path}", tmp_path)
    )
    assert f"{len(re.findall('async def test_', ''.join(blocks)))} passed" in done.text
