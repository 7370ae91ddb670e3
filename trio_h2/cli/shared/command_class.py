"""What all commands of `trio-h2` are."""

from __future__ import annotations

import sys

import click

from .exit_codes import exit_code_table
from .saying import discard, output_failed

__all__ = ["Command", "TransferCommand"]


class Command(click.Command):
    """A command whose --help and --version say so when standard output does not take them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it, but that an error of standard output is one line."""
        try:
            return super().parse_args(ctx, args)
        except BrokenPipeError:
            raise
        except OSError as error:
            discard(sys.stdout)
            raise click.ClickException(output_failed(error)) from error


class TransferCommand(Command):
    """A command that fails as curl does: its help ends with the table of exit codes."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table."""
        with formatter.section("Exit codes, as curl's"):
            formatter.write_dl(exit_code_table())
