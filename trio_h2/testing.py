"""`in_memory`: a client's connection to a handler with no socket, for tests."""

from __future__ import annotations

from types import TracebackType

import trio
import trio.testing

from .actors.errors import without_cancelled
from .actors.logs import log_handler_error, logger
from .client import connect_over
from .client_connection import ClientConnection, EnteredOnce
from .config import Config
from .server_connection import Handler, Served, checked_handler
from .trace import Trace

__all__ = ["in_memory"]


class in_memory(EnteredOnce[ClientConnection]):
    """A client's connection to a server with this handler, over memory: `async with in_memory(handler) as connection`.

    No socket, no port and no time passes: with pytest-trio's `autojump_clock` a handler that sleeps for an hour takes
    none. Both sides are the real ones, flow control and all; the `:authority` of requests is `example.org` and their
    `:scheme` is `http`, if they do not say otherwise. Leaving the block ends the connection as leaving `connect` does,
    and waits until every handler has returned.

    The first error of a handler cancels the block and leaves it as it is, with its traceback and in no group; what
    other handlers raise is logged, and what the block raises besides. An error that a handler has because its client
    went away is none, as on a server. When the block itself raises first, that leaves it, and handlers' errors are
    logged.

    Args:
        handler: called as `await handler(stream)` for every request, as by `serve_h2`.
        config: the client's; by default `Config()`.
        server_config: the server's; by default `Config()`.
        trace: is told what the client's connection does; by default nobody is.
        raise_handler_errors: True by default. With False a handler that raises is answered for with a 500 and logged,
            as on a network; only what is no Exception still leaves the block.

    Raises, in the call: TypeError naming the argument. Leaving it raises what a handler raised, and:
        InternalError: a bug in trio_h2 ended the connection.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        config: Config | None = None,
        server_config: Config | None = None,
        trace: Trace | None = None,
        raise_handler_errors: bool = True,
    ) -> None:
        if not isinstance(raise_handler_errors, bool):
            raise TypeError(f"raise_handler_errors must be True or False, not {raise_handler_errors!r}")
        if server_config is not None and not isinstance(server_config, Config):
            raise TypeError(f"server_config must be a Config, not {type(server_config).__name__}")
        client_end, server_end = trio.testing.memory_stream_pair()
        self._served = Served(
            checked_handler(handler), server_end, server_config or Config(), on_handler_error=self._handler_raised
        )
        self._client = connect_over(client_end, authority="example.org", config=config, trace=trace)
        self._raise_errors = raise_handler_errors
        self._error: BaseException | None = None
        self._server_ended = trio.Event()

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> ClientConnection:
        self._enter_once()
        self._nursery_manager = trio.open_nursery()
        self._nursery = await self._nursery_manager.__aenter__()
        self._nursery.start_soon(self._serve)
        return await self._client.__aenter__()

    async def _serve(self) -> None:
        try:
            await self._served.run()
        finally:
            self._server_ended.set()

    def _handler_raised(self, handler: str, error: BaseException) -> None:
        if self._error is None and (self._raise_errors or not isinstance(error, Exception)):
            self._error = error
            self._nursery.cancel_scope.cancel()
        else:
            log_handler_error(handler, error)

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        raised_here = None if error is None else without_cancelled(error)
        if raised_here is not None and self._error is None:
            self._raise_errors = False
        try:
            await self._end(kind, error, traceback)
        except trio.Cancelled:
            if self._error is None and error is None:
                raise
        if self._error is not None:
            if raised_here is not None:
                logger.error("the block that a handler's error has cancelled raised", exc_info=raised_here)
            # What cancelled the block was made where the handler's error was at hand: its frames have it.
            del error, traceback, raised_here
            self._raise_error()

    async def _end(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the client, then the server and its handlers."""
        try:
            await self._client.__aexit__(kind, error, traceback)
            await self._server_ended.wait()
        finally:
            # As in `connect_over`: only what ends when it is cancelled is left in there.
            scope = self._nursery.cancel_scope
            scope.shield = True
            scope.cancel()
            await self._nursery_manager.__aexit__(None, None, None)

    def _raise_error(self) -> None:
        """Raise the handler's error, which keeps the context that it had, and is kept by no frame of ours."""
        error, self._error = self._error, None
        assert error is not None
        context = error.__context__
        try:
            raise error
        finally:
            error.__context__ = context
            del error, context
