"""A trio run inside synchronous rules: it goes on when it is told to, and stands still in between.

trio's guest mode, with the test itself as the host. `do` hands a step to the driver task and runs trio's ticks until
no other task can go on. trio sleeps, in a thread of its own, only when every task waits; the driver waits for nothing
but the others' rest, so no thread is ever used. The clock is a MockClock that stands still,
and so is the one that slices are measured by.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio
import trio.testing
from outcome import Outcome

from trio_h2.actors.slices import TURN, Turn

MAX_TICKS = 10_000
"""A step that takes more of trio's ticks than this will never come to rest: the longest takes a few dozen."""


class GuestRun:
    """One trio run.

    Attributes:
        nursery: where a step may start tasks. What one of them raises comes out of `do` or `close`.
    """

    def __init__(self) -> None:
        self.nursery: trio.Nursery
        self._ticks: deque[Callable[[], object]] = deque()
        self._step: Callable[[], object] | None = None
        self._outcome: Outcome[None] | None = None
        self._raised = False
        trio.lowlevel.start_guest_run(
            self._drive,
            run_sync_soon_threadsafe=self._ticks.append,
            done_callback=self._done,
            host_uses_signal_set_wakeup_fd=True,
            clock=trio.testing.MockClock(),
        )
        self.do(lambda: None)

    async def _drive(self) -> None:
        TURN.set(Turn(clock=lambda: 0.0))
        async with trio.open_nursery() as self.nursery:
            while True:
                if self._step is not None:
                    self._step()
                    await trio.testing.wait_all_tasks_blocked()
                    self._step = None
                await trio.lowlevel.checkpoint()

    def _done(self, outcome: Outcome[None]) -> None:
        self._outcome = outcome

    def do(self, step: Callable[[], object]) -> None:
        """Call `step` inside the run, and let the tasks go on until all of them wait."""
        self._step = step
        self._pump(lambda: self._step is None)

    def close(self) -> None:
        """Cancel what is left and end the run. Raises what leaked from a task, unless `do` has done so."""
        if self._outcome is None:
            self.nursery.cancel_scope.cancel()
            self._pump(lambda: self._outcome is not None)
        self._raise()

    def _pump(self, done: Callable[[], bool]) -> None:
        for _ in range(MAX_TICKS):
            if done():
                return
            if self._outcome is not None:
                self._raise()
                raise AssertionError("the run has ended")
            self._ticks.popleft()()
        raise AssertionError("the run does not come to rest")

    def _raise(self) -> None:
        if self._outcome is not None and not self._raised:
            self._raised = True
            self._outcome.unwrap()
