"""The supervisor, with real processes that serve nothing but their process ID."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.serving.processes import alive, freeze, until
from trio_h2.cli.serving import supervisor, worker
from trio_h2.cli.serving.supervisor import NoWorkerStarted, Supervisor, serving_in_words
from trio_h2.cli.serving.worker import Launch

PLAIN_WORKER = Path(__file__).with_name("plain_worker.py")


class Crew:
    """A supervisor that runs, and what it supervises."""

    def __init__(self, directory: Path, *, number: int, patient: bool = False, grace: float = 5, **options: Any):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.generation = directory / "generation"
        self.shown: list[str] = []
        self.pids: set[int] = set()
        self.settled = trio.Event()
        launch = Launch(
            [sys.executable, str(PLAIN_WORKER)],
            {"generation": str(self.generation), **options},
            [self.listening.fileno()],
        )
        self.supervisor = Supervisor(
            launch,
            number,
            grace=grace,
            patient=patient,
            on_settled=self._settle,
            show=self.shown.append,
        )
        self.generation.write_text("1")

    def _settle(self) -> None:
        self.settled.set()

    @property
    def serving(self) -> list[int]:
        """The process IDs of those that serve and were not told to end."""
        return [
            worker.pid
            for worker in self.supervisor.workers
            if worker.pid is not None and worker.state.name == "SERVING"
        ]

    async def has(self, number: int) -> None:
        """Wait until so many serve, and nobody else is there."""
        await until(lambda: len(self.serving) == number == len(self.supervisor.workers))
        self.pids.update(self.serving)

    async def ask(self, command: bytes = b"hello") -> tuple[int, str]:
        """Who answers, and of which generation it is."""
        async with await trio.open_tcp_stream(*self.listening.getsockname()) as stream:
            await stream.send_all(command)
            pid, generation = (await stream.receive_some(100)).split()
        return int(pid), generation.decode()


@pytest.fixture(autouse=True)
def _all_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, "trio_h2")
    monkeypatch.setattr(worker, "MARGIN", 0.2)
    monkeypatch.setattr(worker, "HASTE", 0.3)


@asynccontextmanager
async def crew(directory: Path, number: int = 2, **options: Any) -> AsyncIterator[Crew]:
    """Workers that serve; all of them have ended afterwards."""
    running = Crew(directory, number=number, **options)
    with trio.fail_after(60):
        with running.listening:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(running.supervisor.run)
                await running.settled.wait()
                yield running
                running.supervisor.stop()
        assert running.supervisor.workers == []
        assert not any(map(alive, running.pids))


async def test_workers_serve_on_the_inherited_socket(tmp_path: Path) -> None:
    async with crew(tmp_path) as running:
        await running.has(2)
        pid, _ = await running.ask()
        assert pid in running.serving
    assert not running.supervisor.ended_badly


async def test_a_worker_that_dies_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with crew(tmp_path) as running:
        await running.has(2)
        killed = running.serving[0]
        os.kill(killed, signal.SIGKILL)
        await until(lambda: killed not in running.serving)
        await running.has(2)
        assert running.supervisor.restarts == 1
    assert "died: it was ended by SIGKILL; a new one starts" in caplog.text


async def test_what_waits_in_the_backlog_is_served_by_the_next_worker(tmp_path: Path) -> None:
    async with crew(tmp_path, number=1) as running:
        await running.has(1)
        freeze(running.serving[0])
        async with await trio.open_tcp_stream(*running.listening.getsockname()) as stream:
            await stream.send_all(b"hello")
            killed = running.serving[0]
            os.kill(killed, signal.SIGKILL)
            answer = await stream.receive_some(100)
        assert int(answer.split()[0]) != killed


async def test_a_new_set_serves_the_new_code_and_the_old_one_ends(tmp_path: Path) -> None:
    async with crew(tmp_path) as running:
        await running.has(2)
        old = set(running.serving)
        running.generation.write_text("2")
        running.supervisor.replace_all()
        await until(lambda: not old & {worker.pid for worker in running.supervisor.workers})
        await running.has(2)
        assert not any(map(alive, old))
        assert (await running.ask())[1] == "2"
        assert running.supervisor.restarts == 0


def test_how_many_serve_is_said_in_words() -> None:
    assert serving_in_words(1, "new ") == "1 new worker serves"
    assert serving_in_words(2) == "2 workers serve"


async def test_if_the_new_set_cannot_start_the_old_one_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with crew(tmp_path) as running:
        await running.has(2)
        old = running.serving
        running.generation.write_text("fail")
        running.supervisor.replace_all()
        await until(lambda: "the new workers cannot start" in caplog.text)
        await running.has(2)
        assert running.serving == old
        assert running.shown == ["no way"]
        running.generation.write_text("3")
        running.supervisor.replace_all()
        await until(lambda: not set(old) & set(running.serving) and len(running.serving) == 2)


async def test_a_new_set_that_hangs_is_given_up_for_the_next_one(tmp_path: Path) -> None:
    async with crew(tmp_path) as running:
        await running.has(2)
        old = running.serving
        running.generation.write_text("hang")
        running.supervisor.replace_all()
        await until(lambda: len([worker for worker in running.supervisor.workers if worker.pid is not None]) == 4)
        running.generation.write_text("3")
        running.supervisor.replace_all(give_up=True)
        await until(lambda: not set(old) & set(running.serving))
        await running.has(2)
        assert (await running.ask())[1] == "3"


async def test_a_new_set_that_hangs_for_long_is_given_up_when_another_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "TOO_LONG", 0.1)
    async with crew(tmp_path) as running:
        await running.has(2)
        old = running.serving
        running.generation.write_text("hang")
        running.supervisor.replace_all()
        await until(lambda: len(running.supervisor.workers) == 4)
        await trio.sleep(0.2)  # more than is too long
        running.generation.write_text("3")
        running.supervisor.replace_all()
        await until(lambda: not set(old) & set(running.serving))
        await running.has(2)


async def test_a_set_that_is_asked_for_again_and_again_comes_to_serve_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with crew(tmp_path) as running:
        await running.has(2)
        while "2 new workers serve" not in caplog.text:
            running.supervisor.replace_all()
            await trio.sleep(0.005)
        await running.has(2)


async def test_many_wishes_for_a_new_set_end_in_one_set(tmp_path: Path) -> None:
    async with crew(tmp_path) as running:
        for _ in range(20):
            running.supervisor.replace_all()
            await trio.sleep(0.01)
        running.generation.write_text("last")
        running.supervisor.replace_all()
        await trio.testing.wait_all_tasks_blocked()
        generations = ["1"]
        while set(generations[-3:]) != {"last"}:
            generations.append((await running.ask())[1])
        await running.has(2)


async def test_a_worker_that_asks_for_it_is_replaced_once_the_next_one_serves(tmp_path: Path) -> None:
    async with crew(tmp_path) as running:
        await running.has(2)
        asking, _ = await running.ask(b"retire")
        lowest = 2

        def gone() -> bool:
            nonlocal lowest
            lowest = min(lowest, len(running.serving))
            return asking not in running.serving

        await until(gone)
        await running.has(2)
        assert lowest == 2
        assert running.supervisor.restarts == 0


async def test_one_more_and_one_less(tmp_path: Path) -> None:
    async with crew(tmp_path) as running:
        await running.has(2)
        running.supervisor.resize(1)
        await running.has(3)
        running.supervisor.resize(-2)
        await running.has(1)
        running.supervisor.resize(-1)
        assert (await running.ask())[0] in running.serving
        running.supervisor.replace_all()
        await running.has(1)


async def test_one_more_that_hangs_does_not_hold_up_a_new_set(tmp_path: Path) -> None:
    async with crew(tmp_path) as running:
        await running.has(2)
        running.generation.write_text("hang")
        running.supervisor.resize(1)
        await until(lambda: len(running.supervisor.workers) == 3)
        running.generation.write_text("2")
        running.supervisor.replace_all()
        await running.has(3)
        assert (await running.ask())[1] == "2"


async def test_a_worker_that_does_not_end_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with crew(tmp_path, grace=0.1, deaf=True) as running:
        await running.has(2)
    assert caplog.text.count("did not end within 0.3 s: it is killed") == 2
    assert running.supervisor.ended_badly


async def test_a_stopped_worker_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with crew(tmp_path, grace=0.1) as running:
        await running.has(2)
        freeze(running.serving[0])


async def test_all_can_end_at_once_while_they_drain(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with crew(tmp_path, grace=1000, deaf=True) as running:
        await running.has(2)
        running.supervisor.stop()
        await running.supervisor.stop_at_once()
    assert "did not end within 0.2 s" in caplog.text  # as long as its clean-up may take


async def test_if_no_worker_can_start_there_is_an_error(tmp_path: Path) -> None:
    running = Crew(tmp_path, number=3)
    running.generation.write_text("fail")
    with running.listening, trio.fail_after(30), pytest.raises(NoWorkerStarted, match="exit code 3") as caught:
        await running.supervisor.run()
    assert caught.value.exit_code == 3
    assert running.shown == ["no way"]


async def test_a_command_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with trio.fail_after(30), pytest.raises(NoWorkerStarted, match="was not started"):
        await Supervisor(Launch([str(tmp_path / "nothing")], {}, []), 2, grace=1, show=[].append).run()


async def test_a_patient_supervisor_waits_for_a_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    running = Crew(tmp_path, number=2, patient=True)
    running.generation.write_text("fail")
    with running.listening, trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.supervisor.run)
            await until(lambda: "waiting for a change" in caplog.text)
            running.generation.write_text("2")
            running.supervisor.replace_all()
            await running.has(2)
            running.supervisor.stop()


@pytest.mark.parametrize("when", ["starting", "hanging"])
async def test_a_stop_while_workers_start_ends_them(tmp_path: Path, when: str) -> None:
    async with crew(tmp_path) as running:
        await running.has(2)
        running.generation.write_text("hang")
        running.supervisor.replace_all()
        if when == "hanging":
            await until(lambda: len([each for each in running.supervisor.workers if each.pid is not None]) == 4)
            running.pids.update(worker.pid for worker in running.supervisor.workers if worker.pid is not None)


async def test_a_cancelled_supervisor_leaves_no_process(tmp_path: Path) -> None:
    running = Crew(tmp_path, number=2, deaf=True)
    with running.listening, trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.supervisor.run)
            await running.has(2)
            nursery.cancel_scope.cancel()
    assert not any(map(alive, running.pids))


async def test_what_workers_have_counted_is_kept(tmp_path: Path) -> None:
    async with crew(tmp_path, number=1) as running:
        await running.has(1)
        await running.ask()
        running.supervisor.replace_all()
        old = running.serving
        await until(lambda: not set(old) & set(running.serving))
        await running.has(1)
        assert running.supervisor.gone.counts == {"connections": 1, "requests": {"GET": 1}}
        (only,) = running.supervisor.workers
        await running.ask()
        await only.count()
        assert only.statistics == {"connections": 1, "connections_open": 1, "requests": {"GET": 1}}


async def test_a_stopped_worker_is_asked_once_for_what_it_has_counted(tmp_path: Path) -> None:
    async with crew(tmp_path, number=1) as running:
        await running.has(1)
        (only,) = running.supervisor.workers
        freeze(running.serving[0])
        for _ in range(3):
            with trio.move_on_after(0.01) as scope:
                await only.count()
            assert scope.cancelled_caught
        assert only.silent
        os.kill(running.serving[0], signal.SIGCONT)
        await only.count()
        assert not only.silent
