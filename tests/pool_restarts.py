"""Two servers behind one name, restarted in turn under a pool: `python -m tests.pool_restarts [--seconds 300]`.

Each is ended by SIGTERM, then by SIGKILL, while the other serves, with requests in flight all the time. With SIGTERM no
request fails; with SIGKILL none but those that may have been processed, whose errors are not safe to retry. Exit code 1
if it does not hold.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

import tests.peers as peers
import trio_h2

NAME = "two.example"
HOSTS = ("127.0.0.1", "127.0.0.2")
AT_ONCE = 40
UP = 0.5  # seconds for which both serve between two restarts


# A server


async def handler(stream: trio_h2.ServerStream) -> None:
    body = await stream.read()
    await trio.sleep(0.01)
    await stream.respond(200, body=body[::-1])


async def serve(host: str, port: int) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_with_parent)
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            server: trio_h2.H2Server = await nursery.start(partial(trio_h2.serve_h2, handler, port, host=host))
            print("ready", flush=True)
            await anext(signals)
            await server.shutdown(5)
        nursery.cancel_scope.cancel()


async def end_with_parent() -> None:
    """Leave no process behind, whatever becomes of the one that started this."""
    await trio.lowlevel.wait_readable(sys.stdin.fileno())
    os._exit(1)


@asynccontextmanager
async def running(host: str, port: int) -> AsyncIterator[trio.Process]:
    """A server as a process of its own, which listens."""
    argv = [sys.executable, "-m", "tests.pool_restarts", "--serve", host, str(port)]
    process = await trio.lowlevel.open_process(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        with trio.fail_after(30):
            said = await process.stdout.receive_some()
            assert said.startswith(b"ready"), "the server did not start"
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()
            assert process.stdin is not None
            await process.stdin.aclose()


# The name


class TwoAddresses(trio.abc.HostnameResolver):
    """Says that the name has the addresses of both."""

    async def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        await trio.lowlevel.checkpoint()
        assert host in (NAME, NAME.encode())
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in HOSTS]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


# The requests


@dataclass
class Outcome:
    """What became of the requests.

    Attributes:
        answered: how many were answered right, by the signal that was sent last.
        lost: how many failed and may have been processed, by that signal.
        restarts: how often a server was restarted, by that signal.
        faults: what must not be, in words.
    """

    answered: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    restarts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    phase: str = "SIGTERM"

    def __str__(self) -> str:
        rows = [
            f"{name}: {self.restarts[name]} restarts, {self.answered[name]} answered, {self.lost[name]} lost"
            for name in ("SIGTERM", "SIGKILL")
        ]
        return "\n".join([*rows, *self.faults])


async def ask_on(pool: trio_h2.Pool, url: str, outcome: Outcome) -> None:
    number = 0
    while True:
        number += 1
        body = b"%d " % number * 100
        try:
            response = await pool.request("POST", url, body=body)
        except trio_h2.H2Error as error:
            outcome.lost[outcome.phase] += 1
            if error.safe_to_retry or outcome.phase == "SIGTERM":
                outcome.faults.append(f"with {outcome.phase}: {error!r}, safe to retry: {error.safe_to_retry}")
        else:
            outcome.answered[outcome.phase] += 1
            if response.body != body[::-1]:
                outcome.faults.append("a wrong answer")


async def restart_in_turn(port: int, seconds: float, outcome: Outcome) -> None:
    """Keep two servers, and restart one after the other: by SIGTERM for half of the time, then by SIGKILL."""
    async with trio.open_nursery() as nursery:
        end: dict[str, trio.Event] = {}
        processes: dict[str, trio.Process] = {}

        async def keep(host: str, task_status: trio.TaskStatus[None]) -> None:
            end[host] = trio.Event()
            async with running(host, port) as process:
                processes[host] = process
                task_status.started()
                await end[host].wait()

        for host in HOSTS:
            await nursery.start(keep, host)
        begun = trio.current_time()
        for name in ("SIGTERM", "SIGKILL"):
            until = begun + (seconds / 2 if name == "SIGTERM" else seconds)
            await trio.sleep(UP)
            outcome.phase = name
            while outcome.restarts[name] < 2 or trio.current_time() < until:
                for host in HOSTS:
                    processes[host].send_signal(getattr(signal, name))
                    with trio.fail_after(15):
                        await processes[host].wait()
                    end[host].set()
                    await nursery.start(keep, host)
                    outcome.restarts[name] += 1
                    await trio.sleep(UP)
        nursery.cancel_scope.cancel()


async def restarts(seconds: float) -> Outcome:
    """Requests all the time, and restarts for so long."""
    before = trio.socket.set_custom_hostname_resolver(TwoAddresses())
    try:
        return await _restarts(seconds)
    finally:
        trio.socket.set_custom_hostname_resolver(before)


async def _restarts(seconds: float) -> Outcome:
    outcome = Outcome()
    port = peers.free_port()
    async with trio.open_nursery() as nursery, trio_h2.open_pool(retries=5) as pool:

        async def requests() -> None:
            await trio.sleep(UP / 2)
            async with trio.open_nursery() as asking:
                for _ in range(AT_ONCE):
                    asking.start_soon(ask_on, pool, f"http://{NAME}:{port}/", outcome)

        nursery.start_soon(requests)
        await restart_in_turn(port, seconds, outcome)
        nursery.cancel_scope.cancel()
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.pool_restarts", description="Exit with 1 if it fails.")
    parser.add_argument("--seconds", type=float, default=300, help="how long (default: 300)")
    parser.add_argument("--serve", nargs=2, metavar=("HOST", "PORT"), help="be one of the servers")
    arguments = parser.parse_args()
    if arguments.serve:
        trio.run(serve, arguments.serve[0], int(arguments.serve[1]))
        return
    outcome = trio.run(restarts, arguments.seconds)
    print(outcome)
    sys.exit(bool(outcome.faults))


if __name__ == "__main__":
    main()
