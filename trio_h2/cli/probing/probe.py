"""`trio-h2 probe`: what a server says of itself over one connection, and how it takes its end."""

from __future__ import annotations

import ssl
from typing import Any

import trio

import trio_h2

from ..getting.get_options import DEFAULT_FIELDS
from ..shared.event_words import describe
from ..shared.exit_codes import ExitCode, Failure, failure_of
from ..shared.locations import Location
from ..shared.watched_sockets import WatchedSockets
from .certificate_facts import certificate_facts

__all__ = ["DEFAULTS", "Probe"]

PINGS = 3

EXPECTED = (
    trio_h2.SettingsAcknowledged,
    trio_h2.PingAckReceived,
    trio_h2.WindowUpdated,
    trio_h2.RemoteSettingsChanged,
)
"""Events that say nothing of a server that the rest does not."""

MAX_BODY = 2**20
"""Octets of a response's body that are taken; what has more is left there."""

DEFAULTS: dict[trio_h2.SettingCodes, int | None] = {
    trio_h2.SettingCodes.HEADER_TABLE_SIZE: 4096,
    trio_h2.SettingCodes.MAX_CONCURRENT_STREAMS: None,
    trio_h2.SettingCodes.INITIAL_WINDOW_SIZE: 65_535,
    trio_h2.SettingCodes.MAX_FRAME_SIZE: 16_384,
    trio_h2.SettingCodes.MAX_HEADER_LIST_SIZE: None,
    trio_h2.SettingCodes.ENABLE_CONNECT_PROTOCOL: 0,
    trio_h2.SettingCodes.NO_RFC7540_PRIORITIES: 0,
}
"""What holds where a server announces nothing, by RFC 9113, RFC 8441 and RFC 9218; None is no limit."""


class Probe:
    """One look at a server.

    Args:
        location: its URL; the path is asked for.
        ssl_context: for TLS.

    Attributes:
        facts: what is known, as JSON has it. What was not come to is not in it.
        failure: the first thing that failed, or None.
    """

    def __init__(self, location: Location, ssl_context: ssl.SSLContext) -> None:
        self._location = location
        self._ssl_context = ssl_context
        self._sockets = WatchedSockets()
        self._first_settings = trio.Event()
        self._events_over = trio.Event()
        self._settings: dict[str, int] = {}
        self._goaway: dict[str, Any] | None = None
        self._promised: list[str] = []
        self._others: list[str] = []
        self.facts: dict[str, Any] = {"url": location.effective}
        self.failure: Failure | None = None

    async def run(self, max_time: float) -> None:
        """Look, for at most so many seconds."""
        with trio.move_on_after(max_time) as scope:
            try:
                await self._look()
            except (trio_h2.H2Error, OSError) as error:
                self._fail(await self._failure_of(error))
        if scope.cancelled_caught:
            self._fail(Failure(ExitCode.TIMEOUT, f"not done in {max_time:g} seconds", self._location.origin))

    def _fail(self, failure: Failure) -> None:
        self.failure = self.failure or failure

    async def _failure_of(self, error: trio_h2.H2Error | OSError) -> Failure:
        location, spoken = self._location, None
        if isinstance(error, trio_h2.H2Error) and "settings" not in self.facts:
            spoken = await self._sockets.spoken(location.scheme, location.host, location.port)
        return failure_of(error, location.origin, answered="head" in self.facts, proxied=False, spoken=spoken)

    async def _look(self) -> None:
        location = self._location
        transport = await self._sockets.open_stream(location.host, location.port)
        context = self._ssl_context if location.scheme == "https" else None
        config = trio_h2.Config(enable_push=True)
        failure: trio_h2.H2Error | None = None
        async with (
            trio_h2.connect(location.origin, ssl_context=context, config=config, transport=transport) as connection,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._watch_events, connection)
            nursery.start_soon(self._watch_pushes, connection)
            try:
                await self._ask(connection)
            except trio_h2.H2Error as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _ask(self, connection: trio_h2.ClientConnection) -> None:
        address = connection.peer_address
        self.facts["address"] = f"{address[0]} port {address[1]}" if isinstance(address, tuple) else None
        self.facts["tls"] = _tls_facts(connection.tls)
        await connection.settings_received()
        await self._first_settings.wait()
        self.facts["settings"] = self._settings
        self.facts["also_sent"] = self._others
        self.facts["ping_ms"] = [round(1000 * await connection.ping(), 3) for _ in range(PINGS)]
        # What is sent with the SETTINGS has come before the answer to a PING.
        self.facts["connection_window"] = connection.statistics().outbound_window
        settings = connection.peer_settings
        self.facts["extended_connect"] = settings is not None and settings.enable_connect_protocol
        for method in ("HEAD", "GET"):
            self.facts[method.lower()] = await self._response(connection, method)
        self.facts["push"] = {"promised": self._promised}
        self.facts["goaway"] = await self._farewell(connection)

    async def _response(self, connection: trio_h2.ClientConnection, method: str) -> dict[str, Any]:
        """What comes of a request for the path."""
        began = trio.current_time()
        try:
            async with connection.stream(method, self._location.target, headers=DEFAULT_FIELDS) as stream:
                head = await stream.response()
                octets, whole = 0, True
                async for data in stream:
                    octets += len(data)
                    if octets > MAX_BODY:
                        whole = False
                        break
        except trio_h2.StreamResetError as error:
            failure = await self._failure_of(error)
            self._fail(failure)
            return {"failure": failure.words}
        return {
            "status": head.status,
            "ms": round(1000 * (trio.current_time() - began), 3),
            "server": head.headers.get("server"),
            "content_type": head.headers.get("content-type"),
            "octets": octets,
            "whole": whole,
        }

    async def _farewell(self, connection: trio_h2.ClientConnection) -> dict[str, Any]:
        """Send a GOAWAY behind a request: whether that is finished, and what the server says."""
        asked = connection.accepting
        became = await self._finished(connection) if asked else None
        await connection.aclose()
        await self._events_over.wait()
        unasked, answered = (None, self._goaway) if asked else (self._goaway, None)
        return {"unasked": unasked, "open_request": became, "answered": answered}

    async def _finished(self, connection: trio_h2.ClientConnection) -> str:
        """What becomes of a request with a GOAWAY behind it."""
        became = "finished"
        async with trio.open_nursery() as nursery:
            try:
                async with connection.stream("HEAD", self._location.target, headers=DEFAULT_FIELDS) as stream:
                    nursery.start_soon(connection.aclose)
                    await stream.read(max_body=None)
            except trio_h2.StreamResetError:
                became = "reset"
            except trio_h2.H2Error:
                became = "lost"
        return became

    # What comes unasked

    async def _watch_events(self, connection: trio_h2.ClientConnection) -> None:
        async for event in connection.events():
            if isinstance(event, trio_h2.RemoteSettingsChanged) and not self._first_settings.is_set():
                self._settings = {_name(code): each.new_value for code, each in event.changed_settings.items()}
                self._first_settings.set()
            elif isinstance(event, trio_h2.ConnectionTerminated):
                self._goaway = {"error_code": _name(event.error_code), "last_stream_id": event.last_stream_id}
            elif not isinstance(event, EXPECTED):
                self._others.append(describe(event))
        self._first_settings.set()
        self._events_over.set()

    async def _watch_pushes(self, connection: trio_h2.ClientConnection) -> None:
        async for pushed in connection.pushes():
            async with pushed:  # and not taken
                self._promised.append(pushed.request.path or "")


def _name(code: int) -> str:
    """An error code or a setting by its name, or else as a number."""
    return str(getattr(code, "name", hex(code)))


def _tls_facts(tls: trio_h2.TLSInfo | None) -> dict[str, Any] | None:
    if tls is None:
        return None
    certificate = None if tls.peer_certificate is None else certificate_facts(tls.peer_certificate)
    return {"version": tls.version, "cipher": tls.cipher, "alpn": tls.alpn_protocol, "certificate": certificate}
