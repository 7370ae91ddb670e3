"""A reverse proxy: `python reverse_proxy.py PORT UPSTREAM_URL` passes what it is asked on to one server behind it.

Bodies stream both ways at the pace of the slower side. All requests share one connection to the server behind, which
is opened when it is needed, and again when it has ended.
"""

from __future__ import annotations

import signal
import sys
from functools import partial

import trio

import trio_h2

NOT_FORWARDED = {b"expect", b"host", b"x-forwarded-for"}


class Upstream:
    def __init__(self, nursery: trio.Nursery, url: str) -> None:
        self._nursery = nursery
        self._url = url
        self._lock = trio.Lock()
        self._connection: trio_h2.ClientConnection | None = None

    async def connection(self) -> trio_h2.ClientConnection:
        async with self._lock:
            connection = self._connection
            if connection is None or not connection.accepting:
                with trio.fail_after(10):
                    connection = self._connection = await self._nursery.start(self._connect)
            return connection

    async def _connect(self, task_status: trio.TaskStatus[trio_h2.ClientConnection]) -> None:
        async with trio_h2.connect(self._url) as connection:
            task_status.started(connection)
            await connection.wait_closed()  # after a GOAWAY that is when the last response is there


async def upload(stream: trio_h2.ServerStream, inner: trio_h2.ClientStream) -> None:
    try:
        async for chunk in stream:
            await inner.send_all(chunk)
        await (inner.send_trailers(stream.trailers) if stream.trailers else inner.send_eof())
    except trio_h2.H2Error:
        pass  # the server behind answered early, or broke: who reads the response learns which


async def download(inner: trio_h2.ClientStream, stream: trio_h2.ServerStream) -> None:
    response = await inner.response()
    await stream.send_response(response.status, response.headers)
    async for chunk in inner:
        await stream.send_all(chunk)
    await (stream.send_trailers(inner.trailers) if inner.trailers else stream.send_eof())


async def forward(upstream: Upstream, path: str, stream: trio_h2.ServerStream) -> None:
    connection = await upstream.connection()
    method, headers = stream.request.method, stream.request.headers
    fields = [field for field in headers if field[0] not in NOT_FORWARDED]
    fields += [(b"via", b"2 proxy"), (b"x-forwarded-for", str(stream.connection.peer_address[0]).encode())]
    # A GET, or another request of its kind, has a body if it has a content-length; POST and PUT always have one.
    end = False if "content-length" in headers else None
    opening = connection.stream(method, path, headers=fields, end_stream=end, authority=stream.request.authority)
    async with opening as inner, trio.open_nursery() as nursery:
        nursery.start_soon(upload, stream, inner)
        await download(inner, stream)
        nursery.cancel_scope.cancel()  # nobody wants the rest of the request


async def handler(upstream: Upstream, stream: trio_h2.ServerStream) -> None:
    path = stream.request.path
    if path is None or stream.request.protocol is not None:
        await stream.respond(501)  # what is asked for is a tunnel
        return
    try:
        await forward(upstream, path, stream)
    except* (OSError, trio.TooSlowError, trio_h2.H2Error) as failed:
        print(f"{stream.request.method} {path.partition('?')[0]}: {failed.exceptions}", file=sys.stderr, flush=True)
        if stream.status is None:
            await stream.respond(502)
        else:
            await stream.reset(trio_h2.ErrorCodes.INTERNAL_ERROR)


async def main(port: int, upstream_url: str) -> None:
    async with trio.open_nursery() as nursery:
        serve = partial(trio_h2.serve_h2, partial(handler, Upstream(nursery, upstream_url)), port)
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            server: trio_h2.H2Server = await nursery.start(serve)
            print(f"http://localhost:{server.port}", flush=True)
            await anext(signals)
        await server.shutdown()
        nursery.cancel_scope.cancel()  # the connection to the server behind


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2])
