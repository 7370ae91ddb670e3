"""A stream's sending half: what waits for room, and cuts.

Theory of operation
===================

Every sending call is in three steps: it checks what forbids it, it waits for room in the outbox, and it checks again
and cuts without a checkpoint in between. So a call that is cancelled while it waits has sent nothing: header, trailer
and EOF calls are all or nothing. Only a body can be cut in part, because it waits for windows between two frames; what
was cut is sent, the rest is withdrawn, and that half is broken from then on (invariant 14): a body that ends early must
not look complete. The machine's send half steps as the frame is cut, so it waits for no task switch.

Most calls find room, window and turn at once. Those cut before their checkpoint instead of after it, and the writer
writes in the same turn of trio's loop in which the caller yields.

The calls run in the user's task, but what they change is everybody's, so they are protected from KeyboardInterrupt
like the connection's own tasks; their waits can still be interrupted. One task sends at a time: whoever waits in a call
sets `_busy`.

What the connection's reader brings in reaches the calls that wait through the writer, which tells them why they fail.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

import trio

from ..exceptions import ErrorCodes, H2Error
from ..protocol.field_rules import Fields
from ..protocol.message_half import Phase
from ..protocol.priority import Priority
from ..protocol.response_rules import ResponseHead
from ..protocol.stream_machine import StreamMachine
from .errors import broken, closed, raised
from .inbox import Inbox
from .stream_context import StreamContext
from .stream_failures import CLOSED_HERE, half_broken, half_ended, reset_here, responded, response_ended

__all__ = ["Sending"]


class Sending:
    """A stream as its sending calls need it. A StreamActor is one, with a task.

    Attributes:
        stream: the protocol's state of this stream; None while a client waits for a slot.
        machine: the same, only for streams that have their ID.
        stream_id: its ID, or None for so long.
        inbox: what was received and not taken.
        failure: why the stream cannot be used any more. The first cause sticks.
        closed_by_user: Whether the user is done with it.
    """

    __slots__ = (
        "_broken",
        "_busy",
        "_context",
        "_sleeper",
        "_unfinished",
        "closed_by_user",
        "failure",
        "inbox",
        "machine",
        "stream",
        "stream_id",
    )

    machine: StreamMachine

    def __init__(self, context: StreamContext) -> None:
        self._context = context
        self.stream: StreamMachine | None = None
        self.stream_id: int | None = None
        self.inbox = Inbox(context)
        self.failure: H2Error | None = None
        self.closed_by_user = False
        self._sleeper: trio.lowlevel.Task | None = None
        self._busy = False
        # Invariant 14: a task is in a sending call, or the last one was withdrawn; and was part of it cut?
        self._unfinished = False
        self._broken = False

    def _bind(self, stream: StreamMachine) -> None:
        """The stream has its ID."""
        self.stream = self.machine = stream
        self.stream_id = stream.stream_id
        self.inbox.bind(stream.stream_id, partial(self._context.give_credit, stream))

    def _wake(self) -> None:
        """What the stream's task waits for may have come about."""
        sleeper = self._sleeper
        if sleeper is not None:
            self._sleeper = None
            trio.lowlevel.reschedule(sleeper)

    def _changed(self) -> Awaitable[object]:
        """Wait until the next `_wake`: the stream's task, and no other, looks at its state before and after."""
        # No event, and no coroutine of its own: every request waits here, and either costs it more than the wait.
        self._sleeper = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._not_woken)  # noqa: ASYNC105 (the caller awaits it)

    def _not_woken(self, _: object) -> trio.lowlevel.Abort:
        self._sleeper = None
        return trio.lowlevel.Abort.SUCCEEDED

    def check_sending(self) -> None:
        """Raise why nothing can be sent: the failure, or that another task is sending already.

        Before it, a call of the user's asks whether that is cancelled: a scope that holds the connection and its user
        ends both, and if the connection hears of it first the user is not to see a failure in place of Cancelled.
        """
        if self.closed_by_user:
            raise closed(self.failure or CLOSED_HERE)
        if self.failure is not None:
            raise raised(self.failure)
        if self._busy:
            raise trio.BusyResourceError("another task is already sending on this stream")

    async def ready_to_send(self, *, responding: bool = False) -> None:
        """Wait for room in the outbox; after it the caller sends without a checkpoint.

        With `responding`, to a response's first frame, a pushed one also waits for the client's limit.
        """
        if self.failure is not None:
            await trio.lowlevel.checkpoint_if_cancelled()
        self.check_sending()
        writer = self._context.writer
        tracer = self._context.tracer
        self._busy = True
        try:
            await trio.lowlevel.checkpoint()
            while writer.full and self.failure is None and not self._answered_early:
                if tracer is not None:
                    tracer.sender_waits(self.machine.stream_id, "transport")
                await writer.taken()
            if responding:
                await self._wait_for_push_limit()
        finally:
            self._busy = False
            if tracer is not None:
                tracer.sender_waits(self.machine.stream_id, None)
        if self.failure is not None:
            await trio.lowlevel.checkpoint_if_cancelled()
        self.check_sending()
        if writer.failure is not None:
            raise raised(writer.failure)
        if responding and not self.machine.can_send:
            raise raised(responded(self.machine.stream_id, self.machine.sending.status))

    async def _wait_for_push_limit(self) -> None:
        """A promised response begins when the client's limit has room for it (RFC 9113 section 5.1.2)."""
        context = self._context
        while self.failure is None and self.machine.reserved and not context.machine.can_open:
            context.machine.check_push_limit()
            if context.tracer is not None:
                context.tracer.sender_waits(self.machine.stream_id, "slot")
            await context.slots.turn(self)

    @property
    def _answered_early(self) -> bool:
        """Whether an ordinary request's response has ended, so that the rest of the request is pointless."""
        return self.inbox.ended and self._context.client and not self.machine.tunnel

    def sent(self) -> None:
        """Something was queued: the writer should know, and the stream may have ended by it."""
        self._context.writer.wake()
        if self.machine.closed:
            self._closed()

    def _closed(self) -> None:
        self._wake()
        self._context.slots.grant()

    @trio.lowlevel.enable_ki_protection
    async def send_response(self, fields: Fields, head: ResponseHead, *, end_stream: bool) -> None:
        """Send a response's header section, interim or final."""
        await self.ready_to_send(responding=True)
        self._context.machine.send_response(self.machine, fields, head, end_stream=end_stream)
        self.sent()

    @trio.lowlevel.enable_ki_protection
    def cut_whole_response(self, fields: Fields, head: ResponseHead, body: bytes, trailers: Fields | None) -> bool:
        """The fast path of most responses: cut in one step, before the call's checkpoint. Whether that went.

        If so the caller has its checkpoint, and says `whole_response_sent`: until then it is still sending.
        """
        if self.failure is not None or self.closed_by_user or self._busy:
            self.check_sending()
        stream = self.machine
        if not self._context.writer.cut_whole_response(stream, fields, head, body, trailers):
            return False
        if stream.closed:
            self._closed()
        self._busy = True  # as in `send_all`
        return True

    def whole_response_sent(self) -> None:
        """The call that has cut a whole response has had its checkpoint."""
        self._busy = False
        self._context.writer.yielded()

    @trio.lowlevel.enable_ki_protection
    async def send_final(
        self,
        fields: Fields,
        head: ResponseHead,
        body: bytes | bytearray | memoryview,
        trailers: Fields | None,
        *,
        end_stream: bool,
    ) -> None:
        """Send the final response's header section and, unless that is all by `end_stream`, its body and trailers."""
        await self.ready_to_send(responding=True)
        self._context.machine.send_response(self.machine, fields, head, end_stream=end_stream)
        if end_stream:
            self.sent()
            return
        if trailers is None or memoryview(body).nbytes:
            await self.send_body(body, end_stream=trailers is None)
        if trailers is not None:
            await self.send_trailers(trailers)

    @trio.lowlevel.enable_ki_protection
    def send_continue(self) -> None:
        """Ask for the body, unless the response has begun or the body is coming anyway (RFC 9110 section 10.1.1).

        At once, whoever else is sending, and counted as a reply.
        """
        stream = self.machine
        if not stream.can_send or stream.sending.phase is not Phase.HEAD or stream.receiving.seen or self.inbox.ended:
            return
        self._context.machine.send_response(
            self.machine, ((b":status", b"100"),), ResponseHead(100, None, 1), end_stream=False
        )
        self._context.machine.count_reply()
        self.sent()

    def answer_failure(self, status: int) -> None:
        """Nobody will respond any more: this status if it can still be said, else RST_STREAM."""
        stream = self.machine
        if not stream.closed and stream.sending.phase is Phase.HEAD and not stream.reserved:
            self.answer_alone(status)
            if not stream.closed:
                self.reset(ErrorCodes.NO_ERROR)
        else:
            self.reset(ErrorCodes.INTERNAL_ERROR)
        self._context.writer.wake()

    def answer_alone(self, status: int) -> None:
        """Send this status and no body, counted as a reply; the caller has looked whether a response has begun."""
        fields = [(b":status", b"%d" % status), (b"content-length", b"0")]
        self._context.machine.send_response(self.machine, fields, ResponseHead(status, 0, 1), end_stream=True)
        self._context.machine.count_reply()

    @trio.lowlevel.enable_ki_protection
    async def send_trailers(self, fields: Fields) -> None:
        """Send a trailer section; it ends our half."""
        if self.failure is not None:
            await trio.lowlevel.checkpoint_if_cancelled()
        self.check_sending()
        before, self._unfinished = self._unfinished, True
        try:
            await self.ready_to_send()
            stream = self.machine
            self._check_open_half(stream)
            self._context.machine.send_trailers(stream, fields)
        except Exception:  # refused, in contrast to withdrawn
            self._unfinished = before
            raise
        self.sent()

    @trio.lowlevel.enable_ki_protection
    async def send_all(self, data: bytes | bytearray | memoryview, *, end_stream: bool = False) -> None:
        """Send octets of the body, and with `end_stream` the end."""
        if self.failure is not None:
            await trio.lowlevel.checkpoint_if_cancelled()
        if self._busy or self.failure is not None or self.closed_by_user:
            self.check_sending()
        before, self._unfinished = self._unfinished, True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            if self._cut_at_once(data, end_stream):
                # The checkpoint of a call that has sent already: like one that waits, it lets no other call between.
                self._busy = True
                await trio.lowlevel.cancel_shielded_checkpoint()
                self._busy = False
                self._context.writer.yielded()
            else:
                await self.ready_to_send()
                await self.send_body(data, end_stream=end_stream)
        except Exception:  # refused, in contrast to withdrawn
            self._unfinished = before
            raise
        self._unfinished = False

    def _cut_at_once(self, data: bytes | bytearray | memoryview, end_stream: bool) -> bool:
        """The fast path of small data that nothing stands in the way of: cut before the call's checkpoint, not after.

        So it is written in the same turn of trio's loop in which the sender yields.
        """
        writer = self._context.writer
        if writer.failure is not None:
            return False
        stream = self.machine
        if self._broken or self.inbox.ended or not stream.can_send:
            self._check_open_half(stream)
        if stream.sending.bodiless and stream.discards_body:
            return True
        if not writer.cut_whole(stream, data, end_stream, yields=True):
            return False
        if end_stream and stream.closed:
            self._closed()
        return True

    @trio.lowlevel.enable_ki_protection
    async def send_body(self, data: bytes | bytearray | memoryview, *, end_stream: bool) -> None:
        """Cut now what can be, and wait for the rest; the caller has been through `ready_to_send`."""
        stream = self.machine
        self._check_open_half(stream)
        stream.check_body(memoryview(data).nbytes, end_stream=end_stream)
        seen = stream.sending.seen
        self._unfinished = True
        self._busy = True
        try:
            await self._context.writer.send(stream, data, end_stream=end_stream)
        except Exception:
            raise
        except BaseException:
            self._broken = stream.sending.seen != seen
            raise
        finally:
            self._busy = False
        if stream.closed:
            self._closed()

    @trio.lowlevel.enable_ki_protection
    async def wait_sendable(self) -> None:
        """Wait until `send_all` could send something at once."""
        await self.ready_to_send()
        stream = self.machine
        self._check_open_half(stream)
        if stream.discards_body:
            return
        self._busy = True
        try:
            await self._context.writer.wait_sendable(stream)
        finally:
            self._busy = False

    def _check_open_half(self, stream: StreamMachine) -> None:
        """Raise why this half takes no more: broken by a withdrawn send, made pointless by an early answer, ended."""
        if self._broken:
            raise broken(half_broken(stream.stream_id))
        if not stream.can_send:
            raise raised(half_ended(stream.stream_id))
        if self.inbox.ended and self._answered_early:
            raise raised(response_ended(stream.stream_id, "the response has ended"))

    @property
    def _cut_short(self) -> bool:
        """Whether an end that nobody asked for would make part of a body look like all of it (invariant 14)."""
        return self._unfinished and self.stream is not None and self.stream.can_send

    @property
    def answered_whole(self) -> bool:
        """Whether the response is complete: what ends the stream then cuts nothing short (RFC 9113 section 8.1)."""
        stream = self.machine
        half = stream.receiving if self._context.client else stream.sending
        return half.phase is Phase.DONE and not stream.tunnel

    @trio.lowlevel.enable_ki_protection
    async def send_eof(self) -> None:
        """End our half; doing so twice is once."""
        await self.ready_to_send()
        stream = self.machine
        if stream.sending.phase is Phase.DONE:
            return
        if self._broken:
            self._check_open_half(stream)
        self._context.machine.end_stream(stream)
        self.sent()

    @trio.lowlevel.enable_ki_protection
    def update_priority(self, priority: Priority) -> None:
        """Tell the server how much the response matters now; the caller has been through `ready_to_send`."""
        self._context.machine.update_priority(self.machine, priority)
        self._context.writer.wake()

    @trio.lowlevel.enable_ki_protection
    def reset(self, error_code: int) -> None:
        """Send RST_STREAM, if the stream is not over already; its uncut bytes are dropped."""
        if self.stream is None or (self.stream.closed and not self._busy):
            return
        self._context.writer.fail_sender(self.stream, CLOSED_HERE)
        if self._context.machine.reset_stream(self.stream, error_code):
            self._context.writer.wake()
            tracer = self._context.tracer
            if tracer is not None:
                failure = None if self.answered_whole else reset_here(self.stream.stream_id, error_code)
                tracer.stream_closed(self.stream.stream_id, failure)
        self._context.slots.wake(self)
        self._closed()
