"""A recording as a page: one file, with its program, its data and no way to the network.

What peers have said is in it three ways: as JSON, in which no character can end the element that it is in; in
sentences, which are escaped; and by the program, which puts it into the page as text, never as HTML. Beside that the
page's own policy lets no script run but those that are hashed here.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

from .columns import as_columns
from .findings import findings
from .rows import Recording

__all__ = ["as_page"]

SCRIPTS = ("model.js", "scale.js", "bars.js", "curves.js", "details.js", "table.js", "page.js")
"""In this order: each uses those before it."""

LIBRARY = ("uPlot.iife.min.js", "uPlot.min.css")


def as_page(recording: Recording) -> str:
    """The whole page."""
    library, own, style = _library(), _program(), _style()
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(library)} {_hash(own)}",
            f"style-src {_hash(style)}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    parts = {
        "POLICY": policy,
        "STYLE": style,
        "LIBRARY": library,
        "SCRIPT": own,
        "DATA": _json(as_columns(recording)),
        "FACTS": html.escape(_facts(recording)),
        "FINDINGS": _findings(recording),
        "DROPPED": html.escape(_dropped(recording)),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], _file("page.html"))


@cache
def _file(name: str) -> str:
    return files(__package__).joinpath("page", name).read_text(encoding="utf-8")


@cache
def _library() -> str:
    return _file(LIBRARY[0])


@cache
def _program() -> str:
    return '(() => {\n"use strict";\n' + "".join(map(_file, SCRIPTS)) + "})();\n"


@cache
def _style() -> str:
    return _file(LIBRARY[1]) + _file("page.css")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(data: dict[str, Any]) -> str:
    """JSON that may stand in a script element: there `<` begins the end of it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _facts(recording: Recording) -> str:
    counts = (
        _count(len(recording.connections), "connection"),
        _count(len(recording.streams), "stream"),
        _count(len(recording.frames), "frame"),
    )
    return f"{recording.began} · {recording.seconds:.3f} s · " + " · ".join(counts)


def _findings(recording: Recording) -> str:
    found = findings(recording)
    if not found:
        return "<li>No stream waited long for anything.</li>"
    return "\n".join(
        f'<li><button type="button" data-connection="{each.connection}" data-stream="{each.stream}"'
        f' data-began="{each.began}" data-ended="{each.ended}" data-reason="{each.reason}">'
        f"{html.escape(each.text)}</button></li>"
        for each in found
    )


def _dropped(recording: Recording) -> str:
    names = {"credits": "note of credit", "marks": "mark"}
    parts = [_count(count, names.get(name, name.removesuffix("s"))) for name, count in recording.dropped.items()]
    parts = [part.replace("note of credits", "notes of credit") for part in parts]
    return f"Not kept, to bound memory, the oldest: {', '.join(parts)}." if parts else ""
