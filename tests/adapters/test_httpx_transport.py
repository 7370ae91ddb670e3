"""`H2Transport` of both packages: requests, responses, and what clients build on them."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trio_h2
from tests.engine.pool_network import URL, Network, gather

from .httpx_packages import Package, chunks, echo

# Requests


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_a_request_is_made_and_answered(package: Package, method: str, nursery: trio.Nursery) -> None:
    network = Network(nursery, echo)
    async with package.client(network) as client:
        response = await client.request(method, f"{URL}a%20b?c=d#e")
    assert response.status_code == 200
    assert response.headers["asked"] == f"{method} /a%20b?c=d"
    assert response.headers["for"] == "example.org"
    assert response.content == b""
    assert response.http_version == "HTTP/2"
    assert response.reason_phrase == "OK"


async def test_the_answer_to_head_has_no_body(package: Package, nursery: trio.Nursery) -> None:
    network = Network(nursery)
    async with package.client(network) as client:
        response = await client.head(URL)
    assert response.headers["content-length"] == "5"
    assert response.content == b""


@pytest.mark.parametrize(
    ("arguments", "body", "length"),
    [
        ({}, b"", "0"),
        ({"content": b"octets"}, b"octets", "6"),
        ({"content": "tëxt"}, "tëxt".encode(), "5"),
        ({"json": {"a": 1}}, None, None),
        ({"data": {"a": "1", "b": "2"}}, b"a=1&b=2", "7"),
        ({"content": b"x" * 300_000}, b"x" * 300_000, "300000"),
    ],
)
async def test_a_body_is_sent_with_its_length(
    package: Package, arguments: dict[str, Any], body: bytes | None, length: str | None, nursery: trio.Nursery
) -> None:
    network = Network(nursery, echo)
    async with package.client(network) as client:
        response = await client.post(URL, **arguments)
    assert body is None or response.content == body
    assert response.headers["had-content-length"] == length or str(len(response.content))


async def test_a_body_of_chunks_is_sent_without_a_length(package: Package, nursery: trio.Nursery) -> None:
    network = Network(nursery, echo)
    async with package.client(network) as client:
        response = await client.post(URL, content=chunks(b"one ", b"", b"two"))
    assert response.content == b"one two"
    assert "had-content-length" not in response.headers
    assert "had-transfer-encoding" not in response.headers


async def test_files_are_sent(package: Package, nursery: trio.Nursery) -> None:
    network = Network(nursery, echo)
    async with package.client(network) as client:
        response = await client.post(URL, files={"file": ("name.txt", b"what is in it", "text/plain")})
    assert response.headers["had-content-type"].startswith("multipart/form-data")
    assert b"what is in it" in response.content


async def test_fields_of_http1_are_not_sent(package: Package, nursery: trio.Nursery) -> None:
    network = Network(nursery, echo)
    fields = {"Connection": "close", "Keep-Alive": "1", "Upgrade": "h2c", "Proxy-Connection": "x", "X-Own": "kept"}
    async with package.client(network) as client:
        response = await client.get(URL, headers=fields)
    assert {name for name in response.headers if name.startswith("had-")} == {
        *("had-accept", "had-accept-encoding", "had-user-agent", "had-x-own"),
    }


async def test_rfc9113_8_2_1_white_space_around_a_value_is_not_sent(package: Package, nursery: trio.Nursery) -> None:
    """A client may say so in HTTP/1.1 (RFC 9112 section 5), and httpx's own HTTP/2 leaves it out, too."""
    network = Network(nursery, echo)
    async with package.client(network) as client:
        response = await client.get(URL, headers={"X-Own": " a b;\t"})
    assert response.headers["had-x-own"] == "a b;"


async def test_the_host_field_is_the_authority(package: Package, nursery: trio.Nursery) -> None:
    network = Network(nursery, echo)
    async with package.client(network) as client:
        response = await client.get("http://example.org:8080/", headers={"Host": "other.example"})
    assert response.headers["for"] == "other.example"
    assert "had-host" not in response.headers
    assert network.reached == [("example.org", 8080)]


async def test_the_target_may_be_another_than_the_urls(package: Package, nursery: trio.Nursery) -> None:
    network = Network(nursery, echo)
    async with package.client(network) as client:
        response = await client.request("OPTIONS", URL, extensions={"target": b"*"})
    assert response.headers["asked"] == "OPTIONS *"


@pytest.mark.parametrize(
    ("url", "host"),
    [("http://[::1]/", ("::1", 80)), ("http://EXAMPLE.org/", ("example.org", 80)), ("http://bücher.example:81/", None)],
)
async def test_any_host_is_reached(
    package: Package, url: str, host: tuple[str, int] | None, nursery: trio.Nursery
) -> None:
    network = Network(nursery, echo)
    async with package.client(network) as client:
        assert (await client.get(url)).status_code == 200
    assert network.reached == [host or ("xn--bcher-kva.example", 81)]


# Responses


async def test_a_response_is_streamed_as_it_comes(package: Package, nursery: trio.Nursery) -> None:
    seen: list[bytes] = []
    step = trio.Event()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(200)
        await stream.send_all(b"one")
        await step.wait()
        await stream.send_all(b"two")
        await stream.send_eof()

    async with package.client(Network(nursery, handler)) as client, client.stream("GET", URL) as response:
        async for chunk in response.aiter_raw():
            seen.append(chunk)
            step.set()
    assert seen == [b"one", b"two"]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_body_is_decoded(package: Package, coding: str, nursery: trio.Nursery) -> None:
    text = b"again and " * 50_000
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}[coding](text)

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, [("content-encoding", coding)], packed)

    async with package.client(Network(nursery, handler)) as client:
        assert (await client.get(URL)).content == text
        async with client.stream("GET", URL) as response:
            assert b"".join([chunk async for chunk in response.aiter_raw()]) == packed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # httpx leaves its generators half-way
async def test_a_body_that_is_not_what_it_says_is_a_decoding_error(package: Package, nursery: trio.Nursery) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, [("content-encoding", "gzip")], b"not gzip")

    async with package.client(Network(nursery, handler)) as client:
        with pytest.raises(package.module.DecodingError):
            await client.get(URL)


async def test_lines_and_text_are_those_of_any_response(package: Package, nursery: trio.Nursery) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(200, [("content-type", "text/plain; charset=latin-1")], "eins\nzwö\n".encode("latin-1"))

    async with package.client(Network(nursery, handler)) as client, client.stream("GET", URL) as response:
        assert [line async for line in response.aiter_lines()] == ["eins", "zwö"]


async def test_the_extensions_say_what_came_beside_the_response(package: Package, nursery: trio.Nursery) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_informational(103, [("link", "</style.css>")])
        await stream.send_response(200)
        await stream.send_all(b"body")
        await stream.send_trailers([("grpc-status", "0"), ("twice", "a"), ("twice", "b")])

    async with package.client(Network(nursery, handler)) as client, client.stream("GET", URL) as response:
        extensions = response.extensions
        assert extensions["http_version"] == b"HTTP/2"
        assert extensions["stream_id"] == 1
        assert extensions["trailers"] is None
        [early] = extensions["informational"]
        assert (early.status_code, early.headers["link"]) == (103, "</style.css>")
        await response.aread()
        assert isinstance(extensions["trailers"], package.module.Headers)
        assert extensions["trailers"].multi_items() == [("grpc-status", "0"), ("twice", "a"), ("twice", "b")]


async def test_what_network_stream_knows_of_a_connection(package: Package) -> None:
    async with trio.open_nursery() as nursery:
        server: trio_h2.H2Server = await nursery.start(_serve)
        async with package.module.AsyncClient(transport=package.transport()) as client:
            response = await client.get(f"http://127.0.0.1:{server.port}/")
            about = response.extensions["network_stream"].get_extra_info
            assert about("server_addr") == ("127.0.0.1", server.port)
            assert about("client_addr") == about("socket").getsockname()
            assert isinstance(about("connection"), trio_h2.ClientConnection)
            assert about("ssl_object") is None
            assert about("anything else") is None
        nursery.cancel_scope.cancel()


async def _serve(task_status: trio.TaskStatus[trio_h2.H2Server]) -> None:
    await trio_h2.serve_h2(echo, 0, host="127.0.0.1", task_status=task_status)


# What clients build on it


async def redirecting(stream: trio_h2.ServerStream) -> None:
    """Redirects to what the query says, with the status in the path."""
    assert stream.request.path is not None
    status, _, where = stream.request.path[1:].partition("?")
    if status.isdigit():
        await stream.respond(int(status), [("location", where)])
    else:
        await echo(stream)


@pytest.mark.parametrize(("status", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
async def test_redirects_are_followed(package: Package, status: int, method: str, nursery: trio.Nursery) -> None:
    network = Network(nursery, redirecting)
    async with package.client(network, follow_redirects=True) as client:
        response = await client.post(f"{URL}{status}?/there", content=b"the body")
    assert response.headers["asked"] == f"{method} /there"
    assert response.content == (b"the body" if method == "POST" else b"")
    assert [each.status_code for each in response.history] == [status]


async def test_a_redirect_to_another_origin_takes_no_credentials_along(package: Package, nursery: trio.Nursery) -> None:
    network = Network(nursery, redirecting)
    async with package.client(network, follow_redirects=True) as client:
        response = await client.get(f"{URL}302?http://other.example/there", headers={"Authorization": "secret"})
    assert response.headers["for"] == "other.example"
    assert "had-authorization" not in response.headers
    assert network.reached == [("example.org", 80), ("other.example", 80)]


async def test_a_body_of_chunks_is_not_sent_again_by_a_redirect(package: Package, nursery: trio.Nursery) -> None:
    async with package.client(Network(nursery, redirecting), follow_redirects=True) as client:
        with pytest.raises(package.module.StreamConsumed):
            await client.post(f"{URL}308?/there", content=chunks(b"once"))


async def test_a_redirect_to_another_scheme_is_an_unsupported_protocol(package: Package, nursery: trio.Nursery) -> None:
    async with package.client(Network(nursery, redirecting), follow_redirects=True) as client:
        with pytest.raises(package.module.UnsupportedProtocol):
            await client.get(f"{URL}302?ftp://example.org/")


async def test_redirects_without_end_are_too_many(package: Package, nursery: trio.Nursery) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.respond(302, [("location", "/again")])

    network = Network(nursery, handler)
    async with package.client(network, follow_redirects=True, max_redirects=5) as client:
        with pytest.raises(package.module.TooManyRedirects):
            await client.get(URL)
        [origin] = client._transport.pool.statistics().values()
        assert origin.streams == 0
    assert len(network.requests) == 6


async def test_cookies_are_kept_and_sent(package: Package, nursery: trio.Nursery) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        fields = [("set-cookie", "a=1; Path=/"), ("set-cookie", "b=2; Path=/")]
        await stream.respond(200, fields, stream.request.headers.get("cookie", "").encode())

    async with package.client(Network(nursery, handler)) as client:
        assert (await client.get(URL)).content == b""
        assert dict(client.cookies) == {"a": "1", "b": "2"}
        assert (await client.get(URL)).content == b"a=1; b=2"


async def test_basic_auth_is_sent(package: Package, nursery: trio.Nursery) -> None:
    async with package.client(Network(nursery, echo), auth=("user", "password")) as client:
        assert (await client.get(URL)).headers["had-authorization"].startswith("Basic ")


async def test_digest_auth_sends_the_body_again_with_the_answer(package: Package, nursery: trio.Nursery) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        if "authorization" not in stream.request.headers:
            challenge = 'Digest realm="here", nonce="n", qop="auth", algorithm=MD5'
            await stream.respond(401, [("www-authenticate", challenge)], b"who is it?")
        else:
            await echo(stream)

    network = Network(nursery, handler)
    async with package.client(network, auth=package.module.DigestAuth("user", "password")) as client:
        response = await client.post(URL, content=b"the body")
        assert response.status_code == 200
        assert response.content == b"the body"
        assert [each.status_code for each in response.history] == [401]
        [origin] = client._transport.pool.statistics().values()
        assert (origin.streams, origin.opened) == (0, 1)


async def test_an_auth_flow_may_read_both_bodies(package: Package, nursery: trio.Nursery) -> None:
    class Signing(package.module.Auth):  # type: ignore[name-defined,misc]
        requires_request_body = True
        requires_response_body = True

        def auth_flow(self, request: Any) -> Any:
            request.headers["signed"] = str(len(request.content))
            response = yield request
            request.headers["seen"] = response.text
            yield request

    async with package.client(Network(nursery, echo), auth=Signing()) as client:
        response = await client.post(URL, content=chunks(b"one ", b"two"))
        assert response.headers["had-signed"] == "7"
        assert response.headers["had-seen"] == "one two"
        assert response.content == b"one two"


async def test_event_hooks_see_requests_and_responses(package: Package, nursery: trio.Nursery) -> None:
    seen: list[str] = []

    async def on_request(request: Any) -> None:
        seen.append(f"{request.method} {request.url.path}")

    async def on_response(response: Any) -> None:
        await response.aread()
        seen.append(response.text)

    hooks = {"request": [on_request], "response": [on_response]}
    async with package.client(Network(nursery), event_hooks=hooks) as client:
        await client.get(URL)
    assert seen == ["GET /", "hello"]


async def test_a_hook_that_raises_closes_the_response(package: Package, nursery: trio.Nursery) -> None:
    async def on_response(response: Any) -> None:
        response.raise_for_status()

    async def handler(stream: trio_h2.ServerStream) -> None:
        await stream.send_response(500)
        await trio.sleep_forever()

    async with package.client(Network(nursery, handler), event_hooks={"response": [on_response]}) as client:
        with pytest.raises(package.module.HTTPStatusError):
            await client.get(URL)
        [origin] = client._transport.pool.statistics().values()
        assert origin.streams == 0


async def test_a_thousand_requests_at_once_open_as_many_connections_as_the_limit_needs(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(1)
        await echo(stream)

    network = Network(nursery, handler, trio_h2.Config(max_concurrent_streams=100))
    async with package.client(network, timeout=None) as client:
        responses: list[Any] = await gather(1_000, lambda number: client.get(f"{URL}{number}"))
        assert [each.headers["asked"] for each in responses] == [f"GET /{number}" for number in range(1_000)]
    assert len(network.reached) == 4

    network = Network(nursery, handler, trio_h2.Config(max_concurrent_streams=1_000))
    async with package.client(network, timeout=None) as client:
        await gather(1_000, lambda number: client.get(URL))
    assert len(network.reached) == 1


async def test_limits_say_how_many_connections_there_may_be(
    package: Package, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def handler(stream: trio_h2.ServerStream) -> None:
        await trio.sleep(1)
        await echo(stream)

    for most, opened in ((1, 1), (7, 7), (None, 10)):
        network = Network(nursery, handler, trio_h2.Config(max_concurrent_streams=1))
        limits = package.module.Limits(max_connections=most, keepalive_expiry=3)
        async with package.client(network, transport={"limits": limits}, timeout=None) as client:
            await gather(10, lambda number, client=client: client.get(URL))  # type: ignore[misc]
            assert len(network.reached) == opened
            await trio.sleep(3.5)
            assert client._transport.pool.statistics() == {}
