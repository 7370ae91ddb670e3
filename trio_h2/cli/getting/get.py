"""`trio-h2 get`: URLs at once, of any origins, and what they have for standard output in the order of the URLs.

A transfer that waits for its turn at standard output is not read, so flow control makes its server wait, and no body is
in memory but for a window's worth. The requests to an origin wait for a stream in the order of their URLs, so however
few streams it allows, the one whose turn it is has one.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Sequence

import trio

from ..shared.exit_codes import BROKEN_PIPE, ExitCode, Failure
from ..shared.locations import Location
from ..shared.saying import tell_as_it_is
from ..shared.traces import save_trace
from .get_options import GetOptions
from .outputs import STANDARD_OUTPUT, FileOutput, Output, StandardOutput
from .progress import progress_bars
from .session import Session
from .transfer import Transfer
from .write_out import written_out

__all__ = ["get"]

AHEAD = 100
"""How many transfers are under way at once. They wait for their turn with a full window each, which has to fit into
what the connection may hold unread (`Config.max_unread`): else the one whose turn it is would get no credit."""


async def get(
    locations: Sequence[Location],
    options: GetOptions,
    *,
    files: Sequence[str | None] = (),
    ssl_context: ssl.SSLContext,
    proxy_ssl_context: ssl.SSLContext | None = None,
) -> int:
    """Fetch locations. Returns the exit code: of the first of them that failed, in their order.

    Args:
        locations: what to fetch.
        options: how.
        files: for each where its body goes: a file's name, `-` for standard output even where it is a terminal and
            the body is no text, or None for standard output.
        ssl_context: for TLS.
        proxy_ssl_context: for TLS with a proxy; by default as for origins.
    """
    getter = _Getter(locations, options, files)
    try:
        async with trio.open_nursery() as nursery:
            await getter.run(ssl_context, proxy_ssl_context or ssl_context, nursery)
            nursery.cancel_scope.cancel()
    finally:
        is_saved = getter.save_trace()
    return getter.exit_code or (0 if is_saved else int(ExitCode.WRITE))


class _Getter:
    """One run of it."""

    def __init__(self, locations: Sequence[Location], options: GetOptions, files: Sequence[str | None]) -> None:
        self._locations = locations
        self._options = options
        self._files = [*files, *[None] * (len(locations) - len(files))]
        self._paths = [os.path.realpath(file or "-") for file in self._files]
        self._transfers: list[Transfer] = []
        self._ahead = trio.Semaphore(AHEAD)
        self._broken_pipe = False
        self._complete = 0
        self._shared: dict[str, Failure] = {}

    @property
    def exit_code(self) -> int:
        """Of the first transfer that failed."""
        if self._broken_pipe:
            return BROKEN_PIPE
        return next((int(each.failure.exit_code) for each in self._transfers if each.failure is not None), 0)

    async def run(self, ssl_context: ssl.SSLContext, proxy_ssl_context: ssl.SSLContext, nursery: trio.Nursery) -> None:
        """Fetch everything; what goes wrong is said, and seen in `exit_code`."""
        stdout = StandardOutput(binary="-" in self._files)
        bars = progress_bars() if self._shows_progress(stdout) else None
        several = len(self._locations) > 1
        contexts = ssl_context, proxy_ssl_context
        self._session = session = Session(self._options, contexts, stdout, bars, nursery, several=several)
        if bars is not None:
            nursery.start_soon(bars.run)
        for name in self._options.request.left_out:
            session.note(f"-H {name}: HTTP/2 has no such field, and it is not sent")
        async with session.open_pool() as pool:
            session.use(pool)
            await self._fetch_all()
        for shared, failure in self._shared.items():
            self._session.complain(f"{shared}: {failure.words}{self._progress}")

    def save_trace(self) -> bool:
        """Write the recording, if one was asked for; whether that was possible."""
        timeline, file = self._session.timeline, self._options.trace
        return timeline is None or file is None or save_trace(timeline, file)

    def _shows_progress(self, stdout: StandardOutput) -> bool:
        """On a terminal, and where nothing else is written to it: also not by who reads a pipe."""
        options = self._options
        if options.silent or options.verbose or not sys.stderr.isatty():
            return False
        return all(file not in (None, "-") for file in self._files) or stdout.leads_to_file

    @property
    def _progress(self) -> str:
        """How far it got, in words; nothing where there is one URL."""
        if len(self._locations) == 1:
            return ""
        return f": {self._complete} of {len(self._locations)} URLs are complete"

    async def _fetch_all(self) -> None:
        at_once = turn = trio.Event()
        at_once.set()
        joined: dict[str, trio.Event] = {}
        files: dict[str, trio.Event] = {}
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            wanted = zip(self._locations, self._files, self._paths, strict=True)
            for number, (location, file, path) in enumerate(wanted):
                await self._ahead.acquire()
                output: Output = self._session.standard_output
                place = turn
                if file is not None and file != "-":
                    output, place = FileOutput(file), files.get(path, at_once)
                transfer = Transfer(self._session, number, location, output, turn, place)
                self._transfers.append(transfer)
                if path != os.devnull:  # it takes what all of them have at once
                    files[path] = transfer.done
                nursery.start_soon(self._fetch, transfer, joined.get(location.site))
                joined[location.site] = transfer.joined
                if output is self._session.standard_output or self._options.write_out is not None:
                    turn = transfer.done

    async def _fetch(self, transfer: Transfer, before: trio.Event | None) -> None:
        """Fetch one, when the one before it to the same origin waits for a stream, or has one."""
        try:
            if before is not None:
                await before.wait()
                await self._session.settled(transfer.site).wait()
            await transfer.run()
            self._conclude(transfer)
            await transfer.turn.wait()
            if self._options.write_out is not None:
                await self._write_out(self._options.write_out, transfer)
        except Failure as failure:  # of standard output, when its body is there already
            transfer.fail(failure)
            self._give_up(failure)
        except BrokenPipeError:
            # Whoever reads has enough (`trio-h2 get ... | head`): there is nothing to say, and nothing more to do.
            self._broken_pipe = True
            self._scope.cancel()
        transfer.done.set()
        self._ahead.release()

    def _conclude(self, transfer: Transfer) -> None:
        failure = transfer.failure
        if failure is None:
            self._complete += 1
        elif failure.shared is None:
            self._session.complain(f"{transfer.url}: {failure.words}")
        elif failure.shared == STANDARD_OUTPUT:
            self._give_up(failure)
        else:  # one connection was lost, not a hundred streams
            self._shared.setdefault(failure.shared, failure)

    def _give_up(self, failure: Failure) -> None:
        """Standard output takes nothing."""
        self._session.complain(failure.words)
        self._scope.cancel()

    async def _write_out(self, text: str, transfer: Transfer) -> None:
        pieces: dict[str, str] = {"stdout": "", "stderr": ""}
        shown = {"stdout": self._session.standard_output.shy, "stderr": sys.stderr.isatty()}
        terminals = [name for name, is_terminal in shown.items() if is_terminal]
        for stream, piece in written_out(text, transfer.report, self._session.complain, terminals=terminals):
            pieces[stream] += piece
        if pieces["stderr"]:
            tell_as_it_is(pieces["stderr"])
        if pieces["stdout"]:
            await self._session.standard_output.write(pieces["stdout"].encode("utf-8", "surrogateescape"))
