"""The handlers and clients of `docs/examples/`, looked at from the inside: where it takes a peer that misbehaves."""

from __future__ import annotations

import importlib.util
import json
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import trio
import trio.testing
from trio.testing import MockClock
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

import trio_h2
from tests import peers
from tests.peer_site import async_blocks, digest, site, start_server, stream_digest
from trio_h2.testing import in_memory

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"


def load(name: str) -> ModuleType:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The service


async def test_the_service_keeps_notes(autojump_clock: MockClock) -> None:
    service = load("service")
    async with in_memory(partial(service.handler, service.Notes())) as connection:
        made = await connection.request("POST", "/notes", body=b'{"text": "milk"}')
        assert (made.status, json.loads(made.body)) == (201, {"number": 1})
        assert json.loads((await connection.request("GET", "/notes")).body) == {"1": "milk"}
        assert (await connection.request("PUT", "/notes/1", body=b"{}")).status == 404
        assert (await connection.request("POST", "/notes", body=b"\xff")).status == 400
        assert (await connection.request("POST", "/notes", body=b"x" * 10_001)).status == 413


# The events


async def test_a_listener_hears_that_the_server_is_still_there(autojump_clock: MockClock) -> None:
    events = load("events")
    log, closing = events.Log(), trio.Event()
    async with (
        in_memory(partial(events.tell, log, closing)) as connection,
        connection.stream("GET", "/events") as stream,
    ):
        assert (await stream.response()).headers["content-type"] == "text/event-stream"
        assert await stream.receive_some() == b"retry: 1000\n\n"
        start = trio.current_time()
        assert await stream.receive_some() == b": still here\n\n"
        assert trio.current_time() == start + 15
        log.publish("one")
        assert await stream.receive_some() == b"id: 1\ndata: one\n\n"
        closing.set()
        log.ring()
        assert await stream.receive_some() == b""  # ended in order


async def test_a_listener_that_does_not_read_holds_nothing_up_and_misses_what_is_too_old(
    autojump_clock: MockClock,
) -> None:
    events = load("events")
    log, closing = events.Log(), trio.Event()
    config = trio_h2.Config(initial_window_size=1_000, max_window_size=0)
    async with (
        in_memory(partial(events.tell, log, closing), config=config) as connection,
        connection.stream("GET", "/events") as stream,
    ):
        await stream.response()
        for _ in range(5_000):
            log.publish("x" * 100)
        heard = b""
        while not heard.endswith(b"id: 5000\ndata: " + b"x" * 100 + b"\n\n"):
            heard += await stream.receive_some()
        numbers = [int(line[4:]) for line in heard.splitlines() if line.startswith(b"id: ")]
        assert numbers == sorted(set(numbers))
        assert len(numbers) >= 1_000


# The proxy for tunnels


async def test_a_target_that_does_not_answer_is_a_504(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(host: str, port: int) -> trio.SocketStream:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(trio, "open_tcp_stream", never)
    proxy = load("tunnel_proxy")
    async with (
        in_memory(partial(proxy.handler, frozenset(["443"]))) as connection,
        connection.stream("CONNECT", "example.org:443") as stream,
    ):
        assert (await stream.response()).status == 504


# The reverse proxy


async def through_the_proxy(nursery: trio.Nursery, handler: trio_h2.Handler) -> str:
    """The URL of the reverse proxy, with a server behind it."""
    proxy = load("reverse_proxy")
    behind = await start_server(nursery, handler)
    upstream = proxy.Upstream(nursery, f"http://{peers.HOST}:{behind.port}")
    before = await start_server(nursery, partial(proxy.handler, upstream))
    return f"http://{peers.HOST}:{before.port}"


async def test_the_reverse_proxy_passes_bodies_and_trailers_on(nursery: trio.Nursery) -> None:
    async with trio_h2.connect(await through_the_proxy(nursery, site)) as connection:
        response = await connection.request("POST", "/digest", body=async_blocks(3_000_000))
        assert response.body.decode() == digest(3_000_000)
        async with connection.stream("GET", "/bytes/3000000") as stream:
            assert await stream_digest(stream) == digest(3_000_000)
        response = await connection.request("POST", "/echo", body=b"octets", trailers=[("x-checksum", "1")])
        assert response.body == b"octets"
        assert response.trailers is not None
        assert response.trailers["x-checksum"] == "1"
        assert (await connection.request("HEAD", "/bytes/10")).headers["content-length"] == "10"
        assert (await connection.request("GET", "/empty")).status == 204


async def test_the_reverse_proxy_passes_an_early_answer_on(nursery: trio.Nursery) -> None:
    async def endless() -> object:
        while True:
            yield b"x" * 10_000

    async with trio_h2.connect(await through_the_proxy(nursery, site)) as connection:
        with trio.fail_after(30):
            response = await connection.request("POST", "/early", body=endless())
        assert (response.status, response.body) == (200, b"too early\n")


async def test_the_reverse_proxy_shows_that_a_response_was_cut(nursery: trio.Nursery) -> None:
    async def cut(stream: trio_h2.ServerStream) -> None:
        if stream.request.path == "/before":
            await stream.reset(trio_h2.ErrorCodes.REFUSED_STREAM)
        else:
            await stream.send_response(200)
            await stream.send_all(b"half")
            await stream.receive_some()
            await stream.reset()

    async with trio_h2.connect(await through_the_proxy(nursery, cut)) as connection:
        assert (await connection.request("GET", "/before")).status == 502
        async with connection.stream("POST", "/half") as stream:
            assert await stream.receive_some() == b"half"
            await stream.send_all(b"go on")
            with pytest.raises(trio_h2.StreamResetError):
                await stream.receive_some()


async def test_a_client_that_leaves_the_reverse_proxy_leaves_the_server_behind(nursery: trio.Nursery) -> None:
    cancelled = trio.Event()

    async def wait(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with trio_h2.connect(await through_the_proxy(nursery, wait)) as connection:
        async with connection.stream("GET", "/") as stream:
            await stream.response()
        with trio.fail_after(30):
            await cancelled.wait()


# The WebSocket echo


async def converse(*sent: bytes | Event) -> list[Event]:
    """What the echo answers to events, and octets, of a client that then ends its side."""
    module = load("websocket_echo")

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await module.WebSocket(stream).echo()

    client = Connection(ConnectionType.CLIENT)
    async with (
        in_memory(handler) as connection,
        connection.stream("CONNECT", "/", protocol="websocket") as stream,
    ):
        for each in sent:
            await stream.send_all(each if isinstance(each, bytes) else client.send(each))
        await stream.send_eof()
        async for octets in stream:
            client.receive_data(octets)
        return list(client.events())


async def test_parts_of_a_message_are_echoed_as_they_come(autojump_clock: MockClock) -> None:
    parts = [TextMessage("he", message_finished=False), Ping(b"?"), TextMessage("llo", message_finished=True)]
    assert await converse(*parts, CloseConnection(1000)) == [
        TextMessage("he", frame_finished=True, message_finished=False),
        Pong(b"?"),
        TextMessage("llo", frame_finished=True, message_finished=True),
        CloseConnection(1000, ""),
    ]


async def test_what_is_no_websocket_frame_is_answered_with_a_close(autojump_clock: MockClock) -> None:
    (close,) = await converse(b"\xff" * 100)
    assert isinstance(close, CloseConnection)
    assert close.code == 1002


async def test_a_client_that_ends_without_a_close_is_no_error(autojump_clock: MockClock) -> None:
    assert await converse(BytesMessage(b"last")) == [BytesMessage(bytearray(b"last"))]


async def test_both_sides_may_close_at_once(autojump_clock: MockClock) -> None:
    module = load("websocket_echo")
    closing = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        websocket = module.WebSocket(stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(websocket.close_when, closing)
            await websocket.echo()
            nursery.cancel_scope.cancel()

    client = Connection(ConnectionType.CLIENT)
    async with (
        in_memory(handler) as connection,
        connection.stream("CONNECT", "/", protocol="websocket") as stream,
    ):
        await stream.response()
        closing.set()
        await stream.send_all(client.send(CloseConnection(4000)))
        async for octets in stream:
            client.receive_data(octets)
        (close,) = client.events()
        assert isinstance(close, CloseConnection)
