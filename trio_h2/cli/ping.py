"""`trio-h2 ping`: how long PINGs take to a server and back."""

from __future__ import annotations

import ssl

import trio

import trio_h2

from .saying import complain, reason, say

__all__ = ["ping"]


async def ping(origin: str, *, count: int, interval: float, ssl_context: ssl.SSLContext | None, max_time: float) -> int:
    """Send PINGs over one connection, say how long each took, and sum up. Returns the exit code.

    Args:
        origin: scheme, host and port.
        count: how many.
        interval: seconds from one answer to the next PING.
        ssl_context: for TLS; None for an origin in the clear.
        max_time: seconds that all of it may take.
    """
    exit_code = 1
    with trio.move_on_after(max_time) as scope:
        try:
            async with trio_h2.connect(origin, ssl_context=ssl_context) as connection:
                exit_code = await _ping(connection, origin, count, interval)
        except (OSError, trio_h2.H2Error) as error:
            complain(f"{origin}: {reason(error)}")
            return 1
    if scope.cancelled_caught:
        complain(f"{origin}: not done in {max_time:g} seconds")
        return 1
    return exit_code


async def _ping(connection: trio_h2.ClientConnection, origin: str, count: int, interval: float) -> int:
    times: list[float] = []
    sent = 0
    try:
        for number in range(1, count + 1):
            if times:
                await trio.sleep(interval)
            sent = number
            times.append(1000 * await connection.ping())
            say(f"PING {number} to {origin}: {times[-1]:.3f} ms")
    except OSError as error:  # of standard output
        complain(reason(error))
        return 1
    finally:  # SIGINT, too, is a usual end
        say(_summary(sent, times))
    return 0


def _summary(sent: int, times: list[float]) -> str:
    answered = f"{sent} sent, {len(times)} answered"
    if not times:
        return answered
    return f"{answered}; min/avg/max {min(times):.3f}/{sum(times) / len(times):.3f}/{max(times):.3f} ms"
