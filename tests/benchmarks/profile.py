"""Where the time of one side goes.

`python -m tests.benchmarks.profile FILE MODULE ARGUMENT ...` runs a program of the harness and samples it: every few
milliseconds of processor time the function that runs is noted. At the end, SIGTERM or its own, the counts go to FILE
as JSON. Time in C, a system call above all, counts for the Python function that made the call.
"""

from __future__ import annotations

import atexit
import collections
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from tests.benchmarks.bench import MIB, WIDE_WINDOWS, Bench
from tests.benchmarks.loads import h2load, prepared
from tests.benchmarks.model import Load
from tests.benchmarks.runner import next_amount
from tests.benchmarks.workloads.asgi import ALL_ON_ONE, WEBSOCKETS
from tests.benchmarks.workloads.bodies import DOWNLOAD, UPLOAD
from tests.peers import free_port

PERIOD = 0.002
"""Seconds of processor time between two samples, where the kernel's clock ticks that often."""

FUNCTIONS = 10
"""How many functions are shown."""

SMALLEST = 0.01
"""The smallest share of a part that is shown."""

Counts = collections.Counter[tuple[str, str]]

# Sampling -----------------------------------------------------------------------------------------


class Sampler:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: Counts = collections.Counter()
        self._since = 0.0

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self._sample)
        signal.signal(signal.SIGTERM, self._end)
        atexit.register(self._write)
        signal.setitimer(signal.ITIMER_PROF, PERIOD, PERIOD)

    def _sample(self, number: int, frame: FrameType | None) -> None:
        if frame is not None and not _imports(frame):
            self._since = self._since or time.process_time()
            self._counts[frame.f_code.co_filename, frame.f_code.co_qualname] += 1

    def _write(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        rows = [(file, function, count) for (file, function), count in self._counts.items()]
        self._path.write_text(json.dumps({"seconds": time.process_time() - self._since, "rows": rows}))

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._write()
        os._exit(0)


def _imports(frame: FrameType | None) -> bool:
    """Is the program importing something? What happens once is no part of a request."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def main(file: str, module: str, *arguments: str) -> None:
    program = importlib.import_module(f"tests.benchmarks.{module}")
    Sampler(Path(file)).start()
    program.main(*arguments)


# Reading ------------------------------------------------------------------------------------------

SYSTEM_CALLS = {
    "trio/_socket.py": "send and receive (system calls)",
    "trio_h2/actors/plain_sockets.py": "send and receive (system calls)",
    "trio/_core/_io_epoll.py": "epoll",
}


def part(file: str) -> str:
    """What a file is a part of: a module of trio_h2, or a library."""
    for ending, name in SYSTEM_CALLS.items():
        if file.endswith(ending):
            return name
    path = Path(file)
    if "trio_h2" in path.parts:
        return "/".join(path.parts[len(path.parts) - path.parts[::-1].index("trio_h2") - 1 :])
    if "site-packages" in path.parts:
        return path.parts[path.parts.index("site-packages") + 1].removesuffix(".py")
    if "benchmarks" in path.parts:
        return "the handler or caller"
    if file.startswith("<attrs generated"):
        return "attrs"
    return "the standard library"


def shares(counts: Counts, key: Callable[[str, str], str]) -> list[tuple[str, float]]:
    """The share of the samples by what `key` makes of file and function, largest first."""
    total = sum(counts.values())
    grouped: collections.Counter[str] = collections.Counter()
    for (file, function), count in counts.items():
        grouped[key(file, function)] += count
    return [(name, count / total) for name, count in grouped.most_common()]


OWNERS = {
    "trio": ("trio", "outcome", "sniffio", "sortedcontainers"),
    "hpack": ("hpack",),
    "hyperframe": ("hyperframe",),
    "the kernel": tuple(SYSTEM_CALLS.values()),
    "attrs": ("attrs", "attr"),
    "the standard library": ("the standard library",),
}
"""Whose part is whose; ours is by file."""


def owner(part: str) -> str:
    return next((name for name, parts in OWNERS.items() if part in parts), part)


@dataclass(frozen=True)
class Profiled:
    """A profile that was taken: samples by file and function, and the processor time of so many requests."""

    title: str
    unit: str
    counts: Counts
    seconds: float
    requests: int

    @property
    def each(self) -> float:
        """Microseconds for a request."""
        return self.seconds / self.requests * 1e6

    def text(self) -> str:
        """Two tables, by part and by function: shares of the processor time, and what that is for one request."""
        parts = shares(self.counts, lambda file, function: part(file))
        functions = shares(self.counts, lambda file, function: f"{part(file)}: {function}")
        lines = [
            f"{self.title}: {self.each:,.1f} µs of processor time for one {self.unit}, of {self.requests:,}; "
            f"{sum(self.counts.values()):,} samples",
            *(self._line(name, share) for name, share in parts if share >= SMALLEST),
            "",
            *(self._line(name, share) for name, share in functions[:FUNCTIONS]),
        ]
        return "\n".join(lines)

    def _line(self, name: str, share: float) -> str:
        return f"  {share:6.1%} {share * self.each:9,.1f} µs  {name}"


def ceiling(shares_of: dict[str, float], profiled: Profiled) -> str:
    """What no engine on trio gets above, on this Python and this core."""
    floor = (shares_of.get("trio", 0.0) + shares_of.get("the kernel", 0.0)) * profiled.each
    return f"{1e6 / floor:,.0f} {profiled.unit}s/s at most" if floor else "-"


def owner_rows(profiles: Sequence[Profiled]) -> list[tuple[str, ...]]:
    """What each owner has of each profile: others' libraries, then ours by file, then what is left."""
    owned = [dict(shares(each.counts, lambda file, function: owner(part(file)))) for each in profiles]
    names = {name for shares_of in owned for name, share in shares_of.items() if share >= SMALLEST}
    ours = [name for name in names if name.startswith("trio_h2/")]
    ours.sort(key=lambda name: -max(shares_of.get(name, 0) for shares_of in owned))
    others = [*OWNERS, *sorted(names - set(ours) - set(OWNERS))]
    rows = [("owner", *(each.title for each in profiles))]
    rows.append(("all of it", *(f"{each.each:,.1f} µs for a {each.unit}" for each in profiles)))

    def row(name: str, parts: Callable[[dict[str, float]], float]) -> None:
        figures = [(parts(shares_of), each) for shares_of, each in zip(owned, profiles, strict=True)]
        rows.append((name, *(f"{share:.1%}, {share * each.each:,.1f} µs" for share, each in figures)))

    rows.append(("if there were trio and the kernel alone", *map(ceiling, owned, profiles)))
    for name in others:
        row(name, lambda shares_of, name=name: shares_of.get(name, 0.0))
    row("trio_h2", lambda shares_of: sum(share for name, share in shares_of.items() if name.startswith("trio_h2/")))
    for name in ours:
        row(f"of that {name.removeprefix('trio_h2/')}", lambda shares_of, name=name: shares_of.get(name, 0.0))
    return rows


# The profiles there are ---------------------------------------------------------------------------

SECONDS = 6.0

Profile = Callable[[Bench, Path], Awaitable[int]]
"""Runs our side under a load while it is sampled into a file, and returns how many requests there were."""


def of_server(app: str, load: Load, side: str = "trio_h2") -> Profile:
    load = replace(load, seconds=SECONDS)

    async def run(bench: Bench, file: Path) -> int:
        port = free_port()
        argv = bench.program("profile", file, "servers", side, app, port)
        async with bench.serve(bench.side_core, "trio_h2", argv, port) as running:
            first = await load.measure(bench, running, load.amount)
            amount = next_amount(first, load, haste=1.0)
            await load.measure(bench, running, amount)
            return load.amount + amount

    return run


def of_client(task: str, amount: int, at_once: int = 1) -> Profile:
    async def run(bench: Bench, file: Path) -> int:
        if task != "small":
            bench.zeros(amount * MIB)
        async with bench.serve_nghttpd(bench.load_core, options=WIDE_WINDOWS) as running:
            arguments = ("clients", "trio_h2", task, running.port, amount, at_once)
            await bench.run_ours(bench.side_core, "profile", file, *arguments)
            return amount

    return run


PROFILES: dict[str, tuple[str, str, Profile]] = {
    "hello": (
        "the server, small GETs, h2load -c1 -m100",
        "request",
        of_server("hello", h2load(1, 100, amount=500, body=5)),
    ),
    "browser": (
        "the server, browser-like GETs, -c1 -m100",
        "request",
        of_server("hello", prepared(1, 100, "browser", amount=500)),
    ),
    "download": ("the server, 1 MiB downloads", "body", of_server("bulk", DOWNLOAD)),
    "upload": ("the server, 1 MiB uploads", "body", of_server("upload", UPLOAD)),
    "asgi": (
        "the server of ASGI apps, Starlette's answer to small GETs, h2load -c1 -m100",
        "request",
        of_server("web", h2load(1, 100, amount=500, body=5), "trio_h2 asgi"),
    ),
    "asgi_ws": (
        f"the server of ASGI apps, echoes on {WEBSOCKETS} WebSockets over HTTP/2",
        "message",
        of_server("echo", ALL_ON_ONE, "trio_h2 asgi"),
    ),
    "client_small": ("the client, small GETs, 100 at once", "request", of_client("small", 30_000, 100)),
    "client_download": ("the client, a download", "MiB", of_client("download", 1_000)),
    "client_upload": ("the client, an upload", "MiB", of_client("upload", 1_000)),
}
"""Title, what is counted, and how to run it."""

BY_OWNER = ("hello", "browser")
"""The profiles that are also shown by owner; all that were taken if none of these was."""


async def profile(bench: Bench, name: str) -> Profiled:
    """Take one profile."""
    title, unit, run = PROFILES[name]
    file = bench.directory / f"profile-{name}"
    requests = await run(bench, file)
    sampled = json.loads(file.read_text())
    counts: Counts = collections.Counter({(path, function): count for path, function, count in sampled["rows"]})
    return Profiled(title, unit, counts, sampled["seconds"], requests)


if __name__ == "__main__":
    main(*sys.argv[1:])
