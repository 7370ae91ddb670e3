"""One shutdown with each kind of peer, few of each: nothing is left of the server, and nothing unexpected is logged.

How long it takes is what `python -m tests.attacks.shutdown_matrix` is for; a machine that is busy with other things
would fail that here.
"""

from __future__ import annotations

import pytest
import trio

from tests.attacks.shutdown_matrix import ALLOWED, Figures, run
from tests.attacks.shutdown_peers import KINDS

BUSY = 2.0
"""Seconds that a busy machine may add."""


@pytest.mark.parametrize("kind", KINDS)
async def test_shutdown_ends_within_its_grace_whatever_peers_do(kind: str) -> None:
    figures = Figures()
    with trio.fail_after(60):
        await run(kind, 5, 0.5, figures)
    assert figures.tasks == figures.errors == 0
    assert figures.warnings == (kind == "shielded")
    assert max(figures.over) <= ALLOWED + BUSY
