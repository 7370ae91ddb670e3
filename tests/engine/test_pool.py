"""`open_pool`: which connection a request gets, and what becomes of connections."""

from __future__ import annotations

import ssl
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
import trustme
from hyperframe.frame import GoAwayFrame, HeadersFrame, RstStreamFrame
from trio.testing import MockClock

import trio_h2
from tests import frames
from trio_h2 import Config, ErrorCodes, OriginStatistics

from .helpers import FOREVER, OK, RawPeer, echo, of
from .pool_network import URL, Network, gather


@pytest.fixture
async def nursery(nursery: trio.Nursery) -> trio.Nursery:
    """Where the servers of a test run; with a watch over tests that are stuck."""

    async def watch() -> None:
        await trio.sleep(FOREVER)
        raise AssertionError("the test is stuck")

    nursery.start_soon(watch)
    return nursery


# Which connection a request gets


async def test_requests_to_one_origin_share_a_connection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    network = Network(nursery)
    async with network.pool() as pool:
        for path in ("", "/one", "/two?three#four", "?five"):
            response = await pool.request("GET", f"http://example.org{path}")
            assert (response.status, response.body) == (200, b"hello")
    assert network.reached == [("example.org", 80)]
    assert network.requests == ["/", "/one", "/two?three", "/?five"]


async def test_a_url_that_is_an_origin_alone_leads_where_others_do(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not taken apart a second time; the memory for that is bounded, and what is forgotten is found again."""
    monkeypatch.setattr("trio_h2.pool._origins", known := {})
    monkeypatch.setattr("trio_h2.pool.MAX_ORIGINS", 2)
    network = Network(nursery)
    async with network.pool() as pool:
        for name in ("a", "b", "c", "a"):
            for _ in range(2):
                await pool.request("GET", f"http://{name}.example")
                await pool.request("GET", f"http://{name}.example", target="/other")
                await pool.request("GET", f"http://{name}.example/path?query")
            assert len(known) <= 2
            with pytest.raises(ValueError, match="server_hostname"):
                await pool.request("GET", f"http://{name}.example", server_hostname="d.example")
    assert network.reached == [(f"{name}.example", 80) for name in "abc"]
    assert network.requests == ["/", "/other", "/path?query"] * 8
    assert not any("path" in url for url in known)


async def test_a_stream_is_one_of_a_connection_that_can_be_asked_for(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery, echo)
    async with network.pool() as pool:
        async with pool.stream("POST", URL) as one, pool.stream("POST", URL) as other:
            assert one.connection is other.connection
            assert (one.stream_id, other.stream_id) == (1, 3)
            await one.send_all(b"there and back")
            await one.send_eof()
            assert await one.read() == b"there and back"


async def test_each_origin_has_connections_of_its_own(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    network = Network(nursery)
    async with network.pool() as pool:
        for url in ("http://one.example/", "http://two.example:80/", "http://one.example:81/", "http://ONE.example:80"):
            await pool.request("GET", url)
        assert list(pool.statistics()) == ["http://one.example", "http://two.example", "http://one.example:81"]
    assert network.reached == [("one.example", 80), ("two.example", 80), ("one.example", 81)]


async def test_a_thousand_requests_on_a_cold_pool_open_one_connection_where_one_is_enough(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def slow(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(1)
        await stream.respond(200)

    network = Network(nursery, slow, Config(max_concurrent_streams=1_000))
    async with network.pool() as pool:
        responses = await gather(1_000, lambda _: pool.request("GET", URL))
        assert {response.status for response in responses} == {200}
        assert trio.current_time() < 2.5
    assert len(network.reached) == 1


@pytest.mark.parametrize(("limit", "most", "needed"), [(100, 4, 4), (400, 4, 3), (1, 7, 7)])
async def test_a_thousand_requests_on_a_cold_pool_open_as_many_connections_as_the_limit_needs(
    nursery: trio.Nursery, autojump_clock: MockClock, limit: int, most: int, needed: int
) -> None:
    async def slow(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(1)
        await stream.respond(200)

    network = Network(nursery, slow, Config(max_concurrent_streams=limit))
    async with network.pool(max_connections_per_origin=most) as pool:
        responses = await gather(1_000, lambda _: pool.request("GET", URL))
        assert {response.status for response in responses} == {200}
    assert len(network.reached) == needed


async def test_requests_beyond_the_limit_wait_in_order(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def slow(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(1)
        await stream.respond(200)

    network = Network(nursery, slow, Config(max_concurrent_streams=2))
    async with network.pool(max_connections_per_origin=2) as pool, trio.open_nursery() as requests:
        for number in range(20):
            requests.start_soon(pool.request, "GET", f"{URL}{number:02}")
            await trio.testing.wait_all_tasks_blocked()
        assert pool.statistics() == {
            "http://example.org": OriginStatistics(
                connections=2, leaving=0, opening=False, streams=4, waiting=16, opened=2, failures=0
            )
        }
    # Two connections with two streams each: which of them is the first of four is nobody's promise.
    assert [int(path[1:]) // 4 for path in network.requests] == [n // 4 for n in range(20)]


async def test_no_second_connection_is_opened_before_the_limit_is_known(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    network.serve = network.raw
    async with network.pool() as pool, trio.open_nursery() as requests:
        for _ in range(150):
            requests.start_soon(pool.request, "GET", URL)
        peer = await network.next_peer()
        await trio.testing.wait_all_tasks_blocked()
        assert pool.statistics()["http://example.org"].streams == 100
        await peer.send(peer.settings({3: 1_000}))
        await trio.testing.wait_all_tasks_blocked()
        assert pool.statistics()["http://example.org"].streams == 150
        assert len(network.reached) == 1
        requests.cancel_scope.cancel()


async def test_a_limit_of_none_opens_no_second_connection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    network = Network(nursery)
    network.serve = network.raw
    async with network.pool() as pool, trio.open_nursery() as requests:
        requests.start_soon(pool.request, "GET", URL)
        peer = await network.next_peer()
        await peer.handshake({3: 0})
        await peer.send(peer.headers(1, OK, end_stream=True))
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(5):
            requests.start_soon(pool.request, "GET", URL)
        await trio.testing.wait_all_tasks_blocked()
        assert len(network.reached) == 1
        assert pool.statistics()["http://example.org"].waiting == 5
        await peer.send(peer.settings({3: 10}))
        await trio.testing.wait_all_tasks_blocked()
        assert pool.statistics()["http://example.org"].streams == 5
        requests.cancel_scope.cancel()


async def test_a_limit_that_falls_while_requests_run_has_the_next_ones_go_elsewhere(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    network.serve = network.raw
    async with network.pool() as pool, trio.open_nursery() as requests:
        for _ in range(3):
            requests.start_soon(pool.request, "GET", URL)
        peer = await network.next_peer()
        await peer.handshake({3: 10})
        await peer.send(peer.settings({3: 1}))
        await trio.testing.wait_all_tasks_blocked()
        requests.start_soon(pool.request, "GET", URL)
        other = await network.next_peer()
        await other.handshake()
        await headers_of(other, 1)
        await peer.sync()
        assert len(of(peer.log, HeadersFrame)) == 3
        requests.cancel_scope.cancel()


async def test_the_oldest_connection_with_room_is_used_so_that_others_become_idle(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def slow(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(1)
        await stream.respond(200)

    network = Network(nursery, slow, Config(max_concurrent_streams=2))
    async with network.pool(idle_timeout=30) as pool:
        await gather(4, lambda _: pool.request("GET", URL))
        assert pool.statistics()["http://example.org"].connections == 2
        for _ in range(40):
            await pool.request("GET", URL)
        assert pool.statistics()["http://example.org"].connections == 1


# Cancellation


async def test_the_opening_goes_on_when_who_came_first_is_cancelled(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    network.before = partial(trio.sleep, 2)
    async with network.pool() as pool, trio.open_nursery() as requests:
        with trio.move_on_after(1) as first:
            requests.start_soon(pool.request, "GET", f"{URL}second")
            await pool.request("GET", f"{URL}first")
        assert first.cancelled_caught
    assert network.requests == ["/second"]
    assert len(network.reached) == 1


async def test_an_opening_that_nobody_waits_for_serves_the_next_request_or_ends(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    network.before = partial(trio.sleep, 4)
    async with network.pool() as pool:
        with trio.move_on_after(1):
            await pool.request("GET", URL)
        assert (await pool.request("GET", URL)).status == 200
        assert trio.current_time() < 5
        network.before = trio.sleep_forever
        with trio.move_on_after(1):
            await pool.request("GET", "http://other.example")
        await trio.sleep(6)
        assert list(pool.statistics()) == ["http://example.org"]


async def test_a_cancelled_request_costs_one_rst_stream_and_its_slot_comes_back(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    network.serve = network.raw
    async with network.pool(max_connections_per_origin=1) as pool, trio.open_nursery() as requests:
        scope = trio.CancelScope()

        async def cancelled() -> None:
            with scope:
                await pool.request("GET", URL)

        requests.start_soon(cancelled)
        peer = await network.next_peer()
        await peer.handshake({3: 1})
        await headers_of(peer, 1)
        requests.start_soon(pool.request, "GET", URL)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        assert await peer.expect_rst(1) == ErrorCodes.CANCEL
        await headers_of(peer, 3)
        assert len(of(peer.log, RstStreamFrame)) == 1
        await peer.send(peer.headers(3, OK, end_stream=True))


async def test_a_request_that_is_cancelled_as_its_turn_comes_gives_it_to_the_next(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def slow(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(1)
        await stream.respond(200)

    network = Network(nursery, slow, Config(max_concurrent_streams=1))
    async with network.pool(max_connections_per_origin=1) as pool, trio.open_nursery() as requests:
        await pool.request("GET", f"{URL}warm")
        requests.start_soon(pool.request, "GET", f"{URL}first")
        await trio.testing.wait_all_tasks_blocked()
        begun = trio.current_time()

        async def until_its_turn() -> None:
            with trio.move_on_at(begun + 1):
                await pool.request("GET", f"{URL}second")

        requests.start_soon(until_its_turn)
        await trio.testing.wait_all_tasks_blocked()
        requests.start_soon(pool.request, "GET", f"{URL}third")
    assert network.requests[-1] == "/third"


@pytest.mark.parametrize("limit", [1, 100])
async def test_a_request_may_be_cancelled_at_any_checkpoint_and_nothing_is_left(limit: int) -> None:
    """However many checkpoints it has come through, on a cold pool and on a warm one, whole and as a stream."""

    async def one(pool: trio_h2.Pool, kind: str) -> None:
        if kind == "request":
            await pool.request("POST", URL, body=b"body")
        elif kind == "streamed":
            async with pool.stream("POST", URL, body=b"body") as stream:
                await stream.read()
        else:
            async with pool.stream("POST", URL) as stream:
                await stream.send_all(b"body")
                await stream.send_eof()
                await stream.read()

    for kind in ("request", "streamed", "stream"):
        for warm in (False, True):
            for steps in range(1_000):
                async with trio.open_nursery() as nursery:
                    network = Network(nursery, echo, Config(max_concurrent_streams=limit))
                    async with network.pool() as pool:
                        if warm:
                            await pool.request("GET", URL)
                        scope = trio.CancelScope()
                        finished = False

                        async def cancelled(
                            pool: trio_h2.Pool = pool, scope: trio.CancelScope = scope, kind: str = kind
                        ) -> None:
                            nonlocal finished
                            with scope:
                                await one(pool, kind)
                            finished = not scope.cancelled_caught

                        async with trio.open_nursery() as requests:
                            requests.start_soon(cancelled)
                            for _ in range(steps):
                                await trio.lowlevel.checkpoint()
                            scope.cancel()
                        assert (await pool.request("GET", URL)).status == 200
                        await trio.testing.wait_all_tasks_blocked()
                        [statistics] = pool.statistics().values()
                        assert statistics.streams == statistics.waiting == 0
                        assert statistics.connections == statistics.opened == 1
                        assert not statistics.opening
                    assert nursery.child_tasks == frozenset() or await quiet(nursery)
                if finished:
                    break
            else:
                raise AssertionError("it never finished")


async def quiet(nursery: trio.Nursery) -> bool:
    """Wait until the servers have ended, too."""
    await trio.testing.wait_all_tasks_blocked()
    return nursery.child_tasks == frozenset()


# Connections that take no more requests


async def test_a_connection_that_got_goaway_finishes_its_streams_and_is_replaced(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    network.serve = network.raw
    async with network.pool() as pool, trio.open_nursery() as requests:
        answers: list[trio_h2.Response] = []

        async def request() -> None:
            answers.append(await pool.request("GET", URL))

        requests.start_soon(request)
        first = await network.next_peer()
        await first.handshake()
        await headers_of(first, 1)
        await first.send(first.goaway(1))
        await trio.testing.wait_all_tasks_blocked()
        requests.start_soon(request)
        second = await network.next_peer()
        await second.handshake()
        await headers_of(second, 1)
        [statistics] = pool.statistics().values()
        assert (statistics.connections, statistics.leaving) == (1, 1)
        await second.send(second.headers(1, OK, end_stream=True))
        await first.send(first.headers(1, ((":status", "203"),), end_stream=True))
        assert await first.to_end() is not None
    assert [answer.status for answer in answers] == [200, 203]


async def test_a_request_that_goaway_leaves_out_goes_on_a_new_connection(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    network.serve = network.raw
    async with network.pool() as pool, trio.open_nursery() as requests:
        requests.start_soon(pool.request, "GET", URL)
        first = await network.next_peer()
        await first.handshake()
        await headers_of(first, 1)
        await first.send(first.goaway(0))
        second = await network.next_peer()
        await second.handshake()
        await headers_of(second, 1)
        await second.send(second.headers(1, OK, end_stream=True))


async def test_goaway_at_once_on_every_connection_is_an_error_and_no_loop(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)

    async def goaway(transport: trio.abc.Stream) -> None:
        await transport.send_all(frames.settings() + frames.goaway(0))
        while await transport.receive_some():
            pass

    network.serve = goaway
    async with network.pool() as pool:
        with pytest.raises(trio_h2.ConnectionTerminatedError, match="GOAWAY") as caught:
            await pool.request("GET", URL)
        assert caught.value.attempts == 3
        assert caught.value.__notes__ == ["it was tried 3 times"]
        assert len(network.reached) == 3
        errors: list[Any] = await gather(1_000, lambda _: pool.request("GET", URL))
        assert {error.attempts for error in errors} == {3}
        assert len(network.reached) < 50  # how often a slice ends between two frames is a matter of time


async def test_a_connection_out_of_stream_ids_is_replaced(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    network = Network(nursery)
    async with network.pool() as pool:
        async with pool.stream("GET", URL) as stream:
            connection = stream.connection
            connection._actor.machine.table.use(2**31 - 3)
        assert (await pool.request("GET", URL)).status == 200
        assert len(network.reached) == 1
        assert (await pool.request("GET", URL)).status == 200
        assert len(network.reached) == 2
        await connection.wait_closed()
        [statistics] = pool.statistics().values()
        assert (statistics.connections, statistics.leaving) == (1, 0)


async def test_a_connection_that_missed_a_keepalive_ping_is_replaced(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    network.serve = network.raw
    async with network.pool(config=Config(keepalive_interval=5, keepalive_timeout=5)) as pool:
        async with trio.open_nursery() as requests:
            requests.start_soon(pool.request, "GET", URL)
            peer = await network.next_peer()
            await peer.handshake()
            await peer.send(peer.headers(1, OK, end_stream=True))
        await trio.sleep(11)
        assert pool.statistics() == {}
        network.serve = network.http2
        assert (await pool.request("GET", URL)).status == 200


async def test_a_connection_that_nobody_uses_is_closed_in_order(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    network.serve = network.raw
    async with network.pool(idle_timeout=7) as pool:
        async with trio.open_nursery() as requests:
            requests.start_soon(pool.request, "GET", URL)
            peer = await network.next_peer()
            await peer.handshake()
            await peer.send(peer.headers(1, OK, end_stream=True))
        begun = trio.current_time()
        assert of(await peer.to_end(), GoAwayFrame)[0].error_code == ErrorCodes.NO_ERROR
        assert trio.current_time() == begun + 7
        await trio.testing.wait_all_tasks_blocked()
        assert pool.statistics() == {}


async def test_a_connection_is_not_idle_while_a_stream_is_open(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery, echo)
    async with network.pool(idle_timeout=1) as pool:
        async with pool.stream("POST", URL) as stream:
            await trio.sleep(100)
            await stream.send_all(b"still there")
            assert await stream.receive_some() == b"still there"
        await trio.sleep(0.9)
        assert pool.statistics()["http://example.org"].connections == 1
        await trio.sleep(0.2)
        assert pool.statistics() == {}


async def test_a_connection_that_was_never_used_is_no_failure_when_it_closes(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The pool's own doing: the next connection is opened without a pause."""
    network = Network(nursery, echo, Config(max_concurrent_streams=1))
    network.before = partial(trio.sleep, 1)
    async with network.pool(idle_timeout=5) as pool, pool.stream("POST", URL):
        with trio.move_on_after(0.5):
            await pool.request("GET", URL)
        await trio.sleep(10)
        begun = trio.current_time()
        assert (await pool.request("POST", URL, body=b"x")).body == b"x"
        assert trio.current_time() == begun + 1
        statistics = pool.statistics()["http://example.org"]
        assert (statistics.opened, statistics.failures) == (3, 0)


# What is tried again


async def refused_once(nursery: trio.Nursery) -> Network:
    """A server that refuses every other request."""
    network = Network(nursery)
    count = 0

    async def refuse(stream: trio_h2.ServerStream) -> None:
        nonlocal count
        count += 1
        if count % 2:
            await stream.reset(ErrorCodes.REFUSED_STREAM)
        else:
            await stream.respond(200, body=await stream.read())

    network.handler = refuse
    return network


async def chunks() -> Any:
    yield b"in "
    yield b"pieces"


@pytest.mark.parametrize("body", [b"whole", bytearray(b"whole"), chunks, lambda: [b"in ", b"pieces"]])
async def test_a_refused_request_is_made_again_if_its_body_can_be(
    nursery: trio.Nursery, autojump_clock: MockClock, body: Any
) -> None:
    network = await refused_once(nursery)
    expected = b"whole" if isinstance(body, bytes | bytearray) else b"in pieces"
    async with network.pool() as pool:
        assert (await pool.request("POST", URL, body=body)).body == expected
        async with pool.stream("POST", URL, body=body) as stream:
            assert await stream.read() == expected
        async with pool.stream("GET", URL) as stream:
            assert (await stream.response()).status == 200
    assert len(network.requests) == 6
    assert len(network.reached) == 1


async def test_a_body_that_was_begun_and_comes_once_is_not_sent_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = await refused_once(nursery)
    async with network.pool() as pool:
        with pytest.raises(trio_h2.StreamResetError, match="REFUSED_STREAM") as caught:
            await pool.request("POST", URL, body=chunks())
    assert (caught.value.safe_to_retry, caught.value.attempts) == (True, 1)
    assert len(network.requests) == 1


async def test_a_body_that_comes_once_is_sent_again_if_nobody_asked_for_it(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    fails = True

    async def fail_once() -> None:
        nonlocal fails
        if fails:
            fails = False
            raise ConnectionRefusedError("refused")

    network.before = fail_once
    network.handler = echo
    async with network.pool() as pool:
        assert (await pool.request("POST", URL, body=chunks())).body == b"in pieces"


async def test_a_stream_whose_body_the_user_sends_is_not_made_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = await refused_once(nursery)
    async with network.pool() as pool:
        with pytest.raises(trio_h2.StreamResetError, match="REFUSED_STREAM"):
            async with pool.stream("POST", URL) as stream:
                await stream.response()


async def test_a_request_that_may_have_been_processed_is_not_made_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)

    async def hang_up(transport: trio.abc.Stream) -> None:
        peer = RawPeer(transport, client=False)
        await peer.handshake()
        await headers_of(peer, 1)
        await transport.aclose()

    network.serve = hang_up
    async with network.pool() as pool:
        with pytest.raises(trio_h2.ConnectionTerminatedError) as caught:
            await pool.request("GET", URL)
    assert not caught.value.safe_to_retry
    assert caught.value.attempts == 1
    assert not hasattr(caught.value, "__notes__")
    assert len(network.reached) == 1


async def headers_of(peer: RawPeer, stream_id: int) -> None:
    """Wait for a request, which may have come before what was waited for last."""
    if not of(peer.log, HeadersFrame, stream_id):
        await peer.expect(HeadersFrame, stream_id=stream_id)


async def test_what_the_bodys_iterator_raises_is_raised_as_it_is(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def failing() -> Any:
        yield b"some"
        raise KeyError("mine")

    network = Network(nursery, echo)
    async with network.pool() as pool:
        with pytest.raises(KeyError, match="mine"):
            await pool.request("POST", URL, body=failing)
        with pytest.raises(KeyError, match="mine"):
            async with pool.stream("POST", URL, body=failing) as stream:
                await stream.read()


@pytest.mark.parametrize("body", [lambda: b"octets", lambda: "text", lambda: 5, lambda: [5]])
async def test_a_callable_that_makes_no_body_is_a_type_error(
    nursery: trio.Nursery, autojump_clock: MockClock, body: Any
) -> None:
    network = Network(nursery, echo)
    async with network.pool() as pool:
        with pytest.raises(TypeError, match="body"):
            await pool.request("POST", URL, body=body)


# Connections that cannot be opened


async def test_opening_is_tried_again_in_growing_pauses_and_the_error_says_how_often(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    times: list[float] = []

    async def refuse() -> None:
        times.append(trio.current_time())
        raise ConnectionRefusedError("nobody there")

    network = Network(nursery)
    network.before = refuse
    async with network.pool(retries=4) as pool:
        errors: list[Any] = await gather(100, lambda _: pool.request("GET", URL))
        assert pool.statistics() == {}
    assert len(times) == 5
    pauses = [after - before for before, after in pairwise(times)]
    assert all(0.5 * 0.1 * 3**n <= pause <= 0.1 * 3**n for n, pause in enumerate(pauses))
    assert len(set(map(id, errors))) == 100
    for error in errors:
        assert type(error.__cause__) is ConnectionRefusedError
        assert isinstance(error, trio_h2.ConnectError)
        assert isinstance(error, trio.BrokenResourceError)
        assert (error.attempts, error.safe_to_retry) == (5, True)
        assert str(error) == "no connection to example.org: nobody there"


async def test_who_comes_while_an_opening_fails_has_tries_of_its_own(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def refuse_later() -> None:
        await trio.sleep(1)
        raise OSError("no")

    network = Network(nursery)
    network.before = refuse_later
    async with network.pool(retries=1) as pool, trio.open_nursery() as requests:
        failed: list[str] = []

        async def request(name: str, pause: float) -> None:
            await trio.sleep(pause)
            with pytest.raises(trio_h2.ConnectError):
                await pool.request("GET", URL)
            failed.append(f"{name} at {trio.current_time():.0f}")

        requests.start_soon(request, "first", 0)
        requests.start_soon(request, "second", 1.5)
    assert failed == ["first at 2", "second at 3"]
    assert len(network.reached) == 3


@pytest.mark.parametrize("retries", [0, 2])
async def test_who_comes_after_a_connection_was_lost_has_nothing_to_do_with_that(
    nursery: trio.Nursery, autojump_clock: MockClock, retries: int
) -> None:
    """Its server went while the only request was under way, and its program makes that again at once."""
    network = Network(nursery)

    async def lost(transport: trio.abc.Stream) -> None:
        await transport.receive_some()
        await transport.send_all(frames.settings() + frames.settings_ack())
        await trio.sleep(1)
        await transport.aclose()

    network.serve = lost
    async with network.pool(retries=retries) as pool:
        with pytest.raises(trio_h2.ConnectionTerminatedError) as caught:
            await pool.request("GET", URL)
        assert not caught.value.safe_to_retry
        network.serve = network.http2
        assert (await pool.request("GET", URL)).status == 200
        assert trio.current_time() < 1.2


async def test_an_opening_that_takes_too_long_is_an_error(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    network = Network(nursery)
    network.before = trio.sleep_forever
    async with network.pool(connect_timeout=3, retries=1) as pool:
        with pytest.raises(trio_h2.RequestTimeoutError, match="within 3 seconds") as caught:
            await pool.request("GET", URL)
        assert isinstance(caught.value, trio.TooSlowError)
        assert (caught.value.phase, caught.value.attempts, caught.value.safe_to_retry) == ("connect", 2, True)
        assert trio.current_time() < 6.2


async def test_an_origin_that_accepts_and_never_answers_is_an_error_in_bounded_time(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    network.serve = network.raw
    async with network.pool() as pool:
        with pytest.raises(trio_h2.H2Error, match="SETTINGS"):
            await pool.request("GET", URL)
        assert trio.current_time() == 10
        with pytest.raises(trio_h2.RequestTimeoutError, match="within 10 seconds"):
            await pool.request("GET", "https://example.org/")


async def test_where_a_second_connection_cannot_be_opened_requests_wait_for_the_first(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def slow(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(20)
        await stream.respond(200)

    network = Network(nursery, slow, Config(max_concurrent_streams=1))

    async def refuse_second() -> None:
        if len(network.reached) > 1:
            raise OSError("no more")

    network.before = refuse_second
    async with network.pool() as pool:
        responses = await gather(3, lambda _: pool.request("GET", URL))
        assert {response.status for response in responses} == {200}
    assert 2 < len(network.reached) < 30


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the server speaks HTTP/1.1"),
        (b"220 mail.example.org ESMTP\r\n", "SETTINGS"),
        (b"\x00" * 100, "SETTINGS"),
    ],
)
async def test_an_origin_that_answers_something_else_is_a_clear_error_and_not_asked_again(
    nursery: trio.Nursery, autojump_clock: MockClock, answer: bytes, message: str
) -> None:
    network = Network(nursery)

    async def other(transport: trio.abc.Stream) -> None:
        await transport.send_all(answer)
        while await transport.receive_some():
            pass

    network.serve = other
    async with network.pool() as pool:
        with pytest.raises(trio_h2.ProtocolError, match=message) as caught:
            await pool.request("GET", URL)
        assert not caught.value.safe_to_retry
    assert len(network.reached) == 1


# TLS


class SecureNetwork(Network):
    """One whose servers speak TLS, as `protocols` says."""

    def __init__(self, nursery: trio.Nursery, authority: trustme.CA, protocols: list[str]) -> None:
        super().__init__(nursery)
        self.names: list[str | None] = []
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        if protocols:
            self.context.set_alpn_protocols(protocols)
        self.context.sni_callback = lambda _, name, __: self.names.append(name)
        authority.issue_cert("example.org", "other.example").configure_cert(self.context)
        self.client_context = ssl.create_default_context()
        authority.configure_trust(self.client_context)
        self.serve = self.tls

    async def tls(self, transport: trio.abc.Stream) -> None:
        await self.http2(trio.SSLStream(transport, self.context, server_side=True, https_compatible=True))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


async def test_an_https_origin_is_spoken_to_over_tls(
    nursery: trio.Nursery, autojump_clock: MockClock, authority: trustme.CA
) -> None:
    network = SecureNetwork(nursery, authority, ["h2"])
    async with network.pool(ssl_context=network.client_context) as pool:
        await pool.request("GET", "https://example.org")
        await pool.request("GET", "https://example.org", server_hostname="other.example")
        async with pool.stream("GET", "https://example.org/") as stream:
            assert stream.connection.tls is not None
        assert list(pool.statistics()) == ["https://example.org", "https://example.org (other.example)"]
    assert network.names == ["example.org", "other.example"]
    assert network.reached == [("example.org", 443), ("example.org", 443)]


@pytest.mark.parametrize("protocols", [[], ["http/1.1"]])
async def test_an_origin_without_http2_is_an_error_of_its_own_class(
    nursery: trio.Nursery, autojump_clock: MockClock, authority: trustme.CA, protocols: list[str]
) -> None:
    network = SecureNetwork(nursery, authority, protocols)
    async with network.pool(ssl_context=network.client_context) as pool:
        with pytest.raises(trio_h2.ALPNError, match="the server selected no protocol by ALPN, not h2") as caught:
            await pool.request("GET", "https://example.org")
        assert caught.value.selected is None
        assert not caught.value.safe_to_retry
    assert len(network.reached) == 1
    assert network.requests == []


async def test_a_certificate_of_another_name_is_an_error_that_is_not_tried_again(
    nursery: trio.Nursery, autojump_clock: MockClock, authority: trustme.CA
) -> None:
    network = SecureNetwork(nursery, authority, ["h2"])
    async with network.pool(ssl_context=network.client_context) as pool:
        with pytest.raises(trio_h2.HandshakeError, match="certificate verify failed"):
            await pool.request("GET", "https://third.example")
    assert len(network.reached) == 1


async def test_the_environment_names_the_authorities_that_are_trusted(
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    network = SecureNetwork(nursery, authority, ["h2"])
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with network.pool() as pool:
        with pytest.raises(trio_h2.HandshakeError, match="certificate verify failed"):
            await pool.request("GET", "https://example.org")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    async with network.pool() as pool:
        assert (await pool.request("GET", "https://example.org")).status == 200
    assert "TRAFFIC_SECRET" in (tmp_path / "keys").read_text()


# Timeouts of one request


async def test_a_request_waits_for_its_turn_only_so_long(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    network = Network(nursery, echo, Config(max_concurrent_streams=1))
    async with network.pool(max_connections_per_origin=1) as pool, pool.stream("POST", URL) as stream:
        await stream.send_all(b"x")
        await stream.response()
        with pytest.raises(trio_h2.RequestTimeoutError, match="in use for 3 seconds") as caught:
            async with pool.stream("GET", URL, timeouts=trio_h2.Timeouts(acquire=3, connect=1)):
                pass
        assert (caught.value.phase, caught.value.safe_to_retry) == ("acquire", True)
        assert trio.current_time() == 3


async def test_a_request_waits_for_a_connection_only_so_long(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    network = Network(nursery)
    network.before = trio.sleep_forever
    async with network.pool() as pool:
        with pytest.raises(trio_h2.RequestTimeoutError, match="no connection to the origin for 2 seconds") as caught:
            async with pool.stream("GET", URL, timeouts=trio_h2.Timeouts(acquire=1, connect=2)):
                pass
        assert caught.value.phase == "connect"
        assert trio.current_time() == 2


@pytest.mark.parametrize("body", [None, b"body"])
async def test_a_request_waits_for_the_response_only_so_long(
    nursery: trio.Nursery, autojump_clock: MockClock, body: bytes | None
) -> None:
    async def never(stream: trio_h2.ServerStream) -> None:
        await trio.sleep_forever()

    network = Network(nursery, never)
    async with network.pool() as pool:
        with pytest.raises(trio_h2.RequestTimeoutError, match="no response came within 4 seconds") as caught:
            async with pool.stream("GET", URL, body=body, timeouts=trio_h2.Timeouts(read=4)):
                pass
        assert (caught.value.phase, caught.value.safe_to_retry) == ("read", False)
        assert isinstance(caught.value, trio.TooSlowError)
        assert trio.current_time() == 4


async def test_a_request_whose_time_is_over_costs_one_rst_stream(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """And its slot is free at once, for one that waits."""
    network = Network(nursery)
    network.serve = network.raw

    async def in_time(pool: trio_h2.Pool) -> None:
        with pytest.raises(trio_h2.RequestTimeoutError):
            async with pool.stream("GET", URL, timeouts=trio_h2.Timeouts(read=4)):
                pass

    async with network.pool(max_connections_per_origin=1) as pool, trio.open_nursery() as requests:
        requests.start_soon(in_time, pool)
        peer = await network.next_peer()
        await peer.handshake({3: 1})
        await headers_of(peer, 1)
        requests.start_soon(pool.request, "GET", URL)
        assert await peer.expect_rst(1) == ErrorCodes.CANCEL
        await headers_of(peer, 3)
        assert trio.current_time() == 4
        await peer.send(peer.headers(3, OK, end_stream=True))
    assert len(of(peer.log, RstStreamFrame)) == 1


async def test_each_request_has_its_own_time_for_the_response(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """In whatever order they begin, beside those that are answered in time, and again after a while without any."""

    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(2)
        if stream.request.path == "/answered":
            await stream.respond(204)
        else:
            await trio.sleep_forever()

    async def times_out(pool: trio_h2.Pool, seconds: float) -> None:
        started = trio.current_time()
        with pytest.raises(trio_h2.RequestTimeoutError, match=f"no response came within {seconds} seconds"):
            async with pool.stream("GET", f"{URL}silent", timeouts=trio_h2.Timeouts(read=seconds)):
                pass
        assert trio.current_time() - started == pytest.approx(seconds)

    async def is_answered(pool: trio_h2.Pool, seconds: float) -> None:
        async with pool.stream("GET", f"{URL}answered", timeouts=trio_h2.Timeouts(read=seconds)) as stream:
            assert (await stream.response()).status == 204

    async def is_cancelled(pool: trio_h2.Pool) -> None:
        with trio.move_on_after(1) as scope:
            async with pool.stream("GET", f"{URL}silent", timeouts=trio_h2.Timeouts(read=3)):
                pass
        assert scope.cancelled_caught

    network = Network(nursery, handler)
    async with network.pool() as pool:
        for _ in range(2):
            async with trio.open_nursery() as callers:
                for seconds in (5.0, 1.0, 3.0, 3.0, 2.5):
                    callers.start_soon(times_out, pool, seconds)
                    callers.start_soon(is_answered, pool, seconds + 2)
                callers.start_soon(is_cancelled, pool)
            [origin] = pool.statistics().values()
            assert (origin.streams, origin.connections) == (0, 1)
            await trio.sleep(20)


async def test_the_time_for_the_response_begins_when_the_request_is_sent(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def slowly() -> Any:
        for _ in range(10):
            await trio.sleep(1)
            yield b"slow"

    network = Network(nursery, echo)

    async def late(stream: trio_h2.ServerStream) -> None:
        await stream.read()
        await trio.sleep(3)
        await stream.respond(200)

    network.handler = late
    async with network.pool() as pool:
        async with pool.stream("POST", URL, body=slowly, timeouts=trio_h2.Timeouts(read=4)) as stream:
            assert (await stream.response()).status == 200
        assert trio.current_time() == 13


@pytest.mark.parametrize("body", [b"x" * 1_000_000, lambda: [b"x" * 1_000_000]])
async def test_a_server_that_takes_no_more_is_waited_for_only_so_long(
    nursery: trio.Nursery, autojump_clock: MockClock, body: Any
) -> None:
    async def never(stream: trio_h2.ServerStream) -> None:
        await trio.sleep_forever()

    network = Network(nursery, never)
    async with network.pool() as pool:
        with pytest.raises(trio_h2.RequestTimeoutError, match="took no more of the request's body for 5 seconds"):
            async with pool.stream("POST", URL, body=body, timeouts=trio_h2.Timeouts(write=5)):
                pass
        assert trio.current_time() == 5


@pytest.mark.parametrize("name", ["acquire", "connect", "write", "read"])
@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError)])
def test_timeouts_that_make_no_sense_are_named(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        trio_h2.Timeouts(**{name: value})


# The end of a pool


async def test_leaving_the_block_lets_streams_finish(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def slow(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(3)
        await stream.respond(200)

    network = Network(nursery, slow)
    answers = []
    async with trio.open_nursery() as requests, network.pool() as pool:

        async def request() -> None:
            answers.append((await pool.request("GET", URL)).status)

        requests.start_soon(request)
        await trio.testing.wait_all_tasks_blocked()
    assert answers == [200]
    assert trio.current_time() == 3


async def test_what_the_block_raises_comes_out_as_it_is_and_streams_are_reset(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    network.serve = network.raw
    errors: list[Any] = []
    async with trio.open_nursery() as requests:
        with pytest.raises(KeyError):
            async with network.pool() as pool:

                async def request() -> None:
                    errors.extend(await gather(1, lambda _: pool.request("GET", URL)))

                requests.start_soon(request)
                peer = await network.next_peer()
                await peer.handshake()
                await headers_of(peer, 1)
                raise KeyError
        assert of(await peer.to_end(), GoAwayFrame)
    assert isinstance(errors[0], trio_h2.ConnectionTerminatedError)
    assert isinstance(errors[0], trio.ClosedResourceError)


async def test_a_pool_that_is_closed_takes_no_requests_and_fails_those_that_wait(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    network.before = trio.sleep_forever
    async with network.pool() as pool, trio.open_nursery() as requests:
        errors: list[Any] = []

        async def request() -> None:
            errors.extend(await gather(3, lambda _: pool.request("GET", URL)))

        requests.start_soon(request)
        await trio.testing.wait_all_tasks_blocked()
        await pool.aclose()
        errors += await gather(1, lambda _: pool.request("GET", URL))
        with pytest.raises(trio.ClosedResourceError):
            async with pool.stream("GET", URL):
                pass
        await trio.testing.wait_all_tasks_blocked()
        for error in errors:
            assert str(error) == "the pool was closed"
            assert isinstance(error, trio.ClosedResourceError)
        assert len(errors) == 4
        assert repr(pool) == "<Pool: closed>"
    assert trio.current_time() == 0


async def test_a_request_of_a_closed_pool_is_a_checkpoint(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with Network(nursery).pool() as pool:
        await pool.aclose()
        with trio.testing.assert_checkpoints(), pytest.raises(trio.ClosedResourceError):
            await pool.request("GET", URL)
        with trio.testing.assert_checkpoints(), pytest.raises(trio.ClosedResourceError):
            async with pool.stream("GET", URL):
                pass
        with trio.testing.assert_checkpoints():
            await pool.aclose()


async def test_a_second_close_waits_for_the_first(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def slow(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(3)
        await stream.respond(200)

    network = Network(nursery, slow)
    async with network.pool() as pool, trio.open_nursery() as requests:
        requests.start_soon(pool.request, "GET", URL)
        await trio.testing.wait_all_tasks_blocked()
        times = []

        async def close(pause: float) -> None:
            await trio.sleep(pause)
            await pool.aclose()
            times.append(trio.current_time())

        requests.start_soon(close, 0)
        requests.start_soon(close, 1)
    assert times == [3, 3]


async def test_a_close_that_is_cancelled_closes_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    network = Network(nursery, echo)
    async with network.pool() as pool, trio.open_nursery() as requests:
        async with pool.stream("POST", URL) as stream:
            with trio.move_on_after(1):
                await pool.aclose()
            assert trio.current_time() == 1
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.ClosedResourceError):
                await stream.send_all(b"x")
        requests.cancel_scope.cancel()


async def test_a_pool_in_a_scope_that_is_cancelled_leaves_no_group(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    with trio.move_on_after(1) as scope:
        async with network.pool() as pool:
            await pool.request("GET", URL)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    await trio.testing.wait_all_tasks_blocked()
    assert len(nursery.child_tasks) == 1  # the watch


async def test_a_bug_in_a_connection_is_raised_when_the_pool_is_left(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    with pytest.raises(trio_h2.InternalError):
        async with network.pool() as pool:
            async with pool.stream("GET", URL) as stream:
                stream.connection._actor.ending.bug(RuntimeError("a bug"))


async def test_many_origins_leave_nothing_behind(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    network = Network(nursery)
    async with network.pool(idle_timeout=5) as pool:
        for number in range(200):
            await pool.request("GET", f"http://host{number}.example/")
            await trio.sleep(0.5)
        assert len(pool.statistics()) <= 11
        await trio.sleep(10)
        assert pool.statistics() == {}


async def test_a_trace_is_told_of_every_connection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    class Connections(trio_h2.Trace):
        def __init__(self) -> None:
            self.made: list[str] = []
            self.ended = 0

        def connection_made(self, connection: trio_h2.ClientConnection) -> None:
            self.made.append(connection.authority)

        def connection_ended(self, connection: Any, error: Any) -> None:
            self.ended += 1

    trace = Connections()
    network = Network(nursery)
    async with network.pool(trace=trace) as pool:
        await pool.request("GET", URL)
        await pool.request("GET", "http://other.example")
    assert trace.made == ["example.org", "other.example"]
    assert trace.ended == 2


# Wrong arguments


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"ssl_context": 1}, TypeError),
        ({"proxy_ssl_context": 1}, TypeError),
        ({"config": 1}, TypeError),
        ({"max_connections_per_origin": 0}, ValueError),
        ({"max_connections_per_origin": 1.5}, TypeError),
        ({"retries": -1}, ValueError),
        ({"retries": True}, TypeError),
        ({"idle_timeout": 0}, ValueError),
        ({"connect_timeout": "5"}, TypeError),
        ({"connect_timeout": float("nan")}, ValueError),
        ({"open_stream": 1}, TypeError),
        ({"trace": 1}, TypeError),
        ({"proxy": 1}, TypeError),
        ({"proxy": "socks5://proxy"}, ValueError),
    ],
)
def test_an_argument_of_open_pool_that_makes_no_sense_is_named(
    arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=next(iter(arguments))):
        trio_h2.open_pool(**arguments)


@pytest.mark.parametrize(
    ("url", "arguments", "message"),
    [
        ("example.org", {}, "url"),
        ("/path", {}, "url"),
        ("ftp://example.org/", {}, "url"),
        ("http:///path", {}, "url has no host"),
        ("http://user:secret@example.org/", {}, "url"),
        ("http://example.org:99999/", {}, "url"),
        ("http://example.org/ a", {}, "target"),
        ("http://example.org/é", {}, "target"),
        (URL, {"target": "x"}, "target"),
        (URL, {"server_hostname": "x"}, "server_hostname"),
        (URL, {"headers": [(":path", "/")]}, "headers"),
        (URL, {"authority": "a b"}, "authority"),
    ],
)
async def test_a_request_that_makes_no_sense_is_named_and_opens_nothing(
    nursery: trio.Nursery, autojump_clock: MockClock, url: str, arguments: dict[str, Any], message: str
) -> None:
    network = Network(nursery)
    async with network.pool() as pool:
        with pytest.raises(ValueError, match=message) as caught:
            await pool.request("GET", url, **arguments)
        assert "secret" not in str(caught.value)
        with pytest.raises(ValueError, match=message):
            pool.stream("GET", url, **arguments)
    assert network.reached == []


async def test_other_arguments_that_make_no_sense_are_named(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with Network(nursery).pool() as pool:
        with pytest.raises(TypeError, match="url"):
            await pool.request("GET", 1)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="timeouts"):
            pool.stream("GET", URL, timeouts=5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="end_stream"):
            pool.stream("GET", URL, body=b"x", end_stream=True)
        with pytest.raises(TypeError, match="body"):
            pool.stream("POST", URL, body="text")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"pool.stream\(...\) is not awaited"):
            await pool.stream("GET", URL)  # type: ignore[misc]


async def test_a_target_and_an_authority_of_ones_own_are_sent(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    network = Network(nursery)
    authorities = []

    async def note(stream: trio_h2.ServerStream) -> None:
        authorities.append(stream.request.authority)
        await stream.respond(200)

    network.handler = note
    async with network.pool() as pool:
        await pool.request("OPTIONS", URL, target="*", authority="other.example:81")
        async with pool.stream("GET", URL, target="/else", authority="third.example") as stream:
            await stream.response()
    assert network.requests == ["*", "/else"]
    assert authorities == ["other.example:81", "third.example"]
    assert network.reached == [("example.org", 80)]


async def test_trailers_and_interim_responses_come_as_on_a_connection(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_informational(103, {"link": "</style.css>"})
        await stream.send_response(200)
        await stream.send_all(await stream.read())
        await stream.send_trailers({"seen": (stream.trailers or {})["checksum"]})

    network = Network(nursery, handler)
    async with network.pool() as pool:
        response = await pool.request("POST", URL, body=b"x", trailers={"checksum": "1"})
        assert response.trailers is not None
        assert response.trailers["seen"] == "1"
        async with pool.stream("POST", URL, body=b"x", trailers={"checksum": "2"}) as stream:
            assert [each.status for each in stream.informational] == [103]
            assert await stream.read() == b"x"
            assert stream.trailers is not None
            assert stream.trailers["seen"] == "2"


async def test_a_request_made_as_the_server_goes_is_made_again_on_another_connection(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The program was busy as the server restarted: it sees the end, and makes requests, in one turn of the loop."""
    network = Network(nursery)
    for times in range(1, 21):
        async with network.pool(retries=1) as pool:
            await pool.request("GET", URL)
            await trio.testing.wait_all_tasks_blocked()
            network.ends[-1].send_stream.close()
            network.ends[-1].receive_stream.close()
            async with trio.open_nursery() as requests:
                for _ in range(3):
                    requests.start_soon(pool.request, "GET", URL)
        assert len(network.reached) <= 2 * times


# What has come already


async def test_what_has_come_of_a_response_is_there_without_waiting(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    network.serve = network.raw
    async with network.pool() as pool:
        stream: trio_h2.ClientStream
        async with pool.stream("POST", URL, end_stream=False) as stream:
            peer = await network.next_peer()
            await peer.handshake()
            assert stream.head is None
            with pytest.raises(trio.WouldBlock):
                stream.receive_nowait()
            await peer.send(peer.headers(1, OK), peer.data(1, b"one"), peer.data(1, b"two", end_stream=True))
            assert (await stream.response()) == stream.head
            assert stream.receive_nowait() == b"onetwo"
            assert stream.receive_nowait() == b""
        with pytest.raises(trio.ClosedResourceError):
            stream.receive_nowait()


async def test_what_came_before_a_reset_is_there_and_then_the_reset(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    network.serve = network.raw
    async with network.pool() as pool, pool.stream("POST", URL, end_stream=False) as stream:
        peer = await network.next_peer()
        await peer.handshake()
        await peer.send(peer.headers(1, OK), peer.data(1, b"part"), peer.rst(1, 2))
        await trio.testing.wait_all_tasks_blocked()
        assert stream.receive_nowait() == b"part"
        with pytest.raises(trio_h2.StreamResetError):
            stream.receive_nowait()


async def test_entering_a_stream_is_a_checkpoint_whoever_sends_the_body(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    async with network.pool() as pool:
        await pool.request("GET", URL)
        for arguments in ({}, {"body": b"x"}, {"end_stream": False}):
            with trio.testing.assert_checkpoints():
                async with pool.stream("POST" if arguments else "GET", URL, **arguments):  # type: ignore[arg-type]
                    pass
            with trio.CancelScope() as scope:
                scope.cancel()
                async with pool.stream("POST" if arguments else "GET", URL, **arguments):  # type: ignore[arg-type]
                    raise AssertionError("it was entered")
            assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        assert len(network.requests) == 4
