"""StreamTasks: the task of each stream of a connection, how it begins, and what is done when it has ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import copy_context

import trio

from ..headers import Headers
from .ending import Ending
from .live_streams import LiveStreams
from .stream_actor import StreamActor

__all__ = ["RunHandler", "StreamTasks"]

RunHandler = Callable[[StreamActor, Headers], Awaitable[None]]


class StreamTasks:
    """Starts the tasks of a connection's streams. Owner of every field: this object.

    Args:
        nursery: where they run, beside the connection's own tasks.
        handler: what a server runs for every request.
        streams: those that have their tasks.
        ending: how the connection ends: with its last stream, if it drains.
    """

    def __init__(self, nursery: trio.Nursery, handler: RunHandler | None, streams: LiveStreams, ending: Ending) -> None:
        self._nursery = nursery
        self._handler = handler
        self._streams = streams
        self._ending = ending
        self._context = copy_context()

    def start_client(self, actor: StreamActor) -> None:
        """Give a client's stream, its own or one that was pushed, its task."""
        self._nursery.start_soon(actor.run_client, self)

    def start_pushed(self, actor: StreamActor) -> None:
        """Give a stream that a server has promised its task."""
        self._nursery.start_soon(self.run_pushed, actor)

    def start_handler(self, actor: StreamActor, request: Headers) -> None:
        """Give a server's stream, which has its permit, the task in which its handler runs."""
        assert self._handler is not None
        actor.start()
        self._nursery.start_soon(actor.run_server, self._handler, request, self)

    def handler_exited(self, actor: StreamActor) -> None:
        """The task of a request's stream is at its end; its permit goes to the next one."""
        waiting = self._streams.permits.give_back()
        if waiting is not None:
            # Not with the context variables that the handler before it has set in this task.
            self._context.run(self.start_handler, *waiting)
        self._streams.remove(actor)

    def client_cancelled(self) -> None:
        """The task of a client's stream was cancelled.

        Only the connection's own nursery cancels it, and its tasks learn of that in any order.
        """
        self._ending.cancelled()

    def client_exited(self, actor: StreamActor) -> None:
        """The task of a client's stream is at its end."""
        self._streams.remove(actor)
        self._ending.end_if_drained()

    @trio.lowlevel.enable_ki_protection
    async def run_pushed(self, actor: StreamActor) -> None:
        """The task of a stream that a server has promised."""
        try:
            await actor.run_pushed()
        finally:
            self._streams.remove(actor)
