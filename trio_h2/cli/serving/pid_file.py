"""The file with this process's ID. It is locked while the process lives, so one that is left over shows as such."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from ..shared.saying import reason
from .serve_error import USAGE, ServeError

__all__ = ["pid_file"]

LONGEST = 32
"""Octets of a file that may hold a process ID."""


@contextmanager
def pid_file(path: str | None) -> Iterator[None]:
    """Within this, the file holds this process's ID; None for no file. At the end it is removed.

    One that is left over of a process that has ended, however it did, is taken over.

    Raises:
        ServeError: a process that runs has it, it holds something else than a process ID, or cannot be written.
    """
    if path is None:
        yield
        return
    try:
        descriptor = _locked(path)
    except OSError as error:
        raise ServeError(f"cannot write the PID file {path}: {reason(error)}") from error
    try:
        _write(path, descriptor)
        yield
    finally:
        if _is_at(path, descriptor):
            os.unlink(path)
        os.close(descriptor)


def _locked(path: str) -> int:
    """A descriptor of the file that nobody else can lock."""
    import fcntl  # which Windows has not

    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
        try:
            _check(path, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = os.pread(descriptor, LONGEST, 0).decode().strip() or "another"
                raise ServeError(f"the PID file {path} is that of process {pid}, which runs", USAGE) from None
            if _is_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # it was removed in the meantime, by the process that had it


def _check(path: str, descriptor: int) -> None:
    """See that the file is nothing that somebody would miss."""
    regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    text = os.pread(descriptor, LONGEST, 0).strip() if regular else b"-"
    if text and not text.isdigit():
        raise ServeError(f"{path} is no PID file: it holds something else", USAGE)


def _write(path: str, descriptor: int) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        raise ServeError(f"cannot write the PID file {path}: {reason(error)}") from error


def _is_at(path: str, descriptor: int) -> bool:
    """Whether that is the file of this path."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
