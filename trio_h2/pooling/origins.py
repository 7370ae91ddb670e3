"""`Origins`: what a pool has to all origins, the tasks of it, and how it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from ..actors.logs import logger
from ..exceptions import ConnectionTerminatedError, H2Error, InternalError
from ..origin import Origin
from .origin_connections import OriginConnections, Policy
from .pool_statistics import OriginStatistics
from .reaching import Reaching
from .time_limits import TimeLimits

__all__ = ["Origins", "Where"]

Where = tuple[Origin, str]
"""An origin, and the name that TLS asks for and verifies there."""


class Origins:
    """Owner of every field: this object.

    Args:
        policy: the pool's.
        reaching: how transports are made.
        retries: how often a request that failed is made again.
        nursery: where the tasks run; cancelled where ending in order is.

    Attributes:
        retries: as given.
        limits: how long requests may wait.
    """

    def __init__(self, policy: Policy, reaching: Reaching, *, retries: int, nursery: trio.Nursery) -> None:
        self.retries = retries
        self._policy = policy
        self._reaching = reaching
        self._nursery = nursery
        self._origins: dict[Where, OriginConnections] = {}
        self._refusal: H2Error | None = None
        self._tasks = 0
        self._ended = trio.Event()
        self._bug: InternalError | None = None
        self.limits = TimeLimits(nursery.start_soon)

    def __len__(self) -> int:
        return len(self._origins)

    @property
    def closed(self) -> bool:
        """Whether nothing new begins."""
        return self._refusal is not None

    def to(self, where: Where) -> OriginConnections:
        """The connections to one of them, to be asked for again before each try."""
        connections = self._origins.get(where)
        if connections is None:
            connections = OriginConnections(
                where[0],
                self._policy,
                partial(self._reaching.transport, *where),
                self._start,
                partial(self._forget, where),
            )
            if self._refusal is not None:
                connections.close(self._refusal, drain=False)
            else:
                self._origins[where] = connections
        return connections

    def _forget(self, where: Where) -> None:
        self._origins.pop(where, None)

    def statistics(self) -> dict[str, OriginStatistics]:
        """What there is to each, by its URL."""
        return {_name(where): connections.statistics() for where, connections in self._origins.items()}

    # The tasks

    def _start(self, task: Callable[[], Awaitable[None]]) -> None:
        self._tasks += 1
        self._nursery.start_soon(self._run, task)

    @trio.lowlevel.enable_ki_protection
    async def _run(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except InternalError as error:
            self._bug = error
        except Exception as error:
            logger.error("a bug in trio_h2 ended a connection of a pool", exc_info=error)
            self._bug = InternalError(f"a bug in trio_h2: {error!r}")
            self._bug.__cause__ = error
        finally:
            self._tasks -= 1
            if self._refusal is not None and not self._tasks:
                self._ended.set()

    # The end

    async def close(self, *, drain: bool) -> None:
        """Begin nothing new, close every connection, with `drain` when its streams have ended, and wait for that.

        A second call waits for the first. Cancelled, all is closed at once.
        """
        if self._refusal is None:
            self._refusal = refusal = ConnectionTerminatedError("the pool was closed", initiator="local")
            for connections in list(self._origins.values()):
                connections.close(refusal, drain=drain)
            if not self._tasks:
                self._ended.set()
        try:
            await self._ended.wait()
        except trio.Cancelled:
            self._nursery.cancel_scope.cancel()
            raise

    def raise_bug(self) -> None:
        """Raise the InternalError that ended a connection, if one did."""
        if self._bug is not None:
            raise self._bug


def _name(where: Where) -> str:
    origin, tls_name = where
    name = f"{origin.scheme}://{origin.authority}"
    return name if tls_name == origin.name else f"{name} ({tls_name})"
