"""Starts the processes, restarts servers, and judges what comes of it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trustme

from tests.soak.faults import Faults
from tests.soak.memory import Sample, sample
from tests.soak.report import Report
from tests.soak.wire import HOST, Started

CLIENTS = 2
PATIENCE = 5.0
"""Seconds after which what a failure's causes have to say has come."""

LAST_GRACE = 5.0
ENDING = 150.0
"""Seconds that the clients have for what is under way when the time is up: more than a request that hangs."""

STEADY, RESTARTED = 0, 1
KEEPALIVE = {"keepalive_interval": 5.0, "keepalive_timeout": 15.0}


class Child:
    """A process of the soak.

    Attributes:
        ended: its last word on what is left, once it has come.
    """

    def __init__(self, name: str, process: trio.Process) -> None:
        self.name = name
        self.process = process
        self.listening: dict[str, Any] = {}
        self.ready = trio.Event()
        self.ended = trio.Event()

    async def tell(self, *words: object) -> None:
        assert self.process.stdin is not None
        try:
            await self.process.stdin.send_all(" ".join(map(str, words)).encode() + b"\n")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # how it ended is seen elsewhere


async def lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[str]:
    buffer = b""
    async for data in stream:
        *whole, buffer = (buffer + data).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
    if buffer:
        yield buffer.decode(errors="replace")


class Supervisor:
    def __init__(self, seconds: float, seed: str, connections: int, directory: Path) -> None:
        self.seconds = seconds
        self.report = Report(seed, seconds, connections)
        self._seed = seed
        self._connections = connections
        self._rng = random.Random(f"{seed}:supervisor")
        self._sample_every = max(1.0, seconds / 200)
        self._faults = Faults()
        self._failures: deque[dict[str, Any]] = deque()
        self._servers = 0
        self._numbers: dict[Child, int] = {}
        self._started = directory / "started"
        self._certificate = directory / "certificate.pem"
        self._ca = directory / "ca.pem"
        self._killed: set[Child] = set()

    # Processes

    @asynccontextmanager
    async def _children(self) -> AsyncIterator[None]:
        """Room for processes; none of them outlives it."""
        Started.create(self._started)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self._ca)
        authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(self._certificate)
        async with trio.open_nursery() as self._nursery:
            yield

    async def _start(self, name: str, module: str, *arguments: object) -> Child:
        command = [sys.executable, "-W", "always::ResourceWarning", "-m", f"tests.soak.{module}", *map(str, arguments)]
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        child = Child(name, process)
        self._nursery.start_soon(self._watch, child)
        return child

    async def _watch(self, child: Child) -> None:
        process = child.process
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, child)
                nursery.start_soon(self._read_stderr, child)
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode and child not in self._killed:
            self.report.broken(f"{child.name} exited with {process.returncode}")
        child.ready.set()
        child.ended.set()

    async def _read_stderr(self, child: Child) -> None:
        assert child.process.stderr is not None
        async for line in lines(child.process.stderr):
            self.report.noise(f"{child.name}: {line}")

    async def _listen(self, child: Child) -> None:
        assert child.process.stdout is not None
        async for line in lines(child.process.stdout):
            try:
                message = json.loads(line)
            except ValueError:  # a process was killed in the midst of it
                continue
            getattr(self, f"_on_{message.pop('kind')}")(child, **message)

    # What they say

    def _on_listening(self, child: Child, at: float, **details: Any) -> None:
        child.listening = details
        child.ready.set()

    def _on_sample(self, child: Child, at: float, rss: int, objects: int, tasks: int) -> None:
        if child not in self._numbers or self._numbers[child] == STEADY:
            self.report.samples[child.name].append(Sample(at, rss, objects, tasks))

    def _on_opened(self, child: Child, at: float, link: str, server: int) -> None:
        self._faults.opened(link, server, at)

    def _on_joined(self, child: Child, at: float, link: str, onward: int) -> None:
        self._faults.joined(link, onward)

    def _on_said(self, child: Child, at: float, port: int, reason: str) -> None:
        self._faults.said(self._numbers[child], port, f"{at}: {reason}")

    def _on_closed(self, child: Child, at: float, link: str) -> None:
        self._faults.closed(link, at)

    def _on_fault(self, child: Child, at: float, link: str, fault: str) -> None:
        self.report.injected[fault] += 1
        self._faults.hit(link, fault, at)

    def _on_shutdown(self, child: Child, at: float, grace: float) -> None:
        fate = self._faults.servers[self._numbers[child]]
        fate.shutdown, fate.grace = at, grace

    def _on_made(self, child: Child, at: float, made: dict[str, int]) -> None:
        self.report.made[child.name] = Counter(made)

    def _on_failure(self, child: Child, at: float, **details: Any) -> None:
        self._failures.append({"at": at, **details})

    def _on_broken(self, child: Child, at: float, what: str, attempt: int | None = None) -> None:
        self.report.broken(f"{child.name}, attempt {attempt}: {what}")

    def _on_outlived(self, child: Child, at: float, what: str) -> None:
        self.report.outlives(f"{child.name}: {what}")

    def _on_latency(self, child: Child, at: float, **figures: float) -> None:
        self.report.latency = figures

    def _on_ended(self, child: Child, at: float, **details: Any) -> None:
        self.report.ended(child.name, **details)
        if "made" in details:
            self.report.made[child.name] = Counter(details["made"])
        child.ended.set()

    # Restarts

    async def _start_server(self, index: int) -> Child:
        """Start a server and send new connections to it."""
        number, self._servers = self._servers, self._servers + 1
        config = {**KEEPALIVE, "max_concurrent_streams": 4 if number % 2 else 100}
        certificate = [self._certificate] if index == RESTARTED else []
        arguments = (self._started, json.dumps(config), self._sample_every, *certificate)
        child = await self._start(f"server {number}", "server", *arguments)
        self._numbers[child] = number
        await child.ready.wait()
        await self._proxy.tell("target", index, number, child.listening["port"])
        return child

    async def _restart_again_and_again(self) -> None:
        while True:
            await trio.sleep(self._rng.uniform(0.5, 1.5) * min(15.0, self.seconds / 8))
            with trio.CancelScope(shield=True):
                how = self._rng.choice([self._roll, self._shut_down_and_start, self._kill_and_start])
                self.report.injected[how.__name__.strip("_").replace("_", " ")] += 1
                await how(self._restarted)

    async def _roll(self, old: Child) -> None:
        """The new server is there before the old one ends."""
        self._restarted = await self._start_server(RESTARTED)
        await self._shut_down(old)

    async def _shut_down_and_start(self, old: Child) -> None:
        await self._shut_down(old)
        self._restarted = await self._start_server(RESTARTED)

    async def _kill_and_start(self, old: Child) -> None:
        self._faults.servers[self._numbers[old]].killed = time.monotonic()
        self._killed.add(old)
        old.process.kill()
        await trio.sleep(self._rng.uniform(0, 1))
        self._restarted = await self._start_server(RESTARTED)

    async def _shut_down(self, server: Child, grace: float | None = None) -> None:
        await server.tell("shutdown", self._rng.uniform(0.5, 3) if grace is None else grace)
        await server.ended.wait()

    # Judging

    def _judge(self, before: float) -> None:
        while self._failures and self._failures[0]["at"] <= before:
            failure = self._failures.popleft()
            place = failure["link"], failure["at"]
            fault = self._faults.explain(*place)
            self.report.failure({**failure, "link": repr(self._faults.link(*place))}, fault)

    async def _judge_again_and_again(self) -> None:
        while True:
            await trio.sleep(1)
            now = time.monotonic()
            self._judge(now - PATIENCE)
            self._faults.forget(now)

    async def _sample_itself(self) -> None:
        while True:
            self.report.samples["supervisor"].append(sample())
            await trio.sleep(self._sample_every)

    # The run

    async def run(self) -> Report:
        """Soak for the time there is, end everything, and report."""
        async with self._children():
            self._proxy = await self._start("proxy", "proxy", self._seed)
            await self._proxy.ready.wait()
            steady = await self._start_server(STEADY)
            self._restarted = await self._start_server(RESTARTED)
            bystander = await self._start("bystander", "bystander", steady.listening["port"])
            clients = [await self._start_client(number) for number in range(CLIENTS)]
            self.report.began = time.monotonic()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._judge_again_and_again)
                nursery.start_soon(self._sample_itself)
                with trio.move_on_after(self.seconds):
                    await self._restart_again_and_again()
                self.report.stopped = time.monotonic()
                await self._proxy.tell("calm")
                await self._end(clients, "stop")
                await self._end([bystander], "stop")
                await self._end([steady, self._restarted], "shutdown", LAST_GRACE)
                nursery.cancel_scope.cancel()
            await self._end([self._proxy])
        self._judge(time.monotonic())
        return self.report

    async def _start_client(self, number: int) -> Child:
        share = (self._connections + number) // CLIENTS
        ports = self._proxy.listening["ports"]
        arguments = (self._seed, number, share, self._started, self._ca, *ports, self._sample_every)
        return await self._start(f"client {number}", "client", *arguments)

    async def _end(self, children: list[Child], *words: object) -> None:
        """Have processes end, by what they are told or by the end of what they are told; kill those that do not."""
        for child in children:
            if words:
                await child.tell(*words)
            await child.process.stdin.aclose()
        with trio.move_on_after(ENDING):
            for child in children:
                await child.process.wait()
            return
        for child in children:
            if child.process.poll() is None:
                self.report.broken(f"{child.name} did not end")
                self._killed.add(child)
                child.process.kill()


def soak(seconds: float, seed: str, connections: int) -> Report:
    """Run a soak. Returns what came of it."""
    with tempfile.TemporaryDirectory() as directory:
        return trio.run(Supervisor(seconds, seed, connections, Path(directory)).run)
