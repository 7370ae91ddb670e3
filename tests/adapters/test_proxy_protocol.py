"""The PROXY protocol before a server: from the proxies that are named a header has to come, and it is believed."""

from __future__ import annotations

import functools
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hyperframe.frame import SettingsFrame

import trio_h2
from tests.adapters.helpers import answers
from tests.adapters.proxy_headers import FOUR, SIX, TCP4, TCP6, binary, by_tls, unix
from tests.engine.helpers import MemoryListener, RawPeer, read_all
from tests.frames import PREFACE
from trio_h2.adapters.asgi import serve_asgi, serve_asgi_listeners
from trio_h2.adapters.proxy_protocol import proxy_header, with_proxy_protocol

HOST = "127.0.0.1"
CLIENT, SERVER = ("198.51.100.7", 51000), ("203.0.113.9", 443)
GET = b"GET / HTTP/1.1\r\nhost: example.org\r\nconnection: close\r\n\r\n"


class Scopes:
    """An app that keeps the scopes of its requests."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] != "lifespan"
        self.seen.append(scope)
        await answers()(scope, receive, send)

    def ends(self) -> list[tuple[Any, Any, str]]:
        return [(scope["client"], scope["server"], scope["scheme"]) for scope in self.seen]


@asynccontextmanager
async def app_behind_proxy(trusted: str = HOST, **arguments: Any) -> AsyncIterator[tuple[Scopes, trio_h2.H2Server]]:
    app = Scopes()
    serve = functools.partial(serve_asgi, app, 0, host=HOST, proxy_protocol=trusted, **arguments)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve)
        yield app, server
        await server.shutdown()


@asynccontextmanager
async def behind_memory(
    *, cancelled: bool = False, **arguments: Any
) -> AsyncIterator[tuple[trio_h2.H2Server, MemoryListener]]:
    """A server over memory streams, whose clients are all proxies; it is cancelled, or shut down, at the end."""
    listener = MemoryListener()
    serve = functools.partial(trio_h2.serve_h2_listeners, empty, [with_proxy_protocol(listener, "unix")], **arguments)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve)
        yield server, listener
        if cancelled:
            nursery.cancel_scope.cancel()
        else:
            await server.shutdown(0)


async def empty(stream: trio_h2.ServerStream) -> None:
    await stream.respond(200)


async def hung_up(stream: trio.abc.ReceiveStream) -> bool:
    """Wait for the end of what the server sends. Whether it said nothing before."""
    with trio.fail_after(10):
        try:
            return await read_all(stream) == b""
        except trio.BrokenResourceError:
            return True


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


async def connected(server: trio_h2.H2Server) -> trio.SocketStream:
    assert server.port is not None
    return await trio.open_tcp_stream(HOST, server.port)


async def fetched(stream: trio.abc.Stream, header: bytes = b"", context: ssl.SSLContext | None = None) -> int:
    """The status of a response over HTTP/2, behind this header."""
    if header:
        await stream.send_all(header)
    if context is not None:
        context.set_alpn_protocols(["h2"])
        stream = trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True)
        await stream.do_handshake()
    async with trio_h2.connect_over(stream, authority="example.org") as connection:
        return (await connection.request("GET", "/")).status


# What a header says -------------------------------------------------------------------------------

SAID = {
    TCP4: (CLIENT, SERVER, "http"),
    TCP6: (("2001:db8::7", 51000), ("2001:db8::9", 443), "http"),
    binary(FOUR): (CLIENT, SERVER, "http"),
    binary(FOUR + by_tls()): (CLIENT, SERVER, "https"),
    binary(SIX, kind=0x21): (("2001:db8::7", 51000), ("2001:db8::9", 443), "http"),
    binary(unix(b"/run/client", b"/run/server"), kind=0x31): (None, ("/run/server", None), "http"),
}


@pytest.mark.parametrize("header", SAID)
async def test_apps_see_whom_the_header_names(header: bytes) -> None:
    async with app_behind_proxy() as (app, server):
        assert await fetched(await connected(server), header) == 200
    assert app.ends() == [SAID[header]]


@pytest.mark.parametrize("header", SAID)
async def test_over_http1_too(header: bytes) -> None:
    async with app_behind_proxy() as (app, server), await connected(server) as stream:
        await stream.send_all(header + GET)
        assert (await read_all(stream)).startswith(b"HTTP/1.1 200 ")
    assert app.ends() == [SAID[header]]


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", binary(command=0, kind=0), binary(kind=0)])
async def test_where_it_names_nobody_the_sockets_own_addresses_hold(header: bytes) -> None:
    async with app_behind_proxy() as (app, server):
        stream = await connected(server)
        own = stream.socket.getsockname()
        assert await fetched(stream, header) == 200
        assert app.ends() == [(own, (HOST, server.port), "http")]


@pytest.mark.parametrize("header", [TCP4, binary(FOUR)])
async def test_it_comes_before_tls(
    header: bytes, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    async with app_behind_proxy(ssl_context=server_ssl_context) as (app, server):
        assert await fetched(await connected(server), header, client_ssl_context) == 200
    assert app.ends() == [(CLIENT, SERVER, "https")]


@pytest.mark.parametrize("header", [TCP4, TCP6, binary(FOUR + by_tls()), b"PROXY UNKNOWN\r\n"])
@pytest.mark.parametrize("then", ["h2", "http1", "tls"])
async def test_it_may_come_octet_by_octet(
    header: bytes, then: str, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    context = server_ssl_context if then == "tls" else None
    async with app_behind_proxy(ssl_context=context) as (app, server), await connected(server) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for index in range(len(header)):
            await stream.send_all(header[index : index + 1])
            await trio.testing.wait_all_tasks_blocked()
        if then == "http1":
            await stream.send_all(GET)
            assert (await read_all(stream)).startswith(b"HTTP/1.1 200 ")
        else:
            assert await fetched(stream, b"", client_ssl_context if then == "tls" else None) == 200
    assert len(app.seen) == 1


class Prefixed(trio.abc.Stream):
    """A transport whose first octets are sent together with what comes first over it."""

    def __init__(self, transport: trio.SocketStream, first: bytes) -> None:
        self._transport = transport
        self._first = first

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        first, self._first = self._first, b""
        await self._transport.send_all(first + bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._transport.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._transport.aclose()


@pytest.mark.parametrize("header", [TCP4, binary(FOUR + by_tls())])
@pytest.mark.parametrize("tls", [False, True])
async def test_what_follows_may_come_with_it(
    header: bytes, tls: bool, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    async with app_behind_proxy(ssl_context=server_ssl_context if tls else None) as (app, server):
        transport = Prefixed(await connected(server), header)
        assert await fetched(transport, b"", client_ssl_context if tls else None) == 200
    assert app.ends()[0][:2] == (CLIENT, SERVER)


async def test_forwarded_fields_are_believed_by_the_address_in_the_header() -> None:
    """The proxy passes on what the client sends: its fields are the client's own, unless that is a proxy, too."""
    async with app_behind_proxy(forwarded_allow_ips=f"{HOST}, 198.51.100.0/24") as (app, server):
        for header in (TCP4, TCP6, b"PROXY UNKNOWN\r\n"):
            async with await connected(server) as stream:
                await stream.send_all(header + GET.replace(b"\r\nhost", b"\r\nx-forwarded-for: 192.0.2.77\r\nhost"))
                await read_all(stream)
    assert [client for client, _, _ in app.ends()] == [("192.0.2.77", 0), ("2001:db8::7", 51000), ("192.0.2.77", 0)]


async def test_nothing_but_the_apps_own_addresses_in_what_is_logged_and_traced() -> None:
    told: list[Any] = []

    class Told(trio_h2.Trace):
        def connection_made(self, connection: trio_h2.Connection) -> None:
            told.append((connection.peer_address, connection.local_address, repr(connection)))

    async with app_behind_proxy(trace=Told()) as (_, server):
        assert await fetched(await connected(server), TCP4) == 200
    assert told == [(CLIENT, SERVER, f"<ServerConnection with {CLIENT}: 0 streams>")]


# Who has to send one ------------------------------------------------------------------------------


async def test_from_anybody_else_a_header_is_a_wrong_preface(caplog: pytest.LogCaptureFixture) -> None:
    async with app_behind_proxy("192.0.2.0/24, unix") as (app, server):
        for header in (TCP4, binary(FOUR)):
            async with await connected(server) as stream:
                await stream.send_all(header + GET)
                assert b"HTTP/1.1 200" not in await read_all(stream)
        assert await fetched(await connected(server)) == 200
        async with await connected(server) as stream:
            await stream.send_all(GET)
            assert (await read_all(stream)).startswith(b"HTTP/1.1 200 ")
    assert [client[0] for client, _, _ in app.ends()] == [HOST, HOST]
    assert logged(caplog) == []


@pytest.mark.parametrize(
    "octets",
    [
        GET,
        PREFACE,
        b"\x16\x03\x01\x02\x00",
        b"PROXY " + b"x" * 101,
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n" + GET,
        binary(FOUR, version=1) + GET,
        binary(length=65535),
    ],
)
@pytest.mark.parametrize("tls", [False, True])
async def test_a_proxy_that_begins_with_something_else_is_hung_up_on(
    octets: bytes, tls: bool, server_ssl_context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    async with app_behind_proxy(ssl_context=server_ssl_context if tls else None) as (app, server):
        async with await connected(server) as stream:
            own = stream.socket.getsockname()
            await stream.send_all(octets)
            assert await hung_up(stream)
        await until(lambda: server.statistics().handshakes_failed == 1)
    assert app.seen == []
    (line,) = logged(caplog)
    assert line.startswith(f"the proxy {own} sent no header of the PROXY protocol: ")


@pytest.mark.parametrize("octets", [b"", TCP4[:-1], binary(FOUR)[:-1]])
async def test_a_proxy_that_goes_before_its_header_is_whole_is_not_worth_a_line(
    octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A health check may do no more than connect."""
    async with app_behind_proxy() as (_, server):
        async with await connected(server) as stream:
            await stream.send_all(octets)
            await stream.send_eof()
            assert await hung_up(stream)
        assert await fetched(await connected(server), TCP4) == 200
    assert logged(caplog) == []


@pytest.mark.parametrize(("trusted", "named"), [("unix", True), ("*", True), (HOST, False)])
async def test_unix_sockets_have_no_address(tmp_path: Path, trusted: str, named: bool) -> None:
    app = Scopes()
    path = tmp_path / "socket"
    with trio.socket.socket(trio.socket.AF_UNIX) as listening:
        await listening.bind(str(path))
        listening.listen()
        async with trio.open_nursery() as nursery:
            listeners = [trio.SocketListener(listening)]
            serve = functools.partial(serve_asgi_listeners, app, listeners, proxy_protocol=trusted)
            server = await nursery.start(serve)
            assert await fetched(await trio.open_unix_socket(str(path)), TCP4 if named else b"") == 200
            await server.shutdown()
    assert app.ends() == [(CLIENT, SERVER, "http") if named else (None, (str(path), None), "http")]


async def test_listeners_with_tls_get_it_beneath_and_stay_what_they_are(
    server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    app = Scopes()
    server_ssl_context.set_alpn_protocols(["h2"])
    (inner,) = await trio.open_tcp_listeners(0, host=HOST)
    listener = trio.SSLListener(inner, server_ssl_context, https_compatible=True)
    async with trio.open_nursery() as nursery:
        serve = functools.partial(serve_asgi_listeners, app, [listener], proxy_protocol=HOST)
        server = await nursery.start(serve)
        assert await fetched(await connected(server), binary(FOUR), client_ssl_context) == 200
        await server.shutdown()
    assert app.ends() == [(CLIENT, SERVER, "https")]
    assert listener.transport_listener is inner


@pytest.mark.parametrize(
    ("trusted", "error", "message"),
    [
        (None, TypeError, "proxy_protocol must be str or an iterable of str, not NoneType"),
        ("localhost", ValueError, "proxy_protocol: 'localhost' does not appear to be"),
    ],
)
async def test_wrong_arguments_are_named(trusted: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        await serve_asgi(Scopes(), 0, proxy_protocol=trusted)
    with pytest.raises(error, match=f"^{message}"):
        await serve_asgi_listeners(Scopes(), [], proxy_protocol=trusted)


def test_a_listener_has_to_be_one() -> None:
    with pytest.raises(TypeError, match=r"^listener must be a trio\.abc\.Listener, not int$"):
        with_proxy_protocol(1, HOST)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^trusted: "):
        with_proxy_protocol(1, "here")  # type: ignore[arg-type]


# Handlers of one's own ----------------------------------------------------------------------------


async def test_any_handler_may_have_it_and_find_all_of_the_header() -> None:
    found: list[Any] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        found.append((stream.connection.peer_address, proxy_header(stream.connection.transport)))
        await stream.respond(200)

    async def http1(stream: trio_h2.ReplayedStream) -> None:
        found.append((stream.peer_address, proxy_header(stream)))

    wrap = functools.partial(with_proxy_protocol, trusted=HOST)
    header = binary(FOUR + b"\xea\x00\x02\x01v")
    async with trio.open_nursery() as nursery:
        serve = functools.partial(trio_h2.serve_h2, handler, 0, host=HOST, http1=http1, wrap_listener=wrap)
        server = await nursery.start(serve)
        assert await fetched(await connected(server), header) == 200
        async with await connected(server) as stream:
            await stream.send_all(header + GET)
            assert await read_all(stream) == b""
        await server.shutdown()
    assert [(address, said.source, said.values) for address, said in found] == [
        (CLIENT, CLIENT, ((0xEA, b"\x01v"),)),
        (CLIENT, CLIENT, ((0xEA, b"\x01v"),)),
    ]


async def test_of_a_connection_without_one_nothing_is_said() -> None:
    one, _ = trio.testing.memory_stream_pair()
    assert proxy_header(one) is None


# Bounds -------------------------------------------------------------------------------------------


async def test_a_header_has_the_time_of_a_handshake(autojump_clock: trio.testing.MockClock) -> None:
    """Octet by octet, each in time, does not make it more."""
    started = trio.current_time()
    async with behind_memory() as (server, listener):
        client = listener.connect()
        with pytest.raises(trio.BrokenResourceError):
            for octet in b"PROXY UNKNOWN " + b"x" * 90:
                await client.send_all(bytes([octet]))
                await trio.sleep(1)
        assert trio.current_time() - started == pytest.approx(trio_h2.Config().handshake_timeout, abs=2)
        await trio.testing.wait_all_tasks_blocked()
        assert server.statistics().handshakes_failed == 1


async def test_those_that_send_nothing_hold_up_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """The oldest without a header has to go when there are more than `max_handshakes`."""
    async with behind_memory(max_handshakes=10) as (server, listener):
        silent = [listener.connect() for _ in range(50)]
        await trio.sleep(60)
        started = trio.current_time()
        client = listener.connect()
        assert await fetched(client, TCP4) == 200
        assert trio.current_time() - started < 2
        assert server.statistics().handshakes_failed == 50
        for each in silent:
            assert await hung_up(each)


async def test_no_more_than_max_handshakes_wait_for_their_headers_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with behind_memory(max_handshakes=10) as (server, listener):
        silent = [listener.connect() for _ in range(30)]
        await trio.sleep(0.5)
        assert server.statistics().connections == 11  # one more waits at the door
        await trio.sleep(2)
        assert server.statistics().handshakes_failed > 0
        assert len(silent) == 30


async def test_a_shutdown_waits_for_headers_no_longer_than_for_a_round_trip(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Of connections that are no longer young: those have half of the grace."""
    async with behind_memory() as (server, listener):
        clients = [listener.connect() for _ in range(10)]
        await trio.sleep(6)
        await clients[0].send_all(TCP4[:10])
        started = trio.current_time()
        await server.shutdown(5)
        assert trio.current_time() - started <= 1
        for each in clients:
            assert await hung_up(each)


async def test_a_server_that_is_cancelled_while_headers_come_closes_them() -> None:
    async with behind_memory(cancelled=True) as (_, listener):
        clients = [listener.connect() for _ in range(3)]
        await clients[0].send_all(TCP4[:10])
        await trio.testing.wait_all_tasks_blocked()
    for each in clients:
        assert await hung_up(each)


async def test_a_frame_may_follow_in_the_same_read_and_nothing_is_sent_before_the_header() -> None:
    async with behind_memory() as (_, listener):
        client = listener.connect()
        await trio.testing.wait_all_tasks_blocked()
        await client.send_all(TCP4[:-1])
        with trio.move_on_after(0.3) as scope:
            await client.receive_some()
        assert scope.cancelled_caught
        peer = RawPeer(client, client=True)
        await client.send_all(TCP4[-1:] + PREFACE + peer.settings())
        await peer.expect(SettingsFrame, lambda frame: "ACK" in frame.flags)


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
