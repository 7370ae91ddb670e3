"""The PID file: whose it is, and what it is not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from trio_h2.cli.serving.pid_file import pid_file
from trio_h2.cli.serving.serve_error import ServeError


def test_it_holds_the_process_id_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_none_is_no_file() -> None:
    with pid_file(None):
        pass


def test_one_that_is_left_over_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text(f"{os.getppid()}\n")  # of a process that runs, and has nothing to do with it
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


def test_that_of_a_process_that_runs_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pid_file(str(path)):
        with pytest.raises(ServeError, match=f"is that of process {os.getpid()}, which runs") as caught:
            with pid_file(str(path)):
                pass
        assert caught.value.exit_code == 2
        assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("text", ["import os\n", "\x00"])
def test_a_file_that_holds_something_else_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "app.py"
    path.write_text(text)
    with pytest.raises(ServeError, match="is no PID file"):
        with pid_file(str(path)):
            pass
    assert path.read_text() == text


def test_a_device_is_no_pid_file() -> None:
    with pytest.raises(ServeError, match="is no PID file"):
        with pid_file(os.devnull):
            pass


@pytest.mark.parametrize("name", ["nowhere/pid", "."])
def test_a_path_that_cannot_be_written_is_one_clear_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ServeError, match="cannot write the PID file"):
        with pid_file(str(tmp_path / name)):
            pass


def test_a_full_disk_is_one_clear_line_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "pid"
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(ServeError, match=r"cannot write the PID file .*: No space left on device"):
        with pid_file(str(path)):
            pass
    assert not path.exists()


def test_one_that_somebody_has_removed_or_replaced_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pid_file(str(path)):
        path.unlink()
    with pid_file(str(path)):
        path.unlink()
        path.write_text("another's\n")
    assert path.read_text() == "another's\n"
