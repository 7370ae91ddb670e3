"""ConnectionActor: one HTTP/2 connection as a task.

Its task is the reader loop: it takes bytes, lets the ConnectionMachine make events of them, and hands each event to
the stream it concerns, all without waiting for anybody. The one thing it may wait for is that our own queued
replies drain, in bounded time (invariant 1; they are all in docs/architecture.md). It owns the machine, spawns a
StreamActor for every stream ID, and ends everything when the connection ends:

    running   until the peer closes, a rule is broken, a deadline passes, or the user closes: `end` is called
    stopping  the writer writes what is cut, in bounded time; then a server's half closes, and the client's is
              awaited, so that a TCP reset does not destroy what we just sent
    closed    no task of the connection is left

A read is worked off in slices (`slices.py`), so that nobody holds the loop. Deadlines have a task of their own
(`deadlines.py`), which sleeps while they are kept.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from .. import events as ev
from ..config import Config
from ..exceptions import (
    ConnectionTerminatedError,
    ErrorCodes,
    H2Error,
    InternalError,
    error_name,
    shown,
)
from ..protocol.bandwidth import MEASURING_PING
from ..protocol.codec import PREFACE
from ..protocol.connection_machine import ConnectionMachine
from ..protocol.settings import SettingCodes
from ..protocol.stream_machine import StreamMachine
from ..protocol.verdicts import ConnectionFailure
from .addresses import socket_address
from .admission import Permits, Slots
from .deadlines import BodyRates, Deadlines, Overdue
from .errors import TransportFailed, raised, retryable, why
from .logs import close_at_once, escaped, logger
from .slices import PATIENCE, Slice
from .stream_actor import StreamActor
from .stream_context import StreamContext
from .writer import Writer

__all__ = ["ConnectionActor"]

READ_SIZE = 120 * 1024
"""Octets asked of the transport at once. A socket allocates them all before it reads, and from 128 KiB on the C library
maps fresh pages for that each time, which takes longer than reading."""

HTTP1_TEXT = b"This server speaks HTTP/2 only: use a client with HTTP/2 prior knowledge, or https with ALPN h2.\n"
HTTP1_ANSWER = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(HTTP1_TEXT), HTTP1_TEXT)
)
MAX_REQUEST_LINE = 8 * 1024
"""Octets of an HTTP/1.x request line that are waited for (RFC 9112 section 3 recommends to take 8,000)."""

# RFC 9112 section 3: method, target, version. The line may end in a bare LF (2.2), the target may be in any encoding.
_METHOD = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(_METHOD + rb" [^\x00-\x20\x7f]+ HTTP/1\.[0-9]\r?\n")
_BEGINNING = re.compile(_METHOD + rb"(?: (?:[^\x00-\x20\x7f]+(?: [HTP/.0-9]{0,8}\r?)?)?)?")

MAX_EVENT_SIZE = 8 * 1024
"""Octets of one connection event that is kept for `events()`: nobody may be reading them. Fifty origins fit."""

OBJECT_SIZE = 256
"""What an event takes beside its octets, at most."""

SETTING_SIZE = 208
"""What a setting takes in one: its change, the numbers in that, and its place in the dict."""

ORIGIN_SIZE = 48
"""What an origin takes in one, beside its octets."""

PREFACE_GRACE = 0.1
"""Seconds a cleartext server holds its SETTINGS back for a first look at what the client speaks."""

StreamEvent = (
    ev.ResponseReceived
    | ev.InformationalResponseReceived
    | ev.TrailersReceived
    | ev.StreamEnded
    | ev.WindowUpdated
    | ev.PriorityUpdated
)

Handler = Callable[[StreamActor, ev.RequestReceived], Awaitable[None]]


class ShutdownPhase:
    """A phase of a graceful shutdown: it leaves `share` of the time there is, at most `most`, to those after it."""

    def __init__(self, scope: trio.CancelScope, share: float, most: float) -> None:
        self.scope = scope
        self._share = share
        self._most = most

    def shorten(self, deadline: float) -> None:
        """The whole shutdown has to be over by `deadline`."""
        left = max(0, deadline - trio.current_time())
        reserve = min(self._share * left, self._most) if self._share else 0
        self.scope.deadline = min(self.scope.deadline, deadline - reserve)


class ConnectionActor:
    """Owner of every field but the machine's: this object.

    Attributes:
        machine: the protocol's state; any task may call it between two checkpoints.
        writer: the task that writes.
        failure: why the connection is of no more use, once that is so. The first cause sticks.
        closed: True when the connection has ended and no call can succeed any more.
        done: set when the transport is closed and only user code may still run.
        settings_received: set when the peer's first SETTINGS is in force.
        dropped_events: connection events nobody took in time.
        slots: a client's streams that wait to open.
        context: what the streams get of the connection.
        on_idle: what a server calls when the first SETTINGS are there, and when the last stream has ended.
        on_busy: what it calls when the first stream opens.
    """

    def __init__(
        self,
        transport: trio.abc.Stream,
        config: Config,
        nursery: trio.Nursery,
        *,
        client: bool,
        handler: Handler | None = None,
    ) -> None:
        self.transport = transport
        self.config = config
        self.client = client
        self.machine = ConnectionMachine(config, client=client, clock=trio.current_time)
        self.machine.complain = self._complain
        self.writer = Writer(self.machine, transport, config)
        self.failure: H2Error | None = None
        self.closed = False
        self.done = trio.Event()
        self.settings_received = trio.Event()
        self.dropped_events = 0
        self.bytes_received = 0
        self._nursery = nursery
        self._handler = handler
        self._scope = trio.CancelScope()
        self._watch_scope = trio.CancelScope()
        self._slice = Slice()
        self._streams: dict[int, StreamActor] = {}
        self.slots = Slots(self.machine, self._streams.__setitem__)
        self.context = StreamContext(
            self.machine,
            self.writer,
            self.slots,
            config,
            client=client,
            peer_address=socket_address(transport, "getpeername"),
        )
        self._live: set[StreamActor] = set()
        self._permits = Permits(config.max_concurrent_streams, self._start)
        self._deadlines = Deadlines(config, self.writer, client=client)
        self._body_rates = BodyRates(config)
        self._quiet = trio.lowlevel.ParkingLot()
        self._pings: dict[bytes, tuple[trio.Event, list[float]]] = {}
        self._ping_number = 0
        self._events_in, self.events_out = trio.open_memory_channel[ev.Event](config.max_queued_events)
        self._pushes_in, self.pushes_out = trio.open_memory_channel[tuple[StreamActor, ev.PushedStreamReceived]](
            config.max_queued_events
        )
        self._event_octets = 0  # of those that wait in there
        self._http1 = False
        self._no_http2 = False
        self._gone = False
        self._initiated = False
        self.on_idle: Callable[[], None] | None = None
        self.on_busy: Callable[[], None] | None = None
        self._phase: ShutdownPhase | None = None
        self._shutdown_deadline = math.inf
        self._routes: dict[type[ev.Event], Callable[[Any], None]] = {
            ev.RequestReceived: self._on_request,
            ev.ResponseReceived: self._on_stream,
            ev.InformationalResponseReceived: self._on_stream,
            ev.DataReceived: self._on_data,
            ev.TrailersReceived: self._on_stream,
            ev.StreamEnded: self._on_stream,
            ev.StreamReset: self._on_reset,
            ev.WindowUpdated: self._on_window,
            ev.PriorityUpdated: self._on_stream,
            ev.RemoteSettingsChanged: self._on_settings,
            ev.SettingsAcknowledged: self._on_settings_acknowledged,
            ev.PingAckReceived: self._on_ping_ack,
            ev.ConnectionTerminated: self._on_goaway,
            ev.PushedStreamReceived: self._on_push,
        }
        if client:
            self._initiate()

    # The tasks

    @trio.lowlevel.enable_ki_protection
    async def run(self, *, speaks_h2: bool = True) -> None:
        """Be the connection until it ends, then close the transport. Lets no Exception out.

        Args:
            speaks_h2: False on a server that cannot know yet whether the client speaks HTTP/2 at all.
        """
        self._nursery.start_soon(self._run_writer)
        try:
            with self._scope:
                await self._read(speaks_h2)
        except TransportFailed as failed:
            self._lost(f"the transport broke: {why(failed.cause)}", failed.cause)
        except Exception as error:
            self._bug(error)
        finally:
            await self._shut_down()

    @trio.lowlevel.enable_ki_protection
    async def _run_writer(self) -> None:
        try:
            await self.writer.run()
        except TransportFailed as failed:
            await self._cannot_write(failed.cause)
        except Exception as error:
            self._bug(error)

    async def _cannot_write(self, cause: Exception) -> None:
        """The peer takes no more: nothing can be sent, but what it sent before, an early answer say, can be read."""
        failure = ConnectionTerminatedError(f"the transport broke: {why(cause)}", initiator="remote")
        failure.__cause__ = cause
        if not self.client:  # requests get no early answers
            self.end(failure)
            return
        if self.failure is None:
            self.failure = failure
        self.writer.fail(failure)
        self.slots.fail(retryable(failure))
        with trio.move_on_after(self.config.close_timeout):
            await self.done.wait()
        self.end(failure)

    def _bug(self, error: Exception) -> None:
        failure = InternalError(f"a bug in trio_h2: {error!r}")
        failure.__cause__ = error
        logger.error("a bug in trio_h2 ended a connection", exc_info=error)
        self.machine.fail(ConnectionFailure(ErrorCodes.INTERNAL_ERROR, "internal error"))
        self.failure = failure
        self.end(failure)

    async def _read(self, speaks_h2: bool) -> None:
        data: bytes | bytearray | None = None
        if not speaks_h2:
            data = await self._first_look()
            if is_http1(data) and not self._initiated:
                self._http1 = True
                self.end(ConnectionTerminatedError("the client speaks HTTP/1.x", initiator="remote"))
                return
        self._initiate()
        self._nursery.start_soon(self._watch)
        while not self.closed:
            if data:
                await self.receive(data)
            if self.machine.replies > self.config.max_queued_replies and not self.closed:
                await self._replies_taken()
            try:
                data = await self.transport.receive_some(READ_SIZE)
            except Exception as error:
                raise TransportFailed(error) from error
            if not data:
                self._lost("the peer closed the transport")

    async def _first_look(self) -> bytes:
        """The client's first octets: enough to know HTTP/1.x by.

        They have to come soon, because a client may wait for our SETTINGS; not so once they are no preface of HTTP/2.
        """
        data = b""
        started = trio.current_time()
        with trio.move_on_after(min(PREFACE_GRACE, self.config.handshake_timeout)) as scope:
            while may_become_http1(data):
                try:
                    more = await self.transport.receive_some(READ_SIZE)
                except Exception as error:
                    raise TransportFailed(error) from error
                if not more:
                    break
                data += more
                if not PREFACE.startswith(data):
                    scope.deadline = started + self.config.handshake_timeout
        return data

    def _initiate(self) -> None:
        """Send our connection preface, before anything else. A second time does nothing."""
        if self._initiated:
            return
        self._initiated = True
        self._deadlines.start()
        self.machine.initiate()
        self.writer.wake()

    @trio.lowlevel.enable_ki_protection
    async def _watch(self) -> None:
        """The task of the deadlines."""
        try:
            with self._watch_scope:
                while (deadline := self._deadlines.next(busy=bool(self._live))) != math.inf:
                    await trio.sleep_until(deadline)
                    # What came while something held up the loop is there: the reader takes it first.
                    await trio.lowlevel.checkpoint()
                    self._see_to_deadlines()
        except Exception as error:
            self._bug(error)

    def _see_to_deadlines(self) -> None:
        overdue = self._deadlines.passed(busy=bool(self._live))
        if overdue is Overdue.FIRST_SETTINGS:
            self._dead("the peer sent no SETTINGS in time")
        elif overdue is Overdue.SETTINGS_ACKNOWLEDGEMENT:
            self._break(ConnectionFailure(ErrorCodes.SETTINGS_TIMEOUT, "our SETTINGS were not acknowledged in time"))
        elif overdue is Overdue.WRITE:
            rate = self.config.min_send_rate
            self._note_limit("min_send_rate", f"it takes less than {rate:g} octets a second")
            self._dead("the peer does not read what is sent to it")
        elif overdue is Overdue.KEEPALIVE_ANSWER:
            self._dead("the peer did not answer a keepalive PING")
        elif overdue is Overdue.KEEPALIVE:
            self._deadlines.pinged()
            self.machine.ping(b"keepaliv")
            self.writer.wake()
        elif overdue is Overdue.IDLE:
            self.end_idle("the connection was idle")
        elif overdue is Overdue.STALL:
            timeout = self.config.stall_timeout
            for stream in self.writer.stalled(timeout):
                actor = self._streams[stream.stream_id]
                self._reset_slow(actor, "stall_timeout", f"the peer gave it no window for {timeout:g} seconds")
        elif overdue is Overdue.BODIES:
            self._deadlines.bodies_looked_at()
            rate = self.config.min_body_rate
            for actor in self._body_rates.slow(self._streams.values()):
                reason = f"its body comes at less than {rate:g} octets a second"
                self._reset_slow(actor, "min_body_rate", reason)

    def _reset_slow(self, actor: StreamActor, limit: str, reason: str) -> None:
        self._note_limit(limit, f"stream {actor.stream_id}: {reason}")
        self._on_reset(actor.reset_slow(reason))

    def _note_limit(self, limit: str, reason: str) -> None:
        """The peer was slower than a field of Config allows: counted each time, and logged once."""
        self.machine.count_limit(limit)
        if self.machine.limits_hit[limit] == 1:
            logger.info("%s went over Config.%s: %s", self.peer, limit, reason)

    def end_idle(self, reason: str) -> None:
        """GOAWAY, and the end: there is no stream that would have to finish."""
        self.machine.goaway()
        self.end(ConnectionTerminatedError(reason, initiator="local"))

    async def _replies_taken(self) -> None:
        with trio.move_on_after(self.config.write_timeout):
            await self.writer.replies_taken()
            return
        self._dead("the peer does not read the replies it asks for")

    # Receiving

    async def receive(self, data: bytes | bytearray) -> None:
        """Let each frame of a read have its effect and hand out what it brings, in slices.

        It waits for nothing else, and a slice ends only between two frames.
        """
        self.bytes_received += len(data)
        self._deadlines.received()
        machine, routes, slice_, clock = self.machine, self._routes, self._slice, self._slice.clock
        over = False
        slice_.begin()
        for frame in machine.reader.feed(bytes(data)):
            if over:
                await self._pause()
                if self.closed:
                    return
            for event in machine.receive_frame(frame):
                route = routes.get(type(event))
                if route is None:
                    self._report(event)
                else:
                    route(event)
            if self.closed or machine.failure is not None:
                break
            over = clock() >= slice_.until
        slice_.end()
        self._settle()

    async def _pause(self) -> None:
        """Let everybody else have a turn; the connection may have ended after it."""
        self._slice.end()
        self._settle()
        if self.machine.replies > self.config.max_queued_replies and not self.closed:
            await self._replies_taken()
        for _ in range(PATIENCE):
            await trio.lowlevel.checkpoint()
            if self.closed or self._slice.begin():
                return

    def _settle(self) -> None:
        """See to what the frames before have changed."""
        machine = self.machine
        if machine.failure is not None:
            self._break(machine.failure)
        elif machine.inbound.received >= machine.bandwidth.due:
            machine.measure(trio.current_time())
        self.grant_slots()
        if machine.has_output:
            self.writer.wake()

    def _on_request(self, event: ev.RequestReceived) -> None:
        stream = self.machine.table.get(event.stream_id)
        if stream is None:  # it was refused later in the same batch
            return
        actor = StreamActor(self.context, stream)
        self.opened(actor)
        self._permits.admit(actor, event)

    def _start(self, actor: StreamActor, event: ev.RequestReceived) -> None:
        actor.start(event)
        self._nursery.start_soon(self.run_server, actor)

    def _on_stream(self, event: StreamEvent) -> None:
        actor = self._streams.get(event.stream_id)
        if actor is not None:
            actor.deliver(event)

    def _on_data(self, event: ev.DataReceived) -> None:
        actor = self._streams.get(event.stream_id)
        if actor is None:
            self.machine.release_connection(len(event.data))
        else:
            actor.deliver(event)

    def _on_reset(self, event: ev.StreamReset) -> None:
        actor = self._streams.get(event.stream_id)
        if actor is None:
            return
        actor.deliver(event)
        if not self.client and not actor.started:
            self._permits.forget(actor)
            actor.release()
            self.finished(actor)

    def _on_window(self, event: ev.WindowUpdated) -> None:
        if event.stream_id == 0:
            self.writer.connection_credit()
            self._report(event)
        else:
            self._on_stream(event)

    def _on_settings(self, event: ev.RemoteSettingsChanged) -> None:
        self._deadlines.settings_received()
        if not self.settings_received.is_set():
            self.settings_received.set()
            if self.on_idle is not None:
                self.on_idle()
        if SettingCodes.INITIAL_WINDOW_SIZE in event.changed_settings:
            self.writer.initial_window_changed()
        self._report(event)

    def _on_settings_acknowledged(self, event: ev.SettingsAcknowledged) -> None:
        if not self.machine.local_settings.awaiting_acknowledgement:
            self._deadlines.settings_acknowledged()
        self._report(event)

    def _on_ping_ack(self, event: ev.PingAckReceived) -> None:
        if event.ping_data == MEASURING_PING and self.machine.bandwidth.measuring:
            self.machine.measured(trio.current_time())
            return
        waiting = self._pings.pop(event.ping_data, None)
        if waiting is not None:
            answered, times = waiting
            times.append(trio.current_time())
            answered.set()
        self._report(event)

    def _on_goaway(self, event: ev.ConnectionTerminated) -> None:
        """Our streams above its last stream ID were not processed; the others finish (invariant 9)."""
        self._report(event)
        debug_data = event.additional_data or b""
        failure = ConnectionTerminatedError(
            f"the peer sent GOAWAY: {error_name(event.error_code)} {shown(debug_data)}".rstrip(),
            error_code=event.error_code,
            initiator="remote",
        )
        failure.last_stream_id = event.last_stream_id
        failure.additional_data = debug_data
        if self.failure is None:  # else nobody waits for a slot any more
            self.failure = failure
            self.slots.fail(retryable(failure))
        for stream in self.machine.abandon_streams(event.last_stream_id):
            self._streams[stream.stream_id].fail(retryable(failure))
        self._end_if_drained()

    def _on_push(self, event: ev.PushedStreamReceived) -> None:
        stream = self.machine.table.get(event.pushed_stream_id)
        if stream is None:
            return
        if not self.config.enable_push:  # promised before our SETTINGS came into force
            self._refuse_push(stream)
            return
        actor = StreamActor(self.context, stream)
        try:
            self._pushes_in.send_nowait((actor, event))
        except trio.WouldBlock:
            self._complain(event.pushed_stream_id, "too many pushes that nobody has taken")
            self.machine.count_limit("max_queued_events")
            self._refuse_push(stream)
            return
        self.opened(actor)
        self._nursery.start_soon(self.run_client, actor)

    def _refuse_push(self, stream: StreamMachine) -> None:
        self.machine.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
        self.machine.held_headers.release(stream.stream_id)

    def _report(self, event: ev.Event) -> None:
        """Give an event that concerns the connection to `events()`, or count it as dropped."""
        size = event_size(event)
        if size > OBJECT_SIZE + MAX_EVENT_SIZE or self._event_octets + size > self.config.max_event_octets:
            self.dropped_events += 1
            self.machine.count_limit("max_event_octets")
            return
        try:
            self._events_in.send_nowait(event)
        except trio.WouldBlock:
            self.dropped_events += 1
            self.machine.count_limit("max_queued_events")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.dropped_events += 1
        else:
            self._event_octets += size

    async def next_event(self) -> ev.Event:
        """Wait for the next event that concerns the connection. Raises trio.EndOfChannel after the last."""
        event = await self.events_out.receive()
        self._event_octets -= event_size(event)
        return event

    # Streams

    def opened(self, actor: StreamActor) -> None:
        """The actor's stream has its ID: what is received on it goes there."""
        if not self._live and self.on_busy is not None:
            self.on_busy()
        assert actor.stream_id is not None
        self._streams[actor.stream_id] = actor
        self._live.add(actor)

    @trio.lowlevel.enable_ki_protection
    def start_client_stream(self, actor: StreamActor) -> None:
        """Give a client's stream its task; it opens now, or when its turn for a slot comes."""
        self.check_usable()
        self._live.add(actor)
        self.slots.join(actor)
        self._nursery.start_soon(self.run_client, actor)
        self.grant_slots()

    @trio.lowlevel.enable_ki_protection
    def start_pushed_stream(self, actor: StreamActor) -> StreamActor:
        """Give a promised stream of ours its task."""
        self.opened(actor)
        self._nursery.start_soon(self.run_pushed, actor)
        self.writer.wake()
        return actor

    @trio.lowlevel.enable_ki_protection
    async def run_client(self, actor: StreamActor) -> None:
        try:
            await actor.run_client()
        except trio.Cancelled:
            # Only the connection's own nursery cancels this task, and its tasks learn of that in any order.
            self.end_cancelled()
            raise
        finally:
            self.finished(actor)

    @trio.lowlevel.enable_ki_protection
    async def run_pushed(self, actor: StreamActor) -> None:
        try:
            await actor.run_pushed()
        finally:
            self.finished(actor)

    @trio.lowlevel.enable_ki_protection
    async def run_server(self, actor: StreamActor) -> None:
        assert self._handler is not None
        try:
            await actor.run_server(self._handler)
        finally:
            self.finished(actor)

    def grant_slots(self) -> None:
        """Open the streams that wait, as far as the peer's limit allows; none waits on a connection that has failed."""
        self.slots.grant()

    def finished(self, actor: StreamActor) -> None:
        """The actor's task has ended: nothing of the stream is left but its tombstone."""
        self._live.discard(actor)
        if actor.stream_id is not None:
            self._streams.pop(actor.stream_id, None)
            self.machine.held_headers.release(actor.stream_id)
        else:
            self.slots.leave(actor)
        if actor.started:
            self._permits.give_back()
        self.grant_slots()
        if not self._live:
            if self.on_idle is not None:
                self.on_idle()
            self._deadlines.quiet()
            self._quiet.unpark_all()
            self._end_if_drained()

    def _end_if_drained(self) -> None:
        """After the server's GOAWAY a client's connection is of no more use when its last stream has ended."""
        if self.client and self.machine.remote_goaway is not None and not self._live and not self.closed:
            assert self.failure is not None
            self.machine.goaway()
            self.end(self.failure)

    # Calls of the user

    @property
    def accepting(self) -> bool:
        """Can a new request be made: neither ended, nor GOAWAY either way, nor out of stream IDs?"""
        return (
            self.failure is None
            and self.machine.remote_goaway is None
            and self.machine.goaway_last_stream_id is None
            and self.machine.table.next_own_id() is not None
        )

    def check_usable(self) -> None:
        """Raise why the connection takes no new request or PING; nothing of it was sent."""
        if self.failure is not None:
            raise raised(retryable(self.failure, lasting=self._no_http2))

    @trio.lowlevel.enable_ki_protection
    async def ping(self) -> float:
        """Send a PING and wait for its answer: the round trip in seconds (RFC 9113 section 6.7)."""
        if self.closed:
            self.check_usable()
        self._ping_number += 1
        payload = self._ping_number.to_bytes(8, "big")
        answered = trio.Event()
        times: list[float] = []
        self._pings[payload] = (answered, times)
        start = trio.current_time()
        self.machine.ping(payload)
        self.writer.wake()
        try:
            await answered.wait()
        finally:
            self._pings.pop(payload, None)
        if not times:
            self.check_usable()
        return times[0] - start

    # Ending

    def _lost(self, reason: str, cause: BaseException | None = None) -> None:
        """The peer went away; what is cut is still written, if the transport takes it."""
        failure = ConnectionTerminatedError(reason, initiator="remote")
        failure.__cause__ = cause
        self.end(failure)

    def _dead(self, reason: str) -> None:
        """The peer is there no more, or does not read: there is no use in writing to it."""
        self._lost(reason)
        self._gone = True
        self.writer.scope.cancel()

    def _break(self, failure: ConnectionFailure) -> None:
        """The peer broke a rule of the connection: GOAWAY says which, and the user learns it too."""
        if failure.limit is not None and not self.closed:
            logger.info("%s went %s", self.peer, escaped(failure.reason))
        self.machine.fail(failure)
        # A rule may be broken once. Who does not come as far as SETTINGS, an HTTP/1.1 server say, will not next time.
        self._no_http2 = not self.settings_received.is_set()
        self.end(failure.error())

    def end(self, failure: H2Error) -> None:
        """Nothing goes on: every waiting call fails, and the reader's task shuts the connection down."""
        if self.closed:
            return
        self.closed = True
        if failure.initiator != "local" and logger.isEnabledFor(logging.DEBUG):
            logger.debug("the connection with %s ended: %s", self.peer, escaped(failure))
        if self.failure is None:
            self.failure = failure
        failure = self.failure
        self.writer.fail(failure)
        self.slots.fail(retryable(failure, lasting=self._no_http2))
        for actor in list(self._live):
            actor.lose_connection(failure)
        for actor in self._permits.clear():
            actor.release()
            self.finished(actor)
        for answered, _ in self._pings.values():
            answered.set()
        self.settings_received.set()
        self._events_in.close()
        self._pushes_in.close()
        self._quiet.unpark_all()
        self.writer.wake()
        self._watch_scope.cancel()
        self._scope.cancel()

    def end_cancelled(self) -> None:
        """The scope that the connection lives in was cancelled."""
        self.end(ConnectionTerminatedError("the connection was cancelled", initiator="local"))

    async def _shut_down(self) -> None:
        """Write what is cut, close, and see that the peer got it; every step bounded. Cancelled: close at once."""
        self.end_cancelled()
        closed = False
        try:
            with trio.move_on_after(self.config.close_timeout):
                if self._http1:
                    await self.transport.send_all(HTTP1_ANSWER)
                else:
                    self.writer.stop()
                    await self.writer.ended.wait()
                if not self._gone:
                    await self._close_gently()
                    closed = True
        except Exception as error:  # the transport's: the connection has ended, and its failure is another one
            logger.debug("closing the connection with %s: %s", self.peer, escaped(repr(error)))
        finally:
            self.writer.scope.cancel()
            try:
                if not closed:
                    await close_at_once(self.transport)
            finally:
                self.done.set()

    async def _close_gently(self) -> None:
        """Close; a server first ends its half and reads on to the client's end.

        A TCP socket that is closed with unread bytes resets the connection, and what the client has not read yet of
        its last responses is lost by that (invariant 9).
        """
        if not self.client:
            if isinstance(self.transport, trio.abc.HalfCloseableStream):
                await self.transport.send_eof()
            with trio.move_on_after(min(1.0, self.config.close_timeout)):
                while await self.transport.receive_some(READ_SIZE):
                    pass
        await self.transport.aclose()

    async def drain(self) -> None:
        """Wait until no stream is left."""
        while self._live and not self.closed:
            await self._quiet.park()

    @trio.lowlevel.enable_ki_protection
    async def aclose(self, *, drain: bool) -> None:
        """Send GOAWAY, let open streams finish in bounded time if `drain`, and close. Idempotent."""
        if not self.closed:
            self.machine.goaway()
            self.writer.wake()
            if self.failure is None:
                self.failure = ConnectionTerminatedError("the connection was closed", initiator="local")
            self.slots.fail(retryable(self.failure))
            self._refuse_untaken_pushes()
            try:
                if drain:
                    with trio.move_on_after(self.config.close_timeout):
                        await self.drain()
            finally:
                self._reset_all()
                self.end(self.failure)
        await self.done.wait()

    def _refuse_untaken_pushes(self) -> None:
        while True:
            try:
                actor, _ = self.pushes_out.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                return
            actor.close(linger=False)

    @trio.lowlevel.enable_ki_protection
    async def shutdown(self, deadline: float) -> None:
        """Graceful shutdown in two phases (RFC 9113 section 6.8); streams may finish until `deadline`.

        A second call joins the first, whose phases stay; of both deadlines the sooner one counts.
        """
        self._shutdown_deadline = min(self._shutdown_deadline, deadline)
        if self._phase is not None:
            self._phase.shorten(self._shutdown_deadline)
            with trio.move_on_at(deadline):
                await self.done.wait()
            return
        if not self.closed and self.machine.goaway_last_stream_id is None:
            self._initiate()
            self.machine.announce_goaway()
            self.writer.wake()
            with self._begin_phase(share=0.5, most=math.inf, lasts=self.config.goaway_delay):
                # The answer proves that the client has seen the first GOAWAY: what it opened before is here.
                await self._ping_quietly()
        if not self.closed:
            self.machine.goaway()
            self.writer.wake()
            with self._begin_phase(share=0.1, most=0.5):
                await self.drain()
            self._reset_all()
            self.end(ConnectionTerminatedError("the server was shut down", initiator="local"))
        with self._begin_phase(share=0, most=0) as scope:
            await self.done.wait()
        if scope.cancelled_caught:
            self.writer.scope.cancel()
            self._nursery.cancel_scope.cancel()

    def _begin_phase(self, *, share: float, most: float, lasts: float = math.inf) -> trio.CancelScope:
        self._phase = ShutdownPhase(trio.CancelScope(deadline=trio.current_time() + lasts), share, most)
        self._phase.shorten(self._shutdown_deadline)
        return self._phase.scope

    async def _ping_quietly(self) -> None:
        try:
            await self.ping()
        except H2Error:
            pass

    def _reset_all(self) -> None:
        for actor in list(self._live):
            actor.reset(ErrorCodes.CANCEL)

    # Looking

    @property
    def live(self) -> int:
        """How many streams have their tasks."""
        return len(self._live)

    def handlers(self) -> list[str]:
        """The handlers that run, in words."""
        return [actor.handler for actor in self._live if actor.started]

    @property
    def peer(self) -> str:
        """Who the peer is, for what is logged."""
        return self.context.peer

    def _complain(self, stream_id: int, reason: str) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("stream %d of %s failed: %s", stream_id, self.peer, escaped(reason))

    @property
    def actors(self) -> list[StreamActor]:
        """The streams that live now, in the order of their IDs; those that wait for a slot last."""
        opened = [self._streams[stream_id] for stream_id in sorted(self._streams)]
        return opened + list(self.slots.waiting)


def event_size(event: ev.Event) -> int:
    """How many octets an event holds: the peer's, and the objects around them."""
    size = OBJECT_SIZE
    if isinstance(event, ev.OriginReceived):
        size += sum([ORIGIN_SIZE + 2 * len(origin) for origin in event.origins])  # they are in its payload too
    elif isinstance(event, ev.UnknownFrameReceived):
        size += len(event.payload)
    elif isinstance(event, ev.RemoteSettingsChanged | ev.SettingsAcknowledged):
        size += SETTING_SIZE * len(event.changed_settings)
    elif isinstance(event, ev.ConnectionTerminated):
        size += len(event.additional_data or b"")
    elif isinstance(event, ev.AlternativeServiceAvailable):
        size += len(event.origin) + len(event.field_value)
    return size


def may_become_http1(data: bytes) -> bool:
    """Is this still too little to tell an HTTP/1.x request line from anything else?"""
    return not data or (len(data) <= MAX_REQUEST_LINE and _BEGINNING.fullmatch(data) is not None)


def is_http1(data: bytes) -> bool:
    """Does this start with an HTTP/1.x request line? Nothing else is answered in HTTP/1.1."""
    return _REQUEST_LINE.match(data) is not None
