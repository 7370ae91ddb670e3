"""`H2Server.shutdown` with every kind of peer: how long beyond its grace, what is left, what it costs.

`python -m tests.attacks.shutdown_matrix --runs 20 --peers 50`: a line for each kind. The server is in this process, the
peers (`shutdown_peers.py`) are in another. The exit code is 1 if a shutdown took longer than its grace and half a
second, or left a task of the engine.
"""

from __future__ import annotations

import argparse
import logging
import resource
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import partial

import trio
import trustme

import trio_h2
from tests.attacks.shutdown_peers import HOST, KINDS

ALLOWED = 0.5
"""Seconds beyond the grace that a shutdown may take."""

LARGE = bytes(1_000_000)


class Steps(trio.abc.Instrument):
    """How long the longest of a run's steps was, in CPU time."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._began: float | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._began is not None:  # it began before this was made an instrument
            self.times.append(time.thread_time() - self._began)


@dataclass
class Figures:
    """What the runs with one kind of peer came to."""

    over: list[float] = field(default_factory=list)
    tasks: int = 0
    cpu: float = 0.0
    step: float = 0.0
    warnings: int = 0
    errors: int = 0

    def holds(self, kind: str) -> bool:
        return (
            max(self.over) <= ALLOWED
            and self.tasks == 0
            and self.errors == 0
            and bool(self.warnings) == (kind == "shielded")
        )


class Lines(logging.Handler):
    """Counts what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.levels.append(record.levelno)


async def handler(release: trio.Event, stream: trio_h2.ServerStream) -> None:
    """What the peers ask for."""
    path = stream.request.path
    if path == "/large":
        await stream.respond(200, (), LARGE)
    elif path == "/hang":
        await trio.sleep_forever()
    elif path == "/echo":
        await stream.send_response(200)
        async for chunk in stream:
            await stream.send_all(chunk)
    elif path == "/shielded":
        await stream.send_response(200)
        with trio.CancelScope(shield=True):
            await release.wait()
    elif path == "/clean-up":
        await stream.send_response(200)
        try:
            await trio.sleep_forever()
        finally:
            raise RuntimeError("in cleaning up")
    else:
        await stream.respond(200, (), b"small")


def server_context() -> ssl.SSLContext:
    """With a certificate made for this run."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    return context


def engines_tasks(nursery: trio.Nursery) -> int:
    """The server's tasks: `serve_h2` and what is below it."""
    return sum(tasks_of(task) for task in nursery.child_tasks if "serve_h2" in task.name)


def tasks_of(task: trio.lowlevel.Task) -> int:
    """The task and those below it."""
    return 1 + sum(tasks_of(child) for nursery in task.child_nurseries for child in nursery.child_tasks)


async def run(kind: str, peers: int, grace: float, figures: Figures) -> None:
    """One server, so many peers, one shutdown."""
    release = trio.Event()
    lines = Lines()
    logging.getLogger("trio_h2").addHandler(lines)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    steps = Steps()
    try:
        async with trio.open_nursery() as nursery:
            server: trio_h2.H2Server = await nursery.start(
                partial(
                    trio_h2.serve_h2,
                    partial(handler, release),
                    0,
                    host=HOST,
                    ssl_context=server_context() if kind == "half-tls" else None,
                    max_connections=max(1_000, 2 * peers),
                )
            )
            program = (sys.executable, "-m", "tests.attacks.shutdown_peers", kind, str(server.port), str(peers))
            others = await nursery.start(
                partial(trio.run_process, program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
            )
            await others.stdout.receive_some(100)
            if kind == "emfile":
                resource.setrlimit(resource.RLIMIT_NOFILE, (10, hard))
                await trio.sleep(0.1)
            assert engines_tasks(nursery)
            cpu = time.thread_time()
            trio.lowlevel.add_instrument(steps)
            start = trio.current_time()
            await server.shutdown(grace)
            figures.over.append(trio.current_time() - start - grace)
            trio.lowlevel.remove_instrument(steps)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            figures.cpu = max(figures.cpu, time.thread_time() - cpu)
            steps.times.sort()
            figures.step = max(figures.step, steps.times[-1 - len(steps.times) // 1000])
            for _ in range(3):  # in which `serve_h2` itself returns
                await trio.lowlevel.checkpoint()
            if kind != "shielded":
                figures.tasks = max(figures.tasks, engines_tasks(nursery))
            if kind not in ("clean-up", "emfile"):
                figures.errors += lines.levels.count(logging.ERROR)
            figures.warnings += lines.levels.count(logging.WARNING)
            release.set()
            others.kill()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        logging.getLogger("trio_h2").removeHandler(lines)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks.shutdown_matrix", description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--peers", type=int, default=50)
    parser.add_argument("--grace", type=float, default=0.5)
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS))
    arguments = parser.parse_args()
    logging.getLogger("trio_h2").propagate = False
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * arguments.peers + 1000), hard))
    print(f"{'kind':12} {'runs':>4} {'over grace':>10} {'tasks':>5} {'cpu':>6} {'step':>8} {'warnings':>8}")
    all_hold = True
    for kind in arguments.kinds:
        figures = Figures()
        for _ in range(arguments.runs):
            trio.run(run, kind, arguments.peers, arguments.grace, figures)
        holds = figures.holds(kind)
        all_hold &= holds
        print(
            f"{kind:12} {len(figures.over):4} {max(figures.over):8.2f} s {figures.tasks:5} {figures.cpu:4.1f} s"
            f" {figures.step * 1000:5.1f} ms {figures.warnings:8}{'' if holds else '  TOO MUCH'}",
            flush=True,
        )
    return 0 if all_hold else 1


if __name__ == "__main__":
    sys.exit(main())
