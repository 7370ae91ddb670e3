"""The kinds of requests: each makes one, and checks all that comes of it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from tests.soak.wire import pieces
from trio_h2 import ClientConnection, ClientStream, ErrorCodes, StreamResetError

__all__ = ["OWN_CANCELS", "Kind", "WrongAnswer", "choose", "push", "read_push"]

LARGEST = 2 << 20
SMALL_PIECE = 16 * 1024


class WrongAnswer(Exception):
    """A request was answered, and not as it should have been."""


Kind = Callable[[ClientConnection, random.Random, str], Awaitable[None]]


def expect(condition: object, what: str) -> None:
    if not condition:
        raise WrongAnswer(what)


def _number(rng: random.Random) -> int:
    return rng.randrange(1 << 20)


def _size(rng: random.Random) -> int:
    """Most bodies are small, some are MiBs."""
    return int(LARGEST ** rng.uniform(0.4, 1.0))


def _digest(number: int, size: int) -> str:
    digest = hashlib.sha256()
    for data in pieces(number, size, size):
        digest.update(data)
    return digest.hexdigest()


async def small(connection: ClientConnection, rng: random.Random, attempt: str) -> None:
    number, size = _number(rng), rng.randrange(3000)
    response = await connection.request("GET", f"/small/{number}/{size}", headers=[("x-attempt", attempt)])
    expect(response.status == 200, f"status {response.status}")
    expect(response.body == b"".join(pieces(number, size, size)), "the body of a small response")


async def browser(connection: ClientConnection, rng: random.Random, attempt: str) -> None:
    """As a browser asks: many fields, and cookies in crumbs."""
    headers = [("x-attempt", attempt), ("accept", "*/*"), ("accept-language", "en-GB,en;q=0.5")]
    headers += [("cookie", f"crumb{index}={rng.randbytes(12).hex()}") for index in range(rng.randrange(60))]
    response = await connection.request("GET", "/small/1/100", headers=headers)
    expect(response.body == b"".join(pieces(1, 100, 100)), "the body for a browser")


async def interim(connection: ClientConnection, rng: random.Random, attempt: str) -> None:
    async with connection.stream("GET", "/interim", headers=[("x-attempt", attempt)]) as stream:
        response = await stream.response()
        expect(response.status == 204 and [r.status for r in stream.informational] == [103], "interim responses")
        expect(await stream.receive_some() == b"", "the body of a 204")


async def upload(connection: ClientConnection, rng: random.Random, attempt: str) -> None:
    """With trailers, and at times only when the server asks for it."""
    number, size = _number(rng), _size(rng)
    headers = [("x-attempt", attempt), *([("expect", "100-continue")] if rng.random() < 0.3 else [])]
    trailers = [("x-end", str(number))] if rng.random() < 0.5 else None

    async def body() -> AsyncIterator[bytes]:
        for data in pieces(number, size, SMALL_PIECE):
            yield data

    response = await connection.request("POST", "/upload", headers=headers, body=body(), trailers=trailers)
    expect(response.status == 200, f"status {response.status}")
    expect(response.body.decode() == _digest(number, size), "the digest of an upload")
    expect(response.headers["x-end"] == (str(number) if trailers else ""), "the trailers of an upload")


async def _read_download(
    connection: ClientConnection,
    rng: random.Random,
    attempt: str,
    size: int,
    *,
    pause: float = 0,
    most: int | None = None,
) -> None:
    number, digest = _number(rng), hashlib.sha256()
    async with connection.stream("GET", f"/download/{number}/{size}", headers=[("x-attempt", attempt)]) as stream:
        while chunk := await stream.receive_some(most):
            digest.update(chunk)
            if pause:
                await trio.sleep(pause)
        expect(digest.hexdigest() == _digest(number, size), "the body of a download")
        expect(stream.trailers is not None and stream.trailers["x-digest"] == digest.hexdigest(), "its trailers")


async def download(connection: ClientConnection, rng: random.Random, attempt: str) -> None:
    await _read_download(connection, rng, attempt, _size(rng))


async def slow_reader(connection: ClientConnection, rng: random.Random, attempt: str) -> None:
    """Takes 16 KiB now and then of a body that is larger than its window."""
    await _read_download(connection, rng, attempt, 500_000, pause=0.05, most=SMALL_PIECE)


async def echo(connection: ClientConnection, rng: random.Random, attempt: str) -> None:
    await _echo(connection, attempt, _number(rng), _size(rng) // 4, 4096)


async def chat(connection: ClientConnection, rng: random.Random, attempt: str) -> None:
    """A long stream of messages of one octet, both ways."""
    await _echo(connection, attempt, _number(rng), 500, 1)


async def _echo(connection: ClientConnection, attempt: str, number: int, size: int, most: int) -> None:
    received = hashlib.sha256()

    async def send(stream: ClientStream) -> None:
        for data in pieces(number, size, most):
            await stream.send_all(data)
        await stream.send_eof()

    async with connection.stream("POST", "/echo", headers=[("x-attempt", attempt)]) as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, stream)
            async for chunk in stream:
                received.update(chunk)
    expect(received.hexdigest() == _digest(number, size), "an echo")


async def drip(connection: ClientConnection, rng: random.Random, attempt: str) -> None:
    number, count = _number(rng), 1000
    got = bytearray()
    async with connection.stream("GET", f"/drip/{number}/{count}", headers=[("x-attempt", attempt)]) as stream:
        async for chunk in stream:
            got += chunk
    expect(got == b"".join(pieces(number, count, count)), "a body that came by the octet")


async def events(connection: ClientConnection, rng: random.Random, attempt: str) -> None:
    """Server-sent events, for some seconds."""
    count, got = rng.randrange(20, 200), bytearray()
    async with connection.stream("GET", f"/events/{count}", headers=[("x-attempt", attempt)]) as stream:
        async for chunk in stream:
            got += chunk
    expect(got == b"".join(b"data: %d\n\n" % number for number in range(count)), "server-sent events")


async def push(connection: ClientConnection, rng: random.Random, attempt: str) -> None:
    """The pushes themselves are read elsewhere: they are the connection's."""
    response = await connection.request("GET", f"/push/{_number(rng)}", headers=[("x-attempt", attempt)])
    expect(response.body == b"pushed", "the response beside a push")


async def early(connection: ClientConnection, rng: random.Random, attempt: str) -> None:
    """Answered before the body is sent: what is left of it is not wanted."""
    number = _number(rng)

    async def body() -> AsyncIterator[bytes]:
        for data in pieces(number, LARGEST, SMALL_PIECE):
            yield data

    response = await connection.request("POST", "/early", headers=[("x-attempt", attempt)], body=body())
    expect((response.status, response.body) == (413, b"too much"), "an early answer")


async def raises(connection: ClientConnection, rng: random.Random, attempt: str) -> None:
    path = rng.choice(["/raise", "/nothing"])
    response = await connection.request("GET", path, headers=[("x-attempt", attempt)])
    expect(response.status == 500, f"status {response.status} of a handler that raised")


async def raises_late(connection: ClientConnection, rng: random.Random, attempt: str) -> None:
    await _reset_by_server(connection, "/raiselate", attempt, ErrorCodes.INTERNAL_ERROR)


async def reset(connection: ClientConnection, rng: random.Random, attempt: str) -> None:
    await _reset_by_server(connection, "/reset", attempt, ErrorCodes.CONNECT_ERROR)


async def _reset_by_server(connection: ClientConnection, path: str, attempt: str, code: ErrorCodes) -> None:
    try:
        await connection.request("GET", path, headers=[("x-attempt", attempt)])
    except StreamResetError as error:
        if error.initiator != "remote" or error.error_code != code:
            raise
    else:
        raise WrongAnswer("a stream that the handler reset looks complete")


async def leave(connection: ClientConnection, rng: random.Random, attempt: str) -> None:
    """A client that has seen enough, or resets the stream itself."""
    async with connection.stream("GET", "/download/1/1000000", headers=[("x-attempt", attempt)]) as stream:
        await stream.receive_some(1)
        if rng.random() < 0.5:
            await stream.reset(ErrorCodes.INTERNAL_ERROR)


async def never(connection: ClientConnection, rng: random.Random, attempt: str) -> None:
    """Cancelled here, after a while: the handler never answers."""
    with trio.move_on_after(rng.expovariate(5)):
        await connection.request("GET", "/never", headers=[("x-attempt", attempt)])


async def read_push(stream: ClientStream, path: str) -> None:
    """Read a pushed response to `/small/NUMBER/SIZE`."""
    number, size = map(int, path.split("/")[2:])
    got = bytearray()
    async with stream:
        async for chunk in stream:
            got += chunk
    expect(got == b"".join(pieces(number, size, size)), "the body of a push")


KINDS: dict[Kind, float] = {
    small: 50,
    browser: 8,
    interim: 3,
    upload: 8,
    download: 8,
    slow_reader: 2,
    echo: 5,
    chat: 2,
    drip: 2,
    events: 3,
    push: 4,
    early: 3,
    raises: 3,
    raises_late: 3,
    reset: 3,
    leave: 3,
    never: 3,
}
"""With how often each is made."""

OWN_CANCELS = 0.08
"""Share of all requests that are cancelled at some moment, whatever they are."""


def choose(rng: random.Random, *, pushes: bool) -> Kind:
    """A kind of request; pushes only where the client has asked for them."""
    while True:
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        if pushes or kind is not push:
            return kind
