"""A server behind HAProxy, and what is done to it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import trio

from tests import peers
from tests.deploying.haproxy import Balancer
from tests.deploying.page import command, serve

__all__ = ["HAProxiedServer"]

HERE = Path(__file__).parent


class HAProxiedServer:
    """`trio-h2 serve` with two workers, in a process group of its own. Owner of every field: this object.

    Args:
        name: HAProxy's name of it.
        directory: where it logs.
        notes: the file in which its app notes down what it has processed.

    Attributes:
        changes: how often it has been drained, killed or told to load its code again.
    """

    def __init__(self, name: str, directory: Path, notes: Path) -> None:
        self.name = name
        self.port = peers.free_port()
        self.changes = 0
        self._log = directory / f"{name}.log"
        self._environment = {**os.environ, "ROLLING_NOTES": str(notes)}
        self._process: trio.Process | None = None

    async def start(self) -> None:
        """Start it, by the command of the page; HAProxy sees by itself that it is there."""
        argv = serve(
            command("trio-h2 serve app:app --port 8001"), {"app:app": "rolling_app:app", "8001": str(self.port)}
        )
        with self._log.open("ab") as log:
            self._process = await trio.lowlevel.open_process(
                [*argv, "--workers", "2", "--no-access-log"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=HERE,
                env=self._environment,
                start_new_session=True,
            )

    async def drain(self, balancer: Balancer) -> None:
        """Take it out of the balance, stop it when it is idle, and start it again."""
        self.changes += 1
        await balancer.tell(f"set server app/{self.name} state drain")
        await balancer.wait_until_idle(self.name)
        assert self._process is not None
        self._process.terminate()
        assert await self._process.wait() == 0
        await balancer.wait_until_checked(self.name, well=False)
        await self.start()
        await balancer.wait_until_checked(self.name, well=True)
        await balancer.tell(f"set server app/{self.name} state ready")

    async def kill(self) -> None:
        """Kill all of its processes at once, and start it again."""
        self.changes += 1
        await self.end()
        await self.start()

    async def roll(self) -> None:
        """Have it load its code again."""
        self.changes += 1
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    async def end(self) -> None:
        """Kill whatever there is of it."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    @property
    def workers(self) -> set[str]:
        """The process IDs of all that have served."""
        return set(re.findall(r"worker \d+ \(pid (\d+)\) serves", self.output()))

    def output(self) -> str:
        """What it has logged."""
        return self._log.read_text()
