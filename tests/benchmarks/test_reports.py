"""What the harness prints and writes: tables, the page, profiles."""

from __future__ import annotations

import collections
import json
import re
from pathlib import Path

import pytest

from tests.benchmarks import bench, docs, profile, report
from tests.benchmarks.example import FIGURES, results
from tests.benchmarks.model import Results, Side, Target, times
from tests.benchmarks.plot import draw
from tests.benchmarks.workloads import find_workloads


@pytest.mark.parametrize(
    ("figure", "text"),
    [(0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (12_345.6, "12,346")],
)
def test_numbers(figure: float, text: str) -> None:
    assert report.number(figure) == text


TARGETS = (times("one", "peer", 5), times("one", "peer", 8), times("one", "other", 1))
BEFORE_AND_AFTER = tuple(Side(name, bench.nothing) for name in ("trio_h2", "trio_h2, before", "peer"))
WITH_BEFORE = {**FIGURES, ("one", "trio_h2, before"): [50.0, 60.0, 70.0]}


def cells(line: str) -> list[str]:
    return re.split(r"  +", line.strip())


def test_table() -> None:
    lines = report.table(results(FIGURES, targets=TARGETS)).splitlines()
    assert lines[0] == "example: an example (3 rounds)"
    assert cells(lines[2]) == ["one", "trio_h2", "120 requests/s", "100 to 200", "6.00", "4.00 to 10.0"]
    assert cells(lines[3]) == ["peer", "20.0 requests/s", "10.0 to 30.0", "1.00", "1.00 to 1.00"]
    assert cells(lines[4]) == ["many", "trio_h2", "90.0 requests/s", "60.0 to 90.0", "-", "-"]
    assert list(map(cells, lines[6:])) == [
        ["target", "wanted", "reached", "spread", "short by"],
        ["5 x peer under one", "at least 5", "6.00", "4.00 to 10.0", "-"],
        ["8 x peer under one", "at least 8", "6.00", "4.00 to 10.0", "25%"],
    ]


def test_targets_before_and_after() -> None:
    taken = results(WITH_BEFORE, targets=TARGETS, sides=BEFORE_AND_AFTER)
    assert report.target_rows([results({}), taken]) == [
        ("workload", "target", "before", "spread", "wanted", "reached", "spread", "short by"),
        ("example", "5 x peer under one", "3.00", "2.00 to 5.00", "at least 5", "6.00", "4.00 to 10.0", "-"),
        ("example", "8 x peer under one", "3.00", "2.00 to 5.00", "at least 8", "6.00", "4.00 to 10.0", "25%"),
    ]
    assert report.before_rows([taken])[1:] == [
        (
            *("example", "one", "trio_h2", "60.0 requests/s", "50.0 to 70.0"),
            *("120 requests/s", "100 to 200", "2.00", "2.00 to 2.86"),
        )
    ]


def test_a_target_that_a_side_did_not_see_to_the_end() -> None:
    taken = results({("one", "trio_h2"): [10.0, 30.0], ("one", "peer"): [2.0]})
    assert report.spread_of(TARGETS[0], taken) == (10, 5, 5)
    assert report.spread_of(TARGETS[2], taken) is None


def test_at_most() -> None:
    target = Target("memory", lambda results: results.median("one", "trio_h2"), at_most=96)
    assert report.target_rows([results(FIGURES, targets=(target,))], named=False)[1] == (
        *("memory", "at most 96", "120", "100 to 200", "25%"),
    )


def test_nothing_was_measured(tmp_path: Path) -> None:
    taken = results({}, targets=TARGETS)
    taken.missing.update(dict.fromkeys(("trio_h2", "peer", "other"), "not installed"))
    lines = report.table(taken).splitlines()
    assert lines[0] == "example: an example (0 rounds)"
    assert lines[-1] == "  other is missing: not installed"
    assert "- peer is missing: not installed" in report.markdown(taken)
    assert report.summary([taken]) == ""


@pytest.mark.parametrize("name", find_workloads())
def test_any_side_may_be_missing(name: str, tmp_path: Path) -> None:
    """In tables, on the page and in the picture."""
    pytest.importorskip("matplotlib")
    chosen = find_workloads()[name]
    loads = [each.name for each in chosen.loads]
    for sides in ([chosen.baseline], [side.name for side in chosen.sides if side.name != chosen.baseline], []):
        taken = Results(chosen, {(each, side): [1.0] for each in loads for side in sides})
        assert name in report.table(taken)
        assert report.markdown(taken).startswith(f"### {name}")
        report.summary([taken])
    draw([taken, Results(chosen, {(loads[0], chosen.baseline): [1.0]})], tmp_path / "picture.svg")


def test_table_of_a_series() -> None:
    text = report.table(results(FIGURES, series="one"))
    assert "x first step" in text
    assert "0.750" in text


def test_markdown() -> None:
    text = report.markdown(results(FIGURES, targets=TARGETS))
    assert text.startswith("### example\n\nAn example. Taken on 2020-02-02, 3 rounds.\n\n| load | side | median |")
    assert "| one | trio_h2 | 120 requests/s | 100 to 200 | 6.00 | 4.00 to 10.0 |" in text
    assert "| target | wanted | reached | spread | short by |\n| --- | ---: | ---: | ---: | ---: |\n" in text
    assert text.endswith("\n| 8 x peer under one | at least 8 | 6.00 | 4.00 to 10.0 | 25% |")


PAGE = (
    "# Title\n\n<!-- targets: begin -->\n<!-- targets: end -->\n\n"
    "<!-- results: begin -->\nold\n<!-- results: end -->\n\nThe end.\n"
)


def test_page_section_is_replaced() -> None:
    assert docs.replaced(PAGE, "results", "new") == PAGE.replace("old", "\nnew\n")
    with pytest.raises(ValueError, match="profile: begin"):
        docs.replaced(PAGE, "profile", "new")


def test_page_keeps_what_was_not_measured_anew(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    first = results(WITH_BEFORE, sides=BEFORE_AND_AFTER, targets=TARGETS)
    second = results(FIGURES, name="second", series="one")
    known = {taken.workload.name: taken.workload for taken in (first, second)}
    docs.write_results([second], known, page)
    docs.write_results([first], known, page)
    text = page.read_text()
    assert text.index("### example") < text.index("### second")
    assert "| example | 5 x peer under one | 3.00 | 2.00 to 5.00 | at least 5 | 6.00 |" in text
    assert "| example | one | trio_h2 | 60.0 requests/s | 50.0 to 70.0 | 120 requests/s |" in text
    assert text.index("| workload | target |") < text.index("### example")
    assert text.count("Some Python on some machine.") == 1
    assert "old" not in text
    assert "](page.svg)" in text
    assert (tmp_path / "page.svg").read_text().rstrip().endswith("</svg>")
    assert docs.from_json(json.loads((tmp_path / "page.json").read_text()), known) == [first, second]


# Profiles ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("/any/where/trio_h2/protocol/codec.py", "trio_h2/protocol/codec.py"),
        ("/any/site-packages/trio/_core/_run.py", "trio"),
        ("/any/site-packages/trio/_socket.py", "send and receive (system calls)"),
        ("/any/site-packages/trio/_core/_io_epoll.py", "epoll"),
        ("/any/where/trio_h2/actors/plain_sockets.py", "send and receive (system calls)"),
        ("/any/where/tests/benchmarks/servers.py", "the handler or caller"),
        ("<attrs generated init trio_h2.events.Event>", "attrs"),
        ("/usr/lib/python3.11/contextlib.py", "the standard library"),
    ],
)
def test_parts_of_a_profile(file: str, name: str) -> None:
    assert profile.part(file) == name


SAMPLES = collections.Counter(
    {
        ("/x/trio_h2/a.py", "f"): 6,
        ("/x/trio_h2/a.py", "g"): 2,
        ("/x/site-packages/trio/_core/_run.py", "h"): 4,
        ("/x/site-packages/outcome/_impl.py", "i"): 4,
        ("/x/site-packages/trio/_socket.py", "send"): 4,
    }
)


def test_profile_text() -> None:
    profiled = profile.Profiled("a test", "request", SAMPLES, seconds=0.5, requests=1000)
    first, *lines = profiled.text().splitlines()
    assert first == "a test: 500.0 µs of processor time for one request, of 1,000; 20 samples"
    assert lines[0].split() == ["40.0%", "200.0", "µs", "trio_h2/a.py"]
    assert lines[-1].split()[:2] == ["10.0%", "50.0"]


def test_profile_by_owner() -> None:
    ours = profile.Profiled("a test", "request", SAMPLES, seconds=0.5, requests=1000)
    other = profile.Profiled("another", "body", collections.Counter({("/x/trio_h2/b.py", "f"): 1}), 1.0, 1000)
    assert profile.owner_rows([ours, other]) == [
        ("owner", "a test", "another"),
        ("all of it", "500.0 µs for a request", "1,000.0 µs for a body"),
        ("if there were trio and the kernel alone", "3,333 requests/s at most", "-"),
        ("trio", "40.0%, 200.0 µs", "0.0%, 0.0 µs"),
        ("hpack", "0.0%, 0.0 µs", "0.0%, 0.0 µs"),
        ("hyperframe", "0.0%, 0.0 µs", "0.0%, 0.0 µs"),
        ("the kernel", "20.0%, 100.0 µs", "0.0%, 0.0 µs"),
        ("attrs", "0.0%, 0.0 µs", "0.0%, 0.0 µs"),
        ("the standard library", "0.0%, 0.0 µs", "0.0%, 0.0 µs"),
        ("trio_h2", "40.0%, 200.0 µs", "100.0%, 1,000.0 µs"),
        ("of that b.py", "0.0%, 0.0 µs", "100.0%, 1,000.0 µs"),
        ("of that a.py", "40.0%, 200.0 µs", "0.0%, 0.0 µs"),
    ]
