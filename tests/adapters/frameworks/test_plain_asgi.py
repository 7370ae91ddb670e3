"""What a plain app sends, beside a framework's: extensions, and what servers have to mend or to refuse."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

import trio_h2
from tests.peers import HOST, TLSFiles

from .drivers import client_context
from .expectations import expected
from .sites import Site


async def over_http1(site: Site, path: str, *fields: str) -> bytes:
    """The octets of a response to a GET over HTTP/1.1."""
    with trio.fail_after(20):
        async with await trio.open_tcp_stream(HOST, site.http) as transport:
            head = "\r\n".join([f"GET {path} HTTP/1.1", f"host: {HOST}", *fields, "connection: close", "", ""])
            await transport.send_all(head.encode())
            return b"".join([chunk async for chunk in transport])


def shown(octets: bytes) -> Any:
    """The JSON of a chunked response, or of a whole one."""
    body = octets.partition(b"\r\n\r\n")[2]
    return json.loads(body if body[:1] in b'{["' else body.split(b"\r\n")[1])


@pytest.fixture
async def connection(site: Site, tls_files: TLSFiles) -> AsyncIterator[trio_h2.ClientConnection]:
    """One of HTTP/2, over TLS."""
    async with trio_h2.connect(site.url(), ssl_context=client_context(tls_files)) as connection:
        yield connection


async def test_trailers(connection: trio_h2.ClientConnection) -> None:
    response = await connection.request("GET", "/raw/trailers", headers=[("te", "trailers")])
    assert (response.body, response.trailers) == (b"before ", trio_h2.Headers([("x-after", "1")]))
    response = await connection.request("GET", "/raw/trailers")
    assert (response.body, response.trailers) == (b"before ", None)


async def test_trailers_over_http1(site: Site) -> None:
    octets = await over_http1(site, "/raw/trailers", "te: trailers")
    assert octets.endswith(b"\r\n0\r\nx-after: 1\r\n\r\n") is expected(site, "trailers over HTTP/1.1")


async def test_early_hints(connection: trio_h2.ClientConnection) -> None:
    async with connection.stream("GET", "/raw/hints") as stream:
        assert (await stream.response()).status == 200
        assert await stream.read() == b"hinted"
        (hint,) = stream.informational
    assert (hint.status, hint.headers["link"]) == (103, "</style.css>; rel=preload; as=style")


async def test_early_hints_over_http1(site: Site) -> None:
    octets = await over_http1(site, "/raw/hints")
    assert octets.startswith(b"HTTP/1.1 103") is expected(site, "early hints over HTTP/1.1")


async def test_a_push(site: Site, tls_files: TLSFiles) -> None:
    config = trio_h2.Config(enable_push=True)
    with trio.fail_after(20):
        async with trio_h2.connect(site.url(), ssl_context=client_context(tls_files), config=config) as connection:
            assert (await connection.request("GET", "/raw/pushes")).body == b"pushes"
            async for pushed in connection.pushes():
                async with pushed:
                    assert pushed.request.path == "/raw/state"
                    assert (await pushed.response()).status == 200
                    assert json.loads(await pushed.read()) == ["kept"]
                break


async def test_the_scope_of_http2(site: Site, connection: trio_h2.ClientConnection) -> None:
    seen = json.loads((await connection.request("GET", "/raw/seen", headers=[("x-one", "1")])).body)
    assert {key: seen[key] for key in ("type", "http_version", "method", "scheme", "path", "root_path")} == {
        "type": "http",
        "http_version": "2",
        "method": "GET",
        "scheme": "https",
        "path": "/raw/seen",
        "root_path": "",
    }
    assert seen["headers"][0] == ["host", f"{HOST}:{site.https}"]
    assert ["x-one", "1"] in seen["headers"]
    assert seen["client"][0] == HOST
    assert {"http.response.early_hint", "http.response.push", "http.response.trailers"} <= set(seen["extensions"])


async def test_the_scope_of_http1(site: Site) -> None:
    seen = shown(await over_http1(site, "/raw/seen"))
    assert (seen["http_version"], seen["scheme"], seen["headers"][0]) == ("1.1", "http", ["host", HOST])
    assert seen["extensions"] == expected(site, "the extensions of HTTP/1.1")


async def test_fields_that_http2_forbids_are_dropped(connection: trio_h2.ClientConnection) -> None:
    response = await connection.request("GET", "/raw/mends")
    assert (response.status, response.body, response.headers["x-upper"]) == (200, b"mended", "1")
    assert {"transfer-encoding", "connection"}.isdisjoint(dict(response.headers))


async def test_a_204_with_a_length(site: Site, connection: trio_h2.ClientConnection) -> None:
    response = await connection.request("GET", "/raw/no-content")
    assert (response.status, response.body) == (204, b"")
    assert response.headers.get("content-length") == expected(site, "content-length of a 204")


async def test_a_response_of_defaults(connection: trio_h2.ClientConnection) -> None:
    response = await connection.request("GET", "/raw/empty")
    assert (response.status, response.body) == (200, b"")


async def test_half_a_response_never_looks_whole(site: Site, connection: trio_h2.ClientConnection) -> None:
    outcome = "waits"
    with trio.move_on_after(20 if site.server == "ours" else 0.5):
        try:
            await connection.request("GET", "/raw/half")
            outcome = "whole"
        except trio_h2.StreamResetError as error:
            assert error.error_code is trio_h2.ErrorCodes.INTERNAL_ERROR
            outcome = "failed"
    assert outcome == expected(site, "an error after the response has begun, over HTTP/2")
    assert (await over_http1(site, "/raw/half")).endswith(b"half\r\n")


async def test_messages_after_the_end(site: Site, connection: trio_h2.ClientConnection, name: str) -> None:
    assert (await connection.request("GET", f"/raw/after?as={name}")).body == b"whole"
    await site.noted(name, "told")
    noted = await site.journal(name)
    assert noted[2:4] == expected(site, "messages after the end")


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("unknown", "ValueError: the app sent 'http.response.unknown', which is no message of a response"),
        ("no-type", "ValueError: a message that the app sent has no 'type'"),
        ("early", "RuntimeError: the app sent 'http.response.body' where 'http.response.start' is next"),
        ("text-headers", "TypeError: http.response.start: headers[0] must be a pair of bytes, not of str"),
    ],
)
async def test_what_an_app_sends_wrong_is_raised(
    site: Site, connection: trio_h2.ClientConnection, message: str, error: str
) -> None:
    """Both raise it; ours says what is wrong."""
    raised = json.loads((await connection.request("GET", f"/raw/wrong?message={message}")).body)
    assert raised == error if site.server == "ours" else "Error: " in raised


async def test_a_status_that_is_text(site: Site, connection: trio_h2.ClientConnection) -> None:
    body = (await connection.request("GET", "/raw/wrong?message=text-status")).body
    error = expected(site, "a status that is text")
    assert body == b"nothing" if error is None else json.loads(body) == error
