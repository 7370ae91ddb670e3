"""Options that take a time, as curl's do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

__all__ = ["seconds_option"]


def _limit(context: click.Context, parameter: click.Parameter, seconds: float) -> float:
    if math.isnan(seconds) or seconds < 0:
        raise click.BadParameter(f"it must be 0 seconds, for no limit, or more, not {seconds:g}")
    return seconds or math.inf


def seconds_option(*names: str, default: float, help: str) -> Callable[[Any], Any]:
    """An option that takes a time, which 0 makes endless."""
    return click.option(*names, type=float, default=default, callback=_limit, metavar="SECONDS", help=help)
