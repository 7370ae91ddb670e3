"""How a request carries a context: out of its header fields, and into more of them."""

from __future__ import annotations

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter

import trio_h2

__all__ = ["context_from", "fields_for"]


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


def fields_for(context: Context) -> dict[str, str]:
    """The header fields that carry a context."""
    fields: dict[str, str] = {}
    propagate.inject(fields, context=context)
    return fields
