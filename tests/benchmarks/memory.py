"""h2's server machine with no I/O at all: `python -m tests.benchmarks.memory KIND COUNT`, one line of JSON."""

from __future__ import annotations

import json
import sys
import time
from itertools import islice

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

from tests.benchmarks.asgi_apps import BODY, HEADERS
from tests.benchmarks.model import RefusedError
from tests.benchmarks.wire import Answers, opening, requests

AT_ONCE = 100
"""Requests in one read."""

RESPONSE = [(":status", "200"), *HEADERS, ("content-length", str(len(BODY)))]


def batches(kind: str, count: int) -> list[bytes]:
    prepared = requests(kind, count, "127.0.0.1:8080")
    joined = []
    while batch := b"".join(islice(prepared, AT_ONCE)):
        joined.append(batch)
    return joined


def serve(reads: list[bytes]) -> tuple[float, list[bytes]]:
    """How long the machine takes to answer what is in these reads, and what it sends."""
    connection = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    connection.initiate_connection()
    connection.receive_data(opening())
    writes = [connection.data_to_send()]
    started = time.perf_counter()
    for read in reads:
        for event in connection.receive_data(read):
            if isinstance(event, RequestReceived):
                connection.send_headers(event.stream_id, RESPONSE)
                connection.send_data(event.stream_id, BODY, end_stream=True)
        writes.append(connection.data_to_send())
    return time.perf_counter() - started, writes


def main(kind: str, count: str) -> None:
    reads = batches(kind, int(count))
    seconds, writes = serve(reads)
    answers = Answers()
    for write in writes:
        answers.receive(write)
    if answers.octets != len(BODY) * answers.ended:
        raise RefusedError(f"{answers.ended} answers have {answers.octets} bytes")
    print(json.dumps({"requests": answers.ended, "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
