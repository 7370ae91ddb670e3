"""--cacert, --cert, --key and -k, and the TLS context that they make."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from typing import Any

import click

from .exit_codes import ExitCode, Failure
from .file_name import FILE_NAME
from .saying import reason

__all__ = ["client_context", "tls_options"]


def tls_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options: `cacert`, `cert` and `key`, each a str or None, and `insecure`, a bool."""
    for option in (
        click.option("-k", "--insecure", is_flag=True, help="Do not verify the server's certificate."),
        click.option("--key", type=FILE_NAME, metavar="FILE", help="Its key, in PEM."),
        click.option("--cert", type=FILE_NAME, metavar="FILE[:PASSWORD]", help="Our own certificate, in PEM."),
        click.option("--cacert", type=FILE_NAME, metavar="FILE", help="Who signs servers' certificates, in PEM."),
    ):
        command = option(command)
    return command


def client_context(
    *, verify: bool = True, cacert: str | None = None, cert: str | None = None, key: str | None = None
) -> ssl.SSLContext:
    """What verifies servers, or does not, and what they are shown.

    Args:
        verify: whether the server's certificate is.
        cacert: a file of authorities, in PEM; by default those of SSL_CERT_FILE, SSL_CERT_DIR or the system.
        cert: a certificate of our own, in PEM, perhaps with its chain and its key; after a colon the key's password.
        key: its key, in PEM, if it is another file.

    Raises click.UsageError, for a key without a certificate, and Failure, for a file that is of no use.
    """
    if key is not None and cert is None:
        raise click.UsageError("--key is the key of a --cert")
    cafile = cacert or os.environ.get("SSL_CERT_FILE") or None
    capath = None if cafile else os.environ.get("SSL_CERT_DIR") or None
    try:
        context = ssl.create_default_context(cafile=cafile, capath=capath)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise Failure(ExitCode.CA_FILE, f"cannot use the authorities of {cafile}: {reason(error)}") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert is not None:
        file, password = _file_and_password(cert)
        try:
            context.load_cert_chain(file, key, password or "")  # a str, or OpenSSL would ask for it on the terminal
        except (OSError, ValueError) as error:
            raise Failure(ExitCode.OWN_CERTIFICATE, f"cannot use the certificate {file}: {reason(error)}") from error
    return context


def _file_and_password(cert: str) -> tuple[str, str]:
    if os.path.exists(cert):
        return cert, ""
    file, _, password = cert.partition(":")
    return file, password
