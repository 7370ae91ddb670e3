"""Small requests to a server."""

from __future__ import annotations

from tests.benchmarks.bench import NEEDS, nothing, server_side
from tests.benchmarks.loads import h2load, prepared, program
from tests.benchmarks.model import OURS, Side, Workload, ahead_of, and_before, on_python, times

NAMES = ("trio_h2", "hypercorn-trio", "hypercorn-asyncio", "hypercorn-uvloop")

PYTHONS = ("3.13", "3.14")
"""Those that ours runs on besides the one that runs the harness; `--python` says where they are."""

NATIVE = server_side(OURS, "hello")
SIDES = (
    *and_before(NATIVE),
    *(on_python(version, NATIVE) for version in PYTHONS),
    *(server_side(name, "hello") for name in NAMES[1:]),
)
FOR_SCALE = tuple(server_side(name, "hello") for name in ("granian", "h2corn", "node"))
"""Two servers in Rust, which call an ASGI app, and Node's own."""


def bare_h2(kind: str) -> Side:
    """The same requests through h2's server machine in one process, with no I/O at all."""
    return Side("h2 in memory", nothing, measure=program("memory", kind), needs=NEEDS["h2 in memory"])


WORKLOADS = (
    Workload(
        name="hello",
        about="small GETs answered with five bytes, by h2load",
        sides=(*SIDES, *FOR_SCALE, bare_h2("hello")),
        loads=(h2load(1, 100, amount=500, body=5), h2load(10, 10, amount=500, body=5)),
        baseline="hypercorn-trio",
        targets=(
            times("h2load -c1 -m100", "hypercorn-trio", 16),
            times("h2load -c10 -m10", "hypercorn-trio", 10),
            times("h2load -c1 -m100", "granian", 0.85),
            ahead_of("h2load -c1 -m100", "h2 in memory"),
            ahead_of("h2load -c10 -m10", "h2 in memory"),
        ),
    ),
    Workload(
        name="browser",
        about="GETs with twelve header fields, a path of their own and varying cookies",
        sides=(*SIDES, bare_h2("browser")),
        loads=(prepared(1, 100, "browser", amount=500), prepared(10, 10, "browser", amount=500)),
        baseline="hypercorn-trio",
        targets=(
            times("-c1 -m100", "hypercorn-trio", 11),
            times("-c10 -m10", "hypercorn-trio", 7.5),
        ),
    ),
)
