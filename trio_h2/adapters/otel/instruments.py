"""`Instruments`: what is measured. One set for each provider, however many traces there are."""

from __future__ import annotations

from threading import Lock
from weakref import WeakKeyDictionary

from opentelemetry.metrics import MeterProvider

import trio_h2

from .connection_metrics import ConnectionMetrics
from .conventions import DURATION_BUCKETS, SCHEMA_URL
from .request_facts import Attributes
from .traced_request import TracedRequest

__all__ = ["Instruments", "instruments_of"]


class Instruments:
    """The instruments of one provider.

    Attributes:
        active_requests: requests that a server has not answered, or not forgotten.
        connections: what is measured of connections.
    """

    def __init__(self, provider: MeterProvider) -> None:
        meter = provider.get_meter("trio_h2", trio_h2.__version__, SCHEMA_URL)
        self._client_duration = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
        )
        self._server_duration = meter.create_histogram(
            "http.server.request.duration",
            unit="s",
            description="Duration of HTTP server requests.",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
        )
        self.active_requests = meter.create_up_down_counter(
            "http.server.active_requests", unit="{request}", description="Number of active HTTP server requests."
        )
        self.connections = ConnectionMetrics(meter)

    def client_took(self, request: TracedRequest, seconds: float, series: Attributes) -> None:
        """A client's request took so many seconds."""
        self._client_duration.record(seconds, series, request.context)

    def server_took(self, request: TracedRequest, seconds: float, series: Attributes) -> None:
        """A request took a server so many seconds."""
        self._server_duration.record(seconds, series, request.context)


_all: WeakKeyDictionary[MeterProvider, Instruments] = WeakKeyDictionary()
_lock = Lock()


def instruments_of(provider: MeterProvider) -> Instruments:
    """Those of this provider: two sets with the same names would be summed up wrong, or not at all."""
    with _lock:
        found = _all.get(provider)
        if found is None:
            found = _all[provider] = Instruments(provider)
        return found
