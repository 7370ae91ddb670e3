"""The graceful shutdown of a server's connection, in two stages (RFC 9113 section 6.8).

First GOAWAY goes out with the highest stream ID there is, and a PING after it: its answer proves that the client has
seen the GOAWAY, so that every request it made before is here. Then the GOAWAY with the real last stream ID follows,
and the streams may finish. Each stage leaves some of the time there is to those after it.

A handler may ask for it. Its stream is then not waited for, and not cut off at the deadline either: once the others
have ended it may still answer. How long that may take is for those to say who were asked.
"""

from __future__ import annotations

import math

import trio

from ..exceptions import ConnectionTerminatedError
from .ending import Ending
from .live_streams import LiveStreams
from .phases import Step
from .pings import Pings
from .stream_context import StreamContext

__all__ = ["ANSWER", "Shutdown"]

ANSWER = 0.2
"""Seconds after a shutdown's deadline for which a handler that called for it may still answer."""


class Stage:
    """A stage of the shutdown: it leaves `share` of the time there is, at most `most`, to those after it."""

    def __init__(self, scope: trio.CancelScope, share: float, most: float) -> None:
        self.scope = scope
        self._share = share
        self._most = most

    def shorten(self, deadline: float) -> None:
        """The whole shutdown has to be over by `deadline`."""
        left = max(0, deadline - trio.current_time())
        reserve = min(self._share * left, self._most) if self._share else 0
        self.scope.deadline = min(self.scope.deadline, deadline - reserve)


class Shutdown:
    """Owner of every field: this object."""

    def __init__(self, context: StreamContext, ending: Ending, streams: LiveStreams, pings: Pings) -> None:
        self._context = context
        self._ending = ending
        self._streams = streams
        self._pings = pings
        self._deadline = math.inf
        self._stage: Stage | None = None
        self._asked = False  # did handlers that still run at the deadline ask for all this?

    async def run(self, deadline: float) -> bool:
        """Let streams finish until `deadline`, and close. Whether that is done by then.

        A second call joins the first, whose stages stay; of both deadlines the sooner one counts. Where handlers asked
        for it, it takes as long as they do.
        """
        self._deadline = min(self._deadline, deadline)
        life = self._ending.life
        if self._stage is not None:
            self._stage.shorten(self._deadline)
            with trio.move_on_at(deadline):
                await life.closed.wait()
            if self._streams.asked:
                await life.closed.wait()
            return True  # or else the first call does what has to be done
        if life.cause is None and self._context.machine.goaway_last_stream_id is None:
            await self._announce()
        if life.cause is None:
            await self._drain()
        if self._asked:
            await life.closed.wait()
            return True
        with self._begin_stage(share=0, most=0) as scope:
            await life.closed.wait()
        return not scope.cancelled_caught

    async def _announce(self) -> None:
        self._context.machine.announce_goaway()
        self._ending.life.step(Step.DRAIN)
        self._context.writer.wake()
        with self._begin_stage(share=0.5, most=math.inf, lasts=self._context.config.goaway_delay):
            await self._pings.ping()

    async def _drain(self) -> None:
        self._context.machine.goaway()
        self._context.writer.wake()
        with self._begin_stage(share=0.1, most=0.5):
            await self._ending.drained()
        cause = ConnectionTerminatedError("the connection was shut down", initiator="local")
        if self._streams.asked:
            self._asked = True
            self._streams.end_others(cause)
            self._ending.life.drained.set()
            await self._ending.answered()
        self._streams.reset_all()
        self._ending.end(cause)

    def _begin_stage(self, *, share: float, most: float, lasts: float = math.inf) -> trio.CancelScope:
        self._stage = Stage(trio.CancelScope(deadline=trio.current_time() + lasts), share, most)
        self._stage.shorten(self._deadline)
        return self._stage.scope
