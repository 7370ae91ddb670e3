"""How each end of a connection comes about, and what is done then.

Whatever happens leads to `end`, which fails every stream and every waiting call, and stops the reader and the watch:
in one step, so that nobody sees half of it. The reader's task then calls `wind_down`:

    the writer writes what is cut, in bounded time, unless nobody is there to take it;
    a server ends its half of the transport and reads on to the client's end for a moment, so that a TCP reset does not
    destroy what we just sent (invariant 9);
    the transport is closed, and the connection's tasks have ended.

Where a connection is to end later, `aclose` and GOAWAY have it drain: nothing new begins, and what is open may finish.
The phases that all of this goes through are in `phases.py`; a server's graceful shutdown is in `shutdown.py`.
"""

from __future__ import annotations

import logging

import trio

from .. import events as ev
from ..codes import error_name
from ..exceptions import ConnectionTerminatedError, ErrorCodes, H2Error, InternalError
from ..protocol.verdicts import ConnectionFailure, protocol_error
from ..wording import shown
from .errors import raised, retryable, why, without_frames
from .event_queue import EventQueue
from .http1 import HTTP1_ANSWER
from .live_streams import LiveStreams
from .logs import close_at_once, escaped, logger
from .phases import ConnectionPhase, Life, Step
from .pings import Pings
from .reading import READ_SIZE
from .stream_context import StreamContext

__all__ = ["Ending"]

LAST_READ = 1.0
"""Seconds for which a server that has ended its half reads on to the client's end."""


class Ending:
    """Owner of every field: this object.

    Attributes:
        life: the connection's phase, and why it is in that.
        reading: cancelled to stop the reader.
        watching: cancelled to stop the watch.
    """

    def __init__(
        self,
        transport: trio.abc.Stream,
        context: StreamContext,
        life: Life,
        streams: LiveStreams,
        pings: Pings,
        events: EventQueue,
    ) -> None:
        self.life = life
        self.reading = trio.CancelScope()
        self.watching = trio.CancelScope()
        self._transport = transport
        self._context = context
        self._streams = streams
        self._pings = pings
        self._events = events
        self._lasting = False  # whether a new connection would end in the same way
        self._clean = False  # whether it ended as it should, with nothing cut short by the peer

    # The one door

    def end(self, cause: H2Error, *, orderly: bool = False, peer_gone: bool = False) -> None:
        """Nothing goes on: every waiting call fails, and the reader's task winds the connection down.

        Args:
            cause: why; an earlier refusal goes before it.
            orderly: Whether the peer went in the way that it should.
            peer_gone: Whether nobody is there to make anything of what a client has not sent yet.
        """
        if self.life.cause is not None:
            return
        if cause.initiator != "local" and logger.isEnabledFor(logging.DEBUG):
            logger.debug("the connection with %s ended: %s", self._context.peer, escaped(cause))
        cause = self.life.end(cause)
        self._clean = _is_clean(cause, orderly=orderly and not self._context.machine.table)
        self._context.writer.fail(cause)
        self._streams.refuse(self._refusal(cause))
        if peer_gone:
            self._drop_unsent(cause)
        self._streams.end(cause)
        self._pings.end()
        self._events.end()
        self._context.writer.wake()
        self.watching.cancel()
        self.reading.cancel()

    def _refusal(self, failure: H2Error) -> H2Error:
        """What is raised for a request of which nothing was sent."""
        return retryable(failure, lasting=self._lasting)

    # What ends it at once

    def lost(self, reason: str, cause: Exception | None = None) -> None:
        """The peer went away; what a server has cut is still written, if the transport takes it."""
        self.end(_lost(reason, cause), peer_gone=True)

    def left(self) -> None:
        """The peer closed the transport."""
        self.end(_lost("the peer closed the transport", None), orderly=True, peer_gone=True)

    def _drop_unsent(self, failure: H2Error) -> None:
        """What a client has cut is not written any more, so requests of which nothing was written were not processed.

        A program that was busy as its server restarted sees the end of its connection and makes a request in one turn
        of the loop.
        """
        if self._context.client:
            self._streams.fail_unsent(self._context.writer.taken_by_transport, failure)
            self._context.machine.take()

    def give_up(self, reason: str) -> None:
        """The peer is there no more, or does not read: there is no use in writing to it."""
        self.lost(reason)
        self.life.step(Step.GIVE_UP)
        self._context.writer.scope.cancel()

    def rule_broken(self, failure: ConnectionFailure) -> None:
        """The peer broke a rule of the connection: GOAWAY says which, and the user learns it too."""
        if failure.limit is not None and self.life.cause is None:
            logger.info("%s went %s", self._context.peer, escaped(failure.reason))
        self._context.machine.fail(failure)
        # A rule may be broken once. Who does not come as far as SETTINGS, an HTTP/1.1 server say, will not next time.
        self._lasting = not self.life.settings_received.is_set()
        self.end(failure.error())

    def http1_seen(self) -> bool:
        """The client's first octets are HTTP/1.x. Whether it is early enough to say so."""
        if not self.life.step(Step.HTTP1_SEEN):
            return False
        self.end(ConnectionTerminatedError("the client speaks HTTP/1.x", initiator="remote"))
        return True

    def http1_answered(self, octets: bytes) -> None:
        """The server's first octets are an HTTP/1.x response, and no frame."""
        answer = shown(octets, 64)
        self.rule_broken(protocol_error(f"the server speaks HTTP/1.1, not HTTP/2: its first octets are '{answer}'"))

    def bug(self, error: Exception) -> None:
        """This package has a bug: the user learns it, whatever was wrong before."""
        failure = InternalError(f"a bug in trio_h2: {error!r}")
        failure.__cause__ = error
        logger.error("a bug in trio_h2 ended a connection", exc_info=error)
        self._context.machine.fail(ConnectionFailure(ErrorCodes.INTERNAL_ERROR, "internal error"))
        self.life.blame(failure)
        self._clean = False
        self.end(failure)

    def idle(self, reason: str) -> None:
        """GOAWAY, and the end: there is no stream that would have to finish."""
        self._context.machine.goaway()
        self.end(ConnectionTerminatedError(reason, initiator="local"))

    def cancelled(self) -> None:
        """The scope that the connection lives in was cancelled."""
        self.end(ConnectionTerminatedError("the connection was cancelled", initiator="local"))

    # What has it drain first

    def check_usable(self) -> None:
        """Raise why the connection takes no new request or PING; nothing of it was sent."""
        if self.life.refusal is not None:
            raise raised(self._refusal(self.life.refusal))

    @property
    def accepting(self) -> bool:
        """Whether a new request can be made: neither ended, nor draining, nor out of stream IDs."""
        return self.life.begins and self._context.machine.table.ids_left

    async def cannot_write(self, cause: Exception) -> None:
        """The peer takes no more: nothing can be sent, but what it sent before, an early answer say, can be read."""
        failure = _lost(f"the transport broke: {why(cause)}", cause)
        if self._context.client:  # requests get early answers
            self.life.refuse(failure)
            self._context.writer.fail(failure)
            self._streams.refuse(retryable(failure))
            self._drop_unsent(failure)
            with trio.move_on_after(self._context.config.close_timeout):
                await self.life.closed.wait()
        self.end(failure)

    def goaway_received(self, event: ev.ConnectionTerminated) -> None:
        """Our streams above its last stream ID were not processed; the others finish (invariant 9)."""
        debug_data = event.additional_data or b""
        failure = ConnectionTerminatedError(
            f"the peer sent GOAWAY: {error_name(event.error_code)} {shown(debug_data)}".rstrip(),
            error_code=event.error_code,
            initiator="remote",
            last_stream_id=event.last_stream_id,
            additional_data=debug_data,
        )
        if self.life.refuse(failure) is failure:  # else nobody waits for a slot any more
            self._streams.refuse(retryable(failure))
        self._streams.abandon(event.last_stream_id, failure)
        self.end_if_drained()

    def end_if_drained(self) -> None:
        """After the server's GOAWAY a client's connection is of no more use when its last stream has ended."""
        machine = self._context.machine
        if self._context.client and machine.remote_goaway is not None and not self._streams and self.life.cause is None:
            assert self.life.refusal is not None
            machine.goaway()
            self.end(self.life.refusal, orderly=True)

    async def aclose(self, *, drain: bool) -> None:
        """Send GOAWAY, let open streams finish in bounded time if `drain`, and close. Idempotent."""
        if self.life.cause is None:
            self._context.machine.goaway()
            self._context.writer.wake()
            refusal = self.life.refuse(ConnectionTerminatedError("the connection was closed", initiator="local"))
            self._streams.refuse(retryable(refusal))
            self._events.close_untaken_pushes()
            try:
                if drain:
                    with trio.move_on_after(self._context.config.close_timeout):
                        await self.drained()
            finally:
                self._streams.reset_all()
                self.end(refusal)
        await self.life.closed.wait()

    async def drained(self) -> None:
        """Wait until no stream is left, or the connection has ended."""
        while self._streams and self.life.cause is None:
            if self._streams.others_ended:
                self.life.drained.set()
            await self._streams.quiet()

    async def answered(self) -> None:
        """Wait until no handler is left that asked for the end of all others, or the connection has ended."""
        while self._streams.asked and self.life.cause is None:
            await self._streams.quiet()

    # After the end

    async def wind_down(self) -> None:
        """Write what is cut, close, and see that the peer got it; every step bounded. Cancelled: close at once."""
        self.cancelled()
        closed = False
        try:
            with trio.move_on_after(self._context.config.close_timeout):
                if self.life.phase is ConnectionPhase.ANSWERING_HTTP1:
                    await self._transport.send_all(HTTP1_ANSWER)
                else:
                    self._context.writer.stop()
                    await self._context.writer.ended.wait()
                if self.life.phase is not ConnectionPhase.ABANDONED:
                    await self._close_gently()
                    closed = True
        except Exception as error:  # the transport's: the connection has ended, and its failure is another one
            logger.debug("closing the connection with %s: %s", self._context.peer, escaped(repr(error)))
            without_frames(error)  # trio's have it among their variables
        finally:
            self._context.writer.scope.cancel()
            try:
                if not closed:
                    await close_at_once(self._transport)
            finally:
                self.life.step(Step.TRANSPORT_CLOSED)
                if self._context.tracer is not None:
                    self._context.tracer.connection_ended(None if self._clean else self.life.cause)

    async def _close_gently(self) -> None:
        """Close; a server first ends its half and reads on to the client's end.

        A TCP socket that is closed with unread bytes resets the connection, and what the client has not read yet of
        its last responses is lost by that (invariant 9).
        """
        if not self._context.client:
            if isinstance(self._transport, trio.abc.HalfCloseableStream):
                await self._transport.send_eof()
            with trio.move_on_after(min(LAST_READ, self._context.config.close_timeout)):
                while await self._transport.receive_some(READ_SIZE):
                    pass
        await self._transport.aclose()


def _is_clean(cause: H2Error, *, orderly: bool) -> bool:
    """Whether a connection ended as it should: because this side wanted it, or because the peer went, in order."""
    if type(cause) is not ConnectionTerminatedError or cause.error_code != ErrorCodes.NO_ERROR:
        return False
    return cause.initiator == "local" or orderly


def _lost(reason: str, cause: Exception | None) -> ConnectionTerminatedError:
    failure = ConnectionTerminatedError(reason, initiator="remote")
    failure.__cause__ = None if cause is None else without_frames(cause)
    return failure
