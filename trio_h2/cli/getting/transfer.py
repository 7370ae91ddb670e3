"""`Transfer`: one URL of `trio-h2 get`, with its redirects and its retries, to its end."""

from __future__ import annotations

import math
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import trio
from rich.progress import TaskID

import trio_h2

from ..shared.event_words import shown_octets, shown_section
from ..shared.exit_codes import ExitCode, Failure, failure_of
from ..shared.locations import Location, redirected
from ..shared.saying import printable, printable_octets
from .get_options import Request
from .outputs import Output
from .report import Report
from .session import Session

__all__ = ["Transfer"]

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 600.0
"""Seconds before the first retry, twice as many before the next, and at most so many, as curl has it."""

TRIES = 5
"""How often a request is made that the server certainly did not process (`H2Error.safe_to_retry`)."""

TRANSIENT_STATUSES = (408, 429, 500, 502, 503, 504)
REDIRECTS = range(300, 400)

Next = tuple[Request, Location]
"""What a redirect makes of a request, and where it leads."""


class Transfer:
    """One URL on its way.

    Args:
        session: what all of them share.
        number: which it is, counted from 0.
        location: its URL.
        output: where its body goes.
        turn: set when all before it have written to standard output what they have for it.
        place: set when all before it have done so that write to the same place: standard output, or that file.

    Attributes:
        turn: as it was given.
        joined: set when its request waits for a stream, or never will: the next one to the same origin may do so.
        done: set when it has written everything: the next one's turn.
        failure: why it failed; None while it has not.
    """

    def __init__(
        self,
        session: Session,
        number: int,
        location: Location,
        output: Output,
        turn: trio.Event,
        place: trio.Event,
    ) -> None:
        self._session = session
        self._options = session.wanted
        self._number = number
        self._location = location
        self._output = output
        self.turn = turn
        self._place = place
        self._scope = trio.CancelScope()
        self._pool = session.pool
        self._follows = False
        self.joined = trio.Event()
        self.done = trio.Event()
        self.failure: Failure | None = None
        self.report = self._new_report()

    def _new_report(self) -> Report:
        return Report(self._number, self._location, self._output.name)

    @property
    def url(self) -> str:
        """Its URL, as it was given."""
        return self._location.url

    @property
    def site(self) -> str:
        """Where its first request goes."""
        return self._location.site

    @property
    def name(self) -> str:
        """What it is called among others: its file, or the end of its URL."""
        return Path(self._output.name).name or self._location.file_name or self._location.origin

    def fail(self, failure: Failure) -> None:
        """It has failed after its body, if it had not before."""
        self.failure = self.failure or failure

    # Tries

    async def run(self) -> None:
        """Fetch it, as often as --retry says. Raises BrokenPipeError of standard output."""
        pause = FIRST_PAUSE if self._options.retry_delay is None else self._options.retry_delay
        for left in range(self._options.retries, -1, -1):
            self.failure = await self._tried(left)
            if self.failure is None or not self.failure.transient or not left:
                break
            seconds = self.failure.retry_after or pause
            again = f"again in {seconds:g} s, {left} {'retry' if left == 1 else 'retries'} left"
            self._session.note(f"{self.url}: {self.failure.words}: {again}")
            await trio.sleep(seconds)
            if self._options.retry_delay is None:
                pause = min(2 * pause, LONGEST_PAUSE)
        self.report.end(self.failure)

    async def _tried(self, left: int) -> Failure | None:
        """One try, of which so many are left; why it failed, or None."""
        self.report = self._new_report()
        bars = self._session.bars
        bar = None if bars is None else bars.begin(self.name)
        failure = None
        try:
            try:
                await self._in_time(left, bar)
            finally:
                await self._output.end(whole=False)
        except Failure as error:
            failure = error
        self.joined.set()
        self._session.settled(self.site).set()
        if bars is not None and bar is not None:
            bars.end(bar, self.report.downloaded, whole=failure is None)
        return failure

    async def _in_time(self, left: int, bar: TaskID | None) -> None:
        limit = self._options.max_time
        with trio.CancelScope(deadline=trio.current_time() + limit) as self._scope:
            async with AsyncExitStack() as own_pools:
                self._pool = self._session.pool
                await self._follow(left, bar, own_pools)
        if self._scope.cancelled_caught:
            raise Failure(ExitCode.TIMEOUT, f"not done in {limit:g} seconds: {self.report.downloaded} bytes received")

    # Requests, one for each redirect

    async def _follow(self, left: int, bar: TaskID | None, own_pools: AsyncExitStack) -> None:
        request, location = self._options.request, self._location
        self.report.ask(location, request.method, redirected=False)
        while True:
            try:
                async with AsyncExitStack() as opened:
                    stream = await self._open(request, location, opened, own_pools)
                    following = await self._received(stream, request, location, left, bar)
            except (trio_h2.H2Error, OSError) as error:
                if isinstance(error, BrokenPipeError):
                    raise
                raise await self._failure_of(error, location) from error
            if following is None:
                return
            request, location = following
            self.report.ask(location, request.method, redirected=True)

    async def _failure_of(self, error: trio_h2.H2Error | OSError, location: Location) -> Failure:
        proxied = self._options.proxy is not None
        spoken = None
        answered = self.report.status != 0
        if not (answered or proxied or isinstance(error, trio_h2.ConnectError | trio_h2.StreamResetError)):
            sockets, limit = self._session.sockets, self._options.connect_timeout
            given_up = isinstance(error, trio_h2.ConnectionTerminatedError) and error.__cause__ is None
            if given_up and sockets.silent(location.host, location.port):
                words = f"it sent no SETTINGS within {min(limit, trio_h2.Config().handshake_timeout):g} seconds"
                return Failure(ExitCode.TIMEOUT, words, location.origin)
            spoken = await sockets.spoken(location.scheme, location.host, location.port)
        return failure_of(error, location.origin, answered=answered, proxied=proxied, spoken=spoken)

    async def _open(
        self, request: Request, location: Location, opened: AsyncExitStack, own_pools: AsyncExitStack
    ) -> trio_h2.ClientStream:
        """Make the request, and wait for the response's headers.

        The first requests of all transfers wait for a stream in the order of their URLs. What follows cannot: all
        streams that the origin allows may be open already, and wait for this one's turn. Then it gets a connection of
        its own.
        """
        for tries_left in range(TRIES - 1, -1, -1):
            timeouts = trio_h2.Timeouts(acquire=0 if self._follows else math.inf)
            try:
                block = self._pool.stream(
                    request.method,
                    location.origin,
                    target=location.target,
                    headers=request.octets,
                    end_stream=True if request.body is None else None,
                    body=request.body,
                    authority=request.authority,
                    timeouts=timeouts,
                )
            except ValueError as error:
                raise Failure(ExitCode.USAGE, str(error)) from error
            self.joined.set()
            self._follows = self._session.several
            try:
                stream = await opened.enter_async_context(block)
                self._session.show(f"stream {stream.stream_id}", f"{request.method} {location.effective}")
                return stream
            except trio_h2.RequestTimeoutError as error:
                if error.phase != "acquire":
                    raise
                self._pool = await own_pools.enter_async_context(self._session.open_pool())
            except (trio_h2.ConnectError, trio_h2.HandshakeError):
                raise
            except trio_h2.H2Error as error:
                if not (error.safe_to_retry and tries_left):
                    raise
        raise AssertionError

    async def _received(
        self, stream: trio_h2.ClientStream, request: Request, location: Location, left: int, bar: TaskID | None
    ) -> Next | None:
        """Take the response; what to ask for next, if it is a redirect that is followed."""
        head = await stream.response()
        sections = self._note_head(stream, head, request)
        following = self._redirect(head, request, location)
        failed = self._options.fail and head.status >= 400
        if following is None and left and head.status in TRANSIENT_STATUSES:
            after = _retry_after(head.headers)
            raise Failure(ExitCode.STATUS, f"HTTP status {head.status}", transient=True, retry_after=after)
        if self._options.include or self._options.only_head:
            await self._write_fields(sections)
        if following is not None:
            if 0 <= self._options.max_redirects <= self.report.redirects:
                self.report.not_followed(following[1].effective)
                raise Failure(ExitCode.REDIRECTS, f"more than {self._options.max_redirects} redirects")
            return following
        if not self._options.only_head and (self._options.fail_body or not failed):
            await self._copy(stream, head, bar)
        if failed:
            raise Failure(ExitCode.STATUS, f"HTTP status {head.status}")
        await self._wait_for_place()
        await self._output.end(whole=True)
        return None

    def _note_head(self, stream: trio_h2.ClientStream, head: trio_h2.Response, request: Request) -> bytes:
        """Report of a response's headers; them as they are written, and those of interim responses."""
        sections = b""
        for response in (*stream.informational, head):
            words = f"response {response.status} {shown_section(response.headers)}"
            self._session.show(f"stream {stream.stream_id}", words)
            sections += _section(response)
        self.report.answer(head, stream.connection, len(sections), len(request.body or b""))
        return sections

    def _redirect(self, head: trio_h2.Response, request: Request, location: Location) -> Next | None:
        """What a redirect leads to; None if this is none, or it is not to be followed."""
        reference = head.headers.get("location")
        if head.status not in REDIRECTS or not reference:  # an empty one would lead to where it comes from
            return None
        if self._options.follow:
            to = redirected(location, reference)
            return request.redirected(head.status, other_origin=to.origin != location.origin), to
        try:
            url = redirected(location, reference).effective
        except Failure:
            url = reference
        self.report.not_followed(url)
        if not self._options.include and not self._options.only_head:
            words = f"a redirect, {head.status}, to {url}; -L follows it"
            self._session.note(f"{self.url}: {words}")
        return None

    # Its body

    async def _copy(self, stream: trio_h2.ClientStream, head: trio_h2.Response, bar: TaskID | None) -> None:
        bars, name = self._session.bars, f"stream {stream.stream_id}"
        length = head.headers.get("content-length", "")
        if bars is not None and bar is not None and length.isdecimal():
            bars.expect(bar, int(length))
        encoded = head.headers.get("content-encoding", "identity") != "identity"
        async for chunk in stream:
            self._session.show(name, f"data {shown_octets(chunk)}")
            self.report.receive(len(chunk))
            if bars is not None and bar is not None:
                bars.advance(bar, len(chunk))
            if self._output.shy and (encoded or b"\0" in chunk):
                what = f"a body with content-encoding {head.headers['content-encoding']}" if encoded else "binary data"
                words = f"{what} is not written to a terminal: -o FILE writes it to a file, -o - to the terminal"
                raise Failure(ExitCode.WRITE, printable(words))
            await self._write(chunk)
        if stream.trailers is not None:
            self._session.show(name, f"trailers {shown_section(stream.trailers)}")
            if self._options.include:
                await self._write_fields(_fields(stream.trailers))
        self._session.show(name, "end")

    async def _write_fields(self, lines: bytes) -> None:
        await self._write(printable_octets(lines) if self._output.shy else lines)

    async def _write(self, data: bytes) -> None:
        """Write it when it is its turn. Until then the stream holds one chunk, and leaves its window unread."""
        await self._wait_for_place()
        await self._output.write(data)

    async def _wait_for_place(self) -> None:
        """The time that others take to write to the same place is none of this transfer's."""
        if not self._place.is_set():
            left = self._scope.deadline - trio.current_time()
            self._scope.deadline = math.inf
            await self._place.wait()
            self._scope.deadline = trio.current_time() + left


def _section(response: trio_h2.Response) -> bytes:
    """A header section as curl writes those of HTTP/2."""
    return b"HTTP/2 %d \r\n%s\r\n" % (response.status, _fields(response.headers))


def _fields(headers: trio_h2.Headers) -> bytes:
    return b"".join(b"%s: %s\r\n" % field for field in headers)


def _retry_after(headers: trio_h2.Headers) -> float | None:
    """Seconds that a Retry-After field asks for (RFC 9110 section 10.2.3)."""
    text = headers.get("retry-after", "")
    if text.isdecimal():
        return float(text)
    try:
        left = parsedate_to_datetime(text) - datetime.now(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, left.total_seconds())
