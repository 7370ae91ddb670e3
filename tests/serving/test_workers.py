"""`trio-h2 serve --workers`, with real processes: what becomes of the workers, and of the requests on them."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
import trio

import trio_h2
from tests.serving.command import Serving, serving
from tests.serving.processes import alive, drops_signals, until
from trio_h2.cli.serving import worker_process

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers inherit sockets")

TWO = ("--port", "0", "--workers", "2", "--grace", "20")


async def test_workers_serve_and_sigterm_ends_them(tmp_path: Path) -> None:
    async with serving(tmp_path, *TWO) as command:
        workers = await command.has(2)
        pid, version = await command.get()
        assert pid in workers
        assert version == "1"
        command.send(signal.SIGTERM)
        assert await command.ends() == 0
        assert not any(map(alive, workers))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("to_all", [False, True], ids=["to the parent", "to all processes"])
async def test_a_request_that_has_begun_is_finished(tmp_path: Path, number: int, to_all: bool) -> None:
    """A terminal sends SIGINT to all processes, and systemd SIGTERM."""
    async with serving(tmp_path, *TWO) as command:
        await command.has(2)

        async def end() -> None:
            await command.is_waiting()
            (command.send_all if to_all else command.send)(number)
            await until(lambda: len(command.workers) == 1)  # the other one
            command.open_gate()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            await command.get("/wait")
        assert await command.ends() == 0
        assert "Traceback" not in command.log


async def test_when_it_ends_nobody_can_connect_any_more_while_requests_are_finished(tmp_path: Path) -> None:
    """What a proxy sends to a server that nobody is there to accept would be lost; refused, it goes elsewhere."""
    async with serving(tmp_path, *TWO) as command:
        await command.has(2)
        address = command.url.removeprefix("http://").split(":")

        async def end() -> None:
            await command.is_waiting()
            command.send(signal.SIGTERM)
            await until(lambda: is_refused(address[0], int(address[1])))
            command.open_gate()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            await command.get("/wait")
        assert await command.ends() == 0


def is_refused(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass
    return False


async def test_the_second_signal_does_not_wait(tmp_path: Path) -> None:
    async with serving(tmp_path, *TWO) as command:
        await command.has(2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_fails, command, "/wait")
            await command.is_waiting()
            command.send_all(signal.SIGINT)
            await command.has(1)
            command.send_all(signal.SIGINT)
            assert await command.ends() == 1
        await command.says("stopped without waiting")


async def _fails(command: Serving, path: str) -> None:
    with pytest.raises(trio_h2.H2Error):
        await command.get(path)


async def test_ctrl_c_while_workers_start_leaves_no_traceback(tmp_path: Path) -> None:
    async with serving(tmp_path, *TWO, ready=False) as command:
        pids = await _started_processes(command, 2)
        await until(lambda: all(map(drops_signals, pids)))  # before that it is Python that starts
        command.send_all(signal.SIGINT)
        assert await command.ends() == 0
        assert not any(map(alive, pids))
        assert "Traceback" not in command.log


async def _started_processes(command: Serving, number: int) -> list[int]:
    """The children that there are, as soon as there are so many."""
    pids: list[int] = []

    def listed() -> bool:
        listings = Path(f"/proc/{command.process.pid}/task").glob("*/children")  # a thread's each
        pids[:] = [int(pid) for listing in listings for pid in listing.read_text().split()]
        return len(pids) >= number

    await until(listed)
    return pids


async def test_sighup_loads_the_new_code_and_finishes_what_has_begun(tmp_path: Path) -> None:
    async with serving(tmp_path, *TWO) as command:
        old = await command.has(2)
        before: list[tuple[int, str]] = []

        async def wait() -> None:
            before.append(await command.get("/wait"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await command.is_waiting()
            command.change('VERSION = "1"', 'VERSION = "2"')
            command.send(signal.SIGHUP)
            await command.says("2 new workers serve")
            await command.has(3)
            assert (await command.get())[1] == "2"
            command.open_gate()
        await command.has(2)
        assert before[0][0] in old
        assert before[0][1] == "1"
        assert not set(old) & set(command.workers)


async def test_the_old_workers_stay_if_the_new_code_cannot_be_imported(tmp_path: Path) -> None:
    async with serving(tmp_path, *TWO) as command:
        old = await command.has(2)
        command.change("import trio\n", "import trio\n1 / 0\n")
        command.send(signal.SIGHUP)
        await command.says("the new workers cannot start: .* exit code 1; the old ones stay")
        assert command.log.count("ZeroDivisionError") == 1
        assert "serving/worker_process.py" not in command.log
        assert command.workers == old
        command.change("1 / 0\n", "")
        command.send(signal.SIGHUP)
        await command.says("2 new workers serve")


@pytest.mark.parametrize(
    ("target", "says", "exit_code"),
    [("nothing:app", "there is no module 'nothing'", 2), ("broken:app", "ZeroDivisionError", 1)],
)
async def test_if_no_worker_can_start_the_command_ends(tmp_path: Path, target: str, says: str, exit_code: int) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    async with serving(tmp_path, *TWO, target=target, ready=False) as command:
        assert await command.ends() == exit_code
        await command.says("no worker could start")
    assert command.log.count(says) == 1


async def test_if_no_lifespan_can_start_the_command_ends(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text("""
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
""")
    async with serving(tmp_path, *TWO, target="failing:app", ready=False) as command:
        assert await command.ends() == 1
    assert command.log.count("no database") == 1


async def test_a_lifespan_that_cannot_shut_down_is_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text("""
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.failed", "message": "no disk"})
""")
    async with serving(tmp_path, *TWO, target="failing:app") as command:
        await command.has(2)
        command.send(signal.SIGTERM)
        assert await command.ends() == 1
    assert command.log.count("no disk") == 1


async def test_workers_end_when_their_parent_was_killed_and_finish_what_has_begun(tmp_path: Path) -> None:
    async with serving(tmp_path, *TWO) as command:
        workers = await command.has(2)

        async def kill() -> None:
            await command.is_waiting()
            command.send(signal.SIGKILL)
            await until(lambda: sum(map(alive, workers)) == 1)
            command.open_gate()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill)
            await command.get("/wait")
        await until(lambda: not any(map(alive, workers)))


async def test_a_worker_whose_parent_has_gone_before_it_said_anything_ends_without_a_word() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        command = [*worker_process.command(), str(theirs.fileno())]
        options = {"pass_fds": [theirs.fileno()], "capture_stderr": True, "check": False}
        ended = await trio.run_process(command, **options)
    assert (ended.returncode, ended.stderr) == (1, b"")


async def test_a_worker_that_ends_itself_is_replaced(tmp_path: Path) -> None:
    async with serving(tmp_path, *TWO) as command:
        workers = await command.has(2)
        await _fails(command, "/exit")
        await command.says("died: it ended with exit code 7; a new one starts")
        assert set(await command.has(2)) != set(workers)


async def test_a_worker_is_replaced_after_its_share_of_requests(tmp_path: Path) -> None:
    options = ("--port", "0", "--workers", "1", "--max-requests", "3", "--max-requests-jitter", "2")
    async with serving(tmp_path, *options) as command:
        (old,) = await command.has(1)
        served = 0
        while (await command.get())[0] == old:
            served += 1
        await command.says(r"has ended")
        assert served >= 3
        assert "died" not in command.log


async def test_one_worker_more_and_one_less(tmp_path: Path) -> None:
    async with serving(tmp_path, *TWO) as command:
        await command.has(2)
        command.send(signal.SIGTTIN)
        await command.has(3)
        for number in (2, 1):
            command.send(signal.SIGTTOU)
            await command.has(number)


async def test_a_reload_in_the_midst_of_another_and_then_an_end(tmp_path: Path) -> None:
    async with serving(tmp_path, *TWO) as command:
        await command.has(2)
        for _ in range(5):
            command.send(signal.SIGHUP)
            await command.says("SIGHUP", 1)
        pids = await _started_processes(command, 3)
        command.send(signal.SIGTERM)
        assert await command.ends() == 0
        assert not any(map(alive, pids))


async def test_a_worker_that_hangs_is_killed_at_the_end(tmp_path: Path) -> None:
    async with serving(tmp_path, "--port", "0", "--workers", "2", "--grace", "0.1") as command:
        workers = await command.has(2)
        os.kill(workers[0], signal.SIGSTOP)
        command.send(signal.SIGINT)
        await command.has(1)
        command.send(signal.SIGINT)
        await command.says(rf"worker \d \(pid {workers[0]}\) did not end within 7(\.1)? s: it is killed")
        assert await command.ends() == 1


async def test_code_that_changes_is_loaded_again(tmp_path: Path) -> None:
    async with serving(tmp_path, "--port", "0", "--reload") as command:
        (old,) = await command.has(1)
        command.change('VERSION = "1"', 'VERSION = "2"')
        await command.says("served_app.py changed")
        await command.says(rf"\(pid {old}\) has ended")
        assert (await command.get())[1] == "2"


async def test_code_that_cannot_be_imported_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    async with serving(tmp_path, "--port", "0", "--reload", target="broken:app", ready=False) as command:
        await command.says("waiting for a change")
        (tmp_path / "broken.py").write_text("from working import app\n")
        (tmp_path / "working.py").write_text((tmp_path / "served_app.py").read_text())
        await command.says("Serving")
        assert (await command.get())[1] == "1"


# Where they listen


async def test_workers_serve_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with serving(tmp_path, "--unix", str(path), "--workers", "2") as command:
        await command.has(2)
        command.send(signal.SIGHUP)
        await command.says("2 new workers serve")
        await command.has(2)
        stream = await trio.open_unix_socket(path)
        async with trio_h2.connect_over(stream, authority="localhost") as connection:
            assert (await connection.request("GET", "/")).status == 200
        command.send(signal.SIGTERM)
        assert await command.ends() == 0
    assert not path.exists()


async def test_workers_serve_on_a_socket_that_is_open_already(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.fileno()
        async with serving(tmp_path, "--fd", str(number), "--workers", "2", fds=(number,)) as command:
            await command.has(2)
            assert (await command.get())[1] == "1"


# What systemd is told


async def test_systemd_is_told_of_start_reload_and_end(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        receiving.bind(str(tmp_path / "notify"))
        told = trio.socket.from_stdlib_socket(receiving)
        async with serving(tmp_path, *TWO, NOTIFY_SOCKET=str(tmp_path / "notify")) as command:

            async def hears() -> dict[str, str]:
                return dict(line.split("=", 1) for line in (await told.recv(1000)).decode().splitlines())

            first = await hears()
            assert first == {"READY": "1", "MAINPID": str(command.process.pid), "STATUS": "2 workers serve"}
            command.send(signal.SIGHUP)
            reloading = await hears()
            assert reloading["RELOADING"] == "1"
            assert int(reloading["MONOTONIC_USEC"]) > 0
            assert (await hears())["READY"] == "1"
            command.send(signal.SIGTERM)
            assert (await hears())["STOPPING"] == "1"


# The PID file


async def test_the_pid_file_is_there_while_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("1\n")  # one that is left over: nobody holds it
    async with serving(tmp_path, *TWO, "--pid-file", str(path)) as command:
        assert path.read_text() == f"{command.process.pid}\n"
        async with serving(tmp_path, *TWO, "--pid-file", str(path), ready=False) as second:
            assert await second.ends() == 2
            assert f"is that of process {command.process.pid}, which runs" in second.log
        assert path.exists()
        command.send(signal.SIGKILL)
        await command.ends()
        async with serving(tmp_path, *TWO, "--pid-file", str(path)) as third:
            assert path.read_text() == f"{third.process.pid}\n"
    assert not path.exists()


# Metrics


async def metrics(command: Serving) -> dict[str, float]:
    """What `/metrics` shows, by name and labels."""
    where = await command.says(r"metrics at (http://\S+)/metrics")
    async with trio_h2.connect(where[1]) as connection:
        response = await connection.request("GET", "/metrics")
    assert response.status == 200
    lines = [line for line in response.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_metrics_are_sums_that_never_fall(tmp_path: Path) -> None:
    async with serving(tmp_path, *TWO, "--metrics-port", "0") as command:
        await command.has(2)
        for _ in range(5):
            await command.get()
        shown = await metrics(command)
        assert shown['trio_h2_requests_total{method="GET"}'] == 5
        assert shown["trio_h2_workers"] == 2
        command.send(signal.SIGHUP)
        await command.says("has ended", 2)
        await command.get()
        while (shown := await metrics(command))["trio_h2_connections_open"]:  # a worker has yet to hear of its end
            await trio.lowlevel.checkpoint()
        assert shown['trio_h2_requests_total{method="GET"}'] == 6
        assert shown["trio_h2_worker_restarts_total"] == 0
        os.kill(command.workers[0], signal.SIGKILL)
        await command.says("died")
        shown = await metrics(command)
        assert shown['trio_h2_requests_total{method="GET"}'] == 6
        assert shown["trio_h2_worker_restarts_total"] == 1


async def test_a_worker_that_hangs_does_not_hold_up_metrics(tmp_path: Path) -> None:
    async with serving(tmp_path, *TWO, "--metrics-port", "0") as command:
        workers = await command.has(2)
        os.kill(workers[0], signal.SIGSTOP)
        shown = await metrics(command)
        assert shown[f'trio_h2_worker_silent{{pid="{workers[0]}"}}'] == 1
        os.kill(workers[0], signal.SIGCONT)
        while any("silent" in name for name in await metrics(command)):
            pass


async def test_one_process_has_metrics_a_pid_file_and_says_that_it_is_ready(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        receiving.bind(str(tmp_path / "notify"))
        told = trio.socket.from_stdlib_socket(receiving)
        options = ("--port", "0", "--metrics-port", "0", "--pid-file", str(tmp_path / "pid"))
        async with serving(tmp_path, *options, NOTIFY_SOCKET=str(tmp_path / "notify")) as command:
            assert (tmp_path / "pid").read_text() == f"{command.process.pid}\n"
            assert b"READY=1\n" in await told.recv(1000)
            await command.get()
            shown = await metrics(command)
            assert shown['trio_h2_requests_total{method="GET"}'] == 1
            assert shown["trio_h2_workers"] == 1
            command.send(signal.SIGTERM)
            assert b"STOPPING=1\n" in await told.recv(1000)
            assert await command.ends() == 0
    assert not (tmp_path / "pid").exists()
