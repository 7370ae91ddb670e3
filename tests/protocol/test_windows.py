"""The arithmetic of flow control (RFC 9113 section 6.9), alone and through a connection."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_h2 import events as ev
from trio_h2.config import Config
from trio_h2.exceptions import ErrorCodes, FlowControlError, StreamClosedError
from trio_h2.protocol.message_half import Phase
from trio_h2.protocol.windows import ConnectionInboundWindow, InboundWindow, InitialWindow, OutboundWindow

from . import helpers as h


def total(window: InboundWindow) -> int:
    return window.available + window.held + window.unannounced


# What the peer lets us send


def test_rfc9113_6_9_2_an_outbound_window_starts_with_65535() -> None:
    assert OutboundWindow().available == 65_535


def test_rfc9113_6_9_1_an_outbound_window_ends_at_2_31_minus_1() -> None:
    window = OutboundWindow()
    assert window.increase(h.MAX_WINDOW - 65_535)
    assert window.available == h.MAX_WINDOW
    assert not window.increase(1)
    assert window.available == h.MAX_WINDOW
    window.consume(1)
    assert window.increase(1)


def test_rfc9113_6_9_2_an_outbound_window_may_be_negative() -> None:
    window = OutboundWindow(InitialWindow(60_000))
    window.consume(60_000)
    assert window.increase(16_384 - 60_000)
    assert window.available == 16_384 - 60_000
    assert window.increase(60_000)
    assert window.available == 16_384


# What we let the peer send


@given(
    target=st.integers(0, 200),
    steps=st.lists(st.tuples(st.sampled_from("rtagso"), st.integers(0, 120)), max_size=40),
)
def test_rfc9113_6_9_every_octet_of_a_stream_window_is_in_one_place(target: int, steps: list[tuple[str, int]]) -> None:
    """`r`eceive, `t`ake, `a`nnounce, `g`row, re`s`ize, and regrant what is `o`wed: nothing is lost."""
    window = InboundWindow(target)
    for what, count in steps:
        if what == "r":
            room = window.available
            assert window.receive(count) is (count <= room)
        elif what == "t":
            window.release(min(count, window.held))
        elif what == "a":
            window.announce()
        elif what == "g":
            window.grow(count)
        elif what == "o":
            window.regrant(count)
        else:
            window.resize(count)
        assert total(window) == window.target
        assert window.held >= 0
        assert window.unannounced >= 0


@given(
    cap=st.integers(0, 150),
    target=st.integers(1, 200),
    steps=st.lists(st.tuples(st.sampled_from("rtag"), st.integers(0, 120)), max_size=40),
)
def test_rfc9113_6_9_every_octet_of_the_connection_window_is_in_one_place(
    cap: int, target: int, steps: list[tuple[str, int]]
) -> None:
    """The connection's window never holds more than what is unread above the cap."""
    window = ConnectionInboundWindow(cap, target)
    unread = 0
    for what, count in steps:
        if what == "r":
            if window.receive(count):
                unread += count
        elif what == "t":
            count = min(count, unread)
            window.release(count)
            unread -= count
        elif what == "a":
            window.announce()
        else:
            window.grow(count)
        assert total(window) == window.target
        assert window.unread == unread
        assert window.held == max(0, unread - cap)


def test_rfc9113_6_9_1_no_window_update_with_a_small_increment() -> None:
    window = InboundWindow(100)
    assert window.receive(100)
    window.release(49)
    assert window.announce() == 0
    window.release(1)
    assert window.announce() == 50
    assert window.announce() == 0
    assert (window.available, window.held, window.unannounced) == (50, 50, 0)


def test_rfc9113_6_9_1_a_window_of_one_octet_is_announced_too() -> None:
    window = InboundWindow(1)
    assert window.receive(1)
    window.release(1)
    assert window.announce() == 1


def test_rfc9113_6_9_2_an_inbound_window_moves_by_the_difference() -> None:
    window = InboundWindow(100)
    assert window.receive(80)
    window.resize(50)
    assert (window.available, window.held, window.target) == (-30, 80, 50)
    assert not window.receive(1)
    window.resize(120)
    assert window.available == 40


@pytest.mark.parametrize(
    ("increment", "held", "target"), [(10, 50, 100), (20, 50, 100), (30, 40, 100), (70, 0, 100), (100, 0, 130)]
)
def test_rfc9113_6_9_regranting_gives_back_what_is_owed_before_it_grows(increment: int, held: int, target: int) -> None:
    window = InboundWindow(100)
    assert window.receive(70)
    window.release(20)
    assert window.regrant(increment)
    assert (window.available, window.held, window.target) == (30 + increment, held, target)
    assert total(window) == window.target


def test_rfc9113_6_9_1_regranting_does_not_pass_2_31_minus_1() -> None:
    window = InboundWindow(h.MAX_WINDOW)
    assert window.receive(10)
    assert not window.regrant(11)
    assert window.regrant(10)
    assert window.available == h.MAX_WINDOW


def test_rfc9113_6_9_1_an_inbound_window_grows_to_2_31_minus_1() -> None:
    window = InboundWindow(100)
    assert window.grow(200)
    assert (window.available, window.unannounced, window.target) == (300, 0, 300)
    assert window.grow(h.MAX_WINDOW - 300)
    assert not window.grow(1)
    assert (window.available, window.target) == (h.MAX_WINDOW, h.MAX_WINDOW)


# Through a connection: sending


def test_rfc9113_6_9_1_data_is_taken_from_both_windows() -> None:
    pair = h.Pair()
    stream, _ = pair.request(h.POST, end=False)
    before = stream.outbound.available, pair.client.outbound.available
    pair.client.send_data(stream, b"12345", pad_length=4)
    after = stream.outbound.available, pair.client.outbound.available
    assert [old - new for old, new in zip(before, after, strict=True)] == [10, 10]


@pytest.mark.parametrize("small", ["stream", "connection"])
def test_rfc9113_6_9_1_data_beyond_either_window_is_refused(small: str) -> None:
    peer = h.RawPeer(client=True)
    if small == "stream":
        peer.receive(h.settings((h.INITIAL_WINDOW_SIZE, 10)))
    stream = h.open_request(peer.machine, h.POST, end=False)
    if small == "connection":
        peer.machine.outbound.consume(peer.machine.outbound.available - 10)
    before = h.state_of(peer.machine)
    assert peer.machine.sendable(stream) == 10
    with pytest.raises(FlowControlError) as caught:
        peer.machine.send_data(stream, b"x" * 11)
    assert (caught.value.initiator, caught.value.stream_id) == ("local", 1)
    with pytest.raises(FlowControlError):
        peer.machine.send_data(stream, b"x" * 10, pad_length=0)
    assert h.state_of(peer.machine) == before
    peer.machine.send_data(stream, b"x" * 10)
    assert peer.machine.sendable(stream) == 0


@pytest.mark.parametrize("end", [False, True])
def test_rfc9113_6_9_1_empty_data_needs_no_window(end: bool) -> None:
    peer = h.RawPeer(client=True)
    peer.receive(h.settings((h.INITIAL_WINDOW_SIZE, 10)))
    stream = h.open_request(peer.machine, h.POST, end=False)
    peer.machine.send_data(stream, b"x" * 10)
    peer.receive(h.settings((h.INITIAL_WINDOW_SIZE, 0)))
    assert stream.outbound.available == -10
    peer.frames()
    peer.machine.send_data(stream, b"", end_stream=end)
    (frame,) = peer.frames()
    assert (frame.type, frame.data, "END_STREAM" in frame.flags) == (h.DATA, b"", end)


def test_rfc9113_6_9_2_a_negative_window_waits_for_window_updates() -> None:
    peer = h.RawPeer(client=True)
    stream = h.open_request(peer.machine, h.POST, end=False)
    for _ in range(3):
        peer.machine.send_data(stream, b"x" * 16_384)
    peer.receive(h.settings((h.INITIAL_WINDOW_SIZE, 16_384)))
    assert stream.outbound.available == -2 * 16_384
    assert peer.machine.sendable(stream) == 0
    peer.receive(h.window_update(1, 2 * 16_384))
    assert peer.machine.sendable(stream) == 0
    peer.receive(h.window_update(1, 7))
    assert peer.machine.sendable(stream) == 7


def test_rfc9113_6_9_2_settings_move_the_windows_of_all_streams_but_not_the_connections() -> None:
    peer = h.RawPeer(client=True)
    old = h.open_request(peer.machine, h.POST, end=False)
    connection = peer.machine.outbound.available
    peer.receive(h.settings((h.INITIAL_WINDOW_SIZE, 70_000), (h.INITIAL_WINDOW_SIZE, 80_000)))
    new = h.open_request(peer.machine, h.POST, end=False)
    assert (old.outbound.available, new.outbound.available) == (80_000, 80_000)
    assert peer.machine.outbound.available == connection


def test_rfc9113_6_9_2_a_change_costs_the_same_however_many_streams_there_are() -> None:
    pairs = [(h.INITIAL_WINDOW_SIZE, value) for value in (0, 80_000)] * 20
    for frame in (h.settings(*pairs), h.settings(), h.settings(pairs[0]) + h.settings(pairs[1])):
        costs = []
        for streams in (2, 500):
            peer = h.RawPeer(client=False, config=Config(max_concurrent_streams=1_000))
            peer.receive(*(peer.headers(1 + 2 * n, h.GET, end=True) for n in range(streams)))
            peer.receive(frame)
            with h.counted_calls() as count:
                peer.receive(frame)
            costs += count
            assert h.live(peer.machine, 1).outbound.available == peer.machine.remote_settings.initial_window_size
        assert costs[0] == costs[1]


def test_rfc9113_6_9_2_a_change_that_is_none_looks_at_no_stream() -> None:
    """Of our own setting too, when the peer acknowledges it."""
    costs = []
    for streams in (2, 500):
        peer = h.RawPeer(client=False, config=Config(max_concurrent_streams=1_000))
        peer.receive(*(peer.headers(1 + 2 * n, h.GET, end=True) for n in range(streams)))
        peer.machine.update_settings({h.INITIAL_WINDOW_SIZE: peer.machine.local_settings.initial_window_size})
        with h.counted_calls() as count:
            peer.receive(h.settings_ack())
        costs += count
    assert costs[0] == costs[1]


@pytest.mark.parametrize(
    ("before", "values", "fine"),
    [
        ("grown", [h.MAX_WINDOW - 1_000], True),
        ("grown", [h.MAX_WINDOW - 999], False),
        ("grown", [h.MAX_WINDOW, 0], False),  # in order: the value between counts (6.5.3)
        ("grown", [0, h.MAX_WINDOW - 1_000, 5, h.MAX_WINDOW - 1_000], True),
        ("grown and used", [h.MAX_WINDOW], True),
        ("grown and half used", [h.MAX_WINDOW], False),
        ("grown and closed", [h.MAX_WINDOW], True),
        ("grown at 0", [h.MAX_WINDOW - 1_000], True),
        ("grown at 0", [h.MAX_WINDOW - 999], False),
        ("none", [h.MAX_WINDOW, 0, h.MAX_WINDOW], True),
    ],
)
def test_rfc9113_6_9_2_no_change_takes_a_window_past_2_31_minus_1(before: str, values: list[int], fine: bool) -> None:
    """Judged by the widest window that there is now; one that was wide once counts no more."""
    peer = h.RawPeer(client=True)
    if before == "grown at 0":
        peer.receive(h.settings((h.INITIAL_WINDOW_SIZE, 0)))
    if before != "none":
        stream = h.open_request(peer.machine, h.POST, end=False)
        peer.receive(h.window_update(1, 1_000))
    if "used" in before:
        peer.machine.send_data(stream, bytes(500 if "half" in before else 1_000))
    if "closed" in before:
        peer.receive(h.rst_stream(1))
    last = h.open_request(peer.machine, h.POST, end=False)
    peer.frames()
    peer.receive(h.settings(*((h.INITIAL_WINDOW_SIZE, value) for value in values)))
    if fine:
        peer.assert_alive()
        assert last.outbound.available == values[-1]
        new = h.open_request(peer.machine, h.POST, end=False)
        assert new.outbound.available == values[-1]
        peer.receive(h.window_update(new.stream_id, 1))
        assert (new.outbound.available == values[-1] + 1) is (values[-1] < h.MAX_WINDOW)
    else:
        peer.assert_connection_error(ErrorCodes.FLOW_CONTROL_ERROR, FlowControlError)


def test_rfc9113_6_9_1_sendable_keeps_to_the_frame_sizes_of_both_sides() -> None:
    peer = h.RawPeer(client=True, config=Config(max_outbound_frame_size=20_000))
    peer.receive(h.settings((h.INITIAL_WINDOW_SIZE, 1_000_000)), h.window_update(0, 1_000_000))
    stream = h.open_request(peer.machine, h.POST, end=False)
    assert peer.machine.sendable(stream) == 16_384
    peer.receive(h.settings((h.MAX_FRAME_SIZE, 100_000)))
    assert peer.machine.sendable(stream) == 20_000


# Through a connection: credit from the peer


@pytest.mark.parametrize("stream_id", [0, 1])
def test_rfc9113_6_9_a_window_update_is_credit(stream_id: int) -> None:
    peer = h.RawPeer(client=True)
    stream = h.open_request(peer.machine, h.POST, end=False)
    window = stream.outbound if stream_id else peer.machine.outbound
    before = window.available
    assert peer.receive(h.window_update(stream_id, 5)) == [ev.WindowUpdated(stream_id, 5)]
    assert window.available == before + 5


def test_rfc9113_6_9_the_reserved_bit_of_a_window_update_is_ignored() -> None:
    peer = h.RawPeer(client=True)
    assert peer.receive(h.window_update(0, 2**31 | 5)) == [ev.WindowUpdated(0, 5)]


def test_rfc9113_6_9_1_window_overflow_on_a_stream_is_flow_control_error() -> None:
    peer = h.RawPeer(client=True)
    h.open_request(peer.machine, h.POST, end=False)
    peer.frames()
    peer.receive(h.window_update(1, h.MAX_WINDOW))
    peer.assert_stream_error(1, ErrorCodes.FLOW_CONTROL_ERROR)


def test_rfc9113_6_9_1_window_overflow_on_the_connection_is_flow_control_error() -> None:
    peer = h.RawPeer(client=True)
    peer.receive(h.window_update(0, h.MAX_WINDOW))
    peer.assert_connection_error(ErrorCodes.FLOW_CONTROL_ERROR, FlowControlError)


@pytest.mark.parametrize("stream_id", [0, 1])
def test_rfc9113_6_9_1_a_window_may_be_filled_to_the_brim(stream_id: int) -> None:
    peer = h.RawPeer(client=True)
    h.open_request(peer.machine, h.POST, end=False)
    peer.receive(h.window_update(stream_id, h.MAX_WINDOW - h.DEFAULT_WINDOW))
    peer.assert_alive()


def test_rfc9113_6_9_2_window_overflow_by_settings_is_a_connection_error() -> None:
    peer = h.RawPeer(client=True)
    h.open_request(peer.machine, h.POST, end=False)
    peer.receive(h.window_update(1, 1))
    peer.receive(h.settings((h.INITIAL_WINDOW_SIZE, h.MAX_WINDOW)))
    peer.assert_connection_error(ErrorCodes.FLOW_CONTROL_ERROR, FlowControlError)


def test_rfc9113_6_9_a_zero_increment_is_a_stream_error_on_a_stream() -> None:
    peer = h.RawPeer(client=True)
    h.open_request(peer.machine, h.POST, end=False)
    peer.frames()
    peer.receive(h.window_update(1, 0))
    peer.assert_stream_error(1, ErrorCodes.PROTOCOL_ERROR)


def test_rfc9113_6_9_a_zero_increment_is_a_connection_error_on_the_connection() -> None:
    peer = h.RawPeer(client=True)
    peer.receive(h.window_update(0, 0))
    peer.assert_connection_error(ErrorCodes.PROTOCOL_ERROR)


# Through a connection: receiving


def server_with_request(**config: int) -> h.RawPeer:
    peer = h.RawPeer(client=False, config=Config(**config))  # type: ignore[arg-type]
    peer.receive(peer.headers(1, h.POST))
    peer.frames()
    return peer


def test_rfc9113_6_1_padding_counts_and_comes_back_at_once() -> None:
    peer = server_with_request()
    stream = h.live(peer.machine, 1)
    (event,) = peer.receive(h.data(1, b"12345", pad=10))
    assert event == ev.DataReceived(1, b"12345", 16)
    assert stream.inbound.held == 5
    assert peer.machine.inbound.unread == 5
    assert h.balanced(peer.machine)
    assert total(stream.inbound) == stream.inbound.target


def test_rfc9113_6_9_an_empty_data_frame_costs_nothing() -> None:
    peer = server_with_request()
    before = peer.machine.inbound.available
    (event,) = peer.receive(h.data(1))
    assert event == ev.DataReceived(1, b"", 0)
    assert peer.machine.inbound.available == before


@pytest.mark.parametrize("pad", [None, 0])
def test_rfc9113_6_9_1_an_empty_frame_ends_a_stream_whose_window_our_settings_made_negative(pad: int | None) -> None:
    peer = h.RawPeer(client=False, config=Config(initial_window_size=100), greet=False)
    peer.receive(h.PREFACE, h.settings(), peer.headers(1, h.POST), h.data(1, bytes(150)), h.settings_ack())
    assert h.live(peer.machine, 1).inbound.available == -50
    peer.receive(h.data(1, end=True, pad=pad))
    if pad is None:
        assert h.live(peer.machine, 1).receiving.phase is Phase.DONE
    else:  # the octet of the pad length counts
        peer.assert_stream_error(1, ErrorCodes.FLOW_CONTROL_ERROR)


def fill(peer: h.RawPeer, stream_id: int, count: int) -> list[ev.Event]:
    events = []
    while count:
        size = min(count, 16_384)
        events += peer.receive(h.data(stream_id, bytes(size)))
        count -= size
    return events


def test_rfc9113_6_9_1_data_beyond_the_stream_window_is_a_stream_error() -> None:
    peer = server_with_request(initial_window_size=100)
    peer.receive(h.data(1, bytes(100)))
    peer.receive(h.data(1, b"x"))
    peer.assert_stream_error(1, ErrorCodes.FLOW_CONTROL_ERROR)
    assert h.balanced(peer.machine)


def test_rfc9113_6_9_1_padding_alone_can_pass_the_stream_window() -> None:
    peer = server_with_request(initial_window_size=100)
    peer.receive(h.data(1, bytes(90), pad=10))
    peer.assert_stream_error(1, ErrorCodes.FLOW_CONTROL_ERROR)


def test_rfc9113_6_9_1_data_beyond_the_connection_window_is_a_connection_error() -> None:
    peer = server_with_request(connection_window_size=h.DEFAULT_WINDOW, max_unread=0)
    assert len(fill(peer, 1, h.DEFAULT_WINDOW)) == 4
    assert peer.machine.failure is None
    assert peer.receive(h.data(1, b"x")) == []
    peer.assert_connection_error(ErrorCodes.FLOW_CONTROL_ERROR, FlowControlError)


def test_rfc9113_6_9_reading_gives_stream_credit_back() -> None:
    peer = server_with_request(initial_window_size=1000)
    stream = h.live(peer.machine, 1)
    peer.receive(h.data(1, bytes(1000)))
    assert not peer.machine.has_output
    assert peer.frames() == []
    peer.machine.acknowledge(stream, 499)
    assert peer.frames() == []
    peer.machine.acknowledge(stream, 1)
    assert peer.machine.has_output
    (frame,) = peer.frames()
    assert (frame.type, frame.stream_id, frame.window_increment) == (h.WINDOW_UPDATE, 1, 500)
    assert total(stream.inbound) == stream.inbound.target


def test_rfc9113_6_9_credit_coalesces_into_one_window_update_for_each_stream() -> None:
    peer = server_with_request(initial_window_size=1000)
    peer.receive(peer.headers(3, h.POST), h.data(1, bytes(1000)), h.data(3, bytes(1000)))
    for count in (600, 200, 200):
        for stream in peer.machine.table:
            peer.machine.acknowledge(stream, count)
    assert [(f.stream_id, f.window_increment) for f in peer.frames()] == [(1, 1000), (3, 1000)]


def test_rfc9113_6_9_connection_credit_goes_back_while_nothing_is_read() -> None:
    """An unread stream does not stall the others until `max_unread` octets are unread."""
    peer = server_with_request(connection_window_size=h.DEFAULT_WINDOW, max_unread=100_000)
    fill(peer, 1, 40_000)
    (frame,) = peer.frames()
    assert (frame.type, frame.stream_id, frame.window_increment) == (h.WINDOW_UPDATE, 0, 40_000)
    assert h.balanced(peer.machine)


def test_rfc9113_6_9_connection_credit_above_max_unread_waits_for_reading() -> None:
    peer = server_with_request(connection_window_size=h.DEFAULT_WINDOW, max_unread=10_000)
    stream = h.live(peer.machine, 1)
    fill(peer, 1, 60_000)
    assert peer.machine.inbound.held == 50_000
    assert peer.frames() == []
    peer.machine.acknowledge(stream, 60_000)
    assert [(f.stream_id, f.window_increment) for f in peer.frames()] == [(0, 60_000)]
    assert h.balanced(peer.machine)
    assert peer.machine.inbound.available == h.DEFAULT_WINDOW


def test_rfc9113_6_9_1_growing_a_window_tells_the_peer_at_once() -> None:
    peer = server_with_request(initial_window_size=1000)
    stream = h.live(peer.machine, 1)
    peer.machine.grow_window(stream, 5)
    assert [(f.stream_id, f.window_increment) for f in peer.frames()] == [(1, 5)]
    assert (stream.inbound.available, stream.inbound.target) == (1005, 1005)


@pytest.mark.parametrize("which", ["stream", "connection"])
def test_rfc9113_6_9_1_a_window_does_not_grow_past_2_31_minus_1(which: str) -> None:
    peer = server_with_request(initial_window_size=1000)
    stream = h.live(peer.machine, 1) if which == "stream" else None
    before = h.state_of(peer.machine)
    with pytest.raises(FlowControlError) as caught:
        peer.machine.grow_window(stream, h.MAX_WINDOW)
    assert caught.value.initiator == "local"
    assert h.state_of(peer.machine) == before


def test_rfc9113_5_1_the_window_of_a_closed_stream_does_not_grow() -> None:
    peer = server_with_request()
    stream = h.live(peer.machine, 1)
    peer.receive(h.rst_stream(1))
    with pytest.raises(StreamClosedError):
        peer.machine.grow_window(stream, 1)
    assert peer.frames() == []


@pytest.mark.parametrize("how", ["ended", "reset by us", "reset by the peer", "above GOAWAY", "refused", "forgotten"])
def test_rfc9113_5_1_data_on_a_closed_stream_counts_and_is_refunded(how: str) -> None:
    forget = how == "forgotten"
    peer = h.RawPeer(
        client=False, config=Config(max_concurrent_streams=1, max_closed_streams=0 if forget else 10, max_unread=0)
    )
    machine = peer.machine
    if how == "ended":
        peer.receive(peer.headers(1, h.GET, end=True))
        h.respond(machine, h.live(machine, 1), end=True)
    elif how == "refused":
        peer.receive(peer.headers(1, h.POST), peer.headers(3, h.POST))
    elif how == "above GOAWAY":
        machine.goaway(last_stream_id=0)
    else:
        peer.receive(peer.headers(1, h.POST))
        if how == "reset by the peer":
            peer.receive(h.rst_stream(1))
        else:
            machine.reset_stream(h.live(machine, 1), ErrorCodes.CANCEL)
    before = machine.inbound.available
    late = 3 if how == "refused" else 1
    assert peer.receive(h.data(late, bytes(100), pad=20)) == []
    assert machine.failure is None
    assert machine.inbound.available == before - 121
    assert (machine.inbound.held, machine.inbound.unread) == (0, 0)
    assert h.balanced(machine)


def test_rfc9113_6_9_2_a_smaller_initial_window_holds_from_its_acknowledgement() -> None:
    peer = server_with_request(initial_window_size=1000)
    stream = h.live(peer.machine, 1)
    peer.receive(h.data(1, bytes(400)))
    peer.machine.update_settings({h.INITIAL_WINDOW_SIZE: 100})
    peer.receive(h.data(1, bytes(400)))
    assert peer.machine.failure is None
    peer.receive(h.settings_ack())
    assert (stream.inbound.available, stream.inbound.held) == (-700, 800)
    peer.receive(h.data(1, b"x"))
    assert peer.machine.table.get(1) is None


def test_rfc9113_6_9_2_credit_taken_before_a_smaller_window_came_into_force_is_announced() -> None:
    """What was read while the window was large is worth announcing in a small one: nothing else will wake the peer."""
    peer = h.RawPeer(client=False, config=Config(initial_window_size=16_384), greet=False)
    peer.receive(peer.preface, h.settings(), peer.headers(1, h.POST))
    stream = h.live(peer.machine, 1)
    fill(peer, 1, 30_000)
    peer.machine.acknowledge(stream, 30_000)
    peer.frames()
    peer.receive(h.settings_ack())
    assert stream.inbound.held == 0
    peer.frames()
    assert stream.inbound.available > 0


def test_rfc9113_6_9_no_stream_credit_for_a_stream_whose_peer_has_ended() -> None:
    peer = server_with_request(initial_window_size=1000)
    stream = h.live(peer.machine, 1)
    peer.receive(h.data(1, bytes(1000), end=True))
    peer.machine.acknowledge(stream, 1000)
    assert peer.frames() == []
    assert h.balanced(peer.machine)


def test_rfc9113_5_4_2_no_stream_credit_after_a_reset() -> None:
    peer = server_with_request(initial_window_size=1000)
    stream = h.live(peer.machine, 1)
    peer.receive(h.data(1, bytes(1000)))
    peer.machine.acknowledge(stream, 1000)
    peer.machine.reset_stream(stream, ErrorCodes.CANCEL)
    assert [f.type for f in peer.frames()] == [h.RST_STREAM]


def test_rfc9113_6_9_2_the_connection_window_is_grown_by_window_update() -> None:
    peer = h.RawPeer(client=True, config=Config(connection_window_size=100_000), greet=False)
    assert [(f.type, f.stream_id) for f in peer.frames()] == [(h.SETTINGS, 0), (h.WINDOW_UPDATE, 0)]
    assert peer.machine.inbound.available == 100_000
    peer.machine.grow_window(None, 1)
    assert [f.window_increment for f in peer.frames()] == [1]
    assert h.balanced(peer.machine)


def test_rfc9113_6_9_2_the_default_connection_window_needs_no_window_update() -> None:
    peer = h.RawPeer(client=True, config=Config(connection_window_size=h.DEFAULT_WINDOW), greet=False)
    assert [f.type for f in peer.frames()] == [h.SETTINGS]


# Conservation, end to end: whatever two machines do, at rest both agree on every window to the octet.

actions = st.lists(
    st.tuples(
        st.sampled_from(["open", "send", "pad", "take", "reset", "late", "resize", "pump"]),
        st.integers(0, 7),
        st.integers(0, 400),
    ),
    max_size=60,
)


class _Uploads:
    """A client that uploads to a server, by the tool of chance."""

    def __init__(self, cap: int) -> None:
        server = Config(initial_window_size=300, max_unread=cap, max_concurrent_streams=5, max_closed_streams=3)
        self.pair = h.Pair(client=Config(max_closed_streams=3), server=server)
        self.unread: dict[int, int] = {}

    def act(self, what: str, which: int, count: int) -> None:
        client, server = self.pair.client, self.pair.server
        at_client, at_server = list(client.table), list(server.table)
        if what == "open" and client.can_open:
            h.open_request(client, h.POST, end=False)
        elif what in ("send", "pad") and at_client:
            stream = at_client[which % len(at_client)]
            pad = count % 30 if what == "pad" else None
            room = client.sendable(stream) - (0 if pad is None else pad + 1)
            if room >= 0:
                client.send_data(stream, bytes(min(count, room)), pad_length=pad)
        elif what == "take" and at_server:
            stream = at_server[which % len(at_server)]
            taken = min(count, self.unread.get(stream.stream_id, 0))
            self.unread[stream.stream_id] = self.unread.get(stream.stream_id, 0) - taken
            server.acknowledge(stream, taken)
        elif what == "reset" and at_server:
            server.reset_stream(at_server[which % len(at_server)], ErrorCodes.CANCEL)
        elif what == "late" and at_client:
            client.reset_stream(at_client[which % len(at_client)], ErrorCodes.CANCEL)
        elif what == "resize":
            server.update_settings({h.INITIAL_WINDOW_SIZE: count})
        elif what == "pump":
            self.pump()

    def pump(self) -> None:
        _, events = self.pair.pump()
        for event in events:
            if isinstance(event, ev.DataReceived):
                self.unread[event.stream_id] = self.unread.get(event.stream_id, 0) + len(event.data)
        # What is left unread on a stream that is gone is refunded, as an actor does it.
        for stream_id in list(self.unread):
            if self.pair.server.table.get(stream_id) is None:
                self.pair.server.release_connection(self.unread.pop(stream_id))


@settings(max_examples=150, deadline=None)
@given(steps=actions, cap=st.sampled_from([0, 200, 10_000]))
def test_rfc9113_6_9_two_machines_agree_on_every_window(steps: list[tuple[str, int, int]], cap: int) -> None:
    uploads = _Uploads(cap)
    for step in steps:
        uploads.act(*step)
    uploads.pump()
    uploads.pump()
    client, server = uploads.pair.client, uploads.pair.server
    assert client.failure is None
    assert server.failure is None
    assert h.balanced(server)
    assert server.inbound.available == client.outbound.available
    assert server.inbound.unread == sum(uploads.unread.values())
    for stream in server.table:
        assert total(stream.inbound) == stream.inbound.target
        assert stream.inbound.available == h.live(client, stream.stream_id).outbound.available
        assert stream.inbound.held == uploads.unread.get(stream.stream_id, 0)
