"""`trio-h2 get`: its command line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import click
import trio

import trio_h2

from ..shared.command_class import TransferCommand
from ..shared.exit_codes import ExitCode, Failure
from ..shared.file_name import FILE_NAME
from ..shared.interrupting import until_interrupted
from ..shared.locations import Location, parse_url
from ..shared.saying import complain
from ..shared.seconds_option import seconds_option
from ..shared.tls_options import client_context, tls_options
from .get_options import LINE_ENDS, GetOptions, data_of, read_file, request_of

__all__ = ["get"]

DATA = {"data": "-d", "data_raw": "--data-raw", "data_binary": "--data-binary"}


class GetContext(click.Context):
    """What click knows of one command line, and the order of its options, which it does not.

    Attributes:
        order: the names of the options that were given, each once for each time.
    """

    order: tuple[str, ...] = ()

    def note_order(self, parameters: Sequence[click.Parameter]) -> None:
        """These were given, in this order."""
        self.order = tuple(str(parameter.name) for parameter in parameters)


class GetCommand(TransferCommand):
    """A command that knows in which order its options were given."""

    context_class = GetContext

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it, and note the order of the options."""
        assert isinstance(ctx, GetContext)
        ctx.note_order(self.make_parser(ctx).parse_args(args=list(args))[2])
        return super().parse_args(ctx, args)


@click.command(cls=GetCommand)
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option("-X", "--request", "method", metavar="METHOD", help="In place of GET, HEAD or POST.")
@click.option("-d", "--data", multiple=True, metavar="DATA", help="POST this; @FILE without its line ends; & between.")
@click.option("--data-binary", multiple=True, metavar="DATA", help="As -d; @FILE as it is; @- is standard input.")
@click.option("--data-raw", multiple=True, metavar="DATA", help="As -d; an @ means nothing.")
@click.option("-G", "--get", "as_query", is_flag=True, help="What -d gives becomes the query of a GET.")
@click.option("-H", "--header", multiple=True, metavar="LINE", help="'Name: value', 'Name:' for none, @FILE of lines.")
@click.option("-A", "--user-agent", metavar="NAME", help="What it calls itself.")
@click.option(
    "-o", "--output", multiple=True, type=FILE_NAME, metavar="FILE", help="Where the body goes, of each URL in turn."
)
@click.option("-O", "--remote-name", count=True, help="To a file named as the URL's path ends.")
@click.option("-L", "--location", "follow", is_flag=True, help="Follow redirects.")
@click.option("--max-redirs", type=click.IntRange(-1), default=50, show_default=True, help="At most; -1: any number.")
@click.option("-i", "--include", is_flag=True, help="Write the headers, too.")
@click.option("-I", "--head", is_flag=True, help="Ask for the headers alone, and write them.")
@click.option("-f", "--fail", is_flag=True, help="A status of 400 or more is a failure, and its body is not written.")
@click.option("--fail-with-body", is_flag=True, help="It is a failure, and its body is written.")
@tls_options
@click.option("-x", "--proxy", metavar="URL", help="Ask this proxy for a tunnel (CONNECT) to each origin.")
@click.option("--retry", type=click.IntRange(0), default=0, help="Try again after a timeout, 408, 429 or 5xx.")
@click.option("--retry-delay", type=click.FloatRange(0), help="Seconds between; by default 1, and then twice as many.")
@seconds_option("-m", "--max-time", default=math.inf, help="For each transfer, or each try of it.")
@seconds_option("--connect-timeout", default=300, help="For each connection, with TLS.")
@click.option("-w", "--write-out", metavar="FORMAT", help="Written after each transfer: %{http_code}, \\n; @FILE.")
@click.option(
    "--trace", type=FILE_NAME, metavar="FILE", help="Record it all as a page, or as JSON lines if FILE ends in .jsonl."
)
@click.option("-v", "--verbose", is_flag=True, help="Print the events of HTTP/2 to standard error as they happen.")
@click.option("-s", "--silent", is_flag=True, help="No progress bars, notes or errors.")
@click.option("-S", "--show-error", is_flag=True, help="Errors even so.")
@click.pass_context
def get(context: click.Context, /, urls: tuple[str, ...], **given: Any) -> None:
    """Fetch URLs over HTTP/2, all at once, with curl's options.

    Those of one origin share a connection. What they write to standard output comes in the order of the URLs. A URL
    without a scheme is one of http, which is HTTP/2 in the clear with prior knowledge.

    Bodies are written as they come: what a content-encoding says is not undone, and none is asked for. A body that is
    encoded, or holds NUL, is not written to a terminal unless -o - says so.

    On a terminal each stream has a progress bar, while bodies go to files. Redirects that are not followed are said.
    """
    assert isinstance(context, GetContext)
    try:
        locations, options = _options([parse_url(url) for url in urls], context.order, given)
        files = _files(locations, context.order, given["output"])
        verify, cacert = not given["insecure"], given["cacert"]
        tls = client_context(verify=verify, cacert=cacert, cert=given["cert"], key=given["key"])
        proxy_tls = client_context(verify=verify, cacert=cacert)  # which is not shown our certificate
    except Failure as failure:
        complain(failure.words)
        context.exit(failure.exit_code)

    from .get import get as run_get  # with rich, which other commands do without

    async def main() -> int:
        return await run_get(locations, options, files=files, ssl_context=tls, proxy_ssl_context=proxy_tls)

    context.exit(trio.run(until_interrupted, main))


def _options(
    locations: list[Location], order: Sequence[str], given: dict[str, Any]
) -> tuple[list[Location], GetOptions]:
    """What the command line says, and the URLs with what -G adds. Raises Failure, click.UsageError."""
    values = {name: iter(given[name]) for name in DATA}
    data = data_of([(DATA[name], next(values[name])) for name in order if name in DATA])
    if given["as_query"]:
        locations = [location.with_query((data or b"").decode("utf-8", "surrogateescape")) for location in locations]
        data = None
    elif data is not None and given["head"]:
        raise click.UsageError("-I asks for the headers alone, and -d sends a body: -G makes it a query")
    request = request_of(given["method"], given["header"], data, head=given["head"], agent=given["user_agent"])
    text = given["write_out"]
    if text is not None and text.startswith("@"):
        text = read_file(text[1:], "-w").translate(None, LINE_ENDS).decode("utf-8", "surrogateescape")
    options = GetOptions(
        request=request,
        include=given["include"],
        only_head=given["head"],
        follow=given["follow"],
        max_redirects=given["max_redirs"],
        fail=given["fail"] or given["fail_with_body"],
        fail_body=given["fail_with_body"],
        retries=given["retry"],
        retry_delay=given["retry_delay"] or None,
        max_time=given["max_time"],
        connect_timeout=given["connect_timeout"],
        proxy=_proxy(given["proxy"]),
        write_out=text,
        trace=given["trace"],
        verbose=given["verbose"],
        silent=given["silent"],
        says_errors=not given["silent"] or given["show_error"],
    )
    return locations, options


def _proxy(url: str | None) -> str | None:
    if not url:  # an empty one is none, as scripts for curl have it
        return None
    url = url if "://" in url else f"http://{url}"
    try:
        trio_h2.open_pool(proxy=url)  # only made, not entered: it judges the URL
    except (ValueError, RuntimeError) as error:
        raise Failure(ExitCode.USAGE, str(error)) from error
    return url


def _files(locations: Sequence[Location], order: Sequence[str], outputs: Sequence[str]) -> list[str | None]:
    """For each URL where its body goes. Raises Failure, click.UsageError."""
    names = iter(outputs)
    files: list[str | None] = []
    for option in [name for name in order if name in ("output", "remote_name")]:
        if len(files) == len(locations):
            raise click.UsageError("there are more -o and -O than URLs")
        file = next(names) if option == "output" else locations[len(files)].file_name
        if not file and option == "output":
            raise click.UsageError("-o needs a file's name, or - for standard output")
        if not file:
            raise Failure(ExitCode.WRITE, f"-O: {locations[len(files)].url} does not end in a file's name")
        files.append("./-" if file == "-" and option == "remote_name" else file)
    return files
