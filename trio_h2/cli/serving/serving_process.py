"""What a process that serves does: a worker's, and the only one where there are no workers."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

import trio_h2
from trio_h2.adapters.proxy_protocol import with_proxy_protocol

from ..shared.missing_extra import missing_package
from ..shared.saying import complain, reason
from .access_log import AccessLog
from .app_loading import App, load_app
from .directory_handler import handle
from .garbage import rare_collection
from .log_output import enable_logging
from .serve_error import ServeError
from .serve_options import ServeOptions
from .tls_contexts import server_context

__all__ = ["Prepared", "prepare", "serve_sockets"]

ASGI_EXTRA = dict.fromkeys(("h11", "wsproto"), "asgi")

SPARE_SECONDS = 1.0
"""Beyond the grace, for what ends at its very end."""

logger = logging.getLogger("trio_h2")


@attrs.frozen
class Prepared:
    """What is served, ready to be.

    Attributes:
        app: None for a directory.
        root: the directory, resolved; None for an app.
        ssl_context: None for no TLS.
        timeline: records the connections; None if nobody wants to know.
    """

    options: ServeOptions
    app: App | None
    root: Path | None
    ssl_context: ssl.SSLContext | None
    timeline: trio_h2.Timeline | None


def prepare(options: ServeOptions) -> Prepared:
    """Load the app and the certificates. Do it before trio runs, where SIGINT interrupts a slow import.

    Raises:
        ServeError: something is missing or wrong; `show` says it, and `exit_code` is the process's.
    """
    ssl_context = server_context(options)
    if ssl_context is not None:
        ssl_context.set_alpn_protocols(["h2"] if options.is_directory else ["h2", "http/1.1"])
    app = root = None
    if options.is_directory:
        root = _resolved(options.target)
    else:
        _check_extra()
        app = load_app(options.target, factory=options.factory)
        enable_logging()
    timeline = None if options.trace is None else trio_h2.Timeline()
    return Prepared(options, app, root, ssl_context, timeline)


def _resolved(directory: str) -> Path:
    try:
        return Path(directory).resolve(strict=True)
    except OSError as error:
        raise ServeError(f"cannot serve {directory}: {reason(error)}") from error


def _check_extra() -> None:
    try:
        import trio_h2.adapters.asgi  # noqa: F401
    except ModuleNotFoundError as error:
        raise ServeError(missing_package(error, ASGI_EXTRA)) from None


class _Started(trio.TaskStatus[trio_h2.H2Server]):
    """Remembers the server that has started, and tells who wants to know.

    Attributes:
        server: None until it accepts connections.
        given_up: Whether the start was cancelled, if it ends before it notices or not.
    """

    def __init__(self, on_started: Callable[[trio_h2.H2Server], object]) -> None:
        self._on_started = on_started
        self.server: trio_h2.H2Server | None = None
        self.given_up = False

    def give_up(self) -> None:
        """The start is cancelled."""
        self.given_up = True

    def started(self, value: trio_h2.H2Server | None = None) -> None:
        """The server accepts connections."""
        assert value is not None
        enable_logging()  # the app's startup may have set up its own
        self.server = value
        self._on_started(value)


async def serve_sockets(
    prepared: Prepared,
    sockets: Sequence[socket.socket],
    *,
    on_started: Callable[[trio_h2.H2Server], object],
    stopping: trio.Event,
) -> int:
    """Serve on sockets that listen until `stopping` is set, then drain, and return the exit code.

    Draining takes no longer than the grace of the options; the app's lifespan has what is left of it for its shutdown,
    and at least five seconds. Where `stopping` is set while the app is still starting, that is cancelled. Cancelled,
    connections are closed at once.

    Args:
        prepared: by `prepare`.
        sockets: closed at the end, if it came to serving.
        on_started: called with the server when it accepts connections.
        stopping: somebody else's, who may set it at any time.

    Raises:
        ServeError: the app said that its startup or its shutdown failed.
    """
    listeners = _listeners(prepared, sockets)
    started = _Started(on_started)
    failure: Exception | None = None
    is_over = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_drain, started, stopping, prepared.options.grace, nursery.cancel_scope)
        try:
            with rare_collection():
                await _serve(prepared, listeners, started)
            is_over = True
        except Exception as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        return _exit_code(failure)
    if not (is_over or started.given_up):
        complain("stopped before the app's shutdown was over: --grace had passed")
        return 1
    return 0


async def _drain(started: _Started, stopping: trio.Event, grace: float, scope: trio.CancelScope) -> None:
    await stopping.wait()
    if started.server is None:
        started.give_up()
        scope.cancel()
        return
    scope.deadline = trio.current_time() + grace + SPARE_SECONDS
    await started.server.shutdown(grace)


def _exit_code(failure: Exception) -> int:
    """Of what ended the server. Raises ServeError where that is the word of the app."""
    if isinstance(failure, ServeError):
        raise failure
    logger.error("an error ended the server", exc_info=failure)
    return 1


def _listeners(prepared: Prepared, sockets: Sequence[socket.socket]) -> list[trio.abc.Listener[Any]]:
    listeners: list[trio.abc.Listener[Any]] = [
        trio.SocketListener(trio.socket.from_stdlib_socket(each)) for each in sockets
    ]
    proxies = prepared.options.proxy_protocol
    if proxies:
        listeners = [with_proxy_protocol(each, proxies) for each in listeners]
    if prepared.ssl_context is not None:
        listeners = [trio.SSLListener(each, prepared.ssl_context, https_compatible=True) for each in listeners]
    return listeners


async def _serve(prepared: Prepared, listeners: list[trio.abc.Listener[Any]], started: _Started) -> None:
    options = prepared.options
    log = AccessLog(options.log_format if options.access_log else None)
    if prepared.app is None:
        assert prepared.root is not None
        await trio_h2.serve_h2_listeners(
            partial(handle, prepared.root, log),
            listeners,
            config=options.config,
            trace=prepared.timeline,
            max_connections=options.max_connections,
            task_status=started,
        )
    else:
        from trio_h2.adapters.asgi import LifespanError, serve_asgi_listeners

        from .logged_app import logged

        try:
            await serve_asgi_listeners(
                logged(prepared.app, log) if options.access_log else prepared.app,
                listeners,
                root_path=options.root_path,
                forwarded_allow_ips=options.forwarded_allow_ips,
                config=options.config,
                trace=prepared.timeline,
                max_connections=options.max_connections,
                task_status=started,
            )
        except LifespanError as error:
            raise ServeError(str(error)) from error
