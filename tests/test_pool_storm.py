"""The storm on a pool, in short; TRIO_H2_FULL=1 has its whole length."""

from __future__ import annotations

import os

import pytest

from tests.pool_storm import AT_ONCE, CLIENTS, storm

REQUESTS = 10_000 if os.environ.get("TRIO_H2_FULL") else 1_000


@pytest.mark.parametrize("through", ["pool", *CLIENTS])
@pytest.mark.parametrize("tls", [False, True], ids=["in the clear", "TLS"])
async def test_a_storm_leaves_nothing_lost_that_could_be_had_and_nothing_done_twice(tls: bool, through: str) -> None:
    outcome, server = await storm(REQUESTS, tls=tls, seed=14, through=through)
    assert outcome.faults == []
    assert outcome.answered + outcome.cancelled + outcome.lost == REQUESTS
    assert outcome.lost <= server.drops * AT_ONCE
    assert outcome.answered > REQUESTS / 3
    assert outcome.cancelled > REQUESTS / 5
    assert server.goaways >= REQUESTS // 1_000
    assert server.drops >= REQUESTS // 1_000
    assert server.refused >= REQUESTS // 100
