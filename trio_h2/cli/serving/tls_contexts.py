"""TLS for `serve`: from certificates in files, or made for the run."""

from __future__ import annotations

import os
import ssl
import tempfile

import attrs

from ..shared.saying import reason
from .serve_error import USAGE, ServeError
from .serve_options import ServeOptions

__all__ = ["WILDCARDS", "server_context", "with_certificate"]

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where to find a server that listens on every interface."""


def with_certificate(options: ServeOptions) -> ServeOptions:
    """The options with the certificate of `--self-signed`, if they ask for one: for the host and loopback.

    Raises ServeError for a host that no certificate names.
    """
    if not options.self_signed or options.certificate_pem is not None:
        return options
    import trustme  # which workers have no use for, and which brings a large library along

    host = options.listening_host
    names = dict.fromkeys([WILDCARDS.get(host, host).partition("%")[0], "localhost", "127.0.0.1", "::1"])
    try:
        certificate = trustme.CA().issue_cert(*names)
    except ValueError as error:
        raise ServeError(f"--self-signed: no certificate names the host {host!r}: {error}", USAGE) from error
    return attrs.evolve(options, certificate_pem=certificate.private_key_and_cert_chain_pem.bytes().decode("ascii"))


def server_context(options: ServeOptions) -> ssl.SSLContext | None:
    """The context of the options' certificates, or None without TLS. It has everything but ALPN.

    Raises:
        ServeError: the files cannot be read, or do not go together.
    """
    options = with_certificate(options)
    if not options.tls:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.options |= ssl.OP_NO_RENEGOTIATION  # RFC 9113 section 9.2.1
    if options.certificate_pem is not None:
        _load(context, options.certificate_pem)
    elif options.certfile is not None:
        try:
            context.load_cert_chain(options.certfile, options.keyfile, password=_no_password)
        except (OSError, ValueError) as error:
            pair = f"certificate {options.certfile} with key {options.keyfile}"
            raise ServeError(f"cannot use {pair}: {reason(error)}") from error
    if options.ca_certs is not None:
        try:
            context.load_verify_locations(options.ca_certs)
        except OSError as error:
            raise ServeError(f"cannot use --ca-certs {options.ca_certs}: {reason(error)}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _no_password() -> str:
    """Without this OpenSSL would ask on the terminal."""
    raise ValueError("the key is encrypted, and a server has nobody to ask for its password")


def _load(context: ssl.SSLContext, pem: str) -> None:
    """Load key and certificate, which OpenSSL takes from a file only."""
    descriptor, path = tempfile.mkstemp(suffix=".pem")
    try:
        with open(descriptor, "w") as file:
            file.write(pem)
        context.load_cert_chain(path)
    finally:
        os.unlink(path)
