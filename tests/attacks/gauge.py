"""What a victim measures about itself: the length of its steps, its CPU, its tasks, the frames it has worked off.

It answers commands that come on stdin with a line of JSON each. A thread does that, so that a loop which is being held
is seen to be held.
"""

from __future__ import annotations

import contextvars
import gc
import importlib
import json
import pkgutil
import queue
import sys
import threading
import time
from array import array
from collections.abc import Callable, Mapping
from typing import Any

import trio

import trio_h2.protocol

BYSTANDER = contextvars.ContextVar("BYSTANDER", default=False)
"""True in the tasks that serve a bystander: what they cost is not the attackers' doing."""

BUCKET = 1e-5
"""Seconds by which steps are told apart, up to a second."""


class Gauge(trio.abc.Instrument):
    """A step is one task's run between two checkpoints, in CPU time of the thread."""

    def __init__(self) -> None:
        self._buckets = array("L", bytes(8 * 100_001))
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self._bystander = False
        self._began: float | None = None
        self.reset()

    def reset(self) -> None:
        """Start anew."""
        for index, count in enumerate(self._buckets):
            if count:
                self._buckets[index] = 0
        self.longest = self.cpu = self.bystanders_cpu = 0.0
        self.frames = 0
        self.longest_task = ""

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._bystander = task.context.get(BYSTANDER, False)
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._began is None:  # the step in which this was made an instrument
            return
        elapsed = time.thread_time() - self._began
        self._began = None
        if self._bystander:
            self.bystanders_cpu += elapsed
            return
        self.cpu += elapsed
        if elapsed > self.longest:
            self.longest = elapsed
            self.longest_task = task.name
        self._buckets[min(int(elapsed / BUCKET), 100_000)] += 1

    def count_frames(self) -> None:
        """Count what the engine's Receiver is given, wherever that class lives."""
        for module in pkgutil.iter_modules(trio_h2.protocol.__path__, "trio_h2.protocol."):
            receiver = getattr(importlib.import_module(module.name), "Receiver", None)
            if receiver is not None and receiver.__module__ == module.name:
                receiver.receive = self._counting(receiver.receive)
                return
        raise LookupError("trio_h2.protocol has no Receiver")

    def _counting(self, receive: Callable[..., Any]) -> Callable[..., Any]:
        def counted(receiver: Any, frame: Any, *rest: Any) -> Any:
            self.frames += not self._bystander
            return receive(receiver, frame, *rest)

        return counted

    def figures(self) -> dict[str, Any]:
        """So far; a step that has not ended yet is among them."""
        began = self._began
        running = 0.0 if began is None or self._bystander else time.clock_gettime(self._clock) - began
        total = sum(self._buckets)
        beyond = total // 1000  # as many steps as may be longer than the 99.9th percentile
        bucket = len(self._buckets) - 1
        while beyond >= 0 and bucket > 0:
            beyond -= self._buckets[bucket]
            bucket -= 1
        longest = max(self.longest, running)
        # Steps beyond a second share a bucket: there the longest stands for them.
        p999 = longest if total < 1000 or bucket >= len(self._buckets) - 2 else (bucket + 2) * BUCKET
        return {
            "cpu": self.cpu + running,
            "bystanders_cpu": self.bystanders_cpu,
            "process_cpu": time.process_time(),
            "steps": total,
            "step_p999": max(p999, running if running > 0.01 else 0),
            "step_max": longest,
            "step_max_task": self.longest_task,
            "frames": self.frames,
        }


def freeze() -> None:
    """Leave what was imported out of every later garbage collection: a step that runs one has to pay for its own."""
    gc.collect()
    gc.freeze()


def say(**values: Any) -> None:
    """Tell who started this program."""
    print(json.dumps(values), flush=True)


class Control:
    """Commands from stdin: "report", "reset", and what the program itself adds; the end of stdin ends it."""

    def __init__(
        self,
        gauge: Gauge,
        scope: trio.CancelScope,
        commands: Mapping[str, Callable[[dict[str, Any]], None]] | None = None,
        report: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self._gauge = gauge
        self._scope = scope
        self._report = report
        self._commands = commands or {}
        self._token = trio.lowlevel.current_trio_token()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        for line in sys.stdin:
            command = json.loads(line)
            name = command.pop("command")
            if name == "report":
                say(**self._gauge.figures(), **self._inside())
            elif name == "reset":
                self._gauge.reset()
            else:
                self._token.run_sync_soon(self._commands[name], command)
        self._token.run_sync_soon(self._scope.cancel)

    def _inside(self) -> dict[str, Any]:
        """What only the loop can tell; nothing of it while the loop is held."""
        answers: queue.Queue[dict[str, Any]] = queue.Queue()

        def ask() -> None:
            answers.put({"tasks": trio.lowlevel.current_statistics().tasks_living, **self._report()})

        self._token.run_sync_soon(ask)
        try:
            return answers.get(timeout=2)
        except queue.Empty:
            return {"tasks": None}
