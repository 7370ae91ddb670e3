"""A pool that goes through a proxy: CONNECT in HTTP/2 and in HTTP/1.1, and what goes wrong there."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import h11
import pytest
import trio
import trio.testing
import trustme
from hyperframe.frame import HeadersFrame
from trio.testing import MockClock

import trio_h2
from trio_h2 import Config

from .helpers import RawPeer, of
from .pool_network import URL, Network, gather

SECRET = "http://user:pass%40word@proxy.example:3128"


async def copy(source: trio.abc.ReceiveStream, sink: Any) -> None:
    try:
        async for chunk in source:
            await sink.send_all(chunk)
        await (sink.send_eof if isinstance(sink, trio.abc.HalfCloseableStream) else sink.aclose)()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        await trio.aclose_forcefully(sink)


class Proxy:
    """A proxy in memory, before a network of origins.

    Attributes:
        origins: what its tunnels lead to.
        asked: the targets of CONNECT, and what was shown with each.
        reached: how often it was connected to, and by which ALPN.
        status: what it answers.
        protocols: what it selects from by ALPN, if it speaks TLS.
        first_comes_along: does it send what the origin says first with its own answer, in HTTP/1.1?
    """

    def __init__(self, nursery: trio.Nursery, authority: trustme.CA) -> None:
        self.nursery = nursery
        self.origins = Network(nursery)
        self.asked: list[tuple[str, str | None]] = []
        self.reached: list[str | None] = []
        self.status = 200
        self.tls = False
        self.first_comes_along = False
        self.protocols = ["h2", "http/1.1"]
        self.answer = self.http
        self.server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("proxy.example").configure_cert(self.server_context)
        self.client_context = ssl.create_default_context()
        authority.configure_trust(self.client_context)

    def pool(self, proxy: str, **arguments: Any) -> trio_h2.open_pool:
        self.tls = proxy.startswith("https")
        return trio_h2.open_pool(
            proxy=proxy, proxy_ssl_context=self.client_context, open_stream=self.open_stream, **arguments
        )

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        assert (host, port) == ("proxy.example", 3128)
        await trio.lowlevel.checkpoint()
        client, server = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self.serve, server)
        return client

    async def serve(self, transport: trio.abc.Stream) -> None:
        if self.tls:
            self.server_context.set_alpn_protocols(self.protocols)
            secure = trio.SSLStream(transport, self.server_context, server_side=True, https_compatible=True)
            try:
                await secure.do_handshake()
            except trio.BrokenResourceError:
                return
            self.reached.append(secure.selected_alpn_protocol())
            transport = secure
        else:
            self.reached.append(None)
        await self.answer(transport)

    async def http(self, transport: trio.abc.Stream) -> None:
        if self.reached[-1] == "h2":
            await trio_h2.serve_h2_connection(self.tunnel2, transport)
        else:
            await self.http1(transport)

    async def tunnel2(self, stream: trio_h2.ServerStream) -> None:
        request = stream.request
        assert (request.method, request.path) == ("CONNECT", None)
        assert request.authority is not None
        shown = request.headers.get("proxy-authorization")
        self.asked.append((request.authority, shown))
        if self.status != 200:
            await stream.respond(self.status)
            return
        host, _, port = request.authority.rpartition(":")
        target = await self.origins.open_stream(host, int(port))
        await stream.send_response(200)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(copy, stream, target)
            nursery.start_soon(copy, target, stream)

    async def http1(self, transport: trio.abc.Stream) -> None:
        protocol = h11.Connection(h11.SERVER)
        while not isinstance(request := protocol.next_event(), h11.Request):
            data = await transport.receive_some()
            if not data:
                return
            protocol.receive_data(bytes(data))
        headers = dict(request.headers)
        assert request.method == b"CONNECT"
        assert headers[b"host"] == request.target
        shown = headers.get(b"proxy-authorization")
        self.asked.append((request.target.decode(), None if shown is None else shown.decode()))
        if self.status != 200:
            await transport.send_all(b"HTTP/1.1 %d Nope\r\ncontent-length: 4\r\n\r\nnope" % self.status)
            await transport.aclose()
            return
        host, _, port = request.target.decode().rpartition(":")
        target = await self.origins.open_stream(host, int(port))
        first = await target.receive_some() if self.first_comes_along else b""
        await transport.send_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Connected\r\n\r\n" + bytes(first))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(copy, transport, target)
            nursery.start_soon(copy, target, transport)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def proxy(nursery: trio.Nursery, authority: trustme.CA) -> Proxy:
    return Proxy(nursery, authority)


PROXIES = ["http://proxy.example:3128", "https://proxy.example:3128"]


@pytest.mark.parametrize("url", PROXIES)
@pytest.mark.parametrize("protocols", [["h2", "http/1.1"], ["http/1.1"], []], ids=str)
async def test_requests_go_through_a_tunnel(
    proxy: Proxy, autojump_clock: MockClock, url: str, protocols: list[str]
) -> None:
    proxy.protocols = protocols or ["nothing"]
    async with proxy.pool(url) as pool:
        responses = await gather(20, lambda _: pool.request("GET", "http://example.org:81/path"))
        assert {response.body for response in responses} == {b"hello"}
        assert (await pool.request("GET", "http://[::1]:82/")).status == 200
        assert list(pool.statistics()) == ["http://example.org:81", "http://[::1]:82"]
    assert proxy.asked == [("example.org:81", None), ("[::1]:82", None)]
    assert proxy.origins.reached == [("example.org", 81), ("[::1]", 82)]


async def test_what_the_origin_says_first_may_come_with_the_proxys_answer(
    proxy: Proxy, autojump_clock: MockClock
) -> None:
    proxy.first_comes_along = True
    async with proxy.pool(PROXIES[0]) as pool:
        assert (await pool.request("GET", URL)).status == 200


async def test_tunnels_share_a_connection_to_an_http2_proxy(proxy: Proxy, autojump_clock: MockClock) -> None:
    async with proxy.pool(PROXIES[1]) as pool:
        for host in ("one", "two", "three"):
            await pool.request("GET", f"http://{host}.example")
    assert proxy.reached == ["h2"]
    assert len(proxy.asked) == 3


async def test_what_an_https_proxy_speaks_is_found_out_once(proxy: Proxy, autojump_clock: MockClock) -> None:
    proxy.protocols = ["http/1.1"]
    async with proxy.pool(PROXIES[1]) as pool:
        for host in ("one", "two", "three"):
            await pool.request("GET", f"http://{host}.example")
        assert proxy.reached == [None, "http/1.1", "http/1.1", "http/1.1"]
        proxy.protocols = ["nothing"]
        await pool.request("GET", "http://six.example")
        assert proxy.reached.pop() is None
        proxy.protocols = ["h2"]  # it was changed
        await pool.request("GET", "http://four.example")
        await pool.request("GET", "http://five.example")
        assert proxy.reached[4:] == ["h2", "h2"]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_user_and_password_are_shown_to_the_proxy_alone(
    proxy: Proxy, autojump_clock: MockClock, scheme: str
) -> None:
    seen = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        seen.append(stream.request.headers.get("proxy-authorization"))
        await stream.respond(200)

    proxy.origins.handler = handler
    async with proxy.pool(SECRET.replace("http", scheme, 1)) as pool:
        await pool.request("GET", URL)
    assert proxy.asked == [("example.org:80", "Basic dXNlcjpwYXNzQHdvcmQ=")]
    assert seen == [None]


async def test_the_authorization_is_never_indexed(proxy: Proxy, autojump_clock: MockClock) -> None:
    peers: list[RawPeer] = []
    done = trio.Event()

    async def look(transport: trio.abc.Stream) -> None:
        peer = RawPeer(transport, client=False)
        peers.append(peer)
        await peer.handshake()
        if not of(peer.log, HeadersFrame):
            await peer.expect(HeadersFrame)
        done.set()

    proxy.answer = look
    async with proxy.pool(SECRET.replace("http", "https", 1)) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(pool.request, "GET", URL)
        await done.wait()
        nursery.cancel_scope.cancel()
    [frame] = of(peers[0].log, HeadersFrame)
    assert b"\x1f" in frame.data  # RFC 7541 section 6.2.3: a literal that is never indexed, with a name of the table
    assert peers[0].decoder.header_table.dynamic_entries == () or all(
        b"authorization" not in name for name, _ in peers[0].decoder.header_table.dynamic_entries
    )


def test_no_message_shows_the_password() -> None:
    for url in ("http://user:secret@pro xy:1", "socks://user:secret@proxy", "http://user:secret@proxy:99999"):
        with pytest.raises(ValueError, match="proxy") as caught:
            trio_h2.open_pool(proxy=url)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", PROXIES)
@pytest.mark.parametrize(("status", "tries"), [(407, 1), (403, 1), (502, 3), (504, 3)])
async def test_a_proxy_that_opens_no_tunnel_is_a_clear_error(
    proxy: Proxy, autojump_clock: MockClock, url: str, status: int, tries: int
) -> None:
    proxy.status = status
    async with proxy.pool(url) as pool:
        with pytest.raises(trio_h2.ProxyError, match=f"the proxy answered {status}") as caught:
            await pool.request("GET", URL)
        assert caught.value.status == status
        assert caught.value.attempts == tries
        assert isinstance(caught.value, trio.BrokenResourceError)
    assert len(proxy.asked) == tries


async def hang_up(transport: trio.abc.Stream) -> None:
    await transport.aclose()


async def hang_up_later(transport: trio.abc.Stream) -> None:
    await transport.receive_some()
    await transport.aclose()


async def garbage(transport: trio.abc.Stream) -> None:
    await transport.receive_some()
    await transport.send_all(b"220 mail.example.org ESMTP\r\n")
    await trio.sleep_forever()


async def silence(transport: trio.abc.Stream) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (hang_up, trio_h2.ProxyError, "broke before it answered|hung up without an answer"),
        (hang_up_later, trio_h2.ProxyError, "hung up without an answer"),
        (garbage, trio_h2.ProxyError, "its first octets are '220 mail"),
        (silence, trio_h2.RequestTimeoutError, "within 10 seconds"),
    ],
)
async def test_a_proxy_that_does_something_else_is_a_clear_error(
    proxy: Proxy,
    autojump_clock: MockClock,
    answer: Callable[[trio.abc.Stream], Awaitable[None]],
    error: type[Exception],
    message: str,
) -> None:
    proxy.answer = answer
    async with proxy.pool(PROXIES[0]) as pool:
        with pytest.raises(error, match=message):
            await pool.request("GET", URL)
    assert trio.current_time() < 35


async def test_a_proxy_whose_certificate_is_not_trusted_is_an_error(proxy: Proxy, autojump_clock: MockClock) -> None:
    proxy.client_context = ssl.create_default_context()
    async with proxy.pool(PROXIES[1]) as pool:
        with pytest.raises(trio_h2.HandshakeError, match=r"TLS with proxy.example failed: .*certificate verify failed"):
            await pool.request("GET", URL)


@pytest.mark.parametrize("url", PROXIES)
async def test_tls_with_the_origin_is_done_inside_of_the_tunnel(
    proxy: Proxy, authority: trustme.CA, autojump_clock: MockClock, url: str
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["h2"])
    authority.issue_cert("example.org").configure_cert(context)

    async def secure(transport: trio.abc.Stream) -> None:
        await proxy.origins.http2(trio.SSLStream(transport, context, server_side=True, https_compatible=True))

    proxy.origins.serve = secure
    async with proxy.pool(url, ssl_context=proxy.client_context) as pool:
        assert (await pool.request("GET", "https://example.org/")).status == 200
        async with pool.stream("GET", "https://example.org/") as stream:
            assert stream.connection.tls is not None
    assert proxy.asked == [("example.org:443", None)]


@pytest.mark.parametrize("url", PROXIES)
async def test_a_request_through_a_proxy_may_be_cancelled_at_any_checkpoint(
    authority: trustme.CA, autojump_clock: MockClock, url: str
) -> None:
    for steps in range(0, 400, 3):
        async with trio.open_nursery() as nursery:
            proxy = Proxy(nursery, authority)
            async with proxy.pool(url, config=Config(close_timeout=1)) as pool:
                done = False
                async with trio.open_nursery() as requests:
                    scope = trio.CancelScope()

                    async def cancelled(pool: trio_h2.Pool = pool, scope: trio.CancelScope = scope) -> None:
                        nonlocal done
                        with scope:
                            await pool.request("GET", URL)
                            done = True

                    requests.start_soon(cancelled)
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
                assert (await pool.request("GET", URL)).status == 200
                [statistics] = pool.statistics().values()
                assert (statistics.connections, statistics.waiting) == (1, 0)
            await trio.sleep(60)
            assert nursery.child_tasks == frozenset()
        if done:
            return
    raise AssertionError("it never finished")


async def test_without_h11_a_proxy_of_http1_is_refused_when_the_pool_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="pip install 'trio-h2\\[proxy\\]'"):
        trio_h2.open_pool(proxy=PROXIES[0])
    trio_h2.open_pool(proxy=PROXIES[1])
