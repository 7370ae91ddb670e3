"""A stream's mailbox: what the reader delivered and the application has not taken.

It is the stream's receive buffer and nothing else buffers: its octets of DATA are bounded by the stream's window,
because credit goes back as they are taken (invariant 4); everything else in it is bounded by the protocol, or
coalesced. The reader puts and rings; the one consumer takes, and waits for the bell when there is nothing.

There are two ways to take, and a stream has one consumer: `receive_some` and its like, or `events()`.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, NoReturn, cast

import trio

from .. import events as ev
from ..exceptions import H2Error, ResponseTooLargeError
from ..protocol.stream_machine import StreamMachine
from .errors import closed, raised
from .messages import Chunk, Doorbell
from .stream_context import StreamContext

__all__ = ["Mailbox"]

JOIN_BELOW = 4 * 1024
"""DATA smaller than this is copied behind the chunk before it, so that tiny frames cost tiny memory."""

JOIN_UP_TO = 64 * 1024

TAKE_UP_TO = 256 * 1024
"""Chunks are joined up to this size when they are taken: a call for each frame costs more than the copy."""


class Mailbox:
    """Owner of every field: the StreamActor that it belongs to.

    Attributes:
        head: the response's headers, once a consumer has come to them.
        interim: the 1xx responses so far, in order.
        trailers: the trailer section, once a consumer has come to it.
        ended: True when END_STREAM was received: what is in here is all there will be.
        failure: why nothing more will come, when that is not END_STREAM.
    """

    __slots__ = (
        "_bell",
        "_busy",
        "_closed",
        "_context",
        "_items",
        "_passing",
        "_reset",
        "_stream",
        "consumer",
        "ended",
        "failure",
        "head",
        "interim",
        "trailers",
    )

    def __init__(self, context: StreamContext, stream: StreamMachine | None) -> None:
        # Not the StreamActor: a cycle for every request would be the garbage collector's to find.
        self._context = context
        self._stream = stream
        self._items: deque[ev.Event | Chunk] = deque()
        self._bell = Doorbell()
        self._busy = False
        self._closed = False
        self._reset: ev.StreamReset | None = None
        self._passing: dict[type, ev.Event] = {}
        self.consumer: Literal["stream", "events"] | None = None
        self.head: ev.ResponseReceived | None = None
        self.interim: tuple[ev.InformationalResponseReceived, ...] = ()
        self.trailers: ev.TrailersReceived | None = None
        self.ended = False
        self.failure: H2Error | None = None

    def bind(self, stream: StreamMachine) -> None:
        """A client's stream has its ID now."""
        self._stream = stream

    def _give_credit(self, count: int) -> None:
        assert self._stream is not None
        self._context.give_credit(self._stream, count)

    # The reader's side: none of this waits

    def put(self, event: ev.Event) -> None:
        """Deliver an event of the stream."""
        if self.failure is None:
            self._items.append(event)
            self._bell.ring()

    def put_passing(self, event: ev.WindowUpdated | ev.PriorityUpdated) -> None:
        """Deliver what only `events()` shows; of each kind one waits, in its place, and says what holds now."""
        if self.consumer != "events" or self.failure is not None:
            return
        pending = self._passing.get(type(event))
        if pending is None:
            self._passing[type(event)] = event
            self.put(event)
        elif isinstance(event, ev.WindowUpdated):
            cast("ev.WindowUpdated", pending).delta += event.delta
        else:
            for name in ("weight", "depends_on", "exclusive", "field_value"):
                setattr(pending, name, getattr(event, name))

    def put_data(self, data: bytes) -> None:
        """Deliver octets of a body; what is put after a failure goes straight back as credit."""
        if self.failure is not None:
            self._give_credit(len(data))
            return
        if not data:
            return
        last = self._items[-1] if self._items else None
        if type(last) is Chunk and len(data) < JOIN_BELOW and len(last.data) + len(data) <= JOIN_UP_TO:
            last.join(data)
        else:
            self._items.append(Chunk(data))
        self._bell.ring()

    def end(self, event: ev.StreamEnded) -> None:
        """Deliver END_STREAM."""
        self.ended = True
        self.put(event)

    def put_reset(self, event: ev.StreamReset) -> None:
        """Keep what `events()` gives last when the stream fails by a reset; `fail` follows."""
        if self.failure is None and not self.ended:
            self._reset = event

    def fail(self, failure: H2Error) -> None:
        """Nothing more comes. What is here is still to be taken, and counts as unread until it is taken or closed.

        A message that has ended is complete whatever happens after: then there is no failure.
        """
        if self.failure is None and not self.ended:
            self.failure = failure
            self._bell.ring()

    def _discard(self) -> None:
        if not self._items:
            return
        unread = self.unread
        self._items.clear()
        self._passing.clear()
        if unread:
            self._give_credit(unread)

    def close(self, failure: H2Error, *, by_user: bool) -> None:
        """Nobody will take anything any more: nothing is kept, and later calls raise `failure`."""
        self.failure = failure
        self._closed = by_user
        self._discard()
        self._bell.ring()

    def _raise_failure(self) -> NoReturn:
        assert self.failure is not None
        raise closed(self.failure) if self._closed else raised(self.failure)

    @property
    def unread(self) -> int:
        """Octets of DATA that nobody took yet."""
        return sum(len(item) for item in self._items if type(item) is Chunk)

    @property
    def waiting(self) -> bool:
        """Is the consumer waiting for something to come?"""
        return self._bell.waiting

    # The consumer's side

    def claim(self, consumer: Literal["stream", "events"]) -> None:
        """Be this stream's consumer. Raises trio.BusyResourceError if the other kind is, or one is waiting."""
        if self.consumer is None:
            self.consumer = consumer
        if self.consumer != consumer:
            raise trio.BusyResourceError("events() and the stream's own receiving calls cannot be mixed")
        if self._busy:
            raise trio.BusyResourceError("another task is already receiving from this stream")

    async def _wait(self) -> None:
        self._busy = True
        try:
            await self._bell.wait()
        finally:
            self._busy = False

    def _advance(self) -> Chunk | None:
        """Note the events before the next chunk, and return that chunk without taking it."""
        items = self._items
        while items:
            item = items[0]
            if type(item) is Chunk:
                return item
            items.popleft()
            if type(item) is ev.ResponseReceived:
                self.head = item
            elif type(item) is ev.InformationalResponseReceived:
                self.interim += (item,)
            elif type(item) is ev.TrailersReceived:
                self.trailers = item
        return None

    @trio.lowlevel.enable_ki_protection
    async def receive_head(self) -> ev.ResponseReceived:
        """Wait for the final response's headers. Raises the stream's failure."""
        # Where there is something to wait for, the wait is the checkpoint.
        if self.head is not None or self._items or self.failure is not None:
            await trio.lowlevel.checkpoint()
        self.claim("stream")
        while True:
            self._advance()
            if self.head is not None:
                return self.head
            if self.failure is not None:
                self._raise_failure()
            await self._wait()

    @trio.lowlevel.enable_ki_protection
    async def receive_some(self, max_bytes: int | None) -> bytes:
        """Wait for octets of the body; b"" at its end. Raises the stream's failure."""
        # Where there is something to wait for, the wait is the checkpoint.
        if self._items or self.ended or self.failure is not None:
            await trio.lowlevel.checkpoint()
        self.claim("stream")
        while True:
            chunk = self._advance()
            if chunk is not None:
                return self._take(chunk, max_bytes)
            if self.failure is not None:
                self._raise_failure()
            if self.ended:
                return b""
            await self._wait()

    def _take(self, chunk: Chunk | None, max_bytes: int | None) -> bytes:
        """Take octets from `chunk`, the first, and from those behind it, as many as are wanted; they become credit."""
        limit = TAKE_UP_TO if max_bytes is None else max_bytes
        pieces: list[bytes] = []
        size = 0
        while chunk is not None and size < limit:
            piece = chunk.take(limit - size)
            pieces.append(piece)
            size += len(piece)
            if len(chunk):
                break
            self._items.popleft()
            chunk = self._advance()
        self._give_credit(size)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @trio.lowlevel.enable_ki_protection
    async def receive_event(self) -> ev.Event | None:
        """Wait for the next event; None after the last. Raises the stream's failure."""
        await trio.lowlevel.checkpoint()
        self.claim("events")
        while True:
            if self._items:
                item = self._items.popleft()
                self._passing.pop(type(item), None)
                if type(item) is not Chunk:
                    assert isinstance(item, ev.Event)
                    return item
                data = item.take(None)
                self._give_credit(len(data))
                assert self._stream is not None
                return ev.DataReceived(self._stream.stream_id, data, len(data))
            if self._reset is not None:
                event, self._reset, self.ended = self._reset, None, True
                return event
            if self.ended:
                return None
            if self.failure is not None:
                self._raise_failure()
            await self._wait()

    @trio.lowlevel.enable_ki_protection
    async def receive_message(self, body: list[bytes], max_body: int | None) -> None:
        """Wait for the whole message and put its body into `body`; a checkpoint only if it has to wait.

        What is there is taken in one step, so a small response costs one wake-up. Raises the stream's failure, and
        ResponseTooLargeError past `max_body` octets; what came before is in `body` then.
        """
        self.claim("stream")
        size = 0
        while True:
            while (chunk := self._advance()) is not None:
                self._items.popleft()
                data = chunk.take(None)
                size += len(data)
                self._give_credit(len(data))
                if max_body is not None and size > max_body:
                    assert self._stream is not None
                    body.append(data[: max_body - size])
                    raise ResponseTooLargeError(
                        f"the response has more than {max_body} bytes", stream_id=self._stream.stream_id
                    )
                body.append(data)
            if self.failure is not None:
                self._raise_failure()
            if self.ended:
                return
            await self._wait()
