"""The lifespan of an app: what it does before the first request and after the last."""

from __future__ import annotations

import enum
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from .app_messages import message_type
from .asgi_types import App, Message

__all__ = ["Lifespan", "LifespanError", "within_lifespan"]

LAST_SECONDS = 5.0
"""Seconds that an app has for its shutdown when the server was cancelled, and for its return after its last message."""

logger = logging.getLogger("trio_h2")


class LifespanError(Exception):
    """The app said that its startup, or its shutdown, has failed; the message is the app's."""


class Phase(enum.Enum):
    """How far an app has come in its lifespan."""

    STARTING = enum.auto()
    STARTED = enum.auto()
    STOPPING = enum.auto()
    STOPPED = enum.auto()


class Lifespan:
    """The call of an app for its lifespan. Owner of every field: this object.

    Attributes:
        state: what the app keeps for its requests.
        failure: what it failed with, if it has.
    """

    def __init__(self, app: App) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._phase = Phase.STARTING
        self._asked = False
        self._started = trio.Event()
        self._stop = trio.Event()
        self._stopped = trio.Event()
        self.failure: BaseException | None = None
        self._scope = trio.CancelScope(shield=True)
        self._serving = trio.CancelScope()

    async def run(self) -> None:
        """Call the app. What it raises before it is started means that it has no lifespan."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            with self._scope:
                await self._app(scope, self._receive, self._send)
        except Exception as error:
            self._raised(error)
        except BaseException as error:  # sys.exit, say: it ends more than the lifespan, and nothing is served meanwhile
            self.failure = error
            raise
        finally:
            self._phase = Phase.STOPPED
            self._started.set()
            self._stopped.set()

    def _raised(self, error: Exception) -> None:
        if self.failure is not None:  # it has said why, and may raise the reason, too
            return
        if self._phase is not Phase.STARTING:
            self.failure = error
            self._serving.cancel()
        elif self._asked:
            logger.warning("the app raised in its startup, and is served without a lifespan", exc_info=error)
        else:
            logger.debug("the app has no lifespan: %r", error)

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            await trio.lowlevel.checkpoint()
            return {"type": "lifespan.startup"}
        await self._stop.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind = message_type(message)
        step, _, outcome = kind.removeprefix("lifespan.").partition(".")
        expected = {Phase.STARTING: "startup", Phase.STOPPING: "shutdown"}.get(self._phase)
        if not kind.startswith("lifespan.") or step != expected or outcome not in ("complete", "failed"):
            raise RuntimeError(f"the app sent {kind!r} in its lifespan while it was {self._phase.name.lower()}")
        if outcome == "failed":
            text = message.get("message", "")
            if not isinstance(text, str):
                raise TypeError(f"{kind}: 'message' must be str, not {type(text).__name__}")
            self.failure = LifespanError(f"the app's {step} failed: {text}" if text else f"the app's {step} failed")
        if step == "startup":
            self._phase = Phase.STARTED
            self._started.set()
        else:
            self._phase = Phase.STOPPED
            self._stopped.set()
        await trio.lowlevel.checkpoint()

    async def around(self, serve: Callable[[], Awaitable[None]]) -> None:
        """Wait for the startup, serve unless it failed, and see the app through its shutdown."""
        try:
            await self._started.wait()
            if self.failure is None:
                with self._serving:
                    await serve()
        finally:
            try:
                await self._shut_down()
            finally:  # what has said that it is done, or that it failed, ends by itself
                self._scope.deadline = trio.current_time() + LAST_SECONDS

    async def _shut_down(self) -> None:
        if self._phase is Phase.STARTING:
            self._scope.cancel()
        elif self._phase is Phase.STARTED and self.failure is None:
            self._phase = Phase.STOPPING
            self._stop.set()
            try:
                await self._stopped.wait()
            except trio.Cancelled:
                self._scope.deadline = trio.current_time() + LAST_SECONDS
                with trio.CancelScope(shield=True):
                    await self._stopped.wait()
                raise


async def within_lifespan(lifespan: Lifespan, serve: Callable[[], Awaitable[None]]) -> None:
    """Serve an app between its startup and its shutdown.

    Args:
        lifespan: the app's; one that raises when it is called for it has none, and is served all the same.
        serve: serves requests.

    Raises:
        LifespanError: the app said that its startup or shutdown failed; after a failed startup nothing was served.
    """
    raised: BaseException | None = None  # what leaves the block would be put into a group
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lifespan.run)
        try:
            await lifespan.around(serve)
        except BaseException as error:
            raised = error
    failure = lifespan.failure
    if raised is None:
        raised = failure
    elif failure is not None:
        logger.error("the app's lifespan failed, too", exc_info=failure)
    try:
        if raised is not None:
            raise raised
    finally:
        del raised, failure  # their tracebacks have this frame
