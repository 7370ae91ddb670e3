"""PINGs that somebody waits for, and their answers (RFC 9113 section 6.7)."""

from __future__ import annotations

import trio

from ..protocol.connection_machine import ConnectionMachine
from .writer import Writer

__all__ = ["Pings"]


class _Ping:
    """One on its way.

    Attributes:
        done: set when nothing more is to come of it.
        answered_at: when its answer came, if that is why.
    """

    __slots__ = ("answered_at", "done")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.answered_at: float | None = None

    def answer(self) -> None:
        """Its answer is there."""
        self.answered_at = trio.current_time()
        self.done.set()


class Pings:
    """Those of one connection. Owner of every field: this object."""

    def __init__(self, machine: ConnectionMachine, writer: Writer) -> None:
        self._machine = machine
        self._writer = writer
        self._number = 0
        self._waiting: dict[bytes, _Ping] = {}

    async def ping(self) -> float | None:
        """Send a PING and wait for its answer: the round trip in seconds, or None if the connection ended first."""
        self._number += 1
        payload = self._number.to_bytes(8, "big")
        self._waiting[payload] = ping = _Ping()
        start = trio.current_time()
        self._machine.ping(payload)
        self._writer.wake()
        try:
            await ping.done.wait()
        finally:
            self._waiting.pop(payload, None)
        return None if ping.answered_at is None else ping.answered_at - start

    def answered(self, payload: bytes) -> None:
        """An answer came; to a PING that nobody waits for it is nothing."""
        ping = self._waiting.pop(payload, None)
        if ping is not None:
            ping.answer()

    def end(self) -> None:
        """No answer comes any more."""
        for ping in self._waiting.values():
            ping.done.set()
