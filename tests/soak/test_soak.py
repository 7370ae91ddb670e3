"""A short soak holds, and the soak itself sees what it has to see. Long ones: `python -m tests.soak`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.soak.bystander import Histogram
from tests.soak.faults import MEMORY, Faults
from tests.soak.memory import BARS, Sample, trends
from tests.soak.report import Report, summary
from tests.soak.supervisor import soak
from tests.soak.wire import Started, pieces, way

SECONDS = 30 if os.environ.get("CI") else 15


@pytest.mark.skipif(sys.platform != "linux", reason="the soak looks into /proc")
def test_a_soak_holds() -> None:
    """Only what does not depend on the machine's speed: memory and latency are for runs by hand."""
    report = soak(SECONDS, seed=os.environ.get("TRIO_H2_SOAK_SEED", "1"), connections=50).as_json()
    held = report["checks"]
    timed = {"memory flat", "shutdowns in time"}
    assert all(value for check, value in held.items() if check not in timed), summary(report)
    assert report["requests"]["completed"] > 100, summary(report)


def test_the_command_says_what_it_takes() -> None:
    command = [sys.executable, "-m", "tests.soak", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]).stdout
    assert all(option in shown for option in ("--seconds", "--seed", "--connections", "--json"))


# Which fault explains a failure


def cut_link() -> Faults:
    faults = Faults()
    faults.opened(name="5000-1", server=1, at=10)
    faults.hit("5000-1", "cut by reset", at=20)
    return faults


def test_a_cut_explains_what_fails_after_it_on_its_connection() -> None:
    assert cut_link().explain("5000-1", 20.1) == "cut by reset"


@pytest.mark.parametrize(("name", "at"), [("5000-1", 19.9), ("5001-1", 20.1), ("5000-1", 9.0)])
def test_a_cut_explains_nothing_before_it_and_nothing_elsewhere(name: str, at: float) -> None:
    faults = cut_link()
    faults.opened(name="5001-1", server=1, at=10)
    assert faults.explain(name, at) is None


def test_a_clients_port_that_leads_to_both_ports_of_the_proxy_is_two_connections() -> None:
    faults = Faults()
    faults.opened(way(5000, 1), server=1, at=10)
    faults.opened(way(5000, 2), server=2, at=11)
    faults.servers[1].killed = 20
    assert [faults.explain(way(5000, port), 21) for port in (1, 2)] == ["server killed", None]


def test_a_name_that_is_used_again_is_another_connection() -> None:
    faults = cut_link()
    faults.closed("5000-1", at=21)
    faults.opened("5000-1", server=1, at=30)
    assert faults.explain("5000-1", 31) is None


def test_a_killed_server_explains_what_fails_on_its_connections_alone() -> None:
    faults = Faults()
    faults.opened("5000-1", server=1, at=10)
    faults.opened("5001-1", server=2, at=10)
    faults.servers[1].killed = 20
    assert [faults.explain(name, 21) for name in ("5000-1", "5001-1")] == ["server killed", None]
    assert faults.explain("5000-1", 19) is None


def test_a_shutdown_explains_only_what_fails_when_its_grace_runs_out() -> None:
    faults = Faults()
    faults.opened("5000-1", server=1, at=10)
    faults.servers[1].shutdown, faults.servers[1].grace = 20, 3
    assert [faults.explain("5000-1", at) for at in (21, 22.3, 23)] == [None, None, "grace ran out"]


@pytest.mark.parametrize("refusal", ["server down", "reset in the backlog"])
def test_a_refusal_is_a_fault_only_of_a_server_that_was_told_to_end(refusal: str) -> None:
    faults = Faults()
    faults.opened("5000-1", server=1, at=10)
    faults.hit("5000-1", refusal, at=10)
    assert faults.explain("5000-1", 11) is None
    faults.servers[1].shutdown = 9
    assert faults.explain("5000-1", 11) == refusal


def test_what_a_server_says_of_a_connection_is_kept_with_its_link() -> None:
    faults = cut_link()
    faults.joined("5000-1", onward=7000)
    faults.said(server=2, onward=7000, reason="of another server's")
    faults.said(server=1, onward=7000, reason="idle")
    link = faults.link("5000-1", 11)
    assert link is not None
    assert (link.onward, link.reason) == (7000, "idle")


def test_what_ended_long_ago_is_forgotten() -> None:
    faults = cut_link()
    faults.closed("5000-1", at=20)
    faults.servers[1].killed = 20
    faults.opened("5001-1", server=2, at=10)
    faults.forget(20 + MEMORY + 1)
    assert list(faults.links) == ["5001-1"]
    assert list(faults.servers) == []


# Memory


def samples(growth: float, noise: float = 0) -> list[Sample]:
    """A hundred samples in which everything grows by so much of its bar, and swings by so much of it."""
    return [
        Sample(at, *(int(bar * (1 + growth * at / 99 + noise * (-1) ** at)) for bar in BARS.values()))
        for at in range(100)
    ]


def flat(found: dict[str, Any]) -> set[bool | None]:
    return {trend.flat for trend in found.values()}


def test_memory_that_swings_is_flat_and_memory_that_grows_is_not() -> None:
    assert flat(trends(samples(growth=0, noise=0.5), warm=0)) == {True}
    assert flat(trends(samples(growth=1.5, noise=0.5), warm=0)) == {False}


def test_the_warm_up_does_not_count() -> None:
    grown_early = samples(growth=3)[:50] + [Sample(50 + at, *([0] * 3)) for at in range(50)]
    assert flat(trends(grown_early, warm=50)) == {True}


def test_a_few_samples_tell_nothing() -> None:
    assert flat(trends(samples(growth=9), warm=90)) == {None}
    assert trends([], warm=0) == {}


# The report


def good_report() -> Report:
    report = Report(seed="1", seconds=60, connections=1)
    report.made["client 0"] = Counter(requests=4, completed=2, failed=1, cancelled=1)
    report.failure({"request": "small"}, "server killed")
    report.ended("server 0", took=1.2, grace=1.0, alive=0, tasks_left=0, limits_hit={})
    return report


def test_a_report_of_a_run_in_which_all_went_well_holds() -> None:
    report = good_report().as_json()
    assert report["held"], summary(report)
    assert "BROKEN" not in summary(report)


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (lambda report: report.failure({"request": "small"}, None), "no request lost that no fault hit"),
        (lambda report: report.made["client 0"].update(requests=1), "every request accounted for"),
        (lambda report: report.made.clear(), "every request accounted for"),
        (lambda report: report.broken("a wrong body"), "every answer right"),
        (lambda report: report.noise("Traceback (most recent call last):"), "nothing on standard error"),
        (lambda report: report.ended("c", took=0, grace=0, alive=0, tasks_left=1, limits_hit={}), "no task left"),
        (lambda report: report.ended("s", took=0, grace=0, alive=1, tasks_left=0, limits_hit={}), "shutdowns in time"),
        (
            lambda report: report.ended("s", took=0, grace=0, alive=0, tasks_left=0, limits_hit={"max_resets": 1}),
            "no limit reached",
        ),
        (
            lambda report: report.ended("s", took=2, grace=1, alive=0, tasks_left=0, limits_hit={}),
            "shutdowns in time",
        ),
        (lambda report: grow(report), "memory flat"),
    ],
)
def test_anything_that_is_wrong_breaks_its_check(spoil: Any, check: str) -> None:
    report = good_report()
    spoil(report)
    found = report.as_json()
    assert [name for name, held in found["checks"].items() if not held] == [check]
    assert not found["held"]
    assert f"BROKEN: {check}" in summary(found)


def grow(report: Report) -> None:
    report.samples["client 0"] = samples(growth=2)
    report.stopped = 100


def test_complaints_are_kept_in_bounded_number_and_all_counted() -> None:
    report = good_report()
    for number in range(1000):
        report.failure({"request": number}, None)
        report.noise("line")
    found = report.as_json()
    assert found["failures unexplained"]["count"] == 1000
    assert len(found["failures unexplained"]["some"]) < 100
    assert len(found["standard error"]) < 100


# The rest of the tool


def test_quantiles_are_within_two_per_cent() -> None:
    times = Histogram()
    for number in range(1, 1001):
        times.add(number / 1000)
    assert times.largest == 1.0
    for share in (0.5, 0.99):
        assert share <= times.quantile(share) < 1.02 * share


@pytest.mark.parametrize("most", [1, 1000, 1 << 20])
def test_a_body_is_the_same_in_whatever_pieces(most: int) -> None:
    whole = b"".join(pieces(123, 5000, 5000))
    assert len(whole) == 5000
    assert b"".join(pieces(123, 5000, most)) == whole
    assert max(len(piece) for piece in pieces(123, 5000, most)) <= most


def test_attempts_that_started_are_seen_by_other_processes(tmp_path: Path) -> None:
    Started.create(tmp_path / "started")
    server, client = Started(tmp_path / "started"), Started(tmp_path / "started")
    server.note(7)
    assert 7 in client
    assert 8 not in client
