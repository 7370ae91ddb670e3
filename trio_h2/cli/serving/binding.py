"""Where to listen: TCP, a unix socket, or sockets that somebody else has opened. Done once, before trio runs."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from os import environ
from typing import Any

from ..shared.saying import reason
from .serve_error import USAGE, ServeError
from .serve_options import ServeOptions

__all__ = ["bind", "bound", "listen_on_port"]

BACKLOG = 65_535
"""Of connections that nobody has accepted yet; the system takes its own limit where that is less."""

FIRST_ACTIVATED = 3
"""The number of the first socket that systemd hands over: sd_listen_fds(3)."""

PROBE_SECONDS = 1.0


@contextmanager
def bound(options: ServeOptions) -> Iterator[list[socket.socket]]:
    """The sockets of `bind`. At the end they are closed, and the file of a unix socket is removed if it is still ours.

    Raises ServeError as `bind` does.
    """
    sockets = bind(options)
    mine = None if options.unix is None else _identity(options.unix)
    try:
        yield sockets
    finally:
        for each in sockets:
            each.close()
        if options.unix is not None and mine is not None and _identity(options.unix) == mine:
            os.unlink(options.unix)


def bind(options: ServeOptions) -> list[socket.socket]:
    """Listen where the options say: on `--fd`, on `--unix`, on systemd's sockets, else on host and port.

    The sockets are not inherited by other programs unless they are handed to them. What systemd says in the environment
    is taken out of it, as it is for this process alone.

    Raises:
        ServeError: it can't; the message says where, and why.
    """
    activated = _take_activated()
    if activated and options.names_address:
        raise ServeError("systemd hands over sockets (LISTEN_FDS): --host, --port, --unix and --fd say another", USAGE)
    if activated:
        return [_inherited(number, f"socket {number} of LISTEN_FDS") for number in activated]
    if options.fd is not None:
        return [_inherited(options.fd, f"--fd {options.fd}")]
    if options.unix is not None:
        return [_listen_on_file(options.unix, options.unix_mode)]
    return listen_on_port(options.listening_host, options.listening_port)


def _take_activated() -> range:
    """The numbers of the sockets that systemd hands over to this process."""
    pid, count = environ.get("LISTEN_PID", ""), environ.get("LISTEN_FDS", "")
    if pid != str(os.getpid()):  # they are a parent's, and not for its children
        return range(0)
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environ.pop(name, None)
    if not (count.isascii() and count.isdigit()):
        raise ServeError(f"LISTEN_FDS must be a number, not {count!r}")
    return range(FIRST_ACTIVATED, FIRST_ACTIVATED + int(count))


def _inherited(number: int, name: str) -> socket.socket:
    """A socket that this process was started with."""
    try:
        found = socket.socket(fileno=number)
    except OSError as error:
        raise ServeError(f"cannot listen on {name}: {reason(error)}") from error
    try:
        if found.type != socket.SOCK_STREAM or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ServeError(f"cannot listen on {name}: it is no listening stream socket")
        found.set_inheritable(False)
    except BaseException:
        found.detach()
        raise
    return found


def _listen_on_file(path: str, mode: int | None) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        listener.bind(path)
        if mode is not None:
            os.chmod(path, mode)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ServeError(f"cannot listen on {path}: {reason(error)}") from error
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: str) -> None:
    """Remove the file of a socket on which nobody listens."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ServeError(f"cannot listen on {path}: it is there, and no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_SECONDS)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except (BlockingIOError, TimeoutError):
            pass  # its backlog is full
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def listen_on_port(host: str, port: int) -> list[socket.socket]:
    """Listen on every address that the host has; port 0 is one and the same free port for all of them.

    Raises:
        ServeError: it can't; the message says why.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        addresses = list(dict.fromkeys((family, address) for family, *_, address in found))
        attempts = 1 if port or len(addresses) == 1 else 20
        while True:
            try:
                return _listen_on(addresses)
            except OSError as error:
                attempts -= 1
                if error.errno != errno.EADDRINUSE or not attempts:
                    raise
    except UnicodeError as error:
        raise ServeError(f"cannot listen on {host} port {port}: it is no host's name") from error
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else reason(error)
        raise ServeError(f"cannot listen on {host} port {port}: {why}") from error


def _listen_on(addresses: Sequence[tuple[socket.AddressFamily, tuple[Any, ...]]]) -> list[socket.socket]:
    with ExitStack() as undo:
        listeners: list[socket.socket] = []
        missing: OSError | None = None
        for family, (host, port, *rest) in addresses:
            if not port and listeners:
                port = listeners[0].getsockname()[1]
            try:
                listener = socket.create_server((host, port, *rest), family=family, backlog=BACKLOG)
            except OSError as error:
                if error.errno != errno.EAFNOSUPPORT:
                    raise
                missing = error  # a system without IPv6 has names for it all the same
            else:
                listeners.append(undo.enter_context(listener))
        if missing is not None and not listeners:
            raise missing
        undo.pop_all()
        return listeners


def _identity(path: str) -> tuple[int, int, int] | None:
    """Which file it is; its number alone may be given to the next one."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns
