"""Peers that take their time: with TLS, the preface, headers, bodies, reading, or with all of it for ever.

The victims' timeouts are shortened to a second, and so is what `min_send_rate` allows beyond them. What matters is that
they come to an end, and what one costs meanwhile.
"""

from __future__ import annotations

import socket
import time

from tests.attacks import wire
from tests.attacks.model import attack
from tests.attacks.peer import Door, Peer

SHORT = {
    "handshake_timeout": 1.0,
    "settings_timeout": 1.0,
    "write_timeout": 1.0,
    "idle_timeout": 1.0,
    "stall_timeout": 1.0,
    "close_timeout": 1.0,
    "min_send_rate": 1e9,
    "send_grace": 1.0,
}
PATIENCE = 4.0
MANY = 20
"""Connections of one slow attacker."""


def slow(function, **options):
    """An attack of many connections that do little; the victim has to end them."""
    return attack(MANY, crowd=MANY, connections=MANY, config=SHORT, **{"ends": True, **options})(function)


def crowd(door: Door, count: int, *, tls: bool = False, proxy: bool = False, first: bytes = b"") -> list[Peer]:
    peers = [door.bare(tls=tls, proxy=proxy) for _ in range(count)]
    for peer in peers:
        peer.send(first)
    return peers


def drip(door: Door, peers: list[Peer], octets: bytes, pause: float = 0.2) -> None:
    """An octet on each connection now and then, until all are closed or it has taken long enough."""
    deadline = time.monotonic() + PATIENCE
    for octet in octets:
        for peer in peers:
            peer.send(bytes((octet,)))
            peer.wait(lambda: False, 0)
        time.sleep(pause)
        if time.monotonic() > deadline or all(peer.closed for peer in peers):
            break
    await_end(peers, deadline)
    door.hold()


def await_end(peers: list[Peer], deadline: float) -> None:
    for peer in peers:
        peer.wait(lambda: False, max(0.0, deadline - time.monotonic()))


@slow
def slow_tls(door: Door, count: int) -> None:
    """Slowloris: a TLS handshake, octet by octet."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
    drip(door, crowd(door, count, tls=True), hello)


@slow
def no_tls(door: Door, count: int) -> None:
    """Slowloris: a TLS connection on which nothing comes."""
    drip(door, crowd(door, count, tls=True), b"")


@slow
def silence(door: Door, count: int) -> None:
    """Slowloris: a connection on which nothing comes."""
    drip(door, crowd(door, count), b"")


@slow
def no_proxy_header(door: Door, count: int) -> None:
    """Slowloris: a proxy from which no header of the PROXY protocol comes."""
    drip(door, crowd(door, count, proxy=True), b"")


@slow
def slow_proxy_header(door: Door, count: int) -> None:
    """Slowloris: a header of the PROXY protocol, octet by octet."""
    drip(door, crowd(door, count, proxy=True), b"PROXY UNKNOWN " + b"x" * 90)


@slow
def long_proxy_header(door: Door, count: int) -> None:
    """A header of the PROXY protocol whose values come octet by octet, as many as it may have, and a sum over them."""
    header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\xf0" + bytes(12) + b"\x03\0\4abcd" + b"\x04\x0f\xda"
    drip(door, crowd(door, count, proxy=True, first=header + bytes(4000)), bytes(1000))


@slow
def slow_preface(door: Door, count: int) -> None:
    """Slowloris: the preface, octet by octet."""
    drip(door, crowd(door, count), wire.PREFACE)


@slow
def slow_request_line(door: Door, count: int) -> None:
    """Slowloris: a request line of HTTP/1.1, octet by octet."""
    drip(door, crowd(door, count), b"GET /" + b"a" * 1000)


@slow
def slow_settings(door: Door, count: int) -> None:
    """Slowloris: the first SETTINGS, octet by octet."""
    drip(door, crowd(door, count, first=wire.PREFACE), wire.settings(*[(0xFACE, 1)] * 100))


@slow
def settings_never_acknowledged(door: Door, count: int) -> None:
    """SETTINGS that are never acknowledged, with requests that go on."""
    peers = crowd(door, count, first=wire.PREFACE + wire.settings())
    drip(door, peers, b"".join(wire.ping() for _ in range(50)), 0.05)


@slow
def idleness(door: Door, count: int) -> None:
    """Connections that are not used."""
    drip(door, crowd(door, count, first=wire.PREFACE + wire.settings() + wire.settings_ack()), b"")


@slow
def idleness_with_pings(door: Door, count: int) -> None:
    """Connections that are used for nothing but PINGs."""
    peers = crowd(door, count, first=wire.PREFACE + wire.settings() + wire.settings_ack())
    drip(door, peers, wire.ping() * 50, 0.05)


@slow
def slow_headers(door: Door, count: int) -> None:
    """Slowloris: HEADERS, octet by octet."""
    peers = crowd(door, count, first=wire.PREFACE + wire.settings() + wire.settings_ack())
    drip(door, peers, wire.headers(1, wire.request(b"/", wire.literal(b"x", b"y" * 1000))))


@slow
def slow_continuations(door: Door, count: int) -> None:
    """Slowloris: a block whose CONTINUATION comes octet by octet."""
    opening = wire.PREFACE + wire.settings() + wire.settings_ack()
    peers = crowd(door, count, first=opening + wire.frame(wire.HEADERS, wire.END_STREAM, 1, wire.request()))
    drip(door, peers, wire.frame(wire.CONTINUATION, wire.END_HEADERS, 1, wire.literal(b"x", b"y" * 100)))


def slow_body(door: Door, count: int) -> None:
    """R.U.D.Y.: a body, octet by octet, which is what a chat looks like and never ended by default."""
    opening = wire.PREFACE + wire.settings() + wire.settings_ack()
    peers = crowd(door, count, first=opening + wire.headers(1, wire.request(b"/echo"), end=False))
    drip(door, peers, wire.data(1, b"x") * 20, 0.05)


slow_body = slow(slow_body, ends=False)


def slow_reader(door: Door, *, window: int = wire.MAX_WINDOW, initial: int = wire.MAX_WINDOW) -> Peer:
    """A connection with a hundred large responses asked for, and little room for them."""
    peer = door.bare()
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opening = wire.PREFACE + wire.settings((wire.INITIAL_WINDOW_SIZE, initial)) + wire.settings_ack()
    if window > 65_535:
        opening += wire.window_update(0, window - 65_535)
    requests = b"".join(wire.headers(one, wire.request(b"/large")) for one in wire.streams(100))
    peer.send(opening + requests, reading=False)
    return peer


def read_to_the_end(peer: Peer) -> None:
    """See whether there is one: much may come before it that is in the kernel's buffers."""
    peer._skip = 2**40  # it is no frames any more where octets are missing
    peer.wait(lambda: False, 0.5)


@attack(1, crowd=1, config=SHORT, ends=True)
def never_read(door: Door, count: int) -> None:
    """Internal Data Buffering (CVE-2019-9517): a hundred large responses that are never read."""
    peer = slow_reader(door)
    time.sleep(PATIENCE)
    door.hold()
    read_to_the_end(peer)


@attack(1, crowd=1, config=SHORT, ends=True)
def slow_read(door: Door, count: int) -> None:
    """Slow Read: a hundred large responses, two octets a second."""
    peer = slow_reader(door)
    for _ in range(int(PATIENCE)):
        time.sleep(1)
        try:
            peer.socket.recv(2)
        except BlockingIOError:
            pass
        except OSError:
            break
    door.hold()
    read_to_the_end(peer)


@attack(1, crowd=1, config=SHORT, ends=True)
def window_of_nothing(door: Door, count: int) -> None:
    """Slow Read (CVE-2016-1546): a hundred large responses with no window for them."""
    peer = door.connect((wire.INITIAL_WINDOW_SIZE, 0))
    peer.send(b"".join(wire.headers(one, wire.request(b"/large")) for one in wire.streams(100)))
    peer.wait(lambda: peer.ends >= 100, PATIENCE)
    peer.settle()
    door.hold()


@attack(1, crowd=1, config=SHORT, ends=True)
def connection_window_of_nothing(door: Door, count: int) -> None:
    """Slow Read (CVE-2016-1546): the connection's window used up and never opened."""
    peer = door.connect(window=0)
    peer.send(b"".join(wire.headers(one, wire.request(b"/large")) for one in wire.streams(100)))
    peer.wait(lambda: peer.ends >= 100, PATIENCE)
    peer.settle()
    door.hold()


@attack(50_000, crowd=20_000, config=SHORT, ends=True)
def replies_never_read(door: Door, count: int) -> None:
    """Ping Flood (CVE-2019-9512) by a peer that reads no answers."""
    peer = door.bare()
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.send(wire.PREFACE + wire.settings() + wire.settings_ack() + wire.ping() * count, reading=False, limit=3)
    door.hold()
    peer.wait(lambda: False, 2)
