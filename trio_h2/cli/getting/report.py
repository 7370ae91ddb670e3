"""`Report`: what there is to say of a transfer."""

from __future__ import annotations

from typing import Any

import trio

import trio_h2

from ..shared.exit_codes import Failure
from ..shared.locations import Location
from ..shared.watched_sockets import WatchedSocket, socket_below

__all__ = ["Report"]


class Report:
    """What there is to say of a transfer: of its last request, but for what is counted and timed.

    Args:
        number: which it is, counted from 0.
        location: its URL.
        file: where the body goes; empty for standard output.

    Attributes:
        url: as it was given.
        location: what was asked for, after the redirects that were followed.
        method: that of the request.
        began, connected, answered, ended: when it began, a connection was there that was opened for it, the response's
            headers came, and it ended, on trio's clock; None where that did not happen.
        status: of the response; 0 while there is none.
        headers: of the response.
        header_size: octets of the headers as -i writes them, over all responses.
        downloaded, uploaded: octets of the response's body, and of the request's.
        redirects: how many were followed.
        redirect_url: where it would go on, if it was not followed.
        connections: how many were opened for it.
        local, remote: the connection's addresses, each a host and a port, or None.
        exit_code, error: of the failure, if there is one.
    """

    def __init__(self, number: int, location: Location, file: str) -> None:
        self.number = number
        self.url = location.url
        self.file = file
        self.location = location
        self.method = ""
        self.began = trio.current_time()
        self.connected: float | None = None
        self.answered: float | None = None
        self.ended = self.began
        self.status = 0
        self.headers = trio_h2.Headers()
        self.header_size = 0
        self.downloaded = self.uploaded = 0
        self.redirects = 0
        self.redirect_url = ""
        self.connections = 0
        self._counted: set[WatchedSocket] = set()
        self.local: Any = None
        self.remote: Any = None
        self.exit_code = 0
        self.error = ""

    def ask(self, location: Location, method: str, *, redirected: bool) -> None:
        """A request is made, perhaps because of a redirect."""
        self.location, self.method = location, method
        self.redirects += redirected

    def answer(self, head: trio_h2.Response, connection: trio_h2.Connection, header_size: int, uploaded: int) -> None:
        """The response's headers have come, and those of interim responses."""
        self.answered = trio.current_time()
        self.status, self.headers = head.status, head.headers
        self.header_size += header_size
        self.uploaded = uploaded
        self.local, self.remote = connection.local_address, connection.peer_address
        socket = socket_below(connection.transport)
        if socket is not None and socket.began >= self.began and socket not in self._counted:
            self.connected = socket.connected
            self.connections += 1
            self._counted.add(socket)  # redirects may stay on it

    def not_followed(self, url: str) -> None:
        """It is a redirect to there, and not followed."""
        self.redirect_url = url

    def receive(self, octets: int) -> None:
        """So many octets of the body have come."""
        self.downloaded += octets

    def end(self, failure: Failure | None) -> None:
        """The transfer has ended; why it failed, if it did."""
        self.ended = trio.current_time()
        if failure is not None:
            self.exit_code, self.error = int(failure.exit_code), failure.words

    def since_began(self, moment: float | None) -> str:
        """Seconds from the beginning to a moment; 0 if there was none."""
        return f"{0.0 if moment is None else moment - self.began:.6f}"

    def rate(self, octets: int) -> str:
        """Octets for each second of the transfer."""
        seconds = self.ended - self.began
        return str(int(octets / seconds) if seconds > 0 else 0)
