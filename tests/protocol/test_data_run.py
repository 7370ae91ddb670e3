"""DATA frames that follow each other, taken as one: the same octets, state and verdicts as one by one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_h2 import events as ev
from trio_h2.config import Config
from trio_h2.protocol.connection_machine import ConnectionMachine
from trio_h2.protocol.data_run import LEAST, DataRun

from . import helpers as h

CONFIG = Config(connection_window_size=100_000, max_unread=1_000_000, max_control_frames=1_000)


def server(*, joins: bool, request: Sequence[tuple[bytes, bytes]]) -> tuple[ConnectionMachine, h.RawPeer]:
    """A server's machine with three streams whose bodies are to come."""
    peer = h.RawPeer(client=False, config=CONFIG)
    machine = peer.machine = ConnectionMachine(CONFIG, client=False, joins_data=joins)
    machine.initiate()
    peer.receive(peer.preface, h.settings(), h.settings_ack())
    for stream_id in (1, 3, 5):
        peer.receive(peer.headers(stream_id, request))
    machine.take()
    return machine, peer


def whole(events: list[ev.Event]) -> list[object]:
    """Events with the DATA of a stream joined that follows itself."""
    found: list[object] = []
    for event in events:
        if isinstance(event, ev.DataReceived):
            last = found[-1] if found else None
            if isinstance(last, ev.DataReceived) and last.stream_id == event.stream_id and last.stream_ended is None:
                data, length = last.data + event.data, last.flow_controlled_length + event.flow_controlled_length
                found[-1] = ev.DataReceived(event.stream_id, data, length, event.stream_ended)
                continue
        found.append(event)
    return [repr(event) for event in found]


def outcome(machine: ConnectionMachine, events: list[ev.Event]) -> object:
    inbound = machine.inbound
    streams = [
        (s.stream_id, s.receiving.seen, s.receiving.phase, s.inbound.available, s.inbound.held) for s in machine.table
    ]
    budgets = machine.state.budgets
    return (
        whole(events),
        h.state_of(machine),
        (inbound.available, inbound.held, inbound.unannounced, inbound.unread, inbound.received),
        streams,
        (budgets._data_received, budgets.late_data.allowance, budgets.limits_hit),
        machine.failure,
        machine.take(),
    )


FRAMES = st.one_of(
    st.tuples(
        st.sampled_from([0, 0, 0, h.END_STREAM]),
        st.sampled_from([1, 1, 1, 3, 7]),
        st.sampled_from([0, 1, LEAST, 16_384]),
    ).map(lambda frame: h.raw(h.DATA, frame[0], frame[1], bytes([frame[2] % 251]) * frame[2])),
    st.just(h.raw(h.DATA, h.PADDED, 1, h.padded(b"p" * 5_000, 7))),
    st.just(h.ping()),
    st.just(h.raw(h.RST_STREAM, 0, 3, h.uint32(8))),
    st.just(h.raw(h.DATA, 0, 0, bytes(LEAST))),
)


@given(
    st.lists(FRAMES, min_size=1, max_size=12),
    st.sampled_from([h.POST, [*h.POST, h.length(40_000)]]),
    st.lists(st.integers(1, 60_000), max_size=5),
)
def test_rfc9113_6_1_a_run_of_data_is_what_its_frames_are(
    frames: list[bytes], request: Sequence[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    octets = b"".join(frames)
    outcomes = []
    for joins in (False, True):
        machine, peer = server(joins=joins, request=request)
        events: list[ev.Event] = []
        position = 0
        for cut in [*cuts, len(octets)]:
            events += peer.receive(octets[position : position + cut])
            position += cut
        outcomes.append(outcome(machine, events))
    assert outcomes[0] == outcomes[1]


def test_rfc9113_6_1_what_comes_in_one_read_is_one_event() -> None:
    machine, peer = server(joins=True, request=h.POST)
    frames = [h.data(1, b"a" * 16_384), h.data(1, b"b"), h.data(1, b"c" * 5_000), h.raw(h.DATA, h.END_STREAM, 1, b"")]
    data, ended = peer.receive(*frames)
    assert isinstance(data, ev.DataReceived)
    assert data.data == b"a" * 16_384 + b"b" + b"c" * 5_000
    assert isinstance(ended, ev.StreamEnded)
    assert machine.state.budgets._data_received == 3


def test_rfc9113_6_1_small_data_begins_no_run() -> None:
    _, peer = server(joins=True, request=h.POST)
    assert len(peer.receive(h.data(1, b"a" * (LEAST - 1)), h.data(1, b"b" * LEAST))) == 2


@pytest.mark.parametrize(
    ("type_", "flags", "stream_id", "length", "continues"),
    [
        (h.DATA, 0, 1, 1, True),
        (h.DATA, h.END_STREAM, 1, 0, True),
        (h.DATA, 0, 1, 0, False),  # it asks for work and brings none
        (h.DATA, h.PADDED, 1, 10, False),
        (h.DATA, 0, 3, 10, False),
        (h.HEADERS, 0, 1, 10, False),
    ],
)
def test_which_frames_go_on_with_a_run(type_: int, flags: int, stream_id: int, length: int, continues: bool) -> None:
    run = DataRun(1)
    run.add(memoryview(b"a"), end_stream=False)
    assert run.continues(type_, flags, stream_id, length) is continues
    run.add(memoryview(b"b"), end_stream=True)
    assert not run.continues(type_, flags, stream_id, length)
