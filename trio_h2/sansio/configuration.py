"""How an H2Connection treats headers, and the loggers that programs pass to it or make of it."""

from __future__ import annotations

import functools
import sys
from typing import Any, TextIO

import attrs

__all__ = ["DummyLogger", "H2Configuration", "OutputLogger"]


class DummyLogger:
    """A base for loggers, and the default one. This package logs nothing."""

    def __init__(self, *args: Any) -> None:
        pass

    def debug(self, *args: Any, **kwargs: Any) -> None:
        """Log nothing."""

    def trace(self, *args: Any, **kwargs: Any) -> None:
        """Log nothing."""


class OutputLogger:
    """A logger that prints, for programs that make one and call it. This package logs nothing.

    Args:
        file: where to print; standard error by default.
        trace_level: print what is traced, too.
    """

    def __init__(self, file: TextIO | None = None, trace_level: bool = False) -> None:
        self.file = file or sys.stderr
        self.trace_level = trace_level

    def debug(self, fmtstr: str, *args: Any) -> None:
        """Print a message, formatted with `%`."""
        self._print("debug", fmtstr, args)

    def trace(self, fmtstr: str, *args: Any) -> None:
        """The same, if `trace_level` says so."""
        if self.trace_level:
            self._print("trace", fmtstr, args)

    def _print(self, level: str, fmtstr: str, args: tuple[Any, ...]) -> None:
        print(f"h2 ({level}): {fmtstr % args}", file=self.file)


def _flag(instance: object, attribute: attrs.Attribute[bool], value: bool) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{attribute.name} must be True or False")


def _encoding(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and value is not False and not (isinstance(value, str) and _decodes_anything(value)):
        raise ValueError(
            f"{attribute.name} must be None, or the name of an encoding that any octets can be decoded with"
        )


@functools.cache
def _decodes_anything(encoding: str) -> bool:
    """Can a peer send nothing that this encoding fails on? UTF-16, say, wants octets in pairs."""
    try:
        return all(bytes((octet,)).decode(encoding, "surrogateescape") for octet in range(256))
    except (LookupError, UnicodeError):
        return False


def _logger(value: Any) -> Any:
    return DummyLogger() if value is None else value


@attrs.define
class H2Configuration:
    """How an H2Connection treats headers. Raises ValueError for a flag that is no bool.

    Attributes:
        client_side: is this the client? True.
        header_encoding: the encoding that events' headers are decoded with; octets it does not have become
            surrogates, as for `os.fsdecode`. None, the default, gives bytes.
        validate_outbound_headers: check what we send by RFC 9113 sections 8.2 and 8.3, and bodies by their
            content-length (8.1.1). True.
        normalize_outbound_headers: send names in lower case, values without surrounding whitespace, no
            connection-specific fields (8.2.2), and `:authority` with every Host (8.3.1). True.
        split_outbound_cookies: send each cookie crumb as a field of its own (8.2.3), if normalizing. False.
        validate_inbound_headers: hold what we receive to the same sections. True.
        normalize_inbound_headers: join cookie crumbs (8.2.3). True.
        logger: kept for programs that pass one; nothing is logged here.
    """

    client_side: bool = attrs.field(default=True, validator=_flag)
    header_encoding: str | bool | None = attrs.field(default=None, validator=_encoding)
    validate_outbound_headers: bool = attrs.field(default=True, validator=_flag)
    normalize_outbound_headers: bool = attrs.field(default=True, validator=_flag)
    split_outbound_cookies: bool = attrs.field(default=False, validator=_flag)
    validate_inbound_headers: bool = attrs.field(default=True, validator=_flag)
    normalize_inbound_headers: bool = attrs.field(default=True, validator=_flag)
    logger: Any = attrs.field(default=None, converter=_logger)
