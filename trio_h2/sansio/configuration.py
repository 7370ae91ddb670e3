"""How an H2Connection treats headers, how it differs from a connection on actors, and loggers that programs use."""

from __future__ import annotations

import functools
import sys
from typing import Any, TextIO

import attrs

from ..config import Config
from ..protocol.field_section import InboundRules

__all__ = [
    "LIMITS",
    "NOT_GIVEN",
    "DummyLogger",
    "H2Configuration",
    "OutputLogger",
    "configuration_from",
    "inbound_rules",
]


# max_unread=0: the connection's credit, like the stream's, is the program's to give back. Interim responses are not
# kept here: each is an event, and how many of them are too many is the program's to say, as with hyper-h2.
LIMITS = Config(
    max_unread=0,
    max_header_fields=2**31,
    max_continuations=64,
    max_header_block_size=128 * 1024,
    max_interim_responses=2**62,
    max_interim_octets=2**62,
)


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
    """Whether this encoding fails on nothing that a peer can send. UTF-16, say, wants octets in pairs."""
    try:
        return all(bytes((octet,)).decode(encoding, "surrogateescape") for octet in range(256))
    except (LookupError, UnicodeError):
        return False


def _logger(value: Any) -> Any:
    return DummyLogger() if value is None else value


@attrs.define
class H2Configuration:
    """How an H2Connection treats headers. Raises ValueError for a flag that is not a bool.

    Attributes:
        client_side: Whether this is the client. True.
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


NOT_GIVEN: Any = object()


def configuration_from(client_side: bool, header_encoding: str | bool | None) -> H2Configuration:
    """The configuration for what hyper-h2 2.0 to 2.6 took in place of one; each may be NOT_GIVEN."""
    if client_side is NOT_GIVEN and header_encoding is NOT_GIVEN:
        return H2Configuration()
    return H2Configuration(
        client_side=True if client_side is NOT_GIVEN else client_side,
        header_encoding="utf-8" if header_encoding is NOT_GIVEN else header_encoding or None,
    )


def inbound_rules(config: H2Configuration) -> InboundRules:
    """What is received is held to these rules."""
    return InboundRules(
        validate=config.validate_inbound_headers,
        join_cookies=config.normalize_inbound_headers,
        return_padding=False,  # the program does, with flow_controlled_length
        hold_headers=False,  # each is an event: how long it is held is the program's to say
        settings_first=False,  # peers that programs' own tests script often send none
        explain_goaway=False,  # the error that is raised says why
    )
