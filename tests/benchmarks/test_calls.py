"""What a request costs, in counts: each has a bound, so that what was gained stays."""

from __future__ import annotations

import pytest

import trio_h2
from tests.benchmarks.calls import WORK, count

BOUNDS = {
    "a GET, one at once": (380, 412, 11),
    "a GET, 100 at once": (193, 252, 0.4),
    "a browser's GET, 100 at once": (193, 310, 0.4),
    "1 MiB down": (3_000, 4_300, 70),
    "1 MiB up": (4_700, 3_300, 75),
    "100 messages there and back": (29_500, 27_500, 1_080),
}
"""The server's calls of Python functions, the client's, and the turns of trio's loop.

Some 5 % above what they are for a request or a message; more for a body, whose windows grow by what time shows.
"""


@pytest.mark.parametrize("name", WORK)
async def test_a_request_costs_no_more_than_it_did(name: str) -> None:
    counts = await count(WORK[name])
    server, client, turns = BOUNDS[name]
    assert counts.python["server"] <= server
    assert counts.python["client"] <= client
    assert counts.turns <= turns


async def test_counts_do_not_vary() -> None:
    first, second = [await count(WORK["a GET, one at once"]) for _ in range(2)]
    assert first.python == pytest.approx(second.python, rel=0.03)
    assert first.steps == pytest.approx(second.steps, rel=0.03)


async def test_a_timeline_costs_a_request_few_calls() -> None:
    """Three frames, and a stream that opens and closes: `python -m tests.benchmarks recorded` measures the time."""
    work = WORK["a GET, 100 at once"]
    plain, recorded = await count(work), await count(work, trio_h2.Timeline())
    assert recorded.python["server"] - plain.python["server"] <= 12
