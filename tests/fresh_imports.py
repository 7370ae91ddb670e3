"""Modules that are to be imported anew in a test, as if they had never been."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

__all__ = ["forget"]


def forget(monkeypatch: pytest.MonkeyPatch, is_meant: Callable[[str], bool]) -> None:
    """Take the modules of such names out until the test ends.

    Their packages, too, get back what they had: an import puts the new module into its package under its name, and who
    looks there would find another one than who has imported it before.
    """
    for name in [name for name in sys.modules if is_meant(name)]:
        package, _, child = name.rpartition(".")
        if package in sys.modules and hasattr(sys.modules[package], child):
            monkeypatch.setattr(sys.modules[package], child, getattr(sys.modules[package], child))
        monkeypatch.delitem(sys.modules, name)
