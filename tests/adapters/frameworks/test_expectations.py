"""The document has the differences that the tests expect, with what decides each."""

from __future__ import annotations

from .expectations import DIFFERENCES
from .sites import ROOT


def test_the_document_has_every_difference_and_no_other() -> None:
    rows = [line.split(" | ") for line in (ROOT / "docs" / "asgi-differences.md").read_text().splitlines()]
    shown = {row[0].removeprefix("| "): row[-1].removesuffix(" |") for row in rows if len(row) == 4}
    del shown["what"], shown["---"]
    assert shown == {what: f'{each.source}: "{each.sentence}"' for what, each in DIFFERENCES.items()}
