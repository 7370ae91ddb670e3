"""A recording as JSON lines: a line for each row, for other programs to read, and to be made a page of later."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_args, get_type_hints

from .rows import REASONS, Connection, Credit, Frame, Mark, Recording, Stream, Wait

__all__ = ["as_json_lines", "from_json_lines"]

FORMAT = "trio_h2 timeline"
VERSION = 1

ROWS: dict[str, tuple[Callable[..., Any], str]] = {
    "connection": (Connection, "connections"),
    "stream": (Stream, "streams"),
    "total": (Wait, "totals"),
    "wait": (Wait, "waits"),
    "frame": (Frame, "frames"),
    "credit": (Credit, "credits"),
    "mark": (Mark, "marks"),
}
"""By the word that begins a line: its row, and the list of a recording that has them."""

WORDS = {
    ("connection", "side"): ("client", "server"),
    ("total", "reason"): REASONS,
    ("wait", "reason"): REASONS,
    ("credit", "what"): ("given", "received", "taken"),
    ("mark", "what"): (
        "round trip",
        "goaway sent",
        "goaway received",
        "initial window sent",
        "initial window received",
    ),
}
"""Fields that take no other text."""

MAX_TEXT = 1000
MAX_NUMBER = 2**53
"""Larger ones a page would not read as they are."""


def as_json_lines(recording: Recording) -> Iterator[str]:
    """The lines, each with its end."""
    head = {"format": FORMAT, "version": VERSION, "began": recording.began, "seconds": recording.seconds}
    yield json.dumps({**head, "dropped": recording.dropped}) + "\n"
    for kind, (_, name) in ROWS.items():
        for row in getattr(recording, name):
            yield json.dumps({"kind": kind, **row._asdict()}) + "\n"


def from_json_lines(lines: Iterable[str]) -> Recording:
    """The recording that these lines are of. Whoever wrote them is not trusted.

    Raises:
        ValueError: they are not of one; the message says which line, and what is wrong with it.
    """
    numbered = enumerate(lines, 1)
    _, first = next(numbered, (1, ""))
    began, seconds, dropped = _head(first)
    found: dict[str, list[Any]] = {name: [] for _, name in ROWS.values()}
    for number, line in numbered:
        if line.strip():
            kind, row = _row(number, line)
            found[ROWS[kind][1]].append(row)
    recording = Recording(began=began, seconds=seconds, dropped=dropped, **found)
    _check_references(recording)
    return recording


def _loaded(number: int, line: str) -> dict[str, Any]:
    try:
        loaded = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ValueError(f"line {number} is no JSON") from None
    if not isinstance(loaded, dict):
        raise ValueError(f"line {number} is no JSON object")
    return loaded


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _head(line: str) -> tuple[str, float, dict[str, int]]:
    try:
        head = _loaded(1, line)
    except ValueError:
        head = {}
    if head.get("format") != FORMAT:
        raise ValueError("it is no recording of a timeline")
    if head.get("version") != VERSION:
        raise ValueError(
            f"it is a recording of version {str(head.get('version'))[:50]}, and this reads version {VERSION}"
        )
    began, seconds, dropped = head.get("began"), head.get("seconds"), head.get("dropped")
    if not (_is(str, began) and _is(float, seconds) and isinstance(dropped, dict)):
        raise ValueError("line 1 has no beginning, or no length")
    if not all(_is(int, count) and _is(str, name) for name, count in dropped.items()):
        raise ValueError("line 1 has a count that is no number")
    return str(began), float(seconds), dropped  # type: ignore[arg-type]


def _row(number: int, line: str) -> tuple[str, Any]:
    values = _loaded(number, line)
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in ROWS:
        raise ValueError(f"line {number} is of an unknown kind: {str(kind)[:50]!r}")
    make, _ = ROWS[kind]
    checks = CHECKS[kind]
    if values.keys() != checks.keys():
        raise ValueError(f"line {number} has not the fields of a {kind}")
    for name, check in checks.items():
        if not check(values[name]):
            raise ValueError(f"line {number} has a {name} that cannot be: {str(values[name])[:50]!r}")
    return kind, make(**values)


def _is(type_: type, value: object) -> bool:
    """Whether a value is of a field's type, and of a size that a page takes."""
    if type_ is str:
        return isinstance(value, str) and len(value) <= MAX_TEXT
    if type_ is bool or isinstance(value, bool):
        return type_ is bool and isinstance(value, bool)
    if type_ is int:
        return isinstance(value, int) and abs(value) < MAX_NUMBER
    if type_ is float:
        return isinstance(value, int | float) and 0 <= value < MAX_NUMBER
    return value is None


def _check_of(kind: str, name: str, hint: Any) -> Callable[[object], bool]:
    words = WORDS.get((kind, name))
    if words is not None:
        return words.__contains__
    types = get_args(hint) or (hint,)
    return lambda value: any(_is(type_, value) for type_ in types)


CHECKS = {
    kind: {name: _check_of(kind, name, hint) for name, hint in get_type_hints(row).items()}
    for kind, (row, _) in ROWS.items()
}


def _check_references(recording: Recording) -> None:
    """Rows are of connections and streams that are there, each once."""
    numbers = [row.number for row in recording.connections]
    streams = [(row.connection, row.stream) for row in recording.streams]
    if len(set(numbers)) < len(numbers) or len(set(streams)) < len(streams):
        raise ValueError("it has a connection or a stream twice")
    known = set(numbers)
    for name in ("streams", "totals", "waits", "frames", "credits", "marks"):
        for row in getattr(recording, name):
            if row.connection not in known:
                raise ValueError(f"one of its {name} is of connection {row.connection}, which it has not")
