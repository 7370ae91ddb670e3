"""The writer: all that writes the transport, and the one place that decides whose DATA goes next.

Theory of operation
===================

What is cut into frames waits in the machine's outbox and leaves in that order, so a header block that is encoded
and a DATA frame that is cut cannot be overtaken (invariant 6). What is not cut waits here with its sender: a sender
that has window and whose turn it is cuts into the outbox at once, in its own task; the others take turns of one frame
(`waiting_senders.py`), and the writer cuts for them as the transport makes room.

All that is cut in one turn of trio's loop leaves together, in the next: in the writer's task or, to a plain socket, in
that of the first sender which goes on after its checkpoint. What needs no company leaves at once (`at_once.py`).

The outbox is bounded by `Config.write_buffer_size`, checked before a frame is cut. Replies to the peer skip that
bound, and the reader waits for them instead (`replies_taken`).

One hand-off
============

A handler sends 1 MiB on a stream whose window is 64 KiB. Its call cuts four frames into the outbox, sets `_woken` and
leaves a `PendingSend` with the rest: its window is empty, so it stands in no queue. The task runs, takes the outbox
and writes. The client's WINDOW_UPDATE reaches `credit` in the reader's task: the sender gets its place in the queue of
its urgency, and `_woken` is set again. The writer cuts one frame for it after the other, in turns with whoever else
stands there, until the window, the outbox or the octets are at their end. With the last octet it ends the
`PendingSend`, and the handler's call returns. If it is cancelled before, it takes its `PendingSend` away: what is cut
leaves, the rest never was.
"""

from __future__ import annotations

import trio

from ..config import Config
from ..exceptions import H2Error
from ..protocol.connection_machine import ConnectionMachine
from ..protocol.field_rules import Fields
from ..protocol.response_rules import ResponseHead
from ..protocol.settings import MIN_FRAME_SIZE
from ..protocol.stream_machine import StreamMachine
from ..tracer import Tracer
from .at_once import AtOnce
from .errors import TransportFailed, raised
from .pending_send import PendingSend
from .under_tls import under_tls
from .waiting_senders import WaitingSenders

__all__ = ["ENOUGH", "HELD_UP", "Writer"]

SEND_GRACE = 60.0
"""Seconds that a write may last beyond what `Config.min_send_rate` gives it: links fail for a while, and kernels take
octets in large pieces."""

HELD_UP = 0.1
"""Seconds without a read after which a request lets the reader go first. A program that was busy for a while would else
write to a server that has left in the meantime, and not know whether its request was processed."""

ENOUGH = 40
"""Messages of streams that go on which are worth a write of their own, however many others have something to send: the
peer works on them while those do. A hundred streams that send each other small messages took turns with it otherwise,
one of the two idle. Responses that end are not counted: for those, fewer writes are worth more."""


class Writer:
    """Cuts DATA for waiting senders, and writes.

    Attributes:
        at_once: what senders write themselves.
        waiting: the senders that wait.
        bytes_sent: octets handed to the transport so far.
        scope: cancelled to give up a write that the peer does not take.
        ended: set when the task has ended and nobody writes any more.
        failure: why nothing more is cut, once that is so; what is cut already still leaves.
    """

    def __init__(
        self, machine: ConnectionMachine, transport: trio.abc.SendStream, config: Config, tracer: Tracer | None
    ) -> None:
        self._machine = machine
        self._transport = transport
        self._under_tls = under_tls(transport)
        self._limit = config.write_buffer_size
        self._min_send_rate = config.min_send_rate
        self._woken = trio.Event()
        self._writing = False
        self._taken = trio.lowlevel.ParkingLot()
        self.waiting = WaitingSenders(machine, tracer)
        self._senders = self.waiting.by_stream
        self._stopped = False
        self._reads_first = False
        self._messages = 0  # of streams that go on, cut since the last write
        self._due: float | None = None
        self.at_once = AtOnce(machine, transport)
        self.ended = trio.Event()
        self.scope = trio.CancelScope()
        self.bytes_sent = 0
        self.failure: H2Error | None = None

    # The task

    async def run(self) -> None:
        """Write until stopped. Raises TransportFailed."""
        try:
            with self.scope:
                await self._write()
        finally:
            self.ended.set()
            self._taken.unpark_all()

    async def _write(self) -> None:
        while True:
            if self._reads_first:
                self._reads_first = False
                await trio.lowlevel.checkpoint()
            if self.at_once.failure is not None:
                raise TransportFailed(self.at_once.failure)
            if self._senders:
                self._cut_for_waiting()
            data = self.at_once.rest or self._machine.take()
            if data:
                self._writing = True
                self._messages = 0
                if self._taken:
                    self._taken.unpark_all()
                if self._min_send_rate:
                    self._due = trio.current_time() + SEND_GRACE + len(data) / self._min_send_rate
                try:
                    await self._transport.send_all(data)
                except Exception as error:
                    raise TransportFailed(error) from error
                if self._under_tls is not None and self._under_tls.failure is not None:
                    raise TransportFailed(self._under_tls.failure) from self._under_tls.failure
                self._due = None
                self._writing = False
                self.at_once.taken()
                self.bytes_sent += len(data)
                continue
            if self._stopped:
                return
            self._woken = trio.Event()
            await self._woken.wait()

    def wake(self) -> None:
        """There may be something to write."""
        self._woken.set()

    def read_first(self) -> None:
        """The loop may have been held up: what the peer sent meanwhile, its end say, goes before what is cut now."""
        self._reads_first = True
        self.at_once.wait()

    def whole(self, *, yields: bool = False) -> None:
        """A call has cut all that it has: write it, or wake the task. One that `yields` can write it as it goes on."""
        if self.at_once.alone or self._messages >= ENOUGH:
            self._write_at_once()
        elif not yields or self.at_once.busy:
            self._woken.set()

    def yielded(self) -> None:
        """A call of `whole` that yields goes on: what is cut leaves now."""
        if self._machine.outbox.size:
            self._write_at_once()

    def _write_at_once(self) -> None:
        """Write what is cut; or wake the task if it has to, who writes already, has to cut, or alone can write."""
        if self.at_once.busy or self._writing or self._senders or self._stopped:
            self._woken.set()
            return
        self._messages = 0
        self.bytes_sent += self.at_once.write()
        if self.at_once.rest:
            self._woken.set()
        if self._taken:
            self._taken.unpark_all()

    def stop(self) -> None:
        """Write what is cut, then end the task."""
        self._stopped = True
        self._woken.set()

    def fail(self, failure: H2Error) -> None:
        """Nothing more is cut: every waiting sender gets `failure`."""
        if self.failure is None:
            self.failure = failure
        self.waiting.fail_all(failure)
        self._taken.unpark_all()

    async def replies_taken(self) -> None:
        """Wait until the replies queued so far are on their way to the transport, or the task has ended."""
        while self._machine.replies and not self.ended.is_set():
            await self._taken.park()

    @property
    def due(self) -> float | None:
        """When the write under way has to be done, by `Config.min_send_rate`; None if none is."""
        return self._due

    @property
    def taken_by_transport(self) -> int:
        """Octets of all that was cut that the transport has, as far as anybody knows."""
        at_once = self.at_once
        return self._machine.outbox.taken - (0 if at_once.failure is None else len(at_once.rest))

    # Senders

    @property
    def full(self) -> bool:
        """Whether the transport's pace allows no more frames now."""
        return self._machine.outbox.size >= self._limit and self.failure is None

    async def taken(self) -> None:
        """Wait until the outbox was taken, or a stream ended: look again whether there is room."""
        await self._taken.park()

    async def send(
        self, stream: StreamMachine, data: bytes | bytearray | memoryview, *, end_stream: bool = False
    ) -> None:
        """Wait until all of `data` is cut into frames. Cancelled, the uncut rest is withdrawn."""
        if self.failure is not None:
            raise raised(self.failure)
        if self.cut_whole(stream, data, end_stream):
            return
        sender = PendingSend(stream, data, end_stream=end_stream)
        # Nothing to cut but END_STREAM needs no window, so it needs no turn either (RFC 9113 section 6.9.1).
        if not sender.left or not self.waiting.queued:
            self._cut(sender, self._limit)
        if not sender.ended:
            await self._wait_turn(sender)
        self._woken.set()

    def cut_whole_response(
        self, stream: StreamMachine, fields: Fields, head: ResponseHead, body: bytes, trailers: Fields | None
    ) -> bool:
        """Cut a whole small response, if buffer and turn allow and nothing in the stream speaks against it.

        The caller has its checkpoint next, and then says `yielded`.
        """
        machine = self._machine
        if self._senders or machine.outbox.size >= self._limit or self.failure is not None:
            return False
        if not machine.send_whole_response(stream, fields, head, body, trailers):
            return False
        if self.at_once.alone or self.at_once.busy or self._messages >= ENOUGH:  # else there is nothing to do yet
            self.whole(yields=True)
        return True

    def cut_whole(
        self, stream: StreamMachine, data: bytes | bytearray | memoryview, end_stream: bool, *, yields: bool = False
    ) -> bool:
        """Cut immutable data with no PendingSend, if windows, buffer and turn allow it as a whole: most bodies.

        With `yields` the caller has its checkpoint next, and then says `yielded`.
        """
        machine = self._machine
        room = self._limit - machine.outbox.size
        if type(data) is not bytes or room <= 0 or (self._senders and self.waiting.queued):
            return False
        if len(data) > room and len(data) > MIN_FRAME_SIZE:
            return False
        if not data or not machine.send_whole(stream, data, end_stream=end_stream):
            return False
        if not end_stream:
            self._messages += 1
        self.whole(yields=yields)
        return True

    async def wait_sendable(self, stream: StreamMachine) -> None:
        """Wait until `send` could cut at least one octet."""
        sender = PendingSend(stream, b"", end_stream=False, probe=True)
        self._cut(sender, self._limit)
        if not sender.ended:
            await self._wait_turn(sender)

    async def _wait_turn(self, sender: PendingSend) -> None:
        self.waiting.join(sender)
        self._woken.set()
        try:
            await sender.wait()
        finally:
            sender.withdraw()
            self.waiting.leave(sender)
        if sender.error is not None:
            raise raised(sender.error)

    def connection_credit(self) -> None:
        """The connection's window has opened further."""
        self.waiting.connection_credit()
        self._woken.set()

    def credit(self, stream: StreamMachine) -> None:
        """The stream's window may have opened, or its priority changed: queue its sender afresh."""
        self.waiting.credit(stream)
        self._woken.set()

    def initial_window_changed(self) -> None:
        """The windows of all streams may have opened: those that wait are looked at once, however often this comes.

        A sender whose window has closed loses its place when its turn comes.
        """
        self.waiting.initial_window_changed()
        self._woken.set()

    def fail_sender(self, stream: StreamMachine, failure: H2Error) -> None:
        """The stream's uncut bytes will not be sent: its sender gets `failure`."""
        self.waiting.fail(stream, failure)
        if self._taken:
            self._taken.unpark_all()

    # Cutting

    def _cut_for_waiting(self) -> None:
        """Cut for the waiting senders while there is room: by urgency, then in turns of one frame."""
        machine, waiting = self._machine, self.waiting
        waiting.look_at_windows()
        while machine.outbox.size < self._limit and machine.outbound.available > 0:
            turn = waiting.next()
            if turn is None:
                break
            sender, alone = turn
            # One that is alone takes its turns one after another.
            self._cut(sender, self._limit if alone else machine.outbox.size + 1)
            waiting.had_turn(sender)
        waiting.turns_given()

    def _cut(self, sender: PendingSend, limit: int) -> None:
        """Cut frames for one sender while the outbox is under `limit`; note when all of it is cut."""
        machine = self._machine
        stream = sender.stream
        room = limit - machine.outbox.size
        if room <= 0:
            return
        sendable = machine.sendable_at_once(stream, room)
        if sender.probe:
            if sendable:
                sender.end()
            return
        count = min(sendable, sender.left)
        if count == 0 and sender.left:
            return
        piece = sender.take(count)
        last = not sender.left
        if count:
            machine.send_whole(stream, piece, end_stream=last and sender.end_stream)
        elif sender.end_stream:
            machine.end_stream(stream)
        if last:
            sender.end()
