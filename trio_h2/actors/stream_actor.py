"""StreamActor: one task for each stream ID, in which that stream lives.

The machine's receive half steps when a frame is delivered and its send half in the sending call, so neither waits
for a task switch. What needs a task is the stream's life: on the server the actor runs the handler and then ends
the stream by the handler contract (docs/architecture.md); on the client it waits for a slot, opens the stream, pumps
the body that `request()` was given, and waits for the end; on both it lingers for a tunnel that was closed first here.

Sending calls are methods with no checkpoint between the check and the frame: a call that is cancelled while it
waits for room has sent nothing (header, trailer and EOF calls are all or nothing). They run in the user's task, but
what they change is everybody's, so they are protected from KeyboardInterrupt like the connection's own tasks; their
waits can still be interrupted.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import trio

from .. import events as ev
from ..codes import error_name
from ..exceptions import ErrorCodes, H2Error, StreamClosedError, StreamResetError
from ..protocol.field_rules import Fields
from ..protocol.priority import Priority
from ..protocol.request_rules import RequestHead
from ..protocol.response_rules import ResponseHead
from ..protocol.stream_machine import Phase, StreamMachine, StreamState
from ..protocol.windows import InboundWindow
from .errors import broken, closed, raised, without_cancelled
from .inbox import Inbox
from .logs import logger, request_line, tells_nothing
from .stream_context import StreamContext

__all__ = ["Body", "Pump", "StreamActor"]

CUT = "while its last sending call was not done, or was cancelled"

END = object()
"""What comes after an iterator's last chunk."""

Body = bytes | bytearray | memoryview | AsyncIterable[bytes]

# Failures are copied when they are raised, so this one stands for every stream.
CLOSED_HERE = StreamResetError("the stream was closed by this side", initiator="local")


class Pump:
    """What `request()` sends while it reads: a body, then trailers or the end. Owner: the StreamActor.

    Attributes:
        expect_continue: wait for a 100 (RFC 9110 section 10.1.1), or for a final response that makes it moot.
        proceed: set by whichever of the two comes.
        done: set when the pump has ended, and the caller's iterator is no longer run.
        error: what `request()` has to raise: of the caller's iterator, or of a body that makes no request.
        iterator_raised: is it the iterator's? Then it is raised whatever became of the stream.
    """

    def __init__(self, body: Body, trailers: Fields | None, *, expect_continue: bool) -> None:
        self.body = body
        self.trailers = trailers
        self.expect_continue = expect_continue
        self.proceed = trio.Event()
        self.done = trio.Event()
        self.scope = trio.CancelScope()
        self.error: BaseException | None = None
        self.iterator_raised = False

    def answered(self, status: str) -> None:
        """A response has come: to a pump that waits for a 100 the final one says whether the body is wanted."""
        if status == "100":
            self.proceed.set()
        elif self.expect_continue and not self.proceed.is_set() and not status.startswith("1"):
            if status.startswith("2"):
                self.proceed.set()
            else:
                self.scope.cancel()

    def fail(self, error: BaseException) -> None:
        """This is what `request()` has to raise."""
        self.error = error

    def raise_error(self) -> None:
        """Raise what `request()` has to, if there is something: once, because its traceback leads back here."""
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error from None
            finally:
                del error

    async def run_callers(self, step: Callable[..., Awaitable[Any]], *arguments: object) -> Any:
        """Await a step of the caller's iterator, and note if it raises."""
        try:
            return await _unprotected(step, *arguments)
        except trio.Cancelled:
            raise
        except BaseException:
            self.iterator_raised = True
            raise


@trio.lowlevel.disable_ki_protection
async def _unprotected(step: Callable[..., Awaitable[Any]], *arguments: object) -> Any:
    """The caller's code: unlike the engine's it may be interrupted."""
    return await step(*arguments)


async def _iterator(body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    return aiter(body)


class StreamActor:
    """One stream's task, inbox and ending. Owner of every field: this object.

    Attributes:
        stream: the protocol's state of this stream; None while a client waits for a slot.
        stream_id: its ID, or None for so long.
        inbox: what was received and not taken.
        failure: why the stream cannot be used any more. The first cause sticks.
        scope: what a peer's reset cancels: the handler. A client's stream has none.
        request: what a server's handler was called for.
        opened: where a client waits for a slot: set when its stream has its ID, or never will.
    """

    __slots__ = (
        "_broken",
        "_busy_sending",
        "_connection_ended",
        "_context",
        "_open_arguments",
        "_unfinished",
        "_woken",
        "closed_by_user",
        "failure",
        "inbox",
        "opened",
        "pump",
        "request",
        "scope",
        "stream",
        "stream_id",
    )

    def __init__(self, context: StreamContext, stream: StreamMachine | None = None) -> None:
        self._context = context
        self.stream: StreamMachine | None = None
        self.stream_id: int | None = None
        self.inbox = Inbox()
        self.failure: H2Error | None = None
        self.scope = None if context.client else trio.CancelScope()
        self.opened: trio.Event | None = None
        self.request: ev.RequestReceived | None = None
        self.pump: Pump | None = None
        self.closed_by_user = False
        self._connection_ended = False
        self._woken: trio.Event | None = None
        self._busy_sending = False
        # Invariant 14: a task is in a sending call, or the last one was withdrawn; and was part of it cut?
        self._unfinished = False
        self._broken = False
        self._open_arguments: tuple[Fields, RequestHead, bool] | None = None
        if stream is not None:
            self._bind(stream)

    def _bind(self, stream: StreamMachine) -> None:
        """The stream has its ID."""
        self.stream = stream
        self.stream_id = stream.stream_id
        self.inbox.bind(stream.stream_id, partial(self._context.give_credit, stream))

    @property
    def machine(self) -> StreamMachine:
        """The protocol's state; only for streams that are open."""
        assert self.stream is not None
        return self.stream

    @property
    def wants_slot(self) -> bool:
        """Is a client's stream still to be opened? Not if its caller was cancelled, even if it has not run since."""
        return self.failure is None and (self.opened is None or self.opened.statistics().tasks_waiting > 0)

    # What others may know of it

    @property
    def started(self) -> bool:
        """Whether a server's handler was given its permit and its task."""
        return self.request is not None

    def start(self, request: ev.RequestReceived) -> None:
        """A server's handler has its permit: `run_server` follows."""
        self.request = request

    @property
    def state(self) -> StreamState | None:
        """The stream's state, or None while a client's waits for a slot."""
        return None if self.stream is None else self.stream.state

    @property
    def priority(self) -> Priority:
        """What RFC 9218 calls the stream's priority."""
        return self.machine.priority

    @property
    def inbound_window(self) -> InboundWindow | None:
        """The window we give the peer, or None while the stream waits for a slot."""
        return None if self.stream is None else self.stream.inbound

    @property
    def outbound_window(self) -> int:
        """What the peer lets us send now; may be negative."""
        return 0 if self.stream is None else self.stream.outbound.available

    @property
    def body_received(self) -> int | None:
        """Octets of the message's body so far; None where none is to come, and for a tunnel."""
        stream = self.machine
        return stream.receiving.seen if stream.receiving.phase is Phase.BODY and not stream.tunnel else None

    @property
    def waits_for(self) -> str | None:
        """What holds the stream up now, in words, or None: its sender goes before its reader."""
        if self.stream is None:
            return "slot"
        sender = self._context.writer.waits_for(self.stream)
        if sender is not None:
            return sender
        if self.inbox.unread:
            return "application"
        return "peer" if self.inbox.waiting else None

    # What the reader brings: none of this waits

    def deliver(self, event: ev.Event) -> None:
        """Take what came of a frame: the one way by which anything that is received reaches a stream."""
        inbox = self.inbox
        if isinstance(event, ev.DataReceived):
            inbox.put_data(event.data)
            if self.closed_by_user:  # a tunnel's: nobody will read it, and the peer should know
                self.reset(ErrorCodes.CANCEL)
        elif isinstance(event, ev.StreamEnded):
            self._on_end(event)
        elif isinstance(event, ev.ResponseReceived | ev.InformationalResponseReceived):
            inbox.put(event)
            if self.pump is not None:
                self.pump.answered(event.headers[b":status"])
        elif isinstance(event, ev.WindowUpdated | ev.PriorityUpdated):
            inbox.put_passing(event)
            self._context.writer.credit(self.machine)
        elif isinstance(event, ev.StreamReset):
            self._on_reset(event)
        else:
            inbox.put(event)

    def _on_end(self, event: ev.StreamEnded) -> None:
        """The peer sent END_STREAM. To a request still being sent that is an early end of the response."""
        self.inbox.end(event)
        stream = self.machine
        if self._context.client and not stream.tunnel and stream.can_send:
            self._context.writer.abort(
                stream,
                StreamResetError(
                    "the response ended before the request did",
                    error_code=ErrorCodes.NO_ERROR,
                    initiator="remote",
                    stream_id=stream.stream_id,
                ),
            )
            self._stop_pump()
        if self.closed_by_user:
            self._wake()

    def _on_reset(self, event: ev.StreamReset) -> None:
        """RST_STREAM came, or this library sent it for what the peer did."""
        by = "the peer" if event.remote_reset else "this library"
        self.inbox.put_reset(event)
        self.fail(
            StreamResetError(
                f"{by} reset stream {event.stream_id}: {error_name(event.error_code)} {event.reason}".rstrip(),
                error_code=event.error_code,
                initiator="remote" if event.remote_reset else "library",
                safe_to_retry=event.remote_reset and event.error_code == ErrorCodes.REFUSED_STREAM,
                stream_id=event.stream_id,
            )
        )

    def fail(self, failure: H2Error) -> None:
        """The stream is over for this reason: whoever waits on it learns it now. What came before stays readable."""
        if self.failure is None:
            self.failure = failure
        self.inbox.fail(failure)
        if self.stream is not None:
            self._context.writer.abort(self.stream, failure)
        if self.opened is not None:
            self.opened.set()
        self._stop_pump()
        if self.scope is not None:
            self.scope.cancel()
        self._context.slots.wake(self)
        self._wake()

    def _wake(self) -> None:
        """What the stream's task waits for may have come about."""
        if self._woken is not None:
            self._woken.set()

    async def _changed(self) -> None:
        """Wait until the next `_wake`: the stream's task looks at its state before and after."""
        self._woken = trio.Event()
        await self._woken.wait()

    def lose_connection(self, failure: H2Error) -> None:
        """The connection has ended, and every stream with it."""
        self._connection_ended = True
        self.fail(failure)

    def _stop_pump(self) -> None:
        if self.pump is not None:
            self.pump.scope.cancel()

    # What the user calls

    def check_sending(self) -> None:
        """Raise why nothing can be sent: the failure, or that another task is sending already."""
        if self.closed_by_user:
            raise closed(self.failure or CLOSED_HERE)
        if self.failure is not None:
            raise raised(self.failure)
        if self._busy_sending:
            raise trio.BusyResourceError("another task is already sending on this stream")

    async def ready_to_send(self, *, responding: bool = False) -> None:
        """Wait for room in the outbox; after it the caller sends without a checkpoint.

        With `responding`, to a response's first frame, a pushed one also waits for the client's limit.
        """
        self.check_sending()
        writer = self._context.writer
        self._busy_sending = True
        try:
            await trio.lowlevel.checkpoint()
            while writer.full and self.failure is None and not self._answered_early:
                await writer.taken()
            if responding:
                await self._wait_for_push_limit()
        finally:
            self._busy_sending = False
        self.check_sending()
        if writer.failure is not None:
            raise raised(writer.failure)
        if responding and not self.machine.can_send:
            raise raised(self._sent_eof())

    async def _wait_for_push_limit(self) -> None:
        """A promised response begins when the client's limit has room for it (RFC 9113 section 5.1.2)."""
        context = self._context
        while self.failure is None and self.machine.reserved and not context.machine.can_open:
            context.machine.check_push_limit()
            await context.slots.turn(self)

    @property
    def _answered_early(self) -> bool:
        """Has an ordinary request's response ended, so that the rest of the request is pointless?"""
        return self._context.client and self.inbox.ended and not self.machine.tunnel

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
    async def send_whole_response(self, fields: Fields, head: ResponseHead, body: bytes) -> bool:
        """The fast path of most responses: cut in one step, before the call's checkpoint, if it goes; did it?"""
        self.check_sending()
        await trio.lowlevel.checkpoint_if_cancelled()
        stream = self.machine
        if not self._context.writer.cut_whole_response(stream, fields, head, body):
            return False
        if stream.closed:
            self._closed()
        await self._yield_busy()
        return True

    @trio.lowlevel.enable_ki_protection
    async def send_final(
        self, fields: Fields, head: ResponseHead, body: bytes | bytearray | memoryview, *, end_stream: bool
    ) -> None:
        """Send the final response's header section, and all of the body, unless `end_stream`: then there is none."""
        await self.ready_to_send(responding=True)
        self._context.machine.send_response(self.machine, fields, head, end_stream=end_stream)
        if end_stream:
            self.sent()
        else:
            await self.send_body(body, end_stream=True)

    @trio.lowlevel.enable_ki_protection
    def promise(self, fields: Fields, head: RequestHead) -> StreamActor:
        """Promise a response that nobody asked for; the caller has been through `ready_to_send`."""
        machine = self._context.machine
        machine.check_push_limit()
        promised = StreamActor(self._context, machine.promise(self.machine, fields, head))
        promised.inbox.end(ev.StreamEnded(promised.machine.stream_id))  # the client sends nothing on it
        return promised

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

    @trio.lowlevel.enable_ki_protection
    async def send_trailers(self, fields: Fields) -> None:
        """Send a trailer section; it ends our half."""
        self.check_sending()
        before, self._unfinished = self._unfinished, True
        try:
            await self.ready_to_send()
            self._check_open_half()
            self._context.machine.send_trailers(self.machine, fields)
        except Exception:  # refused, in contrast to withdrawn
            self._unfinished = before
            raise
        self.sent()

    @trio.lowlevel.enable_ki_protection
    async def send_all(self, data: bytes | bytearray | memoryview, *, end_stream: bool = False) -> None:
        """Send octets of the body, and with `end_stream` the end."""
        self.check_sending()
        before, self._unfinished = self._unfinished, True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            if self._cut_at_once(data, end_stream):
                await self._yield_busy()
            else:
                await self.ready_to_send()
                await self.send_body(data, end_stream=end_stream)
        except Exception:  # refused, in contrast to withdrawn
            self._unfinished = before
            raise
        self._unfinished = False

    async def _yield_busy(self) -> None:
        """The checkpoint of a call that has sent already: like one that waits, it lets no other call between."""
        self._busy_sending = True
        try:
            await trio.lowlevel.cancel_shielded_checkpoint()
        finally:
            self._busy_sending = False

    def _cut_at_once(self, data: bytes | bytearray | memoryview, end_stream: bool) -> bool:
        """The fast path of small data that nothing stands in the way of: cut before the call's checkpoint, not after.

        So the writer writes it in the same turn of trio's loop in which the sender yields.
        """
        writer = self._context.writer
        if writer.failure is not None:
            return False
        self._check_open_half()
        if self.machine.discards_body:
            return True
        if not writer.cut_whole(self.machine, data, end_stream):
            return False
        if end_stream and self.machine.closed:
            self._closed()
        return True

    @trio.lowlevel.enable_ki_protection
    async def send_body(self, data: bytes | bytearray | memoryview, *, end_stream: bool) -> None:
        """Cut now what can be, and wait for the rest; the caller has been through `ready_to_send`."""
        stream = self.machine
        self._check_open_half()
        stream.check_body(memoryview(data).nbytes, end_stream=end_stream)
        seen = stream.sending.seen
        self._busy_sending = self._unfinished = True
        try:
            await self._context.writer.send(stream, data, end_stream=end_stream)
        except Exception:
            raise
        except BaseException:
            self._broken = stream.sending.seen != seen
            raise
        finally:
            self._busy_sending = False
        if stream.closed:
            self._closed()

    @trio.lowlevel.enable_ki_protection
    async def wait_sendable(self) -> None:
        """Wait until `send_all` could send something at once."""
        await self.ready_to_send()
        self._check_open_half()
        if self.machine.discards_body:
            return
        self._busy_sending = True
        try:
            await self._context.writer.wait_sendable(self.machine)
        finally:
            self._busy_sending = False

    def _check_open_half(self) -> None:
        """Raise why this half takes no more: broken by a withdrawn send, made pointless by an early answer, ended."""
        stream = self.machine
        if self._broken:
            raise broken(
                StreamClosedError(
                    stream.stream_id,
                    "a cancelled call has sent part of its data: this side of the stream is broken",
                    initiator="local",
                )
            )
        if stream.can_send and self._answered_early:
            raise raised(
                StreamResetError(
                    "the response has ended",
                    error_code=ErrorCodes.NO_ERROR,
                    initiator="remote",
                    stream_id=stream.stream_id,
                )
            )
        if not stream.can_send:
            raise raised(self._sent_eof())

    @property
    def _cut_short(self) -> bool:
        """Would an end that nobody asked for make part of a body look like all of it (invariant 14)?"""
        return self._unfinished and self.stream is not None and self.stream.can_send

    def _sent_eof(self) -> StreamClosedError:
        return StreamClosedError(self.machine.stream_id, "this side of the stream has ended", initiator="local")

    @trio.lowlevel.enable_ki_protection
    async def send_eof(self) -> None:
        """End our half; doing so twice is once."""
        await self.ready_to_send()
        stream = self.machine
        if stream.sending.phase is Phase.DONE:
            return
        if self._broken:
            self._check_open_half()
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
        if self.stream is None or (self.stream.closed and not self._busy_sending):
            return
        self._context.writer.abort(self.stream, CLOSED_HERE)
        if self._context.machine.reset_stream(self.stream, error_code):
            self._context.writer.wake()
        self._context.slots.wake(self)
        self._closed()

    @trio.lowlevel.enable_ki_protection
    def close(self, *, linger: bool) -> None:
        """The user is done with the stream. Nothing waits; what is left of it the actor's task does.

        A tunnel that lingers ends its own half and waits for the peer's; anything else still open is reset, with
        INTERNAL_ERROR if it is left in order and yet a body was cut short.
        """
        if self.closed_by_user:
            if not linger:
                self.reset(ErrorCodes.CANCEL)
            return
        self.closed_by_user = True
        stream = self.stream
        if linger and self._cut_short:
            self.reset(ErrorCodes.INTERNAL_ERROR)
        elif linger and stream is not None and self.failure is None and stream.is_established_tunnel:
            self._context.writer.abort(stream, CLOSED_HERE)
            if stream.can_send:
                self._context.machine.end_stream(stream)
                self._context.writer.wake()
        elif not self._context.client and stream is not None and stream.sending.phase is Phase.DONE:
            # The response is complete: the client may stop sending, and keeps what it got (RFC 9113 section 8.1).
            self.reset(ErrorCodes.NO_ERROR)
        else:
            self.reset(ErrorCodes.CANCEL)
        self.release()

    def release(self) -> None:
        """Nothing of the stream is used any more; a call on a handle that somebody kept raises why."""
        if self.failure is None:
            self.failure = CLOSED_HERE
        self.inbox.close(self.failure, by_user=self.closed_by_user)
        self._stop_pump()
        if self.opened is not None:
            self.opened.set()
        self._wake()

    def reset_slow(self, reason: str) -> ev.StreamReset:
        """Send RST_STREAM because the peer is too slow; the event that says so, which is still to be delivered."""
        stream = self.machine
        self._context.machine.reset_stream(stream, ErrorCodes.CANCEL)
        self._context.writer.wake()
        return ev.StreamReset(stream.stream_id, ErrorCodes.CANCEL, False, reason)

    # The task, on a client

    def prepare(self, fields: Fields, head: RequestHead, *, end_stream: bool, pump: Pump | None) -> None:
        """Note what to open the stream with once there is a slot, and what to send on it then."""
        self._open_arguments = (fields, head, end_stream)
        self.pump = pump

    async def wait_open(self) -> None:
        """Wait until the stream has its ID, if it has none yet. Raises why it never will; nothing was sent then."""
        if self.stream is None and self.failure is None:
            assert self.opened is None, "another task waits for the stream already"
            self.opened = trio.Event()
            await self.opened.wait()
        if self.stream is None:
            assert self.failure is not None
            raise raised(self.failure)

    def open(self) -> None:
        """Take the next stream ID and queue HEADERS, in one step. Raises as ConnectionMachine.open_stream."""
        assert self._open_arguments is not None
        fields, head, end_stream = self._open_arguments
        self._bind(self._context.machine.open_stream(fields, head, end_stream=end_stream))
        self._context.writer.wake()
        if self.opened is not None:
            self.opened.set()
        self._wake()

    @trio.lowlevel.enable_ki_protection
    async def run_client(self) -> None:
        """A client's stream from its opening to its end."""
        try:
            while self.stream is None:
                if self.failure is not None:
                    return
                await self._changed()
            if self.pump is not None:
                await self._run_pump(self.pump)
            while not (self.closed_by_user or self._connection_ended):
                await self._changed()
            if not self.machine.closed:
                await self._linger()
        finally:
            if self.pump is not None:
                self.pump.done.set()

    async def _linger(self) -> None:
        """Wait for the peer to end a tunnel that we ended first, in bounded time."""
        with trio.move_on_after(self._context.config.linger_timeout):
            while not (self.machine.closed or self._connection_ended):
                await self._changed()
        self.reset(ErrorCodes.CANCEL)

    async def _run_pump(self, pump: Pump) -> None:
        try:
            with pump.scope:
                if pump.expect_continue:
                    with trio.move_on_after(self._context.config.continue_timeout):
                        await pump.proceed.wait()
                await self._send_pumped(pump)
        except BaseException as raised_here:
            # Not kept in a variable of this frame: the error's traceback has the frame, and that would be a circle.
            if not self._pump_raised(pump, without_cancelled(raised_here)):
                raise
        finally:
            pump.done.set()

    def _pump_raised(self, pump: Pump, error: BaseException | None) -> bool:
        """See to what a pump raised, None if it was cancelled. Whether that is done, and it goes no further."""
        if error is None:
            return False
        # When the stream or the connection failed or ended, the reading side of request() meets that and says so.
        failed = self.failure is not None or self._context.writer.failure is not None or self.inbox.ended
        if pump.iterator_raised or not isinstance(error, Exception) or not failed:
            pump.fail(error)
            self.reset(ErrorCodes.CANCEL)
            self.fail(CLOSED_HERE)
        return True

    async def _send_pumped(self, pump: Pump) -> None:
        ends_with_body = pump.trailers is None
        if isinstance(pump.body, bytes | bytearray | memoryview):
            if len(pump.body) or ends_with_body:
                await self.send_all(pump.body, end_stream=ends_with_body)
        else:
            await self._send_chunks(pump, pump.body)
            if ends_with_body:
                await self.send_eof()
        if pump.trailers is not None:
            await self.send_trailers(pump.trailers)

    async def _send_chunks(self, pump: Pump, body: AsyncIterable[bytes]) -> None:
        chunks = await pump.run_callers(_iterator, body)
        try:
            while (chunk := await pump.run_callers(anext, chunks, END)) is not END:
                if not isinstance(chunk, bytes | bytearray | memoryview):
                    raise TypeError(f"body must give bytes-like chunks, not {type(chunk).__name__}")
                await self.send_all(chunk)
        finally:
            # A generator that is left half-way would run its own clean-up whenever it is collected, anywhere.
            if inspect.isasyncgen(chunks):
                await pump.run_callers(chunks.aclose)

    # The task, on a server

    @trio.lowlevel.enable_ki_protection
    async def run_pushed(self) -> None:
        """A pushed response's stream: the handler that promised it sends on it, here it ends."""
        try:
            while not (self.machine.closed or self.closed_by_user or self._connection_ended):
                await self._changed()
        finally:
            self.reset(ErrorCodes.CANCEL)
            self.release()

    @trio.lowlevel.enable_ki_protection
    async def run_server(self, handler: Callable[[StreamActor, ev.RequestReceived], Awaitable[None]]) -> None:
        """A server's stream: the handler, then what the handler contract says of how it ended."""
        assert self.scope is not None
        assert self.request is not None
        try:
            with self.scope:
                await handler(self, self.request)
            # A handler that was cancelled has not finished: its response must not look as if it had.
            if self.failure is None:
                self._finish_handler()
            if self.machine.tunnel and not self.machine.closed:
                self.close(linger=True)
                await self._linger()
        except BaseException as raised_here:
            if not self._handler_raised(without_cancelled(raised_here)):
                raise
        finally:
            self.reset(ErrorCodes.CANCEL)
            self.release()

    def _handler_raised(self, error: BaseException | None) -> bool:
        """See to what a handler raised, None if it was cancelled. Whether that is done, and it goes no further."""
        if not isinstance(error, Exception):
            return False
        # A handler that raises because its stream or connection is gone tells nothing new, and nobody is answered.
        if self.failure is None or self.closed_by_user or not tells_nothing(error):
            logger.error("%s raised", self.handler, exc_info=error)
        if self.failure is None:
            self._finish_failed()
        return True

    @property
    def handler(self) -> str:
        """A server's handler that has started, in words."""
        assert self.request is not None
        return f"the handler of {request_line(self.request.headers)} for {self._context.peer}"

    def _finish_handler(self) -> None:
        """The handler returned: end the response as the handler contract says."""
        stream = self.machine
        context = self._context
        if stream.closed:
            return
        if stream.sending.phase is Phase.HEAD:
            logger.warning("%s returned without responding: it gets 500", self.handler)
            self._answer_500()
        elif stream.tunnel:
            if self._cut_short:
                logger.warning("%s returned %s: the stream is reset", self.handler, CUT)
            return
        elif stream.can_send:
            if stream.sending.too_short or self._cut_short:
                half = stream.sending
                length = f"with {half.seen} octets sent of its content-length of {half.expected}"
                what = length if half.too_short else CUT
                logger.warning("%s returned %s: the stream is reset", self.handler, what)
                self.reset(ErrorCodes.INTERNAL_ERROR)
            else:
                context.machine.end_stream(stream)
        if not stream.closed:
            # The response is complete, the request is not: the client may stop sending (RFC 9113 section 8.1).
            self.reset(ErrorCodes.NO_ERROR)
        context.writer.wake()

    def _finish_failed(self) -> None:
        stream = self.machine
        if not stream.closed and stream.sending.phase is Phase.HEAD and not stream.reserved:
            self._answer_500()
            if not stream.closed:
                self.reset(ErrorCodes.NO_ERROR)
        else:
            self.reset(ErrorCodes.INTERNAL_ERROR)
        self._context.writer.wake()

    def _answer_500(self) -> None:
        head = ResponseHead(500, 0, 1)
        self._context.machine.send_response(
            self.machine, [(b":status", b"500"), (b"content-length", b"0")], head, end_stream=True
        )
        self._context.machine.count_reply()
