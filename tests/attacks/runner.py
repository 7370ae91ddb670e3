"""Runs an attack: victims, attackers and a bystander in their processes, and the figures of what came of it."""

from __future__ import annotations

import json
import math
import os
import queue
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.attacks.model import Attack
from tests.attacks.peer import LIMIT, Door

MIB = 1024 * 1024
PAGE = resource.getpagesize()

QUIET = 9.0
"""Seconds in which the victim's tasks have to be gone after the attack: closing is bounded by `close_timeout`."""


class Program:
    """A Python program of this package that takes lines of JSON and gives some back."""

    def __init__(self, module: str, *arguments: str, files: int | None = None) -> None:
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"tests.attacks.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            bufsize=1,
            preexec_fn=None if files is None else lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self._lines.put(line)
        self._lines.put("")

    def tell(self, command: str, **values: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"command": command, **values}) + "\n")
        self.process.stdin.flush()

    def hear(self, seconds: float = 60) -> dict[str, Any]:
        """Its next line."""
        line = self._lines.get(timeout=seconds)
        if not line:
            raise RuntimeError(f"{self.process.args} ended:\n{self.written()[-4000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, command: str, **values: Any) -> dict[str, Any]:
        self.tell(command, **values)
        return self.hear()

    def written(self) -> str:
        """What it has logged."""
        self.log.seek(0)
        return self.log.read()

    @property
    def rss(self) -> int:
        """Octets of memory it has now."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * PAGE

    def stop(self) -> None:
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        self.log.close()


class Victim:
    """A server, or a client beside a good server, that may be attacked any number of times."""

    def __init__(self, *, client: bool, config: Mapping[str, Any], files: int | None = None) -> None:
        self.client = client
        self._good: Program | None = None
        if client:
            self._good = Program("server", "{}")
            self.program = Program("client", str(self._good.hear()["ports"][2]))
            self.ports: list[int] = []
        else:
            self.program = Program("server", json.dumps(dict(config)), files=files)
            self.ports = self.program.hear()["ports"]
        self._watcher: Program | None = None
        self._tracebacks = 0

    def watch(self) -> None:
        """Let the bystander begin; it is being served when this returns."""
        self._bystander().ask("watch")

    def unwatch(self) -> dict[str, Any]:
        """End it; what it has to say."""
        return self._bystander().ask("unwatch")

    def _bystander(self) -> Program:
        if self.client:
            return self.program
        if self._watcher is None:
            self._watcher = Program("bystander", str(self.ports[2]))
        return self._watcher

    def new_tracebacks(self) -> int:
        """How many it has logged since the last time this was asked."""
        before, self._tracebacks = self._tracebacks, self.program.written().count("Traceback (most recent call last)")
        return self._tracebacks - before

    def stop(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
        self.program.stop()
        if self._good is not None:
            self._good.stop()


class Watch:
    """Looks at a victim's memory, all the time."""

    def __init__(self, program: Program) -> None:
        self.before = self.peak = program.rss
        self._program = program
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.01):
            self.peak = max(self.peak, self._program.rss)

    def end(self) -> None:
        self._over.set()
        self._thread.join()


@dataclass
class Figures:
    """What came of one attack, by so many attackers at once."""

    name: str
    text: str
    attackers: int
    connections: int
    sent_frames: int
    sent_octets: int
    frames: int
    """Frames that the victim worked off: all, if it still serves, else those that came as far as its Receiver."""
    cpu: float
    process_cpu: float
    seconds: float
    own: int
    peak: int
    kept: int
    step_p999: float
    step_max: float
    step_max_task: str
    ended: dict[str, int]
    resets: dict[str, int]
    bystander: dict[str, Any]
    tracebacks: int
    tasks_held: int
    """Tasks of the victim while the attackers were still connected."""
    tasks_left: int | None
    times_like: float | None = None
    failures: list[str] = field(default_factory=list)

    @property
    def per_frame(self) -> float:
        return self.cpu / max(1, self.frames)

    @property
    def per_octet(self) -> float:
        return self.cpu / max(1, self.sent_octets)

    @property
    def per_sent(self) -> float:
        """Octets kept, above 1 MiB for each connection and what is the victim's own doing, by octet sent."""
        return max(0, self.peak - self.own - self.connections * MIB) / max(1, self.sent_octets)


def run(attack: Attack, attackers: int, victim: Victim, *, share: float = 1.0, bystander: bool = True) -> Figures:
    """Attack the victim and see what comes of it; `share` makes it smaller."""
    amount = max(1, math.ceil((attack.amount if attackers == 1 else attack.crowd) * share))
    prepared = attack.prepare(amount)
    program = victim.program
    tasks_before = _settled(program, None)
    if bystander:
        victim.watch()
    program.tell("reset")
    before = program.ask("report")
    watch = Watch(program)
    started = time.monotonic()
    doors = _attack(attack, attackers, victim, prepared)
    seconds = time.monotonic() - started
    after = program.ask("report")
    for door in doors:
        door.close()
    latencies = victim.unwatch() if bystander else {}
    tasks_after = _settled(program, tasks_before)
    watch.end()
    kept = program.rss - watch.before
    peers = [peer for door in doors for peer in door.peers]
    forgotten = sum(door.forgotten for door in doors)
    ended = Counter(peer.ended for peer in peers)
    if forgotten:
        ended["reset by the attacker"] += forgotten
    sent = sum(peer.frames for peer in peers) + sum(door.frames for door in doors)
    return Figures(
        name=attack.name,
        text=attack.text,
        attackers=attackers,
        connections=attackers * attack.connections,
        sent_frames=sent,
        sent_octets=sum(peer.sent for peer in peers) + sum(door.octets for door in doors),
        frames=sent if set(ended) == {"still serving"} else after["frames"],
        cpu=after["cpu"],
        process_cpu=after["process_cpu"] - before["process_cpu"],
        seconds=seconds,
        own=attack.own * attackers,
        peak=watch.peak - watch.before,
        kept=kept,
        tasks_held=(after["tasks"] or 0) - (tasks_before or 0),
        step_p999=after["step_p999"],
        step_max=after["step_max"],
        step_max_task=after["step_max_task"],
        ended=dict(ended),
        resets=dict(sum((peer.resets for peer in peers), Counter())),
        bystander=latencies,
        tracebacks=victim.new_tracebacks(),
        tasks_left=None if tasks_after is None or tasks_before is None else tasks_after - tasks_before,
    )


def _attack(attack: Attack, attackers: int, victim: Victim, prepared: Any) -> list[Door]:
    meeting = threading.Barrier(attackers)
    listener = None
    if victim.client:
        listener = socket.create_server(("127.0.0.1", 0), backlog=attackers)
        listener.settimeout(LIMIT)
        port = listener.getsockname()[1]
        program_config = dict(attack.config)
        victim.program.tell("connect", port=port, way=attack.way, count=attackers, config=program_config)
    doors = [Door(victim.ports, meeting, listener, number) for number in range(attackers)]
    threads = [threading.Thread(target=_attacker, args=(attack, door, prepared)) for door in doors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if listener is not None:
        listener.close()
    return doors


def _attacker(attack: Attack, door: Door, prepared: Any) -> None:
    try:
        attack.run(door, prepared)
    except OSError:  # the victim took no more: what it made of the attack shows in the figures
        pass


def _settled(program: Program, wanted: int | None) -> int | None:
    """The victim's tasks when there are as many as before, or once it has taken too long; without `wanted`, now."""
    deadline = time.monotonic() + QUIET
    while True:
        tasks: int | None = program.ask("report")["tasks"]
        if tasks == wanted or (wanted is None and tasks is not None) or time.monotonic() > deadline:
            return tasks
        time.sleep(0.1)


class Victims:
    """Victims that are kept for the next attack that wants the like."""

    def __init__(self) -> None:
        self._known: dict[Any, Victim] = {}

    def get(self, attack: Attack) -> Victim:
        client = attack.way is not None
        config = {} if client else attack.config
        key = client, tuple(sorted(config.items())), attack.files
        if key not in self._known:
            self._known[key] = Victim(client=client, config=config, files=attack.files)
        return self._known[key]

    def stop(self) -> None:
        for victim in self._known.values():
            victim.stop()
        self._known.clear()


def many_files() -> None:
    """As many sockets as the system lets this process have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def machine() -> str:
    return f"{os.cpu_count()} cores, Python {sys.version.split()[0]}"
