"""Servers of ASGI apps: small responses, with a framework and without, and WebSockets."""

from __future__ import annotations

import os
import time
from dataclasses import replace

from tests.benchmarks.bench import Bench, server_side
from tests.benchmarks.loads import SECONDS, h2load, rate, requests_per_second
from tests.benchmarks.model import Load, Running, Side, Target, Workload, times
from tests.benchmarks.workloads.requests import NAMES

OTHERS = (*NAMES[1:], "granian", "h2corn")

WEBSOCKETS = 100

JSON = len(b'{"message":"hello","numbers":[1,2,3],"nested":{"true":true,"none":null}}')


def sides(app: str) -> tuple[Side, ...]:
    """Ours and the others, with one worker each."""
    ours = server_side("trio_h2 asgi", app, called="trio_h2")
    return (ours, *(server_side(name, app) for name in OTHERS))


def echoes(carrier: str, name: str) -> Load:
    """A message under way on each of the WebSockets (`echoes.py`)."""

    async def measure(bench: Bench, running: Running, amount: int) -> float:
        report = await bench.run_load("echoes", running.port, carrier, amount, WEBSOCKETS)
        return rate(report, requests=amount)

    return Load(name, "messages/s", measure, 1_000, SECONDS)


def hello(connections: int, streams: int) -> Load:
    return h2load(connections, streams, amount=500, body=5, name=f"hello, -c{connections} -m{streams}")


def document(connections: int, streams: int) -> Load:
    name = f"JSON, -c{connections} -m{streams}"
    return h2load(connections, streams, amount=500, body=JSON, path="/json", name=name)


TWO = "trio_h2, 2 workers"

HELLO = (hello(1, 100), hello(10, 10))
ONE_EACH, ALL_ON_ONE = echoes("http1", "HTTP/1.1"), echoes("http2", "HTTP/2")


def shared(connections: int, streams: int) -> tuple[Load, Load]:
    """`/` under a load that has both cores, too; and how much of a core that load takes for itself."""
    options = (f"-c{connections}", f"-m{streams}")

    async def measure(bench: Bench, running: Running, amount: int) -> float:
        completed = await bench.run(bench.both_cores, "h2load", *options, f"-n{amount}", running.url + "/")
        return requests_per_second(completed.text, body=5)

    async def own(bench: Bench, running: Running, amount: int) -> float:
        before, began = os.times(), time.perf_counter()
        await measure(bench, running, amount)
        after, seconds = os.times(), time.perf_counter() - began
        used = after.children_user + after.children_system - before.children_user - before.children_system
        return used / seconds

    name = " ".join(["h2load", *options])
    return Load(name, "requests/s", measure, 500, SECONDS), Load(f"{name} itself", "of a core", own, 10_000)


def without_http2(side: Side) -> Side:
    """granian takes WebSockets over HTTP/1.1 alone."""
    return replace(side, cannot=(ALL_ON_ONE.name,)) if side.name == "granian" else side


SHARED = shared(40, 10)


WORKLOADS = (
    Workload(
        name="asgi",
        about="small GETs answered by Starlette with a text or JSON, by h2load",
        sides=sides("web"),
        loads=(*HELLO, document(1, 100), document(10, 10)),
        baseline="hypercorn-trio",
        targets=(
            *(times(load.name, "hypercorn-trio", 5) for load in HELLO),
            *(times(load.name, "hypercorn-uvloop", 2) for load in HELLO),
        ),
    ),
    Workload(
        name="asgi_bare",
        about="small GETs answered by an ASGI app of two messages and no framework, by h2load",
        sides=sides("hello"),
        loads=HELLO,
        baseline="hypercorn-trio",
    ),
    Workload(
        name="asgi_workers",
        about="small GETs answered by Starlette with a text; one worker and two on two cores, which the load shares",
        sides=(
            server_side("trio_h2 asgi", "web", called="trio_h2", on_both_cores=True),
            server_side("trio_h2 asgi, 2 workers", "web", called=TWO, on_both_cores=True),
        ),
        loads=SHARED,
        baseline="trio_h2",
        targets=(
            Target(
                f"two workers over one under {SHARED[0].name}",
                lambda results: results.ratio(SHARED[0].name, TWO),
                at_least=1.5,
            ),
        ),
    ),
    Workload(
        name="asgi_ws",
        about=(
            f"echoes of 100 octets on {WEBSOCKETS} WebSockets, one message under way on each, "
            "by the harness's own client; over HTTP/1.1 with a connection each, over HTTP/2 (RFC 8441) on one"
        ),
        sides=tuple(map(without_http2, sides("echo"))),
        loads=(ONE_EACH, ALL_ON_ONE),
        baseline="hypercorn-trio",
    ),
)
