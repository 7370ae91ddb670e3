"""`serve --config FILE`: a TOML file with the options as keys."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from ..shared.saying import reason
from .serve_option import ConfigurationError, ServeContext, ServeOption, parameter_name

__all__ = ["use_config_file"]


def use_config_file(context: click.Context, parameter: click.Parameter, path: str | None) -> None:
    """Take a file's values where command line and environment say nothing: the callback of `--config`."""
    if path is None:
        return
    assert isinstance(context, ServeContext)
    options = {each.name: each for each in context.command.params if isinstance(each, ServeOption)}
    del options[parameter.name]
    values = _read(path)
    for key, value in values.items():
        option = options.get(parameter_name(key))
        if option is None:
            close = get_close_matches(parameter_name(key), [str(each) for each in options], n=1)
            hint = f"; did you mean {close[0].replace('_', '-')!r}?" if close else ""
            raise ConfigurationError(f"{path}: there is no option {key!r}{hint}")
        _check(path, key, value, option)
    try:
        context.use_file(path, values)
    except KeyError as error:
        raise ConfigurationError(f"{path}: {error.args[0]!r} and {error.args[1]!r} are one option") from None


def _read(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_bytes().decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from error
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {reason(error)}") from error


def _check(path: str, key: str, value: Any, option: ServeOption) -> None:
    """Raise ConfigurationError for a value of another type. Click would take "8080" for a number, and 1 for true."""
    kinds, wanted = _kinds(option)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ConfigurationError(f"{path}: {key!r} must be {wanted}, not {_described(value)}")


def _kinds(option: ServeOption) -> tuple[tuple[type, ...], str]:
    """What an option's value may be in TOML, and how that is said."""
    if option.is_bool_flag:
        return (bool,), "true or false"
    if isinstance(option.type, click.types.IntParamType):
        return (int,), "a whole number"
    if isinstance(option.type, click.types.FloatParamType):
        return (int, float), "a number"
    return (str,), "a string"


def _described(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    return "an array" if isinstance(value, list) else repr(value)
