"""A stream's inbox: a trio memory channel from the connection's reader to the one task that consumes the stream.

Theory of operation
===================

The channel is the stream's receive buffer and nothing else buffers. It has no bound of its own, so the reader puts
with `send_nowait` and never waits: the octets of DATA in it are bounded by the stream's window, because credit goes
back only as they are taken (invariant 4), and everything else in it is bounded by the protocol, or joined:

- A chunk that nobody has seen yet may still grow: small DATA is copied behind it, so tiny frames cost tiny memory.
  `_last` is that chunk. It is let go when anything else is put, because DATA must not pass an event, and when the
  consumer, having run, has taken it from the channel. A chunk that was handed to a waiting task is not seen before
  that task runs: until then it may be joined to.
- Of each kind of event that only `events()` shows one is in the channel, in its place, and says what holds now.

The channel opens when there is something to carry, or somebody who waits: a request without a body costs none, and
neither does a stream that nobody looks at. A channel that was never closed and has nothing in it goes back to the
connection's `SpareChannels`, because making one takes longer than all that a small response does with it.

`_queued` counts what was put and not taken, what is on its way to a waiting task included. By it the consumer knows
whether there is something to take without asking the channel, which would raise. It calls `receive` only to wait; and
nothing that the channel raises gets further than `_wait`.

END_STREAM closes the sending end if somebody waits at the other; whoever comes later sees it in plain state, and the
channel can be used again. A failure of the stream or of the connection closes it always. Neither drops anything: what
is in the channel or on its way is still taken, and counts as unread until then; after it come the end, or the failure.
`close` is for when nobody takes anything any more. It gives all that is unread back at once; so an item that
is on its way to a task then is paid for already, and that task drops it.

Who takes a whole body and cannot finish gives back what it took (`give_back`): that is held, before everything else,
and is taken again. It became credit when it was taken the first time, and does not become it once more: `_paid`.

One hand-off
============

A client's task calls `receive_some`: nothing is queued, so it opens the channel and parks in `receive`. The reader
gets two small DATA frames and END_STREAM in one read. The first makes a `Chunk`, and `send_nowait` reschedules the
task with it: the channel stays empty, `_queued` is 1. The second frame joins that chunk, because the task has not run.
END_STREAM is noted: the task has something to run for. When the reader yields, the task runs: it takes the
chunk off `_queued`, lets go of `_last`, keeps what `max_bytes` leaves of the chunk in `_held`, and gives credit for
the rest. The next call finds nothing held, nothing queued and the message ended: b"", without a look at the channel.
"""

from __future__ import annotations

from typing import Literal, NoReturn

import trio

from .. import events as ev
from ..exceptions import H2Error
from .delivery import JOIN_BELOW, JOIN_UP_TO, Delivery
from .errors import closed, raised
from .messages import Chunk, Latest
from .spare_channels import Item

__all__ = ["Inbox"]

TAKE_UP_TO = 256 * 1024
"""Chunks are joined up to this size when they are taken: a call for each frame costs more than the copy."""


class Inbox(Delivery):
    """What was received on a stream, as its consumer takes it: by `receive_some` and its like, or by `events()`."""

    __slots__ = ()

    def claim(self, consumer: Literal["stream", "events"]) -> None:
        """Be this stream's consumer. Raises trio.BusyResourceError if the other kind is, or one is waiting."""
        if self.consumer is None:
            self.consumer = consumer
        if self.consumer != consumer:
            raise trio.BusyResourceError("events() and the stream's own receiving calls cannot be mixed")
        if self._waits:  # the channel would serve two, each with a part
            raise trio.BusyResourceError("another task is already receiving from this stream")

    async def _raise_failure(self) -> NoReturn:
        # What cancels the connection may cancel its user, too, and reach him later: it goes before the failure.
        await trio.lowlevel.checkpoint_if_cancelled()
        raise self._raisable()

    def _raisable(self) -> H2Error:
        assert self.failure is not None
        return closed(self.failure) if self._closed else raised(self.failure)

    async def _wait(self) -> Item | None:
        """Wait for the next item; None if there will be none, and what holds now is in plain state."""
        receive = self._receive or self._open()[1]
        tracer = self._context.tracer
        if tracer is not None:
            tracer.reader_waits(self._stream_id, at_head=self.head is None)
        self._waits = True
        self.since = self._context.now()
        try:
            item = await receive.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            return None
        finally:
            self._waits = False
            if tracer is not None:
                tracer.reader_goes_on(self._stream_id)
        return None if self._receive is None else item  # closed in between: it is paid for

    def _next(self) -> Item:
        """The next item, of which there is one."""
        assert self._receive is not None
        return self._receive.receive_nowait()

    def _note(self, item: Item | None) -> None:
        """Keep what a consumer by `receive_some` and its like has come to; it has run, and nothing joins that more."""
        if item is None:
            return
        self._queued -= 1
        if type(item) is Chunk:
            self._held = item
            if item is self._last:
                self._last = None
        elif type(item) is ev.ResponseReceived:
            self.head = item
        elif type(item) is ev.InformationalResponseReceived:
            self.interim += (item,)
        elif type(item) is ev.TrailersReceived:
            self.trailers = item

    def _advance(self) -> Chunk | None:
        """Note the events before the next chunk, and hold that chunk, of which nothing is taken yet."""
        receive = self._receive
        while self._held is None and self._queued and receive is not None:
            self._note(receive.receive_nowait())
        return self._held

    @trio.lowlevel.enable_ki_protection
    async def receive_head(self) -> ev.ResponseReceived:
        """Wait for the final response's headers, and take nothing behind them. Raises the stream's failure."""
        # Where there is something to wait for, the wait is the checkpoint.
        if self.head is not None or self._queued or self.failure is not None:
            await trio.lowlevel.checkpoint()
        self.claim("stream")
        while True:
            while self.head is None and self._queued:
                self._note(self._next())
            if self.head is not None:
                return self.head
            if self.failure is not None:
                await self._raise_failure()
            self._note(await self._wait())

    @trio.lowlevel.enable_ki_protection
    async def receive_some(self, max_bytes: int | None) -> bytes:
        """Wait for octets of the body; b"" at its end. Raises the stream's failure."""
        # Where there is something to wait for, the wait is the checkpoint.
        waits = self._held is None and not (self._queued or self.ended or self.failure is not None)
        if not waits:
            await trio.lowlevel.checkpoint()
        if self._waits or self.consumer != "stream":
            self.claim("stream")
        if waits:
            item = await self._wait()
            limit = TAKE_UP_TO if max_bytes is None else max_bytes
            if type(item) is Chunk and self._queued == 1 and len(item.data) <= limit:
                return self._take_all(item)
            self._note(item)
        while True:
            chunk = self._held
            if chunk is None and self._queued:
                chunk = self._advance()
            if chunk is not None:
                return self._take(chunk, max_bytes)
            if self.failure is not None:
                await self._raise_failure()
            if self.ended:
                return b""
            self._note(await self._wait())

    def receive_nowait(self) -> bytes:
        """The octets of the body that are there; b"" at its end. Raises trio.WouldBlock, or the stream's failure."""
        if self._waits or self.consumer != "stream":
            self.claim("stream")
        chunk = self._held
        if chunk is None and self._queued:
            chunk = self._advance()
        if chunk is not None:
            if not (self._queued or chunk.offset or self._paid) and len(chunk.data) <= TAKE_UP_TO:
                self._held = None
                return self._take_all(chunk)
            return self._take(chunk, None)
        if self.failure is not None:
            raise self._raisable()
        if not self.ended:
            raise trio.WouldBlock
        return b""

    def _take_all(self, chunk: Chunk) -> bytes:
        """The fast path, for `_note` and `_take`, of a chunk that was waited for, wholly wanted and all there is."""
        self._queued = 0
        self._last = None
        data = chunk.data
        self.unread -= len(data)
        self._give_credit(len(data))
        return data if type(data) is bytes else bytes(data)

    def _take(self, chunk: Chunk | None, max_bytes: int | None) -> bytes:
        """Take octets from `chunk`, the first, and from those behind it, as many as are wanted; they become credit."""
        limit = TAKE_UP_TO if max_bytes is None else max_bytes
        pieces: list[bytes] = []
        size = 0
        while chunk is not None and size < limit:
            piece = chunk.take(limit - size)
            pieces.append(piece)
            size += len(piece)
            if chunk.offset < len(chunk.data):
                break
            self._held = None
            chunk = self._advance() if self._queued else None
        self._took(size)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _took(self, count: int) -> None:
        if self._paid:
            paid = min(count, self._paid)
            self._paid -= paid
            count -= paid
        self.unread -= count
        self._give_credit(count)

    def give_back(self, body: list[bytes | bytearray]) -> None:
        """What `receive_message` took is to be taken again, before what is here; nothing, if the inbox is closed."""
        if body and self._receive is not None:
            data = b"".join(body)
            self._paid += len(data)
            self._held = Chunk(data if self._held is None else data + self._held.take(None))

    @trio.lowlevel.enable_ki_protection
    async def receive_event(self) -> ev.Event | None:
        """Wait for the next event; None after the last. Raises the stream's failure."""
        await trio.lowlevel.checkpoint()
        self.claim("events")
        while True:
            if self._queued:
                return self._event(self._next())
            if self._ends:
                self._ends, self._done = False, True
                return ev.StreamEnded(self._stream_id)
            if self._reset is not None:
                reset, self._reset, self._done = self._reset, None, True
                return reset
            if self._done:
                return None
            if self.failure is not None:
                await self._raise_failure()
            item = await self._wait()
            if item is not None:
                return self._event(item)

    def _event(self, item: Item) -> ev.Event:
        """An item as `events()` gives it, and its credit."""
        self._queued -= 1
        if item is self._last:
            self._last = None
        if type(item) is Latest:
            del self._latest[type(item.event)]
            return item.event
        if type(item) is Chunk:
            data = item.take(None)
            self._took(len(data))
            return ev.DataReceived(self._stream_id, data, len(data))
        assert isinstance(item, ev.Event)
        if type(item) is ev.ResponseReceived:
            self.head = item
        return item

    @trio.lowlevel.enable_ki_protection
    async def receive_message(self, body: list[bytes | bytearray], max_body: int | None) -> bool:
        """Wait for the rest of the message and put its body into `body`; a checkpoint only if it has to wait.

        What is there is taken in one step, so a small response costs one wake-up. Raises the stream's failure; what
        came before is in `body` then.

        Returns:
            Whether that is all of it: not if there are more than `max_body` octets. Those are left in here.
        """
        if self._waits or self.consumer != "stream":
            self.claim("stream")
        size = 0
        while True:
            if self._queued or self._held is not None:
                if max_body is not None and size + self.unread + self._paid > max_body:
                    if size < max_body:
                        body.append(self._take(self._advance(), max_body - size))
                    return False
                size += self._take_into(body)
            if self.failure is not None:
                await self._raise_failure()
            if self.ended:
                return True
            self._note(await self._wait())

    def _take_into(self, body: list[bytes | bytearray]) -> int:
        """Take all that is there and put its octets into `body`; how many those are, which become credit."""
        taken = 0
        while self._queued or self._held is not None:
            chunk = self._held
            if chunk is None:
                chunk = self._advance()
                if chunk is None:
                    break
            self._held = None
            data = chunk.take(None) if chunk.offset else chunk.data
            taken += len(data)
            if len(data) < JOIN_BELOW and body and len(body[-1]) < JOIN_UP_TO:
                _join(body, data)
            else:
                body.append(data)
        if self._paid and taken:
            self._took(taken)
        elif taken:
            self.unread -= taken
            self._give_credit(taken)
        return taken


def _join(body: list[bytes | bytearray], data: bytes | bytearray) -> None:
    """Put a small piece behind the last one: an object for each frame would take many times the octets in it."""
    last = body[-1]
    if not isinstance(last, bytearray):
        body[-1] = last = bytearray(last)
    last += data
