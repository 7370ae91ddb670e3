"""What TLS costs: the same loads in the clear and over TLS."""

from __future__ import annotations

from dataclasses import replace

from tests.benchmarks.bench import MIB, server_side
from tests.benchmarks.loads import h2load
from tests.benchmarks.model import OURS, Results, Side, Target, Workload, and_before, times

SMALL = h2load(1, 100, amount=500, body=5, name="small")
BULK = h2load(4, 8, amount=64, body=MIB, unit="MiB/s", name="bulk")

THEIRS, OURS_OVER_TLS = "hypercorn-trio", f"{OURS}, TLS"


def share_of_clear_ratio(load: str) -> Target:
    """Our ratio over TLS, over our ratio in the clear."""

    def figure(results: Results) -> float:
        tls = results.ratio(load, OURS_OVER_TLS, f"{THEIRS}, TLS")
        return tls / results.ratio(load, OURS, THEIRS)

    return Target(f"{load}: ratio over TLS, over the ratio in the clear", figure, at_least=0.8)


def sides(app: str) -> tuple[Side, ...]:
    """In the clear and over TLS."""
    ours = (server_side(OURS, app), server_side(OURS, app, tls=True, called=OURS_OVER_TLS))
    theirs = (server_side(THEIRS, app), server_side(THEIRS, app, tls=True, called=f"{THEIRS}, TLS"))
    return (*and_before(*ours), *theirs)


RAW = replace(
    server_side("raw trio", "bulk", tls=True, called="raw trio, TLS"),
    # It speaks as much of HTTP/1.1 as h2load wants to hear.
    measure=h2load(4, 8, amount=64, body=MIB, options=("--h1",)).measure,
)

WORKLOADS = (
    Workload(
        name="tls_small",
        about="small GETs by h2load -c1 -m100, in the clear and over TLS",
        sides=sides("hello"),
        loads=(SMALL,),
        baseline=THEIRS,
        targets=(share_of_clear_ratio("small"),),
    ),
    Workload(
        name="tls_bulk",
        about=(
            "GETs answered with 1 MiB by h2load -c4 -m8, in the clear and over TLS; raw trio is SSLStream.send_all of "
            "the same bytes, with a line or two of HTTP/1.1"
        ),
        sides=(*sides("bulk"), RAW),
        loads=(BULK,),
        baseline=THEIRS,
        targets=(share_of_clear_ratio("bulk"), times("bulk", "raw trio, TLS", 0.75, side=OURS_OVER_TLS)),
    ),
)
