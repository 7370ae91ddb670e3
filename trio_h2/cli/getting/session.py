"""`Session`: what all transfers of one `trio-h2 get` share."""

from __future__ import annotations

import ssl

import trio

import trio_h2

from ..shared.event_words import describe
from ..shared.saying import tell
from ..shared.traces import WatchedTimeline
from ..shared.watched_sockets import WatchedSockets
from .get_options import GetOptions
from .outputs import StandardOutput
from .progress import ProgressBars

__all__ = ["Session"]


class Session(trio_h2.Trace):
    """The pool, what is seen of its connections, and what is said on standard error.

    Args:
        wanted: how it is done.
        contexts: for TLS with origins, and with a proxy.
        several: whether there is more than one transfer.
        stdout: where bodies go that no file is for.
        bars: the progress bars, or None.
        nursery: where what it watches has its tasks.

    Attributes:
        wanted, several, bars: as they were given.
        standard_output: what was given as `stdout`.
        pool: set when it is there.
        sockets: those of all connections.
        timeline: the recording, or None.
    """

    pool: trio_h2.Pool

    def __init__(
        self,
        wanted: GetOptions,
        contexts: tuple[ssl.SSLContext, ssl.SSLContext],
        stdout: StandardOutput,
        bars: ProgressBars | None,
        nursery: trio.Nursery,
        *,
        several: bool,
    ) -> None:
        self.wanted = wanted
        self.several = several
        self.standard_output = stdout
        self.bars = bars
        self.sockets = WatchedSockets()
        self.timeline = None if wanted.trace is None else WatchedTimeline(self.connection_made)
        self._ssl_context, self._proxy_ssl_context = contexts
        self._nursery = nursery
        self._settled: dict[str, trio.Event] = {}

    def open_pool(self) -> trio_h2.open_pool:
        """A pool. It does not try again: transfers do, who know what has been written of them."""
        return trio_h2.open_pool(
            ssl_context=self._ssl_context,
            max_connections_per_origin=1,
            retries=0,
            connect_timeout=self.wanted.connect_timeout,
            proxy=self.wanted.proxy,
            proxy_ssl_context=self._proxy_ssl_context,
            open_stream=self.sockets.open_stream,
            trace=self.timeline or self,
        )

    def use(self, pool: trio_h2.Pool) -> None:
        """The pool is there."""
        self.pool = pool

    def settled(self, origin: str) -> trio.Event:
        """Set when the settings of a server are known, before which streams above its limit would be refused."""
        return self._settled.setdefault(origin, trio.Event())

    def connection_made(self, connection: trio_h2.ClientConnection) -> None:
        """As a Trace is told."""
        self._nursery.start_soon(self._watch, connection)
        if self.wanted.verbose:
            self._nursery.start_soon(self._show_events, connection)

    async def _watch(self, connection: trio_h2.ClientConnection) -> None:
        try:
            await connection.settings_received()
        except trio_h2.H2Error:
            return  # its requests say so
        self.settled(f"{connection.scheme}://{connection.authority}").set()

    async def _show_events(self, connection: trio_h2.ClientConnection) -> None:
        async for event in connection.events():
            self.show("connection", describe(event))

    def show(self, where: str, what: str) -> None:
        """Say what happens, with -v."""
        if self.wanted.verbose:
            tell(f"{where}: {what}")

    def note(self, words: str) -> None:
        """Say something that is no error, but with --silent."""
        if not self.wanted.silent:
            self._say(f"Note: {words}")

    def complain(self, words: str) -> None:
        """Say that something went wrong, but with --silent and without --show-error."""
        if self.wanted.says_errors:
            self._say(f"Error: {words}")

    def _say(self, line: str) -> None:
        if self.bars is None:
            tell(line)
        else:
            self.bars.say(line)
