"""Events in the shape that hyper-h2 gives them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import attrs
from hpack import HeaderTuple, NeverIndexedHeaderTuple

from .. import events as ev

__all__ = ["shaped"]

_WITH_HEADERS = frozenset(
    (
        ev.RequestReceived,
        ev.ResponseReceived,
        ev.InformationalResponseReceived,
        ev.TrailersReceived,
        ev.PushedStreamReceived,
    )
)


def shaped(event: ev.Event, encoding: str | bool | None) -> ev.Event:
    """The event with its headers as a list, of text if there is an encoding; and with RFC 7540's defaults."""
    kind = type(event)
    if kind in _WITH_HEADERS:
        with_headers: Any = event
        return cast(ev.Event, attrs.evolve(with_headers, headers=_header_tuples(with_headers.headers, encoding)))
    if kind is ev.PriorityUpdated and cast(ev.PriorityUpdated, event).weight is None:
        # RFC 9218's frame: programs that only know RFC 7540's signals count on its defaults.
        return attrs.evolve(cast(ev.PriorityUpdated, event), weight=16, depends_on=0, exclusive=False)
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
