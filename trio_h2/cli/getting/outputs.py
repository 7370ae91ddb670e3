"""Where bodies go: standard output, or a file."""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio

from ..shared.exit_codes import ExitCode, Failure
from ..shared.saying import output_failed, reason

__all__ = ["STANDARD_OUTPUT", "FileOutput", "Output", "StandardOutput"]

STANDARD_OUTPUT = "standard output"
"""What has failed where it is that: nothing more can be written."""


class Output:
    """Where the body of a transfer goes.

    Attributes:
        name: of the file; empty for standard output.
        shy: whether what is not text is not to be written there.
    """

    name = ""
    shy = False

    async def write(self, data: bytes) -> None:
        """Write all of it. Raises Failure. Cancelled, the thread that writes is left behind."""
        raise NotImplementedError

    async def end(self, *, whole: bool) -> None:
        """Nothing more comes: of a body that is `whole`, or of one that failed. Raises Failure."""


class StandardOutput(Output):
    """Standard output, written in a thread: a reader that is slow (a pager) must not stop the connection.

    It is written past Python's buffer, whose lock a thread that is left behind in a write would take with it.

    Args:
        binary: whether `-o -` says that what is not text may be written to a terminal, too.
    """

    def __init__(self, *, binary: bool = False) -> None:
        self._file: Any = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
        self.shy = not binary and self._file.isatty()

    @property
    def leads_to_file(self) -> bool:
        """Whether nobody reads it at the same time: it is no terminal, and no pipe."""
        mode = os.fstat(self._file.fileno()).st_mode
        return not (self._file.isatty() or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))

    async def write(self, data: bytes) -> None:
        """Write all of it. Raises BrokenPipeError, and Failure for everything else."""
        try:
            await trio.to_thread.run_sync(_write_all, self._file, data, abandon_on_cancel=True)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Failure(ExitCode.WRITE, output_failed(error), STANDARD_OUTPUT) from error


class FileOutput(Output):
    """A file, which is made when there is something to write, or that comes to a good end; what was in it is lost."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._opening = _Opening(name)

    async def write(self, data: bytes) -> None:
        """Write all of it."""
        with self._failing():
            await trio.to_thread.run_sync(self._opening.write, data, abandon_on_cancel=True)

    async def end(self, *, whole: bool) -> None:
        """Close it. What was written of a body that failed stays."""
        with self._failing():
            if whole:
                await trio.to_thread.run_sync(self._opening.write, b"", abandon_on_cancel=True)
            opening, self._opening = self._opening, _Opening(self.name)
            opening.close()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Failure(ExitCode.WRITE, f"cannot write {self.name}: {reason(error)}") from error


class _Opening:
    """A file from its opening, which the first write does, to its end. A thread may have been left behind in it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._file: Any = None
        self._ended = False

    def write(self, data: bytes) -> None:
        """Write all of it."""
        if self._file is None:
            self._file = Path(self._name).open("wb", buffering=0)  # noqa: SIM115 - `close` does it
            if self._ended:  # `close` may have come too early to see the file
                self._file.close()
        _write_all(self._file, data)

    def close(self) -> None:
        """It is over, also for who writes it late."""
        self._ended = True
        if self._file is not None:
            self._file.close()


def _write_all(file: Any, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        written = file.write(rest)
        if written is None:  # somebody made it non-blocking, and it is full
            select.select([], [file], [])
        else:
            rest = rest[written:]
