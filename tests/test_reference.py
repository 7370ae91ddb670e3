"""The reference has every public name, and its overview no name that there is not."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import trio_h2

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
ADAPTERS = ["asgi", "httpx", "httpx2", "otel", "proxy_protocol"]
MODULES = [
    "trio_h2",
    "trio_h2.sansio",
    "trio_h2.testing",
    "trio_h2.timeline",
    *(f"trio_h2.adapters.{name}" for name in ADAPTERS),
]


def listed() -> list[str]:
    """The names that the pages take docstrings from."""
    pages = "\n".join(page.read_text() for page in sorted(REFERENCE.glob("*.md")))
    return re.findall(r"^\.\. auto\w+:: (\S+)$", pages, re.MULTILINE)


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_listed_once(module: str) -> None:
    here = [name.removeprefix(f"{module}.") for name in listed() if name.rpartition(".")[0] == module]
    elsewhere = set() if module == "trio_h2" else set(trio_h2.__all__)
    assert sorted(here) == sorted(set(importlib.import_module(module).__all__) - elsewhere)


def test_the_overview_names_what_there_is() -> None:
    rows = "\n".join(re.findall(r"^\| .* \|$", (REFERENCE / "index.md").read_text(), re.MULTILINE))
    names = set(re.findall(r"`(\w+)(?:\([^`]*\))?`", rows))
    assert {"connect", "H2Server", "update_priority", "safe_to_retry"} <= names
    classes = [getattr(trio_h2, name) for name in trio_h2.__all__]
    for name in names - set(trio_h2.__all__):
        attribute = any(hasattr(each, name) or f"{name}:" in (each.__doc__ or "") for each in classes)
        assert attribute, f"the overview has {name}, trio_h2 does not"
