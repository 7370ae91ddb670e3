"""What happens to a handler that runs when its client goes away, or when its server is shut down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

import trio_h2
from trio_h2 import ErrorCodes

from .helpers import POST, RawPeer, raw_client

# Why it is cancelled


async def goes_away(peer: RawPeer) -> None:
    await peer.transport.aclose()


async def resets(peer: RawPeer) -> None:
    await peer.send(peer.rst(1, ErrorCodes.CANCEL))


async def resets_with_a_code_that_nobody_knows(peer: RawPeer) -> None:
    await peer.send(peer.rst(1, 0xBAD))


async def breaks_a_rule_of_the_stream(peer: RawPeer) -> None:
    await peer.send(peer.window_update(1, 0))


async def breaks_a_rule_of_the_connection(peer: RawPeer) -> None:
    await peer.send(peer.data(3, b"x"))


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (goes_away, "the peer closed the transport"),
        (resets, "stream 1 was reset by the peer: CANCEL"),
        (resets_with_a_code_that_nobody_knows, "stream 1 was reset by the peer: error code 0xbad"),
        (
            breaks_a_rule_of_the_stream,
            "stream 1 was reset by this library: PROTOCOL_ERROR: a WINDOW_UPDATE of 0",
        ),
        (breaks_a_rule_of_the_connection, "RECV_DATA on idle stream 3"),
    ],
)
async def test_a_handler_is_told_why_it_is_cancelled(
    what: Callable[[RawPeer], Awaitable[None]], reason: str, autojump_clock: MockClock
) -> None:
    told: list[str] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            told.append(str(cancelled))
            raise

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST))
        await peer.sync()
        await what(peer)
        await trio.sleep(1)
    assert len(told) == 1
    assert f"with reason {reason!r}" in told[0]
