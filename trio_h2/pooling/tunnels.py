"""Tunnels through a proxy: CONNECT in HTTP/2 (RFC 9113 section 8.5), and in HTTP/1.1 (RFC 9112, by h11)."""

from __future__ import annotations

import importlib.util

import trio

from ..actors.errors import broken, why
from ..actors.logs import close_at_once
from ..actors.replayed import ReplayedStream
from ..client_connection import ClientStream
from ..exceptions import ProxyError
from ..headers import NeverIndexed
from ..wording import shown

__all__ = ["accepted", "http1_tunnel", "need_h11"]

MAX_HEAD = 64 * 1024
"""Octets of a proxy's answer in HTTP/1.1."""

_BEGINNING = b"HTTP/1."

_LATER = (502, 503, 504)
"""What a proxy answers whose next answer may be another."""


async def accepted(stream: ClientStream) -> trio.abc.Stream:
    """The tunnel that a CONNECT in HTTP/2 has opened. Raises H2Error, and the stream is closed."""
    try:
        response = await stream.response()
        _check(response.status)
    except BaseException:
        await close_at_once(stream)
        raise
    return stream


async def http1_tunnel(
    transport: trio.abc.Stream, authority: str, authorization: NeverIndexed | None
) -> trio.abc.Stream:
    """Have a proxy of HTTP/1.1 open a tunnel. Raises H2Error, and the transport is closed.

    Args:
        transport: connected to it, and TLS done.
        authority: host and port of where the tunnel leads.
        authorization: what the proxy is shown, or None.
    """
    try:
        rest = await _connect(transport, authority, authorization)
    except trio.BrokenResourceError as error:
        await close_at_once(transport)
        if isinstance(error, ProxyError):
            raise
        reason = f"the connection to the proxy broke before it answered: {why(error)}"
        raise broken(ProxyError(reason, safe_to_retry=True)) from error
    except BaseException:
        await close_at_once(transport)
        raise
    return ReplayedStream(transport, rest) if rest else transport


async def _connect(transport: trio.abc.Stream, authority: str, authorization: NeverIndexed | None) -> bytes:
    """Ask for the tunnel; what of it came with the answer."""
    import h11

    protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    headers: list[tuple[bytes, bytes]] = [(b"host", authority.encode("ascii"))]
    if authorization is not None:
        headers.append((authorization[0], authorization[1]))
    request = protocol.send(h11.Request(method=b"CONNECT", target=authority.encode("ascii"), headers=headers))
    assert request is not None
    await transport.send_all(request)
    first = b""
    while True:
        try:
            event = protocol.next_event()
        except h11.RemoteProtocolError as error:
            raise broken(ProxyError(f"the proxy does not speak HTTP/1.1: {error}")) from error
        if isinstance(event, h11.Response):
            _check(event.status_code)
            return protocol.trailing_data[0]
        if event is h11.NEED_DATA:
            data = bytes(await transport.receive_some())
            if not data:
                raise broken(ProxyError("the proxy hung up without an answer", safe_to_retry=True))
            protocol.receive_data(data)
            first += data[: max(0, 64 - len(first))]
            if not first.startswith(_BEGINNING[: len(first)]):  # h11 would wait for the end of a header section
                reason = f"the proxy does not speak HTTP/1.1: its first octets are '{shown(first)}'"
                raise broken(ProxyError(reason))


def _check(status: int) -> None:
    if 200 <= status < 300:
        return
    what = "it wants to know who asks: give its URL a user and a password" if status == 407 else "it opens no tunnel"
    raise broken(ProxyError(f"the proxy answered {status}: {what}", status=status, safe_to_retry=status in _LATER))


def need_h11() -> None:
    """Raise RuntimeError if a proxy of HTTP/1.1 cannot be spoken to."""
    if importlib.util.find_spec("h11") is None:
        raise RuntimeError("a proxy that speaks HTTP/1.1 needs h11: pip install 'trio-h2[proxy]'")
