"""The start banner: what runs where."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from typing import Any

from .access_log import say_or_complain
from .log_output import timestamp
from .serve_options import ServeOptions
from .tls_contexts import WILDCARDS

__all__ = ["show_banner", "url_of"]


def show_banner(options: ServeOptions, sockets: Sequence[socket.socket]) -> None:
    """Print on standard output what is served, where, how, and by which process."""
    kind = "directory" if options.is_directory else "app"
    urls = [url_of(each, options) for each in sockets]
    protocols = ["HTTP/2"] if options.is_directory else ["HTTP/2", "HTTP/1.1"]
    tls = _tls(options)
    if options.log_format == "json":
        entry: dict[str, Any] = {
            "time": timestamp(time.time()),
            "process": os.getpid(),
            "message": "serving",
            kind: options.target,
            "urls": urls,
            "protocols": protocols,
            "tls": tls,
            "workers": options.workers,
        }
        say_or_complain(json.dumps(entry))
        return
    say_or_complain(f"Serving {options.target} at {', '.join(urls)} (stop with Ctrl+C)")
    how = f"{' and '.join(protocols)}, {tls or 'without TLS'}; {_processes(options)}, pid {os.getpid()}"
    say_or_complain(f"{kind.capitalize()}: {how}")


def _processes(options: ServeOptions) -> str:
    if options.reload:
        return "reloaded when its files change"
    if options.workers is None:
        return "one process"
    return f"{options.workers} worker{'s' if options.workers > 1 else ''}"


def _tls(options: ServeOptions) -> str | None:
    if not options.tls:
        return None
    certificate = "a certificate made for this run" if options.certfile is None else options.certfile
    clients = "" if options.ca_certs is None else f", clients' certificates by {options.ca_certs}"
    return f"TLS with {certificate}{clients}"


def url_of(listener: socket.socket, options: ServeOptions) -> str:
    """Where to find what listens there: a URL, or a unix socket as `unix:/path`."""
    address = listener.getsockname()
    if not isinstance(address, tuple):
        return f"unix:{os.fsdecode(address)}"
    scheme = "https" if options.tls else "http"
    host = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]  # with an IPv6 zone
    host = WILDCARDS.get(host, host).replace("%", "%25")  # RFC 6874
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{address[1]}/"
