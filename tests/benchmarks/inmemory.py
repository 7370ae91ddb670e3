"""Requests between two connections in memory: `python -m tests.benchmarks.inmemory NAME COUNT`.

A client's machine and a server's of the same package hand each other bytes, with no I/O. The time that each of them
takes is counted apart: for the server receive_data, send_headers, send_data and data_to_send, for the client the
request, and the receipt and acknowledgement of the response. One line of JSON comes out.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

REQUEST = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"example.org"),
    (b":path", b"/"),
    (b"user-agent", b"benchmark/1"),
    (b"accept", b"*/*"),
]
RESPONSE = [(b":status", b"200"), (b"content-type", b"text/plain"), (b"content-length", b"5")]
BODY = b"hello"


def names(package: str) -> tuple[Any, Any, Any]:
    """H2Connection, H2Configuration and the module of events."""
    if package == "h2":
        from h2 import config, connection, events

        return connection.H2Connection, config.H2Configuration, events
    from trio_h2 import events as our_events
    from trio_h2 import sansio

    return sansio.H2Connection, sansio.H2Configuration, our_events


def exchange(package: str, count: int) -> dict[str, Any]:
    connection, configuration, events = names(package)
    client, server = connection(configuration(client_side=True)), connection(configuration(client_side=False))
    client.initiate_connection()
    server.initiate_connection()
    for _ in range(2):
        server.receive_data(client.data_to_send())
        client.receive_data(server.data_to_send())
    seconds = {"server": 0.0, "client": 0.0}
    clock = time.thread_time  # what else runs on the core does not count
    for _ in range(count):
        start = clock()
        client.send_headers(client.get_next_available_stream_id(), REQUEST, end_stream=True)
        request = client.data_to_send()
        sent = clock()
        for event in server.receive_data(request):
            if isinstance(event, events.RequestReceived):
                server.send_headers(event.stream_id, RESPONSE)
                server.send_data(event.stream_id, BODY, end_stream=True)
        response = server.data_to_send()
        answered = clock()
        received = client.receive_data(response)
        for event in received:
            if isinstance(event, events.DataReceived):
                client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        end = clock()
        if not any(isinstance(event, events.StreamEnded) for event in received):
            raise AssertionError(f"no whole response: {received}")
        seconds["server"] += answered - sent
        seconds["client"] += (sent - start) + (end - answered)
    return {"requests": count, **seconds}


if __name__ == "__main__":
    print(json.dumps(exchange(sys.argv[1], int(sys.argv[2]))))
