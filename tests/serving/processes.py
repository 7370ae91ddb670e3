"""What tests of real processes share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import trio

__all__ = ["alive", "freeze", "until"]


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for a condition of which nothing tells. Raises trio.TooSlowError."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def freeze(pid: int) -> None:
    """Stop a child process with SIGSTOP; it has stopped afterwards."""
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
