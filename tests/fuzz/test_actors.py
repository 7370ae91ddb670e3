"""The actors over a transport of every weather: two engines, or one and a peer that the fuzzer's grammar makes.

An example is a script: how the links behave, what every request and its handler do, and what happens to the connections
and when. It runs on a MockClock, and trio's order of tasks is part of it. Whatever happens: no exception that is not
documented, no task left, no hang; what looks complete is complete and equal; counts agree; and where nothing failed,
credit balances to the octet.

The examples are the same every time; with TRIO_H2_FULL=1 they are many more, and others each time.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import trio
import trio._core._run
import trio.testing
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import trio_h2
from tests.engine.helpers import FOREVER, at_rest, check_balance, pattern
from tests.fuzz.grammar import Source, Wire
from tests.fuzz.transport import HostileTransport, OneConnection, Weather, hostile_pair
from trio_h2 import Config
from trio_h2.actors.slices import TURN, Turn

FULL = bool(os.environ.get("TRIO_H2_FULL"))
EXAMPLES = 10_000 if FULL else 40
HANGS = 5_000
"""Seconds after which a request hangs; nothing here takes a tenth of it."""

profile = settings(
    max_examples=EXAMPLES,
    derandomize=not FULL,
    deadline=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


# Scripts

SHARES = st.sampled_from([0, 0, 0.2, 0.9, 1])


def weathers(*, breaks: bool) -> st.SearchStrategy[Weather]:
    """Links, some of which break."""
    return st.builds(
        Weather,
        seed=st.integers(0, 2**16),
        most=st.sampled_from([65_536, 16_384, 1000, 100, 9, 3]),
        instant=SHARES,
        delayed=st.sampled_from([0, 0.1, 0.5]),
        stubborn=SHARES,
        breaks_after=st.one_of(st.none(), st.integers(0, 300), st.integers(0, 60_000)) if breaks else st.none(),
        ends=st.booleans(),
    )


@dataclass(frozen=True)
class Schedule:
    """Whose turn it is when.

    Attributes:
        tasks: what trio's order of tasks is seeded with.
        frames: about how many frames all connections work off in one turn of the loop.
    """

    tasks: int
    frames: int


SCHEDULES = st.builds(Schedule, tasks=st.integers(0, 2**16), frames=st.sampled_from([10**9, 0, 2, 9]))

CONFIGS = st.sampled_from(
    [
        Config(enable_push=True),
        Config(enable_push=True, initial_window_size=1, connection_window_size=65_535, max_concurrent_streams=2),
        Config(initial_window_size=3000, connection_window_size=65_535, write_buffer_size=500, max_queued_replies=1),
        Config(initial_window_size=20_000, max_unread=5000, write_buffer_size=1, max_concurrent_streams=3),
        Config(enable_push=True, keepalive_interval=0.02, keepalive_timeout=100, max_queued_events=1),
    ]
)

BEHAVIOURS = ("late", "early", "echo", "push", "interim", "trailers", "raise", "half", "reset", "leave", "hang")
COMPLETE = ("late", "early", "echo", "push", "interim", "trailers")


@dataclass(frozen=True)
class Exchange:
    """One request, and what its handler does.

    Attributes:
        kind: its method; or "EXPECT", which waits for a 100, or "TRAILERS", which has some.
        up, down: octets of the bodies; "echo" sends back what came.
        piece: octets of one send or read.
        behaviour: the handler's.
        whole: by `request()`, and not by `stream()`.
        start: when, in milliseconds.
        given_up: after how many milliseconds it is cancelled, or None.
        pause: milliseconds between the handler's steps.
        leaves: how far a stream is used before its block is left: 0 not at all, 3 to the end.
    """

    kind: str
    up: int
    down: int
    piece: int
    behaviour: str
    whole: bool
    start: int
    given_up: int | None
    pause: int
    leaves: int

    @property
    def method(self) -> str:
        return self.kind if self.kind in ("GET", "HEAD", "CONNECT") else "POST"

    def sent(self, number: int) -> bytes:
        """The request's body."""
        return b"" if self.kind in ("GET", "HEAD") else pattern(self.up, number)

    def answer(self, number: int) -> bytes:
        """What the response has, if it is complete."""
        if self.kind == "HEAD":
            return b""
        if self.kind == "CONNECT" or self.behaviour == "echo":
            return self.sent(number)
        return pattern(self.down // 2 if self.behaviour == "half" else self.down, number)

    @property
    def step(self) -> int:
        """Octets of a piece, such that a body has not too many."""
        return max(self.piece, self.up // 20, self.down // 20)


SIZES = st.one_of(st.integers(0, 50), st.integers(0, 30_000))
EXCHANGES = st.builds(
    Exchange,
    kind=st.sampled_from(["POST", "POST", "POST", "GET", "HEAD", "CONNECT", "EXPECT", "TRAILERS"]),
    up=SIZES,
    down=SIZES,
    piece=st.sampled_from([1, 700, 9000, 40_000]),
    behaviour=st.sampled_from(BEHAVIOURS),
    whole=st.booleans(),
    start=st.integers(0, 30),
    given_up=st.one_of(st.none(), st.none(), st.integers(0, 60)),
    pause=st.sampled_from([0, 0, 0, 1, 7]),
    leaves=st.sampled_from([3, 3, 3, 0, 1, 2]),
)

ACTIONS = ("ping", "statistics", "close", "shutdown", "leave", "cancel server")


@dataclass(frozen=True)
class Script:
    """One example for two engines."""

    there: Weather
    back: Weather
    client: Config
    server: Config
    exchanges: list[Exchange]
    actions: list[tuple[int, str]]
    schedule: Schedule

    @property
    def disturbed(self) -> bool:
        """May the connection end before its time?"""
        return (
            self.there.breaks_after is not None
            or self.back.breaks_after is not None
            or any(what not in ("ping", "statistics") for _, what in self.actions)
        )


def scripts(*, breaks: bool, actions: tuple[str, ...]) -> st.SearchStrategy[Script]:
    return st.builds(
        Script,
        there=weathers(breaks=breaks),
        back=weathers(breaks=breaks),
        client=CONFIGS,
        server=CONFIGS,
        exchanges=st.lists(EXCHANGES, min_size=1, max_size=6),
        actions=st.lists(st.tuples(st.integers(0, 80), st.sampled_from(actions)), max_size=3),
        schedule=SCHEDULES,
    )


# What holds always


class Bug(AssertionError):
    """Something that must not happen."""


@contextmanager
def no_bugs_logged() -> Iterator[None]:
    """The engine itself reports no error of its own."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    keep, log = Keep(logging.ERROR), logging.getLogger("trio_h2")
    propagate, log.propagate = log.propagate, False
    log.addHandler(keep)
    try:
        yield
    finally:
        log.removeHandler(keep)
        log.propagate = propagate
    for record in records:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, Planned):
            raise Bug(record.getMessage()) from error


class Planned(Exception):
    """What handlers raise."""


def check_statistics(connection: trio_h2.Connection) -> None:
    """What is said of a connection at one moment agrees with itself."""
    now = connection.statistics()
    windows = [now.inbound_window, *(s.inbound_window for s in now.streams if s.inbound_window is not None)]
    for window in windows:
        assert window.available + window.held + window.unannounced == window.target
        assert window.held >= 0
        assert window.unannounced >= 0
    assert now.unread >= sum(stream.unread for stream in now.streams)
    assert min(now.bytes_received, now.bytes_sent, now.write_buffered, now.dropped_events) >= 0
    ids = [stream.stream_id for stream in now.streams if stream.stream_id is not None]
    assert len(ids) == len(set(ids))


def run(main: Callable[[], Awaitable[None]], schedule: Schedule) -> None:
    """Run on a clock that jumps; nothing may be left."""
    trio._core._run._r.seed(schedule.tasks)

    async def wrapped() -> None:
        # A clock that goes on with every frame.
        TURN.set(Turn(itertools.count().__next__, schedule.frames))
        before = trio.lowlevel.current_statistics().tasks_living
        with trio.fail_after(FOREVER):
            await main()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before, "tasks are left"

    with no_bugs_logged():
        trio.run(wrapped, clock=trio.testing.MockClock(autojump_threshold=0))


# Two engines


class Pieces(AsyncIterator[bytes]):
    """A body that may be left half-way without a warning, as a generator may not."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


@dataclass
class Play:
    """A script as it is played."""

    script: Script
    server_side: trio_h2.Connection | None = None

    async def play(self) -> None:
        client_end, server_end = hostile_pair(self.script.there, self.script.back)
        await self._play(client_end, server_end)
        assert not client_end.misused
        assert not server_end.misused

    async def _play(self, client_end: HostileTransport, server_end: HostileTransport) -> None:
        with trio.CancelScope() as serving:
            async with trio.open_nursery() as nursery:
                serve = partial(trio_h2.serve_h2_listeners, config=self.script.server)
                server = await nursery.start(serve, self.handler, [OneConnection(server_end)])
                with trio.CancelScope() as leaving:
                    await self._client(client_end, server, serving, leaving)
                with trio.fail_after(60):
                    await server.shutdown(grace=20)

    async def _client(
        self,
        transport: HostileTransport,
        server: trio_h2.H2Server,
        serving: trio.CancelScope,
        leaving: trio.CancelScope,
    ) -> None:
        try:
            async with trio_h2.connect_over(transport, authority="example.org", config=self.script.client) as client:
                if not self.script.disturbed:
                    await client.ping()  # what is opened before the limit is known may be refused
                async with trio.open_nursery() as taking:
                    if self.script.client.enable_push:
                        taking.start_soon(self._pushes, client)
                    async with trio.open_nursery() as nursery:
                        for when, what in self.script.actions:
                            nursery.start_soon(self._act, when / 1000, what, client, server, serving, leaving)
                        for number, exchange in enumerate(self.script.exchanges):
                            nursery.start_soon(self._exchange, client, number, exchange)
                    if not self.script.disturbed:
                        await self._check_rest(client)
                    taking.cancel_scope.cancel()
        except trio_h2.H2Error:
            if not self.script.disturbed:
                raise

    async def _check_rest(self, client: trio_h2.ClientConnection) -> None:
        """Nothing failed, so both agree to the octet when all is quiet (invariant 4)."""
        await client.ping()
        await trio.sleep(5)
        assert client.statistics().streams == ()
        if self.server_side is None:
            return
        assert self.server_side.statistics().streams == ()
        if self.script.client.keepalive_interval > FOREVER and self.script.server.keepalive_interval > FOREVER:
            check_balance(client, self.server_side)
        assert at_rest(client.statistics().inbound_window)

    async def _act(
        self,
        when: float,
        what: str,
        client: trio_h2.ClientConnection,
        server: trio_h2.H2Server,
        serving: trio.CancelScope,
        leaving: trio.CancelScope,
    ) -> None:
        await trio.sleep(when)
        try:
            if what == "ping":
                assert await client.ping() >= 0
            elif what == "statistics":
                check_statistics(client)
                if self.server_side is not None:
                    check_statistics(self.server_side)
            elif what == "close":
                await client.aclose()
            elif what == "shutdown":
                await server.shutdown(grace=when)
            elif what == "leave":
                leaving.cancel()
            else:
                serving.cancel()
        except trio_h2.H2Error:
            if not self.script.disturbed:
                raise

    # Clients

    async def _pushes(self, client: trio_h2.ClientConnection) -> None:
        async for pushed in client.pushes():
            try:
                async with pushed as stream:
                    assert b"".join([chunk async for chunk in stream]) == b"pushed"
            except trio_h2.H2Error:
                pass  # its server has gone

    async def _exchange(self, client: trio_h2.ClientConnection, number: int, exchange: Exchange) -> None:
        await trio.sleep(exchange.start / 1000)
        after = HANGS if exchange.given_up is None else exchange.given_up / 1000
        if exchange.behaviour == "hang":
            after = min(after, 0.5)
        with trio.move_on_after(after) as scope:
            try:
                call = self._request if exchange.whole and exchange.kind != "CONNECT" else self._stream
                await call(client, number, exchange)
            except trio_h2.H2Error as error:
                str(error)
                if not self.script.disturbed and exchange.behaviour in COMPLETE:
                    raise
        if scope.cancelled_caught and after == HANGS:
            raise Bug(f"request {number} hangs: {client.statistics()}")
        check_statistics(client)

    async def _request(self, client: trio_h2.ClientConnection, number: int, exchange: Exchange) -> None:
        response = await client.request(
            exchange.method,
            f"/{number}",
            headers=[("expect", "100-continue")] if exchange.kind == "EXPECT" else [],
            body=None if exchange.kind in ("GET", "HEAD") else Pieces(self._pieces(number, exchange)),
            trailers=[("x-sum", "1")] if exchange.kind == "TRAILERS" else None,
        )
        self._check_answer(number, exchange, response.status, response.headers, response.body)

    def _pieces(self, number: int, exchange: Exchange) -> Iterator[bytes]:
        body = exchange.sent(number)
        for start in range(0, len(body), exchange.step):
            yield body[start : start + exchange.step]

    async def _stream(self, client: trio_h2.ClientConnection, number: int, exchange: Exchange) -> None:
        target = f"{number}.example:1" if exchange.kind == "CONNECT" else f"/{number}"
        async with client.stream(exchange.method, target) as stream:
            if exchange.leaves == 0:
                return
            error = None
            async with trio.open_nursery() as nursery:
                if exchange.kind not in ("GET", "HEAD"):
                    nursery.start_soon(self._upload, stream, number, exchange)
                try:
                    await self._download(stream, number, exchange, nursery.cancel_scope)
                except trio_h2.H2Error as raised:  # out of a nursery it would come in a group
                    error = raised
                    nursery.cancel_scope.cancel()
            if error is not None:
                raise error

    async def _download(
        self, stream: trio_h2.ClientStream, number: int, exchange: Exchange, leaving: trio.CancelScope
    ) -> None:
        head = await stream.response()
        if exchange.leaves == 1:
            leaving.cancel()
        body = b""
        while chunk := await stream.receive_some(exchange.step):
            body += chunk
            if exchange.leaves == 2:
                leaving.cancel()
        self._check_answer(number, exchange, head.status, head.headers, body)

    async def _upload(self, stream: trio_h2.ClientStream, number: int, exchange: Exchange) -> None:
        try:
            for piece in self._pieces(number, exchange):
                await stream.send_all(piece)
            if exchange.kind == "TRAILERS":
                await stream.send_trailers([("x-sum", "1")])
            else:
                await stream.send_eof()
        except trio_h2.H2Error:
            pass  # an early answer ends it, and what is read says the rest

    def _check_answer(
        self, number: int, exchange: Exchange, status: int, headers: trio_h2.Headers, body: bytes
    ) -> None:
        """It looks complete, so it is, and as it was sent."""
        if status == 500:
            assert exchange.behaviour in ("raise", "leave") or self.script.disturbed
            return
        assert status == 200
        assert exchange.behaviour in (*COMPLETE, "half")
        assert body == exchange.answer(number)
        if exchange.behaviour == "late" and exchange.kind != "CONNECT":
            assert headers["x-sha256"] == hashlib.sha256(exchange.sent(number)).hexdigest()

    # Handlers

    async def handler(self, stream: trio_h2.ServerStream) -> None:
        self.server_side = stream.connection
        request = stream.request
        number = int((request.authority or "").split(".")[0] if request.path is None else request.path[1:])
        exchange = self.script.exchanges[number]
        try:
            await self._answer(stream, number, exchange)
        finally:
            check_statistics(stream.connection)

    async def _answer(self, stream: trio_h2.ServerStream, number: int, exchange: Exchange) -> None:
        body = pattern(exchange.down, number)
        behaviour = exchange.behaviour
        headers: list[tuple[str, str]] = []
        if behaviour == "raise":
            raise Planned
        if behaviour == "leave":
            return
        if behaviour == "reset":
            await stream.reset()
            return
        if behaviour == "hang":
            await trio.sleep_forever()
        if exchange.kind == "CONNECT":
            behaviour = "echo"
        if behaviour == "early":
            await stream.respond(200, headers, body)
            return
        if behaviour == "interim":
            await stream.send_informational(103, [("link", "</a>")])
        if behaviour == "push":
            await push(stream, b"pushed")
        if behaviour == "late":
            headers.append(("x-sha256", hashlib.sha256(await self._read(stream, number, exchange)).hexdigest()))
        await stream.send_response(200, headers)
        if behaviour == "echo":
            async for chunk in stream:
                await stream.send_all(chunk)
                await trio.sleep(exchange.pause / 1000)
            return
        if behaviour == "half":
            body = body[: len(body) // 2]
        for start in range(0, len(body), exchange.step):
            await stream.send_all(body[start : start + exchange.step])
            await trio.sleep(exchange.pause / 1000)
        if behaviour == "trailers":
            await stream.send_trailers([("x-sum", "1")])

    async def _read(self, stream: trio_h2.ServerStream, number: int, exchange: Exchange) -> bytes:
        body = b""
        while chunk := await stream.receive_some(exchange.step):
            body += chunk
            await trio.sleep(exchange.pause / 1000)
        assert body == exchange.sent(number), "a body that was cut looks complete"
        if exchange.kind == "TRAILERS":
            assert stream.trailers is not None
        return body


async def quietly(call: Callable[..., Awaitable[object]], *arguments: object) -> None:
    """A call that may find its stream gone."""
    try:
        await call(*arguments)
    except trio_h2.H2Error as error:
        str(error)


async def push(stream: trio_h2.ServerStream, body: bytes) -> None:
    """A pushed response, if the client takes it."""
    try:
        pushed = await stream.push("/pushed")
    except trio_h2.H2Error:
        return
    async with pushed:
        await quietly(pushed.respond, 200, [], body)


@profile
@given(scripts(breaks=False, actions=("ping", "statistics")))
def test_two_engines_that_nothing_disturbs(script: Script) -> None:
    run(Play(script).play, script.schedule)


@profile
@given(scripts(breaks=True, actions=ACTIONS))
def test_two_engines_whose_connection_may_end(script: Script) -> None:
    run(Play(script).play, script.schedule)


# An engine, and a peer that the grammar makes


class Peer:
    """A peer whose frames are made from octets; it reads what comes, to know which streams there are."""

    def __init__(self, transport: HostileTransport, octets: bytes, *, client: bool, wild: bool, reads: bool) -> None:
        self._transport = transport
        self._source = Source(octets)
        self._wire = Wire(self._source, client=client, wild=wild)
        self._reads = reads
        self._buffer = b""
        self._live: dict[int, None] = {}
        self._preface = not client

    async def be(self, end: str) -> None:
        """Send all there is, end like that, and read to the end."""
        try:
            async with trio.open_nursery() as nursery:
                if self._reads:
                    nursery.start_soon(self._read)
                await self._send()
                await trio.sleep(self._source.octet() / 1000)
                if end == "silence":
                    await trio.sleep(100)
                elif end == "half":
                    await self._transport.send_eof()
                    await trio.sleep(100)
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(self._transport)

    async def _send(self) -> None:
        source, wire = self._source, self._wire
        await self._transport.send_all(wire.greeting())
        while source.left:
            choice = source.octet()
            if not choice & 7:
                await trio.sleep(choice / 5000)
            wire.live = [*self._live]
            await self._transport.send_all(b"".join([wire.frame() for _ in range((choice >> 3 & 3) + 1)]))

    async def _read(self) -> None:
        while data := await self._transport.receive_some(10_000):
            self._buffer += data
            if self._preface:
                if len(self._buffer) < 24:
                    continue
                self._buffer = self._buffer[24:]
                self._preface = False
            self._look()

    def _look(self) -> None:
        while len(self._buffer) >= 9:
            length = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + length:
                return
            type_, flags = self._buffer[3:5]
            stream_id = int.from_bytes(self._buffer[5:9], "big")
            self._buffer = self._buffer[9 + length :]
            if type_ == 1:
                self._live[stream_id] = None
                if not self._wire.client:
                    self._wire.highest = max(self._wire.highest, stream_id)
            elif type_ == 3:
                self._live.pop(stream_id, None)
            elif type_ == 4 and not flags:
                self._wire.unacknowledged += 1


@dataclass(frozen=True)
class RawScript:
    """One example for one engine and such a peer.

    Attributes:
        octets: what the peer's frames are made from.
        choices: what this side's user does, each for one stream.
        end: how the peer ends.
        closes: when the user closes, in milliseconds, or None.
    """

    there: Weather
    back: Weather
    config: Config
    octets: bytes
    wild: bool
    reads: bool
    choices: list[int]
    end: str
    closes: int | None
    schedule: Schedule


RAW_SCRIPTS = st.builds(
    RawScript,
    there=weathers(breaks=True),
    back=weathers(breaks=True),
    config=CONFIGS,
    octets=st.binary(min_size=40, max_size=600),
    wild=st.sampled_from([False, False, True]),
    reads=st.sampled_from([True, True, True, False]),
    choices=st.lists(st.integers(0, 255), min_size=1, max_size=8),
    end=st.sampled_from(["close", "silence", "half"]),
    closes=st.one_of(st.none(), st.integers(0, 100)),
    schedule=SCHEDULES,
)


async def a_server(script: RawScript) -> None:
    """Ours serves; its handlers do what the choices say."""
    peer_end, server_end = hostile_pair(script.there, script.back)
    peer = Peer(peer_end, script.octets, client=True, wild=script.wild, reads=script.reads)
    started = 0

    async def handler(stream: trio_h2.ServerStream) -> None:
        nonlocal started
        started += 1
        await use_server_stream(stream, script.choices[started % len(script.choices)])
        check_statistics(stream.connection)

    async with trio.open_nursery() as nursery:
        serve = partial(trio_h2.serve_h2_listeners, config=script.config)
        server = await nursery.start(serve, handler, [OneConnection(server_end)])
        nursery.start_soon(peer.be, script.end)
        await trio.sleep(200 if script.closes is None else script.closes / 1000)
        with trio.fail_after(10):
            await server.shutdown(grace=1)
    assert not server_end.misused


async def use_server_stream(stream: trio_h2.ServerStream, choice: int) -> None:
    """A handler."""
    size = (5, 100, 3000, 70_000)[choice >> 4 & 3]
    what = choice & 15
    if what < 3:
        await stream.respond(200, [], pattern(size))
    elif what < 5:
        async for _ in stream:
            pass
        await stream.respond(200, [], pattern(size))
    elif what < 7:
        await stream.send_response(200)
        async for chunk in stream:
            await stream.send_all(chunk)
    elif what == 7:
        await stream.receive_some(size)
        await stream.reset()
    elif what == 8:
        raise Planned
    elif what == 9:
        await trio.sleep_forever()
    elif what == 10:
        await stream.send_informational(103)
        await stream.send_response(204, end_stream=True)
    elif what == 11:
        await push(stream, pattern(size))
    elif what == 12:
        with trio.move_on_after(0.01):
            await stream.send_response(200)
            await stream.send_all(pattern(size))
    elif what == 13:
        await stream.send_response(200)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(quietly, stream.receive_some, 100)
            nursery.start_soon(quietly, stream.send_all, pattern(size))
    elif what == 14:
        async for _ in stream:
            pass
        str(stream.trailers)


async def a_client(script: RawScript) -> None:
    """Ours is the client; its user does what the choices say."""
    client_end, peer_end = hostile_pair(script.back, script.there)
    peer = Peer(peer_end, script.octets, client=False, wild=script.wild, reads=script.reads)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.be, script.end)
        try:
            async with trio_h2.connect_over(client_end, authority="example.org", config=script.config) as client:
                with trio.move_on_after(200 if script.closes is None else script.closes / 1000):
                    await use_client(client, script.choices)
                check_statistics(client)
                with trio.fail_after(60):
                    await client.aclose()
        except trio_h2.H2Error as error:
            str(error)
        assert client_end.closed
        assert not client_end.misused


async def use_client(client: trio_h2.ClientConnection, choices: Sequence[int]) -> None:
    """Streams, one for each choice, and what the connection gives beside."""
    async with trio.open_nursery() as nursery:
        for choice in choices:
            nursery.start_soon(quietly, use_client_stream, client, choice)
        nursery.start_soon(quietly, client.ping)
        if choices[0] & 1:
            nursery.start_soon(quietly, take_events, client)


async def take_events(client: trio_h2.ClientConnection) -> None:
    """All that comes."""
    async for event in client.events():
        str(event)


async def use_client_stream(client: trio_h2.ClientConnection, choice: int) -> None:
    """One stream of a client's."""
    size = (0, 5, 3000, 70_000)[choice >> 4 & 3]
    what = choice & 7
    if choice & 64:
        await trio.sleep((choice & 63) / 1000)
    if what < 3:
        await client.request("POST", "/", body=pattern(size))
    elif what == 3:
        with trio.move_on_after(0.02):
            await client.request("POST", "/", body=pattern(size))
    elif what == 4:
        await client.request("HEAD", "/")
    else:
        async with client.stream("CONNECT" if what == 5 else "POST", "example.org:1" if what == 5 else "/") as stream:
            await stream.send_all(pattern(size))
            if what == 6:
                return
            await stream.response()
            async for _ in stream:
                pass
            str(stream.trailers)


@profile
@given(RAW_SCRIPTS)
def test_a_server_and_any_peer(script: RawScript) -> None:
    run(partial(a_server, script), script.schedule)


@profile
@given(RAW_SCRIPTS)
def test_a_client_and_any_peer(script: RawScript) -> None:
    run(partial(a_client, script), script.schedule)
