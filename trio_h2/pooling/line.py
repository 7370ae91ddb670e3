"""`Line`: in which order requests wait for connections."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain
from typing import Generic, TypeVar

__all__ = ["Line"]

T = TypeVar("T")


class Line(Generic[T]):
    """Those who wait, in order; any of them may leave, at the same cost however many there are.

    Who has had a turn, and has to wait again, is in front of all who have had none.

    Attributes:
        count: how many they are. Every request asks, so it is no `__len__`.
    """

    def __init__(self) -> None:
        self.count = 0
        self._again: OrderedDict[T, None] = OrderedDict()
        self._new: OrderedDict[T, None] = OrderedDict()

    def __iter__(self) -> Iterator[T]:
        return chain(self._again, self._new)

    @property
    def new(self) -> list[T]:
        """Those who have had none, in order."""
        return list(self._new)

    def still_new(self, turns: list[T]) -> list[T]:
        """Those of them who wait and have had none."""
        return [turn for turn in turns if turn in self._new]

    def join(self, turn: T, *, again: bool) -> None:
        """It waits from now on; `again` if it has had a turn."""
        (self._again if again else self._new)[turn] = None
        self._recount()

    def leave(self, turn: T) -> None:
        """It waits no more, if it did."""
        self._again.pop(turn, None)
        self._new.pop(turn, None)
        self._recount()

    def next(self) -> T:
        """Whose turn it is; it waits no more."""
        turn, _ = (self._again or self._new).popitem(last=False)
        self._recount()
        return turn

    def _recount(self) -> None:
        self.count = len(self._again) + len(self._new)
