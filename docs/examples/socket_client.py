"""An HTTP/2 client on a plain blocking socket: `python socket_client.py HOST PORT PATH [BODY]` prints the response.

It is written for hyper-h2's names. `--h2` takes them from the `h2` package, and nothing but the imports changes.
"""

from __future__ import annotations

import socket
import sys

if "--h2" in sys.argv:
    sys.argv.remove("--h2")
    from h2.connection import H2Connection
    from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset
else:
    from trio_h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset
    from trio_h2.sansio import H2Connection


class Client:
    """One connection, and one request at a time."""

    def __init__(self, host: str, port: int) -> None:
        self.authority = f"{host}:{port}"
        self.socket = socket.create_connection((host, port), timeout=30)
        self.connection = H2Connection()
        self.connection.initiate_connection()
        self.status = ""
        self.body = b""
        self.done = False

    def request(self, method: str, path: str, body: bytes = b"") -> tuple[str, bytes]:
        """The status and the body of the response."""
        stream_id = self.connection.get_next_available_stream_id()
        self.status, self.body, self.done = "", b"", False
        headers = [
            (":method", method),
            (":authority", self.authority),
            (":scheme", "http"),
            (":path", path),
            ("user-agent", "socket-client"),
        ]
        self.connection.send_headers(stream_id, headers, end_stream=not body)
        while body:
            window = self.connection.local_flow_control_window(stream_id)
            size = min(window, self.connection.max_outbound_frame_size, len(body))
            if size > 0:
                self.connection.send_data(stream_id, body[:size], end_stream=size == len(body))
                body = body[size:]
            else:
                self.receive()
        while not self.done:
            self.receive()
        return self.status, self.body

    def receive(self) -> None:
        """Send what there is to send, and handle what comes next."""
        self.socket.sendall(self.connection.data_to_send())
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        for event in self.connection.receive_data(data):
            if isinstance(event, ResponseReceived):
                self.status = dict(event.headers)[b":status"].decode()
            elif isinstance(event, DataReceived):
                self.body += event.data
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                self.done = True
            elif isinstance(event, StreamReset | ConnectionTerminated):
                raise ConnectionError(f"no response: {event}")
        self.socket.sendall(self.connection.data_to_send())

    def close(self) -> None:
        self.connection.close_connection()
        self.socket.sendall(self.connection.data_to_send())
        self.socket.close()


def main() -> None:
    host, port, path, *body = sys.argv[1:]
    client = Client(host, int(port))
    status, answer = client.request("POST" if body else "GET", path, "".join(body).encode())
    client.close()
    print(status)
    print(answer.decode())


if __name__ == "__main__":
    main()
