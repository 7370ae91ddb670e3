"""A server: `python -m tests.soak.server STARTED_FILE CONFIG SAMPLE_EVERY [CERTIFICATE]`.

On stdin: `shutdown GRACE` ends it gracefully, and it reports what is left. CONFIG is keywords of a Config, in JSON.
"""

from __future__ import annotations

import hashlib
import json
import logging
import ssl
import sys
import time
from collections import Counter
from contextlib import aclosing
from pathlib import Path

import trio
import trio.testing

import trio_h2
from tests.soak.memory import report_samples
from tests.soak.wire import HOST, Started, commands, pieces, say
from trio_h2 import ErrorCodes, ServerStream

MESSAGE_PAUSE = 0.02


class InjectedError(Exception):
    """What a handler raises because it was asked to."""


GAVE_UP = "a shutdown went on without"


class UnexpectedOnly(logging.Filter):
    """Lets only records through that no request asked for, and that are no matter of time."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], InjectedError):
            return False
        message = record.getMessage()
        return "/nothing" not in message and not message.startswith(GAVE_UP)


class Site:
    """The handlers.

    Attributes:
        alive: handlers that run now, and can be cancelled.
        limits_hit: which limits connections reached, over all of them.
    """

    def __init__(self, started: Started, nursery: trio.Nursery) -> None:
        self._started = started
        self._nursery = nursery
        self._watched: set[int] = set()
        self.alive = 0
        self.limits_hit: Counter[str] = Counter()

    async def handle(self, stream: ServerStream) -> None:
        self._watch(stream.connection)
        attempt = stream.request.headers.get("x-attempt")
        if attempt is not None:
            self._started.note(int(attempt))
        assert stream.request.path is not None
        _, action, *arguments = stream.request.path.split("/")
        self.alive += 1
        try:
            await getattr(self, f"do_{action}")(stream, *map(int, arguments))
        finally:
            self.alive -= 1

    def _watch(self, connection: trio_h2.Connection) -> None:
        if id(connection) not in self._watched:
            self._watched.add(id(connection))
            self._nursery.start_soon(self._look_at_the_end, connection)

    async def _look_at_the_end(self, connection: trio_h2.Connection) -> None:
        await connection.wait_closed()
        self._watched.discard(id(connection))
        self.limits_hit.update(getattr(connection.statistics(), "limits_hit", {}))

    async def do_small(self, stream: ServerStream, number: int, size: int) -> None:
        await stream.respond(200, [("content-type", "application/octet-stream")], b"".join(pieces(number, size, size)))

    async def do_upload(self, stream: ServerStream) -> None:
        digest = hashlib.sha256()
        async for chunk in stream:
            digest.update(chunk)
        end = "" if stream.trailers is None else stream.trailers["x-end"]
        await stream.respond(200, [("x-end", end)], digest.hexdigest().encode())

    async def do_download(self, stream: ServerStream, number: int, size: int) -> None:
        digest = hashlib.sha256()
        await stream.send_response(200)
        for data in pieces(number, size, 64 * 1024):
            digest.update(data)
            await stream.send_all(data)
        await stream.send_trailers([("x-digest", digest.hexdigest())])

    async def do_echo(self, stream: ServerStream) -> None:
        await stream.send_response(200)
        async for chunk in stream:
            await stream.send_all(chunk)

    async def do_drip(self, stream: ServerStream, number: int, count: int) -> None:
        await stream.send_response(200)
        for data in pieces(number, count, 1):
            await stream.send_all(data)

    async def do_events(self, stream: ServerStream, count: int) -> None:
        await stream.send_response(200, [("content-type", "text/event-stream")])
        for number in range(count):
            await stream.send_all(b"data: %d\n\n" % number)
            await trio.sleep(MESSAGE_PAUSE)

    async def do_push(self, stream: ServerStream, number: int) -> None:
        promised = []
        for index in range(2):
            promised.append(await stream.push(f"/small/{number + index}/5000"))
        await stream.respond(200, [], b"pushed")
        for index, push in enumerate(promised):
            async with push:
                try:
                    await push.respond(200, [], b"".join(pieces(number + index, 5000, 5000)))
                except trio.BrokenResourceError:
                    pass  # the client does not want it, or is gone

    async def do_interim(self, stream: ServerStream) -> None:
        await stream.send_informational(103, [("link", "</style.css>; rel=preload")])
        await stream.respond(204)

    async def do_early(self, stream: ServerStream) -> None:
        await stream.respond(413, [], b"too much")

    async def do_raise(self, stream: ServerStream) -> None:
        raise InjectedError

    async def do_raiselate(self, stream: ServerStream) -> None:
        await stream.send_response(200)
        await stream.send_all(b"so far")
        raise InjectedError

    async def do_reset(self, stream: ServerStream) -> None:
        await stream.reset(ErrorCodes.CONNECT_ERROR)

    async def do_nothing(self, stream: ServerStream) -> None:
        await trio.lowlevel.checkpoint()

    async def do_never(self, stream: ServerStream) -> None:
        """Waits for a client that gives up, and takes its time to clean up."""
        try:
            await trio.sleep_forever()
        finally:
            self.alive -= 1  # a shutdown does not wait for what shields itself
            with trio.CancelScope(shield=True):
                await trio.sleep(MESSAGE_PAUSE)
            self.alive += 1


class Reasons(logging.Handler):
    """Tells the supervisor why connections ended, should a request be lost by it, and what outlived a shutdown."""

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith(GAVE_UP) and "/never" not in record.getMessage():
            say("outlived", what=record.getMessage())
        if str(record.msg).startswith("the connection with") and record.args:
            peer, reason = record.args
            port = str(peer).rpartition(":")[2]
            if port.isdigit():  # else it was reset before anybody asked for its address
                say("said", port=int(port), reason=reason)


def set_up_logging() -> None:
    shown = logging.StreamHandler()
    shown.setLevel(logging.WARNING)
    shown.addFilter(UnexpectedOnly())
    logging.basicConfig(handlers=[shown, Reasons()])
    logging.getLogger("trio_h2").setLevel(logging.DEBUG)


async def serve(started: Started, config: trio_h2.Config, context: ssl.SSLContext | None, sample_every: float) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(report_samples, sample_every)
        site = Site(started, nursery)
        tasks = trio.lowlevel.current_statistics().tasks_living
        async with trio.open_nursery() as serving:
            server = await serving.start(_serve, site.handle, config, context)
            say("listening", port=server.port)
            async with aclosing(commands()) as words:
                command = await anext(words, None)
            grace = 0.0 if command is None else float(command[1])
            start = time.monotonic()
            say("shutdown", grace=grace)
            await server.shutdown(grace)
            took, alive = time.monotonic() - start, site.alive
        await trio.testing.wait_all_tasks_blocked()
        left = trio.lowlevel.current_statistics().tasks_living - tasks
        say("ended", took=took, grace=grace, alive=alive, tasks_left=left, limits_hit=dict(site.limits_hit))
        nursery.cancel_scope.cancel()


async def _serve(
    handler: trio_h2.Handler,
    config: trio_h2.Config,
    context: ssl.SSLContext | None,
    task_status: trio.TaskStatus[trio_h2.H2Server],
) -> None:
    await trio_h2.serve_h2(handler, 0, host=HOST, config=config, ssl_context=context, task_status=task_status)


def main(started: str, config: str, sample_every: str, certificate: str | None = None) -> None:
    set_up_logging()
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    trio.run(serve, Started(Path(started)), trio_h2.Config(**json.loads(config)), context, float(sample_every))


if __name__ == "__main__":
    main(*sys.argv[1:])
