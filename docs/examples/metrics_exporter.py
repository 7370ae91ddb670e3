"""A server with its metrics, for Prometheus: `python metrics_exporter.py PORT METRICS_PORT CERTIFICATE KEY`.

What it serves is a greeting. On the second port, and on loopback alone, `/metrics` is what the server has counted, in
Prometheus' text format 0.0.4. Prometheus speaks HTTP/2 to what it scrapes by `https`.
"""

from __future__ import annotations

import signal
import ssl
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial

import trio

import trio_h2

PLAIN = {
    "connections": "Connections that were accepted.",
    "connections_open": "Connections that are open.",
    "connections_evicted": "Connections that had to make room.",
    "handshakes_failed": "Connections that ended before their handshake.",
    "streams": "Streams that were opened.",
    "streams_open": "Streams that are open.",
    "bytes_received": "Octets taken from connections.",
    "bytes_sent": "Octets given to connections.",
}
BY_LABEL = {
    "requests": ("method", "Requests that came."),
    "responses": ("class", "Responses that were begun."),
    "resets_received": ("code", "Streams that clients have reset."),
    "resets_sent": ("code", "Streams that were reset here."),
    "limits_hit": ("limit", "Limits that clients went over."),
}


def metric(name: str, text: str, values: Mapping[str, int]) -> Iterator[str]:
    """The lines of one metric, by labels. What is open, or waits, may fall; all else only grows."""
    grows = not name.endswith(("_open", "_waiting"))
    name = f"h2_{name}_total" if grows else f"h2_{name}"
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {'counter' if grows else 'gauge'}"
    for labels, value in sorted(values.items()):
        yield f"{name}{labels} {value}"


def metrics(server: trio_h2.H2Server) -> Iterator[str]:
    """Every line of the page. No label has a value that a client has chosen."""
    statistics = server.statistics()
    for name, text in PLAIN.items():
        yield from metric(name, text, {"": getattr(statistics, name)})
    for name, (label, text) in BY_LABEL.items():
        counts: Mapping[str, int] = getattr(statistics, name)
        yield from metric(name, text, {f'{{{label}="{value}"}}': count for value, count in counts.items()})
    streams = (stream for connection in server.connections for stream in connection.statistics().streams)
    waiting = Counter(f'{{for="{stream.waits_for or "nothing"}"}}' for stream in streams)
    yield from metric("streams_waiting", "Open streams, by what they wait for.", waiting)


async def greet(stream: trio_h2.ServerStream) -> None:
    await stream.respond(200, [("content-type", "text/plain")], b"hello\n")


async def export(server: trio_h2.H2Server, stream: trio_h2.ServerStream) -> None:
    if stream.request.path != "/metrics":
        await stream.respond(404)
        return
    page = "".join(f"{line}\n" for line in metrics(server))
    await stream.respond(200, [("content-type", "text/plain; version=0.0.4; charset=utf-8")], page.encode())


async def main(port: int, metrics_port: int, certificate: str, key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    serve = partial(trio_h2.serve_h2, ssl_context=context)
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            server: trio_h2.H2Server = await nursery.start(serve, greet, port)
            exporter: trio_h2.H2Server = await nursery.start(
                partial(serve, partial(export, server), metrics_port, host="127.0.0.1")
            )
            print(f"https://localhost:{server.port} https://localhost:{exporter.port}/metrics", flush=True)
            await anext(signals)
        await server.shutdown()  # until it is over, its metrics can be seen
        await exporter.shutdown()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
