"""StreamActor: one task for each stream ID, in which that stream lives.

The machine's receive half steps in `protocol/`, when the frame is judged, and its send half in the sending call
(`sending.py`), so neither waits for a task switch. What came of a frame reaches the stream through `deliver`, and the
application through the inbox (`inbox.py`). What needs a task is the stream's life: on the server the actor runs the
handler and then ends the stream by the handler contract (`handler_contract.py`); on the client it waits for a slot,
opens the stream, sends the body that `request()` was given (`pump.py`), and waits for the end; on both it lingers for a
tunnel that was closed first here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import trio

from .. import events as ev
from ..exceptions import ErrorCodes, H2Error
from ..headers import Headers, trusted_headers
from ..protocol.field_rules import Fields
from ..protocol.message_half import Phase
from ..protocol.request_rules import RequestHead
from ..protocol.stream_machine import CloseReason, StreamMachine
from ..tracer import Tracer
from .departure import Departure
from .errors import raised, without_cancelled
from .handler_contract import HandlerContract
from .logs import log_handler_error
from .pump import Pump
from .stream_context import StreamContext
from .stream_failures import CLOSED_HERE, reset_by_event, response_ended
from .writer import HELD_UP

__all__ = ["StreamActor"]

# Named here, because to make a union takes longer than to look in it.
PASSING = (ev.WindowUpdated, ev.PriorityUpdated)
CANCEL = ErrorCodes.CANCEL  # nor is that looked up in its class


class Employer(Protocol):
    """Who gives actors their tasks, and handlers their permits."""

    def handler_exited(self, actor: StreamActor) -> None:
        """The task of a server's actor is at its end."""

    def client_cancelled(self) -> None:
        """The task of a client's actor was cancelled."""

    def client_exited(self, actor: StreamActor) -> None:
        """The task of a client's actor is at its end."""


class StreamActor(HandlerContract):
    """One stream's task and ending, beside what it sends and has received.

    Attributes:
        scope: what a peer's reset cancels: the handler. A client's stream has none.
        opened: where a client waits for a slot: set when its stream has its ID, or never will.
        started: Whether a server's handler was given its permit and its task.
    """

    __slots__ = (
        "_connection_ended",
        "_cut_at",
        "_departure",
        "_open_arguments",
        "_pump",
        "opened",
        "scope",
        "started",
    )

    def __init__(
        self,
        context: StreamContext,
        stream: StreamMachine | None = None,
        fields: Iterable[tuple[bytes, bytes]] = (),
        since: float = 0.0,
    ) -> None:
        super().__init__(context, fields, since)
        self.scope = None if context.client else trio.CancelScope()
        self.opened: trio.Event | None = None
        self.started = False
        self._pump: Pump | None = None
        self._open_arguments: tuple[Fields, RequestHead, bool] | None = None
        self._connection_ended = False
        self._cut_at: int | None = None
        self._departure: Departure | None = None
        if stream is not None:
            self._bind(stream)

    @property
    def wants_slot(self) -> bool:
        """Whether a client's stream is still to be opened: not if its caller was cancelled, even before that runs."""
        return self.failure is None and (self.opened is None or self.opened.statistics().tasks_waiting > 0)

    # A server's handler

    def start(self) -> None:
        """A server's handler has its permit: `run_server` follows."""
        self.started = True

    def tell_opened(self, tracer: Tracer, headers: Headers) -> None:
        """A Trace is told that the stream is open."""
        machine = self.machine
        tracer.stream_opened(machine.stream_id, headers, machine.sending)

    def tell_settled(self) -> None:
        """A Trace is told that its caller has ended a request that was not sent, if nothing else has."""
        tracer = self._context.tracer
        if tracer is not None:
            tracer.request_settled(self, None, None)

    # What the reader brings: none of this waits

    def deliver(self, event: ev.Event) -> None:
        """Take what came of a frame: the one way by which anything that is received reaches a stream."""
        inbox = self.inbox
        if type(event) is ev.DataReceived:
            inbox.put_data(event.data)
            if self.closed_by_user:  # a tunnel's: nobody will read it, and the peer should know
                self.reset(ErrorCodes.CANCEL)
        elif type(event) is ev.StreamEnded:
            self._on_end()
        elif type(event) is ev.ResponseReceived or type(event) is ev.InformationalResponseReceived:
            inbox.put(event)
            tracer = self._context.tracer
            if tracer is not None and tracer.wants_responses:
                status = int(event.headers[b":status"])
                tracer.response_began(self.machine.stream_id, status, event.headers)
            if self._pump is not None:
                self._pump.answered(event.headers[b":status"])
        elif isinstance(event, PASSING):
            inbox.put_passing(event)
            self._context.writer.credit(self.machine)
        elif isinstance(event, ev.StreamReset):
            inbox.put_reset(event)
            self.fail(reset_by_event(event))
        else:
            inbox.put(event)

    def _on_end(self) -> None:
        """The peer sent END_STREAM. To a request still being sent that is an early end of the response."""
        self.inbox.end()
        stream = self.machine
        if self._context.client and not stream.tunnel and stream.can_send:
            failure = response_ended(stream.stream_id, "the response ended before the request did")
            self._context.writer.fail_sender(stream, failure)
            self._stop_pump()
        if self.closed_by_user:
            self._wake()

    def fail(self, failure: H2Error, *, cancel: bool = True) -> None:
        """The stream is over for this reason: whoever waits on it learns it now. What came before stays readable."""
        if self.failure is None:
            self.failure = failure
        self.inbox.fail(failure)
        tracer = self._context.tracer
        if self.stream is not None:
            self._context.writer.fail_sender(self.stream, failure)
            if tracer is not None:
                whole = self._ended or self.answered_whole
                tracer.stream_closed(self.stream.stream_id, None if whole else failure)
        elif tracer is not None:
            tracer.request_settled(self, None, failure)
        if self.opened is not None:
            self.opened.set()
        self._stop_pump()
        if self.scope is not None and cancel:
            self._end_handler(self.scope, failure)
        self._context.slots.wake(self)
        self._wake()

    @trio.lowlevel.enable_ki_protection
    def on_disconnect(self, departure: Departure) -> None:
        """From now on the handler is told of its client's going in place of being cancelled at once."""
        self._departure = departure
        if self.scope is not None and self.failure is not None and not self._over:
            self._end_handler(self.scope, self.failure)

    def _end_handler(self, scope: trio.CancelScope, failure: H2Error) -> None:
        """Cancel the handler. If it is its client that has gone, it may want to be told first, and given time."""
        if self._departure is not None and failure.initiator != "local":
            try:
                self._departure.begin(raised(failure), scope)
                return
            except Exception as error:
                (self._context.on_handler_error or log_handler_error)(self.handler, error)
        scope.cancel(str(failure))

    @property
    def _over(self) -> bool:
        """Whether there is no client that could go: both sides have ended the stream, or this one has left it."""
        return self.closed_by_user or (self.stream is not None and self._ended)

    @property
    def _ended(self) -> bool:
        """Whether both sides have ended the stream."""
        return self.machine.close_reason is CloseReason.ENDED

    def lose_connection(self, failure: H2Error) -> None:
        """The connection has ended, and every stream with it. A handler whose stream was over has nothing to miss."""
        self._connection_ended = True
        self.fail(failure, cancel=not self._over)

    def _stop_pump(self) -> None:
        if self._pump is not None:
            self._pump.stop()

    # What the user calls, beside what is sent

    @trio.lowlevel.enable_ki_protection
    def promise(self, fields: Fields, head: RequestHead) -> StreamActor:
        """Promise a response that nobody asked for; the caller has been through `ready_to_send`."""
        machine = self._context.machine
        machine.check_push_limit()
        since = self._context.now()
        promised = StreamActor(self._context, machine.promise(self.machine, fields, head), fields, since)
        promised.inbox.end()  # the client sends nothing on it
        if self._context.tracer is not None:
            promised.tell_opened(self._context.tracer, trusted_headers(fields))
        return promised

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
            self._context.writer.fail_sender(stream, CLOSED_HERE)
            if stream.can_send:
                self._context.machine.end_stream(stream)
                self._context.writer.wake()
        elif not self._context.client and stream is not None and stream.sending.phase is Phase.DONE:
            # The response is complete: the client may stop sending, and keeps what it got (RFC 9113 section 8.1).
            self.reset(ErrorCodes.NO_ERROR)
        else:
            self.reset(CANCEL)
        self.release()

    def release(self) -> None:
        """Nothing of the stream is used any more; a call on a handle that somebody kept raises why."""
        self._departure = None
        if self.failure is None:
            self.failure = CLOSED_HERE
        self.inbox.close(self.failure, by_user=self.closed_by_user)
        if self._pump is not None:
            self._pump.stop()
        if self.opened is not None:
            self.opened.set()
        if self._sleeper is not None:
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
        self._fields = fields
        self._pump = pump
        self.since = self._context.now()

    async def wait_open(self) -> None:
        """Wait until the stream has its ID, if it has none yet. Raises why it never will; nothing was sent then."""
        if self.stream is None and self.failure is None:
            assert self.opened is None, "another task waits for the stream already"
            self.opened = trio.Event()
            tracer = self._context.tracer
            if tracer is not None:
                tracer.queued(self)
            try:
                await self.opened.wait()
            finally:
                if tracer is not None:
                    tracer.unqueued(self)
        if self.stream is None:
            assert self.failure is not None
            raise raised(self.failure)

    def open(self) -> None:
        """Take the next stream ID and queue HEADERS, in one step. Raises as ConnectionMachine.open_stream."""
        assert self._open_arguments is not None
        fields, head, end_stream = self._open_arguments
        outbox, writer = self._context.machine.outbox, self._context.writer
        self._cut_at = outbox.taken + outbox.size
        if self.since - writer.at_once.read_at > HELD_UP:
            writer.read_first()
        self._bind(self._context.machine.open_stream(fields, head, end_stream=end_stream))
        if not self._send_at_once():
            writer.whole()
        tracer = self._context.tracer
        if tracer is not None:
            tracer.unqueued(self)
            tracer.request_settled(self, self.machine.stream_id, None)
            self.tell_opened(tracer, trusted_headers(fields))
        if self.opened is not None:
            self.opened.set()
        self._wake()

    def _send_at_once(self) -> bool:
        """The fast path of most requests with a body: it goes with the header section, and no pump runs. Did it?"""
        pump = self._pump
        if pump is None or not pump.whole or not self._context.writer.cut_whole(self.machine, pump.whole, True):
            return False
        pump.end()
        self._pump = None
        return True

    def unsent(self, taken: int) -> bool:
        """Whether its HEADERS come behind so many octets of what the connection has cut."""
        return self._cut_at is not None and self._cut_at >= taken

    @trio.lowlevel.enable_ki_protection
    async def run_client(self, employer: Employer) -> None:
        """A client's stream from its opening to its end."""
        try:
            while self.stream is None:
                if self.failure is not None:
                    return
                await self._changed()
            if self._pump is not None:
                await self._run_pump(self._pump)
            while not (self.closed_by_user or self._connection_ended):
                await self._changed()
            if not self.machine.closed:
                await self._linger()
        except trio.Cancelled:
            employer.client_cancelled()
            raise
        finally:
            if self._pump is not None:
                self._pump.end()
            employer.client_exited(self)

    async def _linger(self) -> None:
        """Wait for the peer to end a tunnel that we ended first, in bounded time."""
        with trio.move_on_after(self._context.config.linger_timeout):
            while not (self.machine.closed or self._connection_ended):
                await self._changed()
        self.reset(ErrorCodes.CANCEL)

    async def _run_pump(self, pump: Pump) -> None:
        try:
            await pump.run(self, self._context.config.continue_timeout)
        except BaseException as raised_here:
            # Not kept in a variable of this frame: the error's traceback has the frame, and that would be a circle.
            if not self._pump_raised(pump, without_cancelled(raised_here)):
                raise
        finally:
            pump.end()

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
    async def run_server(
        self, handler: Callable[[StreamActor, Headers], Awaitable[None]], request: Headers, employer: Employer
    ) -> None:
        """A server's stream: the handler, then what the handler contract says of how it ended."""
        assert self.scope is not None
        try:
            tracer = self._context.tracer
            if tracer is not None and tracer.wants_handlers:
                tracer.handler_began(self.machine.stream_id)
            with self.scope:
                await handler(self, request)
            # A handler that was cancelled has not finished: its response must not look as if it had.
            if self.failure is None and self.machine.close_reason is None:
                self._handler_returned()
            if self.machine.tunnel and not self.machine.closed:
                self.close(linger=True)
                await self._linger()
        except BaseException as raised_here:
            if not self._handler_raised(without_cancelled(raised_here)):
                raise
        finally:
            try:
                if self.machine.close_reason is None or self._busy:
                    self.reset(CANCEL)
                self.release()
            finally:
                employer.handler_exited(self)
