"""Which of the options of `serve` that exclude each other count: those from the source that comes first."""

from __future__ import annotations

from typing import Any

import attrs
import click
from click.core import ParameterSource

from .serve_options import ServeOptions

__all__ = ["without_overridden"]

ALTERNATIVES = (
    (("host", "port"), ("unix", "unix_mode"), ("fd",)),
    (("self_signed",), ("certfile", "keyfile")),
    (("workers",), ("reload",)),
)


def without_overridden(context: click.Context, values: dict[str, Any]) -> dict[str, Any]:
    """The values without those that are overridden by another way of saying the same from a source that comes first.

    `--unix` of the command line counts before `port` of a file. Where one source says both, both stay.
    """
    values = dict(values)
    for ways in ALTERNATIVES:
        said = {names: source for names in ways if (source := _first_source(context, values, names)) is not None}
        for names, source in said.items():
            if source > min(said.values()):
                values.update((name, _default(name)) for name in names)
    return values


def _first_source(context: click.Context, values: dict[str, Any], names: tuple[str, ...]) -> ParameterSource | None:
    """Where the first of these comes from that anybody has said; None if nobody has."""
    sources = [context.get_parameter_source(name) for name in names if values[name] != _default(name)]
    return min((source for source in sources if source is not None), default=None)


def _default(name: str) -> Any:
    return attrs.fields_dict(ServeOptions)[name].default
