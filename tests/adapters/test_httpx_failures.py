"""`H2Transport` of both packages: what goes wrong, and how long that takes."""

from __future__ import annotations

import ssl
from contextlib import aclosing
from functools import partial
from typing import Any

import pytest
import trio
import trustme
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import OK
from tests.engine.pool_network import URL, Network, gather
from trio_h2.adapters.httpx_transport import pool_transport
from trio_h2.adapters.httpx_transport.failures import failure_of

from .httpx_packages import Package, chunks, echo

PROXY = "http://user:password@proxy.example:3128"


async def fails(package: Package, error: str, client: Any, *, url: str = URL, **arguments: Any) -> Any:
    """Make a request that fails by this error of the package's, which knows the request, and keeps its cause."""
    with pytest.raises(package.module.TransportError) as caught:
        await client.request(arguments.pop("method", "GET"), url, **arguments)
    assert type(caught.value).__name__ == error
    assert caught.value.request.url == url
    assert str(caught.value)
    return caught.value


# Bad input: each is one error, in bounded time


@pytest.mark.parametrize("url", ["ftp://example.org/", "example.org/", "//example.org/", "ws://example.org/"])
async def test_a_url_of_another_scheme_is_an_unsupported_protocol(
    package: Package, url: str, nursery: trio.Nursery
) -> None:
    async with package.client(Network(nursery)) as client:
        with pytest.raises(package.module.UnsupportedProtocol):
            await client.get(url)


@pytest.mark.parametrize("url", ["http://", "http:///path", f"http://{'a' * 64}.example/", "http://a..example/"])
async def test_a_url_without_a_host_that_can_be_is_a_local_protocol_error(
    package: Package, url: str, nursery: trio.Nursery
) -> None:
    network = Network(nursery)
    async with package.client(network) as client:
        with pytest.raises((package.module.LocalProtocolError, package.module.UnsupportedProtocol)):
            await client.get(url)
    assert network.reached == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"headers": {"bad name": "x"}},
        {"headers": {"x": "line\nbreak"}},
        {"headers": {"content-length": "7"}},
        {"headers": {"te": "gzip"}},
        {"method": "CONNECT"},
        {"method": "BAD METHOD"},
        {"extensions": {"target": "/\u00fc".encode()}},
        {"extensions": {"target": "no slash"}},
    ],
)
async def test_what_makes_no_request_is_a_local_protocol_error(
    package: Package, arguments: dict[str, Any], nursery: trio.Nursery
) -> None:
    network = Network(nursery)
    async with package.client(network) as client:
        error = await fails(package, "LocalProtocolError", client, **arguments)
    assert isinstance(error.__cause__, ValueError | TypeError)
    assert network.reached == []


async def test_who_refuses_is_a_connect_error(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def refuse() -> None:
        raise ConnectionRefusedError("nobody listens")

    network = Network(nursery)
    network.before = refuse
    async with package.client(network, transport={"retries": 1}) as client:
        error = await fails(package, "ConnectError", client)
    assert isinstance(error.__cause__, trio_h2.ConnectError)
    assert isinstance(error.__cause__.__cause__, ConnectionRefusedError)
    assert error.__cause__.attempts == 2


async def test_who_speaks_http1_in_the_clear_is_a_remote_protocol_error(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def serve(transport: trio.abc.Stream) -> None:
        await transport.send_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
        await trio.sleep_forever()

    network = Network(nursery)
    network.serve = serve
    async with package.client(network) as client:
        error = await fails(package, "RemoteProtocolError", client)
    assert "HTTP/1.1 400" in str(error)


async def test_garbage_is_a_remote_protocol_error(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def serve(transport: trio.abc.Stream) -> None:
        await transport.send_all(bytes(range(256)))
        await trio.sleep_forever()

    network = Network(nursery)
    network.serve = serve
    async with package.client(network) as client:
        await fails(package, "RemoteProtocolError", client)


async def test_who_accepts_and_never_answers_is_a_timeout(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def serve(transport: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    network = Network(nursery)
    network.serve = serve
    async with package.client(network, timeout=3) as client:
        started = trio.current_time()
        await fails(package, "ReadTimeout", client)
        assert trio.current_time() - started == pytest.approx(3)
        started = trio.current_time()
        await fails(package, "ConnectTimeout", client, url="https://example.org/")
        assert trio.current_time() - started == pytest.approx(3)


async def test_without_timeouts_who_never_answers_is_given_up_all_the_same(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def serve(transport: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    network = Network(nursery)
    network.serve = serve
    async with package.client(network, timeout=None) as client:
        await fails(package, "ConnectTimeout", client, url="https://example.org/")
        await fails(package, "RemoteProtocolError", client)
    assert trio.current_time() < 60


async def test_who_hangs_up_is_a_remote_protocol_error(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    network.serve = network.raw

    async def hang_up() -> None:
        peer = await network.next_peer()
        await peer.handshake()
        await peer.transport.aclose()

    async with package.client(network) as client:
        nursery.start_soon(hang_up)
        await fails(package, "RemoteProtocolError", client)


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("rst", "RemoteProtocolError"),
        ("goaway", "RemoteProtocolError"),
        ("broken rule", "RemoteProtocolError"),
        ("gone", "RemoteProtocolError"),
    ],
)
async def test_a_response_that_is_cut_off_never_looks_whole(
    package: Package, end: str, error: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    network = Network(nursery)
    network.serve = network.raw

    async def answer() -> None:
        peer = await network.next_peer()
        await peer.handshake()
        await peer.send(peer.headers(1, OK), peer.data(1, b"part of it"))
        match end:
            case "rst":
                await peer.send(peer.rst(1, 2))
            case "goaway":
                await peer.send(peer.goaway(0, 2))
            case "broken rule":
                await peer.send(peer.headers(1, [("late", "header")]))
            case "gone":
                await peer.transport.aclose()

    async with package.client(network) as client:
        nursery.start_soon(answer)
        async with client.stream("GET", URL) as response:
            seen = []
            with pytest.raises(package.module.TransportError) as caught:
                async for chunk in response.aiter_raw():
                    seen.append(chunk)
        assert type(caught.value).__name__ == error
        assert isinstance(caught.value.__cause__, trio_h2.H2Error)
        assert seen == [b"part of it"]


@pytest.mark.parametrize(
    ("error", "sending", "name"),
    [
        (trio_h2.RequestTimeoutError("x", phase="acquire"), True, "PoolTimeout"),
        (trio_h2.ProxyError("x"), False, "ProxyError"),
        (trio_h2.ConnectError("x"), True, "ConnectError"),
        (trio_h2.HandshakeError("x"), False, "ConnectError"),
        (trio_h2.ConnectionTerminatedError("x", initiator="remote"), False, "RemoteProtocolError"),
        (trio_h2.ConnectionTerminatedError("x", initiator="local"), False, "ReadError"),
        (trio_h2.ConnectionTerminatedError("x", initiator="remote"), True, "WriteError"),
        (trio_h2.ConnectionTerminatedError("x", last_stream_id=1, initiator="remote"), True, "RemoteProtocolError"),
        (trio_h2.StreamResetError("x", initiator="remote"), True, "RemoteProtocolError"),
        (trio_h2.StreamResetError("x", initiator="library"), False, "RemoteProtocolError"),
        (trio_h2.InvalidBodyLengthError(1, 2, initiator="local"), True, "LocalProtocolError"),
        (trio_h2.ProtocolError("x"), False, "RemoteProtocolError"),
        (trio_h2.InternalError("x"), False, "InternalError"),
    ],
)
def test_which_error_stands_for_which(package: Package, error: trio_h2.H2Error, sending: bool, name: str) -> None:
    found = failure_of(package.module, error, sending=sending)
    assert type(found).__name__ == name
    assert found is error or isinstance(found, package.module.TransportError)


async def test_a_connection_that_breaks_is_a_read_error_or_while_chunks_are_sent_a_write_error(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    class Breaking(trio.abc.Stream):
        """Fails when it has sent so much."""

        def __init__(self, transport: trio.abc.Stream) -> None:
            self._transport = transport
            self._broken = trio.Event()

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await self._transport.send_all(data)
            if b"break" in bytes(data):
                self._broken.set()

        async def wait_send_all_might_not_block(self) -> None:
            await self._transport.wait_send_all_might_not_block()

        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as waiting:

                    async def wait() -> None:
                        await self._broken.wait()
                        scope.cancel()

                    waiting.start_soon(wait)
                    data = await self._transport.receive_some(max_bytes)
                    waiting.cancel_scope.cancel()
            if scope.cancelled_caught:
                raise trio.BrokenResourceError("it broke")
            return data

        async def aclose(self) -> None:
            await self._transport.aclose()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep_forever()

    async def stuck() -> Any:
        yield b"break"
        await trio.sleep_forever()

    network = Network(nursery, handler)

    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        return Breaking(await network.open_stream(host, port))

    transport = package.transport(open_stream=open_stream, retries=0)
    async with package.module.AsyncClient(transport=transport, timeout=None) as client:
        error = await fails(package, "ReadError", client, method="POST", content=b"break")
        assert isinstance(error.__cause__.__cause__, trio.BrokenResourceError)
        assert not error.__cause__.safe_to_retry
        await fails(package, "WriteError", client, method="POST", content=stuck())


async def test_what_was_refused_is_made_again_and_no_more_than_that(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    tried = 0

    async def handler(stream: trio_h2.ServerStream) -> None:
        nonlocal tried
        tried += 1
        if tried % 3:
            await stream.reset(trio_h2.ErrorCodes.REFUSED_STREAM)
        else:
            await echo(stream)

    async with package.client(Network(nursery, handler)) as client:
        assert (await client.post(URL, content=b"again")).content == b"again"
    async with package.client(Network(nursery, handler), transport={"retries": 0}) as client:
        error = await fails(package, "RemoteProtocolError", client)
    assert error.__cause__.safe_to_retry
    assert tried == 4


async def test_a_generator_that_has_begun_is_not_sent_again(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.receive_some()
        await stream.reset(trio_h2.ErrorCodes.REFUSED_STREAM)

    network = Network(nursery, handler)
    async with package.client(network) as client:
        async with aclosing(chunks(b"once", b"only")) as body:
            await fails(package, "RemoteProtocolError", client, method="POST", content=body)
    assert len(network.requests) == 1


# Proxies


async def test_a_proxy_that_wants_to_know_who_asks_is_a_proxy_error(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    asked = b""

    async def serve(transport: trio.abc.Stream) -> None:
        nonlocal asked
        asked = bytes(await transport.receive_some())
        await transport.send_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")

    network = Network(nursery)
    network.serve = serve
    for proxy in (PROXY, package.module.URL(PROXY), package.module.Proxy(PROXY)):
        async with package.client(network, transport={"proxy": proxy}) as client:
            error = await fails(package, "ProxyError", client)
        assert error.__cause__.status == 407
        assert b"CONNECT example.org:80 HTTP/1.1" in asked
        assert b"Basic dXNlcjpwYXNzd29yZA==" in asked
    assert {host for host, _ in network.reached} == {"proxy.example"}


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"proxy": "socks5://proxy:1080"}, ValueError, "proxy: its scheme"),
        ({"proxy": 7}, TypeError, "proxy must be"),
        ({"verify": 7}, TypeError, "verify must be"),
        ({"verify": "/no/such/file"}, OSError, "No such file"),
        ({"cert": 7}, TypeError, "cert must be"),
        ({"cert": "/no/such/file"}, OSError, "No such file"),
        ({"retries": -1}, ValueError, "retries"),
        ({"connect_timeout": 0}, ValueError, "connect_timeout"),
    ],
)
async def test_arguments_that_make_no_sense_are_refused_in_the_call(
    package: Package, arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        package.transport(**arguments)


async def test_limits_and_proxies_that_a_pool_does_not_know_are_refused(package: Package) -> None:
    with pytest.raises(ValueError, match="keepalive_expiry"):
        package.transport(limits=package.module.Limits(keepalive_expiry=0))
    with pytest.raises(ValueError, match="header fields"):
        package.transport(proxy=package.module.Proxy("http://proxy:1", headers={"x": "y"}))


# Timeouts


async def test_each_timeout_is_for_what_httpx_says(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        if stream.request.path == "/body":
            await stream.send_all(b"some")
        await trio.sleep_forever()

    config = trio_h2.Config(max_concurrent_streams=1, initial_window_size=1_000)
    timeout = package.module.Timeout(connect=1, pool=2, write=3, read=4)
    network = Network(nursery, handler, config)
    limits = package.module.Limits(max_connections=1)
    async with package.client(network, transport={"limits": limits}, timeout=timeout) as client:
        started = trio.current_time()
        async with client.stream("GET", f"{URL}body") as response:
            await fails(package, "PoolTimeout", client)
            assert trio.current_time() - started == pytest.approx(2)
            started = trio.current_time()
            with pytest.raises(package.module.ReadTimeout):
                await response.aread()
            assert trio.current_time() - started == pytest.approx(4)

    async def silent(stream: trio_h2.ServerStream) -> None:
        await trio.sleep_forever()

    async with package.client(Network(nursery, silent, config), timeout=timeout) as client:
        started = trio.current_time()
        await fails(package, "WriteTimeout", client, method="POST", content=b"x" * 100_000)
        assert trio.current_time() - started == pytest.approx(3)
        started = trio.current_time()
        async with aclosing(chunks(b"x" * 100_000)) as body:  # which httpx's own stream around it does not close
            await fails(package, "WriteTimeout", client, method="POST", content=body)
        assert trio.current_time() - started == pytest.approx(3)
        started = trio.current_time()
        await fails(package, "ReadTimeout", client)
        assert trio.current_time() - started == pytest.approx(4)
        [origin] = client._transport.pool.statistics().values()
        assert origin.streams == 0


async def test_a_request_may_have_timeouts_of_its_own(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(30)
        await echo(stream)

    async with package.client(Network(nursery, handler)) as client:
        assert (await client.get(URL, timeout=60)).status_code == 200
        await fails(package, "ReadTimeout", client)


# TLS


@pytest.fixture
def server(server_ssl_context: ssl.SSLContext) -> Any:
    return partial(trio_h2.serve_h2, echo, 0, host="127.0.0.1", ssl_context=server_ssl_context)


async def test_servers_are_verified_as_one_says(
    package: Package,
    server: Any,
    nursery: trio.Nursery,
    certificate_authority: trustme.CA,
    client_ssl_context: ssl.SSLContext,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listening = await nursery.start(server)
    url = f"https://127.0.0.1:{listening.port}/"
    authorities = tmp_path / "authorities.pem"
    certificate_authority.cert_pem.write_to_path(authorities)
    for verify in (client_ssl_context, False, str(authorities), authorities):
        async with package.module.AsyncClient(transport=package.transport(verify=verify)) as client:
            response = await client.get(url)
            assert response.status_code == 200
            tls = response.extensions["network_stream"].get_extra_info("ssl_object")
            assert tls.selected_alpn_protocol() == "h2"
    async with package.module.AsyncClient(transport=package.transport()) as client:
        error = await fails(package, "ConnectError", client, url=url)
        assert isinstance(error.__cause__, trio_h2.HandshakeError)
        assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities))
    async with package.module.AsyncClient(transport=package.transport()) as client:
        assert (await client.get(url)).status_code == 200
    async with package.module.AsyncClient(transport=package.transport(trust_env=False)) as client:
        await fails(package, "ConnectError", client, url=url)


async def test_a_certificate_of_ones_own_is_shown(
    package: Package,
    server_ssl_context: ssl.SSLContext,
    nursery: trio.Nursery,
    certificate_authority: trustme.CA,
    client_ssl_context: ssl.SSLContext,
    tmp_path: Any,
) -> None:
    server_ssl_context.verify_mode = ssl.CERT_REQUIRED
    certificate_authority.configure_trust(server_ssl_context)
    own = certificate_authority.issue_cert("client.example")
    both, key, certificate = (tmp_path / name for name in ("both.pem", "key.pem", "certificate.pem"))
    own.private_key_and_cert_chain_pem.write_to_path(both)
    own.private_key_pem.write_to_path(key)
    own.cert_chain_pems[0].write_to_path(certificate)
    serve = partial(trio_h2.serve_h2, echo, 0, host="127.0.0.1", ssl_context=server_ssl_context)
    listening = await nursery.start(serve)
    url = f"https://127.0.0.1:{listening.port}/"
    for cert in (str(both), both, (str(certificate), str(key))):
        transport = package.transport(verify=False, cert=cert)
        async with package.module.AsyncClient(transport=transport) as client:
            assert (await client.get(url)).status_code == 200


async def test_the_name_that_tls_verifies_may_be_another(
    package: Package, server: Any, nursery: trio.Nursery, client_ssl_context: ssl.SSLContext
) -> None:
    listening = await nursery.start(server)
    url = f"https://127.0.0.1:{listening.port}/"
    async with package.module.AsyncClient(transport=package.transport(client_ssl_context)) as client:
        name: str | bytes
        for name in ("localhost", b"localhost"):
            response = await client.get(url, extensions={"sni_hostname": name})
            assert response.headers["for"] == f"127.0.0.1:{listening.port}"
        error = await fails(package, "ConnectError", client, url=url, extensions={"sni_hostname": "other.example"})
        assert "other.example" in str(error)


# Origins that do not speak HTTP/2


class Http1Server:
    """Answers over TLS and HTTP/1.1.

    Attributes:
        connections: how many there were.
        seen: what was sent on them.
    """

    def __init__(self, context: ssl.SSLContext, alpn: list[str] | None) -> None:
        self.connections = 0
        self.seen = b""
        self._context = context
        if alpn is not None:
            context.set_alpn_protocols(alpn)

    async def serve(self, task_status: trio.TaskStatus[int]) -> None:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listener.socket.getsockname()[1])
        await trio.serve_listeners(self.handle, [listener])

    async def handle(self, transport: trio.SocketStream) -> None:
        self.connections += 1
        tls = trio.SSLStream(transport, self._context, server_side=True, https_compatible=True)
        try:
            request = b""
            while data := await tls.receive_some():
                self.seen += data
                request += data
                if request.endswith(b"the body" if request.startswith(b"POST") else b"\r\n\r\n"):
                    request = b""
                    await tls.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        except trio.BrokenResourceError:
            pass


@pytest.mark.parametrize("alpn", [["http/1.1"], None])
async def test_an_origin_without_http2_is_for_the_fallback(
    package: Package,
    alpn: list[str] | None,
    nursery: trio.Nursery,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
) -> None:
    server = Http1Server(server_ssl_context, alpn)
    port = await nursery.start(server.serve)
    url = f"https://127.0.0.1:{port}/"
    fallback = package.module.AsyncHTTPTransport(verify=client_ssl_context)
    transport = package.transport(client_ssl_context, fallback=fallback)
    async with package.module.AsyncClient(transport=transport, trust_env=False) as client:
        response = await client.post(url, content=chunks(b"the body"), headers={"content-length": "8"})
        assert (response.http_version, response.text) == ("HTTP/1.1", "hello")
        assert server.connections == 2
        assert server.seen.startswith(b"POST / HTTP/1.1\r\n")
        assert server.seen.count(b"the body") == 1
        assert (await client.get(url)).text == "hello"
        assert server.connections == 2
    assert transport.pool is None


async def test_requests_at_once_to_an_origin_without_http2_ask_it_once(
    package: Package,
    nursery: trio.Nursery,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
) -> None:
    server = Http1Server(server_ssl_context, ["http/1.1"])
    port = await nursery.start(server.serve)
    limits = package.module.Limits(max_connections=1)
    fallback = package.module.AsyncHTTPTransport(verify=client_ssl_context, limits=limits)
    transport = package.transport(client_ssl_context, fallback=fallback)
    async with package.module.AsyncClient(transport=transport, trust_env=False, timeout=None) as client:
        responses: list[Any] = await gather(20, lambda number: client.get(f"https://127.0.0.1:{port}/{number}"))
    assert [each.text for each in responses] == ["hello"] * 20
    assert server.connections == 2


async def test_so_many_origins_without_http2_are_remembered_and_no_more(
    package: Package,
    nursery: trio.Nursery,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool_transport, "MAX_REMEMBERED", 1)
    server = Http1Server(server_ssl_context, None)
    port = await nursery.start(server.serve)
    fallback = package.module.AsyncHTTPTransport(verify=client_ssl_context)
    transport = package.transport(client_ssl_context, fallback=fallback)
    async with package.module.AsyncClient(transport=transport, trust_env=False) as client:
        seen = []
        for host in ("127.0.0.1", "localhost", "localhost", "127.0.0.1"):
            before = server.connections
            assert (await client.get(f"https://{host}:{port}/")).text == "hello"
            seen.append(server.connections - before)
    assert seen == [2, 2, 0, 1]


async def test_without_a_fallback_the_error_says_so(
    package: Package,
    nursery: trio.Nursery,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
) -> None:
    server = Http1Server(server_ssl_context, ["http/1.1"])
    port = await nursery.start(server.serve)
    async with package.module.AsyncClient(transport=package.transport(client_ssl_context)) as client:
        error = await fails(package, "ConnectError", client, url=f"https://127.0.0.1:{port}/")
    assert "the server selected no protocol by ALPN" in str(error)
    assert "fallback=" in str(error)
    assert isinstance(error.__cause__, trio_h2.ALPNError)
    assert server.connections == 1
    assert server.seen == b""
