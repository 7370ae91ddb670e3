"""How connections come about: TLS, ALPN and certificates, silent and garbled clients, addresses, unix sockets."""

from __future__ import annotations

import functools
import logging
import ssl
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme

import trio_h2
from tests import peers
from tests.peer_site import logged, site, start_server


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.WARNING, "trio_h2"):
        yield
    assert logged(caplog) == []


@pytest.fixture
async def server(nursery: trio.Nursery, server_ssl_context: ssl.SSLContext) -> trio_h2.H2Server:
    """The site over TLS."""
    return await start_server(nursery, ssl_context=server_ssl_context)


async def _still_serves(server: trio_h2.H2Server, context: ssl.SSLContext) -> None:
    async with trio_h2.connect(f"https://{peers.HOST}:{server.port}", ssl_context=context) as connection:
        assert (await connection.request("GET", "/hello")).body == b"hello\n"


# Certificates and ALPN, at the client -------------------------------------------------------------


async def _handshake_error(
    url: str, context: ssl.SSLContext | None, *, safe_to_retry: bool = False
) -> trio_h2.HandshakeError:
    with trio.fail_after(30):
        with pytest.raises(trio_h2.HandshakeError) as caught:
            async with trio_h2.connect(url, ssl_context=context):
                pytest.fail("connected")
    assert isinstance(caught.value, trio.BrokenResourceError)
    assert caught.value.safe_to_retry is safe_to_retry
    return caught.value


async def test_certificate_for_another_host(
    nursery: trio.Nursery, certificate_authority: trustme.CA, client_ssl_context: ssl.SSLContext
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate_authority.issue_cert("example.org").configure_cert(context)
    server = await start_server(nursery, ssl_context=context)
    error = await _handshake_error(f"https://localhost:{server.port}", client_ssl_context)
    assert "Hostname mismatch" in str(error)
    assert "localhost" in str(error)


async def test_certificate_of_an_unknown_authority(server: trio_h2.H2Server) -> None:
    """The default context trusts the system's authorities, and not the test's."""
    error = await _handshake_error(f"https://localhost:{server.port}", None)
    assert "certificate verify failed" in str(error)
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


@pytest.mark.parametrize("offered", [[], ["http/1.1"]], ids=["no-alpn", "http1"])
async def test_a_server_that_does_not_select_h2(
    nursery: trio.Nursery,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
    offered: list[str],
) -> None:
    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.receive_some()
        except trio.BrokenResourceError:
            pass

    if offered:
        server_ssl_context.set_alpn_protocols(offered)
    listeners: list[trio.SSLListener[trio.SocketStream]] = await nursery.start(
        functools.partial(trio.serve_ssl_over_tcp, serve, 0, server_ssl_context, host=peers.HOST)
    )
    port = listeners[0].transport_listener.socket.getsockname()[1]
    error = await _handshake_error(f"https://localhost:{port}", client_ssl_context)
    assert "ALPN" in str(error)
    assert "h2" in str(error)


async def test_a_server_that_speaks_no_tls(nursery: trio.Nursery, client_ssl_context: ssl.SSLContext) -> None:
    server = await start_server(nursery)
    await _handshake_error(f"https://{peers.HOST}:{server.port}", client_ssl_context)


async def test_a_server_that_hangs_up_in_the_handshake(
    nursery: trio.Nursery, client_ssl_context: ssl.SSLContext
) -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some()

    listeners = await nursery.start(functools.partial(trio.serve_tcp, hang_up, 0, host=peers.HOST))
    port = listeners[0].socket.getsockname()[1]
    await _handshake_error(f"https://{peers.HOST}:{port}", client_ssl_context, safe_to_retry=True)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_closed_port(scheme: str) -> None:
    with pytest.raises(OSError, match=r"."):
        async with trio_h2.connect(f"{scheme}://{peers.HOST}:{peers.free_port()}"):
            pytest.fail("connected")


async def test_what_tls_settled_on(
    nursery: trio.Nursery,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
    server_certificate: trustme.LeafCert,
) -> None:
    seen: list[tuple[object, object, trio_h2.TLSInfo | None]] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        of = stream.connection
        seen.append((of.peer_address, of.local_address, of.tls))
        await stream.respond(204)

    server = await start_server(nursery, handler, ssl_context=server_ssl_context)
    async with trio_h2.connect(f"https://{peers.HOST}:{server.port}", ssl_context=client_ssl_context) as connection:
        await connection.request("GET", "/")
        tls = connection.tls
        assert connection.peer_address == (peers.HOST, server.port)
        client_address = connection.local_address
    assert tls is not None
    assert tls.alpn_protocol == "h2"
    assert tls.version in ("TLSv1.2", "TLSv1.3")
    assert tls.cipher
    pem = server_certificate.cert_chain_pems[0].bytes().decode()
    assert tls.peer_certificate == ssl.PEM_cert_to_DER_cert(pem)
    [(peer_address, local_address, server_tls)] = seen
    assert peer_address == client_address
    assert local_address == (peers.HOST, server.port)
    assert server_tls is not None
    assert (server_tls.alpn_protocol, server_tls.peer_certificate) == ("h2", None)
    assert (server_tls.version, server_tls.cipher) == (tls.version, tls.cipher)


async def test_without_tls_there_is_no_tls_info(nursery: trio.Nursery) -> None:
    server = await start_server(nursery)
    async with trio_h2.connect(f"http://{peers.HOST}:{server.port}") as connection:
        assert connection.tls is None
        assert connection.peer_address == (peers.HOST, server.port)


async def test_a_name_with_several_addresses(nursery: trio.Nursery, client_ssl_context: ssl.SSLContext) -> None:
    """localhost may be ::1 too, where this server does not listen: the opener tries the others."""
    server = await start_server(nursery)
    async with trio_h2.connect(f"http://localhost:{server.port}") as connection:
        assert (await connection.request("GET", "/hello")).status == 200


# Clients that are no HTTP/2 clients, at the server ------------------------------------------------


async def _wait_hung_up(stream: trio.abc.ReceiveStream) -> bytes:
    """What the server sends until it closes the connection."""
    received = bytearray()
    try:
        async for chunk in stream:
            received += chunk
    except trio.BrokenResourceError:
        pass
    return bytes(received)


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", id="http1"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="h2c"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600), id="bad-client-hello"),
        pytest.param(b"\xff" * 100_000, id="noise"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_garbage_in_the_tls_handshake(
    server: trio_h2.H2Server, client_ssl_context: ssl.SSLContext, garbage: bytes
) -> None:
    with trio.fail_after(30):
        async with await trio.open_tcp_stream(peers.HOST, server.port) as stream:
            try:
                await stream.send_all(garbage)
                await stream.send_eof()
            except trio.BrokenResourceError:
                pass
            await _wait_hung_up(stream)
        await _still_serves(server, client_ssl_context)


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600), id="tls"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="ssh"),
        pytest.param(b"\xff" * 100_000, id="noise"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000, id="noise-after-preface"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", id="bent-preface"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_garbage_in_the_clear(nursery: trio.Nursery, garbage: bytes) -> None:
    server = await start_server(nursery)
    with trio.fail_after(30):
        async with await trio.open_tcp_stream(peers.HOST, server.port) as stream:
            try:
                await stream.send_all(garbage)
                await stream.send_eof()
            except trio.BrokenResourceError:
                pass
            await _wait_hung_up(stream)
        async with trio_h2.connect(f"http://{peers.HOST}:{server.port}") as connection:
            assert (await connection.request("GET", "/hello")).status == 200


async def test_a_client_that_fails_the_verification(
    server: trio_h2.H2Server, client_ssl_context: ssl.SSLContext
) -> None:
    """A client that does not trust us sends a TLS alert; it is its own affair, and worth no warning."""
    await _handshake_error(f"https://localhost:{server.port}", None)
    await _still_serves(server, client_ssl_context)


@asynccontextmanager
async def _silent(port: int | None, context: ssl.SSLContext | None, sent: bytes) -> AsyncIterator[trio.abc.Stream]:
    """A client that connects, perhaps by TLS, sends a little, and no more."""
    tcp = await trio.open_tcp_stream(peers.HOST, port)
    stream: trio.abc.Stream = tcp
    if context is not None:
        context.set_alpn_protocols(["h2"])
        stream = trio.SSLStream(tcp, context, server_hostname=peers.HOST, https_compatible=True)
        await stream.do_handshake()
    async with stream:
        await stream.send_all(sent)
        yield stream


TIMEOUT = 0.3


@pytest.mark.parametrize("sent", [b"", b"PRI * HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], ids=len)
@pytest.mark.parametrize("secure", [False, True], ids=["h2c", "tls"])
async def test_a_silent_client_is_hung_up_on(
    nursery: trio.Nursery,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
    secure: bool,
    sent: bytes,
) -> None:
    """After `handshake_timeout`, if there were no SETTINGS by then."""
    config = trio_h2.Config(handshake_timeout=TIMEOUT)
    server = await start_server(nursery, ssl_context=server_ssl_context if secure else None, config=config)
    with trio.fail_after(30):
        start = trio.current_time()
        async with _silent(server.port, client_ssl_context if secure else None, sent) as stream:
            await _wait_hung_up(stream)
            assert TIMEOUT * 0.9 <= trio.current_time() - start < 5


async def test_a_client_silent_in_the_tls_handshake_is_hung_up_on(
    nursery: trio.Nursery, server_ssl_context: ssl.SSLContext
) -> None:
    config = trio_h2.Config(handshake_timeout=TIMEOUT)
    server = await start_server(nursery, ssl_context=server_ssl_context, config=config)
    with trio.fail_after(30):
        start = trio.current_time()
        async with _silent(server.port, None, b"") as stream:
            assert await _wait_hung_up(stream) == b""
            assert TIMEOUT * 0.9 <= trio.current_time() - start < 5


async def test_a_client_that_ignores_our_settings(nursery: trio.Nursery) -> None:
    """GOAWAY(SETTINGS_TIMEOUT), RFC 9113 section 6.5.3."""
    server = await start_server(nursery, config=trio_h2.Config(settings_timeout=TIMEOUT))
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    with trio.fail_after(30):
        async with _silent(server.port, None, preface) as stream:
            received = await _wait_hung_up(stream)
    goaway = struct.pack(">BBLLL", 7, 0, 0, 0, trio_h2.ErrorCodes.SETTINGS_TIMEOUT)
    assert goaway in received


# Where to listen ----------------------------------------------------------------------------------


async def test_port_0_is_one_port_for_every_address_family(
    nursery: trio.Nursery, server_ssl_context: ssl.SSLContext, client_ssl_context: ssl.SSLContext
) -> None:
    server = await start_server(nursery, host=None, ssl_context=server_ssl_context)
    sockets = [listener.transport_listener.socket for listener in server.listeners]
    assert {socket.getsockname()[1] for socket in sockets} == {server.port}
    hosts = {trio.socket.AF_INET: "127.0.0.1", trio.socket.AF_INET6: "[::1]"}
    for socket in sockets:
        url = f"https://{hosts[socket.family]}:{server.port}"
        async with trio_h2.connect(url, ssl_context=client_ssl_context) as connection:
            response = await connection.request("GET", "/hello")
            assert response.body == b"hello\n"
            assert connection.peer_address[1] == server.port


async def test_port_in_use(nursery: trio.Nursery, server: trio_h2.H2Server) -> None:
    assert server.port is not None
    with pytest.raises(OSError, match="in use"):
        await trio_h2.serve_h2(site, server.port, host=peers.HOST)


async def test_unix_socket(nursery: trio.Nursery, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    socket = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await socket.bind(path)
    socket.listen()
    server = await nursery.start(trio_h2.serve_h2_listeners, site, [trio.SocketListener(socket)])
    assert server.port is None
    stream = await trio.open_unix_socket(path)
    with trio.fail_after(30):
        async with trio_h2.connect_over(stream, authority="localhost") as connection:
            body = bytes(1_000_000)
            assert (await connection.request("POST", "/echo", body=body)).body == body
            assert connection.tls is None
            await server.shutdown()
            await connection.wait_closed()


async def test_curl_over_a_unix_socket(nursery: trio.Nursery, tmp_path: Path) -> None:
    program = peers.require_program("curl", package="curl")
    path = str(tmp_path / "socket")
    socket = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await socket.bind(path)
    socket.listen()
    await nursery.start(trio_h2.serve_h2_listeners, site, [trio.SocketListener(socket)])
    done = await peers.run_program(
        program, "--silent", "--show-error", "--http2-prior-knowledge", "--unix-socket", path, "http://localhost/hello"
    )
    assert done.text == "hello\n"
