"""`LogTrace`: what connections do, as lines of a log."""

from __future__ import annotations

import logging
from typing import Any, Literal
from weakref import WeakKeyDictionary

import trio
from hpack import NeverIndexedHeaderTuple

from .actors.logs import escaped, peer_name
from .codes import SettingCodes, error_code_from_int, error_name, setting_code_from_int
from .connection import Connection, ServerConnection
from .exceptions import H2Error
from .headers import SECRET_FIELDS, Headers
from .protocol import frames
from .trace import Trace, WaitReason

__all__ = ["LogTrace"]

WITH_QUERY = frozenset((b":path", b"referer"))
"""Fields that may have a query, which may hold secrets: it is not logged."""

MAX_SETTINGS = 20
"""So many of a frame's are in a line: there can be thousands that nobody knows."""

_TYPES = {
    frames.DATA: "DATA",
    frames.HEADERS: "HEADERS",
    frames.PRIORITY: "PRIORITY",
    frames.RST_STREAM: "RST_STREAM",
    frames.SETTINGS: "SETTINGS",
    frames.PUSH_PROMISE: "PUSH_PROMISE",
    frames.PING: "PING",
    frames.GOAWAY: "GOAWAY",
    frames.WINDOW_UPDATE: "WINDOW_UPDATE",
    frames.CONTINUATION: "CONTINUATION",
    frames.ALTSVC: "ALTSVC",
    frames.ORIGIN: "ORIGIN",
    frames.PRIORITY_UPDATE: "PRIORITY_UPDATE",
}

_ACK = {frames.ACK: "ACK"}
_PADDED = {frames.PADDED: "PADDED"}
_END_STREAM = {frames.END_STREAM: "END_STREAM"}
_END_HEADERS = {frames.END_HEADERS: "END_HEADERS"}

_FLAGS = {
    frames.DATA: _END_STREAM | _PADDED,
    frames.HEADERS: _END_STREAM | _END_HEADERS | _PADDED | {frames.PRIORITY_FLAG: "PRIORITY"},
    frames.SETTINGS: _ACK,
    frames.PUSH_PROMISE: _END_HEADERS | _PADDED,
    frames.PING: _ACK,
    frames.CONTINUATION: _END_HEADERS,
}


def _frame(type_: int, flags: int, stream_id: int, length: int) -> str:
    """A frame's header in words; what has no name is a number."""
    words = [_TYPES.get(type_, f"{type_:#x}")]
    if flags:
        names = _FLAGS.get(type_, {})
        bits = [bit for bit in (1 << place for place in range(8)) if flags & bit]
        words.append("flags=" + "|".join(names.get(bit, f"{bit:#x}") for bit in bits))
    if stream_id:
        words.append(f"stream={stream_id}")
    return " ".join([*words, f"len={length}"])


def _field(pair: tuple[bytes, bytes]) -> str:
    name, value = pair
    shown = escaped(name.decode("latin-1"))
    if name in SECRET_FIELDS or isinstance(pair, NeverIndexedHeaderTuple):
        return f"{shown}=(hidden)"
    if name in WITH_QUERY:
        path, mark, _ = value.partition(b"?")
        value = path + (mark and b"?...")
    return f'{shown}="{escaped(value.decode("latin-1"))}"'


def _place(stream_id: int) -> str:
    return f"stream {stream_id}" if stream_id else "the connection"


def _who(stream_id: int) -> str:
    return f"stream {stream_id}" if stream_id > 0 else f"request {-stream_id}"


class _Known:
    """A connection that has not ended: its name, and when its waits began."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._waits: dict[tuple[int, str], float] = {}

    def wait_began(self, stream_id: int, reason: str) -> None:
        """A wait begins now."""
        self._waits[stream_id, reason] = trio.current_time()

    def wait_ended(self, stream_id: int, reason: str) -> float:
        """A wait ends now; how long it was."""
        return trio.current_time() - self._waits.pop((stream_id, reason))


class LogTrace(Trace):
    """A Trace that logs its calls, a line each, at DEBUG: `connect(url, trace=LogTrace(logging.getLogger("h2")))`.

    The style is that of Go's `GODEBUG=http2debug=2`. Lines begin with which connection it is: `client 1 to
    192.0.2.1:443: sent HEADERS flags=END_STREAM|END_HEADERS stream=1 len=31`. Those of requests and responses show
    their header fields, but no query, and never the values of authorization, proxy-authorization, cookie and
    set-cookie, nor of fields that are never-indexed: mark other secrets as `NeverIndexed`. What a peer wrote is
    escaped, and cut where it is long. A request that is made has the line of its stream, and none before.

    Args:
        logger: where the lines go. What is not enabled for DEBUG costs little, and may be enabled later.

    In all methods:
        connection, number, stream_id, headers, status, error, type, flags, length, reason, octets: as for `Trace`.
        seconds, target, initiator, values, last_stream_id, error_code: as for `Trace`.

    Raises:
        TypeError: `logger` is no logger.
    """

    def __init__(self, logger: logging.Logger | logging.LoggerAdapter[Any]) -> None:
        if not isinstance(logger, logging.Logger | logging.LoggerAdapter):
            raise TypeError(f"logger must be a logging.Logger, not {type(logger).__name__}")
        self._logger = logger
        self._made = 0
        self._known: WeakKeyDictionary[Connection, _Known] = WeakKeyDictionary()

    def _log(self, connection: Connection, line: str, *arguments: object) -> None:
        self._logger.debug(f"%s: {line}", self._known[connection].name, *arguments)

    def connection_made(self, connection: Connection) -> None:
        """See `Trace`."""
        self._made += 1
        side = "server {} from" if isinstance(connection, ServerConnection) else "client {} to"
        name = f"{side.format(self._made)} {peer_name(connection.peer_address)}"
        self._known[connection] = _Known(name)
        tls = connection.tls
        self._log(connection, "connection made%s", "" if tls is None else f" over {tls.version}")

    def connection_ended(self, connection: Connection, error: H2Error | None) -> None:
        """See `Trace`."""
        self._log(connection, "connection ended%s", _because(error))
        del self._known[connection]

    def stream_opened(self, connection: Connection, stream_id: int, headers: Headers) -> None:
        """See `Trace`."""
        if self._logger.isEnabledFor(logging.DEBUG):
            self._log(connection, "stream %d opened: %s", stream_id, " ".join(map(_field, headers)))

    def handler_began(self, connection: Connection, stream_id: int) -> None:
        """See `Trace`."""
        self._log(connection, "the handler of stream %d begins", stream_id)

    def response_began(self, connection: Connection, stream_id: int, status: int, headers: Headers) -> None:
        """See `Trace`."""
        if self._logger.isEnabledFor(logging.DEBUG):
            self._log(connection, "stream %d answered: %s", stream_id, " ".join(map(_field, headers)))

    def stream_closed(self, connection: Connection, stream_id: int, error: H2Error | None) -> None:
        """See `Trace`."""
        self._log(connection, "stream %d closed%s", stream_id, _because(error))

    def frame_received(self, connection: Connection, type: int, flags: int, stream_id: int, length: int) -> None:
        """See `Trace`."""
        if self._logger.isEnabledFor(logging.DEBUG):
            self._log(connection, "received %s", _frame(type, flags, stream_id, length))

    def frame_sent(self, connection: Connection, type: int, flags: int, stream_id: int, length: int) -> None:
        """See `Trace`."""
        if self._logger.isEnabledFor(logging.DEBUG):
            self._log(connection, "sent %s", _frame(type, flags, stream_id, length))

    def wait_began(self, connection: Connection, stream_id: int, reason: WaitReason) -> None:
        """See `Trace`."""
        self._known[connection].wait_began(stream_id, reason)
        self._log(connection, "%s waits: %s", _who(stream_id), reason)

    def wait_ended(self, connection: Connection, stream_id: int, reason: WaitReason) -> None:
        """See `Trace`."""
        seconds = self._known[connection].wait_ended(stream_id, reason)
        self._log(connection, "%s waited %.6f s: %s", _who(stream_id), seconds, reason)

    def credit_given(self, connection: Connection, stream_id: int, octets: int) -> None:
        """See `Trace`."""
        self._log(connection, "gave %d octets of credit on %s", octets, _place(stream_id))

    def credit_received(self, connection: Connection, stream_id: int, octets: int) -> None:
        """See `Trace`."""
        self._log(connection, "got %d octets of credit on %s", octets, _place(stream_id))

    def data_taken(self, connection: Connection, stream_id: int, octets: int) -> None:
        """See `Trace`."""
        self._log(connection, "%d octets of %s were taken", octets, _place(stream_id))

    def settings_in_force(
        self, connection: Connection, initiator: Literal["local", "remote"], values: dict[int, int]
    ) -> None:
        """See `Trace`."""
        words = " ".join(f"{_setting(code)}={value}" for code, value in list(values.items())[:MAX_SETTINGS])
        self._log(
            connection,
            "%s settings in force: %s",
            "our" if initiator == "local" else "the peer's",
            words or "no change",
        )

    def goaway_received(self, connection: Connection, last_stream_id: int, error_code: int) -> None:
        """See `Trace`."""
        self._log(connection, "the peer goes: %s, last stream %d", _code(error_code), last_stream_id)

    def goaway_sent(self, connection: Connection, last_stream_id: int, error_code: int) -> None:
        """See `Trace`."""
        self._log(connection, "we go: %s, last stream %d", _code(error_code), last_stream_id)

    def round_trip(self, connection: Connection, seconds: float) -> None:
        """See `Trace`."""
        self._log(connection, "round trip of %.6f s", seconds)

    def window_grown(self, connection: Connection, stream_id: int, target: int) -> None:
        """See `Trace`."""
        self._log(connection, "the window of %s grew to %d octets", _place(stream_id), target)


def _setting(code: int) -> str:
    known = setting_code_from_int(code)
    return known.name if isinstance(known, SettingCodes) else f"{code:#x}"


def _code(error_code: int) -> str:
    return error_name(error_code_from_int(error_code))


def _because(error: H2Error | None) -> str:
    return "" if error is None else f": {type(error).__name__}: {escaped(error)}"
