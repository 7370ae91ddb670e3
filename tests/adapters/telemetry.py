"""Telemetry: an OTelTrace whose spans and metrics stay in memory."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import SpanKind

from trio_h2.adapters.otel import OTelTrace
from trio_h2.trace import switch_of

__all__ = ["Telemetry"]


class Telemetry:
    """Providers of its own, and a trace that uses them.

    Args:
        sampled: Whether spans are recorded.

    Attributes:
        trace: to be given to connections.
        tracer: for spans of the test's own.
    """

    def __init__(self, *, sampled: bool = True) -> None:
        self._exporter = InMemorySpanExporter()
        tracers = TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF, shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracers = tracers
        self.trace = OTelTrace(tracers, self.meters)
        self.tracer = tracers.get_tracer("tests")

    def spans(self, kind: SpanKind | None = None) -> list[ReadableSpan]:
        """Those that have ended, in that order."""
        return [span for span in self._exporter.get_finished_spans() if kind in (None, span.kind)]

    def span(self, kind: SpanKind) -> ReadableSpan:
        """The only one of its kind."""
        [span] = self.spans(kind)
        return span

    @property
    def broken(self) -> list[str]:
        """Whether the trace has raised, and is switched off."""
        return ["switched off"] if switch_of(self.trace).off else []

    def metrics(self) -> dict[str, list[Any]]:
        """The points of each metric, by its name."""
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        found: dict[str, list[Any]] = {}
        for metric in (metric for scope in scopes for metric in scope.metrics):
            assert metric.name not in found, "two instruments of one name"
            found[metric.name] = list(metric.data.data_points)
        return found

    def values(self, name: str) -> dict[tuple[Any, ...], float]:
        """Those of a sum, by the values of its attributes in the order of their names."""
        points = self.metrics().get(name, [])
        return {tuple(value for _, value in sorted(point.attributes.items())): point.value for point in points}
