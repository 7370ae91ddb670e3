"""Servers side by side, on the same core, under the same load: `python -m tests.benchmarks [name...]`.

A `Workload` has `Side`s, the programs compared, and `Load`s, what each of them is put under (`model.py`;
`workloads.py` lists them). Each side is a process of its own pinned to one core, each load another one pinned
to a second core. The rounds are interleaved: every round starts each side anew, and the sides take turns at
going first, so that what else the machine does falls on all of them alike. A figure is taken only from a load
that succeeded wholly; one failed request refuses it.
"""
