"""What `/metrics` shows."""

from __future__ import annotations

from trio_h2.cli.serving.metrics import Snapshot, page
from trio_h2.cli.serving.tally import Tally, summed

COUNTS = {"connections": 3, "connections_open": 1, "requests": {"GET": 2, "POST": 1}}


def test_counts_are_added_up_by_name_and_label() -> None:
    assert summed([COUNTS, {}, {"connections": 1, "requests": {"GET": 1, "PUT": 4}}]) == {
        "connections": 4,
        "connections_open": 1,
        "requests": {"GET": 3, "POST": 1, "PUT": 4},
    }


def test_of_those_that_have_gone_nothing_is_open() -> None:
    tally = Tally()
    tally.add(COUNTS)
    tally.add(COUNTS)
    assert tally.counts == {"connections": 6, "requests": {"GET": 4, "POST": 2}}


def test_the_page_is_prometheus_text() -> None:
    content_type, text = page(Snapshot(COUNTS, workers=2, restarts=1, silent=(17,)), "")
    assert content_type.startswith("text/plain; version=0.0.4")
    lines = text.decode().splitlines()
    for line in (
        "# TYPE trio_h2_connections_total counter",
        "trio_h2_connections_total 3.0",
        "# TYPE trio_h2_connections_open gauge",
        "trio_h2_connections_open 1.0",
        'trio_h2_requests_total{method="POST"} 1.0',
        "trio_h2_workers 2.0",
        "trio_h2_worker_restarts_total 1.0",
        'trio_h2_worker_silent{pid="17"} 1.0',
    ):
        assert line in lines, text.decode()


def test_who_asks_for_openmetrics_gets_it() -> None:
    content_type, text = page(Snapshot(COUNTS), "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
