"""What TLS costs: the same loads in the clear and over TLS."""

from __future__ import annotations

from tests.benchmarks.bench import MIB, server_side
from tests.benchmarks.loads import h2load
from tests.benchmarks.model import Load, Results, Target, Workload

SMALL = h2load(1, 100, amount=500, body=5, name="small")
BULK = h2load(4, 8, amount=64, body=MIB, unit="MiB/s", name="bulk")

NAMES = ("trio_h2", "hypercorn-trio")
APPS = {"small": "hello", "bulk": "bulk"}


def share_of_clear_ratio(load: str) -> Target:
    """Our ratio over TLS, over our ratio in the clear."""

    def figure(results: Results) -> float:
        tls = results.ratio(load, "trio_h2, TLS", "hypercorn-trio, TLS")
        return tls / results.ratio(load, "trio_h2", "hypercorn-trio")

    return Target(f"{load}: ratio over TLS, over the ratio in the clear", figure, at_least=0.8)


def workload(load: Load, about: str) -> Workload:
    app = APPS[load.name]
    return Workload(
        name=f"tls_{load.name}",
        about=about,
        sides=tuple(
            server_side(name, app, tls=tls, called=f"{name}, TLS" if tls else None)
            for name in NAMES
            for tls in (False, True)
        ),
        loads=(load,),
        baseline="hypercorn-trio",
        targets=(share_of_clear_ratio(load.name),),
    )


WORKLOADS = (
    workload(SMALL, "small GETs by h2load -c1 -m100, in the clear and over TLS"),
    workload(BULK, "GETs answered with 1 MiB by h2load -c4 -m8, in the clear and over TLS"),
)
