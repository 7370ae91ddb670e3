"""What a peer sends, its error ends what RFC 9113 says it ends, and users see documented errors only (8 and 13)."""

from __future__ import annotations

import logging
import random

import pytest
import trio
import trio.testing
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import (
    FOREVER,
    GET,
    OK,
    POST,
    PREFACE,
    RawPeer,
    body_of,
    echo,
    hello,
    of,
    pattern,
    raw_client,
    raw_server,
)
from trio_h2 import ErrorCodes

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM = END_HEADERS_ACK = 0x1
END_HEADERS = 0x4
frame = RawPeer.frame

CONNECTION_ERRORS = {
    "data on stream 0": (frame(DATA, 0, 0, b"x"), ErrorCodes.PROTOCOL_ERROR),
    "data on an idle stream": (frame(DATA, 0, 99, b"x"), ErrorCodes.PROTOCOL_ERROR),
    "padding longer than the frame": (frame(DATA, 0x8, 1, b"\x05xx"), ErrorCodes.PROTOCOL_ERROR),
    "headers on stream 0": (frame(HEADERS, END_HEADERS, 0, b"\x82"), ErrorCodes.PROTOCOL_ERROR),
    "undecodable headers": (frame(HEADERS, END_HEADERS, 5, b"\xff\xff\xff\xff\xff\xff"), ErrorCodes.COMPRESSION_ERROR),
    "a frame over the size limit": (frame(DATA, 0, 1, bytes(16_385)), ErrorCodes.FRAME_SIZE_ERROR),
    "settings of a wrong length": (frame(SETTINGS, 0, 0, b"12345"), ErrorCodes.FRAME_SIZE_ERROR),
    "settings on a stream": (frame(SETTINGS, 0, 1, b""), ErrorCodes.PROTOCOL_ERROR),
    "settings of a wrong value": (RawPeer.settings({5: 1}), ErrorCodes.PROTOCOL_ERROR),
    "settings of a window too large": (
        frame(SETTINGS, 0, 0, b"\x00\x04\xff\xff\xff\xff"),
        ErrorCodes.FLOW_CONTROL_ERROR,
    ),
    "an acknowledgement too many": (RawPeer.settings(ack=True), ErrorCodes.PROTOCOL_ERROR),
    "a ping of a wrong length": (frame(PING, 0, 0, b"1234567"), ErrorCodes.FRAME_SIZE_ERROR),
    "a ping on a stream": (frame(PING, 0, 1, b"12345678"), ErrorCodes.PROTOCOL_ERROR),
    "goaway on a stream": (frame(GOAWAY, 0, 1, bytes(8)), ErrorCodes.PROTOCOL_ERROR),
    "goaway too short": (frame(GOAWAY, 0, 0, bytes(7)), ErrorCodes.FRAME_SIZE_ERROR),
    "a window update of 0 on the connection": (frame(WINDOW, 0, 0, bytes(4)), ErrorCodes.PROTOCOL_ERROR),
    "a window update of a wrong length": (frame(WINDOW, 0, 0, bytes(3)), ErrorCodes.FRAME_SIZE_ERROR),
    "a connection window too large": (RawPeer.window_update(0, 2**31 - 1), ErrorCodes.FLOW_CONTROL_ERROR),
    "rst_stream on an idle stream": (RawPeer.rst(99), ErrorCodes.PROTOCOL_ERROR),
    "rst_stream on stream 0": (frame(RST, 0, 0, bytes(4)), ErrorCodes.PROTOCOL_ERROR),
    "rst_stream of a wrong length": (frame(RST, 0, 1, bytes(3)), ErrorCodes.FRAME_SIZE_ERROR),
    "continuation from nowhere": (frame(CONTINUATION, END_HEADERS, 1, b""), ErrorCodes.PROTOCOL_ERROR),
    "a frame inside a header block": (
        frame(HEADERS, 0, 5, b"\x82") + frame(PING, 0, 0, b"12345678"),
        ErrorCodes.PROTOCOL_ERROR,
    ),
}


@pytest.mark.parametrize("name", CONNECTION_ERRORS)
async def test_rfc9113_5_4_1_a_connection_error_on_a_server(name: str, autojump_clock: MockClock) -> None:
    sent, code = CONNECTION_ERRORS[name]
    async with raw_client(echo) as peer:
        await peer.send(peer.headers(1, POST))
        await peer.expect(HeadersFrame)
        await peer.send(sent)
        frames = await peer.to_end()
        assert [goaway.error_code for goaway in of(frames, GoAwayFrame)] == [code]
        assert of(frames, GoAwayFrame)[0].last_stream_id in (1, 5)
        assert of(frames, GoAwayFrame)[0].additional_data
        assert type(frames[-1]) is GoAwayFrame, "what follows a connection error"


@pytest.mark.parametrize("name", CONNECTION_ERRORS)
async def test_rfc9113_5_4_1_a_connection_error_on_a_client(name: str, autojump_clock: MockClock) -> None:
    sent, code = CONNECTION_ERRORS[name]
    if "idle" in name or "header" in name:
        sent = sent.replace((5).to_bytes(4, "big"), (1).to_bytes(4, "big"), 1)
    async with raw_server() as (connection, peer):
        async with connection.stream("POST", "/") as stream:
            await peer.expect(HeadersFrame)
            await peer.send(sent)
            with pytest.raises(trio_h2.ProtocolError) as caught:
                await stream.receive_some()
            assert isinstance(caught.value, trio.BrokenResourceError)
            assert (caught.value.error_code, caught.value.scope, caught.value.initiator) == (
                code,
                "connection",
                "library",
            )
            with pytest.raises(trio_h2.ProtocolError):
                await stream.send_all(b"x")
        with pytest.raises(trio_h2.ProtocolError) as caught:
            await connection.request("GET", "/")
        assert caught.value.safe_to_retry
        assert of(await peer.to_end(), GoAwayFrame)[0].error_code == code


async def test_flow_control_errors_have_their_class(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        await peer.send(peer.window_update(0, 2**31 - 1))
        await connection.wait_closed()
        with pytest.raises(trio_h2.FlowControlError):
            await connection.request("GET", "/")


STREAM_ERRORS = {
    "a window update of 0": (lambda p: frame(WINDOW, 0, 1, bytes(4)), ErrorCodes.PROTOCOL_ERROR),
    "a stream window too large": (lambda p: p.window_update(1, 2**31 - 1), ErrorCodes.FLOW_CONTROL_ERROR),
    "trailers that do not end": (lambda p: p.headers(1, [("x-a", "1")]), ErrorCodes.PROTOCOL_ERROR),
    "trailers with a pseudo-header": (
        lambda p: p.headers(1, [(":path", "/")], end_stream=True),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "trailers in upper case": (lambda p: p.headers(1, [("X-A", "1")], end_stream=True), ErrorCodes.PROTOCOL_ERROR),
    "a body too long": (lambda p: p.data(1, b"123456"), ErrorCodes.PROTOCOL_ERROR),
    "a body too short": (lambda p: p.data(1, b"1", end_stream=True), ErrorCodes.PROTOCOL_ERROR),
    "a bad request beside it": (lambda p: p.headers(5, GET[:2], end_stream=True), ErrorCodes.PROTOCOL_ERROR),
}


@pytest.mark.parametrize("name", STREAM_ERRORS)
async def test_rfc9113_5_4_2_a_stream_error_ends_one_stream(name: str, autojump_clock: MockClock) -> None:
    make, code = STREAM_ERRORS[name]
    async with raw_client(echo) as peer:
        await peer.send(peer.headers(1, (*POST, ("content-length", "5"))), peer.headers(3, POST))
        await peer.expect(HeadersFrame)
        await peer.expect(HeadersFrame)
        await peer.send(make(peer))
        assert await peer.expect_rst(5 if "beside" in name else 1) == code
        await peer.send(peer.data(3, b"still here", end_stream=True))
        await peer.expect(DataFrame, stream_id=3)
        assert body_of(peer.log, 3) == b"still here"
        assert of(peer.log, GoAwayFrame) == []


async def test_data_beyond_the_streams_window(autojump_clock: MockClock) -> None:
    config = trio_h2.Config(initial_window_size=100)
    async with raw_client(echo, config=config) as peer:
        await peer.send(peer.headers(1, POST), peer.headers(3, POST))
        await peer.sync()
        await peer.send(peer.data(1, bytes(101)))
        assert await peer.expect_rst(1) == ErrorCodes.FLOW_CONTROL_ERROR
        await peer.send(peer.data(3, b"x", end_stream=True))
        await peer.sync()
        assert body_of(peer.log, 3) == b"x"


async def test_a_handler_hears_of_a_stream_error(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    cancelled = False

    async def handler(stream: trio_h2.ServerStream) -> None:
        nonlocal cancelled
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled = True
            raise

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST))
        await peer.sync()
        await peer.send(frame(WINDOW, 0, 1, bytes(4)))
        await peer.sync()
        assert cancelled
    assert caplog.records == []


async def test_late_frames_on_a_stream_that_was_reset_are_ignored(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        async with connection.stream("POST", "/"):
            await peer.expect(HeadersFrame)
        await peer.expect_rst(1)
        await peer.send(
            peer.headers(1, OK),
            peer.data(1, pattern(1_000)),
            peer.window_update(1, 5),
            peer.headers(1, [("x-t", "1")], end_stream=True),
            peer.rst(1),
        )
        frames = await peer.sync()
        assert of(frames, RstStreamFrame) == of(frames, GoAwayFrame) == []
        assert connection.statistics().unread == 0
        assert connection.accepting


async def test_a_push_that_was_not_asked_for(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer):
        async with connection.stream("GET", "/"):
            await peer.expect(HeadersFrame)
            await peer.send(peer.headers(1, GET, promised=2))
            await connection.wait_closed()
        assert of(await peer.to_end(), GoAwayFrame)[0].error_code == ErrorCodes.PROTOCOL_ERROR


async def test_unknown_frames_and_settings_are_ignored(autojump_clock: MockClock) -> None:
    async with raw_client(hello) as peer:
        await peer.send(frame(0xF0, 0xFF, 0, b"x" * 50), frame(0xF1, 0, 77, b""), peer.settings({0xF00D: 7}))
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.expect(DataFrame)


async def test_goaway_is_sent_best_effort_to_a_peer_that_is_gone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with raw_client(echo) as peer:
        await peer.send(peer.headers(1, POST))
        await peer.expect(HeadersFrame)
        await peer.send(frame(PING, 0, 1, b"12345678"))
        await peer.transport.aclose()
    assert caplog.records == []


# Random bytes


def scrambled(rng: random.Random, peer: RawPeer) -> bytes:
    """Some plausible frame with something wrong about it, or just noise."""
    stream_id = rng.choice([0, 1, 1, 1, 3, 5, 2, 2**31 - 1])
    kinds = [
        lambda: peer.data(max(stream_id, 1), rng.randbytes(rng.randrange(50)), end_stream=rng.random() < 0.2),
        lambda: peer.headers(
            max(stream_id, 1), rng.choice([GET, POST, OK, [("x", "y")]]), end_stream=rng.random() < 0.5
        ),
        lambda: peer.rst(max(stream_id, 1), rng.randrange(20)),
        lambda: peer.window_update(stream_id, rng.choice([1, 5, 2**31 - 1])),
        lambda: peer.settings({rng.randrange(1, 10): rng.choice([0, 1, 20_000, 2**31 - 1])}),
        lambda: peer.ping(),
        lambda: peer.goaway(rng.choice([0, 1, 2**31 - 1]), rng.randrange(20)),
        lambda: peer.headers(1, GET, promised=rng.choice([2, 3, 4])),
        lambda: frame(rng.randrange(20), rng.randrange(256), stream_id, rng.randbytes(rng.randrange(20))),
        lambda: rng.randbytes(rng.randrange(1, 30)),
    ]
    weights = [8, 8, 3, 5, 3, 3, 1, 2, 3, 1]
    return rng.choices(kinds, weights)[0]()


@pytest.mark.parametrize("seed", range(150))
async def test_a_client_raises_documented_errors_alone(
    seed: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(seed)
    before = trio.lowlevel.current_statistics().tasks_living
    outcomes: list[object] = []
    config = trio_h2.Config(enable_push=rng.random() < 0.5)
    async with raw_server(config=config) as (connection, peer), trio.open_nursery() as nursery:

        async def request(body: bytes | None) -> None:
            try:
                with trio.move_on_after(5):
                    outcomes.append(await connection.request("POST", "/", body=body))
                    return
                outcomes.append(None)
            except trio_h2.H2Error as error:
                outcomes.append(error)

        async def read() -> None:
            while await peer.receive() is not None:
                pass

        for body in (b"x", bytes(100_000), None):
            nursery.start_soon(request, body)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(read)
        try:
            for _ in range(rng.randrange(1, 40)):
                await peer.send(scrambled(rng, peer))
                if rng.random() < 0.5:
                    await trio.testing.wait_all_tasks_blocked()
        except trio.BrokenResourceError:
            pass
        await trio.sleep(10)
        await connection.aclose()
    assert len(outcomes) == 3
    assert not any(isinstance(outcome, trio_h2.InternalError) for outcome in outcomes)
    assert caplog.records == []
    assert trio.lowlevel.current_statistics().tasks_living == before


@pytest.mark.parametrize("seed", range(150))
async def test_a_server_logs_nothing_and_ends(
    seed: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(1_000 + seed)
    before = trio.lowlevel.current_statistics().tasks_living
    bad: list[BaseException] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        try:
            if stream.connection.accepting and rng.random() < 0.3:
                try:
                    pushed = await stream.push("/x")
                    await pushed.respond(200, (), b"x")
                except (trio_h2.ProtocolError, ValueError):
                    pass
            await echo(stream)
        except (trio_h2.H2Error, trio.Cancelled):
            raise
        except BaseException as error:
            bad.append(error)
            raise

    with caplog.at_level(logging.WARNING, "trio_h2"):
        async with raw_client(handler) as peer, trio.open_nursery() as nursery:

            async def read() -> None:
                while await peer.receive() is not None:
                    pass

            nursery.start_soon(read)
            try:
                for _ in range(rng.randrange(1, 60)):
                    await peer.send(scrambled(rng, peer))
                    if rng.random() < 0.5:
                        await trio.testing.wait_all_tasks_blocked()
            except trio.BrokenResourceError:
                pass
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
    assert bad == []
    assert [record for record in caplog.records if "bug" in record.getMessage()] == []
    assert trio.lowlevel.current_statistics().tasks_living == before


@pytest.mark.parametrize("cut", range(0, 130, 7))
async def test_a_transport_that_ends_anywhere(
    cut: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with raw_client(echo, handshake=False) as peer:
        sent = b"".join(
            (
                PREFACE,
                peer.settings({4: 5}),
                peer.headers(1, POST),
                peer.data(1, b"abc"),
                peer.headers(3, GET, end_stream=True),
            )
        )
        await peer.send(sent[:cut])
        await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(FOREVER):
        async with raw_server(handshake=False) as (connection, server):
            sent = b"".join((server.settings(), server.headers(1, OK), server.data(1, b"abc"), server.ping()))
            async with trio.open_nursery() as nursery:

                async def request() -> None:
                    with pytest.raises(trio_h2.ConnectionTerminatedError):
                        await connection.request("GET", "/")

                nursery.start_soon(request)
                await server.expect(HeadersFrame)
                await server.send(sent[:cut])
                await server.transport.aclose()
    assert caplog.records == []


async def test_every_error_is_documented(autojump_clock: MockClock) -> None:
    async with raw_server() as (connection, peer), trio.open_nursery() as nursery:

        async def ping() -> None:
            with pytest.raises(trio_h2.ProtocolError) as caught:
                await connection.ping()
            assert isinstance(caught.value, trio_h2.H2Error)
            assert isinstance(caught.value, trio.BrokenResourceError)

        nursery.start_soon(ping)
        await peer.expect(PingFrame)
        await peer.send(frame(PING, 0, 3, b"12345678"))
