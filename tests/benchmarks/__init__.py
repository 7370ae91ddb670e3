"""HTTP/2 stacks side by side, on the same core, under the same load: `python -m tests.benchmarks [name...]`.

A `Workload` has `Side`s, the programs compared, `Load`s, what each of them is put under, and `Target`s, what must
come out (`model.py`). The workloads are the `WORKLOADS` tuples of the modules in `workloads/`; a new module there is
found by itself. A side that needs no server is `Side(name, nothing, measure=program(MODULE, ...))` (`bench.py` and
`loads.py`).

Each side is a process of its own pinned to one core; the load, or whatever the side talks to, is another one pinned to
a second core. The rounds are interleaved: every round starts each side anew, and the sides take turns at going first,
so that what else the machine does falls on all of them alike. A figure is taken only from a load that succeeded
wholly: one failed request, or one byte too few, refuses it.
"""
