"""`trio-h2 serve`: its command line."""

from __future__ import annotations

import importlib.util
import math
import os
from typing import Any

import click

import trio_h2
from trio_h2.adapters.trusted_addresses import TrustedAddresses

from ..shared.file_name import FILE_NAME
from ..shared.missing_extra import package_is_missing
from .config_file import use_config_file
from .config_knobs import KNOBS, knob_options
from .log_output import LEVELS
from .overriding import without_overridden
from .plain_command import run_plain
from .serve_error import ServeError
from .serve_option import ServeCommand, ServeOption
from .serve_options import ServeOptions
from .supervised_command import run_supervised
from .tls_contexts import with_certificate

__all__ = ["serve"]

FILE = click.Path(exists=True, dir_okay=False)
POSITIVE = click.IntRange(1)
PORT = click.IntRange(0, 65535)

HELP = """Serve an ASGI app, or the files of a directory, over HTTP/2.

TARGET is a directory that exists, or an app, as `module:app`. Apps are served over HTTP/1.1, too. With TLS if
--self-signed, or --certfile and --keyfile, say so; otherwise in the clear, and HTTP/2 to clients that know beforehand
that it is spoken (curl --http2-prior-knowledge).

A directory is its index.html, or 404. Symbolic links are followed inside it and never out of it.

Every option is an environment variable as well, TRIO_H2_PORT for --port, and a key of the file that --config names,
in TOML: port = 8080. The command line counts before the environment, and that before the file.

SIGINT and SIGTERM let open requests finish, for at most --grace seconds; a second one does not. The exit code is 0
then, 1 for anything that went wrong, 2 for a wrong command line or configuration.
"""


def _octal(context: click.Context, parameter: click.Parameter, mode: str | None) -> int | None:
    if mode is None:
        return None
    try:
        number = int(mode, 8)
    except ValueError:
        number = -1
    if not 0 <= number <= 0o777:
        raise click.BadParameter(f"it must be permissions as chmod takes them, 660 say, not {mode!r}")
    return number


def _path(context: click.Context, parameter: click.Parameter, path: str) -> str:
    if path and not path.startswith("/"):
        raise click.BadParameter(f"it must begin with a slash: {path!r}")
    return path


def _seconds(context: click.Context, parameter: click.Parameter, seconds: float) -> float:
    if math.isnan(seconds) or seconds < 0:
        raise click.BadParameter(f"it must be 0 seconds or more, not {seconds:g}")
    return seconds


def _peers(context: click.Context, parameter: click.Parameter, addresses: str) -> str:
    try:
        TrustedAddresses(addresses, "")
    except ValueError as error:
        raise click.BadParameter(str(error).removeprefix(": ")) from error
    return addresses


def _not_empty(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    if text == "":
        raise click.BadParameter("it must not be empty")
    return text


LISTENING = [
    ServeOption(
        "Where to listen",
        "--host",
        callback=_not_empty,
        help="The address; 0.0.0.0 is every one.  [default: 127.0.0.1]",
    ),
    ServeOption(
        "Where to listen",
        "--port",
        type=PORT,
        help="The port; 0 picks a free one.  [default: 8443, or 8080 without TLS]",
    ),
    ServeOption(
        "Where to listen", "--unix", callback=_not_empty, type=FILE_NAME, metavar="PATH", help="A unix socket instead."
    ),
    ServeOption("Where to listen", "--unix-mode", callback=_octal, metavar="MODE", help="Its permissions: 660, say."),
    ServeOption("Where to listen", "--fd", type=click.IntRange(0), help="A socket that is open already, and listens."),
    ServeOption(
        "Where to listen",
        "--proxy-protocol",
        default="",
        callback=_peers,
        metavar="IPS",
        help="Proxies that begin each connection with a header of the PROXY protocol: addresses and networks, separated"
        " by commas, `unix` for a unix socket's.",
    ),
]
TLS = [
    ServeOption("TLS", "--certfile", type=FILE, help="The certificate chain, in PEM."),
    ServeOption("TLS", "--keyfile", type=FILE, help="Its private key, in PEM."),
    ServeOption("TLS", "--self-signed", is_flag=True, help="A certificate made for this run."),
    ServeOption("TLS", "--ca-certs", type=FILE, help="Who signs the certificates that clients must have, in PEM."),
]
APP = [
    ServeOption("The app", "--factory", is_flag=True, help="TARGET is a function that makes the app."),
    ServeOption(
        "The app",
        "--root-path",
        default="",
        callback=_path,
        metavar="PATH",
        help="The path that the app is mounted at.",
    ),
    ServeOption("The app", "--reload", is_flag=True, help="Load the app again when its files change."),
    ServeOption(
        "The app",
        "--forwarded-allow-ips",
        default="",
        callback=_peers,
        metavar="IPS",
        help="Proxies whose X-Forwarded-* and Forwarded are believed: addresses and networks, separated by commas.",
    ),
]
PROCESSES = [
    ServeOption("Processes", "--workers", type=POSITIVE, help="How many serve, with a parent that replaces them."),
    ServeOption("Processes", "--max-requests", type=POSITIVE, help="Of a worker, before it is replaced."),
    ServeOption(
        "Processes",
        "--max-requests-jitter",
        type=click.IntRange(0),
        default=0,
        help="At most so many more, at random for each worker.",
    ),
    ServeOption(
        "Processes",
        "--pid-file",
        callback=_not_empty,
        type=FILE_NAME,
        metavar="PATH",
        help="Where the process's number is written.",
    ),
    ServeOption("Processes", "--metrics-port", type=PORT, help="Where Prometheus finds /metrics."),
    ServeOption("Processes", "--metrics-host", default="127.0.0.1", show_default=True, help="Its address."),
]
LOGS = [
    ServeOption("Logs", "--access-log/--no-access-log", default=True, help="A line for every request."),
    ServeOption(
        "Logs",
        "--log-format",
        type=click.Choice(["text", "json"], case_sensitive=False),
        default="text",
        show_default=True,
    ),
    ServeOption(
        "Logs",
        "--trace",
        callback=_not_empty,
        type=FILE_NAME,
        metavar="FILE",
        help="At the end, write what connections did as a page, or as JSON lines if FILE ends in .jsonl.",
    ),
    ServeOption(
        "Logs", "--log-level", type=click.Choice(LEVELS, case_sensitive=False), default="info", show_default=True
    ),
]
LIMITS = [
    ServeOption(
        "Limits",
        "--max-connections",
        type=POSITIVE,
        default=1_000,
        show_default=True,
        help="Of one process, at once.",
    ),
    ServeOption(
        "Limits",
        "--grace",
        type=float,
        default=10.0,
        callback=_seconds,
        metavar="SECONDS",
        show_default=True,
        help="For open requests when it is told to stop.",
    ),
]
CONFIG = ServeOption(
    "Configuration",
    "--config",
    type=FILE,
    is_eager=True,
    expose_value=False,
    callback=use_config_file,
    help="A TOML file of options.",
)


def _serve(target: str, **values: Any) -> None:
    context = click.get_current_context()
    config = trio_h2.Config(**{name: values.pop(name) for name in KNOBS})
    if os.path.exists(target) and not os.path.isdir(target):
        raise click.UsageError(f"{target} is a file: neither a directory, nor an app as module:app")
    values = without_overridden(context, values)
    try:
        options = ServeOptions(target=target, is_directory=os.path.isdir(target), config=config, **values)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if options.reload and importlib.util.find_spec("watchfiles") is None:
        raise click.ClickException(package_is_missing("watchfiles", "reload"))
    try:
        run = run_supervised if options.is_supervised else run_plain
        exit_code = run(with_certificate(options))
    except ServeError as error:
        error.show()
        exit_code = error.exit_code
    context.exit(exit_code)


serve = ServeCommand(
    "serve",
    callback=_serve,
    params=[
        click.Argument(["target"]),
        CONFIG,
        *LISTENING,
        *TLS,
        *APP,
        *PROCESSES,
        *LOGS,
        *LIMITS,
        *knob_options(),
    ],
    help=HELP,
    short_help="Serve an ASGI app, or the files of a directory.",
)
