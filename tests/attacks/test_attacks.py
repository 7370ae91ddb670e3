"""Every attack in a small form, against real processes: what has to be so however fast the machine is.

No traceback, no task left, memory within the bars with a wide margin, the bystander served throughout, and slow peers
ended. `python -m tests.attacks` measures the rest: CPU, steps, latencies.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attacks.bars import judge_whatever_the_machine, row
from tests.attacks.catalogue import ATTACKS
from tests.attacks.model import Attack
from tests.attacks.runner import Victims, run

SHARE = 0.1
ATTACKERS = 2
MARGIN = 2.0


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    kept = Victims()
    yield kept
    kept.stop()


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_attack(attack: Attack, victims: Victims) -> None:
    figures = run(attack, ATTACKERS, victims.get(attack), share=SHARE)
    failures = judge_whatever_the_machine(attack, figures, margin=MARGIN)
    assert not failures, row(figures)
