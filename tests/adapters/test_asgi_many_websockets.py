"""Many WebSockets over one HTTP/2 connection, one of which stands still."""

from __future__ import annotations

import tracemalloc

import trio

from tests.adapters.many_websockets import run
from tests.peer_site import sized


async def test_one_that_is_never_read_holds_up_none_of_the_others() -> None:
    """Neither one whose app does not receive, nor one whose client does not read: all others have their echoes."""
    messages = sized(10_000, 30)
    with trio.fail_after(sized(7200, 120)):
        groups = await run(100, messages, 2)
    assert [group.echoes for group in groups] == [100 * messages, 99 * messages, 99 * messages]
    alone, deaf, unread = groups
    assert alone.stuck == 0
    # The stream's window, and 64 KiB of messages beside it.
    assert 100_000 < deaf.stuck < 500_000
    assert 100_000 < unread.stuck < 300_000


async def test_their_memory_does_not_grow_with_what_goes_through_them() -> None:
    most: list[int] = []
    with trio.fail_after(120):
        for messages in (10, 50):
            tracemalloc.start()
            try:
                await run(10, messages, 1)
                most.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
    assert most[1] < most[0] + 500_000
    assert most[1] < 6_000_000
