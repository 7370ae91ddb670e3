"""What systemd is told, and what happens if it is not there."""

from __future__ import annotations

import logging
import secrets
import socket
from pathlib import Path

import pytest

from trio_h2.cli.serving.sd_notify import notify


def test_nobody_is_told_who_has_not_asked(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    assert not caplog.records


@pytest.mark.parametrize("abstract", [False, True])
def test_assignments_are_lines_of_one_datagram(abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"@{secrets.token_hex(8)}" if abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        receiving.bind(name.replace("@", "\0", 1))
        receiving.settimeout(10)
        notify("READY=1", "STATUS=all is well")
        assert receiving.recv(100) == b"READY=1\nSTATUS=all is well"


def test_a_socket_on_which_nobody_hears_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    with caplog.at_level(logging.WARNING, "trio_h2"):
        notify("READY=1")
    assert "cannot notify" in caplog.text
