"""`Timeouts`: how long one request of a pool may wait for what."""

from __future__ import annotations

import math

import attrs

from .wording import number

__all__ = ["Timeouts"]


def _seconds(instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"Timeouts.{attribute.name} must be a number of seconds, not {type(value).__name__}")
    if math.isnan(value) or value < 0:
        raise ValueError(f"Timeouts.{attribute.name} must be 0 or more seconds, not {number(value)}")


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long each wait of one request may last, in seconds; `math.inf`, the default, is as long as it takes.

    When one is over a RequestTimeoutError says which. For a request as a whole there is `trio.fail_after`.

    Raises ValueError or TypeError, naming the timeout, for a value that makes no sense.

    Attributes:
        acquire: for a stream, where all that the origin allows are in use.
        connect: for a connection, where there is none; with the tries again.
        write: for the server to take one chunk of the body, or 64 KiB of it.
        read: for the response's headers, once the request is sent.
    """

    acquire: float = attrs.field(default=math.inf, validator=_seconds)
    connect: float = attrs.field(default=math.inf, validator=_seconds)
    write: float = attrs.field(default=math.inf, validator=_seconds)
    read: float = attrs.field(default=math.inf, validator=_seconds)
