"""The command line: what there is to type, and what is wrong with what was typed."""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path

import click
import trio

import trio_h2

from .demo import demo as run_demo
from .get import Location, parse_url
from .get import get as run_get
from .process import INTERRUPTED, discard, hold_standard_files, output_failed, reason, tell, until_interrupted
from .serve import self_signed_context, tls_context
from .serve import serve as run_serve

__all__ = ["cli", "run"]

TLS_PORT = 8443
CLEARTEXT_PORT = 8080


def run() -> int:
    """Run the command line of this process and return the exit code."""
    hold_standard_files()
    try:
        return cli.main(prog_name="trio-h2", standalone_mode=False) or 0
    except click.Abort:  # click's word for SIGINT where no command has its own answer to it
        return INTERRUPTED
    except click.ClickException as error:
        with io.StringIO() as text:
            error.show(text)
            for line in text.getvalue().splitlines():
                tell(line)
        return error.exit_code


class _Command(click.Command):
    """A command whose --help and --version say so when standard output does not take them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except BrokenPipeError:
            raise
        except OSError as error:
            discard(sys.stdout)
            raise click.ClickException(output_failed(error)) from error


class _Group(_Command, click.Group):
    command_class = _Command


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(trio_h2.__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """HTTP/2 for trio, from the command line."""


@cli.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 is every one.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"The port; 0 picks a free one.  [default: {TLS_PORT}, or {CLEARTEXT_PORT} without TLS]",
)
@click.option("--self-signed", is_flag=True, help="TLS, with a certificate made for this run.")
@click.option("--certfile", type=click.Path(exists=True, dir_okay=False), help="TLS: the certificate chain, in PEM.")
@click.option("--keyfile", type=click.Path(exists=True, dir_okay=False), help="TLS: its private key, in PEM.")
@click.pass_context
def serve(
    context: click.Context,
    directory: Path,
    host: str,
    port: int | None,
    self_signed: bool,
    certfile: str | None,
    keyfile: str | None,
) -> None:
    """Serve the files of DIRECTORY over HTTP/2.

    With TLS if --self-signed, or --certfile and --keyfile, say so; otherwise in the clear, to clients that know
    beforehand that HTTP/2 is spoken (curl --http2-prior-knowledge).

    A directory is its index.html, or 404. Symbolic links are followed inside DIRECTORY and never out of it. SIGINT
    and SIGTERM let open downloads finish, for at most ten seconds; a second one does not. The exit code is 0 then,
    1 for anything that went wrong, 2 for a wrong command line.
    """
    if (certfile is None) != (keyfile is None):
        raise click.UsageError("--certfile and --keyfile go together")
    if self_signed and certfile is not None:
        raise click.UsageError("--self-signed makes a certificate: it takes no --certfile")
    ssl_context = None
    if self_signed:
        try:
            ssl_context = self_signed_context(host)
        except ValueError as error:
            raise click.UsageError(f"--self-signed: no certificate names the host {host!r}: {error}") from error
    elif certfile is not None and keyfile is not None:
        try:
            ssl_context = tls_context(certfile, keyfile)
        except OSError as error:
            raise click.ClickException(
                f"cannot use certificate {certfile} with key {keyfile}: {reason(error)}"
            ) from error
    if port is None:
        port = CLEARTEXT_PORT if ssl_context is None else TLS_PORT

    async def main() -> int:
        return await run_serve(directory, host=host, port=port, ssl_context=ssl_context)

    context.exit(trio.run(main))


def _locations(context: click.Context, parameter: click.Parameter, urls: tuple[str, ...]) -> list[Location]:
    try:
        return [parse_url(url) for url in urls]
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _seconds(context: click.Context, parameter: click.Parameter, seconds: float) -> float:
    if math.isnan(seconds) or seconds <= 0:
        raise click.BadParameter(f"it must be more than 0 seconds, not {seconds:g}")
    return seconds


@cli.command()
@click.argument("locations", metavar="URL...", nargs=-1, required=True, callback=_locations)
@click.option("-v", "--verbose", is_flag=True, help="Print the events of HTTP/2 to standard error as they happen.")
@click.option("-k", "--insecure", is_flag=True, help="Do not verify the server's certificate.")
@click.option(
    "--max-time", type=float, default=math.inf, callback=_seconds, metavar="SECONDS", help="Give up after this time."
)
@click.pass_context
def get(context: click.Context, locations: list[Location], verbose: bool, insecure: bool, max_time: float) -> None:
    """Fetch every URL at once over one HTTP/2 connection, and write the bodies out in the order of the URLs.

    All URLs are of one origin: scheme, host and port. Redirects are not followed.

    The exit code is 0 if every response came whole with a status below 400, and 1 if not: standard error says what
    was wrong with which URL. The others are written all the same, and so is the body of a response with such a
    status. It is 2 for a wrong command line, 130 after SIGINT, 141 when nobody reads standard output any more.
    """
    origins = dict.fromkeys(location.origin for location in locations)
    if len(origins) > 1:
        raise click.UsageError(f"all URLs must be of one origin, these are of {len(origins)}: {', '.join(origins)}")

    async def main() -> int:
        return await run_get(locations, verify=not insecure, verbose=verbose, max_time=max_time)

    context.exit(trio.run(until_interrupted, main))


@cli.command()
@click.pass_context
def demo(context: click.Context) -> None:
    """Show a hundred streams on one connection, one of which has a slow reader.

    A server and a client talk TLS over loopback, in this process, for a few seconds. It shows what each stream
    waits for; at the end, what happened and whether the books balance: the exit code is 0 if they do, else 1.
    """
    context.exit(trio.run(until_interrupted, run_demo))
