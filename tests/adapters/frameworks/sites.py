"""One framework's app on one server, in a process of its own, and what a test asks of it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from tests.peers import HOST, TLSFiles

ROOT = Path(__file__).parents[3]

START_LIMIT = 30.0
"""Seconds that a process has to begin and to end."""

FRAMEWORKS = ("starlette", "fastapi", "litestar", "quart")
SERVERS = ("ours", "hypercorn")


@dataclass
class Site:
    """Attributes:
    server: one of `SERVERS`.
    framework: one of `FRAMEWORKS`.
    https: the port with TLS.
    http: the port without.
    process: the server.
    log: what it has written on standard error.
    """

    server: str
    framework: str
    https: int
    http: int
    process: subprocess.Popen[str]
    log: Path

    def url(self, path: str = "", scheme: str = "https") -> str:
        return f"{scheme}://{HOST}:{self.http if scheme in ('http', 'ws') else self.https}{path}"

    def errors(self) -> str:
        """What the server has logged so far."""
        return self.log.read_text(errors="replace")

    async def ask(self, path: str) -> Any:
        """The JSON that a small request is answered with, by a client that has nothing to do with the test."""
        return await trio.to_thread.run_sync(self._ask, path, abandon_on_cancel=True)

    def _ask(self, path: str) -> Any:
        connection = http.client.HTTPConnection(HOST, self.http, timeout=10)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    async def journal(self, name: str) -> list[str]:
        """What the app has noted of the request that calls itself so."""
        noted: list[str] = await self.ask(f"/raw/journal?of={name}")
        return noted

    async def noted(self, name: str, what: str | tuple[str, ...], seconds: float = 10) -> str:
        """Wait until one of these is noted of a request; which."""
        wanted = (what,) if isinstance(what, str) else what
        noted: list[str] = []
        with trio.move_on_after(seconds):
            while not any(each in noted for each in wanted):
                noted = await self.journal(name)
                await trio.sleep(0.02)
        found = [each for each in noted if each in wanted]
        assert found, f"{wanted} was not noted of {name!r} in {seconds} seconds, but {noted}"
        return found[0]

    async def ended(self, name: str, seconds: float = 10) -> str | None:
        """Wait until the app has ended for a request; how, or None if it has not in that time."""
        with trio.move_on_after(seconds):
            while True:
                for each in await self.journal(name):
                    if each in ("returned", "cancelled") or each.startswith("raised"):
                        return each
                await trio.sleep(0.02)
        return None

    def own_errors(self) -> list[str]:
        """The lines that begin what trio_h2 has logged as an error: by Python's own format, and by Litestar's."""
        return re.findall(r"^ERROR(?::| - .* - )trio_h2\b.*", self.errors(), re.MULTILINE)

    async def logged(self, what: str, seconds: float = 10) -> None:
        """Wait until the server has logged this."""
        with trio.move_on_after(seconds):
            while what not in self.errors():  # noqa: ASYNC110 - a file says nothing
                await trio.sleep(0.02)
        assert what in self.errors()

    async def open_gate(self, name: str) -> None:
        await self.ask(f"/raw/open?of={name}")

    def stop(self) -> dict[str, list[str]]:
        """Have it end in order, and return its whole journal. One that does not end is killed: TimeoutExpired."""
        self.process.send_signal(signal.SIGTERM)
        said, _ = self.process.communicate(timeout=START_LIMIT)
        journal: dict[str, list[str]] = json.loads(said)
        return journal


@contextmanager
def running_site(server: str, framework: str, tls: TLSFiles, directory: Path) -> Iterator[Site]:
    """Start a site; it is killed on the way out if it still runs."""
    log = directory / f"{server}-{framework}.log"
    module = "tests.adapters.frameworks.serve"
    command = [sys.executable, "-m", module, server, f"{framework}_app", str(tls.certificate), str(tls.key)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV_CORE")}
    with open(log, "w") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            text=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        https, http = json.loads(line)
        yield Site(server, framework, https, http, process, log)
    except BaseException as error:
        error.add_note(f"--- what {server} said of {framework}\n{log.read_text(errors='replace')[-8000:]}")
        raise
    finally:
        process.kill()
        process.communicate()
