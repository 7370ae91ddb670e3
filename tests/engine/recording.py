"""Recording: a Trace that keeps what it is told, and knows whether that is in order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import trio

import trio_h2
from trio_h2 import H2Error, Headers

__all__ = ["Recording", "Told"]


@dataclass(frozen=True)
class Told:
    """One call of a trace.

    Attributes:
        at: when, on trio's clock.
        what: the method's name.
        arguments: without the connection.
    """

    at: float
    what: str
    arguments: tuple[Any, ...]


class Recording(trio_h2.Trace):
    """Keeps all calls, and fails at once where one is out of order.

    Attributes:
        told: the calls, in order.
        connections: those that were made.
    """

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.connections: list[trio_h2.Connection] = []
        self.faults: list[str] = []
        self._live: dict[trio_h2.Connection, set[int]] = {}
        self._waits: Counter[tuple[trio_h2.Connection, int, str]] = Counter()

    def _note(self, connection: trio_h2.Connection, what: str, *arguments: Any) -> None:
        if connection not in self._live:
            self.faults.append(f"{what}{arguments} outside the connection's life")
        self.told.append(Told(trio.current_time(), what, arguments))

    def connection_made(self, connection: trio_h2.Connection) -> None:
        assert connection not in self.connections
        self.connections.append(connection)
        self._live[connection] = set()
        self._note(connection, "connection_made")

    def connection_ended(self, connection: trio_h2.Connection, error: H2Error | None) -> None:
        self._note(connection, "connection_ended", error)
        streams = self._live.pop(connection)
        if streams:
            self.faults.append(f"streams {streams} were not closed")
        waits = [wait[1:] for wait, count in self._waits.items() if count and wait[0] is connection]
        self.faults += [f"{wait} did not end" for wait in waits]

    def request_made(self, connection: trio_h2.Connection, number: int, headers: Headers) -> None:
        self._note(connection, "request_made", number, headers)
        if number >= 0 or number in self._live[connection]:
            self.faults.append(f"a request goes by {number}")
        self._live[connection].add(number)

    def request_settled(
        self, connection: trio_h2.Connection, number: int, stream_id: int | None, error: H2Error | None
    ) -> None:
        self._note(connection, "request_settled", number, stream_id, error)
        if number not in self._live[connection]:
            self.faults.append(f"request {number} was settled, and not made")
        self._live[connection].discard(number)

    def stream_opened(self, connection: trio_h2.Connection, stream_id: int, headers: Headers) -> None:
        self._note(connection, "stream_opened", stream_id, headers)
        if stream_id in self._live[connection]:
            self.faults.append(f"stream {stream_id} was opened twice")
        self._live[connection].add(stream_id)

    def handler_began(self, connection: trio_h2.Connection, stream_id: int) -> None:
        self._note(connection, "handler_began", stream_id)
        if stream_id not in self._live[connection]:
            self.faults.append(f"the handler of stream {stream_id} began, and that was not open")

    def response_began(self, connection: trio_h2.Connection, stream_id: int, status: int, headers: Headers) -> None:
        self._note(connection, "response_began", stream_id, status, headers)
        if stream_id not in self._live[connection]:
            self.faults.append(f"stream {stream_id} was answered, and not open")

    def stream_closed(self, connection: trio_h2.Connection, stream_id: int, error: H2Error | None) -> None:
        self._note(connection, "stream_closed", stream_id, error)
        if stream_id not in self._live[connection]:
            self.faults.append(f"stream {stream_id} was closed, and not open")
        self._live[connection].discard(stream_id)
        if any(count for (where, waits, _), count in self._waits.items() if (where, waits) == (connection, stream_id)):
            self.faults.append(f"stream {stream_id} was closed while it waited")

    def frame_received(
        self, connection: trio_h2.Connection, type: int, flags: int, stream_id: int, length: int
    ) -> None:
        self._note(connection, "frame_received", type, flags, stream_id, length)

    def frame_sent(self, connection: trio_h2.Connection, type: int, flags: int, stream_id: int, length: int) -> None:
        self._note(connection, "frame_sent", type, flags, stream_id, length)

    def wait_began(self, connection: trio_h2.Connection, stream_id: int, reason: str) -> None:
        self._note(connection, "wait_began", stream_id, reason)
        self._waits[connection, stream_id, reason] += 1
        if self._waits[connection, stream_id, reason] > 1:
            self.faults.append(f"stream {stream_id} waits for {reason} twice")

    def wait_ended(self, connection: trio_h2.Connection, stream_id: int, reason: str) -> None:
        self._note(connection, "wait_ended", stream_id, reason)
        self._waits[connection, stream_id, reason] -= 1
        if self._waits[connection, stream_id, reason] < 0:
            self.faults.append(f"stream {stream_id} did not wait for {reason}")

    def credit_given(self, connection: trio_h2.Connection, stream_id: int, octets: int) -> None:
        self._note(connection, "credit_given", stream_id, octets)

    def credit_received(self, connection: trio_h2.Connection, stream_id: int, octets: int) -> None:
        self._note(connection, "credit_received", stream_id, octets)

    def data_taken(self, connection: trio_h2.Connection, stream_id: int, octets: int) -> None:
        self._note(connection, "data_taken", stream_id, octets)

    def settings_in_force(self, connection: trio_h2.Connection, initiator: str, values: dict[int, int]) -> None:
        self._note(connection, "settings_in_force", initiator, values)

    def goaway_received(self, connection: trio_h2.Connection, last_stream_id: int, error_code: int) -> None:
        self._note(connection, "goaway_received", last_stream_id, error_code)

    def goaway_sent(self, connection: trio_h2.Connection, last_stream_id: int, error_code: int) -> None:
        self._note(connection, "goaway_sent", last_stream_id, error_code)

    def round_trip(self, connection: trio_h2.Connection, seconds: float) -> None:
        self._note(connection, "round_trip", seconds)

    def window_grown(self, connection: trio_h2.Connection, stream_id: int, target: int) -> None:
        self._note(connection, "window_grown", stream_id, target)

    # To look at

    def of(self, *names: str) -> list[tuple[Any, ...]]:
        """The calls of these methods, in order: a name and arguments each."""
        return [(told.what, *told.arguments) for told in self.told if told.what in names]

    def arguments(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of each call of a method."""
        return [told.arguments for told in self.told if told.what == name]

    def waits(self, stream_id: int) -> list[tuple[str, float, float]]:
        """The waits of a stream in the order in which they ended: for what, from when, until when."""
        began: dict[str, float] = {}
        waits = []
        for told in self.told:
            if told.what == "wait_began" and told.arguments[0] == stream_id:
                began[told.arguments[1]] = told.at
            elif told.what == "wait_ended" and told.arguments[0] == stream_id:
                waits.append((told.arguments[1], began.pop(told.arguments[1]), told.at))
        return waits

    def check(self, *, connections: int = 1) -> None:
        """So many connections were made and have ended, and nothing was out of order."""
        assert self.faults == [], self.faults
        assert len(self.connections) == connections
        assert self._live == {}
