"""The units of docs/deploying.md: systemd finds nothing wrong in them, and the socket that it hands over is served."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import trio_h2
from tests import peers

from .page import APP_DIRECTORY, configuration

PROGRAM = "/srv/app/venv/bin/trio-h2"


async def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    program = peers.require_program("systemd-analyze", package="systemd")
    (tmp_path / "app.socket").write_text(configuration("/etc/systemd/system/app.socket", {}))
    service = configuration("/etc/systemd/system/app.service", {PROGRAM: sys.executable})
    (tmp_path / "app.service").write_text(service)
    done = await peers.run_program(program, "verify", "--man=no", tmp_path / "app.socket", tmp_path / "app.service")
    assert (done.text, done.errors) == ("", "")


async def test_the_socket_that_systemd_hands_over_is_served(tmp_path: Path) -> None:
    program = peers.require_program("systemd-socket-activate", package="systemd")
    port = peers.free_port()
    lines = configuration("/etc/systemd/system/app.socket", {"127.0.0.1:8000": f"{peers.HOST}:{port}"}).splitlines()
    (listen,) = [line.removeprefix("ListenStream=") for line in lines if line.startswith("ListenStream=")]
    lines = configuration("/etc/systemd/system/app.service", {PROGRAM: f"{sys.executable} -m trio_h2"}).splitlines()
    (start,) = [line.removeprefix("ExecStart=") for line in lines if line.startswith("ExecStart=")]
    # It starts the program at the first connection, which is the one that waits until it accepts.
    argv = [program, "--listen", listen, "--setenv=PYTHONPATH", *shlex.split(start)]
    async with peers.run_server(
        "serve", argv, port=port, scheme="http", log=tmp_path / "log", cwd=APP_DIRECTORY, may_end=True
    ) as server:
        async with trio_h2.connect(server.url) as connection:
            assert (await connection.request("GET", "/")).status == 200
