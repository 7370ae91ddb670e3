"""`OTelTrace`: how long requests took, how many are open, and what connections carry."""

from __future__ import annotations

import threading
from functools import partial

import pytest
import trio
import trio.testing

import trio_h2
from tests import frames
from tests.adapters.telemetry import Telemetry
from tests.engine.helpers import GET, OK, client_and_server, hello, raw_client, raw_server
from trio_h2 import Config, ErrorCodes, SettingCodes
from trio_h2.adapters.otel import OTelTrace, connection_metrics, set_route

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


# Requests


async def test_durations_are_histograms_with_the_conventions_buckets_and_attributes(
    telemetry: Telemetry, autojump_clock: trio.testing.MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        set_route("/users/{id}")
        await trio.sleep(3)
        await stream.respond(503, body=b"busy")

    async with client_and_server(handler, trace=telemetry.trace, server_trace=telemetry.trace) as pair:
        for number in range(2):
            await pair.client.request("GET", f"/users/{number}")
    metrics = telemetry.metrics()
    [client], [server] = metrics["http.client.request.duration"], metrics["http.server.request.duration"]
    for point in (client, server):
        assert point.explicit_bounds == BUCKETS
        assert (point.count, point.min, point.max) == (2, 3, 3)
        assert [place for place, count in enumerate(point.bucket_counts) if count] == [11]
    common = {
        "http.request.method": "GET",
        "network.protocol.version": "2",
        "http.response.status_code": 503,
        "error.type": "503",
    }
    assert dict(client.attributes) == common | {"server.address": "example.org", "server.port": 80}
    assert dict(server.attributes) == common | {"url.scheme": "http", "http.route": "/users/{id}"}


async def test_a_request_that_waits_for_a_slot_takes_that_long_too(
    telemetry: Telemetry, autojump_clock: trio.testing.MockClock
) -> None:
    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 0}
    async with raw_server(trace=telemetry.trace, settings=settings) as (connection, peer):
        await peer.sync()
        with trio.move_on_after(2):
            await connection.request("GET", "/")
    [point] = telemetry.metrics()["http.client.request.duration"]
    assert (point.count, point.sum, point.attributes["error.type"]) == (1, 2, "CANCEL")


async def test_active_requests_go_up_and_down(telemetry: Telemetry) -> None:
    name = "http.server.active_requests"
    finish = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await finish.wait()
        await stream.respond(200)

    async with raw_client(handler, trace=telemetry.trace) as peer:
        await peer.send(*(peer.headers(stream_id, GET, end_stream=True) for stream_id in (1, 3, 5)))
        await peer.sync()
        assert telemetry.values(name) == {("GET", "http"): 3}
        await peer.send(peer.rst(1, ErrorCodes.CANCEL))
        await peer.sync()
        assert telemetry.values(name) == {("GET", "http"): 2}
        finish.set()
        await trio.testing.wait_all_tasks_blocked()
        assert telemetry.values(name) == {("GET", "http"): 0}
        await peer.send(peer.headers(7, GET, end_stream=True))
        await peer.transport.aclose()
    assert telemetry.values(name) == {("GET", "http"): 0}


async def test_a_client_makes_no_series_of_its_own(telemetry: Telemetry) -> None:
    async with raw_client(hello, trace=telemetry.trace) as peer:
        for number in range(20):
            given = {
                ":method": f"M{number}",
                ":scheme": f"s{number}",
                ":path": f"/{number}",
                ":authority": f"a{number}",
                "user-agent": f"u{number}",
            }
            await peer.send(peer.headers(1 + 2 * number, list(given.items()), end_stream=True))
        await peer.sync()
    [point] = telemetry.metrics()["http.server.request.duration"]
    assert point.count == 20
    assert telemetry.values("http.server.active_requests") == {("_OTHER", "_OTHER"): 0}


# Connections


async def test_open_connections_by_state(telemetry: Telemetry, autojump_clock: trio.testing.MockClock) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(1)
        await stream.respond(200)

    async with client_and_server(handler, trace=telemetry.trace, server_trace=telemetry.trace) as pair:
        await trio.testing.wait_all_tasks_blocked()
        names = "http.client.open_connections", "trio_h2.server.open_connections"
        of_client = ("2", "example.org", 80)
        assert [telemetry.values(name) for name in names] == [{("idle", *of_client): 1}, {("idle",): 1}]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.client.request, "GET", "/")
            await trio.testing.wait_all_tasks_blocked()
            assert [telemetry.values(name) for name in names] == [{("active", *of_client): 1}, {("active",): 1}]
    assert [telemetry.values(name) for name in names] == [{}, {}]


async def test_octets_stay_counted_when_the_connection_has_ended(telemetry: Telemetry) -> None:
    io = "trio_h2.connection.io"
    for number in (1, 2):
        async with client_and_server(hello, trace=telemetry.trace, server_trace=telemetry.trace) as pair:
            await pair.client.request("POST", "/", body=bytes(10_000))
            during = telemetry.values(io)
        after = telemetry.values(io)
        assert set(after) == {(there, side) for there in ("receive", "transmit") for side in ("client", "server")}
        assert all(after[series] >= value for series, value in during.items())
        assert after["transmit", "client"] == after["receive", "server"] > number * 10_000
        assert after["receive", "client"] == after["transmit", "server"] > 0


async def test_what_is_unread_and_what_streams_wait_for(
    telemetry: Telemetry, autojump_clock: trio.testing.MockClock
) -> None:
    async with raw_server(trace=telemetry.trace, settings={SettingCodes.INITIAL_WINDOW_SIZE: 10}) as (
        connection,
        peer,
    ):
        async with trio.open_nursery() as nursery, connection.stream("POST", "/") as stream:
            nursery.start_soon(stream.send_all, bytes(20))
            async with connection.stream("GET", "/") as other:
                await peer.send(peer.headers(3, OK), peer.data(3, bytes(700)))
                await other.response()
                await trio.testing.wait_all_tasks_blocked()
                assert telemetry.values("trio_h2.connection.unread") == {("client",): 700}
                assert telemetry.values("trio_h2.streams") == {
                    ("client", "stream window"): 1,
                    ("client", "application"): 1,
                }
            nursery.cancel_scope.cancel()


async def test_limits_that_peers_went_over(telemetry: Telemetry) -> None:
    config = Config(max_control_frames=10)
    async with raw_client(hello, config=config, trace=telemetry.trace) as peer:
        await peer.send(*(frames.raw(6, 0, 0, bytes(8)) for _ in range(50)))
        await peer.to_end()
    assert telemetry.values("trio_h2.connection.limits_hit") == {("max_control_frames", "server"): 1}


async def test_traces_of_one_provider_add_up(telemetry: Telemetry) -> None:
    """Two sets of instruments of the same names would be a conflict."""
    client, server = (OTelTrace(telemetry.tracers, telemetry.meters) for _ in range(2))
    async with client_and_server(hello, trace=client, server_trace=server) as pair:
        await pair.client.request("GET", "/")
        assert {point.attributes["trio_h2.side"] for point in telemetry.metrics()["trio_h2.connection.io"]} == {
            "client",
            "server",
        }


# Whoever asks


async def test_an_exporters_thread_may_ask_while_the_loop_runs(telemetry: Telemetry) -> None:
    async with client_and_server(hello, trace=telemetry.trace, server_trace=telemetry.trace) as pair:
        await pair.client.request("GET", "/")
        await trio.testing.wait_all_tasks_blocked()
        values = await trio.to_thread.run_sync(partial(telemetry.values, "trio_h2.connection.io"))
        assert values == telemetry.values("trio_h2.connection.io")
        assert values["receive", "server"] == pair.server.statistics().bytes_received


async def test_statistics_are_taken_in_the_loops_thread(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()
    statistics = trio_h2.Connection.statistics

    def noting(connection: trio_h2.Connection) -> trio_h2.ConnectionStatistics:
        threads.add(threading.get_ident())
        return statistics(connection)

    async with client_and_server(hello, trace=telemetry.trace, server_trace=telemetry.trace):
        monkeypatch.setattr(trio_h2.Connection, "statistics", noting)
        await trio.to_thread.run_sync(telemetry.metrics)
    assert threads == {threading.get_ident()}


async def test_a_loop_that_waits_for_its_exporter_is_not_waited_for(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a program shuts its provider down in the loop."""
    monkeypatch.setattr(connection_metrics, "PATIENCE", 0.01)
    async with client_and_server(hello, trace=telemetry.trace) as pair:
        await pair.client.request("GET", "/")
        await trio.testing.wait_all_tasks_blocked()
        before = telemetry.values("trio_h2.connection.io")
        await pair.client.request("GET", "/")
        found: list[object] = []
        exporter = threading.Thread(target=lambda: found.append(telemetry.values("trio_h2.connection.io")))
        exporter.start()
        exporter.join()
        assert found == [before]


def test_what_a_loop_that_is_over_has_counted_can_be_asked_for(telemetry: Telemetry) -> None:
    async def main() -> None:
        async with client_and_server(hello, trace=telemetry.trace) as pair:
            await pair.client.request("GET", "/")
            raise KeyboardInterrupt

    with pytest.raises(BaseExceptionGroup):
        trio.run(main)
    assert telemetry.values("trio_h2.connection.io")["transmit", "client"] > 0
    assert telemetry.values("http.client.open_connections") == {}


async def test_all_of_one_answer_is_asked_for_once(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    statistics = trio_h2.Connection.statistics

    def counting(connection: trio_h2.Connection) -> trio_h2.ConnectionStatistics:
        nonlocal asked
        asked += 1
        return statistics(connection)

    async with client_and_server(hello, trace=telemetry.trace):
        monkeypatch.setattr(trio_h2.Connection, "statistics", counting)
        for number in (1, 2):
            telemetry.metrics()
            assert asked == number
