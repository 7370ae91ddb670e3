"""What a request costs, in counts: each has a bound, so that what was gained stays."""

from __future__ import annotations

import pytest

from tests.benchmarks.calls import WORK, count

BOUNDS = {
    "a GET, one at once": (372, 400, 10.5),
    "a GET, 100 at once": (200, 254, 0.3),
    "a browser's GET, 100 at once": (200, 308, 0.3),
    "1 MiB down": (2_700, 3_900, 55),
    "1 MiB up": (4_200, 2_900, 60),
    "100 messages there and back": (28_200, 26_500, 1_040),
}
"""The server's calls of Python functions, the client's, and the turns of trio's loop: some 3 % above what they are.

Of bodies and messages more: in which order trio runs tasks decides how they are cut.
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
    assert first.python == pytest.approx(second.python, rel=0.01)
    assert first.steps == pytest.approx(second.steps, rel=0.01)
