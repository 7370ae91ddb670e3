"""The command line: which commands there are, and how what is wrong with one is said."""

from __future__ import annotations

import io
import sys
from functools import partial

import click
import trio
from click.shell_completion import get_completion_class

import trio_h2

from .getting.get_command import get
from .probing.ping_command import ping
from .probing.probe_command import probe
from .serving.serve_command import serve
from .shared.command_class import Command
from .shared.file_name import FILE_NAME
from .shared.interrupting import INTERRUPTED, until_interrupted
from .shared.saying import discard, hold_standard_files, output_failed, tell
from .showing.view_command import view

__all__ = ["cli", "run"]


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


class _Group(Command, click.Group):
    command_class = Command


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(trio_h2.__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """HTTP/2 for trio, from the command line."""


cli.add_command(serve)
cli.add_command(get)
cli.add_command(probe)
cli.add_command(ping)
cli.add_command(view)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete the commands and options of trio-h2.

    For bash: `eval "$(trio-h2 completion bash)"` in ~/.bashrc, and so in ~/.zshrc for zsh; for fish:
    `trio-h2 completion fish > ~/.config/fish/completions/trio-h2.fish`.
    """
    made_by = get_completion_class(shell)
    assert made_by is not None
    source = made_by(cli, {}, "trio-h2", "_TRIO_H2_COMPLETE")
    try:
        click.echo(source.source_template % source.source_vars())
    except BrokenPipeError:
        raise
    except OSError as error:
        discard(sys.stdout)
        raise click.ClickException(output_failed(error)) from error


@cli.command()
@click.option(
    "--trace",
    type=FILE_NAME,
    metavar="FILE",
    help="Record both ends as a page, or as JSON lines if FILE ends in .jsonl.",
)
@click.pass_context
def demo(context: click.Context, trace: str | None) -> None:
    """Show a hundred streams on one connection, one of which has a slow reader.

    A server and a client talk TLS over loopback, in this process, for a few seconds. It shows what each stream
    waits for; at the end, what happened and whether the books balance: the exit code is 0 if they do, else 1.
    """
    from .showing.demo import demo as run_demo  # with rich and trustme, which the other commands do without

    context.exit(trio.run(until_interrupted, partial(run_demo, trace)))
