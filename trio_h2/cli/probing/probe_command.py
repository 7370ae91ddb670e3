"""`trio-h2 probe`: its command line."""

from __future__ import annotations

import json
from typing import Any

import click
import trio

from ..shared.command_class import TransferCommand
from ..shared.exit_codes import ExitCode, Failure
from ..shared.interrupting import until_interrupted
from ..shared.locations import parse_url
from ..shared.saying import complain, reason, say
from ..shared.seconds_option import seconds_option
from ..shared.tls_options import client_context, tls_options

__all__ = ["probe"]


@click.command(cls=TransferCommand)
@click.argument("url", metavar="URL")
@click.option("--json", "as_json", is_flag=True, help="As JSON, and what failed in it, too.")
@tls_options
@seconds_option("-m", "--max-time", default=30, help="For all of it; 30 by default.")
@click.pass_context
def probe(context: click.Context, /, url: str, as_json: bool, max_time: float, insecure: bool, **files: Any) -> None:
    """Show what a server announces, and how it behaves, over one HTTP/2 connection.

    TLS and its certificate, SETTINGS and what holds where there is none, windows, PING, HEAD and GET of the URL's path,
    pushes, and what becomes of a request when the client says GOAWAY behind it. Nothing is asked for that a browser
    does not ask for. The exit code is 0 if all of it worked.
    """
    from rich.console import Console

    from .probe import Probe
    from .probe_view import show_table

    try:
        looking = Probe(parse_url(url), client_context(verify=not insecure, **files))
    except Failure as failure:
        complain(failure.words)
        context.exit(failure.exit_code)

    async def main() -> int:
        await looking.run(max_time)
        failure = looking.failure
        try:
            if as_json:
                error = None if failure is None else {"exit_code": int(failure.exit_code), "words": failure.words}
                for line in json.dumps({**looking.facts, "error": error}, indent=2).splitlines():
                    say(line)
            elif "settings" in looking.facts:
                show_table(looking.facts, Console())
        except OSError as error:
            complain(reason(error))
            return int(ExitCode.WRITE)
        if failure is None:
            return 0
        complain(f"{failure.shared or url}: {failure.words}")
        return int(failure.exit_code)

    context.exit(trio.run(until_interrupted, main))
