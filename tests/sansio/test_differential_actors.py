"""The two compositions of the protocol core against each other: actors and in memory, the same peer, compared at rest.

The peer is a script of frames, most of them in order, some wrong, cut anywhere. The program does the same calls over
both. After every step, when no task of the actors can go on, both have sent the same frames, are in the same state,
have told their users the same, and every call has come to the same, or an entry of `DIFFERENCES` says why not. How
content is cut, when credit is announced, and the order of different streams' frames are not compared. The peer gives
the connection as a whole all the window that it can need, because whose turn it is when that is short is the actors'
affair alone.

`TRIO_H2_EXAMPLES` sets how many examples are tried.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hyperframe.frame import DataFrame, Frame, GoAwayFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.protocol import helpers as h
from tests.sansio.differential import FIELDS, MALFORMED, block, goes_on
from tests.sansio.endpoints import DONE, LEFT, ActorEndpoint, Endpoint, MemoryEndpoint, Outcome, Token, state_of
from tests.sansio.guest import GuestRun
from tests.sansio.test_differential import FRAMES

EXAMPLES = int(os.environ.get("TRIO_H2_EXAMPLES", "2000"))


# Where they may differ


@dataclass(frozen=True)
class Mismatch:
    """One thing that is not the same.

    Attributes:
        what: `frames`, `told`, `outcomes`, `handles`, `events` or `state`.
        key: which of them.
        memory, actors: what the two have; None for nothing.
        program: the program in memory, which knows what it was told.
    """

    what: str
    key: Any
    memory: Any
    actors: Any
    program: MemoryEndpoint


@dataclass(frozen=True)
class Difference:
    """One way in which the actors may differ: the section that says so, what it says, and when that is."""

    section: str
    what: str
    applies: Callable[[Mismatch], bool]


def _call(one: Mismatch, *methods: str) -> bool:
    """Have both a result of this call, and is it one of these?"""
    return one.what == "outcomes" and bool(one.memory) and bool(one.actors) and one.memory[0] in methods


def _why(one: Mismatch) -> Outcome | None:
    """What the program in memory was told of the end of the stream of this call, or of the connection."""
    return one.program.over.get(one.program.stream_id(one.memory[1])) or one.program.failure


def _begins(told: list[Token], part: list[Token]) -> bool:
    """Is `part` how `told` begins, content counted by octets?"""
    if not part:
        return True
    *whole, last = part
    rest = told[len(whole) :]
    if told[: len(whole)] != whole or not rest:
        return False
    return last == rest[0] or (last[0] == rest[0][0] == "data" and last[1] < rest[0][1])


SENDING = ("response", "respond", "send", "trailers", "end", "push")

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "RFC 9113 5.4",
        "a call on a stream that is over says why it is; in memory the program was told by an event, and the call says"
        " that the stream is closed",
        lambda one: _call(one, *SENDING) and one.memory[2].error == "StreamClosedError" and one.actors[2] == _why(one),
    ),
    Difference(
        "RFC 9113 5.4.2",
        "leaving a stream that is over is no mistake; in memory RST_STREAM on it is refused",
        lambda one: (
            _call(one, "reset", "close") and one.memory[2].error == "StreamClosedError" and one.actors[2] == DONE
        ),
    ),
    Difference(
        "RFC 9113 5.4.1",
        "what a connection error ends resets its streams, behind the GOAWAY",
        lambda one: (
            one.what == "frames"
            and one.key[0] == "RST_STREAM"
            and one.program.failure is not None
            and one.memory is None
        ),
    ),
    Difference(
        "RFC 9113 6.8",
        "after the peer's GOAWAY a request fails with what it said; in memory opening a stream is refused",
        lambda one: (
            _call(one, "request")
            and one.memory[2].error == "ProtocolError"
            and one.actors[2].error == "ConnectionTerminatedError"
            and one.memory[2].safe_to_retry
            and one.actors[2].safe_to_retry
        ),
    ),
    Difference(
        "RFC 9113 5.1",
        "ending a half that has ended, or that a promised stream never had, is no mistake; in memory it is refused",
        lambda one: (
            _call(one, "end")
            and (
                one.memory[2].error == "StreamClosedError"
                or (one.memory[2].error == "ProtocolError" and one.program.client and one.memory[1] > 0)
            )
            and one.actors[2] == DONE
        ),
    ),
    Difference(
        "RFC 9113 6.8",
        "when the peer's GOAWAY leaves no stream actors close at once: the rest of the same read is too late",
        lambda one: (
            one.program.client
            and one.program.goaway is not None
            and one.program.failure is not None
            and (
                (one.what == "frames" and one.key[0] == "GOAWAY" and one.key[2] == 0 and one.memory is None)
                or (one.what == "frames" and one.key[0] in ("SETTINGS", "PingFrame") and one.memory is None)
                or (one.what == "frames" and one.key[0] in ("GOAWAY", "RST_STREAM") and one.actors is None)
                or (one.what == "events" and one.actors is None)
            )
        ),
    ),
    Difference(
        "RFC 9113 5.1",
        "a client has no half of a promised stream, so it has ended; in memory content on it is a mistake of its own",
        lambda one: (
            _call(one, "send")
            and one.program.client
            and one.memory[1] > 0
            and one.memory[2] == Outcome("ProtocolError", 1)
            and one.actors[2].error == "StreamClosedError"
        ),
    ),
    Difference(
        "RFC 9113 6.8",
        "a stream above the last stream ID of the peer's GOAWAY is closed with actors: what still comes is ignored",
        lambda one: (
            one.what == "frames"
            and one.key[0] == "RST_STREAM"
            and one.program.goaway is not None
            and (one.key[1] > one.program.goaway.last_stream_id or one.key[1] in one.program.abandoned)
            and one.actors is None
        ),
    ),
    Difference(
        "RFC 9113 5.4.2",
        "a handler whose stream is reset in the read that ended the request is cancelled before it sees the end",
        lambda one: (
            one.what == "told"
            and not one.program.client
            and not one.actors
            and one.memory[-1] == ("ended",)
            and one.program.stream_id(one.key) in one.program.over
        ),
    ),
    Difference(
        "RFC 9113 5.4.2",
        "what comes in one read with the reset of its stream, or with the end of the connection, may not be read",
        lambda one: (
            one.what == "told"
            and bool(one.memory)
            and bool(one.actors)
            and one.memory[-1] == one.actors[-1]
            and one.actors[-1][0] in ("reset", "failed")
            and _begins(one.memory[:-1], one.actors[:-1])
        ),
    ),
    Difference(
        "RFC 9113 8.4, 6.8",
        "a push that is wrong in two ways, on a stream that is closed or after the peer's GOAWAY, and where none is"
        " taken: which of them is said",
        lambda one: (
            _call(one, "push")
            and (
                one.memory[2].error == "StreamClosedError"
                or (one.memory[2].error == "ProtocolError" and one.program.goaway is not None)
            )
            and one.actors[2].error == "ProtocolError"
        ),
    ),
    Difference(
        "RFC 9113 8.4.2",
        "a promised stream is left when its response is complete",
        lambda one: (
            _call(one, *SENDING)
            and one.memory[1] > 0
            and one.memory[1] % 2 == 0
            and one.memory[2].error == "StreamClosedError"
            and one.actors[2] == LEFT
        ),
    ),
)


def explained(one: Mismatch) -> bool:
    return any(difference.applies(one) for difference in DIFFERENCES)


# What is compared

HANDSHAKE = 3
"""How many events the peer's half of the handshake is: its SETTINGS, its acknowledgement, the connection's window."""


def sent(frames: Iterable[tuple[Frame, Any]]) -> Counter[Any]:
    """What was sent, apart from credit, and whatever the order of streams: DATA may be cut differently."""
    out: Counter[Any] = Counter()
    for frame, fields in frames:
        if isinstance(frame, DataFrame):
            out["DATA", frame.stream_id] += len(frame.data)
            out["END_STREAM", frame.stream_id] += "END_STREAM" in frame.flags
        elif isinstance(frame, GoAwayFrame):
            out["GOAWAY", frame.last_stream_id, frame.error_code] += 1
        elif isinstance(frame, RstStreamFrame):
            out["RST_STREAM", frame.stream_id, frame.error_code] += 1
        elif isinstance(frame, SettingsFrame):
            out["SETTINGS", "ACK" in frame.flags] += 1
        elif not isinstance(frame, WindowUpdateFrame):
            payload = getattr(frame, "opaque_data", fields)
            out[type(frame).__name__, frame.stream_id, tuple(sorted(frame.flags)), payload] += 1
    return +out


def compare(memory: MemoryEndpoint, actors: ActorEndpoint) -> list[Mismatch]:
    """All that is not the same at rest. What was sent is then looked at."""
    pairs: list[tuple[str, dict[Any, Any], dict[Any, Any]]] = [
        ("frames", dict(sent(memory.frames)), dict(sent(actors.frames))),
        ("outcomes", memory.outcomes, actors.outcomes),
        ("told", {key: one for key, one in memory.told.items() if one}, {k: v for k, v in actors.told.items() if v}),
    ]
    memory.frames.clear()
    actors.frames.clear()
    if memory.failure is None:
        pairs.append(("handles", dict.fromkeys(memory.handles, "open"), dict.fromkeys(actors.handles, "open")))
    if actors.machine is not None:
        # The handshake's are apart: a server of actors also says that it takes no RFC 7540 priorities.
        events, others = memory.events[HANDSHAKE:], actors.events[HANDSHAKE:]
        pairs.append(("events", dict(enumerate(events)), dict(enumerate(others))))
        if memory.failure is None:
            pairs.append(("state", state_of(memory.machine, memory.abandoned), state_of(actors.machine, ())))
    return [
        Mismatch(what, key, one.get(key), other.get(key), memory)
        for what, one, other in pairs
        for key in sorted({*one, *other}, key=repr)
        if one.get(key) != other.get(key)
    ]


# What the peer says


def _headers(stream_id: int, name: str, end: bool) -> bytes:
    fields = FIELDS.get(name) or MALFORMED[name]
    return h.raw(h.HEADERS, h.END_HEADERS | (h.END_STREAM if end else 0), stream_id, block(fields))


def _id_of(frame: bytes) -> int:
    return int.from_bytes(frame[5:9], "big") & 0x7FFF_FFFF


PICKS = st.integers(0, 5)
CUTS = st.one_of(st.just(0), st.integers(1, 60))
CODES = st.sampled_from([0, 2, 7, 8, 0x99])
REQUESTS = st.sampled_from(["GET", "GET", "POST", "POST", "POST of 5", "HEAD", "CONNECT", "upper case"])
RESPONSES = st.sampled_from(["200", "200", "200", "200 of 5", "103", "204", "trailers", "trailers", "no status"])
PADS = st.sampled_from([None, None, None, 0, 9])
SETTINGS = st.lists(
    st.sampled_from([(3, 0), (3, 1), (3, 100), (4, 0), (4, 100), (4, 65_535), (4, 70_000), (5, 20_000), (1, 0)]),
    max_size=2,
    unique_by=lambda pair: pair[0],
)
SIZES = st.sampled_from([1, 5, 1000, 70_000, 70_000])


with_an_idle_stream = precondition(lambda self: self.free(0))
with_a_stream = precondition(lambda self: self.free(0, calling=False))


class Compositions(RuleBasedStateMachine):
    """One script and one program, twice. A connection that has ended is followed by another."""

    client: bool

    def __init__(self) -> None:
        super().__init__()
        self.run = GuestRun()
        self.memory: MemoryEndpoint
        self.actors: ActorEndpoint

    def teardown(self) -> None:
        self.run.close()

    @initialize(push=st.booleans())
    def start(self, push: bool) -> None:
        self.memory = MemoryEndpoint(client=self.client, push=push)
        self.actors = ActorEndpoint(self.run, client=self.client, push=push and self.client)
        self.over = False
        self.step(lambda side: side.greet(2**30))

    @precondition(lambda self: self.over)
    @rule(push=st.booleans())
    def start_again(self, push: bool) -> None:
        self.actors.leave()
        self.start(push)

    def step(self, act: Callable[[Endpoint], None]) -> None:
        act(self.memory)
        act(self.actors)
        for one in compare(self.memory, self.actors):
            assert explained(one), f"{one.what} {one.key}\nmemory: {one.memory}\nactors: {one.actors}"
        self.over = self.memory.failure is not None

    # The peer

    def deliver(self, octets: bytes, cut: int) -> None:
        """In one piece, or in two."""
        for piece in (octets[:cut], octets[cut:]):
            if piece and not self.over:
                self.step(lambda side: side.receive(piece))  # noqa: B023

    def some_id(self, pick: int) -> int:
        """A stream that lives, as long as there is one."""
        ids = list(self.memory.connection._machine.table.live)
        return ids[pick % len(ids)] if ids else 1

    def keeps_its_word(self, frames: list[bytes]) -> bool:
        """Is nothing on a stream that the peer gave up with GOAWAY, and no content that only one side has credit for?

        What the actors forget at once lives on in memory, and credit that one has announced the other may not have.
        """
        if self.memory.abandoned & {_id_of(frame) for frame in frames}:
            return False
        contents = [frame for frame in frames if len(frame) > 8 and frame[3] == h.DATA]
        windows = [self.memory.machine.inbound]
        if self.actors.machine is not None:
            windows.append(self.actors.machine.inbound)
            ids = {_id_of(frame) for frame in contents}
            for table in (self.memory.machine.table, self.actors.machine.table):
                windows += [stream.inbound for stream in table if stream.stream_id in ids]
        size = sum(len(frame) - 9 for frame in contents)
        return not any(window.available < size <= window.available + window.unannounced for window in windows)

    def say(self, *frames: bytes, cut: int) -> None:
        if self.keeps_its_word(list(frames)):
            self.deliver(b"".join(frames), cut)

    @goes_on
    @rule(pick=PICKS, size=st.sampled_from([0, 5, 5, 100, 16_000]), end=st.booleans(), pad=PADS, cut=CUTS)
    def peer_sends(self, pick: int, size: int, end: bool, pad: int | None, cut: int) -> None:
        self.say(h.data(self.some_id(pick), bytes(size), end=end, pad=pad), cut=cut)

    @goes_on
    @rule(
        pick=PICKS, name=st.sampled_from(["trailers", *MALFORMED]), end=st.sampled_from([True, True, False]), cut=CUTS
    )
    def peer_sends_trailers(self, pick: int, name: str, end: bool, cut: int) -> None:
        self.say(_headers(self.some_id(pick), name, end), cut=cut)

    @goes_on
    @rule(pick=PICKS, code=CODES, cut=CUTS)
    def peer_resets(self, pick: int, code: int, cut: int) -> None:
        self.say(h.rst_stream(self.some_id(pick), code), cut=cut)

    @goes_on
    @rule(pick=PICKS, increment=st.sampled_from([1, 1000, 70_000]), cut=CUTS)
    def peer_gives_credit(self, pick: int, increment: int, cut: int) -> None:
        waiting = list(self.memory.sending)
        stream_id = waiting[pick % len(waiting)] if waiting else self.some_id(pick)
        self.say(h.window_update(stream_id, increment), cut=cut)

    @goes_on
    @rule(values=SETTINGS, cut=CUTS)
    def peer_sets(self, values: list[tuple[int, int]], cut: int) -> None:
        self.say(h.settings(*values), cut=cut)

    @goes_on
    @rule(number=st.integers(0, 2), ack=st.booleans())
    def peer_pings(self, number: int, ack: bool) -> None:
        self.say(h.ping(number.to_bytes(8, "big"), ack=ack), cut=0)

    @goes_on
    @rule(last=st.sampled_from([0, 1, 2, 3, 2**31 - 1]), code=CODES)
    def peer_goes_away(self, last: int, code: int) -> None:
        self.say(h.goaway(last, code, b"bye"), cut=0)

    @goes_on
    @rule(frames=st.lists(FRAMES, min_size=1, max_size=3), cut=CUTS)
    def peer_says_anything(self, frames: list[bytes], cut: int) -> None:
        self.say(*frames, cut=cut)

    # The program

    def free(self, pick: int, *, calling: bool = True) -> int:
        """A stream of the program's, and unless it is to be left none with a call that waits; 0 for none."""
        if self.over:
            return 0
        busy = {self.memory.handle_of(stream_id) for stream_id in self.memory.sending} if calling else set()
        busy |= {one.handle for one in self.memory.waiting} if calling else set()
        handles = [handle for handle in self.memory.handles if handle not in busy]
        return handles[pick % len(handles)] if handles else 0

    @with_an_idle_stream
    @rule(pick=PICKS, size=SIZES)
    def send(self, pick: int, size: int) -> None:
        handle = self.free(pick)
        self.step(lambda side: side.send(handle, bytes(size)))

    @with_an_idle_stream
    @rule(pick=PICKS)
    def send_trailers(self, pick: int) -> None:
        handle = self.free(pick)
        self.step(lambda side: side.trailers(handle))

    @with_an_idle_stream
    @rule(pick=PICKS)
    def end(self, pick: int) -> None:
        handle = self.free(pick)
        self.step(lambda side: side.end(handle))

    @with_a_stream
    @rule(pick=PICKS)
    def read(self, pick: int) -> None:
        handle = self.free(pick, calling=False)
        if self.memory.unread_by_anybody(handle):
            self.step(lambda side: side.read(handle))

    @with_a_stream
    @rule(pick=PICKS, code=CODES)
    def reset(self, pick: int, code: int) -> None:
        handle = self.free(pick, calling=False)
        self.step(lambda side: side.reset(handle, code))

    @with_a_stream
    @rule(pick=PICKS)
    def close(self, pick: int) -> None:
        handle = self.free(pick, calling=False)
        if not self.memory.is_tunnel(handle):  # one that is closed lingers, and in memory that is the program's affair
            self.step(lambda side: side.close(handle))

    @precondition(lambda self: not self.over and self.memory.handles)
    @rule()
    def ping(self) -> None:
        self.step(lambda side: side.ping())


class Server(Compositions):
    """The side under test is a server."""

    client = False

    @goes_on
    @rule(name=REQUESTS, skip=st.sampled_from([0, 0, 0, 2]), end=st.booleans(), cut=CUTS)
    def peer_requests(self, name: str, skip: int, end: bool, cut: int) -> None:
        stream_id = (self.memory.connection.highest_inbound_stream_id + 1 | 1) + skip
        self.say(_headers(stream_id, name, end), cut=cut)

    @with_an_idle_stream
    @rule(pick=PICKS, status=st.sampled_from([103, 200, 200, 204, 304]), end=st.booleans())
    def respond_with(self, pick: int, status: int, end: bool) -> None:
        handle = self.free(pick)
        if handle % 2 == 0 and self.memory.waiting:
            return  # whose turn it is first among pushes that wait is nobody's business
        self.step(lambda side: side.response(handle, status, end and status >= 200))

    @with_an_idle_stream
    @rule(pick=PICKS)
    def respond(self, pick: int) -> None:
        handle = self.free(pick)
        if handle % 2 == 0 and self.memory.waiting:
            return
        self.step(lambda side: side.respond(handle))

    @with_an_idle_stream
    @rule(pick=PICKS)
    def push(self, pick: int) -> None:
        handle = self.free(pick)
        self.step(lambda side: side.push(handle))

    @with_an_idle_stream
    @rule(pick=PICKS)
    def finish(self, pick: int) -> None:
        handle = self.free(pick)
        if handle % 2 and not self.memory.is_tunnel(handle):  # a promise has no handler of its own
            self.step(lambda side: side.finish(handle))


class Client(Compositions):
    """The side under test is a client."""

    client = True

    @goes_on
    @rule(name=st.sampled_from(["GET", "POST", "POST", "POST of 5", "HEAD", "CONNECT"]), end=st.booleans())
    def request(self, name: str, end: bool) -> None:
        ends = end and name not in ("POST of 5", "CONNECT")
        fields = FIELDS[name]
        self.step(lambda side: side.request(fields[0][1].decode(), fields, ends))

    @goes_on
    @rule(pick=PICKS, name=RESPONSES, end=st.booleans(), cut=CUTS)
    def peer_responds(self, pick: int, name: str, end: bool, cut: int) -> None:
        self.say(_headers(self.some_id(pick), name, end), cut=cut)

    @goes_on
    @rule(pick=PICKS, name=st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "no path"]), cut=CUTS)
    def peer_promises(self, pick: int, name: str, cut: int) -> None:
        promised = self.memory.connection.highest_inbound_stream_id + 2 & ~1
        payload = h.uint32(promised) + block(FIELDS.get(name) or MALFORMED[name])
        self.say(h.raw(h.PUSH_PROMISE, h.END_HEADERS, self.some_id(pick), payload), cut=cut)


SETTINGS_OF_A_TEST = settings(
    max_examples=EXAMPLES // 2,
    stateful_step_count=16,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestServer, TestClient = Server.TestCase, Client.TestCase
TestServer.settings = TestClient.settings = SETTINGS_OF_A_TEST


def test_rfc9113_6_8_a_second_goaway_may_leave_fewer_streams() -> None:
    both = Client()
    both.start(push=False)
    both.request(name="GET", end=False)
    both.say(h.goaway(1, 0), cut=1)
    both.say(h.goaway(0, 0) + h.data(1, b""), cut=1)
    both.read(pick=0)
    both.teardown()


def test_rfc9113_8_4_a_push_after_a_goaway_where_none_is_taken() -> None:
    both = Server()
    both.start(push=False)
    both.say(h.goaway(0, 0) + h.settings((3, 0)), cut=1)
    both.say(_headers(1, "GET", True), cut=1)
    both.respond(pick=0)
    both.push(pick=0)
    both.teardown()
