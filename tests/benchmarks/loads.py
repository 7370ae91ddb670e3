"""The loads that several workloads share, and how their figures are read."""

from __future__ import annotations

import re
from typing import Any

from tests.benchmarks.bench import MIB, Bench
from tests.benchmarks.model import Load, Measure, RefusedError, Running
from tests.peers import parse_h2load

SECONDS = 1.2
"""How long a measurement takes, where nothing else is said."""


def h2load(
    connections: int,
    streams: int,
    *,
    amount: int,
    body: int,
    path: str = "/",
    upload: int = 0,
    unit: str = "requests/s",
    name: str | None = None,
    options: tuple[str, ...] = (),
) -> Load:
    """This many connections of this many concurrent streams each; every answer has a body of so many bytes.

    With `upload`, every request has a body of so many bytes. More `options` may be given.
    """
    size = [f"-c{connections}", f"-m{streams}"]

    async def measure(bench: Bench, running: Running, amount: int) -> float:
        body_option = [f"-d{bench.zeros(upload)}"] if upload else []
        argv = ["h2load", *size, *options, *body_option, f"-n{amount}", running.url + path]
        completed = await bench.run(bench.load_core, *argv)
        return requests_per_second(completed.text, body=body)

    return Load(name or " ".join(["h2load", *size]), unit, measure, amount, SECONDS)


def requests_per_second(output: str, *, body: int) -> float:
    """The figure in what h2load wrote; RefusedError unless every request succeeded, with so many bytes each."""
    try:
        report = parse_h2load(output)
    except ValueError as error:
        raise RefusedError(str(error)) from None
    if not report.all_succeeded:
        raise RefusedError(f"not every request succeeded:\n{output}")
    octets = re.search(r"^traffic: .* \((\d+)\) data$", output, re.MULTILINE)
    if octets is None or int(octets[1]) != body * report.total:
        raise RefusedError(f"not the {body * report.total} bytes of data that there should be:\n{output}")
    return report.requests_per_second


def rate(report: Any, *, requests: int) -> float:
    """Requests a second, of what a program of the harness reported as JSON."""
    if report["requests"] != requests:
        raise RefusedError(f"{report['requests']} of {requests} requests were made")
    return requests / float(report["seconds"])


def prepared(connections: int, streams: int, kind: str, *, amount: int) -> Load:
    """The harness's own load of requests that are encoded before the clock starts (`load.py`)."""

    async def measure(bench: Bench, running: Running, amount: int) -> float:
        report = await bench.run_load("load", "requests", running.port, kind, amount, connections, streams)
        return rate(report, requests=amount)

    return Load(f"-c{connections} -m{streams}", "requests/s", measure, amount, SECONDS)


def program(module: str, *arguments: object) -> Measure:
    """A program of the harness that is all there is to measure, on the side's core: `MODULE ARGUMENT ... AMOUNT`.

    It writes one line of JSON with how many `requests` it made and in how many `seconds`.
    """

    async def measure(bench: Bench, running: Running, amount: int) -> float:
        report = await bench.run_ours(bench.side_core, module, *arguments, amount)
        return rate(report, requests=amount)

    return measure


def client(task: str, *, name: str, unit: str, amount: int, seconds: float | None, at_once: int = 1) -> Load:
    """What a measured client does on the side's core (`clients.py`)."""

    async def measure(bench: Bench, running: Running, amount: int) -> float:
        if task != "small":
            bench.zeros(amount * MIB)
        arguments = (running.side, task, running.port, amount, at_once)
        report = await bench.run_ours(bench.side_core, "clients", *arguments)
        return rate(report, requests=amount)

    return Load(name, unit, measure, amount, seconds)
