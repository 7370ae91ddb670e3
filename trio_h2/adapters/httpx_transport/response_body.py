"""`ResponseBody`: the body of a response, as httpx reads and closes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import ModuleType
from typing import Any, Self

import trio

import trio_h2

from .failures import failure_of
from .request_parts import RequestBody

__all__ = ["ResponseBody"]


class ResponseBody:
    """The stream of a response, open until it is closed. Owner of every field: this object.

    Args:
        package: httpx, or httpx2.
        stream: the stream, whose headers have come.
        block: leaves it.
        sent: the request's body, where its user makes it.
        read_timeout: seconds that each chunk may take.
        on_closed: called when it is closed.
    """

    def __init__(
        self,
        package: ModuleType,
        stream: trio_h2.ClientStream,
        block: AbstractAsyncContextManager[trio_h2.ClientStream],
        sent: RequestBody | None,
        read_timeout: float,
        on_closed: Callable[[ResponseBody], None],
    ) -> None:
        self._package = package
        self._stream: trio_h2.ClientStream | None = stream
        self._block: AbstractAsyncContextManager[trio_h2.ClientStream] | None = block
        self._sent = sent
        self._read_timeout = read_timeout
        self._on_closed = on_closed
        self._extensions: dict[str, Any] = {}

    def tell(self, extensions: dict[str, Any]) -> None:
        """Put the trailers into these extensions when they have come."""
        self._extensions = extensions

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        stream = self._stream
        if stream is None:
            raise self._package.StreamClosed
        try:
            try:
                chunk = stream.receive_nowait()  # a small response is all there, and costs no wake-up more
            except trio.WouldBlock:
                chunk = await self._wait(stream)
        except trio_h2.H2Error as error:
            await self.aclose()  # which raises what the request's body did, if that was it
            sending = self._sent is not None and not self._sent.sent
            raise failure_of(self._package, error, sending=sending) from error
        if chunk:
            return chunk
        if (trailers := stream.trailers) is not None:
            self._extensions["trailers"] = self._package.Headers(trailers.raw)
        raise StopAsyncIteration

    async def _wait(self, stream: trio_h2.ClientStream) -> bytes:
        if self._read_timeout == math.inf:
            return await stream.receive_some()
        with trio.move_on_after(self._read_timeout):
            return await stream.receive_some()
        await self.aclose()
        raise self._package.ReadTimeout(f"nothing more of the response came within {self._read_timeout} seconds")

    async def aclose(self) -> None:
        """Be done with it: what has not come is not wanted, and the server is told so. A second time does nothing."""
        block, self._block = self._block, None
        if block is None:
            return
        # httpx's responses are in a circle, and keep what they refer to until Python looks for garbage.
        self._stream = None
        self._on_closed(self)
        # As if it was left by an error: that is no checkpoint, so nothing can come between.
        await block.__aexit__(_Done, _DONE, None)


class _Done(Exception):
    """Nothing more is wanted of a response."""


_DONE = _Done()
