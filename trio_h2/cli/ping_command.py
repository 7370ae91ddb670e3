"""`trio-h2 ping`: its command line."""

from __future__ import annotations

import math

import click
import trio

from .exit_codes import Failure
from .interrupting import until_interrupted
from .locations import parse_url
from .ping import ping as run_ping
from .saying import complain
from .tls_options import client_context

__all__ = ["ping"]


def _origin(context: click.Context, parameter: click.Parameter, url: str) -> str:
    try:
        return parse_url(url).origin
    except Failure as failure:
        raise click.BadParameter(failure.words) from failure


def _seconds(context: click.Context, parameter: click.Parameter, seconds: float) -> float:
    if math.isnan(seconds) or seconds <= 0:
        raise click.BadParameter(f"it must be more than 0 seconds, not {seconds:g}")
    return seconds


@click.command()
@click.argument("origin", metavar="URL", callback=_origin)
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
@click.option("-k", "--insecure", is_flag=True, help="Do not verify the server's certificate.")
@click.option(
    "--max-time", type=float, default=math.inf, callback=_seconds, metavar="SECONDS", help="Give up after this time."
)
@click.pass_context
def ping(context: click.Context, origin: str, count: int, interval: float, insecure: bool, max_time: float) -> None:
    """Measure round trips to a server, by PING frames over one HTTP/2 connection; its path does not matter.

    The last line sums up, after SIGINT, too. The exit code is 0 if every PING was answered, and 1 if not; 2 for a wrong
    command line, 130 after SIGINT.
    """
    try:
        tls = client_context(verify=not insecure) if origin.startswith("https:") else None
    except Failure as failure:
        complain(failure.words)
        context.exit(1)

    async def main() -> int:
        return await run_ping(origin, count=count, interval=interval, ssl_context=tls, max_time=max_time)

    context.exit(trio.run(until_interrupted, main))
