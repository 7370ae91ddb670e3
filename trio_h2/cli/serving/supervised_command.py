"""`serve` with workers: the parent process, which never loads the app."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from ..shared.saying import complain, tell
from .banner import show_banner
from .binding import bound
from .code_changes import watch_code
from .log_output import configured_logging
from .metrics_server import PATIENCE, metrics_sockets, serve_metrics
from .pid_file import pid_file
from .sd_notify import notify_ready, notify_reloading, notify_stopping
from .serve_error import USAGE, ServeError
from .serve_options import ServeOptions
from .supervisor import NoWorkerStarted, Supervisor, serving_in_words
from .tally import summed
from .tls_contexts import server_context
from .worker import Launch
from .worker_process import command

if TYPE_CHECKING:
    from .metrics import Snapshot

__all__ = ["run_supervised"]

RELOAD_GRACE = 1.0
"""Seconds that open requests have at most where `--reload` replaces the code below them."""

logger = logging.getLogger("trio_h2.serving")


def run_supervised(options: ServeOptions) -> int:
    """Keep workers until SIGINT or SIGTERM, and return the exit code.

    Raises:
        ServeError: it did not come to serving.
    """
    if sys.platform == "win32":
        raise ServeError("--workers and --reload need a system on which processes inherit sockets", USAGE)
    server_context(options)  # so that what is wrong with certificates is said once, and not by the workers
    if options.reload:
        options = attrs.evolve(options, grace=min(options.grace, RELOAD_GRACE))
    with (
        configured_logging(options),
        pid_file(options.pid_file),
        bound(options) as sockets,
        metrics_sockets(options) as of_metrics,
    ):
        return trio.run(_Parent(options, sockets).run, of_metrics)


class _Parent:
    """The parent process. Owner of every field: this object."""

    def __init__(self, options: ServeOptions, sockets: Sequence[socket.socket]) -> None:
        self._options = options
        self._sockets = sockets
        self._announced = False
        self._supervisor = Supervisor(
            Launch(command(), options.to_json(), [each.fileno() for each in sockets]),
            options.workers or 1,
            grace=options.grace,
            show=_show,
            on_settled=self._announce,
            on_last=self._stop_listening,
            patient=options.reload,
        )

    async def run(self, of_metrics: Sequence[socket.socket]) -> int:
        """Keep workers until a signal. Returns the exit code."""
        signals = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU
        obeying = _Obeying(self._supervisor)
        failure: NoWorkerStarted | None = None
        with trio.open_signal_receiver(*signals) as received:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(obeying.run, received)
                nursery.start_soon(serve_metrics, of_metrics, self._look)
                if self._options.reload:
                    nursery.start_soon(watch_code, os.getcwd(), partial(self._supervisor.replace_all, give_up=True))
                try:
                    await self._supervisor.run()
                except NoWorkerStarted as error:
                    failure = error
                nursery.cancel_scope.cancel()
        if failure is not None and not obeying.is_ending:
            raise ServeError(str(failure), failure.exit_code)
        return int(obeying.was_impatient or self._supervisor.ended_badly)

    def _announce(self) -> None:
        """A set of workers serves, or the old one still does."""
        if not self._announced:
            self._announced = True
            show_banner(self._options, self._sockets)
        notify_ready(serving_in_words(self._supervisor.serving))

    def _stop_listening(self) -> None:
        """Let go of the sockets: what connects to one that no worker accepts from would wait, and then be reset."""
        for each in self._sockets:
            each.close()

    async def _look(self) -> Snapshot:
        from .metrics import Snapshot

        with trio.move_on_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for worker in self._supervisor.workers:
                    nursery.start_soon(worker.count)
        workers = self._supervisor.workers
        silent = tuple(worker.pid for worker in workers if worker.silent and worker.pid is not None)
        if silent:
            logger.warning("metrics without an answer from pid %s", ", ".join(map(str, silent)))
        return Snapshot(
            summed([self._supervisor.gone.counts, *(worker.statistics for worker in workers)]),
            self._supervisor.serving,
            self._supervisor.restarts,
            silent,
        )


def _show(text: str) -> None:
    for line in text.splitlines():
        tell(line)


class _Obeying:
    """What signals do. Owner of every field: this object.

    Attributes:
        is_ending: a signal has asked for the end.
        was_impatient: another one has, too.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.is_ending = False
        self.was_impatient = False

    async def run(self, signals: AsyncIterator[int]) -> None:
        """Obey until there is nothing more to ask for."""
        async for number in signals:
            if number in (signal.SIGINT, signal.SIGTERM):
                if self.is_ending:
                    break
                self.is_ending = True
                notify_stopping()
                self._supervisor.stop()
            elif not self.is_ending:
                self._change(number)
        self.was_impatient = True
        complain("stopped without waiting for open requests")
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
        await self._supervisor.stop_at_once()

    def _change(self, number: int) -> None:
        if number == signal.SIGHUP:
            logger.info("SIGHUP: new workers start")
            notify_reloading()
            self._supervisor.replace_all()
        else:
            self._supervisor.resize(1 if number == signal.SIGTTIN else -1)
