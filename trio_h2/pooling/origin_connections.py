"""`OriginConnections`: a pool's connections to one origin, and the requests that wait for one.

Theory of operation
===================

A request takes the first connection that has room, and is on it before anybody else runs. If none has, it waits for its
turn, behind those who came before. `serve` is called whenever something may have changed: a slot became free, a
connection opened, or takes no more. It gives what room there is to those in front, and if somebody still waits, sees to
it that another connection is opened: only where none is being opened already, where every one there is has as many
streams open as the peer's SETTINGS allow, and where they are not too many.

Opening is a task of the pool's, not of whoever came first, so nobody's cancellation ends it while others wait. Where it
fails, that is one try of everybody who waits, if there is no connection to wait for; and as long as somebody goes on
waiting it is tried again, in growing pauses. A connection that the peer ends before it has completed a request is an
opening that failed. The task then is the connection's own, to its end.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal

import attrs
import trio

from ..actors.errors import raised, too_slow, why, without_frames
from ..config import Config
from ..exceptions import ConnectError, H2Error, RequestTimeoutError
from ..origin import Origin
from ..timeouts import Timeouts
from ..trace import Trace
from .line import Line
from .pool_statistics import OriginStatistics
from .pooled_connection import PooledConnection
from .tries import Tries, back_off
from .turns import Turn

__all__ = ["OriginConnections", "Policy"]

LEFT_ALONE = 5.0
"""Seconds for which an opening goes on that nobody waits for any more: the next request may come soon."""


@attrs.frozen
class Policy:
    """What all origins of a pool have in common.

    Attributes:
        config: that of each connection.
        max_connections: how many to one origin may take requests.
        idle_timeout: seconds without a stream after which one closes.
        connect_timeout: seconds that opening one may take.
        trace: who is told what they do.
    """

    config: Config
    max_connections: int
    idle_timeout: float
    connect_timeout: float
    trace: Trace | None


class OriginConnections:
    """Owner of every field: this object.

    Args:
        origin: where they lead.
        policy: the pool's.
        reach: opens a transport to it, TLS and all.
        start: starts a task of the pool's.
        forget: called when there is nothing left of them.
    """

    def __init__(
        self,
        origin: Origin,
        policy: Policy,
        reach: Callable[[], Awaitable[trio.abc.Stream]],
        start: Callable[[Callable[[], Awaitable[None]]], None],
        forget: Callable[[], None],
    ) -> None:
        self._origin = origin
        self._policy = policy
        self._reach = reach
        self._start = start
        self._forget = forget
        self._connections: list[PooledConnection] = []  # the oldest first, which so stays in use
        self._leaving: set[PooledConnection] = set()
        self._waiting: Line[Turn] = Line()
        # By the peer's doing, and not yet judged; with who waited for their first turn then.
        self._gone: list[tuple[PooledConnection, list[Turn]]] = []
        self._opening: trio.CancelScope | None = None
        self._attempt: trio.CancelScope | None = None
        self._attempt_ends = math.inf
        self._phase: Literal["acquire", "connect"] = "connect"
        self._opened = 0
        self._failures = 0
        self._in_a_row = 0
        self._refusal: H2Error | None = None

    # Requests

    def at_once(self) -> PooledConnection | None:
        """A connection with room, as `acquire` gives it; None where there is a wait before."""
        return None if self._waiting.count or self._refusal is not None else self._with_room()

    async def acquire(self, tries: Tries, timeouts: Timeouts) -> PooledConnection:
        """A connection with room, for a request that begins before anybody else runs. If it does not, call `serve`.

        Raises H2Error: there is none, and its tries are used up.
        """
        if self._refusal is not None:
            await trio.lowlevel.checkpoint()
            raise raised(self._refusal)
        turn = Turn(tries, timeouts)
        try:
            self._waiting.join(turn, again=tries.failed > 0)
            while True:
                self._hurry()
                self.serve()
                turn.waits_for(self._phase_now)
                connection = await turn.wait()
                # A connection that has ended meanwhile says so itself, which counts as a try.
                if connection.room > 0 or not connection.accepting:
                    return connection
                self._waiting.join(turn, again=True)
        except BaseException:
            self._waiting.leave(turn)
            turn.leave()
            self._hurry()
            self.serve()
            raise

    def _with_room(self) -> PooledConnection | None:
        for connection in self._connections:
            if connection.room > 0:
                return connection
        return None

    def serve(self) -> None:
        """Give what room there is to those who wait, in order; if it is not enough, see to another connection."""
        while self._waiting.count:
            connection = self._with_room()
            if connection is None:
                break
            self._waiting.next().give(connection)
        if not self._waiting.count:
            self._forget_if_empty()
            return
        if self._opening is None and self._refusal is None and self._another_is_of_use():
            self._opening = trio.CancelScope()
            self._start(self._open)
        if self._phase != (phase := self._phase_now):
            self._phase = phase
            for turn in self._waiting:
                turn.waits_for(phase)

    @property
    def _phase_now(self) -> Literal["acquire", "connect"]:
        """What those who wait are waiting for."""
        return "acquire" if self._connections else "connect"

    def _another_is_of_use(self) -> bool:
        connections = self._connections
        return len(connections) < self._policy.max_connections and all(each.used_up for each in connections)

    # Opening

    @trio.lowlevel.enable_ki_protection
    async def _open(self) -> None:
        """The task: open a connection, and be it to its end."""
        opening = self._opening
        assert opening is not None
        connection: PooledConnection | None = None
        try:
            transport: trio.abc.Stream | None = None
            with opening:
                transport = await self._transport()
            if transport is not None:
                connection = PooledConnection(
                    transport,
                    self._origin,
                    config=self._policy.config,
                    trace=self._policy.trace,
                    idle_timeout=self._policy.idle_timeout,
                    line=self._waiting,
                    on_change=self._changed,
                )
                await connection.run(partial(self._add, connection))
        finally:
            if self._opening is opening:
                self._opening = None
            if connection is not None:
                self._remove(connection)
            self.serve()

    async def _transport(self) -> trio.abc.Stream | None:
        """Open a transport; None if nobody waits for it any more."""
        self._judge_gone()
        while True:
            if self._in_a_row and self._waiting.count:
                await trio.sleep(back_off(self._in_a_row))
            if not self._waiting.count:
                self._in_a_row = 0
                return None
            try:
                return await self._attempted()
            except H2Error as error:
                self._opening_failed(error, list(self._waiting))

    def _opening_failed(self, failure: H2Error, whose: list[Turn]) -> None:
        """Opening has failed, which was a try of these; who waits for another connection has not tried."""
        self._failures += 1
        self._in_a_row += 1
        if not self._connections:
            without_frames(failure)
            for turn in whose:
                if not turn.try_failed(_copy_of(failure)):
                    self._waiting.leave(turn)

    def _judge_gone(self) -> None:
        """Connections that ended before a request was completed on them are none: each is an opening that failed."""
        gone, self._gone = self._gone, []
        if any(connection.proven for connection in (*self._connections, *(each[0] for each in gone))):
            self._in_a_row = 0
        for connection, waited in gone:
            if not connection.proven and not connection.streams:
                try:
                    connection.check_usable()
                except H2Error as failure:
                    # Who was on it has counted that, and who came later has nothing to do with it.
                    self._opening_failed(failure, self._waiting.still_new(waited))

    async def _attempted(self) -> trio.abc.Stream:
        """Open a transport in time. Raises H2Error, whatever else is raised in there."""
        timeout = self._policy.connect_timeout
        self._attempt_ends = trio.current_time() + timeout
        try:
            with trio.CancelScope() as self._attempt:
                self._hurry()
                return await self._reach()
        except H2Error:
            raise
        except Exception as error:  # an OSError, if the user's own code is not what reaches
            host = self._origin.authority
            raise ConnectError(f"no connection to {host}: {why(error)}") from error
        finally:
            self._attempt = None
        reason = f"no connection to {self._origin.authority} within {timeout} seconds"
        raise too_slow(RequestTimeoutError(reason, phase="connect"))

    def _hurry(self) -> None:
        """An attempt has its whole time only while somebody waits for it."""
        if self._attempt is not None:
            left_alone = math.inf if self._waiting.count else trio.current_time() + LEFT_ALONE
            self._attempt.deadline = min(self._attempt_ends, left_alone)

    # What becomes of them

    def _add(self, connection: PooledConnection) -> None:
        self._opening = None
        self._opened += 1
        if self._refusal is not None:
            connection.leave(drain=False)
        self._connections.append(connection)
        self.serve()

    def _changed(self, connection: PooledConnection) -> None:
        """A connection may have room, or takes no more requests."""
        if not connection.accepting and connection in self._connections:
            self._connections.remove(connection)
            self._leaving.add(connection)
            if connection.abandoned:
                self._gone.append((connection, self._waiting.new))
        if self._waiting.count:
            self.serve()

    def _remove(self, connection: PooledConnection) -> None:
        """A connection has ended."""
        self._leaving.discard(connection)
        if connection in self._connections:
            self._connections.remove(connection)

    def _forget_if_empty(self) -> None:
        if not (self._connections or self._leaving or self._opening):
            self._forget()

    def close(self, refusal: H2Error, *, drain: bool) -> None:
        """Nothing new begins; every connection closes, with `drain` when its streams have ended."""
        self._refusal = refusal
        if self._opening is not None:
            self._opening.cancel()
        while self._waiting.count:
            self._waiting.next().fail(raised(refusal))
        for connection in [*self._connections, *self._leaving]:
            connection.leave(drain=drain)

    def statistics(self) -> OriginStatistics:
        """What there is of them now."""
        return OriginStatistics(
            connections=len(self._connections),
            leaving=len(self._leaving),
            opening=self._opening is not None,
            streams=sum(each.streams for each in (*self._connections, *self._leaving)),
            waiting=self._waiting.count,
            opened=self._opened,
            failures=self._failures,
        )


def _copy_of(failure: H2Error) -> H2Error:
    """What one of those who waited raises."""
    return too_slow(failure) if isinstance(failure, RequestTimeoutError) else raised(failure)
