"""What each event does that the frames of a connection bring.

Events of a stream go to its actor. The others change what belongs to the connection, and most of them are also given to
`connection.events()`, as is every event that has no row in `ROUTES`. Nothing here waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import trio

from .. import events as ev
from ..exceptions import ErrorCodes
from ..protocol.bandwidth import MEASURING_PING
from ..protocol.settings import SettingCodes
from .deadlines import Deadlines
from .ending import Ending
from .event_queue import EventQueue
from .live_streams import LiveStreams
from .pings import Pings
from .stream_actor import StreamActor
from .stream_context import StreamContext
from .stream_tasks import StreamTasks

__all__ = ["ROUTES", "keep"]


class Connection(Protocol):
    """What of a connection its events reach."""

    @property
    def context(self) -> StreamContext:
        """What its streams share: the machine, the writer, the Config."""

    @property
    def streams(self) -> LiveStreams:
        """Its streams."""

    @property
    def deadlines(self) -> Deadlines:
        """Its deadlines."""

    @property
    def pings(self) -> Pings:
        """PINGs of ours."""

    @property
    def events(self) -> EventQueue:
        """What waits for the user."""

    @property
    def ending(self) -> Ending:
        """How it ends."""

    @property
    def tasks(self) -> StreamTasks:
        """The tasks of its streams."""


StreamEvent = (
    ev.ResponseReceived
    | ev.InformationalResponseReceived
    | ev.TrailersReceived
    | ev.StreamEnded
    | ev.WindowUpdated
    | ev.PriorityUpdated
)


def keep(connection: Connection, event: ev.Event) -> None:
    """Nothing but to let the user see it."""
    connection.events.put(event)


# Of a stream


def on_request(connection: Connection, event: ev.RequestReceived) -> None:
    """A stream begins; its handler starts when there is a permit."""
    stream = connection.context.machine.table.get(event.stream_id)
    if stream is None:  # it was refused later in the same batch
        return
    actor = StreamActor(connection.context, stream, event.headers, connection.deadlines.received_at)
    connection.streams.add(actor)
    tracer = connection.context.tracer
    if tracer is not None:
        actor.tell_opened(tracer, event.headers)
    if connection.streams.permits.take(actor, event.headers):
        connection.tasks.start_handler(actor, event.headers)


def on_stream(connection: Connection, event: StreamEvent) -> None:
    """Its actor knows what to do."""
    actor = connection.streams.get(event.stream_id)
    if actor is not None:
        actor.deliver(event)


def on_data(connection: Connection, event: ev.DataReceived) -> None:
    """Octets of a body; where nobody can read them any more they are credit on the connection at once."""
    actor = connection.streams.get(event.stream_id)
    if actor is None:
        connection.context.machine.release_connection(len(event.data))
    else:
        actor.deliver(event)


def on_reset(connection: Connection, event: ev.StreamReset) -> None:
    """The stream is over."""
    connection.streams.reset(event)


def on_window(connection: Connection, event: ev.WindowUpdated) -> None:
    """Somebody who waits for window may go on."""
    if event.stream_id == 0:
        connection.context.writer.connection_credit()
        connection.events.put(event)
    else:
        on_stream(connection, event)


def on_push(connection: Connection, event: ev.PushedStreamReceived) -> None:
    """The server promises a response, to whoever iterates over `pushes()`."""
    machine = connection.context.machine
    stream = machine.table.get(event.pushed_stream_id)
    if stream is None:
        return
    actor = StreamActor(connection.context, stream, event.headers, connection.deadlines.received_at)
    wanted = connection.context.config.enable_push  # or it was promised before our SETTINGS came into force
    if wanted and connection.events.put_push(actor, event):
        connection.streams.add(actor)
        if connection.context.tracer is not None:
            actor.tell_opened(connection.context.tracer, event.headers)
        connection.tasks.start_client(actor)
        return
    if wanted:
        machine.complain(event.pushed_stream_id, "too many pushes that nobody has taken")
    actor.reset(ErrorCodes.REFUSED_STREAM)
    machine.held_headers.release(event.pushed_stream_id)


# Of the connection


def on_settings(connection: Connection, event: ev.RemoteSettingsChanged) -> None:
    """The peer's SETTINGS are in force; the first complete its preface."""
    connection.deadlines.settings_received()
    if connection.ending.life.receive_settings():
        connection.streams.ready()
    if SettingCodes.INITIAL_WINDOW_SIZE in event.changed_settings:
        connection.context.writer.initial_window_changed()
    connection.events.put(event)


def on_settings_acknowledged(connection: Connection, event: ev.SettingsAcknowledged) -> None:
    """Our SETTINGS are in force."""
    if not connection.context.machine.local_settings.awaiting_acknowledgement:
        connection.deadlines.settings_acknowledged()
    connection.events.put(event)


def on_ping_ack(connection: Connection, event: ev.PingAckReceived) -> None:
    """An answer to a PING of the user's, of the watch, or of the bandwidth's measurement, which nobody sees."""
    machine = connection.context.machine
    if event.ping_data == MEASURING_PING and machine.bandwidth.measuring:
        machine.measured(trio.current_time())
        return
    connection.pings.answered(event.ping_data)
    connection.events.put(event)


def on_goaway(connection: Connection, event: ev.ConnectionTerminated) -> None:
    """The peer wants no new streams."""
    connection.events.put(event)
    connection.ending.goaway_received(event)


ROUTES: Mapping[type[ev.Event], Callable[[Connection, Any], None]] = {
    ev.RequestReceived: on_request,
    ev.ResponseReceived: on_stream,
    ev.InformationalResponseReceived: on_stream,
    ev.DataReceived: on_data,
    ev.TrailersReceived: on_stream,
    ev.StreamEnded: on_stream,
    ev.StreamReset: on_reset,
    ev.WindowUpdated: on_window,
    ev.PriorityUpdated: on_stream,
    ev.PushedStreamReceived: on_push,
    ev.RemoteSettingsChanged: on_settings,
    ev.SettingsAcknowledged: on_settings_acknowledged,
    ev.PingAckReceived: on_ping_ack,
    ev.ConnectionTerminated: on_goaway,
}
