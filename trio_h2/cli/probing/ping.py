"""`trio-h2 ping`: how long PINGs take to a server and back."""

from __future__ import annotations

import ssl

import trio

import trio_h2

from ..shared.exit_codes import failure_of
from ..shared.locations import Location
from ..shared.saying import complain, reason, say
from ..shared.watched_sockets import WatchedSockets

__all__ = ["ping"]


async def ping(location: Location, *, count: int, interval: float, ssl_context: ssl.SSLContext, max_time: float) -> int:
    """Send PINGs over one connection, say how long each took, and sum up. Returns the exit code.

    Args:
        location: where to; its path does not matter.
        count: how many.
        interval: seconds from one answer to the next PING.
        ssl_context: for TLS, if it is spoken there.
        max_time: seconds that all of it may take.
    """
    exit_code = 1
    origin, sockets, times = location.origin, WatchedSockets(), list[float]()
    tls = ssl_context if location.scheme == "https" else None
    with trio.move_on_after(max_time) as scope:
        try:
            transport = await sockets.open_stream(location.host, location.port)
            async with trio_h2.connect(origin, ssl_context=tls, transport=transport) as connection:
                exit_code = await _ping(connection, origin, count, interval, times)
        except (OSError, trio_h2.H2Error) as error:
            spoken = None
            if isinstance(error, trio_h2.H2Error) and not times:  # as far as it is known, that is no HTTP/2
                spoken = await sockets.spoken(location.scheme, location.host, location.port)
            complain(f"{origin}: {failure_of(error, origin, answered=False, proxied=False, spoken=spoken).words}")
    if scope.cancelled_caught:
        complain(f"{origin}: not done in {max_time:g} seconds")
        return 1
    return exit_code


async def _ping(
    connection: trio_h2.ClientConnection, origin: str, count: int, interval: float, times: list[float]
) -> int:
    """Fill `times`, in milliseconds, as answers come."""
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
