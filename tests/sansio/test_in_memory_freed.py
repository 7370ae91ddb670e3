"""An H2Connection that was dropped is freed by reference counts alone, whatever it has been through."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest

from tests.protocol import helpers as h
from trio_h2 import exceptions
from trio_h2.sansio import H2Configuration, H2Connection

REQUEST = [(":method", "POST"), (":scheme", "https"), (":authority", "example.org"), (":path", "/")]


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def greeted() -> tuple[H2Connection, H2Connection]:
    client, server = H2Connection(), H2Connection(H2Configuration(client_side=False))
    client.initiate_connection()
    server.initiate_connection()
    exchange(client, server)
    return client, server


def exchange(client: H2Connection, server: H2Connection) -> None:
    """Carry octets both ways until it is quiet."""
    while octets := client.data_to_send():
        server.receive_data(octets)
        client.receive_data(server.data_to_send())


def a_request_and_its_response(client: H2Connection, server: H2Connection) -> None:
    client.send_headers(1, REQUEST)
    client.send_data(1, bytes(1_000), pad_length=10)
    client.send_headers(1, [("trailer", "x")], end_stream=True)
    exchange(client, server)
    server.acknowledge_received_data(1_011, 1)
    server.send_headers(1, [(":status", "103"), ("link", "<x>")])
    server.push_stream(1, 2, [(":method", "GET"), *REQUEST[1:]])
    server.send_headers(2, [(":status", "204")], end_stream=True)
    server.send_headers(1, [(":status", "200"), ("content-length", "3")])
    server.send_data(1, b"abc", end_stream=True)
    client.receive_data(server.data_to_send())
    exchange(client, server)
    assert not client.open_outbound_streams


def every_control_frame(client: H2Connection, server: H2Connection) -> None:
    client.send_headers(1, REQUEST)
    client.prioritize(1, weight=3)
    client.ping(b"01234567")
    client.update_settings({4: 70_000, 5: 20_000})
    client.increment_flow_control_window(10_000)
    client.increment_flow_control_window(10_000, stream_id=1)
    exchange(client, server)
    server.advertise_alternative_service(b'h2=":8000"', stream_id=1)
    client.receive_data(server.data_to_send())
    client.reset_stream(1)
    exchange(client, server)
    client.close_connection()
    server.receive_data(client.data_to_send())


def headers_of_many_frames(client: H2Connection, server: H2Connection) -> None:
    client.send_headers(1, [*REQUEST, *((f"x-{number}", "x" * 1_000) for number in range(40))])
    server.receive_data(client.data_to_send()[:20_000])  # in the middle of a field block


def stream_errors(client: H2Connection, server: H2Connection) -> None:
    client.send_headers(1, [*REQUEST, ("content-length", "1")])
    exchange(client, server)
    server.receive_data(h.data(1, b"too long") + h.window_update(1, 0))
    client.receive_data(server.data_to_send())
    with pytest.raises(exceptions.StreamClosedError):
        client.send_data(1, b"x")


def a_connection_error(client: H2Connection, server: H2Connection) -> None:
    client.send_headers(1, REQUEST)
    exchange(client, server)
    with pytest.raises(exceptions.ProtocolError):
        server.receive_data(h.data(1, b"read before") + h.data(0, b""))
    client.receive_data(server.data_to_send())
    with pytest.raises(exceptions.ProtocolError):
        server.receive_data(h.ping())


def a_block_that_cannot_be_decoded(client: H2Connection, server: H2Connection) -> None:
    with pytest.raises(exceptions.ProtocolError):
        server.receive_data(h.raw(h.HEADERS, h.END_HEADERS, 1, b"\xff" * 20))


def calls_that_are_refused(client: H2Connection, server: H2Connection) -> None:
    with pytest.raises(exceptions.ProtocolError):
        client.send_headers(1, [(":method", "GET")])
    with pytest.raises(exceptions.NoSuchStreamError):
        client.end_stream(1)
    with pytest.raises(exceptions.ProtocolError):
        server.push_stream(1, 2, REQUEST)
    client.send_headers(1, REQUEST)
    with pytest.raises(exceptions.FlowControlError):
        client.send_data(1, bytes(65_536))


@pytest.mark.parametrize(
    "traffic",
    [
        a_request_and_its_response,
        every_control_frame,
        headers_of_many_frames,
        stream_errors,
        a_connection_error,
        a_block_that_cannot_be_decoded,
        calls_that_are_refused,
    ],
)
def test_a_dropped_connection_is_freed(traffic: Callable[[H2Connection, H2Connection], None]) -> None:
    client, server = greeted()
    traffic(client, server)
    machines = [weakref.ref(client._machine), weakref.ref(server._machine)]
    connections = [weakref.ref(client), weakref.ref(server)]
    del client, server
    assert [each() for each in connections + machines] == [None] * 4


def test_an_upgraded_connection_is_freed() -> None:
    client, server = H2Connection(), H2Connection(H2Configuration(client_side=False))
    server.initiate_upgrade_connection(client.initiate_upgrade_connection())
    exchange(client, server)
    server.send_headers(1, [(":status", "200")], end_stream=True)
    client.receive_data(server.data_to_send())
    connections = [weakref.ref(client), weakref.ref(server)]
    del client, server
    assert [each() for each in connections] == [None, None]
