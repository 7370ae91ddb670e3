"""What a Trace is told of requests and responses, what it may add to them, and in whose context it is called."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
import trio
import trio.testing

import trio_h2
from tests.engine.helpers import GET, OK, client_and_server, hello, raw_client, raw_server, serving
from tests.engine.recording import Recording
from trio_h2 import Config, ErrorCodes, Headers, HeadersLike, NeverIndexed, SettingCodes

who: ContextVar[str] = ContextVar("who", default="nobody")


class Adding(trio_h2.Trace):
    """Sends fields with every request; `who` of its caller's context if no others are given."""

    def __init__(self, fields: Any = None) -> None:
        self.fields = fields
        self.seen: list[tuple[int, Headers]] = []

    def request_made(self, connection: object, number: int, headers: Headers) -> HeadersLike | None:
        self.seen.append((number, headers))
        return [("x-who", who.get())] if self.fields is None else self.fields


async def echo(stream: trio_h2.ServerStream) -> None:
    """Answers with the fields of the request."""
    lines = [f"{name}={value}" for name, value in stream.request.headers.items()]
    await stream.respond(200, body="\n".join(lines).encode())


# Fields of the trace's own


async def test_a_trace_adds_fields_to_requests_and_streams_from_the_context_of_their_caller() -> None:
    trace = Adding()
    async with client_and_server(echo, trace=trace) as pair:
        token = who.set("a caller")
        assert (await pair.client.request("GET", "/")).body == b"x-who=a caller"
        who.reset(token)
        async with pair.client.stream("GET", "/") as stream:
            assert await stream.read() == b"x-who=nobody"
    assert [number for number, _ in trace.seen] == [-1, -2]
    assert trace.seen[0][1].items() == [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "example.org"),
        (":path", "/"),
    ]


async def test_a_pool_asks_for_every_try() -> None:
    trace = Adding()
    refused = 0

    async def handler(stream: trio_h2.ServerStream) -> None:
        nonlocal refused
        if not refused:
            refused += 1
            await stream.reset(ErrorCodes.REFUSED_STREAM)
        else:
            await echo(stream)

    async with serving(handler) as (server, listener, _):

        async def open_stream(host: str, port: int) -> trio.abc.Stream:
            return listener.connect()

        async with trio_h2.open_pool(open_stream=open_stream, trace=trace) as pool:
            who.set("a caller")
            assert (await pool.request("GET", "http://example.org/")).body == b"x-who=a caller"
        await server.shutdown()
    assert [number for number, _ in trace.seen] == [-1, -2]


async def test_the_context_is_the_callers_also_where_it_waits_for_a_slot(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(1)
        await echo(stream)

    bodies = []
    async with client_and_server(handler, trace=Adding(), server_config=Config(max_concurrent_streams=1)) as pair:
        await pair.client.settings_received()

        async def get(name: str) -> None:
            who.set(name)
            bodies.append((await pair.client.request("GET", "/")).body)

        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(get, name)
    assert sorted(bodies) == [b"x-who=a", b"x-who=b", b"x-who=c"]


async def test_its_fields_stand_for_those_of_the_same_names() -> None:
    headers = [("x-a", "1"), ("x-b", "2"), ("x-a", "3")]
    opened = Recording()

    class Both(Recording):
        def request_made(self, connection: trio_h2.Connection, number: int, headers: Headers) -> HeadersLike | None:
            super().request_made(connection, number, headers)
            return {"X-A": "4", "x-c": "5"}

    opened = Both()
    async with client_and_server(echo, trace=opened) as pair:
        for _ in range(2):  # what is remembered of the request is the user's alone
            response = await pair.client.request("GET", "/", headers=headers)
            assert response.body == b"x-b=2\nx-a=4\nx-c=5"
    assert headers == [("x-a", "1"), ("x-b", "2"), ("x-a", "3")]
    [_, (_, sent)] = opened.arguments("stream_opened")
    assert sent.items()[4:] == [("x-b", "2"), ("x-a", "4"), ("x-c", "5")]
    assert opened.arguments("request_made")[1][1].items()[4:] == headers
    opened.check()


async def test_its_secrets_stay_secrets() -> None:
    trace = Recording()
    fields = [NeverIndexed("x-key", "sesame")]
    async with client_and_server(echo, trace=Adding(fields), server_trace=trace) as pair:
        await pair.client.request("GET", "/")
    [(_, headers)] = trace.arguments("stream_opened")
    assert "sesame" not in repr(headers)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ([(":path", "/other")], "ValueError: request_made: ':path' is a pseudo-header field"),
        ([("x-who", "\N{EURO SIGN}")], "ValueError: request_made: x-who must be ASCII"),
        ([("x who", "a")], "ValueError: request_made: "),
        ([("connection", "close")], "ValueError: request_made: 'connection' is connection-specific"),
        ([("content-length", "3")], "ValueError: request_made: content-length and host are the request's own"),
        ([("host", "example.net")], "ValueError: request_made: host differs"),
        (7, "TypeError: request_made must be a mapping or an iterable of pairs, not int"),
        (["x"], "TypeError: request_made[0] must be a (name, value) pair, not str"),
    ],
)
async def test_fields_that_make_no_request_switch_the_trace_off_and_the_request_goes_without(
    fields: Any, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    trace = Adding(fields)
    async with client_and_server(echo, trace=trace) as pair:
        for _ in range(2):
            assert (await pair.client.request("GET", "/", headers=[("a", "b")])).body == b"a=b"
    assert len(trace.seen) == 1
    [record] = caplog.records
    assert record.getMessage() == "Adding.request_made raised: that trace is switched off"
    assert record.exc_info is not None
    assert f"{record.exc_info[0].__name__}: {record.exc_info[1]}".startswith(error)  # type: ignore[union-attr]


# What becomes of a request


async def test_a_request_that_is_made_is_settled_before_its_stream_is_opened() -> None:
    trace = Recording()
    async with client_and_server(hello, trace=trace) as pair:
        await pair.client.request("GET", "/")
    names = ("request_made", "request_settled", "stream_opened")
    assert [call[:2] for call in trace.of(*names)] == [
        ("request_made", -1),
        ("request_settled", -1),
        ("stream_opened", 1),
    ]
    assert trace.arguments("request_settled") == [(-1, 1, None)]
    trace.check()


async def test_a_request_that_waits_is_settled_with_why_it_never_got_a_stream() -> None:
    trace = Recording()
    errors: list[trio_h2.H2Error] = []
    async with raw_server(trace=trace, settings={SettingCodes.MAX_CONCURRENT_STREAMS: 0}) as (connection, peer):
        await peer.sync()

        async def get() -> None:
            try:
                await connection.request("GET", "/")
            except trio_h2.ConnectionTerminatedError as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(get)
            nursery.start_soon(get)
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(peer.goaway(0))
    settled = trace.arguments("request_settled")
    assert [(number, stream_id) for number, stream_id, _ in settled] == [(-1, None), (-2, None)]
    assert [str(error) for *_, error in settled] == [str(error) for error in errors]
    assert trace.arguments("stream_opened") == []
    trace.check()


async def test_a_trace_that_looks_at_their_ends_alone_has_the_numbers_too() -> None:
    class Ends(trio_h2.Trace):
        def __init__(self) -> None:
            self.ends: list[tuple[object, ...]] = []

        def request_settled(self, connection: object, *arguments: object) -> None:
            self.ends.append(arguments)

    trace = Ends()
    async with client_and_server(hello, trace=trace) as pair:
        await pair.client.request("GET", "/")
    assert trace.ends == [(-1, 1, None)]


# Handlers


async def test_what_a_trace_sets_before_a_handler_is_in_the_handlers_context(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Naming(trio_h2.Trace):
        def handler_began(self, connection: object, stream_id: int) -> None:
            who.set(f"the handler of {stream_id}")

    seen = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        seen.append((stream.stream_id, who.get()))
        await trio.sleep(1)
        await stream.respond(200)

    async with client_and_server(handler, server_trace=Naming()) as pair:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(pair.client.request, "GET", "/")
    assert sorted(seen) == [(stream_id, f"the handler of {stream_id}") for stream_id in (1, 3, 5)]
    assert who.get() == "nobody"


@pytest.mark.parametrize("limit", [1, 100])
async def test_handlers_see_nothing_of_each_others_context(limit: int, autojump_clock: trio.testing.MockClock) -> None:
    """Nor where the one began when the other's end gave it its permit."""
    seen = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        seen.append(who.get())
        who.set("a handler")
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        await stream.respond(200)

    async with raw_client(handler, config=Config(max_concurrent_streams=limit)) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True), peer.rst(1, ErrorCodes.CANCEL))
        await peer.send(peer.headers(3, GET, end_stream=True))
        await peer.sync()
        await trio.sleep(3)
    assert seen == ["nobody", "nobody"]


async def test_a_handler_that_never_starts_or_comes_too_late_is_not_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    trace = Recording()

    async def handler(stream: trio_h2.ServerStream) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)

    async with raw_client(handler, config=Config(max_concurrent_streams=1), trace=trace) as peer:
        await peer.send(peer.headers(1, GET, end_stream=True))
        await peer.sync()
        await peer.send(peer.rst(1, ErrorCodes.CANCEL), peer.headers(3, GET, end_stream=True))
        await peer.sync()
        await peer.send(peer.rst(3, ErrorCodes.CANCEL))
        await peer.sync()
        # In one read, so that it is over before its task has had a turn.
        await trio.sleep(20)
        await peer.send(peer.headers(5, GET, end_stream=True) + peer.rst(5, ErrorCodes.CANCEL))
        await peer.sync()
    assert trace.arguments("handler_began") == [(1,)]
    assert [stream_id for stream_id, _ in trace.arguments("stream_opened")] == [1, 3, 5]
    trace.check()


# Responses


def responses(trace: Recording) -> list[tuple[int, int]]:
    """The stream and the status of each response."""
    return [(stream_id, status) for stream_id, status, _ in trace.arguments("response_began")]


async def in_pieces(stream: trio_h2.ServerStream) -> None:
    await stream.send_informational(103, headers=[("link", "</a>")])
    await stream.send_response(204, headers=[("x-a", "b")])


async def whole(stream: trio_h2.ServerStream) -> None:
    await stream.respond(404, headers=[("x-a", "b")], body=b"no such thing")


async def large(stream: trio_h2.ServerStream) -> None:
    await stream.respond(200, headers=[("x-a", "b")], body=bytes(200_000))


@pytest.mark.parametrize(("handler", "statuses"), [(in_pieces, [103, 204]), (whole, [404]), (large, [200])])
async def test_both_sides_are_told_of_responses(handler: Callable[..., Any], statuses: list[int]) -> None:
    client, server = Recording(), Recording()
    async with client_and_server(handler, trace=client, server_trace=server) as pair:
        await pair.client.request("GET", "/")
    for trace in (client, server):
        assert responses(trace) == [(1, status) for status in statuses]
        headers = trace.arguments("response_began")[-1][2]
        assert headers.items()[:2] == [(":status", str(statuses[-1])), ("x-a", "b")]
        trace.check()


async def raises(stream: trio_h2.ServerStream) -> None:
    raise ValueError("a bug")


async def says_nothing(stream: trio_h2.ServerStream) -> None:
    pass


async def reads(stream: trio_h2.ServerStream) -> None:
    await stream.read(max_body=3)


async def asks_for_it(stream: trio_h2.ServerStream) -> None:
    await stream.respond(200, body=await stream.read())


@pytest.mark.parametrize(
    ("handler", "expect", "statuses"),
    [(raises, "", [500]), (says_nothing, "", [500]), (reads, "", [413]), (asks_for_it, "100-continue", [100, 200])],
)
async def test_so_are_those_that_the_library_makes(
    handler: Callable[..., Any], expect: str, statuses: list[int]
) -> None:
    client, server = Recording(), Recording()
    async with client_and_server(handler, trace=client, server_trace=server) as pair:
        headers = [("expect", expect)] if expect else []
        response = await pair.client.request("POST", "/", headers=headers, body=b"four")
        assert response.status == statuses[-1]
    assert responses(client) == responses(server) == [(1, status) for status in statuses]


async def test_pushed_responses_are_told_with_their_streams() -> None:
    client, server = Recording(), Recording()

    async def handler(stream: trio_h2.ServerStream) -> None:
        pushed = await stream.push("/pushed")
        await pushed.respond(202)
        await stream.respond(200)

    config = Config(enable_push=True)
    async with client_and_server(handler, config=config, trace=client, server_trace=server) as pair:
        async with pair.client.stream("GET", "/") as stream:
            async for pushed in pair.client.pushes():
                async with pushed:
                    await pushed.response()
                break
            await stream.response()
    for trace in (client, server):
        assert sorted(responses(trace)) == [(1, 200), (2, 202)]
        trace.check()


async def test_rfc9113_8_3_2_a_malformed_response_is_not_told() -> None:
    trace = Recording()
    async with raw_server(trace=trace) as (connection, peer):
        async with connection.stream("GET", "/") as stream:
            await peer.send(peer.headers(1, [(":status", "none")]))
            with pytest.raises(trio_h2.StreamResetError):
                await stream.response()
        async with connection.stream("GET", "/") as stream:
            await peer.send(peer.headers(3, OK, end_stream=True))
            await stream.response()
    assert responses(trace) == [(3, 200)]
    trace.check()


async def test_a_line_for_each_response_and_no_secret_in_it(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, headers=[("set-cookie", "sesame"), ("x-a", "b")])

    logger = logging.getLogger("tests.trace_requests")
    with caplog.at_level(logging.DEBUG, logger=logger.name):
        async with client_and_server(handler, server_trace=trio_h2.LogTrace(logger)) as pair:
            await pair.client.request("GET", "/")
    lines = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert "the handler of stream 1 begins" in lines
    [line] = [line for line in lines if line.startswith("stream 1 answered: ")]
    assert line.startswith('stream 1 answered: :status="200" set-cookie=(hidden) x-a="b"')
