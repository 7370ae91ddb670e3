"""StreamFacts: what others may know of a stream: statistics, deadlines, the writer, and the handles of the user.

Nothing here changes anything. The machine's state is read here for all of them, so that nobody else touches it.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..protocol.message_half import Phase
from ..protocol.priority import Priority
from ..protocol.stream_machine import StreamState
from ..protocol.windows import InboundWindow
from .logs import request_line
from .sending import Sending
from .stream_context import StreamContext

__all__ = ["StreamFacts"]


class StreamFacts(Sending):
    """A stream as others look at it. A StreamActor is one, with a task.

    Attributes:
        since: when its request came, or was made, on trio's clock.
    """

    __slots__ = ("_fields", "since")

    def __init__(self, context: StreamContext, fields: Iterable[tuple[bytes, bytes]], since: float) -> None:
        super().__init__(context)
        self._fields = fields  # of the request
        self.since = since

    @property
    def state(self) -> StreamState | None:
        """The stream's state, or None while a client's waits for a slot."""
        return None if self.stream is None else self.stream.state

    @property
    def closed(self) -> bool:
        """Whether a stream that has its ID has ended: by both sides, or by a reset."""
        return self.machine.closed

    @property
    def status(self) -> int | None:
        """The status of the final response that we have begun, or None."""
        return self.machine.sending.status

    @property
    def can_push(self) -> bool:
        """Whether a response can be promised on it now."""
        return self.failure is None and self._context.machine.can_promise(self.machine)

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
    def body_left(self) -> int | None:
        """Octets of the message's body that are still to be taken by its content-length; None without one."""
        half = self.machine.receiving
        return None if half.expected is None else half.expected - half.seen + self.inbox.here

    @property
    def waits_for(self) -> str | None:
        """What holds the stream up now, in words, or None: its sender goes before its reader."""
        if self.stream is None:
            return "slot"
        sender = self._context.writer.waiting.waits_for(self.stream)
        if sender is not None:
            return sender
        if self.inbox.unread:
            return "application"
        return "peer" if self.inbox.waiting else None

    @property
    def waits_since(self) -> float | None:
        """Since when it waits for what `waits_for` says, on trio's clock; None if that is None."""
        if self.stream is None:
            return self.since
        since = self._context.writer.waiting.waits_since(self.stream)
        if since is None and (self.inbox.unread or self.inbox.waiting):
            since = self.inbox.since
        return since

    @property
    def request_line(self) -> tuple[str, str]:
        """The request's method and its path, without the path's query; of CONNECT the host and port."""
        return request_line(self._fields)
