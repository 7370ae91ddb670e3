"""The workloads there are: every module here has a tuple of them, `WORKLOADS`."""

from __future__ import annotations

import importlib
import pkgutil

from tests.benchmarks.model import Workload

ORDER = ("requests", "bodies", "clients", "pingpong", "tls", "link", "growth", "inmemory", "asgi")
"""The modules that come first, in this order; the others follow by name."""


def find_workloads() -> dict[str, Workload]:
    """All workloads by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    names.sort(key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return {workload.name: workload for module in modules for workload in module.WORKLOADS}
