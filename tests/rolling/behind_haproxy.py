"""The rolling run behind HAProxy: three servers, the load, and what is done to each of the servers under it."""

from __future__ import annotations

import ssl
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio
import trustme

from tests.deploying.haproxy import Balancer, run_haproxy
from tests.rolling.haproxied_server import HAProxiedServer
from tests.rolling.load import Load, Loss

__all__ = ["HAProxyReport", "behind_haproxy"]

FAULTS = ("drained", "rolled", "killed")
"""What is done to the servers, to each its own."""


@dataclass
class HAProxyReport:
    """What came of it.

    Attributes:
        done: how often which fault was done.
        lost: how many requests the server of each fault was given that got no response, as HAProxy counts.
        retried: of them, those of which HAProxy has told the client that they can be made again.
        cut: responses of the server that was killed that have no end.
        failed: what else failed, as clients saw it.
        twice: how many requests were processed twice that were made once.
    """

    seconds: float
    answered: dict[str, int]
    done: dict[str, int]
    lost: dict[str, int]
    retried: int
    cut: int
    failed: list[Loss]
    twice: int

    @property
    def held(self) -> bool:
        """Whether nothing was lost but on the server that was killed, and nothing was processed twice."""
        elsewhere = sum(self.lost.values()) - self.lost["killed"]
        unexplained = self.retried + len(self.failed) - self.lost["killed"]
        return elsewhere == 0 and unexplained <= 0 and self.twice == 0 and sum(self.answered.values()) > 0

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {**asdict(self), "held": self.held}

    def __str__(self) -> str:
        lines = [
            f"{self.seconds:g} s behind HAProxy: {sum(self.answered.values())} requests answered by "
            f"{len(self.answered)} workers",
            *(f"the server that was {each}, {self.done[each]} times, lost {self.lost[each]}" for each in FAULTS),
            f"tried again, as HAProxy said that it was safe: {self.retried}",
            f"responses cut by a kill: {self.cut}",
            f"failed otherwise: {len(self.failed)}",
            *(f"  {loss}" for loss in self.failed[:20]),
            f"processed twice, though made once: {self.twice}",
            "held" if self.held else "BROKEN",
        ]
        return "\n".join(lines)


async def behind_haproxy(seconds: float, *, pause: float = 5, connections: int = 20, seed: str = "1") -> HAProxyReport:
    """Serve behind HAProxy, and do its fault to each server, after a pause, again and again, under a load."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        notes = directory / "notes"
        notes.touch()
        servers = {
            fault: HAProxiedServer(each, directory, notes)
            for fault, each in zip(FAULTS, ("one", "two", "three"), strict=True)
        }
        site = directory / "site.pem"
        context = _certificate(site)
        try:
            for server in servers.values():
                await server.start()
            replacements = _replacements(list(servers.values()), site)
            async with run_haproxy("/etc/haproxy/haproxy.cfg", replacements, directory) as balancer:
                url = f"https://localhost:{balancer.port}"
                load = Load(url, connections=connections, ssl_context=context, seed=seed)
                await _run(servers, balancer, load, seconds, pause)
                lost = {fault: await balancer.lost(server.name) for fault, server in servers.items()}
        except BaseException as error:
            for server in servers.values():
                error.add_note(f"--- server {server.name} wrote:\n{server.output()[-2000:]}")
            raise
        finally:
            with trio.CancelScope(shield=True):
                for server in servers.values():
                    await server.end()
        made_again = {request.split("/")[2] for request in load.retried}
        processed = Counter(notes.read_text().split())
        workers = servers["killed"].workers
        return HAProxyReport(
            seconds=seconds,
            answered=dict(load.answered),
            done={fault: server.changes for fault, server in servers.items()},
            lost=lost,
            retried=len(load.retried),
            cut=sum(loss.worker in workers for loss in load.lost),
            failed=[loss for loss in load.lost if loss.worker not in workers],
            twice=sum(count > 1 and number not in made_again for number, count in processed.items()),
        )


def _certificate(site: Path) -> ssl.SSLContext:
    """HAProxy's, with its key in one file; the context of clients that trust it."""
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(site))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


def _replacements(servers: list[HAProxiedServer], site: Path) -> dict[str, str]:
    """Where the servers are, in place of those of the page; there is one more."""
    one, two, three = (f"127.0.0.1:{server.port}" for server in servers)
    return {
        "/etc/haproxy/site.pem": str(site),
        "127.0.0.1:8001": one,
        "server two 127.0.0.1:8002": f"server two {two}\n    server three {three}",
    }


async def _run(
    servers: dict[str, HAProxiedServer], balancer: Balancer, load: Load, seconds: float, pause: float
) -> None:
    for server in servers.values():
        await balancer.wait_until(server.name, "UP")
    faults = {
        "drained": partial(servers["drained"].drain, balancer),
        "rolled": servers["rolled"].roll,
        "killed": servers["killed"].kill,
    }
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.run)
        over = trio.current_time() + seconds
        async with trio.open_nursery() as doing:
            for fault, do in faults.items():
                doing.start_soon(_again, servers[fault], do, balancer, over, pause)
        load.stop()


async def _again(
    server: HAProxiedServer, do: Callable[[], Awaitable[None]], balancer: Balancer, over: float, pause: float
) -> None:
    """A fault of a server again and again, as soon as it is back."""
    while trio.current_time() < over:
        await trio.sleep(pause)
        await do()
        await balancer.wait_until(server.name, "UP")
