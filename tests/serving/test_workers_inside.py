"""The parent and the worker in this process, with its other side in a thread: what they say to each other."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.peers import free_port
from trio_h2.cli.serving.code_changes import watch_code
from trio_h2.cli.serving.serve_options import ServeOptions
from trio_h2.cli.serving.supervised_command import run_supervised
from trio_h2.cli.serving.worker_process import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers inherit sockets")

APP = "tests.serving.served_app:app"
PATIENCE = 60.0


class Parent:
    """The parent's side of a worker's control socket."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        self._ours.settimeout(PATIENCE)
        self._hearing = self._ours.makefile("rb")
        self.number = theirs.detach()  # the worker closes it
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.failed: list[BaseException] = []

    def say(self, kind: str, **details: Any) -> None:
        self._ours.sendall(json.dumps({"kind": kind, **details}).encode() + b"\n")

    def start(self, options: ServeOptions) -> None:
        self.say("start", options=options.to_json(), sockets=[os.dup(self.listening.fileno())])

    def hear(self) -> dict[str, Any]:
        heard: dict[str, Any] = json.loads(self._hearing.readline())
        return heard

    def get(self) -> int:
        return get(self.listening.getsockname()[1], "/")[0]

    def go(self) -> None:
        """Be the parent that has gone."""
        self._hearing.close()
        self._ours.close()

    def run(self, script: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> int:
        """Be a worker here, while a thread does what the script says. Returns the worker's exit code."""

        def guarded() -> None:
            try:
                script()
            except BaseException as error:
                self.failed.append(error)
                self.go()

        thread = threading.Thread(target=guarded)
        thread.start()
        monkeypatch.setattr(sys, "argv", ["-c", str(self.number)])
        try:
            exit_code = main()
        finally:
            thread.join()
            self.go()
            self.listening.close()
        assert not self.failed, self.failed
        return exit_code


def get(port: int, path: str) -> tuple[int, str]:
    """The status and the body of a request over HTTP/1.1."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.fixture
def options() -> ServeOptions:
    return ServeOptions(target=APP, port=0, workers=2, access_log=False, grace=5)


def test_a_worker_serves_counts_and_drains(options: ServeOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = Parent()
    parent.start(options)

    def script() -> None:
        assert parent.hear() == {"kind": "ready"}
        assert parent.get() == 200
        parent.say("statistics")
        answer = parent.hear()
        assert (answer["kind"], answer["statistics"]["connections"]) == ("statistics", 1)
        parent.say("drain")
        last = parent.hear()
        assert (last["kind"], last["statistics"]["connections"]) == ("ended", 1)

    assert parent.run(script, monkeypatch) == 0


@pytest.mark.parametrize(("how", "exit_code"), [("stop", 1), ("go", 0), ("SIGTERM", 0)])
def test_a_worker_ends_at_once_with_its_parent_or_at_a_signal(
    options: ServeOptions, how: str, exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = Parent()
    parent.start(options)

    def script() -> None:
        assert parent.hear() == {"kind": "ready"}
        if how == "stop":
            parent.say("stop")
        elif how == "go":
            parent.go()
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    assert parent.run(script, monkeypatch) == exit_code


def test_a_worker_says_when_it_has_served_its_share(options: ServeOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = Parent()
    parent.start(attrs.evolve(options, max_requests=2))

    def script() -> None:
        assert parent.hear() == {"kind": "ready"}
        for _ in range(3):
            assert parent.get() == 200
        assert parent.hear() == {"kind": "retire"}
        parent.say("drain")

    assert parent.run(script, monkeypatch) == 0


def test_a_worker_that_cannot_load_its_app_says_why(options: ServeOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = Parent()
    parent.start(attrs.evolve(options, target="nothing_there:app"))

    def script() -> None:
        failed = parent.hear()
        assert failed["kind"] == "failed"
        assert "there is no module 'nothing_there'" in failed["reason"]
        assert failed["exit_code"] == 2

    assert parent.run(script, monkeypatch) == 2


def test_a_worker_with_nobody_to_tell_shows_it(
    options: ServeOptions, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = Parent()
    parent.start(attrs.evolve(options, target="nothing_there:app"))
    parent.go()
    assert parent.run(lambda: None, monkeypatch) == 2
    assert "there is no module 'nothing_there'" in capsys.readouterr().err


def test_a_worker_that_is_told_nothing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = Parent()
    parent.go()
    assert parent.run(lambda: None, monkeypatch) == 1


def test_a_parent_serves_metrics_replaces_and_ends(
    options: ServeOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    failed: list[BaseException] = []

    def shown() -> str:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                status, text = get(port, "/metrics")
            except OSError:
                time.sleep(0.05)
            else:
                assert status == 200
                return text
        raise TimeoutError

    def until(line: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while line not in shown().splitlines():
            assert time.monotonic() < deadline, shown()
            time.sleep(0.05)

    def script() -> None:
        try:
            until("trio_h2_workers 2.0")
            assert get(port, "/")[0] == 404
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTTIN)
            until("trio_h2_workers 3.0")
            os.kill(os.getpid(), signal.SIGTTOU)
            until("trio_h2_workers 2.0")
        except BaseException as error:
            failed.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=script)
    thread.start()
    exit_code = run_supervised(attrs.evolve(options, metrics_port=port, pid_file=str(tmp_path / "pid")))
    thread.join()
    assert not failed, failed
    assert exit_code == 0
    assert "Serving" in capsys.readouterr().out
    assert not (tmp_path / "pid").exists()


async def test_code_that_changes_is_noticed(tmp_path: Path) -> None:
    changed = trio.Event()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_code, str(tmp_path), changed.set)
            number = 0
            while not changed.is_set():  # nothing says since when it watches
                number += 1
                await trio.Path(tmp_path / "code.py").write_text(f"NUMBER = {number}\n")
                with trio.move_on_after(0.5):
                    await changed.wait()
            nursery.cancel_scope.cancel()
