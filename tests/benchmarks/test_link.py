"""The link between a measured side and its peer: how it delays, limits and counts."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.benchmarks import proxy


def test_token_bucket_keeps_the_rate() -> None:
    bucket = proxy.TokenBucket(rate=1000, burst=100)
    # The burst passes at once; then every hundred bytes take a tenth of a second.
    assert [bucket.take(5.0, 100) for _ in range(4)] == pytest.approx([5.0, 5.1, 5.2, 5.3])


def test_token_bucket_saves_no_more_than_the_burst() -> None:
    bucket = proxy.TokenBucket(rate=1000, burst=100)
    bucket.take(0.0, 100)
    assert bucket.take(1000.0, 100) == 1000.0
    assert bucket.take(1000.0, 100) == pytest.approx(1000.1)


def test_token_bucket_makes_up_for_lateness_within_the_burst() -> None:
    bucket = proxy.TokenBucket(rate=1000, burst=100)
    passed = bucket.take(0.0, 300)
    assert passed == pytest.approx(0.2)
    assert bucket.take(passed + 0.05, 50) == pytest.approx(0.25)


def test_meter_counts_by_second() -> None:
    meter = proxy.Meter(start=10.0)
    assert meter.report() == []
    for now, size in ((10.1, 5), (10.9, 6), (12.0, 7)):
        meter.count(now, size)
    assert meter.report() == [11, 0, 7]


async def test_link_delays_and_limits(autojump_clock: trio.testing.MockClock) -> None:
    near, source = trio.testing.memory_stream_pair()
    sink, far = trio.testing.memory_stream_pair()
    link = proxy.Link(delay=2.0, rate=proxy.PIECE)
    arrived: list[tuple[float, int]] = []
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.carry, source, sink, proxy.Meter(start))
        await near.send_all(bytes(4 * proxy.PIECE))
        await near.send_eof()
        async for data in far:
            arrived.append((trio.current_time() - start, len(data)))
    assert sum(size for _, size in arrived) == 4 * proxy.PIECE
    # The burst is a hundredth of a second's worth, so the first piece takes all but that.
    assert [when for when, _ in arrived] == pytest.approx([2.99, 3.99, 4.99, 5.99])
