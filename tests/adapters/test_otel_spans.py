"""`OTelTrace`: requests as spans, on both sides, by OpenTelemetry's semantic conventions for HTTP."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from opentelemetry import baggage, propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

import trio_h2
from tests.adapters.telemetry import Telemetry
from tests.engine.helpers import GET, OK, client_and_server, hello, raw_client, raw_server, serving
from trio_h2 import Config, ErrorCodes, SettingCodes
from trio_h2.adapters.otel import OTelTrace, set_route


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


def status(span: ReadableSpan) -> tuple[StatusCode, str | None]:
    return span.status.status_code, span.status.description


UNSET = StatusCode.UNSET, None

# A request and its two spans


async def test_a_request_is_a_span_on_both_sides_and_the_clients_is_the_parent(telemetry: Telemetry) -> None:
    async with client_and_server(hello, trace=telemetry.trace, server_trace=telemetry.trace) as pair:
        with telemetry.tracer.start_as_current_span("mine") as mine:
            await pair.client.request("GET", "/here?a=b", headers=[("user-agent", "tests/1")])
    client, server = telemetry.span(SpanKind.CLIENT), telemetry.span(SpanKind.SERVER)
    assert (client.name, server.name) == ("GET", "GET")
    assert client.parent is not None
    assert client.parent.span_id == mine.get_span_context().span_id
    assert server.parent is not None
    assert server.parent.is_remote
    assert (server.parent.trace_id, server.parent.span_id) == (client.context.trace_id, client.context.span_id)
    common = {
        "http.request.method": "GET",
        "network.protocol.name": "http",
        "network.protocol.version": "2",
        "server.address": "example.org",
        "server.port": 80,
        "user_agent.original": "tests/1",
        "http.response.status_code": 200,
    }
    assert dict(client.attributes or {}) == common | {"url.full": "http://example.org/here?a=b"}
    assert dict(server.attributes or {}) == common | {"url.scheme": "http", "url.path": "/here", "url.query": "a=b"}
    assert status(client) == status(server) == UNSET
    scope = client.instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.version) == ("trio_h2", trio_h2.__version__)


class Delicate(SpanProcessor):
    """It stumbles over some requests."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if "/start" in str(span.attributes):
            raise LookupError("start")

    def on_end(self, span: ReadableSpan) -> None:
        if "/end" in str(span.attributes):
            raise LookupError("end")


async def test_what_is_plugged_in_and_raises_costs_one_span(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def extract(carrier: trio_h2.Headers, **others: Any) -> Context:
        if carrier[":path"] == "/propagate":
            raise LookupError("propagate")
        return Context()

    monkeypatch.setattr(propagate, "extract", extract)
    telemetry.tracers.add_span_processor(Delicate())
    paths = ["/start", "/end", "/propagate", "/"]
    async with client_and_server(hello, trace=telemetry.trace, server_trace=telemetry.trace) as pair:
        for path in paths:
            assert (await pair.client.request("GET", path)).body == b"hello"
    assert telemetry.broken == []
    assert [record.getMessage() for record in caplog.records] == [
        "a plug-in of OpenTelemetry's SDK raised: a span, or its parent, is lost; this is said once"
    ]
    served = [str((span.attributes or {})["url.path"]) for span in telemetry.spans(SpanKind.SERVER)]
    assert served == ["/end", "/propagate", "/"]  # what keeps them came before what stumbles over one
    assert [point.count for point in telemetry.metrics()["http.server.request.duration"]] == [len(paths)]
    assert set(telemetry.values("http.server.active_requests").values()) == {0}


async def test_what_a_propagator_writes_that_cannot_be_sent_is_left_out(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Names become lower-case ones, the odd are dropped, said once, and everything else of the trace goes on."""
    written = {
        "uberctx-UserId": "42",
        "uber-trace-id": "1:2:0:1",
        "uberctx-who is it": "a secret",
        "uberctx-näme": "x",
        "uberctx-": "",
        "x-line": "two\nlines",
        "x-space": " around ",
        "x-text": "tëxt",
        ":path": "/other",
        "Content-Length": "7",
        "connection": "close",
    }

    def inject(carrier: dict[str, str], **others: Any) -> None:
        carrier.update(written)

    monkeypatch.setattr(propagate, "inject", inject)
    came: list[trio_h2.Headers] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        came.append(stream.request.headers)
        await stream.respond(204)

    async with client_and_server(handler, trace=telemetry.trace) as pair:
        for _ in range(2):
            assert (await pair.client.request("GET", "/")).status == 204
    assert [dict(headers) for headers in came] == 2 * [
        {"uberctx-userid": "42", "uber-trace-id": "1:2:0:1", "uberctx-": ""}
    ]
    assert telemetry.broken == []
    assert len(telemetry.spans(SpanKind.CLIENT)) == 2
    [record] = caplog.records
    assert (record.levelname, "a secret" in record.getMessage()) == ("WARNING", False)
    assert "'uberctx-who is it'" in record.getMessage()


async def test_over_tcp_with_connect_and_serve_h2(telemetry: Telemetry) -> None:
    async with trio.open_nursery() as nursery:
        serve = partial(trio_h2.serve_h2, hello, 0, host="127.0.0.1", trace=telemetry.trace)
        server = await nursery.start(serve)
        async with trio_h2.connect(f"http://localhost:{server.port}", trace=telemetry.trace) as connection:
            await connection.request("GET", "/")
            address, port = connection.local_address[:2]
        await server.shutdown()
    client, served = telemetry.span(SpanKind.CLIENT), telemetry.span(SpanKind.SERVER)
    assert served.parent is not None
    assert served.parent.span_id == client.context.span_id
    assert client.attributes is not None
    assert served.attributes is not None
    for span in (client, served):
        assert span.attributes is not None
        assert (span.attributes["server.address"], span.attributes["server.port"]) == ("localhost", server.port)
    assert (client.attributes["network.peer.address"], client.attributes["network.peer.port"]) == (
        "127.0.0.1",
        server.port,
    )
    assert (served.attributes["network.peer.address"], served.attributes["network.peer.port"]) == (address, port)
    assert served.attributes["client.address"] == address


async def test_a_pool_makes_a_span_for_each_try(telemetry: Telemetry) -> None:
    tries = 0

    async def handler(stream: trio_h2.ServerStream) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            await stream.reset(ErrorCodes.REFUSED_STREAM)
        else:
            await stream.respond(200)

    async with serving(handler, trace=telemetry.trace) as (server, listener, _):

        async def open_stream(host: str, port: int) -> trio.abc.Stream:
            return listener.connect()

        async with trio_h2.open_pool(open_stream=open_stream, trace=telemetry.trace) as pool:
            with telemetry.tracer.start_as_current_span("mine") as mine:
                await pool.request("GET", "http://example.org/")
        await server.shutdown()
    clients = telemetry.spans(SpanKind.CLIENT)
    assert [span.parent.span_id for span in clients if span.parent] == [mine.get_span_context().span_id] * 2
    assert [dict(span.attributes or {}).get("error.type") for span in clients] == ["REFUSED_STREAM", None]
    assert {span.parent.span_id for span in telemetry.spans(SpanKind.SERVER) if span.parent} == {
        span.context.span_id for span in clients
    }


# Whose child a span is


async def test_a_servers_span_is_current_in_its_handler_and_in_what_that_starts(
    telemetry: Telemetry, autojump_clock: trio.testing.MockClock
) -> None:
    async def work(name: str) -> None:
        with telemetry.tracer.start_as_current_span(name):
            await trio.sleep(1)

    async def handler(stream: trio_h2.ServerStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, f"of {stream.stream_id}")
        await stream.respond(200)

    async with client_and_server(handler, server_trace=telemetry.trace) as pair:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(pair.client.request, "GET", "/")
    servers = {span.context.span_id: span for span in telemetry.spans(SpanKind.SERVER)}
    children = telemetry.spans(SpanKind.INTERNAL)
    assert sorted(span.name for span in children) == ["of 1", "of 3", "of 5"]
    assert {span.parent.span_id for span in children if span.parent} == set(servers)
    assert not trace.get_current_span().get_span_context().is_valid


async def test_each_of_many_tasks_has_its_own_parent_also_where_it_waits_for_a_slot(
    telemetry: Telemetry, autojump_clock: trio.testing.MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(1)
        await stream.respond(200)

    config = Config(max_concurrent_streams=1)
    async with client_and_server(handler, trace=telemetry.trace, server_config=config) as pair:
        await pair.client.settings_received()

        async def get(path: str) -> None:
            with telemetry.tracer.start_as_current_span(path):
                await pair.client.request("GET", path)

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(get, f"/{number}")
    parents = {span.context.span_id: span.name for span in telemetry.spans(SpanKind.INTERNAL)}
    for span in telemetry.spans(SpanKind.CLIENT):
        assert span.parent is not None
        assert dict(span.attributes or {})["url.full"] == f"http://example.org{parents[span.parent.span_id]}"


async def test_a_server_that_was_started_in_a_span_makes_no_children_of_it(telemetry: Telemetry) -> None:
    with telemetry.tracer.start_as_current_span("the program"):
        async with raw_client(hello, trace=telemetry.trace) as peer:
            await peer.send(peer.headers(1, GET, end_stream=True))
            await peer.sync()
    assert telemetry.span(SpanKind.SERVER).parent is None


async def test_what_came_as_baggage_is_in_the_handlers_context_and_goes_on(telemetry: Telemetry) -> None:
    seen: list[object] = []

    async def last(stream: trio_h2.ServerStream) -> None:
        seen.append(baggage.get_baggage("user"))
        await stream.respond(200)

    async with AsyncExitStack() as stack:
        behind = await stack.enter_async_context(
            client_and_server(last, trace=telemetry.trace, server_trace=telemetry.trace)
        )

        async def first(stream: trio_h2.ServerStream) -> None:
            # As a proxy does it: with the fields that came, `traceparent` among them.
            await behind.client.request("GET", "/behind", headers=stream.request.headers)
            await stream.respond(200)

        front = await stack.enter_async_context(client_and_server(first, server_trace=telemetry.trace))
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        headers = [("traceparent", parent), ("tracestate", "a=b,c=d"), ("baggage", "user=alice")]
        await front.client.request("GET", "/", headers=headers)
    assert seen == ["alice"]
    outer, inner = sorted(telemetry.spans(SpanKind.SERVER), key=lambda span: span.start_time or 0)
    client = telemetry.span(SpanKind.CLIENT)
    chain = [format(span.parent.span_id, "016x") for span in (outer, client, inner) if span.parent]
    assert chain == [
        "b7ad6b7169203331",
        *(format(span.context.span_id, "016x") for span in (outer, client)),
    ]
    assert {format(span.context.trace_id, "032x") for span in (outer, client, inner)} == {parent[3:35]}
    assert inner.context.trace_state.to_header() == "a=b,c=d"


async def test_a_request_that_is_not_sampled_says_so_to_its_server() -> None:
    telemetry = Telemetry(sampled=False)
    seen: list[str] = []

    async def handler(stream: trio_h2.ServerStream) -> None:
        seen.append(stream.request.headers["traceparent"])
        await stream.respond(200)

    async with client_and_server(handler, trace=telemetry.trace, server_trace=telemetry.trace) as pair:
        await pair.client.request("GET", "/")
    assert [int(parent[-2:], 16) & 1 for parent in seen] == [0]
    assert telemetry.spans() == []


async def test_a_handlers_route_is_in_the_spans_name(telemetry: Telemetry) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        set_route("/users/{id}")
        await stream.respond(200)

    async with client_and_server(handler, server_trace=telemetry.trace) as pair:
        await pair.client.request("GET", "/users/7")
    span = telemetry.span(SpanKind.SERVER)
    assert (span.name, dict(span.attributes or {})["http.route"]) == ("GET /users/{id}", "/users/{id}")


async def test_without_a_trace_a_route_is_of_no_account() -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        set_route("/")
        with pytest.raises(TypeError, match=r"^route must be a str, not int$"):
            set_route(7)  # type: ignore[arg-type]
        await stream.respond(200)

    async with client_and_server(handler) as pair:
        assert (await pair.client.request("GET", "/")).status == 200


# How requests end


@pytest.mark.parametrize(
    ("code", "client", "server"),
    [
        (204, UNSET, UNSET),
        (302, UNSET, UNSET),
        (404, (StatusCode.ERROR, None), UNSET),
        (503, (StatusCode.ERROR, None), (StatusCode.ERROR, None)),
    ],
)
async def test_a_status_is_an_error_from_400_on_to_clients_and_from_500_on_to_servers(
    telemetry: Telemetry, code: int, client: tuple[StatusCode, str | None], server: tuple[StatusCode, str | None]
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_informational(103)
        await stream.respond(code)

    async with client_and_server(handler, trace=telemetry.trace, server_trace=telemetry.trace) as pair:
        await pair.client.request("GET", "/")
    for kind, expected in ((SpanKind.CLIENT, client), (SpanKind.SERVER, server)):
        span = telemetry.span(kind)
        attributes = dict(span.attributes or {})
        assert status(span) == expected
        assert attributes["http.response.status_code"] == code
        assert attributes.get("error.type") == (str(code) if expected != UNSET else None)


async def test_a_handler_that_raises_is_a_500(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        raise ValueError("a bug")

    async with client_and_server(handler, server_trace=telemetry.trace) as pair:
        await pair.client.request("POST", "/", body=b"unread")
    span = telemetry.span(SpanKind.SERVER)
    assert dict(span.attributes or {})["error.type"] == "500"
    assert status(span) == (StatusCode.ERROR, None)


@pytest.mark.parametrize("leaves_first", ["client", "server"])
async def test_rfc9113_8_1_an_answer_before_the_end_of_the_request_is_no_error(
    leaves_first: str, telemetry: Telemetry, autojump_clock: trio.testing.MockClock
) -> None:
    """Whoever of the two resets what is left of the request, and with which code."""

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, body=b"enough")
        if leaves_first == "client":
            await trio.sleep(10)

    async with client_and_server(handler, trace=telemetry.trace, server_trace=telemetry.trace) as pair:
        async with pair.client.stream("POST", "/") as stream:
            assert await stream.read() == b"enough"
            if leaves_first == "server":
                await trio.sleep(10)
    assert [status(span) for span in telemetry.spans()] == [UNSET, UNSET]


async def reset_by_client(client: trio_h2.ClientConnection) -> None:
    async with client.stream("GET", "/wait") as stream:
        await stream.reset(ErrorCodes.INTERNAL_ERROR)


async def cancelled(client: trio_h2.ClientConnection) -> None:
    with trio.move_on_after(1):
        await client.request("GET", "/wait")


async def refused(client: trio_h2.ClientConnection) -> None:
    with pytest.raises(trio_h2.StreamResetError):
        await client.request("GET", "/refuse")


@pytest.mark.parametrize(
    ("end", "kind"),
    [(reset_by_client, "INTERNAL_ERROR"), (cancelled, "CANCEL"), (refused, "REFUSED_STREAM")],
)
async def test_a_request_that_is_cut_short_is_an_error_with_the_name_of_its_code(
    end: Callable[[trio_h2.ClientConnection], Any],
    kind: str,
    telemetry: Telemetry,
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        if stream.request.path == "/refuse":
            await stream.reset(ErrorCodes.REFUSED_STREAM)
        else:
            await trio.sleep_forever()

    async with client_and_server(handler, trace=telemetry.trace, server_trace=telemetry.trace) as pair:
        await end(pair.client)
        await trio.testing.wait_all_tasks_blocked()
        for side in (SpanKind.CLIENT, SpanKind.SERVER):
            span = telemetry.span(side)
            assert dict(span.attributes or {})["error.type"] == kind
            assert span.status.status_code is StatusCode.ERROR
            assert span.status.description is not None
            assert kind in span.status.description


@pytest.mark.parametrize("code", [12, 0xDEADBEEF])
async def test_a_peer_makes_up_no_kinds_of_errors(code: int, telemetry: Telemetry) -> None:
    async with raw_server(trace=telemetry.trace) as (connection, peer):
        async with connection.stream("GET", "/") as stream:
            await peer.send(peer.rst(1, code) if code > 12 else peer.goaway(0, code))
            with pytest.raises(trio_h2.H2Error):
                await stream.response()
    known = "trio_h2.StreamResetError" if code > 12 else "trio_h2.ConnectionTerminatedError"
    assert dict(telemetry.span(SpanKind.CLIENT).attributes or {})["error.type"] == known


async def test_a_request_that_never_got_a_stream_is_a_span_too(
    telemetry: Telemetry, autojump_clock: trio.testing.MockClock
) -> None:
    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 0}
    async with raw_server(trace=telemetry.trace, settings=settings) as (connection, peer):
        await peer.sync()
        with trio.move_on_after(1):
            await connection.request("GET", "/given-up")

        async def lost() -> None:
            with pytest.raises(trio_h2.ConnectionTerminatedError):
                await connection.request("GET", "/lost")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lost)
            await trio.testing.wait_all_tasks_blocked()
            await peer.send(peer.goaway(0))
    kinds = [dict(span.attributes or {})["error.type"] for span in telemetry.spans(SpanKind.CLIENT)]
    assert kinds == ["CANCEL", "trio_h2.ConnectionTerminatedError"]


async def test_a_span_ends_when_its_stream_does_and_not_when_the_headers_come(telemetry: Telemetry) -> None:
    async with raw_server(trace=telemetry.trace) as (connection, peer):
        async with connection.stream("GET", "/") as stream:
            await peer.send(peer.headers(1, OK))
            await stream.response()
            assert telemetry.spans() == []
            await peer.send(peer.data(1, b"all", end_stream=True))
            assert await stream.read() == b"all"
        await trio.testing.wait_all_tasks_blocked()
        assert len(telemetry.spans()) == 1


async def test_pushed_responses_have_no_spans(telemetry: Telemetry) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        pushed = await stream.push("/pushed")
        await pushed.respond(200)
        await stream.respond(200)

    config = Config(enable_push=True)
    async with client_and_server(handler, config=config, trace=telemetry.trace, server_trace=telemetry.trace) as pair:
        async with pair.client.stream("GET", "/") as stream:
            async for pushed in pair.client.pushes():
                async with pushed:
                    await pushed.response()
                break
            await stream.response()
    assert len(telemetry.spans()) == 2


# What peers may say


@pytest.mark.parametrize(
    ("given", "attributes"),
    [
        ({":method": "BREW"}, {"http.request.method": "_OTHER", "http.request.method_original": "BREW"}),
        ({":method": "get"}, {"http.request.method": "_OTHER", "http.request.method_original": "get"}),
        ({":method": "M" * 5_000}, {"http.request.method_original": "M" * 64}),
        ({":path": "/" + "p" * 9_000}, {"url.path": "/" + "p" * 4_095}),
        ({":path": "/?" + "q" * 9_000}, {"url.query": "q" * 4_096, "url.path": "/"}),
        ({":path": "/?a=b&sig=s3&c=d"}, {"url.query": "a=b&sig=REDACTED&c=d"}),
        ({":path": "/?signal=1&X-Amz-Signature=x"}, {"url.query": "signal=1&X-Amz-Signature=REDACTED"}),
        ({":path": b"/\xff\xfe"}, {"url.path": "/\xff\xfe"}),
        ({"user-agent": b"\x80" * 5_000}, {"user_agent.original": "\x80" * 4_096}),
        ({":authority": "[2001:db8::1]:8443"}, {"server.address": "2001:db8::1", "server.port": 8443}),
        ({":authority": "[2001:db8::1]"}, {"server.address": "2001:db8::1", "server.port": 80}),
        ({":authority": "example.org:"}, {"server.address": "example.org", "server.port": 80}),
        ({":authority": "example.org:" + "9" * 5_000}, {"server.address": "example.org", "server.port": 80}),
        ({":scheme": "gopher"}, {"url.scheme": "gopher"}),
        ({"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"}, {}),
        ({"traceparent": "\x80" * 4_000, "tracestate": b"\xff=\xfe", "baggage": b"%ff=%00,=,;;,\xff"}, {}),
    ],
)
async def test_what_a_client_says_is_taken_for_what_it_is(
    given: dict[str, str | bytes], attributes: dict[str, str | int], telemetry: Telemetry
) -> None:
    pseudo = {":method": "GET", ":scheme": "http", ":authority": "example.org", ":path": "/"}
    fields = [
        (name.encode(), value if isinstance(value, bytes) else value.encode("latin-1"))
        for name, value in (pseudo | given).items()
    ]
    async with raw_client(hello, trace=telemetry.trace) as peer:
        await peer.send(peer.headers(1, fields, end_stream=True))
        await peer.sync()
    span = telemetry.span(SpanKind.SERVER)
    assert attributes.items() <= dict(span.attributes or {}).items()
    assert span.parent is None
    assert span.name == ("HTTP" if ":method" in given else "GET")
    assert telemetry.broken == []


async def test_two_parents_are_none(telemetry: Telemetry) -> None:
    parents = [("traceparent", f"00-{'a' * 32}-{letter * 16}-01") for letter in "bc"]
    async with client_and_server(hello, server_trace=telemetry.trace) as pair:
        await pair.client.request("GET", "/", headers=parents)
    assert telemetry.span(SpanKind.SERVER).parent is None


async def test_hostile_context_that_is_passed_on_breaks_no_request(telemetry: Telemetry) -> None:
    seen: list[list[tuple[str, str]]] = []

    async def last(stream: trio_h2.ServerStream) -> None:
        seen.append(stream.request.headers.items())
        await stream.respond(200)

    async with client_and_server(last, trace=telemetry.trace) as behind:

        async def first(stream: trio_h2.ServerStream) -> None:
            response = await behind.client.request("GET", "/")
            await stream.respond(response.status)

        async with raw_client(first, trace=telemetry.trace) as peer:
            hostile = [
                (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"),
                (b"tracestate", b"a=\xff,b=" + b"c" * 9_000),
                (b"baggage", b"k%0d%0aevil: 1=v%0d%0a,l\xc3\xa4nge=\xff\xff," + b"x" * 9_000 + b"=1"),
            ]
            await peer.send(peer.headers(1, [*GET, *hostile], end_stream=True))
            await peer.sync()
    assert len(seen) == 1
    assert telemetry.broken == []
    for _, value in seen[0]:
        assert value.isascii()
        assert value.isprintable()


async def test_tunnels_have_the_address_of_the_proxy(telemetry: Telemetry) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)

    async with client_and_server(handler, trace=telemetry.trace, server_trace=telemetry.trace) as pair:
        async with pair.client.stream("CONNECT", "far.example:443") as stream:
            await stream.response()
    client = dict(telemetry.span(SpanKind.CLIENT).attributes or {})
    server = dict(telemetry.span(SpanKind.SERVER).attributes or {})
    assert (client["server.address"], "url.full" in client) == ("example.org", False)
    assert (server["server.address"], server["server.port"]) == ("far.example", 443)


async def test_known_methods_are_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "BREW, WHEN ,")
    telemetry = Telemetry()
    async with client_and_server(hello, trace=telemetry.trace) as pair:
        for method in ("BREW", "GET"):
            await pair.client.request(method, "/")
    assert [span.name for span in telemetry.spans()] == ["BREW", "HTTP"]


@pytest.mark.parametrize("argument", ["tracer_provider", "meter_provider"])
def test_what_is_no_provider_is_refused(argument: str) -> None:
    with pytest.raises(TypeError, match=f"^{argument} must be a (Tracer|Meter)Provider, not str$"):
        OTelTrace(**{argument: "otlp"})  # type: ignore[arg-type]


async def test_without_providers_requests_go_as_ever() -> None:
    async with client_and_server(hello, trace=OTelTrace(), server_trace=OTelTrace()) as pair:
        assert (await pair.client.request("GET", "/")).status == 200
