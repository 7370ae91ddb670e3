"""`KeptPool`: a pool that is open until it is closed, from whatever task."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import trio

import trio_h2

from .response_body import ResponseBody

__all__ = ["KeptPool"]


class KeptPool:
    """A pool, and the responses that are open. Owner of every field: this object.

    Attributes:
        pool: the pool; None while it is not open.
        closed: Whether it is of no more use.
        hold: close this response before the pool is closed, unless it is let go of.
        let_go: this one is closed.

    A client of httpx leaves its transports in the order in which it entered them, and two clients may share one:
    blocks that do not nest. So the pool's block is a task of its own, a system task of trio's, which ends with the run
    if nobody closes it before.

    Args:
        block: the pool, not yet entered.
    """

    def __init__(self, block: AbstractAsyncContextManager[trio_h2.Pool]) -> None:
        self._block = block
        self.pool: trio_h2.Pool | None = None
        self.closed = False
        self._responses: set[ResponseBody] = set()
        self.hold: Callable[[ResponseBody], None] = self._responses.add
        self.let_go: Callable[[ResponseBody], None] = self._responses.discard
        self._scope = trio.CancelScope()
        self._opened = trio.Event()
        self._closing = trio.Event()
        self._ended = trio.Event()
        self._error: Exception | None = None

    async def open(self) -> None:
        """Open the pool."""
        trio.lowlevel.spawn_system_task(self._keep, context=contextvars.copy_context())
        await self._opened.wait()

    async def opened(self) -> None:
        """Wait until the pool is open, or never will be."""
        await self._opened.wait()

    async def _keep(self) -> None:
        try:
            with self._scope:
                async with self._block as pool:
                    if not self.closed:
                        self.pool = pool
                    self._opened.set()
                    await self._closing.wait()
        except Exception as error:  # in a system task it would end the run; who closes the pool raises it
            self._error = error
        finally:
            self._close()
            self._ended.set()
            self._opened.set()

    def _close(self) -> None:
        self.closed = True
        self.pool = None

    async def close(self) -> None:
        """Close the responses that are open, let requests end for at most `Config.close_timeout`, and close the pool.

        A second call waits for the first. Cancelled, all is closed at once. Raises what the bodies of requests did that
        were under way, and InternalError.
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close_pool)
            for response in self._responses:
                stack.push_async_callback(response.aclose)

    async def _close_pool(self) -> None:
        self._close()
        self._closing.set()
        try:
            await self._ended.wait()
        except trio.Cancelled:
            self._scope.cancel()
            with trio.CancelScope(shield=True):
                await self._ended.wait()
            raise
        error, self._error = self._error, None
        if error is not None:
            raise error
