"""Progress bars: one for each stream, on a terminal."""

from __future__ import annotations

import trio
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

from ..shared.saying import printable

__all__ = ["ProgressBars", "progress_bars"]

REFRESH = 0.1
"""Seconds from one look to the next."""

NAME_WIDTH = 24
SPEED_FROM, OCTETS_FROM = 64, 36
"""Columns that a terminal has to have for speeds to be shown, and for octets: a stream has one line on any."""


class _PercentColumn(ProgressColumn):
    """How much of a body has come, or what became of it."""

    def render(self, task: Task) -> Text:
        """The text for one stream."""
        if task.fields["state"] or not task.total:
            return Text(task.fields["state"])
        return Text(f"{task.percentage:.0f}%")


class ProgressBars:
    """Bars on standard error. Those of streams that have ended stay as long as there are lines for them."""

    def __init__(self, console: Console) -> None:
        self._lines = max(1, console.height - 2)
        self._ended: list[TaskID] = []
        self._shown = 0
        self._name_width = max(4, min(NAME_WIDTH, console.width // 3))
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}", markup=False, table_column=Column(width=self._name_width, no_wrap=True)),
            BarColumn(bar_width=None),
            _PercentColumn(table_column=Column(width=4, justify="right", no_wrap=True)),
        ]
        if console.width >= OCTETS_FROM:
            columns.append(DownloadColumn(table_column=Column(no_wrap=True)))
        if console.width >= SPEED_FROM:
            columns.append(TransferSpeedColumn(table_column=Column(no_wrap=True)))
        self._progress = Progress(
            *columns,
            console=console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            expand=True,
        )

    async def run(self) -> None:
        """Draw them until cancelled, and once more then."""
        with self._progress:
            while True:
                await trio.sleep(REFRESH)
                self._progress.refresh()

    def say(self, line: str) -> None:
        """Print a line above them."""
        self._progress.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    def begin(self, name: str) -> TaskID:
        """A stream begins; `name` says which."""
        name = printable(name)
        if len(name) > self._name_width:
            name = f"…{name[1 - self._name_width :]}"
        self._shown += 1
        return self._progress.add_task(name, total=None, state="")

    def expect(self, bar: TaskID, octets: int) -> None:
        """So many octets will come."""
        self._progress.update(bar, total=octets)

    def advance(self, bar: TaskID, octets: int) -> None:
        """So many octets more have come."""
        self._progress.advance(bar, octets)

    def end(self, bar: TaskID, octets: int, *, whole: bool) -> None:
        """The stream has ended, after so many octets."""
        if whole:
            self._progress.update(bar, total=octets)
        self._progress.update(bar, completed=octets, state="" if whole and octets else "done" if whole else "FAIL")
        self._progress.stop_task(bar)
        self._ended.append(bar)
        while self._shown > self._lines and self._ended:
            self._progress.remove_task(self._ended.pop(0))
            self._shown -= 1


def progress_bars() -> ProgressBars:
    """Those on standard error, which is a terminal."""
    return ProgressBars(Console(stderr=True))
