"""A server's listeners: how they are opened, what they listen on, what TLS they can do, and who waits in them."""

from __future__ import annotations

import errno
import selectors
import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import trio

from ..wording import number

__all__ = [
    "Selector",
    "check_address",
    "check_serves",
    "checked_listeners",
    "has_backlog",
    "open_listeners",
    "port_of",
    "stop_listening",
    "wrapped",
]

# Of those that take no file descriptor of their own: Windows has no poll, and elsewhere select stops at 1,024.
Selector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)


async def open_listeners(port: int, host: str | bytes | None, backlog: int | None) -> list[trio.SocketListener]:
    """As `trio.open_tcp_listeners`, but port 0 is one and the same free port for every address family."""
    attempts = 20
    while True:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=backlog)
        ports = {listener.socket.getsockname()[1] for listener in listeners}
        if port != 0 or len(ports) == 1:
            return listeners
        chosen = listeners[0].socket.getsockname()[1]
        for listener in listeners:
            await listener.aclose()
        try:
            return await trio.open_tcp_listeners(chosen, host=host, backlog=backlog)
        except OSError as error:
            attempts -= 1
            if error.errno != errno.EADDRINUSE or not attempts:
                raise


def wrapped(
    listeners: Sequence[trio.SocketListener], wrap: Callable[[trio.abc.Listener[Any]], trio.abc.Listener[Any]]
) -> list[trio.abc.Listener[Any]]:
    """What a caller's function makes of listeners that were opened here. They are closed if it fails.

    Raises TypeError if it makes something else; and what it raises.
    """
    made = []
    try:
        for listener in listeners:
            made.append(wrap(listener))
            if not isinstance(made[-1], trio.abc.Listener):
                raise TypeError(f"wrap_listener must return a trio.abc.Listener, not {type(made[-1]).__name__}")
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise
    return made


def check_address(port: int, host: str | bytes | None) -> None:
    """Raise ValueError or TypeError if there is nothing to listen on by these."""
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"port must be an int, not {type(port).__name__}")
    if not 0 <= port < 2**16:
        raise ValueError(f"port must be from 0 to 65535, not {number(port)}")
    if host is not None and not isinstance(host, str | bytes):
        raise TypeError(f"host must be str or bytes, or None, not {type(host).__name__}")


def checked_listeners(listeners: Sequence[trio.abc.Listener[Any]]) -> Sequence[trio.abc.Listener[Any]]:
    """What a caller gave as listeners. Raises TypeError."""
    if not isinstance(listeners, Iterable):
        raise TypeError(f"listeners must be a sequence of trio.abc.Listener, not {type(listeners).__name__}")
    checked = tuple(listeners)
    for index, each in enumerate(checked):
        if not isinstance(each, trio.abc.Listener):
            raise TypeError(f"listeners[{index}] must be a trio.abc.Listener, not {type(each).__name__}")
    return checked


def check_serves(context: ssl.SSLContext) -> None:
    """Raise ValueError if a TLS context can certainly not serve anybody: a client's, say, or one with no certificate.

    That shows in a handshake with oneself. Where certificates or keys depend on the client nothing is tried.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        server = context.wrap_bio(to_server, to_client, server_side=True)
    except Exception as error:
        raise ValueError(f"ssl_context cannot serve: {error}") from error
    if context.sni_callback is not None or any("PSK" in cipher["name"] for cipher in context.get_ciphers()):
        return
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    trusting.set_ciphers("ALL")
    client = trusting.wrap_bio(to_client, to_server)
    for side in (client, server) * 4:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            if side is server and error.reason == "NO_SHARED_CIPHER":
                reason = "no certificate that fits its ciphers (call its load_cert_chain)"
                raise ValueError(f"ssl_context cannot serve: it has {reason}") from error
            return


def has_backlog(listeners: Sequence[trio.abc.Listener[Any]]) -> bool:
    """Whether a connection waits to be accepted, at a listener of whose socket we know."""
    with Selector() as selector:
        for listening in _sockets(listeners):
            if listening.fileno() >= 0:
                selector.register(listening, selectors.EVENT_READ)
        return bool(selector.get_map() and selector.select(0))


def stop_listening(listeners: Sequence[trio.abc.Listener[Any]]) -> None:
    """Close the sockets we know of, with no checkpoint: what connects between a look and this is reset."""
    for listening in _sockets(listeners):
        listening.close()


def _sockets(listeners: Sequence[trio.abc.Listener[Any]]) -> list[trio.socket.SocketType]:
    return [inner.socket for inner in map(_inner, listeners) if isinstance(inner, trio.SocketListener)]


def port_of(listeners: Sequence[trio.abc.Listener[Any]]) -> int | None:
    """The TCP port of the first of them that has one."""
    for listener in map(_inner, listeners):
        if isinstance(listener, trio.SocketListener):
            address = listener.socket.getsockname()
            if isinstance(address, tuple):
                return int(address[1])
    return None


def _inner(listener: trio.abc.Listener[Any]) -> trio.abc.Listener[Any]:
    """What lies under TLS, and whatever else has a listener as its `transport_listener`."""
    while (below := getattr(listener, "transport_listener", None)) is not None:
        listener = below
    return listener
