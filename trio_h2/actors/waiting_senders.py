"""WaitingSenders: the senders that wait, and whose turn it is among them.

A sender whose stream has window stands in the queue of its RFC 9218 urgency; the writer takes from the most urgent one,
a frame for each turn. One whose own window is closed stands in none until that opens, and one whose turn comes when it
has closed again loses its place. RFC 9218 section 10 lets responses of one urgency go one after another; they take
turns here whether incremental or not, so that one long download does not hold up the rest.
"""

from __future__ import annotations

from collections import OrderedDict

import trio

from ..exceptions import H2Error
from ..protocol.connection_machine import ConnectionMachine
from ..protocol.stream_machine import StreamMachine
from ..tracer import Tracer
from .pending_send import PendingSend

__all__ = ["WaitingSenders"]

URGENCY_LEVELS = 8
"""RFC 9218 section 4.1: 0 is the most urgent, 7 the least."""


class WaitingSenders:
    """All of a connection's. Owner of every field: this object.

    Attributes:
        by_stream: each of them, in no queue or in one.
    """

    __slots__ = ("_initial_changed", "_machine", "_queues", "_starved_since", "_tracer", "by_stream")

    def __init__(self, machine: ConnectionMachine, tracer: Tracer | None) -> None:
        self._machine = machine
        self._tracer = tracer
        # In order; any sender may leave, at the same cost however many there are.
        self._queues: list[OrderedDict[PendingSend, None]] = [OrderedDict() for _ in range(URGENCY_LEVELS)]
        self._initial_changed = False
        self._starved_since: float | None = None
        self.by_stream: dict[StreamMachine, PendingSend] = {}

    # Who waits

    def join(self, sender: PendingSend) -> None:
        """It begins to wait."""
        assert sender.stream not in self.by_stream, "another sender of the stream waits already"
        self.by_stream[sender.stream] = sender
        self._queue(sender)
        self._tell_wait(sender.stream)

    def leave(self, sender: PendingSend) -> None:
        """It waits no more, for whatever reason; it may be gone already."""
        self._remove(sender)
        if self._tracer is not None:
            self._tracer.sender_waits(sender.stream.stream_id, None)

    def fail(self, stream: StreamMachine, failure: H2Error) -> None:
        """The stream's sender, if one waits, gets `failure`."""
        sender = self.by_stream.get(stream)
        if sender is not None:
            self._end(sender, failure)

    def fail_all(self, failure: H2Error) -> None:
        """Every sender gets `failure`."""
        for sender in list(self.by_stream.values()):
            self._end(sender, failure)

    def _end(self, sender: PendingSend, failure: H2Error | None) -> None:
        self._remove(sender)
        sender.end(failure)

    def _remove(self, sender: PendingSend) -> None:
        self._unqueue(sender)
        self.by_stream.pop(sender.stream, None)

    # Whose turn it is

    @property
    def queued(self) -> bool:
        """Whether anybody waits for a turn, so that a new sender has to queue."""
        return any(self._queues)

    def next(self) -> tuple[PendingSend, bool] | None:
        """Whose turn it is now, and whether it is alone in its queue, out of which it is; None if nobody's."""
        for queue in self._queues:
            if queue:
                sender, _ = queue.popitem(last=False)
                sender.leave_queue()
                return sender, not queue
        return None

    def had_turn(self, sender: PendingSend) -> None:
        """It has cut what it could: its call ends, or it waits for its next turn."""
        if sender.ended:
            self._end(sender, None)
        else:
            self._queue(sender)

    def _queue(self, sender: PendingSend) -> None:
        """Give a sender its place, unless its own stream's window is what it waits for."""
        window = sender.stream.outbound.available
        if window > 0:
            if self._starved_since is not None and not self.queued:
                self._starved_since = None  # of those that starved none is left
            self._take_place(sender)
        else:
            sender.stall(window)

    def _take_place(self, sender: PendingSend) -> None:
        urgency = sender.stream.priority.urgency
        sender.queue(urgency)
        self._queues[urgency][sender] = None

    def _unqueue(self, sender: PendingSend) -> None:
        if sender.queued_at is not None:
            del self._queues[sender.queued_at][sender]
            sender.leave_queue()

    # Credit

    def credit(self, stream: StreamMachine) -> None:
        """The stream's window may have opened, or its priority changed: queue its sender afresh."""
        sender = self.by_stream.get(stream)
        if sender is None:
            return
        if sender.queued_at is None:
            self._queue(sender)
        elif sender.queued_at != stream.priority.urgency:
            self._unqueue(sender)
            self._take_place(sender)
        self._tell_wait(stream)

    def connection_credit(self) -> None:
        """The connection's window has opened further."""
        if self._starved_since is not None:
            self._tell_waits()
        self._starved_since = None

    def initial_window_changed(self) -> None:
        """The windows of all streams may have opened: `look_at_windows` looks once, however often this comes."""
        self._initial_changed = True

    def look_at_windows(self) -> None:
        """Before turns are given: queue those whose windows a setting has opened."""
        if self._initial_changed:
            self._initial_changed = False
            for sender in self.by_stream.values():
                if sender.queued_at is None:
                    self._queue(sender)

    def turns_given(self) -> None:
        """There is no more room for now; if that is the connection's window, those in the queues starve from now on."""
        if self._machine.outbound.available > 0:
            self._starved_since = None
        elif self._starved_since is None and self.queued:
            self._starved_since = trio.current_time()
        self._tell_waits()

    @property
    def stalled_since(self) -> float | None:
        """Since when the sender that has waited longest for its window, or the connection's, got no octet of credit."""
        since = [sender.stalled_since for sender in self.by_stream.values() if sender.stalled_since is not None]
        if self._starved_since is not None and self.queued:
            since.append(self._starved_since)
        return min(since, default=None)

    def stalled(self, timeout: float) -> list[int]:
        """The IDs of the streams whose senders have had no octet of credit for so long."""
        now = trio.current_time()

        def is_stalled(sender: PendingSend) -> bool:
            since = self._starved_since if sender.stalled_since is None else sender.stalled_since
            return since is not None and now >= since + timeout

        return [sender.stream.stream_id for sender in self.by_stream.values() if is_stalled(sender)]

    # What they wait for

    def waits_for(self, stream: StreamMachine) -> str | None:
        """What the stream's sender waits for now, in words, or None if none waits."""
        if stream not in self.by_stream:
            return None
        if stream.outbound.available <= 0:
            return "stream window"
        if self._machine.outbound.available <= 0:
            return "connection window"
        return "transport"

    def waits_since(self, stream: StreamMachine) -> float | None:
        """Since when the stream's sender waits, or None if none does."""
        sender = self.by_stream.get(stream)
        return None if sender is None else sender.since

    def _tell_wait(self, stream: StreamMachine) -> None:
        if self._tracer is not None:
            self._tracer.sender_waits(stream.stream_id, self.waits_for(stream))

    def _tell_waits(self) -> None:
        """What senders wait for may have changed, of all of them."""
        if self._tracer is not None:
            for stream in self.by_stream:
                self._tell_wait(stream)
