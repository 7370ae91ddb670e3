"""TLSInfo: what TLS settled on, as a transport says."""

from __future__ import annotations

import sys
from typing import Any

import attrs
import trio

__all__ = ["TLSInfo", "tls_info"]


@attrs.frozen
class TLSInfo:
    """What TLS settled on.

    Attributes:
        version: `"TLSv1.3"` and the like.
        cipher: the cipher suite's name.
        alpn_protocol: `"h2"`, or None when the peer negotiated nothing.
        peer_certificate_chain: the certificates that the peer sent, in DER, its own first; whatever the TLS context
            made of them. Empty if it showed none. Before Python 3.13, and where a session was resumed without a chain,
            its own alone.
        peer_certificate: the first of them, the peer's own, or None if it showed none.
    """

    version: str | None
    cipher: str | None
    alpn_protocol: str | None
    peer_certificate_chain: tuple[bytes, ...] = ()

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's certificate in DER, or None if it showed none."""
        return self.peer_certificate_chain[0] if self.peer_certificate_chain else None


def tls_info(transport: trio.abc.AsyncResource) -> TLSInfo | None:
    """What TLS settled on; None without TLS, before its handshake, and of a connection that broke and has lost it."""
    if not isinstance(transport, trio.SSLStream):
        return None
    try:
        cipher = transport.cipher()
        return TLSInfo(
            transport.version(),
            None if cipher is None else cipher[0],
            transport.selected_alpn_protocol(),
            _chain(transport.version.__self__),
        )
    except (trio.NeedHandshakeError, ValueError):
        return None


def _chain(tls: Any) -> tuple[bytes, ...]:
    """The certificates of the peer that an ssl.SSLObject knows, its own first."""
    chain: list[bytes] = tls.get_unverified_chain() if sys.version_info >= (3, 13) else []
    if not chain:
        own = tls.getpeercert(binary_form=True)
        chain = [] if own is None else [own]
    return tuple(chain)
