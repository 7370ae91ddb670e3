"""`trio-h2 demo`: a hundred streams on one connection, one of which has a slow reader.

A TLS server and a client on loopback, in this process. Every stream is a download that goes on for some time, and
whose trailers say how long it was and what its checksum is. One of the readers takes next to nothing until the
others are done. What each stream waits for is read off `Connection.statistics()` of both ends.
"""

from __future__ import annotations

import ssl
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import partial

import trio
import trustme
from rich.console import Console
from rich.live import Live

import trio_h2

from ..shared.saying import complain, reason, say
from ..shared.traces import save_trace
from .demo_view import DONE, RUNNING, Snapshot, as_line, as_text, size

__all__ = ["Demo", "demo"]

STREAMS = 100
SLOW = 41
"""Which of the streams has the slow reader, counted from 0."""

FIRST_END, LAST_END = 1.5, 5.0
"""Seconds for which the shortest download goes on, and the longest."""

LEAST = 512 * 1024
"""Octets that every download has at least: more than its window, so that a slow reader is one on any machine."""

TIME_LIMIT = 60.0
CHUNK = bytes(range(256)) * 256
SLOW_READ, SLOW_PAUSE = 1024, 0.25
"""What the slow reader takes at a time, in octets, and how long it then rests, in seconds."""

REFRESH, PLAIN_REFRESH = 0.1, 1.0
"""Seconds from one look to the next: on a terminal, and as lines."""

HOST = "127.0.0.1"


async def demo(trace: str | None = None) -> int:
    """Run the demonstration on standard output, and return the exit code. `trace` is a file for a recording of it."""
    problems: list[str] = []
    timeline = None if trace is None else trio_h2.Timeline()
    try:
        with trio.fail_after(TIME_LIMIT):
            problems += await Demo(FIRST_END, LAST_END, timeline).run(Console())
    except* trio.TooSlowError:
        problems.append(f"not done in {TIME_LIMIT:g} seconds")
    except* (OSError, trio_h2.H2Error) as group:
        problems += map(reason, group.exceptions)
    for problem in problems:
        complain(problem)
    is_saved = timeline is None or trace is None or save_trace(timeline, trace)
    return 0 if is_saved and not problems else 1


class Demo:
    """One run of it.

    Args:
        first_end, last_end: seconds for which the shortest download goes on, and the longest.
        trace: is told what both ends of the connection do.
    """

    def __init__(self, first_end: float, last_end: float, trace: trio_h2.Trace | None = None) -> None:
        self._ends = first_end, last_end
        self._trace = trace
        self._started = 0.0
        self._server: trio_h2.Connection | None = None
        self._stream_ids: dict[int, int | None] = {}
        self._received = [0] * STREAMS
        self._ended: set[int] = set()
        self._others_ended = trio.Event()
        self._then: Snapshot | None = None
        self._problems: list[str] = []

    async def run(self, console: Console) -> list[str]:
        """Show it on `console`, and return what went wrong. Raises OSError and H2Error, in a group."""
        authority = trustme.CA()
        server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(HOST).configure_cert(server_context)
        client_context = ssl.create_default_context()
        authority.configure_trust(client_context)
        serving = partial(trio_h2.serve_h2, self._handle, 0, host=HOST, ssl_context=server_context, trace=self._trace)
        async with trio.open_nursery() as nursery:
            server: trio_h2.H2Server = await nursery.start(serving)
            url = f"https://{HOST}:{server.port}"
            async with trio_h2.connect(url, ssl_context=client_context, trace=self._trace) as connection:
                self._client = connection
                self._started = trio.current_time()
                await self._download_all(console)
                await connection.ping()  # what was sent before it has arrived: both ends are at rest
                self._conclude()
            await server.shutdown()
        return self._problems

    # The server

    async def _handle(self, stream: trio_h2.ServerStream) -> None:
        self._server = stream.connection
        first, last = self._ends
        number = int(str(stream.request.path).removeprefix("/"))
        end = self._started + first + (last - first) * number / STREAMS
        sent = checksum = 0
        await stream.send_response(200, [("content-type", "application/octet-stream")])
        while sent < LEAST or trio.current_time() < end:
            await stream.send_all(CHUNK)
            sent += len(CHUNK)
            checksum = zlib.crc32(CHUNK, checksum)
        await stream.send_trailers([("octets", str(sent)), ("crc32", str(checksum))])

    # The client

    async def _download_all(self, console: Console) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._show, console)
            async with trio.open_nursery() as downloads:
                for number in range(STREAMS):
                    downloads.start_soon(self._download, number)
            nursery.cancel_scope.cancel()

    async def _download(self, number: int) -> None:
        try:
            async with self._client.stream("GET", f"/{number}") as stream:
                self._stream_ids[number] = stream.stream_id
                await self._read(number, stream)
        except trio_h2.H2Error as error:
            self._problems.append(f"stream {number}: {reason(error)}")
        self._ended.add(number)
        if number != SLOW and len(self._ended - {SLOW}) == STREAMS - 1:
            self._then = self._look()
            self._others_ended.set()

    async def _read(self, number: int, stream: trio_h2.ClientStream) -> None:
        checksum = 0
        while data := await stream.receive_some(SLOW_READ if self._dawdles(number) else None):
            self._received[number] += len(data)
            checksum = zlib.crc32(data, checksum)
            if self._dawdles(number):
                with trio.move_on_after(SLOW_PAUSE):
                    await self._others_ended.wait()
        trailers = stream.trailers or trio_h2.Headers()
        if (trailers.get("octets"), trailers.get("crc32")) != (str(self._received[number]), str(checksum)):
            self._problems.append(f"stream {number}: its body is not what the server sent")

    def _dawdles(self, number: int) -> bool:
        return number == SLOW and not self._others_ended.is_set()

    # What there is to see

    async def _show(self, console: Console) -> None:
        if not console.is_terminal:
            while True:
                await trio.sleep(PLAIN_REFRESH)
                say(as_line(self._look()))
        with Live(console=console, auto_refresh=False) as live:
            try:
                while True:
                    await trio.sleep(REFRESH)
                    live.update(as_text(self._look()), refresh=True)
            finally:
                if len(self._ended) == STREAMS:  # and not interrupted
                    live.update(as_text(self._look()), refresh=True)

    def _look(self) -> Snapshot:
        client = self._client.statistics()
        senders = () if self._server is None else self._server.statistics().streams
        waits = {stream.stream_id: stream.waits_for for stream in senders}
        return Snapshot(
            seconds=trio.current_time() - self._started,
            senders=tuple(
                DONE if number in self._ended else waits.get(self._stream_ids.get(number)) or RUNNING
                for number in range(STREAMS)
            ),
            readers=Counter(stream.waits_for for stream in client.streams if stream.waits_for is not None),
            slow=next((each for each in client.streams if each.stream_id == self._stream_ids.get(SLOW)), None),
            unread=client.unread,
            window=client.inbound_window,
            read=sum(self._received),
            slow_read=self._received[SLOW],
        )

    def _conclude(self) -> None:
        """Say what happened, and whether it is as it should be; what is not is a problem."""
        say("")
        say("What happened:")
        for holds, what in self._claims():
            say(f"  {'yes' if holds else ' NO'}  {what}")
            if not holds:
                self._problems.append(f"this should hold: {what}")

    def _claims(self) -> Iterator[tuple[bool, str]]:
        then, now = self._then, self._look()
        assert then is not None
        assert self._server is not None
        yield (
            not self._problems,
            f"{STREAMS} streams moved {size(now.read)} in {now.seconds:.1f} s over one connection, every byte checked",
        )
        yield (
            then.slow is not None,
            f"{STREAMS - 1} of them finished in {then.seconds:.1f} s; by then the slow reader had taken "
            f"{size(then.slow_read)}, and it held nobody up",
        )
        if then.slow is not None and then.slow.inbound_window is not None:
            own = then.slow.inbound_window
            yield (
                then.unread == then.slow.unread <= own.target,
                f"it cost no more than its own window: {size(then.slow.unread)} lay unread, of {size(own.target)}",
            )
        window = now.window
        yield (
            window.available + window.held + window.unannounced == window.target and window.held == now.unread == 0,
            f"the credit balances to the byte: {window.available:,} available + {window.held:,} held + "
            f"{window.unannounced:,} not yet announced = {window.target:,}",
        )
        allowed = self._server.statistics().outbound_window
        yield allowed == window.available, f"and the server counts the same: it may send {allowed:,}"
