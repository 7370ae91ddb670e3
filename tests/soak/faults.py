"""Which fault, if any, explains that a request failed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

RESERVE = 0.6
"""Seconds before the end of its grace at which a shutdown may begin to reset what is left (it takes half a second)."""

REFUSALS = ("server down", "reset in the backlog")
"""A connection met a listener that is closed, or was closed on before it was accepted."""

MEMORY = 120.0
"""Seconds for which the links that are closed are remembered: longer than any request takes to fail."""


@dataclass
class Link:
    """A client's connection through the proxy, known by its `way`.

    Attributes:
        onward: the port from which the proxy went on to the server.
        reason: why it ended, in the server's words.
    """

    server: int
    opened: float
    onward: int | None = None
    closed: float | None = None
    reason: str | None = None
    fault: str | None = None
    fault_at: float = 0.0


@dataclass
class ServerFate:
    """What was done to a server."""

    killed: float | None = None
    shutdown: float | None = None
    grace: float = 0.0


@dataclass
class Faults:
    """All that was injected of late."""

    links: dict[str, list[Link]] = field(default_factory=lambda: defaultdict(list))
    servers: dict[int, ServerFate] = field(default_factory=lambda: defaultdict(ServerFate))

    def opened(self, name: str, server: int, at: float) -> None:
        self.links[name].append(Link(server, at))

    def joined(self, name: str, onward: int) -> None:
        """The proxy has reached the server."""
        self.links[name][-1].onward = onward

    def said(self, server: int, onward: int, reason: str) -> None:
        """A server has a word on how a connection ended."""
        links = [link for links in self.links.values() for link in links]
        for link in links:
            if (link.server, link.onward) == (server, onward):
                link.reason = reason

    def hit(self, name: str, fault: str, at: float) -> None:
        """The proxy did something to the newest link of this name."""
        link = self.links[name][-1]
        if link.fault is None:
            link.fault, link.fault_at = fault, at

    def closed(self, name: str, at: float) -> None:
        self.links[name][-1].closed = at

    def link(self, name: str, at: float) -> Link | None:
        """The connection that had this name at this time."""
        return next((link for link in reversed(self.links.get(name, [])) if link.opened <= at), None)

    def explain(self, name: str, at: float) -> str | None:
        """Why a request may have failed at this time on the connection of this name; None if nothing was done."""
        link = self.link(name, at)
        if link is None:
            return None
        fate = self.servers[link.server]
        if link.fault is not None and link.fault_at <= at and self._counts(link, fate):
            return link.fault
        if fate.killed is not None and fate.killed <= at:
            return "server killed"
        if fate.shutdown is not None and fate.shutdown + fate.grace - RESERVE <= at:
            return "grace ran out"
        return None

    @staticmethod
    def _counts(link: Link, fate: ServerFate) -> bool:
        """A server that refuses connections has to be one that was told to end."""
        return link.fault not in REFUSALS or fate.shutdown is not None or fate.killed is not None

    def forget(self, now: float) -> None:
        """Drop the links that were closed long ago, and the servers that none is left of."""
        for name, links in list(self.links.items()):
            links[:] = [link for link in links if link.closed is None or link.closed > now - MEMORY]
            if not links:
                del self.links[name]
        used = {link.server for links in self.links.values() for link in links}
        for server in [server for server in self.servers if server not in used]:
            fate = self.servers[server]
            ended = [at for at in (fate.killed, fate.shutdown) if at is not None]
            if ended and max(ended) < now - MEMORY:
                del self.servers[server]
