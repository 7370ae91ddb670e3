"""`Delivery`: how what was received on a stream gets into its inbox, whose theory of operation is in `inbox.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import trio

from .. import events as ev
from ..exceptions import H2Error
from .messages import Chunk, Latest
from .spare_channels import Channel, Item
from .stream_context import StreamContext

__all__ = ["JOIN_BELOW", "JOIN_UP_TO", "Delivery"]

JOIN_BELOW = 4 * 1024
"""DATA smaller than this is copied behind the chunk before it."""

JOIN_UP_TO = 64 * 1024


class Delivery:
    """An inbox as the connection's reader, and the stream's end, know it: none of this waits.

    Attributes:
        consumer: which of the two ways the stream's one consumer takes; None before the first call.
        head: the response's headers, once a consumer has come to them.
        interim: the 1xx responses so far, in order.
        trailers: the trailer section, once a consumer has come to it.
        unread: octets of DATA that nobody took yet.
        since: when that began, or when the consumer began to wait, whichever is later; on trio's clock.
        ended: Whether END_STREAM was received: what is in here is all there will be.
        failure: why nothing more will come, when that is not END_STREAM.
    """

    __slots__ = (
        "_closed",
        "_context",
        "_done",
        "_ends",
        "_give_credit",
        "_held",
        "_last",
        "_latest",
        "_paid",
        "_queued",
        "_receive",
        "_reset",
        "_send",
        "_stream_id",
        "_waits",
        "consumer",
        "ended",
        "failure",
        "head",
        "interim",
        "since",
        "trailers",
        "unread",
    )

    _give_credit: Callable[[int], None]
    _stream_id: int

    def __init__(self, context: StreamContext) -> None:
        self._context = context
        self._send: trio.MemorySendChannel[Item] | None = None
        self._receive: trio.MemoryReceiveChannel[Item] | None = None
        self._queued = 0
        self._last: Chunk | None = None
        self._latest: dict[type[ev.Event], Latest] = {}
        self._held: Chunk | None = None  # the consumer's: taken from the channel, and not wholly from here
        self._paid = 0  # octets at its beginning that were given back: credit was given for them before
        self._ends = False  # whether the end is still to be given by `events()`
        self._reset: ev.StreamReset | None = None  # what `events()` gives last in place of it
        self._done = False  # whether it has given its last
        self._waits = False
        self._closed = False
        self.unread = 0
        self.since = 0.0
        self.consumer: Literal["stream", "events"] | None = None
        self.head: ev.ResponseReceived | None = None
        self.interim: tuple[ev.InformationalResponseReceived, ...] = ()
        self.trailers: ev.TrailersReceived | None = None
        self.ended = False
        self.failure: H2Error | None = None

    def bind(self, stream_id: int, give_credit: Callable[[int], None]) -> None:
        """The stream has its ID; nothing is put before.

        Args:
            stream_id: that ID.
            give_credit: called with how many octets of DATA were taken, or thrown away.
        """
        self._stream_id = stream_id
        self._give_credit = give_credit

    def put(self, event: ev.Event) -> None:
        """Deliver an event of the stream."""
        if self.failure is None and not self.ended:
            self._last = None
            self._queued += 1
            (self._send or self._open()[0]).send_nowait(event)

    def put_passing(self, event: ev.WindowUpdated | ev.PriorityUpdated) -> None:
        """Deliver what only `events()` shows; of each kind one waits, in its place, and says what holds now."""
        if self.consumer != "events" or self.failure is not None or self.ended:
            return
        latest = self._latest.get(type(event))
        if latest is not None:
            latest.join(event)
            return
        self._last = None
        self._latest[type(event)] = latest = Latest(event)
        self._queued += 1
        (self._send or self._open()[0]).send_nowait(latest)

    def put_data(self, data: bytes) -> None:
        """Deliver octets of a body; what is put after a failure goes straight back as credit."""
        if self.failure is not None:
            self._give_credit(len(data))
            return
        if not data:
            return
        if not self.unread:
            self.since = self._context.now()
        self.unread += len(data)
        last = self._last
        if last is not None and len(data) < JOIN_BELOW and len(last.data) + len(data) <= JOIN_UP_TO:
            last.join(data)
        else:
            self._last = chunk = Chunk(data)
            self._queued += 1
            (self._send or self._open()[0]).send_nowait(chunk)

    def _open(self) -> Channel:
        self._send, self._receive = channel = self._context.channels.take()
        return channel

    def end(self) -> None:
        """Deliver END_STREAM: nothing more comes."""
        self.ended = True
        if self.failure is None:
            self._ends = True
            if self._waits and not self._queued and self._send is not None:
                self._send.close()
                self._send = None

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
            if self._send is not None:
                self._send.close()
                self._send = None

    def close(self, failure: H2Error, *, by_user: bool) -> None:
        """Nobody will take anything any more: nothing is kept, and later calls raise `failure`."""
        self.failure = failure
        self._closed = by_user
        if by_user or self.ended:  # a reset's event is given still, to whoever waits beside a handler that it cancelled
            self._reset = None
            self._ends = False
        if self._receive is not None:
            if self._queued or self._waits:
                self._receive.close()
                self._latest.clear()
                self._queued = 0
            elif self._send is not None:
                self._context.channels.put((self._send, self._receive))
            self._send = self._receive = self._held = self._last = None
            self._paid = 0
        if self.unread:
            unread, self.unread = self.unread, 0
            self._give_credit(unread)

    @property
    def waiting(self) -> bool:
        """Whether the consumer waits for something to come, and nothing is on its way to it."""
        return self._waits and not self._queued and not self.ended and self.failure is None

    @property
    def here(self) -> int:
        """Octets of the body that can be taken without waiting."""
        return self.unread + self._paid
