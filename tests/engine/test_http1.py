"""Another protocol on the same port: `http1=`."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from hyperframe.frame import GoAwayFrame, HeadersFrame, SettingsFrame
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import FOREVER, GET, RawPeer, SlowTransport, hello, read_all, serving
from tests.frames import PREFACE
from trio_h2 import Config

REQUEST = b"GET /http1 HTTP/1.1\r\nHost: example.org\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CONFIG = Config(handshake_timeout=30.0, close_timeout=5.0, goaway_delay=1.0)


async def answer(stream: trio.abc.Stream) -> None:
    """Answer one request with what was read of it."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        more = await stream.receive_some()
        assert more
        data += more
    await stream.send_all(ANSWER + data)


async def never(stream: trio.abc.Stream) -> None:
    raise AssertionError("an HTTP/1.x handler was called")


async def received(transport: trio.abc.Stream) -> bytes | None:
    """What has come by now, or None; b"" is the end."""
    await trio.testing.wait_all_tasks_blocked()
    with trio.move_on_after(0.001):
        return bytes(await transport.receive_some())
    return None


@asynccontextmanager
async def connected(http1: trio_h2.Http1Handler, config: Config = CONFIG) -> AsyncIterator[trio.abc.Stream]:
    """The client's end of a connection that `serve_h2_connection` serves; it has ended when the block has."""
    ours, theirs = trio.testing.memory_stream_pair()
    with trio.fail_after(FOREVER):
        async with trio.open_nursery() as nursery:
            serve = partial(trio_h2.serve_h2_connection, hello, theirs, http1=http1, config=config)
            nursery.start_soon(serve)
            yield ours
            await trio.aclose_forcefully(ours)


async def use_http2(transport: trio.abc.Stream, begun: bytes = b"") -> None:
    """Make a request; so much of the preface was sent."""
    peer = RawPeer(transport, client=True)
    await peer.send(PREFACE[len(begun) :], peer.settings())
    await peer.expect(SettingsFrame)
    await peer.send(peer.settings(ack=True), peer.headers(1, GET, end_stream=True))
    response = await peer.expect(HeadersFrame, stream_id=1)
    assert response.fields[0] == (b":status", b"200")


# What a client speaks

REQUESTS = [
    REQUEST,
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\r\n\r\n",
    b"PRI * HTTP/1.1\r\n\r\n",
    b"P / HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n\r\n\r\n",
    b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n\r\n",
]


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: bytes(request[:16]).decode())
async def test_a_request_line_of_http1_leads_to_its_handler_with_all_that_was_read(
    request_: bytes, in_pieces: bool, autojump_clock: MockClock
) -> None:
    async def http1(stream: trio.abc.Stream) -> None:
        assert isinstance(stream, trio_h2.ReplayedStream)
        data = b""
        while len(data) < len(request_):
            data += await stream.receive_some()
        await stream.send_all(data)

    async with connected(http1) as transport:
        for piece in [bytes([octet]) for octet in request_] if in_pieces else [request_]:
            await transport.send_all(piece)
        assert await read_all(transport) == request_


async def test_a_client_that_speaks_late_hears_nothing_until_then(autojump_clock: MockClock) -> None:
    for speaks in (use_http2, None):
        async with connected(never if speaks else answer) as transport:
            await trio.sleep(29.9)
            assert await received(transport) is None
            if speaks:
                await speaks(transport)
            else:
                await transport.send_all(REQUEST)
                assert await read_all(transport) == ANSWER + REQUEST


@pytest.mark.parametrize("sent", [b"", b"P", b"PRI * HTTP/", b"GET / HTTP/1.1"])
@pytest.mark.parametrize("ends", [False, True])
async def test_a_client_that_says_too_little_is_closed_with_no_answer(
    sent: bytes, ends: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trio_h2")
    async with connected(never) as transport:
        begun = trio.current_time()
        if sent:
            await transport.send_all(sent)
        if ends:
            assert isinstance(transport, trio.StapledStream)
            await transport.send_eof()
        assert await read_all(transport) == b""
        assert trio.current_time() - begun == (0 if ends else 30)
    assert [record.getMessage() for record in caplog.records] == [
        "the connection with a peer without an address ended: it has not said what it speaks"
    ]


class Breaks(SlowTransport):
    """A transport that breaks as it is read."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        raise OSError("no route")


async def test_a_transport_that_breaks_before_the_client_speaks_is_closed(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trio_h2")
    ours, theirs = trio.testing.memory_stream_pair()
    await trio_h2.serve_h2_connection(hello, Breaks(theirs), http1=never)
    assert await ours.receive_some() == b""
    assert [record.getMessage() for record in caplog.records] == [
        "the connection with a peer without an address ended: the transport broke: no route"
    ]


@pytest.mark.parametrize("length", range(len(PREFACE) + 1))
async def test_rfc9113_3_4_settings_are_sent_when_the_preface_cannot_be_a_request_line_of_http1(
    length: int, autojump_clock: MockClock
) -> None:
    async with connected(never) as transport:
        for octet in PREFACE[:length]:
            await transport.send_all(bytes([octet]))
            await trio.sleep(1)
        heard = await received(transport)
        assert (heard is not None) == PREFACE[:length].startswith(b"PRI * HTTP/2")
        if heard is None:
            await use_http2(transport, PREFACE[:length])
        else:
            assert heard[3:5] == b"\x04\x00"  # SETTINGS
            peer = RawPeer(transport, client=True)
            await peer.send(PREFACE[length:], peer.settings(), peer.settings(ack=True))
            await peer.send(peer.headers(1, GET, end_stream=True))
            await peer.expect(HeadersFrame, stream_id=1)


@pytest.mark.parametrize(
    "sent", [b"nonsense\r\n", b"GET / HTTP/2.0\r\n\r\n", b"PRI * HTTP/2.1\r\n\r\n", b"\x16\x03\x01"]
)
async def test_what_is_neither_is_a_wrong_preface(sent: bytes, autojump_clock: MockClock) -> None:
    async with connected(never) as transport:
        await transport.send_all(sent)
        await RawPeer(transport, client=True).expect(GoAwayFrame)


async def test_without_a_handler_http1_gets_its_505_and_settings_come_at_once(autojump_clock: MockClock) -> None:
    async with serving(hello) as (server, listener, _):
        one, other = listener.connect(), listener.connect()
        await one.send_all(REQUEST)
        assert (await read_all(one)).startswith(b"HTTP/1.1 505 ")
        await RawPeer(other, client=True).expect(SettingsFrame)
        await one.aclose()
        await other.aclose()
        await server.shutdown()


# The handler


async def test_a_handler_runs_unprotected_and_its_stream_is_closed_after_it(autojump_clock: MockClock) -> None:
    protected = []

    async def http1(stream: trio.abc.Stream) -> None:
        protected.append(trio.lowlevel.currently_ki_protected())
        streams.append(stream)

    streams: list[trio.abc.Stream] = []
    async with connected(http1) as transport:
        await transport.send_all(REQUEST)
        assert await read_all(transport) == b""
        assert protected == [False]
        with pytest.raises(trio.ClosedResourceError):
            await streams[0].receive_some()


class Oops(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [
        Oops("mine"),
        ExceptionGroup("several", [Oops(), trio.BrokenResourceError()]),
        trio.ClosedResourceError(),
        trio.BrokenResourceError("of something else, an upstream say"),
        ExceptionGroup("both", [trio.BrokenResourceError("of one upstream"), trio.BrokenResourceError("of another")]),
    ],
    ids=repr,
)
async def test_what_a_handler_raises_is_logged_and_ends_its_own_connection(
    error: Exception, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def http1(stream: trio.abc.Stream) -> None:
        raise error

    async with serving(hello, http1=http1) as (server, listener, _):
        transport = listener.connect()
        await transport.send_all(REQUEST)
        assert await read_all(transport) == b""
        (record,) = caplog.records
        assert record.levelname == "ERROR"
        assert record.exc_info is not None
        assert repr(record.exc_info[1]) == repr(error)
        assert record.getMessage() == "the HTTP/1.x handler for a peer without an address raised"
        other = listener.connect()
        await use_http2(other)
        await other.aclose()
        await server.shutdown()


async def test_a_client_that_leaves_is_no_error(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "trio_h2")

    async def http1(stream: trio.abc.Stream) -> None:
        await trio.sleep(5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, ANSWER)

    async with serving(hello, http1=http1) as (server, listener, _):
        transport = listener.connect()
        await transport.send_all(REQUEST)
        await trio.testing.wait_all_tasks_blocked()
        await transport.aclose()
        await trio.sleep(6)
        (record,) = caplog.records
        assert (record.levelname, record.exc_info) == ("DEBUG", None)
        await server.shutdown()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_another_base_exception_of_a_handler_leaves_the_server(
    error: type[BaseException], autojump_clock: MockClock
) -> None:
    async def http1(stream: trio.abc.Stream) -> None:
        raise error

    with pytest.RaisesGroup(error, flatten_subgroups=True):
        async with serving(hello, http1=http1) as (_, listener, _):
            transport = listener.connect()
            await transport.send_all(REQUEST)
            await trio.sleep_forever()
    assert await read_all(transport) == b""


@pytest.mark.parametrize("sent", [b"", b"GET /", REQUEST, PREFACE])
async def test_cancelled_at_any_step_the_transport_is_closed(sent: bytes, autojump_clock: MockClock) -> None:
    async def http1(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio_h2.serve_h2_connection, hello, theirs, http1=http1))
        if sent:
            await ours.send_all(sent)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with pytest.raises(trio.ClosedResourceError):
        await theirs.send_all(b"x")


class NeverCloses(SlowTransport):
    """A transport whose gentle close waits for ever, as TLS does for a client that does not answer."""

    async def aclose(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            await super().aclose()


async def test_a_close_that_hangs_is_forced(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    hanging = NeverCloses(theirs)
    await ours.send_all(REQUEST)
    begun = trio.current_time()
    await trio_h2.serve_h2_connection(hello, hanging, http1=answer, config=CONFIG)
    assert trio.current_time() - begun == 5
    with pytest.raises(trio.ClosedResourceError):
        await hanging.receive_some()


# Its stream


async def test_a_replayed_stream_gives_what_was_seen_first(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = trio_h2.ReplayedStream(theirs, b"0123456789")
    assert stream.transport_stream is theirs
    await ours.send_all(b"more")
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.receive_some()
    assert scope.cancelled_caught
    assert await stream.receive_some(4) == b"0123"
    with pytest.raises(ValueError, match="max_bytes must be at least 1, not 0"):
        await stream.receive_some(0)
    assert await stream.receive_some() == b"456789"
    assert await stream.receive_some(2) == b"mo"
    assert await stream.receive_some() == b"re"
    await stream.wait_send_all_might_not_block()
    await stream.send_all(b"back")
    assert await ours.receive_some() == b"back"


async def test_two_tasks_that_read_a_replayed_stream_get_each_octet_once(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = trio_h2.ReplayedStream(theirs, b"seen")
    got = []

    async def read() -> None:
        got.append(bytes(await stream.receive_some()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await ours.send_all(b"more")
    assert got == [b"seen", b"more"]


async def test_a_replayed_stream_that_is_closed_gives_nothing(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = trio_h2.ReplayedStream(theirs, b"0123456789")
    await stream.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive_some()
    assert await ours.receive_some() == b""


# Its place on a server


async def test_a_handler_counts_among_connections_and_not_among_handshakes(autojump_clock: MockClock) -> None:
    """It keeps its place however long it is idle: it has not said that it is."""
    release = trio.Event()

    async def http1(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await release.wait()
        await stream.send_all(ANSWER)

    async with serving(hello, http1=http1, max_connections=2, max_handshakes=1) as (server, listener, _):
        first = listener.connect()
        await first.send_all(REQUEST)
        await trio.sleep(5)
        second = listener.connect()  # the one that may be in its handshake
        await use_http2(second)
        await trio.sleep(5)
        assert [connection.statistics().streams for connection in server.connections] == [()]
        assert server.statistics().connections_http1 == 1
        third = listener.connect()  # the idle one has to go for it
        await third.send_all(REQUEST)
        assert not (await read_all(second)).endswith(ANSWER)
        fourth = listener.connect()
        await fourth.send_all(REQUEST)
        await trio.sleep(60)
        assert await received(first) is await received(third) is None
        assert (server.statistics().connections_http1, server.connections) == (2, ())
        release.set()
        for transport in (first, third, fourth):
            assert await read_all(transport) == ANSWER
            await transport.aclose()
        await second.aclose()
        await server.shutdown()


async def test_a_handler_that_is_idle_has_to_go_when_its_place_is_wanted(autojump_clock: MockClock) -> None:
    async def http1(stream: trio_h2.ReplayedStream) -> None:
        await stream.receive_some()
        await stream.send_all(ANSWER)
        with stream.idle():
            await stream.receive_some()
        await trio.sleep(60)
        await stream.send_all(ANSWER)

    async with serving(hello, http1=http1, max_connections=2) as (server, listener, _):
        busy, idle = listener.connect(), listener.connect()
        for transport in (busy, idle, busy):  # whose second request makes it busy
            await transport.send_all(REQUEST)
            await trio.sleep(5)
        other = listener.connect()
        await other.send_all(REQUEST)
        assert await read_all(idle) == ANSWER
        assert await other.receive_some() == ANSWER
        assert trio.current_time() < 60
        assert await read_all(busy) == ANSWER + ANSWER
        assert server.statistics().connections_evicted == 1
        for transport in (busy, idle, other):
            await transport.aclose()
        await server.shutdown()


async def test_a_handler_that_is_idle_has_a_second_for_its_first_request(autojump_clock: MockClock) -> None:
    async def http1(stream: trio_h2.ReplayedStream) -> None:
        with stream.idle():
            await stream.receive_some()
            await stream.receive_some()

    async with serving(hello, http1=http1, max_connections=1) as (server, listener, _):
        slow, other = listener.connect(), listener.connect()
        await slow.send_all(REQUEST)
        await other.send_all(REQUEST)
        assert await read_all(slow) == b""
        assert 1 <= trio.current_time() < 2
        for transport in (slow, other):
            await transport.aclose()
        await server.shutdown()


async def test_a_silent_client_has_to_go_when_its_place_is_wanted(autojump_clock: MockClock) -> None:
    async with serving(hello, http1=answer, max_handshakes=1) as (server, listener, _):
        silent = listener.connect()
        await trio.sleep(0.5)
        other = listener.connect()
        await other.send_all(REQUEST)
        assert await read_all(silent) == b""
        assert await read_all(other) == ANSWER + REQUEST
        assert server.statistics().connections_evicted == 1
        await server.shutdown()


async def test_a_shutdown_lets_a_handler_finish(autojump_clock: MockClock) -> None:
    async def http1(stream: trio.abc.Stream) -> None:
        await server.closing.wait()
        await trio.sleep(5)
        await stream.send_all(ANSWER)

    async with serving(hello, http1=http1) as (server, listener, nursery):
        transport = listener.connect()
        await transport.send_all(REQUEST)
        await trio.testing.wait_all_tasks_blocked()
        begun = trio.current_time()
        nursery.start_soon(server.shutdown)
        assert await read_all(transport) == ANSWER
        assert trio.current_time() - begun == 5


async def test_a_handler_is_cancelled_at_the_end_of_a_shutdowns_grace(autojump_clock: MockClock) -> None:
    cancelled = []

    async def http1(stream: trio.abc.Stream) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())

    async with serving(hello, http1=http1) as (server, listener, _):
        transport = listener.connect()
        await transport.send_all(REQUEST)
        await trio.testing.wait_all_tasks_blocked()
        begun = trio.current_time()
        await server.shutdown(10)
        assert await read_all(transport) == b""
        assert begun + 9.9 < cancelled[0] <= begun + 10


@pytest.mark.parametrize("in_a_nursery", [False, True])
async def test_what_a_handler_raises_as_it_is_cancelled_is_logged(
    in_a_nursery: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def http1(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            if in_a_nursery:
                nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise Oops

    async with serving(hello, http1=http1) as (server, listener, _):
        transport = listener.connect()
        await transport.send_all(REQUEST)
        await trio.testing.wait_all_tasks_blocked()
        await server.shutdown(1)
        assert await read_all(transport) == b""
        assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_handlers_run_in_the_handler_nursery(autojump_clock: MockClock) -> None:
    parents = []

    async def http1(stream: trio.abc.Stream) -> None:
        parents.append(trio.lowlevel.current_task().parent_nursery)

    async with trio.open_nursery() as handlers, serving(hello, http1=http1, handler_nursery=handlers) as it:
        transport = it[1].connect()
        await transport.send_all(REQUEST)
        assert await read_all(transport) == b""
        assert parents == [handlers]
        await it[0].shutdown()


async def test_a_handler_that_shields_itself_is_named(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def http1(stream: trio.abc.Stream) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(60)

    async with serving(hello, http1=http1) as (server, listener, _):
        await listener.connect().send_all(REQUEST)
        await trio.testing.wait_all_tasks_blocked()
        await server.shutdown(1)
        assert [record.getMessage() for record in caplog.records] == [
            "a shutdown went on without the HTTP/1.x handler for a peer without an address"
        ]


@pytest.mark.parametrize("then", [b"", REQUEST, PREFACE])
@pytest.mark.parametrize("sent", [0, 5])
async def test_a_shutdown_waits_a_moment_for_who_has_not_spoken(
    sent: int, then: bytes, autojump_clock: MockClock
) -> None:
    """One that is young has longer: tests/engine/test_late_handshakes.py."""
    async with serving(hello, http1=answer, config=CONFIG) as (server, listener, nursery):
        transport = listener.connect()
        await transport.send_all(then[:sent]) if then[:sent] else None
        await trio.sleep(6)
        begun = trio.current_time()
        nursery.start_soon(server.shutdown, 10)
        await trio.sleep(0.5)
        if then == PREFACE:
            peer = RawPeer(transport, client=True)
            await peer.send(then[sent:], peer.settings())
            await peer.expect(SettingsFrame)
            await peer.expect(GoAwayFrame)
            await peer.transport.aclose()
        elif then:
            await transport.send_all(then[sent:])
            assert await read_all(transport) == ANSWER + REQUEST
        else:
            assert await read_all(transport) == b""
            assert trio.current_time() - begun == 1


# TLS


@asynccontextmanager
async def tls_server(
    context: ssl.SSLContext, http1: trio_h2.Http1Handler | None
) -> AsyncIterator[tuple[trio_h2.H2Server, trio.Nursery]]:
    async with trio.open_nursery() as nursery:
        serve = partial(trio_h2.serve_h2, hello, 0, host="127.0.0.1", ssl_context=context, http1=http1)
        server = await nursery.start(serve)
        yield server, nursery
        await server.shutdown()


async def tls_client(port: int, context: ssl.SSLContext, alpn: list[str]) -> trio.SSLStream[trio.SocketStream]:
    if alpn:
        context.set_alpn_protocols(alpn)
    tcp = await trio.open_tcp_stream("127.0.0.1", port)
    stream = trio.SSLStream(tcp, context, server_hostname="localhost", https_compatible=True)
    await stream.do_handshake()
    return stream


@pytest.mark.parametrize(
    ("offered", "selected", "speaks"),
    [
        (["h2"], "h2", "h2"),
        (["http/1.1", "h2"], "h2", "h2"),
        (["http/1.1"], "http/1.1", "http/1.1"),
        (["http/1.1", "spdy/3"], "http/1.1", "http/1.1"),
        ([], None, "http/1.1"),
        ([], None, "h2"),
    ],
)
async def test_rfc9113_3_2_alpn_says_what_a_client_speaks_or_else_its_first_octets(
    offered: list[str],
    selected: str | None,
    speaks: str,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def http1(stream: trio_h2.ReplayedStream) -> None:
        assert isinstance(stream.transport_stream, trio.SSLStream)
        assert stream.transport_stream.selected_alpn_protocol() == selected
        await answer(stream)

    with trio.fail_after(30):
        async with tls_server(server_ssl_context, http1) as (server, _):
            stream = await tls_client(server.port or 0, client_ssl_context, offered)
            assert stream.selected_alpn_protocol() == selected
            if speaks == "h2":
                await use_http2(stream)
            else:
                await stream.send_all(REQUEST)
                assert await read_all(stream) == ANSWER + REQUEST
            await stream.aclose()
    assert server.statistics().connections_http1 == (speaks != "h2")
    assert caplog.records == []


async def test_a_server_whose_handler_speaks_first_over_tls_can(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    """Who has selected http/1.1 is not looked at."""

    async def http1(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"hello")

    with trio.fail_after(30):
        async with tls_server(server_ssl_context, http1) as (server, _):
            stream = await tls_client(server.port or 0, client_ssl_context, ["http/1.1"])
            assert await read_all(stream) == b"hello"
            await stream.aclose()


async def test_without_a_handler_tls_offers_h2_alone(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    with trio.fail_after(30):
        async with tls_server(server_ssl_context, None) as (server, _):
            stream = await tls_client(server.port or 0, client_ssl_context, ["http/1.1"])
            assert stream.selected_alpn_protocol() is None
            await stream.send_all(REQUEST)
            assert (await read_all(stream)).startswith(b"HTTP/1.1 505 ")
            await stream.aclose()


async def test_listeners_whose_tls_negotiates_nothing_are_one_warning(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    """ALPN on them is the caller's to see to."""
    listeners = await trio.open_ssl_over_tcp_listeners(0, server_ssl_context, host="127.0.0.1", https_compatible=True)
    port = listeners[0].transport_listener.socket.getsockname()[1]
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            server: trio_h2.H2Server = await nursery.start(trio_h2.serve_h2_listeners, hello, listeners)
            for _ in range(3):
                stream = await tls_client(port, client_ssl_context, ["h2"])
                await use_http2(stream)
                await stream.aclose()
            await server.shutdown()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "negotiated no protocol with TLS: is ALPN h2 set" in record.getMessage()


# Arguments


@pytest.mark.parametrize("http1", [5, "handler"])
async def test_what_can_be_no_handler_is_refused(http1: Any) -> None:
    message = f"http1 must be an async function of one stream, or None, not {type(http1).__name__}"
    for call in (
        partial(trio_h2.serve_h2, hello, 0, http1=http1),
        partial(trio_h2.serve_h2_listeners, hello, [], http1=http1),
        partial(trio_h2.serve_h2_connection, hello, trio.testing.memory_stream_pair()[0], http1=http1),
    ):
        with pytest.raises(TypeError, match=message):
            await call()
