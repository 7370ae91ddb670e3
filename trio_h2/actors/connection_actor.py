"""ConnectionActor: one HTTP/2 connection as tasks.

The reader is the connection's own task: it takes bytes, lets the ConnectionMachine make events of them, and hands each
event on (`routing.py`), all without waiting for anybody. The one thing it may wait for is that our own queued replies
drain, in bounded time (invariant 1; they are all in docs/architecture.md). A read is worked off in slices
(`slices.py`), so that nobody holds the loop. When the connection ends (`ending.py`) the reader winds it down.

Beside it run the writer (`writer.py`), the watch over the deadlines (`watch.py`), and a task for each stream ID
(`stream_tasks.py`). No task lets an Exception out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import trio

from ..config import Config
from ..protocol.connection_machine import ConnectionMachine
from ..trace import Trace
from ..tracer import tracer_of
from .addresses import peer_address
from .deadlines import Deadlines
from .ending import Ending
from .errors import TransportFailed, why
from .event_queue import EventQueue
from .http1 import PREFACE_GRACE, first_answer, first_look, is_http1, is_http1_answer
from .live_streams import LiveStreams
from .logs import escaped, logger, peer_name
from .phases import Life, Step
from .pings import Pings
from .reading import next_size, way_to_read
from .routing import ROUTES, keep
from .shutdown import ANSWER, Shutdown
from .slices import CLIENT_SLICE, PATIENCE, Slice
from .stream_actor import StreamActor
from .stream_context import StreamContext
from .stream_tasks import RunHandler, StreamTasks
from .watch import Watch
from .writer import Writer

__all__ = ["ConnectionActor"]


class ConnectionActor:
    """The tasks of one connection, and what they share. Owner of every field: this object.

    Attributes:
        transport: what carries it.
        machine: the protocol's state; any task may call it between two checkpoints.
        writer: the task that writes.
        context: what the streams get of the connection.
        streams: those that have their tasks.
        deadlines: when something has to have happened.
        pings: those that somebody waits for.
        events: what waits for the user.
        life: its phase, and why it is in that.
        ending: how it ends.
        tasks: those of its streams.
        bytes_received: octets taken from the transport.
    """

    def __init__(
        self,
        transport: trio.abc.Stream,
        config: Config,
        nursery: trio.Nursery,
        *,
        client: bool,
        handler: RunHandler | None = None,
        on_handler_error: Callable[[str, BaseException], None] | None = None,
        on_idle: Callable[[], None] | None = None,
        on_busy: Callable[[], None] | None = None,
        on_room: Callable[[], None] | None = None,
        trace: Trace | None = None,
    ) -> None:
        """Make what there is of it; `begin` follows, and `run`.

        Args:
            transport: connected.
            config: what this side allows and waits for.
            nursery: where the tasks run, and `run` among them.
            client: Whether this side is the client.
            handler: what a server runs for every request.
            on_handler_error: as for StreamContext.
            on_idle: called when the last stream has ended, and on a server when the first SETTINGS are there.
            on_busy: called when the first stream opens.
            on_room: what a client calls when there may be more room for streams, or will be none any more.
            trace: the user's, who is told what happens.
        """
        address = peer_address(transport)
        tracer = None if trace is None else tracer_of(trace, trio.current_time, client=client)
        self.transport = transport
        self.machine = ConnectionMachine(
            config,
            client=client,
            clock=trio.current_time,
            complain=partial(_complain, address),
            tracer=tracer,
            joins_data=True,
        )
        self.writer = Writer(self.machine, transport, config, tracer)
        self.deadlines = Deadlines(config, self.writer, client=client)
        self.streams = LiveStreams(
            self.machine,
            self.deadlines,
            config.max_concurrent_streams,
            tracer,
            on_idle=on_idle,
            on_busy=on_busy,
            on_room=on_room,
        )
        self.context = StreamContext(
            self.machine,
            self.writer,
            self.streams.slots,
            config,
            client=client,
            peer_address=address,
            on_handler_error=on_handler_error,
            tracer=tracer,
        )
        self.pings = Pings(self.machine, self.writer)
        self.events = EventQueue(self.machine, config)
        self.life = Life()
        self.ending = Ending(transport, self.context, self.life, self.streams, self.pings, self.events)
        self.tasks = StreamTasks(nursery, handler, self.streams, self.ending)
        self.bytes_received = 0
        self._shutdown = Shutdown(self.context, self.ending, self.streams, self.pings)
        self._slice = Slice(CLIENT_SLICE) if client else Slice()
        self._max_replies = config.max_queued_replies
        self._nursery = nursery

    def begin(self, connection: object) -> None:
        """The user's handle on it is made. On a client its preface is queued, before anything else."""
        tracer = self.context.tracer
        if tracer is not None:
            tracer.connection_made(connection)
        if self.context.client:
            self._initiate()

    # The tasks

    @trio.lowlevel.enable_ki_protection
    async def run(self, *, speaks_h2: bool = True, data: bytes = b"") -> None:
        """Be the connection until it ends, then close the transport. Lets no Exception out.

        Args:
            speaks_h2: False on a server that cannot know yet whether the client speaks HTTP/2 at all.
            data: what has been read already, on a server that knows by it.
        """
        self._nursery.start_soon(self._run_writer)
        try:
            with self.ending.reading:
                await self._read(speaks_h2, data)
        except TransportFailed as failed:
            self.ending.lost(f"the transport broke: {why(failed.cause)}", failed.cause)
        except Exception as error:
            self.ending.bug(error)
        finally:
            await self.ending.wind_down()

    @trio.lowlevel.enable_ki_protection
    async def _run_writer(self) -> None:
        try:
            await self.writer.run()
        except TransportFailed as failed:
            await self.ending.cannot_write(failed.cause)
        except Exception as error:
            self.ending.bug(error)

    @trio.lowlevel.enable_ki_protection
    async def _run_watch(self) -> None:
        try:
            with self.ending.watching:
                await Watch(self.context, self.deadlines, self.streams, self.ending).run()
        except Exception as error:
            self.ending.bug(error)

    def _initiate(self) -> None:
        """Send our connection preface, before anything else. A second time does nothing."""
        if self.life.step(Step.PREFACE_SENT):
            self.deadlines.start()
            self.machine.initiate()
            self.writer.wake()

    # The reader

    async def _read(self, speaks_h2: bool, data: bytes | bytearray) -> None:
        if not speaks_h2:
            data = await first_look(self.transport, self.context.config, PREFACE_GRACE)
            if is_http1(data) and self.ending.http1_seen():
                return
        self._initiate()
        self._nursery.start_soon(self._run_watch)
        if self.context.client:
            data = await first_answer(self.transport)
            if is_http1_answer(data):
                self.ending.http1_answered(data)
        read = way_to_read(self.transport)
        while self.life.cause is None:
            if data:
                await self.receive(data)
            size, data = next_size(len(data)), b""  # the next read can have the memory of this one
            try:
                data = await read(size)
            except Exception as error:
                raise TransportFailed(error) from error
            if not data:
                if self.writer.at_once.failure is not None:  # who wrote has heard why this is the end
                    raise TransportFailed(self.writer.at_once.failure)
                self.ending.left()

    async def receive(self, data: bytes | bytearray) -> None:
        """Let each frame of a read have its effect and hand out what it brings, in slices that end between two frames.

        After each it waits, if it must, for our own replies, and for nothing else.
        """
        self.bytes_received += len(data)
        self.deadlines.received()
        machine, life, slice_, clock = self.machine, self.life, self._slice, self._slice.clock
        state = machine.state
        over = False
        first: int | None = None
        alone = True
        slice_.begin()
        for frame in machine.reader.feed(bytes(data)):
            if over:
                await self._pause()
                if life.cause is not None:
                    return
            if alone:  # until there is a frame of another stream
                stream_id = getattr(frame, "stream_id", 0)
                alone, first = first is None or stream_id == first, stream_id
            for event in machine.receive_frame(frame):
                ROUTES.get(type(event), keep)(self, event)
            if life.cause is not None or state.failure is not None:
                break
            over = clock() >= slice_.until
        slice_.end()
        self.writer.at_once.expect(alone=alone, read_at=self.deadlines.received_at)
        if self._settle():
            await self._replies_taken()

    async def _pause(self) -> None:
        """Let everybody else have a turn; the connection may have ended after it."""
        self._slice.end()
        if self._settle():
            await self._replies_taken()
        for _ in range(PATIENCE):
            await trio.lowlevel.checkpoint()
            if self.life.cause is not None or self._slice.begin():
                return

    def _settle(self) -> bool:
        """See to what the frames before have changed. Whether they made us queue too many replies."""
        machine, state = self.machine, self.machine.state
        if state.failure is not None:
            self.ending.rule_broken(state.failure)
        elif machine.inbound.received >= machine.bandwidth.due:
            machine.measure(trio.current_time())
        self.streams.slots.grant()
        if machine.has_output:
            self.writer.wake()
        return state.replies > self._max_replies and self.life.cause is None

    async def _replies_taken(self) -> None:
        """Wait, in bounded time, until what the peer made us queue is on its way."""
        with trio.move_on_after(self.context.config.write_timeout):
            await self.writer.replies_taken()
            return
        self.ending.give_up("the peer does not read the replies it asks for")

    # Calls of the user

    @trio.lowlevel.enable_ki_protection
    def start_client_stream(self, actor: StreamActor) -> None:
        """Give a client's stream its task; it opens now, or when its turn for a slot comes."""
        self.ending.check_usable()
        self.tasks.start_client(actor)
        self.streams.enter(actor)

    @trio.lowlevel.enable_ki_protection
    def start_pushed_stream(self, actor: StreamActor) -> StreamActor:
        """Give a promised stream of ours its task."""
        self.streams.add(actor)
        self.tasks.start_pushed(actor)
        self.writer.wake()
        return actor

    @trio.lowlevel.enable_ki_protection
    async def ping(self) -> float:
        """Send a PING and wait for its answer: the round trip in seconds (RFC 9113 section 6.7)."""
        if self.life.cause is not None:
            await trio.lowlevel.checkpoint_if_cancelled()
            self.ending.check_usable()
        round_trip = await self.pings.ping()
        if round_trip is None:
            self.ending.check_usable()
        assert round_trip is not None
        return round_trip

    @trio.lowlevel.enable_ki_protection
    async def aclose(self, *, drain: bool) -> None:
        """Send GOAWAY, let open streams finish in bounded time if `drain`, and close. Idempotent."""
        await self.ending.aclose(drain=drain)

    def begin_shutdown(self, deadline: float) -> None:
        """As `shutdown`, in a task of the connection's own; a handler that called for it has a moment longer."""
        if not self.life.closed.is_set():
            self._nursery.start_soon(self._shutdown_alone, deadline)

    async def _shutdown_alone(self, deadline: float) -> None:
        with trio.move_on_at(deadline + ANSWER) as scope:
            await self.shutdown(deadline)
        if scope.cancelled_caught:
            self._nursery.cancel_scope.cancel("the connection was shut down, and its grace is over")

    @trio.lowlevel.enable_ki_protection
    async def shutdown(self, deadline: float) -> None:
        """End a server's connection gracefully by `deadline`; what is left of it then is cancelled."""
        self._initiate()
        if not await self._shutdown.run(deadline):
            self.writer.scope.cancel()
            self._nursery.cancel_scope.cancel()


def _complain(address: object, stream_id: int, reason: str) -> None:
    """A stream of the peer's was refused or reset by our checks."""
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("stream %d of %s failed: %s", stream_id, peer_name(address), escaped(reason))
