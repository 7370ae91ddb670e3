"""What a recording costs: the requests of `hello`, to a server that keeps a Timeline and to one that does not."""

from __future__ import annotations

from tests.benchmarks.bench import server_side
from tests.benchmarks.loads import h2load
from tests.benchmarks.model import Workload, times

PLAIN, RECORDED = "trio_h2", "trio_h2, recorded"
AT_LEAST = 0.9
"""A recording may cost a tenth."""

WORKLOADS = (
    Workload(
        name="recorded",
        about="small GETs answered with five bytes, by h2load, with a Timeline and without",
        sides=(server_side(PLAIN, "hello"), server_side(RECORDED, "hello")),
        loads=(h2load(1, 100, amount=500, body=5), h2load(10, 10, amount=500, body=5)),
        baseline=PLAIN,
        targets=tuple(times(load, PLAIN, AT_LEAST, side=RECORDED) for load in ("h2load -c1 -m100", "h2load -c10 -m10")),
    ),
)
