"""Restarts under a pool, in short; TRIO_H2_FULL=1 has five minutes of them."""

from __future__ import annotations

import os

from tests.pool_restarts import restarts

SECONDS = 300.0 if os.environ.get("TRIO_H2_FULL") else 2.0


async def test_restarts_cost_no_request_that_was_not_begun() -> None:
    outcome = await restarts(SECONDS)
    assert outcome.faults == []
    assert outcome.restarts["SIGTERM"] >= 2
    assert outcome.restarts["SIGKILL"] >= 2
    assert outcome.answered["SIGTERM"] > 100
    assert outcome.answered["SIGKILL"] > 100
    assert outcome.lost["SIGTERM"] == 0
