"""AtOnce: what senders write themselves, in place of the writer's task.

The task runs in the turn of trio's loop after the one in which it is woken. So all that is cut in one turn leaves in
one write, which is right where many send; and where one does, that is two steps of a task and a turn for nothing.
"""

from __future__ import annotations

import math

import trio

from ..protocol.connection_machine import ConnectionMachine
from .plain_sockets import plain_socket, write_socket

__all__ = ["AtOnce"]

ENOUGH = 4096
"""Octets that are worth a write of their own, however many others have something to send: the peer works on them while
those do. A hundred streams that send each other small messages took turns with it otherwise, one of the two idle."""


class AtOnce:
    """Writes to a plain socket without waiting. Owner of every field: this object.

    Attributes:
        alone: Whether whoever sends next most likely is alone, so that its frames need no company.
        enough: of so many octets it does not matter: they are worth a write. None of either where there is no socket.
        rest: what the socket did not take. It is the task's to write, before anything else.
    """

    __slots__ = ("_machine", "_socket", "alone", "enough", "rest")

    def __init__(self, machine: ConnectionMachine, transport: trio.abc.SendStream) -> None:
        self._machine = machine
        self._socket = plain_socket(transport)
        self.enough: float = math.inf if self._socket is None else ENOUGH
        self.alone = False
        self.rest = b""

    def expect(self, *, alone: bool) -> None:
        """The reader has given out a read; if all of it was one stream's, whoever sends next most likely is alone."""
        self.alone = alone and self._socket is not None

    def write(self) -> int:
        """Take what is cut and write it; how many octets went.

        There is no checkpoint in it, so nothing but a socket that is full cuts it in two (invariant 2).
        """
        assert self._socket is not None
        self.alone = False
        data = self._machine.take()
        sent = write_socket(self._socket, data)
        self.rest = data[sent:]
        return sent

    def taken(self) -> None:
        """The task has written the rest."""
        self.rest = b""
