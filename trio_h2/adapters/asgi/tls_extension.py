"""ASGI's extension `tls`: what TLS settled on, as numbers, and the client's certificate."""

from __future__ import annotations

import functools
import ssl
from typing import Any

import trio_h2

from .certificate_name import subject_name

__all__ = ["tls_extension"]

VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


def tls_extension(tls: trio_h2.TLSInfo) -> dict[str, Any]:
    """The extension's dict, by version 0.2 of its specification; the server's own certificate is not in it."""
    certificate = tls.peer_certificate
    return {
        "server_cert": None,
        "client_cert_chain": [ssl.DER_cert_to_PEM_cert(each) for each in tls.peer_certificate_chain],
        "client_cert_name": None if certificate is None else subject_name(certificate),
        "client_cert_error": None,
        "tls_version": VERSIONS.get(tls.version or ""),
        "cipher_suite": _cipher_suites().get(tls.cipher or ""),
    }


@functools.cache
def _cipher_suites() -> dict[str, int]:
    """The two octets of every cipher suite that OpenSSL has, by OpenSSL's name of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    return {cipher["name"]: cipher["id"] & 0xFFFF for cipher in context.get_ciphers()}
