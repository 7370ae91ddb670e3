"""The two compositions of the protocol core against each other: actors and in memory, the same peer, compared at rest.

Both are servers that read whatever comes and answer when they are told to. The peer is a script of frames, most of
them in order. After every step, when no task of the actors can go on, both have sent the same frames, have the same
streams live, and have given their users the same messages.

`TRIO_H2_EXAMPLES` sets how many scripts are tried.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import trio
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, RstStreamFrame, WindowUpdateFrame
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.protocol import helpers as h
from tests.sansio.compositions import ActorSide, Side, server
from tests.sansio.differential import FIELDS, block
from tests.sansio.test_differential import FRAMES
from trio_h2 import Config
from trio_h2 import events as ev

EXAMPLES = int(os.environ.get("TRIO_H2_EXAMPLES", "2000"))

# What the in-memory engine says of itself when it is not told otherwise.
LIKE_MEMORY = Config(
    initial_window_size=65_535,
    connection_window_size=65_535,
    max_unread=0,
    max_continuations=64,
    max_header_fields=2**31,
    enable_connect_protocol=False,
)


def _request(stream_id: int, name: str, end: bool) -> bytes:
    return h.raw(h.HEADERS, h.END_HEADERS | (h.END_STREAM if end else 0), stream_id, block(FIELDS[name]))


REQUESTS = st.builds(
    _request, st.sampled_from([1, 3, 5, 7, 9]), st.sampled_from(["GET", "POST", "POST of 5", "CONNECT"]), st.booleans()
)
BODIES = st.builds(
    lambda stream_id, size, end: h.data(stream_id, bytes(size), end=end),
    st.sampled_from([1, 3, 5, 7, 9]),
    st.sampled_from([0, 5, 100, 16_000]),
    st.booleans(),
)
STEPS = st.one_of(REQUESTS, REQUESTS, BODIES, BODIES, FRAMES, st.sampled_from([1, 3, 5, 7, 9]))


@given(script=st.lists(STEPS, min_size=1, max_size=15))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_actors_and_the_in_memory_engine_do_the_same(script: list[bytes | int]) -> None:
    trio.run(play, script)


async def play(script: list[bytes | int]) -> None:
    """A step is a frame of the peer's, or a stream ID to be answered."""
    async with server("memory") as memory, server("actors", LIKE_MEMORY) as actors:
        answered: set[int] = set()
        for step in script:
            if isinstance(step, int) and (step in answered or not can_answer(memory, step)):
                continue
            frames = {}
            for side in (memory, actors):
                if isinstance(step, int):
                    answered.add(step)
                    await side.respond(step)
                frames[side] = sent(await side.receive(step if isinstance(step, bytes) else b""))
                if memory.goaways():  # what goes with it is what was cut before
                    frames[side] = Counter({key: n for key, n in frames[side].items() if key[0] == "GOAWAY"})
            assert frames[memory] == frames[actors], step
            for event in memory.of(ev.DataReceived):
                if event.stream_id not in answered:  # type: ignore[attr-defined]
                    give_back(memory, event)  # type: ignore[arg-type]
            if memory.goaways() or memory.of(ev.ConnectionTerminated):
                return
            assert memory.live == actors.live, step
            assert messages(memory, answered) == messages(actors, answered), step


def can_answer(side: Side, stream_id: int) -> bool:
    """Is there a request, and is it no tunnel's? A tunnel lingers in actors, and is the program's in memory."""
    stream = side.connection._machine.table.get(stream_id)  # type: ignore[attr-defined]
    return stream is not None and not stream.tunnel


def give_back(side: Side, event: ev.DataReceived) -> None:
    """Acknowledge once: the event's length is 0 then."""
    if event.flow_controlled_length:
        side.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)  # type: ignore[attr-defined]
        event.flow_controlled_length = 0


def sent(frames: list[Frame]) -> Counter[Any]:
    """What was sent, apart from credit, and whatever the order of streams: DATA may be cut differently."""
    out: Counter[Any] = Counter()
    for frame in frames:
        if isinstance(frame, DataFrame):
            out["DATA", frame.stream_id] += len(frame.data)
            out["END_STREAM", frame.stream_id] += "END_STREAM" in frame.flags
        elif isinstance(frame, GoAwayFrame):
            out["GOAWAY", frame.last_stream_id, frame.error_code] += 1
        elif isinstance(frame, RstStreamFrame):
            out["RST_STREAM", frame.stream_id, frame.error_code] += 1
        elif not isinstance(frame, WindowUpdateFrame):
            out[type(frame).__name__, frame.stream_id, tuple(sorted(frame.flags))] += 1
    return out


def messages(side: Side, answered: set[int]) -> dict[int, Any]:
    """What each stream's reader was told, apart from those whose reader has left or never came."""
    told: dict[int, list[Any]] = {}
    known = set(side.told) if isinstance(side, ActorSide) else {e.stream_id for e in side.of(ev.RequestReceived)}  # type: ignore[attr-defined]
    for event in side.events:
        stream_id = getattr(event, "stream_id", 0)
        if stream_id in answered or stream_id not in known:
            continue
        of_stream = told.setdefault(stream_id, [0])
        if isinstance(event, ev.DataReceived):
            of_stream[0] += len(event.data)
        elif "StreamEnded" in of_stream:
            continue  # the reader is done; of a reset its handler learns by being cancelled
        elif isinstance(event, ev.StreamReset):
            of_stream.append(("reset", event.error_code, event.remote_reset))
        elif isinstance(event, ev.TrailersReceived | ev.StreamEnded):
            of_stream.append(type(event).__name__)
    return {stream_id: one for stream_id, one in told.items() if one != [0]}
