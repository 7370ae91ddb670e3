"""`trio-h2 view`: the page of a recording that was made as JSON lines."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from trio_h2.timeline import load, save

from ..shared.command_class import Command
from ..shared.file_name import FILE_NAME
from ..shared.saying import reason, say

__all__ = ["view"]


@click.command(cls=Command)
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "-o", "--output", type=FILE_NAME, metavar="PAGE", help="Where the page goes; by default beside FILE, as .html."
)
@click.option("--open", "opens", is_flag=True, help="Show it in a browser.")
def view(file: str, output: str | None, opens: bool) -> None:
    """Make a page of a recording that was made as JSON lines: by `--trace out.jsonl`, or `timeline.save("out.jsonl")`.

    It prints where the page is, which is one file and needs no network. The exit code is 1 if FILE is no recording, or
    the page cannot be written.
    """
    page = Path(output) if output is not None else Path(file).with_suffix(".html")
    if page.suffix == ".jsonl":
        raise click.UsageError(f"{page} would not be a page: its name says that it is JSON lines")
    if page.exists() and page.samefile(file):
        raise click.UsageError(f"{page} is the recording, and the page would take its place: -o names another")
    try:
        recording = load(file)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{file}: {reason(error)}") from error
    try:
        save(recording, page)
        say(str(page))
    except OSError as error:
        raise click.ClickException(f"{page}: {reason(error)}") from error
    if opens and not webbrowser.open(page.resolve().as_uri()):
        raise click.ClickException("there is no browser to show it in")
