"""What counts while a workload of `calls.py` runs: instruments of trio's loop.

A meter counts in the steps of tasks that belong to a side, and for that side. What trio's loop itself does between
steps, what its memory streams do and what the harness does count for nobody.
"""

from __future__ import annotations

import gc
import os
import select
import socket
import sys
from collections import Counter
from contextvars import ContextVar
from types import FrameType
from typing import Any

import trio

SIDE: ContextVar[str] = ContextVar("SIDE")
SIDES = ("server", "client")
OF_THE_MEASURE = ("/trio/testing/_memory_streams.py", "/trio/_core/_instrumentation.py", "/tests/benchmarks/calls.py")
PLAIN = (os.read, os.write, os.readv, os.writev)
"""Nothing but sockets is read or written here."""

NEVER = 1 << 30


class Meter(trio.abc.Instrument):
    """Counts the steps of each side's tasks, and the turns of trio's loop, each of which polls once."""

    def __init__(self) -> None:
        self.steps: Counter[str] = Counter()
        self.turns = 0
        self._side: str | None = None

    def start(self) -> None:
        trio.lowlevel.add_instrument(self)

    def stop(self) -> None:
        trio.lowlevel.remove_instrument(self)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._side = task.context.get(SIDE)
        if self._side is not None:
            self.steps[self._side] += 1

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._side = None

    def before_io_wait(self, timeout: float) -> None:
        self.turns += 1


class Profiler(Meter):
    """A meter that is told of every call in a side's steps."""

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        super().before_task_step(task)
        if self._side is not None:
            sys.setprofile(self._called)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        sys.setprofile(None)
        super().after_task_step(task)

    def stop(self) -> None:
        super().stop()
        sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, argument: Any) -> None:
        raise NotImplementedError


class Calls(Profiler):
    """Calls of Python functions (a coroutine that is resumed counts as called) and of C functions."""

    def __init__(self) -> None:
        super().__init__()
        self.python: Counter[str] = Counter()
        self.c: Counter[str] = Counter()

    def _called(self, frame: FrameType, event: str, argument: Any) -> None:
        if self._side is None or frame.f_code.co_filename.endswith(OF_THE_MEASURE):
            return
        if event == "call":
            self.python[self._side] += 1
        elif event == "c_call":
            self.c[self._side] += 1


class SystemCalls(Profiler):
    """Calls that go to the kernel for a socket: its methods, plain reads and writes, and what epoll is told.

    trio polls once in each turn, for both sides, which `turns` counts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.made: Counter[str] = Counter()
        self.by_name: Counter[str] = Counter()

    def _called(self, frame: FrameType, event: str, argument: Any) -> None:
        if self._side is None or event != "c_call":
            return
        of_socket = isinstance(argument.__self__, socket.socket | select.epoll)
        if argument in PLAIN or (of_socket and argument.__name__ != "fileno"):  # which Python itself knows
            self.by_name[argument.__name__] += 1
            self.made[self._side] += 1


class Objects(Meter):
    """Objects made that the garbage collector looks after: instances, coroutines, functions, containers.

    The collector is set to look at every single new object, and its callback counts them: also those that are freed at
    once. Not among them are numbers, strings and bytes, and the tuples, lists and dictionaries that CPython takes from
    what it keeps for reuse. CPython from 3.12 on collects not in the allocation but soon after, once for all that was
    made meanwhile: there the count is a lower one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.made: Counter[str] = Counter()

    def start(self) -> None:
        super().start()
        self._traces = sys.gettrace()
        sys.settrace(None)  # coverage makes objects of its own
        self._threshold = gc.get_threshold()
        gc.freeze()  # so that each of the many collections has next to nothing to look at
        gc.callbacks.append(self._made)
        gc.set_threshold(-1, NEVER, NEVER)
        gc.enable()

    def stop(self) -> None:
        gc.disable()
        gc.set_threshold(*self._threshold)
        gc.callbacks.remove(self._made)
        gc.unfreeze()
        sys.settrace(self._traces)
        super().stop()

    def _made(self, phase: str, info: dict[str, int]) -> None:
        if phase != "start" or self._side is None:
            return
        if not sys._getframe(1).f_code.co_filename.endswith(OF_THE_MEASURE):
            self.made[self._side] += 1
