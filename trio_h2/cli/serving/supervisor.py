"""Supervisor: keeps a number of worker processes, and replaces them one and all.

What changes their number or replaces all of them is done one after the other, by `_direct`: a new set starts beside the
old one, which is told to end when the whole of the new one serves. A set that is asked for while one is starting starts
after that, so that sets come to serve however often they are asked for. A worker that dies is replaced by its `Slot`,
one that has served its share of requests by a slot beside its own.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

import trio

from .slot import Slot
from .tally import Tally
from .worker import Launch, State, Worker

__all__ = ["NoWorkerStarted", "Supervisor", "serving_in_words"]

logger = logging.getLogger("trio_h2.serving")


TOO_LONG = 60.0
"""Seconds after which a set that has not come to serve is given up when another one is asked for."""


def serving_in_words(count: int, kind: str = "") -> str:
    """That so many workers of a kind serve."""
    return f"{count} {kind}worker serves" if count == 1 else f"{count} {kind}workers serve"


class NoWorkerStarted(Exception):
    """No worker of the first set could start.

    Attributes:
        exit_code: what the command ends with.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Supervisor:
    """Keeps workers. Owner of every field: this object.

    Args:
        launch: how a worker is started.
        number: of workers.
        grace: seconds that workers take at most to drain; those that do not end soon after it are killed.
        show: prints why a worker could not start, a traceback say; of all that say the same the first.
        on_settled: called when the first set serves, or what of it could start; and after each wish for another set,
            whether that serves now or the old one still does.
        on_last: called after `stop`, when no more workers will be started: what they inherit is not needed any more.
        patient: Whether to wait for `replace_all` where no worker of the first set could start.

    Attributes:
        workers: all that have a process, or are about to get one; the oldest first.
        restarts: how many workers that died, or could not start, have got a successor.
        gone: what workers that have ended have counted.
        ended_badly: Whether a worker that served, and was told to end with all others, failed in that or was killed.
    """

    def __init__(
        self,
        launch: Launch,
        number: int,
        *,
        grace: float,
        show: Callable[[str], object],
        on_settled: Callable[[], object] = lambda: None,
        on_last: Callable[[], object] = lambda: None,
        patient: bool = False,
    ) -> None:
        self.workers: list[Worker] = []
        self.restarts = 0
        self.gone = Tally()
        self.ended_badly = False
        self._launch = launch
        self._number = number
        self._grace = grace
        self._patient = patient
        self._on_settled = on_settled
        self._on_last = on_last
        self._show = show
        self._shown: str | None = None
        self._started = 0
        self._slots: list[Slot] = []
        self._running: set[Slot] = set()  # those that are ending, too
        self._nursery: trio.Nursery | None = None
        self._to_replace = True
        self._changed = trio.Event()
        self._replacing = trio.CancelScope()
        self._replacing_since = math.inf
        self._directing = trio.CancelScope()

    @property
    def serving(self) -> int:
        """How many workers serve and were not told to end."""
        return sum(worker.state is State.SERVING for worker in self.workers)

    # What may be asked for

    def replace_all(self, *, give_up: bool = False) -> None:
        """Start a new set of workers; the old ones end when it serves.

        A set that is starting comes to serve first, unless it is to be given up, or takes too long.
        """
        self._to_replace = True
        if give_up or trio.current_time() - self._replacing_since > TOO_LONG:
            self._replacing.cancel()
        self._changed.set()

    def resize(self, difference: int) -> None:
        """Have so many workers more, or less, but at least one."""
        self._number = max(1, self._number + difference)
        self._changed.set()

    async def run(self) -> None:
        """Keep workers until `stop`, and return when they have ended. Cancelled, it kills them.

        Raises:
            NoWorkerStarted: none of the first set could start.
        """
        failure: NoWorkerStarted | None = None  # what leaves the nursery would be put into a group
        async with trio.open_nursery() as self._nursery:
            try:
                with self._directing:
                    await self._direct()
            except NoWorkerStarted as error:
                failure = error
            for slot in self._running:
                self._nursery.start_soon(slot.end, self._grace)
            self._nursery.start_soon(self._see_the_last)
            while self._running:
                await next(iter(self._running)).ended.wait()
            self._nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _see_the_last(self) -> None:
        for slot in list(self._running):
            await slot.told.wait()
        for worker in list(self.workers):
            await worker.launched.wait()
        self._on_last()

    def stop(self) -> None:
        """Have all workers drain; `run` returns when they have ended."""
        self._directing.cancel()

    async def stop_at_once(self) -> None:
        """Have all workers end without waiting for what they serve; stays until they have."""
        self.stop()
        async with trio.open_nursery() as nursery:
            for slot in self._running:
                nursery.start_soon(slot.end_at_once)

    # One after the other

    async def _direct(self) -> None:
        while True:
            self._changed = trio.Event()
            if self._to_replace:
                self._to_replace = False
                await self._replace()
                if self._slots and not self._to_replace:
                    self._on_settled()
            elif self._slots and len(self._slots) < self._number:
                new = self._open_slot()
                new.keep()
                self._slots.append(new)
            elif len(self._slots) > self._number:
                self._close(self._slots.pop())
            else:
                await self._changed.wait()

    async def _replace(self) -> None:
        """Bring up a new set, and have the old one end, or the new one if it does not start."""
        old, new = self._slots, [self._open_slot() for _ in range(self._number)]
        started = False
        self._replacing_since = trio.current_time()
        try:
            with trio.CancelScope() as self._replacing:
                started = await (self._all_start(new) if old else self._some_start(new))
        finally:
            if started:
                self._slots = new
            for slot in new if not started else old:
                self._close(slot)
        for slot in new:
            if started:
                slot.keep()
            else:  # before others are started beside it
                await slot.ended.wait()

    async def _all_start(self, new: Sequence[Slot]) -> bool:
        """Whether a set that is to replace another serves: the whole of it does, or none."""
        async with trio.open_nursery() as nursery:
            for slot in new:
                nursery.start_soon(self._cancel_unless_ready, slot, nursery.cancel_scope)
        failed = [slot.worker for slot in new if slot.settled.is_set() and not slot.ready.is_set()]
        if not failed:
            logger.info("%s; the old ones end", serving_in_words(len(new), "new "))
            return True
        assert failed[0] is not None
        logger.error("the new workers cannot start: %s %s; the old ones stay", failed[0], failed[0].ending())
        return False

    async def _cancel_unless_ready(self, slot: Slot, scope: trio.CancelScope) -> None:
        await slot.settled.wait()
        if not slot.ready.is_set():
            scope.cancel()

    async def _some_start(self, new: Sequence[Slot]) -> bool:
        """Whether any worker of the first set serves."""
        for slot in new:
            await slot.settled.wait()
        if any(slot.ready.is_set() for slot in new):
            return True
        worker = new[0].worker
        assert worker is not None
        message = f"no worker could start: {worker} {worker.ending()}"
        if not self._patient:
            raise NoWorkerStarted(message, worker.exit_code)
        logger.error("%s; waiting for a change", message)
        return False

    # Slots, and what happens to their workers

    def _open_slot(self) -> Slot:
        assert self._nursery is not None
        slot = Slot(self, self._retire)
        self._running.add(slot)
        self._nursery.start_soon(self._run, slot)
        return slot

    async def _run(self, slot: Slot) -> None:
        try:
            await slot.run()
        finally:
            self._running.discard(slot)

    def _close(self, slot: Slot) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(slot.end, self._grace)

    def _retire(self, old: Slot) -> None:
        """A slot's worker asks to be replaced."""
        assert self._nursery is not None
        if old in self._slots and not self._directing.cancel_called:
            self._nursery.start_soon(self._put_another, old)

    async def _put_another(self, old: Slot) -> None:
        """Open another slot in place of one; that ends when the new worker serves."""
        new = self._open_slot()
        new.keep()
        await new.ready.wait()
        if old in self._slots:
            self._slots[self._slots.index(old)] = new
            self._close(old)
        else:
            self._close(new)

    def new_worker(self, on_retire: Callable[[], None]) -> Worker:
        """A worker that has not started yet."""
        self._started += 1
        worker = Worker(self._started, self._launch, on_retire)
        self.workers.append(worker)
        return worker

    def came_up(self, worker: Worker) -> None:
        """A worker serves: the next failure is another one."""
        logger.info("%s serves", worker)
        self._shown = None

    def went(self, worker: Worker) -> None:
        """The worker's process has ended."""
        logger.info("%s has ended", worker)
        self.workers.remove(worker)
        self.gone.add(worker.statistics)
        if self._directing.cancel_called and worker.served_since is not None and worker.ended_badly:
            self.ended_badly = True
        if worker.failure is not None and worker.failure != self._shown:
            self._shown = worker.failure
            self._show(worker.failure)

    def restarting(self) -> None:
        """A worker that died, or could not start, gets a successor."""
        self.restarts += 1
