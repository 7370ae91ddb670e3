"""A proxy that opens tunnels (CONNECT, RFC 9113 section 8.5): `tunnel_proxy.py PORT CERTIFICATE KEY TARGET_PORT...`

It listens on loopback, and its tunnels lead to any host, but only to the ports that are named: whoever reaches the
proxy reaches whatever this machine can. `chromium --proxy-server=https://localhost:PORT` browses through it.
"""

from __future__ import annotations

import signal
import ssl
import sys
from functools import partial

import trio

import trio_h2

CONNECT_TIMEOUT = 10  # seconds


async def copy(source: trio.abc.ReceiveStream, sink: trio.abc.HalfCloseableStream) -> None:
    async for chunk in source:
        await sink.send_all(chunk)
    await sink.send_eof()


async def tunnel(stream: trio_h2.ServerStream, target: trio.SocketStream) -> None:
    """Carry octets both ways until both ends are through; each may end its half first."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(copy, stream, target)
            nursery.start_soon(copy, target, stream)
    except* trio.BrokenResourceError:  # the target's connection; had the client's stream broken, we would be cancelled
        await stream.reset(trio_h2.ErrorCodes.CONNECT_ERROR)


async def handler(target_ports: frozenset[str], stream: trio_h2.ServerStream) -> None:
    request = stream.request
    if request.method != "CONNECT" or request.protocol is not None or request.authority is None:
        await stream.respond(405, [("allow", "CONNECT")])
        return
    host, _, port = request.authority.rpartition(":")
    if port not in target_ports:
        await stream.respond(403)
        return
    try:
        with trio.fail_after(CONNECT_TIMEOUT):
            target = await trio.open_tcp_stream(host.strip("[]"), int(port))
    except OSError:
        await stream.respond(502)
    except trio.TooSlowError:
        await stream.respond(504)
    else:
        async with target:
            await stream.send_response(200)
            await tunnel(stream, target)


async def main(port: int, certificate: str, key: str, *target_ports: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    open_tunnel = partial(handler, frozenset(target_ports))
    serve = partial(trio_h2.serve_h2, open_tunnel, port, host="127.0.0.1", ssl_context=context)
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            server: trio_h2.H2Server = await nursery.start(serve)
            print(f"https://localhost:{server.port}", flush=True)
            await anext(signals)
        await server.shutdown()  # open tunnels have the default grace of ten seconds; a second signal ends it at once


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2], sys.argv[3], *sys.argv[4:])
