"""The peers that a shutdown meets: so many of one kind, in a process of their own.

They say "ready" on stdout when all are in position, and go on until the end of stdin.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import struct
import sys
from collections.abc import Awaitable, Callable
from functools import partial

import trio

import trio_h2

HOST = "127.0.0.1"

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(type_: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A frame of the wire (RFC 9113 section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", type_, flags, stream_id) + payload


OPENING = PREFACE + frame(4, 0, 0, struct.pack(">HI", 4, 2**31 - 1)) + frame(4, 1, 0)
"""The preface, SETTINGS with the largest window, and the acknowledgement of the server's."""


def get(stream_id: int, path: bytes) -> bytes:
    """HEADERS of a GET, in literals that change no table (RFC 7541 section 6.2.2)."""
    block = b"\x82\x86\x04" + bytes([len(path)]) + path + b"\x01\x01a"
    return frame(1, 5, stream_id, block)


async def connect(port: int) -> trio.SocketStream:
    """Connected, with a small buffer for what is not read."""
    client = trio.socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await client.connect((HOST, port))
    return trio.SocketStream(client)


async def opened(port: int) -> trio.SocketStream:
    """Connected, with the server's SETTINGS read."""
    stream = await connect(port)
    await stream.send_all(OPENING)
    await stream.receive_some(4096)
    return stream


async def _idle(port: int, ready: Callable[[], None]) -> None:
    stream = await opened(port)
    ready()
    await trio.sleep_forever()
    await stream.aclose()


async def _answers(port: int, ready: Callable[[], None]) -> None:
    """An idle peer that answers PINGs."""
    async with trio_h2.connect(f"http://{HOST}:{port}") as connection:
        await connection.ping()
        ready()
        await connection.wait_closed()


async def _leaves(port: int, ready: Callable[[], None]) -> None:
    """An idle peer that ends its half when it hears GOAWAY, and answers nothing."""
    stream = await opened(port)
    ready()
    await stream.receive_some(4096)
    await stream.aclose()


async def _never_reads(port: int, ready: Callable[[], None]) -> None:
    stream = await opened(port)
    await stream.send_all(frame(8, 0, 0, struct.pack(">I", 2**31 - 1 - 65_535)))
    await stream.send_all(b"".join([get(stream_id, b"/large") for stream_id in range(1, 200, 2)]))
    await trio.sleep(0.2)
    ready()
    await trio.sleep_forever()


async def _slow_reader(port: int, ready: Callable[[], None]) -> None:
    stream = await opened(port)
    await stream.send_all(frame(8, 0, 0, struct.pack(">I", 2**31 - 1 - 65_535)))
    await stream.send_all(b"".join([get(stream_id, b"/large") for stream_id in range(1, 200, 2)]))
    await trio.sleep(0.2)
    ready()
    while await stream.receive_some(1):  # noqa: ASYNC110
        await trio.sleep(0.5)


async def _flood(make: Callable[[int], bytes], port: int, ready: Callable[[], None]) -> None:
    stream = await opened(port)

    async def drop() -> None:
        while await stream.receive_some(65536):
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drop)
        ready()
        number = 0
        while True:
            await stream.send_all(make(number))
            number += 1


def _pings(number: int) -> bytes:
    return frame(6, 0, 0, bytes(8)) * 2000


def _settings(number: int) -> bytes:
    return (frame(4, 0, 0, struct.pack(">HI", 4, 65_535)) + frame(4, 0, 0, struct.pack(">HI", 4, 70_000))) * 1000


def _headers(number: int) -> bytes:
    first = 1 + 2 * 500 * number
    return b"".join([get(stream_id, b"/") for stream_id in range(first, first + 1000, 2)])


def _resets(number: int) -> bytes:
    first = 1 + 2 * 500 * number
    ids = range(first, first + 1000, 2)
    return b"".join([get(stream_id, b"/hang") + frame(3, 0, stream_id, bytes([0, 0, 0, 8])) for stream_id in ids])


async def _flood_again(make: Callable[[int], bytes], port: int, ready: Callable[[], None]) -> None:
    """Who is thrown out comes again."""
    while True:
        try:
            await _flood(make, port, ready)
        except* (trio.BrokenResourceError, OSError):
            await trio.sleep(0.01)


async def _half_tls(port: int, ready: Callable[[], None]) -> None:
    stream = await connect(port)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        hello.do_handshake()
    except ssl.SSLWantReadError:
        pass
    await stream.send_all(outgoing.read()[:100])
    ready()
    await trio.sleep_forever()


async def _half_preface(port: int, ready: Callable[[], None]) -> None:
    stream = await connect(port)
    await stream.send_all(PREFACE[:11])
    ready()
    await trio.sleep_forever()


async def _storm(port: int, ready: Callable[[], None]) -> None:
    ready()
    while True:
        try:
            stream = await connect(port)
            await stream.send_all(OPENING)
            await trio.sleep(0.001)
            await trio.aclose_forcefully(stream)
        except (OSError, trio.BrokenResourceError):
            await trio.sleep(0.01)


async def _more_than_there_is(port: int, ready: Callable[[], None]) -> None:
    """One that is served, and one more that the server has no file descriptor for."""
    stream = await opened(port)
    ready()
    more = await connect(port)
    await more.send_all(OPENING)
    await stream.receive_some(4096)
    await trio.sleep_forever()


async def _requests(path: str, port: int, ready: Callable[[], None]) -> None:
    """Good clients whose handler is at work."""
    async with (
        trio_h2.connect(f"http://{HOST}:{port}") as connection,
        connection.stream("GET", path) as stream,
    ):
        await stream.response()
        ready()
        try:
            async for _ in stream:
                pass
        except trio_h2.H2Error:
            pass


async def _both_ways(port: int, ready: Callable[[], None]) -> None:
    """A good client that streams until it hears GOAWAY, and then ends what it sends."""
    async with (
        trio_h2.connect(f"http://{HOST}:{port}") as connection,
        connection.stream("POST", "/echo") as stream,
    ):
        await stream.send_all(b"x" * 1000)
        await stream.response()
        ready()

        async def send() -> None:
            while connection.accepting:
                await stream.send_all(b"x" * 1000)
                await trio.sleep(0.01)
            await stream.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            async for _ in stream:
                pass


KINDS: dict[str, Callable[[int, Callable[[], None]], Awaitable[None]]] = {
    "idle": _idle,
    "answers": _answers,
    "leaves": _leaves,
    "never-reads": _never_reads,
    "slow-reader": _slow_reader,
    "pings": partial(_flood_again, _pings),
    "settings": partial(_flood_again, _settings),
    "headers": partial(_flood_again, _headers),
    "resets": partial(_flood_again, _resets),
    "half-tls": _half_tls,
    "half-preface": _half_preface,
    "storm": _storm,
    "emfile": _more_than_there_is,
    "shielded": partial(_requests, "/shielded"),
    "clean-up": partial(_requests, "/clean-up"),
    "both-ways": _both_ways,
}


async def _main(kind: str, port: int, peers: int) -> None:
    waiting = peers

    def ready() -> None:
        nonlocal waiting
        waiting -= 1
        if waiting == 0:
            print("ready", flush=True)

    async def be() -> None:
        said = False

        def once() -> None:
            nonlocal said
            if not said:
                said = True
                ready()

        try:
            await KINDS[kind](port, once)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio_h2.H2Error):
            once()

    async with trio.open_nursery() as nursery:
        for number in range(peers):
            nursery.start_soon(be)
            if number % 50 == 49:
                await trio.sleep(0.02)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


def main() -> None:
    """`python -m tests.attacks.shutdown_peers KIND PORT PEERS`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("port", type=int)
    parser.add_argument("peers", type=int)
    arguments = parser.parse_args()
    trio.run(_main, arguments.kind, arguments.port, arguments.peers)


if __name__ == "__main__":
    main()
