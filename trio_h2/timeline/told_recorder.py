"""`ToldRecorder`: records a connection of which a `Timeline` is told as any `Trace` is."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from ..exceptions import H2Error
from ..headers import Headers
from ..protocol.frames import DATA, FRAME_HEADER
from .connection_recorder import ConnectionRecorder
from .records import Octets

__all__ = ["ToldRecorder"]


class ToldRecorder(ConnectionRecorder):
    """What is sent and received on its streams it knows by their frames alone, which may be told before the stream.

    Owner of every field: this object.
    """

    __slots__ = ("_sent",)

    def __init__(self, *arguments: Any, client: bool) -> None:
        super().__init__(*arguments, client=client)
        self._sent: defaultdict[int, Octets] = defaultdict(Octets)

    def told_opened(self, stream_id: int, headers: Headers) -> None:
        """As `Trace.stream_opened`."""
        self.stream_opened(stream_id, headers, self._sent[stream_id])

    def told_closed(self, stream_id: int, error: H2Error | None) -> None:
        """As `Trace.stream_closed`."""
        self.stream_closed(stream_id, error)
        self._sent.pop(stream_id, None)

    def told_received(self, type_: int, flags: int, stream_id: int, length: int) -> None:
        """As `Trace.frame_received`."""
        header = FRAME_HEADER.pack(length >> 8, length & 0xFF, type_, flags, stream_id)
        self.on_frame_received((self.read_began(), False, header))
        if type_ == DATA:
            self.receive_data(stream_id, length)

    def told_sent(self, type_: int, flags: int, stream_id: int, length: int) -> None:
        """As `Trace.frame_sent`."""
        self.taken()
        header = FRAME_HEADER.pack(length >> 8, length & 0xFF, type_, flags, stream_id)
        self.on_frame_sent((self.now(), True, header))
        if type_ == DATA:
            self._sent[stream_id].add(length)
