"""GuestRun: it rests between steps, hides nothing, and notices what never rests."""

from __future__ import annotations

import pytest
import trio

from tests.sansio import guest
from tests.sansio.guest import GuestRun


def test_a_step_goes_on_until_every_task_waits_and_the_clock_stands_still() -> None:
    run = GuestRun()
    done: list[str] = []
    go = trio.Event()

    async def task() -> None:
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        done.append("waits")
        await go.wait()
        done.append("sleeps")
        await trio.sleep(1)
        done.append("never")

    run.do(lambda: run.nursery.start_soon(task))
    assert done == ["waits"]
    run.do(go.set)
    run.do(lambda: None)
    assert done == ["waits", "sleeps"]
    run.close()


def test_what_a_task_raises_comes_out_of_the_step_once() -> None:
    run = GuestRun()

    async def leak() -> None:
        raise KeyError("leaked")

    with pytest.raises(ExceptionGroup) as caught:
        run.do(lambda: run.nursery.start_soon(leak))
    assert caught.value.subgroup(KeyError)
    with pytest.raises(AssertionError, match="ended"):
        run.do(lambda: None)
    run.close()


def test_what_a_task_raises_when_it_is_cancelled_comes_out_of_close() -> None:
    run = GuestRun()

    async def leak() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("leaked")

    run.do(lambda: run.nursery.start_soon(leak))
    with pytest.raises(ExceptionGroup):
        run.close()


def test_a_step_that_never_comes_to_rest_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "MAX_TICKS", 100)
    run = GuestRun()

    async def spin() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    with pytest.raises(AssertionError, match="rest"):
        run.do(lambda: run.nursery.start_soon(spin))
    run.close()
