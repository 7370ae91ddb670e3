"""`trio-h2 ping`: its command line."""

from __future__ import annotations

import math
from typing import Any

import click
import trio

from ..shared.exit_codes import Failure
from ..shared.interrupting import until_interrupted
from ..shared.locations import Location, parse_url
from ..shared.saying import complain
from ..shared.tls_options import client_context, tls_options
from .ping import ping as run_ping

__all__ = ["ping"]


def _location(context: click.Context, parameter: click.Parameter, url: str) -> Location:
    try:
        return parse_url(url)
    except Failure as failure:
        raise click.BadParameter(failure.words) from failure


def _seconds(context: click.Context, parameter: click.Parameter, seconds: float) -> float:
    if math.isnan(seconds) or seconds <= 0:
        raise click.BadParameter(f"it must be more than 0 seconds, not {seconds:g}")
    return seconds


@click.command()
@click.argument("location", metavar="URL", callback=_location)
@click.option("-c", "--count", type=click.IntRange(min=1), default=4, show_default=True, help="How many PINGs.")
@click.option(
    "-i",
    "--interval",
    type=float,
    default=1.0,
    show_default=True,
    callback=_seconds,
    metavar="SECONDS",
    help="From an answer to the next PING.",
)
@tls_options
@click.option(
    "-m",
    "--max-time",
    type=float,
    default=math.inf,
    callback=_seconds,
    metavar="SECONDS",
    help="Give up after this time.",
)
@click.pass_context
def ping(
    context: click.Context,
    /,
    location: Location,
    count: int,
    interval: float,
    max_time: float,
    insecure: bool,
    **files: Any,
) -> None:
    """Measure round trips to a server, by PING frames over one HTTP/2 connection; its path does not matter.

    The last line sums up, after SIGINT, too. The exit code is 0 if every PING was answered, and 1 if not; 2 for a wrong
    command line, 130 after SIGINT.
    """
    try:
        tls = client_context(verify=not insecure, **files)
    except Failure as failure:
        complain(failure.words)
        context.exit(1)

    async def main() -> int:
        return await run_ping(location, count=count, interval=interval, ssl_context=tls, max_time=max_time)

    context.exit(trio.run(until_interrupted, main))
