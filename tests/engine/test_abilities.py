"""What the peer can do: `peer_settings`, `settings_received`, `can_push`."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing
from hyperframe.frame import PushPromiseFrame
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import CONNECT, GET, POST, client_and_server, hello, of, raw_client, raw_server
from trio_h2 import Config, PeerSettings, SettingCodes

INITIAL = PeerSettings(
    header_table_size=4096,
    enable_push=False,
    max_concurrent_streams=None,
    initial_window_size=65_535,
    max_frame_size=16_384,
    max_header_list_size=None,
    enable_connect_protocol=False,
    no_rfc7540_priorities=False,
)
"""Of a server that has sent empty SETTINGS."""


# Settings


async def test_peer_settings_are_none_before_the_first_settings(autojump_clock: MockClock) -> None:
    async with raw_server(handshake=False) as (connection, peer):
        assert connection.peer_settings is None
        await trio.testing.wait_all_tasks_blocked()
        assert connection.peer_settings is None
        await peer.handshake()
        assert connection.peer_settings == INITIAL


async def test_rfc9113_6_5_2_peer_settings_are_those_in_force(autojump_clock: MockClock) -> None:
    first = {1: 100, 3: 0, 4: 2**31 - 1, 5: 2**24 - 1, 6: 1000, 8: 1, 9: 1, 0x99: 7}
    async with raw_server(settings=first) as (connection, peer):
        before = connection.peer_settings
        assert before == PeerSettings(
            header_table_size=100,
            enable_push=False,
            max_concurrent_streams=0,
            initial_window_size=2**31 - 1,
            max_frame_size=2**24 - 1,
            max_header_list_size=1000,
            enable_connect_protocol=True,
            no_rfc7540_priorities=True,
        )
        await peer.send(peer.settings({3: 7, 5: 20_000}))
        await peer.sync()
        assert before.max_concurrent_streams == 0, "what was looked at stays"
        assert connection.peer_settings == attrs.evolve(before, max_concurrent_streams=7, max_frame_size=20_000)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            before.max_frame_size = 1  # type: ignore[misc]


async def test_either_side_knows_the_others_settings(autojump_clock: MockClock) -> None:
    seen = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        seen.append(stream.connection.peer_settings)
        await stream.respond(200)

    config = Config(initial_window_size=300_000, enable_push=True, max_header_list_size=1234)
    server_config = Config(max_concurrent_streams=5, enable_connect_protocol=False)
    async with client_and_server(handler, config=config, server_config=server_config) as pair:
        settings = await pair.client.settings_received()
        await pair.client.request("GET", "/")
    assert (settings.max_concurrent_streams, settings.enable_push, settings.enable_connect_protocol) == (
        5,
        False,
        False,
    )
    assert seen[0] is not None
    assert (seen[0].initial_window_size, seen[0].enable_push, seen[0].max_header_list_size) == (300_000, True, 1234)
    assert pair.client.peer_settings == settings, "they stay when the connection has ended"
    assert await pair.client.settings_received() == settings


async def test_settings_received_waits_for_the_first_settings(autojump_clock: MockClock) -> None:
    async with raw_server(handshake=False) as (connection, peer):
        got = []

        async def wait() -> None:
            got.append((trio.current_time(), await connection.settings_received()))

        with trio.move_on_after(1) as scope:
            await connection.settings_received()
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            assert got == []
            await peer.handshake({3: 9})
        expected = attrs.evolve(INITIAL, max_concurrent_streams=9)
        assert [settings for _, settings in got] == [expected, expected]
        with trio.testing.assert_checkpoints():
            assert await connection.settings_received() == expected


async def test_settings_received_raises_what_ended_the_connection(autojump_clock: MockClock) -> None:
    async with raw_server(handshake=False) as (connection, peer):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def wait() -> None:
                with pytest.raises(trio_h2.ConnectionTerminatedError, match="closed the transport") as caught:
                    await connection.settings_received()
                assert isinstance(caught.value, trio.BrokenResourceError)
                assert caught.value.safe_to_retry

            await trio.testing.wait_all_tasks_blocked()
            await peer.transport.aclose()
        assert connection.peer_settings is None
        with pytest.raises(trio_h2.ConnectionTerminatedError):
            await connection.settings_received()


async def test_rfc9113_3_4_settings_received_says_which_rule_was_broken(autojump_clock: MockClock) -> None:
    async with raw_server(handshake=False) as (connection, peer):
        await peer.send(peer.ping(bytes(8)))
        with pytest.raises(trio_h2.ProtocolError, match="SETTINGS"):
            await connection.settings_received()


async def test_settings_received_ends_with_the_block(autojump_clock: MockClock) -> None:
    async with raw_server(handshake=False) as (connection, _):
        await connection.aclose()
        with pytest.raises(trio_h2.ConnectionTerminatedError, match="closed") as caught:
            await connection.settings_received()
        assert isinstance(caught.value, trio.ClosedResourceError)


# Push


async def can_push(request: tuple[tuple[str, str], ...] = GET, settings: dict[int, int] | None = None) -> bool:
    """What a handler sees, which then does it: `push` agrees with `can_push`."""
    seen = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        seen.append(stream.can_push)
        if stream.can_push:
            pushed = await stream.push("/pushed")
            assert not pushed.can_push, "a pushed stream carries no promise"
            await pushed.respond(200)
        else:
            with pytest.raises(trio_h2.ProtocolError):
                await stream.push("/pushed")
        await stream.respond(200)
        assert not stream.can_push, "its response is complete"

    async with raw_client(handler, settings=settings) as peer:
        await peer.send(peer.headers(1, request, end_stream=True))
        frames = await peer.sync()
        assert len(of(frames, PushPromiseFrame)) == seen[0]
    return seen[0]


async def test_rfc9113_8_4_can_push_is_what_the_clients_settings_say(autojump_clock: MockClock) -> None:
    assert await can_push()
    assert await can_push(POST)
    assert not await can_push(settings={SettingCodes.ENABLE_PUSH: 0})
    assert not await can_push(settings={SettingCodes.MAX_CONCURRENT_STREAMS: 0})


async def test_can_push_follows_what_happens(autojump_clock: MockClock) -> None:
    seen = []
    go_on = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        seen.append(stream.can_push)
        await go_on.wait()
        seen.append(stream.can_push)
        await stream.respond(200)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        await peer.send(peer.goaway(0))
        await peer.sync()
        go_on.set()
        await peer.sync()
    assert seen == [True, False]


async def test_rfc9113_8_5_can_push_is_false_in_a_tunnel(autojump_clock: MockClock) -> None:
    seen = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        seen.append(stream.can_push)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, CONNECT))
        await peer.sync()
    assert seen == [False]


async def test_can_push_is_false_on_a_stream_that_is_closed(autojump_clock: MockClock) -> None:
    seen = []

    async def closing(stream: trio_h2.ServerStream) -> None:
        await stream.aclose()
        seen.append(stream.can_push)

    async def waiting(stream: trio_h2.ServerStream) -> None:
        try:
            await trio.sleep_forever()
        finally:
            seen.append(stream.can_push)

    async with raw_client(closing) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
    async with raw_client(waiting) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        await peer.send(peer.rst(1))
        await peer.sync()
    assert seen == [False, False]


async def test_a_default_client_takes_no_pushes(autojump_clock: MockClock) -> None:
    seen = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        seen.append(stream.can_push)
        await hello(stream)

    for config in (None, Config(enable_push=True)):
        async with client_and_server(handler, config=config) as pair:
            await pair.client.request("GET", "/")
    assert seen == [False, True]
