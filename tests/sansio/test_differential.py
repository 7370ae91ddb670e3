"""trio_h2's in-memory engine against the `h2` package: the same calls and the same bytes, held against each other.

Two connections of each package talk to each other. Every call is made on both pairs, every delivery carries a whole
side's output on both, and every frame built by hand is given to a copy of one side on both. After each step the
results, windows, frame sizes, next stream IDs and counts of open streams have to agree, or an entry of
`differential.DIFFERENCES` has to say why not.

`TRIO_H2_EXAMPLES` sets how many examples are tried.
"""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.protocol import helpers as h
from tests.sansio.differential import (
    DIFFERENCES,
    FIELDS,
    MALFORMED,
    OURS,
    SENDING,
    THEIRS,
    Call,
    Result,
    attempt,
    block,
    goes_on,
)
from trio_h2.protocol.stream_machine import CloseReason

EXAMPLES = int(os.environ.get("TRIO_H2_EXAMPLES", "2000"))

SIDES = st.booleans()
IDS = st.sampled_from([1, 3, 5, 7, 2, 4])
SIZES = st.sampled_from([0, 1, 5, 1000, 16_384, 16_385, 40_000])


def explained(call: Call, theirs: Result, ours: Result) -> bool:
    """Are the results the same, or is there a reason why not?"""
    return theirs == ours or any(one.applies(call, theirs, ours) for one in DIFFERENCES)


def check(call: Call, theirs: Result, ours: Result) -> None:
    assert explained(call, theirs, ours), f"\n{call}\nh2:      {theirs}\ntrio_h2: {ours}"


def fields_of(name: str) -> list[tuple[bytes, bytes]]:
    return list(FIELDS.get(name) or MALFORMED[name])


# Frames built by hand: mostly well-formed, on streams that exist or do not, with one thing wrong or none


def _headers(stream_id: int, name: str, end: bool, whole: bool, pad: int | None, dependency: int | None) -> bytes:
    flags = (h.END_STREAM if end else 0) | (h.END_HEADERS if whole else 0)
    payload = block(fields_of(name))
    if dependency is not None:
        flags |= h.WITH_PRIORITY
        payload = h.uint32(dependency) + b"\x07" + payload
    if pad is not None:
        flags |= h.PADDED
        payload = h.padded(payload, pad)
    return h.raw(h.HEADERS, flags, stream_id, payload)


ANY_ID = st.sampled_from([1, 1, 1, 3, 3, 5, 7, 2, 2, 4, 0, 9, 2**31 - 1])
LARGE_SETTINGS = [(4, 0), (4, 70_000), (4, 2**31 - 1), (4, 2**31), (5, 16_383), (5, 20_000), (5, 2**24)]
PADS = st.sampled_from([None, None, 0, 9])
HEADERS_FRAMES = st.builds(
    _headers,
    ANY_ID,
    st.sampled_from([*FIELDS, *MALFORMED]),
    st.booleans(),
    st.sampled_from([True, True, True, False]),
    PADS,
    st.sampled_from([None, None, 0, 1, 3]),
)
DATA_FRAMES = st.builds(
    lambda stream_id, size, end, pad: h.data(stream_id, bytes(size), end=end, pad=pad),
    ANY_ID,
    st.sampled_from([0, 1, 5, 6, 16_000, 16_385]),
    st.booleans(),
    PADS,
)
SETTINGS_FRAMES = st.builds(
    lambda pairs: h.settings(*pairs),
    st.lists(
        st.sampled_from(
            [*((code, value) for code in (1, 2, 3, 6, 8, 0x99) for value in (0, 1, 2, 100)), *LARGE_SETTINGS]
        ),
        max_size=3,
        unique_by=lambda pair: pair[0],
    ),
)
OTHER_FRAMES = st.one_of(
    st.builds(h.rst_stream, ANY_ID, st.sampled_from([0, 2, 8, 0x99])),
    st.builds(h.window_update, ANY_ID, st.sampled_from([0, 1, 70_000, 2**31 - 1])),
    st.builds(h.priority, ANY_ID, st.sampled_from([0, 1, 3]), st.integers(1, 256)),
    st.builds(lambda data, ack: h.ping(data, ack=ack), st.sampled_from([b"12345678", b"1234"]), st.booleans()),
    st.builds(
        h.goaway, st.sampled_from([0, 1, 2**31 - 1]), st.sampled_from([0, 2, 0x99]), st.sampled_from([b"", b"x"])
    ),
    st.builds(
        lambda i: h.raw(h.PUSH_PROMISE, h.END_HEADERS, i[0], h.uint32(i[1]) + block(FIELDS["GET"])),
        st.tuples(ANY_ID, ANY_ID),
    ),
    st.builds(lambda i, end: h.raw(h.CONTINUATION, h.END_HEADERS if end else 0, i, b""), ANY_ID, st.booleans()),
    st.builds(lambda i: h.altsvc(i, b"" if i else b"example.org", b'h2=":1"'), ANY_ID),
    st.builds(lambda i: h.raw(0x55, 3, i, b"what"), ANY_ID),
    # No shape at all: any type, flags and payload; lengths that do not fit among them.
    st.builds(h.raw, st.integers(0, 9), st.integers(0, 255), ANY_ID, st.binary(max_size=12)),
    st.just(h.settings_ack()),
    st.just(h.raw(h.HEADERS, h.END_HEADERS, 1, b"\xff\xff\xff\xff\xff")),
    st.just(h.raw(h.SETTINGS, 0, 0, b"12345")),
)
# Chosen by kind first: those with the most rules are the most frequent.
FRAMES = st.sampled_from("HHHHDDSOOO").flatmap(
    {"H": HEADERS_FRAMES, "D": DATA_FRAMES, "S": SETTINGS_FRAMES, "O": OTHER_FRAMES}.__getitem__
)


class Pairs(RuleBasedStateMachine):
    """Two connections of each package. `client` chooses the side that acts."""

    def __init__(self) -> None:
        super().__init__()
        self.begin()

    def begin(self) -> None:
        self.over = False
        self.ours = {client: OURS.make(client=client) for client in (True, False)}
        self.theirs = {client: THEIRS.make(client=client) for client in (True, False)}
        # Octets received and not acknowledged, by side and stream.
        self.unread: dict[tuple[bool, int], int] = {}

    def call(self, client: bool, method: str, *args: Any, **kwargs: Any) -> bool:
        """Make a call on both; did it do what it should? A refused one must change nothing, which h2 does not hold."""
        stream = self.theirs[client].streams.get(args[0]) if method in SENDING else None
        begun = stream is not None and bool(stream.state_machine.headers_sent)
        tunnel = method in SENDING and is_tunnel(self.ours[client], args[0])
        ours = attempt(lambda: getattr(self.ours[client], method)(*args, **kwargs))
        theirs_side = self.theirs[client] if not ours.error else copy.deepcopy(self.theirs[client])
        theirs = attempt(lambda: getattr(theirs_side, method)(*args, **kwargs))
        check(Call(method, client, args=args, begun=begun, tunnel=tunnel), theirs, ours)
        if theirs.error and not ours.error:
            self.over = True  # an allowed difference, and they are no longer alike
        return not ours.error and not theirs.error

    def receive(self, client: bool, ours_data: bytes, theirs_data: bytes) -> None:
        """Let one side receive on both."""
        call = Call("receive", client, room=room_of(self.ours[client], self.theirs[client]))
        ours = attempt(lambda: self.ours[client].receive_data(ours_data))
        theirs = attempt(lambda: self.theirs[client].receive_data(theirs_data))
        check(call, theirs, ours)
        if ours.error or theirs.error or ours != theirs:
            self.over = True
        for event in ours.events:
            if event[0] == "DataReceived":
                key = client, event[1]
                self.unread[key] = self.unread.get(key, 0) + event[3]

    def deliver_from(self, client: bool) -> None:
        self.receive(not client, self.ours[client].data_to_send(), self.theirs[client].data_to_send())

    @initialize(opened=st.lists(st.sampled_from(["GET", "POST", "HEAD", "POST of 5", "CONNECT"]), max_size=3))
    def start(self, opened: list[str]) -> None:
        """Both prefaces and their acknowledgements, and a few streams."""
        self.begin()
        for client in (True, False):
            self.call(client, "initiate_connection")
        for client in (True, False, True, False):
            self.deliver_from(client)
        for number, name in enumerate(opened):
            self.call(True, "send_headers", 2 * number + 1, fields_of(name), end_stream=name in ("GET", "HEAD"))
        self.deliver_from(True)

    @precondition(lambda self: self.over)
    @rule(opened=st.lists(st.sampled_from(["GET", "POST"]), max_size=3))
    def start_again(self, opened: list[str]) -> None:
        self.start(opened)

    # Calls

    @goes_on
    @rule(
        name=st.sampled_from(["GET", "POST", "POST of 5", "HEAD", "CONNECT", *MALFORMED]),
        stream_id=st.one_of(st.none(), st.none(), st.none(), IDS),
        end=st.booleans(),
    )
    def request(self, name: str, stream_id: int | None, end: bool) -> None:
        wanted = self.ours[True].get_next_available_stream_id() if stream_id is None else stream_id
        if wanted < 9:
            self.call(True, "send_headers", wanted, fields_of(name), end_stream=end)

    @goes_on
    @rule(
        stream_id=IDS,
        name=st.sampled_from(["200", "200", "200 of 5", "103", "204", "trailers", *MALFORMED]),
        end=st.booleans(),
        client=st.sampled_from([False, False, True]),
    )
    def respond(self, client: bool, stream_id: int, name: str, end: bool) -> None:
        self.call(client, "send_headers", stream_id, fields_of(name), end_stream=end)

    @goes_on
    @rule(
        client=SIDES, stream_id=IDS, size=SIZES, end=st.booleans(), pad=st.sampled_from([None, None, None, 0, 7, 256])
    )
    def send_data(self, client: bool, stream_id: int, size: int, end: bool, pad: int | None) -> None:
        self.call(client, "send_data", stream_id, bytes(size), end_stream=end, pad_length=pad)

    @goes_on
    @rule(client=SIDES, stream_id=IDS)
    def end_stream(self, client: bool, stream_id: int) -> None:
        self.call(client, "end_stream", stream_id)

    @goes_on
    @rule(client=SIDES, stream_id=IDS, code=st.sampled_from([0, 8]))
    def reset_stream(self, client: bool, stream_id: int, code: int) -> None:
        if self.call(client, "reset_stream", stream_id, code):
            self.unread.pop((client, stream_id), None)

    @goes_on
    @rule(stream_id=IDS, promised=st.sampled_from([2, 4, 6, 1, 3]), name=st.sampled_from(["GET", *MALFORMED]))
    def push(self, stream_id: int, promised: int, name: str) -> None:
        self.call(False, "push_stream", stream_id, promised, fields_of(name))

    @goes_on
    @rule(client=SIDES, data=st.sampled_from([b"12345678", b"", b"123456789", "12345678"]))
    def ping(self, client: bool, data: Any) -> None:
        self.call(client, "ping", data)

    @goes_on
    @rule(client=SIDES, increment=st.sampled_from([0, 1, 1000, 2**31 - 1, 2**31]), stream_id=st.one_of(st.none(), IDS))
    def increment(self, client: bool, increment: int, stream_id: int | None) -> None:
        self.call(client, "increment_flow_control_window", increment, stream_id)

    @goes_on
    @rule(client=SIDES, stream_id=st.sampled_from([-1, 0, 1, 3, 2, 9]), size=st.sampled_from([-1, 0]))
    def acknowledge_nothing(self, client: bool, stream_id: int, size: int) -> None:
        self.call(client, "acknowledge_received_data", size, stream_id)

    @goes_on
    @rule(client=SIDES, stream_id=IDS)
    def acknowledge(self, client: bool, stream_id: int) -> None:
        """All that is unread on a stream, when it is enough for both packages to give it back at once."""
        machine = self.ours[client]._machine
        stream = machine.table.get(stream_id)
        unread = self.unread.get((client, stream_id), 0)
        if stream is None or unread * 2 < max(stream.inbound.target, machine.inbound.target):
            return
        if stream.receiving.phase < 2:  # after the end there is only the connection's credit, and h2 gives both
            del self.unread[client, stream_id]
            self.call(client, "acknowledge_received_data", unread, stream_id)

    @goes_on
    @rule(
        client=SIDES,
        values=st.dictionaries(
            st.sampled_from([1, 3, 4, 5, 2, 0x99]),
            st.sampled_from([0, 1, 2, 100, 16_384, 20_000, 65_535, 70_000, 2**31]),
            min_size=1,
            max_size=2,
        ),
    )
    def update_settings(self, client: bool, values: dict[int, int]) -> None:
        """One SETTINGS at a time: with two on the way, h2 puts both in force at the first acknowledgement."""
        if self.ours[client]._machine.local_settings.awaiting_acknowledgement == 0:
            self.call(client, "update_settings", values)

    @goes_on
    @rule(
        client=SIDES,
        stream_id=IDS,
        weight=st.sampled_from([None, 0, 1, 256, 257]),
        depends_on=st.sampled_from([None, 0, 1, 3]),
    )
    def prioritize(self, client: bool, stream_id: int, weight: int | None, depends_on: int | None) -> None:
        self.call(client, "prioritize", stream_id, weight, depends_on)

    @goes_on
    @rule(client=SIDES, origin=st.sampled_from([None, b"example.org"]), stream_id=st.one_of(st.none(), IDS))
    def alternative_service(self, client: bool, origin: bytes | None, stream_id: int | None) -> None:
        if origin is not None or stream_id is not None:
            self.call(client, "advertise_alternative_service", b'h2=":8000"', origin, stream_id)

    @goes_on
    @rule(client=SIDES, code=st.sampled_from([0, 2]), data=st.sampled_from([None, b"bye"]))
    def close(self, client: bool, code: int, data: bytes | None) -> None:
        """GOAWAY is the end here: after it h2 refuses what RFC 9113 section 6.8 lets finish."""
        self.call(client, "close_connection", code, data)
        self.deliver_from(client)
        self.over = True

    # Bytes

    @goes_on
    @rule(client=SIDES)
    def deliver(self, client: bool) -> None:
        self.deliver_from(client)

    @goes_on
    @rule(client=SIDES, frames=st.lists(FRAMES, min_size=2, max_size=5))
    def probe(self, client: bool, frames: list[bytes]) -> None:
        self.try_out(client, frames)

    @goes_on
    @rule(client=SIDES, first=HEADERS_FRAMES, frames=st.lists(FRAMES, min_size=1, max_size=4))
    def probe_after_headers(self, client: bool, first: bytes, frames: list[bytes]) -> None:
        self.try_out(client, [first, *frames])

    def try_out(self, client: bool, frames: list[bytes]) -> None:
        """Frames by hand, to copies of one side: the pairs go on as if they had not come."""
        ours, theirs = copy.deepcopy((self.ours[client], self.theirs[client]))
        block = -1
        for frame in frames:
            call = Call("receive", client, frame, continues=block, room=room_of(ours, theirs))
            stream = theirs.streams.get(call.stream_id)
            idle = is_idle(theirs, call.stream_id)
            reset = ours._machine.table.how_closed(call.stream_id) is CloseReason.RESET_LOCALLY
            tunnel = is_tunnel(ours, call.stream_id)
            closed = not idle and (stream is None or stream.closed)
            call = replace(call, idle=idle, closed=closed, reset=reset, tunnel=tunnel)
            mine = attempt(lambda: ours.receive_data(frame))  # noqa: B023
            other = attempt(lambda: theirs.receive_data(frame))  # noqa: B023
            check(call, other, mine)
            if mine != other or mine.error or "ConnectionTerminated" in mine.names:
                return  # they are no longer alike: see `close` for GOAWAY
            compare(ours, theirs, client)
            if call.type in (h.HEADERS, h.PUSH_PROMISE):
                block = -1 if frame[4] & h.END_HEADERS else call.type

    @invariant()
    def they_agree(self) -> None:
        if not self.over:
            for client in (True, False):
                compare(self.ours[client], self.theirs[client], client)


def is_idle(connection: Any, stream_id: int) -> bool:
    """Is the stream idle (RFC 9113 section 5.1)?"""
    own = stream_id % 2 == connection.config.client_side
    return stream_id > (connection.highest_outbound_stream_id if own else connection.highest_inbound_stream_id)


def is_tunnel(ours: Any, stream_id: int) -> bool:
    """Was the stream asked for with CONNECT, and not refused?"""
    stream = ours._machine.table.get(stream_id)
    return stream is not None and stream.tunnel


def room_of(ours: Any, theirs: Any) -> int:
    """How many more streams may the peer open by what it was told last?"""
    return ours._machine.local_settings.stream_limit - theirs.open_inbound_streams


def compare(ours: Any, theirs: Any, client: bool) -> None:
    """What can be seen of both at rest."""
    for name in (
        "open_inbound_streams",
        "open_outbound_streams",
        "inbound_flow_control_window",
        "outbound_flow_control_window",
        "max_inbound_frame_size",
        "max_outbound_frame_size",
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.get_next_available_stream_id() == theirs.get_next_available_stream_id()
    for stream in ours._machine.table:
        stream_id = stream.stream_id
        if stream.can_send:
            assert ours.local_flow_control_window(stream_id) == theirs.local_flow_control_window(stream_id)
        if stream.receiving.phase < 2:
            assert ours.remote_flow_control_window(stream_id) == theirs.remote_flow_control_window(stream_id)


def test_no_entry_is_so_wide_that_it_hides_what_would_be_a_bug() -> None:
    refused = Result(error="ProtocolError", code=1)
    opened = Result((("RequestReceived", 1, (), False, False),))
    request = h.raw(h.HEADERS, h.END_HEADERS, 1, block(FIELDS["GET"]))
    get = (1, fields_of("GET"))
    for call, theirs, ours in (
        # What the peer may not send is taken without a word.
        (Call("receive", False), refused, Result()),
        (Call("receive", False, request, idle=True), refused, Result()),
        (
            Call("receive", False, h.raw(h.PRIORITY, 0, 1, b"1")),
            Result(error="FrameDataMissingError", code=6),
            Result(),
        ),
        # What it may send is refused, or lost.
        (Call("receive", False, request, idle=True), opened, Result()),
        (Call("receive", False, request, idle=True), opened, Result(error="ProtocolError", code=9)),
        (Call("receive", False, h.rst_stream(1, 8)), Result(), refused),
        # What we may send is refused.
        (Call("send_headers", True, args=get), Result(), refused),
        (Call("send_data", True, args=(1, b"x"), begun=True), Result(), refused),
        (Call("increment_flow_control_window", False, args=(1, None)), Result(), refused),
        (Call("update_settings", False, args=({3: 1},)), Result(), Result(error="InvalidSettingsValueError", code=1)),
    ):
        assert not explained(call, theirs, ours), (call, theirs, ours)


TestDifferential = Pairs.TestCase
TestDifferential.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
