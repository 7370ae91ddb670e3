"""How a request carries a context: out of its header fields, and into more of them."""

from __future__ import annotations

import logging
import re

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter

import trio_h2

__all__ = ["Injector", "context_from"]

logger = logging.getLogger("trio_h2")

# RFC 9110 sections 5.1 and 5.5: a name in lower case, and a value that no hop may trim or take apart.
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")

_THE_REQUESTS_OWN = frozenset(
    ("connection", "content-length", "host", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade")
)
"""What says of a message how long it is and whom it is for, or is of no use in HTTP/2 (RFC 9113 section 8.2.2)."""


class _HeadersGetter(Getter[trio_h2.Headers]):
    def get(self, carrier: trio_h2.Headers, key: str) -> list[str] | None:
        values = carrier.get_all(key)
        # Two parents are none: nobody knows which one was meant.
        return None if not values or (len(values) > 1 and key.lower() == "traceparent") else values

    def keys(self, carrier: trio_h2.Headers) -> list[str]:
        return [name for name, _ in carrier.items()]


_getter = _HeadersGetter()


def context_from(headers: trio_h2.Headers) -> Context:
    """What a request says of where it comes from; nothing else, whatever the server runs in."""
    return propagate.extract(headers, context=Context(), getter=_getter)


class Injector:
    """What a propagator writes, as it can be sent.

    Names become lower-case ones, as HTTP/2 wants them. What cannot be sent is left out, or it would cost the request or
    all that follows: Jaeger's propagator makes names of whatever is baggage. Only the first such field is logged.
    """

    def __init__(self) -> None:
        self._told = False

    def fields_for(self, context: Context) -> dict[str, str]:
        """The header fields that carry a context. Raises what the propagator does."""
        written: dict[str, str] = {}
        propagate.inject(written, context=context)
        fields: dict[str, str] = {}
        for name, value in written.items():
            sent = name.lower()
            if _NAME.fullmatch(sent) and _VALUE.fullmatch(value) and sent not in _THE_REQUESTS_OWN:
                fields[sent] = value
            elif not self._told:
                self._told = True
                logger.warning(
                    "OpenTelemetry's propagator writes a field that cannot be sent, and is left out: %.100r;"
                    " this is said once",
                    name,
                )
        return fields
