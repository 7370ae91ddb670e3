"""What waits for `connection.events()` and `connection.pushes()`: two memory channels, bounded in number and octets.

Nobody may be reading them, and the reader waits for nobody: what has no room is dropped and counted, or refused.
"""

from __future__ import annotations

import trio

from .. import events as ev
from ..config import Config
from ..protocol.connection_machine import ConnectionMachine
from .stream_actor import StreamActor

__all__ = ["EventQueue", "event_size"]

MAX_EVENT_SIZE = 8 * 1024
"""Octets of one connection event that is kept for `events()`: nobody may be reading them. Fifty origins fit."""

OBJECT_SIZE = 256
"""What an event takes beside its octets, at most."""

SETTING_SIZE = 208
"""What a setting takes in one: its change, the numbers in that, and its place in the dict."""

ORIGIN_SIZE = 48
"""What an origin takes in one, beside its octets."""


class EventQueue:
    """Events that concern no single stream, and pushed streams. Owner of every field: this object.

    Attributes:
        dropped: events that nobody took in time.
    """

    def __init__(self, machine: ConnectionMachine, config: Config) -> None:
        self._machine = machine
        self._max_octets = config.max_event_octets
        self._octets = 0  # of the events that wait
        self.dropped = 0
        self._events_in, self._events_out = trio.open_memory_channel[ev.Event](config.max_queued_events)
        self._pushes_in, self._pushes_out = trio.open_memory_channel[tuple[StreamActor, ev.PushedStreamReceived]](
            config.max_queued_events
        )

    def put(self, event: ev.Event) -> None:
        """Keep an event for `events()`, or count it as dropped."""
        size = event_size(event)
        if size > OBJECT_SIZE + MAX_EVENT_SIZE or self._octets + size > self._max_octets:
            self._drop("max_event_octets")
            return
        try:
            self._events_in.send_nowait(event)
        except trio.WouldBlock:
            self._drop("max_queued_events")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.dropped += 1
        else:
            self._octets += size

    def _drop(self, limit: str) -> None:
        self.dropped += 1
        self._machine.count_limit(limit)

    async def next(self) -> ev.Event | None:
        """Wait for the next event; None after the last."""
        try:
            event = await self._events_out.receive()
        except trio.EndOfChannel:
            return None
        self._octets -= event_size(event)
        return event

    def put_push(self, actor: StreamActor, event: ev.PushedStreamReceived) -> bool:
        """Keep a pushed stream for `pushes()`. Whether there is room."""
        try:
            self._pushes_in.send_nowait((actor, event))
        except trio.WouldBlock:
            self._machine.count_limit("max_queued_events")
            return False
        return True

    async def next_push(self) -> tuple[StreamActor, ev.PushedStreamReceived] | None:
        """Wait for the next pushed stream; None after the last."""
        try:
            return await self._pushes_out.receive()
        except trio.EndOfChannel:
            return None

    def close_untaken_pushes(self) -> None:
        """Nobody will take what was pushed."""
        while True:
            try:
                actor, _ = self._pushes_out.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                return
            actor.close(linger=False)

    def end(self) -> None:
        """Nothing more comes; what is here can still be taken."""
        self._events_in.close()
        self._pushes_in.close()


def event_size(event: ev.Event) -> int:
    """How many octets an event holds: the peer's, and the objects around them."""
    size = OBJECT_SIZE
    if isinstance(event, ev.OriginReceived):
        size += sum([ORIGIN_SIZE + 2 * len(origin) for origin in event.origins])  # they are in its payload too
    elif isinstance(event, ev.UnknownFrameReceived):
        size += len(event.payload)
    elif isinstance(event, ev.RemoteSettingsChanged | ev.SettingsAcknowledged):
        size += SETTING_SIZE * len(event.changed_settings)
    elif isinstance(event, ev.ConnectionTerminated):
        size += len(event.additional_data or b"")
    elif isinstance(event, ev.AlternativeServiceAvailable):
        size += len(event.origin) + len(event.field_value)
    return size
