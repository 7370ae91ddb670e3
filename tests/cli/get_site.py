"""What `trio-h2 get` and curl are pointed at: servers in a thread of their own, so that both can be run beside them."""

from __future__ import annotations

import gzip
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

import attrs
import trio
import trustme

import trio_h2

HOST = "127.0.0.1"
BIG = bytes(range(256)) * 8192
TEXT = ("content-type", "text/plain")

GOAWAY = b"\0\0\0\4\0\0\0\0\0" + b"\0\0\x08\7\0\0\0\0\0" + bytes(4) + b"\0\0\0\1"
"""Empty SETTINGS, and a GOAWAY with PROTOCOL_ERROR."""


@attrs.frozen
class Ports:
    """Where what listens, on loopback.

    Attributes:
        clear, tls, other: the site, in the clear and twice with TLS.
        client: with TLS, for clients that show a certificate.
        goaway: ends each connection with an error.
        proxy: makes tunnels, in HTTP/1.1.
    """

    clear: int
    tls: int
    other: int
    client: int
    goaway: int
    proxy: int


class GetSite:
    """The handler. Its responses are the same whoever asks; `/flaky` fails each client's first request."""

    def __init__(self) -> None:
        self.other = 0
        self._asked: set[str] = set()

    async def __call__(self, stream: trio_h2.ServerStream) -> None:
        path = str(stream.request.path).partition("?")[0]
        match path.strip("/").split("/"):
            case ["hello", *_]:
                await stream.respond(200, [TEXT], b"hello\n")
            case ["big"]:
                await stream.respond(200, (), BIG)
            case ["empty"]:
                await stream.respond(200)
            case ["gzip"]:
                await stream.respond(200, [("content-encoding", "gzip")], gzip.compress(b"hello\n", mtime=0))
            case ["status", status]:
                await stream.respond(int(status), [TEXT], b"" if status == "204" else b"status\n")
            case ["to", status]:
                await stream.read()
                await stream.respond(int(status), [("location", "/echo?x")], b"moved\n")
            case ["away"]:
                await stream.respond(302, [("location", f"https://{HOST}:{self.other}/echo")])
            case ["loop"]:
                await stream.respond(302, [("location", "/loop")], b"moved\n")
            case ["ftp"]:
                await stream.respond(302, [("location", "ftp://a/")])
            case ["mail"]:
                await stream.respond(302, [("location", "mailto:a@localhost")])
            case ["nowhere"]:
                await stream.respond(302, [("location", "")], b"nowhere\n")
            case ["octets"]:
                await stream.respond(200, [("x-octets", b"\xc3\xa9\xff")])
            case ["cookies"]:
                await stream.respond(200, [("set-cookie", "a=1"), ("set-cookie", "b=2")])
            case ["echo"]:
                await self._echo(stream)
            case ["flaky"]:
                await self._flaky(stream)
            case ["early"]:
                await stream.send_informational(103, [("link", "</style.css>")])
                await stream.respond(200, [TEXT], b"early\n")
            case ["trailers"]:
                await stream.send_response(200, [TEXT])
                await stream.send_all(b"body\n")
                await stream.send_trailers([("x-after", "all")])
            case _:
                await self._end_early(stream, path)

    async def _echo(self, stream: trio_h2.ServerStream) -> None:
        request = stream.request
        body = await stream.read()
        fields = sorted(f"{name}: {value}" for name, value in request.headers.items() if name != "user-agent")
        head = "\n".join([f"{request.method} {request.path} {request.authority}", *fields, "", ""])
        await stream.respond(200, [TEXT, ("x-a", "1")], head.encode() + body)

    async def _flaky(self, stream: trio_h2.ServerStream) -> None:
        client = stream.request.headers.get("user-agent", "")
        if client in self._asked:
            await stream.respond(200, [TEXT], b"hello\n")
        else:
            self._asked.add(client)
            await stream.respond(503, [TEXT, ("retry-after", "1")], b"later\n")

    async def _end_early(self, stream: trio_h2.ServerStream, path: str) -> None:
        if path == "/reset":
            await stream.reset(trio_h2.ErrorCodes.INTERNAL_ERROR)
            return
        if path == "/refused":
            await stream.reset(trio_h2.ErrorCodes.REFUSED_STREAM)
            return
        if path == "/nothing":
            await stream.respond(404, [TEXT], b"nothing\n")
            return
        await stream.send_response(200, [("content-length", "1000")])
        await stream.send_all(b"half\n")
        await stream.connection.ping()  # the client has it
        match path:
            case "/cancel":
                await stream.reset(trio_h2.ErrorCodes.CANCEL)
            case "/cut":
                await stream.reset(trio_h2.ErrorCodes.NO_ERROR)
            case "/lost":
                await stream.connection.transport.aclose()
            case _:
                await trio.sleep_forever()


async def _say(answer: bytes, transport: trio.abc.Stream) -> None:
    async with transport:
        try:
            await transport.receive_some()
            await transport.send_all(answer)
            await transport.receive_some()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


async def _tunnel(transport: trio.abc.Stream) -> None:
    """A proxy, as small as one can be."""
    asked = b""
    while not asked.endswith(b"\r\n\r\n"):
        asked += await transport.receive_some()
    host, _, port = asked.split()[1].decode().partition(":")

    async def copy(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
        try:
            async for data in source:
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        await sink.aclose()

    async with await trio.open_tcp_stream(host, int(port)) as target, transport:
        await transport.send_all(b"HTTP/1.1 200 Connected\r\n\r\n")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(copy, transport, target)
            nursery.start_soon(copy, target, transport)


def _context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", HOST).configure_cert(context)
    return context


async def _serve(authority: trustme.CA, started: Callable[[Ports], None], stop: trio.Event) -> None:
    site = GetSite()
    client_context = _context(authority)
    client_context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(client_context)

    async with trio.open_nursery() as nursery:

        async def serve(context: ssl.SSLContext | None) -> int:
            start = partial(trio_h2.serve_h2, site, 0, host=HOST, ssl_context=context)
            server: trio_h2.H2Server = await nursery.start(start)
            return server.port

        async def tcp(handler: Callable[[trio.SocketStream], Awaitable[object]]) -> int:
            listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host=HOST))
            port: int = listeners[0].socket.getsockname()[1]
            return port

        site.other = await serve(_context(authority))
        started(
            Ports(
                clear=await serve(None),
                tls=await serve(_context(authority)),
                other=site.other,
                client=await serve(client_context),
                goaway=await tcp(partial(_say, GOAWAY)),
                proxy=await tcp(_tunnel),
            )
        )
        await stop.wait()
        nursery.cancel_scope.cancel()


@contextmanager
def get_site(authority: trustme.CA) -> Iterator[Ports]:
    """Serve, in a thread."""
    there = threading.Event()
    ports: list[Ports] = []
    token: list[trio.lowlevel.TrioToken] = []
    stop = trio.Event()

    def started(these: Ports) -> None:
        ports.append(these)
        token.append(trio.lowlevel.current_trio_token())
        there.set()

    thread = threading.Thread(target=trio.run, args=(_serve, authority, started, stop))
    thread.start()
    try:
        assert there.wait(15)
        yield ports[0]
    finally:
        trio.from_thread.run_sync(stop.set, trio_token=token[0])
        thread.join()
