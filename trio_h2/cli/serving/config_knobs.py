"""Every knob of `trio_h2.Config` as an option: its name, its default, and the first sentence of what it says of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import attrs
import click

import trio_h2

from .serve_option import ServeOption

__all__ = ["KNOBS", "knob_options"]

KNOBS = tuple(field.name for field in attrs.fields(trio_h2.Config))

SENTENCE = re.compile(r"(.+?[.;])(?= |$)")
"""Of a description, its first part: what comes after it says why, and how much that is."""

SECTION = re.compile(r"(?P<title>[A-Z][^:(,;]*).*:")
KNOB = re.compile(r" {4}(?P<name>\w+): (?P<text>.*)")


def knob_options() -> Iterator[ServeOption]:
    """The options, in the order of Config's fields and under the headings of its docstring."""
    described = dict(_descriptions())
    for field in attrs.fields(trio_h2.Config):
        title, text = described.get(field.name, ("Knobs", ""))
        yield ServeOption(
            f"HTTP/2: {title[:1].lower()}{title[1:]}",
            _declaration(field.name, field.default),
            type=type(field.default),
            default=field.default,
            show_default=True,
            callback=_check,
            help=text[:1].upper() + text[1:],
            **({} if isinstance(field.default, bool) else {"metavar": "N"}),
        )


def _declaration(name: str, default: object) -> str:
    option = name.replace("_", "-")
    return f"--{option}/--no-{option}" if isinstance(default, bool) else f"--{option}"


def _check(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Have Config judge one of its knobs."""
    name = str(parameter.name)
    try:
        trio_h2.Config(**{name: value})
    except ValueError as error:
        raise click.BadParameter(str(error).replace(f"Config.{name} ", "it ", 1)) from error
    return value


def _descriptions() -> Iterator[tuple[str, tuple[str, str]]]:
    """Of every knob its name, the title of its section, and what its docstring says first."""
    title = ""
    entries: dict[str, tuple[str, list[str]]] = {}
    lines: list[str] = []
    for line in inspect.cleandoc(trio_h2.Config.__doc__ or "").splitlines():
        if knob := KNOB.fullmatch(line):
            lines = [knob["text"]]
            entries[knob["name"]] = title, lines
        elif line.startswith(" "):
            lines.append(line.strip())
        elif (section := SECTION.fullmatch(line)) and line != "Attributes:":
            title = section["title"].strip()
    for name, (found, text) in entries.items():
        sentence = SENTENCE.match(" ".join(text))
        yield name, (found, sentence[1].rstrip(".;") + "." if sentence else " ".join(text))
