"""`OTelTrace`: requests as spans, and metrics of requests and connections."""

from __future__ import annotations

from functools import partial

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, SpanKind, TracerProvider

import trio_h2

from .conventions import SCHEMA_URL, known_methods
from .instruments import instruments_of
from .plugged_in import PluggedIn
from .propagation import Injector, context_from
from .request_facts import Attributes, RequestFacts, peer_attributes
from .traced_request import TracedRequest, current_request

__all__ = ["OTelTrace"]

_LOST: Span = trace.INVALID_SPAN


class OTelTrace(trio_h2.Trace):
    """A Trace for OpenTelemetry: `connect(url, trace=OTelTrace())`, and so for pools and servers.

    Each request is a span, by the semantic conventions for HTTP. A client's has the caller's current span as its
    parent, and is sent along in `traceparent`, or in what else the global propagator says. A server's has what came
    with the request as its parent, and is the current span of its handler. Their durations, the requests that are open
    and the connections are metrics. Pushed responses have no spans. docs/observability.md has all of it.

    One may serve any number of connections, and may be shared with a server.

    Args:
        tracer_provider: makes the spans; by default the global one.
        meter_provider: makes the instruments; by default the global one.

    In all methods:
        connection, number, stream_id, headers, status, error: as for `Trace`.

    Raises:
        TypeError: an argument is no provider.
    """

    def __init__(
        self, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        if tracer_provider is not None and not isinstance(tracer_provider, TracerProvider):
            raise TypeError(f"tracer_provider must be a TracerProvider, not {type(tracer_provider).__name__}")
        if meter_provider is not None and not isinstance(meter_provider, MeterProvider):
            raise TypeError(f"meter_provider must be a MeterProvider, not {type(meter_provider).__name__}")
        self._tracer = trace.get_tracer("trio_h2", trio_h2.__version__, tracer_provider, SCHEMA_URL)
        self._instruments = instruments_of(meter_provider or metrics.get_meter_provider())
        self._known = known_methods()
        self._plugged_in = PluggedIn()
        self._injector = Injector()
        self._open: dict[trio_h2.Connection, dict[int, TracedRequest]] = {}

    # Connections

    def connection_made(self, connection: trio_h2.Connection) -> None:
        """See `Trace`."""
        self._open[connection] = {}
        self._instruments.connections.made(connection)

    def connection_ended(self, connection: trio_h2.Connection, error: trio_h2.H2Error | None) -> None:
        """See `Trace`."""
        del self._open[connection]
        self._instruments.connections.ended(connection)

    # A client's requests

    def request_made(
        self, connection: trio_h2.ClientConnection, number: int, headers: trio_h2.Headers
    ) -> dict[str, str]:
        """See `Trace`."""
        facts = RequestFacts(headers, self._known, connection.authority)
        attributes = facts.client_attributes() | peer_attributes(connection, of_client=False)
        request = self._begin(facts, None, SpanKind.CLIENT, attributes)
        self._open[connection][number] = request
        return self._plugged_in.call(partial(self._injector.fields_for, request.context), {})

    def request_settled(
        self, connection: trio_h2.Connection, number: int, stream_id: int | None, error: trio_h2.H2Error | None
    ) -> None:
        """See `Trace`."""
        request = self._open[connection].pop(number)
        if stream_id is not None:
            self._open[connection][stream_id] = request
        else:
            self._instruments.client_took(request, *self._end(request, error, cancelled=error is None))

    # A server's

    def stream_opened(self, connection: trio_h2.Connection, stream_id: int, headers: trio_h2.Headers) -> None:
        """See `Trace`."""
        if not isinstance(connection, trio_h2.ServerConnection) or stream_id % 2 == 0:
            return
        facts = RequestFacts(headers, self._known, None)
        attributes = facts.server_attributes() | peer_attributes(connection, of_client=True)
        parent = self._plugged_in.call(partial(context_from, headers), Context())
        self._open[connection][stream_id] = self._begin(facts, parent, SpanKind.SERVER, attributes)
        self._instruments.active_requests.add(1, facts.active_series())

    def handler_began(self, connection: trio_h2.Connection, stream_id: int) -> None:
        """See `Trace`."""
        request = self._open[connection][stream_id]
        current_request.set(request)
        otel_context.attach(request.context)

    # Both sides'

    def _begin(
        self, facts: RequestFacts, parent: Context | None, kind: SpanKind, attributes: dict[str, str | int]
    ) -> TracedRequest:
        start = partial(self._tracer.start_span, facts.name, context=parent, kind=kind, attributes=attributes)
        span = self._plugged_in.call(start, _LOST)
        context = trace.set_span_in_context(span, parent)
        return TracedRequest(facts, span, context, client=kind is SpanKind.CLIENT)

    def _end(
        self, request: TracedRequest, error: trio_h2.H2Error | None, *, cancelled: bool = False
    ) -> tuple[float, Attributes]:
        took = request.end(error, cancelled=cancelled)
        self._plugged_in.call(request.span.end, None)
        return took

    def response_began(
        self, connection: trio_h2.Connection, stream_id: int, status: int, headers: trio_h2.Headers
    ) -> None:
        """See `Trace`."""
        request = self._open[connection].get(stream_id)
        if request is not None:
            request.answered(status)

    def stream_closed(self, connection: trio_h2.Connection, stream_id: int, error: trio_h2.H2Error | None) -> None:
        """See `Trace`."""
        request = self._open[connection].pop(stream_id, None)
        if request is None:
            return
        seconds, series = self._end(request, error)
        if isinstance(connection, trio_h2.ServerConnection):
            self._instruments.server_took(request, seconds, series)
            self._instruments.active_requests.add(-1, request.facts.active_series())
        else:
            self._instruments.client_took(request, seconds, series)
