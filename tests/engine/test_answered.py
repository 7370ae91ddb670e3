"""`ServerStream.status`: what was answered, whoever answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from hyperframe.frame import HeadersFrame, RstStreamFrame
from trio.testing import MockClock

import trio_h2
from tests.engine.helpers import CONNECT, GET, POST, of, raw_client

HEAD = ((":method", "HEAD"), *GET[1:])
Fields = tuple[tuple[str, str], ...]
Answer = Callable[[trio_h2.ServerStream], Awaitable[object]]


async def status_of(answer: Answer, request: Fields = GET, body: bytes = b"") -> tuple[int | None, list[int]]:
    """What `status` says of a stream when its handler has ended, and each status that the client saw."""
    streams = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        streams.append(stream)
        assert stream.status is None
        await answer(stream)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, request, end_stream=not body and request is not CONNECT))
        if body:
            await peer.send(peer.data(1, body, end_stream=True))
        frames = await peer.sync()
        sections = [dict(frame.fields) for frame in of(frames, HeadersFrame, 1)]
        return streams[0].status, [int(fields[b":status"]) for fields in sections if b":status" in fields]


async def interim_and_final(stream: trio_h2.ServerStream) -> None:
    await stream.send_informational(103)
    assert stream.status is None
    await stream.send_response(404)
    assert stream.status == 404
    await stream.send_all(b"body")
    await stream.send_trailers([("x", "1")])


async def twice(stream: trio_h2.ServerStream) -> None:
    await stream.respond(201, [], b"body")
    with pytest.raises(trio_h2.H2Error):
        await stream.respond(202, [], b"body")


async def refused(stream: trio_h2.ServerStream) -> None:
    with pytest.raises(ValueError, match="204"):
        await stream.respond(204, [], b"body")
    with pytest.raises(ValueError, match="connection"):
        await stream.send_response(200, [("connection", "close")])
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.respond(200, [], b"body")
    assert stream.status is None
    await stream.respond(500)


async def interim_and_reset(stream: trio_h2.ServerStream) -> None:
    await stream.send_informational(103)
    await stream.reset()


@pytest.mark.parametrize("request_fields", [GET, HEAD], ids=["GET", "HEAD"])
@pytest.mark.parametrize(
    ("answer", "statuses"),
    [
        (lambda stream: stream.respond(200, [], b"body"), [200]),
        (lambda stream: stream.respond(200, [], bytearray(b"body")), [200]),
        (lambda stream: stream.respond(304, [], b"body"), [304]),
        (lambda stream: stream.send_response(204, end_stream=True), [204]),
        (interim_and_final, [103, 404]),
        (twice, [201]),
        (refused, [500]),
    ],
    ids=["at once", "after a checkpoint", "304", "204", "interim and final", "twice", "refused"],
)
async def test_status_is_that_of_the_final_response(
    answer: Answer, statuses: list[int], request_fields: Fields, autojump_clock: MockClock
) -> None:
    assert await status_of(answer, request_fields) == (statuses[-1], statuses)


@pytest.mark.parametrize("status", [200, 403])
async def test_status_of_a_tunnel(status: int, autojump_clock: MockClock) -> None:
    assert await status_of(lambda stream: stream.send_response(status), CONNECT) == (status, [status])


async def test_status_of_the_500_that_the_library_made(autojump_clock: MockClock) -> None:
    async def nothing(stream: trio_h2.ServerStream) -> None:
        pass

    async def failing(stream: trio_h2.ServerStream) -> None:
        raise ValueError("a bug of the handler's")

    assert await status_of(nothing) == (500, [500])
    assert await status_of(failing) == (500, [500])


async def test_what_stands_around_a_handler_knows_what_was_answered(autojump_clock: MockClock) -> None:
    """The example of docs/servers.md."""
    lines = []

    def around(handler: Answer) -> Answer:
        async def answer(stream: trio_h2.ServerStream) -> None:
            try:
                await handler(stream)
            except Exception as error:
                if stream.status is None:
                    await stream.respond(413 if isinstance(error, trio_h2.RequestTooLargeError) else 500)
                raise
            finally:
                lines.append(stream.status)

        return answer

    async def failing_early(stream: trio_h2.ServerStream) -> None:
        raise ValueError("a bug of the handler's")

    async def failing_late(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(203)
        raise ValueError("a bug of the handler's")

    assert await status_of(around(lambda stream: stream.read(max_body=0)), POST, body=b"body") == (413, [413])
    assert await status_of(around(failing_early)) == (500, [500])
    assert await status_of(around(failing_late)) == (203, [203])
    assert await status_of(around(lambda stream: stream.respond(204))) == (204, [204])
    assert lines == [413, 500, 203, 204]


async def test_status_stays_none_where_nothing_was_answered(autojump_clock: MockClock) -> None:
    assert await status_of(lambda stream: stream.reset()) == (None, [])
    assert await status_of(lambda stream: stream.aclose()) == (None, [])
    assert await status_of(interim_and_reset) == (None, [103])


async def test_status_of_a_pushed_response(autojump_clock: MockClock) -> None:
    seen = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        pushed = await stream.push("/pushed")
        seen.append((pushed.status, stream.status))
        await pushed.respond(203, [], b"body")
        seen.append((pushed.status, stream.status))
        await stream.respond(200)
        seen.append((pushed.status, stream.status))

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
    assert seen == [(None, None), (203, None), (203, 200)]


async def test_status_is_kept_when_the_client_resets_the_stream(autojump_clock: MockClock) -> None:
    statuses = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        try:
            await stream.receive_some()
        finally:
            statuses.append(stream.status)

    async with raw_client(handler) as peer:
        await peer.send(peer.headers(1, POST))
        await peer.sync()
        await peer.send(peer.rst(1))
        assert of(await peer.sync(), RstStreamFrame) == []
    assert statuses == [200]
