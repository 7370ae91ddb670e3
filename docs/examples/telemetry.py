"""A service whose requests are spans of OpenTelemetry, through two hops: `python telemetry.py PORT`.

`/orders/7` asks `/stock`, which is the same server here, by a pool. The spans of all three requests, and one of the
handler's own, are of one trace, and that goes on with what its client began, where the client sends `traceparent`. Each
span is a line of JSON on stdout; at the end the metrics are another. What is printed here a real program exports, with
`opentelemetry-exporter-otlp` say.
"""

from __future__ import annotations

import signal
import sys
from functools import partial

import trio
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

import trio_h2
from trio_h2.adapters.otel import OTelTrace, set_route

tracer = trace.get_tracer("telemetry")


async def order(pool: trio_h2.Pool, stream: trio_h2.ServerStream) -> None:
    set_route("/orders/{id}")
    with tracer.start_as_current_span("look at the stock"):
        stock = await pool.request("GET", f"http://{stream.request.authority}/stock")
    await stream.respond(200, body=b"in stock: " + stock.body)


async def handler(pool: trio_h2.Pool, stream: trio_h2.ServerStream) -> None:
    path = stream.request.path or ""
    if path.startswith("/orders/"):
        await order(pool, stream)
    elif path == "/stock":
        set_route(path)
        await stream.respond(200, body=b"12\n")
    else:
        await stream.respond(404)


async def main(port: int) -> None:
    telemetry = OTelTrace()
    async with trio_h2.open_pool(trace=telemetry) as pool, trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            serve = partial(trio_h2.serve_h2, partial(handler, pool), port, host="localhost", trace=telemetry)
            server: trio_h2.H2Server = await nursery.start(serve)
            await anext(signals)
        await server.shutdown()


if __name__ == "__main__":
    spans = TracerProvider()
    spans.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(formatter=lambda span: f"{span.to_json(None)}\n")))
    trace.set_tracer_provider(spans)
    exporter = ConsoleMetricExporter(formatter=lambda data: f"{data.to_json(None)}\n")
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(exporter)]))
    trio.run(main, int(sys.argv[1]))
