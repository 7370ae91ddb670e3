"""`H2Transport` of both packages: opening and closing, cancellation, and what is left."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from hyperframe.frame import HeadersFrame, RstStreamFrame
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import OK, RawPeer, of
from tests.engine.pool_network import URL, Network, gather

from .httpx_packages import Package, chunks, echo


async def endless(stream: trio_h2.ServerStream) -> None:
    """Begins a response and never ends it."""
    await stream.send_response(200)
    await stream.send_all(b"some of it")
    await trio.sleep_forever()


def streams(transport: Any) -> int:
    """How many are open, or wait for their turn."""
    return sum(origin.streams + origin.waiting for origin in transport.pool.statistics().values())


# Opening and closing


async def test_without_a_block_the_first_request_says_to_use_one(package: Package, nursery: trio.Nursery) -> None:
    client = package.module.AsyncClient(transport=package.transport())
    with pytest.raises(RuntimeError, match=rf"async with {package}\.AsyncClient\(transport=H2Transport\(\)\)"):
        await client.get(URL)
    await client.aclose()


def test_under_asyncio_the_error_names_trio(package: Package) -> None:
    async def enter() -> None:
        async with package.module.AsyncClient(transport=package.transport()):
            raise AssertionError("it was entered")

    async def ask() -> None:
        await package.module.AsyncClient(transport=package.transport()).get(URL)

    for main in (enter, ask):
        with pytest.raises(RuntimeError, match="trio"):
            asyncio.run(main())


async def test_a_transport_may_be_used_by_one_client_after_another(package: Package, nursery: trio.Nursery) -> None:
    network = Network(nursery)
    transport = package.transport(open_stream=network.open_stream)
    for number in range(3):
        assert transport.pool is None
        async with package.module.AsyncClient(transport=transport) as client:
            assert (await client.get(URL)).text == "hello"
        assert len(network.reached) == number + 1
    assert transport.pool is None


async def test_two_clients_share_a_transport_until_the_last_has_left(package: Package, nursery: trio.Nursery) -> None:
    """They leave in the order in which they came, too, and from other tasks than they came in."""
    network = Network(nursery)
    transport = package.transport(open_stream=network.open_stream)
    one, other = (package.module.AsyncClient(transport=transport) for _ in range(2))
    await one.__aenter__()
    await other.__aenter__()
    await one.get(URL)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(one.__aexit__, None, None, None)
    assert (await other.get(URL)).text == "hello"
    await other.__aexit__(None, None, None)
    assert transport.pool is None
    assert len(network.reached) == 1


async def test_a_transport_may_stand_beside_others_in_one_client(package: Package, nursery: trio.Nursery) -> None:
    """httpx leaves its transports in the order in which it entered them."""
    network = Network(nursery, echo)
    mounts = {f"http://{name}.example": package.transport(open_stream=network.open_stream) for name in "ab"}
    async with package.client(network, mounts=mounts) as client:
        for name in ("a", "b", "c"):
            assert (await client.get(f"http://{name}.example/")).headers["for"] == f"{name}.example"
    assert [each.pool for each in mounts.values()] == [None, None]


async def test_closing_a_transport_twice_is_closing_it_once(package: Package, nursery: trio.Nursery) -> None:
    network = Network(nursery)
    transport = package.transport(open_stream=network.open_stream)
    await transport.aclose()
    async with package.module.AsyncClient(transport=transport) as client:
        await client.get(URL)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(transport.aclose)
            tasks.start_soon(transport.aclose)
        await transport.aclose()
        with pytest.raises(RuntimeError, match="not open"):
            await client.get(URL)
    assert transport.pool is None


async def test_a_client_that_is_left_by_an_error_lets_it_out_as_it_is(package: Package, nursery: trio.Nursery) -> None:
    network = Network(nursery, endless)
    with pytest.raises(LookupError, match="mine"):
        async with package.client(network) as client:
            await client.send(client.build_request("GET", URL), stream=True)
            raise LookupError("mine")


async def test_closing_resets_responses_that_nobody_reads(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    network.serve = network.raw
    async with package.client(network) as client:
        nursery.start_soon(_answer, network)
        await client.send(client.build_request("GET", URL), stream=True)
        started = trio.current_time()
    assert trio.current_time() - started < 1
    [peer] = network.answered  # type: ignore[attr-defined]
    assert [frame.error_code for frame in of(await _rest(peer), RstStreamFrame)] == [8]


async def _answer(network: Network, *, whole: bool = False) -> None:
    """A raw peer that answers its first request, in part or whole."""
    peer = await network.next_peer()
    network.answered = [peer]  # type: ignore[attr-defined]
    await peer.handshake()
    await peer.send(peer.headers(1, OK), peer.data(1, b"some", end_stream=whole))


async def _rest(peer: RawPeer) -> list[Any]:
    await peer.to_end()
    return peer.log


async def test_requests_under_way_in_other_tasks_end_before_the_client_is_closed(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(1)
        await stream.send_response(200, end_stream=True)

    network = Network(nursery, handler)
    statuses = []

    async def ask(client: Any) -> None:
        statuses.append((await client.get(URL)).status_code)

    async with trio.open_nursery() as requests, package.client(network) as client:
        requests.start_soon(ask, client)
        await trio.testing.wait_all_tasks_blocked()
    assert statuses == [200]


async def test_a_client_that_is_cancelled_closes_at_once(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery, endless)
    with trio.move_on_after(1) as scope:
        async with package.client(network, timeout=None) as client:
            await client.get(URL)
    assert scope.cancelled_caught
    assert trio.current_time() < 2
    await trio.testing.wait_all_tasks_blocked()
    assert client._transport.pool is None


def test_a_run_that_ends_with_a_client_open_leaves_nothing_behind(package: Package) -> None:
    transport = package.transport()
    client = package.module.AsyncClient(transport=transport)

    async def open_only() -> None:
        await client.__aenter__()

    async def use_again() -> None:
        async with package.module.AsyncClient(transport=transport):
            assert transport.pool is not None

    trio.run(open_only)
    assert transport.pool is None
    trio.run(use_again)


async def test_opening_that_is_cancelled_leaves_it_closed(package: Package) -> None:
    transport = package.transport()
    with trio.CancelScope() as scope:
        scope.cancel()
        async with transport:
            raise AssertionError("it was entered")
    assert transport.pool is None


async def test_two_that_open_it_at_once_both_find_it_open(package: Package, nursery: trio.Nursery) -> None:
    """Also where the first of them is cancelled before it is."""
    network = Network(nursery)
    for cancelled in (False, True):
        transport = package.transport(open_stream=network.open_stream)
        statuses: list[int] = []

        async def first(scope: trio.CancelScope, use: Any) -> None:
            with scope:
                await use()

        async def use(transport: Any = transport, statuses: list[int] = statuses) -> None:
            async with package.module.AsyncClient(transport=transport) as client:
                statuses.append((await client.get(URL)).status_code)

        scope = trio.CancelScope()
        async with trio.open_nursery() as tasks:
            tasks.start_soon(first, scope, use)
            tasks.start_soon(use)
            await trio.lowlevel.cancel_shielded_checkpoint()
            if cancelled:
                scope.cancel()
        assert statuses == [200] if cancelled else [200, 200]
        assert transport.pool is None


async def test_a_fallback_is_opened_and_closed_with_it(package: Package) -> None:
    class Fallback(package.module.AsyncBaseTransport):  # type: ignore[name-defined,misc]
        log: tuple[str, ...] = ()

        async def __aenter__(self) -> Any:
            self.log += ("opened",)
            return self

        async def aclose(self) -> None:
            self.log += ("closed",)

    fallback = Fallback()
    async with package.module.AsyncClient(transport=package.transport(fallback=fallback)):
        assert fallback.log == ("opened",)
    assert fallback.log == ("opened", "closed")


# Cancellation


async def test_a_request_that_is_cancelled_costs_one_reset(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    network.serve = network.raw
    async with package.client(network, timeout=None) as client:
        with trio.move_on_after(1):
            await client.get(URL)
        assert streams(client._transport) == 0
        peer = await network.next_peer()
        await peer.handshake()
        frames = [*peer.log, *(await peer.sync())]
        assert [frame.stream_id for frame in of(frames, RstStreamFrame)] == [1]
        assert len(of(frames, HeadersFrame)) == 1


async def test_a_response_that_is_left_early_costs_one_reset_and_one_that_was_read_none(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    for whole, resets in ((False, [8]), (True, [])):
        network = Network(nursery)
        network.serve = network.raw
        async with package.client(network) as client:
            nursery.start_soon(lambda network=network, whole=whole: _answer(network, whole=whole))  # type: ignore[misc]
            async with client.stream("GET", URL) as response:
                if whole:
                    assert await response.aread() == b"some"
            await response.aclose()
            await response.stream.aclose()
            [peer] = network.answered  # type: ignore[attr-defined]
            frames = [*peer.log, *(await peer.sync())]
            assert [frame.error_code for frame in of(frames, RstStreamFrame)] == resets
            assert streams(client._transport) == 0


@pytest.mark.parametrize("step", range(30))
async def test_cancelled_at_any_of_its_waits_a_request_leaves_nothing(
    package: Package, step: int, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        async for chunk in stream:
            await stream.send_all(chunk)
            await trio.sleep(0.1)
        await stream.send_eof()

    class Countdown(trio.abc.Instrument):
        left = step

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            if task is this:
                self.left -= 1
                if not self.left:
                    scope.cancel()

    async def slowly() -> AsyncIterator[bytes]:
        try:
            for _ in range(3):
                yield b"chunk"
                await trio.sleep(0.1)
        finally:
            left.append(True)

    this = trio.lowlevel.current_task()
    left: list[bool] = []
    async with package.client(Network(nursery, handler)) as client:
        instrument = Countdown()
        trio.lowlevel.add_instrument(instrument)
        with trio.CancelScope() as scope:
            async with client.stream("POST", URL, content=slowly()) as response:
                assert await response.aread() == b"chunk" * 3
                assert left
        trio.lowlevel.remove_instrument(instrument)
        await trio.testing.wait_all_tasks_blocked()
        assert streams(client._transport) == 0
        assert (await client.post(URL, content=b"next")).content == b"next"
    gc.collect()


# Uploads


async def test_an_upload_that_the_server_answers_early_is_broken_off(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    sent = 0

    async def endlessly() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 1_000

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.receive_some()
        await stream.respond(413, body=b"too much")

    async with package.client(Network(nursery, handler)) as client:
        response = await client.post(URL, content=endlessly())
        assert (response.status_code, response.text) == (413, "too much")
        assert streams(client._transport) == 0
        before = sent
        await trio.sleep(10)
        assert sent == before


async def test_what_the_body_of_a_request_raises_comes_out_as_it_is(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        raise ValueError("mine")

    async def broken_by_ours() -> AsyncIterator[bytes]:
        yield b"some"
        raise trio_h2.StreamResetError("of another stream")

    async with package.client(Network(nursery, echo)) as client:
        with pytest.raises(ValueError, match="mine"):
            await client.post(URL, content=broken())
        with pytest.raises(trio_h2.StreamResetError, match="of another stream"):
            await client.post(URL, content=broken_by_ours())
        assert streams(client._transport) == 0


async def test_what_the_body_raises_after_the_headers_came_is_raised_to_who_reads(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        await trio.sleep(1)
        raise ValueError("mine")

    async with package.client(Network(nursery, endless)) as client:
        with pytest.raises(ValueError, match="mine"):
            await client.post(URL, content=broken())
        assert streams(client._transport) == 0


async def test_both_ways_can_be_streamed_at_once(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        async for chunk in stream:
            await stream.send_all(chunk.upper())
        await stream.send_eof()

    send, receive = trio.open_memory_channel[bytes](0)
    async with package.client(Network(nursery, handler)) as client:
        async with client.stream("POST", URL, content=receive) as response:
            answers = response.aiter_raw()
            for word in (b"one", b"two"):
                await send.send(word)
                assert await anext(answers) == word.upper()
            await send.aclose()
            assert [rest async for rest in answers] == []


async def test_a_thousand_requests_of_which_half_are_cancelled_leave_nothing(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(1)
        await echo(stream)

    async def ask(number: int) -> object:
        with trio.move_on_after(0.5 if number % 2 else 100):
            return (await client.post(f"{URL}{number}", content=chunks(b"%d" % number))).content
        return None

    async with package.client(Network(nursery, handler), timeout=None) as client:
        answers = await gather(1_000, ask)
        assert answers == [None if number % 2 else b"%d" % number for number in range(1_000)]
        assert streams(client._transport) == 0
