"""AtOnce: what senders write themselves, in place of the writer's task.

What is cut in one turn of trio's loop is to leave in one write, which the writer's task would make in the next turn.
Who cuts something and then has its checkpoint goes on in that turn, too: it can as well write all that is cut, and the
task need not be woken, which takes two steps of it. Where one sender is alone, or enough is cut, nothing has to wait.
"""

from __future__ import annotations

import math

import trio

from ..protocol.connection_machine import ConnectionMachine
from .errors import without_frames
from .plain_sockets import plain_socket, write_socket

__all__ = ["AtOnce"]


class AtOnce:
    """Writes to a plain socket without waiting. Owner of every field: this object.

    Attributes:
        alone: Whether whoever sends next most likely is alone, so that its frames need no company.
        busy: Whether nothing can be written so: there is no plain socket, or it is full, or a read has to be first.
        rest: what the socket did not take. It is the task's to write, before anything else.
        read_at: when the last read was given out, on trio's clock; before the first, never too long ago.
        failure: why it takes nothing any more. A socket says so once, and to whoever asks it first; then it only ends.
    """

    __slots__ = ("_machine", "_socket", "alone", "busy", "failure", "read_at", "rest")

    def __init__(self, machine: ConnectionMachine, transport: trio.abc.SendStream) -> None:
        self._machine = machine
        self._socket = plain_socket(transport)
        self.alone = False
        self.busy = self._socket is None
        self.rest = b""
        self.read_at = math.inf
        self.failure: Exception | None = None

    def expect(self, *, alone: bool, read_at: float) -> None:
        """The reader has given out a read; if all of it was one stream's, whoever sends next most likely is alone."""
        self.alone = alone
        self.read_at = read_at

    def wait(self) -> None:
        """What is cut now is the task's to write."""
        self.busy = True

    def write(self) -> int:
        """Take what is cut and write it; how many octets went.

        There is no checkpoint in it, so nothing but a socket that is full cuts it in two (invariant 2).
        """
        assert self._socket is not None
        self.alone = False
        data = self._machine.take()
        try:
            sent = write_socket(self._socket, data)
        except Exception as error:
            self.failure = without_frames(error)
            sent = 0
        self.rest = data[sent:]
        self.busy = sent < len(data)
        return sent

    def taken(self) -> None:
        """The task has written the rest."""
        self.rest = b""
        self.busy = self._socket is None
