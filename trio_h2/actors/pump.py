"""Pump: what `request()` sends while it reads, in the stream's own task.

The body may be the caller's iterator. Its code runs here, so it is interrupted as the caller's would be, what it raises
is kept for the caller, and `request()` does not return before it has been left.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import trio

from ..exceptions import RequestTimeoutError
from ..protocol.field_rules import Fields
from .errors import too_slow
from .sending import Sending

__all__ = ["Pump"]

Octets = bytes | bytearray | memoryview

END = object()
"""What comes after an iterator's last chunk."""


TIMED_PIECE = 64 * 1024
"""Octets that a `write_timeout` is for, where a body has more in one."""


class Pump:
    """A body, then trailers or the end.

    Args:
        body: octets, or what makes the iterator of their chunks.
        trailers: what follows it.
        expect_continue: Whether it waits for a 100 (RFC 9110 section 10.1.1), or a final response that makes it moot.
        write_timeout: seconds that one chunk may wait for the peer; `math.inf` for as long as it takes.

    Attributes:
        begun: Whether the caller's iterator was asked for: what it gave is gone.
        iterator_raised: Whether `run` raised what the caller's iterator did: `request()` raises that whatever became of
            the stream.
    """

    def __init__(
        self,
        body: Octets | Callable[[], AsyncIterator[Octets]],
        trailers: Fields | None,
        *,
        expect_continue: bool,
        write_timeout: float = math.inf,
    ) -> None:
        self._body = body
        self._trailers = trailers
        self._write_timeout = write_timeout
        self._proceed = trio.Event() if expect_continue else None
        self._done = False
        self._left = None if isinstance(body, Octets) else trio.Event()
        self._scope: trio.CancelScope | None = None
        self._stopped = False
        self._error: BaseException | None = None
        self._when_done: Callable[[], None] | None = None
        self.begun = False
        self.iterator_raised = False

    def answered(self, status: str) -> None:
        """A response has come: to a pump that waits for a 100 the final one says whether the body is wanted."""
        if self._proceed is None or self._proceed.is_set():
            return
        if status == "100" or status.startswith("2"):
            self._proceed.set()
        elif not status.startswith("1"):
            self.stop()

    def stop(self) -> None:
        """The rest is not wanted any more."""
        self._stopped = True
        if self._scope is not None:
            self._scope.cancel()

    def end(self) -> None:
        """The pump has ended, or never runs."""
        self._done = True
        if self._left is not None:
            self._left.set()
        if self._when_done is not None:
            self._when_done()

    def fail(self, error: BaseException) -> None:
        """This is what `request()` has to raise."""
        self._error = error

    def raise_error(self) -> None:
        """Raise what `request()` has to, if there is something: once, because its traceback leads back here."""
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error from None
            finally:
                del error

    def when_done(self, call: Callable[[], None] | None) -> None:
        """Call this when nothing more is sent, whether all of it was or not; now, if that is so already. None: do not.

        A second call replaces the first.
        """
        self._when_done = call
        if call is not None and self._done:
            call()

    @property
    def whole(self) -> bytes | None:
        """The body, where it is octets that nothing has to precede or to follow; else None."""
        alone = self._trailers is None and self._proceed is None
        return self._body if alone and type(self._body) is bytes else None

    async def left(self) -> None:
        """Wait until the caller's iterator, if there is one, is no longer run."""
        if self._left is not None:
            with trio.CancelScope(shield=True):
                await self._left.wait()

    # In the stream's task

    async def run(self, stream: Sending, continue_timeout: float) -> None:
        """Send all of it, until `stop`. Raises as sending calls do, and what the caller's iterator does."""
        with trio.CancelScope() as self._scope:
            if self._stopped:
                self._scope.cancel()
            if self._proceed is not None:
                with trio.move_on_after(continue_timeout):
                    await self._proceed.wait()
            await self._send(stream)

    async def _send(self, stream: Sending) -> None:
        ends_with_body = self._trailers is None
        if isinstance(self._body, bytes | bytearray | memoryview):
            if self._write_timeout < math.inf:
                await self._send_pieces(stream, memoryview(self._body).cast("B"), ends_with_body)
            elif len(self._body) or ends_with_body:
                await stream.send_all(self._body, end_stream=ends_with_body)
        else:
            await self._send_chunks(stream, self._body)
            if ends_with_body:
                await stream.send_eof()
        if self._trailers is not None:
            await stream.send_trailers(self._trailers)

    async def _send_pieces(self, stream: Sending, body: memoryview, ends_with_body: bool) -> None:
        for start in range(0, len(body), TIMED_PIECE):
            await self._in_time(stream, body[start : start + TIMED_PIECE])
        if ends_with_body:
            await stream.send_eof()

    async def _in_time(self, stream: Sending, piece: Octets) -> None:
        if self._write_timeout == math.inf:
            await stream.send_all(piece)
            return
        with trio.move_on_after(self._write_timeout) as scope:
            await stream.send_all(piece)
        if scope.cancelled_caught:
            reason = f"the server took no more of the request's body for {self._write_timeout} seconds"
            raise too_slow(RequestTimeoutError(reason, phase="write"))

    async def _send_chunks(self, stream: Sending, make: Callable[[], AsyncIterator[Octets]]) -> None:
        self.begun = True
        chunks = await self._run_callers(_made, make)
        try:
            while (chunk := await self._run_callers(anext, chunks, END)) is not END:
                if not isinstance(chunk, bytes | bytearray | memoryview):
                    raise TypeError(f"body must give bytes-like chunks, not {type(chunk).__name__}")
                await self._in_time(stream, chunk)
        finally:
            # A generator that is left half-way would run its own clean-up whenever it is collected, anywhere.
            if inspect.isasyncgen(chunks):
                await self._run_callers(chunks.aclose)

    async def _run_callers(self, step: Callable[..., Awaitable[Any]], *arguments: object) -> Any:
        """Await a step of the caller's iterator, and note if it raises."""
        try:
            return await _unprotected(step, *arguments)
        except trio.Cancelled:
            raise
        except BaseException:
            self.iterator_raised = True
            raise


@trio.lowlevel.disable_ki_protection
async def _unprotected(step: Callable[..., Awaitable[Any]], *arguments: object) -> Any:
    """The caller's code: unlike the engine's it may be interrupted."""
    return await step(*arguments)


async def _made(make: Callable[[], AsyncIterator[Octets]]) -> AsyncIterator[Octets]:
    return make()
