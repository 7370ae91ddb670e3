"""Receive windows that grow to what a round trip carries (RFC 9113 section 6.9.1): measure, budget, and the machine."""

from __future__ import annotations

import math

import pytest
from hyperframe.frame import Frame
from hypothesis import given
from hypothesis import strategies as st

from trio_h2 import events as ev
from trio_h2.config import Config
from trio_h2.exceptions import ErrorCodes
from trio_h2.protocol.bandwidth import AT_ONCE, LONGEST_PAUSE, MEASURING_PING, BandwidthEstimator, GrowthBudget
from trio_h2.protocol.stream_machine import StreamMachine
from trio_h2.protocol.windows import ConnectionInboundWindow, InboundWindow, OutboundWindow

from . import helpers as h

KIB = 1024
MIB = 1024 * KIB


class Link:
    """A peer that fills windows of the estimated size on a link of a rate and a round trip; how often is it asked?"""

    def __init__(self, estimator: BandwidthEstimator, *, rate: float, round_trip: float) -> None:
        self.estimator = estimator
        self.rate = rate
        self.round_trip = round_trip
        self.now = 0.0
        self.received = 0
        self.pings: list[float] = []

    def run(self, seconds: float) -> None:
        """Let a hundredth of a round trip pass after the other."""
        end = self.now + seconds
        answer_at = math.inf
        while self.now < end:
            step = self.round_trip / 100
            self.now += step
            self.received += int(min(self.rate, self.estimator.window / self.round_trip) * step)
            if self.now >= answer_at:
                answer_at = math.inf
                self.estimator.answered(self.received, self.now)
            if self.received >= self.estimator.due and self.estimator.look(self.received, self.now):
                self.pings.append(self.now)
                answer_at = self.now + self.round_trip


class Sampler:
    """Measurements of so many octets in a round trip of so many seconds, each long after the one before."""

    def __init__(self, estimator: BandwidthEstimator) -> None:
        self.estimator = estimator
        self.received = 0
        self.now = 0.0

    def __call__(self, octets: int, seconds: float) -> bool:
        self.now += LONGEST_PAUSE + AT_ONCE
        assert not self.estimator.look(self.received, self.now)
        assert self.estimator.look(self.received, self.now)
        self.received, self.now = self.received + octets, self.now + seconds
        return self.estimator.answered(self.received, self.now)


# The estimator


@pytest.mark.parametrize(("rate", "round_trip"), [(12.5e6, 0.05), (125e6, 0.02), (12.5e6, 0.3), (2e6, 0.6)])
def test_rfc9113_6_9_1_windows_grow_to_what_a_round_trip_carries(rate: float, round_trip: float) -> None:
    link = Link(BandwidthEstimator(256 * KIB, 64 * MIB), rate=rate, round_trip=round_trip)
    link.run(30 * round_trip)
    # A window that is announced in halves has to be twice as large to fill the link; much larger would be waste.
    assert 1.9 * rate * round_trip <= link.estimator.window <= 5 * rate * round_trip


def test_rfc9113_6_9_1_a_link_that_the_windows_fill_lets_them_grow_once_at_most() -> None:
    link = Link(BandwidthEstimator(256 * KIB, 64 * MIB), rate=4e6, round_trip=0.05)
    link.run(60)
    assert link.estimator.window <= 2 * 256 * KIB


def test_rfc9113_6_9_1_a_link_much_smaller_than_the_windows_leaves_them() -> None:
    link = Link(BandwidthEstimator(256 * KIB, 64 * MIB), rate=1e6, round_trip=0.05)
    link.run(60)
    assert link.estimator.window == 256 * KIB


def test_rfc9113_6_7_measurements_that_lead_to_nothing_become_rare() -> None:
    link = Link(BandwidthEstimator(256 * KIB, 64 * MIB), rate=1e6, round_trip=0.01)
    link.run(60)
    assert len(link.pings) <= 20
    gaps = [later - sooner for sooner, later in zip(link.pings, link.pings[1:], strict=False)]
    assert gaps[-1] >= LONGEST_PAUSE


def test_rfc9113_6_7_nothing_is_measured_at_the_limit() -> None:
    assert BandwidthEstimator(256 * KIB, 256 * KIB).due == math.inf
    assert BandwidthEstimator(256 * KIB, 0).due == math.inf
    link = Link(BandwidthEstimator(256 * KIB, MIB), rate=1e9, round_trip=0.01)
    link.run(1)
    assert link.estimator.window == MIB
    assert link.estimator.due == math.inf
    assert len(link.pings) == 2


def test_rfc9113_6_7_little_at_a_time_is_not_worth_a_ping() -> None:
    estimator = BandwidthEstimator(256 * KIB, 64 * MIB)
    for i in range(1, 100):
        assert estimator.due == i * 128 * KIB
        assert not estimator.look(i * 128 * KIB, i * AT_ONCE * 1.01)


@pytest.mark.parametrize("window", [0, 1])
def test_rfc9113_6_7_nothing_received_is_never_due(window: int) -> None:
    assert BandwidthEstimator(window, 64 * MIB).due == 1


def test_rfc9113_6_7_one_ping_at_a_time_and_half_a_window_between_two() -> None:
    estimator = BandwidthEstimator(256 * KIB, 64 * MIB)
    assert not estimator.look(128 * KIB, 0.0)
    assert estimator.look(256 * KIB, 0.1)
    assert estimator.measuring
    assert estimator.due == math.inf
    assert not estimator.answered(256 * KIB + 1000, 0.2)
    assert not estimator.measuring
    assert estimator.due == 256 * KIB + 1000 + 128 * KIB


def test_rfc9113_6_9_1_growth_has_to_pay() -> None:
    """As much in a round trip as the window allows, but no more a second than before the last growth."""
    estimator = BandwidthEstimator(100_000, 64 * MIB)
    sample = Sampler(estimator)
    assert sample(100_000, 0.1)
    assert estimator.window == 200_000
    assert not sample(200_000, 0.2)
    assert not sample(200_000, 0.1 * 8 / 4.4)
    assert not sample(99_999, 0.01)  # fast, but the window is not what holds the peer back
    assert estimator.window == 200_000
    assert sample(200_000, 0.1 * 8 / 4.6)
    assert estimator.window == 400_000
    assert sample(1_000_000, 0.1)  # several streams, each with its window
    assert estimator.window == 2_000_000


def test_rfc9113_6_9_1_growth_that_brought_nothing_goes_on_while_nothing_queues() -> None:
    """Credit that falls badly brings no more than half a window a round trip: the link is no fuller than before."""
    estimator = BandwidthEstimator(100_000, 64 * MIB)
    sample = Sampler(estimator)
    assert sample(100_000, 0.1)
    assert not sample(110_000, 0.12)  # as much a second, and a longer round trip: something queues
    assert not sample(100_000, 0.1)  # the window is twice what a link that is full carries
    assert sample(108_000, 0.1)
    assert estimator.window == 400_000


def test_rfc9113_6_9_1_the_rate_is_that_of_two_pings_when_the_first_led_to_nothing() -> None:
    """DATA comes in bursts, of which a round trip may just miss one."""
    estimator = BandwidthEstimator(100_000, 64 * MIB)
    assert not estimator.look(0, 0.0)
    assert estimator.look(0, 0.0)
    assert not estimator.answered(49_000, 0.1)
    assert estimator.look(150_000, 0.2)
    assert estimator.answered(160_000, 0.3)
    assert estimator.window == 200_000


def test_rfc9113_6_9_1_no_time_between_ping_and_answer_measures_nothing() -> None:
    estimator = BandwidthEstimator(1000, 10_000)
    assert not estimator.look(500, 7.0)
    assert estimator.look(1000, 7.0)
    assert not estimator.answered(5000, 7.0)
    assert not estimator.look(5500, 7.0)


# The budget


def new_stream(stream_id: int) -> StreamMachine:
    return StreamMachine(stream_id, InboundWindow(), OutboundWindow())


def test_rfc9113_6_9_1_all_streams_grow_out_of_one_budget() -> None:
    budget = GrowthBudget(100)
    one, other = new_stream(1), new_stream(3)
    assert budget.take(one, 60) == 60
    assert budget.take(other, 60) == 40
    assert budget.take(one, 60) == 0


def test_rfc9113_6_9_1_a_closed_stream_returns_what_it_grew_by() -> None:
    pair = h.Pair()
    budget = GrowthBudget(100)
    stream, other = pair.request()[0], new_stream(3)
    assert [budget.take(stream, 30), budget.take(stream, 50)] == [30, 50]
    assert budget.take(other, 60) == 20
    pair.client.reset_stream(stream, ErrorCodes.CANCEL)
    assert budget.take(other, 100) == 80


def test_rfc9113_6_9_1_a_stream_that_ended_returns_what_it_grew_by_when_it_has_been_read() -> None:
    """What nobody has read is held, whether its stream is closed or not."""
    peer = server(1, 3, max_concurrent_streams=2, initial_window_size=256 * KIB, max_unread=612 * KIB)
    flow = Flow(peer)
    flow.run(300, 1)
    assert target(peer, 1) == 356 * KIB
    flow.run(20, 1, unread=1)
    ended, other = h.live(peer.machine, 1), h.live(peer.machine, 3)
    peer.receive(h.data(1, end=True))
    h.respond(peer.machine, ended, end=True)
    assert ended.closed
    assert ended.inbound.held > 256 * KIB
    flow.run(300, 3)
    assert other.inbound.target == 256 * KIB
    peer.machine.acknowledge(ended, ended.inbound.held)
    flow.run(300, 3)
    assert other.inbound.target == 356 * KIB


@pytest.mark.parametrize("octets", [0, -100])
def test_rfc9113_6_9_1_no_budget_no_growth(octets: int) -> None:
    assert GrowthBudget(octets).take(new_stream(1), 60) == 0


# The connection's window


@given(
    cap=st.integers(0, 150),
    base=st.integers(1, 100),
    steps=st.lists(st.tuples(st.sampled_from("rrttaw"), st.integers(0, 120)), max_size=40),
)
def test_rfc9113_6_9_a_connection_window_that_widened_holds_no_more_unread_and_stalls_no_sooner(
    cap: int, base: int, steps: list[tuple[str, int]]
) -> None:
    """`r`eceive, `t`ake, `a`nnounce, `w`iden: cap and window bound what is unread, as if it had never widened.

    What is unread when the peer has to wait is more than the cap and half of the window: the other half may be credit
    that is too little for a WINDOW_UPDATE.
    """
    window = ConnectionInboundWindow(cap, base)
    for what, count in steps:
        if what == "r":
            assert window.receive(min(count, window.available))
        elif what == "t":
            window.release(min(count, window.unread))
        elif what == "a":
            window.announce()
        else:
            assert 0 <= window.widen(count) <= count
        assert window.available + window.held + window.unannounced == window.target == base + window.widened
        assert window.unread + window.available <= cap + base
        assert window.available or window.due or window.unread * 2 > cap * 2 + base


def test_rfc9113_6_9_a_widened_connection_window_that_holds_much_still_gives_credit() -> None:
    """What it holds cannot be announced, so half of the whole would never come."""
    window = ConnectionInboundWindow(100, 10)
    assert window.widen(90) == 90
    assert window.receive(100)  # as much as may be unread, on streams that nobody reads
    for _ in range(100):
        window.announce()
        assert window.receive(5)
        window.release(5)
    assert window.unread == 100


# The machine


def server(*uploads: int, **config: int) -> h.RawPeer:
    """A server with these streams open, on which bodies come."""
    peer = h.RawPeer(client=False, config=Config(**config))  # type: ignore[arg-type]
    for stream_id in uploads:
        peer.receive(peer.headers(stream_id, h.POST))
    peer.frames()
    return peer


class Flow:
    """Bodies that arrive at a server: 32 KiB on each of some streams a millisecond, and answers to PINGs 20 later.

    Attributes:
        pings: the measuring PINGs that the server sent.
        credit: what it announced, by stream ID.
    """

    STEP = 32 * KIB
    ROUND_TRIP = 0.02

    def __init__(self, peer: h.RawPeer) -> None:
        self.peer = peer
        self.now = 0.0
        self.pings = 0
        self.credit: dict[int, int] = {}
        self._answer_at = math.inf

    def run(self, steps: int, *stream_ids: int, unread: int = 0) -> None:
        """All that arrives is taken at once, but on the stream `unread`."""
        machine = self.peer.machine
        for _ in range(steps):
            self.now += 0.001
            for stream_id in stream_ids:
                for _ in range(self.STEP // 16_384):
                    self._arrive(stream_id, read=stream_id != unread)
            if machine.inbound.received >= machine.bandwidth.due:
                machine.measure(self.now)
            if self.now >= self._answer_at:
                self._answer_at = math.inf
                machine.measured(self.now)
            self._look(self.peer.frames())

    def _arrive(self, stream_id: int, *, read: bool) -> None:
        stream = h.live(self.peer.machine, stream_id)
        octets = min(16_384, stream.inbound.available, self.peer.machine.inbound.available)
        self.peer.receive(h.data(stream_id, bytes(octets)))
        assert self.peer.machine.failure is None
        if read:
            self.peer.machine.acknowledge(stream, octets)

    def _look(self, frames: list[Frame]) -> None:
        for frame in frames:
            if frame.type == h.PING:
                assert frame.opaque_data == MEASURING_PING  # type: ignore[attr-defined]
                self.pings += 1
                self._answer_at = self.now + self.ROUND_TRIP
            elif frame.type == h.WINDOW_UPDATE:
                increment: int = frame.window_increment  # type: ignore[attr-defined]
                self.credit[frame.stream_id] = self.credit.get(frame.stream_id, 0) + increment


def target(peer: h.RawPeer, stream_id: int) -> int:
    window = h.live(peer.machine, stream_id).inbound
    assert window.available + window.held + window.unannounced == window.target
    assert h.balanced(peer.machine)
    return window.target


def test_rfc9113_6_9_1_a_stream_and_the_connection_grow_and_say_so() -> None:
    peer = server(1)
    before = peer.machine.inbound.available, h.live(peer.machine, 1).inbound.available
    flow = Flow(peer)
    flow.run(300, 1)
    assert target(peer, 1) > MIB
    assert peer.machine.inbound.target >= target(peer, 1)
    received = peer.machine.inbound.received
    after = peer.machine.inbound.available, h.live(peer.machine, 1).inbound.available
    assert [old + flow.credit[key] - received for key, old in enumerate(before)] == list(after)


def test_rfc9113_6_9_1_streams_share_what_a_round_trip_carries() -> None:
    peer = server(1, 3, 5, 7)
    Flow(peer).run(300, 1, 3, 5, 7)
    window = peer.machine.bandwidth.window
    assert window > 2 * MIB
    for stream_id in (1, 3, 5, 7):
        assert window / 5 <= target(peer, stream_id) <= window / 3


def test_rfc9113_6_9_1_a_stream_of_little_traffic_does_not_grow() -> None:
    peer = server(1, 3)
    flow = Flow(peer)
    for _ in range(60):
        flow.run(20, 1)
        flow.run(1, 3)
    assert target(peer, 1) > MIB
    assert peer.machine.inbound.received > 30 * MIB
    assert target(peer, 3) == 256 * KIB


def test_rfc9113_6_9_1_a_stream_that_is_read_slowly_does_not_grow() -> None:
    peer = server(1, 3)
    flow = Flow(peer)
    flow.run(300, 1)
    stream = h.live(peer.machine, 3)
    for _ in range(10):
        flow.run(20, 3, unread=3)
        assert stream.inbound.held >= 128 * KIB
        peer.machine.acknowledge(stream, 128 * KIB)
    assert target(peer, 1) > MIB
    assert target(peer, 3) == 256 * KIB


def test_rfc9113_6_9_1_the_budget_is_what_the_initial_windows_leave_of_max_unread() -> None:
    peer = server(1, 3, max_concurrent_streams=2, initial_window_size=256 * KIB, max_unread=612 * KIB)
    flow = Flow(peer)
    flow.run(300, 1)
    assert target(peer, 1) == 356 * KIB
    flow.run(300, 3)
    assert target(peer, 3) == 256 * KIB
    peer.machine.reset_stream(h.live(peer.machine, 1), ErrorCodes.CANCEL)
    flow.run(300, 3)
    assert target(peer, 3) == 356 * KIB


def test_rfc9113_6_9_1_without_a_budget_the_connection_alone_grows() -> None:
    peer = server(1, 3, 5, max_unread=MIB, connection_window_size=h.DEFAULT_WINDOW)
    Flow(peer).run(300, 1, 3, 5)
    assert [target(peer, stream_id) for stream_id in (1, 3, 5)] == [256 * KIB] * 3
    assert h.DEFAULT_WINDOW < peer.machine.inbound.target <= h.DEFAULT_WINDOW + MIB


@pytest.mark.parametrize(
    "config",
    [
        {"max_window_size": 0},
        {"max_window_size": 256 * KIB},
        {"max_unread": 0},
        {"max_window_size": MIB, "max_unread": 25 * MIB},
    ],
)
def test_rfc9113_6_9_1_where_nothing_can_grow_nothing_is_measured(config: dict[str, int]) -> None:
    peer = server(1, 3, 5, **config)
    flow = Flow(peer)
    flow.run(300, 1, 3, 5)
    assert flow.pings == 0
    assert peer.machine.inbound.target == MIB
    assert {target(peer, stream_id) for stream_id in (1, 3, 5)} == {256 * KIB}


def test_rfc9113_6_9_1_no_window_grows_beyond_its_knob() -> None:
    peer = server(1, max_window_size=400 * KIB)
    flow = Flow(peer)
    flow.run(300, 1)
    assert target(peer, 1) == 400 * KIB
    assert peer.machine.inbound.target == MIB
    assert flow.pings == 1


def test_rfc9113_6_9_the_whole_of_max_unread_can_be_unread_when_windows_have_grown() -> None:
    """A hundred streams, full and unread, and a grown one too: whoever is read goes on."""
    peer = server(1)
    flow = Flow(peer)
    flow.run(300, 1)
    others = range(3, 197, 2)
    for stream_id in others:
        peer.receive(peer.headers(stream_id, h.POST))
        flow.run(8, stream_id, unread=stream_id)
        assert h.live(peer.machine, stream_id).inbound.available == 0
    flow.run(200, 1, unread=1)
    assert h.live(peer.machine, 1).inbound.available == 0
    peer.receive(peer.headers(197, h.POST))
    received = h.live(peer.machine, 197).receiving
    flow.run(64, 197)
    assert received.seen >= 2 * MIB - 64 * KIB
    for stream_id in (1, *others):
        stream = h.live(peer.machine, stream_id)
        peer.machine.acknowledge(stream, stream.inbound.held)
    assert peer.machine.inbound.held == 0
    assert h.balanced(peer.machine)


def test_rfc9113_6_7_the_answer_to_somebody_elses_ping_is_an_event() -> None:
    peer = server(1)
    assert peer.receive(h.ping(MEASURING_PING, ack=True)) == [ev.PingAckReceived(MEASURING_PING)]
