"""The process of one framework's app on one server: `python -m tests.adapters.frameworks.serve SERVER APP CERT KEY`.

It prints one line of JSON with its ports when it serves, ends in order at SIGTERM with `GRACE` seconds for what is
open, and prints the journal at its end. Errors are logged on standard error.
"""

from __future__ import annotations

import importlib
import json
import logging
import signal
import ssl
import sys
from functools import partial
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as serve_hypercorn

from tests.adapters.frameworks.journal import JOURNAL
from tests.adapters.frameworks.outside import Outside
from trio_h2.adapters.asgi import serve_asgi_listeners

GRACE = 1.0
"""Seconds that open requests have at the end."""


DISCONNECT_GRACE = 0.3
"""Seconds that an app has that does not see that its client has gone."""


def say(what: Any) -> None:
    print(json.dumps(what), flush=True)


async def terminated() -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            return


async def serve_ours(app: Any, certificate: str, key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    secure, clear = [(await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] for _ in range(2)]
    listeners = [trio.SSLListener(secure, context), clear]
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_asgi_listeners, app, listeners, disconnect_grace=DISCONNECT_GRACE))
        say([each.socket.getsockname()[1] for each in (secure, clear)])
        await terminated()
        await server.shutdown(GRACE)


async def serve_reference(app: Any, certificate: str, key: str) -> None:
    config = Config()
    config.bind, config.insecure_bind = ["127.0.0.1:0"], ["127.0.0.1:0"]
    config.certfile, config.keyfile = certificate, key
    config.graceful_timeout = GRACE
    config.accesslog, config.errorlog = None, "-"
    async with trio.open_nursery() as nursery:
        serve = partial(serve_hypercorn, app, config, shutdown_trigger=terminated, mode="asgi")
        binds = await nursery.start(serve)
        say([int(each.rpartition(":")[2]) for each in binds])


def main(server: str, framework: str, certificate: str, key: str) -> None:
    logging.basicConfig(level=logging.WARNING)
    app = Outside(importlib.import_module(f"tests.adapters.frameworks.{framework}").app)
    serve = {"ours": serve_ours, "hypercorn": serve_reference}[server]
    try:
        trio.run(serve, app, certificate, key)
    finally:
        say(JOURNAL)


if __name__ == "__main__":
    main(*sys.argv[1:])
