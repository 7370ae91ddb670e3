"""`connect(transport=, server_hostname=)`: HTTP/2, and TLS, over a stream that is there already."""

from __future__ import annotations

import re
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme
from trio.testing import MockClock

import trio_h2

from .helpers import hello, serving


class Given(trio.abc.HalfCloseableStream):
    """A stream that knows whether it was closed, and that is none of trio's own.

    Attributes:
        closed: was it?
        error: what its calls raise from now on.
    """

    def __init__(self, inner: trio.abc.HalfCloseableStream) -> None:
        self._inner = inner
        self.closed = False
        self.error: Exception | None = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._inner.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self._inner.send_eof()

    async def aclose(self) -> None:
        self.closed = True
        await self._inner.aclose()


def tls_server(authority: trustme.CA, *names: str, alpn: str = "h2") -> tuple[ssl.SSLContext, list[str | None]]:
    """A server's context for these names, and the names that clients ask it for."""
    asked: list[str | None] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols([alpn])
    context.sni_callback = lambda _, name, __: asked.append(name)
    authority.issue_cert(*names).configure_cert(context)
    return context, asked


async def tell_authority(stream: trio_h2.ServerStream) -> None:
    assert stream.request.authority is not None
    await stream.respond(200, (), f"{stream.request.scheme} {stream.request.authority}".encode())


def given_pair() -> tuple[Given, trio.abc.HalfCloseableStream]:
    ours, theirs = trio.testing.memory_stream_pair()
    return Given(ours), theirs


async def test_in_the_clear(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    given, theirs = given_pair()
    nursery.start_soon(trio_h2.serve_h2_connection, tell_authority, theirs)
    async with trio_h2.connect("http://example.org:8080", transport=given) as connection:
        assert (await connection.request("GET", "/")).body == b"http example.org:8080"
        assert connection.tls is connection.peer_address is None
        assert not given.closed
    assert given.closed


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        (None, "example.org"),
        ("inside.test", "inside.test"),
        ("Inside.TEST.", "inside.test"),
        ("b\u00fccher.test", "xn--bcher-kva.test"),
        ("127.0.0.1", None),
        ("::1", None),
    ],
)
async def test_with_tls_done_over_it(
    name: str | None,
    asked: str | None,
    nursery: trio.Nursery,
    certificate_authority: trustme.CA,
    client_ssl_context: ssl.SSLContext,
    autojump_clock: MockClock,
) -> None:
    """`server_hostname` is what TLS asks for and verifies; `:authority` stays the URL's."""
    given, theirs = given_pair()
    context, names = tls_server(certificate_authority, asked or name or "")
    tls = trio.SSLStream(theirs, context, server_side=True, https_compatible=True)
    nursery.start_soon(trio_h2.serve_h2_connection, tell_authority, tls)
    async with trio_h2.connect(
        "https://example.org", ssl_context=client_ssl_context, transport=given, server_hostname=name
    ) as connection:
        assert (await connection.request("GET", "/")).body == b"https example.org"
        assert connection.tls is not None
        assert connection.tls.alpn_protocol == "h2"
    assert given.closed
    assert names == [asked]


async def test_server_hostname_of_a_connection_that_is_opened(
    nursery: trio.Nursery, certificate_authority: trustme.CA, client_ssl_context: ssl.SSLContext
) -> None:
    """Without `transport`, too: an address in the URL, and the name that its certificate has."""
    context, names = tls_server(certificate_authority, "inside.test")

    async def serve(task_status: trio.TaskStatus[trio_h2.H2Server]) -> None:
        await trio_h2.serve_h2(hello, 0, host="127.0.0.1", ssl_context=context, task_status=task_status)

    server = await nursery.start(serve)
    url = f"https://127.0.0.1:{server.port}"
    async with trio_h2.connect(url, ssl_context=client_ssl_context, server_hostname="inside.test") as connection:
        assert (await connection.request("GET", "/")).body == b"hello"
    assert names == ["inside.test"]
    await server.shutdown(1)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_through_a_tunnel_of_ones_own(
    scheme: str,
    nursery: trio.Nursery,
    certificate_authority: trustme.CA,
    client_ssl_context: ssl.SSLContext,
    autojump_clock: MockClock,
) -> None:
    """HTTP/2, and TLS, in a CONNECT stream of HTTP/2; whatever is closed first, nothing is left of it."""
    context, _ = tls_server(certificate_authority, "example.org")

    async def proxy(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        await trio_h2.serve_h2_connection(tell_authority, tls if scheme == "https" else stream)

    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(trio_h2.serve_h2_connection, proxy, theirs)
    async with trio_h2.connect_over(ours, authority="proxy.test") as outer:
        async with outer.stream("CONNECT", "example.org:443") as tunnel:
            assert (await tunnel.response()).status == 200
            inner_context = client_ssl_context if scheme == "https" else None
            url = f"{scheme}://example.org:8443"
            async with trio_h2.connect(url, ssl_context=inner_context, transport=tunnel) as inner:
                assert (await inner.request("GET", "/")).body == f"{scheme} example.org:8443".encode()
            with pytest.raises(trio.ClosedResourceError):
                await tunnel.send_all(b"x")
        await trio.sleep(10)
        assert outer.statistics().streams == ()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_over_a_unix_socket(
    scheme: str,
    tmp_path: Path,
    nursery: trio.Nursery,
    certificate_authority: trustme.CA,
    client_ssl_context: ssl.SSLContext,
) -> None:
    path = tmp_path / "socket"
    listening = trio.socket.socket(trio.socket.AF_UNIX)
    await listening.bind(str(path))
    listening.listen()
    listener: trio.abc.Listener[trio.abc.Stream] = trio.SocketListener(listening)
    if scheme == "https":
        context, _ = tls_server(certificate_authority, "example.org")
        listener = trio.SSLListener(listener, context, https_compatible=True)
    nursery.start_soon(trio_h2.serve_h2_listeners, tell_authority, [listener])
    transport = await trio.open_unix_socket(path)
    context = client_ssl_context if scheme == "https" else None
    async with trio_h2.connect(f"{scheme}://example.org", ssl_context=context, transport=transport) as connection:
        assert (await connection.request("GET", "/")).body == f"{scheme} example.org".encode()
    assert transport.socket.fileno() == -1
    nursery.cancel_scope.cancel()


# Connecting fails


async def another_name(given: Given, theirs: trio.abc.HalfCloseableStream, authority: trustme.CA) -> None:
    tls = trio.SSLStream(theirs, tls_server(authority, "other.test")[0], server_side=True)
    with pytest.raises(trio.BrokenResourceError):
        await tls.do_handshake()
        await tls.receive_some()


async def another_protocol(given: Given, theirs: trio.abc.HalfCloseableStream, authority: trustme.CA) -> None:
    context, _ = tls_server(authority, "example.org", alpn="http/1.1")
    tls = trio.SSLStream(theirs, context, server_side=True, https_compatible=True)
    await tls.do_handshake()


async def no_tls(given: Given, theirs: trio.abc.HalfCloseableStream, authority: trustme.CA) -> None:
    await theirs.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def gone(given: Given, theirs: trio.abc.HalfCloseableStream, authority: trustme.CA) -> None:
    await theirs.aclose()


async def breaks(given: Given, theirs: trio.abc.HalfCloseableStream, authority: trustme.CA) -> None:
    given.error = OSError("out of order")


async def was_closed(given: Given, theirs: trio.abc.HalfCloseableStream, authority: trustme.CA) -> None:
    given.error = trio.ClosedResourceError("closed before")


async def has_a_bug(given: Given, theirs: trio.abc.HalfCloseableStream, authority: trustme.CA) -> None:
    given.error = ZeroDivisionError("a bug of the stream")


Failure = Callable[[Given, trio.abc.HalfCloseableStream, trustme.CA], Awaitable[None]]


@pytest.mark.parametrize(
    ("failure", "text", "safe"),
    [
        (another_name, "TLS with example.org failed: .*certificate.* for 'example.org'", False),
        (another_protocol, "the server selected no protocol by ALPN, not h2", False),
        (no_tls, "TLS with example.org failed: .*(?i:wrong.version|record layer failure)", False),
        (gone, "TLS with example.org failed: .+", True),
        (breaks, "TLS with example.org failed: out of order", True),
        (was_closed, "TLS with example.org failed: closed before", True),
        (has_a_bug, "TLS with example.org failed: a bug of the stream", True),
    ],
)
async def test_a_stream_over_which_tls_fails_is_closed(
    failure: Failure,
    text: str,
    safe: bool,
    nursery: trio.Nursery,
    certificate_authority: trustme.CA,
    client_ssl_context: ssl.SSLContext,
    autojump_clock: MockClock,
) -> None:
    given, theirs = given_pair()
    nursery.start_soon(failure, given, theirs, certificate_authority)
    with pytest.raises(trio_h2.HandshakeError, match=text) as caught:
        async with trio_h2.connect("https://example.org", ssl_context=client_ssl_context, transport=given):
            pytest.fail("connected")
    assert isinstance(caught.value, trio.BrokenResourceError)
    assert caught.value.safe_to_retry == safe
    assert given.closed


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_stream_is_closed_when_connecting_is_cancelled(
    scheme: str, at_once: bool, autojump_clock: MockClock
) -> None:
    given, _theirs = given_pair()
    with trio.move_on_after(0 if at_once else 5) as scope:
        async with trio_h2.connect(f"{scheme}://example.org", transport=given):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert given.closed


async def test_a_context_that_makes_no_client_closes_the_stream(autojump_clock: MockClock) -> None:
    given, _theirs = given_pair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(ssl.SSLError):
        async with trio_h2.connect("https://example.org", ssl_context=context, transport=given):
            pytest.fail("connected")
    assert given.closed


async def test_a_stream_that_nobody_can_speak_http2_over_is_closed(autojump_clock: MockClock) -> None:
    given, _theirs = given_pair()
    given.error = trio.ClosedResourceError("closed before")
    async with trio_h2.connect("http://example.org", transport=given) as connection:
        with pytest.raises(trio_h2.ConnectionTerminatedError, match="closed before"):
            await connection.request("GET", "/")
    assert given.closed


# Arguments


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"transport": "x"}, TypeError, "transport must be a trio.abc.Stream, not str"),
        ({"transport": 5}, TypeError, "transport must be a trio.abc.Stream, not int"),
        ({"server_hostname": b"a"}, TypeError, "server_hostname must be a str, not bytes"),
        ({"server_hostname": ""}, ValueError, "server_hostname is not a domain name or an address: ''"),
        ({"server_hostname": "a b"}, ValueError, "server_hostname is not a domain name or an address: 'a b'"),
        ({"server_hostname": "a:443"}, ValueError, "server_hostname is not a domain name or an address: 'a:443'"),
        ({"server_hostname": "[::1]"}, ValueError, "server_hostname is not a domain name or an address: '[::1]'"),
        (
            {"url": "http://a", "server_hostname": "a"},
            ValueError,
            "server_hostname: an http:// url has no use for one",
        ),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        trio_h2.connect(**{"url": "https://a", **arguments})  # type: ignore[arg-type]


def test_a_stream_stays_open_when_the_call_is_refused() -> None:
    """Nothing was begun: it is still the caller's."""
    given, _theirs = given_pair()
    with pytest.raises(ValueError, match="url"):
        trio_h2.connect("https://a/b", transport=given)
    assert not given.closed


async def test_it_is_closed_when_its_server_shuts_down(autojump_clock: MockClock) -> None:
    async with serving(hello) as (server, listener, _nursery):
        transport = listener.connect()
        async with trio_h2.connect("http://example.org", transport=transport) as connection:
            await connection.request("GET", "/")
            await server.shutdown(1)
            await connection.wait_closed()
            with pytest.raises(trio.ClosedResourceError):
                await transport.send_all(b"x")
