"""The options of `trio-h2 serve`: each is also an environment variable, and a key of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from click.core import ParameterSource

from ..shared.command_class import Command

__all__ = ["ConfigurationError", "ServeCommand", "ServeContext", "ServeOption", "parameter_name"]

PREFIX = "TRIO_H2_"


class ConfigurationError(click.ClickException):
    """What is wrong with the environment or a file: one line, without the command's usage."""

    exit_code = 2


class ServeOption(click.Option):
    """An option that says, when its value is wrong, where it came from.

    Args:
        group: under which heading `--help` shows it.
    """

    def __init__(self, group: str, *declarations: str, **attributes: Any) -> None:
        super().__init__(declarations, **attributes)
        assert self.name is not None
        self.group = group
        self.envvar = PREFIX + self.name.upper()

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Where the value came from: the option, the variable, or the key and its file."""
        source = None if ctx is None or self.name is None else ctx.get_parameter_source(self.name)
        if isinstance(ctx, ServeContext) and source is ParameterSource.DEFAULT_MAP:
            return f"{ctx.key(self)!r} in {ctx.file}"
        if source is ParameterSource.ENVIRONMENT:
            return f"{self.envvar}"
        return super().get_error_hint(ctx)


class ServeContext(click.Context):
    """What click knows of one command line, and the file of options that it names.

    Attributes:
        file: its path, or None.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.file: str | None = None
        self._keys: dict[str, str] = {}

    def use_file(self, path: str, values: Mapping[str, Any]) -> None:
        """Take values where command line and environment say nothing; each key is an option's name, as it is written.

        Raises KeyError, with both keys, where two are one option.
        """
        self.file = path
        self.default_map = {}
        for key, value in values.items():
            name = parameter_name(key)
            if name in self._keys:
                raise KeyError(self._keys[name], key)
            self._keys[name] = key
            self.default_map[name] = value

    def key(self, option: ServeOption) -> str:
        """What an option is called in the file."""
        return self._keys[str(option.name)]


def parameter_name(key: str) -> str:
    """The name of the option that a file calls so."""
    return key.replace("-", "_")


class ServeCommand(Command):
    """A command whose help shows its options in their groups."""

    context_class = ServeContext

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it, but that what is wrong in the environment or a file is one line."""
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            name = None if error.param is None else error.param.name
            source = None if name is None else ctx.get_parameter_source(name)
            if source in (ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP):
                raise ConfigurationError(error.format_message()) from error
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write every group under its heading."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                group = parameter.group if isinstance(parameter, ServeOption) else "Help"
                groups.setdefault(group, []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)
