"""What the documents say of limits is true, and their links lead somewhere."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import attrs
import pytest
import trio

import trio_h2
from tests import peers

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "reference").glob("*.md")),
]
EXAMPLES = ROOT / "docs" / "examples"
RELIABILITY = ROOT / "docs" / "reliability.md"
UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

CONFIG = {field.name: field.default for field in attrs.fields(trio_h2.Config)}
SERVER = {
    name: parameter.default
    for name, parameter in inspect.signature(trio_h2.serve_h2).parameters.items()
    if name.startswith("max_")
}


def limits() -> dict[str, tuple[str, str]]:
    """Unit and default of each limit in reliability.md, as they stand there."""
    section = RELIABILITY.read_text().partition("\n## Limits\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\|[^|]+\|$", section, re.MULTILINE)
    assert len({name for name, _, _ in rows}) == len(rows), "a limit has two rows"
    return {name: (unit.strip(), default.strip()) for name, unit, default in rows}


def says(text: str, default: object) -> bool:
    """Is this how a default is written? What is off is False, a time without end or a rate of nothing."""
    if text in ("on", "off"):
        return default is True if text == "on" else default in (False, float("inf"), 0)
    match = re.fullmatch(r"([\d,.]+)(?: ([KMG]iB))?", text)
    return match is not None and float(match[1].replace(",", "")) * UNITS[match[2] or ""] == default


def test_every_limit_is_named_and_no_other() -> None:
    assert sorted(limits()) == sorted([*CONFIG, *SERVER])


@pytest.mark.parametrize("name", [*CONFIG, *SERVER])
def test_limits_have_their_true_defaults(name: str) -> None:
    unit, default = limits()[name]
    assert says(default, {**CONFIG, **SERVER}[name]), default
    assert unit or isinstance(CONFIG[name], bool), "no unit"


@pytest.mark.parametrize(
    ("text", "default", "true"),
    [
        ("1 MiB", 1 << 20, True),
        ("64 KiB", 64_000, False),
        ("1,000", 1000, True),
        ("0.5", 0.5, True),
        ("off", float("inf"), True),
        ("off", 0, True),
        ("off", 5.0, False),
        ("on", True, True),
        ("on", 1, False),
        ("some", 1, False),
    ],
)
def test_what_counts_as_the_true_default(text: str, default: object, true: bool) -> None:
    assert says(text, default) == true


def headings(document: Path) -> set[str]:
    """The anchors of a document, as GitHub makes them."""
    lines = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def prose(document: Path) -> str:
    """A document without its code."""
    return re.sub(r"^```.*?^```$|`[^`\n]+`", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "document", [*DOCUMENTS, EXAMPLES / "README.md"], ids=lambda document: str(document.relative_to(ROOT))
)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists(), target
        assert not anchor or anchor in headings(linked), target


def test_every_example_is_listed() -> None:
    listed = re.findall(r"\[(\w+\.py)\]\(\1\)", (EXAMPLES / "README.md").read_text())
    assert sorted(listed) == sorted(path.name for path in EXAMPLES.glob("*.py"))


def test_the_readme_renders_outside_the_repository() -> None:
    """A package index shows it alone, and takes no HTML: links lead to the network, or to a heading of its own.

    Its picture is in the repository; elsewhere the words beside it stand in its place.
    """
    text = re.sub(r"!\[[^\]]+\]\(docs/images/[\w-]+\.png\)", "", prose(ROOT / "README.md"))
    targets = re.findall(r"\]\(([^)]*)\)|\]:\s*(\S+)", text)
    assert targets
    for target in map("".join, targets):
        assert target.startswith(("https://", "#")), target
    assert "<" not in text


def test_the_tree_in_the_architecture_has_every_file() -> None:
    tree = (ROOT / "docs" / "architecture.md").read_text().partition("\n```\ntrio_h2/\n")[2].partition("```")[0]
    files = {path.name for path in (ROOT / "trio_h2").rglob("*.py")}
    assert set(re.findall(r"\w+\.py", tree)) == files


def test_contributors_are_sent_to_files_that_are_there() -> None:
    table = (
        (ROOT / "docs" / "contributing.md").read_text().partition("\n## Where a change goes\n")[2].partition("\n## ")[0]
    )
    named = set(re.findall(r"`([\w/.]+\.(?:py|md))`", table))
    assert len(named) > 30
    assert [name for name in named if not (ROOT / name).exists() and not (ROOT / "trio_h2" / name).exists()] == []


async def test_the_example_of_events_works(tmp_path: Path) -> None:
    """Of servers.md: its handler ends when its client does, and is told why."""
    section = (ROOT / "docs" / "servers.md").read_text().partition("\n## When a handler ends\n")[2]
    port = peers.free_port()
    (tmp_path / "events.py").write_text(
        section.partition("```python\n")[2].partition("```")[0].replace("8080", str(port))
    )
    argv = [sys.executable, "-W", "error", str(tmp_path / "events.py")]
    async with peers.run_server("the example", argv, port=port, scheme="http", log=tmp_path / "log") as example:
        async with trio_h2.connect(f"http://localhost:{port}") as connection:
            async with connection.stream("GET", "/") as stream:
                assert (await stream.response()).headers["content-type"] == "text/event-stream"
                body = b""
                while b"id: 1\n" not in body:
                    body += await stream.receive_some()
                assert body.startswith(b"id: 0\ndata: tick\n\n")
            with trio.fail_after(60):
                while "with reason 'stream 1 was reset by the peer: CANCEL'" not in example.output():
                    await connection.ping()
