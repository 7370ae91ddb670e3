"""One connection, 100 streams, one of which nobody reads: the others run at full pace in little memory.

The set moves 64 MiB; with TRIO_H2_FULL=1 in the environment it is 1 GiB. The transfer runs in a process of its own,
because a process's peak memory never falls.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

import trio_h2
from tests.engine.helpers import client_and_server, pattern

MIB = 1024 * 1024
STREAMS = 100
TOTAL = (1024 if os.environ.get("TRIO_H2_FULL") else 64) * MIB
ALLOWED = 64 * MIB
CHUNK = pattern(64 * 1024)


def peak() -> int:
    """The most memory this program has had so far, in octets."""
    try:
        # ru_maxrss will not do on Linux: it starts at what the parent had when it forked.
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


class Transfer:
    """99 bodies one way, beside one that nobody reads."""

    def __init__(self, total: int) -> None:
        self.each = total // (STREAMS - 1)
        self.received = 0
        self.finished = 0
        self.all_finished = trio.Event()

    async def send(self, stream: trio.abc.HalfCloseableStream) -> None:
        left = self.each
        while left:
            count = min(left, len(CHUNK))
            await stream.send_all(CHUNK if count == len(CHUNK) else CHUNK[:count])
            left -= count
        await stream.send_eof()

    async def read(self, stream: trio.abc.ReceiveStream) -> None:
        position = 0
        async for chunk in stream:
            offset = position % len(CHUNK)
            assert chunk[:16] == (CHUNK + CHUNK)[offset : offset + len(chunk[:16])]
            position += len(chunk)
        assert position == self.each
        self.received += position
        self.finished += 1
        if self.finished == STREAMS - 1:
            self.all_finished.set()


async def download(total: int) -> int:
    """The server sends; the client leaves its first stream unread."""
    transfer = Transfer(total)

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await transfer.send(stream)

    async with client_and_server(handler) as pair, pair.client.stream("GET", "/unread") as unread:
        await unread.response()

        async def get() -> None:
            async with pair.client.stream("GET", "/") as stream:
                await transfer.read(stream)

        async with trio.open_nursery() as nursery:
            for _ in range(STREAMS - 1):
                nursery.start_soon(get)
        assert pair.client.statistics().unread == min(transfer.each, 256 * 1024)
    return transfer.received


async def upload(total: int) -> int:
    """The client sends; one handler of the server reads nothing."""
    transfer = Transfer(total)

    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.path == "/unread":
            await transfer.all_finished.wait()
        else:
            await transfer.read(stream)
        await stream.respond(204)

    async with client_and_server(handler) as pair, pair.client.stream("POST", "/unread") as unread:

        async def put(stream: trio_h2.ClientStream) -> None:
            try:
                await transfer.send(stream)
            except trio_h2.StreamResetError:
                assert stream is unread

        async def post() -> None:
            async with pair.client.stream("POST", "/") as stream:
                await put(stream)
                assert (await stream.response()).status == 204

        async with trio.open_nursery() as nursery:
            nursery.start_soon(put, unread)
            for _ in range(STREAMS - 1):
                nursery.start_soon(post)
        assert (await unread.response()).status == 204
    return transfer.received


def main(direction: str, total: int) -> None:
    """What the process of its own runs: it warms up, and then measures."""
    move = {"download": download, "upload": upload}[direction]
    trio.run(move, 99 * len(CHUNK))
    before = peak()
    start = time.perf_counter()
    received = trio.run(move, total)
    print(received, peak() - before, time.perf_counter() - start)


@pytest.mark.parametrize("direction", ["download", "upload"])
def test_one_stream_of_a_hundred_that_is_never_read(direction: str) -> None:
    code = f"from tests.engine.test_memory import main; main({direction!r}, {TOTAL})"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert finished.returncode == 0, finished.stderr
    received, growth, seconds = finished.stdout.split()
    print(f"{direction}: {int(received) / MIB:.0f} MiB in {float(seconds):.2f} s, {int(growth) / MIB:.1f} MiB more")
    assert int(received) == TOTAL // (STREAMS - 1) * (STREAMS - 1)
    assert int(growth) <= ALLOWED
