"""OpenTelemetry: spans and metrics of requests and connections. With the extra `otel`; see docs/observability.md."""

from .otel_trace import OTelTrace
from .traced_request import set_route

__all__ = ["OTelTrace", "set_route"]
