"""`serve` without workers: one process with no parent, until a signal."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

import trio

import trio_h2

from ..shared.interrupting import INTERRUPTED
from ..shared.saying import complain, reason
from ..shared.traces import save_trace
from .banner import show_banner
from .binding import bound
from .log_output import configured_logging
from .metrics_server import metrics_sockets, serve_metrics
from .pid_file import pid_file
from .sd_notify import notify_ready, notify_stopping
from .serve_error import ServeError
from .serve_options import ServeOptions
from .serving_process import Prepared, prepare, serve_sockets
from .tally import counted

if TYPE_CHECKING:
    from .metrics import Snapshot

__all__ = ["exit_code_of", "run_plain", "serve_until_signal"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_plain(options: ServeOptions) -> int:
    """Serve until SIGINT or SIGTERM, and return the exit code.

    The first signal drains, the second closes every connection at once, the third ends the process.

    Raises:
        ServeError: it did not come to serving.
    """
    with configured_logging(options):
        prepared = prepare(options)
        with pid_file(options.pid_file), bound(options) as sockets, metrics_sockets(options) as of_metrics:
            _check_trace(prepared)
            is_saved = False
            try:
                exit_code = trio.run(serve_until_signal, prepared, sockets, of_metrics)
            except BaseExceptionGroup as group:
                exit_code = exit_code_of(group)
            finally:
                is_saved = _save_trace(prepared)
        return exit_code or (0 if is_saved else 1)


def _check_trace(prepared: Prepared) -> None:
    """The file of --trace is written now, with nothing in it, rather than not at the end. Raises ServeError."""
    timeline, file = prepared.timeline, prepared.options.trace
    if timeline is not None and file is not None:
        try:
            timeline.save(file)
        except OSError as error:
            raise ServeError(f"--trace {file}: {reason(error)}") from error


def _save_trace(prepared: Prepared) -> bool:
    timeline, file = prepared.timeline, prepared.options.trace
    return timeline is None or file is None or save_trace(timeline, file)


async def serve_until_signal(
    prepared: Prepared, sockets: Sequence[socket.socket], of_metrics: Sequence[socket.socket] = ()
) -> int:
    """Serve on sockets that listen, and return the exit code, 1 after the second signal."""
    exit_code = 1
    stopping = trio.Event()
    async with trio.open_nursery() as nursery:

        def end(asked: int) -> None:
            if asked == 1:
                notify_stopping()
                stopping.set()
            else:
                complain("stopped without waiting for open requests")
                nursery.cancel_scope.cancel()

        def started(server: trio_h2.H2Server) -> None:
            show_banner(prepared.options, sockets)
            notify_ready("serving")
            nursery.start_soon(serve_metrics, of_metrics, partial(_look, server))

        with _ending_signals(end):
            try:
                exit_code = await serve_sockets(prepared, sockets, on_started=started, stopping=stopping)
            except ServeError as error:
                error.show()
                exit_code = error.exit_code
            nursery.cancel_scope.cancel()
    return exit_code


async def _look(server: trio_h2.H2Server) -> Snapshot:
    from .metrics import Snapshot

    return Snapshot(counted(server))


@contextmanager
def _ending_signals(end: Callable[[int], object]) -> Iterator[None]:
    """Within this, `end` is called in trio for the first signal, with 1, and the second, with 2.

    The third ends the process, also where an app that makes no checkpoint keeps trio from its turn.
    """
    token = trio.lowlevel.current_trio_token()
    asked = 0

    def hear(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        if asked > 2:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        token.run_sync_soon(end, asked)

    before = {number: signal.signal(number, hear) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code_of(group: BaseExceptionGroup[BaseException]) -> int:
    """What an app asked for that called sys.exit, or raised a KeyboardInterrupt, while it served.

    Raises the group if there are other errors in it.
    """
    ends, errors = group.split((SystemExit, KeyboardInterrupt))
    if errors is not None or ends is None:
        raise group
    first: BaseException = ends
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    if not isinstance(first, SystemExit):
        return INTERRUPTED
    if isinstance(first.code, str):
        complain(first.code)
        return 1
    return first.code or 0
