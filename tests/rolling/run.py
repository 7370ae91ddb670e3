"""The rolling run itself: a load, and what is done to the workers under it."""

from __future__ import annotations

import random
import shutil
import signal
import ssl
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import trio

from tests.rolling.killing import Killed, kill
from tests.rolling.load import Load, Loss
from tests.serving.command import Serving, serving

__all__ = ["Report", "roll"]

APP = Path(__file__).with_name("rolling_app.py")
ENDING = 60.0
"""Seconds for what is under way at the end."""


@dataclass
class Report:
    """What came of it.

    Attributes:
        explained: requests that were lost with the worker that had them.
        lost: all others.
        log: what the command wrote.
    """

    seconds: float
    tls: bool
    answered: dict[str, int] = field(default_factory=dict)
    connected: int = 0
    retried: int = 0
    unconnected: dict[str, int] = field(default_factory=dict)
    hangups: int = 0
    killed: int = 0
    explained: int = 0
    lost: list[Loss] = field(default_factory=list)
    exit_code: int | None = None
    log: str = ""

    @property
    def held(self) -> bool:
        """Whether nothing was lost that no kill explains."""
        return not self.lost and self.exit_code == 0 and sum(self.answered.values()) > 0

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {**asdict(self), "held": self.held}

    def __str__(self) -> str:
        lines = [
            f"{self.seconds:g} s {'over TLS' if self.tls else 'in the clear'}: {sum(self.answered.values())} requests "
            f"answered by {len(self.answered)} workers, over {self.connected} connections",
            f"SIGHUP {self.hangups} times, a worker killed {self.killed} times",
            f"tried again, as that was safe: {self.retried}",
            f"lost with a worker that was killed: {self.explained}",
            f"lost otherwise: {len(self.lost)}",
            *(f"  {loss}" for loss in self.lost[:20]),
            *(f"not connected, {number} times: {why}" for why, number in self.unconnected.items()),
            f"exit code {self.exit_code}",
            "held" if self.held else "BROKEN",
        ]
        return "\n".join(lines)


async def roll(
    seconds: float,
    *,
    tls: bool,
    hang_up_every: float = 5,
    kill_every: float = 7,
    connections: int = 20,
    seed: str = "1",
) -> Report:
    """Serve with two workers, and replace and kill them under a load."""
    report = Report(seconds, tls)
    killed: list[Killed] = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        shutil.copy(APP, directory)
        options = ["--port", "0", "--workers", "2", "--no-access-log", *(["--self-signed"] if tls else [])]
        target = "rolling_app:app"
        async with serving(directory, *options, target=target, patience=seconds + ENDING) as command:
            await command.has(2)
            load = Load(command.url, connections=connections, ssl_context=_trusting() if tls else None, seed=seed)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run)
                with trio.move_on_after(seconds):
                    async with trio.open_nursery() as doing:
                        doing.start_soon(_hang_up, command, hang_up_every, report)
                        doing.start_soon(_kill, command, kill_every, killed, random.Random(seed))
                load.stop()
            command.send(signal.SIGTERM)
            report.exit_code = await command.ends()
        report.log = command.log
    report.answered = dict(load.answered)
    report.connected, report.retried, report.unconnected = load.connected, len(load.retried), dict(load.unconnected)
    report.killed = len(killed)
    report.lost = [loss for loss in load.lost if not any(each.explains(loss) for each in killed)]
    report.explained = len(load.lost) - len(report.lost)
    return report


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _hang_up(command: Serving, every: float, report: Report) -> None:
    while True:
        await trio.sleep(every)
        command.send(signal.SIGHUP)
        report.hangups += 1


async def _kill(command: Serving, every: float, killed: list[Killed], rng: random.Random) -> None:
    while True:
        await trio.sleep(every)
        workers = command.workers
        if workers:
            try:
                killed.append(kill(rng.choice(workers)))
            except (FileNotFoundError, ProcessLookupError):
                pass  # it has ended just now, and its parent has not said so yet
