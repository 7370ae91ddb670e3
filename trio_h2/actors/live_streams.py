"""The streams of a connection that have their tasks: by ID, those that wait to begin, and whether there are any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

import trio

from .. import events as ev
from ..exceptions import ErrorCodes, H2Error
from ..protocol.connection_machine import ConnectionMachine
from ..protocol.stream_machine import StreamState
from ..tracer import Tracer
from .admission import Permits, Slots
from .deadlines import Deadlines
from .errors import retryable
from .stream_actor import StreamActor

__all__ = ["LiveStreams", "handler_scope"]

# Which handler the code that runs belongs to: trio gives a task the context of the one that starts it. It is the scope
# that is kept, because a task may outlive its handler, and a scope leads to no connection.
handler_scope: ContextVar[trio.CancelScope | None] = ContextVar("the scope of the handler that runs", default=None)


def _nothing() -> None:
    pass


class LiveStreams:
    """Owner of every field: this object.

    Attributes:
        slots: a client's streams that wait to open.
        permits: a server's streams that wait for their handlers to start.
        get: the actor of the open stream with an ID, or None. A dict's method: every frame of a stream asks.
    """

    def __init__(
        self,
        machine: ConnectionMachine,
        deadlines: Deadlines,
        max_handlers: int,
        tracer: Tracer | None,
        *,
        on_idle: Callable[[], None] | None = None,
        on_busy: Callable[[], None] | None = None,
        on_room: Callable[[], None] | None = None,
    ) -> None:
        self._machine = machine
        self._deadlines = deadlines
        self._tracer = tracer
        self._on_idle = on_idle or _nothing
        self._on_busy = on_busy or _nothing
        self._open: dict[int, StreamActor] = {}
        self._live: set[StreamActor] = set()
        self._asking: list[StreamActor] = []  # once for each call: the tasks of a handler may make several
        self._quiet = trio.lowlevel.ParkingLot()
        self.get = self._open.get
        self.slots: Slots[StreamActor] = Slots(machine, self._open.__setitem__, on_room)
        self.permits: Permits[StreamActor] = Permits(max_handlers)

    def __len__(self) -> int:
        return len(self._live)

    @property
    def opened(self) -> Iterable[StreamActor]:
        """Those that have their IDs."""
        return self._open.values()

    @property
    def in_order(self) -> list[StreamActor]:
        """Those that are not closed, by their IDs; those that wait for a slot last."""
        having_ids = [self._open[stream_id] for stream_id in sorted(self._open)]
        return [actor for actor in having_ids if actor.state is not StreamState.CLOSED] + list(self.slots.waiting)

    @property
    def handlers(self) -> list[str]:
        """The handlers that run, in words."""
        return [actor.handler for actor in self._live if actor.started]

    def ready(self) -> None:
        """The handshake is done, and there is no stream yet."""
        self._on_idle()

    def add(self, actor: StreamActor) -> None:
        """The actor's stream has its ID: what is received on it goes there."""
        if not self._live:
            self._on_busy()
        assert actor.stream_id is not None
        self._open[actor.stream_id] = actor
        self._live.add(actor)

    def enter(self, actor: StreamActor) -> None:
        """A client's stream opens as soon as there is a slot for it."""
        self._live.add(actor)
        self.slots.enter(actor)

    def remove(self, actor: StreamActor) -> None:
        """The stream is done with: nothing is left of it but its tombstone."""
        self._live.discard(actor)
        if actor.stream_id is not None:
            self._open.pop(actor.stream_id, None)
            self._machine.held_headers.release(actor.stream_id)
            if self._tracer is not None:
                self._tracer.stream_closed(actor.stream_id, None)
        else:
            self.slots.withdraw(actor)
        self.slots.grant()
        if not self._live:
            self._on_idle()
            self._deadlines.quiet()
            self._quiet.unpark_all()
        elif self._asking:
            self._quiet.unpark_all()

    async def quiet(self) -> None:
        """Wait until the last stream is removed, those that ask for it are all that is left, or the connection ends."""
        await self._quiet.park()

    # Handlers that ask for the end of all other streams, and then answer

    def asking(self) -> AbstractContextManager[None] | None:
        """Where the handler whose code runs now has to wait for the other streams; None if it is none of this object's.

        A task that a handler started runs its code, too.
        """
        scope = handler_scope.get()
        asking = None if scope is None else next((actor for actor in self._live if actor.scope is scope), None)
        return None if asking is None else self._waiting_for_others(asking)

    @contextmanager
    def _waiting_for_others(self, actor: StreamActor) -> Iterator[None]:
        """The actor's handler waits in here for the other streams to end. Nobody waits for its own from now on.

        Who leaves with an error has given up: its stream counts again.
        """
        self._asking.append(actor)
        self._quiet.unpark_all()
        try:
            yield
        except BaseException:
            self._asking.remove(actor)
            self._quiet.unpark_all()
            raise

    @property
    def asked(self) -> bool:
        """Whether there are streams that ask, or have asked."""
        return not self._live.isdisjoint(self._asking)

    @property
    def others_ended(self) -> bool:
        """Whether none is left but those."""
        return self._live.issubset(self._asking)

    def end_others(self, cause: H2Error) -> None:
        """The time of all but those is over."""
        for actor in self._live.difference(self._asking):
            actor.reset(ErrorCodes.CANCEL)
            actor.fail(cause)
            if self.permits.withdraw(actor):
                self._release(actor)

    # Endings of streams that come from outside of them

    def reset(self, event: ev.StreamReset) -> None:
        """The peer, or this library for what the peer did, has reset a stream; a handler that waits never starts."""
        actor = self._open.get(event.stream_id)
        if actor is None:
            return
        actor.deliver(event)
        if self.permits.withdraw(actor):
            self._release(actor)

    def reset_all(self) -> None:
        """Send RST_STREAM on all that are open."""
        for actor in list(self._live):
            actor.reset(ErrorCodes.CANCEL)

    def refuse(self, refusal: H2Error) -> None:
        """Those that wait for a slot do not open: nothing of them was sent."""
        self.slots.fail(refusal)

    def abandon(self, last_stream_id: int, failure: H2Error) -> None:
        """The peer has processed none of ours above this ID (RFC 9113 section 6.8)."""
        for stream_id in self._machine.abandon_streams(last_stream_id):
            self._open[stream_id].fail(retryable(failure))

    def fail_unsent(self, taken: int, failure: H2Error) -> None:
        """Of those whose HEADERS come behind so many octets the transport has nothing, and gets nothing any more."""
        for actor in list(self._open.values()):
            if actor.unsent(taken):
                actor.fail(retryable(failure))

    def end(self, cause: H2Error) -> None:
        """The connection is over, and so is every stream; those that run end in their own tasks."""
        for actor in list(self._live):
            actor.lose_connection(cause)
        for actor in self.permits.end():
            self._release(actor)
        self._quiet.unpark_all()

    def _release(self, actor: StreamActor) -> None:
        actor.release()
        self.remove(actor)
