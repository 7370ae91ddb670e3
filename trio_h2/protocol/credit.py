"""The credit that we give (RFC 9113 section 6.9): both inbound windows, when a WINDOW_UPDATE is due, what they grow by.

What the application took is credit again. It is not announced at once: `announce` puts one WINDOW_UPDATE into the
outbox for each window that is due, however often its stream was read since, and is called when the outbox is taken.
`bandwidth.py` says how large windows should be; a stream's grows with its next announcement.
"""

from __future__ import annotations

from ..config import Config
from ..exceptions import FlowControlError
from ..tracer import Tracer
from .bandwidth import BandwidthEstimator, GrowthBudget
from .frame_writer import FrameWriter
from .message_half import Phase
from .stream_machine import Input, StreamMachine
from .windows import ConnectionInboundWindow

__all__ = ["Credit"]


class Credit:
    """What the peer may send, on the connection and on its streams.

    Attributes:
        inbound: the connection's window.
        bandwidth: how large receive windows should be; whoever has a clock measures when that is due.
        creditable: streams with enough credit for a WINDOW_UPDATE: one each, however often they are read before it
            leaves.
    """

    def __init__(self, config: Config, outbox: FrameWriter, tracer: Tracer | None = None) -> None:
        self.inbound = ConnectionInboundWindow(config.max_unread)
        self._outbox = outbox
        self._tracer = tracer
        self.creditable: dict[int, StreamMachine] = {}
        # Every stream that we allow can be full of unread octets, grown or not, without stalling another.
        budget = config.max_unread - config.max_concurrent_streams * config.initial_window_size
        self._budget = GrowthBudget(budget)
        present = config.connection_window_size
        if budget > 0:
            present = min(present, config.initial_window_size)
        limit = min(config.max_window_size, config.connection_window_size + config.max_unread)
        self.bandwidth = BandwidthEstimator(present, limit)
        self._grown_to = 0

    def acknowledge(self, stream: StreamMachine, count: int) -> bool:
        """The application took, or threw away, `count` octets of this stream; whether a WINDOW_UPDATE is due by it."""
        if self._tracer is not None:
            self._tracer.data_taken(stream.stream_id, count)
        inbound, window = self.inbound, stream.inbound
        held = inbound.held  # if it held nothing, what is due of it was so when it was received
        inbound.release(count)
        window.release(count)
        if window.unannounced * 2 >= window.target:
            self._note(stream)
        return bool(self.creditable) or (held > 0 and inbound.due)

    def resize(self, stream: StreamMachine, delta: int) -> None:
        """Our SETTINGS_INITIAL_WINDOW_SIZE changed (6.9.2); credit that was small may be large now."""
        # By the difference: a window that grew by hand keeps what it grew by.
        window = stream.inbound
        window.resize(window.target + delta)
        if window.due:
            self._note(stream)

    def _note(self, stream: StreamMachine) -> None:
        if _wants_more(stream):
            self.creditable[stream.stream_id] = stream

    def announce(self) -> None:
        """Queue the WINDOW_UPDATEs that are due."""
        if self.inbound.due:
            self._outbox.window_update(0, self.inbound.announce())
        if self.creditable:
            for stream in self.creditable.values():
                increment = stream.inbound.announce() if _wants_more(stream) else 0
                if increment:
                    increment += self._widen(stream, increment)
                    self._outbox.window_update(stream.stream_id, increment)
            self.creditable.clear()

    def grow(self, stream: StreamMachine | None, increment: int, *, regrant: bool = False) -> None:
        """Raise a stream's window, or the connection's, beyond its target, and tell the peer at once.

        With `regrant` the octets that the peer used go first, and only the rest is beyond the target.

        Raises:
            FlowControlError: the window would pass 2**31-1 (6.9.1).
            ProtocolError: the stream is in no state to receive on.
        """
        if stream is not None:
            stream.send(Input.SEND_WINDOW_UPDATE)
        window = self.inbound if stream is None else stream.inbound
        if not (window.regrant(increment) if regrant else window.grow(increment)):
            raise FlowControlError("the window would pass 2**31-1", initiator="local")
        stream_id = 0 if stream is None else stream.stream_id
        self._outbox.window_update(stream_id, increment)
        if self._tracer is not None:
            self._tracer.window_grown(stream_id, window.target)

    def look(self, now: float) -> bool:
        """So much was received that a PING may be wanted to measure by; whether it is."""
        return self.bandwidth.look(self.inbound.received, now)

    def measured(self, now: float) -> None:
        """The answer to that PING: the connection's window grows now, a stream's with its next WINDOW_UPDATE."""
        if self.bandwidth.answered(self.inbound.received, now):
            self._grown_to = self.bandwidth.window
            increment = self.inbound.widen(self._grown_to - self.inbound.target)
            if increment:
                self._outbox.window_update(0, increment)
                if self._tracer is not None:
                    self._tracer.window_grown(0, self.inbound.target)

    def _widen(self, stream: StreamMachine, taken: int) -> int:
        """Grow the window of a stream whose reader took `taken` octets since its last announcement; the octets.

        To its share of what a round trip carries, which is its share of what was received since. A reader that
        leaves much unread is slower than the network, and gets nothing more to leave.
        """
        window = stream.inbound
        received = window.since_announced(self.inbound.received)
        if not received or window.held * 4 > window.target:
            return 0
        wanted = self._grown_to * min(taken, received) // received - window.target
        if wanted <= 0:
            return 0
        increment = self._budget.take(stream, wanted)
        window.grow(increment)
        if self._tracer is not None and increment:
            self._tracer.window_grown(stream.stream_id, window.target)
        return increment


def _wants_more(stream: StreamMachine) -> bool:
    return not stream.closed and stream.receiving.phase is not Phase.DONE
