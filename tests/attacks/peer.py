"""An attacker's connection: a raw socket that sends what it is given and notes what comes back."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable

import trio_h2
from tests.attacks import wire

LIMIT = 60.0
"""Seconds an attacker gives a victim to work off what it sent; then it hangs up."""

PAUSE = 0.1
"""Seconds that connections stay open, once the attack is worked off, for their memory to be seen."""

SETTLED = b"settled?"
"""What is asked with, in a PING, whether all was worked off; an attack's own PINGs have another payload."""


def code_name(code: int) -> str:
    try:
        return trio_h2.ErrorCodes(code).name
    except ValueError:
        return f"{code:#x}"


class Peer:
    """One connection.

    Attributes:
        ends: how often a stream ended: END_STREAM or RST_STREAM received.
        requests: IDs of the HEADERS that came.
        resets: the codes of the RST_STREAMs that came.
        closed: the victim's end of the connection has ended.
        stalled: the victim did not work off what it was sent in time.
    """

    def __init__(self, sock: socket.socket, *, skip: int = 0) -> None:
        self.socket = sock
        sock.setblocking(False)
        self.sent = 0
        self.frames = 0
        self.ends = 0
        self.requests: list[int] = []
        self.resets: Counter[str] = Counter()
        self.goaway: str | None = None
        self.pongs = self.settings = self._settled = 0
        self.closed = self.stalled = False
        self._buffer = bytearray()
        self._skip = skip  # octets to come that are no frames, or are of no interest

    # Reading

    def take(self) -> None:
        """Take what is there."""
        try:
            chunk = self.socket.recv(256 * 1024)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self.closed = True
            return
        skipped = min(self._skip, len(chunk))
        self._skip -= skipped
        self._buffer += memoryview(chunk)[skipped:]
        self._parse()

    def _parse(self) -> None:
        buffer, position = self._buffer, 0
        while len(buffer) - position >= wire.HEADER_SIZE:
            high, low, kind, flags, stream_id = struct.unpack_from(">HBBBL", buffer, position)
            length = high << 8 | low
            whole = wire.HEADER_SIZE + length
            if kind in (wire.RST_STREAM, wire.GOAWAY, wire.PING) and len(buffer) - position < whole:
                break
            self._note(kind, flags, stream_id, buffer[position + wire.HEADER_SIZE : position + whole])
            position += whole
        self._skip = max(0, position - len(buffer))
        del buffer[:position]

    def _note(self, kind: int, flags: int, stream_id: int, payload: bytearray) -> None:
        if kind in (wire.DATA, wire.HEADERS):
            self.ends += flags & wire.END_STREAM
            if kind == wire.HEADERS:
                self.requests.append(stream_id)
        elif kind == wire.RST_STREAM:
            self.ends += 1
            self.resets[code_name(int.from_bytes(payload, "big"))] += 1
        elif kind == wire.GOAWAY:
            reason = bytes(payload[8:]).decode(errors="replace")
            self.goaway = f"{code_name(int.from_bytes(payload[4:8], 'big'))} {reason}".strip()
        elif kind == wire.PING and flags & wire.ACK:
            self.pongs += 1
            self._settled += payload == SETTLED
        elif kind == wire.SETTINGS and not flags & wire.ACK:
            self.settings += 1

    # Sending

    def send(self, data: bytes, *, reading: bool = True, limit: float = LIMIT) -> bool:
        """Send, and take what comes meanwhile; False if the connection ended or nothing more is taken in time."""
        view = memoryview(data)
        deadline = time.monotonic() + limit
        while view and not self.closed:
            left = deadline - time.monotonic()
            readable, writable, _ = select.select([self.socket] if reading else [], [self.socket], [], max(0.0, left))
            if readable:
                self.take()
            if writable and not self.closed:
                try:
                    count = self.socket.send(view)
                except BlockingIOError:
                    continue
                except OSError:
                    self.closed = True
                    break
                self.sent += count
                view = view[count:]
            if not readable and not writable and left <= 0:
                self.stalled = True
                break
        taken = len(data) - len(view)
        self.frames += wire.frames_in(data[:taken]) if view else wire.frames_in(data)
        return not view

    def drip(self, data: bytes, pause: float) -> None:
        """Send octet by octet."""
        frames = self.frames + wire.frames_in(data)
        for at in range(len(data)):
            if not self.send(data[at : at + 1]):
                break
            self.wait(lambda: False, pause)
        self.frames = frames

    def wait(self, condition: Callable[[], bool], seconds: float = LIMIT) -> bool:
        """Take what comes until the condition holds; False if the connection ended, or time is up, before that."""
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if self.closed or left <= 0:
                return False
            if select.select([self.socket], [], [], left)[0]:
                self.take()
        return True

    def settle(self, seconds: float = LIMIT) -> None:
        """Wait until the victim has worked off all that was sent: it answers a PING then, or ends the connection."""
        settled = self._settled
        if self.closed or self.stalled or not self.send(wire.ping(SETTLED)):
            return
        if not self.wait(lambda: self._settled > settled, seconds) and not self.closed:
            self.stalled = True
        while not self.closed and select.select([self.socket], [], [], 0)[0]:  # an answer that came before the end
            self.take()

    def close(self, *, reset: bool = False) -> None:
        """Close; `reset` makes TCP say so with RST."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    @property
    def ended(self) -> str:
        """How it ended."""
        if self.goaway is not None:
            return f"GOAWAY {self.goaway}"
        if self.closed:
            return "closed"
        return "stalled" if self.stalled else "still serving"


PROXIES = 3
"""Of a server's ports the one whose connections begin with a header of the PROXY protocol."""


class Door:
    """One attacker's way to its victim: it connects to a server, or accepts a client.

    Attributes:
        ports: a server victim's: in the clear, for TLS, for bystanders, and for proxies.
        peers: every connection that it had.
        forgotten: how many connections were reset and forgotten; frames, octets: what was sent on them.
        number: which attacker this is.
    """

    def __init__(
        self,
        ports: list[int],
        meeting: threading.Barrier,
        listener: socket.socket | None = None,
        number: int = 0,
    ) -> None:
        self.ports = ports
        self.peers: list[Peer] = []
        self.forgotten = self.frames = self.octets = 0
        self.number = number
        self._listener = listener
        self._meeting = meeting

    def bare(self, *, tls: bool = False, proxy: bool = False) -> Peer:
        """A connection on which nothing was said yet."""
        if self._listener is not None:
            peer = Peer(self._listener.accept()[0], skip=len(wire.PREFACE))
        else:
            sock = socket.create_connection(("127.0.0.1", self.ports[PROXIES if proxy else tls]), timeout=LIMIT)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(sock)
        self.peers.append(peer)
        return peer

    def connect(self, *settings: tuple[int, int], window: int = wire.MAX_WINDOW) -> Peer:
        """A connection with its SETTINGS exchanged; by default with windows that hold nobody up.

        A client has made its first request when this returns.
        """
        peer = self.bare()
        pairs = settings or ((wire.INITIAL_WINDOW_SIZE, wire.MAX_WINDOW),)
        opening = wire.settings(*pairs)
        if self._listener is None:
            opening = wire.PREFACE + opening
        if window > 65_535:
            opening += wire.window_update(0, window - 65_535)
        peer.send(opening)
        peer.wait(lambda: peer.settings > 0)
        peer.send(wire.settings_ack())
        if self._listener is not None:
            peer.wait(lambda: bool(peer.requests))
        peer.sent = peer.frames = 0
        return peer

    def hold(self) -> None:
        """Wait, with connections open, until all attackers are as far, and for their memory to be seen."""
        try:
            self._meeting.wait(LIMIT)
        except threading.BrokenBarrierError:
            pass
        time.sleep(PAUSE)

    def forget(self, peer: Peer) -> None:
        """Reset a connection and be done with it."""
        peer.close(reset=True)
        self.peers.remove(peer)
        self.forgotten += 1
        self.frames += peer.frames
        self.octets += peer.sent

    def close(self) -> None:
        for peer in self.peers:
            peer.close()
