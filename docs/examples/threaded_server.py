"""An HTTP/2 server with a thread for each connection: `python threaded_server.py PORT`."""

from __future__ import annotations

import socketserver
import sys

from trio_h2.events import DataReceived, RequestReceived
from trio_h2.exceptions import ProtocolError
from trio_h2.sansio import H2Configuration, H2Connection


class Handler(socketserver.BaseRequestHandler):
    """One connection. An H2Connection belongs to one thread; to share one, put a lock around every call."""

    def handle(self) -> None:
        connection = H2Connection(H2Configuration(client_side=False))
        connection.initiate_connection()
        self.request.sendall(connection.data_to_send())
        while data := self.request.recv(65536):
            try:
                for event in connection.receive_data(data):
                    if isinstance(event, RequestReceived):
                        connection.send_headers(event.stream_id, [(":status", "200"), ("content-length", "5")])
                        connection.send_data(event.stream_id, b"hello", end_stream=True)
                    elif isinstance(event, DataReceived):
                        connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            except ProtocolError:
                self.request.sendall(connection.data_to_send())
                return
            self.request.sendall(connection.data_to_send())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    with Server(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        server.serve_forever()
