"""Killing a process, and which connections were its own."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from tests.rolling.load import Loss

__all__ = ["Killed", "kill"]


@dataclass(frozen=True)
class Killed:
    """A process that was killed.

    Attributes:
        at: when, on the clock of `time.monotonic`.
        ports: the clients' ports of the connections that it had.
    """

    pid: int
    at: float
    ports: frozenset[int]

    def explains(self, loss: Loss) -> bool:
        """Whether a request was lost because its connection was this process's."""
        return loss.port in self.ports and loss.begun <= self.at <= loss.at


def kill(pid: int) -> Killed:
    """Kill a process. It is stopped first, so that what it has then is what it loses."""
    os.kill(pid, signal.SIGSTOP)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("T", "Z"):
        time.sleep(0.001)
    killed = Killed(pid, time.monotonic(), _peer_ports(pid))
    os.kill(pid, signal.SIGKILL)
    return killed


def _peer_ports(pid: int) -> frozenset[int]:
    """The ports at the other end of the TCP connections of a process."""
    inodes = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        target = os.readlink(entry.path)
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    ports = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[9] in inodes:
            ports.add(int(fields[2].rpartition(":")[2], 16))
    return frozenset(ports - {0})
