"""What tests of real processes share."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import trio

__all__ = ["alive", "drops_signals", "freeze", "until"]


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for a condition of which nothing tells. Raises trio.TooSlowError."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


def drops_signals(pid: int) -> bool:
    """Whether a worker has come so far that it drops SIGINT and SIGHUP, the latter last; one that has ended does."""
    try:
        code = Path(f"/proc/{pid}/cmdline").read_bytes()
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return b"worker_process" in code and caught is not None and bool(int(caught[1], 16) & 1 << (signal.SIGHUP - 1))


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
