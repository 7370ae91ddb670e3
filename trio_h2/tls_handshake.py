"""TLS of a client: the context there is by default, and the handshake, which settles what is spoken by ALPN."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence

import trio

from .actors.errors import broken, refused_by_tls, why
from .actors.logs import close_at_once, escaped, logger
from .actors.under_tls import UnderTLS
from .exceptions import ALPNError, HandshakeError

__all__ = ["default_context", "shake_hands"]


def default_context() -> ssl.SSLContext:
    """What verifies servers where the user gives no context: by the system's authorities.

    Those that the environment names in SSL_CERT_FILE, or else in SSL_CERT_DIR, are in their place if it does; and where
    it has SSLKEYLOGFILE, Python's `ssl` writes the keys there.
    """
    return ssl.create_default_context(
        cafile=(file := os.environ.get("SSL_CERT_FILE") or None),
        capath=None if file else os.environ.get("SSL_CERT_DIR") or None,
    )


async def shake_hands(
    transport: trio.abc.Stream,
    context: ssl.SSLContext,
    *,
    tls_name: str,
    host: str,
    protocols: Sequence[str] = ("h2",),
) -> trio.SSLStream[UnderTLS]:
    """TLS over a transport, with one of these protocols selected by ALPN. If it fails the transport is closed.

    Args:
        transport: connected.
        context: what is trusted. The protocols are set on it, and that TLS does not renegotiate (RFC 9113 section
            9.2.1).
        tls_name: what TLS asks for and verifies.
        host: whom errors are about.
        protocols: the best first. Who selects none of them may stay if `"http/1.1"` is one of them.

    Raises:
        HandshakeError: TLS failed; safe to retry only if the transport broke.
        ALPNError: TLS is up, and the server selected none of the protocols.
    """
    below = UnderTLS(transport)
    try:
        context.set_alpn_protocols(list(protocols))
        context.options |= ssl.OP_NO_RENEGOTIATION
        tls = trio.SSLStream(below, context, server_hostname=tls_name, https_compatible=True)
        await _shake_hands(tls, host)
        _check_selected(tls.selected_alpn_protocol(), protocols)
    except BaseException:
        await close_at_once(below)
        raise
    below.handshake_done()
    return tls


async def _shake_hands(tls: trio.SSLStream[UnderTLS], host: str) -> None:
    try:
        await tls.do_handshake()
    except Exception as error:  # a transport that was given may raise anything
        logger.debug("TLS with %s failed: %s", escaped(host), escaped(why(error)))
        text = f"TLS with {host} failed: {why(error)}"
        failure: HandshakeError
        if "NO_APPLICATION_PROTOCOL" in text.upper().replace(" ", "_"):
            failure = ALPNError(f"{text}: the server has no HTTP/2")
        else:
            failure = HandshakeError(text, safe_to_retry=not refused_by_tls(error))
        raise broken(failure) from (error.__cause__ or error)


def _check_selected(selected: str | None, protocols: Sequence[str]) -> None:
    if selected in protocols or (selected is None and "http/1.1" in protocols):
        return
    text = f"the server selected {selected or 'no protocol'} by ALPN, not {protocols[0]}"
    logger.debug("TLS failed: %s", escaped(text))
    raise broken(ALPNError(text, selected=selected))
