"""Slot: the place of one worker, which is taken by the next one when that dies."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import trio

from .backoff import Backoff
from .worker import Worker

__all__ = ["Crew", "Slot"]

logger = logging.getLogger("trio_h2.serving")


class Crew(Protocol):
    """Who makes workers, and is told what becomes of them."""

    def new_worker(self, on_retire: Callable[[], None]) -> Worker:
        """A worker that has not started yet."""

    def came_up(self, worker: Worker) -> None:
        """A worker serves."""

    def went(self, worker: Worker) -> None:
        """The worker's process has ended."""

    def restarting(self) -> None:
        """A worker that died, or could not start, gets a successor."""


class Slot:
    """Keeps one worker running until it is told to end. Owner of every field: this object.

    Its first worker is on trial: if that cannot start there is no other one, unless `keep` is called.

    Attributes:
        settled: set when its first worker serves, or has ended without.
        ready: set when one of its workers has come to serve.
        told: set when it was told to end.
        ended: set when it keeps no worker any more.
        worker: the one it has now, or had last.
    """

    def __init__(self, crew: Crew, on_retire: Callable[[Slot], None]) -> None:
        self.settled = trio.Event()
        self.ready = trio.Event()
        self.ended = trio.Event()
        self.worker: Worker | None = None
        self._crew = crew
        self._on_retire = on_retire
        self._kept = trio.Event()
        self.told = trio.Event()
        self._backoff = Backoff()

    @property
    def is_ending(self) -> bool:
        """Whether it was told to end."""
        return self.told.is_set()

    def keep(self) -> None:
        """It is wanted: workers that cannot start are tried again."""
        self._kept.set()

    async def run(self) -> None:
        """Keep a worker until `end`, or `end_at_once`."""
        try:
            while not self.is_ending:
                self.worker = self._crew.new_worker(lambda: self._on_retire(self))
                await self._see_through(self.worker)
                if not self.is_ending:
                    await self._wait_for_next(self.worker)
        finally:
            self.settled.set()
            self.ended.set()

    async def _see_through(self, worker: Worker) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.run)
            await worker.answered.wait()
            if worker.served_since is not None:
                self.ready.set()
                self._crew.came_up(worker)
            self.settled.set()
        self._crew.went(worker)

    async def _wait_for_next(self, dead: Worker) -> None:
        """Wait until it is time for the next worker, or none is wanted."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_when_ending, nursery.cancel_scope)
            await self._kept.wait()
            await trio.sleep(self._pause(dead))
            self._crew.restarting()
            nursery.cancel_scope.cancel()

    async def _cancel_when_ending(self, scope: trio.CancelScope) -> None:
        await self.told.wait()
        scope.cancel()

    def _pause(self, dead: Worker) -> float:
        """A worker has ended that was not told to. Say so, and how long to wait for the next one."""
        lived = None if dead.served_since is None else trio.current_time() - dead.served_since
        pause = self._backoff.pause(lived)
        what = "could not start" if lived is None else "died"
        then = f"the next one starts in {pause:g} s" if pause else "a new one starts"
        logger.warning("%s %s: it %s; %s", dead, what, dead.ending(), then)
        return pause

    async def end(self, grace: float) -> None:
        """Have its worker drain for at most `grace` seconds; stays until it has ended."""
        self.told.set()
        if self.worker is not None:
            await self.worker.end(grace)

    async def end_at_once(self) -> None:
        """Have its worker end without waiting for what it serves; stays until it has ended."""
        self.told.set()
        if self.worker is not None:
            await self.worker.end_at_once()
