"""A short rolling run holds, and it sees what it has to see. Long ones: `python -m tests.rolling`."""

from __future__ import annotations

import os
import sys

import pytest

from tests.rolling.behind_haproxy import behind_haproxy
from tests.rolling.killing import Killed
from tests.rolling.load import Loss
from tests.rolling.run import roll

SECONDS = 60 if os.environ.get("TRIO_H2_FULL") else 12

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")


@pytest.mark.parametrize("tls", [False, True], ids=["in the clear", "over TLS"])
async def test_no_request_is_lost_but_those_on_a_worker_that_was_killed(tls: bool) -> None:
    report = await roll(SECONDS, tls=tls, hang_up_every=3, kill_every=4)
    assert report.held, str(report)
    assert report.hangups >= 3
    assert report.killed >= 2


def test_a_kill_explains_what_is_lost_on_the_connections_of_its_worker_alone() -> None:
    killed = Killed(pid=1, at=10, ports=frozenset({5000}))

    def lost(port: int, begun: float, at: float) -> Loss:
        return Loss("/small/1/1", port, begun, at, "")

    assert killed.explains(lost(5000, 9, 11))
    assert not killed.explains(lost(5001, 9, 11))
    assert not killed.explains(lost(5000, 9, 9.5))  # before it
    assert not killed.explains(lost(5000, 10.5, 11))  # a port that is used again


async def test_behind_haproxy_no_request_is_lost_but_those_on_the_server_that_was_killed() -> None:
    report = await behind_haproxy(SECONDS, pause=2)
    assert report.held, str(report)
    assert min(report.done.values()) >= 1, str(report)
