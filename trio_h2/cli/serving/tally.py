"""What servers have counted, added up: mappings by the names of `trio_h2.ServerStatistics`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

import trio_h2

__all__ = ["Counts", "Tally", "counted", "summed"]

Counts = Mapping[str, Any]
"""A number for each name, or numbers by a label's values."""

OPEN = "_open"
"""How the names of what is open now end: all others only grow."""


def counted(server: trio_h2.H2Server) -> dict[str, Any]:
    """What a server has counted, as JSON has it."""
    return attrs.asdict(server.statistics())


def summed(parts: Iterable[Counts]) -> dict[str, Any]:
    """The sum of them."""
    total: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            if isinstance(value, Mapping):
                by_label = total.setdefault(name, {})
                for label, number in value.items():
                    by_label[label] = by_label.get(label, 0) + number
            else:
                total[name] = total.get(name, 0) + value
    return total


class Tally:
    """The counters of those that have gone, so that sums never fall. Owner of every field: this object.

    Attributes:
        counts: of all of them.
    """

    def __init__(self) -> None:
        self.counts: dict[str, Any] = {}

    def add(self, counts: Counts) -> None:
        """One has gone, and these were its last; of it nothing is open any more."""
        grown = {name: value for name, value in counts.items() if not name.endswith(OPEN)}
        self.counts = summed([self.counts, grown])
