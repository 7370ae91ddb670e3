"""A running HAProxy, and what is said to it over its admin socket."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests import peers

from .page import configuration

__all__ = ["Balancer", "run_haproxy"]


class Balancer:
    """HAProxy, with a backend called `app`.

    Attributes:
        port: where clients connect.
    """

    def __init__(self, port: int, admin: Path) -> None:
        self.port = port
        self._admin = admin

    async def tell(self, command: str) -> str:
        """Say something to the admin socket, for an answer."""
        async with await trio.open_unix_socket(str(self._admin)) as stream:
            await stream.send_all(command.encode() + b"\n")
            return b"".join([chunk async for chunk in stream]).decode()

    async def wait_until_it_listens(self) -> None:
        """Wait until the admin socket answers."""
        while True:
            try:
                await self.tell("show info")
            except OSError:
                await trio.sleep(0.02)
            else:
                return

    async def statistics(self, server: str) -> dict[str, str]:
        """What HAProxy has counted of a server, by the names of its columns."""
        lines = (await self.tell("show stat")).removeprefix("# ").splitlines()
        (row,) = [row for row in csv.DictReader(lines) if (row["pxname"], row["svname"]) == ("app", server)]
        return row

    async def lost(self, server: str) -> int:
        """How many requests a server was given, of which came neither a 2xx nor another try with another server."""
        counts = await self.statistics(server)
        return int(counts["stot"]) - int(counts["hrsp_2xx"]) - int(counts["wredis"])

    async def wait_until(self, server: str, status: str) -> None:
        """Wait until HAProxy says so of a server: `UP`, `DOWN` or `DRAIN`."""
        with trio.fail_after(30):
            while not (await self.statistics(server))["status"].startswith(status):  # noqa: ASYNC110
                await trio.sleep(0.05)

    async def wait_until_checked(self, server: str, *, well: bool) -> None:
        """Wait until a server passes its health check, or fails it, whether it is drained or not."""
        with trio.fail_after(30):
            while ((await self.statistics(server))["check_status"] == "L7OK") != well:  # noqa: ASYNC110
                await trio.sleep(0.05)

    async def wait_until_idle(self, server: str) -> None:
        """Wait until a server has no request open."""
        with trio.fail_after(30):
            while (await self.statistics(server))["scur"] != "0":  # noqa: ASYNC110
                await trio.sleep(0.05)


@asynccontextmanager
async def run_haproxy(path: str, replacements: Mapping[str, str], directory: Path) -> AsyncIterator[Balancer]:
    """Run HAProxy with a configuration of the page; it has an admin socket in the directory."""
    program = peers.require_program("haproxy", package="haproxy")
    port = peers.free_port()
    text = configuration(path, {"bind :443": f"bind {peers.HOST}:{port}", **replacements})
    admin = directory / "admin.sock"
    if "/run/haproxy/admin.sock" in text:
        text = text.replace("/run/haproxy/admin.sock", str(admin))
        text = text.replace("log /dev/log local0", "log stderr format raw local0")
    else:
        text = f"global\n    stats socket {admin} level admin\n{text}"
    file = directory / "haproxy.cfg"
    file.write_text(text)
    argv = [program, "-db", "-f", str(file)]
    async with peers.run_server("haproxy", argv, port=port, scheme="https", log=directory / "haproxy.log"):
        balancer = Balancer(port, admin)
        with trio.fail_after(peers.START_LIMIT):
            await balancer.wait_until_it_listens()  # to clients it may have done so first
        yield balancer
