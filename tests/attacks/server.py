"""The server under attack: `python -m tests.attacks.server CONFIG`, with fields of `Config` as JSON.

Its first line of output says where it listens: for attackers, for attackers that speak TLS, for bystanders, and for
proxies, which are attackers, too.
"""

from __future__ import annotations

import json
import logging
import resource
import ssl
import sys
from typing import Any

import attrs
import trio
import trustme

import trio_h2
from tests.attacks.gauge import BYSTANDER, Control, Gauge, freeze, say
from trio_h2.actors import deadlines, writer
from trio_h2.adapters.proxy_protocol import with_proxy_protocol

LARGE = bytes(64 * 1024)
TEXT = [("content-type", "text/plain")]


async def handler(stream: trio_h2.ServerStream) -> None:
    """A path for each kind of handler that there is to attack."""
    assert stream.request.path is not None
    match stream.request.path.partition("?")[0]:
        case "/echo":
            await stream.send_response(200, TEXT)
            async for chunk in stream:
                await stream.send_all(chunk)
        case "/hang":
            await trio.sleep_forever()
        case "/cleanup":  # its clean-up takes its time, whatever became of the stream
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 0.05):
                    await trio.sleep_forever()
        case "/large":
            await stream.send_response(200, TEXT)
            for _ in range(256):
                await stream.send_all(LARGE)
        case "/stream":
            await stream.send_response(200, TEXT)
            while True:
                await stream.send_all(b"x")
                await trio.sleep(0.01)
        case "/grpc.test/Echo":
            await stream.send_response(200, [("content-type", "application/grpc")])
            async for chunk in stream:
                await stream.send_all(chunk)
            await stream.send_trailers([("grpc-status", "0")])
        case "/early":  # answers before it has read the request
            await stream.respond(200, TEXT, b"early\n")
        case _:
            async for _ in stream:
                pass
            await stream.respond(200, TEXT, b"hello\n")


class ForBystanders(trio.abc.Listener[trio.SocketStream]):
    """A listener whose connections are known to be bystanders'."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self.transport_listener = listener

    async def accept(self) -> trio.SocketStream:
        BYSTANDER.set(True)
        return await self.transport_listener.accept()

    async def aclose(self) -> None:
        await self.transport_listener.aclose()


def config_from(values: dict[str, Any]) -> trio_h2.Config:
    """A Config; what an older one does not know is left out."""
    known = {field.name for field in attrs.fields(trio_h2.Config)}
    return trio_h2.Config(**{name: value for name, value in values.items() if name in known})


def shorten_send_grace(seconds: float) -> None:
    """What a write may last beyond `min_send_rate` is no field of Config."""
    for module in (writer, deadlines):
        if hasattr(module, "SEND_GRACE"):
            module.SEND_GRACE = seconds


def allow_many_files() -> None:
    """As many connections as the system lets this process have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


async def main(config: trio_h2.Config) -> None:
    gauge = Gauge()
    gauge.count_frames()
    freeze()
    plain, secure, quiet, proxies = [(await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] for _ in range(4)]
    listeners = [
        plain,
        trio.SSLListener(secure, tls_context(), https_compatible=True),
        ForBystanders(quiet),
        with_proxy_protocol(proxies, "127.0.0.1"),
    ]
    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: trio_h2.serve_h2_listeners(handler, listeners, config=config, task_status=task_status)
        )
        Control(gauge, nursery.cancel_scope)
        trio.lowlevel.add_instrument(gauge)
        say(ports=[listener.socket.getsockname()[1] for listener in (plain, secure, quiet, proxies)])


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("trio_h2").setLevel(logging.INFO)  # which says who passed which limit
    allow_many_files()
    values = json.loads(sys.argv[1])
    if "send_grace" in values:
        shorten_send_grace(values["send_grace"])
    trio.run(main, config_from(values))
