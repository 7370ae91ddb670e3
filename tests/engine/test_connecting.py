"""Whom `connect` talks to: the host of a URL for DNS, for TLS and in `:authority`, and what TLS says against it."""

from __future__ import annotations

import ssl
import traceback

import pytest
import trio
import trio.testing
import trustme
from hyperframe.frame import HeadersFrame
from trio.testing import MockClock

import trio_h2
from trio_h2 import ErrorCodes

from .helpers import raw_server

# The host of the URL


class Peer:
    """A server that every `trio.open_tcp_stream` of a test reaches, and what it heard.

    Attributes:
        reached: the hosts and ports that were connected to.
        names: the server names that TLS asked for.
        authorities: the `:authority` of each request.
        context: its TLS, if it speaks any.
        needs_certificate: does it refuse a client without one?
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self.reached: list[tuple[str, int]] = []
        self.names: list[str | None] = []
        self.authorities: list[str] = []
        self.context: ssl.SSLContext | None = None
        self.needs_certificate = False
        self._nursery = nursery

    async def open_tcp_stream(self, host: str, port: int) -> trio.abc.Stream:
        self.reached.append((host, port))
        client, server = trio.testing.memory_stream_pair()
        stream: trio.abc.Stream = server
        if self.context is not None:
            stream = trio.SSLStream(server, self.context, server_side=True, https_compatible=True)
        if self.needs_certificate:
            self._nursery.start_soon(self._refuse, server)
        else:
            self._nursery.start_soon(trio_h2.serve_h2_connection, self._handler, stream)
        return client

    async def _refuse(self, transport: trio.abc.Stream) -> None:
        """A handshake by hand, since trio.SSLStream sends no alert when it fails."""
        assert self.context is not None
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(incoming, outgoing, server_side=True)
        with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
            while True:
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    await transport.send_all(outgoing.read())
                    incoming.write(await transport.receive_some())
        await transport.send_all(outgoing.read())

    async def _handler(self, stream: trio_h2.ServerStream) -> None:
        self.authorities.append(stream.request.authority)
        await stream.respond(204)

    def speak_tls(self, authority: trustme.CA, *names: str) -> None:
        """Speak TLS, with a certificate for these names."""
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.set_alpn_protocols(["h2"])
        self.context.sni_callback = lambda _, name, __: self.names.append(name)
        authority.issue_cert(*names).configure_cert(self.context)


@pytest.fixture
def peer(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> Peer:
    peer = Peer(nursery)
    monkeypatch.setattr(trio, "open_tcp_stream", peer.open_tcp_stream)
    return peer


@pytest.mark.parametrize(
    ("url", "reached", "name", "authority"),
    [
        ("https://Example.ORG", ("example.org", 443), "example.org", "example.org"),
        ("https://example.org./", ("example.org.", 443), "example.org", "example.org."),
        ("https://example.org.:8443", ("example.org.", 8443), "example.org", "example.org.:8443"),
        ("https://stra\u00dfe.test", ("xn--strae-oqa.test", 443), "xn--strae-oqa.test", "xn--strae-oqa.test"),
        ("https://B\u00dcCHER.test\u3002", ("xn--bcher-kva.test.", 443), "xn--bcher-kva.test", "xn--bcher-kva.test."),
        ("https://127.0.0.1:8443", ("127.0.0.1", 8443), None, "127.0.0.1:8443"),
        ("https://[FE80::1]", ("fe80::1", 443), None, "[fe80::1]"),
        ("https://[fe80::1%25Eth0]", ("fe80::1%Eth0", 443), None, "[fe80::1]"),
        ("https://[fe80::1%25en%2d1]:8443", ("fe80::1%en-1", 8443), None, "[fe80::1]:8443"),
        ("https://[fe80::1%eth0]:443", ("fe80::1%eth0", 443), None, "[fe80::1]"),
        ("https://[fe80::1%2]", ("fe80::1%2", 443), None, "[fe80::1]"),
    ],
)
async def test_rfc6066_3_rfc6874_4_the_host_for_dns_tls_and_authority(
    url: str,
    reached: tuple[str, int],
    name: str | None,
    authority: str,
    peer: Peer,
    certificate_authority: trustme.CA,
    client_ssl_context: ssl.SSLContext,
    autojump_clock: MockClock,
) -> None:
    """No final dot and no zone in SNI and verification; no zone in :authority; non-ASCII names are one everywhere."""
    peer.speak_tls(certificate_authority, name or reached[0].partition("%")[0])
    async with trio_h2.connect(url, ssl_context=client_ssl_context) as connection:
        assert connection.authority == authority
        await connection.request("GET", "/")
    assert (peer.reached, peer.names, peer.authorities) == ([reached], [name], [authority])


@pytest.mark.parametrize(
    ("url", "reached", "authority"),
    [
        ("http://my_service:8080", ("my_service", 8080), "my_service:8080"),
        ("http://xn--zz.-a-.test:", ("xn--zz.-a-.test", 80), "xn--zz.-a-.test"),
        ("HTTP://example.org.:0443/", ("example.org.", 443), "example.org.:443"),
        ("http://[fe80::1%25eth0]:8080", ("fe80::1%eth0", 8080), "[fe80::1]:8080"),
        (f"http://{'a' * 63}.test", (f"{'a' * 63}.test", 80), f"{'a' * 63}.test"),
    ],
)
async def test_the_host_in_the_clear(
    url: str, reached: tuple[str, int], authority: str, peer: Peer, autojump_clock: MockClock
) -> None:
    """A host in ASCII is left alone, be it one that IDNA would refuse."""
    async with trio_h2.connect(url) as connection:
        await connection.request("GET", "/")
    assert (peer.reached, peer.authorities) == ([reached], [authority])


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "rest",
    [
        "a:0",
        "a:00",
        "a:65536",
        "a:\u0663",
        "a:+1",
        "a:1_0",
        "a: 1",
        f"a:{'9' * 5000}",
        "a b",
        " a",
        "a ",
        "a\n.test",
        "a\x00",
        "a\x7f",
        "a\\b",
        "a%41",
        "a|b",
        "a:b:c",
        "::1",
        ".",
        ".a",
        "a..b",
        "a..",
        f"{'a' * 64}.test",
        ".".join(["a" * 63] * 4),
        "\u00fc..test",
        "\u3002",
        "-\u00fc.test",
        "\u00fc_x.test",
        "\u2603.test",
        "\u2100.test",
        "a\uff0fb.test",
        "\u00fc" * 64 + ".test",
        "\ud800.test",
        "[::1",
        "::1]",
        "[::1]a:8",
        "[]",
        "[a]",
        "[v1.a]",
        "[127.0.0.1]",
        "[::1 ]",
        "[fe80::1%]",
        "[fe80::1%25]",
        "[fe80::1%25a%00]",
        "[fe80::1%25a%zz]",
        "[fe80::1%25\u00fc]",
        "[fe80::1%ee1]",
        "[fe80::1%12]",
        "[fe80::1%eth0%25]",
    ],
)
def test_rfc9110_4_2_a_host_or_port_that_can_be_none_is_refused_in_the_call(rest: str, scheme: str) -> None:
    with pytest.raises(ValueError, match=r"url has no (valid )?host"):
        trio_h2.connect(f"{scheme}://{rest}")


@pytest.mark.parametrize(
    "url",
    [
        "https://user:sesame@host",
        "https://user:sesame@host:0",
        "https://sesame@host",
        "https://:sesame@",
        "https://user:sesame/x@host",
        "https://user:sesame#x@host",
        "https://user:sesame?x@host",
        "https://user:sesame@[::1",
        "https://user:sesame@\u2100.test",
        "ftp://user:sesame@host",
        "user:sesame@host",
    ],
)
def test_a_password_in_a_url_is_not_repeated(url: str) -> None:
    """Neither in the message nor in what a traceback shows below it."""
    with pytest.raises(ValueError, match=r"url must be .* without a user or a password") as caught:
        trio_h2.connect(url)
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert "sesame" not in "".join(traceback.format_exception_only(caught.value))


@pytest.mark.parametrize("authority", ["user:sesame@a", "@a", "[fe80::1%25eth0]", "[fe80::1%eth0]:8080"])
async def test_rfc9113_8_3_1_rfc6874_4_no_userinfo_and_no_zone_in_an_authority(
    authority: str, autojump_clock: MockClock
) -> None:
    """Whichever way an authority is given."""
    with pytest.raises(ValueError, match="authority") as caught:
        trio_h2.connect_over(trio.testing.memory_stream_pair()[0], authority=authority)
    assert "sesame" not in str(caught.value)
    async with raw_server() as (connection, _):
        with pytest.raises(ValueError, match="authority"):
            connection.stream("GET", "/", authority=authority)
        with pytest.raises(ValueError, match="authority"):
            await connection.request("GET", "/", authority=authority)
        with pytest.raises(ValueError, match=r"target '.*': (a user|an IPv6 zone)"):
            connection.stream("CONNECT", authority if ":80" in authority else f"{authority}:80")


# What TLS says


async def test_rfc9113_9_2_1_tls_does_not_renegotiate(
    nursery: trio.Nursery, client_ssl_context: ssl.SSLContext, server_ssl_context: ssl.SSLContext
) -> None:
    """On neither side, with TLS 1.2, which could."""
    client_ssl_context.maximum_version = server_ssl_context.maximum_version = ssl.TLSVersion.TLSv1_2

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(204)

    async def serve(task_status: trio.TaskStatus[trio_h2.H2Server]) -> None:
        await trio_h2.serve_h2(handler, 0, host="127.0.0.1", ssl_context=server_ssl_context, task_status=task_status)

    server = await nursery.start(serve)
    async with trio_h2.connect(f"https://127.0.0.1:{server.port}", ssl_context=client_ssl_context) as connection:
        assert (await connection.request("GET", "/")).status == 204
        assert connection.tls is not None
        assert connection.tls.version == "TLSv1.2"
    for context in (client_ssl_context, server_ssl_context):
        assert context.options & ssl.OP_NO_RENEGOTIATION


async def test_an_alert_after_the_handshake_is_named(
    peer: Peer, certificate_authority: trustme.CA, client_ssl_context: ssl.SSLContext, autojump_clock: MockClock
) -> None:
    """With TLS 1.3 a client hears only later that it needed a certificate; and would hear it again."""
    peer.speak_tls(certificate_authority, "example.org")
    assert peer.context is not None
    peer.context.verify_mode = ssl.CERT_REQUIRED
    peer.needs_certificate = True
    client_ssl_context.minimum_version = ssl.TLSVersion.TLSv1_3
    async with trio_h2.connect("https://example.org", ssl_context=client_ssl_context) as connection:
        for _ in range(2):
            with pytest.raises(trio_h2.ConnectionTerminatedError, match="certificate required") as caught:
                await connection.request("GET", "/")
            assert isinstance(caught.value, trio.BrokenResourceError)
            assert not caught.value.safe_to_retry


async def test_an_alert_in_the_handshake_is_named(
    peer: Peer, certificate_authority: trustme.CA, client_ssl_context: ssl.SSLContext, autojump_clock: MockClock
) -> None:
    peer.speak_tls(certificate_authority, "example.org")
    assert peer.context is not None
    peer.context.verify_mode = ssl.CERT_REQUIRED
    peer.needs_certificate = True
    client_ssl_context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(trio_h2.HandshakeError, match=r"TLS with example\.org failed: .*alert") as caught:
        async with trio_h2.connect("https://example.org", ssl_context=client_ssl_context):
            pytest.fail("connected")
    assert not caught.value.safe_to_retry


async def test_a_transport_that_breaks_in_the_handshake_is_safe_to_retry(
    client_ssl_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def open_tcp_stream(host: str, port: int) -> trio.abc.Stream:
        client, server = trio.testing.memory_stream_pair()
        await trio.aclose_forcefully(server)
        return client

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    with pytest.raises(trio_h2.HandshakeError, match=r"TLS with example\.org failed: ..") as caught:
        async with trio_h2.connect("https://example.org", ssl_context=client_ssl_context):
            pytest.fail("connected")
    assert caught.value.safe_to_retry


# Whom to try again


@pytest.mark.parametrize(
    ("code", "safe"),
    [
        (ErrorCodes.NO_ERROR, True),
        (ErrorCodes.ENHANCE_YOUR_CALM, True),
        (ErrorCodes.INADEQUATE_SECURITY, False),
        (ErrorCodes.HTTP_1_1_REQUIRED, False),
    ],
)
async def test_rfc9113_8_7_what_goaway_gave_up_is_safe_to_retry_if_a_new_connection_may_do_better(
    code: ErrorCodes, safe: bool, autojump_clock: MockClock
) -> None:
    async with raw_server() as (connection, peer), connection.stream("GET", "/") as stream:
        await peer.expect(HeadersFrame)
        await peer.send(peer.goaway(0, code))
        with pytest.raises(trio_h2.ConnectionTerminatedError) as caught:
            await stream.response()
        assert caught.value.safe_to_retry is safe
        with pytest.raises(trio_h2.ConnectionTerminatedError) as caught:
            await connection.request("GET", "/")
        assert caught.value.safe_to_retry is safe


async def test_a_peer_that_speaks_no_http2_is_not_worth_another_connection(autojump_clock: MockClock) -> None:
    """A rule broken later is: what broke it need not come again (test_errors.py)."""
    async with raw_server(handshake=False) as (connection, peer):
        await peer.transport.send_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await connection.wait_closed()
        with pytest.raises(trio_h2.ProtocolError) as caught:
            await connection.request("GET", "/")
        assert not caught.value.safe_to_retry
