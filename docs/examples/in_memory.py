"""Two connections that talk to each other with no I/O at all: paste it at the prompt, or run it."""

from trio_h2.events import DataReceived, RequestReceived
from trio_h2.sansio import H2Configuration, H2Connection

client = H2Connection()
server = H2Connection(H2Configuration(client_side=False))
client.initiate_connection()
server.initiate_connection()

headers = [(":method", "GET"), (":scheme", "https"), (":authority", "example.org"), (":path", "/")]
client.send_headers(1, headers, end_stream=True)

for event in server.receive_data(client.data_to_send()):
    if isinstance(event, RequestReceived):
        server.send_headers(event.stream_id, [(":status", "200")])
        server.send_data(event.stream_id, b"hello", end_stream=True)

for event in client.receive_data(server.data_to_send()):
    if isinstance(event, DataReceived):
        print(event.data.decode())
