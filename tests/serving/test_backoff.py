"""How long a worker that died waits for its successor."""

from __future__ import annotations

from trio_h2.cli.serving.backoff import Backoff


def test_a_worker_that_has_lived_is_replaced_at_once() -> None:
    backoff = Backoff()
    assert [backoff.pause(lived=60), backoff.pause(lived=60)] == [0, 0]


def test_one_that_cannot_start_is_tried_ever_more_rarely() -> None:
    backoff = Backoff()
    assert [backoff.pause(None) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_one_early_death_has_no_pause_but_the_next_ones_have() -> None:
    backoff = Backoff()
    assert [backoff.pause(lived=0.1) for _ in range(4)] == [0, 0.5, 1, 2]


def test_a_worker_that_lives_makes_an_end_of_it() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.pause(None)
    assert [backoff.pause(lived=5), backoff.pause(lived=0.1), backoff.pause(None)] == [0, 0, 0.5]


def test_a_pause_stays_bounded_for_ever() -> None:
    backoff = Backoff()
    assert [backoff.pause(None) for _ in range(5000)][-1] == 30
