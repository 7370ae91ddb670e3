"""What `/metrics` shows, as Prometheus has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from .tally import Counts

__all__ = ["Snapshot", "page"]

PREFIX = "trio_h2_"

COUNTERS = {
    "connections": "Connections that were accepted.",
    "connections_evicted": "Connections that had to go because others wanted the place.",
    "connections_http1": "Connections whose client spoke HTTP/1.x.",
    "handshakes_failed": "Connections that ended before their handshake was complete.",
    "streams": "Streams that were opened.",
    "bytes_received": "Octets taken from connections, without TLS.",
    "bytes_sent": "Octets given to connections, without TLS.",
}
GAUGES = {
    "connections_open": "Connections that are there: in their handshake, in use, or closing.",
    "streams_open": "Streams that are open.",
}
BY_LABEL = {
    "requests": ("method", "Requests of HTTP/2 that came."),
    "responses": ("class", "Responses over HTTP/2 that were begun."),
    "resets_received": ("code", "Streams that clients have reset."),
    "resets_sent": ("code", "Streams that were reset here."),
    "limits_hit": ("limit", "Limits that clients went over."),
}


@attrs.frozen
class Snapshot:
    """What there is to show at one moment.

    Attributes:
        counts: of all servers together.
        workers: how many processes serve.
        restarts: how many workers that died, or could not start, have got a successor.
        silent: the process IDs of workers that have not answered in time; their last counts are among `counts`.
    """

    counts: Counts
    workers: int = 1
    restarts: int = 0
    silent: tuple[int, ...] = ()


class _Snapshots(Collector):
    """Shows one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        counts = self._snapshot.counts
        for name, text in COUNTERS.items():
            yield CounterMetricFamily(PREFIX + name, text, value=counts.get(name, 0))
        for name, (label, text) in BY_LABEL.items():
            yield _by_label(name, label, text, counts.get(name, {}))
        for name, text in GAUGES.items():
            yield GaugeMetricFamily(PREFIX + name, text, value=counts.get(name, 0))
        yield GaugeMetricFamily(PREFIX + "workers", "Processes that serve.", value=self._snapshot.workers)
        text = "Workers that died, or could not start, and got a successor."
        yield CounterMetricFamily(PREFIX + "worker_restarts", text, value=self._snapshot.restarts)
        text = "Workers that have not answered in time: what is shown of them is from before."
        silent = GaugeMetricFamily(PREFIX + "worker_silent", text, labels=["pid"])
        for pid in self._snapshot.silent:
            silent.add_metric([str(pid)], 1)
        yield silent


def _by_label(name: str, label: str, text: str, values: Mapping[str, int]) -> Metric:
    metric = CounterMetricFamily(PREFIX + name, text, labels=[label])
    for value, number in sorted(values.items()):
        metric.add_metric([value], number)
    return metric


def page(snapshot: Snapshot, accept: str) -> tuple[str, bytes]:
    """The content type and the text, in the format that a client's Accept asks for."""
    registry = CollectorRegistry()
    registry.register(_Snapshots(snapshot))
    encode, content_type = choose_encoder(accept)
    return content_type, encode(registry)
