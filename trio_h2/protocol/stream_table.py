"""The stream table of one connection: which streams live, which IDs are used, and how the closed ones closed.

A closed stream leaves the table at once. What stays is a tombstone, its ID and why it closed, in bounded number:
late frames on it are judged by that (RFC 9113 section 5.1, "closed").
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from .message_half import Phase
from .stream_machine import CloseReason, StreamMachine

__all__ = ["StreamTable"]

MAX_STREAM_ID = 2**31 - 1

# As in `stream_machine.py`: what every stream asks for is not looked up in its class.
_ENDED = CloseReason.ENDED
_DONE = Phase.DONE


class StreamTable:
    """Live streams by ID, IDs used on each side, and tombstones.

    Attributes:
        highest_inbound: the highest stream ID the peer has used or promised.
        highest_outbound: the highest stream ID we have used or promised.
        ids_left: Whether there is a higher one.
        open_inbound: how many of the peer's streams count as concurrent (RFC 9113 section 5.1.2).
        open_outbound: how many of ours do.
        opened: how many streams were put in so far, on both sides.
        completed: how many of those that closed had their response complete.
    """

    def __init__(self, *, client: bool, max_tombstones: int) -> None:
        self._own_parity = 1 if client else 0
        self._live: dict[int, StreamMachine] = {}
        self._max_tombstones = max_tombstones
        # Normal ends are frequent and would push out the resets, whose late frames are the ones to come.
        self._ended: OrderedDict[int, CloseReason] = OrderedDict()
        self._reset: OrderedDict[int, CloseReason] = OrderedDict()
        self.highest_inbound = 0
        self.highest_outbound = 0
        self.ids_left = True
        self.open_inbound = 0
        self.open_outbound = 0
        self.opened = 0
        self.completed = 0
        self._closed_lately: dict[int, StreamMachine] | None = None

    def __iter__(self) -> Iterator[StreamMachine]:
        return iter(list(self._live.values()))

    def __len__(self) -> int:
        return len(self._live)

    @property
    def live(self) -> Mapping[int, StreamMachine]:
        """The live streams by ID, to look at."""
        return MappingProxyType(self._live)

    def get(self, stream_id: int) -> StreamMachine | None:
        """The live stream of this ID."""
        return self._live.get(stream_id)

    def own_above(self, stream_id: int) -> list[StreamMachine]:
        """Our own live streams of higher IDs, in order. Those opened before are not looked at."""
        above = []
        for stream in reversed(self._live.values()):
            if self.is_own(stream.stream_id):
                if stream.stream_id <= stream_id:
                    break
                above.append(stream)
        return above[::-1]

    def is_own(self, stream_id: int) -> bool:
        """Whether this is an ID that our side opens (RFC 9113 section 5.1.1)."""
        return stream_id & 1 == self._own_parity

    def is_idle(self, stream_id: int) -> bool:
        """Whether this ID has not been used yet, nor passed over."""
        return stream_id > (self.highest_outbound if self.is_own(stream_id) else self.highest_inbound)

    def is_new(self, stream_id: int) -> bool:
        """Whether this ID is one that the peer opens, and has not used yet, nor passed over."""
        return stream_id > self.highest_inbound and stream_id & 1 != self._own_parity

    def next_own_id(self) -> int | None:
        """The ID our next stream gets, or None when they are used up."""
        stream_id = self.highest_outbound + 2 if self.highest_outbound else 2 - self._own_parity
        return stream_id if stream_id <= MAX_STREAM_ID else None

    def use(self, stream_id: int) -> None:
        """Note an ID as used; all lower ones of its side are closed by that."""
        if stream_id & 1 == self._own_parity:
            self.highest_outbound = stream_id
            self.ids_left = stream_id + 2 <= MAX_STREAM_ID
        else:
            self.highest_inbound = stream_id

    def add(self, stream: StreamMachine) -> None:
        """Put a stream in, and count it as concurrent if its state says so; its ID has been noted with `use`."""
        self._live[stream.stream_id] = stream
        self.opened += 1
        self.count(stream)

    def add_request(self, stream: StreamMachine) -> None:
        """The fast path of most requests: `add` for a stream of the peer's that counts as concurrent already."""
        self._live[stream.stream_id] = stream
        self.opened += 1
        self.open_inbound += 1

    def count(self, stream: StreamMachine) -> None:
        """Count the stream as concurrent from now on, if its state says so."""
        if not stream.count():
            return
        if stream.stream_id & 1 == self._own_parity:
            self.open_outbound += 1
        else:
            self.open_inbound += 1

    def close(self, stream: StreamMachine, reason: CloseReason) -> bool:
        """Take a stream out and leave its tombstone; whether its response was complete."""
        self._live.pop(stream.stream_id, None)
        if stream.close(reason):
            if stream.stream_id & 1 == self._own_parity:
                self.open_outbound -= 1
            else:
                self.open_inbound -= 1
        if self._closed_lately is not None:
            self._closed_lately[stream.stream_id] = stream
        self.bury(stream.stream_id, reason)
        response = stream.receiving if self._own_parity else stream.sending
        if response.phase is not _DONE:
            return False
        self.completed += 1
        return True

    def bury(self, stream_id: int, reason: CloseReason) -> None:
        """Leave a tombstone, and forget the oldest when there are too many."""
        graves = self._ended if reason is _ENDED else self._reset
        graves[stream_id] = reason
        if len(graves) > self._max_tombstones:
            graves.popitem(last=False)

    def keep_closed(self) -> dict[int, StreamMachine]:
        """Where closed streams are kept by ID from now on, for a caller who looks at them, and clears it."""
        self._closed_lately = {}
        return self._closed_lately

    def how_closed(self, stream_id: int) -> CloseReason | None:
        """Why a stream that is neither live nor idle closed; None if forgotten or passed over."""
        return self._reset.get(stream_id, self._ended.get(stream_id))
