"""ASGI's extension `tls`: version and cipher as numbers, the client's certificate and its name."""

from __future__ import annotations

import ssl
import sys
from functools import partial
from typing import Any

import pytest
import trio
import trustme

import trio_h2
from tests.adapters.helpers import answers
from trio_h2.adapters.asgi import serve_asgi
from trio_h2.adapters.asgi.certificate_name import subject_name
from trio_h2.adapters.asgi.tls_extension import tls_extension


@pytest.mark.parametrize(
    ("version", "number"),
    [("TLSv1.2", 0x0303), ("TLSv1.3", 0x0304), ("TLSv9", None), (None, None)],
)
def test_the_version_is_a_number(version: str | None, number: int | None) -> None:
    assert tls_extension(trio_h2.TLSInfo(version, None, "h2"))["tls_version"] == number


@pytest.mark.parametrize(
    ("cipher", "number"),
    [
        ("TLS_AES_128_GCM_SHA256", 0x1301),
        ("TLS_AES_256_GCM_SHA384", 0x1302),
        ("ECDHE-RSA-AES128-GCM-SHA256", 0xC02F),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", 0xCCA9),
        ("OF-ANOTHER-TIME", None),
        (None, None),
    ],
)
def test_the_cipher_suite_is_a_number(cipher: str | None, number: int | None) -> None:
    assert tls_extension(trio_h2.TLSInfo("TLSv1.3", cipher, "h2"))["cipher_suite"] == number


def test_the_clients_certificate_is_there_with_its_name(certificate_authority: trustme.CA) -> None:
    leaf = certificate_authority.issue_cert("client@example.org", common_name="A client, with a comma")
    pem = leaf.cert_chain_pems[0].bytes().decode()
    extension = tls_extension(trio_h2.TLSInfo("TLSv1.3", None, "h2", (ssl.PEM_cert_to_DER_cert(pem),)))
    (shown,) = extension["client_cert_chain"]
    assert ssl.PEM_cert_to_DER_cert(shown) == ssl.PEM_cert_to_DER_cert(pem)
    name = extension["client_cert_name"]
    assert name.startswith("CN=A client\\, with a comma,OU=Testing cert ")
    assert ",O=trustme v" in name


@pytest.fixture
def chain(certificate_authority: trustme.CA, client_ssl_context: ssl.SSLContext) -> list[bytes]:
    """What the client sends of itself: its own certificate, and that of the authority between it and the root."""
    own = certificate_authority.create_child_ca().issue_cert("client@example.org", common_name="the client")
    own.configure_cert(client_ssl_context)
    return [ssl.PEM_cert_to_DER_cert(each.bytes().decode()) for each in own.cert_chain_pems]


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_apps_get_the_chain_that_the_client_sent(
    protocol: str,
    chain: list[bytes],
    certificate_authority: trustme.CA,
    server_ssl_context: ssl.SSLContext,
    client_ssl_context: ssl.SSLContext,
) -> None:
    """Of an older Python no more than its own certificate is to be had."""
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await answers()(scope, receive, send)

    server_ssl_context.verify_mode = ssl.CERT_REQUIRED
    certificate_authority.configure_trust(server_ssl_context)
    client_ssl_context.set_alpn_protocols([protocol])
    async with trio.open_nursery() as nursery:
        serve = partial(serve_asgi, app, 0, host="127.0.0.1", ssl_context=server_ssl_context)
        server = await nursery.start(serve)
        transport = await trio.open_ssl_over_tcp_stream("127.0.0.1", server.port, ssl_context=client_ssl_context)
        await transport.do_handshake()
        if protocol == "h2":
            async with trio_h2.connect_over(transport, authority="example.org", scheme="https") as client:
                await client.request("GET", "/")
                assert client.tls is not None
                assert client.tls.peer_certificate == client.tls.peer_certificate_chain[0]
        else:
            async with transport:
                await transport.send_all(b"GET / HTTP/1.1\r\nhost: example.org\r\n\r\n")
                await transport.receive_some()
        await server.shutdown()
    shown = scopes[-1]["extensions"]["tls"]
    expected = chain if sys.version_info >= (3, 13) else chain[:1]
    assert [ssl.PEM_cert_to_DER_cert(each) for each in shown["client_cert_chain"]] == expected
    assert len(chain) == 2
    assert shown["client_cert_name"].startswith("CN=the client,")


# Certificates by hand: only what comes before the subject, and the subject, is read.


def der(tag: int, *content: bytes) -> bytes:
    octets = b"".join(content)
    length = bytes([len(octets)]) if len(octets) < 128 else b"\x82" + len(octets).to_bytes(2, "big")
    return bytes([tag]) + length + octets


COMMON_NAME = b"\x55\x04\x03"
COUNTRY = b"\x55\x04\x06"
DOMAIN = bytes.fromhex("0992268993f22c640119")
EMAIL = bytes.fromhex("2a864886f70d010901")


def attribute(kind: bytes, value: bytes, tag: int = 0x0C) -> bytes:
    return der(0x30, der(0x06, kind), der(tag, value))


def certificate(*names: bytes, version: bytes = der(0xA0, b"\x02\x01\x02")) -> bytes:
    """A certificate whose subject has these relative names."""
    before = [der(0x02, b"\x01"), der(0x30), der(0x30), der(0x30)]
    subject = der(0x30, *(der(0x31, each) for each in names))
    return der(0x30, der(0x30, version, *before, subject))


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        ([attribute(COMMON_NAME, b"one")], "CN=one"),
        ([attribute(COUNTRY, b"DE", 0x13), attribute(COMMON_NAME, b"one")], "CN=one,C=DE"),
        (
            [attribute(DOMAIN, b"org", 0x16), attribute(DOMAIN, b"example", 0x16)],
            "DC=example,DC=org",
        ),
        ([attribute(COMMON_NAME, b"a") + attribute(COUNTRY, b"DE", 0x13)], "CN=a+C=DE"),
        ([attribute(COMMON_NAME, "ä".encode())], "CN=ä"),
        ([attribute(COMMON_NAME, "ä".encode("utf-16-be"), 0x1E)], "CN=ä"),
        ([attribute(COMMON_NAME, b'a,b+c"d\\e<f>g;h\0')], 'CN=a\\,b\\+c\\"d\\\\e\\<f\\>g\\;h\\00'),
        ([attribute(COMMON_NAME, b"#a ")], "CN=\\#a\\ "),
        ([attribute(COMMON_NAME, b" a b")], "CN=\\ a b"),
        ([attribute(COMMON_NAME, b" ")], "CN=\\ "),
        ([attribute(EMAIL, b"a@b", 0x16)], "1.2.840.113549.1.9.1=#1603614062"),
        ([attribute(COMMON_NAME, b"old", 0x14)], "CN=#14036f6c64"),
        ([attribute(COMMON_NAME, b"x" * 300)], "CN=" + "x" * 300),
    ],
)
def test_rfc4514_the_subjects_name(names: list[bytes], text: str) -> None:
    assert subject_name(certificate(*names)) == text
    assert subject_name(certificate(*names, version=b"")) == text


@pytest.mark.parametrize("cut", range(1, 30))
def test_what_is_no_certificate_has_no_name(cut: int) -> None:
    whole = certificate(attribute(COMMON_NAME, b"one"))
    assert subject_name(whole[:-cut]) is None
