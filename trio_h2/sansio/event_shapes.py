"""Events in the shape that hyper-h2 gives them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
from hpack import HeaderTuple, NeverIndexedHeaderTuple

from .. import events as ev

__all__ = ["shaped"]

_MESSAGES = frozenset((ev.RequestReceived, ev.ResponseReceived, ev.TrailersReceived))
_OTHERS_WITH_HEADERS = frozenset((ev.InformationalResponseReceived, ev.PushedStreamReceived))


def shaped(event: Any, encoding: str | bool | None) -> Any:
    """The event with its headers as a list, of text if there is an encoding; and with RFC 7540's defaults."""
    kind = type(event)
    if kind in _MESSAGES:  # most events with headers are, and `evolve` costs more than all the rest of this
        headers = _header_tuples(event.headers, encoding)
        return kind(event.stream_id, headers, event.stream_ended, event.priority_updated)
    if kind in _OTHERS_WITH_HEADERS:
        return attrs.evolve(event, headers=_header_tuples(event.headers, encoding))
    if kind is ev.PriorityUpdated and event.weight is None:
        # RFC 9218's frame: programs that only know RFC 7540's signals count on its defaults.
        return attrs.evolve(event, weight=16, depends_on=0, exclusive=False)
    return event


def _header_tuples(pairs: Iterable[tuple[bytes, bytes]], encoding: str | bool | None) -> list[HeaderTuple]:
    """Header tuples as the hpack package gives them, decoded if there is an encoding."""
    headers = []
    for pair in pairs:
        kind = NeverIndexedHeaderTuple if isinstance(pair, NeverIndexedHeaderTuple) else HeaderTuple
        if encoding:
            name, value = (text.decode(str(encoding), "surrogateescape") for text in pair)
            headers.append(kind(name, value))
        else:
            headers.append(kind(*pair))
    return headers
