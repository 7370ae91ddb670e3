"""`trio-h2 get`: several URLs of one origin at once, over one connection."""

from __future__ import annotations

import select
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import trio

import trio_h2

from .process import complain, output_failed, printable, reason, tell

__all__ = ["BROKEN_PIPE", "Location", "client_context", "get", "parse_url"]

BROKEN_PIPE = 128 + 13
"""The exit code that shells know a command by which SIGPIPE ended."""

AHEAD = 100
"""How many streams are open at once. They wait for their turn with a full window each, which has to fit into what
the connection may hold unread (`Config.max_unread`): else the stream whose turn it is would get no credit."""

SHOWN_OCTETS = 32
"""-v shows octets as they are up to this many, and beyond it how many they are."""

HEADERS = [("user-agent", f"trio-h2/{trio_h2.__version__}"), ("accept", "*/*")]


@dataclass(frozen=True)
class Location:
    """A URL as HTTP/2 needs it.

    Attributes:
        url: as it was given.
        origin: scheme, host and port (RFC 6454): what a connection is made to.
        target: path and query: what is asked for on it.
    """

    url: str
    origin: str
    target: str


def parse_url(url: str) -> Location:
    """Take a URL apart. Raises ValueError, saying what is wrong with it, but not repeating a password."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise ValueError(f"it must start with http:// or https://, not {url!r}")
        trio_h2.connect(f"{parts.scheme}://{parts.netloc}")  # only made, not entered: it judges host and port
    except ValueError:
        if "@" in url:  # a password may hold anything, "/" say, and then be taken for another part of the URL
            raise ValueError(
                "url must be scheme, host and port alone, without a user or a password, and then a path;"
                " one with an @ is not repeated here"
            ) from None
        raise
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    port = parts.port or (443 if parts.scheme == "https" else 80)
    # What people type and paste into a URL is percent-encoded; what is encoded already stays.
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + ("?" if parts.query else "")
    return Location(url, f"{parts.scheme}://{host}:{port}", target + quote(parts.query, safe="/?%:@!$&'()*+,;=~[]"))


async def get(locations: Sequence[Location], *, verify: bool, verbose: bool, max_time: float) -> int:
    """Fetch locations of one origin, their bodies to standard output in their order. Returns the exit code."""
    fetcher = _Fetcher(locations, verbose=verbose)
    origin = locations[0].origin
    with trio.move_on_after(max_time) as scope:
        try:
            async with trio_h2.connect(origin, ssl_context=client_context(origin, verify=verify)) as connection:
                await fetcher.run(connection)
        except trio_h2.HandshakeError as error:
            hint = " (-k goes on without)" if isinstance(error.__cause__, ssl.SSLCertVerificationError) else ""
            return _failed(f"{origin}: {reason(error)}{hint}")
        except (OSError, trio_h2.H2Error) as error:
            return _failed(f"{origin}: {reason(error)}")
    if scope.cancelled_caught:
        return _failed(f"{origin}: not done in {max_time:g} seconds: {fetcher.progress()}")
    return fetcher.exit_code


def _failed(message: str) -> int:
    complain(message)
    return 1


def client_context(origin: str, *, verify: bool) -> ssl.SSLContext | None:
    """What verifies the server of an origin, or does not; None where there is no TLS."""
    if origin.startswith("http:"):
        return None
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class _Fetcher:
    """Opens a stream for each location, in order, and lets them write their bodies in that order.

    A stream that waits for its turn is not read, so flow control makes its server wait, and no body is in memory but
    for a window's worth. The stream whose turn it is was opened before all that wait, so however few streams the
    peer allows, it has one.
    """

    def __init__(self, locations: Sequence[Location], *, verbose: bool) -> None:
        self.exit_code = 0
        self._locations = locations
        self._verbose = verbose
        self._output = _Output()
        self._ahead = trio.Semaphore(AHEAD)
        self._complete = 0
        self._lost: list[trio_h2.H2Error] = []

    def progress(self) -> str:
        """How far it got, in words."""
        return f"{self._complete} of {len(self._locations)} URLs are complete"

    async def run(self, connection: trio_h2.ClientConnection) -> None:
        """Fetch everything; what goes wrong is said, and seen in `exit_code`."""
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            if self._verbose:
                nursery.start_soon(self._show_connection, connection)
            await self._fetch_all(connection)
            nursery.cancel_scope.cancel()
        if self._lost:
            # One connection was lost, not a hundred streams.
            self._fail(f"{self._locations[0].origin}: {reason(self._lost[0])}: {self.progress()}")

    async def _fetch_all(self, connection: trio_h2.ClientConnection) -> None:
        turn = trio.Event()
        turn.set()
        async with trio.open_nursery() as nursery:
            for location in self._locations:
                await self._ahead.acquire()
                fetch = _Fetch(location, turn)
                turn = fetch.done
                nursery.start_soon(self._fetch, connection, fetch)
                await fetch.opened.wait()
                if location is self._locations[0] and len(self._locations) > 1:
                    await _learn_settings(connection)

    async def _fetch(self, connection: trio_h2.ClientConnection, fetch: _Fetch) -> None:
        try:
            async with connection.stream("GET", fetch.location.target, headers=HEADERS) as stream:
                self._show(f"stream {stream.stream_id}", f"GET {fetch.location.url}")
                fetch.opened.set()
                await self._copy(stream, fetch)
        except trio_h2.H2Error as error:
            self._lost.append(error)
            if fetch.status >= 400:
                self._fail(f"{fetch.location.url}: HTTP status {fetch.status}")
        fetch.opened.set()
        await fetch.turn.wait()
        fetch.done.set()
        self._ahead.release()

    async def _copy(self, stream: trio_h2.ClientStream, fetch: _Fetch) -> None:
        name = f"stream {stream.stream_id}"
        failure = None
        async for event in stream.events():
            self._show(name, describe(event))
            if isinstance(event, trio_h2.ResponseReceived):
                fetch.answered(int(event.headers[b":status"]))
                failure = f"HTTP status {fetch.status}" if fetch.status >= 400 else None
            elif isinstance(event, trio_h2.DataReceived):
                # Waiting here, the stream holds this one chunk and leaves the rest of its window unread.
                await fetch.turn.wait()
                await self._write(event.data)
            elif isinstance(event, trio_h2.StreamReset):
                who = "the server" if event.remote_reset else "trio-h2, for an invalid response,"
                early = f"{who} ended it early: {_word(event.error_code)} {event.reason}".rstrip()
                failure = early if failure is None else f"{failure}, and {early}"
        if failure is None:
            self._complete += 1
        else:
            self._fail(f"{fetch.location.url}: {failure}")

    async def _write(self, data: bytes) -> None:
        try:
            await self._output.write(data)
        except BrokenPipeError:
            # Whoever reads has enough (`trio-h2 get ... | head`): there is nothing to say, and nothing more to do.
            self.exit_code = BROKEN_PIPE
            self._scope.cancel()
        except OSError as error:
            self._fail(output_failed(error))
            self._scope.cancel()

    async def _show_connection(self, connection: trio_h2.ClientConnection) -> None:
        async for event in connection.events():
            self._show("connection", describe(event))

    def _show(self, where: str, what: str) -> None:
        if self._verbose:
            tell(f"{where}: {what}")

    def _fail(self, message: str) -> None:
        complain(message)
        self.exit_code = 1


async def _learn_settings(connection: trio_h2.ClientConnection) -> None:
    """Wait for the peer's SETTINGS, which come before any answer of its: streams above its limit it would refuse."""
    try:
        await connection.ping()
    except trio_h2.ConnectionTerminatedError:
        pass  # every stream will say so


class _Fetch:
    """One location on its way.

    Attributes:
        turn: set when everything before it is written.
        status: the final response's status, or 0 while there is none.
        opened: set when its stream is open, or never will be: the next one may open.
        done: set when it is written, or never will be: the next one's turn.
    """

    def __init__(self, location: Location, turn: trio.Event) -> None:
        self.location = location
        self.turn = turn
        self.status = 0
        self.opened = trio.Event()
        self.done = trio.Event()

    def answered(self, status: int) -> None:
        """The final response has this status."""
        self.status = status


class _Output:
    """Standard output, written in a thread: a reader that is slow (a pager) must not stop the connection.

    It is written past Python's buffer, whose lock a thread that is left behind in a write would take with it.
    """

    def __init__(self) -> None:
        self._file: Any = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)

    async def write(self, data: bytes) -> None:
        """Write all of it. Raises OSError; cancelled, the thread is left behind."""
        await trio.to_thread.run_sync(self._write, data, abandon_on_cancel=True)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            written = self._file.write(rest)
            if written is None:  # somebody made it non-blocking, and it is full
                select.select([], [self._file], [])
            else:
                rest = rest[written:]


def describe(event: trio_h2.Event) -> str:
    """An event by its name and what it holds, in one line."""
    parts = [type(event).__name__]
    for name in getattr(event, "__match_args__", ()):
        value = getattr(event, name)
        # The stream is named before the event, and what came with it is an event of its own.
        if name != "stream_id" and value is not None and not isinstance(value, trio_h2.Event):
            parts.append(f"{name}={_value(value)}")
    return " ".join(parts)


def _value(value: object) -> str:
    if isinstance(value, trio_h2.Headers):
        return "[" + ", ".join(f"{printable(name)}: {printable(content)}" for name, content in value) + "]"
    if isinstance(value, bytes):
        return repr(value) if len(value) <= SHOWN_OCTETS else f"<{len(value)} bytes>"
    if isinstance(value, dict):
        return "[" + ", ".join(f"{_word(code)}: {changed.new_value}" for code, changed in value.items()) + "]"
    return _word(value)


def _word(value: object) -> str:
    """An error code or a setting by its name, when RFC 9113 gives it one."""
    return str(getattr(value, "name", value))
