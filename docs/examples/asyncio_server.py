"""An HTTP/2 server on asyncio that answers every request with what it was asked: `python asyncio_server.py PORT`.

It is written for hyper-h2's names. `--h2` takes them from the `h2` package, and nothing but the imports changes.
"""

from __future__ import annotations

import asyncio
import json
import sys

if "--h2" in sys.argv:
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.errors import ErrorCodes
    from h2.events import (
        ConnectionTerminated,
        DataReceived,
        RemoteSettingsChanged,
        RequestReceived,
        StreamEnded,
        StreamReset,
        WindowUpdated,
    )
    from h2.exceptions import ProtocolError, StreamClosedError
    from h2.settings import SettingCodes
else:
    from trio_h2.events import (
        ConnectionTerminated,
        DataReceived,
        RemoteSettingsChanged,
        RequestReceived,
        StreamEnded,
        StreamReset,
        WindowUpdated,
    )
    from trio_h2.exceptions import ErrorCodes, ProtocolError, StreamClosedError
    from trio_h2.sansio import H2Configuration, H2Connection, SettingCodes


class Request:
    """A request as it comes in."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers
        self.body = bytearray()


class Server(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self.connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.requests: dict[int, Request] = {}
        self.unsent: dict[int, bytes] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.connection.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.transport.write(self.connection.data_to_send())

    def data_received(self, data: bytes) -> None:
        try:
            events = self.connection.receive_data(data)
        except ProtocolError:
            self.flush()
            self.transport.close()
            return
        for event in events:
            self.handle(event)
        self.flush()

    def handle(self, event: object) -> None:
        if isinstance(event, RequestReceived):
            self.requests[event.stream_id] = Request(dict(event.headers))
        elif isinstance(event, DataReceived):
            request = self.requests.get(event.stream_id)
            if request is None:
                self.connection.reset_stream(event.stream_id, ErrorCodes.PROTOCOL_ERROR)
                return
            request.body += event.data
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.answer(event.stream_id, self.requests.pop(event.stream_id))
        elif isinstance(event, StreamReset):
            self.requests.pop(event.stream_id, None)
            self.unsent.pop(event.stream_id, None)
        elif isinstance(event, WindowUpdated):
            self.send_more()
        elif isinstance(event, RemoteSettingsChanged):
            if SettingCodes.INITIAL_WINDOW_SIZE in event.changed_settings:
                self.send_more()
        elif isinstance(event, ConnectionTerminated):
            self.transport.close()

    def answer(self, stream_id: int, request: Request) -> None:
        if request.headers[":method"] == "POST":
            body = bytes(request.body)
        else:
            body = json.dumps(request.headers, indent=2).encode()
        headers = [(":status", "200"), ("Content-Length", str(len(body))), ("server", "asyncio-h2")]
        self.connection.send_headers(stream_id, headers)
        self.unsent[stream_id] = body
        self.send_more()

    def send_more(self) -> None:
        """Send as much of every body as the windows let through."""
        for stream_id in list(self.unsent):
            try:
                self.send_some(stream_id)
            except StreamClosedError:
                del self.unsent[stream_id]

    def send_some(self, stream_id: int) -> None:
        connection = self.connection
        while True:
            body = self.unsent[stream_id]
            size = min(connection.local_flow_control_window(stream_id), connection.max_outbound_frame_size, len(body))
            if size <= 0 and body:
                return
            last = size == len(body)
            connection.send_data(stream_id, memoryview(body)[:size], end_stream=last)
            if last:
                del self.unsent[stream_id]
                return
            self.unsent[stream_id] = body[size:]


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
